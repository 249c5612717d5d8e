package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// residualOp runs a function for each undecided profile.
type residualOp struct {
	attrs []schema.Attribute
	truth ResidualFunc
}

// residualState is what a worker keeps for one residual.
type residualState struct {
	readers []valueReader
	rows    []schema.Value // batchSize rows of all attributes
}

func (w *worker) residual(r *residualOp) *residualState {
	st := w.residuals[r]
	if st == nil {
		st = &residualState{readers: make([]valueReader, len(r.attrs)), rows: make([]schema.Value, batchSize*len(r.attrs))}
		for i := range r.attrs {
			st.readers[i] = valueReader{view: w.view, attr: r.attrs[i]}
		}
		if w.residuals == nil {
			w.residuals = make(map[*residualOp]*residualState)
		}
		w.residuals[r] = st
	}
	return st
}

func (r *residualOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	out := w.outcome()
	st := w.residual(r)
	err := w.gather.each(ctx, w.undecided(within), func(ords []uint16) error {
		for i := range st.readers {
			if err := st.readers[i].read(w.cur, w.chunk, ords, st.rows[i:], len(r.attrs)); err != nil {
				return err
			}
		}
		for i, o := range ords {
			at := i * len(r.attrs)
			t, failed := r.truth(st.rows[at:at+len(r.attrs):at+len(r.attrs)], nil, w.env)
			out.set(o, t, failed)
		}
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
