package retention

import (
	"context"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// lifecycles is the report's table of who is new, comes back, or stays away.
var lifecycles = query.ReportTable{Name: "lifecycle", Columns: []query.ReportColumn{ //tidy:constant
	{Name: "period", Unit: query.UnitText}, {Name: "active", Unit: query.UnitNumber}, {Name: "new", Unit: query.UnitNumber}, {Name: "returning", Unit: query.UnitNumber},
	{Name: "resurrected", Unit: query.UnitNumber}, {Name: "dormant", Unit: query.UnitNumber}, {Name: "incomplete", Unit: query.UnitBool}}}

// state is what a person is in a period; its name is that of the column.
type state int

const (
	active state = iota
	fresh
	returning
	resurrected
	dormant
	states
)

func (s state) String() string { return lifecycles.Columns[s+1].Name }

// lifecycle is a table of lifecycles made ready. Of its periods the first is not shown.
type lifecycle struct {
	*retention
	activity []*query.StudyList // of each period, if it is asked who has any; nil: events are read
	period   int                // whose people are wanted; 0: nobody's
	state    state
}

func runLifecycle(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	l, err := prepareLifecycle(s, args)
	if err != nil {
		return query.Report{}, err
	}
	var all []*aging
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &aging{lifecycle: l, people: make([][states]uint64, l.count())}
		all = append(all, v)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	out := lifecycles
	for p := 1; p < l.count(); p++ {
		row := query.ReportRow{Values: []schema.Value{schema.StringValue(l.labels[p])}}
		for state := range states {
			n := uint64(0)
			for _, v := range all {
				n += v.people[p][state]
			}
			row.Cells, row.Values = append(row.Cells, l.cellOf(p, state)), append(row.Values, schema.IntValue(int64(n)))
		}
		row.Values = append(row.Values, schema.BoolValue(p == l.count()-1))
		out.Rows = append(out.Rows, row)
	}
	return query.Report{Analysis: name, Tables: []query.ReportTable{out}, Answer: answer}, nil
}

func prepareLifecycle(s *query.Study, args query.Arguments) (*lifecycle, error) {
	for _, other := range []string{"brackets", "amount", "kind"} {
		if text := args.One(other); text != "" && text != kindOn {
			return nil, query.Errorf(query.CodeInvalid, "--show lifecycle has no --%s: leave it out", other)
		}
	}
	n, zone, err := size(args)
	if err != nil {
		return nil, err
	}
	l := &lifecycle{retention: new(retention)}
	if l.periods, err = newPeriods(s.Now.UnixMilli(), n+1, zone, args); err != nil {
		return nil, err
	}
	l.length = 0
	back, err := l.prepareBack(s, args)
	if err != nil {
		return nil, err
	}
	first, since := args.One("first"), args.One("since")
	switch {
	case first != "" && since != "":
		err = query.Errorf(query.CodeInvalid, "people begin with an event, --first, or with a date, --since, not with both")
	case since != "":
		err = l.beginSince(s, since, zone)
	case first == "" || first == args.One("return"):
		err = l.beginWithActivity(s, back)
	default:
		err = l.beginWithEvent(s, args)
		l.lag = 0
	}
	if err == nil {
		err = l.beActive(s, back)
	}
	if err != nil {
		return nil, err
	}
	return l, l.wantedState(s.Cell)
}

// beginWithActivity says that people begin with the first of the events that make them active.
func (l *lifecycle) beginWithActivity(s *query.Study, back *query.Events) (err error) {
	always, _ := query.Every()
	if l.before, err = s.List(back, always, l.begin[0]); err != nil {
		return err
	}
	l.first, l.same = l.back, true
	return nil
}

// beActive makes the activity of each period ready, if who has any is known without the events.
func (l *lifecycle) beActive(s *query.Study, back *query.Events) error {
	for p := 0; p < l.count() && l.back.IsPlain(); p++ {
		list, err := s.List(back, l.begin[p], l.begin[p+1])
		if err != nil {
			return err
		}
		l.activity = append(l.activity, list)
	}
	return nil
}

func (l *lifecycle) cellOf(period int, s state) string { return l.labels[period] + ":" + s.String() }

// wantedState finds the cell with a name.
func (l *lifecycle) wantedState(name string) error {
	if name == "" {
		return nil
	}
	for p := 1; p < l.count(); p++ {
		for s := range states {
			if l.cellOf(p, s) == name {
				l.period, l.state = p, s
				return nil
			}
		}
	}
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("the lifecycle has no cell %q here", name), Hint: "such as " + l.cellOf(l.count()-1, fresh)}
}

// aging counts the people of one chunk after the other.
type aging struct {
	*lifecycle
	beginners visitor          // finds when people began
	people    [][states]uint64 // by period
	active    []bitmap.Words   // of the chunk, by period
	fresh     []bitmap.Words   // of the active, by period: who began in it
	old       bitmap.Words     // who began before
	cur       bitmap.Words     // scratch
}

func (v *aging) chunk(ctx context.Context, c *query.StudyChunk) error {
	if v.active == nil {
		n := v.count()
		if err := c.Keep(lanesBytes + int64(2*n)*bitmap.ChunkSize/8); err != nil {
			return err
		}
		v.active, v.fresh = make([]bitmap.Words, n), make([]bitmap.Words, n)
		v.beginners = visitor{retention: v.retention, lanes: new(lanes)}
	}
	clear(v.active)
	clear(v.fresh)
	v.old.Clear()
	var err error
	if v.same {
		err = v.byActivity(ctx, c)
	} else {
		err = v.byBeginning(ctx, c)
	}
	if err != nil {
		return err
	}
	for p := 1; p < v.count(); p++ {
		before, now, begun := dense(&v.active[p-1]), dense(&v.active[p]), dense(&v.fresh[p])
		v.are(c, p, active, now)
		v.are(c, p, fresh, begun)
		v.are(c, p, returning, bitmap.And(now, before, &v.cur))
		v.are(c, p, resurrected, bitmap.AndNot(bitmap.AndNot(now, before, &v.cur), begun, &v.cur))
		v.are(c, p, dormant, bitmap.AndNot(before, now, &v.cur))
	}
	return nil
}

func dense(w *bitmap.Words) bitmap.Set { return bitmap.Set{Form: bitmap.Dense, Words: w} }

// are counts who is in a state in a period.
func (v *aging) are(c *query.StudyChunk, period int, s state, who bitmap.Set) {
	v.people[period][s] += uint64(who.Count())
	if period == v.period && s == v.state {
		c.Put(who)
	}
}

// byActivity finds who is active, where people begin with their first activity.
func (v *aging) byActivity(ctx context.Context, c *query.StudyChunk) error {
	before, err := c.HasAny(ctx, v.before, &c.People)
	if err != nil {
		return err
	}
	v.old.Or(before)
	if v.activity != nil {
		err = c.EachHasAny(ctx, v.activity, &c.People, func(p int, who bitmap.Set) { v.active[p].Or(who) })
	} else {
		err = c.Events(ctx, v.back, &c.People, func(e *query.StudyEvents) error {
			for i := range e.Len() {
				v.active[v.of(e.Time(i))].SetBit(e.Who(i))
			}
			return nil
		})
	}
	for p := range v.active {
		v.fresh[p] = v.active[p]
		v.fresh[p].AndNot(dense(&v.old))
		v.old.Or(dense(&v.active[p]))
	}
	return err
}

// byBeginning finds who is active, from the beginning on.
func (v *aging) byBeginning(ctx context.Context, c *query.StudyChunk) error {
	b := &v.beginners
	if err := v.beginnings(ctx, c); err != nil {
		return err
	}
	for _, o := range bitmap.FromWords(&b.who).AppendTo(b.ords[:0]) {
		v.fresh[v.of(b.begun[o])].SetBit(o)
	}
	all := v.old
	all.Or(dense(&b.who))
	who := bitmap.FromWords(&all)
	var err error
	if v.activity != nil {
		err = v.byPresence(ctx, c, who)
	} else {
		err = c.Events(ctx, v.back, &who, func(e *query.StudyEvents) error {
			for i := range e.Len() {
				if who, t := e.Who(i), e.Time(i); v.old.Has(who) || t >= b.begun[who] {
					v.active[v.of(t)].SetBit(who)
				}
			}
			return nil
		})
	}
	for p := range v.fresh {
		v.fresh[p].And(dense(&v.active[p]))
	}
	return err
}

// byPresence finds who is active by who has any activity in a period. It is read only for
// those who began in it, to know whether it is later.
func (v *aging) byPresence(ctx context.Context, c *query.StudyChunk, who bitmap.Set) error {
	err := c.EachHasAny(ctx, v.activity, &who, func(p int, who bitmap.Set) { v.active[p].Or(who) })
	if err != nil {
		return err
	}
	var own, notYet bitmap.Words
	for p := len(v.active) - 1; p >= 0; p-- {
		v.active[p].AndNot(dense(&notYet))
		notYet.Or(dense(&v.fresh[p]))
		own.Or(bitmap.And(dense(&v.active[p]), dense(&v.fresh[p]), &v.cur))
		v.active[p].AndNot(dense(&v.fresh[p]))
	}
	unread := bitmap.FromWords(&own)
	return c.Events(ctx, v.back, &unread, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			if who, t := e.Who(i), e.Time(i); t >= v.beginners.begun[who] {
				v.active[v.of(t)].SetBit(who)
			}
		}
		return nil
	})
}

// beginnings finds who began before all periods, and who in one of them.
func (v *aging) beginnings(ctx context.Context, c *query.StudyChunk) error {
	b := &v.beginners
	b.who.Clear()
	if v.since == nil {
		before, err := c.HasAny(ctx, v.before, &c.People)
		if err != nil {
			return err
		}
		v.old.Or(before)
		return b.beginAmong(ctx, c, bitmap.AndNot(c.People, before, &v.cur))
	}
	if d := v.dates; d != nil {
		return c.Numbers(ctx, v.since, math.MinInt64, d.first+int64(len(d.begin))-1, c.People, func(who uint16, n int64) {
			if n < d.first {
				v.old.SetBit(who)
			} else {
				b.begins(who, d.begin[n-d.first])
			}
		})
	}
	return c.Numbers(ctx, v.since, math.MinInt64, v.now, c.People, func(who uint16, t int64) {
		if t < v.begin[0] {
			v.old.SetBit(who)
		} else {
			b.begins(who, t)
		}
	})
}
