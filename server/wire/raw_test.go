package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// raw is an end of a connection that says what a test wants.
type raw struct {
	t  *testing.T
	nc net.Conn
	in []byte
}

// rawClient returns a client of a server, after the hellos, and what ServeConn will say.
func rawClient(t *testing.T, s *service, o *ServerOptions, limits Limits) (*raw, *Server, <-chan error) {
	t.Helper()
	server, err := NewServer(s.register(), o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.ServeConn(context.Background(), far) }()
	t.Cleanup(func() { _ = near.Close(); _ = server.Close() })
	r := &raw{t: t, nc: near}
	h := limits.withDefaults().hello()
	r.write(appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, h.append(nil), nil))
	r.hellos()
	return r, server, served
}

// rawServer returns a server of a transport, after the hellos.
func rawServer(t *testing.T, o *Options, limits Limits) (*raw, *Transport) {
	t.Helper()
	near, far := net.Pipe()
	r := &raw{t: t, nc: far}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.hellos()
		h := limits.withDefaults().hello()
		r.write(appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, h.append(nil), nil))
	}()
	transport, err := NewTransport(context.Background(), near, o)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close(); _ = far.Close() })
	return r, transport
}

func (r *raw) hellos() {
	b := make([]byte, preambleBytes)
	if _, err := io.ReadFull(r.nc, b); err != nil || string(b[:4]) != Magic {
		r.t.Errorf("preamble %q: %v", b, err)
	}
	if f, err := r.next(); err != nil || f.kind != kindHello {
		r.t.Errorf("hello %+v: %v", f, err)
	}
}

// write writes, and lets the other end close meanwhile.
func (r *raw) write(b []byte) { _, _ = r.nc.Write(b) }

func (r *raw) send(kind, flags byte, stream uint32, payload ...[]byte) {
	var all []byte
	for _, p := range payload {
		all = append(all, p...)
	}
	r.write(appendFrame(nil, false, kind, flags, stream, all, nil))
}

// next returns the next frame of the other end.
func (r *raw) next() (frame, error) {
	for {
		f, n, err := parseFrame(r.in, false, maxFrameBytes)
		if err != nil {
			return f, err
		}
		if n <= len(r.in) {
			r.in = r.in[n:]
			return f, nil
		}
		b := make([]byte, 1<<16)
		got, err := r.nc.Read(b)
		if r.in = append(r.in[:len(r.in):len(r.in)], b[:got]...); err != nil {
			return f, err
		}
	}
}

// until returns the next frame of a kind.
func (r *raw) until(kind byte) frame {
	r.t.Helper()
	for {
		f, err := r.next()
		if err != nil {
			r.t.Errorf("the connection ended before a frame of kind %d: %v", kind, err)
			return frame{}
		}
		if f.kind == kind {
			return f
		}
	}
}

// opens returns the opening of a call that names its procedure.
func opens(number uint64, spec connect.Spec) []byte {
	return appendOpening(nil, number, spec.Procedure, false, 0, nil)
}

func num(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// TestBreachesOfClients sends a server what it must not take: it says why and closes.
func TestBreachesOfClients(t *testing.T) {
	const small = 1 << 10
	limits := Limits{MessageBytes: small, Streams: 3, MetadataBytes: 100}
	open := appendFrame(nil, false, kindOpen, 0, 1, opens(1, chatSpec), nil)
	f := func(kind, flags byte, stream uint32, parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return appendFrame(nil, false, kind, flags, stream, all, nil)
	}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	metadata := func(n int) []byte { return join(num(0, 1), appendBytes(appendBytes(nil, "k"), make([]byte, n))) }
	for _, c := range []struct {
		name string
		send []byte
		want string // of the goaway; empty: none comes, and a ping is answered
	}{
		{"kind 0", []byte{0x00, 0, 0}, "kind 0"},
		{"kind 12", []byte{0x0c, 0, 0}, "kind 12"},
		{"a flag", f(kindPing, flagLast, 0), "flags"},
		{"a frame", f(kindOpen, flagMeta, 1, opens(1, chatSpec), metadata(67)), ""},
		{"a frame too large", append(num(uint64(kindMessage)), num(64<<10+1, 1)...), "65537 bytes"},
		{"a long number", []byte{kindPing, 0x80, 0x00, 0}, "longer form"},
		{"a number too long", []byte{kindPing, 0xff, 0xff, 0xff, 0xff, 0x0f}, "more than 4 bytes"},
		{"a second hello", f(kindHello, 0, 0), "kind 1"},
		{"a ping on a stream", f(kindPing, 0, 1), "does not belong"},
		{"a ping of 8", f(kindPing, 0, 0, make([]byte, 8)), ""},
		{"a ping of 9", f(kindPing, 0, 0, make([]byte, 9)), "a ping of 9"},
		{"headers", f(kindHeaders, 0, 1), "a client does not send"},
		{"stream 0", f(kindMessage, 0, 0), "stream 0"},
		{"stream 3", f(kindOpen, 0, 3, opens(1, chatSpec)), ""},
		{"stream 4", f(kindOpen, 0, 4, opens(1, chatSpec)), "stream 4"},
		{"a stream twice", join(open, f(kindOpen, 0, 1, num(2))), "which is open"},
		{"a number without a name", f(kindOpen, 0, 1, num(2)), "procedure number 1"},
		{"a number too high", f(kindOpen, 0, 1, opens(2, chatSpec)), "number 1 is next"},
		{"a name", f(kindOpen, 0, 1, num(1), appendBytes(nil, make([]byte, procedureBytes))), ""},
		{"a name too long", f(kindOpen, 0, 1, num(1), appendBytes(nil, make([]byte, procedureBytes+1))), "procedure's name"},
		{"metadata too large", f(kindOpen, flagMeta, 1, opens(1, chatSpec), metadata(68)), "metadata"},
		{"many metadata", f(kindOpen, flagMeta, 1, opens(1, chatSpec), num(0, 1<<40)), "metadata"},
		{"a deadline too late", f(kindOpen, flagMeta, 1, opens(1, chatSpec), num(1<<60, 0)), "deadline"},
		{"an open with more", f(kindOpen, 0, 1, opens(1, chatSpec), []byte{1}), "1 bytes too many"},
		{"a message of the limit", join(open, f(kindMessage, 0, 1, make([]byte, small))), ""},
		{"a message too large", join(open, f(kindMessage, 0, 1, make([]byte, small+1))), "size of a message"},
		{"a size too large", join(open, f(kindMessage, flagMore, 1, num(small+1), []byte{1})), "size of a message"},
		{"an unpacked size too large", join(open, f(kindMessage, flagPacked, 1, num(small+1), []byte{1})), "unpacked size"},
		{"an empty piece", join(open, f(kindMessage, flagMore, 1, num(10))), "add up"},
		{"too few pieces", join(open, f(kindMessage, flagMore, 1, num(10), []byte{1}), f(kindMessage, 0, 1, []byte{1})), "add up"},
		{"too many pieces", join(open, f(kindMessage, flagMore, 1, num(2), []byte{1}), f(kindMessage, flagMore, 1, []byte{1, 2})), "add up"},
		{"the last piece goes on", join(open, f(kindMessage, flagMore|flagLast, 1, num(3), []byte{1})), "flags"},
		{"a packed piece", join(open, f(kindMessage, flagMore, 1, num(3), []byte{1}), f(kindMessage, flagPacked, 1, []byte{1, 2})), "flags"},
		{"a message after the last", join(open, f(kindMessage, flagLast, 1), f(kindMessage, 0, 1)), "after the last"},
		{"an end after the last", join(open, f(kindMessage, flagLast, 1), f(kindEnd, 0, 1)), "where it cannot be"},
		{"an end in a message", join(open, f(kindMessage, flagMore, 1, num(3), []byte{1}), f(kindEnd, 0, 1)), "where it cannot be"},
		{"an end with a payload", join(open, f(kindEnd, 0, 1, []byte{1})), "it has none"},
		{"a cancel twice", join(open, f(kindCancel, 0, 1), f(kindCancel, 0, 1)), ""},
		{"frames of no call", join(f(kindMessage, 0, 2, []byte{1}), f(kindEnd, 0, 2), f(kindCancel, 0, 2), f(kindWindow, 0, 2, num(1))), ""},
		{"a window", f(kindWindow, 0, 0, num(maxWindow)), ""},
		{"a window too wide", join(f(kindWindow, 0, 0, num(maxWindow)), f(kindWindow, 0, 0, num(maxWindow))), "more credit"},
		{"a stream's window too wide", join(open, f(kindWindow, 0, 1, num(maxWindow)), f(kindWindow, 0, 1, num(maxWindow))), "more credit"},
		{"a window with more", f(kindWindow, 0, 0, num(1, 1)), "too many"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), "flags"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, server, served := rawClient(t, &service{}, &ServerOptions{Limits: limits}, Limits{})
			go r.write(append(c.send, f(kindPing, 0, 0, []byte("?"))...))
			if c.want == "" {
				for f := r.until(kindPong); f.kind == kindPong && string(f.payload) != "?"; f = r.until(kindPong) {
				}
				_ = r.nc.Close()
				<-served
				return
			}
			code, reason, err := parseGoAway(r.until(kindGoAway).payload)
			if err != nil || code != connect.CodeInvalidArgument || !strings.Contains(reason, c.want) {
				t.Errorf("%v %q %v, want %q", code, reason, err, c.want)
			}
			if err := <-served; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("served: %v, want %q", err, c.want)
			}
			if n := server.shared.used.Load(); n != 0 {
				t.Errorf("%d bytes of assembly are not given back", n)
			}
		})
	}
}

// TestBreachesOfServers sends a client what it must not take: the call fails.
func TestBreachesOfServers(t *testing.T) {
	for _, c := range []struct {
		name        string
		kind, flags byte
		stream      uint32
		payload     []byte
		want        string
	}{
		{"another stream", kindMessage, 0, 2, nil, "not open"},
		{"too many details", kindEnd, 0, 1, num(3, 0, statusDetails+1), "number of details"},
		{"an open", kindOpen, 0, 1, opens(1, chatSpec), "a server does not send"},
		{"a cancel", kindCancel, 0, 1, nil, "a server does not send"},
		{"a status with more", kindEnd, 0, 1, num(0, 0, 1), "too many"},
		{"a status cut off", kindEnd, 0, 1, num(3, 7), "cut off"},
		{"headers cut off", kindHeaders, 0, 1, num(1), "cut off"},
		{"a packed message that is none", kindMessage, flagPacked | flagLast, 1, append(num(100), 1, 2, 3), "a packed message"},
		{"a goaway with more", kindGoAway, 0, 0, num(0, 0, 0), "too many"},
		{"credit to no call", kindWindow, 0, 3, num(1), "not open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, transport := rawServer(t, nil, Limits{})
			go func() {
				r.until(kindCall)
				r.send(c.kind, c.flags, c.stream, c.payload)
				_, _ = io.Copy(io.Discard, r.nc)
			}()
			err := null(connect.NewClient(transport))()
			if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(errorTree(err), c.want) {
				t.Errorf("%s, want %q", errorTree(err), c.want)
			}
			<-transport.Done()
		})
	}
}

// TestCutMessage ends a call in the middle of a message: with an error that is the call's,
// with ok it is a breach.
func TestCutMessage(t *testing.T) {
	for code, want := range map[uint64]connect.Code{uint64(connect.CodeAborted): connect.CodeAborted, 0: connect.CodeUnavailable} {
		r, transport := rawServer(t, nil, Limits{})
		go func() {
			r.until(kindCall)
			r.send(kindMessage, flagMore, 1, num(10), []byte{1})
			status := num(code)
			if code != 0 {
				status = num(code, 0, 0)
			}
			r.send(kindEnd, 0, 1, status)
			_, _ = io.Copy(io.Discard, r.nc)
		}()
		err := drainStream(connect.NewClient(transport).CallServerStream(context.Background(), repeatSpec, wrapperspb.Bytes(nil)))
		if connect.CodeOf(err) != want {
			t.Errorf("a message cut by status %d: %v", code, err)
		}
		_ = transport.Close()
		<-transport.Done()
	}
}

// TestEndOfConnection tells a client that leaves from one that breaks off.
func TestEndOfConnection(t *testing.T) {
	h := Limits{}.withDefaults().hello()
	first := appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, h.append(nil), nil)
	for rest, want := range map[string]error{"": io.EOF, "\x09\x02\x00a": io.ErrUnexpectedEOF} {
		server, err := NewServer(connect.NewServer(), nil)
		if err != nil {
			t.Fatal(err)
		}
		nc := &script{in: bytes.NewReader(append(first[:len(first):len(first)], rest...)), piece: 1 << 10, limit: 1 << 20}
		if err := server.ServeConn(context.Background(), nc); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", rest, err, want)
		}
		_ = server.Close()
	}
}

// errorTree is the text of an error and of its causes.
func errorTree(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		text += " <- " + errorTree(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			text += " <- " + errorTree(e)
		}
	}
	return text
}

// TestChecksums flips every bit of a call: with checksums no handler sees it.
func TestChecksums(t *testing.T) {
	h := Limits{}.withDefaults().hello()
	first := appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, h.append(nil), nil)
	frame := appendFrame(nil, true, kindCall, flagLast, 1, opens(1, echoSpec), []byte{0x0a, 2, 'h', 'i'})
	handled := func(frame []byte) (n int) {
		methods := connect.NewServer()
		methods.SetUnknownHandler(func(context.Context, connect.Spec, connect.ServerStream) error { n++; return nil })
		server, err := NewServer(methods, &ServerOptions{Checksums: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		nc := &script{in: bytes.NewReader(append(first[:len(first):len(first)], frame...)), piece: 1 << 10, limit: 1 << 20}
		if err := server.ServeConn(context.Background(), nc); err == nil {
			t.Error("served, and no reason for the end")
		}
		return n
	}
	if handled(frame) != 1 {
		t.Fatal("the call was not handled")
	}
	for bit := range 8 * len(frame) {
		flipped := bytes.Clone(frame)
		flipped[bit/8] ^= 1 << (bit % 8)
		if handled(flipped) != 0 {
			t.Errorf("bit %d was flipped, and the call handled", bit)
		}
	}
}
