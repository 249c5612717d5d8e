package syntax

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// errAbsent is what reading an absent attribute gives inside the interpreter; CEL's
// && and || treat an error as Kleene's unknown.
var errAbsent = errors.New("absent")

// row is one profile as the interpreter sees it: the variables p and ev.
type row struct {
	expr   *Expr
	values func(schema.AttrID) schema.Value
	acts   func(schema.EventID) []query.Act
	inList func(string) bool
	env    query.Env
}

// celValue makes a value of the interpreter of a stored one of a kind.
func celValue(v schema.Value, k schema.Kind) (any, error) {
	switch v.Kind() {
	case schema.Bool:
		return types.Bool(v.Bool()), nil
	case schema.Int:
		return types.Int(v.Ordered()), nil
	case schema.Float:
		return types.Double(v.Float()), nil
	case schema.Decimal:
		return decimal{number: number{unscaled: intNumber(v.Ordered()).unscaled, scale: int(v.Scale())}}, nil
	case schema.String:
		return types.String(v.Str()), nil
	case schema.Date:
		return date(v.Ordered()), nil
	case schema.Timestamp:
		return types.Timestamp{Time: time.UnixMilli(v.Ordered()).UTC()}, nil
	case schema.Set:
		return types.NewStringList(types.DefaultTypeAdapter, v.Elements()), nil
	}
	if k == schema.Set {
		return types.NewStringList(types.DefaultTypeAdapter, nil), nil
	}
	return nil, errAbsent
}

// segment evaluates a segment that the expression names, for the same profile.
func (r *row) segment(name string) ref.Val {
	s := r.expr.segments[name]
	if s == nil {
		return types.NewErr("segment %q is not compiled", name)
	}
	p, err := s.program()
	if err != nil {
		return types.WrapErr(err)
	}
	inner := *r
	inner.expr = s
	v, _, err := p.Eval(activation{&inner})
	if err != nil {
		return types.WrapErr(err)
	}
	return v
}

// activation binds p, ev and now.
type activation struct{ *row }

// ResolveName implements interpreter.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case "p", "ev":
		return a.row, true
	case "now":
		return types.Timestamp{Time: a.env.Now}, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (a activation) Parent() interpreter.Activation { return nil }

// truth reads a program's outcome.
func truth(v ref.Val, err error) (t query.Truth, failed bool) {
	switch {
	case err != nil:
		return query.Unknown, !errors.Is(err, errAbsent)
	case v == types.True:
		return query.True, false
	case v == types.False:
		return query.False, false
	}
	return query.Unknown, true
}

// Interpret evaluates the checked CEL tree with CEL's interpreter for one profile. It
// does not use Root: it is the second definition that tests hold the plan against.
// values returns an attribute's value, absent ones as the zero Value; acts the profile's
// acts of an event type in order of (time, hash of the properties), those after now are
// not seen; nil: it has none; inList tells whether the profile is in a list. failed reports that what made the result unknown
// is an overflow, a division by zero or the like; where both an absent value and a
// failure do, it is the one that CEL meets first.
func (e *Expr) Interpret(values func(schema.AttrID) schema.Value, acts func(schema.EventID) []query.Act,
	inList func(string) bool, env query.Env) (t query.Truth, failed bool) {
	p, err := e.program()
	if err != nil {
		return query.Unknown, true
	}
	v, _, err := p.Eval(activation{&row{expr: e, values: values, acts: acts, inList: inList, env: env}})
	return truth(v, err)
}

// program returns the program of the whole tree, planned when it is first needed.
func (e *Expr) program() (cel.Program, error) {
	x := e.interpreted
	x.once.Do(func() { x.prog, x.err = e.env.cel.PlanProgram(e.checked) })
	return x.prog, x.err
}

// readRow makes a row of what a residual or a formula is given. attrs and events are what it reads.
func readRow(e *Expr, attrs []schema.AttrID, events []schema.EventID, values []schema.Value, acts [][]query.Act, env query.Env) *row {
	value := func(id schema.AttrID) (v schema.Value) {
		if i := slices.Index(attrs, id); i >= 0 {
			v = values[i]
		}
		return v
	}
	return &row{expr: e, env: env, values: value, inList: listed(value),
		acts: func(id schema.EventID) (of []query.Act) {
			if i := slices.Index(events, id); i >= 0 {
				of = acts[i]
			}
			return of
		}}
}

// listed makes the test of a list of the value of schema.ListsAttr.
func listed(value func(schema.AttrID) schema.Value) func(string) bool {
	return func(name string) bool {
		_, in := slices.BinarySearch(value(schema.ListsAttr).Elements(), name)
		return in
	}
}

// residual makes the function of a Residual node.
func residual(e *Expr, p cel.Program, attrs []schema.AttrID, events []schema.EventID) query.ResidualFunc {
	return func(values []schema.Value, acts [][]query.Act, env query.Env) (query.Truth, bool) {
		v, _, err := p.Eval(activation{readRow(e, attrs, events, values, acts, env)})
		return truth(v, err)
	}
}

// ConvertToNative implements ref.Val.
func (r *row) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("a profile has no native type")
}

// ConvertToType implements ref.Val.
func (r *row) ConvertToType(ref.Type) ref.Val { return types.NewErr("a profile has no conversion") }

// Equal implements ref.Val.
func (r *row) Equal(other ref.Val) ref.Val { return types.Bool(r == other) }

// Type implements ref.Val.
func (r *row) Type() ref.Type { return profileType }

// Value implements ref.Val.
func (r *row) Value() any { return r }
