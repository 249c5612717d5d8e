package syntax

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// walker turns a checked CEL tree into a tree of package query. What it does not
// know becomes a Residual, which CEL's interpreter evaluates; so the walk can be
// incomplete, but what it does know must mean the same.
type walker struct {
	expr  *Expr
	cat   Catalog
	zones *zones
	now   query.Env
	err   *query.Error

	// Inside a list's brackets what is said of one event; then nothing but its
	// properties has a plan, and unplanned tells that something else was read.
	event     *schema.Event
	item      int64 // the node that is the event; 0: itemVar
	unplanned bool

	places map[int64]query.Place // by node: a comparison that is moved into branches asks for its own in each
}

func (w *walker) span(e ast.Expr) query.Span { return w.expr.src.span(w.expr.checked.SourceInfo(), e) }

// place returns where an expression stands, with the computed attributes that it comes from
// and those in it, the outermost first.
func (w *walker) place(e ast.Expr) query.Place {
	if p, ok := w.places[e.ID()]; ok {
		return p
	}
	p := query.Place{Span: w.span(e)}
	if len(w.expr.names) > 0 {
		ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) {
			p = p.With(query.Place{Span: p.Span, Computed: w.expr.names[n.ID()]})
		}))
	}
	if w.places == nil {
		w.places = make(map[int64]query.Place)
	}
	w.places[e.ID()] = p
	return p
}

func (w *walker) fail(e ast.Expr, code query.Code, hint, msg string) {
	if w.err == nil {
		w.err = &query.Error{Code: code, Message: msg, Hint: hint, Source: w.expr.Text, Span: w.span(e)}
	}
}

// attr returns the attribute of p.name, or the property of e.name, or nil.
func (w *walker) attr(e ast.Expr) *schema.Attribute {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return nil
	}
	return w.field(e.AsSelect())
}

func (w *walker) field(s ast.SelectExpr) *schema.Attribute {
	of := s.Operand()
	switch {
	case w.event == nil && isIdent(of, "p"):
		return w.expr.env.attribute(s.FieldName())
	case w.event == nil || !isIdent(of, itemVar) && of.ID() != w.item:
		return nil
	}
	return propertyOf(w.event, s.FieldName())
}

// propertyOf returns a property of an event; its time is one too.
func propertyOf(v *schema.Event, field string) *schema.Attribute {
	if field == timeField {
		return &schema.Attribute{ID: schema.TimeProperty, Name: "ts", Kind: schema.Timestamp}
	}
	return v.Lookup(field)
}

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

// node translates an expression of type bool.
func (w *walker) node(e ast.Expr) query.Node {
	switch e.Kind() {
	case ast.LiteralKind:
		return constant(e.AsLiteral())
	case ast.SelectKind:
		a := w.field(e.AsSelect())
		switch {
		case a != nil && e.AsSelect().IsTestOnly():
			return &query.Has{Place: w.place(e), Attr: a.ID}
		case a != nil:
			return &query.In{Place: w.place(e), Attr: a.ID, Values: []schema.Value{schema.BoolValue(true)}}
		}
	case ast.CallKind, ast.ComprehensionKind:
		if n := w.eventTest(e); n != nil {
			return n
		}
		if n := w.call(e, e.AsCall()); n != nil {
			return n
		}
	}
	if readsNothing(e) {
		return constant(w.value(e))
	}
	if n := w.oneIs(e); n != nil {
		return n
	}
	return w.residual(e)
}

// constant makes a node of a truth value; an error, such as 1/0 == 1, is unknown.
func constant(v ref.Val) query.Node {
	switch v {
	case types.True:
		return &query.Const{Value: query.True}
	case types.False:
		return &query.Const{Value: query.False}
	}
	return &query.Const{Value: query.Unknown}
}

func (w *walker) call(e ast.Expr, c ast.CallExpr) query.Node {
	switch fn := c.FunctionName(); fn {
	case operators.LogicalAnd:
		return &query.And{Of: []query.Node{w.node(c.Args()[0]), w.node(c.Args()[1])}}
	case operators.LogicalOr:
		return &query.Or{Of: []query.Node{w.node(c.Args()[0]), w.node(c.Args()[1])}}
	case operators.LogicalNot:
		return &query.Not{Of: w.node(c.Args()[0])}
	case operators.Conditional:
		return w.either(e, c.Args()[0], w.node(c.Args()[1]), w.node(c.Args()[2]))
	case operators.In:
		return w.in(e, c)
	case fnSegment:
		if w.event != nil {
			return nil
		}
		name := segmentName(e)
		s := w.expr.segments[name]
		return &query.Segment{Place: w.place(e), Name: name, Of: respan(s.Root, w.span(e))}
	case fnList:
		if w.event != nil {
			return nil
		}
		name := segmentName(e)
		code, _ := w.cat.List(name)
		return &query.InList{Place: w.place(e), Name: name, Code: code}
	case overloads.StartsWith, overloads.EndsWith, overloads.Contains, overloads.Matches:
		return w.textTest(e, c)
	case "hasAny", "hasAll":
		return w.setTest(e, c)
	default:
		if isComparison(fn) {
			return w.comparison(e, fn, c.Args()[0], c.Args()[1])
		}
	}
	return nil
}

// either translates cond ? a : b. Where cond is true or false for everybody and, or and not
// say the same, which the planner can order.
func (w *walker) either(e, cond ast.Expr, a, b query.Node) query.Node {
	c := w.node(cond)
	if w.certain(cond) {
		return either(c, a, b)
	}
	return &query.If{Place: w.place(e), Cond: c, Then: a, Else: b}
}

func either(cond, a, b query.Node) query.Node {
	return &query.Or{Of: []query.Node{
		&query.And{Of: []query.Node{cond, a}},
		&query.And{Of: []query.Node{&query.Not{Of: cond}, b}},
	}}
}

// certain reports whether an expression is never unknown.
func (w *walker) certain(e ast.Expr) bool {
	if w.expr.verbs[e.ID()] != nil {
		return w.eventTest(e) != nil
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.SelectKind:
		return e.AsSelect().IsTestOnly() && w.field(e.AsSelect()) != nil
	case ast.CallKind:
		c := e.AsCall()
		switch c.FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr:
			return w.certain(c.Args()[0]) && w.certain(c.Args()[1])
		case operators.LogicalNot:
			return w.certain(c.Args()[0])
		case fnList:
			return true
		case "hasAny", "hasAll":
			return w.attr(c.Target()) != nil && readsNothing(c.Args()[0])
		case operators.In:
			a := w.attr(c.Args()[1])
			return a != nil && a.Kind == schema.Set && readsNothing(c.Args()[0])
		}
	}
	return false
}

func (w *walker) textTest(e ast.Expr, c ast.CallExpr) query.Node {
	a := w.attr(c.Target())
	text, ok := w.constText(c.Args()[0])
	if a == nil || a.Kind != schema.String || !ok {
		return nil
	}
	n := &query.Match{Place: w.place(e), Attr: a.ID, Op: query.Matches, Text: text}
	switch c.FunctionName() {
	case overloads.StartsWith:
		n.Op = query.StartsWith
	case overloads.EndsWith:
		n.Op = query.EndsWith
	case overloads.Contains:
		n.Op = query.Contains
	}
	return n
}

func (w *walker) constText(e ast.Expr) (string, bool) {
	if !readsNothing(e) {
		return "", false
	}
	s, ok := w.value(e).(types.String)
	return string(s), ok
}

func (w *walker) setTest(e ast.Expr, c ast.CallExpr) query.Node {
	a := w.attr(c.Target())
	values, ok := w.constList(c.Args()[0])
	if a == nil || !ok {
		return nil
	}
	n := &query.SetHas{Place: w.place(e), Attr: a.ID, All: c.FunctionName() == "hasAll"}
	for _, v := range values {
		s, ok := v.(types.String)
		if !ok {
			return nil
		}
		n.Values = append(n.Values, string(s))
	}
	slices.Sort(n.Values)
	n.Values = slices.Compact(n.Values)
	return n
}

// constList evaluates the elements of a written list.
func (w *walker) constList(e ast.Expr) ([]ref.Val, bool) {
	if e.Kind() != ast.ListKind || !readsNothing(e) {
		return nil, false
	}
	out := make([]ref.Val, 0, e.AsList().Size())
	for _, x := range e.AsList().Elements() {
		v := w.value(x)
		if types.IsUnknownOrError(v) {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// in translates x in [..] and "x" in set.
func (w *walker) in(e ast.Expr, c ast.CallExpr) query.Node {
	if a := w.attr(c.Args()[1]); a != nil {
		text, ok := w.constText(c.Args()[0])
		if !ok {
			return nil
		}
		return &query.SetHas{Place: w.place(e), Attr: a.ID, Values: []string{text}}
	}
	values, ok := w.constList(c.Args()[1])
	if !ok {
		return nil
	}
	return w.isOneOf(e, c.Args()[0], &constants{values, map[schema.AttrID][]schema.Value{}})
}

// constants are a list of them, and as values of the attributes that they are compared with:
// so many branches of a choice share one list.
type constants struct {
	all []ref.Val
	of  map[schema.AttrID][]schema.Value
}

// isOneOf translates x in a list of constants; nil if there is no plan.
func (w *walker) isOneOf(e, x ast.Expr, list *constants) query.Node {
	if x.Kind() == ast.CallKind && x.AsCall().FunctionName() == operators.Conditional {
		c := x.AsCall().Args()
		a, b := w.isOneOf(e, c[1], list), w.isOneOf(e, c[2], list)
		if a == nil || b == nil {
			return nil
		}
		return w.either(e, c[0], a, b)
	}
	if readsNothing(x) {
		v := w.value(x)
		if types.IsUnknownOrError(v) {
			return &query.Const{Value: query.Unknown}
		}
		return constant(types.Bool(slices.ContainsFunc(list.all, func(y ref.Val) bool { return v.Equal(y) == types.True })))
	}
	a := w.column(x)
	if a == nil {
		return nil
	}
	values, ok := list.of[a.ID]
	if !ok {
		for _, v := range list.all {
			b, ok := w.bound(a, v)
			if !ok {
				return nil
			}
			if s, ok := b.exactly(a); ok {
				values = append(values, s)
			}
		}
		values = uniqueValues(values)
		list.of[a.ID] = values
	}
	return &query.In{Place: w.place(e), Attr: a.ID, Values: values}
}

// column returns the attribute that an operand is, whatever conversion of an int to a
// decimal stands around it, or nil.
func (w *walker) column(e ast.Expr) *schema.Attribute {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == fnDecimal {
		e = e.AsCall().Args()[0]
	}
	return w.attr(e)
}

// value evaluates an expression that reads no attribute.
func (w *walker) value(e ast.Expr) ref.Val {
	if e.Kind() == ast.LiteralKind {
		return e.AsLiteral()
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == fnNumber {
		if n, ok := parseNumber(string(e.AsCall().Args()[0].AsLiteral().(types.String))); ok {
			return decimal{number: n, literal: true}
		}
	}
	p, err := w.program(e)
	if err != nil {
		return types.WrapErr(err)
	}
	v, _, err := p.Eval(activation{&row{expr: w.expr, env: w.now}})
	if err != nil {
		return types.WrapErr(err)
	}
	return v
}

func (w *walker) program(e ast.Expr) (cel.Program, error) {
	part := ast.NewCheckedAST(ast.NewAST(e, w.expr.checked.SourceInfo()), w.expr.checked.TypeMap(), w.expr.checked.ReferenceMap())
	return w.expr.env.cel.PlanProgram(part)
}

// residual leaves an expression to the interpreter.
func (w *walker) residual(e ast.Expr) query.Node {
	if w.event != nil { // then it is the whole test of the profile that has no plan
		w.unplanned = true
		return &query.Const{Value: query.Unknown}
	}
	p, err := w.program(e)
	if err != nil {
		w.fail(e, query.CodeInternal, "", err.Error())
		return &query.Const{Value: query.Unknown}
	}
	n := &query.Residual{Place: w.place(e)}
	n.Attrs, n.Events, n.Lists = w.expr.reads(e)
	n.Eval = residual(w.expr, p, n.Attrs, n.Events)
	return n
}

// Reads returns the attributes and lists that the text reads, by segments and computed
// attributes too. Root may read fewer: now alone may decide a part at one instant.
func (e *Expr) Reads() query.Uses {
	attrs, _, lists := e.reads(e.checked.Expr())
	return query.UsesOf(&query.Residual{Attrs: attrs, Lists: lists})
}

// reads returns the attributes, events and lists that a part of an expression reads, through
// segments too, each once and in order.
func (e *Expr) reads(part ast.Expr) (attrs []schema.AttrID, events []schema.EventID, lists []string) {
	ast.PreOrderVisit(part, ast.NewExprVisitor(func(n ast.Expr) {
		switch {
		case n.Kind() == ast.SelectKind && isIdent(n.AsSelect().Operand(), "p"):
			attrs = append(attrs, e.env.attribute(n.AsSelect().FieldName()).ID)
		case n.Kind() == ast.SelectKind && isIdent(n.AsSelect().Operand(), "ev"):
			events = append(events, e.env.schema.LookupEvent(n.AsSelect().FieldName()).ID)
		case n.Kind() == ast.CallKind && n.AsCall().FunctionName() == fnList:
			attrs, lists = append(attrs, schema.ListsAttr), append(lists, segmentName(n))
		case n.Kind() == ast.CallKind && n.AsCall().FunctionName() == fnSegment:
			s := e.segments[segmentName(n)]
			a, v, l := s.reads(s.checked.Expr())
			attrs, events, lists = append(attrs, a...), append(events, v...), append(lists, l...)
		}
	}))
	slices.Sort(attrs)
	slices.Sort(events)
	slices.Sort(lists)
	return slices.Compact(attrs), slices.Compact(events), slices.Compact(lists)
}
