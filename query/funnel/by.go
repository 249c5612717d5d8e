package funnel

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// touch says whose property people are split by: of which of an entry's events.
type touch uint8

const (
	firstTouch touch = iota
	lastTouch
	stepTouch
)

// split is what people are split by.
type split struct {
	name  string
	touch touch
	field *query.StudyField // of a person; nil: a property
	kind  schema.Attribute
	top   int

	labels []string      // of the top values, once they are known
	places map[value]int // of these, from 1
}

// value tells the values from each other.
type value struct {
	n    int64
	text string // of strings
}

// splitBy reads --by and what belongs to it.
func (f *funnel) splitBy(s *query.Study, args query.Arguments) error {
	text := args.One("by")
	t := touch(slices.Index([]string{"first", "last", "step"}, args.One("touch")))
	name, isProperty := strings.CutPrefix(text, "e.")
	if t != firstTouch && !isProperty {
		return &query.Error{Code: query.CodeInvalid, Message: "--touch " + args.One("touch") + " is of a property of an event", Hint: "such as --by e.channel"}
	}
	if text == "" {
		return nil
	}
	top, err := strconv.Atoi(args.One("top"))
	if rows := (top + 2) * len(f.texts); err != nil || top > MaxRows || rows > MaxRows {
		return query.Errorf(query.CodeLimit, "--top %s: of %d steps that is more than %d rows", args.One("top"), len(f.texts), MaxRows)
	}
	f.by = &split{name: text, touch: t, top: top}
	if isProperty {
		return f.splitByProperty(name)
	}
	field, err := s.Compiler().Field(text)
	switch {
	case err == nil && field.Kind == schema.Set:
		return query.Errorf(query.CodeType, "--by: %s is a set: who has two of its elements would count twice", text)
	case err == nil:
		f.by.field, f.by.kind = s.Field(field), field.Attribute
		return nil
	case f.lists[0].Event.Lookup(text) != nil:
		return &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("--by: there is no attribute %q", text), Hint: fmt.Sprintf("the property of %s is written e.%s", f.lists[0].Event.Name, text)}
	}
	return fmt.Errorf("--by: %w", err)
}

func (f *funnel) splitByProperty(name string) error {
	if f.held {
		if p := f.lists[0].Event.Lookup(name); p == nil || p.ID != f.values[0] {
			return &query.Error{Code: query.CodeInvalid, Message: "where a property is held, only that one can be split by", Hint: "leave out --hold, or name the same property in both"}
		}
	}
	kind, err := f.read(name, func(i int) bool {
		return f.held || f.step[i] >= 0 && !f.ends[i] && (f.by.touch != firstTouch || f.step[i] == 0 || f.order == anyOrder)
	})
	if err != nil {
		return fmt.Errorf("--by: %w", err)
	}
	f.by.kind = *kind
	return nil
}

// text returns what a value is called.
func (s *split) text(v value) string {
	if s.kind.Kind == schema.String {
		return v.text
	}
	return schema.FromOrdered(s.kind.Kind, s.kind.Scale, v.n).String()
}

// groupName is what a group is called.
func (s *split) groupName(group int) string {
	switch {
	case group == 0:
		return query.NoneValue
	case group <= len(s.labels):
		return s.labels[group-1]
	}
	return query.OtherValues
}

// cellPart is that as a part of a cell's name.
func (s *split) cellPart(group int) string {
	if group > 0 && group <= len(s.labels) {
		return query.CellPart(s.labels[group-1])
	}
	return s.groupName(group)
}

// find returns the group whose cells have a label.
func (s *split) find(label string, groups []*counts) (int, error) {
	e := query.Errorf(query.CodeInvalid, "nobody of this funnel is in a group %q of --by %s", label, s.name)
	var known []string
	for group, c := range groups {
		switch {
		case c.isEmpty():
		case s.cellPart(group) == label:
			return group, nil
		default:
			known = append(known, s.cellPart(group))
		}
	}
	if e.Hint = query.DidYouMean(label, known); e.Hint == "" && len(known) > 0 {
		e.Hint = fmt.Sprintf("such as %q", known[0])
	}
	return 0, e
}

// codes tells the codes of a string property of several event types, which have a dictionary
// each, by those of the first. What that one never had gets a number below all codes.
type codes struct {
	study *query.Study
	first schema.AttrID
	known map[code]int64
	texts map[string]int64 // that the first one never had
	names []string         // these
}

type code struct {
	attr schema.AttrID
	code int64
}

func newCodes(s *query.Study, f *funnel) codes {
	c := codes{study: s, known: map[code]int64{}, texts: map[string]int64{}}
	for _, id := range f.values {
		if c.first == 0 {
			c.first = id
		}
	}
	return c
}

func (c *codes) of(from code) int64 {
	if from.attr == c.first || from.code == query.NoValue {
		return from.code
	}
	n, ok := c.known[from]
	if !ok {
		text := c.study.Text(from.attr, from.code)
		if n, ok = c.study.Code(c.first, text); !ok {
			if n, ok = c.texts[text]; !ok {
				n = -1 - int64(len(c.names))
				c.texts[text], c.names = n, append(c.names, text)
			}
		}
		c.known[from] = n
	}
	return n
}

func (c *codes) text(n int64) string {
	if n < 0 {
		return c.names[-1-n]
	}
	return c.study.Text(c.first, n)
}

// clear forgets what it knows: there may be as many as events.
func (c *codes) clear() {
	clear(c.known)
	clear(c.texts)
	c.names = c.names[:0]
}

// compare compares two values of the property by which entries are told, none of them absent.
func (v *visitor) compare(a, b int64) int {
	if a == b || !v.coded {
		return cmp.Compare(a, b)
	}
	return strings.Compare(v.codes.text(a), v.codes.text(b))
}

// groups numbers the values that a worker meets: 0 is no value. Once the top values are
// known, the number after them is all others.
type groups struct {
	ids    map[value]int
	values []value // by number, but for 0
	codes  map[int64]int
	people []int32 // by who: the group of the person
	byCode []int32 // by code of an attribute: the group; 0: it was not met yet
	bytes  int64   // that are kept and not yet taken from the store

	staying []uint64 // by group: people of the chunk who have come to the first step only
}

// valueBytes is what one value takes in a map that may be half full, and in a list.
const valueBytes = 2*(24+8+1) + 2*24

// group returns the number of a value.
func (v *visitor) group(x value) int {
	if v.by.places != nil {
		if id, ok := v.by.places[x]; ok {
			return id
		}
		return len(v.by.labels) + 1
	}
	g := &v.groups
	id, ok := g.ids[x]
	if !ok {
		x.text = strings.Clone(x.text) // it may be a part of many
		g.values = append(g.values, x)
		id = len(g.values)
		g.ids[x] = id
		g.bytes += valueBytes + int64(len(x.text))
	}
	return id
}

// groupPeople finds the groups of people by what they are.
func (v *visitor) groupPeople(ctx context.Context, c *query.StudyChunk, within bitmap.Set) error {
	if v.by == nil || v.by.field == nil {
		return nil
	}
	if v.groups.people == nil {
		v.groups.people = make([]int32, bitmap.ChunkSize)
	}
	clear(v.groups.people)
	if a := &v.by.field.Attribute; v.by.field.Formula == nil && a.Coded() {
		return v.groupCodes(ctx, c, a, c.Who(within))
	}
	return c.Values(ctx, v.by.field, within, func(who uint16, x schema.Value) error {
		switch {
		case x.IsAbsent():
		case x.Kind() == schema.String:
			v.groups.people[who] = int32(v.group(value{text: x.Str()}))
		default:
			v.groups.people[who] = int32(v.group(value{n: x.Ordered()}))
		}
		if v.groups.bytes <= query.KeptAtOnce {
			return nil
		}
		bytes := v.groups.bytes
		v.groups.bytes = 0
		return c.Keep(bytes)
	})
}

// groupCodes finds the groups of people by a coded attribute: each code is looked up once.
func (v *visitor) groupCodes(ctx context.Context, c *query.StudyChunk, a *schema.Attribute, who []uint16) error {
	g, at := &v.groups, 0
	return c.Codes(ctx, a.ID, who, func(codes []uint32) {
		for _, code := range codes {
			if o := who[at]; code != schema.NoCode {
				g.people[o] = v.groupOfCode(a, code)
			}
			at++
		}
	})
}

func (v *visitor) groupOfCode(a *schema.Attribute, code uint32) int32 {
	g := &v.groups
	if had := len(g.byCode); int(code) >= had {
		g.byCode = append(g.byCode, make([]int32, int(code)+1-had)...)
		g.bytes += 2 * 4 * int64(len(g.byCode)-had) // and the room that it grows by
	}
	if g.byCode[code] == 0 {
		x := value{n: int64(code)}
		if a.Kind == schema.String {
			x = value{text: v.codes.study.Text(a.ID, int64(code))}
		}
		g.byCode[code] = int32(v.group(x))
	}
	return g.byCode[code]
}

// groupOf returns the group of an entry as to the step it has come to.
func (v *visitor) groupOf(who uint16, steps []query.Step, e *entry, k int) int {
	switch {
	case v.by == nil:
		return 0
	case v.by.field != nil:
		return int(v.groups.people[who])
	case v.by.touch == firstTouch:
		k = 0
	case v.by.touch == lastTouch:
		k = len(e.took) - 1
	}
	n := v.valueAt(steps, e, k)
	switch {
	case n == query.NoValue:
		return 0
	case !v.coded:
		return v.group(value{n: n})
	}
	id, ok := v.groups.codes[n]
	if !ok {
		id = v.group(value{text: v.codes.text(n)})
		v.groups.codes[n] = id
	}
	return id
}

// valueAt returns the property of the event by which an entry came to a step: of several at
// that time the first in order that there is.
func (v *visitor) valueAt(steps []query.Step, e *entry, k int) int64 {
	if v.held {
		return e.value
	}
	t, best := e.began+e.took[k], int64(query.NoValue)
	at, _ := slices.BinarySearchFunc(steps, t, func(s query.Step, t int64) int { return cmp.Compare(s.Time, t) })
	for ; at < len(steps) && steps[at].Time == t; at++ {
		s := steps[at]
		if v.ends[s.List] || s.Value == query.NoValue || v.order != anyOrder && v.step[s.List] != k {
			continue
		}
		if best == query.NoValue || v.compare(s.Value, best) < 0 {
			best = s.Value
		}
	}
	return best
}

// rank finds the top values, and returns what was counted of them, the others and none.
func (f *funnel) rank(parts []*visitor) ([]*counts, error) {
	total, none := map[value]*counts{}, f.newCounts()
	for _, v := range parts {
		none.add(v.of(0))
		for i, x := range v.groups.values {
			if total[x] == nil {
				total[x] = f.newCounts()
			}
			total[x].add(v.of(i + 1))
		}
	}
	type ranked struct {
		value
		first uint64
	}
	list := make([]ranked, 0, len(total))
	for x, c := range total {
		list = append(list, ranked{x, c.entries[0]})
	}
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.first, a.first), strings.Compare(a.text, b.text), cmp.Compare(a.n, b.n))
	})
	f.by.places = map[value]int{}
	out, other := []*counts{none}, f.newCounts()
	for i, x := range list {
		if i < f.by.top {
			f.by.labels = append(f.by.labels, f.by.text(x.value))
			f.by.places[x.value] = i + 1
			out = append(out, total[x.value])
		} else {
			other.add(total[x.value])
		}
	}
	return append(out, other), nil
}
