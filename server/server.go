package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
	"github.com/kantadb/kanta/server/wire"
)

// Options shape a server. nil and the zero value are good.
type Options struct {
	// Target opens the target of backups that a client names. It is the operator's word on
	// where backups may be written to. nil: no target may be named.
	Target func(ctx context.Context, name string) (target query.BackupTarget, release func() error, err error)
	// Version is what Ping says of the program. "" is good.
	Version string
	// Hooks are called when things happen; all are optional.
	Hooks Hooks
}

// Hooks tell the embedding program what happens. They are called from many goroutines.
type Hooks struct {
	// Failed is told of an error that clients are not told of: a broken invariant, a panic, an
	// error of the machine that has no code. call is the procedure.
	Failed func(call string, err error)
}

// Server serves a store. Its methods are safe for concurrent use.
type Server struct {
	db     *engine.DB
	opt    Options
	limits limits
	rpc    *connect.Server
	leases *leases
	http   *http.Server
	wire   *wire.Server

	lastCall atomic.Uint64

	mu       sync.Mutex
	calls    int           // under way
	draining chan struct{} // closed when no more calls are taken
	drained  chan struct{} // closed when draining and no call is under way

	stop context.Context // ends when calls under way are given up
	end  context.CancelFunc
}

// New returns a server of a store, which the caller closes after [Server.Shutdown].
func New(db *engine.DB, o *Options) (*Server, error) { return newServer(db, o, defaultLimits()) }

func newServer(db *engine.DB, o *Options, l limits) (*Server, error) {
	s := &Server{db: db, limits: l, draining: make(chan struct{}), drained: make(chan struct{})}
	s.leases = newLeases(&s.limits)
	if o != nil {
		s.opt = *o
	}
	s.stop, s.end = context.WithCancel(context.Background())
	s.rpc = connect.NewServer(s.guard)
	kantav1connect.RegisterKantaServiceHandler(s.rpc, &service{s: s})
	err := s.registerHealth()
	if err == nil {
		err = s.registerReflection()
	}
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.http = s.newHTTP()
	if s.wire, err = wire.NewServer(s.rpc, &wire.ServerOptions{Limits: wire.Limits{MessageBytes: l.requestBytes, Streams: l.streams,
		Connections: l.connections, HandshakeTime: l.header, StallTime: l.stalled}, Authenticate: ofWire}); err != nil {
		return nil, err
	}
	return s, nil
}

// RPC returns the calls for a transport of the caller's, such as one in the same process.
func (s *Server) RPC() *connect.Server { return s.rpc }

// Serve answers on a listener in plain text: the compact wire of package server/wire, and
// Connect and gRPC over HTTP/1.1 and HTTP/2; the first byte of a connection decides. It closes the listener and returns nil after [Server.Shutdown], or the error that ended it.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(s.newDoor(l))
	if err == http.ErrServerClosed {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}

// Shutdown takes no more calls, waits for those under way until ctx ends, and then gives them
// up. Snapshots of clients are closed. The store stays open.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopping() {
		close(s.draining)
		if s.calls == 0 {
			close(s.drained)
		}
	}
	s.mu.Unlock()
	select {
	case <-s.drained:
	case <-ctx.Done():
	}
	// The wire goes first: an answer that it has not written yet is lost with the calls' context.
	err := errors.Join(s.wire.Shutdown(ctx), s.http.Shutdown(ctx))
	s.end()
	if err != nil {
		_ = s.http.Close() // what is left is given up
	}
	s.leases.closeAll()
	return err
}

// enter begins a call; leave ends it.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping() {
		return stopping()
	}
	s.calls++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls--; s.calls == 0 && s.stopping() {
		close(s.drained)
	}
}

func (s *Server) stopping() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// stopping is what a call is told that is not taken any more.
func stopping() error {
	return message.Undone(&query.Error{Code: query.CodeUnavailable, Message: "the server stops", Hint: "try again", RetryAfter: time.Second})
}
