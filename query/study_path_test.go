package query

import (
	"context"
	"math"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// TestStudyPartsMemory: where little memory is left for events, fewer people are gone through
// at a time, and each of them once to the end.
func TestStudyPartsMemory(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for o := range uint32(7) {
		p := &memProfile{key: string(rune('a' + o)), values: actValues{}, events: map[schema.EventID][]memAct{}}
		for i := range int64(100) {
			p.events[eOpen] = append(p.events[eOpen], memAct{time: i * 1000})
		}
		profiles[o] = p
	}
	v := newMemView(memSchema(), profiles, 1, true, 3)
	who, err := Prepare(t.Context(), &Const{Value: True}, v)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStudy(t.Context(), v, who, nil, Options{Parallelism: 1})
	l, err := s.List(ever(eOpen), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	got, calls, most := map[uint16]int{}, 0, 0
	_, err = s.Each(t.Context(), func() ChunkVisitor {
		return func(ctx context.Context, c *StudyChunk) error {
			c.w.eventsOf(nil).most = 500
			return c.InParts(&c.People, func(p *StudyPart) error {
				calls++
				seen := map[uint16]int{}
				for range 2 { // several lists are held together
					err := p.Events(ctx, l, &p.People, func(e *StudyEvents) error {
						for i := range e.Len() {
							seen[e.Who(i)]++
						}
						return p.Hold(e.Len())
					})
					if err != nil {
						return err
					}
				}
				most = max(most, len(seen))
				for who, n := range seen {
					got[who] += n
					if !bitmap.And(p.People, bitmap.FromArray([]uint16{who}), new(bitmap.Words)).Contains(who) {
						t.Errorf("%d is in another part", who)
					}
				}
				return nil
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for o := range uint16(7) {
		if got[o] != 200 {
			t.Errorf("%d has %d events, want 200", o, got[o])
		}
	}
	if most > 2 || calls < 5 {
		t.Errorf("%d people in one part, %d calls", most, calls)
	}
}
