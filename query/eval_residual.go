package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// residualOp runs a function for each undecided profile.
type residualOp struct {
	attrs  []schema.Attribute
	events []*eventList
	truth  ResidualFunc
}

// residualState is what a worker keeps for one residual.
type residualState struct {
	readers []valueReader
	rows    []schema.Value // batchSize rows of all attributes
	acts    []*actReader
	own     [][]Act // of one profile
	at      []int   // where its acts begin
}

func (w *worker) residual(r *residualOp) *residualState {
	st := w.residuals[r]
	if st == nil {
		st = &residualState{readers: make([]valueReader, len(r.attrs)), rows: make([]schema.Value, batchSize*len(r.attrs)),
			own: make([][]Act, len(r.events)), at: make([]int, len(r.events))}
		for i := range r.attrs {
			st.readers[i] = valueReader{view: w.view, attr: r.attrs[i]}
		}
		for _, l := range r.events {
			st.acts = append(st.acts, newActReader(l))
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
		if len(r.events) == 0 {
			return r.batch(w, st, ords, &out)
		}
		set := bitmap.FromArray(ords)
		w.eventsOf(&set)
		return w.inParts(&set, func(within *bitmap.Set) error {
			for _, a := range st.acts {
				if err := a.read(ctx, w, within); err != nil {
					return err
				}
			}
			return r.batch(w, st, within.AppendTo(nil), &out)
		})
	})
	return out.pair(), err
}

// batch evaluates some profiles, whose acts have been read.
func (r *residualOp) batch(w *worker, st *residualState, ords []uint16, out *outcome) error {
	for i := range st.readers {
		if err := st.readers[i].read(w.cur, w.chunk, ords, st.rows[i:], len(r.attrs)); err != nil {
			return err
		}
	}
	clear(st.at)
	for i, o := range ords {
		for k, a := range st.acts {
			st.own[k], st.at[k] = a.of(o, st.at[k])
		}
		at := i * len(r.attrs)
		t, failed := r.truth(st.rows[at:at+len(r.attrs):at+len(r.attrs)], st.own, w.env)
		out.set(o, t, failed)
	}
	return nil
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
