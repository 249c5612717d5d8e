package syntax

import (
	"math"
	"math/big"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxExpanded bounds the operands of an == between truth values, which is expanded to
// and, or and not of both: nested, it would double at every level.
const maxExpanded = 32

// comparison translates L fn R; nil if there is no plan.
func (w *walker) comparison(e ast.Expr, fn string, l, r ast.Expr) query.Node {
	if w.expr.checked.GetType(l.ID()) == cel.BoolType || w.expr.checked.GetType(r.ID()) == cel.BoolType {
		return w.sameTruth(e, fn, l, r)
	}
	if fixedL, fixedR := readsNothing(l), readsNothing(r); fixedL && fixedR {
		return nil
	} else if fixedL {
		l, r, fn = r, l, mirrored(fn)
	}
	if l.Kind() == ast.CallKind && l.AsCall().FunctionName() == operators.Conditional {
		return w.compareBranches(e, fn, l.AsCall(), r)
	}
	if fn == operators.NotEquals {
		if n := w.comparison(e, operators.Equals, l, r); n != nil {
			return &query.Not{Of: n}
		}
		return nil
	}
	if !readsNothing(r) {
		return w.compareColumns(e, fn, l, r)
	}
	v := w.value(r)
	if types.IsUnknownOrError(v) {
		return &query.Const{Value: query.Unknown}
	}
	if a := w.column(l); a != nil {
		if b, ok := w.bound(a, v); ok {
			return w.compareAttribute(e, fn, a, b)
		}
		return nil
	}
	if d, ok := v.(date); ok {
		if n := w.compareLocalDate(e, fn, l, d); n != nil {
			return n
		}
	}
	if n := w.compareAverage(e, fn, l, v); n != nil {
		return n
	}
	return w.compareConstant(e, fn, l, v)
}

// compareBranches translates (c ? a : b) fn r, which is how a default for an absent value
// is written, and what is asked of bands.
func (w *walker) compareBranches(e ast.Expr, fn string, l ast.CallExpr, r ast.Expr) query.Node {
	if !readsNothing(r) {
		return nil
	}
	a, b := w.branch(e, fn, l.Args()[1], r), w.branch(e, fn, l.Args()[2], r)
	if a == nil || b == nil {
		return nil
	}
	return w.either(e, l.Args()[0], a, b)
}

// branch compares one branch, which may be a constant itself.
func (w *walker) branch(e ast.Expr, fn string, l, r ast.Expr) query.Node {
	if !readsNothing(l) {
		return w.comparison(e, fn, l, r)
	}
	a, b := w.value(l), w.value(r)
	if types.IsUnknownOrError(a) || types.IsUnknownOrError(b) {
		return &query.Const{Value: query.Unknown}
	}
	if !isOrdering(fn) {
		return constant(types.Bool((a.Equal(b) == types.True) == (fn == operators.Equals)))
	}
	x, ok := a.(traits.Comparer)
	if !ok {
		return nil
	}
	var is bool
	switch c := x.Compare(b); {
	case types.IsUnknownOrError(c):
		return nil
	case c == types.IntZero:
		is = fn == operators.LessEquals || fn == operators.GreaterEquals
	default:
		is = (c == types.IntNegOne) == (fn == operators.Less || fn == operators.LessEquals)
	}
	return constant(types.Bool(is))
}

// sameTruth translates == and != between truth values.
func (w *walker) sameTruth(e ast.Expr, fn string, l, r ast.Expr) query.Node {
	if isOrdering(fn) {
		w.fail(e, query.CodeType, "", "true and false have no order")
		return &query.Const{Value: query.Unknown}
	}
	a, b := w.node(l), w.node(r)
	if c, ok := b.(*query.Const); ok {
		a, b = c, a
	}
	var out query.Node
	c, ok := a.(*query.Const)
	switch {
	case ok && c.Value == query.True:
		out = b
	case ok && c.Value == query.False:
		out = &query.Not{Of: b}
	case ok:
		out = a
	case size(a)+size(b) > maxExpanded:
		return nil
	default:
		out = either(a, b, &query.Not{Of: b})
	}
	if fn == operators.NotEquals {
		return &query.Not{Of: out}
	}
	return out
}

// bound is a constant in the ordered form of an attribute: floor, and whether the
// constant lies above it by less than one; or a text; or nothing that any value
// could equal or be compared with (NaN).
type bound struct {
	floor *big.Int
	cut   bool
	nan   bool
	text  string
}

func ordered(n int64) bound { return bound{floor: big.NewInt(n)} }

// bound brings a constant into the ordered form of an attribute's kind.
func (w *walker) bound(a *schema.Attribute, v ref.Val) (bound, bool) {
	switch x := v.(type) {
	case types.Bool:
		if x {
			return ordered(1), a.Kind == schema.Bool
		}
		return ordered(0), a.Kind == schema.Bool
	case types.Int:
		return ordered(int64(x)), a.Kind == schema.Int
	case types.Double:
		if math.IsNaN(float64(x)) {
			return bound{nan: true}, a.Kind == schema.Float
		}
		return ordered(schema.OrderedFloat(float64(x))), a.Kind == schema.Float
	case decimal:
		floor, cut := x.at(int(a.Scale))
		return bound{floor: floor, cut: cut}, a.Kind == schema.Decimal || a.Kind == schema.Int
	case types.String:
		return bound{text: string(x)}, a.Kind == schema.String
	case date:
		return ordered(int64(x)), a.Kind == schema.Date
	case types.Timestamp:
		b := ordered(x.UnixMilli())
		b.cut = x.Nanosecond()%1e6 != 0
		return b, a.Kind == schema.Timestamp
	}
	return bound{}, false
}

// exactly returns the value that equals the bound, if the attribute can have it.
func (b bound) exactly(a *schema.Attribute) (schema.Value, bool) {
	if a.Kind == schema.String {
		return schema.StringValue(b.text), true
	}
	if b.nan || b.cut || !b.floor.IsInt64() {
		return schema.Value{}, false
	}
	return schema.FromOrdered(a.Kind, a.Scale, b.floor.Int64()), true
}

// limits returns the closed interval of ordered forms that satisfy "fn bound", for
// an ordering; lo > hi if none do.
func (b bound) limits(fn string) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if b.nan {
		return 1, 0
	}
	edge := new(big.Int).Set(b.floor)
	switch fn {
	case operators.LessEquals: // x <= floor
	case operators.Less: // x <= floor, or floor - 1 if the bound is itself a value
		if !b.cut {
			edge.Sub(edge, big.NewInt(1))
		}
	case operators.Greater: // x >= floor + 1
		edge.Add(edge, big.NewInt(1))
	case operators.GreaterEquals:
		if b.cut {
			edge.Add(edge, big.NewInt(1))
		}
	}
	upper := fn == operators.Less || fn == operators.LessEquals
	switch {
	case edge.IsInt64() && upper:
		return lo, edge.Int64()
	case edge.IsInt64():
		return edge.Int64(), hi
	case (edge.Sign() > 0) == upper:
		return lo, hi
	}
	return 1, 0
}

// matchOp is an ordering of texts.
func matchOp(fn string) query.MatchOp {
	switch fn {
	case operators.Less:
		return query.Less
	case operators.LessEquals:
		return query.LessEqual
	case operators.Greater:
		return query.Greater
	}
	return query.GreaterEqual
}

// compareAttribute compares one attribute with a constant.
func (w *walker) compareAttribute(e ast.Expr, fn string, a *schema.Attribute, b bound) query.Node {
	if fn == operators.Equals {
		n := &query.In{Place: w.place(e), Attr: a.ID}
		if v, ok := b.exactly(a); ok {
			n.Values = []schema.Value{v}
		}
		return n
	}
	if a.Kind == schema.String {
		return &query.Match{Place: w.place(e), Attr: a.ID, Op: matchOp(fn), Text: b.text}
	}
	lo, hi := b.limits(fn)
	return &query.Range{Place: w.place(e), Attr: a.ID, Lo: lo, Hi: hi}
}

// compareOp is any comparison but !=, which is the negation of ==.
func compareOp(fn string) query.CompareOp {
	switch fn {
	case operators.Less:
		return query.LT
	case operators.LessEquals:
		return query.LE
	case operators.Greater:
		return query.GT
	case operators.GreaterEquals:
		return query.GE
	}
	return query.EQ
}

// compareColumns compares two calculations over attributes. Decimals keep their
// scales: the evaluator compares them exactly.
func (w *walker) compareColumns(e ast.Expr, fn string, l, r ast.Expr) query.Node {
	x, okL := w.arith(l)
	y, okR := w.arith(r)
	if !okL || !okR || x.kind != y.kind {
		return nil
	}
	return &query.Compare{Place: w.place(e), Op: compareOp(fn), L: x.of, R: y.of}
}

// compareConstant compares a calculation over attributes with a constant. The
// constant is brought to the calculation's scale, so nothing is rescaled per profile.
func (w *walker) compareConstant(e ast.Expr, fn string, l ast.Expr, v ref.Val) query.Node {
	if l.Kind() == ast.CallKind && l.AsCall().FunctionName() == fnDecimal {
		l = l.AsCall().Args()[0]
	}
	x, ok := w.arith(l)
	if !ok {
		return nil
	}
	b, ok := w.bound(&schema.Attribute{Kind: x.kind, Scale: uint8(x.scale)}, v)
	if !ok || b.nan {
		return nil
	}
	n := &query.Compare{Place: w.place(e), L: x.of}
	set := func(op query.CompareOp, c int64) query.Node {
		n.Op, n.R = op, &query.Literal{Value: schema.FromOrdered(x.kind, uint8(x.scale), c)}
		return countIsZero(n)
	}
	if fn == operators.Equals {
		if c, ok := b.exactly(&schema.Attribute{Kind: x.kind}); ok {
			return set(query.EQ, c.Ordered())
		}
		return set(query.LT, math.MinInt64) // false wherever the calculation has a result
	}
	if x.kind == schema.Float {
		return set(compareOp(fn), b.floor.Int64())
	}
	switch lo, hi := b.limits(fn); {
	case lo > hi:
		return set(query.LT, math.MinInt64)
	case hi == math.MaxInt64:
		return set(query.GE, lo)
	default:
		return set(query.LE, hi)
	}
}

// uniqueValues sorts values of one kind and removes repetitions.
func uniqueValues(values []schema.Value) []schema.Value {
	slices.SortFunc(values, compareValues)
	return slices.CompactFunc(values, schema.Value.Equal)
}

func compareValues(a, b schema.Value) int {
	switch {
	case a.Ordered() < b.Ordered() || a.Ordered() == b.Ordered() && a.Str() < b.Str():
		return -1
	case a.Equal(b):
		return 0
	}
	return 1
}
