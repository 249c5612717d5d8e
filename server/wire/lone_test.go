package wire

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// alone makes so many calls one after the other that a server takes the client for one that has
// one at a time.
func alone(t *testing.T, p *pair) {
	t.Helper()
	for range loneCalls + 1 {
		if err := call(t.Context(), p.client, nullSpec); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLone has a call come by itself that does not end: what comes after it on its connection
// waits for a moment at most.
func TestLone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{waiting: make(chan struct{}), release: make(chan struct{})}
		p := newPair(t, s, nil, nil)
		defer p.close()
		for range 3 {
			alone(t, p)
			waits := make(chan error)
			go func() { waits <- call(t.Context(), p.client, waitSpec) }()
			<-s.waiting
			start := time.Now()
			if err := call(t.Context(), p.client, nullSpec); err != nil || time.Since(start) > 2*loneTime {
				t.Errorf("a call beside one that waits: %v after %v", err, time.Since(start))
			}
			start = time.Now()
			if err := call(t.Context(), p.client, nullSpec); err != nil || time.Since(start) != 0 {
				t.Errorf("the next one: %v after %v", err, time.Since(start))
			}
			s.release <- struct{}{}
			if err := <-waits; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLoneIsCanceled gives up a call that came by itself.
func TestLoneIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{waiting: make(chan struct{}), ended: make(chan error)}
		p := newPair(t, s, nil, nil)
		defer p.close()
		alone(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-s.waiting; cancel() }()
		start := time.Now()
		if err := call(ctx, p.client, waitSpec); !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("the call: %v after %v", err, time.Since(start))
		}
		if err := <-s.ended; !errors.Is(err, context.Canceled) || time.Since(start) > 2*loneTime {
			t.Errorf("the handler: %v after %v", err, time.Since(start))
		}
		alone(t, p)
	})
}

// TestLoneEnds has the handler of a call that came by itself panic, and end its goroutine: the
// connection is read on.
func TestLoneEnds(t *testing.T) {
	ways := map[string]func() any{"panic": func() any { return "a reason" }, "goexit": func() any { runtime.Goexit(); return nil }}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, &service{panics: way}, nil, nil)
			defer p.close()
			for range 3 {
				alone(t, p)
				err := p.client.CallUnary(t.Context(), failSpec, wrapperspb.String("panic"), &emptypb.Empty{})
				if connect.CodeOf(err) != connect.CodeInternal {
					t.Errorf("the call: %v", err)
				}
			}
			alone(t, p)
		})
	}
}

// TestLoneIsOne has calls of one connection that are handled at once.
func TestLoneIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{waiting: make(chan struct{}, 3), release: make(chan struct{})}
		p := newPair(t, s, nil, nil)
		defer p.close()
		alone(t, p)
		for _, limit := range []time.Duration{2 * loneTime, 0, 0} { // then it is known that there are several
			start := time.Now()
			ended := make(chan error, 3)
			for range 3 {
				go func() { ended <- call(t.Context(), p.client, waitSpec) }()
			}
			for range 3 {
				<-s.waiting
			}
			if took := time.Since(start); took > limit {
				t.Errorf("three at once wait for each other: %v", took)
			}
			for range 3 {
				s.release <- struct{}{}
			}
			for range 3 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// afterReading runs a test in a bubble, on a connection that its caller has read himself.
func afterReading(t *testing.T, name string, test func(t *testing.T, s *service, p *pair)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &service{waiting: make(chan struct{}), release: make(chan struct{})}
			p := newPair(t, s, nil, nil)
			defer p.close()
			for range 3 {
				if err := call(t.Context(), p.client, nullSpec); err != nil {
					t.Fatal(err)
				}
			}
			test(t, s, p)
		})
	})
}

// TestReadingIsLeft looks at what becomes of a connection that a caller has read himself.
func TestReadingIsLeft(t *testing.T) {
	afterReading(t, "the server leaves", func(t *testing.T, _ *service, p *pair) {
		_ = p.server.Close()
		pass(3 * lingering)
		if synctest.Wait(); p.transport.Err() == nil {
			t.Error("nobody has noticed")
		}
	})
	afterReading(t, "a stream", func(t *testing.T, _ *service, p *pair) {
		start := time.Now()
		stream, err := p.client.CallClientStream(t.Context(), chatSpec)
		var m wrapperspb.BytesValue
		if err = errors.Join(err, stream.Send(wrapperspb.Bytes([]byte("x"))), stream.Receive(&m)); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = stream.Close()
	})
	afterReading(t, "a call that nobody receives", func(t *testing.T, _ *service, p *pair) {
		stream, err := p.transport.NewClientStream(t.Context(), nullSpec)
		if err = errors.Join(err, stream.Send(&emptypb.Empty{}), stream.Close()); err != nil {
			t.Fatal(err)
		}
		pass(3 * lingering)
		if n := p.transport.InFlight(); n != 0 {
			t.Errorf("%d calls in flight", n)
		}
	})
	afterReading(t, "its caller gives up", func(t *testing.T, s *service, p *pair) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-s.waiting; cancel() }()
		start := time.Now()
		if err := call(ctx, p.client, waitSpec); !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("the call: %v after %v", err, time.Since(start))
		}
		if err := call(t.Context(), p.client, nullSpec); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
	afterReading(t, "it is closed", func(t *testing.T, s *service, p *pair) {
		go func() { <-s.waiting; _ = p.transport.Close() }()
		if err := call(t.Context(), p.client, waitSpec); !errors.Is(err, ErrClosed) {
			t.Errorf("the call: %v", err)
		}
	})
}

// TestReadingIsShared has others call while a caller reads.
func TestReadingIsShared(t *testing.T) {
	afterReading(t, "it is answered and others wait", func(t *testing.T, s *service, p *pair) {
		first, second := make(chan error), make(chan error)
		stream, err := p.transport.NewClientStream(t.Context(), waitSpec)
		if err = errors.Join(err, stream.Send(&emptypb.Empty{})); err != nil {
			t.Fatal(err)
		}
		<-s.waiting
		ctx, cancel := context.WithCancel(t.Context())
		go func() { first <- stream.Receive(&emptypb.Empty{}) }()
		synctest.Wait()
		go func() { second <- call(ctx, p.client, waitSpec) }()
		<-s.waiting
		synctest.Wait()
		s.release <- struct{}{}
		start := time.Now()
		if err := <-first; err != nil {
			t.Error(err)
		}
		s.release <- struct{}{}
		if err := <-second; err != nil || time.Since(start) != 0 {
			t.Errorf("the other one: %v after %v", err, time.Since(start))
		}
		cancel()
	})
	afterReading(t, "others call meanwhile", func(t *testing.T, s *service, p *pair) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- call(ctx, p.client, waitSpec) }()
		<-s.waiting
		start := time.Now()
		for range 3 {
			if err := call(t.Context(), p.client, nullSpec); err != nil || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
