package syntax

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file and events_macros.go read what a text says of events. Every verb becomes CEL
// that means the same: a comprehension where CEL can say it, else a call of a function of
// events_functions.go. Which verb a node was stands beside the tree, by the node's id, so
// that the walk makes a plan of the verb and not of what it became.

// Names inside checked trees that a text cannot spell.
const (
	itemVar   = "@item"   // the element of a macro, whatever the text calls it
	accuVar   = "@result" // CEL's own name for it
	timeField = "\x00ts"  // an event's time among its properties: no name has a control character
	fnSize    = "size"

	fnInLast       = "@in_last"
	fnBetween      = "@between"
	fnHours        = "@at_hours"
	fnWeekdays     = "@on_weekdays"
	fnThen         = "@then"
	fnSequence     = "@sequence"
	fnFirst        = "@first"
	fnLast         = "@last"
	fnKnown        = "@known"
	fnSum          = "@sum"
	fnMin          = "@min"
	fnMax          = "@max"
	fnAverage      = "@average"
	fnDistinct     = "@distinct"
	fnDistinctDays = "@distinct_days"
)

// verb is one call over an event list, as the walk needs it.
type verb struct {
	name  string
	event *schema.Event
	of    ast.Expr       // the list; nil of a sequence
	lists []ast.Expr     // the second list of then, the lists of a sequence
	times []ast.Expr     // durations of in_last, then and sequence, instants of between
	body  ast.Expr       // the condition or the value of a macro, over itemVar
	clock query.Clock    // of at_hours and on_weekdays
	zone  *time.Location // nil: it differs from profile to profile

	// Of in_last and between what they let through, of then and sequence the duration in
	// lo; in milliseconds, half open. Only where fixed: else they differ from profile to profile.
	lo, hi int64
	fixed  bool
}

// variable is the name that a macro gives its element.
type variable struct {
	name  string
	event *schema.Event // nil: the element of a set
}

// isListVerb tells the members that are asked of event lists; exists and all of sets too.
func isListVerb(name string) bool {
	switch name {
	case "in_last", "between", "at_hours", "on_weekdays", "then", "filter", "exists", "all", "count", "any",
		"sum", "min", "max", "avg", "distinct", "distinct_days", "first", "last":
		return true
	}
	return false
}

// value refuses what is no single value.
func (l *elaborator) value(e ast.Expr, t info) {
	switch t.kind {
	case anEventList:
		l.fail(e, query.CodeType, ".any() says whether there is one, .count() how many",
			"%s is an event list, not a value", l.show(e))
	case anEvent:
		l.fail(e, query.CodeType, "take its time, .ts, or one of its properties", "%s is a whole event", l.show(e))
	case aSequence:
		l.fail(e, query.CodeType, "write sequence(...).any()", "a sequence is not true or false")
	}
}

// nodes makes nodes at the place of another one.
type nodes struct {
	l    *elaborator
	like ast.Expr
}

func (n nodes) ident(name string) ast.Expr { return n.l.fac.NewIdent(n.l.id(n.like.ID()), name) }

func (n nodes) literal(v ref.Val) ast.Expr { return n.l.fac.NewLiteral(n.l.id(n.like.ID()), v) }

func (n nodes) list(of ...ast.Expr) ast.Expr { return n.l.fac.NewList(n.l.id(n.like.ID()), of, nil) }

func (n nodes) call(fn string, args ...ast.Expr) ast.Expr {
	return n.l.fac.NewCall(n.l.id(n.like.ID()), fn, args...)
}

// events makes the list of all events of a type. ev is the node of that name.
func (l *elaborator) events(e, ev ast.Expr, name string, test bool) (ast.Expr, info) {
	name = norm.NFC.String(name)
	v := l.sch.LookupEvent(name)
	switch {
	case v == nil:
		l.fail(e, query.CodeUnknownName, query.DidYouMean(name, eventNames(l.sch)), "there is no event %q", name)
		return e, info{}
	case test:
		l.hasEvent(e)
		return e, info{}
	case len(l.vars) > 0:
		l.fail(e, query.CodeLimit, "", "an event list cannot stand inside another one's brackets")
		return e, info{}
	}
	l.now = true // every list ends at now
	return l.fac.NewSelect(e.ID(), ev, name), info{kind: anEventList, event: v}
}

func (l *elaborator) hasEvent(e ast.Expr) {
	l.fail(e, query.CodeType, ".any() says whether there is one", "has() needs an attribute or a property, not an event list")
}

func eventNames(s *schema.Schema) []string {
	out := make([]string, len(s.Events))
	for i := range s.Events {
		out[i] = s.Events[i].Name
	}
	return out
}

// property makes of.name, or a test of its presence. dotted tells e.ts, the time, from
// e["ts"], a property that is called so.
func (l *elaborator) property(e, of ast.Expr, v *schema.Event, name string, dotted, test bool) (ast.Expr, info) {
	name = norm.NFC.String(name)
	a := v.Lookup(name)
	switch {
	case dotted && name == "ts" && test:
		l.fail(e, query.CodeType, "", "every event has a time")
		return e, info{}
	case dotted && name == "ts":
		l.times[e.ID()] = aTime
		return l.fac.NewSelect(e.ID(), of, timeField), info{kind: aTime}
	case a == nil:
		names := []string{"ts"}
		for i := range v.Properties {
			names = append(names, v.Properties[i].Name)
		}
		hint := query.DidYouMean(name, names)
		if name == "ts" {
			hint = "the time has no brackets: e.ts"
		}
		l.fail(e, query.CodeUnknownName, hint, "the event %q has no property %q", v.Name, name)
		return e, info{}
	case test:
		return l.fac.NewPresenceTest(e.ID(), of, name), info{kind: aBool}
	}
	return l.column(e, of, a)
}

// column makes of.name for an attribute or a property.
func (l *elaborator) column(e, of ast.Expr, a *schema.Attribute) (ast.Expr, info) {
	t := info{kind: kindOf(a.Kind), scale: int(a.Scale)}
	if t.kind == aTime || t.kind == aDate {
		l.times[e.ID()] = t.kind
	}
	return l.fac.NewSelect(e.ID(), of, a.Name), t
}

// record notes which verb a node was.
func (l *elaborator) record(at ast.Expr, v *verb) ast.Expr {
	l.verbs[at.ID()] = v
	return at
}

// verb reads x.verb(...).
func (l *elaborator) verb(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	name := c.FunctionName()
	of, t := l.operand(c.Target())
	switch {
	case l.err != nil:
		return e, info{}
	case t.kind == aSet && (name == "exists" || name == "all"):
		return l.elementTest(e, c, of)
	case t.kind == aSequence && name == "any":
		args := of.AsCall().Args()
		v := &verb{name: "sequence", times: args[:1], lists: args[1].AsList().Elements()}
		return l.record(of, v), info{kind: aBool}
	case t.kind != anEventList:
		l.value(c.Target(), t)
		f, _ := signatureOf(name)
		whose := "an event list"
		if name == "exists" || name == "all" {
			whose = "a set or an event list"
		}
		l.fail(e, query.CodeType, "it is written "+f.use, "%s is asked of %s, %s is none", name, whose, l.show(c.Target()))
		return e, info{}
	}
	v := &verb{name: name, event: t.event, of: of}
	list, at := info{kind: anEventList, event: v.event}, nodes{l, e}
	switch name {
	case "in_last":
		d := l.argument(c, 0, aDuration, "a duration, such as days(30)")
		v.times = []ast.Expr{d}
		return l.record(l.fac.NewCall(e.ID(), fnInLast, of, at.ident("now"), d), v), list
	case "between":
		const such = `timestamps, such as now - days(7) or timestamp("2024-12-31T00:00:00Z")`
		v.times = []ast.Expr{l.argument(c, 0, aTime, such), l.argument(c, 1, aTime, such)}
		return l.record(l.fac.NewCall(e.ID(), fnBetween, of, v.times[0], v.times[1]), v), list
	case "at_hours":
		return l.hours(e, c, v), list
	case "on_weekdays":
		return l.weekdays(e, c, v), list
	case "then":
		return l.then(e, c, v)
	case "any":
		more := l.fac.NewCall(e.ID(), operators.Greater, at.call(fnSize, of), at.literal(types.Int(0)))
		return l.record(more, v), info{kind: aBool}
	case "count":
		return l.record(l.fac.NewCall(e.ID(), fnSize, of), v), info{kind: anInt}
	case "first", "last":
		return l.record(l.fac.NewCall(e.ID(), "@"+name, of), v), info{kind: anEvent, event: v.event}
	case "distinct_days":
		zone := l.zone(c, 0, v)
		return l.record(l.fac.NewCall(e.ID(), fnDistinctDays, of, zone), v), info{kind: anInt}
	}
	return l.macro(e, c, v)
}

// argument elaborates an argument that has to be of a kind.
func (l *elaborator) argument(c ast.CallExpr, i int, want kind, such string) ast.Expr {
	arg := c.Args()[i]
	out, t := l.expression(arg)
	if t.kind != want {
		l.fail(arg, query.CodeType, "", "%s takes %s", c.FunctionName(), such)
	}
	return out
}

// zone elaborates a time zone. One written out is looked up now.
func (l *elaborator) zone(c ast.CallExpr, i int, v *verb) ast.Expr {
	out := l.argument(c, i, aString, `a time zone, such as "Europe/Rome"`)
	if l.err != nil || out.Kind() != ast.LiteralKind {
		return out
	}
	name := string(out.AsLiteral().(types.String))
	zone, err := l.zones.find(name)
	if err != nil {
		l.fail(c.Args()[i], query.CodeUnknownName, query.DidYouMean(name, l.zones.names()), "%s", err)
		return out
	}
	v.zone, v.clock.Zone = zone, zone
	return out
}

// hours reads at_hours(from, to, zone).
func (l *elaborator) hours(e ast.Expr, c ast.CallExpr, v *verb) ast.Expr {
	from, to := l.hour(c, 0, 23), l.hour(c, 1, 24)
	if from == to {
		l.fail(e, query.CodeType, "the whole day is at_hours(0, 24, zone)", "at_hours begins and ends at the same hour")
	}
	zone := l.zone(c, 2, v)
	v.clock.From, v.clock.To = time.Duration(from)*time.Hour, time.Duration(to)*time.Hour
	at := nodes{l, e}
	return l.record(l.fac.NewCall(e.ID(), fnHours, v.of, at.literal(from), at.literal(to), zone), v)
}

func (l *elaborator) hour(c ast.CallExpr, i int, most types.Int) types.Int {
	arg := c.Args()[i]
	n, ok := types.Int(0), false
	if arg.Kind() == ast.LiteralKind {
		n, ok = arg.AsLiteral().(types.Int)
	}
	if !ok || n < 0 || n > most {
		l.fail(arg, query.CodeType, `such as at_hours(8, 20, "Europe/Rome")`, "at_hours takes hours written out, from 0 to %d", most)
	}
	return n
}

// weekdays reads on_weekdays(["mon", "sat"], zone).
func (l *elaborator) weekdays(e ast.Expr, c ast.CallExpr, v *verb) ast.Expr {
	arg := c.Args()[0]
	const such = `such as on_weekdays(["mon", "sat"], "Europe/Rome")`
	if arg.Kind() != ast.ListKind || arg.AsList().Size() == 0 {
		l.fail(arg, query.CodeType, such, "on_weekdays needs its days written out in [...]")
		return e
	}
	for _, x := range arg.AsList().Elements() {
		name, ok := types.String(""), false
		if x.Kind() == ast.LiteralKind {
			name, ok = x.AsLiteral().(types.String)
		}
		day, known := weekday(string(name))
		if !ok || !known {
			l.fail(x, query.CodeType, `days are English: "mon" or "Monday"`, "%s is no day of the week", l.show(x))
		}
		v.clock.Weekdays |= 1 << day
	}
	zone := l.zone(c, 1, v)
	return l.record(l.fac.NewCall(e.ID(), fnWeekdays, v.of, arg, zone), v)
}

// weekday reads the English name of a day or its first three letters, in any case.
func weekday(name string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if full := d.String(); strings.EqualFold(name, full) || strings.EqualFold(name, full[:3]) {
			return d, true
		}
	}
	return 0, false
}

// then reads a.then(b, d).
func (l *elaborator) then(e ast.Expr, c ast.CallExpr, v *verb) (ast.Expr, info) {
	b, t := l.eventList(c.Args()[0], "then takes an event list")
	d := l.argument(c, 1, aDuration, "a duration, such as hours(1)")
	v.lists, v.times = []ast.Expr{b}, []ast.Expr{d}
	return l.record(l.fac.NewCall(e.ID(), fnThen, v.of, b, d), v), t
}

func (l *elaborator) eventList(e ast.Expr, rule string) (ast.Expr, info) {
	out, t := l.operand(e)
	if t.kind != anEventList {
		l.fail(e, query.CodeType, "", "%s, %s is none", rule, l.show(e))
	}
	return out, t
}

// sequence reads sequence(within, [a, b, c]); what is asked of it, .any(), makes the verb.
func (l *elaborator) sequence(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	d := l.argument(c, 0, aDuration, "a duration, such as hours(24)")
	arg := c.Args()[1]
	switch n := arg.AsList().Size(); {
	case arg.Kind() != ast.ListKind, n < 2:
		l.fail(arg, query.CodeType, "such as sequence(hours(24), [view, cart, order]).any()", "a sequence needs two event lists or more, written out in [...]")
	case n > MaxSequenceSteps:
		l.fail(arg, query.CodeLimit, "", "a sequence has at most %d steps, this one has %d", MaxSequenceSteps, n)
	}
	if l.err != nil {
		return e, info{}
	}
	steps := make([]ast.Expr, arg.AsList().Size())
	for i, x := range arg.AsList().Elements() {
		steps[i], _ = l.eventList(x, "the steps of a sequence are event lists")
	}
	return l.fac.NewCall(e.ID(), fnSequence, d, l.fac.NewList(arg.ID(), steps, nil)), info{kind: aSequence}
}

// windows computes what windows and durations let through, where that is the same for
// everybody, and refuses those that make no sense.
func (w *walker) windows() {
	ast.PreOrderVisit(w.expr.checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if v := w.expr.verbs[e.ID()]; v != nil && !v.fixed && w.err == nil {
			w.window(e, v)
		}
	}))
}

func (w *walker) window(e ast.Expr, v *verb) {
	var at []ref.Val
	for _, x := range v.times {
		if !readsNothing(x) {
			return
		}
		t := w.value(x)
		if types.IsError(t) {
			w.fail(x, query.CodeType, "", fmt.Sprint(t))
			return
		}
		at = append(at, t)
	}
	v.fixed = true
	now := w.now.Now.UnixMilli()
	switch v.name {
	case "in_last", "then", "sequence":
		d := at[0].(types.Duration).Duration
		if d <= 0 {
			w.fail(v.times[0], query.CodeType, "such as days(30)", v.name+" takes a duration above zero")
			return
		}
		v.lo = d.Milliseconds()
		if v.name == "in_last" { // later than now - d, in whole milliseconds
			v.lo, v.hi = now-(d+time.Millisecond-1).Milliseconds()+1, now+1
		}
	case "between":
		v.lo, v.hi = wholeMilli(at[0]), wholeMilli(at[1])
		from, to := at[0].(types.Timestamp), at[1].(types.Timestamp)
		// Where only one end moves with now, the window is empty from some day on: no mistake.
		if readsNow(v.times[0]) == readsNow(v.times[1]) && !from.Before(to.Time) {
			wrong := "the window ends before it begins"
			if from.Time.Equal(to.Time) {
				wrong = "the window is empty: it ends where it begins"
			}
			w.fail(e, query.CodeType, "between(a, b) is from a, itself included, to b, itself not", wrong)
		}
	}
}

// readsNow reports whether an elaborated tree reads now.
func readsNow(e ast.Expr) (is bool) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) { is = is || isIdent(n, "now") }))
	return is
}

// wholeMilli returns the first whole millisecond at or after an instant.
func wholeMilli(t ref.Val) int64 {
	ts := t.(types.Timestamp)
	if ts.Nanosecond()%1e6 != 0 {
		return ts.UnixMilli() + 1
	}
	return ts.UnixMilli()
}
