package faultnet

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Faults says what happens to messages. Shares are in thousandths.
type Faults struct {
	Lose      int           // requests that do not arrive
	LoseReply int           // answers that do not
	Repeat    int           // requests that arrive twice
	Break     int           // snapshots that break off
	Slow      int           // messages that take up to SlowDelay, others up to Delay
	Delay     time.Duration // at most, one way
	SlowDelay time.Duration
}

// Counts is what has happened so far.
type Counts struct {
	Sent, Lost, LostReplies, Repeated, Overtaken, Broken, Blocked int
}

// Network is one. Safe for concurrent use.
type Network struct {
	seed    uint64
	timeout time.Duration

	mu     sync.Mutex
	faults Faults
	cut    map[link]bool
	nodes  map[raft.ServerAddress]*Transport
	sent   map[stream]uint64
	came   map[stream]uint64
	counts Counts
}

// link goes from one to another.
type link struct{ from, to raft.ServerAddress }

// stream are the messages of a kind on a link.
type stream struct {
	link
	kind string
}

// New makes a network without faults. Whoever sends waits for an answer for timeout, and ten
// times as long for that to a snapshot.
func New(seed uint64, timeout time.Duration) *Network {
	return &Network{seed: seed, timeout: timeout, cut: map[link]bool{}, nodes: map[raft.ServerAddress]*Transport{}, sent: map[stream]uint64{}, came: map[stream]uint64{}}
}

// Set has other faults from now on.
func (n *Network) Set(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Counts returns what has happened so far.
func (n *Network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// Cut has nothing go from one to another any more; the other way it does.
func (n *Network) Cut(from, to raft.ServerAddress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// Partition has those of one group reach each other and nobody else. Who is in no group is
// reached by nobody.
func (n *Network) Partition(groups ...[]raft.ServerAddress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for a := range n.nodes {
		for b := range n.nodes {
			together := slices.ContainsFunc(groups, func(g []raft.ServerAddress) bool { return slices.Contains(g, a) && slices.Contains(g, b) })
			n.cut[link{a, b}] = !together
		}
	}
}

// Heal has everybody reach everybody again.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// Join makes the transport of an address. One that had it before is reached no more.
func (n *Network) Join(address raft.ServerAddress) *Transport {
	t := &Transport{net: n, address: address, in: make(chan raft.RPC), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[address] = t
	return t
}

// fate is what becomes of a message.
type fate struct {
	number                          uint64
	lose, loseReply, repeat, breaks bool
	there, back, again              time.Duration // delays
	at                              float64       // where a snapshot breaks off
}

// decide draws what becomes of the next message of a stream.
func (n *Network) decide(s stream) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent[s]++
	n.counts.Sent++
	h := fnv.New64a()
	for _, text := range []string{string(s.from), string(s.to), s.kind} {
		_, _ = h.Write(append([]byte(text), 0)) // never fails
	}
	r := rand.New(rand.NewPCG(n.seed^h.Sum64(), n.sent[s]))
	share := func(thousandths int) bool { return r.IntN(1000) < thousandths }
	delay := func() time.Duration {
		most := n.faults.Delay
		if share(n.faults.Slow) {
			most = n.faults.SlowDelay
		}
		return time.Duration(r.Int64N(int64(most) + 1))
	}
	f := fate{number: n.sent[s], lose: share(n.faults.Lose), loseReply: share(n.faults.LoseReply), repeat: share(n.faults.Repeat), breaks: share(n.faults.Break)}
	f.there, f.back, f.again, f.at = delay(), delay(), delay(), r.Float64()
	return f
}

func (n *Network) count(what *int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*what++
}

// to returns who is there at the end of a link, nil if it cannot be reached now.
func (n *Network) to(l link) *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[l] {
		n.counts.Blocked++
		return nil
	}
	return n.nodes[l.to]
}

// arrived takes note of a message, and whether it has overtaken another one.
func (n *Network) arrived(s stream, number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number < n.came[s] {
		n.counts.Overtaken++
	}
	n.came[s] = max(n.came[s], number)
}

// lasting returns how long somebody waits for an answer.
func (n *Network) lasting(command any) time.Duration {
	if _, snapshot := command.(*raft.InstallSnapshotRequest); snapshot {
		return 10 * n.timeout
	}
	return n.timeout
}
