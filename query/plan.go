package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// Prepared is an expression made ready for one view: strings are dictionary codes,
// conjuncts stand in the order in which they are evaluated. It is immutable and safe
// for concurrent use, with that view only.
type Prepared struct {
	root    *op
	ops     []*op // by id; a parent stands before its operands
	schema  *schema.Schema
	living  uint64
	isExact bool // living is exact, not an estimate
	finds   []find
}

// find is a look-up of inline strings, done once per run.
type find struct {
	attr  schema.AttrID
	texts []string
}

// op is one node of a prepared expression. Exactly one of leaf and inner is set.
type op struct {
	id       int
	node     Node // what it was made of, for labels
	span     Span
	method   string
	share    float64       // expected part of the living for which it is true, 0..1
	cost     float64       // expected microseconds per chunk
	narrow   bool          // it is cheaper when few profiles are still undecided
	nullable bool          // leaf: unknown where attr is absent
	attr     schema.AttrID // leaf
	leaf     leaf
	inner    inner
	kids     []*op
}

// Prepare resolves a checked tree against a view and orders it by expected cost. It
// reads dictionaries and counts, no data. Errors: [CodeUnknownName] for an attribute
// that the view does not have, [CodeType] for an operation that does not fit its
// attribute, [CodeSyntax] for a regular expression that does not compile,
// [CodeInternal] for a tree that is malformed.
func Prepare(ctx context.Context, root Node, view View) (*Prepared, error) {
	p := &Prepared{schema: view.Schema()}
	p.living, p.isExact = view.ExistsCount(schema.KeyAttr)
	return (&planner{ctx: ctx, view: view, p: p}).prepare(root)
}

// prepare plans the whole of the planner's Prepared.
func (b *planner) prepare(root Node) (*Prepared, error) {
	n, err := simplify(root)
	if err != nil {
		return nil, err
	}
	if b.p.root, err = b.build(n); err != nil {
		return nil, err
	}
	b.p.number(b.p.root)
	return b.p, nil
}

func (p *Prepared) number(o *op) {
	o.id = len(p.ops)
	p.ops = append(p.ops, o)
	for _, k := range o.kids {
		p.number(k)
	}
}

// Expected microseconds per chunk of 65,536 profiles, measured in pure Go with warm
// data. Only their order and rough ratio matter: they rank conjuncts.
const (
	costRow      = 0.3   // one row of a code, dense
	costRange    = 15    // one range over bit-sliced planes
	costGather   = 150   // a column of codes or numbers for all profiles
	costStrings  = 1500  // inline strings, read and tested
	costResidual = 50000 // an interpreter per profile
)

// What is expected to be true where nothing is known: the textbook guesses.
const (
	shareRange    = 1.0 / 3
	shareMatch    = 0.1
	shareCompare  = 1.0 / 3
	shareResidual = 0.5
)

// planner builds the ops of one Prepared.
type planner struct {
	ctx    context.Context // of Prepare
	view   View
	p      *Prepared
	events *eventView // the view, if it is one of events; else nil
	whole  bool       // every event of a list's window is looked at, and unknown conditions are counted
}

func (b *planner) build(n Node) (*op, error) {
	switch n := n.(type) {
	case *Const:
		if n.Value > Unknown {
			return nil, Errorf(CodeInternal, "no truth value has the number %d", n.Value)
		}
		share := 0.0
		if n.Value == True {
			share = 1
		}
		return &op{node: n, method: "constant", share: share, inner: constOp(n.Value)}, nil
	case *And:
		return b.and(n)
	case *Or:
		return b.or(n)
	case *Not:
		k, err := b.build(n.Of)
		if err != nil {
			return nil, err
		}
		return &op{node: n, span: k.span, method: "not", share: 1 - k.share, cost: k.cost + costRow, narrow: k.narrow,
			inner: &notOp{k}, kids: []*op{k}}, nil
	case *Segment:
		k, err := b.build(n.Of)
		if err != nil {
			return nil, err
		}
		return &op{node: n, span: n.Span, method: "segment", share: k.share, cost: k.cost, narrow: k.narrow,
			inner: &segmentOp{k}, kids: []*op{k}}, nil
	case *If:
		return b.conditional(n)
	case *Any:
		return b.anyEvent(n)
	case *Sequence:
		return b.sequence(n)
	case *OneIs:
		return b.oneIs(n)
	case *AverageIs:
		return b.averageIs(n)
	}
	return b.buildLeaf(n)
}

func (b *planner) and(n *And) (*op, error) {
	o := &op{node: n, method: "and", share: 1}
	if err := b.operands(o, n.Of); err != nil {
		return nil, err
	}
	// The classical order: the least cost per profile decided comes first.
	slices.SortStableFunc(o.kids, func(x, y *op) int {
		return cmp.Compare(x.cost/(1-x.share+1e-6), y.cost/(1-y.share+1e-6))
	})
	for _, k := range o.kids {
		o.share *= k.share
	}
	o.inner = &andOp{o.kids}
	return o, nil
}

func (b *planner) or(n *Or) (*op, error) {
	o := &op{node: n, method: "or"}
	if err := b.operands(o, n.Of); err != nil {
		return nil, err
	}
	slices.SortStableFunc(o.kids, func(x, y *op) int {
		return cmp.Compare(x.cost/(x.share+1e-6), y.cost/(y.share+1e-6))
	})
	rest := 1.0
	for _, k := range o.kids {
		rest *= 1 - k.share
	}
	o.share = 1 - rest
	o.inner = &orOp{o.kids}
	return o, nil
}

func (b *planner) operands(o *op, of []Node) error {
	for i, n := range of {
		k, err := b.build(n)
		if err != nil {
			return err
		}
		o.kids = append(o.kids, k)
		o.cost += k.cost
		o.narrow = o.narrow || k.narrow
		if i == 0 {
			o.span = k.span
		} else {
			o.span = cover(o.span, k.span)
		}
	}
	return nil
}

// cover returns the smallest span that holds both; the zero Span is no place.
func cover(a, b Span) Span {
	switch {
	case a == Span{}:
		return b
	case b == Span{}:
		return a
	}
	return Span{min(a.Start, b.Start), max(a.End, b.End)}
}

// attribute returns the definition of an attribute, the engine's own included.
func attribute(s *schema.Schema, id schema.AttrID) (schema.Attribute, error) {
	switch id {
	case schema.KeyAttr:
		return keyAttribute, nil
	case schema.ListsAttr:
		return schema.Attribute{ID: id, Name: "lists", Kind: schema.Set}, nil
	}
	if a := s.ByID(id); a != nil {
		return *a, nil
	}
	return schema.Attribute{}, Errorf(CodeUnknownName, "no attribute has the id %d", id)
}
