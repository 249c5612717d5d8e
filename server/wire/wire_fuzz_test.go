package wire

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// script is a connection whose other end says what it says, in pieces, and closes.
type script struct {
	in    *bytes.Reader
	piece int
	mu    sync.Mutex
	wrote int
	limit int // of what is written in all
	over  bool
}

func (s *script) Read(b []byte) (int, error) {
	return s.in.Read(b[:min(len(b), s.piece)])
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrote += len(b); s.wrote > s.limit {
		s.over = true
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// conversation returns the bytes of one direction of the golden conversation, without
// the hello, a slice for each frame.
func conversation(t testing.TB, mark string) (frames [][]byte) {
	text, err := os.ReadFile("testdata/conversation.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, mark) || strings.Contains(line, "hello ") || strings.Contains(line, Magic) {
			continue
		}
		b, _, _ := strings.Cut(strings.TrimPrefix(line, mark), "   ")
		frame, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(b), " ", ""))
		if err == nil && len(frame) != 6 {
			frames = append(frames, frame)
		}
	}
	if len(frames) < 5 {
		t.Fatalf("%d frames in the conversation", len(frames))
	}
	return frames
}

// seed adds the conversation, whole and in beginnings, and frames that the other
// direction sends.
func seed(f *testing.F) {
	for _, mark := range []string{">", "<"} {
		frames := conversation(f, mark)
		for i := range frames {
			f.Add(bytes.Join(frames[:i+1], nil), uint16(7))
			f.Add(frames[i], uint16(1))
		}
	}
	call := appendFrame(nil, false, kindCall, flagMore, 1, opens(1, echoSpec), num(8))
	f.Add(bytes.Join([][]byte{call, appendFrame(nil, false, kindMessage, flagLast, 1, make([]byte, 8), nil)}, nil), uint16(100))
	for i, spec := range []connect.Spec{sumSpec, chatSpec, repeatSpec} {
		f.Add(appendFrame(nil, false, kindCall, flagLast, uint32(i+1), opens(1, spec), []byte{0x0a, 2, 1, 2}), uint16(3))
	}
}

func FuzzFrame(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		sums := piece&1 == 1
		for len(b) > 0 {
			fr, n, err := parseFrame(b, sums, minFrameBytes)
			if err != nil {
				return
			}
			if n > len(b) {
				// With what is missing it is a frame, or says why not, or wants more.
				if n > len(b)+headerBytes+minFrameBytes+checksumBytes {
					t.Fatalf("%d bytes more are wanted", n-len(b))
				}
				return
			}
			if again := appendFrame(nil, sums, fr.kind, fr.flags, fr.stream, fr.payload, nil); !bytes.Equal(again, b[:n]) {
				t.Fatalf("%x was read as %+v, which is %x", b[:n], fr, again)
			}
			b = b[n:]
		}
	})
}

func FuzzHello(f *testing.F) {
	h := Limits{}.withDefaults().hello()
	h.agent, h.credentials = "a", []byte("b")
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		again, err := parseHello(h.append(nil))
		if err != nil || again.frame != h.frame || !bytes.Equal(again.credentials, h.credentials) || again.agent != h.agent {
			t.Fatalf("%+v: %+v %v", h, again, err)
		}
	})
}

// small are limits that a short input can reach.
func small() Limits {
	return Limits{MessageBytes: 1 << 12, Streams: 4, StreamWindow: minWindow, ConnectionWindow: minWindow,
		AssemblyBytes: 1 << 13, SharedBytes: 1 << 13, MetadataBytes: 200, PendingBytes: 1 << 10, Handlers: 3}
}

// FuzzServer says anything to a server: it ends, and holds nothing.
func FuzzServer(f *testing.F) {
	seed(f)
	methods := (&service{panics: func() any { return "planted" }}).register()
	hello := small().withDefaults().hello()
	first := appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, hello.append(nil), nil)
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		server, err := NewServer(methods, &ServerOptions{Limits: small()})
		if err != nil {
			t.Fatal(err)
		}
		nc := &script{in: bytes.NewReader(append(first[:len(first):len(first)], b...)), piece: int(piece) + 1, limit: 64 << 20}
		if err := server.ServeConn(context.Background(), nc); err == nil {
			t.Error("served, and no reason for the end")
		}
		_ = server.Close()
		if n := server.shared.used.Load(); n != 0 {
			t.Errorf("%d bytes of assembly are not given back", n)
		}
		if n := server.running.Load(); n != 0 {
			t.Errorf("%d handlers run", n)
		}
		if nc.over {
			t.Errorf("more than %d bytes were written for %d read", nc.limit, len(b))
		}
	})
}

// FuzzClient answers a client's calls with anything: they end.
func FuzzClient(f *testing.F) {
	seed(f)
	hello := small().withDefaults().hello()
	first := appendFrame(appendPreamble(nil, 1, 1), false, kindHello, 0, 0, hello.append(nil), nil)
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		nc := &gated{script: script{in: bytes.NewReader(b), piece: int(piece) + 1, limit: 64 << 20}, hello: bytes.NewReader(first), open: make(chan struct{})}
		transport, err := NewTransport(context.Background(), nc, &Options{Limits: small()})
		if err != nil {
			t.Fatal(err)
		}
		client := connect.NewClient(transport)
		var calls sync.WaitGroup
		calls.Go(func() {
			_ = client.CallUnary(context.Background(), echoSpec, wrapperspb.Bytes([]byte("a")), &wrapperspb.BytesValue{})
		})
		calls.Go(func() { _ = twice(client.CallClientStream(context.Background(), chatSpec)) })
		for transport.InFlight() < 2 {
			runtime.Gosched()
		}
		close(nc.open)
		calls.Wait()
		<-transport.Done()
		if n := transport.c.own.used.Load(); n != 0 {
			t.Errorf("%d bytes of assembly are not given back", n)
		}
		if nc.over {
			t.Errorf("more than %d bytes were written for %d read", nc.limit, len(b))
		}
	})
}

// gated is a script whose hello is read at once, and the rest when the gate is open.
type gated struct {
	script
	hello *bytes.Reader
	open  chan struct{}
}

func (g *gated) Read(b []byte) (int, error) {
	if g.hello.Len() > 0 {
		return g.hello.Read(b)
	}
	<-g.open
	return g.script.Read(b)
}
