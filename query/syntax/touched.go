package syntax

import (
	"slices"

	"cel.dev/cel-go/common/ast"

	"github.com/kantadb/kanta/index/schema"
)

// Touched is what a text reads, each thing once and ascending: what a policy can hide.
type Touched struct {
	Attributes []schema.AttrID // what analyses lend too, lists as schema.ListsAttr
	Events     []schema.EventID
	Properties []schema.AttrID
}

// Add adds what another text reads.
func (t *Touched) Add(o Touched) {
	t.Attributes = union(t.Attributes, o.Attributes)
	t.Events = union(t.Events, o.Events)
	t.Properties = union(t.Properties, o.Properties)
}

func union[T schema.AttrID | schema.EventID](a, b []T) []T {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// Touched returns what the text reads, by segments and computed attributes too.
func (e *Expr) Touched() (out Touched) {
	out.Attributes, out.Events, _ = e.reads(e.checked.Expr())
	out.Properties = union(e.properties(), nil)
	return out
}

// properties returns the properties of events that the text reads.
func (e *Expr) properties() (out []schema.AttrID) {
	ast.PreOrderVisit(e.checked.Expr(), ast.NewExprVisitor(func(n ast.Expr) {
		switch {
		case n.Kind() == ast.SelectKind:
			of := e.checked.GetType(n.AsSelect().Operand().ID())
			for i := range e.env.schema.Events {
				v := &e.env.schema.Events[i]
				if p := v.Lookup(n.AsSelect().FieldName()); p != nil && of.IsExactType(eventType(v.ID)) {
					out = append(out, p.ID)
				}
			}
		case n.Kind() == ast.CallKind && n.AsCall().FunctionName() == fnSegment:
			out = append(out, e.segments[segmentName(n)].properties()...)
		}
	}))
	return out
}
