package replica

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// Transport is what members reach each other by: Raft's, with what it asks for besides.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// wire is the transport with an eye on what goes over it: Raft does not tell how far its
// members are, nor when it last heard how far the leader was.
type wire struct {
	Transport
	in   chan raft.RPC
	stop chan struct{}
	done chan struct{}
	ending

	screen
	base func() uint64          // the last entry that was cut off the log: it was committed, as all before it
	says func(term uint64) word // what this member says to others, as the leader of a term
	span span                   // the cluster versions that it says it knows
	acks progress               // wakes who waits for answers
	standing

	synced  synced // of the member's log
	backlog backlog
	disk    diskRoom
	start

	mu    sync.Mutex
	heard heard
	knows []known // of the leader's words, the latest last
	told
	round uint64 // see ask
	peers map[raft.ServerID]*contact
}

// ending is what ends with Raft.
type ending struct {
	hung      chan struct{}      // closed then: nobody is answered by Raft any more, and no pipeline is opened
	pipelines map[*pipeline]bool // that are open; under the wire's lock
}

// standing is how this member stands to the others.
type standing struct {
	leads func(term uint64) bool      // it leads, in that term
	away  func(id raft.ServerID) bool // that is another member, and does not answer
}

// told is what this member says to others; under the wire's lock.
type told struct {
	found  *holding
	purged query.Position
}

// screen keeps from Raft what it must not see.
type screen struct {
	refuse  func(command any) error                            // what Raft is not to be given
	known   func(command any) any                              // the answer to what the member has already; nil: Raft is to see it
	offered func(rpc raft.RPC, r *raft.InstallSnapshotRequest) // answers what Raft is not asked: what is here of a snapshot
}

// start is a start of a member, of which stamps are.
type start struct {
	boot  uint64    // which one it is
	begun time.Time // when it was
}

// backlog is what is committed and not yet applied, in memory.
type backlog struct {
	room  func(stop <-chan struct{}) // returns when Raft may be given more entries
	full  func() bool                // it may not now
	waits atomic.Bool                // a message waits for room
}

// diskRoom is whether there is room on the member's disk.
type diskRoom struct {
	takes func(entries []*raft.Log) error // why entries cannot come into the log; nil: they can
	full  func() bool                     // it should not lead
}

// heard is the last word of a leader that said how much is committed.
type heard struct {
	term, commit uint64
	at           time.Time
}

// contact is what this member, leading, knows of another.
type contact struct {
	log   uint64 // the last index in its log or its snapshot
	at    time.Time
	sent  int64 // bytes of the snapshot that is being sent to it
	size  int64 // of all of it; 0: none is being sent
	whole bool  // the next one is sent whole: what the member had was not enough
	full  bool  // its disk is nearly full, as it says

	acked  acked
	said   stamp          // the latest of its stamps
	found  *holding       // the latest that it has found
	purged query.Position // up to where it has; zero: it has not said so
	span   span           // the cluster versions that it knows; zero: it has not said
}

// synced says what of the log is durable.
type synced interface {
	Durable() uint64 // up to here
	Settle() error   // waits until all of it is
}

// newWire returns the transport of a member.
func newWire(n *Node) *wire {
	w := &wire{Transport: n.cfg.Transport, screen: screen{n.refuse, n.known, n.offered}, base: n.base, says: n.says, standing: standing{n.leadsIn, n.away}, span: n.span(), synced: n.logs, start: start{rand.Uint64(), time.Now()},
		backlog: backlog{room: n.room, full: n.full}, disk: diskRoom{takes: n.takes, full: n.nearlyFull},
		in: make(chan raft.RPC), stop: make(chan struct{}), done: make(chan struct{}), peers: map[raft.ServerID]*contact{}, ending: ending{make(chan struct{}), map[*pipeline]bool{}}}
	go w.relay()
	return w
}

// Consumer returns what comes in.
func (w *wire) Consumer() <-chan raft.RPC { return w.in }

// relay hands on what comes in, until the transport is closed.
func (w *wire) relay() {
	defer close(w.done)
	for {
		select {
		case rpc := <-w.Transport.Consumer():
			w.handOn(rpc)
		case <-w.stop:
			return
		}
	}
}

func (w *wire) handOn(rpc raft.RPC) {
	rpc = exact(rpc)
	answer, err := w.known(rpc.Command), error(nil)
	if answer == nil {
		err = w.refuse(rpc.Command)
	}
	if answer != nil || err != nil {
		go func() { // it may be long
			if rpc.Reader != nil {
				_, _ = io.Copy(io.Discard, rpc.Reader) // what follows is read from behind it
			}
			rpc.Respond(answer, err)
		}()
		return
	}
	if r, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok && isOffer(r) {
		go w.offered(rpc, r)
		return
	}
	if r, ok := rpc.Command.(*raft.AppendEntriesRequest); ok {
		w.note(r)
		r = behindBase(r, w.base())
		rpc.Command = certain(r)
		if _, spoken := decodeWord(*aside(r)); spoken {
			rpc = w.listen(rpc, r)
		}
		if err := w.ready(r); err != nil {
			rpc.Respond(nil, err) // the leader sends them again
			return
		}
		if len(r.Entries) > 0 && w.backlog.full() {
			w.later(rpc)
			return
		}
	}
	w.give(rpc)
}

// ready says why Raft is not given a message now. A member that has led may have appended what its disk does not have
// yet, and Raft would answer that it has it.
func (w *wire) ready(r *raft.AppendEntriesRequest) error {
	if len(r.Entries) == 0 {
		return nil
	}
	return errors.Join(w.disk.takes(r.Entries), w.synced.Settle())
}

// later gives Raft entries when there is room for them. Votes and heartbeats pass meanwhile. More entries are refused: a
// leader sends them again, and they are not to be in memory until then.
func (w *wire) later(rpc raft.RPC) {
	if !w.backlog.waits.CompareAndSwap(false, true) {
		rpc.Respond(nil, errors.New("the member has entries that it must apply first"))
		return
	}
	go func() {
		w.backlog.room(w.stop)
		w.backlog.waits.Store(false)
		w.give(rpc)
	}()
}

func (w *wire) give(rpc raft.RPC) {
	select {
	case w.in <- rpc:
	case <-w.hung: // who asks for a vote is not to wait for it
		rpc.Respond(nil, raft.ErrRaftShutdown)
	case <-w.stop:
		rpc.Respond(nil, raft.ErrRaftShutdown)
	}
}

// behindBase is a message without the entries that were cut off here.
func behindBase(r *raft.AppendEntriesRequest, base uint64) *raft.AppendEntriesRequest {
	for i, e := range r.Entries {
		if e.Index == base && r.PrevLogEntry < base {
			less := *r
			less.PrevLogEntry, less.PrevLogTerm, less.Entries = e.Index, e.Term, r.Entries[i+1:]
			return &less
		}
	}
	return r
}

// certain is a message that says of nothing that it is committed but of what it brings, or what
// it shows that the member has. A leader may have committed more since it looked where its log
// ends. Raft would take that for the end of its own log, though it compares nothing behind the
// message with the leader's: it would apply the tail of a leader that was deposed.
func certain(r *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	known := r.PrevLogEntry + uint64(len(r.Entries))
	if r.LeaderCommitIndex <= known {
		return r
	}
	less := *r // in a process the sender's own may come here
	less.LeaderCommitIndex = known
	return &less
}

// ours is a message of this member that says of nothing that it is committed but of what its own disk has.
func (w *wire) ours(r *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	less := *r // it is Raft's, which sends it again
	less.LeaderCommitIndex = min(r.LeaderCommitIndex, w.synced.Durable())
	return &less
}

// note keeps what a leader says is committed. Heartbeats say nothing of it.
func (w *wire) note(r *raft.AppendEntriesRequest) {
	if r.LeaderCommitIndex == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Term >= w.heard.term {
		w.heard = heard{term: r.Term, commit: r.LeaderCommitIndex, at: time.Now()}
	}
}

func (w *wire) lastHeard() heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard
}

// report has others told what this member has found, nil: nothing.
func (w *wire) report(c *holding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = c
}

// tellPurged has others told up to where this member has purged.
func (w *wire) tellPurged(upTo query.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.purged = upTo
}

// of returns what is known of another member, for change under the lock.
func (w *wire) of(id raft.ServerID, change func(c *contact)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.peers[id]
	if c == nil {
		c = new(contact)
		w.peers[id] = c
	}
	change(c)
}

func (w *wire) contact(id raft.ServerID) contact {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.peers[id]; c != nil {
		return *c
	}
	return contact{}
}

// forget drops those who are members no more.
func (w *wire) forget(keep func(id raft.ServerID) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.peers {
		if !keep(id) {
			delete(w.peers, id)
		}
	}
}

// stuckAfter is how long a message may wait for its place in a pipeline. When a member has
// refused one, Raft (1.8.0) stops to take the answers, and may then wait for ever to send
// another one: that member gets nothing any more though heartbeats go on, and Raft cannot be
// shut down. With the pipeline closed it begins anew, from where the member is.
const stuckAfter = 5 * time.Second

// pipeline is one that is given up when it is stuck.
type pipeline struct {
	raft.AppendPipeline
	w *wire
}

// AppendEntriesPipeline opens a pipeline.
func (w *wire) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := w.Transport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{inner, w}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.hung:
		return nil, errors.Join(raft.ErrPipelineShutdown, inner.Close())
	default:
	}
	w.pipelines[p] = true
	return p, nil
}

// AppendEntries sends entries.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	args = p.w.ours(args)
	stuck := time.AfterFunc(stuckAfter, func() { _ = p.AppendPipeline.Close() }) // whoever waits is told
	defer stuck.Stop()
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Close closes the pipeline.
func (p *pipeline) Close() error {
	p.w.mu.Lock()
	delete(p.w.pipelines, p)
	p.w.mu.Unlock()
	return p.AppendPipeline.Close()
}

// hangUp closes what is open, so that nobody waits there while Raft ends, nor for an answer of it. It is called once.
func (w *wire) hangUp() {
	w.mu.Lock()
	close(w.hung)
	open := slices.Collect(maps.Keys(w.pipelines))
	w.mu.Unlock()
	for _, p := range open {
		_ = p.AppendPipeline.Close() // it ends anyway
	}
}

// errDeposed is why a snapshot is sent no further.
var errDeposed = errors.New("the member does not lead any more, so it sends no snapshot")

// counted is a snapshot on its way.
type counted struct {
	io.Reader
	on  func() bool // it is to go on
	add func(n int)
}

func (c *counted) Read(b []byte) (int, error) {
	if !c.on() {
		return 0, errDeposed
	}
	n, err := c.Reader.Read(b)
	c.add(n)
	return n, err
}

// Close closes the transport. It must be called once; Raft does so when it is shut down.
func (w *wire) Close() error {
	close(w.stop)
	<-w.done
	return w.Transport.Close()
}
