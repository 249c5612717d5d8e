package syntax

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file puts the expression of a computed attribute where the attribute is named, as a
// tree and before types are looked at: so numbers meet as they would if it stood there in
// brackets, and the plan is the same.

// parsed is a text taken apart, with what is needed to say where its parts stand.
type parsed struct {
	src  *source
	tree *ast.AST
}

// parse takes a text apart.
func (c *compilation) parse(text string) (parsed, error) {
	p := parsed{src: newSource(text)}
	if strings.TrimSpace(text) == "" {
		return p, &query.Error{Code: query.CodeSyntax, Message: "the expression is empty", Hint: "true is everybody", Source: text}
	}
	tree, errs := c.base.parser.Parse(common.NewTextSource(text))
	if len(errs.GetErrors()) > 0 {
		return p, syntaxError(p.src, errs)
	}
	p.tree = tree
	return p, nil
}

// reference is a name that leads to another text: a segment or a computed attribute.
type reference struct {
	computed bool
	name     string
}

func (r reference) String() string {
	if r.computed {
		return fmt.Sprintf("computed attribute %q", r.name)
	}
	return fmt.Sprintf("segment %q", r.name)
}

// enter begins the text that a name leads to; leave ends it.
func (c *compilation) enter(r reference) error {
	if i := slices.Index(c.stack, r); i >= 0 {
		return circle(append(slices.Clone(c.stack[i:]), r))
	}
	if len(c.stack) >= MaxSegmentDepth {
		return query.Errorf(query.CodeLimit, "segments and computed attributes name each other more than %d deep", MaxSegmentDepth)
	}
	c.stack = append(c.stack, r)
	return nil
}

func (c *compilation) leave() { c.stack = c.stack[:len(c.stack)-1] }

// circle reports names that lead back to themselves.
func circle(way []reference) error {
	what, names, same := "segments", make([]string, len(way)), true
	for i, r := range way {
		names[i] = r.name
		same = same && r.computed == way[0].computed
	}
	switch {
	case !same:
		what = "segments and computed attributes"
		for i, r := range way {
			names[i] = r.String()
		}
	case way[0].computed:
		what = "computed attributes"
	}
	return query.Errorf(query.CodeConflict, "%s name each other in a circle: %s", what, strings.Join(names, " -> "))
}

// within moves an error of the text that a name leads to to where the name stands.
func within(r reference, err error, text string, at query.Span) error {
	var q *query.Error
	if !errors.As(err, &q) {
		return err
	}
	out := *q
	out.Source, out.Span = text, at
	if q.Source != "" {
		line, col := q.Place()
		out.Message = fmt.Sprintf("in %s, %d:%d: %s", r, line, col, q.Message)
	}
	return &out
}

// refuse keeps the error of the text that a name leads to, if it is the first one.
func (l *elaborator) refuse(r reference, err error, at query.Span) {
	if l.err == nil {
		l.err = within(r, err, l.src.text, at)
	}
}

// computed makes what a computed attribute stands for, at the place of e, which names it.
func (l *elaborator) computed(e ast.Expr, x *schema.Computed) (ast.Expr, info) {
	r, at := reference{computed: true, name: x.Name}, l.src.span(l.ast, e)
	if err := l.of.enter(r); err != nil {
		l.refuse(r, err, at)
		return e, info{}
	}
	defer l.of.leave()
	p, err := l.of.formula(x)
	if err == nil {
		l.uses.Computed = appendName(l.uses.Computed, x.Name)
		l.expr.nodes += countNodes(p.tree.Expr())
		l.limit(r, at)
	} else {
		l.refuse(r, err, at)
	}
	if l.err != nil {
		return e, info{}
	}
	src, places, vars, uses := l.src, l.ast, l.vars, l.uses
	// The variables of the macros around mean nothing in there, but they are around.
	l.src, l.ast, l.vars = p.src, ast.NewSourceInfo(nil), make([]variable, len(vars))
	in := l.fac.CopyExpr(p.tree.Expr())
	in.RenumberIDs(func(id int64) int64 {
		l.next++
		if place, ok := p.tree.SourceInfo().GetOffsetRange(id); ok {
			l.ast.SetOffsetRange(l.next, place)
		}
		return l.next
	})
	out, t := l.single(in)
	l.src, l.ast, l.vars, l.uses = src, places, vars, uses
	if err := l.err; err != nil {
		l.err = nil
		l.refuse(r, err, at)
		return e, info{}
	}
	l.settle(out, at, x.Name)
	return out, t
}

// settle gives the nodes of an inlined tree the place of the name that stands for them.
func (l *elaborator) settle(tree ast.Expr, at query.Span, name string) {
	place := ast.OffsetRange{Start: l.src.charAt(at.Start), Stop: l.src.charAt(at.End)}
	ast.PreOrderVisit(tree, ast.NewExprVisitor(func(n ast.Expr) {
		l.ast.SetOffsetRange(n.ID(), place)
		l.expr.names[n.ID()] = append([]string{name}, l.expr.names[n.ID()]...)
	}))
}

// formula returns the text of a computed attribute, taken apart once.
func (c *compilation) formula(x *schema.Computed) (parsed, error) {
	p, ok := c.formulas[x.Name]
	if ok {
		return p, nil
	}
	p, err := c.parse(x.Text)
	if err == nil {
		c.formulas[x.Name] = p
	}
	return p, err
}

// single elaborates the whole text of a computed attribute, which has to be a single value
// of a kind.
func (l *elaborator) single(e ast.Expr) (ast.Expr, info) {
	out, t := l.expression(e)
	if t.kind == other {
		l.fail(e, query.CodeType, "", "%s is no value that an attribute could have", l.show(e))
	}
	return out, t
}

// hasComputed makes the test whether a computed attribute has a value, which is never unknown.
func (l *elaborator) hasComputed(e ast.Expr, x *schema.Computed) (ast.Expr, info) {
	out, t := l.computed(e, x)
	at := nodes{l, out}
	yes := info{kind: aBool, fixed: t.fixed}
	switch s := out.AsSelect(); {
	case l.err != nil:
	case out.Kind() == ast.SelectKind && !s.IsTestOnly() && isIdent(s.Operand(), "p"):
		return l.fac.NewPresenceTest(out.ID(), s.Operand(), s.FieldName()), yes
	case t.kind == aSet:
		return at.isTrue(at.call(operators.Greater, at.call(fnSize, out), at.literal(types.Int(0)))), yes
	default:
		return at.call(fnKnown, out), yes
	}
	return e, info{}
}
