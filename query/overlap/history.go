package overlap

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// MaxTimes bounds the times of the history: all sets are counted anew at each.
const MaxTimes = 100

var history = query.ReportTable{Name: "history", Columns: []query.ReportColumn{ //tidy:constant
	{Name: "day"}, {Name: "set"}, {Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}}}

// moment is a time of the history.
type moment struct {
	label string
	at    time.Time
}

// name returns the name of the cell of a set then.
func (m *moment) name(set int) string { return m.label + ":" + letter(set) }

// moments returns the ends of days that are asked about, in order.
func moments(now time.Time, args query.Arguments) ([]moment, error) {
	zone, err := syntax.Zone(args.One("zone"))
	if err != nil {
		return nil, fmt.Errorf("--zone: %w", err)
	}
	days, err := asked(query.LocalDay(zone, now.UnixMilli()), zone, args)
	if err != nil {
		return nil, err
	}
	if len(days) > MaxTimes {
		return nil, query.Errorf(query.CodeLimit, "the history has at most %d days, not %d", MaxTimes, len(days))
	}
	var out []moment
	for _, day := range days {
		end := min(query.DayBegins(zone, day+1)-1, now.UnixMilli())
		out = append(out, moment{query.DateOf(day).Format(time.DateOnly), time.UnixMilli(end).UTC()})
	}
	return out, nil
}

// asked returns the days: those of "at", and the last days of the periods, of which the last
// is today.
func asked(today int64, zone *time.Location, args query.Arguments) (days []int64, err error) {
	for _, text := range args["at"] {
		day, err := schema.ParseOrdered(schema.Date, 0, []byte(text), nil)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--at: %w", err)
		case day > today:
			return nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("--at %s is later than %s, which is today", text, query.DateOf(today).Format(time.DateOnly)), Hint: "--now sets another time"}
		}
		days = append(days, day)
	}
	periods := args.One("periods")
	if periods == "" {
		if args.One("per") != "" {
			return nil, &query.Error{Code: query.CodeInvalid, Message: "--per " + args.One("per") + ": how many?", Hint: "such as --periods 12"}
		}
		return sorted(days), nil
	}
	n, err := strconv.Atoi(periods)
	switch {
	case err != nil || n > MaxTimes:
		return nil, query.Errorf(query.CodeLimit, "the history has at most %d days, not %s", MaxTimes, periods)
	case args.One("per") == "":
		return nil, &query.Error{Code: query.CodeInvalid, Message: "--periods " + periods + ": of what?", Hint: "such as --per week"}
	}
	c, err := args.Calendar(zone)
	if err != nil {
		return nil, err
	}
	days = append(days, today)
	for i := range n - 1 {
		days = append(days, c.Step(c.First(today), -i)-1)
	}
	return sorted(days), nil
}

func sorted(days []int64) []int64 {
	slices.Sort(days)
	return slices.Compact(days)
}

// isHistory reports whether a cell is one of the history, and finds it.
func (o *overlap) isHistory(cell string) (at, set int, ok bool) {
	for at := range o.moments {
		for set := range o.texts {
			if o.moments[at].name(set) == cell {
				return at, set, true
			}
		}
	}
	return 0, 0, false
}

// past counts the people of all sets at the times of the history. The answer has what it
// took to count.
func (o *overlap) past(ctx context.Context, s *query.Study, answer *query.Answer) (query.ReportTable, error) {
	out := history
	wantedAt, wantedSet, wanted := o.isHistory(s.Cell)
	for at := range o.moments {
		m := &o.moments[at]
		then, err := s.At(m.at)
		if err != nil {
			return out, fmt.Errorf("at the end of %s: %w", m.label, err)
		}
		tests, err := testsOf(then, o.texts)
		if err != nil {
			return out, fmt.Errorf("at the end of %s: %w", m.label, err)
		}
		var all []*sizes
		took, err := then.Each(ctx, func() query.ChunkVisitor {
			v := &sizes{tests: tests, wanted: -1}
			if wanted && at == wantedAt {
				v.wanted = wantedSet
			}
			all = append(all, v)
			return v.chunk
		})
		if err != nil {
			return out, err
		}
		answer.BytesRead += took.BytesRead
		var total sizes
		for _, v := range all {
			total.all += v.all
			for i, n := range v.people {
				total.people[i] += n
			}
		}
		for i := range o.texts {
			n := total.people[i]
			out.Rows = append(out.Rows, query.ReportRow{Cells: []string{m.name(i)}, Values: []schema.Value{
				schema.StringValue(m.label), schema.StringValue(letter(i)), number(n), query.Share(n, total.all)}})
		}
	}
	return out, nil
}

// sizes counts the people of sets, on one worker.
type sizes struct {
	tests  []*query.StudyTest
	wanted int // the set whose people are wanted; -1: none
	all    uint64
	people [MaxSets]uint64
}

func (v *sizes) chunk(ctx context.Context, c *query.StudyChunk) error {
	v.all += uint64(c.People.Count())
	for i, t := range v.tests {
		who, err := c.True(ctx, t, c.People)
		if err != nil {
			return err
		}
		v.people[i] += uint64(who.Count())
		if i == v.wanted {
			c.Put(who)
		}
	}
	return nil
}
