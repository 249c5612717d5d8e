package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The procedures of the service that the tests use.
var (
	nullSpec   = connect.Spec{Procedure: "/t.T/Null", StreamType: connect.StreamTypeUnary}
	echoSpec   = connect.Spec{Procedure: "/t.T/Echo", StreamType: connect.StreamTypeUnary}
	failSpec   = connect.Spec{Procedure: "/t.T/Fail", StreamType: connect.StreamTypeUnary}
	waitSpec   = connect.Spec{Procedure: "/t.T/Wait", StreamType: connect.StreamTypeUnary}
	sumSpec    = connect.Spec{Procedure: "/t.T/Sum", StreamType: connect.StreamTypeClient}
	repeatSpec = connect.Spec{Procedure: "/t.T/Repeat", StreamType: connect.StreamTypeServer}
	chatSpec   = connect.Spec{Procedure: "/t.T/Chat", StreamType: connect.StreamTypeBidi}
	absentSpec = connect.Spec{Procedure: "/t.T/Absent", StreamType: connect.StreamTypeUnary}
)

// service is the tests' handlers. The header "T-*" of a request comes back as header and
// trailer; "Fail-At" makes a stream fail after as many messages.
type service struct {
	waiting chan struct{}      // told when Wait waits
	release chan struct{}      // ends Wait; nil: only its context does
	ended   chan error         // told why Wait's context ended
	panics  func() (value any) // nil: Fail does not panic
}

func (s *service) register() *connect.Server {
	server := connect.NewServer()
	method := func(spec connect.Spec, handler connect.ServerFunc) {
		server.Register(connect.Method{Spec: spec, Handler: func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			reflect(ctx)
			return handler(ctx, spec, stream)
		}})
	}
	method(nullSpec, func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
		if err := stream.Receive(&emptypb.Empty{}); err != nil {
			return err
		}
		return stream.Send(&emptypb.Empty{})
	})
	method(echoSpec, func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
		var m wrapperspb.BytesValue
		if err := stream.Receive(&m); err != nil {
			return err
		}
		return stream.Send(&m)
	})
	method(failSpec, s.fail)
	method(waitSpec, s.wait)
	method(sumSpec, sum)
	method(repeatSpec, repeat)
	method(chatSpec, chat)
	return server
}

// reflect gives request headers back.
func reflect(ctx context.Context) {
	info, _ := connect.CallInfoForServerContext(ctx)
	for k, vs := range info.RequestHeader().All() {
		if strings.HasPrefix(k, "T-") {
			info.ResponseHeader().SetValues(k, vs)
			info.ResponseTrailer().SetValues("Trailer-"+k, vs)
		}
	}
}

func (s *service) fail(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var m wrapperspb.StringValue
	if err := stream.Receive(&m); err != nil {
		return err
	}
	switch m.Value {
	case "plain":
		return errors.New("a secret")
	case "deadline":
		return fmt.Errorf("late: %w", context.DeadlineExceeded)
	case "remote":
		return connect.NewError(connect.CodeNotFound, "elsewhere").WithRemote()
	case "panic":
		panic(s.panics())
	case "after":
		_ = stream.Send(&wrapperspb.StringValue{Value: "never seen"})
	}
	detail, err := connectproto.NewErrorDetail(durationpb.New(time.Second))
	if err != nil {
		return err
	}
	return connect.Errorf(connect.CodeFailedPrecondition, "no: %s", m.Value).WithDetail(detail)
}

func (s *service) wait(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	if err := stream.Receive(&emptypb.Empty{}); err != nil {
		return err
	}
	if s.waiting != nil {
		s.waiting <- struct{}{}
	}
	select {
	case <-s.release:
		return stream.Send(&emptypb.Empty{})
	case <-ctx.Done():
	}
	if s.ended != nil {
		s.ended <- ctx.Err()
	}
	return ctx.Err()
}

// sum adds the lengths of the messages.
func sum(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var m wrapperspb.BytesValue
	n := int64(0)
	for {
		err := stream.Receive(&m)
		if errors.Is(err, io.EOF) {
			return stream.Send(&wrapperspb.Int64Value{Value: n})
		}
		if err != nil {
			return err
		}
		n += int64(len(m.Value))
	}
}

// repeat sends the message as often as its length, at most 50 times.
func repeat(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var m wrapperspb.BytesValue
	if err := stream.Receive(&m); err != nil {
		return err
	}
	for i := 0; i < min(len(m.Value), 50); i++ {
		if err := failAt(ctx, i); err != nil {
			return err
		}
		if err := stream.Send(&m); err != nil {
			return err
		}
	}
	return nil
}

// chat sends every message back.
func chat(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	for i := 0; ; i++ {
		var m wrapperspb.BytesValue
		err := stream.Receive(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := failAt(ctx, i); err != nil {
			return err
		}
		if err := stream.Send(&m); err != nil {
			return err
		}
	}
}

func failAt(ctx context.Context, i int) error {
	info, _ := connect.CallInfoForServerContext(ctx)
	if info.RequestHeader().Get("Fail-At") == fmt.Sprint(i) {
		return connect.Errorf(connect.CodeAborted, "failed at %d", i)
	}
	return nil
}

// serve starts a server of the tests' service on loopback and returns its address.
func serve(t testing.TB, s *service, o *ServerOptions) (*Server, string) {
	t.Helper()
	return serveTLS(t, s, o, nil, false)
}

func serveTLS(t testing.TB, s *service, o *ServerOptions, config *tls.Config, secure bool) (*Server, string) {
	t.Helper()
	server, err := NewServer(s.register(), o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if secure {
				nc = tls.Server(nc, config)
			}
			go func() { _ = server.ServeConn(context.Background(), nc) }()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		_ = server.Close()
	})
	return server, l.Addr().String()
}

func dial(t testing.TB, address string, o *Options) *Transport {
	t.Helper()
	transport, err := Dial(context.Background(), "tcp", address, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close() })
	return transport
}
