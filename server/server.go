package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/internal/message"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
	"github.com/kantadb/kanta/server/wire"
)

// Options shape a server. nil and the zero value are good.
type Options struct {
	// Target opens the target of backups that a client names. It is the operator's word on
	// where backups may be written to. nil: no target may be named.
	Target func(ctx context.Context, name string) (target query.BackupTarget, release func() error, err error)
	// TLS makes the server speak TLS, version 1.3 and nothing older, at every listener; it is
	// copied. certs.Server makes one of files. If it verifies certificates of clients, who has
	// none is refused. nil: plain text, on loopback only.
	TLS *tls.Config
	// Audit is where every change and every read of personal data is recorded. A call that cannot be
	// recorded is refused. The caller closes it after [Server.Shutdown]. nil: nothing is recorded.
	Audit *audit.Store
	// Version is what Ping says of the program. "" is good.
	Version string
	// Log is told when the server starts and stops, of connections that it refuses, and of calls that
	// are denied, fail or are slow, in which nothing is of a person: no key, no value, no literal of an expression. At
	// most some hundred records a second. nil: nothing is.
	Log *slog.Logger
	// Slow is from when on a call is slow, without waiting for its turn or its client. 0: a second. Negative: none is.
	Slow time.Duration
	// Cluster is the member of a cluster whose store is served. nil: the store is in none.
	Cluster Cluster
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
	store    holder
	register *access.Register
	opt      Options
	limits   limits
	rpc      *connect.Server
	recorder *recorder
	leases   *leases
	http     *http.Server
	wire     *wire.Server
	tls      *tls.Config // nil: plain text
	hall     *hall
	watch    *watch
	gate     *gate

	lastCall atomic.Uint64

	mu       sync.Mutex
	calls    int           // under way
	draining chan struct{} // closed when no more calls are taken
	drained  chan struct{} // closed when draining and no call is under way

	stop context.Context // ends when calls under way are given up
	end  context.CancelFunc
}

// New returns a server of a store, which the caller closes after [Server.Shutdown]. Of a member of a
// cluster it may be nil: until [Server.Replace] has brought one, calls fail with [query.CodeUnavailable].
func New(db *engine.DB, o *Options) (*Server, error) { return newServer(db, o, defaultLimits()) }

func newServer(db *engine.DB, o *Options, l limits) (*Server, error) {
	s := &Server{limits: l, draining: make(chan struct{}), drained: make(chan struct{})}
	s.leases, s.hall = newLeases(&s.limits), newHall(&s.limits)
	s.store.replace(db)
	var err error
	if s.register, err = access.NewRegister(&s.store, l.clock); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if o != nil {
		s.opt = *o
	}
	if db == nil && s.opt.Cluster == nil {
		return nil, query.Errorf(query.CodeInvalid, "there is no store to serve")
	}
	if c := s.opt.TLS; c != nil {
		if len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
			return nil, query.Errorf(query.CodeInvalid, "Options.TLS has no certificate")
		}
		s.tls = secured(c)
	}
	s.recorder = newRecorder(s)
	s.gate = newGate(l.gate)
	s.watch = &watch{log: newJournal(s.opt.Log), slow: cmp.Or(s.opt.Slow, defaultSlow), figures: newFigures(s), running: make(map[uint64]*call)}
	s.stop, s.end = context.WithCancel(context.Background())
	s.rpc = connect.NewServer(s.guard)
	kantav1connect.RegisterKantaServiceHandler(s.rpc, &service{s: s})
	if err = s.registerHealth(); err == nil {
		err = s.registerReflection()
	}
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.http = s.newHTTP()
	if s.wire, err = wire.NewServer(s.rpc, &wire.ServerOptions{Limits: wire.Limits{Handlers: l.handlers, MessageBytes: l.requestBytes, Streams: l.streams,
		// Strangers are counted at the door, which knows whom to send away.
		// A client that does not read holds what is pending and what is being written.
		Connections: l.connections, Handshakes: l.connections, PendingBytes: l.pieceBytes, HandshakeTime: l.handshake, StallTime: l.stalled, WriteTime: l.stalled / 2}, Authenticate: s.ofWire}); err != nil {
		return nil, err
	}
	return s, nil
}

// RPC returns the calls for a transport of the caller's in the same process. Whoever calls through
// it is the embedding program, and may do everything.
func (s *Server) RPC() *connect.Server { return s.rpc }

// Register returns the keys and roles of the store, for whoever embeds the server.
func (s *Server) Register() *access.Register { return s.register }

// Serve answers on a listener: the compact wire of package server/wire, and Connect and gRPC over
// HTTP/1.1 and HTTP/2. Under TLS the protocol of a connection is what its ALPN says, HTTP/1.1 if it
// says nothing; in plain text its first byte decides. Plain text is spoken on loopback and on sockets of
// the machine only, and beyond them clients must have certificates: another listener is closed, with an
// error that has [query.CodeInvalid]. It closes the listener and returns nil after [Server.Shutdown],
// or the error that ended it.
func (s *Server) Serve(l net.Listener) error {
	if err := s.MayServe(l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	s.watch.log.record(slog.LevelInfo, "serving", slog.String("address", l.Addr().String()), slog.String("store", s.storeID()))
	err := s.http.Serve(s.newDoor(&countedListener{l, s.watch.figures}))
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
		s.watch.log.record(slog.LevelInfo, "stopping", slog.Int("calls", s.calls))
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
	s.hall.close()
	if err != nil {
		_ = s.http.Close() // what is left is given up
	}
	s.leases.closeAll()
	s.watch.log.record(slog.LevelInfo, "stopped", slog.Bool("all_answered", err == nil))
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
