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
	Op   string // "and", "or", "not", "if" (condition, then, else), "segment"; "": a test
	Root query.Node
	Of   []*Part // of a segment, its own text
}

// Parts takes an expression apart that this compiler has compiled with the same catalog and
// environment.
func (c *Compiler) Parts(e *Expr, cat Catalog, env query.Env) (*Part, error) {
	w := &walker{expr: e, cat: cat, zones: c.base.zones, now: env}
	p := w.part(e.checked.Expr())
	if w.err != nil {
		return nil, w.err
	}
	return p, nil
}

func (w *walker) part(e ast.Expr) *Part {
	at := w.span(e)
	if b := w.expr.verbs[e.ID()]; b != nil && b.name == "sequence" { // its node ends before .any()
		end := strings.IndexByte(w.expr.Text[at.End:], ')')
		at = w.expr.src.balance(query.Span{Start: at.Start, End: at.End + end + 1})
	}
	p := &Part{Text: w.expr.Text[at.Start:at.End], Root: simplify(w.node(e))}
	if e.Kind() != ast.CallKind || w.expr.verbs[e.ID()] != nil {
		return p
	}
	c := e.AsCall()
	switch fn := c.FunctionName(); fn {
	case operators.LogicalAnd, operators.LogicalOr:
		p.Op = map[string]string{operators.LogicalAnd: "and", operators.LogicalOr: "or"}[fn]
		for _, x := range chain(e, fn, nil) {
			p.Of = append(p.Of, w.part(x))
		}
	case operators.LogicalNot:
		p.Op = "not"
		p.Of = []*Part{w.part(c.Args()[0])}
	case operators.Conditional:
		if w.expr.checked.GetType(e.ID()) != cel.BoolType {
			break
		}
		p.Op = "if"
		for _, x := range c.Args() {
			p.Of = append(p.Of, w.part(x))
		}
	case fnSegment:
		inner := *w
		inner.expr = w.expr.segments[segmentName(e)]
		p.Op = "segment"
		p.Of = []*Part{inner.part(inner.expr.checked.Expr())}
		w.err = inner.err
	}
	return p
}

// chain returns the operands of a chain of one operator.
func chain(e ast.Expr, fn string, of []ast.Expr) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != fn {
		return append(of, e)
	}
	for _, x := range e.AsCall().Args() {
		of = chain(x, fn, of)
	}
	return of
}
