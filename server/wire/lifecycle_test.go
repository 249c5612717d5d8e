package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// pair is a client and a server joined by a pipe.
type pair struct {
	server    *Server
	transport *Transport
	client    *connect.Client
	served    chan error
	near, far net.Conn
}

func newPair(t *testing.T, s *service, so *ServerOptions, o *Options) *pair {
	t.Helper()
	server, err := NewServer(s.register(), so)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{server: server, served: make(chan error, 1)}
	p.near, p.far = net.Pipe()
	go func() { p.served <- server.ServeConn(context.Background(), p.far) }()
	if p.transport, err = NewTransport(context.Background(), p.near, o); err != nil {
		t.Fatal(err)
	}
	p.client = connect.NewClient(p.transport)
	return p
}

// close ends both and waits for them.
func (p *pair) close() {
	_ = p.transport.Close()
	_ = p.server.Close()
	<-p.served
}

func call(ctx context.Context, client *connect.Client, spec connect.Spec) error {
	return client.CallUnary(ctx, spec, &emptypb.Empty{}, &emptypb.Empty{})
}

// pass lets time pass on the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{waiting: make(chan struct{}, 1), ended: make(chan error, 1)}
		p := newPair(t, s, nil, nil)
		defer p.close()
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-s.waiting; cancel() }()
		if err := call(ctx, p.client, waitSpec); !errors.Is(err, context.Canceled) || connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("the call: %v", err)
		}
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler: %v", err)
		}
		if err := call(ctx, p.client, nullSpec); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrRefused) {
			t.Errorf("a call whose context has ended: %v", err)
		}
		synctest.Wait()
		if n := p.transport.InFlight(); n != 0 {
			t.Errorf("%d calls in flight", n)
		}
	})
}

// TestCancelOfStreams gives streams up in every way: the other end learns of it.
func TestCancelOfStreams(t *testing.T) {
	ways := map[string]func(stream connect.ClientStream, cancel func()){
		"context": func(_ connect.ClientStream, cancel func()) { cancel() },
		"close":   func(stream connect.ClientStream, _ func()) { _ = stream.Close() },
	}
	for name, giveUp := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, &service{}, nil, nil)
				defer p.close()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				stream, err := p.client.CallClientStream(ctx, chatSpec)
				var m wrapperspb.BytesValue
				if err = errors.Join(err, stream.Send(wrapperspb.Bytes(make([]byte, 1000))), stream.Receive(&m)); err != nil {
					t.Fatal(err)
				}
				received := make(chan error)
				go func() { received <- stream.Receive(&m) }()
				synctest.Wait()
				giveUp(stream, cancel)
				if err := <-received; !errors.Is(err, context.Canceled) {
					t.Errorf("a pending Receive: %v", err)
				}
				if err := stream.Send(&m); err == nil {
					t.Error("a message was sent on a stream that was given up")
				}
				synctest.Wait()
				if n := p.transport.InFlight(); n != 0 {
					t.Errorf("%d calls in flight", n)
				}
			})
		})
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{ended: make(chan error, 1)}
		p := newPair(t, s, nil, nil)
		defer p.close()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		defer cancel()
		err := call(ctx, p.client, waitSpec)
		if !errors.Is(err, context.DeadlineExceeded) || connect.CodeOf(err) != connect.CodeDeadlineExceeded || time.Since(start) != 700*time.Millisecond {
			t.Errorf("the call after %v: %v", time.Since(start), err)
		}
		if err := <-s.ended; err == nil {
			t.Error("the handler's context has not ended")
		}
	})
}

// TestDeadlineTravels has a server's clock end a call whose client does not.
func TestDeadlineTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{ended: make(chan error, 1)}
		r, _, served := rawClient(t, s, nil, Limits{})
		start := time.Now()
		r.send(kindCall, flagLast|flagMeta, 1, appendOpening(nil, 1, waitSpec.Procedure, true, 250*time.Millisecond, []byte{0}))
		f := fields{b: r.until(kindEnd).payload}
		if status := f.status(nil, 0); status.Code() != connect.CodeDeadlineExceeded || time.Since(start) != 250*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(start), status)
		}
		_ = r.nc.Close()
		<-served
		<-s.ended
	})
}

// TestKeepAlive lets an hour pass without a call, and then the server go silent.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &service{}, nil, nil)
		defer p.close()
		pass(time.Hour)
		if err := call(context.Background(), p.client, nullSpec); err != nil {
			t.Fatalf("after an hour: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, transport := rawServer(t, nil, Limits{})
		go func() { _, _ = io.Copy(io.Discard, r.nc) }() // takes all, says nothing
		start := time.Now()
		err := call(context.Background(), connect.NewClient(transport), nullSpec)
		if took := time.Since(start); !errors.Is(err, ErrConnection) || took < defaultKeepAlive+defaultPongTime || took > defaultIdleTime {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestIdle lets a client be silent, and say half a frame now and then.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, served := rawClient(t, &service{}, nil, Limits{})
		start := time.Now()
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			for i := byte(0); ; i++ { // a frame of 100 bytes, one every second
				b := []byte{0}
				if i < 3 {
					b = []byte{kindMessage, 100, 1}[i : i+1]
				}
				if _, err := r.nc.Write(b); err != nil {
					return
				}
				pass(time.Second)
			}
		}()
		code, reason, err := parseGoAway(r.until(kindGoAway).payload)
		if took := time.Since(start); code != connect.CodeDeadlineExceeded || took < defaultIdleTime || took > 2*defaultIdleTime {
			t.Errorf("after %v: %v %q %v", took, code, reason, err)
		}
		<-served
		<-fed
	})
}

// TestHandshakeTime lets strangers say nothing, or too little.
func TestHandshakeTime(t *testing.T) {
	for _, said := range []string{"", "\xcb", Magic + "\x01\x01", Magic + "\x01\x01\x01\x7f\x00"} {
		synctest.Test(t, func(t *testing.T) {
			server, err := NewServer(connect.NewServer(), nil)
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			start := time.Now()
			go func() { _, _ = near.Write([]byte(said)) }()
			if err := server.ServeConn(context.Background(), far); err == nil || time.Since(start) != defaultHandshakeTime {
				t.Errorf("%q: after %v: %v", said, time.Since(start), err)
			}
			if _, err := near.Read(make([]byte, 1)); err == nil {
				t.Errorf("%q: the connection is open", said)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		start := time.Now()
		if _, err := NewTransport(context.Background(), near, nil); err == nil || time.Since(start) != defaultHandshakeTime {
			t.Errorf("a silent server: after %v: %v", time.Since(start), err)
		}
		near, far = net.Pipe()
		defer func() { _ = far.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := NewTransport(ctx, near, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a silent server, and a second: %v", err)
		}
	})
}

func TestVersions(t *testing.T) {
	for _, c := range []struct{ oldest, newest byte }{{2, 3}, {0, 0}, {2, 1}} {
		synctest.Test(t, func(t *testing.T) {
			server, err := NewServer(connect.NewServer(), nil)
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- server.ServeConn(context.Background(), far) }()
			_, _ = near.Write(appendPreamble(nil, c.oldest, c.newest))
			answer, _ := io.ReadAll(near)
			if err := <-served; !errors.Is(err, ErrVersion) || string(answer) != Magic+"\x01\x01" {
				t.Errorf("%v: answer %q, %v", c, answer, err)
			}
			near, far = net.Pipe()
			go func() {
				_, _ = io.CopyN(io.Discard, far, 20)
				_, _ = far.Write(appendPreamble(nil, c.oldest, c.newest))
				_ = far.Close()
			}()
			if _, err := NewTransport(context.Background(), near, nil); !errors.Is(err, ErrVersion) {
				t.Errorf("%v: a client says %v", c, err)
			}
		})
	}
	// A client that speaks newer versions too is served in ours.
	synctest.Test(t, func(t *testing.T) {
		server, err := NewServer(connect.NewServer(), nil)
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- server.ServeConn(context.Background(), far) }()
		h := Limits{}.withDefaults().hello()
		field := append(h.append(nil), 77, 1, 1) // which version 1 does not have
		go func() {
			_, _ = near.Write(appendFrame(appendPreamble(nil, 1, 9), false, kindHello, 0, 0, field, nil))
		}()
		(&raw{t: t, nc: near}).hellos()
		_ = near.Close()
		<-served
	})
}

// TestAuthenticate looks at what the hook gets, and what its context and error become.
func TestAuthenticate(t *testing.T) {
	type key struct{}
	seen := make(chan any, 1)
	s := &service{}
	options := &ServerOptions{Authenticate: func(ctx context.Context, p *Peer) (context.Context, error) {
		switch string(p.Credentials) {
		case "key":
			return context.WithValue(ctx, key{}, p.Agent), nil
		case "old":
			return nil, connect.NewError(connect.CodePermissionDenied, "the key has expired")
		}
		return nil, errors.New("a secret reason")
	}}
	methods := s.register()
	who := connect.Spec{Procedure: "/t.T/Who"}
	methods.Register(connect.Method{Spec: who, Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		seen <- ctx.Value(key{})
		return stream.Send(&emptypb.Empty{})
	}})
	for credentials, want := range map[string]connect.Code{"key": 0, "old": connect.CodePermissionDenied, "?": connect.CodeUnauthenticated} {
		server, err := NewServer(methods, options)
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- server.ServeConn(context.Background(), far) }()
		transport, err := NewTransport(context.Background(), near, &Options{Credentials: []byte(credentials), Agent: "me"})
		if want != 0 {
			if connect.CodeOf(err) != want || strings.Contains(err.Error(), "secret") || <-served == nil {
				t.Errorf("%s: %v", credentials, err)
			}
			_ = server.Close()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := call(context.Background(), connect.NewClient(transport), who); err != nil || <-seen != "me" {
			t.Errorf("the handler saw another identity (%v)", err)
		}
		_ = transport.Close()
		<-served
		_ = server.Close()
	}
}

// TestPanic has a handler panic: the call fails, and nothing of the value is told.
func TestPanic(t *testing.T) {
	told := make(chan any, 1)
	p := newPair(t, &service{panics: func() any { return "a secret" }},
		&ServerOptions{Panicked: func(procedure string, value any) { told <- procedure + ": " + value.(string) }}, nil)
	defer p.close()
	err := p.client.CallUnary(context.Background(), failSpec, wrapperspb.String("panic"), &emptypb.Empty{})
	if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(errorTree(err), "secret") {
		t.Errorf("the call: %v", errorTree(err))
	}
	if got := <-told; got != "/t.T/Fail: a secret" {
		t.Errorf("the hook was told %v", got)
	}
	if err := call(context.Background(), p.client, nullSpec); err != nil {
		t.Errorf("the call after it: %v", err)
	}
}

// TestDrain shuts a server down while calls are in flight: they end well, new ones are
// refused in a way that says they can be repeated.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{waiting: make(chan struct{}, 10), release: make(chan struct{})}
		p := newPair(t, s, nil, nil)
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				if err := call(context.Background(), p.client, waitSpec); err != nil {
					t.Errorf("a call in flight: %v", err)
				}
			})
			<-s.waiting
		}
		down := make(chan error)
		go func() { down <- p.server.Shutdown(context.Background()) }()
		synctest.Wait()
		if !p.transport.Draining() {
			t.Error("the client does not know")
		}
		if err := call(context.Background(), p.client, nullSpec); !errors.Is(err, ErrRefused) || connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("a new call: %v", err)
		}
		near, far := net.Pipe()
		if err := p.server.ServeConn(context.Background(), far); !errors.Is(err, ErrServerClosed) {
			t.Errorf("a new connection: %v", err)
		}
		_ = near.Close()
		close(s.release)
		calls.Wait()
		if err := <-down; err != nil {
			t.Errorf("the shutdown: %v", err)
		}
		<-p.served
		if err := p.transport.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("the client's connection: %v", err)
		}
	})
}

// TestDrainCrosses refuses a call that was under way when the server began to drain, and
// closes on a client that does not go.
func TestDrainCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, server, served := rawClient(t, &service{}, nil, Limits{})
		synctest.Wait()
		down := make(chan error, 1)
		go func() { down <- server.Shutdown(context.Background()) }()
		if code, _, _ := parseGoAway(r.until(kindGoAway).payload); code != 0 {
			t.Errorf("goaway with code %d", code)
		}
		r.send(kindCall, flagLast, 1, opens(1, nullSpec))
		end := r.until(kindEnd)
		f := fields{b: end.payload}
		if status := f.status(nil, 0); end.flags != flagRefused || status.Code() != connect.CodeUnavailable {
			t.Errorf("flags %#x, status %v", end.flags, status)
		}
		start := time.Now()
		if code, _, _ := parseGoAway(r.until(kindGoAway).payload); code == 0 || time.Since(start) > 2*drainTime+10*time.Second {
			t.Errorf("code %v after %v", code, time.Since(start))
		}
		_ = r.nc.Close()
		<-served
		<-down
	})
	synctest.Test(t, func(t *testing.T) { // a handler that does not end
		s := &service{ended: make(chan error, 1)}
		p := newPair(t, s, nil, nil)
		failed := make(chan error)
		go func() { failed <- call(context.Background(), p.client, waitSpec) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the shutdown: %v", err)
		}
		if err := <-failed; connect.CodeOf(err) != connect.CodeUnavailable || !errors.Is(err, ErrConnection) || errors.Is(err, ErrRefused) {
			t.Errorf("the call: %v", err)
		}
		<-p.served
	})
}

// TestShutdownOfClients waits for the calls in flight.
func TestShutdownOfClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{release: make(chan struct{})}
		p := newPair(t, s, nil, nil)
		defer p.close()
		failed := make(chan error, 1)
		go func() { failed <- call(context.Background(), p.client, waitSpec) }()
		synctest.Wait()
		go func() { pass(time.Second); close(s.release) }()
		if err := p.transport.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-failed; err != nil {
			t.Errorf("the call in flight: %v", err)
		}
	})
}

// cutter is a connection that breaks after a number of bytes in either direction.
type cutter struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (c *cutter) spend(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.left)
	if c.left -= n; c.left == 0 {
		_ = c.Conn.Close()
	}
	return n
}

func (c *cutter) Write(b []byte) (int, error) {
	c.mu.Lock()
	n := min(len(b), c.left)
	c.mu.Unlock()
	n, err := c.Conn.Write(b[:n])
	if c.spend(n); err == nil && n < len(b) {
		err = io.ErrClosedPipe
	}
	return n, err
}

func (c *cutter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return c.spend(n), err
}

// TestCutAtEveryByte breaks a conversation after every byte of it: each call has its
// answer or an error that says the connection was lost, and both ends end.
func TestCutAtEveryByte(t *testing.T) {
	whole := false
	for n := 1; !whole; n++ {
		synctest.Test(t, func(t *testing.T) {
			server, err := NewServer((&service{}).register(), nil)
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- server.ServeConn(context.Background(), far) }()
			whole = true
			transport, err := NewTransport(context.Background(), &cutter{Conn: near, left: n}, nil)
			if err != nil {
				whole = false
				<-served
				return
			}
			client := connect.NewClient(transport)
			for _, do := range []func() error{
				null(client),
				func() error { return twice(client.CallClientStream(context.Background(), chatSpec)) },
				func() error {
					return drainStream(client.CallServerStream(context.Background(), repeatSpec, wrapperspb.Bytes([]byte("abc"))))
				},
				null(client),
			} {
				if err := do(); err != nil {
					whole = false
					if connect.CodeOf(err) != connect.CodeUnavailable && !errors.Is(err, io.EOF) {
						t.Errorf("cut after %d bytes: %s", n, errorTree(err))
					}
				}
			}
			_ = transport.Close()
			if err := <-served; err == nil {
				t.Errorf("cut after %d bytes: served without a reason", n)
			}
			_ = server.Close()
		})
	}
}

// TestServeContext ends the context of a connection: it ends, and its calls.
func TestServeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{ended: make(chan error, 1)}
		server, err := NewServer(s.register(), nil)
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		served := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { served <- server.ServeConn(ctx, far) }()
		transport, err := NewTransport(context.Background(), near, nil)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() { failed <- call(context.Background(), connect.NewClient(transport), waitSpec) }()
		synctest.Wait()
		cancel()
		if err := <-failed; connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("the call: %v", err)
		}
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler: %v", err)
		}
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("served: %v", err)
		}
		_ = server.Close()
	})
}
