package funnel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/query"
)

// slowEntry is what doc.go says of one entry: how far it comes, when it first comes to each
// step, and when it ends.
func slowEntry(f *funnel, first query.Step, all []query.Step) (took []int64, end int64) {
	var own []query.Step
	for _, e := range all {
		if e.Time >= first.Time && e.Time <= first.Time+f.within && (!f.held || e.Value == first.Value) {
			own = append(own, e)
		}
	}
	n := len(f.texts)
	if f.order == anyOrder {
		met := map[int]bool{}
		for _, e := range own { // in order of time
			if k := f.step[e.List]; !met[k] {
				met[k] = true
				took = append(took, e.Time-first.Time)
			}
		}
		if len(took) == n {
			return took, first.Time + took[n-1]
		}
		return took, first.Time + f.within
	}
	reached := slowPlaces(f, first, own)
	for k := range n {
		least, ok := int64(0), false
		for at := range reached {
			if at.k == k && (!ok || at.t < least) {
				least, ok = at.t, true
			}
		}
		if !ok {
			break
		}
		took = append(took, least-first.Time)
	}
	switch {
	case len(took) == n:
		return took, first.Time + took[n-1]
	case f.order == strict:
		return took, first.Time + took[len(took)-1]
	}
	for _, e := range own { // the first after which nothing is left
		left := false
		for at := range reached {
			left = left || at.t <= e.Time && !slices.ContainsFunc(own, func(x query.Step) bool {
				return f.ends[x.List] && f.step[x.List] == at.k && x.Time > at.t && x.Time <= e.Time
			})
		}
		if !left {
			return took, e.Time
		}
	}
	return took, first.Time + f.within
}

// place is to have come to a step at a time.
type place struct {
	k int
	t int64
}

// slowPlaces are all that an entry comes to, by any of its events.
func slowPlaces(f *funnel, first query.Step, own []query.Step) map[place]bool {
	reached := map[place]bool{}
	var come func(at place)
	come = func(at place) {
		if reached[at] {
			return
		}
		reached[at] = true
		for _, next := range own {
			if f.ends[next.List] || f.step[next.List] != at.k+1 || next.Time <= at.t {
				continue
			}
			if !slices.ContainsFunc(own, func(x query.Step) bool {
				return x.Time > at.t && x.Time < next.Time && (f.order == strict || f.ends[x.List] && f.step[x.List] == at.k)
			}) {
				come(place{at.k + 1, next.Time})
			}
		}
	}
	come(place{0, first.Time})
	return reached
}

// slowly is what doc.go says of the entries of one person that count.
func slowly(f *funnel, steps []query.Step) (out []entry) {
	ended := map[int64]int64{} // by value: when the last entry has
	for _, first := range steps {
		if f.ends[first.List] || f.step[first.List] < 0 || f.order != anyOrder && f.step[first.List] != 0 || f.held && first.Value == query.NoValue {
			continue
		}
		value := first.Value
		if !f.held {
			value = 0
		}
		if end, ok := ended[value]; ok && f.entries && first.Time <= end {
			continue
		}
		took, end := slowEntry(f, first, steps)
		ended[value] = end
		out = append(out, entry{first.Time, took, value})
	}
	if f.entries || len(out) == 0 {
		return out
	}
	best := out[0]
	for _, e := range out[1:] {
		a, b := append([]int64{-int64(len(e.took)), e.began}, reversed(e.took)...), append([]int64{-int64(len(best.took)), best.began}, reversed(best.took)...)
		if c := slices.Compare(append(a, e.value), append(b, best.value)); c < 0 {
			best = e
		}
	}
	return []entry{best}
}

func reversed(s []int64) []int64 {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

// slowValue is the first value, in order, of the events by which an entry came to a step.
func slowValue(f *funnel, steps []query.Step, e *entry, k int) int64 {
	best := int64(query.NoValue)
	for _, s := range steps {
		if s.Time == e.began+e.took[k] && s.Value != query.NoValue && !f.ends[s.List] && (f.step[s.List] == k || f.order == anyOrder) &&
			(!f.held || s.Value == e.value) && (best == query.NoValue || s.Value < best) {
			best = s.Value
		}
	}
	return best
}

// randomFunnel is a funnel without lists, and events of one person for it.
func randomFunnel(r *rand.Rand) (*funnel, []query.Step) {
	n := 2 + r.IntN(3)
	f := &funnel{texts: make([]string, n), within: r.Int64N(25) + 1, order: order(r.IntN(3)), entries: r.IntN(2) == 0}
	for k := range n {
		f.step, f.ends = append(f.step, k), append(f.ends, false)
		if r.IntN(5) == 0 { // an alternative
			f.step, f.ends = append(f.step, k), append(f.ends, false)
		}
		if f.order == sequence && k < n-1 && r.IntN(3) == 0 {
			f.step, f.ends = append(f.step, k), append(f.ends, true)
		}
	}
	f.held = f.order != strict && r.IntN(3) == 0
	if f.order == strict && r.IntN(3) > 0 {
		f.step, f.ends = append(f.step, -1), append(f.ends, false)
	}
	var steps []query.Step
	now := int64(0)
	for range r.IntN(16) {
		now += r.Int64N(4)
		steps = append(steps, query.Step{Time: now, List: int32(r.IntN(len(f.step))), Value: []int64{1, 1, 2, query.NoValue}[r.IntN(4)]})
	}
	slices.SortStableFunc(steps, func(a, b query.Step) int {
		if a.Time != b.Time {
			return int(a.Time - b.Time)
		}
		return int(a.List - b.List)
	})
	return f, steps
}

// TestEntries compares the two on random events of one person.
func TestEntries(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	reached, several, values := map[string]int{}, 0, 0
	for round := range 60_000 {
		f, steps := randomFunnel(r)
		v := &visitor{funnel: f}
		got, want := slices.Clone(v.entriesOf(steps)), slowly(f, steps)
		byTime := func(a, b entry) int {
			return slices.Compare([]int64{a.began, a.value}, []int64{b.began, b.value})
		}
		slices.SortFunc(got, byTime)
		slices.SortFunc(want, byTime)
		what := fmt.Sprintf("round %d: %+v of %v", round, f, steps)
		if !slices.EqualFunc(got, want, func(a, b entry) bool {
			return a.began == b.began && a.value == b.value && slices.Equal(a.took, b.took)
		}) {
			t.Fatalf("%s:\n%v, want %v", what, got, want)
		}
		several += min(1, max(0, len(got)-1))
		for i := range got {
			reached[fmt.Sprintf("%d %v %d", f.order, f.entries, len(got[i].took))]++
			for k := range got[i].took {
				a, b := v.valueAt(steps, &got[i], k), slowValue(f, steps, &got[i], k)
				if a != b {
					t.Fatalf("%s:\nthe value of step %d of %v is %d, want %d", what, k, got[i], a, b)
				}
				if b != query.NoValue {
					values++
				}
			}
		}
	}
	for o := range anyOrder + 1 {
		for _, entries := range []bool{false, true} {
			for n := 1; n <= 4; n++ {
				if key := fmt.Sprintf("%d %v %d", o, entries, n); reached[key] < 15 {
					t.Errorf("only %d came to step %d in the order %d, entries %v", reached[key], n, o, entries)
				}
			}
		}
	}
	if several < 1000 || values < 1000 {
		t.Errorf("%d had several entries, %d a value: the test tests too little", several, values)
	}
}

// TestManyEvents: what it takes grows as the events of one person do, not as their square.
func TestManyEvents(t *testing.T) {
	const n = 300_000
	for o := range anyOrder + 1 {
		for _, entries := range []bool{false, true} {
			f := &funnel{texts: make([]string, 2), within: n / 2, order: o, entries: entries, step: []int{0, 1}, ends: []bool{false, false}}
			var steps []query.Step
			for i := range int64(n) {
				steps = append(steps, query.Step{Time: i})
			}
			steps = append(steps, query.Step{Time: n, List: 1})
			v := &visitor{funnel: f}
			found := v.entriesOf(steps)
			if last := found[len(found)-1]; len(last.took) != 2 {
				t.Errorf("order %d, entries %v: %d entries, the last %v", o, entries, len(found), last)
			}
		}
	}
}

func TestSpread(t *testing.T) {
	for _, x := range []struct {
		times                []int64
		average, median, p90 int64
	}{
		{[]int64{7}, 7, 7, 7},
		{[]int64{9, 1}, 5, 1, 9},
		{[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 5, 5, 9},
		{[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 6, 6, 10},
		{[]int64{1 << 62, 1 << 62, 1 << 62}, 1 << 62, 1 << 62, 1 << 62},
	} {
		average, median, p90 := spread(x.times)
		if average.Ordered() != x.average || median.Ordered() != x.median || p90.Ordered() != x.p90 {
			t.Errorf("%v: %v, %v, %v", x.times, average, median, p90)
		}
	}
	if a, m, p := spread(nil); !a.IsAbsent() || !m.IsAbsent() || !p.IsAbsent() {
		t.Error("of nothing there is something")
	}
}

// TestRanked compares with a sort.
func TestRanked(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		numbers := make([]int64, 1+r.IntN(40))
		most := int64(1) << r.IntN(62)
		for i := range numbers {
			numbers[i] = r.Int64N(most)
		}
		sorted := slices.Clone(numbers)
		slices.Sort(sorted)
		for place, want := range sorted {
			if got := ranked(numbers, place); got != want {
				t.Fatalf("%d of %v is %d, want %d", place, numbers, got, want)
			}
		}
	}
}

func TestSplitAlternatives(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                               {"a"},
		"a | b|c":                         {"a", "b", "c"},
		`a.filter(e, e.x == "|" || e.y)`:  {`a.filter(e, e.x == "|" || e.y)`},
		`ev["a|b"] | c.filter(e, e.z)`:    {`ev["a|b"]`, "c.filter(e, e.z)"},
		`a.filter(e, e.x == "\"|") | b`:   {`a.filter(e, e.x == "\"|")`, "b"},
		`a.filter(e, e.x == '|' ) | b | `: {`a.filter(e, e.x == '|' )`, "b", ""},
	} {
		if got := splitAlternatives(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
