package engine

import (
	"cmp"
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// remembered keeps what an attribute with history was before the batch.
func (d *decider) remembered(a *schema.Attribute, at cell, v schema.Value) {
	if !a.History {
		return
	}
	if d.before == nil {
		d.before = map[cell]schema.Value{}
	}
	d.before[at] = v
}

// emitChanges adds the changes that the batch made to attributes with history: one for
// each profile whose value is another one than before the whole batch. A profile that it
// deleted has none.
func (d *decider) emitChanges() error {
	var changed []cell
	for at, after := range d.pending { //tidy:same what it finds is sorted
		a := d.w.schema.ByID(at.attr)
		if a == nil || !a.History || d.gone[at.ord] {
			continue
		}
		before, err := d.beforeBatch(a, at)
		if err != nil {
			return err
		}
		if !before.Equal(after) {
			changed = append(changed, at)
		}
	}
	slices.SortFunc(changed, func(x, y cell) int { return cmp.Or(cmp.Compare(x.attr, y.attr), cmp.Compare(x.ord, y.ord)) })
	for len(changed) > 0 {
		n := 1
		for n < len(changed) && changed[n].attr == changed[0].attr {
			n++
		}
		d.emitChangesOf(d.w.schema.ByID(changed[0].attr), changed[:n])
		changed = changed[n:]
	}
	return nil
}

// beforeBatch returns what an attribute was before the batch. Mostly that was remembered;
// if not, the batch wrote the attribute before it turned its history on.
func (d *decider) beforeBatch(a *schema.Attribute, at cell) (schema.Value, error) {
	if v, ok := d.before[at]; ok {
		return v, nil
	}
	v, err := empty(a), error(nil)
	if at.ord < d.w.reading.End {
		v, err = d.w.value(a, at.ord)
	}
	d.remembered(a, at, v)
	return v, err
}

// emitChangesOf emits the changes of one attribute, by ascending ordinal.
func (d *decider) emitChangesOf(a *schema.Attribute, changed []cell) {
	e := a.ChangeType()
	out := effect.Acts{Event: e.ID}
	times, hashes := effect.Column{Attr: effect.TimeColumn, Class: effect.Int}, effect.Column{Attr: effect.HashColumn, Class: effect.Int}
	positions := effect.Column{Attr: schema.PositionProperty, Class: effect.Int}
	values := effect.Column{Attr: a.ID, Class: effect.ClassOf(a), Rows: []uint32{}}
	position := int64(d.w.nextPosition().Applied)
	var h query.ActHash
	for row, at := range changed {
		before := d.before[at]
		h.Reset()
		h.Ordered(schema.PositionProperty, position)
		h.Value(a.ID, before)
		out.Ords = append(out.Ords, at.ord)
		times.Ints, hashes.Ints, positions.Ints = append(times.Ints, d.received), append(hashes.Ints, actOrder(&h)), append(positions.Ints, position)
		d.appendBefore(a, &values, uint32(row), before)
	}
	out.Columns = []effect.Column{times, hashes, positions}
	if values.Len() > 0 {
		out.Columns = append(out.Columns, values)
	}
	d.out.outcome.Acts = append(d.out.outcome.Acts, out)
}

// appendBefore appends a value that a profile had, which is in its dictionary therefore;
// nothing if it had none.
func (d *decider) appendBefore(a *schema.Attribute, c *effect.Column, row uint32, v schema.Value) {
	var codes []uint32
	switch {
	case v.IsAbsent():
		return
	case c.Class == effect.Set:
		for _, s := range v.Elements() {
			codes = append(codes, d.code(a.ID, []byte(s)))
		}
		slices.Sort(codes)
	case a.Kind == schema.Bool:
		codes = append(codes, uint32(v.Ordered()))
	case c.Class == effect.Code:
		codes = append(codes, d.code(a.ID, []byte(v.Str())))
	case c.Class == effect.Bytes:
		c.Rows = append(c.Rows, row)
		c.AppendBytes([]byte(v.Str()))
	default:
		c.Rows = append(c.Rows, row)
		c.AppendInt(v.Ordered())
	}
	for _, code := range codes {
		c.Rows, c.Codes = append(c.Rows, row), append(c.Codes, code)
	}
}
