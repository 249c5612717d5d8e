package syntax

import (
	"slices"

	"github.com/kantadb/kanta/query"
)

// simplify rewrites a tree into a smaller one with the same three-valued meaning for
// every profile. It flattens and / or, folds constants and double negation, and joins
// tests of one attribute: they are unknown for the same profiles, those without a
// value, so joining them keeps what is unknown.
func simplify(n query.Node) query.Node {
	switch n := n.(type) {
	case *query.And:
		return junction(n.Of, true)
	case *query.Or:
		return junction(n.Of, false)
	case *query.If:
		return &query.If{Place: n.Place, Cond: simplify(n.Cond), Then: simplify(n.Then), Else: simplify(n.Else)}
	case *query.Not:
		switch of := simplify(n.Of).(type) {
		case *query.Not:
			return of.Of
		case *query.Const:
			switch of.Value {
			case query.True:
				return &query.Const{Value: query.False}
			case query.False:
				return &query.Const{Value: query.True}
			}
			return of
		default:
			return &query.Not{Of: of}
		}
	}
	return n
}

// junction simplifies an And or an Or of operands.
func junction(of []query.Node, and bool) query.Node {
	neutral, absorbing := query.True, query.False
	if !and {
		neutral, absorbing = absorbing, neutral
	}
	var flat []query.Node
	for _, x := range of {
		flat = appendFlat(flat, simplify(x), and)
	}
	var out []query.Node
	for _, x := range flat {
		if c, ok := x.(*query.Const); ok && c.Value == absorbing {
			return c
		} else if ok && c.Value == neutral {
			continue
		}
		out = join(out, x, and)
	}
	switch len(out) {
	case 0:
		return &query.Const{Value: neutral}
	case 1:
		return out[0]
	}
	if and {
		return &query.And{Of: out}
	}
	return &query.Or{Of: out}
}

func appendFlat(flat []query.Node, n query.Node, and bool) []query.Node {
	switch n := n.(type) {
	case *query.And:
		if and {
			return append(flat, n.Of...)
		}
	case *query.Or:
		if !and {
			return append(flat, n.Of...)
		}
	}
	return append(flat, n)
}

// join appends an operand, or joins it to one of the same attribute.
func join(out []query.Node, n query.Node, and bool) []query.Node {
	for i, x := range out {
		if j := joined(x, n, and); j != nil {
			out[i] = j
			return out
		}
	}
	return append(out, n)
}

// joined returns one node for a and b, or nil.
func joined(a, b query.Node, and bool) query.Node {
	switch a := a.(type) {
	case *query.Range:
		if b, ok := b.(*query.Range); ok && and && a.Attr == b.Attr {
			out := &query.Range{Place: a.With(b.Place), Attr: a.Attr, Lo: max(a.Lo, b.Lo), Hi: min(a.Hi, b.Hi)}
			if out.Lo > out.Hi {
				out.Lo, out.Hi = 1, 0
			}
			return out
		}
	case *query.In:
		if b, ok := b.(*query.In); ok && !and && a.Attr == b.Attr {
			values := uniqueValues(append(slices.Clone(a.Values), b.Values...))
			return &query.In{Place: a.With(b.Place), Attr: a.Attr, Values: values}
		}
	case *query.SetHas:
		if b, ok := b.(*query.SetHas); ok && a.Attr == b.Attr && all(a, and) && all(b, and) {
			values := append(slices.Clone(a.Values), b.Values...)
			slices.Sort(values)
			return &query.SetHas{Place: a.With(b.Place), Attr: a.Attr, All: and, Values: slices.Compact(values)}
		}
	}
	return nil
}

// all reports whether a set test can be read as one of all (or of any) of its values.
func all(n *query.SetHas, all bool) bool { return n.All == all || len(n.Values) == 1 }

// size counts the nodes of a tree.
func size(n query.Node) int {
	switch n := n.(type) {
	case *query.And:
		return 1 + sizes(n.Of)
	case *query.Or:
		return 1 + sizes(n.Of)
	case *query.Not:
		return 1 + size(n.Of)
	case *query.Segment:
		return 1 + size(n.Of)
	case *query.If:
		return 1 + size(n.Cond) + size(n.Then) + size(n.Else)
	}
	return 1
}

func sizes(of []query.Node) int {
	n := 0
	for _, x := range of {
		n += size(x)
	}
	return n
}

// respan copies a segment's tree for the text that names it: every place in it
// becomes the place of the name, because its own lie in another text.
func respan(n query.Node, s query.Span) query.Node {
	at := func(p query.Place) query.Place { return query.Place{Span: s, Computed: p.Computed} }
	list := func(of []query.Node) []query.Node {
		out := make([]query.Node, len(of))
		for i, x := range of {
			out[i] = respan(x, s)
		}
		return out
	}
	switch n := n.(type) {
	case *query.And:
		return &query.And{Of: list(n.Of)}
	case *query.Or:
		return &query.Or{Of: list(n.Of)}
	case *query.Not:
		return &query.Not{Of: respan(n.Of, s)}
	case *query.Has:
		return &query.Has{Place: at(n.Place), Attr: n.Attr}
	case *query.In:
		return &query.In{Place: at(n.Place), Attr: n.Attr, Values: n.Values}
	case *query.Range:
		return &query.Range{Place: at(n.Place), Attr: n.Attr, Lo: n.Lo, Hi: n.Hi}
	case *query.Match:
		return &query.Match{Place: at(n.Place), Attr: n.Attr, Op: n.Op, Text: n.Text}
	case *query.SetHas:
		return &query.SetHas{Place: at(n.Place), Attr: n.Attr, All: n.All, Values: n.Values}
	case *query.Compare:
		return &query.Compare{Place: at(n.Place), Op: n.Op, L: respanArith(n.L, s), R: respanArith(n.R, s)}
	case *query.InList:
		return &query.InList{Place: at(n.Place), Name: n.Name, Code: n.Code}
	case *query.Segment:
		return &query.Segment{Place: at(n.Place), Name: n.Name, Of: respan(n.Of, s)}
	case *query.If:
		return &query.If{Place: at(n.Place), Cond: respan(n.Cond, s), Then: respan(n.Then, s), Else: respan(n.Else, s)}
	case *query.Residual:
		return &query.Residual{Place: at(n.Place), Attrs: n.Attrs, Events: n.Events, Lists: n.Lists, Eval: n.Eval}
	case *query.Any:
		return &query.Any{Place: at(n.Place), List: respanList(n.List, s)}
	case *query.Sequence:
		out := &query.Sequence{Place: at(n.Place), Within: n.Within}
		for _, l := range n.Of {
			out.Of = append(out.Of, respanList(l, s))
		}
		return out
	case *query.OneIs:
		return &query.OneIs{Place: at(n.Place), List: respanList(n.List, s), Last: n.Last, Test: respan(n.Test, s)}
	case *query.AverageIs:
		return &query.AverageIs{Place: at(n.Place), Op: n.Op, List: respanList(n.List, s), Of: n.Of, With: n.With}
	}
	return n
}

func respanList(l *query.Events, s query.Span) *query.Events {
	out := *l
	out.Span, out.Filter = s, make([]query.Node, len(l.Filter))
	for i, n := range l.Filter {
		out.Filter[i] = respan(n, s)
	}
	if l.Then != nil {
		out.Then = &query.Then{After: respanList(l.Then.After, s), Within: l.Then.Within}
	}
	return &out
}

func respanArith(a query.Arith, s query.Span) query.Arith {
	switch a := a.(type) {
	case *query.Binary:
		return &query.Binary{Op: a.Op, L: respanArith(a.L, s), R: respanArith(a.R, s), Kind: a.Kind, Scale: a.Scale}
	case *query.Negate:
		return &query.Negate{Of: respanArith(a.Of, s)}
	case *query.Convert:
		return &query.Convert{Of: respanArith(a.Of, s), Kind: a.Kind, Scale: a.Scale}
	case *query.Fold:
		out := *a
		out.List = respanList(a.List, s)
		return &out
	}
	return a
}
