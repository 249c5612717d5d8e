package query

import (
	"math"

	"github.com/kantadb/kanta/index/schema"
)

func (b *planner) compare(n *Compare) (*op, error) {
	if n.Op > GE {
		return nil, Errorf(CodeInternal, "no comparison has the number %d", n.Op)
	}
	if list, lo, hi, not, ok := countRange(n); ok {
		return b.countIs(n, list, lo, hi, not)
	}
	c := &arithCompiler{b: b, at: n.Span}
	l, lt, err := c.compile(n.L)
	if err != nil {
		return nil, err
	}
	r, rt, err := c.compile(n.R)
	if err != nil {
		return nil, err
	}
	if lt.kind != rt.kind {
		return nil, c.errorf("a %s is compared with a %s", lt.kind, rt.kind)
	}
	o := &op{node: n, span: n.Span, method: "columns", share: shareCompare, cost: costGather * float64(1+c.columns), narrow: true,
		inner: &compareOp{op: n.Op, l: l, r: r, isFloat: lt.kind == schema.Float, lScale: lt.scale, rScale: rt.scale,
			folds: c.folds, columns: c.columns > 0}}
	switch {
	case len(c.folds) > 0 && c.columns > 0:
		o.method, o.cost = "events and columns", o.cost+c.cost
	case len(c.folds) > 0:
		o.method, o.cost = "events", c.cost
	}
	if c.facts {
		o.method = factsMethod + o.method
	}
	return o, nil
}

// arithType is the type of an arithmetic expression.
type arithType struct {
	kind  schema.Kind
	scale uint8
}

// arithCompiler makes terms of a checked tree, and checks again what it relies on.
type arithCompiler struct {
	b       *planner
	at      Span
	columns int
	folds   []*foldTerm
	facts   bool    // some of them are read from facts
	cost    float64 // of the folds, in microseconds per chunk
}

func (c *arithCompiler) errorf(format string, args ...any) error {
	e := Errorf(CodeType, format, args...)
	e.Span = c.at
	return e
}

func (c *arithCompiler) compile(n Arith) (term, arithType, error) {
	switch n := n.(type) {
	case *Column:
		a, err := c.b.attribute(n.Attr, c.at)
		if err != nil {
			return nil, arithType{}, err
		}
		if a.Kind != n.Kind || a.Scale != n.Scale || !a.Kind.Ordered() {
			return nil, arithType{}, typeError(c.at, "arithmetic over a "+n.Kind.String(), a)
		}
		c.columns++
		return &columnTerm{n.Attr, n.Kind}, arithType{n.Kind, n.Scale}, nil
	case *Literal:
		return c.literal(n.Value)
	case *Binary:
		return c.binary(n)
	case *Negate:
		return c.negate(n)
	case *Convert:
		return c.convert(n)
	case *Fold:
		return c.fold(n)
	}
	return nil, arithType{}, Errorf(CodeInternal, "no plan for arithmetic of type %T", n)
}

func (c *arithCompiler) literal(v schema.Value) (term, arithType, error) {
	if !v.Kind().Ordered() {
		return nil, arithType{}, c.errorf("arithmetic with a %s", v.Kind())
	}
	t := &literalTerm{n: v.Ordered()}
	if v.Kind() == schema.Float {
		t.f = v.Float()
	}
	return t, arithType{v.Kind(), v.Scale()}, nil
}

func (c *arithCompiler) binary(n *Binary) (term, arithType, error) {
	l, lt, err := c.compile(n.L)
	if err != nil {
		return nil, arithType{}, err
	}
	r, rt, err := c.compile(n.R)
	if err != nil {
		return nil, arithType{}, err
	}
	typ := arithType{n.Kind, n.Scale}
	if n.Kind == schema.Float {
		apply := floatOp(n.Op)
		if apply == nil || lt.kind != schema.Float || rt.kind != schema.Float {
			return nil, typ, c.errorf("no such operation over a %s and a %s", lt.kind, rt.kind)
		}
		return &floatTerm{apply, l, r}, typ, nil
	}
	apply := intOp(n.Op)
	if apply == nil || lt.kind == schema.Float || rt.kind == schema.Float || !n.Kind.Ordered() || !scalesFit(n, lt, rt) {
		return nil, typ, c.errorf("no such operation over a %s and a %s", lt.kind, rt.kind)
	}
	lo, hi := kindRange(n.Kind)
	return &intTerm{apply, l, r, lo, hi}, typ, nil
}

// scalesFit checks the scales of a decimal operation: unscaled integers are added at one
// scale, and a product has the sum of the scales.
func scalesFit(n *Binary, l, r arithType) bool {
	switch n.Op {
	case Plus, Minus:
		return l.scale == n.Scale && r.scale == n.Scale
	case Times:
		return l.scale+r.scale == n.Scale && n.Scale <= schema.MaxScale
	}
	return n.Kind == schema.Int
}

func intOp(op ArithOp) func(a, b int64) (int64, bool) {
	switch op {
	case Plus:
		return addInt
	case Minus:
		return subInt
	case Times:
		return mulInt
	case Div:
		return divInt
	case Mod:
		return modInt
	}
	return nil
}

func floatOp(op ArithOp) func(a, b float64) float64 {
	switch op {
	case Plus:
		return func(a, b float64) float64 { return a + b }
	case Minus:
		return func(a, b float64) float64 { return a - b }
	case Times:
		return func(a, b float64) float64 { return a * b }
	case Div:
		return func(a, b float64) float64 { return a / b }
	}
	return nil
}

// kindRange returns the values that a kind has, in ordered form.
func kindRange(k schema.Kind) (lo, hi int64) {
	switch k {
	case schema.Date:
		return schema.MinDate, schema.MaxDate
	case schema.Timestamp:
		return schema.MinTimestamp, schema.MaxTimestamp
	}
	return math.MinInt64, math.MaxInt64
}

func (c *arithCompiler) negate(n *Negate) (term, arithType, error) {
	of, typ, err := c.compile(n.Of)
	if err != nil {
		return nil, typ, err
	}
	switch typ.kind {
	case schema.Float:
		return &unaryTerm{of, func(v *vector, i int) bool { v.f[i] = -v.f[i]; return true }}, typ, nil
	case schema.Int, schema.Decimal:
		return &unaryTerm{of, func(v *vector, i int) bool {
			ok := v.n[i] != math.MinInt64
			v.n[i] = -v.n[i]
			return ok
		}}, typ, nil
	}
	return nil, typ, c.errorf("the negative of a %s", typ.kind)
}

// msPerDay is the length of a day in a timestamp's unit.
const msPerDay = 86400000

func (c *arithCompiler) convert(n *Convert) (term, arithType, error) {
	of, from, err := c.compile(n.Of)
	if err != nil {
		return nil, from, err
	}
	to := arithType{n.Kind, n.Scale}
	switch {
	case from == to:
		return of, to, nil
	case to.kind == schema.Decimal && (from.kind == schema.Int || from.kind == schema.Decimal) && to.scale >= from.scale && to.scale <= schema.MaxScale:
		factor := pow10[to.scale-from.scale]
		return &unaryTerm{of, func(v *vector, i int) bool {
			p, ok := mulInt(v.n[i], factor)
			v.n[i] = p
			return ok
		}}, to, nil
	case to.kind == schema.Float && from.kind == schema.Int:
		return &unaryTerm{of, func(v *vector, i int) bool { v.f[i] = float64(v.n[i]); return true }}, to, nil
	case to.kind == schema.Float && from.kind == schema.Decimal:
		return &unaryTerm{of, func(v *vector, i int) bool { v.f[i] = decimalFloat(v.n[i], from.scale); return true }}, to, nil
	case to.kind == schema.Date && from.kind == schema.Timestamp:
		return &unaryTerm{of, func(v *vector, i int) bool {
			day := v.n[i] / msPerDay
			if v.n[i] < day*msPerDay {
				day-- // towards the past, also before 1970
			}
			v.n[i] = day
			return true
		}}, to, nil
	}
	return nil, to, c.errorf("no conversion from %s to %s", from.kind, to.kind)
}
