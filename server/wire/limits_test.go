package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// sized returns a message of exactly n bytes, of at least 4.
func sized(n int) *wrapperspb.BytesValue {
	overhead := 2
	for size := n; size >= 128; size >>= 7 {
		overhead++
	}
	m := wrapperspb.Bytes(make([]byte, n-overhead))
	return m
}

// TestMessageLimit sends messages of the limit and of one byte more, both ways.
func TestMessageLimit(t *testing.T) {
	const limit = 100_000
	for _, packing := range []Packing{PackNever, PackAlways} {
		p := newPair(t, &service{}, &ServerOptions{Limits: Limits{MessageBytes: limit}, Packing: packing}, &Options{Packing: packing})
		var m wrapperspb.BytesValue
		if err := p.client.CallUnary(context.Background(), echoSpec, sized(limit), &m); err != nil {
			t.Errorf("to the server, the limit: %v", err)
		}
		if err := p.client.CallUnary(context.Background(), echoSpec, sized(limit+1), &m); connect.CodeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "100001") {
			t.Errorf("to the server, one more: %v", err)
		}
		p.close()
		p = newPair(t, &service{}, &ServerOptions{Packing: packing}, &Options{Limits: Limits{MessageBytes: limit}, Packing: packing})
		if err := p.client.CallUnary(context.Background(), echoSpec, sized(limit), &m); err != nil {
			t.Errorf("to the client, the limit: %v", err)
		}
		if err := p.client.CallUnary(context.Background(), echoSpec, sized(limit+1), &m); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("to the client, one more: %v", err)
		}
		if err := call(context.Background(), p.client, nullSpec); err != nil {
			t.Errorf("after those: %v", err)
		}
		p.close()
	}
}

// TestMetadataLimit sends headers and trailers of the limit and of one byte more.
func TestMetadataLimit(t *testing.T) {
	const limit = 1000
	echo := func(p *pair, n int) error {
		ctx, info := connect.NewClientContext(context.Background())
		info.RequestHeader().Set("T-K", strings.Repeat("v", n-entryBytes-len("T-K")))
		return call(ctx, p.client, nullSpec)
	}
	p := newPair(t, &service{}, &ServerOptions{Limits: Limits{MetadataBytes: limit}}, nil)
	if err := echo(p, limit); err != nil {
		t.Errorf("to the server, the limit: %v", err)
	}
	if err := echo(p, limit+1); connect.CodeOf(err) != connect.CodeResourceExhausted || !errors.Is(err, ErrRefused) {
		t.Errorf("to the server, one more: %v", err)
	}
	p.close()
	// The trailer's name is longer by "Trailer-".
	p = newPair(t, &service{}, nil, &Options{Limits: Limits{MetadataBytes: limit}})
	if err := echo(p, limit-len("Trailer-")); err != nil {
		t.Errorf("to the client, the limit: %v", err)
	}
	for _, n := range []int{limit + 1 - len("Trailer-"), limit + 1} {
		if err := echo(p, n); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("to the client, %d: %v", n, err)
		}
	}
	if err := call(context.Background(), p.client, nullSpec); err != nil {
		t.Errorf("after those: %v", err)
	}
	p.close()
}

// TestStreamLimit makes as many calls as may be in flight, and one more, which waits.
func TestStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 4
		s := &service{release: make(chan struct{})}
		p := newPair(t, s, &ServerOptions{Limits: Limits{Streams: limit}}, nil)
		defer p.close()
		failed := make(chan error, limit+1)
		for range limit {
			go func() { failed <- call(context.Background(), p.client, waitSpec) }()
		}
		synctest.Wait()
		if n := p.transport.InFlight(); n != limit {
			t.Fatalf("%d in flight", n)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := call(ctx, p.client, nullSpec); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrRefused) {
			t.Errorf("one more, for a second: %v", err)
		}
		go func() { failed <- call(context.Background(), p.client, waitSpec) }()
		synctest.Wait()
		close(s.release)
		for range limit + 1 {
			if err := <-failed; err != nil {
				t.Errorf("a call: %v", err)
			}
		}
	})
}

// TestHandlerLimit runs as many handlers as may run, and one more, which is refused.
func TestHandlerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		s := &service{release: make(chan struct{})}
		p := newPair(t, s, &ServerOptions{Limits: Limits{Handlers: limit}}, nil)
		defer p.close()
		failed := make(chan error, limit)
		for range limit {
			go func() { failed <- call(context.Background(), p.client, waitSpec) }()
		}
		synctest.Wait()
		if err := call(context.Background(), p.client, nullSpec); connect.CodeOf(err) != connect.CodeResourceExhausted || !errors.Is(err, ErrRefused) {
			t.Errorf("one more: %v", err)
		}
		close(s.release)
		for range limit {
			if err := <-failed; err != nil {
				t.Errorf("a call: %v", err)
			}
		}
		synctest.Wait()
		if err := call(context.Background(), p.client, nullSpec); err != nil {
			t.Errorf("after those: %v", err)
		}
	})
}

// TestConnectionLimits opens as many connections and handshakes as may be, and one more.
func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, err := NewServer((&service{}).register(), &ServerOptions{Limits: Limits{Connections: 4, Handshakes: 2}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		enter := func() (net.Conn, chan error) {
			near, far := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- server.ServeConn(context.Background(), far) }()
			synctest.Wait()
			return near, served
		}
		one, _ := enter()
		two, _ := enter()
		if _, served := enter(); !errors.Is(<-served, ErrTooMany) {
			t.Error("a third handshake was taken")
		}
		for _, nc := range []net.Conn{one, two} {
			if _, err := NewTransport(context.Background(), nc, nil); err != nil {
				t.Errorf("a handshake of two: %v", err)
			}
		}
		for range 2 {
			nc, _ := enter()
			if _, err := NewTransport(context.Background(), nc, nil); err != nil {
				t.Errorf("a connection of four: %v", err)
			}
		}
		if _, served := enter(); !errors.Is(<-served, ErrTooMany) {
			t.Error("a fifth connection was taken")
		}
	})
}

func TestHelloLimits(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	if _, err := NewTransport(context.Background(), near, &Options{Credentials: make([]byte, credentialsBytes+1)}); err == nil {
		t.Error("credentials of one byte more were taken")
	}
	h := Limits{}.withDefaults().hello()
	for _, c := range []struct {
		change func(h *hello)
		good   bool
	}{
		{func(h *hello) { h.credentials = make([]byte, credentialsBytes) }, true},
		{func(h *hello) { h.credentials = make([]byte, credentialsBytes+1) }, false},
		{func(h *hello) { h.agent = strings.Repeat("a", agentBytes) }, true},
		{func(h *hello) { h.agent = strings.Repeat("a", agentBytes+1) }, false},
		{func(h *hello) { h.agent = "\xff" }, false},
		{func(h *hello) { h.frame = minFrameBytes }, true},
		{func(h *hello) { h.frame = minFrameBytes - 1 }, false},
		{func(h *hello) { h.frame = maxFrameBytes }, true},
		{func(h *hello) { h.frame = maxFrameBytes + 1 }, false},
		{func(h *hello) { h.message = 0 }, false},
		{func(h *hello) { h.message = maxMessageBytes + 1 }, false},
		{func(h *hello) { h.streams = maxStreams }, true},
		{func(h *hello) { h.streams = maxStreams + 1 }, false},
		{func(h *hello) { h.window = minWindow - 1 }, false},
		{func(h *hello) { h.connection = maxWindow + 1 }, false},
		{func(h *hello) { h.metadata = maxMetadataBytes }, true},
		{func(h *hello) { h.metadata = maxMetadataBytes + 1 }, false},
	} {
		changed := h
		c.change(&changed)
		if got, err := parseHello(changed.append(nil)); (err == nil) != c.good {
			t.Errorf("%+v: %v", got, err)
		}
	}
	if _, err := NewServer(connect.NewServer(), &ServerOptions{Limits: Limits{FrameBytes: 1}}); err == nil {
		t.Error("a frame of one byte is a limit")
	}
	if _, err := NewServer(connect.NewServer(), &ServerOptions{Limits: Limits{IdleTime: -1}}); err == nil {
		t.Error("a negative time is a limit")
	}
}

// TestWindows sends a server exactly what its windows take, and one byte more.
func TestWindows(t *testing.T) {
	limits := Limits{StreamWindow: 64<<10 + frameCost, ConnectionWindow: 96<<10 + 2*frameCost}
	piece := make([]byte, 32<<10-frameCost)
	for _, c := range []struct {
		streams []uint32 // one piece of 32 KiB each
		more    uint32
		want    string
	}{
		{[]uint32{1, 1}, 0, ""},
		{[]uint32{1, 1}, 1, "a stream's window"},
		{[]uint32{1, 1, 2}, 0, ""},
		{[]uint32{1, 1, 2}, 2, "the connection's window"},
	} {
		// The handlers receive one message, and no other.
		s := &service{waiting: make(chan struct{}, 2)}
		r, _, served := rawClient(t, s, &ServerOptions{Limits: limits}, Limits{})
		r.send(kindCall, 0, 1, opens(1, waitSpec))
		r.send(kindCall, 0, 2, num(2))
		<-s.waiting
		<-s.waiting
		go func() {
			for _, id := range c.streams {
				r.send(kindMessage, 0, id, piece)
			}
			if c.more > 0 {
				r.send(kindMessage, 0, c.more)
			}
			r.send(kindPing, 0, 0)
		}()
		if c.want == "" {
			r.until(kindPong)
		} else if _, reason, _ := parseGoAway(r.until(kindGoAway).payload); !strings.Contains(reason, c.want) {
			t.Errorf("%v and %d: %q", c.streams, c.more, reason)
		}
		_ = r.nc.Close()
		<-served
	}
}

// TestReaderThatStops streams to a client that does not take what comes: the server holds
// no more than the windows, other calls go on, and after StallTime the call is ended.
func TestReaderThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &service{}, nil, nil)
		defer p.close()
		big := make([]byte, 200<<10)
		stream, err := p.client.CallServerStream(context.Background(), repeatSpec, wrapperspb.Bytes(big))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		synctest.Wait()
		if err := call(context.Background(), p.client, nullSpec); err != nil || time.Since(start) > 0 {
			t.Errorf("another call after %v: %v", time.Since(start), err)
		}
		for p.transport.InFlight() > 0 {
			pass(time.Second)
		}
		allowed := defaultStallTime + time.Duration(len(big))*time.Second/defaultMinRate
		if took := time.Since(start); took < defaultStallTime || took > allowed+2*time.Second {
			t.Errorf("the call was ended after %v, allowed %v", took, allowed)
		}
		got := 0
		for {
			var m wrapperspb.BytesValue
			if err = stream.Receive(&m); err != nil {
				break
			}
			got++
		}
		if connect.CodeOf(err) != connect.CodeResourceExhausted || got == 0 || got > 3 {
			t.Errorf("%d messages, then %v", got, err)
		}
	})
}

// TestMinRate takes a message in drops: each gives credit, the whole is too slow.
func TestMinRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, served := rawClient(t, &service{}, nil, Limits{StreamWindow: minWindow})
		body := make([]byte, 200<<10) // less than the server's window
		r.send(kindCall, flagMore, 1, opens(1, echoSpec), num(uint64(len(body)+4)), []byte{0x0a, 0x80, 0xc0, 0x0c}, body[:60<<10])
		dripping, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for sent := 60 << 10; sent < len(body); {
				n := min(len(body)-sent, 60<<10)
				flags := byte(flagMore)
				if sent += n; sent == len(body) {
					flags = flagLast
				}
				r.send(kindMessage, flags, 1, body[:n])
			}
			for {
				select {
				case <-dripping:
					return
				case <-time.After(time.Second):
					r.send(kindWindow, 0, 1, num(2<<10))
				}
			}
		}()
		start := time.Now()
		f := fields{b: r.until(kindEnd).payload}
		status := f.status(nil, 0)
		allowed := defaultStallTime + time.Duration(len(body))*time.Second/defaultMinRate
		if took := time.Since(start); status.Code() != connect.CodeResourceExhausted || took < allowed-time.Second || took > allowed+10*time.Second {
			t.Errorf("after %v, allowed %v: %v", took, allowed, status)
		}
		close(dripping)
		<-done
		_ = r.nc.Close()
		<-served
	})
}

// TestSlowMessage sends a message in pieces, slower and slower: at the least rate it is answered, and
// a bit slower it is given up, with the memory that it held.
func TestSlowMessage(t *testing.T) {
	body := make([]byte, 200<<10)
	allowed := defaultStallTime + time.Duration(len(body)+4)*time.Second/defaultMinRate
	for pause, want := range map[time.Duration]connect.Code{(allowed - time.Second) / 10: 0, (allowed + time.Second) / 10: connect.CodeDeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			r, server, served := rawClient(t, &service{}, nil, Limits{})
			r.send(kindCall, flagMore, 1, opens(1, echoSpec), num(uint64(len(body)+4)), []byte{0x0a, 0x80, 0xc0, 0x0c})
			piece := len(body) / 10
			for i := range 10 {
				pass(pause)
				flags := byte(flagMore)
				if i == 9 {
					flags = flagLast
				}
				r.send(kindMessage, flags, 1, body[i*piece:][:piece])
			}
			start := time.Now()
			var code connect.Code
			for {
				f, err := r.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.kind == kindEnd {
					p := fields{b: f.payload}
					if status := p.status(nil, 0); status != nil {
						code = status.Code()
					}
				}
				if f.kind == kindEnd || f.flags&flagLast != 0 {
					break
				}
			}
			if took := time.Since(start); code != want || took > time.Second {
				t.Errorf("pieces every %v: %v after %v, want %v", pause, code, took, want)
			}
			synctest.Wait()
			if n := server.shared.used.Load(); n != 0 {
				t.Errorf("%d bytes are held", n)
			}
			_ = r.nc.Close()
			<-served
		})
	}
}

// TestWriteTime lets the socket of a client fill: the server gives it up.
func TestWriteTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, served := rawClient(t, &service{}, nil, Limits{})
		start := time.Now()
		r.send(kindCall, flagLast, 1, opens(1, nullSpec)) // and nobody reads the answer
		err := <-served
		if took := time.Since(start); took < defaultWriteTime || took > 2*defaultWriteTime || !strings.Contains(err.Error(), "has not read") {
			t.Errorf("after %v: %v", took, err)
		}
		_ = r.nc.Close()
	})
}

// TestPingFlood asks and asks and reads no answer: memory stays bounded.
func TestPingFlood(t *testing.T) {
	r, _, served := rawClient(t, &service{}, nil, Limits{})
	ping := appendFrame(nil, false, kindPing, 0, 0, make([]byte, 8), nil)
	var flood []byte
	for range 1000 {
		flood = append(flood, ping...)
	}
	sent := 0
	for {
		n, err := r.nc.Write(flood)
		if sent += n; err != nil {
			break
		}
	}
	if err := <-served; !strings.Contains(err.Error(), "does not read the answers") {
		t.Errorf("served: %v", err)
	}
	if limit := defaultPendingBytes + controlBytes; sent > 4*limit {
		t.Errorf("%d bytes of pings were taken, the answers are limited to %d", sent, limit)
	}
}

// TestAssembly fills the memory for messages that are put together: the next is refused,
// and what is given back can be used.
func TestAssembly(t *testing.T) {
	const size = 1 << 20
	r, server, served := rawClient(t, &service{}, &ServerOptions{Limits: Limits{MessageBytes: size, AssemblyBytes: 2 * size}}, Limits{})
	procedure := opens(1, echoSpec)
	open := func(id uint32) {
		r.send(kindCall, flagMore, id, procedure, num(size), make([]byte, 1000))
		procedure = num(2) // it has been named
	}
	open(1)
	open(2)
	for server.shared.used.Load() < 2*size {
		runtime.Gosched()
	}
	open(3)
	f := fields{b: r.until(kindEnd).payload}
	if status := f.status(nil, 0); status.Code() != connect.CodeResourceExhausted {
		t.Errorf("one more: %v", status)
	}
	r.send(kindCancel, 0, 1)
	if end := r.until(kindEnd); end.stream != 1 {
		t.Errorf("stream %d has ended", end.stream)
	}
	open(1)
	for server.shared.used.Load() < 2*size {
		runtime.Gosched()
	}
	_ = r.nc.Close()
	<-served
	if n := server.shared.used.Load(); n != 0 {
		t.Errorf("%d bytes are not given back", n)
	}
}

// TestManyProcedures calls more procedures than a connection remembers.
func TestManyProcedures(t *testing.T) {
	p := newPair(t, &service{}, nil, nil)
	defer p.close()
	for i := range procedures + 2 {
		spec := connect.Spec{Procedure: fmt.Sprintf("/t.T/Absent%d", i)}
		for range 2 {
			if err := call(context.Background(), p.client, spec); connect.CodeOf(err) != connect.CodeUnimplemented {
				t.Fatalf("%s: %v", spec.Procedure, err)
			}
		}
	}
	if err := call(context.Background(), p.client, connect.Spec{Procedure: strings.Repeat("p", procedureBytes+1)}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a name too long: %v", err)
	}
}

// TestBombs sends packed messages that say less, or more, than they are.
func TestBombs(t *testing.T) {
	enc, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	packed := enc.EncodeAll(make([]byte, 8<<20), nil)
	// Whatever is inside, what is unpacked is no more than was said.
	var before, after runtime.MemStats
	for range 2 { // the first time makes the decompressor
		runtime.ReadMemStats(&before)
		if _, err := unpack(packed, 1000); err == nil {
			t.Error("8 MiB are 1,000 bytes")
		}
		runtime.ReadMemStats(&after)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes of memory for a message that says 1,000", n)
	}
	for _, raw := range []uint64{1, 8<<20 - 1, 8<<20 + 1, 16 << 20} {
		r, server, served := rawClient(t, &service{}, nil, Limits{})
		r.send(kindCall, flagPacked|flagLast, 1, opens(1, echoSpec), num(raw), packed)
		f := fields{b: r.until(kindEnd).payload}
		if status := f.status(nil, 0); status.Code() != connect.CodeInvalidArgument {
			t.Errorf("said %d: %v", raw, status)
		}
		_ = r.nc.Close()
		<-served
		if n := server.shared.used.Load(); n != 0 {
			t.Errorf("%d bytes are not given back", n)
		}
	}
}

// TestIdleMemory holds idle connections that have had a large call each: 1,000 must fit
// into 64 MiB.
func TestIdleMemory(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	clientTLS.ServerName = "127.0.0.1"
	t.Run("plain", func(t *testing.T) {
		idleMemory(t, 1000, func(near, far net.Conn) (net.Conn, net.Conn) { return near, far })
	})
	t.Run("TLS", func(t *testing.T) {
		idleMemory(t, 200, func(near, far net.Conn) (net.Conn, net.Conn) {
			return tls.Client(near, clientTLS), tls.Server(far, serverTLS)
		})
	})
}

func idleMemory(t *testing.T, conns int, wrap func(near, far net.Conn) (net.Conn, net.Conn)) {
	server, err := NewServer((&service{}).register(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	inUse := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	before := inUse()
	for range conns {
		near, far := wrap(net.Pipe())
		go func() { _ = server.ServeConn(context.Background(), far) }()
		transport, err := NewTransport(context.Background(), near, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = transport.Close() }()
		client := connect.NewClient(transport)
		if err := client.CallUnary(context.Background(), echoSpec, sized(100<<10), &wrapperspb.BytesValue{}); err != nil {
			t.Fatal(err)
		}
		if err := call(context.Background(), client, nullSpec); err != nil {
			t.Fatal(err)
		}
	}
	each := (inUse() - before) / conns
	t.Logf("%d bytes for a connection, both ends", each)
	if each > 64<<20/1000 {
		t.Errorf("an idle connection holds %d bytes: 1,000 are more than 64 MiB", each)
	}
}

// TestUnreceived calls handlers that do not receive what was sent, more of it than the
// connection's window takes: the room comes back.
func TestUnreceived(t *testing.T) {
	deaf := connect.Spec{Procedure: "/t.T/Deaf"}
	methods := connect.NewServer()
	methods.Register(connect.Method{Spec: deaf, Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
		return stream.Send(&wrapperspb.BytesValue{})
	}})
	methods.Register(connect.Method{Spec: sumSpec, Handler: sum})
	server, err := NewServer(methods, &ServerOptions{Limits: Limits{StreamWindow: minWindow, ConnectionWindow: minWindow}})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.ServeConn(context.Background(), far) }()
	transport, err := NewTransport(context.Background(), near, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := connect.NewClient(transport)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 20 {
		if err := client.CallUnary(ctx, deaf, sized(10<<10), &wrapperspb.BytesValue{}); err != nil {
			t.Fatalf("a handler that answers: %v", err)
		}
		if err := client.CallUnary(ctx, absentSpec, sized(10<<10), &wrapperspb.BytesValue{}); connect.CodeOf(err) != connect.CodeUnimplemented {
			t.Fatalf("no handler: %v", err)
		}
	}
	// A call that has ended needs no room; one whose messages are received does.
	q := question{spec: sumSpec, messages: []proto.Message{sized(10 << 10), sized(10 << 10), sized(10 << 10)}}
	if got, err := q.stream(ctx, client); err != nil || got[0] != "30711" {
		t.Errorf("a handler that receives: %v %v", got, err)
	}
	_ = transport.Close()
	_ = server.Close()
	<-served
}

// TestPending asks for much and reads nothing: the answers wait with their handlers, not
// in the connection.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pending, size, calls = 32 << 10, 8 << 10, 30
		r, server, served := rawClient(t, &service{}, &ServerOptions{Limits: Limits{PendingBytes: pending}}, Limits{})
		procedure := opens(1, echoSpec)
		for id := range uint32(calls) {
			body := append([]byte{0x0a, 0x80, 0x40}, make([]byte, size)...)
			r.send(kindCall, flagLast, id+1, procedure, body)
			procedure = num(2)
		}
		synctest.Wait()
		for sc := range server.conns {
			sc.c.mu.Lock()
			n := 0
			if sc.c.out.pending != nil {
				n = len(sc.c.out.pending.b)
			}
			if n < pending || n > pending+size+headerBytes+3 {
				t.Errorf("%d bytes are pending, the limit is %d", n, pending)
			}
			sc.c.mu.Unlock()
		}
		for range calls {
			if f := r.until(kindMessage); len(f.payload) != size+3 {
				t.Errorf("an answer of %d bytes", len(f.payload))
			}
		}
		_ = r.nc.Close()
		<-served
	})
}
