package query

import (
	"context"
	"math"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// What one person did, read by what the evaluator reads lists of events with.

// whichEvents says which events of a list are shown.
type whichEvents uint8

const (
	keepLast  whichEvents = iota // the last MaxWhyEvents
	keepFirst                    // the first one
	keepEnd                      // the last one
)

func endOf(last bool) whichEvents {
	if last {
		return keepEnd
	}
	return keepFirst
}

// Number works out a number made of events. It is absent where the fold is, where it does
// not fit its kind, and where it is NaN, which no value is.
func (p *Person) Number(ctx context.Context, f *Fold) (schema.Value, error) {
	t, typ, err := (&arithCompiler{b: wholePlanner(ctx, p.view)}).fold(f)
	if err != nil {
		return schema.Value{}, err
	}
	w, within, err := p.begin(0)
	defer p.end()
	if err != nil {
		return schema.Value{}, err
	}
	e := w.eventsOf(within)
	defer e.release(e.mark())
	if err := t.(*foldTerm).run(ctx, w, within); err != nil {
		return schema.Value{}, err
	}
	v := w.gather.vector()
	defer func() { w.gather.depth-- }()
	if err := t.eval(w, []uint16{uint16(p.ordinal)}, v); err != nil || v.st[0] != stateOK {
		return schema.Value{}, err
	}
	if typ.kind == schema.Float {
		return schema.FloatValue(v.f[0]), nil
	}
	return schema.FromOrdered(typ.kind, typ.scale, v.n[0]), nil
}

// events reads a list: how many events there are, and some of them, the newest first.
func (p *Person) events(ctx context.Context, e *Events, keep whichEvents) (WhyEvents, error) {
	l, err := p.wholeList(ctx, e)
	if err != nil {
		return WhyEvents{}, err
	}
	w, within, err := p.begin(0)
	defer p.end()
	if err != nil {
		return WhyEvents{}, err
	}
	r, out, kept := timelineReader{view: p.view}, WhyEvents{}, newestEvents{cur: w.cur, most: MaxWhyEvents, oldest: keep == keepFirst}
	if keep != keepLast {
		kept.most = 1
	}
	w.unknownEvents = 0
	w.eventsOf(within)
	err = w.inParts(within, func(within *bitmap.Set) error {
		out = WhyEvents{}
		kept.drop()
		return w.eachEvent(ctx, l, within, func(h *hits) error {
			for _, k := range h.at {
				t, err := r.event(l.view.event, h.EventBlock, int(k))
				if err != nil {
					return err
				}
				out.Total++
				if err := kept.add(&t); err != nil {
					return err
				}
			}
			return nil
		})
	})
	kept.cut()
	out.Events = kept.all
	out.Unknown = w.unknownEvents
	return out, err
}

// wholeList plans the reading of a list with all properties.
func (p *Person) wholeList(ctx context.Context, e *Events) (*eventList, error) {
	l, _, err := wholePlanner(ctx, p.view).list(e, all())
	if err != nil {
		return nil, err
	}
	for i := range l.view.event.Properties {
		if err := l.need(l.view.event.Properties[i].ID); err != nil {
			return nil, err
		}
	}
	return l, l.need(schema.TimeProperty)
}

// following returns the times of the first events that follow each other as a sequence
// wants; nil if there are none.
func (p *Person) following(ctx context.Context, n *Sequence) ([]int64, error) {
	o, err := wholePlanner(ctx, p.view).sequence(n)
	if err != nil {
		return nil, err
	}
	s := o.inner.(*sequenceOp)
	w, within, err := p.begin(0)
	defer p.end()
	if err != nil || s.none {
		return nil, err
	}
	w.eventsOf(within)
	var times []int64
	err = w.inParts(within, func(within *bitmap.Set) error {
		lists, at := make([][]int64, len(s.lists)), make([]int, len(s.lists))
		for i, l := range s.lists {
			g := w.events.gather()
			if err := w.gatherTimes(ctx, l, within, g); err != nil {
				return err
			}
			lists[i] = g.of(uint16(p.ordinal))
		}
		if times = nil; follow(lists, at, s.within) {
			for i, k := range at {
				times = append(times, lists[i][k])
			}
		}
		return nil
	})
	return times, err
}

// Acts returns the events of a type, those after now too, in order. all is false, and there
// are none, if they are more than a worker keeps for its residuals.
func (p *Person) Acts(ctx context.Context, id schema.EventID) (acts []Act, all bool, err error) {
	l, err := p.wholeList(ctx, &Events{Event: id, From: math.MinInt64, To: math.MaxInt64})
	if err != nil {
		return nil, false, err
	}
	w, within, err := p.begin(0)
	defer p.end()
	if err != nil {
		return nil, false, err
	}
	e := w.eventsOf(within)
	defer e.release(e.mark())
	defer func() { w.env = p.env }()
	w.env.Now = time.UnixMilli(schema.MaxTimestamp)
	r := newActReader(l)
	if err := r.read(ctx, w, within); err != nil {
		if err == errHeld {
			err = nil
		}
		return nil, false, err
	}
	acts, _ = r.of(uint16(p.ordinal), 0)
	return acts, true, nil
}
