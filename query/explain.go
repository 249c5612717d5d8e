package query

import (
	"context"
	"math"

	"github.com/kantadb/kanta/index/schema"
)

// PlanOf counts the members of p, as CountOf does, and tells for each node what was
// expected and what was read and skipped. A count that needed no data skips every chunk.
func PlanOf(ctx context.Context, view View, p *Prepared, o Options) (Plan, error) {
	c, t, err := countOf(ctx, view, p, o, true)
	if err != nil {
		return Plan{}, err
	}
	chunks := t.chunks
	if chunks == 0 {
		chunks = uint64(view.Chunks())
	}
	root := p.planNode(p.root, func(o *op, n *PlanNode) {
		s := t.stats[o.id]
		n.Chunks, n.Skipped, n.Bytes, n.Events = s.chunks, chunks-s.chunks, s.bytes, s.events
		for _, k := range n.Of {
			n.Bytes += k.Bytes
		}
	})
	return Plan{Root: root, Count: c.Count, Answer: c.Answer}, nil
}

// ExplainOf evaluates each node of a tree by itself over everybody: exact numbers of true
// and unknown, and of events for which a condition, or what is folded, was unknown; these
// are those of the nodes that read events themselves. It costs as much as asking for each
// node alone, and more where a plan would not read all events of a list.
func ExplainOf(ctx context.Context, view View, root Node, o Options) (Explanation, error) {
	p, err := wholePlanner(ctx, view).prepare(root)
	if err != nil {
		return Explanation{}, err
	}
	var parts [][]explained
	t, err := runAll(ctx, view, p, o, true, func() visitor {
		sums := make([]explained, len(p.ops))
		parts = append(parts, sums)
		return func(ctx context.Context, w *worker) error {
			for _, o := range p.ops {
				mark, events := w.used, w.unknownEvents
				n, err := w.count(ctx, o)
				if err != nil {
					return err
				}
				w.release(mark)
				if sums[o.id].add(n); len(o.kids) == 0 {
					sums[o.id].events += w.unknownEvents - events
				}
				if o == p.root {
					w.total.add(n)
				}
			}
			return nil
		}
	})
	if err != nil {
		return Explanation{}, err
	}
	sums := parts[0]
	for _, part := range parts[1:] {
		for i := range part {
			sums[i].add(part[i].tally)
			sums[i].events += part[i].events
		}
	}
	plan := p.planNode(p.root, func(o *op, n *PlanNode) {
		n.Chunks, n.True, n.Unknown, n.UnknownEvents = t.chunks, sums[o.id].yes, sums[o.id].unknown, sums[o.id].events
	})
	return Explanation{Root: plan, Count: t.yes, Answer: t.answer()}, nil
}

// wholePlanner returns a planner of expressions that look at every event of a list's window
// and count for how many of them something is unknown.
func wholePlanner(ctx context.Context, view View) *planner {
	b := &planner{ctx: ctx, view: view, whole: true, p: &Prepared{schema: view.Schema()}}
	b.p.living, b.p.isExact = view.ExistsCount(schema.KeyAttr)
	return b
}

// explained is what an explanation adds up of a node.
type explained struct {
	tally
	events uint64 // for which something was unknown
}

// planNode describes an op and its operands; fill is called for operands first.
func (p *Prepared) planNode(o *op, fill func(*op, *PlanNode)) PlanNode {
	n := PlanNode{Label: label(p.schema, o.node), Method: o.method, Span: o.span,
		Estimate: uint64(math.Round(o.share * float64(p.living)))}
	if x, ok := o.node.(interface{ computed() []string }); ok {
		n.Computed = x.computed()
	}
	for _, k := range o.kids {
		n.Of = append(n.Of, p.planNode(k, fill))
	}
	fill(o, &n)
	return n
}
