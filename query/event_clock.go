package query

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxPeriods is how many periods of a zone are remembered: 500 years with two changes each.
const maxPeriods = 1024

// zoneTimes knows the offset of a zone from UTC at any time. It asks the time package once
// per period between two changes, which is what keeps it exact: changes need not fall on a
// full hour.
type zoneTimes struct {
	zone  *time.Location
	last  period
	known []period // ascending
}

// period is a time in which the offset is the same, in milliseconds.
type period struct{ from, to, offset int64 }

// offset returns local time less UTC.
func (z *zoneTimes) offset(t int64) int64 {
	if z.last.from <= t && t < z.last.to {
		return z.last.offset
	}
	at, ok := slices.BinarySearchFunc(z.known, t, func(p period, t int64) int {
		switch {
		case p.to <= t:
			return -1
		case p.from > t:
			return 1
		}
		return 0
	})
	if !ok {
		if len(z.known) == maxPeriods {
			z.known, at = z.known[:0], 0
		}
		z.known = slices.Insert(z.known, at, z.periodOf(t))
	}
	z.last = z.known[at]
	return z.last.offset
}

func (z *zoneTimes) periodOf(t int64) period {
	when := time.UnixMilli(t).In(z.zone)
	_, seconds := when.Zone()
	p := period{math.MinInt64, math.MaxInt64, int64(seconds) * 1000}
	from, to := when.ZoneBounds()
	if !from.IsZero() {
		p.from = from.UnixMilli()
	}
	if !to.IsZero() {
		p.to = to.UnixMilli()
	}
	if p.from <= t && t < p.to {
		return p
	}
	// On the last day of a leap year the bounds of some zones end before the instant. Then
	// it is the hour, if its ends agree, else the second.
	for _, span := range [...]int64{3_600_000, 1000} {
		p.from = t - ((t%span)+span)%span
		if p.to = p.from + span; offsetIn(z.zone, p.from) == p.offset && offsetIn(z.zone, p.to-1) == p.offset {
			break
		}
	}
	return p
}

func offsetIn(zone *time.Location, t int64) int64 {
	_, seconds := time.UnixMilli(t).In(zone).Zone()
	return int64(seconds) * 1000
}

// day returns the local date, in days since 1970, and the milliseconds since its midnight
// that a clock on the wall shows.
func (z *zoneTimes) day(t int64) (day, clock int64) {
	t += z.offset(t)
	day = floorDay(t)
	return day, t - day*msPerDay
}

// floorDay returns the day of a time, in days since 1970; before 1970 it rounds to the past.
func floorDay(t int64) int64 {
	day := t / msPerDay
	if t < day*msPerDay {
		day--
	}
	return day
}

// clockTest is a [Clock] made ready.
type clockTest struct {
	weekdays uint8
	from, to int64 // milliseconds of the day, half open
	wraps    bool  // from from to midnight and from midnight to to
}

func newClockTest(c Clock) clockTest {
	ms := func(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }
	if c.From == 0 && c.To == 0 {
		c.To = 24 * time.Hour
	}
	return clockTest{weekdays: cmp.Or(c.Weekdays, 127), from: ms(c.From), to: ms(c.To), wraps: c.To <= c.From}
}

// firstWeekday is the day of the week of 1970-01-01.
const firstWeekday = int64(time.Thursday)

// holds reports whether an event at a local day and time of day is let through.
func (t *clockTest) holds(day, clock int64) bool {
	weekday := (day + firstWeekday) % 7
	if weekday < 0 {
		weekday += 7
	}
	if t.weekdays>>weekday&1 == 0 {
		return false
	}
	if t.wraps {
		return t.from <= clock || clock < t.to
	}
	return t.from <= clock && clock < t.to
}
