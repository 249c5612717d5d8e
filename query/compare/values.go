package compare

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// sort says what people a value stands for.
type sort uint8

const (
	ofCode  sort = iota // who has the code
	ofRange             // who has a number from lo to hi
	ofNone              // who has no value
	ofAny               // who has any; who has an event
)

// value is a value of a thing, compared.
type value struct {
	thing  int
	sort   sort
	code   uint32
	lo, hi int64 // as the cells of numbers have it: of a time its day
	people perGroup

	share, base float64 // of the segment, of the base
	effect      float64
	p, adjusted float64
}

// valueBytes is what a value takes, beside another in the lists that are sorted.
const valueBytes = 2 * 128

// average is an average of a thing, compared.
type average struct {
	thing         int
	segment, base moments
	effect        float64
	isVaried      bool // there is an effect, and p
	p, adjusted   float64
}

// found is all that was compared, in order of rank.
type found struct {
	values   []value
	averages []average
}

// compare makes the comparisons of what was counted.
func (c *comparison) compare(ctx context.Context, s *query.Study, t *tally) (*found, error) {
	f := &found{}
	if t.people.segment() == 0 || t.people[rest] == 0 {
		return f, nil
	}
	for i := range c.things {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		had := len(f.values)
		c.valuesOf(i, t, f)
		if err := s.Keep(valueBytes * int64(len(f.values)-had)); err != nil {
			return nil, err
		}
	}
	var p []float64
	for i := range f.values {
		p = append(p, f.values[i].p)
	}
	for i := range f.averages {
		if f.averages[i].isVaried {
			p = append(p, f.averages[i].p)
		}
	}
	p = adjust(p)
	for i := range f.values {
		f.values[i].adjusted = p[i]
	}
	p = p[len(f.values):]
	for i := range f.averages {
		if a := &f.averages[i]; a.isVaried {
			a.adjusted, p = p[0], p[1:]
		}
	}
	slices.SortFunc(f.values, func(a, b value) int {
		return cmp.Or(cmp.Compare(math.Abs(b.effect), math.Abs(a.effect)), cmp.Compare(a.thing, b.thing), cmp.Compare(a.sort, b.sort),
			cmp.Compare(a.lo, b.lo), c.compareCodes(s, &a, &b))
	})
	slices.SortStableFunc(f.averages, func(a, b average) int { return cmp.Compare(math.Abs(b.effect), math.Abs(a.effect)) })
	return f, nil
}

// compareCodes orders two values of a thing by their texts: which code a text has is by chance.
func (c *comparison) compareCodes(s *query.Study, a, b *value) int {
	if a.code == b.code {
		return 0
	}
	return cmp.Compare(c.text(s, a), c.text(s, b))
}

// valuesOf compares the values of a thing.
func (c *comparison) valuesOf(i int, t *tally, f *found) {
	thing, of := &c.things[i], &t.of[i]
	without := t.people
	for g := range groups {
		without[g] -= of.some[g]
	}
	switch {
	case thing.codes != nil:
		for _, code := range thing.codes.Codes {
			f.add(c, value{thing: i, sort: ofCode, code: code, people: of.ofCode(thing, code)}, t.people)
		}
		for g := range groups {
			without[g] = of.codes[g].None
		}
		if thing.isAll {
			without[rest] = thing.all.None - without[both]
		}
	case !thing.sorted:
		f.add(c, value{thing: i, sort: ofAny, people: of.some}, t.people)
	}
	if thing.sorted {
		for _, v := range of.cut(c.ranges) {
			v.thing = i
			f.add(c, v, t.people)
		}
	}
	if thing.codes != nil || thing.sorted {
		f.add(c, value{thing: i, sort: ofNone, people: without}, t.people)
	}
	if thing.sorted || thing.event != nil {
		f.addAverage(c, i, thing.event != nil, of, t.people)
	}
}

// ofCode returns who has a code.
func (t *thingTally) ofCode(of *thing, code uint32) (people perGroup) {
	at := func(t *query.CodeTally) uint64 {
		if int(code) < len(t.ByCode) {
			return t.ByCode[code]
		}
		return 0
	}
	for g := range groups {
		people[g] = at(&t.codes[g])
	}
	if of.isAll {
		people[rest] = at(&of.all) - people[both]
	}
	return people
}

// cut returns who has a number of each range. The ranges are of equal size in the base, and
// the first and the last of them have no end.
func (t *thingTally) cut(ranges int) (out []value) {
	base := numbers{apart: true}
	for _, g := range []int{both, rest} {
		part := t.numbers[g]
		part.apart, part.cells = true, slices.Clone(part.cells)
		base.mergeCells(&part)
	}
	for g := range groups {
		base.coarsen(max(base.shift, t.numbers[g].shift))
	}
	lo := int64(math.MinInt64)
	for _, hi := range append(base.cuts(ranges), math.MaxInt64) {
		v := value{sort: ofRange, lo: lo, hi: hi}
		for g := range groups {
			t.numbers[g].coarsen(max(base.shift, t.numbers[g].shift))
			v.people[g] = t.numbers[g].between(lo, hi)
		}
		out = append(out, v)
		lo = hi + 1
	}
	return out
}

// add compares a value, if it can be.
func (f *found) add(c *comparison, v value, all perGroup) {
	n, m := all.segment(), all[rest]
	p, ok := twoShares(v.people.segment(), n, v.people[rest], m)
	if !ok || v.people.segment()+v.people[rest] < c.minPeople {
		return
	}
	v.p, v.share, v.base = p, float64(v.people.segment())/float64(n), float64(v.people.base())/float64(all.base())
	v.effect = cohenH(v.share, v.base)
	f.values = append(f.values, v)
}

// addAverage compares an average; of events, everybody has a number, be it 0.
func (f *found) addAverage(c *comparison, i int, everybody bool, of *thingTally, all perGroup) {
	var parts [groups]moments
	for g := range groups {
		of.numbers[g].coarsen(max(of.numbers[g].shift, 1)) // so that all is added up
		if parts[g] = of.numbers[g].moments; everybody {
			parts[g].n = all[g]
		}
	}
	a := average{thing: i}
	a.segment.merge(&parts[both])
	a.segment.merge(&parts[outside])
	a.base.merge(&parts[both])
	a.base.merge(&parts[rest])
	if a.segment.n+parts[rest].n < c.minPeople || a.segment.n == 0 || a.base.n == 0 {
		return
	}
	if a.segment.n > 1 && parts[rest].n > 1 {
		segment, others, base := a.segment.sample(), parts[rest].sample(), a.base.sample()
		if varies(segment.variance+others.variance) && varies(base.variance) {
			a.isVaried, a.p = true, welch(segment, others)
			a.effect = (segment.mean - base.mean) / math.Sqrt(base.variance)
		}
	}
	f.averages = append(f.averages, a)
}

// varies reports whether there is a variance, and it is a number.
func varies(variance float64) bool { return variance > 0 && !math.IsInf(variance, 1) }

func (m *moments) sample() sample { return sample{float64(m.n), m.average(), m.variance()} }

// text is what a value is called.
func (c *comparison) text(s *query.Study, v *value) string {
	t := &c.things[v.thing]
	switch {
	case v.sort == ofNone:
		return "(none)"
	case v.sort == ofAny && t.event != nil:
		return "in the last " + c.within
	case v.sort == ofAny || v.lo == math.MinInt64 && v.hi == math.MaxInt64:
		return "(any)"
	case v.sort == ofCode && t.attr.Kind == schema.Bool:
		return schema.BoolValue(v.code != 0).String()
	case v.sort == ofCode:
		return s.Text(t.attr.ID, int64(v.code))
	}
	kind := t.attr.Kind
	if kind == schema.Timestamp {
		kind = schema.Date
	}
	number := func(n int64) string { return schema.FromOrdered(kind, t.attr.Scale, n).String() }
	switch {
	case v.lo == v.hi:
		return number(v.lo)
	case kind == schema.Float && v.lo == math.MinInt64:
		return "below " + number(v.hi+1)
	case v.lo == math.MinInt64:
		return "up to " + number(v.hi)
	case v.hi == math.MaxInt64:
		return "from " + number(v.lo)
	case kind == schema.Float:
		return number(v.lo) + " to below " + number(v.hi+1)
	}
	return number(v.lo) + " to " + number(v.hi)
}

// node is the condition that a value is.
func (c *comparison) node(s *query.Study, v *value) query.Node {
	t := &c.things[v.thing]
	switch {
	case t.event != nil:
		return &query.Any{List: t.event}
	case v.sort == ofNone:
		return &query.Not{Of: &query.Has{Attr: t.attr.ID}}
	case v.sort == ofAny:
		return &query.Has{Attr: t.attr.ID}
	case v.sort == ofRange && t.attr.Kind == schema.Timestamp:
		return &query.Range{Attr: t.attr.ID, Lo: dayBegins(v.lo), Hi: dayEnds(v.hi)}
	case v.sort == ofRange:
		return &query.Range{Attr: t.attr.ID, Lo: v.lo, Hi: v.hi}
	case t.attr.Kind == schema.Bool:
		return &query.In{Attr: t.attr.ID, Values: []schema.Value{schema.BoolValue(v.code != 0)}}
	}
	text := s.Text(t.attr.ID, int64(v.code))
	if t.attr.Kind == schema.Set {
		return &query.SetHas{Attr: t.attr.ID, Values: []string{text}}
	}
	return &query.In{Attr: t.attr.ID, Values: []schema.Value{schema.StringValue(text)}}
}

// dayBegins and dayEnds return the first and the last millisecond of a day; what has no end
// stays so.
func dayBegins(day int64) int64 {
	if day == math.MinInt64 {
		return day
	}
	return day * msPerDay
}

func dayEnds(day int64) int64 {
	if day == math.MaxInt64 {
		return day
	}
	return day*msPerDay + msPerDay - 1
}

// quotedName is a name as a cell has it: nothing that somebody called so is taken for
// something else.
func quotedName(name string) string {
	plain := name != "" && !slices.Contains([]string{segmentCell, baseCell, restCell}, name)
	for _, r := range name {
		plain = plain && (r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127)
	}
	if plain {
		return name
	}
	return quote(name)
}

// quotedText is a text that somebody wrote as a cell has it.
func quotedText(text string) string {
	if text == "" || strings.HasPrefix(text, "(") || strings.Contains(text, `"`) {
		return quote(text)
	}
	return text
}
