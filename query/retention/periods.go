package retention

import (
	"slices"
	"sort"
	"time"

	"github.com/kantadb/kanta/query"
)

// periods are those in which people begin, the oldest first; now lies in the last.
type periods struct {
	begin  []int64 // ms UTC, one more than there are periods: the last one's end, after now
	labels []string
	length int64   // ms of a person's own periods, which begin with the person; 0: they are these
	coarse []uint8 // by bucket from begin[0] on: the period of its first instant
}

const (
	msPerDay = 86_400_000
	// bucketBits makes buckets of 18.6 hours: hardly any day is shorter, so that most events
	// are compared with one or two beginnings of periods.
	bucketBits = 26
)

// calendar makes periods of days, weeks or months of a zone.
func calendar(now int64, n int, c query.Calendar) *periods {
	p := &periods{}
	day := c.First(query.LocalDay(c.Zone, now))
	for i := range n + 1 {
		d := c.Step(day, i-n+1)
		p.begin = append(p.begin, query.DayBegins(c.Zone, d))
		if i < n {
			p.labels = append(p.labels, label(d*msPerDay, c.Per))
		}
	}
	p.index()
	return p
}

// rolling makes periods of 24 hours or 7 days, the last of which ends with now. Times are
// whole milliseconds: (now - length, now] is [now + 1 - length, now + 1).
func rolling(now int64, n int, per string) *periods {
	p := &periods{length: msPerDay}
	if per == "week" {
		p.length *= 7
	}
	for i := range n + 1 {
		p.begin = append(p.begin, now+1-int64(n-i)*p.length)
		if i < n {
			p.labels = append(p.labels, label(p.begin[i]-1, per))
		}
	}
	p.index()
	return p
}

func label(ms int64, per string) string {
	form := time.DateOnly
	if per == "month" {
		form = "2006-01"
	}
	return time.UnixMilli(ms).UTC().Format(form)
}

func (p *periods) index() {
	for t := p.begin[0]; t < p.begin[p.count()]; t += 1 << bucketBits {
		p.coarse = append(p.coarse, uint8(sort.Search(p.count(), func(i int) bool { return p.begin[i+1] > t })))
	}
}

// count returns how many periods there are.
func (p *periods) count() int { return len(p.begin) - 1 }

// last returns a cohort's last period that has begun at now.
func (p *periods) last(cohort int) int { return p.count() - 1 - cohort }

// of returns the period of a time from begin[0] to now.
func (p *periods) of(t int64) int {
	i := int(p.coarse[(t-p.begin[0])>>bucketBits])
	for t >= p.begin[i+1] {
		i++
	}
	return i
}

// dates are the days on which people may begin.
type dates struct {
	first int64   // in days since 1970
	begin []int64 // by day from the first on, ascending: when it begins, in ms
}

// newDates returns the days that begin from an instant on, up to now.
func newDates(zone *time.Location, from, now int64) *dates {
	d := &dates{first: query.LocalDay(zone, from-1) + 1}
	for day := d.first; ; day++ {
		t := query.DayBegins(zone, day)
		if t > now {
			return d
		}
		d.begin = append(d.begin, t)
	}
}

// areUTC reports whether all are days of UTC, by which the store knows who did what.
func (d *dates) areUTC() bool {
	return d != nil && !slices.ContainsFunc(d.begin, func(t int64) bool { return t%msPerDay != 0 })
}
