package query

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
)

// gathered are numbers of the events of one chunk, to be had by profile.
type gathered struct {
	slots *slots
	who   bitmap.Words // who has any
	order []uint16     // who, ascending; once sorted

	nums []int64 // as they were added
	at   []uint16
	last int // whose number was added last, -1: nobody's
	slot int // of the last

	apart  bool     // somebody's numbers were not added one after the other
	from   []uint32 // by slot, of those in who: where in sorted the numbers begin
	count  []uint32 // and how many there are
	sorted []int64
	room   []int64 // for sorted, if it is not nums
}

const (
	// gatheredBytes is what one number takes: itself, its slot, and its place in sorted.
	gatheredBytes = 8 + 2 + 8

	// gatheredKept is up to how many numbers the memory is kept for the next chunk: with
	// more, a list that was large once would hold it as long as the worker lives.
	gatheredKept = 1 << 19
)

func (g *gathered) reset(s *slots) {
	if cap(g.nums) > gatheredKept {
		g.nums, g.at, g.room = nil, nil, nil
	}
	g.slots = s
	g.who.Clear()
	g.order, g.nums, g.at, g.sorted = g.order[:0], g.nums[:0], g.at[:0], nil
	g.last, g.apart = -1, false
	g.from, g.count = grow(g.from, s.n), grow(g.count, s.n)
}

func (g *gathered) add(o uint16, n int64) {
	if int(o) != g.last {
		g.last, g.slot = int(o), g.slots.of(o)
		if g.who.Has(o) {
			g.apart = true
		} else {
			g.who.SetBit(o)
			g.from[g.slot], g.count[g.slot] = uint32(len(g.nums)), 0
		}
	}
	g.count[g.slot]++
	g.nums, g.at = append(g.nums, n), append(g.at, uint16(g.slot))
}

// addOnce adds a number unless it was the last one added.
func (g *gathered) addOnce(o uint16, n int64) {
	if int(o) != g.last || g.nums[len(g.nums)-1] != n {
		g.add(o, n)
	}
}

// sort puts the numbers of each profile together, and in ascending order.
func (g *gathered) sort() {
	g.order = bitmap.Set{Form: bitmap.Dense, Words: &g.who}.AppendTo(g.order[:0])
	if g.sorted = g.nums; g.apart {
		g.scatter()
	}
	for _, o := range g.order {
		if own := g.of(o); len(own) > 1 && !slices.IsSorted(own) {
			slices.Sort(own)
		}
	}
}

func (g *gathered) scatter() {
	at := uint32(0)
	for _, o := range g.order {
		slot := g.slots.of(o)
		g.from[slot] = at
		at += g.count[slot]
	}
	g.room = grow(g.room, len(g.nums))
	g.sorted = g.room
	for i, slot := range g.at {
		g.sorted[g.from[slot]] = g.nums[i]
		g.from[slot]++ // until it is where the numbers end
	}
	for _, o := range g.order {
		slot := g.slots.of(o)
		g.from[slot] -= g.count[slot]
	}
}

// of returns a profile's numbers.
func (g *gathered) of(o uint16) []int64 { return g.ofSlot(o, g.slots.of(o)) }

// ofSlot is of for who knows the slot.
func (g *gathered) ofSlot(o uint16, slot int) []int64 {
	if !g.who.Has(o) {
		return nil
	}
	return g.sorted[g.from[slot]:][:g.count[slot]]
}

// gatherEvents adds to g what f finds in the events of a list, and sorts it.
func (w *worker) gatherEvents(ctx context.Context, l *eventList, within *bitmap.Set, g *gathered, f func(h *hits) error) error {
	err := w.eachEvent(ctx, l, within, func(h *hits) error {
		had := len(g.nums)
		if err := f(h); err != nil {
			return err
		}
		return w.events.keep((len(g.nums) - had) * gatheredBytes)
	})
	if err == nil {
		g.sort()
	}
	return err
}

// gatherTimes gathers the times of a list.
func (w *worker) gatherTimes(ctx context.Context, l *eventList, within *bitmap.Set, g *gathered) error {
	return w.gatherEvents(ctx, l, within, g, func(h *hits) error {
		for _, k := range h.at {
			g.add(h.Ords[k], h.Times[k])
		}
		return nil
	})
}

// sequenceOp is true where there are events of each list, one after the other.
type sequenceOp struct {
	within int64
	lists  []*eventList
	order  []int // in which they are read
	near   nearby
	whole  bool // unknown conditions are counted: of all lists, whoever is left
	none   bool // a list is empty for everybody
}

func (s *sequenceOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	if s.none {
		return pair{exact: true}, nil
	}
	within, err := s.narrow(w, within)
	if err != nil || within != nil && within.Form == bitmap.Empty {
		return pair{exact: true}, err
	}
	w.eventsOf(within)
	out := w.cleared()
	err = w.inParts(within, func(within *bitmap.Set) error { return s.part(ctx, w, within, out) })
	return pair{yes: bitmap.FromWords(out), exact: true}, err
}

// part reads one list after the other, of fewer and fewer people: after each, only those
// are left whose events so far follow each other as the sequence wants.
func (s *sequenceOp) part(ctx context.Context, w *worker, within *bitmap.Set, out *bitmap.Words) error {
	if s.whole {
		for _, l := range s.lists {
			if err := w.eachEvent(ctx, l, within, func(*hits) error { return nil }); err != nil {
				return err
			}
		}
		defer func(n uint64) { w.unknownEvents = n }(w.unknownEvents)
	}
	taken := make([]*gathered, len(s.lists))
	for n, i := range s.order {
		g := w.events.gather()
		if err := w.gatherTimes(ctx, s.lists[i], within, g); err != nil {
			return err
		}
		taken[i] = g
		left := &g.who
		if n > 0 {
			left = w.cleared()
			s.matching(taken, g.order, left)
		}
		within = w.hold(bitmap.FromWords(left))
		if within.Form == bitmap.Empty {
			return nil
		}
	}
	out.Or(*within)
	return nil
}

// matching adds to out those of ords who match the lists taken so far.
func (s *sequenceOp) matching(taken []*gathered, ords []uint16, out *bitmap.Words) {
	lists := make([][]int64, 0, len(taken))
	at := make([]int, len(taken))
	for _, o := range ords {
		lists = lists[:0]
		for _, g := range taken {
			if g != nil {
				lists = append(lists, g.of(o))
			}
		}
		if follow(lists, at[:len(lists)], s.within) {
			out.SetBit(o)
		}
	}
}

// follow reports whether there are times, one of each sorted list, that ascend strictly
// and lie within some time; at is where they are then.
func follow(lists [][]int64, at []int, within int64) bool {
	clear(at)
	for k, first := range lists[0] {
		at[0] = k
		last := first
		for i := 1; i < len(lists); i++ {
			// The earliest after last. It only moves on when first does.
			for at[i] < len(lists[i]) && lists[i][at[i]] <= last {
				at[i]++
			}
			if at[i] == len(lists[i]) {
				return false
			}
			last = lists[i][at[i]]
		}
		if last-first <= within {
			return true
		}
	}
	return false
}
