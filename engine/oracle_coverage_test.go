package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// residence says what a chunk of an attribute is read from.
type residence uint8

const (
	residentBase residence = iota
	residentHead
	residentBoth
)

func (r residence) String() string { return [...]string{"base", "head", "both"}[r] }

// cell is one combination that the oracle test has to meet: a node kind, the kind of value
// that it reads, the container form of the chunk's members, and where they are read from.
type cell struct {
	node, kind string
	form       bitmap.Form
	from       residence
}

func (c cell) String() string {
	return fmt.Sprintf("%s of %s, %s, %s", c.node, c.kind, formName(c.form), c.from)
}

func formName(f bitmap.Form) string { return [...]string{"empty", "full", "dense", "sparse"}[f] }

// coverage counts how often a cell was met: a chunk of one question to one store in which the
// node was certainly evaluated, for it is the whole expression, or its negation.
type coverage map[cell]int

// formOf is the smallest container that holds n of a chunk's ordinals.
func formOf(n int) bitmap.Form {
	switch {
	case n == 0:
		return bitmap.Empty
	case n == bitmap.ChunkSize:
		return bitmap.Full
	case n <= bitmap.MaxSparse:
		return bitmap.Sparse
	}
	return bitmap.Dense
}

// add counts a node's members over all chunks of a store.
func (c coverage) add(p *people, s *store, root query.Node, members []uint64) {
	n := root
	for {
		not, ok := n.(*query.Not)
		if !ok {
			break
		}
		n = not.Of
	}
	attrs := readBy(n, nil)
	for chunk := p.firstChunk(); chunk < p.chunks(); chunk++ {
		from, to := p.span(chunk)
		yes, all := 0, 0
		for i := from; i < to; i++ {
			if !p.dead[i] {
				all++
				yes += int(members[(p.first+i)/64] >> ((p.first + i) % 64) & 1)
			}
		}
		if n != root { // what the node itself yields is not known here where something is unknown
			c.count(cell{nodeName(root), "any", formOf(yes), s.whereAll(attrs, chunk)})
			continue
		}
		c.count(cell{nodeName(n), kindOf(p, n), formOf(yes), s.whereAll(attrs, chunk)})
	}
}

func (c coverage) count(x cell) { c[x]++ }

// whereAll says where several attributes are: both, if they differ.
func (s *store) whereAll(attrs []schema.AttrID, chunk int) residence {
	out := s.where(append(attrs, schema.KeyAttr)[0], chunk)
	for _, a := range attrs {
		if s.where(a, chunk) != out {
			return residentBoth
		}
	}
	return out
}

func nodeName(n query.Node) string { return strings.TrimPrefix(fmt.Sprintf("%T", n), "*query.") }

// readBy lists the attributes that a tree reads.
func readBy(n query.Node, out []schema.AttrID) []schema.AttrID {
	switch n := n.(type) {
	case *query.And:
		for _, x := range n.Of {
			out = readBy(x, out)
		}
	case *query.Or:
		for _, x := range n.Of {
			out = readBy(x, out)
		}
	case *query.Not:
		return readBy(n.Of, out)
	case *query.Segment:
		return readBy(n.Of, out)
	case *query.If:
		return readBy(n.Else, readBy(n.Then, readBy(n.Cond, out)))
	case *query.Has:
		return append(out, n.Attr)
	case *query.In:
		return append(out, n.Attr)
	case *query.Range:
		return append(out, n.Attr)
	case *query.Match:
		return append(out, n.Attr)
	case *query.SetHas:
		return append(out, n.Attr)
	case *query.InList:
		return append(out, schema.ListsAttr)
	case *query.Residual:
		return append(out, n.Attrs...)
	case *query.Compare:
		return readByArith(n.R, readByArith(n.L, out))
	}
	return out
}

func readByArith(a query.Arith, out []schema.AttrID) []schema.AttrID {
	switch a := a.(type) {
	case *query.Column:
		return append(out, a.Attr)
	case *query.Negate:
		return readByArith(a.Of, out)
	case *query.Convert:
		return readByArith(a.Of, out)
	case *query.Binary:
		return readByArith(a.R, readByArith(a.L, out))
	}
	return out
}

// kindOf names the kind of value that a test reads; of several, the first.
func kindOf(p *people, n query.Node) string {
	switch n.(type) {
	case *query.And, *query.Or, *query.Segment, *query.If, *query.Const, *query.Residual, *query.InList:
		return "any"
	}
	for _, id := range readBy(n, nil) {
		return kindName(p.schema.ByID(id))
	}
	return "none"
}

func kindName(a *schema.Attribute) string {
	if a.Inline() {
		return "inline string"
	}
	return a.Kind.String()
}

// reachable lists all cells that the language can reach.
func reachable() []cell {
	numbers := []string{"int", "float", "decimal", "date", "timestamp"}
	scalars := append([]string{"bool", "string", "inline string"}, numbers...)
	kinds := map[string][]string{
		"Has": append([]string{"set<string>"}, scalars...), "In": scalars, "Range": numbers, "Match": {"string", "inline string"},
		"SetHas": {"set<string>"}, "Compare": numbers,
		"InList": {"any"}, "Residual": {"any"}, "And": {"any"}, "Or": {"any"}, "Not": {"any"}, "Segment": {"any"}, "If": {"any"},
	}
	var out []cell
	for node, of := range kinds {
		for _, kind := range of {
			for form := bitmap.Empty; form <= bitmap.Sparse; form++ {
				for from := residentBase; from <= residentBoth; from++ {
					out = append(out, cell{node, kind, form, from})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b cell) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// check fails for each reachable cell that was met less than least times.
func (c coverage) check(t *testing.T, least int) {
	t.Helper()
	lowest, cells := 1<<30, reachable()
	var lowestCell cell
	for _, x := range cells {
		if c[x] < lowest {
			lowest, lowestCell = c[x], x
		}
		if c[x] < least {
			t.Errorf("%s: met %d times, want %d", x, c[x], least)
		}
	}
	t.Logf("%d cells, each met %d times or more; the least: %s", len(cells), lowest, lowestCell)
}
