package syntax

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func (p *printer) event(id schema.EventID) string {
	v := p.schema.EventByID(id)
	switch {
	case v == nil:
		return fmt.Sprintf("event %d", id)
	case Bare(v.Name):
		return v.Name
	}
	return "ev[" + strconv.Quote(v.Name) + "]"
}

// list writes an event list in one line, every condition in the order of [query.Events].
func (p *printer) list(l *query.Events) string {
	out := p.event(l.Event)
	if l.From > schema.MinTimestamp {
		out += " from " + moment(l.From)
	}
	out += " before " + moment(l.To)
	for _, c := range l.When {
		out += p.clock(c)
	}
	for i, n := range l.Filter {
		out += [...]string{" where ", " and "}[min(i, 1)] + p.inline(n)
	}
	if l.Then != nil {
		out += fmt.Sprintf(" at most %s after (%s)", milliseconds(l.Then.Within), p.list(l.Then.After))
	}
	return out
}

func moment(t int64) string { return schema.TimestampValue(t).String() }

func milliseconds(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

func (p *printer) clock(c query.Clock) string {
	out := ""
	if c.Weekdays != 0 {
		var days []string
		for d := time.Sunday; d <= time.Saturday; d++ {
			if c.Weekdays&(1<<d) != 0 {
				days = append(days, d.String()[:3])
			}
		}
		out += " on " + strings.Join(days, ", ")
	}
	if c.From != 0 || c.To != 0 {
		out += fmt.Sprintf(" at %02d:00 to %02d:00", int(c.From.Hours()), int(c.To.Hours()))
	}
	return out + " in " + c.Zone.String()
}

func (p *printer) sequence(n *query.Sequence) string {
	steps := make([]string, len(n.Of))
	for i, l := range n.Of {
		steps[i] = "(" + p.list(l) + ")"
	}
	return "sequence within " + milliseconds(n.Within) + " of " + strings.Join(steps, ", then ")
}

func (p *printer) one(last bool, l *query.Events) string {
	if last {
		return "last of (" + p.list(l) + ")"
	}
	return "first of (" + p.list(l) + ")"
}

func (p *printer) fold(f *query.Fold) string {
	of := ""
	switch f.Op {
	case query.FoldFirst, query.FoldLast:
		return p.arith(f.Of) + " of " + p.one(f.Op == query.FoldLast, f.List)
	case query.FoldDistinct:
		of = p.name(f.Property) + " of "
	case query.FoldDistinctDays:
		of = "days in " + f.Zone.String() + " of "
	default:
		if f.Of != nil {
			of = p.arith(f.Of) + " of "
		}
	}
	name := [...]string{query.FoldCount: "count", query.FoldSum: "sum", query.FoldMin: "min", query.FoldMax: "max",
		query.FoldAverage: "average", query.FoldDistinct: "distinct", query.FoldDistinctDays: "distinct"}[f.Op]
	return name + "(" + of + p.list(f.List) + ")"
}

// inline writes a tree over the properties of an event in one line.
func (p *printer) inline(n query.Node) string {
	list := func(of []query.Node, word string) string {
		out := make([]string, len(of))
		for i, x := range of {
			out[i] = p.inline(x)
		}
		return "(" + strings.Join(out, " "+word+" ") + ")"
	}
	switch n := n.(type) {
	case *query.And:
		return list(n.Of, "and")
	case *query.Or:
		return list(n.Of, "or")
	case *query.Not:
		return "not (" + p.inline(n.Of) + ")"
	case *query.Compare:
		return p.comparison(n)
	case *query.Const:
		return [...]string{"false", "true", "unknown"}[n.Value]
	}
	return p.label(n)
}
