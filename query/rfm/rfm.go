package rfm

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of the analysis.
const (
	MinBins = 3  // fewer tell the best from the rest, which an expression does too
	MaxBins = 10 // a grid of 10 x 10 is the largest that can be looked at

	MaxReach = 3 // more columns beside the others are not looked at

	// MaxFlow is how many segments there are when people go from one to another: with those
	// who are outside each has a letter in a picture.
	MaxFlow = 25
)

const name = "rfm"

// The tables of a report.
var (
	cellTable = query.ReportTable{Name: "cells", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "cell", Unit: query.UnitText}, {Name: "recency", Unit: query.UnitNumber}, {Name: "frequency", Unit: query.UnitNumber}}, measured[:]...)}
	segmentTable = query.ReportTable{Name: "segments", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "segment", Unit: query.UnitText}}, measured[:]...)}
	amountTable = query.ReportTable{Name: "amounts", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "cell", Unit: query.UnitText}}, measured[:]...)}
	cutTable = query.ReportTable{Name: "cuts", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "cut", Unit: query.UnitNumber}, {Name: "recency", Unit: query.UnitDuration},
		{Name: "frequency", Unit: query.UnitNumber}, {Name: "amount", Unit: query.UnitNumber}}}
	flowTable = query.ReportTable{Name: "transitions", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "from", Unit: query.UnitText}, {Name: "to", Unit: query.UnitText},
		{Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}}}
)

// measured is what is told of the people of a row; the last two need an amount.
var measured = [...]query.ReportColumn{ //tidy:constant
	{Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare},
	{Name: "sum", Unit: query.UnitNumber}, {Name: "average", Unit: query.UnitNumber}}

// Analysis is the analysis.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "Score people by recency, frequency and amount, and name them by the scores",
	Parameters: []query.Parameter{
		{Name: "event", Kind: query.ParameterList, Required: true, Help: `an event list with its window, such as 'purchase.in_last(days(90))'; who has no event of it is not scored`},
		{Name: "amount", Kind: query.ParameterText, Help: "what is added up of each event, such as e.amount or 'e.quantity * e.price'; without it there is no third score"},
		{Name: "frequency", Kind: query.ParameterText, Default: "events", Help: "events: how many they are; or a property, such as order_id: how many different values it has"},
		{Name: "bins", Kind: query.ParameterInt, Default: "5", Help: "how many scores there are, 3 to 10"},
		{Name: "recency-by", Kind: query.ParameterText, Default: "quantile", Help: "how recency is scored: quantile, quantile+1, rank, or edges:30d,60d,90d,180d"},
		{Name: "frequency-by", Kind: query.ParameterText, Default: "quantile", Help: "how frequency is scored: quantile, quantile+1, rank, or edges:2,3,5,10"},
		{Name: "amount-by", Kind: query.ParameterText, Help: "how the amount is scored: quantile (as it is if not given), quantile+1, rank, or edges:50,100,250,1000"},
		{Name: "recency-unit", Kind: query.ParameterDuration, Default: "1d", Help: "recency is told in whole ones of this"},
		{Name: "map", Kind: query.ParameterText, Repeated: true, Default: StandardMap, Help: "which segment each cell is of: r4-5f2-3=NAME,...; every cell once"},
		{Name: "reach", Kind: query.ParameterExpression, Repeated: true, Beside: true, Help: "an attribute that is true of those who can be reached, such as email_opt_in, or another condition: how many of each row it is true of; up to 3"},
		{Name: "since", Kind: query.ParameterInstant, Beside: true, Help: "a date (its start in UTC) or a time before now: how people have gone since then from segment to segment"},
	},
	Tables: []query.ReportTable{cellTable, segmentTable, amountTable, cutTable, flowTable},
	Run:    run,
	Lends:  &query.Lender{Fields: fields, Check: check, Lend: lend},
}

// The dimensions.
const (
	recency = iota // whole units from the last event to now, with a minus: what is greater is better
	frequency
	amount
	dimensions
)

// rfm is the analysis made ready.
type rfm struct {
	study    *query.Study
	workers  int                                                                          // of the study's options
	keys     func(ctx context.Context, ordinals []uint32, f func(key []byte) error) error // of the study
	keep     func(bytes int64) error                                                      // of the study
	dates    []date                                                                       // now; that of --since, if it is given
	units    [dimensions]unit
	ways     [dimensions]way
	money    schema.Attribute // kind and scale of the amount
	has      int              // how many dimensions there are: without an amount two
	bins     int
	round    int64 // what recency is whole ones of, ms
	segments segments
	reach    []reach
	wanted   wanted
}

// reach is a condition of which it is told of how many it is true.
type reach struct {
	text string
	test *query.StudyTest
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	a, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	all, cuts, answer, err := a.scored(ctx)
	if err != nil {
		return query.Report{}, err
	}
	tables, err := a.tables(ctx, all[0], cuts)
	if err == nil && len(all) > 1 {
		var flow query.ReportTable
		flow, err = a.flow(ctx, all[1], all[0])
		tables = append(tables, flow)
	}
	return query.Report{Analysis: name, Tables: tables, Answer: answer}, err
}

// scored reads the numbers of all and scores them, at each date. The cuts are those of now.
func (a *rfm) scored(ctx context.Context) (all []*people, cuts [dimensions][]schema.Value, answer query.Answer, err error) {
	if all, answer, err = a.read(ctx); err != nil {
		return nil, cuts, answer, err
	}
	for i := range all {
		for d := range a.has {
			of, err := a.score(ctx, all[i], d)
			if err != nil {
				return nil, cuts, answer, err
			}
			if i == 0 {
				cuts[d] = of
			}
		}
	}
	return all, cuts, answer, nil
}

func prepare(s *query.Study, args query.Arguments) (*rfm, error) {
	a := &rfm{study: s, workers: s.Parallelism, keys: s.Keys, keep: s.Keep, has: amount}
	round, err := args.Span("recency-unit")
	if err != nil {
		return nil, err
	}
	a.round = round.Milliseconds()
	a.bins, _ = strconv.Atoi(args.One("bins")) // it was checked
	if a.bins < MinBins || a.bins > MaxBins {
		return nil, errBins(a.bins)
	}
	if err := a.addDate(s.Now, s.Compiler(), args); err != nil {
		return nil, err
	}
	a.units[amount] = unit{float: a.money.Kind == schema.Float, scale: a.money.Scale}
	for d, parameter := range [dimensions]string{"recency-by", "frequency-by", "amount-by"} {
		if a.ways[d], err = a.readWay(d, parameter, args.One(parameter)); err != nil {
			return nil, err
		}
	}
	if a.has == amount && args.One("amount-by") != "" {
		return nil, &query.Error{Code: query.CodeInvalid, Message: "--amount-by: there is no amount", Hint: "say what is added up with --amount"}
	}
	if a.segments, err = readSegments(args["map"], a.bins); err != nil {
		return nil, err
	}
	if err := a.readReach(args); err != nil {
		return nil, err
	}
	if err := a.readSince(args.One("since"), args); err != nil {
		return nil, err
	}
	a.wanted, err = a.readWanted(s.Cell)
	return a, err
}

func errBins(n int) error {
	return query.Errorf(query.CodeLimit, "--bins %d: there are %d to %d scores", n, MinBins, MaxBins)
}

// readReach makes the conditions of --reach ready.
func (a *rfm) readReach(args query.Arguments) error {
	texts := args["reach"]
	if n := len(texts); n > MaxReach {
		return query.Errorf(query.CodeLimit, "--reach is given %d times, at most %d", n, MaxReach)
	}
	if err := args.Different("reach"); err != nil {
		return err
	}
	for _, text := range texts {
		test, err := a.study.Condition(text)
		if err != nil {
			return fmt.Errorf("--reach: %w", err)
		}
		a.reach = append(a.reach, reach{text, test})
	}
	return nil
}

// readSince adds the date of --since, if it is given.
func (a *rfm) readSince(text string, args query.Arguments) error {
	if text == "" {
		return nil
	}
	since, err := query.ParseInstant(text)
	since = since.Truncate(time.Millisecond)
	switch {
	case err != nil:
		return fmt.Errorf("--since: %w", err)
	case !since.Before(a.study.Now):
		return query.Errorf(query.CodeInvalid, "--since %s is not before now, %s", text, a.study.Now.Format(time.RFC3339))
	case len(a.segments.names) > MaxFlow:
		return query.Errorf(query.CodeLimit, "--since: the map has %d segments to go between, at most %d", len(a.segments.names), MaxFlow)
	}
	c, _ := a.study.Compiler().At(since)
	return a.addDate(since, c, args)
}

// addDate adds a date at which what is asked of each person is read: what the expressions of
// the language say.
func (a *rfm) addDate(now time.Time, c query.StudyCompiler, args query.Arguments) error {
	list, of := args.One("event"), args.One("amount")
	at := date{now: now.UTC().Truncate(time.Millisecond).UnixMilli()}
	e, err := c.List(list)
	if err != nil {
		return fmt.Errorf("--event: %w", err)
	}
	from, to := query.Every()
	if at.list, err = a.study.List(e, from, to); err != nil {
		return fmt.Errorf("--event: %w", err)
	}
	if how := args.One("frequency"); how != "events" {
		property, err := readProperty(at.list.Event, how)
		if err == nil {
			at.fields[frequency], err = a.field(c, list+".distinct(e, "+property+")")
		}
		if err != nil {
			return err
		}
	}
	if of != "" {
		sum, err := c.Fold(list, of)
		if err != nil {
			return fmt.Errorf("--amount: %w", err)
		}
		measured, err := a.study.Measure(sum, from, to)
		if err != nil {
			return fmt.Errorf("--amount: %w", err)
		}
		a.has, a.money.Kind, a.money.Scale = dimensions, measured.Kind, measured.Scale
		if measured.Kind == schema.Float { // an exact sum needs all of them at once
			at.fields[amount], err = a.field(c, list+".sum(e, "+of+")")
			if err != nil {
				return err
			}
		} else {
			at.list = measured
		}
	}
	a.dates = append(a.dates, at)
	return nil
}

// field makes ready what an expression says.
func (a *rfm) field(c query.StudyCompiler, text string) (*query.StudyField, error) {
	f, err := c.Field(text)
	if err != nil {
		return nil, err
	}
	return a.study.Field(f), nil
}

// readProperty returns how a property is written in an expression.
func readProperty(event *schema.Event, name string) (string, error) {
	if _, err := query.LookupProperty(event, name); err != nil {
		return "", fmt.Errorf("--frequency: %w", err)
	}
	if schema.Usable(name) {
		return "e." + name, nil
	}
	return "e[" + strconv.Quote(name) + "]", nil
}
