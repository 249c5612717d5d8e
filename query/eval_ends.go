package query

import (
	"context"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// ends finds the first, or the last, event of each profile, and a value of it.
//
// Of two events at one time the hash of their properties decides, which means to read them
// all. So it is decided only where it makes a difference: where such events are of different
// blocks, or of one that is not sorted, and have different values. Then the profile is tied,
// and the events of the tied, at the times in question, are read again.
type ends struct {
	last   bool
	value  endValue
	who    *bitmap.Words // who has an event
	tied   *bitmap.Words
	ties   bool // somebody is or was tied
	slots  *slots
	times  []int64 // by slot
	values []int64
	states []uint8

	at []uint16 // scratch: of one block
	n  []int64
	st []uint8
}

// endValue writes the value of the events at: a number and a state.
type endValue func(ctx context.Context, h *hits, at []uint16, n []int64, st []uint8) error

// newEnds takes what it needs of the worker's buffers.
func (w *worker) newEnds(last bool, values []int64, value endValue) *ends {
	e := w.events
	return &ends{last: last, value: value, who: w.cleared(), tied: w.cleared(), slots: &e.slots, times: e.lane(), values: values, states: e.bytes.take(e.slots.n)}
}

// read finds the ends of a list.
func (e *ends) read(ctx context.Context, w *worker, l *eventList, within *bitmap.Set) error {
	how, err := w.prepareThen(ctx, l, reading{within: within})
	if err != nil {
		return err
	}
	if err := w.readEvents(ctx, l, how, func(h *hits) error { return e.add(ctx, h) }); err != nil || !e.ties {
		return err
	}
	tied := bitmap.FromWords(e.tied)
	if tied.Form == bitmap.Empty {
		return nil
	}
	return e.untie(ctx, w, l, how, tied)
}

// better reports whether time a is nearer to the end wanted than b.
func (e *ends) better(a, b int64) bool { return a < b != e.last && a != b }

func (e *ends) add(ctx context.Context, h *hits) error {
	e.at = e.at[:0]
	for i, k := range h.at {
		o := h.Ords[k]
		if h.Sorted { // of a profile's events in this block, the one at the end will do
			if !e.last && i > 0 && h.Ords[h.at[i-1]] == o || e.last && i+1 < len(h.at) && h.Ords[h.at[i+1]] == o {
				continue
			}
		}
		if !e.who.Has(o) || !e.better(e.times[e.slots.of(o)], h.Times[k]) {
			e.at = append(e.at, k)
		}
	}
	if err := e.evaluate(ctx, h); err != nil {
		return err
	}
	for i, k := range e.at {
		o, t := h.Ords[k], h.Times[k]
		slot := e.slots.of(o)
		switch {
		case !e.who.Has(o) || e.better(t, e.times[slot]):
			e.who.SetBit(o)
			e.tied.ClearBit(o)
			e.times[slot], e.values[slot], e.states[slot] = t, e.n[i], e.st[i]
		case t == e.times[slot] && (e.values[slot] != e.n[i] || e.states[slot] != e.st[i]):
			e.tied.SetBit(o)
			e.ties = true
		}
	}
	return nil
}

func (e *ends) evaluate(ctx context.Context, h *hits) error {
	e.n, e.st = grow(e.n, len(e.at)), grow(e.st, len(e.at))
	return e.value(ctx, h, e.at, e.n, e.st)
}

// untie reads the events of the tied again, with all properties, and lets the hash decide.
func (e *ends) untie(ctx context.Context, w *worker, l *eventList, how reading, tied bitmap.Set) error {
	scan := l.scan
	scan.From, scan.To = math.MaxInt64, math.MinInt64
	for _, o := range w.list(tied) {
		t := e.times[e.slots.of(o)]
		scan.From, scan.To = min(scan.From, t), max(scan.To, t+1)
	}
	properties := l.view.event.Properties
	scan.Properties = nil
	readers := make([]valueReader, len(properties))
	for i, p := range properties {
		scan.Properties = append(scan.Properties, p.ID)
		readers[i] = valueReader{view: l.view, attr: p}
	}
	how.scan, how.within = &scan, &tied
	best := make(map[uint16]uint64)
	var hash ActHash
	var rows []schema.Value
	defer func(n uint64) { w.unknownEvents = n }(w.unknownEvents) // they are read again
	return w.readEvents(ctx, l, how, func(h *hits) error {
		e.at = e.at[:0]
		for _, k := range h.at {
			if h.Times[k] == e.times[e.slots.of(h.Ords[k])] {
				e.at = append(e.at, k)
			}
		}
		if len(e.at) == 0 {
			return nil
		}
		rows = grow(rows, len(e.at)*len(properties))
		for i := range readers {
			if err := readers[i].read(h.sub.cur, 0, e.at, rows[i:], len(properties)); err != nil {
				return err
			}
		}
		if err := e.evaluate(ctx, h); err != nil {
			return err
		}
		for i, k := range e.at {
			o, sum := h.Ords[k], hash.of(properties, rows[i*len(properties):])
			if before, ok := best[o]; !ok || sum < before != e.last && sum != before {
				slot := e.slots.of(o)
				best[o], e.values[slot], e.states[slot] = sum, e.n[i], e.st[i]
			}
		}
		return nil
	})
}

// end is the value of the first or the last event.
func (t *foldTerm) end(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	e := w.newEnds(t.op == FoldLast, st.values, func(_ context.Context, h *hits, at []uint16, n []int64, states []uint8) error {
		done := 0
		return h.values(t.of, at, func(at []uint16, v *vector) {
			for i := range at {
				n[done], states[done] = 0, uint8(stateAbsent)
				if v.st[i] == stateOK {
					n[done], states[done] = v.number(i, t.kind), uint8(stateOK)
				}
				done++
			}
		})
	})
	if err := e.read(ctx, w, t.list, within); err != nil {
		return err
	}
	for _, o := range w.list(bitmap.FromWords(e.who)) {
		if state(e.states[e.slots.of(o)]) == stateOK {
			st.who.SetBit(o)
		}
	}
	return nil
}

// oneIsOp tests the first or the last event of a list.
type oneIsOp struct {
	list *eventList
	last bool
	test *Prepared
}

func (o *oneIsOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	w.eventsOf(within)
	out, some := w.outcome(), w.cleared()
	err := w.inParts(within, func(within *bitmap.Set) error {
		e := w.newEnds(o.last, w.events.lane(), o.truths)
		if err := e.read(ctx, w, o.list, within); err != nil {
			return err
		}
		for _, ord := range w.list(bitmap.FromWords(e.who)) {
			some.SetBit(ord)
			slot := e.slots.of(ord)
			out.set(ord, Truth(e.values[slot]), e.states[slot] != 0)
		}
		return nil
	})
	out.others(w, within, some)
	return out.pair(), err
}

// truths evaluates the test of the events at: n is the truth, st tells whether it failed.
func (o *oneIsOp) truths(ctx context.Context, h *hits, at []uint16, n []int64, st []uint8) error {
	wanted := h.sub.cleared()
	for _, k := range at {
		wanted.SetBit(k)
	}
	r, err := h.sub.eval(ctx, o.test.root, h.sub.hold(bitmap.Set{Form: bitmap.Dense, Words: wanted}))
	if err != nil {
		return err
	}
	for i, k := range at {
		n[i], st[i] = int64(False), 0
		switch {
		case r.yes.Contains(k):
			n[i] = int64(True)
		case !r.exact && r.maybe.Contains(k):
			if n[i] = int64(Unknown); r.fail.Contains(k) {
				st[i] = 1
			}
		}
	}
	return nil
}

// others makes it unknown for the candidates who are not among some.
func (o *outcome) others(w *worker, within *bitmap.Set, some *bitmap.Words) {
	if none := bitmap.AndNot(w.undecided(within), bitmap.FromWords(some), w.grab()); !none.IsEmpty() {
		o.maybe.Or(none)
		o.exact = false
	}
}

// averageIsOp compares an average with a constant, exactly.
type averageIsOp struct {
	op    CompareOp
	list  *eventList
	of    term
	scale uint8
	with  schema.Value
}

func (a *averageIsOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	w.eventsOf(within)
	out, some := w.outcome(), w.cleared()
	err := w.inParts(within, func(within *bitmap.Set) error {
		s := w.newSums(w.events.lane())
		if err := s.read(ctx, w, a.list, a.of, within); err != nil {
			return err
		}
		who := bitmap.FromWords(s.who)
		some.Or(who)
		for _, o := range w.list(who) {
			sum, count := s.of(o)
			c := compareWide(sum, a.scale, product(a.with.Ordered(), count), a.with.Scale())
			out.set(o, truthOf(holds(a.op, c, 0)), false)
		}
		return nil
	})
	out.others(w, within, some)
	return out.pair(), err
}
