package wire

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
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

// pipelined reports the rate of calls by 8 callers at once.
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

func null(client *connect.Client) func() error {
	ctx := context.Background()
	return func() error { return client.CallUnary(ctx, nullSpec, &emptypb.Empty{}, &emptypb.Empty{}) }
}

func echoServer(b *testing.B) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = nc.Close() }()
				buf := make([]byte, 64)
				for {
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					if _, err := nc.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = nc.Close() })
	return nc
}

func h2c(b *testing.B) *connect.Client {
	mux := http.NewServeMux()
	connecthttp.Mount(mux, (&service{}).register())
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: mux, Protocols: protocols}
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() { _ = server.Close() })
	transport := &http.Transport{Protocols: protocols}
	b.Cleanup(transport.CloseIdleConnections)
	return connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, "http://"+l.Addr().String()))
}

func BenchmarkNull(b *testing.B) {
	b.Run("tcp", func(b *testing.B) {
		nc := echoServer(b)
		buf := make([]byte, 8)
		measure(b, func() error {
			if _, err := nc.Write(buf); err != nil {
				return err
			}
			_, err := io.ReadFull(nc, buf)
			return err
		})
	})
	b.Run("wire", func(b *testing.B) {
		_, address := serve(b, &service{}, nil)
		b.ReportAllocs()
		measure(b, null(connect.NewClient(dial(b, address, nil))))
	})
	b.Run("h2c", func(b *testing.B) { measure(b, null(h2c(b))) })
}

func BenchmarkPipelined(b *testing.B) {
	b.Run("wire", func(b *testing.B) {
		_, address := serve(b, &service{}, nil)
		call := null(connect.NewClient(dial(b, address, nil)))
		b.ReportAllocs()
		pipelined(b, call)
	})
	b.Run("h2c", func(b *testing.B) { pipelined(b, null(h2c(b))) })
}

// BenchmarkBulk streams 50 messages of 64 KiB from the server.
func BenchmarkBulk(b *testing.B) {
	body := wrapperspb.Bytes(words(64 << 10))
	stream := func(b *testing.B, client *connect.Client) {
		b.SetBytes(50 * 64 << 10)
		for b.Loop() {
			if err := drainStream(client.CallServerStream(context.Background(), repeatSpec, body)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("wire", func(b *testing.B) {
		_, address := serve(b, &service{}, nil)
		stream(b, connect.NewClient(dial(b, address, nil)))
	})
	b.Run("wire-packed", func(b *testing.B) {
		_, address := serve(b, &service{}, &ServerOptions{Packing: PackAlways})
		stream(b, connect.NewClient(dial(b, address, &Options{Packing: PackAlways})))
	})
}

// words returns a text of n bytes that can be packed.
func words(n int) (text []byte) {
	vocabulary := make([]string, 100)
	for i := range vocabulary {
		vocabulary[i] = fmt.Sprintf("%x ", rand.Uint64N(1<<32))
	}
	for len(text) < n {
		text = append(text, vocabulary[rand.IntN(len(vocabulary))]...)
	}
	return text[:n]
}

// BenchmarkPack packs 64 KiB, and finds out that it should not.
func BenchmarkPack(b *testing.B) {
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, body := range map[string][]byte{"words": words(64 << 10), "noise": noise} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			size := 0
			for b.Loop() {
				packed := pack(body)
				if (packed != nil) != (name == "words") {
					b.Fatal("packed where it should not, or not where it should")
				}
				if packed != nil {
					size = len(packed.b)
					packed.free()
				}
			}
			b.ReportMetric(float64(size)/float64(len(body)), "packed/raw")
		})
	}
}
