package query

import (
	"math"
	"math/rand/v2"
	"testing"
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
