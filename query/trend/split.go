package trend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// value tells the values of one property or attribute from each other.
type value struct {
	n    int64  // the code or the ordered form
	text string // of strings that have no code
}

// split is one of the things by which numbers are split.
type split struct {
	name     string
	property *schema.Attribute // nil: it is of the person
	field    *query.StudyField
	kind     schema.Attribute

	labels []string // of the top values
	place  byValue  // of the top values, from 1
}

// Groups of one split: the top values, then the others, then no value.
func (s *split) other() int { return len(s.labels) }
func (s *split) none() int  { return len(s.labels) + 1 }
func (s *split) size() int  { return len(s.labels) + 2 }

// of returns the group of a value.
func (s *split) of(v value) int {
	if p := s.place.at(v); p > 0 {
		return int(p) - 1
	}
	return s.other()
}

// byValue is a number for each value. Codes and other small numbers are looked up without hashing.
type byValue struct {
	small []uint64
	rest  map[value]uint64
}

// smallValues is how many codes are looked up in a list.
const smallValues = 1 << 16

func (b *byValue) at(v value) uint64 {
	if uint64(v.n) < smallValues && v.text == "" {
		if int(v.n) < len(b.small) {
			return b.small[v.n]
		}
		return 0
	}
	return b.rest[v]
}

// add adds to a value's number and returns how many bytes more that takes.
func (b *byValue) add(v value, n uint64) (bytes int64) {
	if uint64(v.n) < smallValues && v.text == "" {
		if had := len(b.small); int(v.n) >= had {
			b.small = append(b.small, make([]uint64, int(v.n)+1-had)...)
			bytes = 2 * 8 * int64(len(b.small)-had) // and the room that it grows by
		}
		b.small[v.n] += n
		return bytes
	}
	had, ok := b.rest[v]
	if !ok {
		if b.rest == nil {
			b.rest = map[value]uint64{}
		}
		v.text = strings.Clone(v.text) // it may be a part of many
		bytes = valueBytes + int64(len(v.text))
	}
	b.rest[v] = had + n
	return bytes
}

// valueBytes is what one value takes in a map that is half full.
const valueBytes = 2 * (24 + 8 + 1)

// all returns what has a number.
func (b *byValue) all() map[value]uint64 {
	out := map[value]uint64{}
	maps.Copy(out, b.rest)
	for n, count := range b.small {
		if count > 0 {
			out[value{n: int64(n)}] = count
		}
	}
	return out
}

// newSplit reads a --by.
func newSplit(s *query.Study, event *schema.Event, text string) (*split, error) {
	out := &split{name: text}
	if name, ok := strings.CutPrefix(text, "e."); ok {
		p, err := query.LookupProperty(event, name)
		if err != nil {
			return nil, fmt.Errorf("--by: %w", err)
		}
		out.property, out.kind = p, *p
		return out, nil
	}
	field, err := s.Compiler().Field(text)
	if err != nil {
		if event.Lookup(text) != nil {
			return nil, &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("--by: there is no attribute %q", text), Hint: fmt.Sprintf("the property of %s is written e.%s", event.Name, text)}
		}
		return nil, fmt.Errorf("--by: %w", err)
	}
	if field.Kind == schema.Set {
		return nil, query.Errorf(query.CodeType, "--by: %s is a set: who has two of its elements would count twice", text)
	}
	out.field, out.kind = s.Field(field), field.Attribute
	return out, nil
}

// text returns what a value is to be called.
func (s *split) text(study *query.Study, v value) string {
	switch {
	case s.kind.Kind == schema.String && s.property != nil:
		return study.Text(s.property.ID, v.n)
	case s.kind.Kind == schema.String:
		return v.text
	}
	return schema.FromOrdered(s.kind.Kind, s.kind.Scale, v.n).String()
}

// eachPerson calls f with the value of everybody in within who has one.
func (s *split) eachPerson(ctx context.Context, c *query.StudyChunk, within bitmap.Set, f func(who uint16, v value) error) error {
	return c.Values(ctx, s.field, within, func(who uint16, v schema.Value) error {
		if v.IsAbsent() {
			return nil
		}
		return f(who, value{v.Ordered(), v.Str()})
	})
}

// ranking counts events by value, on one worker.
type ranking struct {
	*trend
	list   *query.StudyList
	counts []byValue // by split
	events *[bitmap.ChunkSize]uint64
}

// rank finds the top values of every split: those of the most events in the periods shown.
func (t *trend) rank(ctx context.Context, s *query.Study) error {
	shown := t.periods[len(t.periods)-t.shown:]
	list, err := t.read(s, shown[0].from, shown[len(shown)-1].to)
	if err != nil {
		return err
	}
	var all []*ranking
	_, err = s.Each(ctx, func() query.ChunkVisitor {
		r := &ranking{trend: t, list: list, counts: make([]byValue, len(t.by)), events: new([bitmap.ChunkSize]uint64)}
		all = append(all, r)
		return r.chunk
	})
	if err != nil {
		return err
	}
	for i, by := range t.by {
		total := map[value]uint64{}
		for _, r := range all {
			for v, n := range r.counts[i].all() {
				total[v] += n
			}
		}
		if err := by.limit(len(total)); err != nil {
			return err
		}
		by.choose(s, total, t.top)
	}
	return nil
}

// choose keeps the top values; of equal ones, those that come first in order.
func (s *split) choose(study *query.Study, total map[value]uint64, top int) {
	type counted struct {
		value
		text  string
		count uint64
	}
	list := make([]counted, 0, len(total))
	for v, n := range total {
		list = append(list, counted{v, s.text(study, v), n})
	}
	coded := s.kind.Kind == schema.String
	slices.SortFunc(list, func(a, b counted) int {
		if a.count != b.count {
			return cmp.Compare(b.count, a.count)
		}
		if coded {
			return strings.Compare(a.text, b.text)
		}
		return cmp.Compare(a.n, b.n)
	})
	for i, v := range list[:min(top, len(list))] {
		s.labels = append(s.labels, v.text)
		s.place.add(v.value, uint64(i)+1)
	}
}

func (s *split) limit(values int) error {
	if values > query.MaxBreakdownValues {
		return query.Errorf(query.CodeLimit, "--by: %s has more than %d values", s.name, query.MaxBreakdownValues)
	}
	return nil
}

// chunk counts the events of one chunk.
func (r *ranking) chunk(ctx context.Context, c *query.StudyChunk) error {
	var bytes int64
	*r.events = [bitmap.ChunkSize]uint64{}
	who := new(bitmap.Words)
	err := c.Events(ctx, r.list, &c.People, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			r.events[e.Who(i)]++
			who.SetBit(e.Who(i))
		}
		for k, by := range r.by {
			if by.property == nil {
				continue
			}
			number, err := e.Numbers(by.property.ID)
			if err != nil {
				return err
			}
			for i := range e.Len() {
				if n := number(i); n != query.NoValue {
					bytes += r.counts[k].add(value{n: n}, 1)
				}
			}
			if err := by.limit(len(r.counts[k].rest)); err != nil {
				return err
			}
		}
		return nil
	})
	for k, by := range r.by {
		if by.property != nil || err != nil {
			continue
		}
		err = by.eachPerson(ctx, c, bitmap.FromWords(who), func(who uint16, v value) error {
			if bytes += r.counts[k].add(v, r.events[who]); bytes > query.KeptAtOnce {
				if err := c.Keep(bytes); err != nil {
					return err
				}
				bytes = 0
			}
			return by.limit(len(r.counts[k].rest))
		})
	}
	if err == nil {
		err = c.Keep(bytes)
	}
	return err
}

// names returns what the group of each split is called, as texts and as a part of a cell's
// name.
func (t *trend) names(group int) (texts, cell []string) {
	places := make([]int, len(t.by))
	for i := len(t.by) - 1; i >= 0; i-- {
		places[i] = group % t.by[i].size()
		group /= t.by[i].size()
	}
	for i, by := range t.by {
		switch places[i] {
		case by.other():
			texts, cell = append(texts, query.OtherValues), append(cell, query.OtherValues)
		case by.none():
			texts, cell = append(texts, query.NoneValue), append(cell, query.NoneValue)
		default:
			text := by.labels[places[i]]
			texts, cell = append(texts, text), append(cell, query.CellPart(text))
		}
	}
	return texts, cell
}
