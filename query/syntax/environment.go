package syntax

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"

	"github.com/kantadb/kanta/index/schema"
)

// Names inside checked trees that a text cannot spell.
const (
	fnNumber  = "@number"  // a literal as an exact decimal, from its text
	fnDecimal = "@decimal" // an int as a decimal
	fnRescale = "@rescale" // a decimal at a larger scale
	fnSegment = "@segment" // in_segment with the profile as first argument
	fnList    = "@list"
)

var (
	profileType = cel.ObjectType("profile") //tidy:constant
	eventsType  = cel.ObjectType("@events") //tidy:constant
)

// eventType is the type of an event, whose fields are the properties. No variable of a
// text can begin as its name does.
func eventType(id schema.EventID) *cel.Type {
	return cel.ObjectType("@event." + strconv.FormatUint(uint64(id), 10))
}

// environment is what CEL needs to check and run expressions over one schema. It is
// immutable and safe for concurrent use.
type environment struct {
	schema  *schema.Schema
	lent    map[string]*schema.Attribute // by name
	cel     *cel.Env
	checker *checker.Env
}

// base is what does not depend on the schema.
type base struct {
	parser  *parser.Parser
	zones   *zones
	lenders []string // the analyses that lend
}

func newBase(lenders ...string) (*base, error) {
	p, err := parser.NewParser(
		// The Pratt parser is nine times faster than the ANTLR one and reads the same
		// language; a test runs both over the same texts.
		parser.EnablePrattParser(true),
		// has is the one macro that stands for something else before types are known.
		parser.Macros(parser.NewGlobalMacro("has", 1, expandHas)),
		parser.MaxRecursionDepth(MaxDepth),
		parser.ExpressionSizeCodePointLimit(MaxTextBytes),
		parser.MaxExpressionNodeCount(4*MaxNodes), // checked exactly after parsing
		parser.ErrorReportingLimit(1), parser.ErrorRecoveryLimit(1),
	)
	if err != nil {
		return nil, err
	}
	return &base{parser: p, zones: new(zones), lenders: lenders}, nil
}

// expandHas makes a presence test of has(p.x) and has(x); in that of has(p["any name"]),
// p["any name"] itself is the operand, and no name the field.
func expandHas(h parser.ExprHelper, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	switch a := args[0]; a.Kind() {
	case ast.SelectKind:
		return h.NewPresenceTest(a.AsSelect().Operand(), a.AsSelect().FieldName()), nil
	case ast.IdentKind:
		return h.NewPresenceTest(h.NewIdent("p"), a.AsIdent()), nil
	case ast.CallKind:
		if _, _, ok := indexByName(a); ok {
			return h.NewPresenceTest(a, ""), nil
		}
	}
	return nil, h.NewError(args[0].ID(), "has() needs an attribute, such as has(p.email)")
}

// indexByName takes x["name"] apart.
func indexByName(e ast.Expr) (of ast.Expr, name string, ok bool) {
	c := e.AsCall()
	if c.FunctionName() != operators.Index || c.Args()[1].Kind() != ast.LiteralKind {
		return nil, "", false
	}
	s, ok := c.Args()[1].AsLiteral().(types.String)
	return c.Args()[0], string(s), ok
}

// newEnvironment builds the environment of a schema; it takes about half a
// millisecond, so a [Compiler] keeps it.
func newEnvironment(b *base, s *schema.Schema) (*environment, error) {
	reg, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	p := newProvider(reg, s)
	opts := []cel.EnvOption{
		cel.CustomTypeProvider(p), cel.CustomTypeAdapter(reg),
		cel.Variable("p", profileType), cel.Variable("ev", eventsType), cel.Variable("now", cel.TimestampType),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(false),
	}
	opts = append(opts, functions(b.zones)...)
	c, err := cel.NewEnv(append(opts, eventFunctions(b.zones)...)...)
	if err != nil {
		return nil, err
	}
	chk, err := checker.NewEnv(containers.DefaultContainer, p)
	if err != nil {
		return nil, err
	}
	if err := chk.AddIdents(c.Variables()...); err != nil {
		return nil, err
	}
	for _, f := range c.Functions() {
		if err := chk.AddFunctions(f); err != nil {
			return nil, err
		}
	}
	e := &environment{schema: s, lent: map[string]*schema.Attribute{}, cel: c, checker: chk}
	for i := range s.Lent {
		for j := range s.Lent[i].Fields {
			a := &s.Lent[i].Fields[j].Attribute
			e.lent[a.Name] = a
		}
	}
	return e, nil
}

// functions declares what Kanta adds to CEL's standard library.
func functions(z *zones) []cel.EnvOption {
	strs := cel.ListType(cel.StringType)
	return append(operatorOverloads(),
		cel.Function(fnNumber, cel.Overload("number_string", []*cel.Type{cel.StringType}, decimalType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				n, ok := parseNumber(string(v.(types.String)))
				if !ok {
					return types.NewErr("no number: %v", v)
				}
				return decimal{number: n, literal: true}
			}))),
		cel.Function(fnDecimal, cel.Overload("decimal_int", []*cel.Type{cel.IntType}, decimalType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return decimal{number: intNumber(int64(v.(types.Int)))} }))),
		cel.Function("double", cel.Overload("double_decimal", []*cel.Type{decimalType}, cel.DoubleType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return types.Double(v.(interface{ float() float64 }).float()) }))),
		cel.Function("date",
			cel.Overload("date_string", []*cel.Type{cel.StringType}, dateType, cel.UnaryBinding(func(v ref.Val) ref.Val {
				d, err := parseDate(string(v.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return d
			})),
			cel.Overload("date_timestamp_zone", []*cel.Type{cel.TimestampType, cel.StringType}, dateType,
				cel.BinaryBinding(func(t, zone ref.Val) ref.Val {
					l, err := z.find(string(zone.(types.String)))
					if err != nil {
						return types.WrapErr(err)
					}
					// At the ends of time a zone reaches a day beyond what an attribute
					// can hold; such a date still compares.
					return dateOf(t.(types.Timestamp).Time, l)
				}))),
		cel.Function("days", durationOf(day)), cel.Function("hours", durationOf(time.Hour)),
		cel.Function("minutes", durationOf(time.Minute)),
		cel.Function("hasAny", cel.MemberOverload("set_has_any", []*cel.Type{strs, strs}, cel.BoolType,
			cel.BinaryBinding(func(s, of ref.Val) ref.Val { return types.Bool(holds(s, of, false)) }))),
		cel.Function("hasAll", cel.MemberOverload("set_has_all", []*cel.Type{strs, strs}, cel.BoolType,
			cel.BinaryBinding(func(s, of ref.Val) ref.Val { return types.Bool(holds(s, of, true)) }))),
		cel.Function(fnSegment, cel.Overload("kanta_segment", []*cel.Type{profileType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(p, name ref.Val) ref.Val { return p.(*row).segment(string(name.(types.String))) }))),
		cel.Function(fnList, cel.Overload("kanta_list", []*cel.Type{profileType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(p, name ref.Val) ref.Val { return types.Bool(p.(*row).inList(string(name.(types.String)))) }))),
	)
}

// operatorOverloads declares the operators of decimals and dates; CEL's own bindings
// call the traits of the values.
func operatorOverloads() []cel.EnvOption {
	var out []cel.EnvOption
	add := func(fn string, l, r, result *cel.Type) {
		id := fmt.Sprintf("kanta%s%s%s", fn, l.TypeName(), r.TypeName())
		out = append(out, cel.Function(fn, cel.Overload(id, []*cel.Type{l, r}, result)))
	}
	for _, fn := range []string{operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals} {
		add(fn, decimalType, decimalType, cel.BoolType)
		add(fn, dateType, dateType, cel.BoolType)
	}
	for _, fn := range []string{operators.Add, operators.Subtract, operators.Multiply} {
		add(fn, decimalType, decimalType, decimalType)
	}
	add(operators.Add, dateType, cel.DurationType, dateType)
	add(operators.Subtract, dateType, cel.DurationType, dateType)
	add(operators.Subtract, dateType, dateType, cel.DurationType)
	return append(out, cel.Function(operators.Negate, cel.Overload("negate_decimal", []*cel.Type{decimalType}, decimalType)))
}

// durationOf declares days(n) and its kin.
func durationOf(unit time.Duration) cel.FunctionOpt {
	return cel.Overload("duration_of_"+unit.String(), []*cel.Type{cel.IntType}, cel.DurationType,
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			n := int64(v.(types.Int))
			if n > math.MaxInt64/int64(unit) || n < -math.MaxInt64/int64(unit) {
				return types.NewErr("duration out of range: at most 292 years")
			}
			return types.Duration{Duration: time.Duration(n) * unit}
		}))
}

func holds(s, of ref.Val, all bool) bool {
	set, list := s.(traits.Container), of.(traits.Lister)
	for it := list.Iterator(); it.HasNext() == types.True; {
		if has := set.Contains(it.Next()) == types.True; has != all {
			return has
		}
	}
	return all
}

// provider tells CEL what has fields: a profile the attributes, ev the event types, an
// event its properties.
type provider struct {
	*types.Registry
	fields map[string]map[string]*types.FieldType // by type and name
}

func newProvider(reg *types.Registry, s *schema.Schema) *provider {
	profile, events := map[string]*types.FieldType{}, map[string]*types.FieldType{}
	p := &provider{Registry: reg, fields: map[string]map[string]*types.FieldType{
		profileType.TypeName(): profile, eventsType.TypeName(): events}}
	for i := range s.Attributes {
		a := &s.Attributes[i]
		profile[a.Name] = field(a.Kind, func(of any) schema.Value { return of.(*row).values(a.ID) })
	}
	for i := range s.Lent {
		for _, f := range s.Lent[i].Fields {
			profile[lentMark+f.Name] = field(f.Kind, func(of any) schema.Value { return of.(*row).values(f.ID) })
		}
	}
	for i := range s.Events {
		v := &s.Events[i]
		events[v.Name] = &types.FieldType{
			Type:    cel.ListType(eventType(v.ID)),
			IsSet:   func(any) bool { return true },
			GetFrom: func(of any) (any, error) { return of.(*row).events(v.ID), nil },
		}
		p.fields[eventType(v.ID).TypeName()] = properties(v)
	}
	return p
}

func properties(v *schema.Event) map[string]*types.FieldType {
	out := map[string]*types.FieldType{
		timeField: field(schema.Timestamp, func(of any) schema.Value { return schema.TimestampValue(of.(act).Time) }),
	}
	for i := range v.Properties {
		out[v.Properties[i].Name] = field(v.Properties[i].Kind, func(of any) schema.Value { return of.(act).Values[i] })
	}
	return out
}

func field(k schema.Kind, value func(of any) schema.Value) *types.FieldType {
	return &types.FieldType{
		Type: celType(k),
		IsSet: func(of any) bool {
			v := value(of)
			return !v.IsAbsent() && (k != schema.Set || len(v.Elements()) > 0)
		},
		GetFrom: func(of any) (any, error) { return celValue(value(of), k) },
	}
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.fields[name]; ok {
		return types.NewTypeTypeWithParam(cel.ObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if of, ok := p.fields[name]; ok {
		f, ok := of[field]
		return f, ok
	}
	return p.Registry.FindStructFieldType(name, field)
}

func celType(k schema.Kind) *cel.Type {
	switch k {
	case schema.Bool:
		return cel.BoolType
	case schema.Int:
		return cel.IntType
	case schema.Float:
		return cel.DoubleType
	case schema.Decimal:
		return decimalType
	case schema.Date:
		return dateType
	case schema.Timestamp:
		return cel.TimestampType
	case schema.Set:
		return cel.ListType(cel.StringType)
	}
	return cel.StringType
}

// isOrdering tells < <= > >=.
func isOrdering(fn string) bool {
	switch fn {
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return true
	}
	return false
}

// isComparison tells == != < <= > >=.
func isComparison(fn string) bool {
	return fn == operators.Equals || fn == operators.NotEquals || isOrdering(fn)
}

// mirrored returns the comparison with its sides exchanged.
func mirrored(fn string) string {
	switch fn {
	case operators.Less:
		return operators.Greater
	case operators.LessEquals:
		return operators.GreaterEquals
	case operators.Greater:
		return operators.Less
	case operators.GreaterEquals:
		return operators.LessEquals
	}
	return fn
}
