package client

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// Members of a cluster, as a client knows them.
const (
	maxNodes   = 16              // that are named, or that others have named: clusters have three or five
	downTime   = time.Second     // for which calls go elsewhere, if they can, after a member was lost
	dialMember = 3 * time.Second // for a connection where there is another member to be asked
)

// node is a server that a client knows.
type node struct {
	address string
	pool    *pool
	down    time.Time // until then others are asked first; of who has nodes.mu
	failed  error     // why it was lost; nil: it has answered since, or was never asked; of who has nodes.mu
}

// nodes is a transport to the members of a cluster, which sends each call to who answers it. One server by
// itself is a cluster of one.
type nodes struct {
	open   func(address string) *pool
	strict bool // questions are the leader's too

	mu     sync.Mutex
	all    []*node // those that the caller has named first
	leader *node   // as far as is known; nil: it is not
	turn   int     // of whom was asked last
	met    bool    // somebody has ever answered
	closed bool
}

// newNodes returns the transport to the servers at some addresses.
func newNodes(addresses []string, o *Options) *nodes {
	n := &nodes{strict: o.Consistency == Linearizable}
	encrypted := slices.ContainsFunc(addresses, func(a string) bool { return o.secure(a) != nil })
	n.open = func(address string) *pool {
		p := &pool{address: address, tls: o.secure(address), key: o.Key, alone: func() bool { return n.count() == 1 }}
		if p.tls == nil && encrypted { // another member says that one is on this machine: it is shown no key in plain text
			p.tls = &tls.Config{MinVersion: tls.VersionTLS13}
		}
		return p
	}
	for _, a := range addresses {
		n.all = append(n.all, &node{address: a, pool: n.open(a)})
	}
	return n
}

// parseAddresses returns the hosts and ports of kanta://HOST:PORT,HOST:PORT.
func parseAddresses(address string) ([]string, error) {
	rest, ok := strings.CutPrefix(address, "kanta://")
	if !ok {
		_, err := parseAddress(address)
		return nil, err
	}
	var out []string
	for one := range strings.SplitSeq(rest, ",") {
		host, err := parseAddress("kanta://" + one)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	if len(out) > maxNodes {
		return nil, query.Errorf(query.CodeInvalid, "%d addresses: a client knows at most %d members of a cluster", len(out), maxNodes)
	}
	return out, nil
}

// count returns how many there are to be asked.
func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.all)
}

// others reports whether there may be another member to be asked: not if nobody has ever answered, for then the
// addresses may be wrong.
func (n *nodes) others() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.met && len(n.all) > 1
}

// attempt is one try of a call: whom it must ask, whom it should not, and whom it has asked.
type attempt struct {
	pinned, avoid, used *node
	route               route
}

type attemptKey struct{}
type pinKey struct{}

// begin returns the context of a call whose tries are taken note of. Only one try at a time is made with it.
func begin(ctx context.Context) (context.Context, *attempt) {
	a := &attempt{}
	a.pinned, _ = ctx.Value(pinKey{}).(*node)
	return context.WithValue(ctx, attemptKey{}, a), a
}

// within returns ctx as one of the try that another context is of.
func within(ctx, try context.Context) context.Context {
	return context.WithValue(ctx, attemptKey{}, attemptOf(try))
}

func attemptOf(ctx context.Context) *attempt {
	if a, _ := ctx.Value(attemptKey{}).(*attempt); a != nil {
		return a
	}
	a := &attempt{}
	a.pinned, _ = ctx.Value(pinKey{}).(*node)
	return a
}

// pinned returns ctx for calls that one member answers only. nil: any.
func pinned(ctx context.Context, to *node) context.Context {
	if to == nil {
		return ctx
	}
	return context.WithValue(ctx, pinKey{}, to)
}

// route says who answers a call.
type route uint8

const (
	anyNode    route = iota // whoever is there
	leaderNode              // the leader only: what goes through the log
	namedNode               // the first that is there of those that the caller has named: what is done to its own files
)

const procedures = "/" + kantav1connect.KantaServiceName + "/"

// routeOf says who answers a procedure.
func (n *nodes) routeOf(procedure string) route {
	switch strings.TrimPrefix(procedure, procedures) {
	case "Apply", "DryRun", "Ingest", "Erase", "Readmit", "Purge", "CreateKey", "RevokeKey", "SaveRole", "DropRole", "ClusterJoin", "ClusterRemove", "ClusterTransfer", "ClusterUpgrade":
		return leaderNode
	case "Check", "Repair", "Compact", "Backup", "BackupLedger", "KeepLog", "ShipLog", "Running", "CancelRunning", "Audit", "VerifyAudit", "Ping", "ClusterStatus":
		return namedNode
	}
	switch {
	case n.strict:
		return leaderNode
	case procedure == kantav1connect.KantaServiceStatsProcedure:
		return namedNode
	}
	return anyNode
}

// choose returns whom to ask: of those that are there, or if none is, of all, and not whom tried has.
func (n *nodes) choose(r route, a *attempt, tried []*node) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.pinned != nil {
		if slices.Contains(tried, a.pinned) {
			return nil
		}
		return a.pinned
	}
	now := time.Now()
	if l := n.leader; r == leaderNode && l != nil && !slices.Contains(tried, l) {
		return l
	}
	best, first := (*node)(nil), n.turn+1
	if r == namedNode {
		first = 0
	}
	for i := range n.all {
		c := n.all[(first+i)%len(n.all)]
		switch {
		case slices.Contains(tried, c):
		case best == nil, better(c, best, a.avoid, now):
			best = c
		}
	}
	if best == nil {
		return nil
	}
	n.turn = slices.Index(n.all, best)
	if !best.down.IsZero() && !now.Before(best.down) {
		best.down = now.Add(dialMember) // this call finds out whether it is there again, and others need not wait for that
	}
	return best
}

// better reports whether c is rather asked than best, which comes first.
func better(c, best, avoid *node, now time.Time) bool {
	rank := func(n *node) int {
		switch {
		case now.Before(n.down):
			return 2
		case n == avoid:
			return 1
		}
		return 0
	}
	return rank(c) < rank(best) || rank(c) == 2 && rank(best) == 2 && c.down.Before(best.down)
}

// NewClientStream implements [connect.Transport]. Who cannot be reached has certainly done nothing, so the next
// one is asked.
func (n *nodes) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	a, r := attemptOf(ctx), n.routeOf(spec.Procedure)
	a.used, a.route = nil, r
	var tried []*node
	var failed error
	for {
		to := n.choose(r, a, tried)
		if to == nil {
			if len(tried) > 1 {
				failed = &unreached{failed}
			}
			return nil, failed
		}
		a.used = to
		stream, err := to.pool.NewClientStream(ctx, spec)
		if err == nil || ctx.Err() != nil || isVerdict(err) {
			return stream, err
		}
		failed = err
		tried = append(tried, to)
		n.lost(to, err)
	}
}

// unreached is the error of a call that has reached nobody.
type unreached struct{ err error }

func (u *unreached) Error() string { return u.err.Error() }
func (u *unreached) Unwrap() error { return u.err }

// isVerdict reports whether a server has said no, and every other one would.
func isVerdict(err error) bool {
	var ours *query.Error
	var c *connect.Error
	return errors.As(err, &ours) || errors.As(err, &c) && (c.Code() == connect.CodeUnauthenticated || c.Code() == connect.CodePermissionDenied)
}

// lost takes note that a member is not there, and why.
func (n *nodes) lost(to *node, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	to.down, to.failed = time.Now().Add(downTime), why
	if n.leader == to {
		n.leader = nil
	}
}

// answered takes note that a member is there. leads: it has done what only the leader does.
func (n *nodes) answered(to *node, leads bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.there(to)
	if leads {
		n.leader = to
	}
}

// there takes note that a member is there; the caller has n.mu.
func (n *nodes) there(to *node) { to.down, to.failed, n.met = time.Time{}, nil, true }

// follow takes note that a member does not lead, but another one, "" is none. It reports whether there
// is somebody else to be asked now.
func (n *nodes) follow(from *node, leader string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.there(from)
	if n.leader == from {
		n.leader = nil
	}
	to := n.named(leader)
	if to == nil || to == from || time.Now().Before(to.down) { // it was lost just now, and who names it has not noticed yet
		return false
	}
	n.leader = to
	return true
}

// named returns the member at an address that another one has named; nil: it is no address, or one too many. The
// caller has n.mu.
func (n *nodes) named(address string) *node {
	host, err := parseAddress("kanta://" + address)
	if address == "" || err != nil {
		return nil
	}
	if i := slices.IndexFunc(n.all, func(o *node) bool { return o.address == host }); i >= 0 {
		return n.all[i]
	}
	if len(n.all) >= maxNodes || n.closed {
		return nil
	}
	to := &node{address: host, pool: n.open(host)}
	n.all = append(n.all, to)
	return to
}

// knows returns who is to be asked next what only the leader knows: the one that leads, if that is known, else the
// next. nil: nobody who has not been asked.
func (n *nodes) knows(leader string, asked []*node) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.all
	if leader != "" {
		all = []*node{n.named(leader)}
	}
	for _, to := range all {
		if to != nil && !slices.Contains(asked, to) {
			return to
		}
	}
	return nil
}

// whyLost returns why the member at an address that another one has named was lost; nil: it was not.
func (n *nodes) whyLost(address string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to := n.named(address); to != nil {
		return to.failed
	}
	return nil
}

func (n *nodes) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, one := range n.all {
		one.pool.close()
	}
}

// consistent writes into a question how recent its answer must be.
func (o *Options) consistent(q *pb.Question) *pb.Question {
	o.recent().Ask(q)
	return q
}
