package query

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestFloatSumOfParts compares a sum of sums with the sum of all.
func TestFloatSumOfParts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		parts := make([]FloatSum, 1+r.IntN(5))
		var all floatSum
		all.reset()
		for range r.IntN(30) {
			x := math.Ldexp(r.Float64()*2-1, r.IntN(2000)-1000)
			if r.IntN(60) == 0 {
				x = []float64{math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, -math.MaxFloat64}[r.IntN(5)]
			}
			p := &parts[r.IntN(len(parts))]
			if r.IntN(4) == 0 {
				p.added = carryAfter - 1 // it is time for a carry
			}
			p.Add(x)
			all.add(x)
		}
		var sum FloatSum
		for _, i := range r.Perm(len(parts)) {
			sum.AddSum(&parts[i])
			if r.IntN(3) == 0 {
				sum.Value() // changes nothing
			}
		}
		got, want := sum.Value(), all.value()
		if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

// TestStudyEventsMemory: where little memory is left for what a list's events come after, it
// is read for fewer people at a time, and each event is handed out once.
func TestStudyEventsMemory(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for o := range uint32(5) {
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
	list := *ever(eOpen)
	list.Then = &Then{ever(eOpen), 1000}
	l, err := s.List(&list, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16]int{}
	_, err = s.Each(t.Context(), func() ChunkVisitor {
		return func(ctx context.Context, c *StudyChunk) error {
			c.w.eventsOf(nil).most = 150 * gatheredBytes
			return c.Events(ctx, l, &c.People, func(e *StudyEvents) error {
				for i := range e.Len() {
					got[e.Who(i)]++
				}
				return nil
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for o := range uint16(5) {
		if got[o] != 99 {
			t.Errorf("%d has %d events, want 99", o, got[o])
		}
	}
}
