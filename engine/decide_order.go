package engine

import (
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

// inOrder brings the changes of one attribute into the order of the rows. A block has a
// column per verb, and the head takes column after column, so what a later row does to
// the same profile by an earlier column would be undone. It costs nothing unless a
// profile comes twice in a block and an attribute has several columns.
func inOrder(ords []uint32, columns []effect.Column) []effect.Column {
	count := map[schema.AttrID]int{}
	several := false
	for i := range columns {
		count[columns[i].Attr]++
		several = several || count[columns[i].Attr] > 1
	}
	if !several || distinct(ords) {
		return columns
	}
	var out []effect.Column
	for i := range columns {
		switch id := columns[i].Attr; count[id] {
		case 0: // merged already
		case 1:
			out = append(out, columns[i])
		default:
			out = append(out, mergedByRow(id, columns[i:]))
			count[id] = 0
		}
	}
	return out
}

func distinct(ords []uint32) bool {
	seen := make(map[uint32]bool, len(ords))
	for _, o := range ords {
		if seen[o] {
			return false
		}
		seen[o] = true
	}
	return true
}

// mergedByRow makes one column of all that an attribute has; within a row the order of
// the columns holds.
func mergedByRow(id schema.AttrID, columns []effect.Column) effect.Column {
	type entry struct {
		row    int
		column *effect.Column
		at     int
	}
	var all []entry
	for i := range columns {
		if c := &columns[i]; c.Attr == id {
			for k := range c.Len() {
				all = append(all, entry{c.Row(k), c, k})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.row - b.row })
	out := effect.Column{Attr: id, Class: all[0].column.Class}
	for _, e := range all {
		out.Rows = append(out.Rows, uint32(e.row))
		switch {
		case out.Class == effect.Code || out.Class == effect.Set:
			out.Codes = append(out.Codes, e.column.Codes[e.at])
		case e.column.IsAbsent(e.at):
			out.AppendAbsent()
		case out.Class == effect.Int:
			out.AppendInt(e.column.Ints[e.at])
		default:
			out.AppendBytes(e.column.Bytes(e.at))
		}
	}
	return out
}

// written returns what the batch so far has made of an attribute, by ordinal: the head
// has it only when the whole batch is decided.
func (d *decider) written(a *schema.Attribute) (map[uint32]schema.Value, error) {
	out := map[uint32]schema.Value{}
	for i := range d.out.outcome.Blocks {
		b := &d.out.outcome.Blocks[i]
		for j := range b.Columns {
			c := &b.Columns[j]
			for k := 0; c.Attr == a.ID && k < c.Len(); k++ {
				ord := b.Ords[c.Row(k)]
				old, known := out[ord]
				if !known && c.Class == effect.Set {
					old = empty(a)
					if ord < d.w.reading.End {
						var err error
						if old, err = d.w.value(a, ord); err != nil {
							return nil, err
						}
					}
				}
				out[ord] = d.changed(a, c, k, old)
			}
		}
	}
	return out, nil
}

// changed returns what entry k of a column makes of a value.
func (d *decider) changed(a *schema.Attribute, c *effect.Column, k int, old schema.Value) schema.Value {
	switch {
	case c.Class == effect.Set:
		text := []string{d.w.dicts[a.ID].String(c.Codes[k] & effect.CodeMask)}
		switch c.Codes[k] & effect.OpMask {
		case effect.Reset:
			return schema.SetValue()
		case effect.Remove:
			return schema.SetValue(without(old.Elements(), text)...)
		}
		return schema.SetValue(append(text, old.Elements()...)...)
	case c.IsAbsent(k):
		return schema.Value{}
	case c.Class == effect.Bytes:
		return schema.StringValue(string(c.Bytes(k)))
	case a.Kind == schema.Bool:
		return schema.BoolValue(c.Codes[k] == 1)
	case c.Class == effect.Code:
		return schema.StringValue(d.w.dicts[a.ID].String(c.Codes[k]))
	}
	return schema.FromOrdered(a.Kind, a.Scale, c.Ints[k])
}

// everWritten reports whether anything stored may depend on how an attribute is stored
// or indexed: values, their absence, strings of its dictionary.
func (d *decider) everWritten(id schema.AttrID) bool {
	h := d.w.reading.Tiers.Of(id)
	if len(d.w.reading.Units[id]) > 0 || !h.Empty() {
		return true
	}
	if dict := d.w.dicts[id]; dict != nil && dict.Len() > 0 {
		return true
	}
	return d.writesTo(id)
}

// writesTo reports whether the batch so far has written to an attribute.
func (d *decider) writesTo(id schema.AttrID) bool {
	return slices.ContainsFunc(d.out.outcome.Blocks, func(b effect.Block) bool {
		return slices.ContainsFunc(b.Columns, func(c effect.Column) bool { return c.Attr == id })
	})
}

// forgetDropped takes out of the outcome what it says of attributes that a later op of
// the same batch dropped: the head has no place for them.
func (d *decider) forgetDropped() {
	if len(d.out.meta.dropped) == 0 {
		return
	}
	d.forgetDroppedActs()
	for i := range d.out.outcome.Blocks {
		b := &d.out.outcome.Blocks[i]
		b.Columns = slices.DeleteFunc(b.Columns, func(c effect.Column) bool {
			return c.Attr >= schema.FirstUserAttr && d.w.schema.ByID(c.Attr) == nil
		})
	}
}

// The engine's own attributes have ids below those of users'.
const _ = uint(schema.FirstUserAttr - view.LiveAttr - 1)

// forgetDroppedActs is forgetDropped of events and their properties.
func (d *decider) forgetDroppedActs() {
	o := &d.out.outcome
	gone := func(id schema.AttrID) bool { return slices.Contains(d.out.meta.dropped, id) }
	o.Acts = slices.DeleteFunc(o.Acts, func(a effect.Acts) bool { return gone(schema.AttrID(a.Event)) })
	for i := range o.Acts {
		o.Acts[i].Columns = slices.DeleteFunc(o.Acts[i].Columns, func(c effect.Column) bool { return gone(c.Attr) })
	}
}
