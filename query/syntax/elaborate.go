package syntax

import (
	"fmt"
	re2 "regexp/syntax"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// kind is a type as the elaboration sees it. It knows as much as it takes to read
// numbers; CEL's checker does the rest.
type kind uint8

const (
	other kind = iota
	aBool
	anInt
	aFloat
	aDecimal
	aString
	aDate
	aTime
	aDuration
	aSet
	anAverage // of ints or decimals: exact where it meets a written number, else a float
	anEventList
	anEvent
	aSequence
)

// info is what the elaboration knows of a subexpression.
type info struct {
	kind    kind
	scale   int           // of a decimal that comes from an attribute
	literal bool          // number literals and + - * / % over them: its kind follows from what it meets
	exact   *number       // a literal's value, nil if it has none (a division)
	fixed   bool          // reads no attribute and no event
	event   *schema.Event // of an event or an event list
}

// elaborator turns a parsed tree into one that CEL can check: names become fields of
// p, numbers meet numbers of their own kind, in_segment and in_list get the profile,
// event lists become comprehensions. The first error wins.
type elaborator struct {
	of    *compilation
	expr  *Expr
	fac   ast.ExprFactory
	ast   *ast.SourceInfo
	src   *source
	sch   *schema.Schema
	cat   Catalog
	zones *zones
	next  int64           // the next free node id
	vars  []variable      // of the macros around
	verbs map[int64]*verb // of event lists, by node
	times map[int64]kind  // the nodes that are a date or an instant and no calculation
	uses  Uses
	now   bool
	err   error
}

func (l *elaborator) fail(e ast.Expr, code query.Code, hint, format string, args ...any) {
	if l.err == nil {
		l.err = &query.Error{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint,
			Source: l.src.text, Span: l.src.span(l.ast, e)}
	}
}

// id returns a new node id with the place of another node.
func (l *elaborator) id(like int64) int64 {
	l.next++
	if r, ok := l.ast.GetOffsetRange(like); ok {
		l.ast.SetOffsetRange(l.next, r)
	}
	if names := l.expr.names[like]; names != nil {
		l.expr.names[l.next] = names
	}
	return l.next
}

// expression elaborates what has to be a single value.
func (l *elaborator) expression(e ast.Expr) (ast.Expr, info) {
	out, t := l.operand(e)
	l.value(e, t)
	return out, t
}

// operand elaborates anything, event lists too.
func (l *elaborator) operand(e ast.Expr) (ast.Expr, info) {
	if l.err != nil {
		return e, info{}
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return l.literal(e)
	case ast.IdentKind:
		return l.ident(e)
	case ast.SelectKind:
		return l.selection(e)
	case ast.CallKind:
		return l.call(e)
	case ast.ListKind:
		return l.list(e)
	case ast.MapKind, ast.StructKind:
		l.fail(e, query.CodeSyntax, "", "{...} has no meaning here")
	default:
		l.fail(e, query.CodeSyntax, "", "this has no meaning here")
	}
	return e, info{}
}

func (l *elaborator) literal(e ast.Expr) (ast.Expr, info) {
	switch v := e.AsLiteral().(type) {
	case types.Int:
		n := intNumber(int64(v))
		return e, info{kind: anInt, literal: true, exact: &n, fixed: true}
	case types.Double:
		n, ok := parseNumber(l.src.number(l.ast, e.ID()))
		if !ok {
			l.fail(e, query.CodeSyntax, "", "a number's exponent lies between -%d and %d", maxExponent, maxExponent)
			return e, info{}
		}
		return e, info{kind: aFloat, literal: true, exact: &n, fixed: true}
	case types.String:
		if s := norm.NFC.String(string(v)); s != string(v) {
			return l.fac.NewLiteral(e.ID(), types.String(s)), info{kind: aString, fixed: true}
		}
		return e, info{kind: aString, fixed: true}
	case types.Bool:
		return e, info{kind: aBool, fixed: true}
	case types.Null:
		l.fail(e, query.CodeType, "whether there is a value: has(p.name)", "there is no null")
	case types.Uint:
		l.fail(e, query.CodeSyntax, "leave the u away", "there are no unsigned numbers")
	default:
		l.fail(e, query.CodeSyntax, "leave the b away", "there are no byte strings")
	}
	return e, info{}
}

func (l *elaborator) ident(e ast.Expr) (ast.Expr, info) {
	name := strings.TrimPrefix(e.AsIdent(), ".")
	if v := l.variable(name); v != nil && v.event != nil {
		return l.fac.NewIdent(e.ID(), itemVar), info{kind: anEvent, event: v.event}
	} else if v != nil {
		return l.fac.NewIdent(e.ID(), itemVar), info{kind: aString}
	}
	switch name {
	case "p":
		l.fail(e, query.CodeType, `write p.name or p["any name"]`, "p is a whole profile")
		return e, info{}
	case "ev":
		l.fail(e, query.CodeType, `write ev["any name"]`, "ev is all events")
		return e, info{}
	case "now":
		l.now = true
		return e, info{kind: aTime, fixed: true}
	}
	name = norm.NFC.String(name)
	isAttribute, isEvent := l.sch.Lookup(name) != nil || l.sch.LookupComputed(name) != nil, l.sch.LookupEvent(name) != nil
	switch {
	case isAttribute && isEvent:
		l.fail(e, query.CodeUnknownName, fmt.Sprintf("write p[%q] or ev[%q]", name, name), "%q is an attribute and an event", name)
		return e, info{}
	case isEvent:
		return l.events(e, nodes{l, e}.ident("ev"), name, false)
	}
	return l.attribute(e, nodes{l, e}.ident("p"), name, false)
}

// variable returns the variable of a macro around, or nil.
func (l *elaborator) variable(name string) *variable {
	for i := range l.vars {
		if l.vars[i].name == name {
			return &l.vars[i]
		}
	}
	return nil
}

// attribute makes p.name, or a test of its presence.
func (l *elaborator) attribute(e, p ast.Expr, name string, test bool) (ast.Expr, info) {
	name = norm.NFC.String(name)
	a, x := l.sch.Lookup(name), l.sch.LookupComputed(name)
	switch {
	case x != nil && test:
		return l.hasComputed(e, x)
	case x != nil:
		return l.computed(e, x)
	case a == nil && test && l.sch.LookupEvent(name) != nil:
		l.hasEvent(e)
		return e, info{}
	case a == nil:
		l.unknownName(e, name)
		return e, info{}
	case test:
		return l.fac.NewPresenceTest(e.ID(), p, name), info{kind: aBool}
	}
	return l.column(e, p, a)
}

func kindOf(k schema.Kind) kind {
	switch k {
	case schema.Bool:
		return aBool
	case schema.Int:
		return anInt
	case schema.Float:
		return aFloat
	case schema.Decimal:
		return aDecimal
	case schema.String:
		return aString
	case schema.Date:
		return aDate
	case schema.Timestamp:
		return aTime
	case schema.Set:
		return aSet
	}
	return other
}

func (l *elaborator) selection(e ast.Expr) (ast.Expr, info) {
	s := e.AsSelect()
	of, name, dotted := s.Operand(), s.FieldName(), true
	if x, bracketed, ok := indexByName(of); ok && s.IsTestOnly() && name == "" { // has(x["name"])
		of, name, dotted = x, bracketed, false
	}
	if out, t, ok := l.part(e, of, name, dotted, s.IsTestOnly()); ok {
		return out, t
	}
	if hint := l.dotted(e); hint != "" {
		l.fail(e, query.CodeType, hint, "a name with a dot in it stands in brackets")
		return e, info{}
	}
	if s.IsTestOnly() {
		l.fail(e, query.CodeType, "such as has(p.email)", "has() needs an attribute")
		return e, info{}
	}
	_, t := l.operand(of)
	if t.kind == anEventList {
		l.fail(of, query.CodeType, fmt.Sprintf("ask one event, .last().%s, or each, .exists(e, e.%s ...)", name, name), "%s is an event list, not an event", l.show(of))
	}
	l.value(of, t)
	hint := ""
	if t.kind == aTime || t.kind == aDate {
		hint = `compare with date("2024-12-31") or timestamp("2024-12-31T00:00:00Z")`
	}
	l.fail(e, query.CodeType, hint, "%s has no parts, so .%s has no meaning", l.show(of), name)
	return e, info{}
}

// dotted says how to write what was meant by a.b.c: the fields of objects have such names.
func (l *elaborator) dotted(e ast.Expr) (hint string) {
	name := ""
	for e.Kind() == ast.SelectKind {
		name = "." + e.AsSelect().FieldName() + name
		e = e.AsSelect().Operand()
	}
	if l.isEvent(e) {
		if _, t := l.operand(e); t.event != nil && t.event.Lookup(name[1:]) != nil {
			return fmt.Sprintf("write %s[%q]", l.show(e), name[1:])
		}
		return ""
	}
	if e.Kind() != ast.IdentKind {
		return ""
	}
	if name = e.AsIdent() + name; strings.HasPrefix(name, "p.") || strings.HasPrefix(name, "ev.") {
		_, name, _ = strings.Cut(name, ".")
	}
	switch {
	case l.sch.Lookup(name) != nil || l.sch.LookupComputed(name) != nil:
		return fmt.Sprintf("write p[%q]", name)
	case l.sch.LookupEvent(name) != nil:
		return fmt.Sprintf("write ev[%q]", name)
	}
	return ""
}

// part reads of.name and of["name"] where of has parts: a profile, the events, one event.
func (l *elaborator) part(e, of ast.Expr, name string, dotted, test bool) (ast.Expr, info, bool) {
	if of.Kind() == ast.IdentKind && l.variable(of.AsIdent()) == nil {
		switch of.AsIdent() {
		case "p":
			out, t := l.attribute(e, of, name, test)
			return out, t, true
		case "ev":
			out, t := l.events(e, of, name, test)
			return out, t, true
		}
	}
	if l.isLender(of) {
		out, t := l.lent(e, of, name, test)
		return out, t, true
	}
	if !l.isEvent(of) {
		return nil, info{}, false
	}
	one, t := l.operand(of)
	if l.err != nil {
		return e, info{}, true
	}
	out, t := l.property(e, one, t.event, name, dotted, test)
	return out, t, true
}

// isEvent reports whether an expression is a single event: the element of a macro,
// list.first() or list.last().
func (l *elaborator) isEvent(e ast.Expr) bool {
	switch e.Kind() {
	case ast.IdentKind:
		v := l.variable(e.AsIdent())
		return v != nil && v.event != nil
	case ast.CallKind:
		c := e.AsCall()
		return c.IsMemberFunction() && len(c.Args()) == 0 && (c.FunctionName() == "first" || c.FunctionName() == "last")
	}
	return false
}

// show returns a node's text for a message, shortened.
func (l *elaborator) show(e ast.Expr) string {
	p := l.src.span(l.ast, e)
	t := []rune(l.src.text[p.Start:p.End])
	if len(t) > 40 {
		t = append(t[:40], '.', '.', '.')
	}
	return string(t)
}

func (l *elaborator) list(e ast.Expr) (ast.Expr, info) {
	out, at := l.elements(e)
	fixed := true
	for _, t := range at {
		fixed = fixed && t.fixed
	}
	return l.fac.NewList(e.ID(), out, nil), info{fixed: fixed}
}

// elements elaborates the elements of a [...].
func (l *elaborator) elements(e ast.Expr) ([]ast.Expr, []info) {
	in := e.AsList().Elements()
	if len(in) > MaxListLiteral {
		l.fail(e, query.CodeLimit, "put the values into a named list and write in_list(\"name\")",
			"a list has at most %d elements, this one has %d", MaxListLiteral, len(in))
		return nil, nil
	}
	out, at := make([]ast.Expr, len(in)), make([]info, len(in))
	for i, x := range in {
		out[i], at[i] = l.expression(x)
	}
	return out, at
}

func (l *elaborator) call(e ast.Expr) (ast.Expr, info) {
	c := e.AsCall()
	if of, name, ok := indexByName(e); ok {
		if out, t, ok := l.part(e, of, name, false, false); ok {
			return out, t
		}
	}
	if l.isLender(e) {
		l.onlyFields(e)
		return e, info{}
	}
	if !l.known(e, c) {
		return e, info{}
	}
	switch c.FunctionName() {
	case operators.In:
		return l.membership(e, c)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return l.arithmetic(e, c)
	case operators.Conditional:
		return l.conditional(e, c)
	case "in_segment", "in_list":
		return l.named(e, c)
	case "today":
		l.now = true
		args := []ast.Expr{l.fac.NewIdent(l.id(e.ID()), "now"), c.Args()[0]}
		return l.call(l.fac.NewCall(e.ID(), "date", args...))
	case "sequence":
		return l.sequence(e, c)
	}
	if isListVerb(c.FunctionName()) {
		return l.verb(e, c)
	}
	if isComparison(c.FunctionName()) {
		return l.comparison(e, c)
	}
	args := make([]ast.Expr, len(c.Args()))
	at := make([]info, len(c.Args()))
	fixed := true
	for i, a := range c.Args() {
		args[i], at[i] = l.averageAsFloat(l.expression(a))
		fixed = fixed && at[i].fixed
	}
	if c.IsMemberFunction() {
		target, t := l.expression(c.Target())
		l.memberTest(c)
		return l.fac.NewMemberCall(e.ID(), c.FunctionName(), target, args...), info{kind: aBool, fixed: fixed && t.fixed}
	}
	if l.err != nil {
		return e, info{}
	}
	out := l.fac.NewCall(e.ID(), c.FunctionName(), args...)
	switch c.FunctionName() {
	case operators.Negate:
		return l.negate(e, out, at[0])
	case "double", "int":
		return l.toNumber(e, out, c.FunctionName(), at[0].kind, fixed)
	}
	l.checkText(c)
	return out, info{kind: resultKinds(c.FunctionName()), fixed: fixed}
}

func resultKinds(fn string) kind {
	switch fn {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		return aBool
	case "date":
		return aDate
	case "timestamp":
		return aTime
	case "duration", "days", "hours", "minutes":
		return aDuration
	case "size":
		return anInt
	}
	return other
}

func (l *elaborator) negate(e, out ast.Expr, of info) (ast.Expr, info) {
	if of.exact != nil {
		n := of.exact.neg()
		of.exact = &n
	}
	return out, of
}

// toNumber reads double(x) and int(x). A literal in it stays what CEL makes of it.
func (l *elaborator) toNumber(e, out ast.Expr, fn string, of kind, fixed bool) (ast.Expr, info) {
	t := info{kind: aFloat, fixed: fixed}
	if fn == "int" {
		t.kind = anInt
	}
	switch of {
	case anInt, aFloat, other:
	case aDecimal:
		if fn == "int" {
			l.fail(e, query.CodeType, "write int(double(...))", "int() takes an int or a float")
		}
	default:
		l.fail(e, query.CodeType, "", "%s() takes a number", fn)
	}
	return out, t
}

// memberTest checks what startsWith and hasAny and their kin are given.
func (l *elaborator) memberTest(c ast.CallExpr) {
	if l.err != nil {
		return
	}
	arg := c.Args()[0]
	switch c.FunctionName() {
	case "hasAny", "hasAll":
		if arg.Kind() != ast.ListKind {
			l.fail(arg, query.CodeType, "such as "+c.FunctionName()+`(["a", "b"])`, "%s needs its values written out in [...]", c.FunctionName())
			return
		}
		for _, x := range arg.AsList().Elements() {
			if _, t := l.expression(x); t.kind != aString {
				l.fail(x, query.CodeType, "", "the elements of a set are strings, %s is none", l.show(x))
			}
		}
	case overloads.Matches:
		if arg.Kind() != ast.LiteralKind || arg.AsLiteral().Type() != types.StringType {
			l.fail(arg, query.CodeType, "", "matches needs its pattern written out in quotes")
			return
		}
		l.pattern(arg, string(arg.AsLiteral().(types.String)))
	}
}

// pattern checks a regular expression.
func (l *elaborator) pattern(e ast.Expr, text string) {
	if len(text) > MaxPatternBytes {
		l.fail(e, query.CodeLimit, "", "a pattern has at most %d bytes, this one has %d", MaxPatternBytes, len(text))
		return
	}
	re, err := re2.Parse(text, re2.Perl)
	if err != nil {
		l.fail(e, query.CodeSyntax, "patterns are RE2: https://github.com/google/re2/wiki/Syntax",
			"%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return
	}
	prog, err := re2.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > MaxPatternSteps {
		l.fail(e, query.CodeLimit, "use fewer or smaller repetitions", "the pattern is too large: at most %d steps", MaxPatternSteps)
	}
}

// checkText checks the literals of dates, timestamps, durations and zones, so that a
// wrong one is an error of the expression and not of every profile.
func (l *elaborator) checkText(c ast.CallExpr) {
	text := func(i int) (string, bool) {
		if len(c.Args()) <= i || c.Args()[i].Kind() != ast.LiteralKind {
			return "", false
		}
		s, ok := c.Args()[i].AsLiteral().(types.String)
		return string(s), ok
	}
	switch c.FunctionName() {
	case "date":
		if s, ok := text(0); ok && len(c.Args()) == 1 {
			if _, err := parseDate(s); err != nil {
				l.fail(c.Args()[0], query.CodeSyntax, "", "%s", err)
			}
		}
		if s, ok := text(1); ok {
			if _, err := l.zones.find(s); err != nil {
				l.fail(c.Args()[1], query.CodeUnknownName, query.DidYouMean(s, l.zones.names()), "%s", err)
			}
		}
	case "timestamp":
		if s, ok := text(0); ok {
			if t, err := time.Parse(time.RFC3339, s); err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
				l.fail(c.Args()[0], query.CodeSyntax, "write it as 2024-12-31T23:59:59Z", "%q is no timestamp", s)
			}
		}
	case "duration":
		if s, ok := text(0); ok {
			if _, err := time.ParseDuration(s); err != nil {
				l.fail(c.Args()[0], query.CodeSyntax, `such as "36h" or "90m"; days are days(2)`, "%q is no duration", s)
			}
		}
	}
}

// named reads in_segment("x") and in_list("x").
func (l *elaborator) named(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	fn, arg := c.FunctionName(), c.Args()[0]
	s, ok := types.String(""), false
	if arg.Kind() == ast.LiteralKind {
		s, ok = arg.AsLiteral().(types.String)
	}
	if !ok {
		l.fail(arg, query.CodeType, fmt.Sprintf("such as %s(\"name\")", fn), "%s needs a name written out in quotes", fn)
		return e, info{}
	}
	name, internal := norm.NFC.String(string(s)), fnSegment
	if fn == "in_list" {
		internal = fnList
		if _, ok := l.cat.List(name); !ok {
			l.fail(arg, query.CodeUnknownName, query.DidYouMean(name, l.cat.ListNames()), "there is no list %q", name)
			return e, info{}
		}
		l.uses.Lists = appendName(l.uses.Lists, name)
	} else if by := l.sch.LookupLent(schema.LentSegment, name); by != nil {
		l.uses.Segments, l.now = appendName(l.uses.Segments, name), true
		return l.fac.NewSelect(e.ID(), l.fac.NewIdent(l.id(e.ID()), "p"), lentMark+by.Fields[0].Name), info{kind: aBool}
	} else {
		if _, ok := l.cat.Segment(name); !ok {
			l.fail(arg, query.CodeUnknownName, query.DidYouMean(name, l.cat.SegmentNames()), "there is no segment %q", name)
			return e, info{}
		}
		l.uses.Segments = appendName(l.uses.Segments, name)
		l.inline(name, l.src.span(l.ast, e))
	}
	p := l.fac.NewIdent(l.id(e.ID()), "p")
	return l.fac.NewCall(e.ID(), internal, p, l.fac.NewLiteral(arg.ID(), types.String(name))), info{kind: aBool}
}

func appendName(names []string, name string) []string {
	for _, n := range names {
		if n == name {
			return names
		}
	}
	return append(names, name)
}
