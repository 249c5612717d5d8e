package query

import (
	"context"
	"fmt"
	"strconv"
)

// Forest is many trees to be asked about one person: which of a thousand saved segments is
// this customer in. Equal tests of a person's values stand in it once, and are answered
// once. It is immutable and safe for concurrent use.
type Forest struct {
	leaves []Node
	trees  []branch // one after the other, each node before what is below it
	roots  []int32  // where each tree begins
}

// branch is a node of a forest.
type branch struct {
	kind branchKind
	leaf int32 // its number
	end  int32 // where what is not below it goes on
}

type branchKind uint8

const (
	branchLeaf branchKind = iota
	branchAnd
	branchOr
	branchNot
	branchIf
)

// NewForest makes one of trees, which must not change any more; a nil one has no answer.
func NewForest(trees []Node) *Forest {
	f := &Forest{roots: make([]int32, len(trees))}
	known := map[string]int32{}
	for i, n := range trees {
		f.roots[i] = int32(len(f.trees))
		if n != nil {
			f.plant(n, known)
		}
	}
	return f
}

func (f *Forest) plant(n Node, known map[string]int32) {
	var kind branchKind
	var below []Node
	switch n := n.(type) {
	case *Segment:
		f.plant(n.Of, known)
		return
	case *And:
		kind, below = branchAnd, n.Of
	case *Or:
		kind, below = branchOr, n.Of
	case *Not:
		kind, below = branchNot, []Node{n.Of}
	case *If:
		kind, below = branchIf, []Node{n.Cond, n.Then, n.Else}
	}
	at := len(f.trees)
	f.trees = append(f.trees, branch{kind: kind})
	for _, b := range below {
		f.plant(b, known)
	}
	if kind == branchLeaf {
		f.trees[at].leaf = f.leaf(n, known)
	}
	f.trees[at].end = int32(len(f.trees))
}

// leaf returns the number of a test, that of an equal one if it is known.
func (f *Forest) leaf(n Node, known map[string]int32) int32 {
	key, shared := sameTest(n)
	if at, ok := known[key]; ok && shared {
		return at
	}
	at := int32(len(f.leaves))
	f.leaves = append(f.leaves, n)
	if shared {
		known[key] = at
	}
	return at
}

// sameTest returns a text that two tests of values share if they are the same but for
// their places.
func sameTest(n Node) (key string, ok bool) {
	switch n := n.(type) {
	case *Const:
		return fmt.Sprint("const ", n.Value), true
	case *InList:
		return fmt.Sprint("list ", n.Code), true
	case *Has:
		return fmt.Sprint("has ", n.Attr), true
	case *Range:
		return fmt.Sprint("range ", n.Attr, n.Lo, n.Hi), true
	case *Match:
		return fmt.Sprint("match ", n.Attr, " ", n.Op, " ") + n.Text, true
	case *SetHas:
		return fmt.Sprintf("set %d %v %q", n.Attr, n.All, n.Values), true
	case *In:
		b := fmt.Append(nil, "in ", n.Attr)
		for _, v := range n.Values {
			b = fmt.Append(b, " ", v.Kind(), " ", v.Scale(), " ", v.Ordered(), " ")
			b = strconv.AppendQuote(b, v.Str())
		}
		return string(b), true
	}
	return "", false
}

// ForestWalk asks about the trees of a forest; it is for one goroutine.
type ForestWalk struct {
	who    *Person
	forest *Forest
	known  []leafTruth // by leaf
}

type leafTruth struct {
	told  bool
	truth Truth
}

// Walk begins to ask about the trees of a forest. What is found holds for the instant at
// which the walk began.
func (p *Person) Walk(f *Forest) *ForestWalk {
	return &ForestWalk{p, f, make([]leafTruth, len(f.leaves))}
}

// Is evaluates a tree, which must not be nil, by its number. It is what [Person.Is] says.
func (w *ForestWalk) Is(ctx context.Context, tree int) (Truth, error) {
	return w.is(ctx, w.forest.roots[tree])
}

func (w *ForestWalk) is(ctx context.Context, at int32) (Truth, error) {
	b := w.forest.trees[at]
	switch b.kind {
	case branchAnd:
		return w.all(ctx, at, False)
	case branchOr:
		return w.all(ctx, at, True)
	case branchNot:
		t, err := w.is(ctx, at+1)
		return negated(t), err
	case branchIf:
		then := w.forest.trees[at+1].end
		switch t, err := w.is(ctx, at+1); {
		case err != nil || t == Unknown:
			return Unknown, err
		case t == True:
			return w.is(ctx, then)
		}
		return w.is(ctx, w.forest.trees[then].end)
	}
	known := &w.known[b.leaf]
	if !known.told {
		t, err := w.who.Is(ctx, w.forest.leaves[b.leaf])
		if err != nil {
			return t, err
		}
		*known = leafTruth{true, t}
	}
	return known.truth, nil
}

// all is as [Person.all].
func (w *ForestWalk) all(ctx context.Context, at int32, decides Truth) (Truth, error) {
	out := negated(decides)
	trees := w.forest.trees
	for i := at + 1; i < trees[at].end; i = trees[i].end {
		t, err := w.is(ctx, i)
		if err != nil || t == decides {
			return t, err
		}
		if t == Unknown {
			out = Unknown
		}
	}
	return out, nil
}
