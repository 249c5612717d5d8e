package engine

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

// stateful returns the columns whose attributes need the state row by row (increments,
// expectations, unique values, history); nil if there are none. All columns of such an attribute
// are in it, so that later rows of the batch see what earlier ones did.
func (d *decider) stateful(b *block) ([]*blockColumn, error) {
	need := map[schema.AttrID]bool{}
	for _, c := range b.cols {
		switch c.Verb {
		case batch.VerbIncrement, batch.VerbExpect, batch.VerbExpectAbsent:
			need[c.attr.ID] = true
		default:
			if c.attr.Unique || c.attr.History {
				need[c.attr.ID] = true
			}
		}
	}
	var out []*blockColumn
	for _, c := range b.cols {
		if need[c.attr.ID] || d.tracked[c.attr.ID] {
			if err := d.track(c.attr); err != nil {
				return nil, err
			}
			out = append(out, c)
			if c.Verb == batch.VerbIncrement {
				c.sums = make([]int64, c.M)
			}
		}
	}
	if out != nil {
		b.counted = make([]int32, len(out))
	}
	return out, nil
}

// track makes an attribute's values pending from here to the end of the batch, beginning
// with what earlier blocks did to it.
func (d *decider) track(a *schema.Attribute) error {
	if d.tracked[a.ID] {
		return nil
	}
	if d.tracked == nil {
		d.tracked, d.pending, d.taken = map[schema.AttrID]bool{}, map[cell]schema.Value{}, map[uniqueValue]uint32{}
	}
	d.tracked[a.ID] = true
	before, err := d.written(a)
	for ord, v := range before { //tidy:same each has a place of its own
		d.pending[cell{a.ID, ord}] = v
	}
	return err
}

// checkRow runs one row's expectations, increments and unique checks. What a row expects is
// compared with what the profile was before the row, whatever the order of the columns.
func (d *decider) checkRow(b *block, cols []*blockColumn, row int, ord uint32, fresh bool) error {
	type change struct {
		c cell
		v schema.Value
	}
	var changes []change
	current := func(a *schema.Attribute) (schema.Value, error) {
		at := cell{a.ID, ord}
		for i := len(changes) - 1; i >= 0; i-- {
			if changes[i].c == at {
				return changes[i].v, nil
			}
		}
		if v, ok := d.pending[at]; ok {
			return v, nil
		}
		v, err := empty(a), error(nil)
		if !fresh {
			v, err = d.w.value(a, ord)
		}
		d.remembered(a, at, v)
		return v, err
	}
	failed := b.fail[row] != batch.ReasonNone
	for pass := range 2 {
		for i, c := range cols {
			if c.expects() != (pass == 0) || !c.Has(row) {
				continue
			}
			k := int(b.counted[i])
			b.counted[i]++
			if failed {
				continue
			}
			old, err := current(c.attr)
			if err != nil {
				return err
			}
			v, why, detail, err := d.next(c, k, old, ord)
			if err != nil {
				return err
			}
			if why != batch.ReasonNone {
				b.fail[row], b.detail[row] = why, detail
				failed = true
				continue
			}
			changes = append(changes, change{cell{c.attr.ID, ord}, v})
		}
	}
	if !failed {
		for _, ch := range changes {
			d.pending[ch.c] = ch.v
			if a := d.w.schema.ByID(ch.c.attr); a != nil && a.Unique && !ch.v.IsAbsent() {
				d.taken[uniqueValue{ch.c.attr, ch.v.String()}] = ch.c.ord
			}
		}
	}
	return nil
}

// expects reports whether the column only compares.
func (c *blockColumn) expects() bool {
	return c.Verb == batch.VerbExpect || c.Verb == batch.VerbExpectAbsent
}

func empty(a *schema.Attribute) schema.Value {
	if a.Kind == schema.Set {
		return schema.SetValue()
	}
	return schema.Value{}
}

// next returns what an attribute becomes by cell k of a column, or why it must not.
func (d *decider) next(c *blockColumn, k int, old schema.Value, ord uint32) (v schema.Value, why batch.Reason, detail string, err error) {
	given := cellValue(c.BlockColumn, k)
	switch c.Verb {
	case batch.VerbExpect, batch.VerbExpectAbsent:
		if !old.Equal(given) && !(c.Verb == batch.VerbExpectAbsent && (old.IsAbsent() || old.Kind() == schema.Set && len(old.Elements()) == 0)) {
			return old, batch.ReasonExpect, fmt.Sprintf("%s is %q, expected %q", c.Name, old, given), nil
		}
		return old, batch.ReasonNone, "", nil
	case batch.VerbIncrement:
		sum, ok := increment(c.attr, old, given)
		if !ok {
			return old, batch.ReasonOverflow, fmt.Sprintf("%s: %v + %v", c.Name, old, given), nil
		}
		c.sums[k] = sum.Ordered()
		given = sum
	case batch.VerbUnset:
		return empty(c.attr), batch.ReasonNone, "", nil
	case batch.VerbAdd:
		return schema.SetValue(append(append([]string(nil), old.Elements()...), given.Elements()...)...), batch.ReasonNone, "", nil
	case batch.VerbRemove:
		return schema.SetValue(without(old.Elements(), given.Elements())...), batch.ReasonNone, "", nil
	}
	if c.attr.Unique {
		holder, err := d.holder(c.attr, given, ord)
		if err != nil || holder {
			return old, batch.ReasonNotUnique, fmt.Sprintf("%s %q belongs to another profile", c.Name, given), err
		}
	}
	return given, batch.ReasonNone, "", nil
}

func without(from, take []string) []string {
	drop := map[string]bool{}
	for _, s := range take {
		drop[s] = true
	}
	var out []string
	for _, s := range from {
		if !drop[s] {
			out = append(out, s)
		}
	}
	return out
}

// increment adds within the kind and the attribute's bounds; an absent value counts as 0.
func increment(a *schema.Attribute, old, by schema.Value) (schema.Value, bool) {
	var sum schema.Value
	if a.Kind == schema.Float {
		f := by.Float()
		if !old.IsAbsent() {
			f += old.Float()
		}
		if sum = schema.FloatValue(f); sum.IsAbsent() || math.IsInf(f, 0) {
			return sum, false
		}
	} else {
		n, carry := bits.Add64(uint64(old.Ordered()), uint64(by.Ordered()), 0)
		_ = carry
		if (old.Ordered() >= 0) == (by.Ordered() >= 0) && (int64(n) >= 0) != (old.Ordered() >= 0) {
			return sum, false
		}
		sum = schema.FromOrdered(a.Kind, a.Scale, int64(n))
	}
	return sum, admits(a, a, sum)
}

// holder reports whether another living profile has a value of a unique attribute.
func (d *decider) holder(a *schema.Attribute, v schema.Value, self uint32) (bool, error) {
	if o, ok := d.taken[uniqueValue{a.ID, v.String()}]; ok && o != self && !d.gone[o] && d.pending[cell{a.ID, o}].Equal(v) {
		return true, nil
	}
	ords, err := d.w.cursor.Find(d.ctx, a.ID, view.IndexBytes(v))
	if err != nil {
		return false, err
	}
	for _, o := range ords {
		if p, ok := d.pending[cell{a.ID, o}]; o != self && !d.gone[o] && (!ok || p.Equal(v)) {
			return true, nil
		}
	}
	return false, nil
}

// cellValue returns cell k of a column as a value; verbs without values have an absent one.
func cellValue(c *batch.BlockColumn, k int) schema.Value {
	switch {
	case c.Kind == schema.Absent:
		return schema.Value{}
	case c.Kind == schema.Set:
		at := 0
		for i := range k {
			at += int(c.Counts[i])
		}
		elems := make([]string, 0, c.Counts[k])
		for _, i := range c.Index[at : at+int(c.Counts[k])] {
			elems = append(elems, string(c.Dict.At(int(i))))
		}
		return schema.SetValue(elems...)
	case c.Kind == schema.String && c.Plain.Len() > 0:
		return schema.StringValue(string(c.Plain.At(k)))
	case c.Kind == schema.String:
		return schema.StringValue(string(c.Dict.At(int(c.Index[k]))))
	}
	return schema.FromOrdered(c.Kind, c.Scale, c.Ints[k])
}
