package query

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestByTime: steps of runs in any order come out as a stable sort has them.
func TestByTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var runs []uint32
	for range 3000 {
		var steps []Step
		for list := range int32(1 + r.IntN(5)) {
			now := r.Int64N(20)
			for range r.IntN(12) {
				if now += r.Int64N(3); r.IntN(9) == 0 {
					now -= 10 // the next part
				}
				steps = append(steps, Step{Time: now, List: list, Value: int64(len(steps))})
			}
		}
		want := slices.Clone(steps)
		slices.SortStableFunc(want, func(a, b Step) int { return cmp.Compare(a.Time, b.Time) })
		if runs = byTime(steps, make([]Step, len(steps)), runs); !slices.Equal(steps, want) {
			t.Fatalf("%v, want %v", steps, want)
		}
	}
}

// TestParseSpan reads durations.
func TestParseSpan(t *testing.T) {
	for text, want := range map[string]string{"30m": "30m0s", "1d12h": "36h0m0s", "2w": "336h0m0s", "1h1m1s1ms": "1h1m1.001s", "90s": "1m30s", "250ms": "250ms",
		"36600d": "878400h0m0s"} {
		if d, err := ParseSpan(text); err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "0d", "-1d", "1.5h", "1y", "7 d", "36601d", "99999999999999999999d", "9223372036854775807ms1d", "1dd"} {
		if d, err := ParseSpan(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}
