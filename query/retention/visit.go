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
}

func newTally(n int) *tally { return &tally{make([]uint64, n), make([]uint64, n*n)} }

func (t *tally) add(o *tally) {
	for i := range t.people {
		t.people[i] += o.people[i]
	}
	for i := range t.returned {
		t.returned[i] += o.returned[i]
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
		if err := c.Keep(lanesBytes); err != nil {
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
		v.add1(cohort, periods)
		if cohort == v.cell.cohort && (v.cell.period < 0 || periods>>v.cell.period&1 != 0) {
			c.PutOne(o)
		}
	}
	return nil
}

// came reads the returning events of beginners.
func (v *visitor) came(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	return c.Events(ctx, v.back, &who, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			v.comes(e.Who(i), e.Time(i))
		}
		return nil
	})
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
	rest := bitmap.AndNot(c.People, before, &v.old)
	return c.Events(ctx, v.first, &rest, func(e *query.StudyEvents) error {
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
	case v.length > 0:
		v.seen[who] |= 1 << (after / v.length)
	default:
		v.seen[who] |= 1 << v.of(t)
	}
}

// periodsOf returns a beginner's cohort, and by the bits from its period on where it counts.
func (v *visitor) periodsOf(who uint16) (cohort int, periods uint64) {
	cohort, periods = v.of(v.begun[who]), v.seen[who]
	if v.length == 0 {
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
func (t *tally) add1(cohort int, periods uint64) {
	t.people[cohort]++
	of := t.returned[cohort*len(t.people):]
	for ; periods != 0; periods &= periods - 1 {
		of[bits.TrailingZeros64(periods)]++
	}
}
