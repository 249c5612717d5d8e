package query

import (
	"math"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// simplify returns a tree with the same truth for every profile, unknowns included,
// that is cheaper to evaluate: constants are folded, nested "and" and "or" flattened,
// "not" moved through "or" (so that its operands can be subtracted without a copy),
// tests of one attribute merged. It never changes the tree it is given.
func simplify(n Node) (Node, error) {
	switch n := n.(type) {
	case *And:
		kids, err := simplifyAll(n.Of)
		if err != nil {
			return nil, err
		}
		return joinAnd(kids), nil
	case *Or:
		kids, err := simplifyAll(n.Of)
		if err != nil {
			return nil, err
		}
		return joinOr(kids), nil
	case *Not:
		k, err := simplify(n.Of)
		if err != nil {
			return nil, err
		}
		return negate(k), nil
	case *Segment:
		k, err := simplify(n.Of)
		if err != nil {
			return nil, err
		}
		return &Segment{Place: n.Place, Name: n.Name, Of: k}, nil
	case *If:
		kids, err := simplifyAll([]Node{n.Cond, n.Then, n.Else})
		if err != nil {
			return nil, err
		}
		return joinIf(n.Place, kids[0], kids[1], kids[2]), nil
	case nil:
		return nil, Errorf(CodeInternal, "the expression tree has a hole")
	}
	return n, nil
}

func simplifyAll(of []Node) ([]Node, error) {
	kids := make([]Node, len(of))
	for i, n := range of {
		k, err := simplify(n)
		if err != nil {
			return nil, err
		}
		kids[i] = k
	}
	return kids, nil
}

func negate(k Node) Node {
	switch k := k.(type) {
	case *Const:
		switch k.Value {
		case True:
			return &Const{False}
		case False:
			return &Const{True}
		}
		return k
	case *Not:
		return k.Of
	case *Or:
		kids := make([]Node, len(k.Of))
		for i, n := range k.Of {
			kids[i] = negate(n)
		}
		return joinAnd(kids)
	}
	return &Not{k}
}

// joinAnd makes an "and" of simplified nodes.
func joinAnd(of []Node) Node {
	var kids []Node
	for _, n := range of {
		switch n := n.(type) {
		case *And:
			kids = append(kids, n.Of...)
			continue
		case *Const:
			if n.Value == True {
				continue
			}
			if n.Value == False {
				return n
			}
		}
		kids = append(kids, n)
	}
	kids = mergePairs(kids, mergeAnd)
	switch len(kids) {
	case 0:
		return &Const{True}
	case 1:
		return kids[0]
	}
	return &And{kids}
}

// joinOr makes an "or" of simplified nodes.
func joinOr(of []Node) Node {
	var kids []Node
	for _, n := range of {
		switch n := n.(type) {
		case *Or:
			kids = append(kids, n.Of...)
			continue
		case *Const:
			if n.Value == False {
				continue
			}
			if n.Value == True {
				return n
			}
		}
		kids = append(kids, n)
	}
	kids = mergePairs(kids, mergeOr)
	switch len(kids) {
	case 0:
		return &Const{False}
	case 1:
		return kids[0]
	}
	return &Or{kids}
}

// joinIf makes an "if" of simplified nodes.
func joinIf(at Place, cond, then, otherwise Node) Node {
	if c, ok := cond.(*Const); ok {
		switch c.Value {
		case True:
			return then
		case False:
			return otherwise
		}
		return c
	}
	return &If{Place: at, Cond: cond, Then: then, Else: otherwise}
}

// mergePairs replaces each node that merge can join with an earlier one. Only nodes of
// one attribute merge, so only those are compared.
func mergePairs(kids []Node, merge func(a, b Node) Node) []Node {
	out := kids[:0:0]
	at := make(map[schema.AttrID][]int)
next:
	for _, n := range kids {
		attr, ok := mergeable(n)
		if ok {
			for _, i := range at[attr] {
				if m := merge(out[i], n); m != nil {
					out[i] = m
					continue next
				}
			}
			// A handful is what people write; generated lists of ranges stay apart.
			if len(at[attr]) < 8 {
				at[attr] = append(at[attr], len(out))
			}
		}
		out = append(out, n)
	}
	return out
}

func mergeable(n Node) (schema.AttrID, bool) {
	switch n := n.(type) {
	case *In:
		return n.Attr, true
	case *Range:
		return n.Attr, true
	}
	return 0, false
}

// mergeAnd returns a && b as one node, or nil. Both are unknown where the attribute is
// absent, and so is what it returns.
func mergeAnd(a, b Node) Node {
	switch a := a.(type) {
	case *In:
		// Lists that long are generated, and comparing all with all would take long.
		if b, ok := b.(*In); ok && len(a.Values)*len(b.Values) <= 1<<16 {
			var both []schema.Value
			for _, v := range a.Values {
				if slices.ContainsFunc(b.Values, v.Equal) {
					both = append(both, v)
				}
			}
			return &In{Place: a.With(b.Place), Attr: a.Attr, Values: both}
		}
	case *Range:
		if b, ok := b.(*Range); ok {
			return &Range{Place: a.With(b.Place), Attr: a.Attr, Lo: max(a.Lo, b.Lo), Hi: min(a.Hi, b.Hi)}
		}
	}
	return nil
}

// mergeOr returns a || b as one node, or nil.
func mergeOr(a, b Node) Node {
	switch a := a.(type) {
	case *In:
		if b, ok := b.(*In); ok {
			return &In{Place: a.With(b.Place), Attr: a.Attr, Values: slices.Concat(a.Values, b.Values)}
		}
	case *Range:
		b, ok := b.(*Range)
		if !ok || !touch(a, b) {
			return nil
		}
		return &Range{Place: a.With(b.Place), Attr: a.Attr, Lo: min(a.Lo, b.Lo), Hi: max(a.Hi, b.Hi)}
	}
	return nil
}

// touch reports whether two ranges, neither empty, overlap or are neighbours.
func touch(a, b *Range) bool {
	if a.Lo > a.Hi || b.Lo > b.Hi {
		return false
	}
	return (a.Hi == math.MaxInt64 || b.Lo <= a.Hi+1) && (b.Hi == math.MaxInt64 || a.Lo <= b.Hi+1)
}
