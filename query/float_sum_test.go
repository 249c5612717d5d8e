package query

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// exactSum is the definition: the sum of real numbers, rounded once.
func exactSum(xs []float64) float64 {
	var up, down bool
	sum := new(big.Rat)
	for _, x := range xs {
		switch {
		case math.IsNaN(x):
			return x
		case math.IsInf(x, 0):
			up, down = up || x > 0, down || x < 0
		default:
			sum.Add(sum, new(big.Rat).SetFloat64(x))
		}
	}
	switch {
	case up && down:
		return math.NaN()
	case up:
		return math.Inf(1)
	case down:
		return math.Inf(-1)
	}
	f, _ := sum.Float64()
	return f + 0
}

func bitsOf(xs []float64) []int64 {
	var out []int64
	for _, x := range xs {
		out = append(out, int64(math.Float64bits(x)))
	}
	return out
}

// same compares bit by bit, but for NaNs, which are all one.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

func TestFloatSum(t *testing.T) {
	const big, tiny = math.MaxFloat64, math.SmallestNonzeroFloat64
	minus0 := math.Copysign(0, -1)
	f := func(want float64, xs ...float64) {
		t.Helper()
		var s floatSum
		if got := s.of(bitsOf(xs)); !same(got, want) {
			t.Errorf("the sum of %v is %v, want %v", xs, got, want)
		}
		if exact := exactSum(xs); !same(exact, want) {
			t.Errorf("the reference says that the sum of %v is %v, want %v", xs, exact, want)
		}
	}
	f(0)
	f(0, minus0)
	f(0, minus0, minus0)
	f(0, minus0, minus0, minus0)
	f(0, 1, 2, -3)
	f(0.6, 0.1, 0.2, 0.3) // one after the other they give 0.6000000000000001
	f(1, 1e100, 1, -1e100)
	f(big, big, big, -big) // would overflow on the way
	f(math.Inf(1), big, big)
	f(math.Inf(-1), -big, -big, 1)
	f(big, big, big*math.Pow(2, -54), -tiny) // just below half a unit: no overflow
	f(tiny, tiny, 1, -1)
	f(-tiny, -tiny, 1, -1)
	f(2*tiny, tiny, tiny, 0)
	f(1, 1, math.Pow(2, -53), 0)                      // a tie goes to even
	f(1+math.Pow(2, -52), 1, math.Pow(2, -53), tiny)  // just above
	f(1, 1, math.Pow(2, -53), -tiny)                  // just below
	f(1+math.Pow(2, -51), 1, math.Pow(2, -52)*3/2, 0) // a tie goes to even, upwards
	f(math.Inf(1), math.Inf(1), -5, 7)
	f(math.NaN(), math.Inf(1), math.Inf(-1), 7)
	f(math.NaN(), math.NaN(), 5, 7)
}

func TestFloatSumRandom(t *testing.T) {
	notRaced(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var s floatSum // one for all: reset must leave nothing behind
	for range 20000 {
		var xs []float64
		spread := []int{1, 60, 300, 2000}[r.IntN(4)]
		middle := r.IntN(2000) - 1000
		for range r.IntN(12) {
			x := math.Ldexp(r.Float64()*2-1, middle+r.IntN(spread)-spread/2)
			if r.IntN(300) == 0 {
				x = []float64{math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1)}[r.IntN(4)]
			}
			xs = append(xs, x)
			if r.IntN(3) == 0 {
				xs = append(xs, -x)
			}
		}
		want := exactSum(xs)
		for range 2 {
			r.Shuffle(len(xs), func(i, j int) { xs[i], xs[j] = xs[j], xs[i] })
			if got := s.of(bitsOf(xs)); !same(got, want) {
				t.Fatalf("the sum of %v is %v, want %v", xs, got, want)
			}
		}
	}
}

func BenchmarkFloatSum(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var xs []float64
	for range 100 {
		xs = append(xs, r.Float64()*1000)
	}
	in := bitsOf(xs)
	var s floatSum
	for b.Loop() {
		s.of(in)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(in)), "ns/value")
}
