package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// BesideVisitor does something with a chunk's people of two expressions: those of the study
// are the chunk's.
type BesideVisitor func(ctx context.Context, c *StudyChunk, beside bitmap.Set) error

// EachBeside is [Study.Each] with the people of another condition (nil: everybody). It goes
// through the chunks that have any of either.
func (s *Study) EachBeside(ctx context.Context, other *StudyTest, visit func() BesideVisitor) (Answer, error) {
	t, err := runAll(ctx, s.view, s.who, s.Options, false, func() visitor {
		each, room := visit(), new(stepRoom)
		return func(ctx context.Context, w *worker) error {
			r, err := w.members(ctx, s.who)
			if err != nil {
				return err
			}
			c := &StudyChunk{Number: w.chunk, People: *w.hold(r.yes), s: s, w: w, stepRoom: room}
			beside := w.live
			if other != nil {
				if beside, err = c.True(ctx, other, w.live); err != nil {
					return err
				}
			}
			if c.People.IsEmpty() && beside.IsEmpty() {
				return nil
			}
			return each(ctx, c, beside)
		}
	})
	return t.answer(), err
}

// StudyCodes is a coded attribute made ready to be counted by value.
type StudyCodes struct {
	Codes []uint32 // all that anybody ever had, ascending

	attr schema.Attribute
	rows float64 // what it costs to ask for the people of each code in a chunk, in ns
}

// What counting by value costs, measured.
const (
	nsRow       = 150.0 // a row is found, and counted where it is dense
	nsRowMember = 0.7   // a member of a sparse row is looked up
	nsGather    = 3.5   // a person's code is looked up and counted
	nsGatherSet = 80.0  // a person's elements are
)

// Codes makes a coded attribute ready to be counted by value.
func (s *Study) Codes(attr schema.AttrID) (*StudyCodes, error) {
	a, err := attribute(s.Schema(), attr)
	if err != nil {
		return nil, err
	}
	out := &StudyCodes{attr: a}
	add := func(code uint32, _ string) bool {
		people, _ := s.view.RowCount(attr, code)
		out.Codes = append(out.Codes, code)
		out.rows += nsRow
		if each := float64(people) / float64(max(1, s.view.Chunks())); each <= bitmap.MaxSparse {
			out.rows += each * nsRowMember
		}
		return true
	}
	if a.Kind == schema.Bool {
		add(0, "")
		add(1, "")
	} else {
		s.view.Codes(attr, add)
	}
	return out, nil
}

// CodeTally is how many people have each code, and how many none.
type CodeTally struct {
	ByCode []uint64
	None   uint64
}

// Add adds another.
func (t *CodeTally) Add(o *CodeTally) {
	if n := len(o.ByCode); n > 0 {
		t.ByCode = reach(t.ByCode, uint32(n-1))
	}
	for code, n := range o.ByCode {
		t.ByCode[code] += n
	}
	t.None += o.None
}

// Everybody returns how many of everybody have each code; ok is false if that is not known
// without reading.
func (s *Study) Everybody(of *StudyCodes) (t CodeTally, ok bool) {
	if !s.planner.p.isExact {
		return t, false
	}
	present, ok := s.view.ExistsCount(of.attr.ID)
	for _, code := range of.Codes {
		n, exact := s.view.RowCount(of.attr.ID, code)
		ok = ok && exact
		t.ByCode = reach(t.ByCode, code)
		t.ByCode[code] = n
	}
	t.None = s.planner.p.living - present
	return t, ok
}

// CountCodes adds to each tally how many of a group have each code of an attribute. It asks
// for the people of each code, or each person's, whichever costs less.
func (c *StudyChunk) CountCodes(ctx context.Context, of *StudyCodes, groups []bitmap.Set, to []CodeTally) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	people := 0
	for _, g := range groups {
		people += g.Count()
	}
	each := nsGather
	if of.attr.Kind == schema.Set {
		each = nsGatherSet
	}
	if of.rows < each*float64(people) {
		return c.countRows(ctx, of, groups, to)
	}
	counts := &c.counts
	for i, g := range groups {
		counts.attr, counts.byCode, counts.none = of.attr, to[i].ByCode, 0
		err := c.w.gather.each(ctx, g, func(ords []uint16) error { return counts.count(c.w.cur, c.Number, ords) })
		if err != nil {
			return err
		}
		to[i].ByCode = counts.byCode
		to[i].None += counts.none
	}
	return nil
}

func (c *StudyChunk) countRows(ctx context.Context, of *StudyCodes, groups []bitmap.Set, to []CodeTally) error {
	defer c.w.release(c.w.used)
	row, scratch := c.w.grab(), c.w.grab()
	for k, code := range of.Codes {
		if k%batchSize == batchSize-1 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		set, err := c.w.cur.Row(of.attr.ID, code, c.Number, row)
		if err != nil {
			return err
		}
		if set.Form == bitmap.Empty {
			continue
		}
		for i, g := range groups {
			if n := bitmap.CountAnd([]bitmap.Set{set, g}, scratch); n > 0 {
				to[i].ByCode = reach(to[i].ByCode, code)
				to[i].ByCode[code] += uint64(n)
			}
		}
	}
	any, err := c.w.cur.Exists(of.attr.ID, c.Number, row)
	if err != nil {
		return err
	}
	for i, g := range groups {
		to[i].None += uint64(g.Count() - bitmap.CountAnd([]bitmap.Set{any, g}, scratch))
	}
	return nil
}

// Present returns how many of within have a value of an attribute.
func (c *StudyChunk) Present(attr schema.AttrID, within bitmap.Set) (int, error) {
	defer c.w.release(c.w.used)
	any, err := c.w.cur.Exists(attr, c.Number, c.w.grab())
	if err != nil {
		return 0, err
	}
	return bitmap.CountAnd([]bitmap.Set{any, within}, c.w.grab()), nil
}

// Ordered calls f with the ordered forms of an attribute of some people, ok where there is
// one, some of them at a time. Who they are ascends.
func (c *StudyChunk) Ordered(ctx context.Context, attr schema.AttrID, who []uint16, f func(n []int64, ok []bool)) error {
	for len(who) > 0 {
		part := who[:min(len(who), batchSize)]
		who = who[len(part):]
		n, ok := c.w.gather.intsFor(len(part))
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.w.cur.GatherInts(attr, c.Number, part, n, ok); err != nil {
			return err
		}
		f(n, ok)
	}
	return nil
}

// Counted makes an event list ready to be counted, of which events from <= time < to are
// wanted, in ms.
func (s *Study) Counted(e *Events, from, to int64) (*StudyList, error) {
	l, _, err := s.planner.list(e, window{from, to})
	if err != nil {
		return nil, err
	}
	l.scan.Runs = l.isStored()
	return &StudyList{Event: l.view.event, list: l}, nil
}

// Counts calls f for each of some groups with how many events of a list those have who have
// any. Nobody is in two groups.
func (c *StudyChunk) Counts(ctx context.Context, l *StudyList, groups []bitmap.Set, f func(group int, n []int64)) error {
	if l.list.none {
		return nil
	}
	defer c.w.release(c.w.used)
	all := bitmap.Set{}
	for _, g := range groups {
		all = bitmap.Or(all, g, c.w.grab())
	}
	e := c.w.eventsOf(&all)
	defer e.release(e.mark())
	if c.acts == nil {
		c.acts = make([]uint32, bitmap.ChunkSize)
	}
	who, some := c.w.cleared(), c.w.grab()
	err := c.w.inParts(&all, func(within *bitmap.Set) error { // memory runs out before the first event, if it does
		return c.w.eachEvent(ctx, l.list, within, func(h *hits) error {
			for _, k := range h.at {
				o, n := h.Ords[k], uint32(1)
				if h.Counts != nil {
					n = uint32(h.Counts[k])
				}
				who.SetBit(o)
				c.acts[o] += n
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for i, g := range groups {
		c.ords = bitmap.And(bitmap.FromWords(who), g, some).AppendTo(c.ords[:0])
		c.ints = grow(c.ints, len(c.ords))
		for k, o := range c.ords {
			c.ints[k] = int64(c.acts[o])
		}
		f(i, c.ints)
	}
	c.ords = bitmap.FromWords(who).AppendTo(c.ords[:0])
	for _, o := range c.ords {
		c.acts[o] = 0 // for the next list
	}
	return nil
}
