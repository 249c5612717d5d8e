package syntax

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Value is a compiled computed attribute.
type Value struct {
	Attribute schema.Attribute // name, kind, scale, and the format of a duration; there is no id
	Uses      Uses
	ReadsNow  bool // its Plan is for the now that it was compiled with
	Touched   Touched
	query.Formula
}

// Value compiles the expression of a computed attribute, which may be of any kind: a
// duration is a text as duration("...") reads it, an average a float. Errors are those of
// [Compiler.Compile]; what they point to is in the computed attribute's own text.
func (c *Compiler) Value(x *schema.Computed, cat Catalog, env query.Env) (*Value, error) {
	e, err := c.environment(cat.Schema())
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "expression environment: %w", err)
	}
	return c.compilation(e, cat, env).value(x)
}

func (c *compilation) value(x *schema.Computed) (*Value, error) {
	if err := c.enter(reference{computed: true, name: x.Name}); err != nil {
		return nil, err
	}
	defer c.leave()
	v := &Value{Attribute: schema.Attribute{Name: x.Name}}
	e, err := c.check(x.Text, func(l *elaborator, root ast.Expr) ast.Expr {
		root, t := l.averageAsFloat(l.single(root))
		v.Attribute.Scale = uint8(t.scale)
		return root
	})
	if err != nil {
		return nil, err
	}
	// What is computed once, such as windows, is looked at as if it stood in a condition.
	w := &walker{expr: e, cat: c.cat, zones: c.base.zones, now: c.now}
	if w.windows(); w.err != nil {
		return nil, w.err
	}
	p, err := e.program()
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "computed attribute %q: %w", x.Name, err)
	}
	v.Uses, v.ReadsNow = e.Uses, e.ReadsNow
	v.Attribute.Kind = valueKind(e.kind())
	if e.kind() == cel.DurationType {
		v.Attribute.Format = query.FormatDuration
	}
	if v.Attribute.Kind != schema.Decimal {
		v.Attribute.Scale = 0
	}
	v.Attrs, v.Events, v.Lists = e.reads(e.checked.Expr())
	v.Touched = e.Touched()
	kind, scale := v.Attribute.Kind, int(v.Attribute.Scale)
	if v.Plan = w.choice(e.checked.Expr(), kind, scale); w.err != nil {
		return nil, w.err
	}
	v.Eval = func(values []schema.Value, acts [][]query.Act, env query.Env) schema.Value {
		out, _, err := p.Eval(activation{readRow(e, v.Attrs, v.Events, values, acts, env)})
		if err != nil {
			return absent(kind)
		}
		return plainValue(out, kind, scale)
	}
	return v, nil
}

// choice translates an expression that has a value; nil if it has no plan, and is left to
// the interpreter. A condition in it may be.
func (w *walker) choice(e ast.Expr, kind schema.Kind, scale int) *query.Choice {
	t := w.expr.checked.GetType(e.ID())
	if readsNothing(e) {
		v := w.value(e)
		if types.IsUnknownOrError(v) {
			return &query.Choice{}
		}
		return &query.Choice{Value: plainValue(v, kind, scale)}
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional {
		c := e.AsCall().Args()
		out := &query.Choice{If: simplify(w.node(c[0])), Then: w.choice(c[1], kind, scale), Else: w.choice(c[2], kind, scale)}
		if isInterpreted(out.If) || out.Then == nil || out.Else == nil {
			return nil
		}
		return out
	}
	switch a := w.attr(e); {
	case t == cel.BoolType:
		if n := simplify(w.node(e)); !isInterpreted(n) {
			return &query.Choice{Test: n}
		}
	case t == cel.StringType:
		if a != nil {
			return &query.Choice{Attr: a.ID}
		}
	case kind.Ordered():
		if x, ok := w.arith(e); ok && x.kind == kind && x.scale <= scale {
			return &query.Choice{Of: x.rescale(scale)}
		}
	}
	return nil
}

// isInterpreted reports whether a plan is nothing but the interpreter.
func isInterpreted(n query.Node) bool {
	_, is := n.(*query.Residual)
	return is
}

// valueKind returns the kind that values of a type have outside of expressions.
func valueKind(t *cel.Type) schema.Kind {
	switch {
	case t == cel.BoolType:
		return schema.Bool
	case t == cel.IntType:
		return schema.Int
	case t == cel.DoubleType:
		return schema.Float
	case t == decimalType:
		return schema.Decimal
	case t == dateType:
		return schema.Date
	case t == cel.TimestampType:
		return schema.Timestamp
	case t.Kind() == types.ListKind:
		return schema.Set
	}
	return schema.String // a duration too
}

// absent is what there is where there is no value: a set is never absent.
func absent(k schema.Kind) schema.Value {
	if k == schema.Set {
		return schema.SetValue()
	}
	return schema.Value{}
}

// plainValue is the inverse of celValue. What a value of the kind cannot be is absent.
func plainValue(v ref.Val, k schema.Kind, scale int) schema.Value {
	switch v := v.(type) {
	case types.Bool:
		return schema.BoolValue(bool(v))
	case types.Int:
		return schema.IntValue(int64(v))
	case types.Double:
		return schema.FloatValue(float64(v))
	case decimal:
		out, _ := v.value(scale)
		return out
	case types.String:
		return schema.StringValue(string(v))
	case date:
		if v < schema.MinDate || v > schema.MaxDate {
			return schema.Value{}
		}
		return schema.DateValue(int64(v))
	case types.Timestamp:
		return schema.TimestampValue(v.UnixMilli())
	case types.Duration:
		return schema.StringValue(v.Duration.String())
	case traits.Lister:
		var out []string
		for _, x := range elements(v) {
			s, _ := x.(types.String)
			out = append(out, string(s))
		}
		return schema.SetValue(out...)
	}
	return absent(k)
}
