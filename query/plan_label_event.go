package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// eventLabel is label for the nodes over events.
func eventLabel(s *schema.Schema, n Node) string {
	switch n := n.(type) {
	case *Any:
		return listLabel(s, n.List) + ".any()"
	case *Sequence:
		return "sequence(" + milliseconds(n.Within) + ", " + list(n.Of, func(e *Events) string { return listLabel(s, e) }) + ").any()"
	case *OneIs:
		end := ".first()"
		if n.Last {
			end = ".last()"
		}
		return listLabel(s, n.List) + end + " is " + eventCondition(s, n.Test)
	case *AverageIs:
		return listLabel(s, n.List) + ".avg(e, " + arithLabel(s, n.Of) + ")" + comparisons[n.Op] + literal(n.With)
	}
	return fmt.Sprintf("%T", n)
}

func foldLabel(s *schema.Schema, f *Fold) string {
	l := listLabel(s, f.List)
	switch f.Op {
	case FoldCount:
		return l + ".count()"
	case FoldDistinct:
		return l + ".distinct(e, " + named(s, f.Property) + ")"
	case FoldDistinctDays:
		return l + ".distinct_days(" + zoneLabel(f.Zone) + ")"
	case FoldFirst, FoldLast:
		end := map[FoldOp]string{FoldFirst: ".first()", FoldLast: ".last()"}[f.Op]
		if c, ok := f.Of.(*Column); ok {
			return l + end + strings.TrimPrefix(named(s, c.Attr), "e")
		}
		return l + end + " of " + arithLabel(s, f.Of)
	case FoldSum, FoldMin, FoldMax, FoldAverage:
		return l + "." + map[FoldOp]string{FoldSum: "sum", FoldMin: "min", FoldMax: "max", FoldAverage: "avg"}[f.Op] + "(e, " + arithLabel(s, f.Of) + ")"
	}
	return l + ".fold"
}

func zoneLabel(z *time.Location) string {
	if z == nil {
		z = time.UTC
	}
	return strconv.Quote(z.String())
}

// eventNamed returns an event type as an expression writes it.
func eventNamed(s *schema.Schema, id schema.EventID) string {
	e := s.EventByID(id)
	switch {
	case e == nil:
		return fmt.Sprintf("event %d", id)
	case bare(e.Name):
		return e.Name
	}
	return "ev[" + strconv.Quote(e.Name) + "]"
}

// listLabel says what a list holds; its window as an interval of times.
func listLabel(s *schema.Schema, e *Events) string {
	if e == nil {
		return "?"
	}
	out := eventNamed(s, e.Event) + windowLabel(e.From, e.To)
	for _, c := range e.When {
		if c.Weekdays&127 != 0 {
			var days []string
			for d := time.Sunday; d <= time.Saturday; d++ {
				if c.Weekdays>>d&1 != 0 {
					days = append(days, d.String()[:3])
				}
			}
			out += ".on_weekdays([" + strings.Join(days, ", ") + "], " + zoneLabel(c.Zone) + ")"
		}
		if c.From != 0 || c.To != 0 {
			out += ".at_hours(" + hourLabel(c.From) + ", " + hourLabel(c.To) + ", " + zoneLabel(c.Zone) + ")"
		}
	}
	for _, f := range e.Filter {
		out += ".filter(e, " + eventCondition(s, f) + ")"
	}
	if e.Then != nil {
		out = listLabel(s, e.Then.After) + ".then(" + out + ", " + milliseconds(e.Then.Within) + ")"
	}
	return out
}

// eventCondition writes a whole condition out: its nodes do not stand in the plan.
func eventCondition(s *schema.Schema, n Node) string {
	join := func(of []Node, by string) string {
		var out []string
		for _, k := range of {
			out = append(out, eventCondition(s, k))
		}
		return "(" + strings.Join(out, by) + ")"
	}
	switch n := n.(type) {
	case *And:
		return join(n.Of, " && ")
	case *Or:
		return join(n.Of, " || ")
	case *Not:
		return "!(" + eventCondition(s, n.Of) + ")"
	case nil:
		return "?"
	}
	return label(s, n)
}

// windowLabel returns the interval as whoever asked would write it: windows that end now
// are open at their begin and closed at their end, others the other way round.
func windowLabel(from, to int64) string {
	marks := [...]string{" in [", ")", " before "}
	if from%1000 == 1 || from <= schema.MinTimestamp && to%1000 == 1 {
		from, to = before(from, 1), before(to, 1)
		marks = [...]string{" in (", "]", " up to "}
	}
	switch {
	case from <= schema.MinTimestamp && to > schema.MaxTimestamp:
		return ""
	case from <= schema.MinTimestamp:
		return marks[2] + momentLabel(to)
	}
	return marks[0] + momentLabel(from) + ", " + momentLabel(to) + marks[1]
}

// momentLabel returns a time, a midnight as its date alone.
func momentLabel(ms int64) string {
	if ms%msPerDay == 0 {
		return time.UnixMilli(ms).UTC().Format(time.DateOnly)
	}
	return schema.TimestampValue(ms).String()
}

func hourLabel(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d / time.Hour))
	}
	return d.String()
}

// milliseconds returns a duration in the largest unit that says it whole.
func milliseconds(ms int64) string {
	for _, u := range []struct {
		name string
		ms   int64
	}{{"days", msPerDay}, {"hours", 3600000}, {"minutes", 60000}, {"seconds", 1000}} {
		if ms != 0 && ms%u.ms == 0 {
			return u.name + "(" + strconv.FormatInt(ms/u.ms, 10) + ")"
		}
	}
	return strconv.FormatInt(ms, 10) + " ms"
}
