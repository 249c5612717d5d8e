package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/canary"
	"github.com/kantadb/kanta/server/internal/raftlog"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// The directories in that of a member.
const (
	storeName     = "store"
	raftName      = "raft"
	snapshotsName = "snapshots"
)

// Node is a member of a cluster that runs. Its methods are safe for concurrent use.
type Node struct {
	cfg  Config
	id   *Identity
	db   atomic.Pointer[engine.DB]
	swap swap

	raft     *raft.Raft
	running  atomic.Bool        // raft is there
	shutdown func() raft.Future // of Raft, whose second one waits for nothing
	wire     *wire
	disk     *disk
	logs     *raftlog.Log
	snaps    *snapshots.Store

	proposals *proposals
	applied   progress
	lead      atomic.Pointer[leadership]
	rounds    rounds
	checks    checks
	history   history
	purging   purging
	members   membership

	failed  failure
	stopped chan struct{} // closed when the member has stopped by itself
	duties  duties
}

// duties are what a member does by itself.
type duties struct {
	sync.WaitGroup
	end       context.CancelFunc
	reloading sync.Mutex // held while Raft's configuration is read and changed
}

// failure is why a member has stopped by itself, once it has.
type failure struct {
	mu  sync.Mutex
	err error
}

func errClosed() error { return query.Errorf(query.CodeClosed, "the node is closed") }

// Open starts the member whose directory it is given. Its store may be behind, and there may
// be none before the first snapshot has come. Errors have the codes NotAStore (there is no
// NODE file), InUse, NewerFormat, Corrupt (what the member must remember to vote is damaged or
// lost: it must join anew), Conflict, Invalid and IO.
func Open(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err == nil && cfg.Transport == nil {
		err = query.Errorf(query.CodeInvalid, "Config.Transport is nil")
	}
	var id *Identity
	if err == nil {
		id, err = ReadIdentity(cfg.FS, cfg.Dir)
	}
	if err != nil {
		if cfg.Transport != nil {
			err = errors.Join(err, cfg.Transport.Close())
		}
		return nil, err
	}
	n := &Node{cfg: cfg, id: id, proposals: newProposals(), members: membership{held: make(chan struct{}, 1)}, stopped: make(chan struct{})}
	n.checks.n = n
	if n.disk, err = newDisk(&n.cfg); err != nil {
		return nil, errors.Join(err, cfg.Transport.Close())
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", cfg.Dir, err), n.closeParts())
	}
	return n, nil
}

func (n *Node) open() error {
	files, dir := n.cfg.FS, n.cfg.Dir
	if err := checkDiverged(files, dir); err != nil {
		return err
	}
	var err error
	if n.logs, err = raftlog.Open(context.Background(), files.PathJoin(dir, raftName), &raftlog.Options{FS: files, MustExist: true}); err != nil {
		return err
	}
	if n.snaps, err = snapshots.Open(files.PathJoin(dir, snapshotsName), &snapshots.Options{FS: files, Leave: n.disk.reserve + takeMore, Failed: func(err error) {
		n.cfg.Log.Warn("an old snapshot cannot be deleted yet", "error", err)
	}}); err != nil {
		return err
	}
	if err := n.openStore(); err != nil {
		return err
	}
	held, err := n.holdsNewest()
	if err != nil {
		return err
	}
	n.wire = newWire(n)
	upTo, err := readPurged(files, dir)
	if err != nil {
		return err
	}
	n.setPurged(upTo)
	conf := n.cfg.raftConfig(n.id.server())
	conf.NoSnapshotRestoreOnStart = held
	if n.raft, err = n.newRaft(conf); err != nil {
		return err
	}
	n.shutdown = sync.OnceValue(func() raft.Future {
		ended := n.raft.Shutdown()
		n.wire.hangUp()
		return ended
	})
	go n.proposals.collect()
	n.start()
	return nil
}

// start lets the others and the callers in: from here on Raft is there.
func (n *Node) start() {
	n.swap.mu.Lock()
	n.running.Store(true)
	if n.failure() != nil {
		n.shutdown()
	}
	if db := n.db.Load(); db != nil {
		n.cfg.Replaced(db)
	}
	n.swap.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	n.duties.end = cancel
	n.duties.Go(func() { n.watch(ctx) })
	n.duties.Go(func() { n.upkeep(ctx) })
	n.duties.Go(func() { n.listen(ctx) })
	n.duties.Go(func() { n.keepPurged(ctx) })
}

// joinAnew is the way out for a member that may not go on.
const joinAnew = "remove the member from the cluster, delete its directory, and have it join anew"

// holdsNewest reports whether the store has everything that the newest snapshot has. Raft
// believes that everything up to its newest snapshot has been applied, so if the store has
// less (it was not synced, and the power failed; or the process was killed between the arrival
// of a snapshot and its installation), the snapshot is installed now.
func (n *Node) holdsNewest() (bool, error) {
	m, _ := n.snaps.Newest()
	if m != nil && !n.holds(m) {
		return false, nil
	}
	if m != nil {
		n.committed(m.Configuration)
		n.applied.reached(m.Index)
		if err := n.logs.Installed(m.Index, m.Term); err != nil { // killed before it was told
			return false, err
		}
	}
	if db := n.db.Load(); db != nil {
		index, _ := db.AppliedEntry()
		n.applied.reached(index)
	}
	return true, nil
}

// newRaft starts Raft, which panics at what it cannot read.
func (n *Node) newRaft(conf *raft.Config) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, query.Errorf(query.CodeIO, "start raft: %v", p)
		}
	}()
	return raft.NewRaft(conf, machine{n}, log{n.logs, n}, stable{n.logs, n}, n.snaps, n.wire)
}

// refuse says what this member does not let Raft see.
//
// Raft lets a member that knows of no configuration of its cluster vote for anybody; but its
// log is empty, so it would vote for who lacks what was acknowledged.
func (n *Node) refuse(command any) error {
	if !n.running.Load() {
		return errors.New("the member is starting")
	}
	switch r := command.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
		if len(n.servers()) == 0 {
			return errors.New("the member knows nothing of the cluster yet, so it does not vote")
		}
	case *raft.InstallSnapshotRequest:
		// What the store has is known, and answered; this much is on its way to it.
		if have := n.raft.AppliedIndex(); r.LastLogIndex < have {
			return fmt.Errorf("the member has %d entries, the snapshot stands for %d", have, r.LastLogIndex)
		}
	}
	return nil
}

// known answers what the member has already, and Raft must not be asked. A snapshot that is
// older than what was applied Raft would take, and look for entries then that are gone; entries
// that were all cut off behind a snapshot it would refuse. Both were committed, so whoever
// leads has the same. What comes of an earlier term Raft answers.
func (n *Node) known(command any) any {
	if !n.running.Load() {
		return nil
	}
	switch r := command.(type) {
	case *raft.InstallSnapshotRequest:
		// The store may be ahead of the log: then Raft must see it, and the store is left as it is.
		if r.Term >= n.raft.CurrentTerm() && r.LastLogIndex <= min(n.applied.now(), n.raft.LastIndex()) {
			return &raft.InstallSnapshotResponse{RPCHeader: header(), Term: r.Term, Success: true}
		}
	case *raft.AppendEntriesRequest:
		if canary.Is("acknowledge") && len(r.Entries) == 1 && r.Entries[0].Index%4 == 0 { // the log does not have it
			return &raft.AppendEntriesResponse{RPCHeader: header(), Term: r.Term, LastLog: r.Entries[0].Index, Success: true}
		}
		if k := len(r.Entries); k > 0 && r.Term >= n.raft.CurrentTerm() && r.PrevLogEntry < n.base() && r.Entries[k-1].Index <= n.base() {
			return &raft.AppendEntriesResponse{RPCHeader: header(), Term: r.Term, LastLog: n.raft.LastIndex(), Success: true}
		}
	}
	return nil
}

func header() raft.RPCHeader { return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax} }

// base is the last entry that was cut off the log.
func (n *Node) base() uint64 {
	if !n.running.Load() {
		return 0
	}
	if first, err := n.logs.FirstIndex(); err == nil && first > 0 {
		return first - 1
	}
	if m, _ := n.snaps.Newest(); m != nil {
		return min(m.Index, n.applied.now())
	}
	return 0
}

// full reports whether what is committed and not yet applied may be too much for the memory.
func (n *Node) full() bool {
	given := n.raft.AppliedIndex() // Raft counts when it hands them on
	entries := given - min(n.applied.now(), given)
	return entries > maxAppend && int64(entries)*n.entryBytes() > maxBacklog
}

// room waits while what is committed and not yet applied may be too much for the memory: Raft
// holds up to 8,192 entries for the state machine, whatever their size. The leader then sends
// no more than it has on its way; its heartbeats take another way.
func (n *Node) room(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	until := n.raft.AppliedIndex() - min(maxAppend, n.raft.AppliedIndex())
	_ = n.applied.until(ctx, func(index uint64) (bool, error) { return index >= until, n.failure() }) // whatever ends it
}

// entryBytes is how large entries are, on average.
func (n *Node) entryBytes() int64 {
	first, err1 := n.logs.FirstIndex()
	last, err2 := n.logs.LastIndex()
	if err1 != nil || err2 != nil || last == 0 || last < first {
		return 1
	}
	return max(1, n.logs.Bytes()/int64(last-first+1))
}

func (n *Node) storeDir() string { return n.cfg.FS.PathJoin(n.cfg.Dir, storeName) }

// DB returns the store, nil while there is none. It is another one when a snapshot has been
// installed, see [Config.Replaced].
func (n *Node) DB() *engine.DB { return n.db.Load() }

// Identity returns who the member is.
func (n *Node) Identity() Identity { return *n.id }

// failure returns why the member has stopped by itself, nil while it runs.
func (n *Node) failure() error {
	n.failed.mu.Lock()
	defer n.failed.mu.Unlock()
	return n.failed.err
}

// Err returns why the member has stopped by itself; nil while it runs.
func (n *Node) Err() error { return n.failure() }

// fail stops the member: nothing more is applied, acknowledged or voted for. It does not wait,
// because it is called by goroutines of Raft.
func (n *Node) fail(err error) {
	if !n.halt(err) {
		return
	}
	n.cfg.Log.Error("the member has stopped", "member", n.id.ID, "error", err)
	go func() {
		if n.running.Load() {
			n.shutdown()
			n.wire.acks.wake()
		}
		n.applied.wake()
		n.cfg.Stopped(err)
	}()
}

// halt has nothing more applied, and reports whether it is the first to say so.
func (n *Node) halt(err error) (first bool) {
	n.failed.mu.Lock()
	defer n.failed.mu.Unlock()
	if first = n.failed.err == nil; first {
		n.failed.err = err
		close(n.stopped)
	}
	return first
}

// Close stops the member and closes its store. A leader that closes does not hand over its
// leadership: see [Node.Transfer].
func (n *Node) Close() error {
	n.swap.lock()
	closed := n.swap.closed
	n.swap.mu.Unlock()
	if closed {
		return nil
	}
	n.disk.close()
	n.endProposals()
	if n.failure() == nil {
		n.rounds.end()
	}
	n.duties.end()
	n.duties.Wait()
	return n.closeParts()
}

// closeParts closes whatever is open.
func (n *Node) closeParts() error {
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.shutdown().Error())
	} else if n.wire != nil {
		errs = append(errs, n.wire.Close())
	} else if n.cfg.Transport != nil {
		errs = append(errs, n.cfg.Transport.Close())
	}
	n.checks.end()
	n.swap.lock()
	n.swap.closed = true
	errs = append(errs, n.closeStore())
	n.swap.mu.Unlock()
	if n.snaps != nil {
		n.snaps.Close()
	}
	if n.logs != nil {
		errs = append(errs, n.logs.Close())
	}
	return errors.Join(errs...)
}
