package syntax

import (
	"math"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// list translates an event list; false if it has no plan. The list belongs to the caller.
func (w *walker) list(e ast.Expr) (*query.Events, bool) {
	if e.Kind() == ast.SelectKind && isIdent(e.AsSelect().Operand(), "ev") {
		v := w.expr.env.schema.LookupEvent(e.AsSelect().FieldName())
		// No event is earlier than the earliest timestamp, and none after now is seen.
		return &query.Events{Place: w.place(e), Event: v.ID, From: schema.MinTimestamp, To: w.now.Now.UnixMilli() + 1}, true
	}
	v := w.expr.verbs[e.ID()]
	if v == nil || v.of == nil || !isWindow(v.name) {
		return nil, false
	}
	l, ok := w.list(v.of)
	if !ok {
		return nil, false
	}
	switch v.name {
	case "in_last", "between":
		ok = v.fixed
		clip(l, v.lo, v.hi-1)
	case "at_hours", "on_weekdays":
		ok = v.zone != nil
		l.When = append(l.When, v.clock)
	case "filter":
		ok = w.restrict(l, v, false)
	case "then":
		after := l
		l, ok = w.list(v.lists[0])
		ok = ok && v.fixed && l.Then == nil
		if ok {
			l.Then = &query.Then{After: after, Within: v.lo}
		}
	}
	if !ok {
		return nil, false
	}
	l.Place = w.place(e)
	return l, true
}

// isWindow tells the verbs that make a list of a list.
func isWindow(name string) bool {
	switch name {
	case "in_last", "between", "at_hours", "on_weekdays", "filter", "then":
		return true
	}
	return false
}

// inside runs f with a walker for what is said of one event, and reports whether all of
// it had a plan.
func (w *walker) inside(v *schema.Event, item int64, f func(in *walker)) bool {
	in := &walker{expr: w.expr, cat: w.cat, zones: w.zones, now: w.now, event: v, item: item}
	f(in)
	if w.err == nil {
		w.err = in.err
	}
	return !in.unplanned && in.err == nil
}

// restrict adds the condition of a verb to a list, or its contrary; false if it has no plan.
func (w *walker) restrict(l *query.Events, v *verb, contrary bool) bool {
	var n query.Node
	if !w.inside(v.event, 0, func(in *walker) { n = in.node(v.body) }) {
		return false
	}
	if contrary {
		n = &query.Not{Of: n}
	}
	filter := []query.Node{junction(append(slices.Clone(l.Filter), n), true)}
	if and, ok := filter[0].(*query.And); ok {
		filter = and.Of
	}
	l.Filter = nil
	for _, n := range filter {
		switch n := n.(type) {
		case *query.Range:
			if n.Attr == schema.TimeProperty {
				clip(l, n.Lo, n.Hi)
				continue
			}
		case *query.Const:
			if n.Value == query.True {
				continue
			}
		}
		l.Filter = append(l.Filter, n)
	}
	return true
}

// clip cuts a list's window to the times from lo to hi, both included; none if lo > hi.
func clip(l *query.Events, lo, hi int64) {
	if lo > hi {
		l.To = l.From
	}
	if hi < math.MaxInt64 {
		l.To = min(l.To, hi+1)
	}
	l.From = min(max(l.From, lo), l.To)
}

// eventTest translates a verb that is true or false; nil if there is no plan.
func (w *walker) eventTest(e ast.Expr) query.Node {
	v := w.expr.verbs[e.ID()]
	if v == nil || w.event != nil {
		return nil
	}
	if v.name == "sequence" {
		return w.sequence(e, v)
	}
	if v.name != "any" && v.name != "exists" && v.name != "all" {
		return nil
	}
	l, ok := w.list(v.of)
	if ok && v.body != nil {
		ok = w.restrict(l, v, v.name == "all")
	}
	if !ok {
		return nil
	}
	n := &query.Any{Place: w.place(e), List: l}
	if v.name == "all" { // no event for which it is false
		return &query.Not{Of: n}
	}
	return n
}

func (w *walker) sequence(e ast.Expr, v *verb) query.Node {
	n := &query.Sequence{Place: w.place(e), Within: v.lo}
	for _, x := range v.lists {
		l, ok := w.list(x)
		if !ok {
			return nil
		}
		n.Of = append(n.Of, l)
	}
	if !v.fixed {
		return nil
	}
	return n
}

// oneIs translates a test of the first or the last event of one list; nil if the
// expression is something else.
func (w *walker) oneIs(e ast.Expr) query.Node {
	var at []ast.Expr
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) {
		if v := w.expr.verbs[n.ID()]; v != nil && (v.name == "first" || v.name == "last") {
			at = append(at, n)
		}
	}))
	if len(at) != 1 || w.event != nil {
		return nil
	}
	v := w.expr.verbs[at[0].ID()]
	l, ok := w.list(v.of)
	if !ok {
		return nil
	}
	var test query.Node
	if !w.inside(v.event, at[0].ID(), func(in *walker) { test = simplify(in.node(e)) }) {
		return nil
	}
	return &query.OneIs{Place: w.place(e), List: l, Last: v.name == "last", Test: test}
}

// fold translates a number made of an event list; false if it has no plan or is
// something else.
func (w *walker) fold(e ast.Expr) (term, bool) {
	if e.Kind() == ast.SelectKind {
		return w.foldOne(e.AsSelect())
	}
	v := w.expr.verbs[e.ID()]
	if v == nil || w.event != nil || e.Kind() != ast.CallKind {
		return term{}, false
	}
	f := &query.Fold{Kind: schema.Int}
	switch v.name {
	case "count":
		f.Op = query.FoldCount
	case "sum":
		f.Op = query.FoldSum
	case "min":
		f.Op = query.FoldMin
	case "max":
		f.Op = query.FoldMax
	case "avg":
		f.Op = query.FoldAverage
	case "distinct":
		f.Op = query.FoldDistinct
	case "distinct_days":
		f.Op, f.Zone = query.FoldDistinctDays, v.zone
	default:
		return term{}, false
	}
	l, ok := w.list(v.of)
	if !ok || f.Op == query.FoldDistinctDays && f.Zone == nil {
		return term{}, false
	}
	f.List = l
	switch {
	case f.Op == query.FoldDistinct:
		f.Property = propertyOf(v.event, v.body.AsSelect().FieldName()).ID
	case v.body != nil:
		var x term
		if !w.inside(v.event, 0, func(in *walker) { x, ok = in.arith(v.body) }) || !ok {
			return term{}, false
		}
		f.Of, f.Kind, f.Scale = x.of, x.kind, uint8(x.scale)
	}
	if f.Op == query.FoldAverage {
		f.Kind, f.Scale = schema.Float, 0
	}
	return term{of: f, kind: f.Kind, scale: int(f.Scale)}, true
}

// foldOne translates list.first().name and list.last().name.
func (w *walker) foldOne(s ast.SelectExpr) (term, bool) {
	v := w.expr.verbs[s.Operand().ID()]
	if v == nil || s.IsTestOnly() || w.event != nil || v.name != "first" && v.name != "last" {
		return term{}, false
	}
	a := propertyOf(v.event, s.FieldName())
	l, ok := w.list(v.of)
	if !ok || !a.Kind.Ordered() || a.Kind == schema.Bool {
		return term{}, false
	}
	f := &query.Fold{Op: query.FoldFirst, List: l, Of: &query.Column{Attr: a.ID, Kind: a.Kind, Scale: a.Scale}, Kind: a.Kind, Scale: a.Scale}
	if v.name == "last" {
		f.Op = query.FoldLast
	}
	return term{of: f, kind: f.Kind, scale: int(f.Scale)}, true
}

// compareAverage compares an average of ints or decimals with a written number, which
// needs no division; nil if the operands are something else.
func (w *walker) compareAverage(e ast.Expr, fn string, l ast.Expr, c ref.Val) query.Node {
	v := w.expr.verbs[l.ID()]
	if v == nil || v.name != "avg" || w.expr.checked.GetType(l.ID()) == cel.DoubleType {
		return nil
	}
	x, ok := w.fold(l)
	d, isDecimal := c.(decimal)
	if !ok || !isDecimal {
		return nil
	}
	with, ok := d.value(d.reduce().scale)
	if !ok {
		return nil
	}
	if with.Scale() == 0 {
		with = schema.IntValue(with.Ordered())
	}
	f := x.of.(*query.Fold)
	return &query.AverageIs{Place: w.place(e), Op: compareOp(fn), List: f.List, Of: f.Of, With: with}
}

// countIsZero makes an Any of the comparison of a count with nothing.
func countIsZero(n *query.Compare) query.Node {
	f, ok := n.L.(*query.Fold)
	if !ok || f.Op != query.FoldCount {
		return n
	}
	c := n.R.(*query.Literal).Value.Ordered()
	switch {
	case n.Op == query.GE && c == 1:
		return &query.Any{Place: n.Place, List: f.List}
	case (n.Op == query.LE || n.Op == query.EQ) && c == 0:
		return &query.Not{Of: &query.Any{Place: n.Place, List: f.List}}
	}
	return n
}
