package retention

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// presence is the returning events of a list by period and by day, where who has any of them
// is known without reading events. By calendar that tells of all periods but the one in which
// a person began, and of that too if people begin with a day. A person's own periods are told
// by days alone, if people begin with a day of UTC.
type presence struct {
	periods []*query.StudyList // by calendar
	days    []*query.StudyList // of dates; nil: people begin at times
}

// presence makes the lists ready.
func (r *retention) presence(s *query.Study, back *query.Events) (*presence, error) {
	out := &presence{}
	for p := range r.count() {
		if r.length > 0 {
			break
		}
		l, err := s.List(back, r.begin[p], r.begin[p+1])
		if err != nil {
			return nil, err
		}
		out.periods = append(out.periods, l)
	}
	if r.dates == nil {
		return out, nil
	}
	ends := append(r.dates.begin[1:len(r.dates.begin):len(r.dates.begin)], r.now+1)
	for i, begin := range r.dates.begin {
		l, err := s.List(back, begin, ends[i])
		if err != nil {
			return nil, err
		}
		out.days = append(out.days, l)
	}
	return out, nil
}

// sets have a bit for each person of a chunk.
type sets struct {
	cohorts []bitmap.Words // by cohort: who began
	periods []bitmap.Words // by period: beginners with a returning event
	days    []bitmap.Words // of one period, by day: likewise
	own     bitmap.Words   // who came back in the period in which they began
	unread  bitmap.Words   // whose events must be read to know that
	cur     bitmap.Words   // scratch
}

// setsFor makes room for the sets of a worker.
func (r *retention) setsFor(c *query.StudyChunk) (*sets, error) {
	n, days := r.count(), 0
	if r.dates != nil {
		days = maxDays
	}
	if err := c.Keep(int64(2*n+days+3) * bitmap.ChunkSize / 8); err != nil {
		return nil, err
	}
	return &sets{cohorts: make([]bitmap.Words, n), periods: make([]bitmap.Words, n), days: make([]bitmap.Words, days)}, nil
}

// maxDays is how many days a period has at most.
const maxDays = 31

// present counts the beginners of a chunk by what presence tells of them.
func (v *visitor) present(ctx context.Context, c *query.StudyChunk, who bitmap.Set) (err error) {
	if v.sets == nil {
		if v.sets, err = v.setsFor(c); err != nil {
			return err
		}
	}
	clear(v.cohorts)
	for _, o := range who.AppendTo(v.ords[:0]) {
		v.cohorts[v.of(v.begun[o])].SetBit(o)
	}
	if v.length > 0 {
		err = v.ownPeriods(ctx, c, who)
	} else {
		err = v.calendarPeriods(ctx, c, who)
	}
	if err != nil {
		return err
	}
	for cohort := range v.cohorts {
		v.people[cohort] += uint64(v.cohorts[cohort].Count())
		if v.cell == (cell{cohort, -1}) {
			c.Put(bitmap.FromWords(&v.cohorts[cohort]))
		}
		v.presentOf(c, cohort)
	}
	return nil
}

// presentOf counts a cohort.
func (v *visitor) presentOf(c *query.StudyChunk, cohort int) {
	last := v.last(cohort)
	v.cur.Clear()
	for i := range last + 1 {
		k := i
		if v.kind == "on-or-after" {
			k = last - i
		}
		came := &v.own
		if k > 0 || v.length > 0 {
			came = &v.sets.periods[cohort+k]
		}
		if v.kind == kindOn {
			v.cur.Clear()
		}
		v.cur.Or(bitmap.Set{Form: bitmap.Dense, Words: came})
		v.cur.And(bitmap.Set{Form: bitmap.Dense, Words: &v.cohorts[cohort]})
		v.returned[cohort*v.width()+k] += uint64(v.cur.Count())
		if v.cell == (cell{cohort, k}) {
			c.Put(bitmap.FromWords(&v.cur))
		}
	}
}

// ownPeriods finds who came back in which of their own periods, the first of which has the
// number of the cohort. Of the days of a cohort each begins a period for those who began on
// it: an event of a day is of a period that depends on nothing else.
func (v *visitor) ownPeriods(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	length := int(v.length / msPerDay)
	began := v.days[:length] // by day of the cohort
	clear(began)
	clear(v.sets.periods)
	for _, o := range who.AppendTo(v.ords[:0]) {
		began[(v.begun[o]-v.dates.begin[0])/msPerDay%int64(length)].SetBit(o)
	}
	return c.EachHasAny(ctx, v.told.days, &who, func(day int, who bitmap.Set) {
		for i := range min(length, day+1) {
			v.sets.periods[(day-i)/length].Or(bitmap.And(who, bitmap.Set{Form: bitmap.Dense, Words: &began[i]}, &v.cur))
		}
	})
}

// calendarPeriods finds who came back in which period.
func (v *visitor) calendarPeriods(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	err := c.EachHasAny(ctx, v.told.periods, &who, func(p int, who bitmap.Set) {
		v.sets.periods[p].Clear()
		v.sets.periods[p].Or(who)
	})
	if err != nil {
		return err
	}
	return v.inOwn(ctx, c)
}

// inOwn finds who came back in the period in which they began.
func (v *visitor) inOwn(ctx context.Context, c *query.StudyChunk) error {
	v.own.Clear()
	v.unread.Clear()
	day := 0
	for p := range v.cohorts {
		v.cur = v.cohorts[p]
		v.cur.And(bitmap.FromWords(&v.sets.periods[p]))
		who := bitmap.FromWords(&v.cur)
		if v.dates == nil {
			v.unread.Or(who)
			continue
		}
		first := day
		for day < len(v.dates.begin) && v.dates.begin[day] < v.begin[p+1] {
			day++
		}
		err := c.EachHasAny(ctx, v.told.days[first:day], &who, func(i int, who bitmap.Set) {
			v.days[i].Clear()
			v.days[i].Or(who)
		})
		if err != nil {
			return err
		}
		for _, o := range who.AppendTo(v.ords[:0]) {
			for i := day - 1; i >= first && v.dates.begin[i] >= v.begun[o]; i-- {
				if v.days[i-first].Has(o) {
					v.own.SetBit(o)
					break
				}
			}
		}
	}
	who := bitmap.FromWords(&v.unread)
	if who.IsEmpty() {
		return nil
	}
	if err := v.came(ctx, c, who); err != nil {
		return err
	}
	for _, o := range who.AppendTo(v.ords[:0]) {
		if v.seen[o]>>v.of(v.begun[o])&1 != 0 {
			v.own.SetBit(o)
		}
	}
	return nil
}
