package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// metaChanges are what a batch changes beside values. Nil fields change nothing.
type metaChanges struct {
	schema   *schema.Schema
	dropped  []schema.AttrID
	segments map[string]*segment // nil values are dropped
	lists    map[string]*list

	definitions map[string]definitionChange
	documents   map[string]*document // nil values are dropped
}

// catalog is what expressions may name, as the batch being decided sees it.
type catalog struct {
	schema   *schema.Schema
	segments map[string]*segment
	lists    map[string]*list
}

var _ syntax.Catalog = (*catalog)(nil)

func (c *catalog) Schema() *schema.Schema { return c.schema }

func (c *catalog) Segment(name string) (string, bool) {
	if s := c.segments[name]; s != nil {
		return s.text, true
	}
	return "", false
}

func (c *catalog) List(name string) (uint32, bool) {
	if l := c.lists[name]; l != nil {
		return l.code, true
	}
	return 0, false
}

func (c *catalog) SegmentNames() []string { return slices.Sorted(maps.Keys(c.segments)) }
func (c *catalog) ListNames() []string    { return slices.Sorted(maps.Keys(c.lists)) }

func (s *state) catalog() *catalog { return &catalog{s.Schema, s.segments, s.lists} }

// change applies a schema change. Nothing of the batch is applied if it cannot be.
func (d *decider) change(op *batch.Op) error {
	c := op.Change
	next, err := d.w.schema.Apply(c)
	if err != nil {
		return &query.Error{Code: query.CodeConflict, Message: err.Error(), Err: err}
	}
	if err := d.mayChange(c); err != nil {
		return err
	}
	next = d.keepHorizons(c, next)
	d.out.meta.dropped = append(d.out.meta.dropped, d.droppedBy(c)...)
	var old schema.Attribute
	indexed := false
	if a := d.w.schema.Lookup(c.Name); a != nil && (c.Op == schema.SetStorage || c.Op == schema.Narrow) {
		old, indexed = *a, d.w.reading.Indexes[a.ID] != nil
	}
	d.out.meta.schema = next
	d.w.adopt(next)
	return d.rewrite(c, old, indexed)
}

// changes applies the schema change ops[i]. Whether all expressions still compile is looked at
// behind the last of a row of changes: so a name can change in one batch together with the
// computed attributes that use it, and these may be defined in any order.
func (d *decider) changes(ops []batch.Op, i int) error {
	if i == 0 || ops[i-1].Code != batch.OpSchemaChange {
		d.idsFrom = d.idHorizon()
	}
	if err := d.change(&ops[i]); err != nil || i+1 < len(ops) && ops[i+1].Code == batch.OpSchemaChange {
		return err
	}
	first := i
	for first > 0 && ops[first-1].Code == batch.OpSchemaChange {
		first--
	}
	d.keepIDHorizon()
	return d.compile(ops[first : i+1])
}

// keepIDHorizon sees to it that a row of schema changes does not bring back days whose ids
// may have been dropped. Changes of one row are one change: in which order they add event
// types does not matter.
func (d *decider) keepIDHorizon() {
	if d.idHorizon() < d.idsFrom {
		d.out.meta.schema = d.w.schema.ForgetIDs(d.idsFrom)
		d.w.adopt(d.out.meta.schema)
	}
}

// compile compiles what a row of schema changes defines, and everything else.
func (d *decider) compile(ops []batch.Op) error {
	cat := &catalog{d.w.schema, d.w.segments, d.w.lists}
	for i := range ops {
		c := &ops[i].Change
		x := cat.schema.LookupComputed(c.Name)
		if c.Op != schema.AddComputed && c.Op != schema.SetComputed || x == nil {
			continue
		}
		if _, err := d.w.db.compiler.Value(x, cat, d.env()); err != nil {
			return fmt.Errorf("computed attribute %q: %w", x.Name, err)
		}
	}
	if what, err := d.broken(cat); err != nil {
		return &query.Error{Code: query.CodeConflict, Err: err, Message: fmt.Sprintf("the change would break the %s: %v", what, err), Hint: "change or drop it first"}
	}
	return nil
}

// env is the instant at which expressions are looked at: that of the record.
func (d *decider) env() query.Env { return query.Env{Now: time.UnixMilli(d.received).UTC()} }

// broken finds a computed attribute or a saved segment that does not compile with a catalog.
func (d *decider) broken(cat *catalog) (what string, err error) {
	for i := range cat.schema.Computed {
		x := &cat.schema.Computed[i]
		if _, err := d.w.db.compiler.Value(x, cat, d.env()); err != nil {
			return fmt.Sprintf("computed attribute %q", x.Name), err
		}
	}
	for _, name := range cat.SegmentNames() {
		if _, err := d.w.db.compiler.Compile(cat.segments[name].text, cat, d.env()); err != nil {
			return fmt.Sprintf("segment %q", name), err
		}
	}
	return d.brokenDefinition(cat)
}

// keepHorizons sees to it that a change of what is kept does not bring back what may have
// been dropped: events stay past their retention.
func (d *decider) keepHorizons(c schema.Change, next *schema.Schema) *schema.Schema {
	before, after := view.State{Schema: d.w.schema, Received: d.received}, view.State{Schema: next, Received: d.received}
	if c.Op == schema.RedefineEvent {
		e := d.w.schema.LookupEvent(c.Event)
		if horizon := before.Horizon(e); after.Horizon(next.EventByID(e.ID)) < horizon {
			after.Schema = next.Forget(e.ID, timeline.DayOf(horizon))
		}
	}
	return after.Schema
}

// droppedBy returns the ids of what a change drops: an attribute, a property, an event
// type and its properties, the changes of an attribute that keeps them no longer.
func (d *decider) droppedBy(c schema.Change) (ids []schema.AttrID) {
	switch c.Op {
	case schema.Drop, schema.SetStorage: // another storage is another column
		a := d.w.schema.Lookup(c.Name)
		if ids = append(ids, a.ID); a.History {
			ids = append(ids, schema.AttrID(a.Changes))
		}
	case schema.Widen, schema.Narrow:
		if a := d.w.schema.Lookup(c.Name); a.History && !c.Attribute.History {
			ids = append(ids, schema.AttrID(a.Changes))
		}
	case schema.DropProperty:
		ids = append(ids, d.w.schema.LookupEvent(c.Event).Lookup(c.Name).ID)
	case schema.DropEvent:
		e := d.w.schema.LookupEvent(c.Event)
		ids = append(ids, schema.AttrID(e.ID))
		for i := range e.Properties {
			ids = append(ids, e.Properties[i].ID)
		}
	}
	return ids
}

// mayChange refuses changes that stored values do not allow.
func (d *decider) mayChange(c schema.Change) error {
	a := d.w.schema.Lookup(c.Name)
	switch c.Op {
	case schema.SetStorage:
		if d.writesTo(a.ID) {
			return d.ownBatch(c)
		}
	case schema.NarrowProperty:
		e := d.w.schema.LookupEvent(c.Event)
		if slices.ContainsFunc(d.out.outcome.Acts, func(a effect.Acts) bool { return a.Event == e.ID }) {
			return d.ownBatch(c)
		}
		n, err := d.offendingActs(e, e.Lookup(c.Name), &c.Attribute)
		if err != nil {
			return err
		}
		if n > 0 {
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the narrower definition of %q does not admit what is in use (events %q with such a value, or without one: %d)", c.Name, e.Name, n),
				Hint: "keep the definition, or add a property with the narrower one"}
		}
	case schema.Narrow:
		if c.Attribute.Unique && !a.Unique {
			if d.writesTo(a.ID) {
				return d.ownBatch(c)
			}
			n, err := d.sharing(a)
			if err != nil {
				return err
			}
			if n > 0 {
				return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%q cannot become unique: %d profiles have a value that another has too", a.Name, n),
					Hint: "correct them first, or leave it not unique"}
			}
		}
		n, err := d.offenders(a, &c.Attribute)
		if err != nil {
			return err
		}
		if n > 0 {
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the narrower definition of %q does not admit the values in use (profiles with such a value: %d)", a.Name, n),
				Hint: "correct them first, or keep the definition"}
		}
	}
	return nil
}

func (d *decider) ownBatch(c schema.Change) error {
	return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s %q: the same batch has written to it", c.Op, c.Name), Hint: "make the change in a batch of its own"}
}

func (d *decider) saveSegment(op *batch.Op) error {
	segments := cloned(d.w.segments)
	cat := &catalog{d.w.schema, segments, d.w.lists}
	s := &segment{text: op.Text, saved: d.w.nextPosition(), owner: d.author}
	s.owner.SharesAll = false // that is of the moment
	segments[op.Name] = s     // it stands there while it is compiled, so that a circle is seen
	expr, err := d.w.db.compiler.Compile(op.Text, cat, d.env())
	if err != nil {
		return fmt.Errorf("segment %q: %w", op.Name, err)
	}
	s.uses = expr.Uses.Segments
	if what, err := d.broken(cat); err != nil { // whoever uses it must still compile: kinds, and no cycle
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("with this text the %s would not compile: %v", what, err), Err: err}
	}
	d.setSegment(op.Name, s)
	return nil
}

func (d *decider) setSegment(name string, s *segment) {
	d.w.segments = cloned(d.w.segments)
	if d.out.meta.segments == nil {
		d.out.meta.segments = map[string]*segment{}
	}
	d.out.meta.segments[name] = s
	if s == nil {
		delete(d.w.segments, name)
	} else {
		d.w.segments[name] = s
	}
}

// cloned copies a map; the copy is never nil.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m)+1)
	maps.Copy(out, m)
	return out
}

// shareSegment marks a segment as one for all.
func (d *decider) shareSegment(op *batch.Op) error {
	s := d.w.segments[op.Name]
	if s == nil {
		return query.Errorf(query.CodeUnknownName, "there is no segment %q", op.Name)
	}
	if err := d.mayShare(op.Name, s); err != nil {
		return err
	}
	shared := *s
	shared.shared = true
	d.setSegment(op.Name, &shared)
	return nil
}

func (d *decider) dropSegment(op *batch.Op) error {
	if d.w.segments[op.Name] == nil {
		return query.Errorf(query.CodeUnknownName, "there is no segment %q", op.Name)
	}
	d.setSegment(op.Name, nil)
	return d.stillUsed("segment", op.Name)
}

// stillUsed refuses to drop a segment or a list, which is gone already, that something names.
func (d *decider) stillUsed(what, name string) error {
	if by, err := d.broken(&catalog{d.w.schema, d.w.segments, d.w.lists}); err != nil {
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s %q is used by %s", what, name, by), Hint: "change that one first", Err: err}
	}
	return nil
}

// delete removes profiles: every attribute of theirs becomes absent; the ordinal stays assigned.
func (d *decider) delete(op *batch.Op) error {
	var ords []uint32
	who, err := d.lookUp(op.Keys)
	if err != nil {
		return err
	}
	for i := range op.Keys.Len() {
		key := op.Keys.At(i)
		if d.refusedKey(op, i) {
			continue
		}
		ord, known := d.resolve(who, i)
		if !known {
			d.reject(op.FirstRow+i, batch.ReasonUnknownKey, fmt.Sprintf("no profile %q to delete", key), func() string { return "key=" + string(key) })
			continue
		}
		ords = append(ords, ord)
		d.out.result.Accepted++
		d.deleted(who.hashes[i], string(key), ord)
	}
	d.remove(ords)
	return nil
}

// remove makes every attribute of profiles absent.
func (d *decider) remove(ords []uint32) {
	if len(ords) == 0 {
		return
	}
	b := effect.Block{Ords: ords}
	gone := effect.Column{Attr: view.LiveAttr, Class: effect.Code}
	reset := effect.Column{Attr: schema.ListsAttr, Class: effect.Set}
	for range ords {
		gone.Codes = append(gone.Codes, schema.NoCode)
		reset.Codes = append(reset.Codes, effect.Reset)
	}
	b.Columns = append(b.Columns, gone, reset)
	for i := range d.w.schema.Attributes {
		a := &d.w.schema.Attributes[i]
		c := effect.Column{Attr: a.ID, Class: effect.ClassOf(a)}
		for range ords {
			if c.Class == effect.Set {
				c.Codes = append(c.Codes, effect.Reset)
			} else {
				c.AppendAbsent()
			}
		}
		b.Columns = append(b.Columns, c)
	}
	d.out.outcome.Blocks = append(d.out.outcome.Blocks, b)
}

// deleted makes later rows of the batch see that the profile is gone.
func (d *decider) deleted(hash uint64, key string, ord uint32) {
	if n, ok := d.created[hash]; ok && string(n.key) == key {
		delete(d.created, hash)
	}
	delete(d.clashes, key)
	d.w.deleted++
	if d.gone == nil {
		d.gone = map[uint32]bool{}
	}
	d.gone[ord] = true
}

// list puts, adds or removes keys.
func (d *decider) list(op *batch.Op) error {
	l := d.w.lists[op.Name]
	if l == nil {
		if op.Code == batch.OpListRemove {
			return query.Errorf(query.CodeUnknownName, "there is no list %q", op.Name)
		}
		l = &list{code: d.code(schema.ListsAttr, []byte(op.Name)), saved: d.w.nextPosition()}
		d.setList(op.Name, l)
	}
	var ords []uint32
	who, err := d.lookUp(op.Keys)
	if err != nil {
		return err
	}
	for i := range op.Keys.Len() {
		key := op.Keys.At(i)
		if d.refusedKey(op, i) {
			continue
		}
		ord, known := d.resolve(who, i)
		if !known {
			d.reject(op.FirstRow+i, batch.ReasonUnknownKey, fmt.Sprintf("list %q: no profile %q", op.Name, key), func() string { return "key=" + string(key) })
			continue
		}
		ords = append(ords, ord)
		d.out.result.Accepted++
	}
	if op.Code == batch.OpListPut {
		if err := d.emptyList(l.code); err != nil {
			return err
		}
		if l.note != "" {
			l = &list{code: l.code, saved: l.saved}
			d.setList(op.Name, l)
		}
	}
	change := effect.Add
	if op.Code == batch.OpListRemove {
		change = effect.Remove
	}
	d.listBlock(ords, l.code|change)
	return nil
}

func (d *decider) listBlock(ords []uint32, op uint32) {
	if len(ords) == 0 {
		return
	}
	c := effect.Column{Attr: schema.ListsAttr, Class: effect.Set, Codes: make([]uint32, len(ords))}
	for i := range c.Codes {
		c.Codes[i] = op
	}
	d.out.outcome.Blocks = append(d.out.outcome.Blocks, effect.Block{Ords: ords, Columns: []effect.Column{c}})
}

// emptyList takes everybody out of a list: those who were in it before the batch, and
// those whom it put in.
func (d *decider) emptyList(code uint32) error {
	var ords []uint32
	var buf bitmap.Words
	v := d.w.view()
	for chunk := range v.Chunks() {
		set, err := d.w.cursor.Row(schema.ListsAttr, code, chunk, &buf)
		if err != nil {
			return err
		}
		for _, o := range set.AppendTo(nil) {
			ords = append(ords, uint32(chunk)<<bitmap.ChunkBits|uint32(o))
		}
	}
	for i := range d.out.outcome.Blocks {
		b := &d.out.outcome.Blocks[i]
		for j := range b.Columns {
			if c := &b.Columns[j]; c.Attr == schema.ListsAttr {
				for k, op := range c.Codes {
					if op == code|effect.Add {
						ords = append(ords, b.Ords[c.Row(k)])
					}
				}
			}
		}
	}
	d.listBlock(ords, code|effect.Remove)
	return nil
}

func (d *decider) setList(name string, l *list) {
	d.w.lists = cloned(d.w.lists)
	if d.out.meta.lists == nil {
		d.out.meta.lists = map[string]*list{}
	}
	d.out.meta.lists[name] = l
	if l == nil {
		delete(d.w.lists, name)
	} else {
		d.w.lists[name] = l
	}
}

// noteList says where a list comes from.
func (d *decider) noteList(op *batch.Op) error {
	l := d.w.lists[op.Name]
	if l == nil {
		return query.Errorf(query.CodeUnknownName, "there is no list %q", op.Name)
	}
	d.setList(op.Name, &list{code: l.code, saved: l.saved, note: op.Text})
	return nil
}

func (d *decider) dropList(op *batch.Op) error {
	l := d.w.lists[op.Name]
	if l == nil {
		return query.Errorf(query.CodeUnknownName, "there is no list %q", op.Name)
	}
	if err := d.emptyList(l.code); err != nil {
		return err
	}
	d.setList(op.Name, nil)
	return d.stillUsed("list", op.Name)
}

// quarantined counts rows that a loader could not type.
func (d *decider) quarantined(op *batch.Op) {
	source := op.Name // the file says more to people than what names the batch
	if source == "" {
		source = d.source
	}
	r := &d.out.result
	for i, bad := range op.Bad {
		if d.namesErased(bad.Raw) {
			d.reject(op.FirstRow+i, batch.ReasonErased, "", nil)
			continue
		}
		r.Quarantined++
		d.out.bad = append(d.out.bad, badRow{bad, source})
		r.Reject(batch.Rejected{Row: op.FirstRow + i, Line: bad.Line, Reason: bad.Reason, Detail: bad.Detail})
	}
}
