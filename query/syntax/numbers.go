package syntax

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file gives numbers of different kinds that meet in one operation a common
// kind, by writing the conversion into the tree: then CEL's checker and interpreter,
// and the plan, all read the same thing.

// meet converts two operands to a common kind where both are numbers.
// exact asks that an int attribute meets a literal with a point as exact decimals, and
// an average any literal (comparisons); else they meet as doubles (arithmetic).
func (l *elaborator) meet(a, b ast.Expr, ta, tb info, exact bool) (x, y ast.Expr, tx, ty info) {
	if exact && (ta.kind == anAverage && tb.exact != nil || tb.kind == anAverage && ta.exact != nil) {
		a, ta = l.exactly(a, ta)
		b, tb = l.exactly(b, tb)
		return a, b, ta, tb
	}
	a, ta = l.averageAsFloat(a, ta)
	b, tb = l.averageAsFloat(b, tb)
	switch {
	case l.err != nil || ta.kind == tb.kind && ta.literal == tb.literal && ta.kind != aDecimal:
		// One kind already.
	case ta.kind == aDecimal || tb.kind == aDecimal:
		a, ta = l.asDecimal(a, ta)
		b, tb = l.asDecimal(b, tb)
	case ta.kind == aFloat && tb.kind == anInt:
		if exact && ta.exact != nil && !tb.literal {
			a, ta = l.asDecimal(a, ta)
			b, tb = l.asDecimal(b, tb)
			break
		}
		b, tb = l.asFloat(b, tb)
	case ta.kind == anInt && tb.kind == aFloat:
		y, x, ty, tx = l.meet(b, a, tb, ta, exact)
		return x, y, tx, ty
	}
	return a, b, ta, tb
}

// exactly makes a decimal of what meets an average.
func (l *elaborator) exactly(e ast.Expr, t info) (ast.Expr, info) {
	if t.kind == anAverage {
		return e, t
	}
	return l.asDecimal(e, t)
}

// asDecimal makes a decimal of an int or of a literal; what is neither stays, and the
// check reports it.
func (l *elaborator) asDecimal(e ast.Expr, t info) (ast.Expr, info) {
	switch {
	case t.kind == aDecimal:
		return e, t
	case t.exact != nil:
		n := t.exact.reduce()
		text := l.fac.NewLiteral(l.id(e.ID()), types.String(n.String()))
		// The id is new because a folded literal's own belongs to its operator.
		return l.fac.NewCall(l.id(e.ID()), fnNumber, text), info{kind: aDecimal, exact: &n, scale: n.scale, fixed: true}
	case t.literal:
		l.fail(e, query.CodeType, "calculate with double(...) instead", "a decimal meets only what + - * make of written numbers")
	case t.kind == anInt:
		return l.fac.NewCall(l.id(e.ID()), fnDecimal, e), info{kind: aDecimal, fixed: t.fixed}
	case t.kind == aFloat:
		l.fail(e, query.CodeType, "write double(...) around the decimal", "a decimal is exact, %s is not: they do not mix", l.show(e))
	}
	return e, t
}

// asFloat makes a double of an int.
func (l *elaborator) asFloat(e ast.Expr, t info) (ast.Expr, info) {
	if t.kind != anInt {
		return e, t
	}
	t.kind = aFloat
	return l.fac.NewCall(l.id(e.ID()), "double", e), t
}

// arithmetic reads + - * / %.
func (l *elaborator) arithmetic(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	fn := c.FunctionName()
	a, ta := l.expression(c.Args()[0])
	b, tb := l.expression(c.Args()[1])
	a, b, ta, tb = l.meet(a, b, ta, tb, false)
	if l.err != nil {
		return e, info{}
	}
	out := l.fac.NewCall(e.ID(), fn, a, b)
	t := info{kind: ta.kind, fixed: ta.fixed && tb.fixed, literal: ta.literal && tb.literal}
	switch {
	case t.literal:
		t.exact = foldNumbers(fn, ta.exact, tb.exact)
	case ta.kind == aDecimal && tb.kind == aDecimal:
		t.scale = l.decimalScale(e, fn, ta, tb)
	case ta.kind == aTime || ta.kind == aDate || ta.kind == aDuration || tb.kind == aDuration:
		t.kind = timeKind(fn, ta.kind, tb.kind)
	}
	return out, t
}

func foldNumbers(fn string, a, b *number) *number {
	if a == nil || b == nil {
		return nil
	}
	var n number
	switch fn {
	case operators.Add:
		n = a.add(*b)
	case operators.Subtract:
		n = a.add(b.neg())
	case operators.Multiply:
		n = a.mul(*b)
	default:
		return nil
	}
	return &n
}

// decimalScale returns the scale of an operation on decimals and refuses those that
// have no exact result.
func (l *elaborator) decimalScale(e ast.Expr, fn string, a, b info) int {
	scale := max(a.scale, b.scale)
	switch fn {
	case operators.Multiply:
		scale = a.scale + b.scale
	case operators.Divide, operators.Modulo:
		l.fail(e, query.CodeType, "write double(...) around the decimal", "decimals have no exact division")
	}
	if scale > schema.MaxScale {
		l.fail(e, query.CodeType, "write double(...) around the decimals",
			"the result has %d decimal places, at most %d are possible", scale, schema.MaxScale)
	}
	for _, t := range []info{a, b} {
		if t.exact == nil || l.err != nil {
			continue
		}
		at := scale
		if fn == operators.Multiply {
			at = t.exact.scale
		}
		if _, ok := t.exact.value(at); !ok {
			l.fail(e, query.CodeType, "", "the number %s is too large to calculate with", t.exact)
		}
	}
	return scale
}

func timeKind(fn string, a, b kind) kind {
	switch {
	case fn == operators.Subtract && a == b && (a == aTime || a == aDate):
		return aDuration
	case a == aDuration && (b == aTime || b == aDate):
		return b
	}
	return a
}

// conditional reads c ? a : b.
func (l *elaborator) conditional(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	cond, tc := l.expression(c.Args()[0])
	a, ta := l.expression(c.Args()[1])
	b, tb := l.expression(c.Args()[2])
	a, b, ta, tb = l.meet(a, b, ta, tb, false)
	t := info{kind: ta.kind, scale: max(ta.scale, tb.scale), fixed: tc.fixed && ta.fixed && tb.fixed}
	return l.fac.NewCall(e.ID(), c.FunctionName(), cond, a, b), t
}

// comparison reads == != < <= > >=.
func (l *elaborator) comparison(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	a, ta := l.expression(c.Args()[0])
	b, tb := l.expression(c.Args()[1])
	if l.err != nil {
		return e, info{}
	}
	if ta.kind == aDate && tb.kind == aTime || ta.kind == aTime && tb.kind == aDate {
		l.dateMeetsTime(e, c, ta)
		return e, info{}
	}
	if ta.kind == aSet && isComparison(c.FunctionName()) || tb.kind == aSet {
		l.fail(e, query.CodeType, `"x" in s, s.hasAny(["x", "y"]), s.hasAll([...])`, "sets are not compared with %s", operatorText(c.FunctionName()))
		return e, info{}
	}
	a, b, ta, tb = l.meet(a, b, ta, tb, true)
	if l.err != nil {
		return e, info{}
	}
	t := info{kind: aBool, fixed: ta.fixed && tb.fixed}
	if x, ok := l.moveTime(e, c.FunctionName(), a, b, tb); ok {
		return x, t
	}
	if x, ok := l.moveTime(e, mirrored(c.FunctionName()), b, a, ta); ok {
		return x, t
	}
	return l.fac.NewCall(e.ID(), c.FunctionName(), a, b), t
}

func (l *elaborator) dateMeetsTime(e ast.Expr, c ast.CallExpr, ta info) {
	d, t := c.Args()[0], c.Args()[1]
	if ta.kind == aTime {
		d, t = t, d
	}
	hint := `write date(` + l.show(t) + `, "UTC"), with the zone whose days you mean`
	if d.Kind() == ast.CallKind && d.AsCall().FunctionName() == "date" && len(d.AsCall().Args()) == 1 {
		hint += `, or timestamp("2024-12-31T00:00:00Z") for the date`
	}
	l.fail(e, query.CodeType, hint, "%s is a date and %s a timestamp", l.show(d), l.show(t))
}

// moveTime rewrites a comparison of what is calculated from one time or date (of an
// attribute, a property, a fold) with a constant, so that it stands alone and has a plan:
//
//	now - x OP d   becomes  x MIRRORED now - d
//	x - now OP d   becomes  x OP now + d
//	x - d OP t     becomes  x OP t + d      (and x + d the other way)
//
// It is part of the meaning, not of the plan: the moved form is in range where the
// written one would leave it.
func (l *elaborator) moveTime(e ast.Expr, fn string, a, b ast.Expr, tb info) (ast.Expr, bool) {
	if !tb.fixed || a.Kind() != ast.CallKind || len(a.AsCall().Args()) != 2 {
		return nil, false
	}
	op, args := a.AsCall().FunctionName(), a.AsCall().Args()
	if op != operators.Subtract && op != operators.Add {
		return nil, false
	}
	call := func(fn string, x, y ast.Expr) ast.Expr { return l.fac.NewCall(l.id(a.ID()), fn, x, y) }
	left, right := l.times[args[0].ID()] != other, l.times[args[1].ID()] != other
	switch {
	case left && right, !left && !right:
		return nil, false
	case tb.kind == aDuration && b.AsCall().FunctionName() != "days" && (l.times[args[0].ID()] == aDate || l.times[args[1].ID()] == aDate):
		// A date moves by whole days only; hours stay where they were written.
		return nil, false
	case right && op == operators.Subtract && tb.kind == aDuration:
		return l.fac.NewCall(e.ID(), mirrored(fn), args[1], call(operators.Subtract, args[0], b)), readsNothing(args[0])
	case left && op == operators.Subtract && tb.kind == aDuration:
		return l.fac.NewCall(e.ID(), fn, args[0], call(operators.Add, args[1], b)), readsNothing(args[1])
	case left && op == operators.Subtract:
		return l.fac.NewCall(e.ID(), fn, args[0], call(operators.Add, b, args[1])), readsNothing(args[1])
	case left:
		return l.fac.NewCall(e.ID(), fn, args[0], call(operators.Subtract, b, args[1])), readsNothing(args[1])
	case right && op == operators.Add:
		return l.fac.NewCall(e.ID(), fn, args[1], call(operators.Subtract, b, args[0])), readsNothing(args[0])
	}
	return nil, false
}

// readsNothing reports whether an elaborated tree reads no attribute and no event.
func readsNothing(e ast.Expr) bool {
	fixed := true
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) {
		if n.Kind() == ast.IdentKind && n.AsIdent() != "now" {
			fixed = false
		}
	}))
	return fixed
}

// membership reads x in y.
func (l *elaborator) membership(e ast.Expr, c ast.CallExpr) (ast.Expr, info) {
	a, ta := l.expression(c.Args()[0])
	if ta.kind == anAverage {
		l.fail(e, query.CodeType, "compare it with == < <= > >=", "an average cannot stand before in")
	}
	if right := c.Args()[1]; right.Kind() != ast.ListKind {
		b, tb := l.expression(right)
		return l.fac.NewCall(e.ID(), operators.In, a, b), info{kind: aBool, fixed: ta.fixed && tb.fixed}
	}
	elems, kinds := l.elements(c.Args()[1])
	if l.err != nil {
		return e, info{}
	}
	fixed := ta.fixed
	// Every element meets the operand; the operand becomes a decimal or a double if
	// one of the elements makes it one.
	for i := range elems {
		var at ast.Expr
		var t info
		if at, _, t, _ = l.meet(a, elems[i], ta, kinds[i], true); t.kind != ta.kind {
			a, ta = at, t
		}
	}
	for i := range elems {
		_, elems[i], _, kinds[i] = l.meet(a, elems[i], ta, kinds[i], true)
		fixed = fixed && kinds[i].fixed
		switch k := kinds[i].kind; {
		case l.err != nil || k == ta.kind || k == other || ta.kind == other:
		case ta.kind == aDate && k == aTime || ta.kind == aTime && k == aDate:
			l.dateMeetsTime(elems[i], l.fac.NewCall(e.ID(), operators.In, c.Args()[0], elems[i]).AsCall(), ta)
		default:
			l.fail(elems[i], query.CodeType, "", "%s and %s are of different types", l.show(c.Args()[0]), l.show(elems[i]))
		}
	}
	list := l.fac.NewList(c.Args()[1].ID(), elems, nil)
	return l.fac.NewCall(e.ID(), operators.In, a, list), info{kind: aBool, fixed: fixed}
}
