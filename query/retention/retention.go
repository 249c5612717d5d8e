package retention

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// MaxCohorts and MaxBrackets bound the cohorts and the periods of a person: these are the bits
// of a word, and the cells are the product of both.
const MaxCohorts, MaxBrackets = 64, 64

const name = "retention"

// kindOn is what is counted if nobody says.
const kindOn = "on"

// cohorts is the report's table.
var cohorts = query.ReportTable{Name: "cohorts", Columns: []query.ReportColumn{ //tidy:constant
	{Name: "cohort", Unit: query.UnitText}, {Name: "people", Unit: query.UnitNumber}, {Name: "period", Unit: query.UnitNumber},
	{Name: "returned", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}, {Name: "incomplete", Unit: query.UnitBool}}}

// Analysis is retention.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "How many of those who began in a period come back in the periods after",
	Parameters: []query.Parameter{
		{Name: "first", Kind: query.ParameterList, Help: "an event list: people begin with their first event of it, such as purchase"},
		{Name: "since", Kind: query.ParameterField, Help: "instead of --first: a date or timestamp of a person with which they begin, such as signup_date"},
		{Name: "return", Kind: query.ParameterList, Required: true, Help: "an event list: whoever has an event of it has come back"},
		{Name: "per", Kind: query.ParameterChoice, Choices: []string{"day", "week", "month"}, Default: "week", Help: "day, week or month: how long a period is"},
		{Name: "cohorts", Kind: query.ParameterInt, Default: "12", Help: "how many periods of beginners, the last is that of now; 64 at most"},
		{Name: "by", Kind: query.ParameterChoice, Choices: []string{"calendar", "rolling"}, Default: "calendar", Help: "calendar: days, weeks or months of the zone; rolling: 24 hours or 7 days, counted back from now, and from each person's own beginning"},
		{Name: "kind", Kind: query.ParameterChoice, Choices: []string{kindOn, "on-or-after", "on-or-before"}, Default: kindOn, Help: "on: who came back in the period; on-or-after: in it or later; on-or-before: in it or earlier"},
		{Name: "brackets", Kind: query.ParameterText, Help: "each person's own periods, how long each is, one after the other, such as 1d,3d,7d,30d; at most 64"},
		{Name: "amount", Kind: query.ParameterMeasure, Help: "columns of a sum of the returning events, and of it per person of the cohort, such as 'e.price * e.quantity'"},
		{Name: "show", Kind: query.ParameterChoice, Choices: []string{"cohorts", "lifecycle"}, Default: "cohorts", Help: "cohorts: who comes back; lifecycle: who is new, returning, resurrected or dormant in each period"},
		{Name: "zone", Kind: query.ParameterZone, Default: "UTC", Help: "the time zone of days, such as Europe/Rome"},
		{Name: "week-start", Kind: query.ParameterChoice, Choices: []string{"monday", "sunday"}, Default: "monday", Help: "the day with which calendar weeks begin"},
	},
	Tables: []query.ReportTable{cohorts, lifecycles},
	Run:    run,
}

// retention is an analysis made ready.
type retention struct {
	*periods
	before *query.StudyList // events of the first list before all periods; whoever has one is no beginner
	first  *query.StudyList // those within; nil: people begin with since
	since  *query.StudyField
	dates  *dates           // since is a date; nil: it is a timestamp
	back   *query.StudyList // with an amount as its measure
	amount bool
	same   bool      // by calendar, first and back are one list: it is read once
	told   *presence // who comes back is known without the events; nil: it is not
	lag    int64     // ms from the beginning to the first instant at which an event is a return
	kind   string
	cell   cell
}

// cell is the people that are wanted.
type cell struct {
	cohort int // -1: nobody
	period int // -1: the cohort
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	if args.One("show") == "lifecycle" {
		return runLifecycle(ctx, s, args)
	}
	r, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	total := newTally(r)
	var tallies []*tally
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{retention: r, tally: newTally(r)}
		tallies = append(tallies, v.tally)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	for _, t := range tallies {
		total.add(t)
	}
	table, err := r.table(total)
	return query.Report{Analysis: name, Tables: []query.ReportTable{table}, Answer: answer}, err
}

func prepare(s *query.Study, args query.Arguments) (*retention, error) {
	n, zone, err := size(args)
	if err != nil {
		return nil, err
	}
	r := &retention{kind: args.One("kind")}
	if r.periods, err = newPeriods(s.Now.UnixMilli(), n, zone, args); err != nil {
		return nil, err
	}
	if text := args.One("brackets"); text != "" {
		r.length = 0
		if r.brackets, err = readBrackets(text); err != nil {
			return nil, err
		}
	}
	back, err := r.prepareBack(s, args)
	if err != nil {
		return nil, err
	}
	switch first, since := args.One("first"), args.One("since"); {
	case (first == "") == (since == ""):
		err = &query.Error{Code: query.CodeInvalid, Message: "retention is of people who began with an event, --first, or with a date, --since: one of the two", Hint: "such as --first purchase, or --since signup_date"}
	case first != "":
		err = r.beginWithEvent(s, args)
	default:
		if err = r.beginSince(s, since, zone); err == nil && r.isPresence() {
			r.told, err = r.presence(s, back)
		}
	}
	if err != nil {
		return nil, err
	}
	return r, r.wanted(s.Cell)
}

// size reads how many periods there are, and of which zone.
func size(args query.Arguments) (n int, zone *time.Location, err error) {
	n, err = strconv.Atoi(args.One("cohorts"))
	if err != nil || n > MaxCohorts {
		return 0, nil, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("retention has at most %d cohorts, not %s", MaxCohorts, args.One("cohorts")), Hint: "longer periods: --per week, --per month"}
	}
	if zone, err = syntax.Zone(args.One("zone")); err != nil {
		return 0, nil, fmt.Errorf("--zone: %w", err)
	}
	return n, zone, nil
}

// newPeriods makes the periods of beginners.
func newPeriods(now int64, n int, zone *time.Location, args query.Arguments) (*periods, error) {
	per := args.One("per")
	days, err := args.Calendar(zone)
	switch {
	case err != nil:
		return nil, err
	case args.One("by") == "calendar":
		return calendar(now, n, days), nil
	case per == "month":
		return nil, &query.Error{Code: query.CodeInvalid, Message: "--by rolling: a month has no fixed length", Hint: "--per day or --per week, or --by calendar"}
	}
	return rolling(now, n, per), nil
}

// prepareBack makes the list of returning events ready.
func (r *retention) prepareBack(s *query.Study, args query.Arguments) (*query.Events, error) {
	back, err := list(s, args, "return")
	if err != nil {
		return nil, err
	}
	from, to := r.begin[0], r.now+1
	if r.amount = args.One("amount") != ""; !r.amount {
		r.back, err = s.List(back, from, to)
		return back, err
	}
	fold, err := s.Compiler().Fold(args.One("return"), args.One("amount"))
	if err == nil {
		r.back, err = s.Measure(fold, from, to)
	}
	if err != nil {
		return nil, fmt.Errorf("--amount: %w", err)
	}
	return back, nil
}

// isPresence reports whether who comes back is known without the events.
func (r *retention) isPresence() bool {
	return r.back.IsPlain() && !r.amount && r.brackets == nil && (r.length == 0 || r.dates.areUTC())
}

func (r *retention) beginWithEvent(s *query.Study, args query.Arguments) error {
	first, err := list(s, args, "first")
	if err != nil {
		return err
	}
	r.lag, r.same = 1, !r.areOwn() && !r.amount && args.One("first") == args.One("return")
	always, _ := query.Every()
	if r.before, err = s.List(first, always, r.begin[0]); err == nil {
		r.first, err = s.List(first, r.begin[0], r.now+1)
	}
	return err
}

func (r *retention) beginSince(s *query.Study, since string, zone *time.Location) error {
	f, err := s.Compiler().Field(since)
	switch {
	case err != nil:
		return fmt.Errorf("--since: %w", err)
	case f.Kind == schema.Date:
		r.dates = newDates(zone, r.begin[0], r.now)
	case f.Kind != schema.Timestamp:
		return query.Errorf(query.CodeType, "--since %s is of kind %s, neither a date nor a timestamp", since, f.Kind)
	}
	r.since = s.Field(f)
	return nil
}

// list reads the list of a parameter.
func list(s *query.Study, args query.Arguments, parameter string) (*query.Events, error) {
	e, err := s.Compiler().List(args.One(parameter))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", parameter, err)
	}
	return e, nil
}

// wanted finds the cell with a name.
func (r *retention) wanted(name string) error {
	r.cell = cell{-1, -1}
	if name == "" {
		return nil
	}
	for cohort := range r.count() {
		for period := -1; period <= r.last(cohort); period++ {
			if c := (cell{cohort, period}); r.name(c) == name {
				r.cell = c
				return nil
			}
		}
	}
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("retention has no cell %q here", name),
		Hint: fmt.Sprintf("%q are the people who began then, %q those of them who came back in that period", r.name(cell{0, -1}), r.name(cell{0, 0}))}
}

// name returns the name of a cell.
func (r *retention) name(c cell) string {
	if c.period < 0 {
		return r.labels[c.cohort]
	}
	return r.labels[c.cohort] + ":" + strconv.Itoa(c.period)
}
