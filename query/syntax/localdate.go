package syntax

import (
	"math"
	"sort"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// compareLocalDate translates date(t, "zone") fn d, t an attribute, into ranges of
// the timestamp; nil if the operand is something else.
func (w *walker) compareLocalDate(e ast.Expr, fn string, l ast.Expr, d date) query.Node {
	if l.Kind() != ast.CallKind || l.AsCall().FunctionName() != "date" || len(l.AsCall().Args()) != 2 {
		return nil
	}
	a := w.attr(l.AsCall().Args()[0])
	name, ok := w.constText(l.AsCall().Args()[1])
	if a == nil || !ok {
		return nil
	}
	zone, err := w.zones.find(name)
	if err != nil {
		return nil
	}
	from := func(d date) query.Node { return rangesOf(w.place(e), a.ID, instantsFrom(zone, d)) }
	switch fn {
	case operators.Less:
		return w.before(e, a.ID, instantsFrom(zone, d))
	case operators.LessEquals:
		return w.before(e, a.ID, instantsFrom(zone, d+1))
	case operators.Greater:
		return from(d + 1)
	case operators.GreaterEquals:
		return from(d)
	}
	x, y := instantsFrom(zone, d), instantsFrom(zone, d+1)
	if len(x) == 1 && len(y) == 1 {
		return rangesOf(w.place(e), a.ID, []interval{{x[0].lo, y[0].lo - 1}})
	}
	return &query.And{Of: []query.Node{from(d), &query.Not{Of: from(d + 1)}}}
}

// before is the complement of instantsFrom.
func (w *walker) before(e ast.Expr, attr schema.AttrID, of []interval) query.Node {
	if len(of) == 1 {
		return rangesOf(w.place(e), attr, []interval{{math.MinInt64, of[0].lo - 1}})
	}
	return &query.Not{Of: rangesOf(w.place(e), attr, of)}
}

// interval is a closed interval of milliseconds.
type interval struct{ lo, hi int64 }

func rangesOf(at query.Place, attr schema.AttrID, of []interval) query.Node {
	nodes := make([]query.Node, len(of))
	for i, x := range of {
		nodes[i] = &query.Range{Place: at, Attr: attr, Lo: x.lo, Hi: x.hi}
	}
	if len(nodes) == 1 {
		return nodes[0]
	}
	return &query.Or{Of: nodes}
}

// instantsFrom returns when the local date in a zone is d or later. That is more than
// one interval where clocks went back over midnight: then the day before returns
// for an hour.
//
// The offsets are sampled every hour and the change between two samples is searched:
// time.Time.ZoneBounds is not used, because for some zones it returns bounds that do
// not enclose the instant (the last day of a leap year).
func instantsFrom(zone *time.Location, d date) []interval {
	const slack, step = 2 * 86400, 3600 // no zone was ever two days away from UTC
	midnight := int64(d) * 86400
	var out []interval
	offset := offsetAt(zone, midnight-slack)
	for t := midnight - slack; t < midnight+slack; {
		end, next := t+step, offsetAt(zone, t+step)
		if next != offset {
			end = t + 1 + int64(sort.Search(step-1, func(i int) bool { return offsetAt(zone, t+1+int64(i)) != offset }))
			next = offsetAt(zone, end)
		}
		if lo := max(t, midnight-offset); lo < end {
			if n := len(out); n > 0 && out[n-1].hi+1 == lo*1000 {
				out[n-1].hi = end*1000 - 1
			} else {
				out = append(out, interval{lo * 1000, end*1000 - 1})
			}
		}
		t, offset = end, next
	}
	out[len(out)-1].hi = math.MaxInt64
	return out
}

// offsetAt returns how many seconds a zone is ahead of UTC at an instant in seconds.
func offsetAt(zone *time.Location, t int64) int64 {
	_, offset := time.Unix(t, 0).In(zone).Zone()
	return int64(offset)
}
