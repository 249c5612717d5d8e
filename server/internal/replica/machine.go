package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// machine is what Raft gives the committed log to. Its methods are called by one goroutine of
// Raft, but for Persist and Release of the snapshots that it makes.
type machine struct{ n *Node }

var _ raft.BatchingFSM = machine{}

// Apply is not called: Raft calls ApplyBatch.
func (m machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch has the store decide entries, in order. What Raft gives whoever proposed an entry
// is an engine.Outcome. Once anything has failed nothing more is applied here: what the others
// have applied meanwhile, this member gets again when it has been opened anew.
func (m machine) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	first := 0 // of those not yet applied
	for i, l := range logs {
		if l.Type == raft.LogConfiguration {
			m.n.committed(raft.DecodeConfiguration(l.Data))
		}
		if !isControl(l) {
			continue
		}
		// A control entry is about the state that the entries before it make.
		m.apply(logs[first:i+1], out[first:i+1])
		first = i + 1
		if m.n.failure() == nil {
			m.n.checks.given(l, m.n.db.Load())
		}
	}
	m.apply(logs[first:], out[first:])
	return out
}

// isControl reports whether an entry is for the nodes and not for their stores.
func isControl(l *raft.Log) bool {
	return l.Type == raft.LogCommand && len(l.Data) == 0
}

func (m machine) apply(logs []*raft.Log, out []any) {
	if len(logs) == 0 {
		return
	}
	outcomes, err := m.decide(logs)
	if err != nil {
		m.n.fail(err)
		for i := range out {
			out[i] = engine.Outcome{Err: stopped(err)}
		}
		return
	}
	for i := range out {
		out[i] = outcomes[i]
	}
	m.n.applied.reached(logs[len(logs)-1].Index)
}

func (m machine) decide(logs []*raft.Log) ([]engine.Outcome, error) {
	if err := m.n.failure(); err != nil {
		return nil, err
	}
	db := m.n.db.Load()
	if db == nil {
		return nil, query.Errorf(query.CodeInternal, "entry %d of the log came before there was a store", logs[0].Index)
	}
	if err := m.n.logs.AwaitDurable(logs[len(logs)-1].Index); err != nil {
		return nil, err
	}
	entries := make([]engine.Entry, len(logs))
	for i, l := range logs {
		entries[i] = engine.Entry{Index: l.Index, Term: l.Term}
		if l.Type == raft.LogCommand && len(l.Data) > 0 {
			entries[i].Data = l.Data
		}
	}
	outcomes, err := m.n.applyEntries(db, entries)
	if err == nil && len(outcomes) != len(entries) {
		err = query.Errorf(query.CodeInternal, "%d outcomes of %d entries", len(outcomes), len(entries))
	}
	return outcomes, err
}

// stopped is what whoever waits for an outcome is told when the member has stopped by itself.
func stopped(why error) error {
	return &query.Error{Code: query.CodeUnavailable, Message: "the member has stopped, so what became of the batch is not known here: " + why.Error(),
		Hint: "ask another member; a batch with source, run and sequence may be sent again", Err: why}
}

// Snapshot has nothing to do: the store copies itself while it goes on, so Persist has it do
// so, and nothing waits meanwhile. The copy may have more than the entries that Raft says it
// stands for. That is as if they had been applied before they were given: the store that is
// made of it skips them when they are.
func (m machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.n.failure(); err != nil || m.n.db.Load() == nil {
		return nil, errors.Join(errors.New("there is no store to make a snapshot of"), err)
	}
	index, _ := m.n.db.Load().AppliedEntry()
	return checkpoint{n: m.n, restored: m.n.swap.restored.Load(), index: index}, nil
}

// checkpoint is one that is to become a snapshot.
type checkpoint struct {
	n        *Node
	restored uint64 // how many snapshots had come when it was asked for
	index    uint64 // what the store had then
}

// Persist makes the copy and gives it to the snapshots. It closes the sink, as Raft does once
// more: when another snapshot is installed meanwhile it has ended, one way or the other.
func (c checkpoint) Persist(sink raft.SnapshotSink) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.n.swap.giveUp.Store(&cancel)
	c.n.swap.mu.Lock()
	defer c.n.swap.mu.Unlock()
	s, ok := sink.(*snapshots.Sink)
	db := c.n.db.Load()
	if ctx.Err() != nil || c.n.swap.restored.Load() != c.restored {
		return errors.New("a snapshot came meanwhile, which has more") // Raft would go back to this one's index
	}
	if !ok || db == nil {
		return query.Errorf(query.CodeInternal, "a snapshot of the store %v goes to %T", db, sink)
	}
	dir := c.n.snaps.Scratch()
	of, err := db.CheckpointTo(ctx, dir)
	if err == nil && of.Index < c.index {
		err = query.Errorf(query.CodeInternal, "a copy of the store has entry %d, and the store had %d", of.Index, c.index)
	}
	if err == nil {
		err = s.Adopt(ctx, dir, snapshots.Checkpoint(of))
	}
	if err != nil {
		return errors.Join(err, s.Cancel(), c.n.snaps.Discard(dir))
	}
	return s.Close()
}

// Release has nothing to do.
func (checkpoint) Release() {}

// Restore puts the store of a snapshot in place of the member's. Whoever reads the old one is
// told first. If it fails there is the old one still, and Raft will send a snapshot again; but
// where there is none that can be opened the member stops.
func (m machine) Restore(from io.ReadCloser) error {
	err := m.n.restore(from)
	if err != nil {
		m.n.cfg.Log.Error("a snapshot cannot be installed", "error", err)
	}
	return err
}

// swap guards replacing the store against copying it, and against closing the node.
type swap struct {
	giveUp   atomic.Pointer[context.CancelFunc] // of the copy that is being made
	restored atomic.Uint64                      // how many snapshots have come
	mu       sync.Mutex
	closed   bool
}

// lock waits for nothing but the end of what is given up.
func (s *swap) lock() {
	if cancel := s.giveUp.Load(); cancel != nil {
		(*cancel)()
	}
	s.mu.Lock()
}

func (n *Node) restore(from io.ReadCloser) error {
	n.swap.lock()
	defer n.swap.mu.Unlock()
	if n.swap.closed {
		return errClosed()
	}
	r, ok := snapshots.Of(from)
	if !ok {
		return query.Errorf(query.CodeInternal, "a snapshot comes from %T", from)
	}
	m := r.Meta()
	n.swap.restored.Add(1)
	if err := n.unpurged(); err != nil { // it has what the leader had, also in its files
		return err
	}
	if !n.holds(m) {
		if err := n.install(r); err != nil {
			return err
		}
	}
	// From here on the log may be what follows the snapshot: see package raftlog.
	if err := n.logs.Installed(m.Index, m.Term); err != nil {
		n.fail(err)
		return err
	}
	n.applied.reached(m.Index)
	n.committed(m.Configuration)
	return nil
}

// holds reports whether the store has all that a snapshot has. It may have more: Raft gives
// the entries in between again, and the store skips them.
func (n *Node) holds(m *snapshots.Meta) bool {
	db := n.db.Load()
	if db == nil {
		return false
	}
	index, _ := db.AppliedEntry()
	return m.HeldBy(index)
}

// install puts the store of a snapshot in place of the member's.
func (n *Node) install(r *snapshots.Reader) error {
	n.checks.forget()
	if err := n.closeStore(); err != nil { // what it had, the snapshot has
		n.cfg.Log.Warn("the store that a snapshot replaces cannot be closed", "error", err)
	}
	failed := snapshots.Install(context.Background(), r, n.storeDir(), nil)
	if err := n.openStore(); err != nil {
		n.fail(errors.Join(failed, err))
		return errors.Join(failed, err)
	}
	return failed
}

// closeStore closes the store, if there is one, when those who read it know.
func (n *Node) closeStore() error {
	db := n.db.Swap(nil)
	if db == nil {
		return nil
	}
	if n.running.Load() {
		n.cfg.Replaced(nil)
	}
	return db.Close()
}

// openStore opens the store, if there is one.
func (n *Node) openStore() error {
	dir := n.storeDir()
	if err := snapshots.Recover(n.cfg.FS, dir); err != nil {
		return err
	}
	if _, err := n.cfg.FS.Stat(dir); isNotExist(err) {
		return nil // the first snapshot brings it
	} else if err != nil {
		return diskError("open the store in "+dir, err)
	}
	o := n.cfg.Engine
	o.FS, o.MustExist = n.cfg.FS, true
	o.Replica = &engine.ReplicaOptions{Propose: n.propose}
	told := o.Hooks.Failed
	o.Hooks.Failed = func(err error) { // it may be while nothing is applied
		n.fail(err)
		if told != nil {
			told(err)
		}
	}
	purged := o.Hooks.Purged
	o.Hooks.Purged = func(r *query.Receipt, err error) {
		n.purging.look.Store(true)
		if purged != nil {
			purged(r, err)
		}
	}
	db, err := engine.Open(dir, &o)
	if err != nil {
		return err
	}
	if db.ID() != n.id.Store {
		return errors.Join(&query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s holds the store %s; that of the cluster is %s", dir, db.ID(), n.id.Store),
			Hint: "see whose it is; a member's directory is made by kanta cluster init or join"}, db.Close())
	}
	n.db.Store(db)
	if n.running.Load() {
		n.cfg.Replaced(db)
	}
	return nil
}
