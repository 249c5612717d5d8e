package syntax

import (
	"context"
	"math"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// When does what an expression says of one profile change, if only time goes by? A text
// meets time in three ways: an event list ends at now, a window of a list has bounds made of
// now, and times, dates and durations made of now are compared. Each can change its mind
// only at instants that follow from the profile's own values and events: an event that is
// still to come enters at its time; an event at t leaves l.in_last(d) at t + d; now - x > d
// turns at x + d; today(z) == x turns at two midnights. This file collects all such
// instants, and it is no matter if there are too many of them: whoever asks evaluates the
// expression at each. What it cannot solve, it says.

const (
	// MaxMoments bounds the instants: each is one evaluation, of about a millisecond.
	MaxMoments = 4096

	// maxTimes bounds what a calculation of times can be: a profile's events and some more.
	maxTimes = 1 << 17

	// maxMeetings bounds how often an event is held against a bound of its window: some 0.2 s.
	maxMeetings = 1 << 24
)

// Facts are one profile, as [Compiler.Moments] sees it.
type Facts struct {
	Value func(schema.AttrID) schema.Value          // of schema.ListsAttr the names of the lists
	Acts  func(schema.EventID) ([]query.Act, error) // those after now too, in order
}

// NotDerivable says that it cannot be said when an expression changes.
type NotDerivable struct{ Cause string }

func (e *NotDerivable) Error() string { return e.Cause }

// Moments returns, in order and in milliseconds, instants after env.Now among which are all
// at which an expression changes for one profile by time alone. The error is a
// [*NotDerivable] if a part is out of reach, or comes from f or ctx.
func (c *Compiler) Moments(ctx context.Context, e *Expr, f Facts, env query.Env) ([]int64, error) {
	m := &moments{ctx: ctx, facts: f, zones: c.base.zones, now: env.Now.UnixMilli(), at: map[int64]bool{}, done: map[*Expr]bool{}}
	if err := m.expr(e); err != nil {
		return nil, err
	}
	out := make([]int64, 0, len(m.at))
	for t := range m.at {
		out = append(out, t)
	}
	slices.Sort(out)
	return out, nil
}

// moments collects instants.
type moments struct {
	ctx   context.Context // of Moments
	facts Facts
	zones *zones
	now   int64
	at    map[int64]bool
	done  map[*Expr]bool
	err   error // the first that a calculation met
}

func (m *moments) expr(e *Expr) error {
	if m.done[e] { // a segment that is named twice
		return nil
	}
	m.done[e] = true
	v := &momentVisitor{moments: m, expr: e, programs: map[int64]cel.Program{}}
	return v.visit(e.checked.Expr())
}

// add adds an instant, if it is later and exists.
func (m *moments) add(t int64) error {
	if t <= m.now || t > schema.MaxTimestamp {
		return nil
	}
	if m.at[t] = true; len(m.at) > MaxMoments {
		return &NotDerivable{"there are too many events at whose times it might change"}
	}
	return nil
}

// between adds the instants from a to b.
func (m *moments) between(a, b int64) error {
	for t := max(a, m.now+1); t <= b; t++ {
		if err := m.add(t); err != nil {
			return err
		}
	}
	return nil
}

// momentVisitor visits the tree of one text. What is said of single events is visited once
// for each event.
type momentVisitor struct {
	*moments
	expr     *Expr
	item     *query.Act            // the event that a macro looks at
	solved   bool                  // now may occur: the comparison or window around has been solved
	programs map[int64]cel.Program // by node
}

// underivable says that a node is out of reach, or what else went wrong there.
func (v *momentVisitor) underivable(e ast.Expr) error {
	if v.err != nil {
		return v.err
	}
	at := v.expr.src.span(v.expr.checked.SourceInfo(), e)
	return &NotDerivable{v.expr.Text[at.Start:at.End]}
}

func (v *momentVisitor) all(of ...ast.Expr) error {
	for _, e := range of {
		if err := v.visit(e); err != nil {
			return err
		}
	}
	return nil
}

func (v *momentVisitor) visit(e ast.Expr) error {
	if b := v.expr.verbs[e.ID()]; b != nil {
		return v.verb(e, b)
	}
	switch e.Kind() {
	case ast.IdentKind:
		if e.AsIdent() == "now" && !v.solved {
			return v.underivable(e)
		}
	case ast.ListKind:
		return v.all(e.AsList().Elements()...)
	case ast.SelectKind:
		if isLent(e.AsSelect()) { // it moves with everybody else's events
			return v.underivable(e)
		}
		if isIdent(e.AsSelect().Operand(), "ev") {
			return v.events(v.expr.env.schema.LookupEvent(e.AsSelect().FieldName()))
		}
		return v.visit(e.AsSelect().Operand())
	case ast.ComprehensionKind: // of a set: lists of events have verbs
		c := e.AsComprehension()
		return v.all(c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result())
	case ast.CallKind:
		return v.call(e, e.AsCall())
	}
	return nil
}

// events adds the instants at which events that are still to come enter their list.
func (v *momentVisitor) events(of *schema.Event) error {
	acts, err := v.facts.Acts(of.ID)
	for i := len(acts) - 1; err == nil && i >= 0 && acts[i].Time > v.now; i-- {
		err = v.add(acts[i].Time)
	}
	return err
}

func (v *momentVisitor) call(e ast.Expr, c ast.CallExpr) error {
	fn := c.FunctionName()
	if fn == fnSegment {
		return v.moments.expr(v.expr.segments[segmentName(e)])
	}
	args := c.Args()
	was := v.solved
	defer func() { v.solved = was }()
	switch {
	case isComparison(fn) && v.isTime(args[0]):
		v.solved = true
		if err := v.meet(e, args[0], args[1]); err != nil {
			return err
		}
	case fn == operators.In && args[1].Kind() == ast.ListKind && v.isTime(args[0]):
		v.solved = true
		for _, x := range args[1].AsList().Elements() {
			if err := v.meet(e, args[0], x); err != nil {
				return err
			}
		}
	}
	if c.IsMemberFunction() {
		if err := v.visit(c.Target()); err != nil {
			return err
		}
	}
	return v.all(args...)
}

// isTime reports whether a node is a timestamp, a date or a duration: nothing else is made of now.
func (v *momentVisitor) isTime(e ast.Expr) bool {
	t := v.expr.checked.GetType(e.ID())
	return t.IsExactType(cel.TimestampType) || t.IsExactType(cel.DurationType) || t.IsExactType(dateType)
}

// verb visits what is said of a list.
func (v *momentVisitor) verb(e ast.Expr, b *verb) error {
	was := v.solved
	defer func() { v.solved = was }()
	v.solved = true
	switch b.name {
	case "in_last":
		if err := v.inLast(e, b); err != nil {
			return err
		}
	case "between":
		from, ok := v.times(b.times[0])
		to, ok2 := v.times(b.times[1])
		if !ok || !ok2 {
			return v.underivable(e)
		}
		if err := v.window(e, b, append(from, to...)); err != nil {
			return err
		}
		if err := v.meet(e, b.times[0], b.times[1]); err != nil { // it ends before it begins
			return err
		}
	case "then", "sequence":
		d, ok := v.times(b.times[0])
		if !ok || slices.ContainsFunc(d, func(x moving) bool { return x.slope != 0 }) {
			return v.underivable(e)
		}
	}
	if err := v.all(b.times...); err != nil {
		return err
	}
	v.solved = was
	if b.of != nil {
		if err := v.visit(b.of); err != nil {
			return err
		}
	}
	if err := v.all(b.lists...); err != nil {
		return err
	}
	switch b.name {
	case "at_hours", "on_weekdays", "distinct_days":
		args := e.AsCall().Args()
		return v.visit(args[len(args)-1])
	}
	switch {
	case b.body == nil:
		return nil
	case !v.mentionsNow(b.body):
		return v.visit(b.body)
	}
	return v.eachAct(b.event, func(query.Act) error { return v.visit(b.body) })
}

// eachAct calls f with each event of a type as the item.
func (v *momentVisitor) eachAct(of *schema.Event, f func(act query.Act) error) error {
	acts, err := v.facts.Acts(of.ID)
	if err != nil {
		return err
	}
	was := v.item
	defer func() { v.item = was }()
	for i := range acts {
		if i%1024 == 0 && v.ctx.Err() != nil {
			return v.ctx.Err()
		}
		v.item = &acts[i]
		if err := f(acts[i]); err != nil {
			return err
		}
	}
	return nil
}

// inLast adds when events leave the window (now - d, now], and when d is none.
func (v *momentVisitor) inLast(e ast.Expr, b *verb) error {
	d, ok := v.times(b.times[0])
	if !ok {
		return v.underivable(e)
	}
	var from []moving
	for _, x := range d {
		if !x.adds(moving{slope: 1}) {
			return v.underivable(e)
		}
		from = append(from, moving{slope: 1}.plus(x, -1))
		if _, err := v.solve(x); err != nil {
			return err
		}
	}
	return v.window(e, b, from)
}

// window adds when events meet the bounds of a window, as far as these move.
func (v *momentVisitor) window(e ast.Expr, b *verb, bounds []moving) error {
	bounds = slices.DeleteFunc(bounds, func(x moving) bool { return x.slope == 0 })
	acts, err := v.facts.Acts(b.event.ID)
	if err != nil {
		return err
	}
	if len(bounds)*len(acts) > maxMeetings {
		return v.underivable(e)
	}
	return v.eachAct(b.event, func(act query.Act) error {
		for _, x := range bounds {
			if ok, err := v.solve(x.plus(instantOf(act.Time), -1)); err != nil {
				return err
			} else if !ok {
				return v.underivable(e)
			}
		}
		return nil
	})
}

// meet adds when l and r are equal, and so when any comparison of theirs may change.
func (v *momentVisitor) meet(e, l, r ast.Expr) error {
	if !v.mentionsNow(l) && !v.mentionsNow(r) {
		return nil
	}
	left, ok := v.times(l)
	right, ok2 := v.times(r)
	if !ok || !ok2 || len(left)*len(right) > maxTimes {
		return v.underivable(e)
	}
	for _, x := range left {
		for _, y := range right {
			if !x.adds(y) {
				return v.underivable(e)
			}
			if ok, err := v.solve(x.plus(y, -1)); err != nil {
				return err
			} else if !ok {
				return v.underivable(e)
			}
		}
	}
	return nil
}

// mentionsNow reports whether a calculation reads now, lists of events aside, which are
// visited for themselves.
func (v *momentVisitor) mentionsNow(e ast.Expr) bool {
	found := false
	var look func(e ast.Expr)
	all := func(of []ast.Expr) {
		for _, x := range of {
			look(x)
		}
	}
	look = func(e ast.Expr) {
		if b := v.expr.verbs[e.ID()]; b != nil {
			if b.body != nil {
				look(b.body)
			}
			return
		}
		switch e.Kind() {
		case ast.IdentKind:
			found = found || e.AsIdent() == "now"
		case ast.SelectKind:
			look(e.AsSelect().Operand())
		case ast.ListKind:
			all(e.AsList().Elements())
		case ast.ComprehensionKind:
			c := e.AsComprehension()
			all([]ast.Expr{c.IterRange(), c.LoopStep()})
		case ast.CallKind:
			if c := e.AsCall(); c.IsMemberFunction() {
				look(c.Target())
			}
			all(e.AsCall().Args())
		}
	}
	look(e)
	return found
}

// solve adds when a moving value is nothing. It is false where there is no telling.
func (v *momentVisitor) solve(x moving) (bool, error) {
	switch {
	case x.slope == 0:
		return true, nil
	case x.zone != nil:
		return x.slope == 1 || x.slope == -1, v.midnights(x)
	}
	// slope * now + value is 0 for a value that lies in [value, value + slack].
	a, b := floorDiv(-x.value-x.slack, x.slope), floorDiv(-x.value, x.slope)
	return true, v.between(min(a, b), max(a, b)+1)
}

// midnights adds when the local day begins and ends at which a moving date is nothing.
func (v *momentVisitor) midnights(x moving) error {
	if x.slope != 1 && x.slope != -1 {
		return nil
	}
	from, to := floorDiv(-x.value*x.slope-x.slack, dayMillis), floorDiv(-x.value*x.slope+x.slack, dayMillis)+1
	if from < schema.MinDate || to > schema.MaxDate {
		return nil
	}
	for d := date(from); d <= date(to); d++ {
		for _, in := range instantsFrom(x.zone, d) {
			for _, t := range [...]int64{in.lo, in.hi} {
				if t == math.MaxInt64 {
					continue
				}
				if err := v.between(t-x.shift-x.slack, t-x.shift+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

const dayMillis = int64(day / time.Millisecond)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
