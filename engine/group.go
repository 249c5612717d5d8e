package engine

import (
	"errors"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/query"
)

// group is the requests that share one commit. It is open while the one before it is on
// its way to the disk: what comes meanwhile is decided at once.
type group struct {
	requests    []*request
	applied     []*request
	kb          *kv.Batch
	held        *state
	before      []*head.L0 // frozen by the group that was in flight when this one began
	rows, bytes int
	takes       bool // it takes rows of the quarantine away, or is in the ledger
}

// flight is a group whose commit is under way: not durable, not visible, and decided.
type flight struct {
	*group
	frozen  []*head.L0
	publish func()
	mark    kv.Mark
	landed  chan error
}

func (g *group) full() bool { return g.rows >= groupRows || g.bytes >= groupBytes }

// run decides requests until there are no more. A group is launched when the one before
// it has landed and nobody waits to join it.
func (w *writer) run() {
	defer close(w.done)
	requests := w.requests
	for requests != nil || w.group != nil || w.flight != nil {
		from := requests
		if w.group != nil && w.group.full() {
			from = nil
		}
		var r *request
		ok := true
		if w.flight != nil {
			select {
			case r, ok = <-from:
			case err := <-w.flight.landed:
				w.land(err)
			}
		} else if w.group == nil {
			w.rest()
			r, ok = <-from
		} else {
			select {
			case r, ok = <-from:
			default:
				w.launch()
			}
		}
		if !ok {
			requests = nil
		} else if r != nil {
			w.take(r)
		}
	}
}

// take decides a batch into the open group. Tasks come when all before them is published.
func (w *writer) take(r *request) {
	if r.task != nil {
		w.settle()
		w.open()
		if r.err = w.refusal(); r.err == nil {
			r.task()
		}
		w.close(w.group)
		w.group = nil
		close(r.done)
		return
	}
	if w.flight != nil && w.flight.held.Schema != w.schema {
		w.settle() // the columns that it has made are not in the state that the next group reads
	}
	if erases(r.decoded) {
		w.settle() // it looks through the quarantine as it is stored
	}
	if w.group == nil {
		w.open()
	}
	g := w.group
	g.requests, g.rows, g.bytes = append(g.requests, r), g.rows+r.decoded.Rows, g.bytes+len(r.raw)
	if r.err = w.refusal(); r.err == nil && r.entry != nil {
		w.takeEntry(r)
		return
	}
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err == nil {
		r.err = w.repeats.full(r.decoded.Source, r.received)
	}
	if r.err == nil && r.checked != w.schema && !r.again {
		r.err = r.check(w.schema) // the schema has changed since the batch was submitted
	}
	if r.err == nil && w.apply(r, g.kb) {
		g.applied = append(g.applied, r)
	}
}

// open begins a group.
func (w *writer) open() {
	g := &group{kb: w.db.kv.NewBatch(), held: w.db.acquire()}
	w.group, w.held = g, g.held
	if w.flight != nil {
		g.before = w.flight.frozen
	}
	if err := w.db.failure(); w.failed == nil {
		w.failed = err
	}
	if w.failed == nil && w.full() {
		w.freeze(w.pos.Applied + 1)
	}
	w.stamp++
	w.look()
}

// storeState stores the position with the group that comes to it.
func (w *writer) storeState(group *kv.Batch) {
	if canary.Is("position") { // beside it
		b := w.db.kv.NewBatch()
		defer b.Close()
		w.writeState(b)
		_ = b.Commit(true)
		return
	}
	w.writeState(group)
	if w.db.opt.Replica != nil {
		w.writeEntry(group)
	}
}

// launch sends the group to the disk.
func (w *writer) launch() {
	g := w.group
	w.group = nil
	if len(g.applied) > 0 && w.failed == nil {
		w.storeState(g.kb)
		if w.keep.on {
			w.keepWithinRoom(g.kb)
			w.keep.store(g.kb)
		}
		f := &flight{group: g, frozen: w.frozen, mark: markOf(w.pos, w.chain), landed: make(chan error, 1)}
		f.publish = w.publication()
		w.flight = f
		sync, marked := w.db.opt.Durability == SyncGroup, w.marked
		w.marked = nil
		go func() {
			err := g.kb.Commit(sync)
			if marked != nil {
				err = errors.Join(err, <-marked)
			}
			f.landed <- err
		}()
		return
	}
	for _, r := range g.applied {
		r.result, r.err = batch.Result{}, w.refusal()
	}
	if w.failed == nil && w.entry != w.held.entry {
		w.db.publish(func(s *state) { s.entry = w.entry }) // of entries that became no record
	}
	w.close(g)
}

// land makes the group visible that was in flight, or ends writing.
func (w *writer) land(err error) {
	f := w.flight
	w.flight = nil
	if err == nil {
		f.publish()
	} else {
		w.fail(err, f.applied)
		if f.takes {
			w.db.purger.unknown.Store(&err)
		}
	}
	w.close(f.group)
	if err == nil && w.db.opt.Durability == SyncGroup {
		w.mark(f.mark)
	}
}

// mark has a group that is durable, and acknowledged, marked: beside the commit of the
// next one, which lands when both are done. So what is acknowledged is ahead of its mark by
// one group at most, and no group waits for two syncs in a row.
func (w *writer) mark(m kv.Mark) {
	marked := make(chan error, 1)
	w.marked = marked
	go func() { marked <- w.db.kv.WriteMark(m) }()
}

// settle waits until everything that was decided is published, or writing has failed.
func (w *writer) settle() {
	if w.flight != nil {
		w.land(<-w.flight.landed)
	}
	if w.group != nil {
		w.launch()
	}
	if w.flight != nil {
		w.land(<-w.flight.landed)
	}
}

// close ends a group: its callers have their outcomes.
func (w *writer) close(g *group) {
	_ = g.kb.Close() // it is committed, or nobody wants it
	g.held.era.release()
	for _, r := range g.requests {
		close(r.done)
	}
}

// refusal is what writers get when the store has failed, nil while it has not.
func (w *writer) refusal() error {
	if w.failed == nil {
		return nil
	}
	return failedBy(w.failed)
}

// failedBy is the error of a store that takes no more writes, and why.
func failedBy(err error) error {
	if errors.Is(err, &query.Error{Code: query.CodeFailed}) {
		return err
	}
	return &query.Error{Code: query.CodeFailed, Message: "the store could not write and takes no more writes: " + err.Error(),
		Hint: "see to the disk, then open the store again", Err: err}
}

// fail ends writing: what was acknowledged stays, nothing of the group is visible.
func (w *writer) fail(err error, applied []*request) {
	w.failed = err
	for _, r := range applied {
		r.result = batch.Result{}
		r.err = &query.Error{Code: query.CodeFailed, Message: "the write failed: " + err.Error(), Hint: "its outcome is known after the store is opened again", Err: err}
	}
	if h := w.db.opt.Hooks.Failed; h != nil {
		h(err)
	}
}

// look makes the writer's cursor read what is published, what is in flight, and what this
// group has appended.
func (w *writer) look() {
	w.reading = w.held.State
	w.reading.Schema, w.reading.End, w.reading.Dicts = w.schema, w.end, w.dicts
	w.lookAtTiers()
	w.ids.look(w.held.ids)
}

// rest lets go of the state that was last read: while nobody writes, the base takes over what
// its head has, and who keeps it here keeps all the texts that were written last.
func (w *writer) rest() {
	w.held, w.reading = nil, view.State{}
	w.cursor.Reset(&w.reading)
}

// lookAtTiers is look within a group: the indexes that the group has made stay.
func (w *writer) lookAtTiers() {
	w.reading.Tiers.Frozen = slices.Concat(w.held.Tiers.Frozen, w.group.before, w.frozen)
	w.reading.Tiers.Active, w.reading.Tiers.Cut = w.active, w.stamp
	w.cursor.Reset(&w.reading)
}
