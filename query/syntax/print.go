package syntax

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Print writes a tree for people, one node per line, operands indented below. It is
// meant for plans and tests; nothing reads it back.
func Print(n query.Node, s *schema.Schema) string {
	p := printer{schema: s}
	p.node(n, 0)
	return p.String()
}

// Label writes one node without its operands, as a line of [Print].
func Label(n query.Node, s *schema.Schema) string {
	p := printer{schema: s}
	return p.label(n)
}

type printer struct {
	strings.Builder
	schema *schema.Schema
}

func (p *printer) node(n query.Node, depth int) {
	p.WriteString(strings.Repeat("  ", depth) + p.label(n) + "\n")
	switch n := n.(type) {
	case *query.And:
		for _, x := range n.Of {
			p.node(x, depth+1)
		}
	case *query.Or:
		for _, x := range n.Of {
			p.node(x, depth+1)
		}
	case *query.Not:
		p.node(n.Of, depth+1)
	case *query.Segment:
		p.node(n.Of, depth+1)
	case *query.If:
		for _, x := range []query.Node{n.Cond, n.Then, n.Else} {
			p.node(x, depth+1)
		}
	}
}

func (p *printer) label(n query.Node) string {
	switch n := n.(type) {
	case *query.Const:
		return [...]string{"nobody", "everybody", "unknown for everybody"}[n.Value]
	case *query.And:
		return "and"
	case *query.Or:
		return "or"
	case *query.Not:
		return "not"
	case *query.Has:
		return p.name(n.Attr) + " is there"
	case *query.In:
		return p.in(n)
	case *query.Range:
		return p.span(n)
	case *query.Match:
		ops := [...]string{"starts with", "ends with", "contains", "matches", "<", "<=", ">", ">="}
		return fmt.Sprintf("%s %s %q", p.name(n.Attr), ops[n.Op], n.Text)
	case *query.SetHas:
		word := "any"
		if n.All {
			word = "all"
		}
		return fmt.Sprintf("%s has %s of %s", p.name(n.Attr), word, quoted(n.Values))
	case *query.Compare:
		return "per profile " + p.comparison(n)
	case *query.InList:
		return fmt.Sprintf("in list %q", n.Name)
	case *query.If:
		return "if (condition, then, else)"
	case *query.Segment:
		return fmt.Sprintf("segment %q", n.Name)
	case *query.Any:
		return "any " + p.list(n.List)
	case *query.Sequence:
		return p.sequence(n)
	case *query.OneIs:
		return p.one(n.Last, n.List) + ": " + p.inline(n.Test)
	case *query.AverageIs:
		return fmt.Sprintf("per profile average(%s of %s) %s %s", p.arith(n.Of), p.list(n.List), compareText(n.Op), literal(n.With))
	case *query.Residual:
		var names []string
		for _, a := range n.Attrs {
			names = append(names, p.name(a))
		}
		for _, v := range n.Events {
			names = append(names, p.event(v))
		}
		return fmt.Sprintf("interpreted per profile from %s", strings.Join(names, ", "))
	}
	return fmt.Sprintf("%T", n)
}

func compareText(op query.CompareOp) string { return [...]string{"==", "!=", "<", "<=", ">", ">="}[op] }

func (p *printer) comparison(n *query.Compare) string {
	return p.arith(n.L) + " " + compareText(n.Op) + " " + p.arith(n.R)
}

func (p *printer) in(n *query.In) string {
	values := make([]string, len(n.Values))
	for i, v := range n.Values {
		values[i] = literal(v)
	}
	switch len(values) {
	case 0:
		return p.name(n.Attr) + " is none of its possible values"
	case 1:
		return p.name(n.Attr) + " is " + values[0]
	}
	return p.name(n.Attr) + " is one of " + strings.Join(values, ", ")
}

func (p *printer) span(n *query.Range) string {
	kind, scale := schema.Int, uint8(0)
	if a := columnOf(p.schema, n.Attr); a != nil {
		kind, scale = a.Kind, a.Scale
	}
	edge := func(x int64) string { return literal(schema.FromOrdered(kind, scale, x)) }
	switch {
	case n.Lo > n.Hi:
		return p.name(n.Attr) + " is in an empty range"
	case n.Lo == math.MinInt64 && n.Hi == math.MaxInt64:
		return p.name(n.Attr) + " is anything"
	case n.Lo == math.MinInt64:
		return p.name(n.Attr) + " is at most " + edge(n.Hi)
	case n.Hi == math.MaxInt64:
		return p.name(n.Attr) + " is at least " + edge(n.Lo)
	}
	return p.name(n.Attr) + " is from " + edge(n.Lo) + " to " + edge(n.Hi)
}

func (p *printer) arith(a query.Arith) string {
	switch a := a.(type) {
	case *query.Column:
		return p.name(a.Attr)
	case *query.Literal:
		return literal(a.Value)
	case *query.Binary:
		ops := [...]string{"+", "-", "*", "/", "%"}
		return "(" + p.arith(a.L) + " " + ops[a.Op] + " " + p.arith(a.R) + ")"
	case *query.Negate:
		return "-" + p.arith(a.Of)
	case *query.Convert:
		if a.Kind == schema.Decimal {
			return fmt.Sprintf("decimal%d(%s)", a.Scale, p.arith(a.Of))
		}
		return a.Kind.String() + "(" + p.arith(a.Of) + ")"
	case *query.Fold:
		return p.fold(a)
	}
	return fmt.Sprintf("%T", a)
}

func (p *printer) name(id schema.AttrID) string {
	a := columnOf(p.schema, id)
	switch {
	case id == schema.ListsAttr:
		return "the lists"
	case a == nil:
		return "key"
	case Bare(a.Name), id >= schema.FirstLent:
		return a.Name
	case p.schema.ByID(id) == nil:
		return "e[" + strconv.Quote(a.Name) + "]"
	}
	return Quote(a.Name)
}

// columnOf returns the attribute or the property with an id, or nil.
func columnOf(sch *schema.Schema, id schema.AttrID) *schema.Attribute {
	if id == schema.TimeProperty {
		return propertyOf(nil, timeField)
	}
	if a := sch.ByID(id); a != nil {
		return a
	}
	_, a := sch.Property(id)
	return a
}

func literal(v schema.Value) string {
	if v.Kind() == schema.String {
		return strconv.Quote(v.Str())
	}
	return v.String()
}

func quoted(values []string) string {
	if len(values) == 0 {
		return "nothing"
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.Quote(v)
	}
	return strings.Join(out, ", ")
}

// Bare reports whether an attribute of this name can be written as it is; else it is
// written as [Quote] says.
func Bare(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for i := range len(name) {
		if !isWordByte(name[i]) {
			return false
		}
	}
	switch name {
	case "p", "ev", "now", "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let",
		"loop", "package", "namespace", "null", "return", "true", "var", "void", "while":
		return false
	}
	return true
}

// Quote writes any attribute name as an expression does: p["any name"].
func Quote(name string) string { return "p[" + strconv.Quote(name) + "]" }
