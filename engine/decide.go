package engine

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// decision is what Apply makes of one batch. It is a pure function of the writer's state
// and the log record: no clock, no randomness, no map order.
type decision struct {
	outcome effect.Outcome
	meta    metaChanges
	result  batch.Result
	bad     []badRow // rows for the quarantine
	erasing erasing
}

// badRow is a row for the quarantine and where it comes from.
type badRow struct {
	batch.BadRow
	source string
}

// decider decides one batch after another. It belongs to the writer goroutine. Its
// state is the writer's: what earlier batches of the same commit group did is visible.
type decider struct {
	w        *writer
	ctx      context.Context
	out      *decision
	verdicts map[int]verdict
	found    []keyed // of the ops, if they were looked up before the batch's turn
	author   query.Author
	source   string // of the batch
	strict   bool
	received int64     // of the record
	origin   *batch.Op // of the rows of the op at hand, or nil
	op       int       // the op at hand

	created map[uint64]newKey      // keys that this batch creates, by hash
	clashes map[string]uint32      // those whose hash an earlier one of the batch has
	tracked map[schema.AttrID]bool // whose values are in pending
	pending map[cell]schema.Value
	before  map[cell]schema.Value  // of attributes with history, those in pending: as before the batch
	taken   map[uniqueValue]uint32 // by whom, of the pending values
	gone    map[uint32]bool        // profiles that this batch deleted
	idsFrom int32                  // the day from which on ids were known before the row of schema changes at hand
	added   []addedString
	built   []keys.Span // that it has written into the base
}

// cell is one value of one profile.
type cell struct {
	attr schema.AttrID
	ord  uint32
}

// uniqueValue is a value of a unique attribute.
type uniqueValue struct {
	attr schema.AttrID
	text string
}

type addedString struct {
	attr schema.AttrID
	code uint32
	text string

	revived bool // it had been blanked
}

// block is the state of deciding one upsert.
type block struct {
	op      *batch.Op
	cols    []*blockColumn
	fail    []batch.Reason // per row
	detail  map[int]string
	ords    []uint32
	fresh   []bool  // the row creates its profile
	place   []int32 // per row: its row in the outcome, -1 if it failed
	n       int     // rows in the outcome
	counted []int32 // per column: cells before the current row (row-wise pass only)
}

// blockColumn is a batch column with its attribute.
type blockColumn struct {
	*batch.BlockColumn
	attr *schema.Attribute
	sums []int64 // increments: the result per cell
}

func (d *decider) upsert(op *batch.Op) error {
	b := &block{op: op, fail: make([]batch.Reason, op.Block.N), detail: map[int]string{},
		ords: make([]uint32, op.Block.N), fresh: make([]bool, op.Block.N), place: make([]int32, op.Block.N)}
	for row := range b.fail {
		if v, ok := d.verdicts[op.FirstRow+row]; ok {
			b.fail[row], b.detail[row] = v.reason, v.detail
		}
	}
	d.refusedKeys(op.Block.Keys, nil, b.fail, b.detail)
	d.bindColumns(b)
	d.fullDictionaries(b)
	if err := d.rows(b, d.required(b)); err != nil {
		return err
	}
	return d.emit(b)
}

// bindColumns finds each column's attribute; rows with a cell that fits none fail.
func (d *decider) bindColumns(b *block) {
	for i := range b.op.Block.Columns {
		c := &b.op.Block.Columns[i]
		a := d.w.schema.Lookup(c.Name)
		var why batch.Reason
		switch {
		case a == nil:
			why = batch.ReasonUnknownColumn
		case c.Kind != schema.Absent && (c.Kind != a.Kind || c.Scale != a.Scale):
			why = batch.ReasonKind
		case c.Verb == batch.VerbIncrement && (a.Coded() || a.Inline()):
			why = batch.ReasonKind
		}
		if why == batch.ReasonNone {
			b.cols = append(b.cols, &blockColumn{BlockColumn: c, attr: a})
			continue
		}
		for row := range b.fail {
			if b.fail[row] == batch.ReasonNone && c.Has(row) {
				b.fail[row] = why
				b.detail[row] = fmt.Sprintf("attribute %q", c.Name)
				if why == batch.ReasonKind {
					b.detail[row] = fmt.Sprintf("attribute %q is a %v, the batch has a %v", c.Name, a.Kind, c.Kind)
				}
			}
		}
	}
}

// required returns, per row, the first required attribute that it does not set, nil if it sets
// all; nil if none is required.
func (d *decider) required(b *block) []*schema.Attribute {
	var out []*schema.Attribute
	for i := range d.w.schema.Attributes {
		a := &d.w.schema.Attributes[i]
		if !a.Required {
			continue
		}
		if out == nil {
			out = make([]*schema.Attribute, b.op.Block.N)
		}
		has := make([]bool, b.op.Block.N)
		for _, c := range b.cols {
			if c.attr != a || c.Verb != batch.VerbSet && c.Verb != batch.VerbIncrement {
				continue
			}
			for r := range has {
				has[r] = has[r] || c.Has(r)
			}
		}
		for r := range out {
			if !has[r] && out[r] == nil {
				out[r] = a
			}
		}
	}
	return out
}

// rows resolves each row's key and runs the checks that need the state, in row order.
func (d *decider) rows(b *block, missing []*schema.Attribute) error {
	stateful, err := d.stateful(b)
	if err != nil {
		return err
	}
	who, err := d.lookUp(b.op.Block.Keys)
	if err != nil {
		return err
	}
	for row := range b.op.Block.N {
		ord, known := d.resolve(who, row)
		if !known {
			ord = d.w.end
			if missing != nil && missing[row] != nil && b.fail[row] == batch.ReasonNone {
				b.fail[row], b.detail[row] = batch.ReasonRequired, fmt.Sprintf("%s: profile %q is new", missing[row].Name, who.keys.At(row))
			}
		}
		if stateful != nil {
			if err := d.checkRow(b, stateful, row, ord, !known); err != nil {
				return err
			}
		}
		if b.fail[row] != batch.ReasonNone {
			b.place[row] = -1
			continue
		}
		if !known {
			b.fresh[row] = true
			d.w.end++
			d.remember(who, row, ord)
		}
		b.ords[row], b.place[row] = ord, int32(b.n)
		b.n++
	}
	return nil
}

// fullDictionaries fails the rows whose strings would not fit into a dictionary. It comes
// before the rows are given ordinals, so it also counts the strings of rows that fail later.
func (d *decider) fullDictionaries(b *block) {
	for _, c := range b.cols {
		if !c.attr.Coded() || c.attr.Kind == schema.Bool || c.Verb != batch.VerbSet && c.Verb != batch.VerbAdd {
			continue
		}
		dict := d.w.dicts[c.attr.ID]
		if dict.Len()+max(c.Dict.Len(), c.Plain.Len()) <= d.w.db.opt.limits.dictionary {
			continue
		}
		d.countNew(b, c)
	}
}

func (d *decider) countNew(b *block, c *blockColumn) {
	dict := d.w.dicts[c.attr.ID]
	room := d.w.db.opt.limits.dictionary - dict.Len()
	fresh := map[string]bool{}
	d.eachString(c, func(row int, s []byte) {
		if b.fail[row] != batch.ReasonNone || fresh[string(s)] {
			return
		}
		if _, ok := dict.CodeOf(s); ok {
			return
		}
		if len(fresh) < room {
			fresh[string(s)] = true
			return
		}
		b.fail[row] = batch.ReasonDictionaryFull
		b.detail[row] = fmt.Sprintf("attribute %q has %d distinct values: store it inline", c.attr.Name, dict.Len())
	})
}

// eachString calls f for each string cell or set element of a column.
func (d *decider) eachString(c *blockColumn, f func(row int, s []byte)) {
	k, e := 0, 0
	for row := 0; k < c.M; row++ {
		if !c.Has(row) {
			continue
		}
		switch {
		case c.Kind == schema.Set:
			for range c.Counts[k] {
				f(row, c.Dict.At(int(c.Index[e])))
				e++
			}
		case c.Plain.Len() > 0:
			f(row, c.Plain.At(k))
		default:
			f(row, c.Dict.At(int(c.Index[k])))
		}
		k++
	}
}

// code returns a string's code, assigning the next one to a new string.
func (d *decider) code(attr schema.AttrID, s []byte) uint32 {
	dict := d.w.dicts[attr]
	c, known := dict.CodeOf(s)
	if known {
		if d.w.used != nil {
			d.w.used[erasure.Code{Attr: uint32(attr), Code: c}] = true
		}
		if !dict.Blanked(c) {
			return c
		}
	}
	text := string(s)
	if known {
		dict.Revive(c, text)
	} else {
		c = dict.Add(text)
	}
	d.added = append(d.added, addedString{attr, c, text, known})
	return c
}

// reject counts a row that is not applied.
func (d *decider) reject(row int, reason batch.Reason, detail string, raw func() string) {
	r := &d.out.result
	rejected := batch.Rejected{Row: row, Reason: reason, Detail: detail}
	source, line := d.source, uint64(row)
	if d.origin != nil && row >= d.origin.FirstRow {
		source, line = d.origin.Name, d.origin.Line(row-d.origin.FirstRow)
		rejected.Line = line
	}
	refused := reason == batch.ReasonExpect || reason == batch.ReasonErased
	if refused {
		r.Refused++
	} else {
		r.Quarantined++
		d.out.bad = append(d.out.bad, badRow{batch.BadRow{Line: line, Reason: reason, Detail: detail, Raw: raw()}, source})
	}
	r.Reject(rejected)
}
