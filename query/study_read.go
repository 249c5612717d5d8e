package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// StudyEvents are some events of a list, all of one block. What it gives is valid during the
// call that it is handed to.
type StudyEvents struct {
	h *hits
	l *StudyList
}

// Len returns how many they are.
func (e *StudyEvents) Len() int { return len(e.h.at) }

// Who returns whose event i is.
func (e *StudyEvents) Who(i int) uint16 { return e.h.Ords[e.h.at[i]] }

// Time returns the time of event i, in ms UTC.
func (e *StudyEvents) Time(i int) int64 { return e.h.Times[e.h.at[i]] }

// Numbers returns what tells the value of a property that the list reads, by the event; see
// [StudyList.Read]. Who has none has NoValue.
func (e *StudyEvents) Numbers(id schema.AttrID) (func(i int) int64, error) {
	number, err := e.h.numbers(e.l, id)
	return func(i int) int64 { return number(int(e.h.at[i])) }, err
}

// Measures calls f with the list's measure of each event that has one: as an int or the
// ordered form of a decimal, or as a float; see [Study.Measure].
func (e *StudyEvents) Measures(f func(i int, n int64, x float64)) error {
	done := 0
	return e.h.values(e.l.measure, e.h.at, func(at []uint16, v *vector) {
		for k := range at {
			if v.st[k] == stateOK {
				f(done+k, v.n[k], v.f[k])
			}
		}
		done += len(at)
	})
}

// Columns returns whose all events are and their times, and the list's measures, if each
// event has one that is a property kept as a number; else nil.
func (e *StudyEvents) Columns() (who []uint16, times, measures []int64) {
	h := e.h
	if e.l.measure != nil {
		measures = h.ints(e.l.measure)
	}
	if h.isAll {
		return h.Ords, h.Times, measures
	}
	c := &h.chosen
	c.who, c.times, c.measures = c.who[:0], c.times[:0], c.measures[:0]
	for _, k := range h.at {
		c.who, c.times = append(c.who, h.Ords[k]), append(c.times, h.Times[k])
	}
	if measures == nil {
		return c.who, c.times, nil
	}
	for _, k := range h.at {
		c.measures = append(c.measures, measures[k])
	}
	return c.who, c.times, c.measures
}

// chosenEvents are columns of the events of a block that are in a list.
type chosenEvents struct {
	who             []uint16
	times, measures []int64
}

// Measure makes ready the list of a fold, of which events from <= time < to are wanted, with
// what is folded of each event as its measure. Its kind is an int, a decimal or a float.
func (s *Study) Measure(f *Fold, from, to int64) (*StudyList, error) {
	c := &arithCompiler{b: s.planner, at: f.List.Span}
	l, over, err := s.planner.list(f.List, window{from, to})
	if err != nil {
		return nil, err
	}
	if err := l.needArith(f.Of); err != nil {
		return nil, err
	}
	term, typ, err := (&arithCompiler{b: over, at: c.at}).compile(f.Of)
	if err != nil {
		return nil, err
	}
	return &StudyList{Event: l.view.event, Kind: typ.kind, Scale: typ.scale, list: l, measure: term}, l.need(schema.TimeProperty)
}

// Events calls f with the events of a list, of those within only, block by block. Blocks
// are in no order, the events of one block and person in order of time.
func (c *StudyChunk) Events(ctx context.Context, l *StudyList, within *bitmap.Set, f func(e *StudyEvents) error) error {
	e := c.w.eventsOf(within)
	defer e.release(e.mark())
	return c.w.inParts(within, func(within *bitmap.Set) error { // memory runs out before the first event, if it does
		return c.w.eachEvent(ctx, l.list, within, func(h *hits) error { return f(&StudyEvents{h, l}) })
	})
}

// StudyField is an attribute, or an expression, that a study can read of people.
type StudyField struct{ Field }

// Field makes a field ready.
func (s *Study) Field(f Field) *StudyField { return &StudyField{f} }

// KeptAtOnce is how many bytes a visitor may have put aside before it takes them with
// [StudyChunk.Keep]: where it keeps texts, before the chunk's end.
const KeptAtOnce = 1 << 20

// Values calls f with the values of a field of the people of a set, in ascending order. A
// text may be a part of many: who keeps it clones it.
func (c *StudyChunk) Values(ctx context.Context, of *StudyField, within bitmap.Set, f func(who uint16, v schema.Value) error) error {
	r, err := c.reader(ctx, of)
	if err != nil {
		return err
	}
	c.ords = within.AppendTo(c.ords[:0])
	defer func() { clear(c.values) }()
	size := batchOf([]schema.Attribute{of.Attribute})
	for rest := c.ords; len(rest) > 0; {
		part := rest[:min(len(rest), size)]
		rest = rest[len(part):]
		c.values = grow(c.values, len(part))
		if err := r.read(ctx, c.w, part, c.values, 1); err != nil {
			return err
		}
		for i, who := range part {
			if err := f(who, c.values[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// reader returns the worker's reader of a field.
func (c *StudyChunk) reader(ctx context.Context, of *StudyField) (*fieldReader, error) {
	r := c.fields[of]
	if r == nil {
		var err error
		if r, err = newFieldReader(ctx, c.s.view, &of.Field); err != nil {
			return nil, err
		}
		if c.fields == nil {
			c.fields = map[*StudyField]*fieldReader{}
		}
		c.fields[of] = r
	}
	return r, nil
}

// StudyTest is a condition that a study can ask of people.
type StudyTest struct {
	p     *Prepared
	found []found
}

// Test makes a condition ready.
func (s *Study) Test(n Node) (*StudyTest, error) {
	p, err := Prepare(s.ctx, n, s.view)
	if err != nil {
		return nil, err
	}
	found, err := p.lookUp(s.ctx, s.view)
	return &StudyTest{p, found}, err
}

// Condition makes the condition ready that a text says.
func (s *Study) Condition(text string) (*StudyTest, error) {
	n, err := s.compiler.Node(text)
	if err != nil {
		return nil, err
	}
	return s.Test(n)
}

// True returns for whom of a set a condition is true; it is valid until the chunk's end.
func (c *StudyChunk) True(ctx context.Context, t *StudyTest, within bitmap.Set) (bitmap.Set, error) {
	w := c.w
	stats, found := w.stats, w.found
	w.stats, w.found = make([]nodeStats, len(t.p.ops)), t.found
	r, err := w.eval(ctx, t.p.root, w.hold(within))
	w.stats, w.found = stats, found
	if err != nil {
		return bitmap.Set{}, err
	}
	return bitmap.And(r.yes, within, w.grab()), nil
}
