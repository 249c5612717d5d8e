package wire

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var rewrite = flag.Bool("rewrite", false, "write testdata again")

// recorder is a client's connection that keeps what passes.
type recorder struct {
	net.Conn
	mu       sync.Mutex
	out, in  []byte
	prefaced bool
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.out = append(r.out, b...)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	r.in = append(r.in, b[:n]...)
	r.mu.Unlock()
	return n, err
}

// dump returns what has passed since the last dump, a frame a line, the client's first.
func (r *recorder) dump(t *testing.T, title string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := "\n# " + title + "\n"
	for _, d := range []struct {
		mark string
		b    *[]byte
	}{{">", &r.out}, {"<", &r.in}} {
		b := *d.b
		if !r.prefaced {
			text += fmt.Sprintf("%s %x %x %x\n", d.mark, b[:4], b[4], b[5])
			b = b[6:]
		}
		for len(b) > 0 {
			f, n, err := parseFrame(b, false, maxFrameBytes)
			if err != nil || n > len(b) {
				t.Fatalf("%s: %x: %v", title, b, err)
			}
			head := n - len(f.payload)
			text += strings.TrimSpace(fmt.Sprintf("%s %x %x", d.mark, b[:head], f.payload)) + "   " + describe(f, d.mark == ">") + "\n"
			b = b[n:]
		}
		*d.b = nil
	}
	r.prefaced = true
	return text
}

// describe says what a frame is, from its bytes and doc.go, not with the package's code.
func describe(f frame, client bool) string {
	p := f.payload
	number := func() (v uint64) {
		for shift := 0; ; shift += 7 {
			c := p[0]
			p = p[1:]
			v |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return v
			}
		}
	}
	text := func() string {
		n := number()
		v := p[:n]
		p = p[n:]
		return string(v)
	}
	metadata := func() (s string) {
		for n := number(); n > 0; n-- {
			s += " " + text() + ":" + text()
		}
		return s
	}
	names := []string{"?", "hello", "open", "call", "headers", "message", "end", "cancel", "window", "ping", "pong", "goaway"}
	s := names[f.kind]
	if f.stream > 0 {
		s += fmt.Sprint(" ", f.stream)
	}
	begins := f.kind == 2 || f.kind == 3
	if begins {
		head := number()
		s += fmt.Sprint(" procedure ", head>>1)
		if head&1 == 1 {
			s += " = " + text()
		}
		if f.flags&0x80 != 0 {
			s += fmt.Sprintf(" within %d ms", number()) + metadata()
		}
	}
	switch {
	case f.kind == 1:
		for len(p) > 0 {
			s += fmt.Sprintf(" %d=%x", number(), text())
		}
	case f.kind == 4:
		s += metadata()
	case f.kind == 6 && !client:
		if code := number(); code != 0 {
			s += fmt.Sprintf(" code %d %q", code, text())
			for n := number(); n > 0; n-- {
				s += fmt.Sprintf(" %s %x", text(), text())
			}
		} else {
			s += " ok"
		}
		if len(p) > 0 {
			s += metadata()
		}
	case f.kind == 8:
		s += fmt.Sprint(" ", number())
	case f.kind == 11:
		s += fmt.Sprintf(" code %d %q", number(), text())
	}
	if f.kind != 6 {
		s += describePiece(f.flags, number)
	}
	return s
}

func describePiece(flags byte, number func() uint64) (s string) {
	if flags&0x10 != 0 {
		s += fmt.Sprintf(" more of %d", number())
	}
	if flags&0x20 != 0 {
		s += fmt.Sprintf(" packed from %d", number())
	}
	if flags&0x40 != 0 {
		s += " last"
	}
	return s
}

// converse has the golden conversation and returns it.
func converse(t *testing.T) string {
	near, far := net.Pipe()
	s := &service{waiting: make(chan struct{}, 1), ended: make(chan error, 1)}
	server, err := NewServer(s.register(), &ServerOptions{Packing: PackAlways})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeConn(context.Background(), far) }()
	r := &recorder{Conn: near}
	transport, err := NewTransport(context.Background(), r, &Options{Credentials: []byte("key"), Agent: "test 1", Packing: PackAlways})
	if err != nil {
		t.Fatal(err)
	}
	client := connect.NewClient(transport)
	all := r.dump(t, "the hellos")
	step := func(title string, do func(ctx context.Context) error) {
		if err := do(context.Background()); err != nil {
			t.Fatalf("%s: %v", title, err)
		}
		all += r.dump(t, title)
	}
	hello := wrapperspb.Bytes([]byte("hello"))
	var got wrapperspb.BytesValue
	step("a call", func(ctx context.Context) error { return client.CallUnary(ctx, echoSpec, hello, &got) })
	step("the same procedure, with metadata", func(ctx context.Context) error {
		ctx, info := connect.NewClientContext(ctx)
		info.RequestHeader().Set("T-Key", "value")
		return client.CallUnary(ctx, echoSpec, hello, &got)
	})
	step("a message that is packed", func(ctx context.Context) error {
		return client.CallUnary(ctx, echoSpec, wrapperspb.Bytes(bytes.Repeat([]byte("kanta "), 200)), &got)
	})
	step("an error with a detail", func(ctx context.Context) error {
		if err := client.CallUnary(ctx, failSpec, wrapperspb.String("way"), &got); connect.CodeOf(err) != connect.CodeFailedPrecondition {
			return err
		}
		return nil
	})
	step("a stream of answers", func(ctx context.Context) error {
		return drainStream(client.CallServerStream(ctx, repeatSpec, wrapperspb.Bytes([]byte("ab"))))
	})
	step("a stream both ways", func(ctx context.Context) error { return twice(client.CallClientStream(ctx, chatSpec)) })
	step("a call that is given up", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		go func() { <-s.waiting; cancel() }()
		if err := client.CallUnary(ctx, waitSpec, &emptypb.Empty{}, &emptypb.Empty{}); !errors.Is(err, context.Canceled) {
			return err
		}
		<-s.ended
		for transport.InFlight() > 0 { // the server's end of it is under way
			runtime.Gosched()
		}
		return nil
	})
	step("the server leaves", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return errors.Join(server.Shutdown(ctx), func() error { <-served; return nil }())
	})
	return all
}

// drainStream reads a stream to its end.
func drainStream(stream connect.ClientStream, err error) error {
	for err == nil {
		var m wrapperspb.BytesValue
		err = stream.Receive(&m)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// twice sends two messages and reads them back, one after the other.
func twice(stream connect.ClientStream, err error) error {
	for _, text := range []string{"one", "two"} {
		var m wrapperspb.BytesValue
		if err = errors.Join(err, stream.Send(wrapperspb.Bytes([]byte(text))), stream.Receive(&m)); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return drainStream(stream, nil)
}

func TestGolden(t *testing.T) {
	const name = "testdata/conversation.txt"
	got := converse(t)
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the conversation is not that of %s; it is\n%s", name, got)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	// Of the example in doc.go each line of bytes is one of the conversation's.
	lines := 0
	for line := range strings.Lines(string(doc)) {
		if line, ok := strings.CutPrefix(line, "//\t"); ok && strings.ContainsAny(line[:1], "<>") {
			lines++
			if !strings.Contains(string(want), "\n"+line) {
				t.Errorf("doc.go's example has a line that %s has not: %s", name, line)
			}
		}
	}
	if lines < 8 {
		t.Errorf("doc.go's example has %d lines", lines)
	}
}
