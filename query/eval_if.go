package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
)

// ifOp is one thing where a condition is true, another where it is false.
type ifOp struct{ cond, then, otherwise *op }

func (o *ifOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	out := w.outcome()
	c, err := w.eval(ctx, o.cond, within)
	if err != nil {
		return pair{}, err
	}
	all, maybe := w.undecided(within), c.yes
	if !c.exact {
		maybe = c.maybe
		out.maybe.Or(bitmap.AndNot(maybe, c.yes, w.grab()))
		out.fail.Or(c.fail)
		out.exact = false
	}
	then, otherwise := bitmap.And(all, c.yes, w.grab()), bitmap.AndNot(all, maybe, w.grab())
	if err := o.branch(ctx, w, o.then, then, &out); err != nil {
		return pair{}, err
	}
	err = o.branch(ctx, w, o.otherwise, otherwise, &out)
	return out.pair(), err
}

// branch adds what a branch is for those whose branch it is. It keeps no buffer: a tree of
// choices takes as many as it is deep.
func (o *ifOp) branch(ctx context.Context, w *worker, b *op, who bitmap.Set, out *outcome) error {
	if who.IsEmpty() {
		return nil
	}
	defer w.release(w.used)
	r, err := w.eval(ctx, b, w.hold(who))
	if err != nil {
		return err
	}
	out.yes.Or(bitmap.And(r.yes, who, w.grab()))
	if !r.exact {
		out.maybe.Or(bitmap.And(r.maybe, who, w.grab()))
		out.fail.Or(bitmap.And(r.fail, who, w.grab()))
		out.exact = false
	}
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
