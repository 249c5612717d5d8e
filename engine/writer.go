package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/dict"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/erasure"
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
	freezeShare  = 16      // of the memory budget its texts take one part, then it is frozen
	spareChunks  = 64      // chunks an L0 has room for beyond the last ordinal: more than freezeRows can fill
)

// writer is the one goroutine that decides and publishes. Its fields are its own; they run
// ahead of the published state by the commit group in the making and the one in flight.
type writer struct {
	db       *DB
	requests chan *request
	done     chan struct{}
	repeats  *repeats
	ids      eventIDs
	ledger   ledger
	used     map[erasure.Code]bool // strings of dictionaries that batches have used since a purge began to look for who has them; nil: nobody looks
	ahead

	group   *group     // the one in the making, or nil
	flight  *flight    // the one on its way to the disk, or nil
	marked  chan error // what comes of the mark of the last group, or nil
	active  *head.L0
	stamp   uint16
	frozen  []*head.L0      // in this group
	dropped []schema.AttrID // in this group
	held    *state          // the published state at the group's start
	reading view.State
	cursor  *view.Cursor
	keyed   keyed // of the op at hand
	rows    []int // those of it that are looked up again
	failed  error
	buf     []byte
}

// ahead is the state as the group in the making leaves it; see state.
type ahead struct {
	seed        uint64
	schema      *schema.Schema
	dicts       map[schema.AttrID]*dict.Dict
	segments    map[string]*segment
	lists       map[string]*list
	definitions map[string]*definition
	documents   *documents
	badRows     quarantineRange
	end         uint32
	pos         query.Position
	received    int64
	chain       [16]byte
	names       uint64
	deleted     uint64
	keep        keeping
	told        uint64 // changes of the ledger of erased people since the store was opened
	entry       logPlace
}

// request is one batch on its way through the writer.
type request struct {
	ctx      context.Context
	raw      batch.Batch
	author   query.Author // zero: unknown, or of no account
	decoded  *batch.Decoded
	bench    *workbench     // whose memory decoded is
	checked  *schema.Schema // by which the verdicts are
	verdicts map[int]verdict
	encoded  []byte // the verdicts
	received int64
	dry      bool
	again    bool          // it is a record, to be decided as it was
	entry    *entryRequest // it is an entry of the replicated log
	proposal *proposal     // it is proposed to that, and comes back as an entry
	task     func()        // instead of a batch: something that only the writer may do
	result   batch.Result
	err      error
	done     chan struct{}
}

// verdict is what stage 1 said of a row.
type verdict struct {
	reason batch.Reason
	detail string
}

func (w *writer) view() view.View { return view.View{S: &w.reading} }

// full reports that the active L0 takes no further group.
func (w *writer) full() bool {
	l := &w.db.opt.limits
	return w.active.Rows >= l.freezeRows || w.active.Values >= l.freezeValues || w.active.Texts >= w.db.opt.Memory/freezeShare || w.stamp >= head.MaxGroups-1
}

// freeze ends the active L0 and begins another, whose first record will be first.
func (w *writer) freeze(first uint64) {
	if w.active.Values > 0 || w.active.Claims > 0 {
		w.active.Last = first - 1
		w.frozen = append(w.frozen, w.active)
	}
	before := w.active
	w.begin(first)
	w.active.After(before)
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
	d := &decider{w: w, ctx: r.ctx, found: r.bench.keyed, out: &decision{}, author: r.author, source: r.decoded.Source, strict: r.decoded.Strict, received: max(w.received, r.received), verdicts: r.verdicts}
	w.reading.Received = d.received // what is past its retention is so as of the record
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
	if canary.Is("acts") && w.pos.Applied%50 == 0 { // what was appended is lost
		d.out.outcome.Acts = nil
	}
	w.persist(d, r, kb)
	w.append(&d.out.outcome)
	if m := &d.out.meta; m.schema != nil || m.segments != nil || m.lists != nil || m.definitions != nil {
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
		d.origin, d.op = nil, i
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
		case batch.OpErase:
			err = d.erase(op)
		case batch.OpReadmit:
			d.readmit(op)
		case batch.OpSchemaChange:
			err = d.changes(b.Ops, i)
		case batch.OpSegmentSave:
			err = d.saveSegment(op)
		case batch.OpSegmentShare:
			err = d.shareSegment(op)
		case batch.OpSegmentDrop:
			err = d.dropSegment(op)
		case batch.OpDefinitionSave:
			err = d.saveDefinition(op)
		case batch.OpDefinitionDrop:
			err = d.dropDefinition(op)
		case batch.OpDocumentPut:
			err = d.putDocument(op)
		case batch.OpDocumentDrop:
			err = d.dropDocument(op)
		case batch.OpListPut, batch.OpListAdd, batch.OpListRemove:
			err = d.list(op)
		case batch.OpListNote:
			err = d.noteList(op)
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
	if err == nil {
		err = d.eraseQuarantine()
	}
	return err
}

// savepoint is what a refused batch must not have changed.
type savepoint struct {
	schema      *schema.Schema
	segments    map[string]*segment
	lists       map[string]*list
	definitions map[string]*definition
	documents   *documents
	end         uint32
	dicts       map[schema.AttrID]*dict.Dict
	indexes     map[schema.AttrID]*view.Index
	units       map[schema.AttrID][]*base.Unit
}

func (w *writer) save() savepoint {
	return savepoint{w.schema, w.segments, w.lists, w.definitions, w.documents, w.end, w.dicts, w.reading.Indexes, w.reading.Units}
}

func (d *decider) rollback(s savepoint) {
	w := d.w
	for i := len(d.added) - 1; i >= 0; i-- {
		if a := &d.added[i]; a.revived {
			w.dicts[a.attr].Blank([]uint32{a.code})
		} else {
			w.dicts[a.attr].Truncate(int(a.code))
		}
	}
	w.ids.unclaim(d.out.outcome.Claims)
	w.segments, w.lists, w.definitions, w.documents, w.end = s.segments, s.lists, s.definitions, s.documents, s.end
	w.schema, w.dicts = s.schema, s.dicts
	w.reading.Schema, w.reading.Dicts, w.reading.Indexes, w.reading.Units = s.schema, s.dicts, s.indexes, s.units
	w.cursor.Reset(&w.reading)
	d.discard()
}

// adopt makes a schema the writer's, with what definitions lend. Attributes that are new get
// their dictionaries.
func (w *writer) adopt(s *schema.Schema) {
	s = s.Lend(lentBy(w.definitions))
	w.schema = s
	w.reading.Schema = s
	dicts := w.dicts
	for a := range s.All() {
		if a.Coded() && a.Kind != schema.Bool && dicts[a.ID] == nil {
			dicts = cloned(dicts)
			dicts[a.ID] = w.newDict()
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

func (w *writer) newDict() *dict.Dict { return dict.New(w.ledger.secret.Text) }

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
	var hashes []uint64
	var ords []uint32
	for i := range o.Blocks {
		b := &o.Blocks[i]
		for j := range b.Columns {
			c := &b.Columns[j]
			x := s.Indexes[c.Attr]
			if x == nil || applied > 0 && x.Folded >= applied {
				continue
			}
			hashes, ords = hashes[:0], ords[:0]
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
				hashes, ords = append(hashes, h), append(ords, b.Ords[c.Row(k)])
			}
			x.Delta.InsertAll(hashes, ords)
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
		return // dropped meanwhile: all tables of it go with it
	}
	m[id] = x
	w.reading.Indexes = m
	w.cursor.Reset(&w.reading)
	w.db.publishBase(nil, func(s *state) []keys.Span {
		s.Indexes = cloned(s.Indexes)
		s.Indexes[id] = x
		return obsolete
	})
}

// publish makes what was decided visible.
func (w *writer) publish() { w.publication()() }

// publication returns what makes visible what was decided so far.
func (w *writer) publication() func() {
	frozen, indexes, units, dropped := w.frozen, w.reading.Indexes, w.reading.Units, w.dropped
	w.frozen, w.dropped = nil, nil
	if len(dropped) > 0 {
		w.dicts = cloned(w.dicts)
		maps.DeleteFunc(w.dicts, func(id schema.AttrID, _ *dict.Dict) bool { return slices.Contains(dropped, id) })
	}
	now, active, cut := w.ahead, w.active, w.stamp
	publish := w.db.publish
	if len(dropped) > 0 {
		publish = func(change func(s *state)) { w.db.publishDropped(dropped, change) }
	}
	change := func(s *state) {
		s.Schema, s.Dicts, s.End = now.schema, now.dicts, now.end
		s.pos, s.Received, s.chain, s.names = now.pos, now.received, now.chain, now.names
		s.deleted, s.keep, s.told, s.entry = now.deleted, now.keep, now.told, now.entry
		s.segments, s.lists, s.definitions, s.documents, s.badRows = now.segments, now.lists, now.definitions, now.documents, now.badRows
		for id, x := range indexes {
			if s.Indexes[id] == nil && now.has(id) {
				s.Indexes = cloned(s.Indexes)
				s.Indexes[id] = x
			}
		}
		for id, list := range units { // those that a schema change has written
			if s.Units[id] == nil && now.has(id) {
				s.Units = cloned(s.Units)
				s.Units[id] = list
			}
		}
		if len(frozen) > 0 {
			s.Tiers.Frozen = append(append([]*head.L0(nil), s.Tiers.Frozen...), frozen...)
		}
		s.Tiers.Active, s.Tiers.Cut = active, cut
	}
	return func() {
		publish(change)
		if len(frozen) > 0 {
			w.db.compactor.wake()
		}
	}
}

// has reports whether there is a column of an id: what the group has dropped is still in reading.
func (a *ahead) has(id schema.AttrID) bool {
	return id < schema.FirstUserAttr || a.schema.ByID(id) != nil
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
	rec := record.Append(w.buf[:0], &record.Record{Received: w.received, Author: r.author, Verdicts: r.encoded, Batch: r.raw})
	if w.keep.on {
		w.keepRecord(rec, w.chain, kb)
	}
	w.chain = record.Chain(w.chain, rec)
	kb.Set(keys.Record(w.pos.Applied), rec)
	w.buf = effect.Append(rec[:0], &d.out.outcome)
	kb.Set(keys.Outcome(w.pos.Applied), w.buf)
	for _, a := range d.added {
		kb.Set(keys.Dict(uint32(a.attr), a.code), kv.Seal(nil, []byte(a.text)))
	}
	w.persistMeta(&d.out.meta, kb)
	w.persistQuarantine(d.out, kb)
	w.persistErasing(&d.out.erasing, kb)
	w.repeats.add(r.decoded, r.result, w.received, kb)
}
