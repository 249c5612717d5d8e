package bench

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExactFunctionsAgreeWithMath(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	check := func(name string, x, got, want, tolerance float64) {
		if math.Abs(got-want) > tolerance*math.Max(1e-300, math.Abs(want)) {
			t.Fatalf("seed %d: %s(%v) is %v, package math says %v", seed, name, x, got, want)
		}
	}
	for range 100000 {
		x := r.Float64()*1400 - 700
		check("exp", x, exactExp(x), math.Exp(x), 1e-14)
		x = math.Exp(r.Float64()*80 - 40)
		if math.Abs(x-1) > 1e-3 { // near 1 the relative error of both is large
			check("log", x, exactLog(x), math.Log(x), 1e-13)
		}
		u := unit(r.Uint64())
		if math.Abs(u-0.5) > 1e-3 {
			check("quantile", u, normalQuantile(u), math.Sqrt2*math.Erfinv(2*u-1), 1e-9)
		}
	}
	for _, u := range []float64{0x1p-53, 1 - 0x1p-53, 1e-12, 1e-9} { // the far branch
		z := normalQuantile(u)
		check("normal distribution of the quantile", u, 0.5*math.Erfc(-z/math.Sqrt2), u, 1e-10)
	}
}

// TestExactBits pins results to the bit: another machine or compiler that fuses or
// reorders operations turns it red.
func TestExactBits(t *testing.T) {
	hash := func(f func(float64) float64, lo, hi float64) (sum uint64) {
		for i := range 100000 {
			sum = mix(sum ^ math.Float64bits(f(lo+(hi-lo)*float64(i)/100000)))
		}
		return sum
	}
	for _, c := range []struct {
		name   string
		f      func(float64) float64
		lo, hi float64
		want   uint64
	}{
		{"exp", exactExp, -20, 20, 0x8648b077b8250ba7},
		{"log", exactLog, 0.001, 1000, 0xb305046d573a376d},
		{"quantile", normalQuantile, 0x1p-53, 1, 0x9042e9b9f3633379},
	} {
		if got := hash(c.f, c.lo, c.hi); got != c.want {
			t.Errorf("%s: hash %#x, want %#x", c.name, got, c.want)
		}
	}
	if unit(0) != 0x1p-53 || unit(math.MaxUint64) != 1-0x1p-53 {
		t.Errorf("unit runs from %v to %v", unit(0), unit(math.MaxUint64))
	}
}

// TestAlias compares what the table gives each number, exactly, with its weight.
func TestAlias(t *testing.T) {
	const seed = 6
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		weights := make([]uint64, 1+r.IntN(50))
		var sum float64
		for i := range weights {
			weights[i] = r.Uint64N(1 << r.IntN(41))
			sum += float64(weights[i])
		}
		if sum == 0 {
			continue
		}
		share := make([]float64, len(weights))
		for i, c := range newAlias(weights) {
			own := float64(c.threshold) / (1 << 32) / float64(len(weights))
			share[i] += own
			share[c.other] += 1/float64(len(weights)) - own
		}
		for i, w := range weights {
			if want := float64(w) / sum; math.Abs(share[i]-want) > 1e-8 || w == 0 && share[i] != 0 {
				t.Fatalf("seed %d: %v: number %d has %v, want %v", seed, weights, i, share[i], want)
			}
		}
	}
}
