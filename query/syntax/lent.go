package syntax

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file reads what analyses lend: rfm("orders").segment becomes a field of the profile,
// under a name that no attribute has, and is from then on what an attribute is.

// lentMark begins the names of such fields: names have no control characters.
const lentMark = "\x00"

// attribute returns the attribute that a field of p is.
func (e *environment) attribute(field string) *schema.Attribute {
	if name, ok := strings.CutPrefix(field, lentMark); ok {
		return e.lent[name]
	}
	return e.schema.Lookup(field)
}

// isLent reports whether a field is one of p that an analysis lends.
func isLent(s ast.SelectExpr) bool {
	return isIdent(s.Operand(), "p") && strings.HasPrefix(s.FieldName(), lentMark)
}

// isLender reports whether a node is the call of an analysis: rfm("orders").
func (l *elaborator) isLender(e ast.Expr) bool {
	if e.Kind() != ast.CallKind {
		return false
	}
	c := e.AsCall()
	return !c.IsMemberFunction() && slices.Contains(l.of.base.lenders, c.FunctionName())
}

// lent reads a field of what an analysis lends, or the test whether it is there.
func (l *elaborator) lent(e, call ast.Expr, field string, test bool) (ast.Expr, info) {
	by := l.definition(call)
	if by == nil {
		return e, info{}
	}
	a := by.Lookup(field)
	if a == nil {
		l.fail(e, query.CodeUnknownName, query.DidYouMean(field, lentFields(by)), "%s has no %s; it has %s", by, field, strings.Join(lentFields(by), ", "))
		return e, info{}
	}
	l.now = true
	p := nodes{l, call}.ident("p") // it stands where the call stood
	if test {
		return l.fac.NewPresenceTest(e.ID(), p, lentMark+a.Name), info{kind: aBool}
	}
	return l.fac.NewSelect(e.ID(), p, lentMark+a.Name), info{kind: kindOf(a.Kind)}
}

// definition returns the saved definition that a call names, or nil and has failed.
func (l *elaborator) definition(call ast.Expr) *schema.Lent {
	c := call.AsCall()
	analysis := c.FunctionName()
	var name types.String
	ok := false
	if len(c.Args()) == 1 && c.Args()[0].Kind() == ast.LiteralKind {
		name, ok = c.Args()[0].AsLiteral().(types.String)
	}
	if !ok {
		l.fail(call, query.CodeType, fmt.Sprintf(`such as %s("name")`, analysis), "%s needs the name of a definition, written out in quotes", analysis)
		return nil
	}
	by := l.sch.LookupLent(analysis, norm.NFC.String(string(name)))
	if by == nil {
		var known []string
		for i := range l.sch.Lent {
			if l.sch.Lent[i].Analysis == analysis {
				known = append(known, l.sch.Lent[i].Name)
			}
		}
		hint := query.DidYouMean(string(name), known)
		if hint == "" {
			hint = fmt.Sprintf("kanta %s ... --define %q saves one", analysis, string(name))
		}
		l.fail(call, query.CodeUnknownName, hint, "there is no %s definition %q", analysis, string(name))
	}
	return by
}

// onlyFields refuses the call of an analysis without a field.
func (l *elaborator) onlyFields(call ast.Expr) {
	if by := l.definition(call); by != nil {
		l.fail(call, query.CodeType, fmt.Sprintf("write %s.%s", by, by.Fields[0].Field), "%s is no value; it has %s", by, strings.Join(lentFields(by), ", "))
	}
}

func lentFields(by *schema.Lent) (out []string) {
	for i := range by.Fields {
		out = append(out, by.Fields[i].Field)
	}
	return out
}
