package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
)

// MaxPool is how many connections to a node raft should keep for later: it uses one for heartbeats and
// one for entries, and votes come when neither is needed.
const MaxPool = 3

// limits are fixed, as limits are; tests have smaller ones.
type limits struct {
	strangers   int           // connections that have not been let in
	perNode     int           // connections of one node
	connections int           // connections of all nodes
	handshake   time.Duration // until a stranger is let in
	idle        time.Duration // from one message to the next
	frame       time.Duration // for a message, beside what its bytes earn
	rate        int           // bytes per second that a message must come with, at least
	rest        time.Duration // after which a caller takes a new connection
	stall       time.Duration // for which the other side may take nothing of what is written
}

func defaultLimits() *limits {
	return &limits{
		// Each costs some 20 KiB and one handshake of about a millisecond. A crowd has to send 64 new ones
		// within that to push out a node that knocks.
		strangers: 64,
		// Raft keeps MaxPool, and has one for the entries and one for a snapshot; as many of before a
		// restart may be left, and as many again, if what was in between was short.
		perNode: 16,
		// Eight nodes with all they may have; half a MiB of Raft's buffers for each.
		connections: 128,
		// Two round trips and some milliseconds of work; a loaded machine has ample.
		handshake: 5 * time.Second,
		// Heartbeats come many times a second. What is silent for so long serves nobody.
		idle: 60 * time.Second,
		// A message is written at once, a snapshot as fast as it is read: who does not bring 16 KiB a
		// second is stopped or ill, and Raft waits for him with the goroutine that does all its work.
		frame: 10 * time.Second, rate: 16 << 10,
		// A disk may be busy for some seconds. Raft's own deadline for a snapshot grows with it, to hours
		// for one of some GiB, and the system gives up who has lost his power after a quarter of an hour.
		stall: 30 * time.Second,
		// Half of idle, so that a call is never under way on what is being closed.
		rest: 30 * time.Second,
	}
}

// Options are those of a [Layer]. Node, Cluster and TLS are needed.
type Options struct {
	// Node is this node's name and Cluster that of its cluster, both as in its certificate.
	Node, Cluster string
	// ID tells clusters of one name apart; all nodes of a cluster have the same.
	ID [16]byte
	// TLS has the certificates.
	TLS *certs.Mutual
	// Advertise is the address, HOST:PORT, at which other nodes reach this one. "": that of the listener.
	Advertise string
	// NodeAt returns which node is at an address, so that no other is taken for it. "", or a function that
	// is nil: nobody knows. It is called by each call that needs a new connection, from many
	// goroutines, and must not wait.
	NodeAt func(address string) (node string)
	// Allowed reports whether a node belongs to the cluster, as far as this one knows: one that has been
	// removed still has a certificate. nil: all do. It is called as NodeAt is.
	Allowed func(node string) bool
	// Refused is told of each connection that was not let in, or was closed by this side, if it is not
	// nil. A flood makes many calls: whoever logs them bounds how many. It must not wait.
	Refused func(Refusal)

	limits *limits // of tests
}

// Layer lets the nodes of a cluster reach each other. It implements [raft.StreamLayer] and is safe for
// concurrent use. Give it to [raft.NewNetworkTransportWithConfig] with [MaxPool] and a timeout, which
// must not be 0; closing the transport closes it.
type Layer struct {
	o        Options
	limits   *limits
	listener net.Listener
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	hall     *hall
	come     chan *inbound // let in, and on the way to Raft
	ended    chan struct{} // nobody accepts any more
	greeting []byte
	figures  counters

	meeting sync.WaitGroup

	mu     sync.Mutex
	called map[*outbound]struct{}
}

// advertised is an address as others know it.
type advertised string

// Network implements [net.Addr].
func (advertised) Network() string { return "tcp" }

// String implements [net.Addr].
func (a advertised) String() string { return string(a) }

// New serves a listener, which is the layer's from then on, also when there is an error. Its
// goroutines end with [Layer.Close].
func New(l net.Listener, o Options) (*Layer, error) {
	var err error
	switch {
	case o.TLS == nil:
		err = query.Errorf(query.CodeInvalid, "a node needs a certificate and an authority: nodes speak TLS only")
	case !certs.IsName(o.Node) || !certs.IsName(o.Cluster):
		err = query.Errorf(query.CodeInvalid, "%q of %q: a node and a cluster have names of 1 to 64 letters, digits, and . _ @ -", o.Node, o.Cluster)
	default:
		err = isOurs(o.TLS.Accepting(), &o)
	}
	if err != nil {
		_ = l.Close() // nobody has come yet
		return nil, err
	}
	g := greeting{oldest: oldest, newest: newest, purpose: forRaft, id: o.ID, cluster: o.Cluster}
	y := &Layer{o: o, limits: o.limits, listener: l, come: make(chan *inbound), ended: make(chan struct{}), greeting: g.append(nil), called: map[*outbound]struct{}{}}
	if y.limits == nil {
		y.limits = defaultLimits()
	}
	y.hall = newHall(y.limits)
	y.ctx, y.stop = context.WithCancel(context.Background())
	go y.run()
	return y, nil
}

// isOurs looks whether a node's own certificate is its own: else every other would refuse it, and
// that is harder to understand.
func isOurs(c *tls.Config, o *Options) error {
	own := c.Certificates[0].Leaf
	n, err := certs.NodeOf(own)
	if err != nil {
		return err
	}
	if n.Name != o.Node || n.Cluster != o.Cluster {
		return &query.Error{Code: query.CodeInvalid, Message: "the certificate is that of the node " + n.Name + " of the cluster " + n.Cluster + ", and this is " + o.Node + " of " + o.Cluster,
			Hint: "kanta cert node --name " + o.Node + " --cluster " + o.Cluster + " makes the right one"}
	}
	return nil
}

// Addr returns the address at which other nodes reach this one.
func (y *Layer) Addr() net.Addr {
	if y.o.Advertise != "" {
		return advertised(y.o.Advertise)
	}
	return y.listener.Addr()
}

// Accept returns the next connection that was let in. After Close its error is [net.ErrClosed].
func (y *Layer) Accept() (net.Conn, error) {
	select {
	case c := <-y.come:
		return c, nil
	case <-y.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the listener and all connections, those too that Raft keeps for later or has been given
// by [Layer.Dial]. It waits until nobody is let in any more.
func (y *Layer) Close() error {
	y.stop()
	err := y.listener.Close()
	<-y.ended
	y.hall.close()
	y.meeting.Wait()
	y.mu.Lock()
	called := y.called
	y.called = nil
	y.mu.Unlock()
	for c := range called {
		_ = c.Close()
	}
	if errors.Is(err, net.ErrClosed) { // another time
		return nil
	}
	return err
}

// The pauses after the machine could not accept: the first, and the longest.
const (
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// run accepts until the layer is closed, whatever may be wrong meanwhile.
func (y *Layer) run() {
	defer close(y.ended)
	pause := acceptPause
	for {
		c, err := y.listener.Accept()
		if err == nil {
			pause = acceptPause
			y.figures.accepted.Add(1)
			s, pushed := y.hall.enter(c)
			if pushed != nil {
				y.refuse(pushed.RemoteAddr(), "", ReasonCrowd, nil)
				_ = pushed.Close()
			}
			y.meeting.Go(func() { y.meet(s) })
			continue
		}
		if y.ctx.Err() != nil {
			return
		}
		if pause == acceptPause { // the first of a row
			y.refuse(y.listener.Addr(), "", ReasonAccept, err)
		}
		select {
		case <-time.After(pause):
		case <-y.ctx.Done():
			return
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// refuse counts and tells who was refused.
func (y *Layer) refuse(a net.Addr, node string, why Reason, err error) {
	y.figures.refused[why].Add(1)
	if y.o.Refused != nil {
		y.o.Refused(Refusal{Address: a, Node: node, Reason: why, Err: err})
	}
}

// meet finds out who a stranger is, and lets him in or not.
func (y *Layer) meet(s *stranger) {
	secure := tls.Server(s, y.accepting())
	_ = s.SetDeadline(time.Now().Add(y.limits.handshake)) // if it fails, so does the handshake
	node, why, err := y.believe(secure)
	if why != ReasonNone {
		if s.leave() { // else he was pushed out, which has been told
			y.refuse(s.RemoteAddr(), node, why, err)
		}
		_ = s.Close()
		return
	}
	_ = s.SetDeadline(time.Time{}) // as above
	c := newInbound(y, secure, node)
	quiet, ok := y.hall.settle(s, c)
	if quiet != nil {
		y.refuse(quiet.RemoteAddr(), quiet.node, ReasonFull, nil)
		_ = quiet.Close()
	}
	if !ok { // he was pushed out just now, or the layer is closed
		_ = secure.NetConn().Close()
		return
	}
	select {
	case y.come <- c:
	case <-y.ctx.Done():
		_ = c.Close()
	}
}

// accepting is how the next caller is spoken with.
func (y *Layer) accepting() *tls.Config {
	c := y.o.TLS.Accepting()
	c.NextProtos = []string{alpn}
	return c
}

// believe does the handshake and hears what the caller wants. The reason is [ReasonNone] if he is welcome.
func (y *Layer) believe(c *tls.Conn) (node string, why Reason, err error) {
	if err := c.HandshakeContext(y.ctx); err != nil {
		drain(c.NetConn())
		return "", handshakeReason(err), err
	}
	n, err := certs.NodeOf(c.ConnectionState().VerifiedChains[0][0])
	if err == nil && n.Cluster != y.o.Cluster {
		err = query.Errorf(query.CodeDenied, "the certificate is that of the node %s of the cluster %s, and this is one of %s", n.Name, n.Cluster, y.o.Cluster)
	}
	if err != nil {
		farewell(c, codeCertificate, messageOf(err))
		return n.Name, ReasonCertificate, err
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != alpn {
		err := query.Errorf(query.CodeDenied, "the node %s does not say that it speaks the nodes' protocol", n.Name)
		farewell(c, codeVersion, messageOf(err))
		return n.Name, ReasonProtocol, err
	}
	g, err := readGreeting(c)
	if err != nil {
		if errors.Is(err, errForeign) {
			farewell(c, codeVersion, messageOf(err))
			return n.Name, ReasonProtocol, err
		}
		return n.Name, handshakeReason(err), err
	}
	code, why, text := y.judge(n.Name, &g)
	if code != codeWelcome {
		farewell(c, code, text)
		return n.Name, why, query.Errorf(query.CodeDenied, "the node %s calls: %s", n.Name, text)
	}
	welcome := answer{version: g.version()}
	if _, err := c.Write(welcome.append(nil)); err != nil {
		return n.Name, handshakeReason(err), err
	}
	return n.Name, ReasonNone, nil
}

// judge says what becomes of a node that was believed, and why.
func (y *Layer) judge(node string, g *greeting) (code, Reason, string) {
	switch {
	case g.version() == 0:
		return codeVersion, ReasonProtocol, query.Errorf(query.CodeDenied, "it speaks versions %d to %d of the nodes' protocol, this one %d to %d", g.oldest, g.newest, oldest, newest).Message
	case g.cluster != y.o.Cluster || g.id != y.o.ID:
		return codeCluster, ReasonCluster, "another cluster"
	case g.purpose != forRaft:
		return codePurpose, ReasonProtocol, query.Errorf(query.CodeDenied, "purpose %d is not served here", g.purpose).Message
	case node == y.o.Node:
		return codeNode, ReasonNode, "it has the name of this node, " + node
	case y.o.Allowed != nil && !y.o.Allowed(node):
		return codeNode, ReasonNode, "the node " + node + " does not belong to the cluster"
	}
	return codeWelcome, ReasonNone, ""
}

// messageOf returns what an error says without its hint, which is for this side.
func messageOf(err error) string {
	if e, ok := errors.AsType[*query.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// farewell tells a caller why he is refused.
func farewell(c *tls.Conn, code code, why string) {
	a := answer{version: newest, code: code, why: why}
	_, err := c.Write(a.append(nil))
	if err == nil && c.CloseWrite() == nil { // who does not hear it has gone
		drain(c.NetConn())
	}
}

// maxDrain is more than what a caller says before he hears anything.
const maxDrain = 8 << 10

// drain takes what has come, for a system that closes a connection with something unread makes the
// other side forget what it was told. The deadline of the handshake holds.
func drain(c net.Conn) {
	if t, ok := c.(*stranger); ok {
		c = t.Conn
	}
	if t, ok := c.(interface{ CloseWrite() error }); ok {
		if t.CloseWrite() != nil {
			return
		}
	}
	b := make([]byte, 1<<10)
	for total := 0; total < maxDrain; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		total += n
	}
}

// Dial calls the node at an address. It implements [raft.StreamLayer]: the connection is of use for
// [raft.NetworkTransport] only, which says when a call begins by setting a deadline. 0 is no timeout.
func (y *Layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c := newOutbound(y, string(address))
	ctx := c.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := y.call(ctx, string(address))
	if err != nil {
		c.stop()
		return nil, err
	}
	c.conn, c.used = conn, time.Now()
	y.mu.Lock()
	closed := y.called == nil
	if !closed {
		y.called[c] = struct{}{}
	}
	y.mu.Unlock()
	if closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// call makes a connection to the node at an address, which has let this one in.
func (y *Layer) call(ctx context.Context, address string) (*tls.Conn, error) {
	y.figures.dialed.Add(1)
	c, err := y.knock(ctx, address)
	if err != nil {
		y.figures.dialFailed.Add(1)
		if y.ctx.Err() != nil {
			return nil, net.ErrClosed
		}
		if _, ok := errors.AsType[*query.Error](err); !ok {
			err = query.Errorf(query.CodeUnavailable, "the node at %s cannot be reached: %w", address, err)
		}
		return nil, err
	}
	return c, nil
}

func (y *Layer) knock(ctx context.Context, address string) (_ *tls.Conn, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, query.Errorf(query.CodeInvalid, "the address %q of a node is not HOST:PORT: %w", address, err)
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	inTime := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) }) // if it fails, so does all else
	defer func() {
		if !inTime() && err == nil { // the deadline stands, and would end what comes
			err = ctx.Err()
		}
		if err != nil {
			_ = raw.Close()
		}
	}()
	config := y.o.TLS.Calling(host)
	config.NextProtos = []string{alpn}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, disbelief(address, err)
	}
	if err := y.recognize(c, address); err != nil {
		return nil, err
	}
	if _, err := c.Write(y.greeting); err != nil {
		return nil, disbelief(address, err)
	}
	a, err := readAnswer(c)
	if err != nil {
		return nil, disbelief(address, err)
	}
	return c, a.err(address)
}

// recognize looks whether the node at the other end is the one that was called.
func (y *Layer) recognize(c *tls.Conn, address string) error {
	n, err := certs.NodeOf(c.ConnectionState().VerifiedChains[0][0])
	if err != nil {
		return query.Errorf(query.CodeDenied, "at %s is no node: %w", address, err)
	}
	if n.Cluster != y.o.Cluster {
		return query.Errorf(query.CodeDenied, "at %s is the node %s of the cluster %s, and this is one of %s", address, n.Name, n.Cluster, y.o.Cluster)
	}
	if y.o.NodeAt == nil {
		return nil
	}
	if want := y.o.NodeAt(address); want != "" && want != n.Name {
		return &query.Error{Code: query.CodeDenied, Message: "at " + address + " is the node " + n.Name + ", not " + want,
			Hint: "look where the address leads to, and which certificate is used there"}
	}
	return nil
}

// forget takes a connection that is closed off the list.
func (y *Layer) forget(c *outbound) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.called, c)
}

// Figures returns what has happened so far, and what there is now.
func (y *Layer) Figures() Figures {
	f := Figures{Accepted: y.figures.accepted.Load(), Dialed: y.figures.dialed.Load(), DialFailed: y.figures.dialFailed.Load(),
		Renewed: y.figures.renewed.Load(), Idle: y.figures.idle.Load()}
	f.Strangers, f.Connections = y.hall.count()
	for i := range f.Refused {
		f.Refused[i] = y.figures.refused[i].Load()
	}
	f.Received, f.Sent = y.figures.received.Load(), y.figures.sent.Load()
	return f
}

// counters are those behind [Figures].
type counters struct {
	accepted, dialed, dialFailed, renewed, idle atomic.Uint64
	refused                                     [Reasons]atomic.Uint64
	received, sent                              atomic.Uint64
}

// carried counts what went over a connection.
func carried(to *atomic.Uint64, n int) { to.Add(uint64(max(0, n))) }
