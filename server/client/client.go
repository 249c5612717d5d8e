package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// DefaultPort is the port of an address that names none.
const DefaultPort = "7700"

// dialTimeout bounds what one connection waits for: beyond that nobody is there.
const dialTimeout = 10 * time.Second

// Options shape a client. nil and the zero value are good.
type Options struct {
	// Timeout bounds each call that has no deadline of its own, but not listings, exports and
	// what takes as long as it takes. 0: one minute. Negative: no bound.
	Timeout time.Duration
	// Attempts is how often a call is tried that may be tried again, 1 to 10. 0: 4.
	Attempts int
	// Consistency is how much answers must have seen. 0: [Local].
	Consistency Consistency
	// MaxStaleness refuses members of a cluster that may not have had, at an instant no longer ago than
	// this, all that was acknowledged then. 0: how old an answer is does not matter.
	MaxStaleness time.Duration
	// TLS is how connections are encrypted, version 1.3 at least; it is copied. Its RootCAs say whom
	// to believe, its Certificates who this is. nil: the system's authorities and no certificate,
	// but plain text where the address is one of loopback or localhost.
	TLS *tls.Config
	// Key is an API key: the server is shown it with every connection, or with every call through a
	// Transport. It stands in no error. "": none.
	Key string
	// Transport carries the calls in place of connections to the address, and is the caller's to
	// close; that of connecthttp goes through what understands HTTP only. nil: the compact wire.
	Transport connect.Transport
}

// Consistency is how much an answer of a member of a cluster must have seen.
type Consistency uint8

// The consistencies. A server that is in no cluster always has all.
const (
	Local        Consistency = iota // all that this client has written, and maybe not yet what others have
	Linearizable                    // all that was acknowledged to anybody before the question: the leader is asked, which makes sure that it leads
)

// recent is how recent answers must be.
func (o *Options) recent() message.Consistency {
	return message.Consistency{Linearizable: o.Consistency == Linearizable, MaxStaleness: o.MaxStaleness}
}

// Client is a connection to a server, or to the members of a cluster. Its methods are safe for concurrent use.
type Client struct {
	opt     Options
	rpc     kantav1connect.KantaServiceClient
	nodes   *nodes // nil: the transport is the caller's
	retries budget
	ingest  ingest

	closing context.Context // ends with the client
	close   context.CancelFunc

	mu     sync.Mutex
	seen   query.Position // the last that was written, of the newest epoch
	closed bool
}

// Open connects to the server at an address, kanta://HOST:PORT, and asks whether it is one. Members of a cluster
// are named all in one address, kanta://HOST:PORT,HOST:PORT,HOST:PORT; one that is there is enough. ctx bounds
// only that.
func Open(ctx context.Context, address string, o *Options) (*Client, error) {
	c := &Client{}
	if o != nil {
		c.opt = *o
	}
	switch {
	case c.opt.Attempts < 0 || c.opt.Attempts > maxAttempts:
		return nil, query.Errorf(query.CodeInvalid, "Options.Attempts is %d; it must be 1 to %d, or 0", c.opt.Attempts, maxAttempts)
	case c.opt.Attempts == 0:
		c.opt.Attempts = defaultAttempts
	}
	if c.opt.Consistency > Linearizable || c.opt.MaxStaleness < 0 {
		return nil, query.Errorf(query.CodeInvalid, "Options.Consistency is %d and MaxStaleness %v: that is none", c.opt.Consistency, c.opt.MaxStaleness)
	}
	if c.opt.Timeout == 0 {
		c.opt.Timeout = time.Minute
	}
	if err := checkKey(c.opt.Key); err != nil {
		return nil, err
	}
	shown := []connect.ClientInterceptor{refusedEarly}
	transport := c.opt.Transport
	if transport == nil {
		hosts, err := parseAddresses(address)
		if err != nil {
			return nil, err
		}
		c.nodes = newNodes(hosts, &c.opt)
		transport = c.nodes
	} else if c.opt.Key != "" {
		shown = append(shown, bearer(c.opt.Key))
	}
	c.rpc = kantav1connect.NewKantaServiceClient(connect.NewClient(transport, shown...))
	c.closing, c.close = context.WithCancel(context.Background())
	c.ingest.c, c.ingest.turn = c, make(chan struct{}, 1)
	if _, err := c.Ping(ctx); err != nil {
		_ = c.Close() // it has sent nothing
		return nil, err
	}
	return c, nil
}

// parseAddress returns the host and port of kanta://HOST:PORT.
func parseAddress(address string) (string, error) {
	wrong := &query.Error{Code: query.CodeInvalid, Message: "the address is not that of a server", Hint: "write kanta://HOST:PORT, or kanta://HOST:PORT,HOST:PORT for the members of a cluster"}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "kanta" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", wrong // and not the address itself: there may be a secret in it
	}
	port := u.Port()
	if port == "" {
		port = DefaultPort
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// Close ends the client. Calls under way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.close()
	c.ingest.wait()
	if c.nodes != nil {
		c.nodes.close()
	}
	return nil
}

// Info is what a server says of itself.
type Info struct {
	Store    string // the id of the store
	Position query.Position
	Version  string // of the program
}

// Ping asks the server what it is, and nothing else.
func (c *Client) Ping(ctx context.Context) (Info, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (Info, error) {
		m, err := c.rpc.Ping(ctx, &pb.PingRequest{})
		return Info{Store: m.GetStore(), Position: r.Position(m.GetPosition()), Version: m.GetVersion()}, err
	})
}

// question is what every question carries, of the state that a snapshot holds or, without one,
// of a state that has seen what was written.
func (c *Client) question(o *query.Options, snapshot string) *pb.Question {
	if snapshot != "" {
		return message.OfQuestion(o, query.Position{}, snapshot)
	}
	return c.opt.consistent(message.OfQuestion(o, c.Written(), ""))
}

// Written returns the last position that this client has written, which each of its answers has
// seen; another client may be told of it with [Client.See].
func (c *Client) Written() query.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// See makes the client's answers those of a state that has seen a position.
func (c *Client) See(p query.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Epoch > c.seen.Epoch || p.Epoch == c.seen.Epoch && p.Applied > c.seen.Applied {
		c.seen = p
	}
}

// begin gives a call the client's life, and its deadline if it has none.
func (c *Client) begin(ctx context.Context, bounded bool) (context.Context, context.CancelFunc) {
	cancel := func() {}
	if _, ok := ctx.Deadline(); bounded && !ok && c.opt.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.opt.Timeout)
	}
	ctx, end := context.WithCancel(ctx)
	stop := context.AfterFunc(c.closing, end)
	return ctx, func() {
		stop()
		end()
		cancel()
	}
}

// ownError is an error of what the caller gave to a call: it is returned as it is.
type ownError struct{ err error }

func (o *ownError) Error() string { return o.err.Error() }
func (o *ownError) Unwrap() error { return o.err }

func own(err error) error {
	if err == nil {
		return nil
	}
	return &ownError{err}
}

// told makes an error of a call what the engine returns.
func (c *Client) told(ctx context.Context, err error) (out error, undone bool) {
	var o *ownError
	if errors.As(err, &o) {
		return o.err, false
	}
	out, undone = message.FromTransport(ctx, err)
	var u *unreached
	if errors.As(err, &u) && ctx.Err() == nil {
		undone = true
		if !errors.As(out, new(*query.Error)) { // it took too long for one of many to be waited for
			out = query.Errorf(query.CodeUnavailable, "no member of the cluster can be reached: %w", u.err)
		}
	}
	if c.closing.Err() != nil && errors.Is(out, context.Canceled) {
		return query.Errorf(query.CodeClosed, "the client is closed"), undone
	}
	return out, undone
}
