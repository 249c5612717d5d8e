package syntax

import (
	"errors"
	"math"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// moving is a time, a date or a duration that may move with now: slope * now + value, in
// milliseconds. A part of a millisecond makes the value any from value to value + slack. With
// a zone it is slope * (the start of the UTC day that is the local date of now + shift) +
// value, shift being short of the truth by up to slack.
type moving struct {
	slope, value, slack int64
	zone                *time.Location
	shift               int64
}

func instantOf(ms int64) moving { return moving{value: ms} }

// adds reports whether the sum of two values, or their difference, is one too.
func (a moving) adds(b moving) bool {
	return a.slope == 0 || b.slope == 0 || a.zone == nil && b.zone == nil
}

// plus returns a + sign * b.
func (a moving) plus(b moving, sign int64) moving {
	out := moving{slope: a.slope + sign*b.slope, value: sum(a.value, sign*b.value), slack: a.slack + b.slack, zone: a.zone, shift: a.shift}
	if sign < 0 {
		out.value -= b.slack
	}
	if out.zone == nil {
		out.zone, out.shift = b.zone, b.shift
	}
	return out
}

// farAway bounds values, so that sums of them do not overflow: it is beyond all times and durations.
const farAway = math.MaxInt64 / 8

func sum(a, b int64) int64 { return max(-farAway, min(farAway, a+b)) }

// times returns all that a calculation of times can be, whichever events its lists hold; it
// is false if it cannot be said. Nothing means that it is always absent.
func (v *momentVisitor) times(e ast.Expr) ([]moving, bool) {
	if isIdent(e, "now") {
		return []moving{{slope: 1}}, true
	}
	if b := v.expr.verbs[e.ID()]; b != nil {
		if b.body == nil || b.name != "min" && b.name != "max" {
			return nil, false
		}
		return v.ofActs(b, func() ([]moving, bool) { return v.times(b.body) })
	}
	if e.Kind() == ast.SelectKind {
		if b := v.expr.verbs[e.AsSelect().Operand().ID()]; b != nil && (b.name == "first" || b.name == "last") {
			field := e.AsSelect().FieldName()
			return v.ofActs(b, func() ([]moving, bool) { return v.property(b.event, field), true })
		}
	}
	if !v.readsEvents(e) && !v.mentionsNow(e) {
		return v.constant(e)
	}
	if e.Kind() != ast.CallKind {
		return nil, false
	}
	switch c := e.AsCall(); c.FunctionName() {
	case operators.Add, operators.Subtract:
		return v.added(e, c)
	case operators.Conditional:
		a, ok := v.times(c.Args()[1])
		b, ok2 := v.times(c.Args()[2])
		return append(a, b...), ok && ok2
	case "date":
		return v.localDates(c)
	}
	return nil, false
}

// ofActs returns what f says of each event of a verb's list, and more: of each of its type.
func (v *momentVisitor) ofActs(b *verb, f func() ([]moving, bool)) (out []moving, ok bool) {
	ok = true
	since := int64(math.MinInt64)
	if b.name == "last" && v.isPlain(b.of) {
		since = v.lastBefore(b.event)
	}
	err := v.eachAct(b.event, func(act query.Act) error {
		if !ok || act.Time < since {
			return nil
		}
		x, is := f()
		if ok = ok && is && len(out)+len(x) <= maxTimes; ok {
			out = append(out, x...)
		}
		return nil
	})
	return out, ok && v.went(err)
}

// went reports whether nothing went wrong, and remembers the first that did.
func (v *momentVisitor) went(err error) bool {
	if v.err == nil {
		v.err = err
	}
	return err == nil
}

// isPlain reports whether a list has all events of a type, or all of the last days: then
// the last event of the type is the last of the list, until a later one comes.
func (v *momentVisitor) isPlain(list ast.Expr) bool {
	b := v.expr.verbs[list.ID()]
	return b == nil || b.name == "in_last" && v.isPlain(b.of)
}

// lastBefore returns the time of the last event of a type so far.
func (v *momentVisitor) lastBefore(of *schema.Event) int64 {
	last := int64(math.MinInt64)
	acts, _ := v.facts.Acts(of.ID) // whoever reads on meets the error
	for i := range acts {
		if acts[i].Time <= v.now {
			last = acts[i].Time
		}
	}
	return last
}

// property returns a time that the item has.
func (v *momentVisitor) property(of *schema.Event, field string) []moving {
	if field == timeField {
		return []moving{instantOf(v.item.Time)}
	}
	for i := range of.Properties {
		if of.Properties[i].Name == field && !v.item.Values[i].IsAbsent() {
			x, _ := fixedAt(v.item.Values[i])
			return []moving{x}
		}
	}
	return nil
}

// fixedAt returns a stored time or date.
func fixedAt(s schema.Value) (moving, bool) {
	switch s.Kind() {
	case schema.Timestamp:
		return instantOf(s.Ordered()), true
	case schema.Date:
		return instantOf(s.Ordered() * dayMillis), true
	}
	return moving{}, false
}

// added returns the sums, or differences, and where they leave their kind, which is where
// they begin or cease to have a value.
func (v *momentVisitor) added(e ast.Expr, c ast.CallExpr) ([]moving, bool) {
	left, ok := v.times(c.Args()[0])
	right, ok2 := v.times(c.Args()[1])
	if !ok || !ok2 || len(left)*len(right) > maxTimes {
		return nil, false
	}
	sign := int64(1)
	if c.FunctionName() == operators.Subtract {
		sign = -1
	}
	lo, hi := int64(schema.MinTimestamp), int64(schema.MaxTimestamp)
	if v.expr.checked.GetType(e.ID()) == cel.DurationType {
		lo, hi = math.MinInt64/int64(time.Millisecond)-1, math.MaxInt64/int64(time.Millisecond)
	}
	var out []moving
	for _, a := range left {
		for _, b := range right {
			if !a.adds(b) {
				return nil, false
			}
			x := a.plus(b, sign)
			out = append(out, x)
			for _, end := range [...]int64{lo, hi, hi + 1} {
				if ok, err := v.solve(x.plus(instantOf(end), -1)); !v.went(err) || !ok {
					return nil, false
				}
			}
		}
	}
	return out, true
}

// localDates returns date(t, zone).
func (v *momentVisitor) localDates(c ast.CallExpr) ([]moving, bool) {
	if len(c.Args()) != 2 || v.readsEvents(c.Args()[1]) || v.mentionsNow(c.Args()[1]) {
		return nil, false
	}
	times, ok := v.times(c.Args()[0])
	name, err := v.value(c.Args()[1])
	text, isText := name.(types.String)
	switch {
	case errors.Is(err, errAbsent):
		return nil, ok
	case err != nil || !isText || !ok:
		return nil, false
	}
	zone, err := v.zones.find(string(text))
	if err != nil {
		return nil, false
	}
	out := make([]moving, 0, len(times))
	for _, t := range times {
		switch {
		case t.zone != nil:
			return nil, false
		case t.slope == 0:
			for ms := t.value; ms <= t.value+t.slack; ms += max(1, t.slack) {
				out = append(out, instantOf(int64(dateOf(time.UnixMilli(ms).UTC(), zone))*dayMillis))
			}
		case t.slope == 1:
			out = append(out, moving{slope: 1, zone: zone, shift: t.value, slack: t.slack})
		default:
			return nil, false
		}
	}
	return out, true
}

// readsEvents reports whether a calculation reads a list of events, itself or by a segment.
func (v *momentVisitor) readsEvents(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) {
		found = found || n.Kind() == ast.SelectKind && isIdent(n.AsSelect().Operand(), "ev") ||
			n.Kind() == ast.CallKind && n.AsCall().FunctionName() == fnSegment
	}))
	return found
}

// constant returns what the interpreter makes of a calculation that is the same at all times.
func (v *momentVisitor) constant(e ast.Expr) ([]moving, bool) {
	x, err := v.value(e)
	if err != nil { // it has no value, and never will
		return nil, true
	}
	switch x := x.(type) {
	case types.Timestamp:
		return []moving{withSlack(x.UnixMilli(), x.Nanosecond()%1e6 != 0)}, true
	case types.Duration:
		ms := floorDiv(int64(x.Duration), int64(time.Millisecond))
		return []moving{withSlack(ms, x.Duration%time.Millisecond != 0)}, true
	case date:
		return []moving{instantOf(int64(x) * dayMillis)}, true
	}
	return nil, false
}

func withSlack(ms int64, rest bool) moving {
	if rest {
		return moving{value: ms, slack: 1}
	}
	return instantOf(ms)
}

// value evaluates a calculation for the profile and the item.
func (v *momentVisitor) value(e ast.Expr) (ref.Val, error) {
	p, ok := v.programs[e.ID()]
	if !ok {
		part := ast.NewCheckedAST(ast.NewAST(e, v.expr.checked.SourceInfo()), v.expr.checked.TypeMap(), v.expr.checked.ReferenceMap())
		var err error
		if p, err = v.expr.env.cel.PlanProgram(part); err != nil {
			return nil, err
		}
		v.programs[e.ID()] = p
	}
	a := itemActivation{activation{&row{expr: v.expr, values: v.facts.Value, inList: listed(v.facts.Value),
		env: query.Env{Now: time.UnixMilli(v.now).UTC()}}}, v.item}
	x, _, err := p.Eval(a)
	return x, err
}

// itemActivation is an activation within a macro.
type itemActivation struct {
	activation
	item *query.Act
}

// ResolveName implements interpreter.Activation.
func (a itemActivation) ResolveName(name string) (any, bool) {
	if name == itemVar && a.item != nil {
		return act{*a.item}, true
	}
	return a.activation.ResolveName(name)
}
