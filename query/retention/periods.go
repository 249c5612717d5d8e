package retention

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// periods are those in which people begin, the oldest first; now lies in the last.
type periods struct {
	now      int64   // ms UTC
	begin    []int64 // ms UTC, one more than there are periods: the last one's end, after now
	labels   []string
	length   int64   // ms of a person's own periods, which begin with the person; 0: they are these
	brackets []int64 // of a person's own periods of other lengths: the end of each, in ms from the beginning
	coarse   []uint8 // by bucket from begin[0] on: the period of its first instant
}

const (
	msPerDay = 86_400_000
	// bucketBits makes buckets of 18.6 hours: hardly any day is shorter, so that most events
	// are compared with one or two beginnings of periods.
	bucketBits = 26
)

// calendar makes periods of days, weeks or months of a zone.
func calendar(now int64, n int, c query.Calendar) *periods {
	p := &periods{now: now}
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
	p := &periods{now: now, length: msPerDay}
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

// areOwn reports whether a person's periods begin with the person.
func (p *periods) areOwn() bool { return p.length > 0 || p.brackets != nil }

// width returns how many periods a cohort has at most.
func (p *periods) width() int {
	if p.brackets != nil {
		return len(p.brackets)
	}
	return p.count()
}

// last returns a cohort's last period that has begun at now, for some of it.
func (p *periods) last(cohort int) int {
	if p.brackets == nil {
		return p.count() - 1 - cohort
	}
	k := 0
	for k+1 < len(p.brackets) && p.begin[cohort]+p.brackets[k] <= p.now {
		k++
	}
	return k
}

// incomplete reports whether a period is not over at now, for some of the cohort.
func (p *periods) incomplete(cohort, period int) bool {
	if p.brackets == nil {
		return period == p.last(cohort)
	}
	return min(p.begin[cohort+1]-1, p.now)+p.brackets[period] > p.now+1
}

// ownAt returns a person's own period, by the time since the beginning; -1: it is after all.
func (p *periods) ownAt(after int64) int {
	if p.brackets == nil {
		return int(after / p.length)
	}
	for k, end := range p.brackets {
		if after < end {
			return k
		}
	}
	return -1
}

// readBrackets reads the lengths of a person's own periods, as the end of each.
func readBrackets(text string) (ends []int64, err error) {
	end := int64(0)
	for _, length := range strings.Split(text, ",") {
		d, err := query.ParseSpan(strings.TrimSpace(length))
		if err != nil {
			return nil, &query.Error{Code: err.Code, Message: "--brackets: " + err.Message, Hint: "how long each is, such as 1d,3d,7d"}
		}
		end += d.Milliseconds()
		ends = append(ends, end)
	}
	if len(ends) > MaxBrackets {
		return nil, query.Errorf(query.CodeLimit, "--brackets: there are at most %d, not %d", MaxBrackets, len(ends))
	}
	return ends, nil
}

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
