package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// residualOp runs a function for each undecided profile.
type residualOp struct {
	in    *inputs
	truth ResidualFunc
}

func (r *residualOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	out := w.outcome()
	err := r.in.each(ctx, w, w.undecided(within), func(ord uint16, values []schema.Value, acts [][]Act) error {
		t, failed := r.truth(values, acts, w.env)
		out.set(ord, t, failed)
		return nil
	})
	return out.pair(), err
}

// outcome collects the truth of single profiles.
type outcome struct {
	yes, maybe, fail *bitmap.Words
	exact            bool
}

func (w *worker) outcome() outcome {
	return outcome{yes: w.cleared(), maybe: w.cleared(), fail: w.cleared(), exact: true}
}

func (o *outcome) set(ord uint16, t Truth, failed bool) {
	switch {
	case failed:
		o.fail.SetBit(ord)
		fallthrough
	case t == Unknown:
		o.maybe.SetBit(ord)
		o.exact = false
	case t == True:
		o.yes.SetBit(ord)
	}
}

func (o *outcome) pair() pair {
	r := pair{yes: bitmap.FromWords(o.yes), exact: o.exact}
	if !o.exact {
		o.maybe.Or(r.yes)
		r.maybe, r.fail = bitmap.FromWords(o.maybe), bitmap.FromWords(o.fail)
	}
	return r
}
