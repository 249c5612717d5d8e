package query

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

const (
	// MaxBreakdownValues is how many distinct values a breakdown counts: as many as a
	// dictionary holds. An attribute with more is near-unique, and its breakdown a listing.
	MaxBreakdownValues = schema.MaxDictionary

	// DefaultTop is how many rows a breakdown returns when nobody says.
	DefaultTop = 1000
)

// BreakdownOf counts the members of p by the values of a field. It fails with [CodeLimit]
// when there are more than [MaxBreakdownValues] distinct values.
func BreakdownOf(ctx context.Context, view View, p *Prepared, by Field, o BreakdownOptions) (Breakdown, error) {
	c, free, t, err := countValues(ctx, view, p, by, "", o.Options)
	if err != nil {
		return Breakdown{}, err
	}
	defer free()
	out := Breakdown{Attribute: by.Attribute, People: t.yes, Memberships: c.memberships, Answer: t.answer()}
	if out.Rows, err = c.rows(view); err != nil {
		return Breakdown{}, err
	}
	top := o.Top
	if top <= 0 {
		top = DefaultTop
	}
	if len(out.Rows) > top {
		for _, r := range out.Rows[top:] {
			out.Other += r.Count
		}
		out.OtherValues = uint64(len(out.Rows) - top)
		out.Rows = slices.Clone(out.Rows[:top]) // what is handed out does not keep the rest alive
	}
	return out, nil
}

// ValuesOf returns the values of attr that start with prefix, as text, with the number
// of living profiles that have them: the most frequent limit values (0: [DefaultTop]) by
// count descending, then by value. It fails with [CodeLimit] as BreakdownOf does.
func ValuesOf(ctx context.Context, view View, attr schema.Attribute, prefix string, limit int) ([]ValueCount, error) {
	everybody, err := Prepare(ctx, &Const{True}, view)
	if err != nil {
		return nil, err
	}
	c, free, _, err := countValues(ctx, view, everybody, Field{Attribute: attr}, prefix, Options{})
	if err != nil {
		return nil, err
	}
	defer free()
	rows, err := c.rows(view)
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = DefaultTop
	}
	var out []ValueCount
	for _, r := range rows {
		if s := r.Value.String(); len(out) < limit && !r.Value.IsAbsent() && strings.HasPrefix(s, prefix) {
			out = append(out, ValueCount{Value: s, Count: r.Count})
		}
	}
	return out, nil
}

// countValues counts the members of p by value. Of inline strings it need count only
// those that start with prefix. Call free when the counts may go.
func countValues(ctx context.Context, view View, p *Prepared, by Field, prefix string, o Options) (c *valueCounts, free func(), t totals, err error) {
	if c, t, ok := knownValues(view, p, by); ok {
		return c, func() {}, t, ctx.Err()
	}
	var parts []*valueCounts
	free = func() { closeAll(parts) }
	defer func() {
		if err != nil {
			closeAll(parts)
		}
	}()
	computed, err := newFieldReader(ctx, view, &by)
	if err != nil {
		return nil, nil, totals{}, err
	}
	t, err = runAll(ctx, view, p, o, false, func() visitor {
		c := &valueCounts{attr: by.Attribute, prefix: []byte(prefix), memory: view.Cursor()}
		parts = append(parts, c)
		return func(ctx context.Context, w *worker) error {
			r, err := w.members(ctx, p)
			if err != nil || r.yes.Form == bitmap.Empty {
				return err
			}
			if computed.computed() {
				return c.countComputed(ctx, w, computed, r.yes)
			}
			return w.gather.each(ctx, r.yes, func(ords []uint16) error { return c.count(w.cur, w.chunk, ords) })
		}
	})
	if err != nil {
		return nil, nil, totals{}, err
	}
	for _, c := range parts[1:] {
		if err = parts[0].merge(c); err != nil {
			return nil, nil, totals{}, err
		}
	}
	return parts[0], free, t, nil
}

// knownValues is countValues where the view has all counts at hand: everybody, by a
// coded attribute.
func knownValues(view View, p *Prepared, by Field) (*valueCounts, totals, bool) {
	attr := by.Attribute
	k, ok := p.root.node.(*Const)
	present, exact := view.ExistsCount(attr.ID)
	if !ok || by.Formula != nil || k.Value != True || !p.isExact || !exact || !attr.Coded() {
		return nil, totals{}, false
	}
	c := &valueCounts{attr: attr, none: p.living - present}
	row := func(code uint32, _ string) bool {
		n, fixed := view.RowCount(attr.ID, code)
		exact = exact && fixed
		c.byCode = reach(c.byCode, code)
		c.byCode[code] = n
		return exact
	}
	if attr.Kind == schema.Bool {
		row(0, "")
		row(1, "")
	} else {
		view.Codes(attr.ID, row)
	}
	if attr.Kind == schema.Set {
		for _, n := range c.byCode {
			c.memberships += n
		}
	}
	return c, totals{tally: tally{yes: p.living}}, exact
}

// valueCounts counts profiles by value. Which of the three counters is used depends on
// the attribute.
type valueCounts struct {
	attr        schema.Attribute
	prefix      []byte
	byCode      []uint64 // coded attributes
	byInt       map[int64]uint64
	byText      map[string]*uint64
	none        uint64 // profiles without a value, or with no element
	memberships uint64 // sets
	codes       []uint32
	ints        []int64
	has         []bool
	strs        [][]byte
	sets        Sets
	memory      Cursor // takes that of byText
}

// closeAll gives back the memory of counts.
func closeAll(parts []*valueCounts) {
	for _, c := range parts {
		c.memory.Close()
	}
}

// textCountBytes is what a text takes beside itself, with a map that is half full.
const textCountBytes = 2*(16+8) + 16

// reach returns counts with room for a code.
func reach(counts []uint64, code uint32) []uint64 {
	if int(code) < len(counts) {
		return counts
	}
	return append(counts, make([]uint64, int(code)+1-len(counts))...)
}

func (c *valueCounts) count(cur Cursor, chunk int, ords []uint16) error {
	switch {
	case c.attr.Kind == schema.Set:
		return c.countSets(cur, chunk, ords)
	case c.attr.Coded():
		c.codes = grow(c.codes, len(ords))
		if err := cur.GatherCodes(c.attr.ID, chunk, ords, c.codes); err != nil {
			return err
		}
		return c.countCodes()
	case c.attr.Inline():
		return c.countStrings(cur, chunk, ords)
	}
	return c.countInts(cur, chunk, ords)
}

func (c *valueCounts) countCodes() error {
	for _, code := range c.codes {
		if code == schema.NoCode {
			c.none++
			continue
		}
		if int(code) >= len(c.byCode) {
			c.byCode = reach(c.byCode, code)
		}
		c.byCode[code]++
	}
	return nil
}

func (c *valueCounts) countSets(cur Cursor, chunk int, ords []uint16) error {
	c.sets.Ends, c.sets.Codes = c.sets.Ends[:0], c.sets.Codes[:0]
	if err := cur.GatherSets(c.attr.ID, chunk, ords, &c.sets); err != nil {
		return err
	}
	from := uint32(0)
	for _, end := range c.sets.Ends {
		if end == from {
			c.none++
		}
		from = end
	}
	for _, code := range c.sets.Codes {
		c.byCode = reach(c.byCode, code)
		c.byCode[code]++
	}
	c.memberships += uint64(len(c.sets.Codes))
	return nil
}

func (c *valueCounts) countInts(cur Cursor, chunk int, ords []uint16) error {
	c.ints, c.has = grow(c.ints, len(ords)), grow(c.has, len(ords))
	if err := cur.GatherInts(c.attr.ID, chunk, ords, c.ints, c.has); err != nil {
		return err
	}
	if c.byInt == nil {
		c.byInt = make(map[int64]uint64)
	}
	for i, n := range c.ints {
		if c.has[i] {
			c.byInt[n]++
		} else {
			c.none++
		}
	}
	return c.limit(len(c.byInt))
}

func (c *valueCounts) countStrings(cur Cursor, chunk int, ords []uint16) error {
	c.strs = grow(c.strs, len(ords))
	if err := cur.GatherStrings(c.attr.ID, chunk, ords, c.strs); err != nil {
		return err
	}
	if c.byText == nil {
		c.byText = make(map[string]*uint64)
	}
	for _, s := range c.strs {
		switch n := c.byText[string(s)]; {
		case s == nil:
			c.none++
		case n != nil:
			*n++
		case bytes.HasPrefix(s, c.prefix):
			if err := take(c.memory, textCountBytes+int64(len(s))); err != nil {
				return err
			}
			one := uint64(1)
			c.byText[string(s)] = &one
		}
	}
	clear(c.strs) // they would keep the block that they are of
	return c.limit(len(c.byText))
}

// countComputed counts the values of a formula.
func (c *valueCounts) countComputed(ctx context.Context, w *worker, r *fieldReader, who bitmap.Set) error {
	if c.byInt == nil {
		c.byInt, c.byText = map[int64]uint64{}, map[string]*uint64{}
	}
	if r.plan != nil {
		return r.plan.each(ctx, w, who, c)
	}
	return r.in.each(ctx, w, who, func(ord uint16, values []schema.Value, acts [][]Act) error {
		return c.one(ord, r.eval(values, acts, w.env))
	})
}

func (c *valueCounts) one(_ uint16, v schema.Value) error { return c.add(v, 1) }

func (c *valueCounts) all(who bitmap.Set, v schema.Value) error {
	if who.IsEmpty() {
		return nil
	}
	return c.add(v, uint64(who.Count()))
}

// add counts a computed value of n profiles.
func (c *valueCounts) add(v schema.Value, n uint64) error {
	switch {
	case v.IsAbsent(), v.Kind() == schema.Set && len(v.Elements()) == 0:
		c.none += n
	case v.Kind() == schema.Set:
		for _, x := range v.Elements() {
			if err := c.addText(x, n); err != nil {
				return err
			}
		}
		c.memberships += n * uint64(len(v.Elements()))
	case v.Kind() == schema.String:
		if err := c.addText(v.Str(), n); err != nil {
			return err
		}
	default:
		c.byInt[v.Ordered()] += n
	}
	return c.limit(max(len(c.byInt), len(c.byText)))
}

func (c *valueCounts) addText(s string, n uint64) error {
	if have := c.byText[s]; have != nil {
		*have += n
		return nil
	}
	if err := take(c.memory, textCountBytes+int64(len(s))); err != nil {
		return err
	}
	first := n                          // n itself would be put on the heap at each call
	c.byText[strings.Clone(s)] = &first // s may be a part of many
	return nil
}

func (c *valueCounts) limit(n int) error {
	if n > MaxBreakdownValues {
		return Errorf(CodeLimit, "%q has more than %d distinct values among these profiles: list them instead", c.attr.Name, MaxBreakdownValues)
	}
	return nil
}

// merge adds what another worker counted.
func (c *valueCounts) merge(o *valueCounts) error {
	c.none += o.none
	c.memberships += o.memberships
	if n := len(o.byCode); n > 0 {
		c.byCode = reach(c.byCode, uint32(n-1))
	}
	for code, n := range o.byCode {
		c.byCode[code] += n
	}
	if c.byInt == nil {
		c.byInt, o.byInt = o.byInt, nil
	}
	for v, n := range o.byInt {
		c.byInt[v] += n
	}
	if c.byText == nil {
		c.byText, o.byText = o.byText, nil
	}
	for s, n := range o.byText {
		if have := c.byText[s]; have != nil {
			*have += *n
		} else {
			c.byText[s] = n
		}
	}
	return c.limit(max(len(c.byInt), len(c.byText)))
}

// rows returns what was counted by count descending, then by value, absent last.
func (c *valueCounts) rows(view View) ([]BreakdownRow, error) {
	rows := make([]BreakdownRow, 0, len(c.byInt)+len(c.byText)+1)
	for code, n := range c.byCode {
		if n == 0 {
			continue
		}
		v, err := codeValue(view, &c.attr, uint32(code))
		if err != nil {
			return nil, err
		}
		rows = append(rows, BreakdownRow{v, n})
	}
	for n, count := range c.byInt {
		rows = append(rows, BreakdownRow{schema.FromOrdered(c.attr.Kind, c.attr.Scale, n), count})
	}
	for s, count := range c.byText {
		rows = append(rows, BreakdownRow{schema.StringValue(s), *count})
	}
	if c.none > 0 {
		rows = append(rows, BreakdownRow{Count: c.none})
	}
	slices.SortFunc(rows, func(a, b BreakdownRow) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), compareValues(a.Value, b.Value))
	})
	return rows, nil
}

// compareValues orders scalar values of one kind; an absent one comes last.
func compareValues(a, b schema.Value) int {
	if a.IsAbsent() || b.IsAbsent() {
		switch {
		case a.IsAbsent() && b.IsAbsent():
			return 0
		case a.IsAbsent():
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Ordered(), b.Ordered()), cmp.Compare(a.Str(), b.Str()))
}
