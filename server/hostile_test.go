package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/wire"
)

// strangers is how many strangers come at once: a thousand in make hostile.
func strangers() int {
	if os.Getenv(hostileVariable) == "" {
		return 100
	}
	return 1000
}

// others asks a server while something is done to it: each call must succeed. It says how long the
// slowest hundredth took, before and meanwhile; how much that may be is not for a machine to assert
// that does other things, too.
func others(t *testing.T, address string, o *client.Options, attack func()) {
	t.Helper()
	c := dial(t, address, o)
	ask := func(done func(n int) bool) (took []time.Duration) {
		for n := 0; !done(n); n++ {
			begun := time.Now()
			if _, err := c.Count(t.Context(), "n == 1", nil); err != nil {
				t.Errorf("call %d of somebody else: %v", n, err)
				return took
			}
			took = append(took, time.Since(begun))
		}
		return took
	}
	p99 := func(took []time.Duration) time.Duration {
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	before := ask(func(n int) bool { return n == 500 })
	var over atomic.Bool
	attacked := make(chan struct{})
	go func() {
		defer close(attacked)
		defer over.Store(true)
		attack()
	}()
	meanwhile := ask(func(n int) bool { return n > 100 && over.Load() })
	<-attacked
	if len(before) > 0 && len(meanwhile) > 0 {
		was, is := p99(before), p99(meanwhile)
		t.Logf("others' calls: p99 %v before, %v meanwhile (%d calls), %.1f times", was, is, len(meanwhile), float64(is)/float64(was))
	}
}

// inUse is the memory of the process, of both ends.
func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// connections opens as many connections as a crowd, each of which do begins.
func connections(t *testing.T, network, address string, do func(i int, c net.Conn)) (all []net.Conn) {
	for i := range strangers() {
		c, err := net.Dial(network, address)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return all
		}
		all = append(all, c)
		do(i, c)
	}
	return all
}

// wireFrame is a frame of the compact wire, by its specification.
func wireFrame(kind byte, stream int, payload []byte) []byte {
	b := binary.AppendUvarint([]byte{kind}, uint64(len(payload)))
	return append(binary.AppendUvarint(b, uint64(stream)), payload...)
}

// wireHello is a client's first words: it takes as much as can be said.
func wireHello(key string) []byte {
	var h []byte
	for i, v := range []uint64{1 << 20, 1 << 30, 1 << 16, 1 << 30, 1 << 30, 8 << 10, 0} {
		n := binary.AppendUvarint(nil, v)
		h = append(append(h, byte(i+1), byte(len(n))), n...)
	}
	h = append(append(h, 8, byte(len(key))), key...)
	return append([]byte(wire.Magic+"\x01\x01"), wireFrame(1, 0, h)...)
}

// many gives a store 20,000 people, whose listing is some 5 MB.
func many(t *testing.T, db *engine.DB) {
	t.Helper()
	for i := range 20 {
		b := batch.New()
		if i == 0 {
			b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "text", Kind: schema.String, Storage: schema.StorageInline}})
		}
		for j := range 1000 {
			b.Upsert(fmt.Sprint(i, "-", j)).Set("text", schema.StringValue(strings.Repeat(fmt.Sprint(i*j, " "), 40)))
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowReaders has many ask for more than they read, over the wire and HTTP. What each of
// them holds is bounded, and they are given up.
func TestSlowReaders(t *testing.T) {
	db := openStore(t)
	many(t, db)
	s := limited(t, db, nil, func(l *limits) { l.stalled, l.perCaller = 4*time.Second, 2*strangers() })
	// Theirs is one caller, so that they share what one has; others have turns of their own.
	theirs, mine := key(t, s, "reader"), key(t, s, "reader")
	address := listen(t, s).Addr().String()
	members := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.calls
	}
	message, err := proto.Marshal(&pb.MembersRequest{Expression: "true", Listing: &pb.ListingOptions{Attributes: []string{"text"}}})
	if err != nil {
		t.Fatal(err)
	}
	const procedure = "/kanta.v1.KantaService/Members"
	call := wireFrame(3|0x40, 1, append(append([]byte{3, byte(len(procedure))}, procedure...), message...))
	body := `{"expression":"true","listing":{"attributes":["text"]}}`
	envelope := string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))))
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/connect+json\r\nContent-Length: %d\r\n\r\n%s%s", procedure, theirs, len(body)+5, envelope, body)
	var all []net.Conn
	others(t, "kanta://"+address, &client.Options{Key: mine}, func() {
		before := inUse()
		all = connections(t, "tcp", address, func(i int, c net.Conn) {
			text := request
			if i%2 == 0 {
				text = string(wireHello(theirs)) + string(call)
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10) // a hint only
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "they are being answered", func() bool { return members() > strangers()/10 }) // a slow machine gives up the first before the last has come
		n := members()
		held := (inUse() - before) / n
		t.Logf("%d calls that are not read hold %d bytes each", n, held)
		if held > 2<<20 {
			t.Errorf("a call that is not read holds %d bytes", held)
		}
	})
	eventually(t, "all are given up", func() bool { return members() == 0 })
	for _, c := range all {
		_ = c.Close()
	}
}

// TestHalfOpen has many begin a handshake and not go on, in four ways. Who comes from
// elsewhere is let in at the first attempt, and as many wait as may.
func TestHalfOpen(t *testing.T) {
	tr := newTrust(t)
	s := limited(t, openStore(t), &Options{TLS: tr.server(true)}, nil)
	address := listen(t, s).Addr().String()
	mine := tr.client("anna")
	mine.ServerName = "127.0.0.1"
	ours := mine.Clone()
	ours.NextProtos = []string{wire.ALPN}
	var hello sniffer
	_ = tls.Client(&hello, ours).Handshake() // it hears nothing
	if len(hello.said) < 100 {
		t.Fatalf("a hello of TLS of %d bytes", len(hello.said))
	}
	others(t, "kanta://"+address, &client.Options{TLS: mine}, func() {
		before := inUse()
		all := connections(t, "tcp", address, func(i int, c net.Conn) {
			switch i % 4 {
			case 1:
				_, _ = c.Write(hello.said[:len(hello.said)/2]) // who is pushed out meanwhile cannot write
			case 2:
				_, _ = c.Write(hello.said) // and never answers
			case 3:
				secure := tls.Client(c, ours)
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				_ = secure.Handshake() // and says nothing on the wire
			}
		})
		for range 50 {
			if w, err := fromElsewhere(t, address, ours); err != nil {
				t.Errorf("somebody from elsewhere: %v", err)
			} else {
				_ = w.Close()
			}
		}
		s.hall.mu.Lock()
		n := len(s.hall.strangers)
		s.hall.mu.Unlock()
		if n < s.limits.strangers/2 || n > s.limits.strangers {
			t.Errorf("%d strangers wait, of %d that may", n, s.limits.strangers)
		}
		each := max(0, inUse()-before) / strangers()
		t.Logf("of %d half-open connections each holds %d bytes, both ends", strangers(), each)
		if each > 64<<10 {
			t.Errorf("a half-open connection holds %d bytes", each)
		}
		for _, c := range all {
			_ = c.Close()
		}
	})
	eventually(t, "nobody waits", func() bool { s.hall.mu.Lock(); defer s.hall.mu.Unlock(); return len(s.hall.strangers) == 0 })
}

// sniffer is a connection that keeps what is said and never answers.
type sniffer struct {
	net.Conn
	said []byte
}

func (s *sniffer) Write(b []byte) (int, error)     { s.said = append(s.said, b...); return len(b), nil }
func (s *sniffer) Read([]byte) (int, error)        { return 0, io.EOF }
func (s *sniffer) Close() error                    { return nil }
func (s *sniffer) SetDeadline(time.Time) error     { return nil }
func (s *sniffer) SetReadDeadline(time.Time) error { return nil }

// fromElsewhere connects from another address of loopback, where there are more than one.
func fromElsewhere(t *testing.T, address string, c *tls.Config) (*wire.Transport, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil && runtime.GOOS != "linux" {
		nc, err = net.Dial("tcp", address)
	}
	if err != nil {
		return nil, err
	}
	if c != nil {
		secure := tls.Client(nc, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, err
		}
		nc = secure
	}
	return wire.NewTransport(ctx, nc, nil)
}

// TestFlood opens connections as fast as it can, up to a number and for some seconds, and says
// nothing, or anything. Who is connected is answered, and who comes from elsewhere is let in.
func TestFlood(t *testing.T) {
	s := limited(t, openStore(t), nil, nil)
	address := listen(t, s).Addr().String()
	const most, long = 20_000, 2 * time.Second
	var opened atomic.Int64
	others(t, "kanta://"+address, nil, func() {
		end := time.Now().Add(long)
		var flood sync.WaitGroup
		for i := range 4 {
			flood.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for time.Now().Before(end) && opened.Add(1) <= most {
					c, err := net.Dial("tcp", address)
					if err != nil {
						continue // the machine's queue is full: that is what a flood does
					}
					_ = c.(*net.TCPConn).SetLinger(0) // its port is free at once
					junk := make([]byte, r.IntN(64))
					for i := range junk {
						junk[i] = byte(r.Uint32())
					}
					_, _ = c.Write(junk)
					_ = c.Close()
				}
			})
		}
		for range 20 {
			if w, err := fromElsewhere(t, address, nil); err != nil {
				t.Errorf("somebody from elsewhere: %v", err)
			} else {
				_ = w.Close()
			}
		}
		flood.Wait()
	})
	t.Logf("%d connections", opened.Load())
	eventually(t, "all are gone", func() bool {
		s.hall.mu.Lock()
		defer s.hall.mu.Unlock()
		return len(s.hall.strangers) == 0
	})
}

// hostileFrames is how many frames TestMutatedFrames sends: the whole million takes minutes.
const hostileVariable, hostileFrames = "KANTA_HOSTILE", 20_000

// TestMutatedFrames records what a client says, and says it again with bits flipped, pieces cut,
// doubled and exchanged, to a server that answers somebody else meanwhile: nothing panics, nothing
// fails inside, nothing is kept.
func TestMutatedFrames(t *testing.T) {
	frames := hostileFrames
	if testing.Short() {
		frames /= 20
	}
	if text := os.Getenv(hostileVariable); text != "" {
		var err error
		if frames, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	db := openStore(t)
	s := limited(t, db, &Options{Hooks: Hooks{Failed: func(call string, err error) { t.Errorf("%s: %v", call, err) }}}, nil)
	theirs, mine := key(t, s, "admin"), key(t, s, "reader")
	hello, corpus := recorded(t, db, theirs)
	path := filepath.Join(t.TempDir(), "socket") // which needs no ports
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("Unix sockets are missing: %v", err)
	}
	address := listen(t, s).Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	before := inUse()
	var sent, lived atomic.Int64
	others(t, "kanta://"+address, &client.Options{Key: mine}, func() {
		var senders sync.WaitGroup
		for i := range 4 {
			senders.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(frames)))
				for sent.Load() < int64(frames) {
					n, alive, err := mutated(path, hello, corpus, r)
					if err != nil {
						t.Error(err)
						return
					}
					sent.Add(int64(n))
					lived.Add(int64(alive))
				}
			})
		}
		senders.Wait()
	})
	eventually(t, "no call is left", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls == 0 })
	s.leases.closeAll() // what was opened by whoever wrote it so
	if grown := inUse() - before; grown > 64<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	t.Logf("%d frames, %d of which broke no rule of the wire", sent.Load(), lived.Load())
	if lived.Load() < sent.Load()/10 || lived.Load() == sent.Load() {
		t.Error("that is no test of what is behind the frames, or of the frames")
	}
	t.Cleanup(func() { // after the server's shutdown
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// mutated opens a connection and sends frames, each with a ping behind it, until one has broken the
// connection or there were some: which the server has read the pongs say. alive of them have broken
// nothing.
func mutated(path string, hello []byte, corpus [][]byte, r *rand.Rand) (n, alive int, err error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	out := slices.Clone(hello)
	const some = 32
	stream := 1
	for i := range some {
		b := slices.Clone(corpus[r.IntN(len(corpus))])
		if kind := b[0] & 15; kind == 2 || kind == 3 { // a call, on a stream of its own; what is no call is for the last one
			stream = i + 1
		}
		out = append(out, mutate(onStream(b, stream), corpus, r)...)
		out = append(out, wireFrame(9, 0, []byte{byte(i + 1)})...)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = c.Write(out) // it ends when the server has closed
		_ = c.(*net.UnixConn).CloseWrite()
	}()
	in, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, 0, fmt.Errorf("a connection on which nothing more is sent stays open: %w", err)
	}
	// A reset instead of an end is how a socket closes that has not been read.
	if len(in) > 6 {
		in = in[6:]
	}
	for len(in) > 0 {
		length, a := binary.Uvarint(in[1:])
		if a <= 0 {
			break
		}
		_, b := binary.Uvarint(in[1+a:])
		if b <= 0 || uint64(len(in)) < uint64(1+a+b)+length {
			break
		}
		payload := in[1+a+b:][:length]
		if in[0] == 10 && len(payload) == 1 && int(payload[0]) == alive+1 { // not one that a mutation has made
			alive++
		}
		in = in[1+a+b+int(length):]
	}
	return min(alive+1, some), alive, nil
}

// onStream returns a frame for another stream, if it is one of a stream.
func onStream(b []byte, stream int) []byte {
	payload, old := payloadOf(b)
	if old == 0 {
		return b
	}
	return wireFrame(b[0], stream, payload)
}

// payloadOf returns the payload and the stream of a whole frame, nil of another.
func payloadOf(b []byte) (payload []byte, stream int) {
	length, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return nil, 0
	}
	of, m := binary.Uvarint(b[1+n:])
	if m <= 0 || uint64(len(b)) != uint64(1+n+m)+length {
		return nil, 0
	}
	return b[1+n+m:], int(of)
}

// mutate changes a frame.
func mutate(b []byte, corpus [][]byte, r *rand.Rand) []byte {
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(len(b))
		switch r.IntN(8) {
		case 0, 1, 2:
			b[at] ^= 1 << r.IntN(8)
		case 3:
			b[at] = byte(r.Uint32())
		case 4: // cut, with a length that says so
			b = reframed(b, func(p []byte) []byte { return p[:r.IntN(len(p)+1)] })
		case 5: // a piece of another frame in it
			other := corpus[r.IntN(len(corpus))]
			from := r.IntN(len(other))
			piece := other[from:min(len(other), from+1+r.IntN(32))]
			b = reframed(b, func(p []byte) []byte { return slices.Insert(slices.Clone(p), r.IntN(len(p)+1), piece...) })
		case 6: // a flipped bit that the frame's head does not show
			b = reframed(b, func(p []byte) []byte {
				if len(p) > 0 {
					p[r.IntN(len(p))] ^= 1 << r.IntN(8)
				}
				return p
			})
		case 7: // without its end
			b = b[:at]
		}
	}
	return b
}

// reframed changes the payload of a frame, if it is one.
func reframed(b []byte, change func(payload []byte) []byte) []byte {
	payload, stream := payloadOf(b)
	if payload == nil {
		return b
	}
	return wireFrame(b[0], stream, change(payload))
}

// recorded returns the hello and the frames of a client that asks and writes most of what can be.
func recorded(t *testing.T, db *engine.DB, key string) (hello []byte, frames [][]byte) {
	t.Helper()
	l := &eavesdropper{listening: listen(t, limited(t, db, nil, nil))}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	go l.forward(inner, target)
	c, err := client.Open(t.Context(), "kanta://"+inner.Addr().String(), &client.Options{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, c)
	_ = c.Close()
	_ = inner.Close()
	said := l.said(t)
	if !strings.HasPrefix(string(said), wire.Magic) {
		t.Fatalf("the client said %q", said[:min(16, len(said))])
	}
	rest := said[6:]
	for len(rest) > 0 {
		length, n := binary.Uvarint(rest[1:])
		_, m := binary.Uvarint(rest[1+n:])
		whole := 1 + n + m + int(length)
		if frame := rest[:whole]; frame[0]&15 != 9 {
			frames = append(frames, frame)
		}
		rest = rest[whole:]
	}
	if len(frames) < 20 {
		t.Fatalf("%d frames", len(frames))
	}
	hello, frames = slices.Concat(said[:6], frames[0]), frames[1:]
	named := map[uint64][]byte{} // each frame names its procedure, so that it stands alone
	for i, b := range frames {
		if kind := b[0] & 15; kind != 2 && kind != 3 {
			continue
		}
		payload, stream := payloadOf(b)
		number, n := binary.Uvarint(payload)
		if rest := payload[n:]; number&1 == 1 {
			length, m := binary.Uvarint(rest)
			named[number/2], payload = rest[:m+int(length)], rest[m+int(length):]
		} else {
			payload = rest
		}
		frames[i] = wireFrame(b[0], stream, slices.Concat([]byte{1}, named[number/2], payload))
	}
	return hello, frames
}

// everything asks and writes.
func everything(t *testing.T, c *client.Client) {
	t.Helper()
	ctx := t.Context()
	b := batch.New()
	b.Source("hostile", 1, 1)
	for i := range 20 {
		b.Upsert(fmt.Sprint("p", i)).Set("n", schema.IntValue(int64(i)))
	}
	_, err := c.Apply(ctx, encode(t, b))
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("apply", err)
	wait, err := c.Submit(ctx, increment(t, "p1", 0))
	must("submit", err)
	_, err = wait()
	must("submitted", err)
	_, err = c.Count(ctx, "n > 3 && has(p.n)", nil)
	must("count", err)
	m, err := c.Members(ctx, "n > 3", &query.MembersOptions{Attributes: []string{"n"}})
	must("members", err)
	for _, err := range m.Rows {
		must("a member", err)
	}
	_, err = c.Breakdown(ctx, "true", "n", nil)
	must("breakdown", err)
	_, err = c.Profile(ctx, "p1", nil)
	must("profile", err)
	_, err = c.Plan(ctx, "n == 1", nil)
	must("plan", err)
	_, err = c.Schema(ctx)
	must("schema", err)
	_, err = c.Segments(ctx)
	must("segments", err)
	s, err := c.Snapshot(ctx)
	must("snapshot", err)
	_, err = s.Count(ctx, "true", nil)
	must("count", err)
	must("close", s.Close())
	_, err = c.Check(ctx, nil)
	must("check", err)
	must("export", c.Export(ctx, "p1", io.Discard))
	_, err = c.Erase(ctx, "r", "p19")
	must("erase", err)
	_, err = c.Stats(ctx)
	must("stats", err)
}

// eavesdropper passes one connection on and keeps what the client says.
type eavesdropper struct {
	*listening
	mu   sync.Mutex
	text []byte
	done sync.WaitGroup
}

func (l *eavesdropper) forward(from net.Listener, target string) {
	for {
		near, err := from.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", target)
		if err != nil {
			_ = near.Close()
			return
		}
		l.done.Go(func() {
			_, _ = io.Copy(far, io.TeeReader(near, l))
			_ = far.Close()
		})
		l.done.Go(func() {
			_, _ = io.Copy(near, far)
			_ = near.Close()
		})
	}
}

func (l *eavesdropper) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *eavesdropper) said(t *testing.T) []byte {
	t.Helper()
	l.done.Wait()
	return l.text
}
