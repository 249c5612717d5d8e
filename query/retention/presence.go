package retention

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// presence is the returning events of a list by period and by day, where who has any of them
// is known without reading events. That tells of all periods but the one in which a person
// began, and of that too if people begin with a day.
type presence struct {
	periods []*query.StudyList
	days    []*query.StudyList // of dates; nil: people begin at times
}

// presence makes the lists ready.
func (r *retention) presence(s *query.Study, back *query.Events) (*presence, error) {
	out := &presence{}
	for p := range r.count() {
		l, err := s.List(back, r.begin[p], r.begin[p+1])
		if err != nil {
			return nil, err
		}
		out.periods = append(out.periods, l)
	}
	if r.dates == nil {
		return out, nil
	}
	ends := append(r.dates.begin[1:len(r.dates.begin):len(r.dates.begin)], r.now+1)
	for i, begin := range r.dates.begin {
		l, err := s.List(back, begin, ends[i])
		if err != nil {
			return nil, err
		}
		out.days = append(out.days, l)
	}
	return out, nil
}

// present is [visitor.returns] as far as presence tells; it returns of whom the events of the
// period in which they began remain to be read.
func (v *visitor) present(ctx context.Context, c *query.StudyChunk, who bitmap.Set) (rest bitmap.Set, err error) {
	v.own.Clear()
	for p, l := range v.told.periods {
		came, err := c.AppendAny(ctx, l, &who, v.ords[:0])
		if err != nil {
			return rest, err
		}
		for _, o := range came {
			switch begun := v.begun[o]; {
			case begun < v.begin[p]:
				v.seen[o] |= 1 << p
			case begun < v.begin[p+1]:
				v.own.SetBit(o)
			}
		}
	}
	rest = bitmap.FromWords(&v.own)
	if v.dates == nil || rest.IsEmpty() {
		return rest, nil
	}
	for i, l := range v.told.days {
		day := v.dates.begin[i]
		came, err := c.AppendAny(ctx, l, &rest, v.ords[:0])
		if err != nil {
			return rest, err
		}
		for _, o := range came {
			if v.begun[o] <= day {
				v.seen[o] |= 1 << v.of(day)
			}
		}
	}
	return bitmap.Set{}, nil
}
