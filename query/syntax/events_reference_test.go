package syntax

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file is the part of the slow, obvious evaluation that is about events, written
// from query/event.go.

// until returns the acts of a type up to now.
func (p person) until(id schema.EventID) []query.Act {
	return slices.DeleteFunc(slices.Clone(p.acts[id]), func(a query.Act) bool { return a.Time > p.env.Now.UnixMilli() })
}

// event is one act with its properties as values.
func (p person) event(id schema.EventID, a query.Act) person {
	values := map[schema.AttrID]schema.Value{schema.TimeProperty: schema.TimestampValue(a.Time)}
	for i, of := range p.schema.EventByID(id).Properties {
		values[of.ID] = a.Values[i]
	}
	return person{values: values, schema: p.schema, env: p.env}
}

// listed returns the acts of a list.
func (p person) listed(l *query.Events) []query.Act {
	var out []query.Act
	for _, a := range p.acts[l.Event] {
		if l.From <= a.Time && a.Time < l.To && p.passes(l, a) {
			out = append(out, a)
		}
	}
	return out
}

func (p person) passes(l *query.Events, a query.Act) bool {
	for _, c := range l.When {
		local := time.UnixMilli(a.Time).In(c.Zone)
		if c.Weekdays != 0 && c.Weekdays&(1<<local.Weekday()) == 0 {
			return false
		}
		h, m, s := local.Clock()
		at := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(local.Nanosecond())
		in := c.From <= at && at < c.To
		if c.To <= c.From {
			in = c.From <= at || at < c.To
		}
		if !in {
			return false
		}
	}
	for _, f := range l.Filter {
		if t, _ := evaluate(f, p.event(l.Event, a)); t != query.True {
			return false
		}
	}
	if l.Then == nil {
		return true
	}
	return slices.ContainsFunc(p.listed(l.Then.After), func(b query.Act) bool {
		return a.Time-l.Then.Within <= b.Time && b.Time < a.Time
	})
}

func evaluateEvents(n query.Node, p person) (query.Truth, bool) {
	switch n := n.(type) {
	case *query.Any:
		return truthOf(len(p.listed(n.List)) > 0), false
	case *query.Sequence:
		return truthOf(p.follows(n.Of, nil, n.Within)), false
	case *query.OneIs:
		acts := p.listed(n.List)
		if len(acts) == 0 {
			p.none()
			return query.Unknown, false
		}
		one := p.event(n.List.Event, acts[0])
		if n.Last {
			one = p.event(n.List.Event, acts[len(acts)-1])
		}
		one.absent = p.absent
		return evaluate(n.Test, one)
	case *query.AverageIs:
		values := p.valuesOf(n.List, n.Of)
		if len(values) == 0 {
			p.none()
			return query.Unknown, false
		}
		sum, with := new(big.Rat), rational(fromValue(n.With))
		for _, v := range values {
			sum.Add(sum, rational(v))
		}
		c := sum.Cmp(with.Mul(with, new(big.Rat).SetInt64(int64(len(values)))))
		return truthOf([...]bool{c == 0, c != 0, c < 0, c <= 0, c > 0, c >= 0}[n.Op]), false
	}
	panic(fmt.Sprintf("no reference for %T", n))
}

// follows tries every choice of one act of each list.
func (p person) follows(lists []*query.Events, times []int64, within int64) bool {
	if len(lists) == 0 {
		return times[len(times)-1]-times[0] <= within
	}
	return slices.ContainsFunc(p.listed(lists[0]), func(a query.Act) bool {
		if len(times) > 0 && a.Time <= times[len(times)-1] {
			return false
		}
		return p.follows(lists[1:], append(slices.Clone(times), a.Time), within)
	})
}

// valuesOf returns what a calculation makes of each event that has it.
func (p person) valuesOf(l *query.Events, of query.Arith) []result {
	var out []result
	for _, a := range p.listed(l) {
		if v := calculate(of, p.event(l.Event, a)); !v.absent && !v.failed {
			out = append(out, v)
		}
	}
	return out
}

func foldOf(f *query.Fold, p person) result {
	acts := p.listed(f.List)
	seen := map[string]bool{}
	switch f.Op {
	case query.FoldCount:
		return fromValue(schema.IntValue(int64(len(acts))))
	case query.FoldDistinct:
		for _, a := range acts {
			if v := p.event(f.List.Event, a).value(f.Property); !v.IsAbsent() {
				seen[v.String()] = true
			}
		}
		return fromValue(schema.IntValue(int64(len(seen))))
	case query.FoldDistinctDays:
		for _, a := range acts {
			seen[time.UnixMilli(a.Time).In(f.Zone).Format(time.DateOnly)] = true
		}
		return fromValue(schema.IntValue(int64(len(seen))))
	case query.FoldFirst, query.FoldLast:
		if len(acts) == 0 {
			return result{absent: true}
		}
		if f.Op == query.FoldLast {
			slices.Reverse(acts)
		}
		return calculate(f.Of, p.event(f.List.Event, acts[0]))
	}
	values := p.valuesOf(f.List, f.Of)
	if len(values) == 0 && f.Op != query.FoldSum {
		return result{absent: true}
	}
	switch f.Op {
	case query.FoldSum:
		return sumOf(values, f)
	case query.FoldAverage:
		if f.Kind != schema.Float || f.Scale != 0 {
			panic(fmt.Sprintf("an average of kind %v/%d", f.Kind, f.Scale))
		}
		return result{kind: schema.Float, f: sumFloat(values) / float64(len(values))}
	}
	best := values[0]
	for _, v := range values[1:] {
		switch {
		case v.kind == schema.Float && f.Op == query.FoldMin:
			best.f = min(best.f, v.f)
		case v.kind == schema.Float:
			best.f = max(best.f, v.f)
		case rational(v).Cmp(rational(best)) < 0 == (f.Op == query.FoldMin):
			best = v
		}
	}
	return best
}

func sumOf(values []result, f *query.Fold) result {
	if f.Kind == schema.Float {
		return result{kind: schema.Float, f: sumFloat(values)}
	}
	sum := new(big.Int)
	for _, v := range values {
		if v.kind != f.Kind || v.scale != f.Scale {
			panic(fmt.Sprintf("a %v/%d in a sum of %v/%d", v.kind, v.scale, f.Kind, f.Scale))
		}
		sum.Add(sum, v.n)
	}
	return exactly(sum, f.Kind, f.Scale)
}

// sumFloat adds numbers exactly and rounds once.
func sumFloat(values []result) float64 {
	sum, special := new(big.Rat), 0.0
	for _, v := range values {
		switch {
		case v.kind != schema.Float:
			sum.Add(sum, rational(v))
		case math.IsInf(v.f, 0) || math.IsNaN(v.f):
			special += v.f
		default:
			sum.Add(sum, new(big.Rat).SetFloat64(v.f))
		}
	}
	if special != 0 {
		return special
	}
	f, _ := sum.Float64()
	return f
}

// countList counts what stands in a list.
func countList(l *query.Events, kinds map[string]int) {
	note := func(is bool, what string) {
		if is {
			kinds[what]++
		}
	}
	note(l.From > schema.MinTimestamp, "From")
	note(len(l.When) > 1, "When twice")
	for _, c := range l.When {
		note(c.Weekdays != 0, "Weekdays")
		note(c.To > c.From, "Hours")
		note(c.To < c.From, "Hours over midnight")
	}
	for _, f := range l.Filter {
		kinds["Filter"]++
		countKinds(f, kinds)
	}
	if l.Then != nil {
		kinds["Then"]++
		countList(l.Then.After, kinds)
	}
}

func countArith(a query.Arith, kinds map[string]int) {
	switch a := a.(type) {
	case *query.Binary:
		countArith(a.L, kinds)
		countArith(a.R, kinds)
	case *query.Negate:
		countArith(a.Of, kinds)
	case *query.Convert:
		countArith(a.Of, kinds)
	case *query.Fold:
		kinds[[...]string{"count", "sum", "min", "max", "average", "distinct", "distinct days", "first", "last"}[a.Op]]++
		kinds["fold "+a.Kind.String()]++
		countList(a.List, kinds)
	}
}
