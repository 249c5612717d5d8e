package trend

import (
	"slices"
	"sort"
	"time"

	"github.com/kantadb/kanta/query"
)

// period is a time that a row tells of: from <= time < to, in ms UTC.
type period struct {
	from, to int64
	label    string
}

// calendar cuts time into periods of one kind, hours too.
type calendar struct{ query.Calendar }

const (
	hourMS = 3_600_000

	// shortDay is how many hours any day that there is has at least, but for those on which a
	// place moved over the date line; twoDays are spare for these.
	shortDay, twoDays = 20, 2
)

// offset returns local time less UTC, in ms.
func (c *calendar) offset(t int64) int64 {
	_, seconds := time.UnixMilli(t).In(c.Zone).Zone()
	return int64(seconds) * 1000
}

// dayOf returns the day in which a time is.
func (c *calendar) dayOf(t int64) int64 {
	return query.LocalDay(c.Zone, t)
}

// mod is the remainder that is never negative.
func mod(n, of int64) int64 { return (n%of + of) % of }

func (c *calendar) begin(day int64) int64 { return query.DayBegins(c.Zone, day) }

// between returns the periods of the days from first to last, whole ones; with more than
// most there is an error.
func (c *calendar) between(first, last int64, most int) (out []period, err error) {
	for day := c.First(first); day <= last; day = c.Step(day, 1) {
		if out = c.add(out, day); len(out) > most {
			return nil, query.Errorf(query.CodeLimit, "from %s to %s there are more than %d periods", query.DateOf(first).Format(time.DateOnly), query.DateOf(last).Format(time.DateOnly), most)
		}
	}
	return out, nil
}

// before returns the last n periods of which all but until is over at until, a time.
func (c *calendar) before(until int64, n int) (out []period) {
	if c.Per == "hour" {
		last := c.dayOf(until - 1)
		for day := last - int64(n/shortDay) - twoDays; day <= last; day++ {
			out = c.add(out, day)
		}
		out = slices.DeleteFunc(out, func(p period) bool { return p.from >= until })
		return out[len(out)-n:]
	}
	for day := c.First(c.dayOf(until - 1)); len(out) < n; day = c.Step(day, -1) {
		out = c.add(out, day)
	}
	slices.Reverse(out)
	return out
}

// add appends the period that begins with a day; of hours, those of the day. A date that a
// zone has left out has none.
func (c *calendar) add(out []period, day int64) []period {
	from, to := c.begin(day), c.begin(c.Step(day, 1))
	if c.Per != "hour" {
		if from < to {
			out = append(out, period{from, to, query.DateOf(day).Format(time.DateOnly)})
		}
		return out
	}
	for t := from; t < to; {
		next := min(c.nextHour(t), to)
		out = append(out, period{t, next, time.UnixMilli(t).In(c.Zone).Format("2006-01-02T15:04Z07:00")})
		t = next
	}
	return out
}

// nextHour returns when after t the clock on the wall next shows a full hour.
func (c *calendar) nextHour(t int64) int64 {
	for {
		offset := c.offset(t)
		full := t + hourMS - mod(t+offset, hourMS)
		if c.offset(full) == offset {
			return full
		}
		seconds := sort.Search(int((full-t)/1000), func(i int) bool { return c.offset(t+int64(i)*1000) != offset })
		if t += int64(seconds) * 1000; mod(t+c.offset(t), hourMS) == 0 {
			return t
		}
	}
}
