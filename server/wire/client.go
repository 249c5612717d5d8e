package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"connectrpc.com/connect/v2"
)

// Options are a client's. The zero value is good on any network.
type Options struct {
	Limits      Limits
	Credentials []byte  // shown to the server once, in the hello; at most 4 KiB
	Agent       string  // the name and version of the program, for the server's books; at most 128 bytes
	Packing     Packing // when messages are compressed
	Checksums   bool    // of every frame, also where TLS or the lack of a network makes them needless
}

// Transport is a client's end of one connection: a connect.Transport whose calls share
// it. Use it through connect.NewClient. It is safe for concurrent use.
//
// A transport does not come back: when its connection is lost or the server drains it,
// Done is closed or Draining reports true, and calls are refused with an error that
// matches ErrRefused. A pool then dials again.
type Transport struct {
	c    *conn
	addr string
	tls  *tls.ConnectionState

	// Under the connection's mutex.
	free    []uint32 // numbers of streams to use again, the smallest last: see lone
	next    uint32   // the first number that was never used
	vacancy chan struct{}
	numbers map[string]uint64 // of procedures
	reading reading
}

// Dial connects to a server: with a TLS configuration over TLS (1.3 at least, by the name
// that ALPN says), else in plain text. The context bounds dialing and the handshake.
func Dial(ctx context.Context, network, address string, config *tls.Config, o *Options) (*Transport, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	if config == nil {
		return NewTransport(ctx, nc, o)
	}
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS13)
	config.NextProtos = []string{ALPN}
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
			config.ServerName = address
		}
	}
	limits := Limits{}
	if o != nil {
		limits = o.Limits
	}
	inner, cancel := context.WithTimeout(ctx, limits.withDefaults().HandshakeTime)
	defer cancel()
	secure := tls.Client(nc, config)
	if err := secure.HandshakeContext(inner); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("wire: TLS with %s: %w", address, err)
	}
	return NewTransport(ctx, secure, o)
}

// NewTransport makes a transport of a connection, which it owns from then on, also if it
// fails. The context bounds the handshake. An error of the server, such as credentials
// that it refuses, is a *connect.Error; versions that do not meet match ErrVersion.
func NewTransport(ctx context.Context, nc net.Conn, o *Options) (*Transport, error) {
	if o == nil {
		o = &Options{}
	}
	limits := o.Limits.withDefaults()
	if err := limits.validate(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	mine := limits.hello()
	mine.wishes = wishes(nc, o.Packing, o.Checksums)
	mine.credentials, mine.agent = o.Credentials, o.Agent
	if len(o.Credentials) > credentialsBytes || len(o.Agent) > agentBytes {
		_ = nc.Close()
		return nil, fmt.Errorf("wire: credentials of %d bytes and an agent of %d: at most %d and %d", len(o.Credentials), len(o.Agent), credentialsBytes, agentBytes)
	}
	peer, err := greet(ctx, nc, limits.HandshakeTime, &mine)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	c := newConn(nc, limits, mine, peer)
	t := &Transport{c: c, addr: nc.RemoteAddr().String(), tls: tlsState(nc), next: 1,
		vacancy: make(chan struct{}), numbers: map[string]uint64{}}
	t.reading = reading{taken: true, over: make(chan struct{}, 1)}
	go t.readOn()
	c.begin(limits.tick(), t.look)
	return t, nil
}

// greet is the client's handshake.
func greet(ctx context.Context, nc net.Conn, limit time.Duration, mine *hello) (peer hello, err error) {
	_ = nc.SetDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err != nil {
			err = fmt.Errorf("wire: the handshake with %v: %w", nc.RemoteAddr(), errors.Join(ctx.Err(), err))
		}
	}()
	first := appendPreamble(nil, oldestVersion, newestVersion)
	first = appendFrame(first, false, kindHello, 0, 0, mine.append(nil), nil)
	// The server may refuse before it has read all: what it says counts more than that
	// this end could not speak out.
	spoken := make(chan error, 1)
	go func() {
		_, err := nc.Write(first)
		spoken <- err
	}()
	if _, err = readPreamble(nc); err == nil {
		peer, err = readHello(nc)
	}
	if err == nil {
		err = <-spoken
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	return peer, err
}

// wishes are what an end would like of a connection.
func wishes(nc net.Conn, packing Packing, sums bool) (w uint64) {
	near := nearby(nc)
	if packing == PackAlways || packing == PackAuto && !near {
		w |= wishPack
	}
	// TLS authenticates every byte, and what stays on the machine crosses no network:
	// elsewhere TCP's 16 bits of checksum are too few.
	if sums || !near && tlsState(nc) == nil {
		w |= wishSums
	}
	return w
}

func tlsState(nc net.Conn) *tls.ConnectionState {
	if secure, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := secure.ConnectionState()
		return &state
	}
	return nil
}

// Done is closed when the connection is of no use any more; Err says why.
func (t *Transport) Done() <-chan struct{} { return t.c.done }

// Err returns why the connection has ended: nil while it has not.
func (t *Transport) Err() error {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.c.err
}

// Draining reports whether new calls are refused, because the server is about to stop or
// the connection has ended.
func (t *Transport) Draining() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.c.draining || t.c.err != nil
}

// InFlight returns the number of calls that have not ended.
func (t *Transport) InFlight() int {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.c.inFlight
}

// Close ends the connection at once: calls in flight fail with an error that matches
// ErrClosed. It is idempotent and returns nil.
func (t *Transport) Close() error {
	t.c.fail(ErrClosed, nil)
	return nil
}

// Shutdown takes no new calls, waits for those in flight and closes the connection. If
// the context ends first it closes at once and returns the context's error.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.c.mu.Lock()
	t.drain()
	t.c.mu.Unlock()
	select {
	case <-t.c.done:
		return nil
	case <-ctx.Done():
		_ = t.Close()
		return ctx.Err()
	}
}

// drain refuses new calls and closes the connection after the last. The mutex is held.
func (t *Transport) drain() {
	t.c.draining = true
	close(t.vacancy)
	t.vacancy = make(chan struct{})
	if t.c.inFlight == 0 {
		t.c.failLocked(ErrClosed, nil)
	}
}

// look is the watch's: it pings a server that is quiet, or has not heard of this end, and
// gives up one that stays quiet.
func (t *Transport) look(quiet, silent time.Duration) {
	l := t.c.limits
	if quiet >= l.KeepAlive+l.PongTime {
		t.c.fail(fmt.Errorf("wire: nothing came from %s for %v", t.addr, quiet), nil)
		_ = t.c.nc.Close()
	} else if max(quiet, silent) >= l.KeepAlive {
		_ = t.c.control(kindPing, 0, 0, nil)
	}
}

// handle takes a frame of the server.
func (t *Transport) handle(f frame) error {
	switch f.kind {
	case kindHeaders, kindMessage, kindEnd:
	case kindGoAway:
		return t.dismissed(f.payload)
	default:
		return broken("a frame of kind %d, which a server does not send", f.kind)
	}
	last := f.kind == kindEnd || f.flags&flagLast != 0
	t.c.mu.Lock()
	s := t.c.stream(f.stream)
	if s != nil && last {
		t.vacate(s)
	}
	t.c.mu.Unlock()
	if s == nil {
		return t.c.unknown(f.stream)
	}
	err := s.arrived(f, f.payload)
	if err != nil && last { // the connection's failure does not find it any more
		s.in.fail(lostFor(err))
	}
	return err
}

// vacate ends a stream: its number is free for another call. The mutex is held.
func (t *Transport) vacate(s *stream) {
	t.c.retire(s)
	full := len(t.free) == 0 && int(t.next) > t.c.maxStreams()
	at, _ := slices.BinarySearchFunc(t.free, s.id, func(n, id uint32) int { return cmp.Compare(id, n) })
	t.free = slices.Insert(t.free, at, s.id)
	if full {
		close(t.vacancy)
		t.vacancy = make(chan struct{})
	}
	if t.c.draining && t.c.inFlight == 0 {
		t.c.failLocked(ErrClosed, nil)
	}
}

// dismissed takes a goaway: without a code the calls in flight go on.
func (t *Transport) dismissed(payload []byte) error {
	code, reason, err := parseGoAway(payload)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the server has ended it: %w", connect.NewError(code, reason).WithRemote())
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.drain()
	return nil
}

// NewClientStream begins a call; see connect.Transport. Nothing is sent yet.
func (t *Transport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if len(spec.Procedure) == 0 || len(spec.Procedure) > procedureBytes {
		return nil, connect.Errorf(connect.CodeInvalidArgument, "a procedure's name of %d bytes: 1 to %d", len(spec.Procedure), procedureBytes)
	}
	s := &clientStream{t: t, ctx: ctx, spec: spec}
	s.c = t.c
	s.in.init(t.c.limits.StreamWindow)
	if s.info, _ = connect.CallInfoForClientContext(ctx); s.info == nil {
		s.info = &connect.CallInfo{}
	}
	s.info.Spec = spec
	s.info.PeerAddr = t.addr
	s.info.Protocol = ProtocolName
	s.info.Codec = connect.CodecNameProto
	s.info.RequestEncoding = connect.CompressionNameIdentity
	s.info.ResponseEncoding = connect.CompressionNameIdentity
	if t.tls != nil {
		s.info.TransportInfo = t.tls
	}
	return s, nil
}

// ProtocolName is what connect.CallInfo says of calls on this wire.
const ProtocolName = "kanta"

// errPlaced says that a stream has its number: its other half was first.
var errPlaced = errors.New("wire: the call has begun")

// place takes a number for a stream, waiting for one. The mutex is held, given up
// meanwhile.
func (t *Transport) place(s *clientStream) error {
	for {
		switch {
		case s.id != 0:
			return errPlaced
		case t.c.err != nil:
			return refused(connect.CodeUnavailable, "the connection is closed").WithCause(t.c.err)
		case t.c.draining:
			return refused(connect.CodeUnavailable, "the connection takes no new calls: the server is about to stop")
		case s.over:
			return errOver
		case len(t.free) > 0:
			s.id = t.free[len(t.free)-1]
			t.free = slices.Delete(t.free, len(t.free)-1, len(t.free))
			return nil
		case int(t.next) <= t.c.maxStreams():
			s.id = t.next
			t.next++
			return nil
		}
		vacancy := t.vacancy
		t.c.mu.Unlock()
		var err error
		select {
		case <-vacancy:
		case <-t.c.done:
		case <-s.ctx.Done():
			err = contextError(s.ctx.Err()).WithCause(ErrRefused)
		}
		t.c.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// number returns the number of a procedure on this connection, and its name if the server
// has to be told. The mutex is held until the frame that tells is put.
func (t *Transport) number(procedure string) (n uint64, name string) {
	if n, ok := t.numbers[procedure]; ok {
		return n, ""
	}
	if len(t.numbers) == procedures {
		return 0, procedure
	}
	n = uint64(len(t.numbers) + 1)
	t.numbers[procedure] = n
	return n, procedure
}
