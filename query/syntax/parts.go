package syntax

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kantadb/kanta/query"
)

// Part is one part of an expression as its author wrote it, with the tree that says what it
// means; Root of the whole has been simplified, which joins parts.
type Part struct {
	Text string
	Op   string // "and", "or", "not", "if" (condition, then, else), "segment", "computed"; "": a test
	Root query.Node
	Of   []*Part // of a segment or a computed attribute, its own text

	at       query.Span
	computed string // the computed attribute that it names
}

// Parts takes an expression apart that this compiler has compiled with the same catalog and
// environment.
func (c *Compiler) Parts(e *Expr, cat Catalog, env query.Env) (*Part, error) {
	w := &walker{expr: e, cat: cat, zones: c.base.zones, now: env}
	p := w.part(e.checked.Expr())
	if w.err != nil {
		return nil, w.err
	}
	return p, c.unfold(p, cat, env)
}

// unfold takes apart what the computed attributes among the parts stand for. There are at
// most as many parts as nodes, which Compile has counted.
func (c *Compiler) unfold(p *Part, cat Catalog, env query.Env) error {
	for _, x := range p.Of {
		if err := c.unfold(x, cat, env); err != nil {
			return err
		}
	}
	if p.computed == "" {
		return nil
	}
	e, err := c.Compile(cat.Schema().LookupComputed(p.computed).Text, cat, env)
	if err != nil {
		return err
	}
	of, err := c.Parts(e, cat, env)
	p.Op, p.Of = "computed", []*Part{of}
	return err
}

func (w *walker) part(e ast.Expr) *Part {
	p := &Part{Root: simplify(w.node(e)), at: w.span(e)}
	verb := w.expr.verbs[e.ID()]
	switch {
	case w.inlined(e):
	case verb != nil && verb.name == "sequence": // its node ends before .any()
		p.at.End += strings.IndexByte(w.expr.Text[p.at.End:], ')') + 1
	case verb == nil && e.Kind() == ast.CallKind:
		w.takeApart(p, e, e.AsCall())
	}
	p.at = w.expr.src.balance(p.at)
	p.Text = w.expr.Text[p.at.Start:p.at.End]
	if w.inlined(e) && !strings.HasSuffix(p.Text, ")") { // not has(name)
		p.computed = w.expr.names[e.ID()][0]
	}
	return p
}

func (w *walker) takeApart(p *Part, e ast.Expr, c ast.CallExpr) {
	of := c.Args()
	switch fn := c.FunctionName(); fn {
	case operators.LogicalAnd:
		p.Op, of = "and", w.chain(e, fn, nil)
	case operators.LogicalOr:
		p.Op, of = "or", w.chain(e, fn, nil)
	case operators.LogicalNot:
		p.Op = "not"
	case operators.Conditional:
		if w.expr.checked.GetType(e.ID()) != cel.BoolType {
			return
		}
		p.Op = "if"
	case fnSegment:
		inner := *w
		inner.expr = w.expr.segments[segmentName(e)]
		p.Op, p.Of = "segment", []*Part{inner.part(inner.expr.checked.Expr())}
		w.err = inner.err
		return
	default:
		return
	}
	for _, x := range of {
		k := w.part(x)
		p.Of = append(p.Of, k)
		p.at = query.Span{Start: min(p.at.Start, k.at.Start), End: max(p.at.End, k.at.End)}
	}
}

// inlined reports whether a node is what a computed attribute stands for: its parts are not
// written in this text.
func (w *walker) inlined(e ast.Expr) bool { return w.expr.names[e.ID()] != nil }

// chain returns the operands of a chain of one operator.
func (w *walker) chain(e ast.Expr, fn string, of []ast.Expr) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != fn || w.inlined(e) {
		return append(of, e)
	}
	for _, x := range e.AsCall().Args() {
		of = w.chain(x, fn, of)
	}
	return of
}
