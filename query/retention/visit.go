package retention

import (
	"context"
	"math/bits"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// tally is what a worker has counted.
type tally struct {
	people   []uint64 // by cohort
	returned []uint64 // by cohort and period after it
	amounts  *query.Sums
}

func newTally(r *retention) *tally {
	cells := r.count() * r.width()
	t := &tally{people: make([]uint64, r.count()), returned: make([]uint64, cells)}
	if r.amount {
		t.amounts = query.NewSums(cells, r.back.Kind, r.back.Scale)
	}
	return t
}

func (t *tally) add(o *tally) {
	for i := range t.people {
		t.people[i] += o.people[i]
	}
	for i := range t.returned {
		t.returned[i] += o.returned[i]
		if t.amounts != nil {
			t.amounts.AddSum(i, o.amounts, i)
		}
	}
}

// visitor counts the people of one chunk after the other.
type visitor struct {
	*retention
	*tally
	*lanes
	*sets // if presence tells
}

// lanes have a place for each person of a chunk.
type lanes struct {
	who   bitmap.Words             // beginners
	begun [bitmap.ChunkSize]int64  // of those: when
	seen  [bitmap.ChunkSize]uint64 // the periods with a return, as bits: of all, or of the person's own
	ords  [bitmap.ChunkSize]uint16 // scratch
	old   bitmap.Words             // scratch
}

// lanesBytes is what a worker has of lanes.
const lanesBytes = bitmap.ChunkSize*(8+8+2) + 2*bitmap.ChunkSize/8

func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	if v.lanes == nil {
		if err := c.Keep(lanesBytes + int64(len(v.returned))*query.SumBytes); err != nil {
			return err
		}
		v.lanes = new(lanes)
	}
	if err := v.beginners(ctx, c); err != nil {
		return err
	}
	who := bitmap.FromWords(&v.who)
	if who.IsEmpty() {
		return nil
	}
	if v.told != nil {
		return v.present(ctx, c, who)
	}
	if !v.same {
		if err := v.came(ctx, c, who); err != nil {
			return err
		}
	}
	for _, o := range who.AppendTo(v.ords[:0]) {
		cohort, periods := v.periodsOf(o)
		v.add1(cohort, periods, v.width())
		if cohort == v.cell.cohort && (v.cell.period < 0 || periods>>v.cell.period&1 != 0) {
			c.PutOne(o)
		}
	}
	return nil
}

// came reads the returning events of beginners.
func (v *visitor) came(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	bytes := int64(0)
	err := c.Events(ctx, v.back, &who, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			v.comes(e.Who(i), e.Time(i))
		}
		if !v.amount {
			return nil
		}
		return e.Measures(func(i int, n int64, x float64) {
			if cohort, period := v.placeOf(e.Who(i), e.Time(i)); period >= 0 {
				bytes += v.amounts.Add(cohort*v.width()+period, n, x)
			}
		})
	})
	if err != nil {
		return err
	}
	return c.Keep(bytes)
}

// beginners finds who of a chunk begins in one of the periods.
func (v *visitor) beginners(ctx context.Context, c *query.StudyChunk) error {
	v.who.Clear()
	if v.since != nil {
		return v.sinceWhen(ctx, c)
	}
	before, err := c.HasAny(ctx, v.before, &c.People)
	if err != nil {
		return err
	}
	return v.beginAmong(ctx, c, bitmap.AndNot(c.People, before, &v.old))
}

// beginAmong finds who of some people begins, with an event, in one of the periods.
func (v *visitor) beginAmong(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	return c.Events(ctx, v.first, &who, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			if who, t := e.Who(i), e.Time(i); v.same && v.who.Has(who) {
				v.again(who, t)
			} else {
				v.begins(who, t)
			}
		}
		return nil
	})
}

func (v *visitor) sinceWhen(ctx context.Context, c *query.StudyChunk) error {
	if d := v.dates; d != nil {
		return c.Numbers(ctx, v.since, d.first, d.first+int64(len(d.begin))-1, c.People, func(who uint16, n int64) { v.begins(who, d.begin[n-d.first]) })
	}
	return c.Numbers(ctx, v.since, v.begin[0], v.now, c.People, v.begins)
}

// begins says that a person began at a time from begin[0] to now, or earlier than said before.
func (v *visitor) begins(who uint16, t int64) {
	if !v.who.Has(who) || t < v.begun[who] {
		v.who.SetBit(who)
		v.begun[who], v.seen[who] = t, 0
	}
}

// again says that a beginner had another event of the list that is both, and sees to which of
// them is the first.
func (v *visitor) again(who uint16, t int64) {
	begun := v.begun[who]
	if t != begun {
		v.seen[who] |= 1 << v.of(max(t, begun))
		v.begun[who] = min(t, begun)
	}
}

// comes says that a beginner had a returning event at a time from begin[0] to now.
func (v *visitor) comes(who uint16, t int64) {
	after := t - v.begun[who]
	switch {
	case after < v.lag:
	case v.areOwn():
		if k := v.ownAt(after); k >= 0 {
			v.seen[who] |= 1 << k
		}
	default:
		v.seen[who] |= 1 << v.of(t)
	}
}

// placeOf returns a beginner's cohort, and the period after it in which a returning event is;
// -1: it is in none.
func (v *visitor) placeOf(who uint16, t int64) (cohort, period int) {
	begun := v.begun[who]
	cohort = v.of(begun)
	switch {
	case t-begun < v.lag:
		return cohort, -1
	case v.areOwn():
		return cohort, v.ownAt(t - begun)
	}
	return cohort, v.of(t) - cohort
}

// periodsOf returns a beginner's cohort, and by the bits from its period on where it counts.
func (v *visitor) periodsOf(who uint16) (cohort int, periods uint64) {
	cohort, periods = v.of(v.begun[who]), v.seen[who]
	if !v.areOwn() {
		periods >>= cohort
	}
	all := uint64(1)<<v.last(cohort)<<1 - 1
	switch {
	case periods == 0:
	case v.kind == "on-or-after":
		periods = uint64(1)<<bits.Len64(periods) - 1
	case v.kind == "on-or-before":
		periods = all &^ (1<<bits.TrailingZeros64(periods) - 1)
	}
	return cohort, periods
}

// add1 counts a beginner.
func (t *tally) add1(cohort int, periods uint64, width int) {
	t.people[cohort]++
	of := t.returned[cohort*width:]
	for ; periods != 0; periods &= periods - 1 {
		of[bits.TrailingZeros64(periods)]++
	}
}
