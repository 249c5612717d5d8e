package e2e

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// measure reports the median and the 99th percentile of a call, one after the other.
func measure(b *testing.B, call func() error) {
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if err := call(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-us")
}

// pipelined reports the rate of calls by 8 callers at once over one connection.
func pipelined(b *testing.B, call func() error) {
	const callers = 8
	var wg sync.WaitGroup
	start := time.Now()
	b.ResetTimer()
	share := (b.N + callers - 1) / callers
	for range callers {
		wg.Go(func() {
			for range share {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(share*callers)/time.Since(start).Seconds(), "calls/s")
}

// grpcServer is a server of grpc-go whose one call does nothing, in this process.
func grpcServer(b *testing.B) *grpc.ClientConn {
	b.Helper()
	handler := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &emptypb.Empty{}
		return in, decode(in)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "null.Null", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Ping", Handler: handler}}}, struct{}{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(s.Stop)
	c, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// BenchmarkNull is what kanta bench cannot measure, which does not link grpc-go: a call that does
// nothing, of grpc-go's client to Kanta, and to grpc-go's own server in the same process.
func BenchmarkNull(b *testing.B) {
	l := learn(b)
	method, in, _ := l.call(b, "Ping", "{}")
	kanta := func() error {
		_, _, out := l.call(b, "Ping", "{}")
		return l.c.Invoke(b.Context(), method, in, out)
	}
	c := grpcServer(b)
	own := func() error {
		return c.Invoke(b.Context(), "/null.Null/Ping", &emptypb.Empty{}, &emptypb.Empty{})
	}
	for name, call := range map[string]func() error{"grpc-go to kanta": kanta, "grpc-go to grpc-go": own} {
		b.Run(name, func(b *testing.B) { measure(b, call) })
		b.Run(name+", 8 callers", func(b *testing.B) { pipelined(b, call) })
	}
}
