package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestOnwardTrails compares with Trails: of who goes on, everything or what is wanted of it,
// with and without the days, with much memory and little.
func TestOnwardTrails(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r, types := rand.New(rand.NewPCG(seed, 1)), memEventTypes()
	goes, short, far := 0, 0, 0
	for round := range 400 {
		v := newMemView(memSchema(), someWithActs(r), 1, true, uint64(round))
		who, err := Prepare(t.Context(), &Const{Value: True}, v)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStudy(t.Context(), v, who, nil, Options{Parallelism: 1})
		var lists []*StudyList
		on := Onward{Within: []int64{1, 1000, msPerDay, 2 * msPerDay, 9 * msPerDay}[r.IntN(5)], Whole: r.IntN(2) == 0}
		for i, place := range []*[]int{&on.First, &on.Next, &on.Then, nil, &on.First, &on.Next}[:2+r.IntN(5)] {
			if place == &on.Then && on.Whole {
				place = nil
			}
			if place != nil {
				*place = append(*place, i)
			}
			l, err := s.List(&Events{Event: types[r.IntN(len(types))].ID, From: []int64{math.MinInt64, memNow - 3*msPerDay}[r.IntN(2)], To: memNow + 1}, math.MinInt64, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			lists = append(lists, l)
		}
		got, want := map[uint16][]Step{}, map[uint16][]Step{}
		_, err = s.Each(t.Context(), func() ChunkVisitor {
			return func(ctx context.Context, c *StudyChunk) error {
				c.w.eventWork().many = []int{0, math.MaxInt}[r.IntN(2)]
				if err := c.Trails(ctx, lists, nil, &c.People, func(who uint16, steps []Step) error {
					if wanted := wantedOnward(on, steps); wanted != nil {
						want[who] = wanted
					}
					return nil
				}); err != nil {
					return err
				}
				if r.IntN(2) == 0 {
					c.w.eventWork().most = 400
				}
				return c.OnwardTrails(ctx, lists, on, &c.People, func(who uint16, steps []Step) error {
					if got[who] != nil {
						t.Fatalf("%d has two trails", who)
					}
					got[who] = placesOnward(on, steps)
					return nil
				})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for o := range uint16(30) {
			if !slices.Equal(got[o], want[o]) {
				t.Fatalf("round %d, %+v: %d has %v, want %v", round, on, o, got[o], want[o])
			}
			goes += min(1, len(got[o]))
			if !on.Whole && len(got[o]) == 2 {
				short++
			} else if !on.Whole && len(got[o]) > 2 {
				far++
			}
		}
	}
	if goes < 1000 || short < 300 || far < 300 {
		t.Errorf("%d go on, %d of them to two events, %d further: the test tests too little", goes, short, far)
	}
}

// someWithActs makes people with events of the last days, some of them at one time.
func someWithActs(r *rand.Rand) map[uint32]*memProfile {
	profiles, types := map[uint32]*memProfile{}, memEventTypes()
	for o := range uint32(30) {
		p := &memProfile{key: fmt.Sprint(o), events: map[schema.EventID][]memAct{}}
		at := memNow - r.Int64N(5*msPerDay)
		for range r.IntN(12) {
			e := types[r.IntN(len(types))].ID
			p.events[e] = append(p.events[e], memAct{time: at})
			at += []int64{0, 1, 1000, r.Int64N(msPerDay), -r.Int64N(msPerDay)}[r.IntN(5)]
		}
		profiles[o] = p
	}
	return profiles
}

// placesOnward calls the lists of a step by the first of them, and each event once.
func placesOnward(on Onward, steps []Step) []Step {
	out := slices.Clone(steps)
	for i := range out {
		for _, lists := range [][]int{on.First, on.Next, on.Then} {
			if slices.Contains(lists, int(out[i].List)) {
				out[i].List = int32(lists[0])
			}
		}
	}
	slices.SortFunc(out, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.List, b.List)) })
	return slices.Compact(out)
}

// wantedOnward is what Onward says of the events of one person, nil if he does not go on.
func wantedOnward(on Onward, all []Step) []Step {
	all = placesOnward(on, all)
	of := func(lists []int) (out []Step) {
		for _, s := range all {
			if len(lists) > 0 && int(s.List) == lists[0] {
				out = append(out, s)
			}
		}
		return out
	}
	first, next, then := of(on.First), of(on.Next), of(on.Then)
	follower := func(a Step, of []Step) int {
		return slices.IndexFunc(of, func(b Step) bool { return b.Time > a.Time && b.Time-a.Time <= on.Within })
	}
	var followed, both []Step
	for _, s := range first {
		if follower(s, next) >= 0 {
			followed = append(followed, s)
			if follower(s, then) >= 0 {
				both = append(both, s)
			}
		}
	}
	switch {
	case len(followed) == 0:
		return nil
	case on.Whole:
		return all
	case len(both) == 0:
		return []Step{followed[0], next[follower(followed[0], next)]}
	}
	out := slices.DeleteFunc(slices.Clone(all), func(s Step) bool {
		return int(s.List) == on.First[0] && s != followed[0] && !slices.Contains(both, s)
	})
	return out
}
