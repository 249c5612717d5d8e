package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// Peer is who is at the other end of a connection to a server.
type Peer struct {
	Addr        net.Addr
	TLS         *tls.ConnectionState // nil in plain text
	Credentials []byte               // of the hello; what they mean is Authenticate's affair
	Agent       string               // of the hello: what the program calls itself
}

// ServerOptions are a server's. The zero value serves everybody.
type ServerOptions struct {
	Limits    Limits
	Packing   Packing // when messages are compressed
	Checksums bool    // of every frame, also where TLS or the lack of a network makes them needless

	// Authenticate decides about a connection after its hello and before its first call.
	// The context it returns is that of every call on the connection: what it knows of
	// the caller travels there. Its error refuses the connection: the client is told
	// what a *connect.Error says, and of another only that it is unauthenticated. It is
	// called concurrently, and its context ends with the handshake's time. Nil takes all.
	Authenticate func(ctx context.Context, peer *Peer) (context.Context, error)

	// Panicked is told of a handler's panic, which fails the call only. Nil ignores it.
	Panicked func(procedure string, value any)
}

// Server serves the methods of a connect.Server on connections of this wire. It is safe
// for concurrent use.
type Server struct {
	methods *connect.Server
	specs   map[string]connect.Spec
	options ServerOptions
	shared  budget
	work    chan *serverCall
	running atomic.Int64 // handlers
	idle    atomic.Int64
	greeted atomic.Int64 // connections in the handshake
	minder  *time.Timer  // looks at lone calls, while minding
	minding atomic.Bool

	mu     sync.Mutex
	conns  map[*serverConn]struct{}
	count  int           // with those in the handshake
	closed bool          // no new connections
	hard   bool          // none at all
	ended  chan struct{} // closed when the last connection of a closed server has gone
	stop   chan struct{} // closed when the server is
}

// NewServer returns a server of all methods that are registered by now.
func NewServer(methods *connect.Server, o *ServerOptions) (*Server, error) {
	s := &Server{methods: methods, specs: map[string]connect.Spec{}, work: make(chan *serverCall),
		conns: map[*serverConn]struct{}{}, ended: make(chan struct{}), stop: make(chan struct{})}
	if o != nil {
		s.options = *o
	}
	s.options.Limits = s.options.Limits.withDefaults()
	if err := s.options.Limits.validate(); err != nil {
		return nil, err
	}
	s.shared.limit = int64(s.options.Limits.SharedBytes)
	s.minder = time.AfterFunc(time.Hour, s.lookLone)
	s.minder.Stop()
	for spec := range methods.Specs() {
		s.specs[spec.Procedure] = spec
	}
	return s, nil
}

// ErrServerClosed is what ServeConn returns of a server that was shut down.
var ErrServerClosed = errors.New("wire: the server is closed")

// errClosed is what clients are told.
var errClosed = connect.NewError(connect.CodeUnavailable, "the server was closed")

// ErrTooMany is what ServeConn returns of a connection that is one too many.
var ErrTooMany = errors.New("wire: too many connections")

// ServeConn serves one connection, which it owns, until it ends and its last handler has
// returned; the error says why it ended and is never nil (io.EOF in its tree: the client
// closed it). The context is that of every call: when it ends, so does the connection.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) error {
	if err := s.enter(); err != nil {
		_ = nc.Close()
		return err
	}
	defer s.leave()
	sc, err := s.accept(ctx, nc)
	if err != nil {
		_ = nc.Close()
		return err
	}
	return sc.serve(ctx)
}

// enter counts a connection in.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	if s.count == s.options.Limits.Connections {
		return fmt.Errorf("%w: %d", ErrTooMany, s.count)
	}
	s.count++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count--; s.count == 0 && s.closed {
		close(s.ended)
	}
}

// accept is the server's handshake.
func (s *Server) accept(ctx context.Context, nc net.Conn) (*serverConn, error) {
	limits := s.options.Limits
	if s.greeted.Add(1) > int64(limits.Handshakes) {
		s.greeted.Add(-1)
		return nil, fmt.Errorf("%w in the handshake: %d", ErrTooMany, limits.Handshakes)
	}
	defer s.greeted.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, limits.HandshakeTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })()
	version, err := readPreamble(nc)
	if err != nil {
		if errors.Is(err, ErrVersion) {
			_, _ = nc.Write(appendPreamble(nil, oldestVersion, newestVersion))
		}
		return nil, err
	}
	peer, err := readHello(nc)
	if err != nil {
		return nil, err
	}
	who := &Peer{Addr: nc.RemoteAddr(), TLS: tlsState(nc), Credentials: peer.credentials, Agent: peer.agent}
	base := ctx
	first := appendPreamble(nil, version, version)
	if s.options.Authenticate != nil {
		if base, err = s.options.Authenticate(ctx, who); err != nil {
			status, ok := errors.AsType[*connect.Error](err)
			if !ok || status.IsRemote() {
				status = connect.NewError(connect.CodeUnauthenticated, "the credentials are refused")
			}
			_, _ = nc.Write(appendFrame(first, false, kindGoAway, 0, 0, appendGoAway(nil, status.Code(), status.Message()), nil))
			return nil, fmt.Errorf("wire: %v: %w", who.Addr, err)
		}
	}
	mine := limits.hello()
	mine.wishes = wishes(nc, s.options.Packing, s.options.Checksums)
	if _, err := nc.Write(appendFrame(first, false, kindHello, 0, 0, mine.append(nil), nil)); err != nil {
		return nil, fmt.Errorf("wire: the handshake with %v: %w", who.Addr, err)
	}
	peer.credentials = nil
	sc := &serverConn{s: s, peer: who, addr: who.Addr.String(), base: context.WithoutCancel(base), ended: make(chan error, 1)}
	sc.c = newConn(nc, limits, mine, peer)
	sc.c.server, sc.c.shared = true, &s.shared
	return sc, nil
}

// Refuse tells a client why its connection is not served, without listening to it, as a server does
// that refuses a hello. It closes nothing.
func Refuse(w io.Writer, why *connect.Error) error {
	first := appendPreamble(nil, newestVersion, newestVersion)
	_, err := w.Write(appendFrame(first, false, kindGoAway, 0, 0, appendGoAway(nil, why.Code(), why.Message()), nil))
	return err
}

// Shutdown takes no new connections and calls, tells the clients, waits for the calls in
// flight and for the clients to leave, and closes. If the context ends first it closes at
// once, as Close does, and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, sc := range s.close(false) {
		sc.drain()
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		_ = s.Close()
		return ctx.Err()
	}
}

// Close ends all connections: calls in flight fail, their contexts end. It waits for
// their handlers. It is idempotent and returns nil.
func (s *Server) Close() error {
	for _, sc := range s.close(true) {
		sc.c.fail(ErrServerClosed, errClosed)
	}
	<-s.ended
	return nil
}

// close takes no new connections, and returns those that are there.
func (s *Server) close(hard bool) (conns []*serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hard = s.hard || hard
	if !s.closed {
		s.closed = true
		close(s.stop)
		if s.count == 0 {
			close(s.ended)
		}
	}
	for sc := range s.conns {
		conns = append(conns, sc)
	}
	return conns
}

// room counts a handler, or reports false if too many run.
func (s *Server) room() bool {
	if s.running.Add(1) > int64(s.options.Limits.Handlers) {
		s.running.Add(-1)
		return false
	}
	return true
}

// dispatch runs a call on a goroutine that waits for one, else on a new one.
func (s *Server) dispatch(call *serverCall) {
	select {
	case s.work <- call:
	default:
		go s.worker(call)
	}
}

// worker runs calls. Goroutines are used again because their stacks have grown.
func (s *Server) worker(call *serverCall) {
	for {
		call.run()
		call = nil
		if s.idle.Add(1) > idleWorkers {
			s.idle.Add(-1)
			return
		}
		select {
		case call = <-s.work:
			s.idle.Add(-1)
		case <-s.stop:
			s.idle.Add(-1)
			return
		}
	}
}

// serverConn is a server's end of a connection.
type serverConn struct {
	c     *conn
	s     *Server
	peer  *Peer
	addr  string
	base  context.Context //nolint:containedctx // of the connection's calls
	names []connect.Spec  // by number, of the reading goroutine
	calls sync.WaitGroup
	lone  lone
	ended chan error // why nothing is read any more

	drained time.Duration // how long nothing has been in flight; of the watch
}

// serve reads until the connection ends, and waits for its handlers.
func (sc *serverConn) serve(ctx context.Context) error {
	var cancel context.CancelCauseFunc
	sc.base, cancel = context.WithCancelCause(sc.base)
	defer context.AfterFunc(ctx, func() {
		sc.c.fail(ctx.Err(), connect.NewError(connect.CodeUnavailable, "the server was stopped"))
	})()
	sc.s.mu.Lock()
	sc.s.conns[sc] = struct{}{}
	closed, hard := sc.s.closed, sc.s.hard
	sc.s.mu.Unlock()
	tick := sc.c.limits.tick()
	sc.c.begin(tick, func(quiet, _ time.Duration) { sc.look(quiet, tick) })
	if hard { // closed during the handshake
		sc.c.fail(ErrServerClosed, errClosed)
	} else if closed {
		sc.drain()
	}
	go sc.read(0)
	err := <-sc.ended
	cancel(err)
	sc.calls.Wait()
	sc.s.mu.Lock()
	delete(sc.s.conns, sc)
	sc.s.mu.Unlock()
	return err
}

// look is the watch's: it ends a connection whose client is silent, or stays although it
// was told to go.
func (sc *serverConn) look(quiet, tick time.Duration) {
	c := sc.c
	if quiet >= c.limits.IdleTime {
		c.fail(fmt.Errorf("wire: nothing came from %s for %v", sc.addr, quiet),
			connect.Errorf(connect.CodeDeadlineExceeded, "nothing came for %v", quiet))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining || c.inFlight > 0 {
		sc.drained = 0
	} else if sc.drained += tick; sc.drained > drainTime {
		c.failLocked(ErrServerClosed, errClosed)
	}
}

// drain tells the client to make no new calls, and to close when the last has ended.
func (sc *serverConn) drain() {
	c := sc.c
	c.mu.Lock()
	if c.draining || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.draining = true
	c.put(kindGoAway, 0, 0, appendGoAway(nil, 0, "the server is about to stop"), nil)
	c.flushLater()
}

// handle takes a frame of the client.
func (sc *serverConn) handle(f frame) error {
	c := sc.c
	switch f.kind {
	case kindOpen, kindCall:
		return sc.begin(f)
	case kindMessage, kindEnd, kindCancel:
	case kindGoAway:
		if code, reason, err := parseGoAway(f.payload); err != nil || code != 0 {
			return errors.Join(err, connect.NewError(code, reason).WithRemote())
		}
		return nil
	default:
		return broken("a frame of kind %d, which a client does not send", f.kind)
	}
	if f.kind != kindMessage && len(f.payload) > 0 {
		return broken("a frame of kind %d with %d bytes: it has none", f.kind, len(f.payload))
	}
	c.mu.Lock()
	s := c.stream(f.stream)
	c.mu.Unlock()
	if s == nil { // it has ended while this was under way
		if f.kind == kindMessage {
			if c.room.Add(-int64(len(f.payload)+frameCost)) < 0 {
				return broken("more than the connection's window takes")
			}
			c.consumed(nil, len(f.payload)+frameCost)
		}
		return nil
	}
	switch f.kind {
	case kindCancel:
		s.in.ended = true
		s.in.fail(errCanceled)
		s.call.cancel()
		return nil
	case kindEnd:
		if s.in.ended || s.in.rest > 0 {
			return broken("the end of a stream where it cannot be")
		}
		s.in.ended = true
		s.in.fail(errEnd)
		return nil
	}
	return s.call.take(f, f.payload)
}

// begin takes the frame that begins a call.
func (sc *serverConn) begin(f frame) error {
	c := sc.c
	p := fields{b: f.payload}
	o := p.opening(f.flags&flagMeta != 0, c.limits.MetadataBytes)
	if p.err != nil {
		return p.err
	}
	if f.kind == kindOpen && len(p.b) > 0 {
		return broken("the beginning of a call with %d bytes too many", len(p.b))
	}
	spec, err := sc.procedure(o)
	if err != nil {
		return err
	}
	call := &serverCall{sc: sc, spec: spec}
	call.c, call.id = c, f.stream
	call.stream.call = call
	call.in.init(c.limits.StreamWindow)
	call.credit = int64(c.peer.window)
	if o.left > 0 {
		call.ctx, call.cancel = context.WithTimeout(sc.base, o.left)
	} else {
		call.ctx, call.cancel = context.WithCancel(sc.base)
	}
	call.describe(o.metadata)
	c.mu.Lock()
	if c.stream(f.stream) != nil {
		c.mu.Unlock()
		call.cancel()
		return broken("the beginning of a call on stream %d, which is open", f.stream)
	}
	c.register(&call.stream)
	refuse := c.draining
	c.mu.Unlock()
	if f.kind == kindCall {
		err = call.take(f, p.b)
	} else if f.flags&flagLast != 0 {
		call.in.ended = true
		call.in.fail(errEnd)
	}
	if err != nil {
		call.cancel()
		return err
	}
	sc.calls.Add(1)
	if refuse {
		return call.refuse(connect.CodeUnavailable, "the server is about to stop")
	}
	if !sc.s.room() {
		return call.refuse(connect.CodeResourceExhausted, "the server is busy: too many calls are running; try again later")
	}
	if sc.alone(spec, f) {
		sc.lone.next = call
	} else {
		sc.s.dispatch(call)
	}
	return nil
}

// procedure returns the procedure of a call, and remembers a new number.
func (sc *serverConn) procedure(o opening) (connect.Spec, error) {
	if o.name == nil {
		if o.number == 0 || o.number > uint64(len(sc.names)) {
			return connect.Spec{}, broken("a call of procedure number %d, which it has not named", o.number)
		}
		return sc.names[o.number-1], nil
	}
	spec, ok := sc.s.specs[string(o.name)]
	if !ok {
		spec = connect.Spec{Procedure: string(o.name), StreamType: connect.StreamTypeBidi}
	}
	switch {
	case o.number == 0:
	case o.number == uint64(len(sc.names)+1) && o.number <= procedures:
		sc.names = append(sc.names, spec)
	default:
		return spec, broken("a name for procedure number %d: number %d is next, of at most %d", o.number, len(sc.names)+1, procedures)
	}
	return spec, nil
}
