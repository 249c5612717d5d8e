package trend

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// Limits of a trend.
const (
	// MaxRows bounds the periods times the groups, those to compare with among them. It is
	// more than a year of hours. For people each worker has a bitmap of 8 KiB for each.
	MaxRows = 10_000

	// MaxEvents is how many events there are in one trend: each is read for everybody.
	MaxEvents = 10

	// MaxBy is how many things numbers are split by: a table of more cannot be read.
	MaxBy = 2

	// MaxAverage is how many periods a moving average reaches over.
	MaxAverage = 1000

	// DefaultPeriods is how many periods are shown when nobody says.
	DefaultPeriods = 30

	// maxEach is up to how many periods each is asked by itself who has an event of it.
	maxEach = 400
)

const name = "trend"

// Analysis is the trend.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "A measure of an event over time: events, people, sums, averages, different values",
	Parameters: []query.Parameter{
		{Name: "event", Kind: query.ParameterList, Required: true, Repeated: true, Help: `an event list, such as 'purchase.filter(e, e.amount > 10.0)'; at most 10`},
		{Name: "measure", Kind: query.ParameterChoice, Choices: measures(), Default: "count", Help: "what is measured: events (count), people, people of the 7 or 28 days up to the day, the share that the day's people are of those of 28 days (stickiness), or what --of says"},
		{Name: "of", Kind: query.ParameterMeasure, Help: "of sum, avg, min, max and percentiles: a number made of an event, such as 'e.price * e.quantity'; of distinct: a property, such as e.product"},
		{Name: "per", Kind: query.ParameterChoice, Choices: []string{"hour", "day", "week", "month"}, Default: "day", Help: "hour, day, week or month"},
		{Name: "zone", Kind: query.ParameterZone, Default: "UTC", Help: "whose clock and calendar it is, such as Europe/Rome"},
		{Name: "week-start", Kind: query.ParameterChoice, Choices: []string{"monday", "sunday"}, Default: "monday", Help: "monday or sunday"},
		{Name: "from", Kind: query.ParameterDate, Help: "a date in the first period; without it there are 30 periods"},
		{Name: "to", Kind: query.ParameterDate, Help: "a date in the last period; without it that is the one of now"},
		{Name: "by", Kind: query.ParameterField, Repeated: true, Help: "split by an attribute, such as country, or by a property of the event, such as e.product; at most 2"},
		{Name: "top", Kind: query.ParameterInt, Default: "10", With: []string{"by"}, Help: "how many values of --by are shown, those of the most events; the others add up to (other)"},
		{Name: "compare", Kind: query.ParameterChoice, Choices: []string{"previous"}, Help: "previous: a column of what it was as many periods before"},
		{Name: "average", Kind: query.ParameterInt, Help: "a column of the moving average over so many periods"},
	},
	Tables: []query.ReportTable{{Name: "periods", Columns: []query.ReportColumn{{Name: "period", Unit: query.UnitText}, {Name: "value", Unit: query.UnitNumber}}}},
	Run:    run,
}

// trend is a trend made ready.
type trend struct {
	text    string // of the event
	mark    string // in front of its cells, where there are several
	event   *query.Events
	fold    *query.Fold // of a measure of numbers
	measure measure
	kind    schema.Kind // of the numbers
	scale   uint8
	what    schema.AttrID // distinct

	calendar calendar
	periods  []period // ascending; those shown are the last
	shown    int
	back     int  // a period is about so many before it, too
	compare  bool // with those as many before
	average  int  // 0: none

	by  []*split
	top int

	total *tally
	each  []*query.StudyList // by period, where people are counted by who has an event of it
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	all, err := prepareAll(ctx, s, args)
	if err != nil {
		return query.Report{}, err
	}
	report := query.Report{Analysis: name}
	for i, t := range all {
		var answer query.Answer
		if t.total, answer, err = t.count(ctx, s); err != nil {
			return query.Report{}, err
		}
		if i > 0 {
			answer.BytesRead += report.BytesRead
		}
		report.Answer = answer
	}
	table, err := tableOf(all)
	if err == nil && s.Cell != "" {
		err = collect(ctx, s, all)
	}
	report.Tables = []query.ReportTable{table}
	return report, err
}

// prepareAll makes a trend of each event ready.
func prepareAll(ctx context.Context, s *query.Study, args query.Arguments) (all []*trend, err error) {
	texts := args["event"]
	if len(texts) > MaxEvents {
		return nil, query.Errorf(query.CodeLimit, "a trend has at most %d events, this one has %d", MaxEvents, len(texts))
	}
	if err := args.Different("event"); err != nil {
		return nil, err
	}
	rows := 0
	for i, text := range texts {
		t, err := prepare(s, args, text)
		if err != nil {
			return nil, err
		}
		if len(texts) > 1 {
			t.mark = strconv.Itoa(i+1) + ":"
		}
		if len(t.by) > 0 {
			if err := t.rank(ctx, s); err != nil {
				return nil, err
			}
		}
		if rows += len(t.periods) * t.groups(); rows > MaxRows {
			return nil, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("%d periods of %d groups are more than %d rows", len(t.periods), rows/len(t.periods), MaxRows), Hint: "longer periods, fewer of them, or a smaller --top"}
		}
		all = append(all, t)
	}
	return all, nil
}

func prepare(s *query.Study, args query.Arguments, event string) (*trend, error) {
	t := &trend{text: event, measure: measureOf(args.One("measure")), compare: args.One("compare") != ""}
	var err error
	if t.event, err = s.Compiler().List(event); err != nil {
		return nil, fmt.Errorf("--event: %w", err)
	}
	of := s.Schema().EventByID(t.event.Event)
	if err := t.prepareOf(s, of, args); err != nil {
		return nil, err
	}
	if t.top, err = args.Int("top", MaxRows); err != nil {
		return nil, err
	}
	if t.average, err = args.Int("average", MaxAverage); err != nil {
		return nil, err
	}
	if len(args["by"]) > MaxBy {
		return nil, query.Errorf(query.CodeLimit, "a trend is split by at most %d, this one by %d", MaxBy, len(args["by"]))
	}
	if err := args.Different("by"); err != nil {
		return nil, err
	}
	for _, text := range args["by"] {
		by, err := newSplit(s, of, text)
		if err != nil {
			return nil, err
		}
		t.by = append(t.by, by)
	}
	if _, err := t.read(s, 0, 1); err != nil { // a property that cannot be split by
		return nil, err
	}
	return t, t.preparePeriods(s, args)
}

// prepareOf reads what is measured.
func (t *trend) prepareOf(s *query.Study, event *schema.Event, args query.Arguments) error {
	of, what := args.One("of"), args.One("measure")
	switch {
	case t.measure.needsOf() && of == "":
		return &query.Error{Code: query.CodeInvalid, Message: "--measure " + what + ": of what?", Hint: "such as --of e.amount"}
	case !t.measure.needsOf() && of != "":
		return query.Errorf(query.CodeInvalid, "--measure %s is of nothing: leave out --of", what)
	case t.measure == distinct:
		p, err := query.LookupProperty(event, strings.TrimPrefix(of, "e."))
		if err != nil {
			return fmt.Errorf("--of: %w", err)
		}
		t.what = p.ID
	case t.measure.needsOf():
		fold, err := s.Compiler().Fold(t.text, of)
		if err != nil {
			return fmt.Errorf("--of: %w", err)
		}
		t.fold = fold
		list, err := s.Measure(fold, 0, 1)
		if err != nil {
			return fmt.Errorf("--of: %w", err)
		}
		t.kind, t.scale = list.Kind, list.Scale
	}
	return nil
}

// preparePeriods cuts the time.
func (t *trend) preparePeriods(s *query.Study, args query.Arguments) error {
	zone, err := syntax.Zone(args.One("zone"))
	if err != nil {
		return err
	}
	days, err := args.Calendar(zone)
	if err != nil {
		return err
	}
	c := calendar{days}
	t.calendar, t.back = c, t.measure.before()
	if t.back > 0 && c.Per != "day" {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("people of the %d days up to a day are of days, not of a %s", t.back+1, c.Per), Hint: "leave out --per, or --measure people"}
	}
	until := s.Now.UnixMilli() + 1
	last := c.dayOf(until - 1)
	if args.One("to") != "" {
		last = date(args, "to")
		until = c.begin(c.Step(c.First(last), 1))
	}
	if args.One("from") == "" {
		t.periods = c.before(until, DefaultPeriods)
	} else {
		first := date(args, "from")
		if first > last {
			return query.Errorf(query.CodeInvalid, "from %s to %s there is no day", query.DateOf(first).Format(time.DateOnly), query.DateOf(last).Format(time.DateOnly))
		}
		if t.periods, err = c.between(first, last, MaxRows); err != nil {
			return err
		}
		t.periods = slices.DeleteFunc(t.periods, func(p period) bool { return p.from >= until })
	}
	if t.shown = len(t.periods); t.shown == 0 {
		return query.Errorf(query.CodeInvalid, "there is no such day in %s", zone)
	}
	before := t.back
	if t.compare {
		before += t.shown
	}
	t.periods = slices.Concat(c.before(t.periods[0].from, before), t.periods)
	return nil
}

// date returns a date, as days since 1970.
func date(args query.Arguments, name string) int64 {
	n, _ := schema.ParseOrdered(schema.Date, 0, []byte(args.One(name)), nil) // its parameter has been checked
	return n
}

// groups returns how many groups a period has.
func (t *trend) groups() int {
	n := 1
	for _, by := range t.by {
		n *= by.size()
	}
	return n
}

// read makes the list ready of which events from <= time < to are wanted, with the
// properties that it is split by.
func (t *trend) read(s *query.Study, from, to int64) (*query.StudyList, error) {
	list, err := s.List(t.event, from, to)
	if err != nil {
		return nil, err
	}
	return list, t.readBy(list)
}

func (t *trend) readBy(list *query.StudyList) error {
	for _, by := range t.by {
		if by.property != nil {
			if err := list.Read(by.property.ID); err != nil {
				return fmt.Errorf("--by: %w", err)
			}
		}
	}
	return nil
}

// count counts everything.
func (t *trend) count(ctx context.Context, s *query.Study) (*tally, query.Answer, error) {
	from, to := t.periods[0].from, t.periods[len(t.periods)-1].to
	list, err := t.read(s, from, to)
	if err == nil && t.fold != nil {
		if list, err = s.Measure(t.fold, from, to); err == nil {
			err = t.readBy(list)
		}
	}
	if err == nil && t.measure == distinct {
		if err = list.Read(t.what); err != nil {
			err = fmt.Errorf("--of: %w", err)
		}
	}
	if err != nil {
		return nil, query.Answer{}, err
	}
	if err := t.prepareEach(s, list); err != nil {
		return nil, query.Answer{}, err
	}
	var all []*tally
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{grouper: newGrouper(t, list), tally: newTally(t), find: newFinder(t.periods)}
		all = append(all, v.tally)
		return v.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	total := newTally(t)
	for _, part := range all {
		total.add(part)
	}
	return total, answer, nil
}

// prepareEach makes a list ready for each period, if it is cheaper to ask who has an event of
// it than to read all events: the store keeps who has any on a day of UTC, and reads the
// events of a day that a border cuts.
func (t *trend) prepareEach(s *query.Study, all *query.StudyList) error {
	if t.measure < people || t.measure > stickiness || len(t.by) > 0 || t.calendar.Per == "hour" || len(t.periods) > maxEach || !all.IsPlain() {
		return nil
	}
	if t.calendar.Per == "day" && slices.ContainsFunc(t.periods, func(p period) bool { return p.from%(24*hourMS) != 0 }) {
		return nil
	}
	for _, p := range t.periods {
		list, err := t.read(s, p.from, p.to)
		if err != nil {
			return err
		}
		t.each = append(t.each, list)
	}
	return nil
}

// collect puts the people of the cell that is wanted: those who have an event of the list
// in its period, and in its group.
func collect(ctx context.Context, s *query.Study, all []*trend) error {
	hint := "nobody has an event then"
	for _, t := range slices.Backward(all) {
		live := t.live(t.total)
		for slot := range t.slots() {
			if at, group := slot/t.groups(), slot%t.groups(); at >= t.back && live[group] && t.cell(at, group) == s.Cell {
				return t.put(ctx, s, at, group)
			}
		}
		if group := slices.Index(live, true); group >= 0 {
			hint = "such as " + strconv.Quote(t.cell(len(t.periods)-1, group))
		}
	}
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("this trend has no cell %q", s.Cell), Hint: hint}
}

// put puts the people of a period and group.
func (t *trend) put(ctx context.Context, s *query.Study, at, group int) error {
	first := at - t.back
	if t.measure == stickiness {
		first = at
	}
	list, err := t.read(s, t.periods[first].from, t.periods[at].to)
	if err != nil {
		return err
	}
	_, err = s.Each(ctx, func() query.ChunkVisitor {
		g := newGrouper(t, list)
		return func(ctx context.Context, c *query.StudyChunk) error { return g.put(ctx, c, group) }
	})
	return err
}

// grouper tells of what group an event is. Each worker has its own.
type grouper struct {
	*trend
	list   *query.StudyList
	people [][]uint16 // by split of a person: by who, the group
	group  []int32    // of the events at hand
}

func newGrouper(t *trend, list *query.StudyList) *grouper {
	g := &grouper{trend: t, list: list, people: make([][]uint16, len(t.by))}
	for i, by := range t.by {
		if by.property == nil {
			g.people[i] = make([]uint16, bitmap.ChunkSize)
		}
	}
	return g
}

// begin looks up the values of who has an event at all.
func (g *grouper) begin(ctx context.Context, c *query.StudyChunk) error {
	for i, by := range g.by {
		if by.property != nil {
			continue
		}
		for who := range g.people[i] {
			g.people[i][who] = uint16(by.none())
		}
		some, err := c.HasAny(ctx, g.list, &c.People)
		if err != nil {
			return err
		}
		if err := by.eachPerson(ctx, c, some, func(who uint16, v value) error {
			g.people[i][who] = uint16(by.of(v))
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// of returns the groups of events.
func (g *grouper) of(e *query.StudyEvents) ([]int32, error) {
	g.group = append(g.group[:0], make([]int32, e.Len())...)
	for i, by := range g.by {
		size := int32(by.size())
		if by.property == nil {
			for k := range g.group {
				g.group[k] = g.group[k]*size + int32(g.people[i][e.Who(k)])
			}
			continue
		}
		number, err := e.Numbers(by.property.ID)
		if err != nil {
			return nil, err
		}
		for k := range g.group {
			at := by.none()
			if n := number(k); n != query.NoValue {
				at = by.of(value{n: n})
			}
			g.group[k] = g.group[k]*size + int32(at)
		}
	}
	return g.group, nil
}

// put puts who has an event of a group.
func (g *grouper) put(ctx context.Context, c *query.StudyChunk, group int) error {
	if len(g.by) == 0 {
		some, err := c.HasAny(ctx, g.list, &c.People)
		c.Put(some)
		return err
	}
	if err := g.begin(ctx, c); err != nil {
		return err
	}
	return c.Events(ctx, g.list, &c.People, func(e *query.StudyEvents) error {
		groups, err := g.of(e)
		for i, at := range groups {
			if int(at) == group {
				c.PutOne(e.Who(i))
			}
		}
		return err
	})
}
