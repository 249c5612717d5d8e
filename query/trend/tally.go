package trend

import (
	"context"
	"maps"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// measure is what is measured.
type measure int

const (
	count measure = iota
	people
	people7
	people28
	stickiness
	sum
	avg
	least
	most
	p10
	p25
	median
	p75
	p90
	p95
	p99
	distinct
)

// measures are their names, in that order.
func measures() []string {
	return []string{"count", "people", "people7", "people28", "stickiness", "sum", "avg", "min", "max", "p10", "p25", "median", "p75", "p90", "p95", "p99", "distinct"}
}

func measureOf(name string) measure { return measure(slices.Index(measures(), name)) }

// needsOf reports whether it is a measure of something.
func (m measure) needsOf() bool { return m >= sum }

// percent returns of a percentile how much of the numbers it is not below; 0: it is none.
func (m measure) percent() uint64 {
	if m < p10 || m > p99 {
		return 0
	}
	return [...]uint64{10, 25, 50, 75, 90, 95, 99}[m-p10]
}

// before returns how many periods before its own a measure is about.
func (m measure) before() int {
	switch m {
	case people7:
		return 6
	case people28, stickiness:
		return 27
	}
	return 0
}

// tally is what a worker has measured, by slot: the periods one after the other, of each
// its groups.
type tally struct {
	trend  *trend
	events []uint64 // all of them
	n      []uint64 // people; or of numbers, how many there are
	own    []uint64 // stickiness: of the people those of the period itself
	ends   []int64  // min, max: the ordered form
	sums   *query.Sums
	lists  [][]int64 // of a percentile: the ordered forms
	sets   []map[int64]struct{}
}

// What each number that is kept beyond the chunk takes.
const (
	slotBytes = 8 + 8 + query.SumBytes // a sum, or the greatest or the own people in place of it
	listBytes = 3 * 8                  // itself, the room that lists grow by, and its place when all are put together
	setBytes  = 4 * (8 + 1)            // in a map that may be a quarter full, and again when they are put together
)

func (t *trend) slots() int { return len(t.periods) * t.groups() }

func newTally(t *trend) *tally {
	n := t.slots()
	out := &tally{trend: t, events: make([]uint64, n), n: make([]uint64, n)}
	switch t.measure {
	case stickiness:
		out.own = make([]uint64, n)
	case sum, avg:
		out.sums = query.NewSums(n, t.kind, t.scale)
	case least, most:
		out.ends = make([]int64, n)
	case p10, p25, median, p75, p90, p95, p99:
		out.lists = make([][]int64, n)
	case distinct:
		out.sets = make([]map[int64]struct{}, n)
	}
	return out
}

// number adds a number: as an int or the ordered form of a decimal, or as a float. It
// returns how many bytes more are kept.
func (t *tally) number(slot int32, n int64, x float64) (bytes int64) {
	t.n[slot]++
	if t.sums != nil {
		return t.sums.Add(int(slot), n, x)
	}
	if t.trend.kind == schema.Float {
		n = schema.OrderedFloat(x)
	}
	if t.lists != nil {
		t.lists[slot] = append(t.lists[slot], n)
		return listBytes
	}
	if t.n[slot] == 1 || t.trend.measure == least && n < t.ends[slot] || t.trend.measure == most && n > t.ends[slot] {
		t.ends[slot] = n
	}
	return 0
}

// value adds one of the values that are told from each other.
func (t *tally) value(slot int32, n int64) (bytes int64) {
	if t.sets[slot] == nil {
		t.sets[slot] = map[int64]struct{}{}
	}
	had := len(t.sets[slot])
	t.sets[slot][n] = struct{}{}
	return int64(len(t.sets[slot])-had) * setBytes
}

// add adds what another worker has measured.
func (t *tally) add(o *tally) {
	for i := range t.events {
		if t.ends != nil && o.n[i] > 0 && (t.n[i] == 0 || t.trend.measure == least && o.ends[i] < t.ends[i] || t.trend.measure == most && o.ends[i] > t.ends[i]) {
			t.ends[i] = o.ends[i]
		}
		t.events[i] += o.events[i]
		t.n[i] += o.n[i]
		if t.own != nil {
			t.own[i] += o.own[i]
		}
		if t.sums != nil {
			t.sums.AddSum(i, o.sums, i)
		}
	}
	for i, list := range o.lists {
		t.lists[i] = append(t.lists[i], list...)
	}
	for i, set := range o.sets {
		if t.sets[i] == nil {
			t.sets[i] = set
		} else {
			maps.Copy(t.sets[i], set)
		}
	}
}

// visitor measures chunks.
type visitor struct {
	*grouper
	*tally
	find  finder
	slot  []int32         // of the events at hand
	who   []*bitmap.Words // by slot: who has an event; nil: nobody had one yet
	used  []int32         // those in which somebody is, of this chunk
	is    []bool          // by slot: it is among them
	all   bitmap.Words    // of several slots
	bytes int64           // that are kept and not yet taken from the store
	begun bool
}

// chunk measures the events of one chunk.
func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	if !v.begun {
		v.begun, v.bytes = true, slotBytes*int64(v.slots())
		v.who, v.is = make([]*bitmap.Words, v.slots()), make([]bool, v.slots())
	}
	if err := v.begin(ctx, c); err != nil {
		return err
	}
	var err error
	if len(v.each) > 0 {
		err = c.EachHasAny(ctx, v.each, &c.People, func(i int, who bitmap.Set) { v.whoOf(int32(i)).Or(who) })
	} else {
		err = c.Events(ctx, v.list, &c.People, v.block)
	}
	if err != nil {
		return err
	}
	if err := v.finish(ctx); err != nil {
		return err
	}
	err = c.Keep(v.bytes)
	v.bytes = 0
	return err
}

// block measures the events of a block.
func (v *visitor) block(e *query.StudyEvents) error {
	if err := v.place(e); err != nil {
		return err
	}
	for _, slot := range v.slot {
		v.events[slot]++
	}
	switch m := v.measure; {
	case m == count:
		return nil
	case m < sum:
		for i, slot := range v.slot {
			v.whoOf(slot).SetBit(e.Who(i))
		}
		return nil
	case m == distinct:
		number, err := e.Numbers(v.what)
		if err != nil {
			return err
		}
		for i, slot := range v.slot {
			if n := number(i); n != query.NoValue {
				v.bytes += v.value(slot, n)
			}
		}
		return nil
	}
	return e.Measures(func(i int, n int64, x float64) { v.bytes += v.number(v.slot[i], n, x) })
}

// place finds the slots of events.
func (v *visitor) place(e *query.StudyEvents) error {
	groups, err := v.of(e)
	if err != nil {
		return err
	}
	all := int32(v.groups())
	v.slot = v.slot[:0]
	for i := range e.Len() {
		v.slot = append(v.slot, int32(v.find.of(e.Time(i)))*all+groups[i])
	}
	return nil
}

// finder finds the period of a time.
type finder struct {
	periods     []period
	first, each int64 // each is the average of their lengths
}

func newFinder(periods []period) finder {
	first := periods[0].from
	return finder{periods, first, max(1, (periods[len(periods)-1].to-first)/int64(len(periods)))}
}

// of returns the place of the period that has a time in it; they are of about one length.
func (a *finder) of(t int64) int {
	at := min(int((t-a.first)/a.each), len(a.periods)-1)
	for t < a.periods[at].from {
		at--
	}
	for t >= a.periods[at].to {
		at++
	}
	return at
}

// whoOf returns the people of a slot, for more of them.
func (v *visitor) whoOf(slot int32) *bitmap.Words {
	if v.who[slot] == nil {
		v.who[slot] = new(bitmap.Words)
		v.bytes += int64(8 * len(v.who[slot]))
	}
	if !v.is[slot] {
		v.is[slot] = true
		v.used = append(v.used, slot)
	}
	return v.who[slot]
}

// finish counts the people of the chunk.
func (v *visitor) finish(ctx context.Context) error {
	if v.back == 0 {
		for _, slot := range v.used {
			v.n[slot] += uint64(v.who[slot].Count())
		}
	} else if err := v.finishBack(ctx); err != nil {
		return err
	}
	for _, slot := range v.used {
		v.who[slot].Clear()
		v.is[slot] = false
	}
	v.used = v.used[:0]
	return nil
}

// checkEach is after how many rows of several days it is asked whether to go on: some
// milliseconds' work.
const checkEach = 256

// finishBack counts the people of the periods before, too.
func (v *visitor) finishBack(ctx context.Context) error {
	groups := v.groups()
	for slot := v.back * groups; slot < len(v.who) && len(v.used) > 0; slot++ {
		if slot%checkEach == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		v.all.Clear()
		for at := slot - v.back*groups; at <= slot; at += groups {
			if v.is[at] {
				v.all.Or(bitmap.Set{Form: bitmap.Dense, Words: v.who[at]})
			}
		}
		v.n[slot] += uint64(v.all.Count())
		if v.own != nil && v.is[slot] {
			v.own[slot] += uint64(v.who[slot].Count())
		}
	}
	return nil
}
