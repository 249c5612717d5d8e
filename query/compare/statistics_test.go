package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestStudent compares Student's distribution with what is known of it in closed form, for 1, 2
// and 4 degrees of freedom, and with the normal one for many.
func TestStudent(t *testing.T) {
	tail := func(x, freedom float64) float64 {
		return incompleteBeta(freedom/(freedom+x*x), x*x/(freedom+x*x), freedom/2, 0.5)
	}
	for _, x := range []float64{1e-6, 0.01, 0.3, 1, 1.5, 2, 3.9, 10, 1e3, 1e8} {
		four := x / math.Sqrt(4+x*x)
		for freedom, want := range map[float64]float64{
			1: 1 - 2/math.Pi*math.Atan(x),
			2: 1 - x/math.Sqrt(2+x*x),
			4: 1 - four*(3-four*four)/2,
		} {
			if got := tail(x, freedom); math.Abs(got-want) > 1e-14 {
				t.Errorf("%v of %v degrees: %v, want %v", x, freedom, got, want)
			}
		}
		if x < 30 {
			got, want := tail(x, normalFrom/2), math.Erfc(x/math.Sqrt2)
			if math.Abs(got-want) > want*(x*x*x*x+10)/normalFrom {
				t.Errorf("%v of %v degrees: %v, want about %v", x, normalFrom/2, got, want)
			}
		}
	}
	// The far tail is 1/(pi x) for one degree, and is no difference of numbers near 1.
	if got := tail(1e100, 1); math.Abs(got*math.Pi/2*1e100-1) > 1e-12 {
		t.Errorf("the far tail is %v", got)
	}
}

// TestWelch is the worked example's, and one of Student's own: the sleep that two drugs gave,
// t = -1.8608 with 17.776 degrees of freedom and p = 0.07939 (R, help of t.test).
func TestWelch(t *testing.T) {
	of := func(values ...float64) (s sample) {
		for _, x := range values {
			s.mean += x / float64(len(values))
		}
		for _, x := range values {
			s.variance += (x - s.mean) * (x - s.mean) / float64(len(values)-1)
		}
		s.n = float64(len(values))
		return s
	}
	for _, c := range []struct {
		a, b sample
		p    float64
	}{
		{of(20, 30, 30), of(40, 50, 60, 70), 0.0149443},
		{of(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2), of(1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4), 0.07939},
	} {
		if got := welch(c.a, c.b); math.Abs(got-c.p) > 5e-6 {
			t.Errorf("p is %v, want %v", got, c.p)
		}
		for _, unit := range []float64{1e-120, 1e120} { // in which unit things are measured says nothing
			a, b := c.a, c.b
			for _, s := range []*sample{&a, &b} {
				s.mean, s.variance = s.mean*unit, s.variance*unit*unit
			}
			if got := welch(a, b); !(math.Abs(got-c.p) <= 5e-6) {
				t.Errorf("in units of %v p is %v, want %v", 1/unit, got, c.p)
			}
		}
	}
}

// TestTwoShares compares p with how often chance makes a difference as large, and with the
// worked example.
func TestTwoShares(t *testing.T) {
	if p, ok := twoShares(3, 3, 0, 5); !ok || math.Abs(p-math.Erfc(2)) > 1e-15 {
		t.Errorf("%v, %v", p, ok)
	}
	if _, ok := twoShares(5, 5, 7, 7); ok {
		t.Error("all have it, and there is a p")
	}
	if _, ok := twoShares(0, 5, 0, 7); ok {
		t.Error("nobody has it, and there is a p")
	}
	const n, m, a, b, runs = 400, 600, 100, 120, 4000
	r := rand.New(rand.NewPCG(1, 2))
	more := 0
	for range runs { // deal a+b marks out to n+m people
		left, mine := a+b, 0
		for i := range n {
			if r.IntN(n+m-i) < left {
				left, mine = left-1, mine+1
			}
		}
		if math.Abs(float64(mine)/n-float64(a+b-mine)/m) >= math.Abs(float64(a)/n-float64(b)/m)-1e-12 {
			more++
		}
	}
	if p, _ := twoShares(a, n, b, m); math.Abs(p-float64(more)/runs) > 0.02 {
		t.Errorf("p is %v, by chance it happens %d times of %d", p, more, runs)
	}
}

// TestAdjust compares with the definition, on random probabilities, many of them equal.
func TestAdjust(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		p := make([]float64, r.IntN(30))
		for i := range p {
			p[i] = float64(r.IntN(12)) / 12
		}
		got := adjust(p)
		for i := range p {
			want := 1.0 // the least share q at which p[i] is among those found
			for _, limit := range p {
				upTo := 0
				for _, x := range p {
					if x <= limit {
						upTo++
					}
				}
				if q := limit * float64(len(p)) / float64(upTo); limit >= p[i] {
					want = min(want, q)
				}
			}
			if math.Abs(got[i]-want) > 1e-15 {
				t.Fatalf("%v of %v is adjusted to %v, want %v", p[i], p, got[i], want)
			}
		}
	}
}
