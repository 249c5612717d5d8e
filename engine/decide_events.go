package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// eventBlock is the state of deciding one op of events.
type eventBlock struct {
	op     *batch.EventBlock
	first  int
	types  []*schema.Event // by place in op.Names; nil: there is none
	fail   []batch.Reason  // per row
	detail map[int]string
	ords   []uint32
	hashes []int64 // of each row's properties, as actOrder has them
	cells  []*eventCells
	again  []bool // the id has been seen, with the same content
}

// eventCells are the cells of one column, by row.
type eventCells struct {
	*batch.BlockColumn
	at    []int32             // the row's cell, -1: none
	start []uint32            // sets: where each cell begins in Index
	props []*schema.Attribute // by event type of the block; nil: the type has no such property
	codes []uint32            // of each string of Dict, assigned at first use
}

func (d *decider) events(op *batch.Op) error {
	b := &eventBlock{op: op.Events, first: op.FirstRow, fail: make([]batch.Reason, op.Events.N), detail: map[int]string{},
		ords: make([]uint32, op.Events.N), hashes: make([]int64, op.Events.N), again: make([]bool, op.Events.N)}
	for row := range b.fail {
		if v, ok := d.verdicts[op.FirstRow+row]; ok {
			b.fail[row], b.detail[row] = v.reason, v.detail
		}
	}
	d.refusedKeys(b.op.Keys, b.op.Times, b.fail, b.detail)
	d.bindEvents(b)
	d.fullEventDictionaries(b)
	b.hash()
	fresh, err := d.eventProfiles(b)
	if err != nil {
		return err
	}
	d.emitEvents(b, fresh)
	return nil
}

// bindEvents finds event types and properties; rows with what does not exist any more
// since stage 1 fail.
func (d *decider) bindEvents(b *eventBlock) {
	for i := range b.op.Names.Len() {
		b.types = append(b.types, d.w.schema.LookupEvent(string(b.op.Names.At(i))))
	}
	for row, of := range b.op.Event {
		e := b.types[of]
		switch {
		case b.fail[row] != batch.ReasonNone:
		case e == nil:
			b.fail[row], b.detail[row] = batch.ReasonUnknownEvent, fmt.Sprintf("event %q", b.op.Names.At(int(of)))
		case b.op.Times[row] < d.horizon(e):
			b.fail[row], b.detail[row] = batch.ReasonTooLate, fmt.Sprintf("%q keeps %d days", e.Name, e.Retention)
		}
	}
	for i := range b.op.Columns {
		c := newEventCells(&b.op.Columns[i], b.op.N)
		b.cells = append(b.cells, c)
		for _, e := range b.types {
			var p *schema.Attribute
			if e != nil {
				p = e.Lookup(c.Name)
			}
			if p != nil && (p.Kind != c.Kind || p.Scale != c.Scale) {
				p = nil
			}
			c.props = append(c.props, p)
		}
		for row, of := range b.op.Event {
			if c.at[row] >= 0 && c.props[of] == nil && b.fail[row] == batch.ReasonNone {
				b.fail[row], b.detail[row] = batch.ReasonUnknownProperty, fmt.Sprintf("%q of event %q", c.Name, b.op.Names.At(int(of)))
			}
		}
	}
}

// horizon is the time before which events of a type are not kept, as of this record.
func (d *decider) horizon(e *schema.Event) int64 {
	s := view.State{Received: d.received}
	return s.Horizon(e)
}

// idHorizon is the day before which ids of events are not known any more, as of this record.
func (d *decider) idHorizon() int32 {
	s := view.State{Schema: d.w.schema, Received: d.received}
	return s.IDHorizon()
}

func newEventCells(c *batch.BlockColumn, rows int) *eventCells {
	out := &eventCells{BlockColumn: c, at: make([]int32, rows)}
	k := int32(0)
	for row := range out.at {
		out.at[row] = -1
		if c.Has(row) {
			out.at[row] = k
			k++
		}
	}
	from := uint32(0)
	for _, n := range c.Counts {
		out.start = append(out.start, from)
		from += n
	}
	for range c.Dict.Len() {
		out.codes = append(out.codes, schema.NoCode)
	}
	return out
}

// text returns cell k of a string column.
func (c *eventCells) text(k int32) []byte {
	if c.Plain.Len() > 0 {
		return c.Plain.At(int(k))
	}
	return c.Dict.At(int(c.Index[k]))
}

// elements returns the places in Dict of a set's elements.
func (c *eventCells) elements(k int32) []uint32 {
	return c.Index[c.start[k] : c.start[k]+c.Counts[k]]
}

// fullEventDictionaries fails the rows whose strings would not fit into a dictionary. It
// counts the strings of rows that fail later too.
func (d *decider) fullEventDictionaries(b *eventBlock) {
	fresh := map[schema.AttrID]map[string]bool{}
	for _, c := range b.cells {
		if c.Kind != schema.String && c.Kind != schema.Set {
			continue
		}
		for row, of := range b.op.Event {
			p := c.props[of]
			if c.at[row] < 0 || p == nil || p.Inline() || b.fail[row] != batch.ReasonNone {
				continue
			}
			dict := d.w.dicts[p.ID]
			if dict.Len()+len(fresh[p.ID])+max(c.Dict.Len(), c.Plain.Len()) <= d.w.db.opt.limits.dictionary {
				break // all of the column fits, whatever is new in it
			}
			if fresh[p.ID] == nil {
				fresh[p.ID] = map[string]bool{}
			}
			for _, s := range c.strings(row) {
				if _, known := dict.CodeOf(s); known || fresh[p.ID][string(s)] {
					continue
				}
				if dict.Len()+len(fresh[p.ID]) >= d.w.db.opt.limits.dictionary {
					b.fail[row], b.detail[row] = batch.ReasonDictionaryFull, fmt.Sprintf("property %q", p.Name)
					break
				}
				fresh[p.ID][string(s)] = true
			}
		}
	}
}

// strings returns the row's string, or its set's elements.
func (c *eventCells) strings(row int) (out [][]byte) {
	if c.Kind == schema.String {
		return append(out, c.text(c.at[row]))
	}
	for _, i := range c.elements(c.at[row]) {
		out = append(out, c.Dict.At(int(i)))
	}
	return out
}

// ofType returns the columns that are properties of event type i, by ascending id.
func (b *eventBlock) ofType(i int) []*eventCells {
	var out []*eventCells
	for _, c := range b.cells {
		if c.props[i] != nil {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(x, y *eventCells) int { return int(int64(x.props[i].ID) - int64(y.props[i].ID)) })
	return out
}

// hash computes the hashes of the events' properties.
func (b *eventBlock) hash() {
	var h query.ActHash
	columns := make([][]*eventCells, len(b.types))
	for i := range b.types {
		columns[i] = b.ofType(i)
	}
	var elements []string
	for row, of := range b.op.Event {
		if b.fail[row] != batch.ReasonNone {
			continue
		}
		h.Reset()
		for _, c := range columns[of] {
			k, id := c.at[row], c.props[of].ID
			switch {
			case k < 0:
			case c.Kind == schema.Set:
				elements = elements[:0]
				for _, i := range c.elements(k) { // ascending, as the dictionary is
					elements = append(elements, string(c.Dict.At(int(i))))
				}
				h.Set(id, elements)
			case c.Kind == schema.String:
				h.Text(id, string(c.text(k)))
			default:
				h.Ordered(id, c.Ints[k])
			}
		}
		b.hashes[row] = actOrder(&h)
	}
}

// eventProfiles finds the profile of each event, and creates it if there is none: what is
// required of a profile is asked of it when it is upserted. An event whose id has been
// seen is a duplicate if its content is the same, else in conflict with the first.
func (d *decider) eventProfiles(b *eventBlock) (fresh []int, err error) {
	var ids *eventCells
	var idsFrom int32
	if b.op.IDs != nil {
		ids, idsFrom = newEventCells(b.op.IDs, b.op.N), d.idHorizon()
	}
	who, err := d.lookUp(b.op.Keys)
	if err != nil {
		return nil, err
	}
	for row := range b.op.N {
		if b.fail[row] != batch.ReasonNone {
			continue
		}
		ord, known := d.resolve(who, row)
		if !known {
			ord = d.w.end
			if d.strict {
				b.fail[row], b.detail[row] = batch.ReasonUnknownKey, fmt.Sprintf("no profile %q", b.op.Keys.At(row))
				continue
			}
		}
		b.ords[row] = ord
		if ids != nil && ids.at[row] >= 0 {
			if err := d.claimID(b, row, ids.text(ids.at[row]), idsFrom); err != nil {
				return nil, err
			}
		}
		if !known && b.fail[row] == batch.ReasonNone && !b.again[row] {
			d.w.end++
			d.remember(who, row, ord)
			fresh = append(fresh, row)
		}
	}
	return fresh, nil
}

// claimID takes the id of an event. Of a day before idsFrom nobody can tell whether it is taken.
func (d *decider) claimID(b *eventBlock, row int, id []byte, idsFrom int32) error {
	e, day := b.types[b.op.Event[row]], timeline.DayOf(b.op.Times[row])
	if day < idsFrom {
		b.fail[row], b.detail[row] = batch.ReasonTooLate, fmt.Sprintf("ids of events before %s are forgotten: send it without an id if it is new", schema.DateValue(int64(idsFrom)))
		return nil
	}
	content := eventContent(b.ords[row], e.ID, b.op.Times[row], b.hashes[row])
	source := b.op.IDSource
	if source == "" {
		source = d.source
	}
	first, seen, err := d.w.ids.claim(&d.out.outcome, source, day, id, content)
	switch {
	case !seen:
	case first == content:
		b.again[row] = true
	default:
		b.fail[row], b.detail[row] = batch.ReasonConflicting, fmt.Sprintf("id %q is that of another event of the day", id)
	}
	return err
}

// emitEvents turns the events that passed into effects and counts the others.
func (d *decider) emitEvents(b *eventBlock, fresh []int) {
	r := &d.out.result
	for row, why := range b.fail {
		switch {
		case why != batch.ReasonNone:
			d.reject(b.first+row, why, b.detail[row], func() string { return b.raw(row) })
		case b.again[row]:
			r.Duplicates++
		default:
			r.Accepted++
		}
	}
	if len(fresh) > 0 {
		r.Created += uint64(len(fresh))
		keys := effect.Column{Attr: schema.KeyAttr, Class: effect.Bytes}
		live := effect.Column{Attr: view.LiveAttr, Class: effect.Code}
		block := effect.Block{}
		for _, row := range fresh {
			block.Ords = append(block.Ords, b.ords[row])
			keys.AppendBytes(b.op.Keys.At(row))
			live.Codes = append(live.Codes, view.Live)
		}
		block.Columns = []effect.Column{keys, live}
		d.out.outcome.Blocks = append(d.out.outcome.Blocks, block)
	}
	for i, rows := range b.passed() {
		if len(rows) > 0 {
			d.emitType(b, i, rows)
		}
	}
}

// passed returns the rows that passed, by type.
func (b *eventBlock) passed() [][]uint32 {
	count := make([]int, len(b.types))
	for _, of := range b.op.Event {
		count[of]++
	}
	rows := make([][]uint32, len(b.types))
	for of, n := range count {
		rows[of] = make([]uint32, 0, n)
	}
	for row, of := range b.op.Event {
		if b.fail[row] == batch.ReasonNone && !b.again[row] {
			rows[of] = append(rows[of], uint32(row))
		}
	}
	return rows
}

// emitType emits the events of one type, which there are.
func (d *decider) emitType(b *eventBlock, i int, rows []uint32) {
	a := effect.Acts{Event: b.types[i].ID}
	n := len(rows)
	times, hashes := effect.Column{Attr: effect.TimeColumn, Class: effect.Int}, effect.Column{Attr: effect.HashColumn, Class: effect.Int}
	a.Ords, times.Ints, hashes.Ints = make([]uint32, n), make([]int64, n), make([]int64, n)
	for k, row := range rows {
		a.Ords[k], times.Ints[k], hashes.Ints[k] = b.ords[row], b.op.Times[row], b.hashes[row]
	}
	a.Columns = []effect.Column{times, hashes}
	for _, c := range b.ofType(i) {
		if col := d.emitProperty(c, c.props[i], rows); col.Len() > 0 {
			a.Columns = append(a.Columns, col)
		}
	}
	d.out.outcome.Acts = append(d.out.outcome.Acts, a)
}

// emitProperty returns a property's values for some rows of the op.
func (d *decider) emitProperty(c *eventCells, p *schema.Attribute, rows []uint32) effect.Column {
	out := effect.Column{Attr: p.ID, Class: effect.ClassOf(p), Rows: make([]uint32, 0, len(rows))}
	switch out.Class {
	case effect.Code, effect.Set:
		out.Codes = make([]uint32, 0, len(rows))
	case effect.Int:
		out.Ints = make([]int64, 0, len(rows))
	}
	var used []uint32 // codes are those of this property: another type's of the name has others
	codeOf := func(i uint32) uint32 {
		if c.codes[i] == schema.NoCode {
			c.codes[i] = d.code(p.ID, c.Dict.At(int(i)))
			used = append(used, i)
		}
		return c.codes[i]
	}
	defer func() {
		for _, i := range used {
			c.codes[i] = schema.NoCode
		}
	}()
	for n, row := range rows {
		k := c.at[row]
		if k < 0 {
			continue
		}
		if out.Class == effect.Set {
			var codes []uint32
			for _, i := range c.elements(k) {
				codes = append(codes, codeOf(i))
			}
			slices.Sort(codes)
			for _, code := range codes {
				out.Rows, out.Codes = append(out.Rows, uint32(n)), append(out.Codes, code)
			}
			continue
		}
		out.Rows = append(out.Rows, uint32(n))
		switch {
		case p.Kind == schema.Bool:
			out.Codes = append(out.Codes, uint32(c.Ints[k]))
		case out.Class == effect.Int:
			out.Ints = append(out.Ints, c.Ints[k])
		case out.Class == effect.Bytes:
			out.AppendBytes(c.text(k))
		case c.Plain.Len() > 0:
			out.Codes = append(out.Codes, d.code(p.ID, c.Plain.At(int(k))))
		default:
			out.Codes = append(out.Codes, codeOf(c.Index[k]))
		}
	}
	if out.Class != effect.Set && len(out.Rows) == len(rows) {
		out.Rows = nil
	}
	return out
}

// raw writes an event that failed as people can read it: for the quarantine.
func (b *eventBlock) raw(row int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "profile=%s event=%s time=%s", b.op.Keys.At(row), b.op.Names.At(int(b.op.Event[row])), schema.TimestampValue(b.op.Times[row]))
	for _, c := range b.cells {
		if k := c.at[row]; k >= 0 && s.Len() <= batch.MaxQuarantineRaw {
			fmt.Fprintf(&s, " %s=%s", c.Name, cellText(c.BlockColumn, int(k)))
		}
	}
	text := s.String()
	return text[:min(len(text), batch.MaxQuarantineRaw)]
}
