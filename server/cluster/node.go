package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/internal/peer"
	"github.com/kantadb/kanta/server/internal/replica"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// Options say how a member runs. TLS is needed; the zero values of the rest are good.
type Options struct {
	// TLS names the files of the member's certificate, of its key, and of the authority of the other
	// members: kanta cert node makes them. They are read anew when they change.
	TLS certs.Files
	// Listen is the address, HOST:PORT, at which other members are heard. "": that at which they reach this one.
	Listen string
	// Engine opens the store. FS, Replica and what says how it is synced are the member's. nil: as engine.Open does.
	Engine *engine.Options
	// LogBytes is how much the log grows before it is cut behind a new snapshot of the store, of which a
	// quarter is kept then for members that were away shortly. 0: 256 MiB, and 64 MiB are kept. Less is a
	// shorter start after a crash, and more snapshots.
	LogBytes int64
	// RemoveDead is after how long a member with a vote that was not heard of is removed by the leader: once three
	// others at least have a vote, and most of these are there, so never one of three before another one has come in
	// its place. Each member that may lead should have the same. 0: 24 h. Negative: never.
	RemoveDead time.Duration
	// Log is told what happens: elections, members that come and go, strangers at the port. nothing of it is
	// stored data. nil: nobody is.
	Log *slog.Logger
}

// Node is a member that runs. It implements [server.Cluster], and is safe for concurrent use.
type Node struct {
	node    *replica.Node
	layer   *peer.Layer
	stopped chan struct{} // closed when it has stopped by itself

	mu     sync.Mutex
	server *server.Server // nil: none yet
	db     *engine.DB     // what it serves
	err    error          // why it has stopped by itself
}

var _ server.Cluster = (*Node)(nil)

// rpcTime bounds a message between members, beside what its length allows: a member that is stopped by a
// debugger, or whose disk hangs, is given up then.
const rpcTime = 5 * time.Second

// handOver bounds how long a member that is closed tries to have another one lead.
const handOver = 3 * time.Second

// Open runs the member whose directory it is. It fails with [query.CodeNotAStore] where there is none, and with
// the codes of engine.Open.
func Open(dir string, o *Options) (*Node, error) {
	if o == nil {
		o = &Options{}
	}
	id, err := replica.IdentityAt(dir)
	if err != nil {
		return nil, err
	}
	mutual, err := certs.NewMutual(o.TLS, func(err error) { o.warn("the certificates of the member cannot be read anew", err) })
	if err != nil {
		return nil, fmt.Errorf("the certificate of the member: %w", err)
	}
	listen := o.Listen
	if listen == "" {
		listen = id.Raft
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "is the member running already, or does the address belong to another machine?", Err: err}
	}
	n := &Node{stopped: make(chan struct{})}
	var running atomic.Pointer[replica.Node] // what the port asks; nil: nobody yet
	po := peer.Options{Node: id.ID, Cluster: id.Cluster, TLS: mutual, Advertise: id.Raft, Refused: o.refusals()}
	copy(po.ID[:], fromHex(id.Store))
	po.NodeAt = func(address string) string {
		if r := running.Load(); r != nil {
			return r.NodeAt(address)
		}
		return ""
	}
	po.Allowed = func(node string) bool { r := running.Load(); return r == nil || r.Allows(node) }
	layer, err := peer.New(l, po)
	if err != nil {
		return nil, err
	}
	n.layer = layer
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: layer, MaxPool: peer.MaxPool, Timeout: rpcTime,
		Logger: replica.RaftLogger(o.logger()), MsgpackUseNewTimeFormat: true})
	c := replica.Config{Dir: dir, Transport: transport, Log: o.logger(), Replaced: n.replaced, Stopped: n.hasStopped, Removing: n.removing, RemoveDead: o.RemoveDead,
		SnapshotBytes: o.LogBytes, TrailingBytes: o.LogBytes / 4}
	if o.Engine != nil {
		c.Engine = *o.Engine
	}
	if n.node, err = replica.Open(c); err != nil {
		return nil, err // which has closed the transport
	}
	running.Store(n.node)
	return n, nil
}

// fromHex reads what an identity has checked.
func fromHex(text string) []byte {
	b, _ := hex.DecodeString(text) // as above
	return b
}

func (o *Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

func (o *Options) warn(what string, err error) {
	o.logger().Warn(what, "error", err)
}

// refusedEvery is how often a stranger at the port of the members is told of: a flood must not fill a log.
const refusedEvery = time.Second

// refusals returns what tells the log of connections that were refused, one in a second.
func (o *Options) refusals() func(peer.Refusal) {
	var last atomic.Int64
	log, begun := o.logger(), time.Now().Add(-refusedEvery) // somebody may set the clock
	return func(r peer.Refusal) {
		now := int64(time.Since(begun))
		if before := last.Load(); now-before < int64(refusedEvery) || !last.CompareAndSwap(before, now) {
			return
		}
		log.Warn("a connection of a node was refused", "address", r.Address.String(), "node", r.Node, "reason", r.Reason.String())
	}
}

// replaced is told of each store that takes the place of another.
func (n *Node) replaced(db *engine.DB) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.db = db
	if n.server != nil {
		n.server.Replace(db)
	}
}

// removing has the audit of the server say which member is about to be removed that nobody has asked to remove.
func (n *Node) removing(ctx context.Context, r query.ClusterRemoval) error {
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.RemovingMember(ctx, r)
}

// Serve has a server answer from the member's store, and from another one when that is replaced. The server
// was made without a store, and with this member as its Cluster.
func (n *Node) Serve(s *server.Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = s
	s.Replace(n.db)
}

func (n *Node) hasStopped(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	close(n.stopped)
}

// Stopped is closed when the member has stopped by itself, because its disk failed, it was removed, or what it has
// differs from what others have. Nothing is written then any more, and nobody votes; close it.
func (n *Node) Stopped() <-chan struct{} { return n.stopped }

// Err says why the member has stopped by itself; nil: it has not.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Close ends the member, once: if it leads, another one is asked to, first. Shut its server down after [Node.HandOver]
// and before.
func (n *Node) Close() error {
	n.HandOver()
	n.replaced(nil)
	return n.node.Close()
}

// HandOver has another member lead if this one does and another one can, so that who writes need not wait
// for an election.
func (n *Node) HandOver() {
	if !n.node.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOver)
	defer cancel()
	_ = n.node.Transfer(ctx, "") // else there is an election
}

// Identity says who the member is.
func (n *Node) Identity() Identity { return identityOf(n.node.Identity()) }

// Leader returns the address for clients of the member that leads, "" if nobody knows one, and whether it is
// this one.
func (n *Node) Leader() (address string, self bool) { return n.node.Leader() }

// Linearizable waits until this member has all that was acknowledged before the call, and returns where the store
// was then. It fails with [query.CodeNotLeader] where another one leads.
func (n *Node) Linearizable(ctx context.Context) (query.Position, error) {
	return n.node.Linearizable(ctx)
}

// Staleness returns how long ago this member had, certainly, all that was acknowledged then. Negative: nobody knows. At
// the leader it is some hundred milliseconds, and more if it was stopped or is cut off.
func (n *Node) Staleness() time.Duration { return n.node.Staleness() }

// Room returns why this member takes nothing that is written: its disk is nearly full. nil: it takes.
func (n *Node) Room() error { return n.node.Room() }

// Status returns what this member knows of the cluster. How far others are the leader knows.
func (n *Node) Status(ctx context.Context) (query.ClusterStatus, error) { return n.node.Status(ctx) }

// Join takes a member in, which has a vote when it has caught up.
func (n *Node) Join(ctx context.Context, m query.ClusterRecruit) error { return n.node.Join(ctx, m) }

// Remove ends a membership.
func (n *Node) Remove(ctx context.Context, id string) error { return n.node.Remove(ctx, id) }

// Transfer has another member lead, "" whichever has most.
func (n *Node) Transfer(ctx context.Context, id string) error { return n.node.Transfer(ctx, id) }

// Purge has every member remove from its files what they hold of people who were erased.
func (n *Node) Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error) {
	return n.node.Purge(ctx, progress)
}

// Figures returns what the member counts.
func (n *Node) Figures() server.ClusterFigures {
	f, p := n.node.Figures(), n.layer.Figures()
	out := server.ClusterFigures{Commit: f.Commit, Applied: f.Applied, LogBytes: f.LogBytes, SnapshotIndex: f.SnapshotIndex,
		Connections: p.Connections, Strangers: p.Strangers, Accepted: p.Accepted, Closed: p.Idle, Dialed: p.Dialed, DialFailed: p.DialFailed,
		Received: p.Received, Sent: p.Sent, Refused: map[string]uint64{}}
	if f.First > 0 {
		out.LogEntries = f.Last - f.First + 1
	}
	for _, m := range f.Moving {
		of := map[string]*[2]int64{snapshots.Making: &out.Making, snapshots.Sending: &out.Sending, snapshots.Receiving: &out.Receiving}[m.What]
		of[0], of[1] = of[0]+m.Done, of[1]+m.Total
	}
	for r := peer.ReasonNone + 1; int(r) < peer.Reasons; r++ {
		out.Refused[r.String()] = p.Refused[r]
	}
	return out
}

// Upgrade raises the cluster version to the newest that all members know, or with hold keeps it as it is until it is asked
// for again, and returns the one in force.
func (n *Node) Upgrade(ctx context.Context, hold bool) (query.ClusterVersion, error) {
	return n.node.Upgrade(ctx, hold)
}

// DB returns the store, nil while there is none. It is closed when another one takes its place.
func (n *Node) DB() *engine.DB { return n.node.DB() }

// Identity says who a member is, as its file NODE does.
type Identity struct {
	Cluster     string // the name of the cluster, as in the certificates of its members
	Store       string // the id of the store that all members have
	ID          string // the name of the member
	Address     string // HOST:PORT where clients reach it
	RaftAddress string // HOST:PORT where the other members do
}

func identityOf(id replica.Identity) Identity {
	return Identity{Cluster: id.Cluster, Store: id.Store, ID: id.ID, Address: id.Client, RaftAddress: id.Raft}
}

// IdentityOf reads whose directory it is. It fails with [query.CodeNotAStore] if it is no member's.
func IdentityOf(dir string) (Identity, error) {
	id, err := replica.IdentityAt(dir)
	if err != nil {
		return Identity{}, err
	}
	return identityOf(*id), nil
}

// IsMember reports whether a directory is that of a member, be it a damaged one.
func IsMember(dir string) bool {
	_, err := replica.IdentityAt(dir)
	return !errors.Is(err, &query.Error{Code: query.CodeNotAStore}) && !errors.Is(err, &query.Error{Code: query.CodeIO})
}
