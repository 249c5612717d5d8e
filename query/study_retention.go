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
// of a field, in ascending order of people.
func (c *StudyChunk) Numbers(ctx context.Context, of *StudyField, lo, hi int64, within bitmap.Set, f func(who uint16, n int64)) error {
	if of.Formula == nil { // few of them may be in the range, and it is indexed
		var err error
		if within, err = c.w.cur.Range(of.ID, lo, hi, c.Number, &within, c.w.grab()); err != nil {
			return err
		}
	}
	return c.Values(ctx, of, within, func(who uint16, v schema.Value) error {
		if n := v.Ordered(); !v.IsAbsent() && lo <= n && n <= hi {
			f(who, n)
		}
		return nil
	})
}
