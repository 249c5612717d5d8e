package query

import (
	"context"
	"math/bits"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// listReader is what a worker keeps for one list.
type listReader struct {
	cur    blockCursor
	sub    *worker // evaluates over the events of a block
	zones  []zoneTimes
	at     []uint16
	whole  []uint16 // 0, 1, 2 ...
	missed uint64   // of the block: for how many events the filter is unknown
	hits   hits
}

// hits are the events of one block that are in a list.
type hits struct {
	*EventBlock
	at    []uint16 // their places in the block, ascending
	isAll bool     // they are all events of the block
	sub   *worker

	chosen chosenEvents // of StudyEvents.Columns
}

func (w *worker) reader(l *eventList) *listReader {
	r := w.events.lists[l]
	if r == nil {
		r = &listReader{zones: make([]zoneTimes, len(l.clocks))}
		r.cur.schema = l.view.schema
		r.sub = &worker{view: l.view, cur: &r.cur, env: w.env, stats: make([]nodeStats, l.ops)}
		r.hits.sub = r.sub
		for i, c := range l.clocks {
			r.zones[i].zone = c.zone
		}
		w.events.lists[l] = r
	}
	return r
}

// reading says how a list is read.
type reading struct {
	scan   *EventScan // nil: that of the list
	within *bitmap.Set
	after  *gathered
}

// readEvents calls f with the events of a list, block by block. Those of a list with a
// "then" are chosen by how.after.
func (w *worker) readEvents(ctx context.Context, l *eventList, how reading, f func(h *hits) error) error {
	if l.none {
		return nil
	}
	cur, ok := w.cur.(EventCursor)
	if !ok {
		return Errorf(CodeInternal, "the store has no events to read")
	}
	if how.scan == nil {
		how.scan = &l.scan
	}
	r := w.reader(l)
	return cur.Events(how.scan, w.chunk, how.within, func(b *EventBlock) error {
		if err := ctx.Err(); err != nil || len(b.Ords) == 0 {
			return err
		}
		if err := r.cur.begin(b, how.scan); err != nil {
			return err
		}
		err := r.choose(ctx, l, b, how.after)
		w.unknownEvents += r.missed
		if err != nil || len(r.hits.at) == 0 {
			return err
		}
		return f(&r.hits)
	})
}

// choose finds out which events of a block are in the list.
func (r *listReader) choose(ctx context.Context, l *eventList, b *EventBlock, after *gathered) error {
	n := len(b.Ords)
	for len(r.whole) < n {
		r.whole = append(r.whole, uint16(len(r.whole)))
	}
	at := r.whole[:n]
	r.sub.used, r.sub.holding, r.sub.depth = 0, 0, 0
	r.sub.live, r.sub.liveCount, r.missed = r.cur.live, n, 0
	if l.filter != nil {
		set := r.cur.live
		is, err := r.sub.eval(ctx, l.filter.root, r.sub.hold(set))
		if err != nil {
			return err
		}
		if l.whole && !is.exact {
			open := bitmap.AndNot(bitmap.And(is.maybe, set, r.sub.grab()), is.yes, r.sub.grab())
			r.missed = uint64(len(r.passing(l, b, elements(open, n, nil), after)))
		}
		r.at = elements(bitmap.And(is.yes, set, r.sub.grab()), n, r.at[:0])
		at = r.at
	}
	if len(l.clocks) > 0 || after != nil {
		at = r.passing(l, b, append(r.at[:0], at...), after)
		r.at = at
	}
	r.hits.EventBlock, r.hits.at, r.hits.isAll = b, at, len(at) == n
	return nil
}

// passing keeps the events that clocks and "then" let through.
func (r *listReader) passing(l *eventList, b *EventBlock, at []uint16, after *gathered) []uint16 {
	for i := range l.clocks {
		at = r.onClock(i, &l.clocks[i].test, at)
	}
	if after != nil {
		at = afterSome(b, l.then.within, after, at)
	}
	return at
}

// elements appends the elements of a set that are less than n.
func elements(s bitmap.Set, n int, dst []uint16) []uint16 {
	if s.Form != bitmap.Dense {
		return s.AppendTo(dst)
	}
	for i, word := range s.Words[:(n+63)/64] {
		for ; word != 0; word &= word - 1 {
			dst = append(dst, uint16(i<<6|bits.TrailingZeros64(word)))
		}
	}
	return dst
}

// onClock keeps the events that a clock lets through.
func (r *listReader) onClock(i int, test *clockTest, at []uint16) []uint16 {
	kept := at[:0]
	for _, k := range at {
		if test.holds(r.zones[i].day(r.cur.block.Times[k])) {
			kept = append(kept, k)
		}
	}
	return kept
}

// afterSome keeps the events that have one of the gathered times at most within before them.
func afterSome(b *EventBlock, within int64, times *gathered, at []uint16) []uint16 {
	kept := at[:0]
	for _, k := range at {
		t := b.Times[k]
		before := times.of(b.Ords[k])
		lo, hi := 0, len(before) // the first that is not before t
		for lo < hi {
			if mid := (lo + hi) / 2; before[mid] < t {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo > 0 && t-before[lo-1] <= within {
			kept = append(kept, k)
		}
	}
	return kept
}

// prepareThen gathers what a list with a "then" needs before it is read, and returns whose
// events may be in the list.
func (w *worker) prepareThen(ctx context.Context, l *eventList, how reading) (reading, error) {
	if l.then == nil || l.none {
		return how, nil
	}
	if l.then.rarer {
		some, unknown := w.cleared(), w.unknownEvents
		if err := w.readEvents(ctx, l, how, func(h *hits) error { h.addTo(some); return nil }); err != nil {
			return how, err
		}
		w.unknownEvents = unknown // it is read again
		how.within = w.hold(bitmap.FromWords(some))
	}
	how.after = w.events.gather()
	if err := w.gatherTimes(ctx, l.then.after, how.within, how.after); err != nil {
		return how, err
	}
	how.within = w.hold(bitmap.FromWords(&how.after.who))
	return how, nil
}

// addTo adds the profiles.
func (h *hits) addTo(who *bitmap.Words) {
	if h.isAll {
		for _, o := range h.Ords {
			who.SetBit(o)
		}
		return
	}
	for _, k := range h.at {
		who.SetBit(h.Ords[k])
	}
}

// eachEvent reads a list as readEvents does, after what it needs to be read.
func (w *worker) eachEvent(ctx context.Context, l *eventList, within *bitmap.Set, f func(h *hits) error) error {
	how, err := w.prepareThen(ctx, l, reading{within: within})
	if err != nil {
		return err
	}
	return w.readEvents(ctx, l, how, f)
}

// eachFact calls known with what is known of the events of a list without reading them, if
// anything is, and f with the other events, as eachEvent does.
func (w *worker) eachFact(ctx context.Context, l *eventList, within *bitmap.Set, known func(b *FactsBlock), f func(h *hits) error) error {
	cur, ok := w.cur.(FactsCursor)
	if l.facts == nil || !ok {
		return w.eachEvent(ctx, l, within, f)
	}
	rest := l.scan
	rest.Told = w.grab()
	if err := cur.Facts(&l.scan, *l.facts, w.chunk, within, rest.Told, known); err != nil {
		return err
	}
	return w.readEvents(ctx, l, reading{scan: &rest, within: within}, f)
}

// ints returns the values of a term, by event of the block, if it is a column of ordered
// forms and all events have one.
func (h *hits) ints(of term) []int64 {
	c, ok := of.(*columnTerm)
	if !ok || c.kind == schema.Bool || c.kind == schema.Float {
		return nil
	}
	ints, present, err := h.sub.cur.(*blockCursor).ints(c.attr)
	if err != nil || present != nil {
		return nil
	}
	return ints
}

// values calls f with the values of a term for the events at, at most batchSize at a time.
func (h *hits) values(of term, at []uint16, f func(at []uint16, v *vector)) error {
	v := h.sub.gather.vector()
	defer func() { h.sub.gather.depth-- }()
	for len(at) > 0 {
		part := at[:min(len(at), batchSize)]
		at = at[len(part):]
		if err := of.eval(h.sub, part, v); err != nil {
			return err
		}
		f(part, v)
	}
	return nil
}

// anyOp is true where a list is not empty.
type anyOp struct{ list *eventList }

func (o *anyOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	if o.list.isPlain() && !o.list.none {
		cur, ok := w.cur.(EventCursor)
		if !ok {
			return pair{}, Errorf(CodeInternal, "the store has no events to read")
		}
		scan := &o.list.scan
		yes, err := cur.HasEvent(scan.Event, scan.From, scan.To, w.chunk, within, w.grab())
		return pair{yes: yes, exact: true}, err
	}
	w.eventsOf(within)
	out := w.cleared()
	err := w.inParts(within, func(within *bitmap.Set) error {
		return w.eachEvent(ctx, o.list, within, func(h *hits) error { h.addTo(out); return nil })
	})
	return pair{yes: bitmap.FromWords(out), exact: true}, err
}

// countIsOp is true where a list has from lo to hi events.
type countIsOp struct {
	list *eventList
	lo   uint8
	hi   uint8 // maxCounter: no end
	most uint8 // where counting ends
}

func (o *countIsOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	e := w.eventsOf(within)
	defer e.release(e.mark())
	counts := (*[bitmap.ChunkSize]uint8)(e.bytes.take(bitmap.ChunkSize)) // by ordinal: the kernel below reads them
	clear(counts[:])
	err := w.inParts(within, func(within *bitmap.Set) error {
		known := func(b *FactsBlock) {
			for i, ord := range b.Ords {
				counts[ord] = uint8(min(b.Counts[i], uint32(o.most)))
			}
		}
		return w.eachFact(ctx, o.list, within, known, func(h *hits) error {
			switch {
			case h.Counts != nil: // of a list that is as it is stored
				for i, n := range h.Counts[:len(h.Ords)] {
					n, c := uint32(n), &counts[h.Ords[i]]
					*c = uint8(min(uint32(*c)+n, uint32(o.most)))
				}
			case h.isAll:
				for _, ord := range h.Ords {
					counts[ord] = min(counts[ord], o.most-1) + 1
				}
			default:
				for _, k := range h.at {
					counts[h.Ords[k]] = min(counts[h.Ords[k]], o.most-1) + 1
				}
			}
			return nil
		})
	})
	if err != nil {
		return pair{}, err
	}
	out := w.grab()
	bitmap.BetweenU8(counts[:], o.lo, o.hi, out[:])
	if o.lo == 0 {
		out.And(w.live)
	}
	return pair{yes: bitmap.FromWords(out), exact: true}, nil
}
