package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
)

// ifOp is one thing where a condition is true, another where it is false.
type ifOp struct{ cond, then, otherwise *op }

func (o *ifOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	c, err := w.eval(ctx, o.cond, within)
	if err != nil {
		return pair{}, err
	}
	all := w.undecided(within)
	out := pair{exact: c.exact}
	if !c.exact {
		out.maybe = bitmap.AndNot(c.maybe, c.yes, w.grab())
		out.fail = c.fail
	}
	maybe := c.yes
	if !c.exact {
		maybe = c.maybe
	}
	if err := out.branch(ctx, w, o.then, bitmap.And(all, c.yes, w.grab())); err != nil {
		return pair{}, err
	}
	err = out.branch(ctx, w, o.otherwise, bitmap.AndNot(all, maybe, w.grab()))
	return out, err
}

// branch adds what a branch is for those whose branch it is.
func (p *pair) branch(ctx context.Context, w *worker, o *op, who bitmap.Set) error {
	if who.IsEmpty() {
		return nil
	}
	r, err := w.eval(ctx, o, w.hold(who))
	if err != nil {
		return err
	}
	own := func(s bitmap.Set) bitmap.Set { return bitmap.And(s, who, w.grab()) }
	yes := own(r.yes)
	maybe := yes
	if !r.exact {
		maybe = own(r.maybe)
		p.fail = bitmap.Or(p.fail, own(r.fail), w.grab())
	}
	if p.exact && !r.exact { // so far the two were one
		p.maybe, p.exact = p.yes, false
	}
	if !p.exact {
		p.maybe = bitmap.Or(p.maybe, maybe, w.grab())
	}
	p.yes = bitmap.Or(p.yes, yes, w.grab())
	return nil
}

func (b *planner) conditional(n *If) (*op, error) {
	o := &op{node: n, span: n.Span, method: "if", narrow: true}
	if err := b.operands(o, []Node{n.Cond, n.Then, n.Else}); err != nil {
		return nil, err
	}
	c, then, otherwise := o.kids[0], o.kids[1], o.kids[2]
	o.span = n.Span
	o.share = c.share*then.share + (1-c.share)*otherwise.share
	o.inner = &ifOp{c, then, otherwise}
	return o, nil
}
