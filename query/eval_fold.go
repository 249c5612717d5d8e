package query

import (
	"context"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// foldTerm is a number made of events. Its values for a chunk are worked out before the
// first is asked for (foldTerm.run).
type foldTerm struct {
	op       FoldOp
	list     *eventList
	of       term             // over the events
	kind     schema.Kind      // of of
	scale    uint8            // of of, for an average
	property schema.Attribute // distinct
	zone     *time.Location   // distinct days
	result   arithType
}

// foldState is the outcome of a fold in one chunk.
type foldState struct {
	who    bitmap.Words // who has a value
	failed bitmap.Words // out of who: it does not fit the kind
	values []int64      // by slot: ints in ordered form, floats as their bits
}

// run works the fold out for some candidates (nil: everybody). Its values stay valid until
// the worker's events are released.
func (t *foldTerm) run(ctx context.Context, w *worker, within *bitmap.Set) error {
	e := w.events
	st := e.folds[t]
	if st == nil {
		st = new(foldState)
		e.folds[t] = st
	}
	st.who.Clear()
	st.failed.Clear()
	st.values = e.lane()
	return w.inParts(within, func(within *bitmap.Set) error {
		switch t.op {
		case FoldCount:
			return t.count(ctx, w, within, st)
		case FoldSum, FoldAverage:
			if t.kind == schema.Float {
				return t.floats(ctx, w, within, st)
			}
			return t.sum(ctx, w, within, st)
		case FoldMin, FoldMax:
			return t.extreme(ctx, w, within, st)
		case FoldDistinct:
			return t.distinct(ctx, w, within, st)
		case FoldDistinctDays:
			return t.days(ctx, w, within, st)
		}
		return t.end(ctx, w, within, st)
	})
}

func (t *foldTerm) eval(w *worker, ords []uint16, out *vector) error {
	st := w.events.folds[t]
	nothing := stateAbsent
	switch t.op {
	case FoldCount, FoldSum, FoldDistinct, FoldDistinctDays:
		nothing = stateOK // it is 0
	}
	for i, o := range ords {
		out.n[i], out.f[i], out.st[i] = 0, 0, nothing
		if !st.who.Has(o) {
			continue
		}
		if out.st[i] = stateOK; st.failed.Has(o) {
			out.st[i] = stateFailed
		}
		if out.n[i] = st.values[w.events.slots.of(o)]; t.result.kind == schema.Float {
			out.f[i] = math.Float64frombits(uint64(out.n[i]))
		}
	}
	return nil
}

func (t *foldTerm) count(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	known := func(b *FactsBlock) {
		for i, o := range b.Ords {
			st.who.SetBit(o)
			st.values[w.events.slots.of(o)] = int64(b.Counts[i])
		}
	}
	return w.eachFact(ctx, t.list, within, known, func(h *hits) error {
		for _, k := range h.at {
			o, n := h.Ords[k], int64(1)
			if h.Counts != nil {
				n = int64(h.Counts[k])
			}
			if slot := w.events.slots.of(o); st.who.Has(o) {
				st.values[slot] += n
			} else {
				st.who.SetBit(o)
				st.values[slot] = n
			}
		}
		return nil
	})
}

// sums adds up numbers in 128 bits: what a place of the lane has lost or gained by
// overflows, in units of 2^64, stands aside.
type sums struct {
	slots  *slots
	who    *bitmap.Words
	low    []int64
	counts []int64
	high   map[uint16]int64
}

// newSums takes what it needs of the worker's buffers, but for low.
func (w *worker) newSums(low []int64) sums {
	return sums{slots: &w.events.slots, who: w.cleared(), low: low, counts: w.events.lane()}
}

func (s *sums) add(o uint16, n int64) {
	slot := s.slots.of(o)
	if !s.who.Has(o) {
		s.who.SetBit(o)
		s.low[slot], s.counts[slot] = n, 1
		return
	}
	s.counts[slot]++
	sum, ok := addInt(s.low[slot], n)
	s.low[slot] = sum
	if !ok {
		if s.high == nil {
			s.high = make(map[uint16]int64)
		}
		if n > 0 {
			s.high[o]++
		} else {
			s.high[o]--
		}
	}
}

// known begins with sums of profiles that have none yet.
func (s *sums) known(b *FactsBlock) {
	for i, o := range b.Ords {
		if b.Counts[i] == 0 {
			continue
		}
		s.who.SetBit(o)
		slot := s.slots.of(o)
		s.low[slot], s.counts[slot] = int64(b.Sums[i].Lo), int64(b.Counts[i])
		if high := b.Sums[i].Hi - s.low[slot]>>63; high != 0 {
			if s.high == nil {
				s.high = make(map[uint16]int64)
			}
			s.high[o] = high
		}
	}
}

// of returns the sum of a profile, and of how many numbers it is.
func (s *sums) of(o uint16) (int128, int64) {
	slot := s.slots.of(o)
	low := s.low[slot]
	return int128{s.high[o] + low>>63, uint64(low)}, s.counts[slot]
}

// read adds up a term over the events of a list.
func (s *sums) read(ctx context.Context, w *worker, l *eventList, of term, within *bitmap.Set) error {
	return w.eachFact(ctx, l, within, s.known, func(h *hits) error {
		if ints := h.ints(of); ints != nil {
			for _, k := range h.at {
				s.add(h.Ords[k], ints[k])
			}
			return nil
		}
		return h.values(of, h.at, func(at []uint16, v *vector) {
			for i, k := range at {
				if v.st[i] == stateOK {
					s.add(h.Ords[k], v.n[i])
				} else {
					w.unknownEvents++
				}
			}
		})
	})
}

// sum adds up ints and decimals; an average is the float nearest to the sum, divided by
// the float of the count.
func (t *foldTerm) sum(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	s := w.newSums(st.values)
	if err := s.read(ctx, w, t.list, t.of, within); err != nil {
		return err
	}
	who := bitmap.FromWords(s.who)
	st.who.Or(who)
	if t.op == FoldSum {
		for o, high := range s.high {
			if high != 0 { // more than fits an int64, and so the kind
				st.failed.SetBit(o)
			}
		}
		return nil
	}
	for _, o := range w.list(who) {
		sum, count := s.of(o)
		st.values[s.slots.of(o)] = int64(math.Float64bits(sum.float(t.scale) / float64(count)))
	}
	return nil
}

// list returns the elements of a set, until the worker gathers or is asked again.
func (w *worker) list(s bitmap.Set) []uint16 {
	w.gather.ords = s.AppendTo(w.gather.ords[:0])
	return w.gather.ords
}

// int128 is a signed number of 128 bits, high * 2^64 + low.
type int128 struct {
	high int64
	low  uint64
}

// product returns a * b.
func product(a, b int64) int128 {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if (a < 0) != (b < 0) {
		var borrow uint64
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	return int128{int64(high), low}
}

// small returns the number as int64, if it is one.
func (a int128) small() (int64, bool) { return int64(a.low), a.high == int64(a.low)>>63 }

func (a int128) big() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(a.high), 64)
	return n.Add(n, new(big.Int).SetUint64(a.low))
}

// float returns the float nearest to a * 10^-scale.
func (a int128) float(scale uint8) float64 {
	if n, ok := a.small(); ok {
		return decimalFloat(n, scale)
	}
	f, _ := new(big.Rat).SetFrac(a.big(), big.NewInt(pow10[scale])).Float64()
	return f
}

// compareWide compares a*10^-sa with b*10^-sb exactly.
func compareWide(a int128, sa uint8, b int128, sb uint8) int {
	x, xok := a.small()
	y, yok := b.small()
	if xok && yok {
		return compareScaled(x, sa, y, sb)
	}
	l := new(big.Int).Mul(a.big(), big.NewInt(pow10[max(sa, sb)-sa]))
	return l.Cmp(new(big.Int).Mul(b.big(), big.NewInt(pow10[max(sa, sb)-sb])))
}

// floats sums or averages floats exactly; see floatSum.
func (t *foldTerm) floats(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	g := w.events.gather()
	err := w.gatherEvents(ctx, t.list, within, g, func(h *hits) error {
		return h.values(t.of, h.at, func(at []uint16, v *vector) {
			for i, k := range at {
				if v.st[i] == stateOK {
					g.add(h.Ords[k], v.number(i, schema.Float))
				} else {
					w.unknownEvents++
				}
			}
		})
	})
	if err != nil {
		return err
	}
	for _, o := range g.order {
		own := g.of(o)
		x := w.events.sum.of(own)
		if t.op == FoldAverage {
			x /= float64(len(own))
		}
		st.who.SetBit(o)
		st.values[g.slots.of(o)] = int64(math.Float64bits(x))
	}
	return nil
}

// extreme is the least or the greatest. Of floats, NaN is both where there is one, and -0
// is less than 0.
func (t *foldTerm) extreme(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	better := func(a, b int64) int64 { return min(a, b) }
	switch {
	case t.kind == schema.Float && t.op == FoldMin:
		better = func(a, b int64) int64 {
			return int64(math.Float64bits(min(math.Float64frombits(uint64(a)), math.Float64frombits(uint64(b)))))
		}
	case t.kind == schema.Float:
		better = func(a, b int64) int64 {
			return int64(math.Float64bits(max(math.Float64frombits(uint64(a)), math.Float64frombits(uint64(b)))))
		}
	case t.op == FoldMax:
		better = func(a, b int64) int64 { return max(a, b) }
	}
	known := func(b *FactsBlock) {
		from := b.Min
		if t.op == FoldMax {
			from = b.Max
		}
		for i, o := range b.Ords {
			if b.Counts[i] > 0 {
				st.who.SetBit(o)
				st.values[w.events.slots.of(o)] = from[i]
			}
		}
	}
	return w.eachFact(ctx, t.list, within, known, func(h *hits) error {
		return h.values(t.of, h.at, func(at []uint16, v *vector) {
			for i, k := range at {
				if v.st[i] != stateOK {
					w.unknownEvents++
					continue
				}
				o, n := h.Ords[k], v.number(i, t.kind)
				if slot := w.events.slots.of(o); st.who.Has(o) {
					st.values[slot] = better(st.values[slot], n)
				} else {
					st.who.SetBit(o)
					st.values[slot] = n
				}
			}
		})
	})
}

// number returns a value as a lane has it.
func (v *vector) number(i int, k schema.Kind) int64 {
	if k == schema.Float {
		return int64(math.Float64bits(v.f[i]))
	}
	return v.n[i]
}

// countDistinct counts the different numbers of each profile.
func countDistinct(g *gathered, st *foldState) {
	for _, o := range g.order {
		st.who.SetBit(o)
		st.values[g.slots.of(o)] = int64(len(slices.Compact(g.of(o))))
	}
}

// days counts local dates.
func (t *foldTerm) days(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	g, zone := w.events.gather(), zoneTimes{zone: t.zone}
	err := w.gatherEvents(ctx, t.list, within, g, func(h *hits) error {
		for _, k := range h.at {
			day, _ := zone.day(h.Times[k])
			g.addOnce(h.Ords[k], day)
		}
		return nil
	})
	if err != nil {
		return err
	}
	countDistinct(g, st)
	return nil
}

// distinct counts the different values of a property: codes and ordered forms are told
// apart as they are, texts and sets by a number that each gets when it is first met.
func (t *foldTerm) distinct(ctx context.Context, w *worker, within *bitmap.Set, st *foldState) error {
	g, met := w.events.gather(), make(map[string]int64)
	err := w.gatherEvents(ctx, t.list, within, g, func(h *hits) error {
		known := len(met)
		bytes, err := t.numbers(h, met, g)
		if err != nil {
			return err
		}
		return w.events.keep(bytes + (len(met)-known)*metBytes)
	})
	if err != nil {
		return err
	}
	countDistinct(g, st)
	return nil
}

// metBytes is about what an entry of a map of texts takes, beside the text.
const metBytes = 48

// numbers adds a number for the value of each event. It returns the bytes of the texts it
// has met for the first time.
func (t *foldTerm) numbers(h *hits, met map[string]int64, g *gathered) (bytes int, err error) {
	cur, attr := h.sub.cur, &t.property
	meet := func(o uint16, text []byte) {
		n, ok := met[string(text)]
		if !ok {
			n = int64(len(met))
			met[string(text)] = n
			bytes += len(text)
		}
		g.addOnce(o, n)
	}
	var sets Sets
	var text []byte
	for rest := h.at; len(rest) > 0; {
		at := rest[:min(len(rest), batchSize)]
		rest = rest[len(at):]
		switch {
		case attr.Kind == schema.Set:
			sets.Ends, sets.Codes = sets.Ends[:0], sets.Codes[:0]
			if err := cur.GatherSets(attr.ID, 0, at, &sets); err != nil {
				return 0, err
			}
			from := uint32(0)
			for i, end := range sets.Ends {
				text = text[:0]
				for _, c := range sets.Codes[from:end] {
					text = append(text, byte(c), byte(c>>8), byte(c>>16), byte(c>>24))
				}
				meet(h.Ords[at[i]], text)
				from = end
			}
		case attr.Coded():
			codes := h.sub.gather.codesFor(len(at))
			if err := cur.GatherCodes(attr.ID, 0, at, codes); err != nil {
				return 0, err
			}
			for i, c := range codes {
				if c != schema.NoCode {
					g.addOnce(h.Ords[at[i]], int64(c))
				}
			}
		case attr.Inline():
			strs := h.sub.gather.stringsFor(len(at))
			if err := cur.GatherStrings(attr.ID, 0, at, strs); err != nil {
				return 0, err
			}
			for i, s := range strs {
				if s != nil {
					meet(h.Ords[at[i]], s)
				}
			}
			clear(strs)
		default:
			ints, has := h.sub.gather.intsFor(len(at))
			if err := cur.GatherInts(attr.ID, 0, at, ints, has); err != nil {
				return 0, err
			}
			for i, n := range ints {
				if has[i] {
					g.addOnce(h.Ords[at[i]], n)
				}
			}
		}
	}
	return bytes, nil
}
