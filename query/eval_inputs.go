package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// inputs are what a residual or a formula reads of each profile.
type inputs struct {
	attrs  []schema.Attribute
	events []*eventList
}

// inputState is what a worker keeps for one inputs.
type inputState struct {
	readers []valueReader
	rows    []schema.Value // batchSize rows of all attributes
	acts    []*actReader
	own     [][]Act // of one profile
	at      []int   // where its acts begin
}

// inputs plans the reading of attributes and of all events of some types.
func (b *planner) inputs(attrs []schema.AttrID, events []schema.EventID, at Span) (*inputs, error) {
	in := &inputs{}
	for _, id := range events {
		l, err := b.acts(id, at)
		if err != nil {
			return nil, err
		}
		in.events = append(in.events, l)
	}
	for _, id := range attrs {
		a, err := b.attribute(id, at)
		if err != nil {
			return nil, err
		}
		in.attrs = append(in.attrs, a)
	}
	return in, nil
}

func (w *worker) stateOf(in *inputs) *inputState {
	st := w.inputs[in]
	if st == nil {
		st = &inputState{readers: make([]valueReader, len(in.attrs)), rows: make([]schema.Value, batchSize*len(in.attrs)),
			own: make([][]Act, len(in.events)), at: make([]int, len(in.events))}
		for i := range in.attrs {
			st.readers[i] = valueReader{view: w.view, attr: in.attrs[i]}
		}
		for _, l := range in.events {
			st.acts = append(st.acts, newActReader(l))
		}
		if w.inputs == nil {
			w.inputs = make(map[*inputs]*inputState)
		}
		w.inputs[in] = st
	}
	return st
}

// each calls f for each profile of who, in ascending order, with what there is of it. f must
// not keep what it is given.
func (in *inputs) each(ctx context.Context, w *worker, who bitmap.Set, f func(ord uint16, values []schema.Value, acts [][]Act) error) error {
	st := w.stateOf(in)
	return w.gather.each(ctx, who, func(ords []uint16) error {
		if len(in.events) == 0 {
			return in.batch(w, st, ords, f)
		}
		set := bitmap.FromArray(ords)
		w.eventsOf(&set)
		defer st.forget()
		return w.inParts(&set, func(within *bitmap.Set) error {
			for _, a := range st.acts {
				if err := a.read(ctx, w, within); err != nil {
					return err
				}
			}
			return in.batch(w, st, within.AppendTo(nil), f)
		})
	})
}

// forget lets go of the acts of profiles.
func (st *inputState) forget() {
	for _, a := range st.acts {
		a.forget()
	}
	clear(st.own)
}

// batch reads the attributes of some profiles, whose acts have been read: of few at a time,
// if there are texts among them.
func (in *inputs) batch(w *worker, st *inputState, ords []uint16, f func(ord uint16, values []schema.Value, acts [][]Act) error) error {
	clear(st.at)
	for size := batchOf(in.attrs); len(ords) > 0; {
		part := ords[:min(len(ords), size)]
		ords = ords[len(part):]
		if err := in.some(w, st, part, f); err != nil {
			return err
		}
	}
	return nil
}

// some is batch of a few profiles. Their values are dropped when f has seen them.
func (in *inputs) some(w *worker, st *inputState, ords []uint16, f func(ord uint16, values []schema.Value, acts [][]Act) error) error {
	texts := int64(0)
	defer func() {
		clear(st.rows[:len(ords)*len(in.attrs)])
		_ = take(w.cur, -texts) // giving back does not fail
	}()
	for i := range st.readers {
		r := &st.readers[i]
		if err := r.read(w.cur, w.chunk, ords, st.rows[i:], len(in.attrs)); err != nil {
			return err
		}
		if err := take(w.cur, r.texts); err != nil {
			return err
		}
		texts += r.texts
	}
	for i, o := range ords {
		for k, a := range st.acts {
			st.own[k], st.at[k] = a.of(o, st.at[k])
		}
		at := i * len(in.attrs)
		if err := f(o, st.rows[at:at+len(in.attrs):at+len(in.attrs)], st.own); err != nil {
			return err
		}
	}
	return nil
}
