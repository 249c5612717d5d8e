package query

import (
	"context"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// DayBegins returns when a local date, in days since 1970, begins in a zone, in ms UTC: the
// first instant at which clocks there show it or a later date.
func DayBegins(zone *time.Location, day int64) int64 {
	const slack = 2 * msPerDay // no zone was ever two days away from UTC
	z := zoneTimes{zone: zone}
	for t := day*msPerDay - slack; ; t = z.last.to {
		z.offset(t)
		if at := max(t, day*msPerDay-z.last.offset); at < z.last.to {
			return at
		}
	}
}

// LocalDay returns the day that has begun last in a zone at an instant; see [DayBegins].
func LocalDay(zone *time.Location, t int64) int64 {
	day, _ := (&zoneTimes{zone: zone}).day(t)
	for DayBegins(zone, day+1) <= t { // the clocks went back over midnight
		day++
	}
	return day
}

// Numbers calls f with the ordered forms of the values from lo to hi that people of a set have
// of a field, in no order of people.
func (c *StudyChunk) Numbers(ctx context.Context, of *StudyField, lo, hi int64, within bitmap.Set, f func(who uint16, n int64)) error {
	if of.Formula != nil {
		return c.All(ctx, of, within, func(who uint16, v schema.Value) error {
			if n := v.Ordered(); !v.IsAbsent() && lo <= n && n <= hi {
				f(who, n)
			}
			return nil
		})
	}
	who, err := c.w.cur.Range(of.ID, lo, hi, c.Number, &within, c.w.grab())
	if err != nil {
		return err
	}
	c.ords = who.AppendTo(c.ords[:0])
	n, ok := make([]int64, len(c.ords)), make([]bool, len(c.ords))
	if err := c.w.cur.GatherInts(of.ID, c.Number, c.ords, n, ok); err != nil {
		return err
	}
	for i, o := range c.ords { // all have one: it is in the range
		f(o, n[i])
	}
	return nil
}

// IsPlain reports whether the list is all events of a type in its window: of such a list
// HasAny need not read the events.
func (l *StudyList) IsPlain() bool { return l.list.isPlain() }

// EachHasAny calls f with who of within has an event of each of some lists. The set is valid
// during the call: so many lists can be asked for.
func (c *StudyChunk) EachHasAny(ctx context.Context, lists []*StudyList, within *bitmap.Set, f func(i int, who bitmap.Set)) error {
	for i, l := range lists {
		used := c.w.used
		who, err := c.HasAny(ctx, l, within)
		if err != nil {
			return err
		}
		f(i, who)
		c.w.release(used)
	}
	return nil
}
