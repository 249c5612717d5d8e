package query

import (
	"context"
	"math"
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
		n.Chunks, n.Skipped, n.Bytes = s.chunks, chunks-s.chunks, s.bytes
		for _, k := range n.Of {
			n.Bytes += k.Bytes
		}
	})
	return Plan{Root: root, Count: c.Count, Answer: c.Answer}, nil
}

// ExplainOf evaluates each node of p by itself over everybody: exact numbers of true and
// unknown. It costs as much as asking for each node alone.
func ExplainOf(ctx context.Context, view View, p *Prepared, o Options) (Explanation, error) {
	var parts [][]tally
	t, err := runAll(ctx, view, p, o, true, func() visitor {
		sums := make([]tally, len(p.ops))
		parts = append(parts, sums)
		return func(ctx context.Context, w *worker) error {
			for _, o := range p.ops {
				mark := w.used
				n, err := w.count(ctx, o)
				if err != nil {
					return err
				}
				w.release(mark)
				sums[o.id].add(n)
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
			sums[i].add(part[i])
		}
	}
	root := p.planNode(p.root, func(o *op, n *PlanNode) {
		n.Chunks, n.True, n.Unknown = t.chunks, sums[o.id].yes, sums[o.id].unknown
	})
	return Explanation{Root: root, Count: t.yes, Answer: t.answer()}, nil
}

// planNode describes an op and its operands; fill is called for operands first.
func (p *Prepared) planNode(o *op, fill func(*op, *PlanNode)) PlanNode {
	n := PlanNode{Label: label(p.schema, o.node), Method: o.method, Span: o.span,
		Estimate: uint64(math.Round(o.share * float64(p.living)))}
	for _, k := range o.kids {
		n.Of = append(n.Of, p.planNode(k, fill))
	}
	fill(o, &n)
	return n
}
