package query

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// acts plans the reading of all events of a type, with all properties, for a residual.
func (b *planner) acts(id schema.EventID, at Span) (*eventList, error) {
	l, _, err := b.list(&Events{Place: Place{Span: at}, Event: id, From: math.MinInt64, To: math.MaxInt64}, all())
	if err != nil {
		return nil, err
	}
	for _, p := range l.view.event.Properties {
		if err := l.need(p.ID); err != nil {
			return nil, err
		}
	}
	return l, l.need(schema.TimeProperty)
}

// actReader reads the events of a list as acts.
type actReader struct {
	list    *eventList
	readers []valueReader
	found   []ownAct
	acts    []Act
	hash    ActHash
}

type ownAct struct {
	ord uint16
	Act
}

const (
	actBytes   = 96 // an act, twice, without its values
	valueBytes = 56 // a schema.Value; strings of dictionaries are shared
)

func newActReader(l *eventList) *actReader {
	r := &actReader{list: l}
	for _, p := range l.view.event.Properties {
		r.readers = append(r.readers, valueReader{view: l.view, attr: p})
	}
	return r
}

// read reads the acts of some profiles, up to now, in order of profile and then their own.
func (r *actReader) read(ctx context.Context, w *worker, within *bitmap.Set) error {
	r.forget()
	scan := r.list.scan
	scan.To = min(scan.To, after(w.env.Now.UnixMilli(), 1))
	err := w.readEvents(ctx, r.list, reading{scan: &scan, within: within}, func(h *hits) error {
		width := len(r.readers)
		texts, err := r.textBytes(h)
		if err != nil {
			return err
		}
		if err := w.events.keep(len(h.at)*(actBytes+width*valueBytes) + texts); err != nil {
			return err
		}
		rows := make([]schema.Value, len(h.at)*width) // they live as long as the acts
		for i := range r.readers {
			if err := r.readers[i].read(h.sub.cur, 0, h.at, rows[i:], width); err != nil {
				return err
			}
		}
		for i, k := range h.at {
			r.found = append(r.found, ownAct{h.Ords[k], Act{h.Times[k], rows[i*width : (i+1)*width : (i+1)*width]}})
		}
		return nil
	})
	if err != nil {
		return err
	}
	properties := r.list.view.event.Properties
	slices.SortFunc(r.found, func(a, b ownAct) int {
		if a.ord != b.ord {
			return cmp.Compare(a.ord, b.ord)
		}
		return compareActs(properties, &a.Act, &b.Act, &r.hash)
	})
	r.acts = r.acts[:0]
	for i := range r.found {
		r.acts = append(r.acts, r.found[i].Act)
	}
	return nil
}

// textBytes returns how long the texts of the events are that are not in a dictionary.
func (r *actReader) textBytes(h *hits) (n int, err error) {
	cur, _ := h.sub.cur.(*blockCursor)
	for i := range r.readers {
		if a := &r.readers[i].attr; a.Kind != schema.String || !a.Inline() {
			continue
		}
		col, err := cur.column(r.readers[i].attr.ID, sizeOfTexts)
		if err != nil {
			return 0, err
		}
		for _, k := range h.at {
			n += len(col.Texts[k])
		}
	}
	return n, nil
}

// forget lets go of the acts, whose memory others may take from now on.
func (r *actReader) forget() {
	clear(r.found)
	clear(r.acts)
	r.found, r.acts = r.found[:0], r.acts[:0]
}

// of returns the acts of a profile. Profiles are asked for in ascending order: from is
// where the one before ended.
func (r *actReader) of(ord uint16, from int) (acts []Act, to int) {
	for to = from; to < len(r.found) && r.found[to].ord == ord; to++ {
	}
	return r.acts[from:to:to], to
}
