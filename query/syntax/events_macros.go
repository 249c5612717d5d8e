package syntax

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// body elaborates what a macro says of each element: verb(e, body).
func (l *elaborator) body(c ast.CallExpr, v *schema.Event) (ast.Expr, info) {
	name, body := c.Args()[0], c.Args()[1]
	switch {
	case name.Kind() != ast.IdentKind:
		f, _ := signatureOf(c.FunctionName())
		l.fail(name, query.CodeSyntax, "it is written "+f.use, "%s wants a name for the element, %s is none", c.FunctionName(), l.show(name))
	case name.AsIdent() == "p" || name.AsIdent() == "now" || name.AsIdent() == "ev":
		l.fail(name, query.CodeSyntax, "", "%s has a meaning already: take another name for the element", name.AsIdent())
	}
	if l.err != nil {
		return body, info{}
	}
	l.vars = append(l.vars, variable{name.AsIdent(), v})
	out, t := l.expression(body)
	l.vars = l.vars[:len(l.vars)-1]
	return out, t
}

// condition elaborates the body of a macro that has to be true or false.
func (l *elaborator) condition(c ast.CallExpr, v *schema.Event) ast.Expr {
	body, t := l.body(c, v)
	if t.kind != aBool && t.kind != other {
		l.fail(c.Args()[1], query.CodeType, "compare it with something", "%s needs a condition, %s is none", c.FunctionName(), l.show(c.Args()[1]))
	}
	return body
}

// elementTest reads exists and all of a set.
func (l *elaborator) elementTest(e ast.Expr, c ast.CallExpr, of ast.Expr) (ast.Expr, info) {
	if len(l.vars) > 0 {
		l.fail(e, query.CodeLimit, "", "exists and all cannot stand inside one another")
		return e, info{}
	}
	return l.quantified(e, c, of, l.condition(c, nil)), info{kind: aBool}
}

// quantified makes CEL's own exists or all.
func (l *elaborator) quantified(e ast.Expr, c ast.CallExpr, of, cond ast.Expr) ast.Expr {
	at := nodes{l, e}
	accu := func() ast.Expr { return at.ident(accuVar) }
	if c.FunctionName() == "all" {
		return l.fac.NewComprehension(e.ID(), of, itemVar, accuVar, at.literal(types.True), at.call(operators.NotStrictlyFalse, accu()),
			at.call(operators.LogicalAnd, accu(), cond), accu())
	}
	more := at.call(operators.NotStrictlyFalse, at.call(operators.LogicalNot, accu()))
	return l.fac.NewComprehension(e.ID(), of, itemVar, accuVar, at.literal(types.False), more,
		at.call(operators.LogicalOr, accu(), cond), accu())
}

// collect makes the list of what is made of each element that is kept.
func (l *elaborator) collect(e ast.Expr, id int64, of, keep, value ast.Expr) ast.Expr {
	at := nodes{l, e}
	step := at.call(operators.Conditional, keep, at.call(operators.Add, at.ident(accuVar), at.list(value)), at.ident(accuVar))
	return l.fac.NewComprehension(id, of, itemVar, accuVar, at.list(), at.literal(types.True), step, at.ident(accuVar))
}

// isTrue makes a condition that is false where the given one is unknown.
func (n nodes) isTrue(cond ast.Expr) ast.Expr {
	return n.call(operators.LogicalNot, n.isNotFalse(n.call(operators.LogicalNot, cond)))
}

// isNotFalse makes a condition that is true where the given one is unknown.
func (n nodes) isNotFalse(cond ast.Expr) ast.Expr { return n.call(operators.NotStrictlyFalse, cond) }

// macro reads the verbs that say something of each event: verb(e, body).
func (l *elaborator) macro(e ast.Expr, c ast.CallExpr, v *verb) (ast.Expr, info) {
	at := nodes{l, e}
	switch v.name {
	case "filter":
		v.body = l.condition(c, v.event)
		out := l.collect(e, e.ID(), v.of, at.isTrue(v.body), at.ident(itemVar))
		return l.record(out, v), info{kind: anEventList, event: v.event}
	case "exists":
		v.body = l.condition(c, v.event)
		return l.record(l.quantified(e, c, v.of, at.isTrue(v.body)), v), info{kind: aBool}
	case "all":
		v.body = l.condition(c, v.event)
		return l.record(l.quantified(e, c, v.of, at.isNotFalse(v.body)), v), info{kind: aBool}
	}
	return l.fold(e, c, v)
}

// fold reads sum, min, max, avg and distinct: the values of the events that have one are
// listed, and a function makes one number of the list.
func (l *elaborator) fold(e ast.Expr, c ast.CallExpr, v *verb) (ast.Expr, info) {
	body, t := l.body(c, v.event)
	if l.err != nil || !l.foldable(c, body, t) {
		return e, info{}
	}
	at := nodes{l, e}
	known := l.fac.CopyExpr(body) // each node of a tree has an id of its own
	known.RenumberIDs(l.id)
	v.body = body
	values := l.collect(e, l.id(e.ID()), v.of, at.call(fnKnown, known), body)
	call := func(fn string, more ...ast.Expr) ast.Expr {
		return l.record(l.fac.NewCall(e.ID(), fn, append([]ast.Expr{values}, more...)...), v)
	}
	out := info{kind: t.kind, scale: t.scale}
	switch v.name {
	case "min", "max":
		if t.kind == aTime || t.kind == aDate {
			l.times[e.ID()] = t.kind
		}
		return call("@" + v.name), out
	case "avg":
		if t.kind != aFloat {
			out = info{kind: anAverage}
		}
		return call(fnAverage), out
	case "distinct":
		return call(fnDistinct), info{kind: anInt}
	}
	if t.kind == aDecimal { // the sum of nothing has a scale too
		return call(fnSum, at.literal(types.Int(t.scale))), out
	}
	return call(fnSum), out
}

// foldable checks what a fold is made of.
func (l *elaborator) foldable(c ast.CallExpr, body ast.Expr, t info) bool {
	arg, rule := c.Args()[1], ""
	number := t.kind == anInt || t.kind == aFloat || t.kind == aDecimal
	switch c.FunctionName() {
	case "distinct":
		s := body.AsSelect()
		if body.Kind() != ast.SelectKind || s.IsTestOnly() || !isIdent(s.Operand(), itemVar) || t.kind == aSet {
			rule = "distinct counts the values of one property that is no set, such as distinct(e, e.category)"
		}
	case "min", "max":
		if !number && t.kind != aTime && t.kind != aDate {
			rule = c.FunctionName() + " takes a number, a date or a time"
		}
	default:
		if !number {
			rule = c.FunctionName() + " takes a number"
		}
	}
	if rule != "" {
		l.fail(arg, query.CodeType, "", "%s", rule)
	}
	return rule == ""
}

// averageAsFloat makes a float of an average that meets anything but a written number.
func (l *elaborator) averageAsFloat(e ast.Expr, t info) (ast.Expr, info) {
	if t.kind != anAverage {
		return e, t
	}
	return l.fac.NewCall(l.id(e.ID()), "double", e), info{kind: aFloat}
}
