package syntax

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// asked makes a condition of an event list: what is said of lists is said in conditions.
const asked = ".any()"

// List turns the text of an event list, such as purchase.in_last(days(30)), into the list.
// Errors are those of [Compiler.Compile].
func (c *Compiler) List(text string, cat Catalog, env query.Env) (*query.Events, error) {
	e, err := c.environment(cat.Schema())
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "expression environment: %w", err)
	}
	return c.compilation(e, cat, env).list(text)
}

func (c *compilation) list(text string) (*query.Events, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &query.Error{Code: query.CodeSyntax, Message: "the event list is empty", Hint: "such as purchase.filter(e, e.amount > 10.0)"}
	}
	e, err := c.check(text+asked, func(l *elaborator, root ast.Expr) ast.Expr {
		root, _ = l.expression(root)
		return root
	})
	if err != nil {
		return nil, c.withoutAsked(err, text)
	}
	w := &walker{expr: e, cat: c.cat, zones: c.base.zones, now: c.now}
	w.windows()
	var root query.Node
	if e.kind() == cel.BoolType && w.err == nil {
		root = w.node(e.checked.Expr())
	}
	if w.err != nil {
		return nil, c.withoutAsked(w.err, text)
	}
	if any, ok := root.(*query.Any); ok {
		return any.List, nil
	}
	// Analyses read events by the block; what must be interpreted for one at a time they cannot use.
	return nil, &query.Error{Code: query.CodeType, Message: "this is no event list, or a condition of it has no plan", Hint: "comparisons, in, string tests and arithmetic have one",
		Source: text, Span: query.Span{Start: 0, End: len(text)}}
}

// withoutAsked makes an error one of the text that was given.
func (c *compilation) withoutAsked(err error, text string) error {
	e, ok := err.(*query.Error)
	if !ok || e == nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	out := *e
	if out.Source == text+asked {
		out.Source = text
		out.Span.Start, out.Span.End = min(out.Span.Start, len(text)), min(out.Span.End, len(text))
	}
	if out.Code == query.CodeType && strings.HasPrefix(out.Message, "any is asked of") {
		out.Message, out.Hint = text+" is no event list", "such as purchase.filter(e, e.amount > 10.0)"
	}
	if out.Code != query.CodeUnknownName || out.Source != text {
		return &out
	}
	if name := text[out.Span.Start:out.Span.End]; schema.Usable(name) && strings.HasPrefix(strings.TrimSpace(text), name) {
		known := eventNames(c.cat.Schema())
		out.Message, out.Hint = fmt.Sprintf("there is no event %q", name), query.DidYouMean(name, known)
		if len(known) == 0 {
			out.Hint = "there is none at all"
		}
	}
	return &out
}

// Fold turns a list and what is added up of its events, such as e.price * e.quantity, into
// their sum. Errors are those of [Compiler.Compile], with the place in the text that is wrong.
func (c *Compiler) Fold(list, of string, cat Catalog, env query.Env) (*query.Fold, error) {
	e, err := c.environment(cat.Schema())
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "expression environment: %w", err)
	}
	begins := list + ".sum(" + itemName + ", "
	text := begins + of + ")"
	v, err := c.compilation(e, cat, env).value(&schema.Computed{Name: text, Text: text})
	if err != nil {
		return nil, inPart(err, text, list, of, len(begins))
	}
	if v.Plan != nil {
		if fold, ok := v.Plan.Of.(*query.Fold); ok && fold.Op == query.FoldSum {
			return fold, nil
		}
	}
	return nil, &query.Error{Code: query.CodeType, Message: "this is no sum of numbers over events that has a plan", Hint: "such as e.price * e.quantity", Source: of, Span: query.Span{Start: 0, End: len(of)}}
}

// inPart makes an error of a text that was made of a list, and of what is added up, which begins
// at some place, one of that of the two where it is.
func inPart(err error, text, list, of string, at int) error {
	e, ok := err.(*query.Error)
	if !ok || e == nil || e.Source != text {
		return err
	}
	out := *e
	if e.Span.End <= len(list) && e.Span.Start < len(list) {
		out.Source = list
		return &out
	}
	out.Source = of
	out.Span.Start, out.Span.End = min(max(e.Span.Start-at, 0), len(of)), min(max(e.Span.End-at, 0), len(of))
	return &out
}

// itemName is what the event is called in what is added up.
const itemName = "e"
