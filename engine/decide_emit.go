package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

// emit turns the rows that passed into an effect block and counts the others.
func (d *decider) emit(b *block) error {
	out := effect.Block{Ords: make([]uint32, 0, b.n)}
	for row, p := range b.place {
		if p >= 0 {
			out.Ords = append(out.Ords, b.ords[row])
			continue
		}
		d.reject(b.op.FirstRow+row, b.fail[row], b.detail[row], func() string { return rawRow(b, row) })
	}
	d.out.result.Accepted += uint64(b.n)
	if b.n == 0 {
		return nil
	}
	d.emitKeys(b, &out)
	changes := effect.Block{}
	for i, c := range b.cols {
		first := !slices.ContainsFunc(b.cols[:i], func(x *blockColumn) bool { return x.attr == c.attr })
		d.emitColumn(b, c, first, &changes)
	}
	out.Columns = append(out.Columns, inOrder(out.Ords, changes.Columns)...)
	d.out.outcome.Blocks = append(d.out.outcome.Blocks, out)
	return nil
}

// emitKeys writes key and life of the profiles that the block creates.
func (d *decider) emitKeys(b *block, out *effect.Block) {
	keys := effect.Column{Attr: schema.KeyAttr, Class: effect.Bytes}
	live := effect.Column{Attr: view.LiveAttr, Class: effect.Code}
	var rows []uint32
	for row, p := range b.place {
		if p >= 0 && b.fresh[row] {
			rows = append(rows, uint32(p))
			keys.AppendBytes(b.op.Block.Keys.At(row))
			live.Codes = append(live.Codes, view.Live)
		}
	}
	if len(rows) == 0 {
		return
	}
	d.out.result.Created += uint64(len(rows))
	if len(rows) < b.n {
		keys.Rows, live.Rows = rows, rows
	}
	out.Columns = append(out.Columns, keys, live)
}

// emitColumn turns one column into effects; first: the block has no earlier one of the attribute.
func (d *decider) emitColumn(b *block, c *blockColumn, first bool, out *effect.Block) {
	switch c.Verb {
	case batch.VerbExpect, batch.VerbExpectAbsent:
		return
	}
	e := effect.Column{Attr: c.attr.ID, Class: effect.ClassOf(c.attr)}
	var codes []uint32 // of the column's dictionary, assigned at first use
	if e.Class == effect.Code || e.Class == effect.Set {
		codes = make([]uint32, c.Dict.Len())
		for i := range codes {
			codes[i] = schema.NoCode
		}
	}
	codeOf := func(i uint32) uint32 {
		if codes[i] == schema.NoCode {
			codes[i] = d.code(c.attr.ID, c.Dict.At(int(i)))
		}
		return codes[i]
	}
	if e.Class == effect.Set {
		d.emitSets(b, c, first, &e, codeOf)
	} else {
		d.emitScalars(b, c, &e, codeOf)
	}
	if e.Len() > 0 {
		out.Columns = append(out.Columns, e)
	}
}

func (d *decider) emitScalars(b *block, c *blockColumn, e *effect.Column, codeOf func(uint32) uint32) {
	whole := c.Present == nil && b.n == len(b.place)
	if !whole {
		e.Rows = make([]uint32, 0, c.M)
	}
	switch e.Class {
	case effect.Code:
		e.Codes = make([]uint32, 0, c.M)
	case effect.Int:
		e.Ints = make([]int64, 0, c.M)
	default:
		e.Ends = make([]uint32, 0, c.M)
	}
	k := -1
	for row, p := range b.place {
		if !c.Has(row) {
			continue
		}
		k++
		if p < 0 {
			continue
		}
		if !whole {
			e.Rows = append(e.Rows, uint32(p))
		}
		switch {
		case c.Verb == batch.VerbUnset:
			e.AppendAbsent()
		case c.sums != nil:
			e.AppendInt(c.sums[k])
		case c.attr.Kind == schema.Bool:
			e.Codes = append(e.Codes, uint32(c.Ints[k]))
		case e.Class == effect.Int:
			e.AppendInt(c.Ints[k])
		case e.Class == effect.Code && c.Plain.Len() == 0:
			e.Codes = append(e.Codes, codeOf(c.Index[k]))
		case e.Class == effect.Code:
			e.Codes = append(e.Codes, d.code(c.attr.ID, c.Plain.At(k)))
		case c.Plain.Len() == 0:
			e.AppendBytes(c.Dict.At(int(c.Index[k])))
		default:
			e.AppendBytes(c.Plain.At(k))
		}
	}
}

func (d *decider) emitSets(b *block, c *blockColumn, first bool, e *effect.Column, codeOf func(uint32) uint32) {
	k, at := -1, 0
	dict := d.w.dicts[c.attr.ID]
	for row, p := range b.place {
		if !c.Has(row) {
			continue
		}
		k++
		from := at
		if c.Counts != nil {
			at += int(c.Counts[k])
		}
		if p < 0 {
			continue
		}
		if c.Verb == batch.VerbUnset || c.Verb == batch.VerbSet && !(first && b.fresh[row]) {
			e.Rows, e.Codes = append(e.Rows, uint32(p)), append(e.Codes, effect.Reset)
		}
		for _, i := range c.Index[from:at] {
			if c.Verb == batch.VerbRemove {
				if code, ok := dict.CodeOf(c.Dict.At(int(i))); ok {
					e.Rows, e.Codes = append(e.Rows, uint32(p)), append(e.Codes, code|effect.Remove)
				}
				continue
			}
			e.Rows, e.Codes = append(e.Rows, uint32(p)), append(e.Codes, codeOf(i)|effect.Add)
		}
	}
}

// rawRow writes a row that failed as people can read it: for the quarantine.
func rawRow(b *block, row int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "key=%s", b.op.Block.Keys.At(row))
	for i := range b.op.Block.Columns {
		c := &b.op.Block.Columns[i]
		if !c.Has(row) || s.Len() > batch.MaxQuarantineRaw {
			continue
		}
		k := 0
		for r := range row {
			if c.Has(r) {
				k++
			}
		}
		fmt.Fprintf(&s, " %s=%s", c.Name, cellText(c, k))
	}
	text := s.String()
	return text[:min(len(text), batch.MaxQuarantineRaw)]
}

func cellText(c *batch.BlockColumn, k int) string {
	switch {
	case c.Kind == schema.Absent:
		return "(unset)"
	case c.Kind == schema.Set:
		at := 0
		for i := range k {
			at += int(c.Counts[i])
		}
		var parts []string
		for _, i := range c.Index[at : at+int(c.Counts[k])] {
			parts = append(parts, string(c.Dict.At(int(i))))
		}
		return strings.Join(parts, "|")
	case c.Kind == schema.String && c.Plain.Len() > 0:
		return string(c.Plain.At(k))
	case c.Kind == schema.String:
		return string(c.Dict.At(int(c.Index[k])))
	}
	return schema.FromOrdered(c.Kind, c.Scale, c.Ints[k]).String()
}
