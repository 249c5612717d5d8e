package engine

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/dict"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of the write path.
const (
	groupRows    = 1 << 16 // rows of a commit group: what one fsync is shared by
	groupBytes   = 8 << 20 // bytes of batches of a commit group
	queueLength  = 1024    // batches waiting for the writer
	freezeRows   = 1 << 16 // rows after which the L0 is frozen: reads of the L0 cost by the row
	freezeValues = 1 << 20 // values after which it is frozen
	spareChunks  = 64      // chunks an L0 has room for beyond the last ordinal: more than freezeRows can fill
)

// writer is the one goroutine that decides and commits. Its fields are its own; they
// run ahead of the published state by the commit group in the making.
type writer struct {
	db       *DB
	requests chan *request
	done     chan struct{}
	repeats  *repeats
	ahead

	active  *head.L0
	stamp   uint16
	frozen  []*head.L0      // in this group
	dropped []schema.AttrID // in this group
	held    *state          // the published state at the group's start
	reading view.State
	cursor  *view.Cursor
	failed  error
	buf     []byte
}

// ahead is the state as the group in the making leaves it; see state.
type ahead struct {
	seed     uint64
	ids      eventIDs
	schema   *schema.Schema
	dicts    map[schema.AttrID]*dict.Dict
	segments map[string]*segment
	lists    map[string]*list
	badRows  quarantineRange
	end      uint32
	pos      query.Position
	received int64
	chain    [16]byte
	names    uint64
}

// request is one batch on its way through the writer.
type request struct {
	ctx      context.Context
	raw      batch.Batch
	decoded  *batch.Decoded
	decoder  *batch.Decoder // whose memory decoded is
	verdicts map[int]verdict
	encoded  []byte // the verdicts
	received int64
	dry      bool
	task     func() // instead of a batch: something that only the writer may do
	result   batch.Result
	err      error
	done     chan struct{}
}

// verdict is what stage 1 said of a row.
type verdict struct {
	reason batch.Reason
	detail string
}

func (w *writer) run() {
	defer close(w.done)
	for first := range w.requests {
		group := []*request{first}
		rows, bytes := rowsOf(first), len(first.raw)
		for rows < groupRows && bytes < groupBytes {
			var next *request
			select {
			case r, ok := <-w.requests:
				if !ok {
					break
				}
				next = r
			default:
			}
			if next == nil {
				break
			}
			group = append(group, next)
			rows, bytes = rows+rowsOf(next), bytes+len(next.raw)
		}
		w.commit(group)
		for _, r := range group {
			close(r.done)
		}
	}
}

func rowsOf(r *request) int {
	if r.decoded == nil {
		return 0
	}
	return r.decoded.Rows
}

// commit decides a group of batches, makes the outcome durable, and publishes it. Then
// come the tasks: what they publish must be durable.
func (w *writer) commit(group []*request) {
	w.held = w.db.acquire()
	defer w.held.era.release()
	if err := w.db.failure(); w.failed == nil {
		w.failed = err
	}
	w.commitBatches(group)
	for _, r := range group {
		switch {
		case r.task == nil:
		case w.failed != nil:
			r.err = w.refusal()
		default:
			r.task()
		}
	}
}

func (w *writer) refusal() error {
	return &query.Error{Code: query.CodeFailed, Message: "the store could not write and takes no more writes: " + w.failed.Error(),
		Hint: "see to the disk, then open the store again", Err: w.failed}
}

func (w *writer) commitBatches(group []*request) {
	if w.failed == nil && w.full() {
		w.freeze(w.pos.Applied + 1)
	}
	w.stamp++
	w.look()
	kb := w.db.kv.NewBatch()
	defer kb.Close()
	var applied []*request
	for _, r := range group {
		switch {
		case r.task != nil:
		case w.failed != nil:
			r.err = w.refusal()
		case r.ctx.Err() != nil:
			r.err = r.ctx.Err()
		default:
			if r.err = w.repeats.full(r.decoded.Source, r.received); r.err != nil {
				continue
			}
			if w.apply(r, kb) {
				applied = append(applied, r)
			}
		}
	}
	if len(applied) == 0 {
		return
	}
	w.writeState(kb)
	if err := kb.Commit(w.db.opt.Durability == SyncGroup); err != nil {
		w.fail(err, applied)
		return
	}
	w.publish()
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

// look makes the writer's cursor read what is published and what this group has appended.
func (w *writer) look() {
	w.reading = w.held.State
	w.reading.Schema, w.reading.End, w.reading.Dicts = w.schema, w.end, w.dicts
	w.lookAtTiers()
	w.ids.look(w.held.ids)
}

// lookAtTiers is look within a group: the indexes that the group has made stay.
func (w *writer) lookAtTiers() {
	w.reading.Tiers.Frozen = append(append([]*head.L0(nil), w.held.Tiers.Frozen...), w.frozen...)
	w.reading.Tiers.Active, w.reading.Tiers.Cut = w.active, w.stamp
	w.cursor.Reset(&w.reading)
}

func (w *writer) view() view.View { return view.View{S: &w.reading} }

// full reports that the active L0 takes no further group.
func (w *writer) full() bool {
	l := &w.db.opt.limits
	return w.active.Rows >= l.freezeRows || w.active.Values >= l.freezeValues || w.stamp >= head.MaxGroups-1
}

// freeze ends the active L0 and begins another, whose first record will be first.
func (w *writer) freeze(first uint64) {
	if w.active.Values > 0 || w.active.Claims > 0 {
		w.active.Last = first - 1
		w.frozen = append(w.frozen, w.active)
	}
	w.begin(first)
}

func (w *writer) begin(first uint64) {
	ids := []schema.AttrID{schema.KeyAttr, schema.ListsAttr, view.LiveAttr}
	for i := range w.schema.Attributes {
		ids = append(ids, w.schema.Attributes[i].ID)
	}
	var events []*head.EventTable
	for e := range w.schema.Stored() {
		events = append(events, head.TableOf(e))
	}
	w.active, w.stamp = head.NewL0(first, ids, events, int(w.end>>bitmap.ChunkBits)+spareChunks), 0
}

// apply decides one batch and appends it; false if nothing came of it.
func (w *writer) apply(r *request, kb *kv.Batch) bool {
	if first, err := w.repeats.seen(r.decoded); err != nil || first != nil {
		r.err = err
		if first != nil {
			r.result = *first
			r.result.Repeated = true
		}
		return first != nil && first.Position.Applied > w.held.pos.Applied // of this group: its fate is ours
	}
	before := w.save()
	d := &decider{w: w, ctx: r.ctx, out: &decision{}, source: r.decoded.Source, strict: r.decoded.Strict, received: max(w.received, r.received), verdicts: r.verdicts}
	err := d.decide(r.decoded)
	if err == nil && r.decoded.Strict && d.out.result.Accepted+d.out.result.Duplicates != uint64(r.decoded.Rows) {
		err = refusal(&d.out.result)
	}
	d.out.result.Received = uint64(r.decoded.Rows)
	r.result = d.out.result
	if err != nil || r.dry {
		r.err = err
		d.rollback(before)
		if err != nil {
			r.result = batch.Result{Received: r.result.Received, Refused: r.result.Received, Reasons: r.result.Reasons, Rejected: r.result.Rejected}
		}
		return false
	}
	w.pos.Applied++
	w.received = max(w.received, r.received)
	r.result.Position = w.pos
	w.persist(d, r, kb)
	w.append(&d.out.outcome)
	if m := &d.out.meta; m.schema != nil || m.segments != nil || m.lists != nil {
		w.names++
	}
	w.dropped = append(w.dropped, d.out.meta.dropped...)
	return true
}

func refusal(r *batch.Result) error {
	first := ""
	if len(r.Rejected) > 0 {
		first = fmt.Sprintf("; first: row %d: %s", r.Rejected[0].Row, r.Rejected[0].Reason)
		if d := r.Rejected[0].Detail; d != "" {
			first += " (" + d + ")"
		}
	}
	return &query.Error{Code: query.CodeRefused, Message: fmt.Sprintf("strict batch refused: %d rows fail%s", r.Quarantined+r.Refused, first),
		Hint: "correct the rows, or leave strict off to quarantine them"}
}

func (d *decider) decide(b *batch.Decoded) error {
	for i := range b.Ops {
		op := &b.Ops[i]
		d.origin = nil
		if i > 0 && b.Ops[i-1].Code == batch.OpOrigin {
			d.origin = &b.Ops[i-1]
		}
		var err error
		switch op.Code {
		case batch.OpUpsert:
			err = d.upsert(op)
		case batch.OpEvents:
			err = d.events(op)
		case batch.OpDelete:
			err = d.delete(op)
		case batch.OpSchemaChange:
			err = d.changes(b.Ops, i)
		case batch.OpSegmentSave:
			err = d.saveSegment(op)
		case batch.OpSegmentDrop:
			err = d.dropSegment(op)
		case batch.OpListPut, batch.OpListAdd, batch.OpListRemove:
			err = d.list(op)
		case batch.OpListDrop:
			err = d.dropList(op)
		case batch.OpQuarantined:
			d.quarantined(op)
		case batch.OpTick, batch.OpOrigin:
		default:
			err = query.Errorf(query.CodeNewerFormat, "op %d is not known to this version", op.Code)
		}
		if err != nil {
			return err
		}
	}
	err := d.emitChanges()
	d.forgetDropped()
	return err
}

// savepoint is what a refused batch must not have changed.
type savepoint struct {
	schema   *schema.Schema
	segments map[string]*segment
	lists    map[string]*list
	end      uint32
	dicts    map[schema.AttrID]*dict.Dict
	indexes  map[schema.AttrID]*view.Index
	units    map[schema.AttrID][]*base.Unit
}

func (w *writer) save() savepoint {
	return savepoint{w.schema, w.segments, w.lists, w.end, w.dicts, w.reading.Indexes, w.reading.Units}
}

func (d *decider) rollback(s savepoint) {
	w := d.w
	for i := len(d.added) - 1; i >= 0; i-- {
		w.dicts[d.added[i].attr].Truncate(int(d.added[i].code))
	}
	w.ids.unclaim(d.out.outcome.Claims)
	w.segments, w.lists, w.end = s.segments, s.lists, s.end
	w.schema, w.dicts = s.schema, s.dicts
	w.reading.Schema, w.reading.Dicts, w.reading.Indexes, w.reading.Units = s.schema, s.dicts, s.indexes, s.units
	w.cursor.Reset(&w.reading)
	d.discard()
}

// adopt makes a schema the writer's. Attributes that are new get their dictionaries.
func (w *writer) adopt(s *schema.Schema) {
	w.schema = s
	w.reading.Schema = s
	dicts := w.dicts
	for a := range s.All() {
		if a.Coded() && a.Kind != schema.Bool && dicts[a.ID] == nil {
			dicts = cloned(dicts)
			dicts[a.ID] = dict.New()
		}
	}
	w.dicts, w.reading.Dicts = dicts, dicts
	indexes := w.reading.Indexes
	for i := range s.Attributes {
		a := &s.Attributes[i]
		if view.Indexed(a) && indexes[a.ID] == nil {
			indexes = cloned(indexes)
			indexes[a.ID] = newIndex()
		}
	}
	w.reading.Indexes = indexes
}

func newIndex() *view.Index {
	return &view.Index{Delta: keytable.NewDelta()}
}

// append adds an outcome to the head and to the indexes.
func (w *writer) append(o *effect.Outcome) {
	if !w.active.Fits(o) {
		w.freeze(w.pos.Applied)
		w.stamp++
		w.lookAtTiers()
	}
	w.active.Append(w.stamp, o, nil, nil, 0)
	w.reading.End = w.end
	appendIndexes(&w.reading, o, 0)
}

// appendIndexes adds the strings of an outcome to the indexes that do not have position applied yet.
func appendIndexes(s *view.State, o *effect.Outcome, applied uint64) {
	for i := range o.Blocks {
		b := &o.Blocks[i]
		for j := range b.Columns {
			c := &b.Columns[j]
			x := s.Indexes[c.Attr]
			if x == nil || applied > 0 && x.Folded >= applied {
				continue
			}
			for k := range c.Len() {
				if c.IsAbsent(k) {
					continue
				}
				var h uint64
				if c.Class == effect.Bytes {
					h = view.Hash(s.Seed, c.Bytes(k))
				} else {
					h = view.Hash(s.Seed, view.IndexBytes(schema.IntValue(c.Ints[k])))
				}
				x.Delta.Insert(h, b.Ords[c.Row(k)])
			}
		}
	}
}

// setIndex replaces an index at once, for readers too: nothing that can be found changes.
func (w *writer) setIndex(id schema.AttrID, x *view.Index) {
	with := func(m map[schema.AttrID]*view.Index) map[schema.AttrID]*view.Index {
		m = cloned(m)
		m[id] = x
		return m
	}
	w.reading.Indexes = with(w.reading.Indexes)
	w.cursor.Reset(&w.reading)
	w.db.publish(func(s *state) { s.Indexes = with(s.Indexes) })
}

// swapIndex replaces an index by its merged form and lets the old table go.
func (w *writer) swapIndex(id schema.AttrID, x *view.Index, obsolete []keys.Span) {
	m := cloned(w.reading.Indexes)
	if m[id] == nil {
		return // dropped meanwhile
	}
	m[id] = x
	w.reading.Indexes = m
	w.cursor.Reset(&w.reading)
	w.db.publishBase(obsolete, nil, func(s *state) {
		s.Indexes = cloned(s.Indexes)
		s.Indexes[id] = x
	})
}

// find looks a living profile up by key.
func (w *writer) find(hash uint64, key []byte) (uint32, bool, error) {
	return w.cursor.Lookup(hash, key)
}

// publish makes the group visible.
func (w *writer) publish() {
	frozen, indexes, units, dropped := w.frozen, w.reading.Indexes, w.reading.Units, w.dropped
	w.frozen, w.dropped = nil, nil
	publish := w.db.publish
	if len(dropped) > 0 {
		publish = func(change func(s *state)) { w.db.publishDropped(dropped, change) }
	}
	publish(func(s *state) {
		s.Schema, s.Dicts, s.End = w.schema, w.dicts, w.end
		s.pos, s.Received, s.chain, s.names = w.pos, w.received, w.chain, w.names
		s.segments, s.lists, s.badRows = w.segments, w.lists, w.badRows
		for id, x := range indexes {
			if s.Indexes[id] == nil && w.has(id) {
				s.Indexes = cloned(s.Indexes)
				s.Indexes[id] = x
			}
		}
		for id, list := range units { // those that a schema change has written
			if s.Units[id] == nil && w.has(id) {
				s.Units = cloned(s.Units)
				s.Units[id] = list
			}
		}
		if len(frozen) > 0 {
			s.Tiers.Frozen = append(append([]*head.L0(nil), s.Tiers.Frozen...), frozen...)
		}
		s.Tiers.Active, s.Tiers.Cut = w.active, w.stamp
	})
	if len(frozen) > 0 {
		w.db.compactor.wake()
	}
}

// has reports whether there is a column of an id: what the group has dropped is still in reading.
func (w *writer) has(id schema.AttrID) bool {
	return id < schema.FirstUserAttr || w.schema.ByID(id) != nil
}

func (w *writer) nextPosition() query.Position {
	return query.Position{Epoch: w.pos.Epoch, Applied: w.pos.Applied + 1}
}

// value reads one attribute of a profile as the group so far has made it.
func (w *writer) value(a *schema.Attribute, ord uint32) (schema.Value, error) {
	chunk, one := int(ord>>bitmap.ChunkBits), [1]uint16{uint16(ord)}
	switch effect.ClassOf(a) {
	case effect.Set:
		var sets query.Sets
		if err := w.cursor.GatherSets(a.ID, chunk, one[:], &sets); err != nil {
			return schema.Value{}, err
		}
		var elems []string
		for _, c := range sets.Codes {
			elems = append(elems, w.dicts[a.ID].String(c))
		}
		return schema.SetValue(elems...), nil
	case effect.Code:
		var code [1]uint32
		err := w.cursor.GatherCodes(a.ID, chunk, one[:], code[:])
		switch {
		case err != nil || code[0] == schema.NoCode:
			return schema.Value{}, err
		case a.Kind == schema.Bool:
			return schema.BoolValue(code[0] == 1), nil
		}
		return schema.StringValue(w.dicts[a.ID].String(code[0])), nil
	case effect.Bytes:
		var b [1][]byte
		if err := w.cursor.GatherStrings(a.ID, chunk, one[:], b[:]); err != nil || b[0] == nil {
			return schema.Value{}, err
		}
		return schema.StringValue(string(b[0])), nil
	}
	var n [1]int64
	var ok [1]bool
	if err := w.cursor.GatherInts(a.ID, chunk, one[:], n[:], ok[:]); err != nil || !ok[0] {
		return schema.Value{}, err
	}
	return schema.FromOrdered(a.Kind, a.Scale, n[0]), nil
}

// persist writes what a batch changed, beside its record and outcome.
func (w *writer) persist(d *decider, r *request, kb *kv.Batch) {
	rec := record.Append(w.buf[:0], &record.Record{Received: w.received, Verdicts: r.encoded, Batch: r.raw})
	w.chain = record.Chain(w.chain, rec)
	kb.Set(keys.Record(w.pos.Applied), rec)
	w.buf = effect.Append(rec[:0], &d.out.outcome)
	kb.Set(keys.Outcome(w.pos.Applied), w.buf)
	for _, a := range d.added {
		kb.Set(keys.Dict(uint32(a.attr), a.code), kv.Seal(nil, []byte(a.text)))
	}
	w.persistMeta(&d.out.meta, kb)
	w.persistQuarantine(d.out, kb)
	w.repeats.add(r.decoded, r.result, w.received, kb)
}
