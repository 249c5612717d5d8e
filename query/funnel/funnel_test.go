package funnel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// slowly is the definition of doc.go, word by word: of every entry, everything that can be
// come to.
func slowly(f *funnel, steps []query.Step) (furthest int, took []int64) {
	furthest = -1
	began := int64(0)
	for _, first := range steps {
		if f.ends[first.List] || !f.any && f.step[first.List] != 0 || f.values != nil && first.Value == query.NoValue {
			continue
		}
		var own []query.Step
		for _, e := range steps {
			if e.Time >= first.Time && e.Time <= first.Time+f.within && (f.values == nil || e.Value == first.Value) {
				own = append(own, e)
			}
		}
		at := first2last(f, first, own)
		far := len(at) - 1
		if far > furthest || far == furthest && (first.Time < began || first.Time == began && sooner(at, took)) {
			furthest, began, took = far, first.Time, at
		}
	}
	return furthest, took
}

// first2last returns when an entry first comes to each step, from the first.
func first2last(f *funnel, first query.Step, own []query.Step) (at []int64) {
	if f.any {
		met := map[int]bool{}
		for _, e := range own { // in order of time
			if k := f.step[e.List]; !f.ends[e.List] && !met[k] {
				met[k] = true
				at = append(at, e.Time-first.Time)
			}
		}
		return at
	}
	least := map[int]int64{}
	var come func(k int, t int64)
	come = func(k int, t int64) {
		if old, ok := least[k]; !ok || t < old {
			least[k] = t
		}
		for _, next := range own {
			if f.ends[next.List] || f.step[next.List] != k+1 || next.Time <= t {
				continue
			}
			if !slices.ContainsFunc(own, func(x query.Step) bool {
				return f.ends[x.List] && f.step[x.List] == k && x.Time > t && x.Time < next.Time
			}) {
				come(k+1, next.Time)
			}
		}
	}
	come(0, first.Time)
	for k := 0; ; k++ {
		t, ok := least[k]
		if !ok {
			return at
		}
		at = append(at, t-first.Time)
	}
}

// TestFurthest compares the two on random events of one person.
func TestFurthest(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	came := map[int]int{}
	for round := range 60_000 {
		n := 2 + r.IntN(3)
		f := &funnel{texts: make([]string, n), within: r.Int64N(12) + 1, any: r.IntN(4) == 0}
		for k := range n {
			f.step, f.ends = append(f.step, k), append(f.ends, false)
			if r.IntN(5) == 0 { // an alternative
				f.step, f.ends = append(f.step, k), append(f.ends, false)
			}
			if !f.any && k < n-1 && r.IntN(3) == 0 {
				f.step, f.ends = append(f.step, k), append(f.ends, true)
			}
		}
		if r.IntN(3) == 0 {
			f.values = make([]schema.AttrID, len(f.step))
		}
		var steps []query.Step
		now := int64(0)
		for range r.IntN(10) {
			now += r.Int64N(4)
			steps = append(steps, query.Step{Time: now, List: int32(r.IntN(len(f.step))), Value: []int64{1, 1, 2, query.NoValue}[r.IntN(4)]})
		}
		slices.SortStableFunc(steps, func(a, b query.Step) int {
			if a.Time != b.Time {
				return int(a.Time - b.Time)
			}
			return int(a.List - b.List)
		})
		if f.values == nil {
			for i := range steps {
				steps[i].Value = query.NoValue
			}
		}
		v := &visitor{funnel: f, tally: newTally(n)}
		got := v.furthestOf(steps)
		want, took := slowly(f, steps)
		if got != want || want >= 0 && !slices.Equal(v.path.took, took) {
			t.Fatalf("round %d: any %v, within %d, steps %v, ends %v, values %v: %v\n%d in %v, want %d in %v", round, f.any, f.within, f.step, f.ends, f.values != nil, steps, got, v.path.took, want, took)
		}
		came[got]++
	}
	for k := -1; k < 4; k++ {
		if came[k] < 100 {
			t.Errorf("only %d came to step %d", came[k], k)
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
