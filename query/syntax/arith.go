package syntax

import (
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// term is a calculation with its kind; scale is 0 for all but decimals.
type term struct {
	of    query.Arith
	kind  schema.Kind
	scale int
}

// rescale returns the calculation with a decimal brought to a larger scale.
func (t term) rescale(scale int) query.Arith {
	if t.kind != schema.Decimal || t.scale == scale {
		return t.of
	}
	switch x := t.of.(type) {
	case *query.Literal:
		n := number{unscaled: intNumber(x.Value.Ordered()).unscaled, scale: t.scale}
		if v, ok := n.value(scale); ok {
			return &query.Literal{Value: v}
		}
	case *query.Convert:
		return &query.Convert{Of: x.Of, Kind: schema.Decimal, Scale: uint8(scale)}
	}
	return &query.Convert{Of: t.of, Kind: schema.Decimal, Scale: uint8(scale)}
}

// arith translates a calculation over attributes; false if it has no plan.
func (w *walker) arith(e ast.Expr) (term, bool) {
	if readsNothing(e) {
		return w.literal(e)
	}
	if t, ok := w.fold(e); ok {
		return t, true
	}
	if a := w.attr(e); a != nil {
		t := term{of: &query.Column{Attr: a.ID, Kind: a.Kind, Scale: a.Scale}, kind: a.Kind, scale: int(a.Scale)}
		return t, a.Kind.Ordered() && a.Kind != schema.Bool
	}
	if e.Kind() != ast.CallKind {
		return term{}, false
	}
	c := e.AsCall()
	switch fn := c.FunctionName(); fn {
	case fnDecimal:
		x, ok := w.arith(c.Args()[0])
		return term{of: &query.Convert{Of: x.of, Kind: schema.Decimal}, kind: schema.Decimal}, ok && x.kind == schema.Int
	case "double":
		x, ok := w.arith(c.Args()[0])
		if x.kind == schema.Float {
			return x, ok
		}
		return term{of: &query.Convert{Of: x.of, Kind: schema.Float}, kind: schema.Float}, ok && isNumber(x.kind)
	case operators.Negate:
		x, ok := w.arith(c.Args()[0])
		return term{of: &query.Negate{Of: x.of}, kind: x.kind, scale: x.scale}, ok && isNumber(x.kind)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return w.binary(fn, c)
	}
	return term{}, false
}

func isNumber(k schema.Kind) bool {
	return k == schema.Int || k == schema.Float || k == schema.Decimal
}

// literal evaluates the part of a calculation that reads no attribute.
func (w *walker) literal(e ast.Expr) (term, bool) {
	switch v := w.value(e).(type) {
	case types.Int:
		return term{of: &query.Literal{Value: schema.IntValue(int64(v))}, kind: schema.Int}, true
	case types.Double:
		var of query.Arith = &query.Literal{Value: schema.FloatValue(float64(v))}
		if v == 0 && math.Signbit(float64(v)) {
			of = &query.Negate{Of: of} // a Value has no -0, and dividing by it has another sign
		}
		return term{of: of, kind: schema.Float}, !math.IsNaN(float64(v))
	case decimal:
		x, ok := v.number.value(v.scale)
		return term{of: &query.Literal{Value: x}, kind: schema.Decimal, scale: v.scale}, ok
	}
	return term{}, false
}

func (w *walker) binary(fn string, c ast.CallExpr) (term, bool) {
	x, okX := w.arith(c.Args()[0])
	y, okY := w.arith(c.Args()[1])
	if !okX || !okY || x.kind != y.kind || !isNumber(x.kind) {
		return term{}, false
	}
	l, r, scale := x.of, y.of, 0
	if x.kind == schema.Decimal {
		if scale = x.scale + y.scale; fn != operators.Multiply {
			scale = max(x.scale, y.scale)
			l, r = x.rescale(scale), y.rescale(scale)
		}
	}
	return term{of: &query.Binary{Op: arithOp(fn), L: l, R: r, Kind: x.kind, Scale: uint8(scale)}, kind: x.kind, scale: scale}, true
}

func arithOp(fn string) query.ArithOp {
	switch fn {
	case operators.Add:
		return query.Plus
	case operators.Subtract:
		return query.Minus
	case operators.Multiply:
		return query.Times
	case operators.Divide:
		return query.Div
	}
	return query.Mod
}
