package compare

import (
	"cmp"
	"math"
	"slices"
)

// cohenH is the difference of two shares, as an effect size: by the angles whose sines are
// their roots, so that from 1 to 2 of 100 is more than from 50 to 51.
func cohenH(a, b float64) float64 {
	return 2*math.Asin(math.Sqrt(a)) - 2*math.Asin(math.Sqrt(b))
}

// twoShares returns how probable it is that samples of n and m, of which a and b have
// something, differ as much or more if they are of one population: of a z test with a pooled
// share, two-sided. ok is false if all or nobody has it.
func twoShares(a, n, b, m uint64) (p float64, ok bool) {
	x, y, nx, ny := float64(a), float64(b), float64(n), float64(m)
	pooled := (x + y) / (nx + ny)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/nx + 1/ny))
	if !(deviation > 0) {
		return 0, false
	}
	return math.Erfc(math.Abs(x/nx-y/ny) / deviation / math.Sqrt2), true
}

// sample is what a test of averages wants of one.
type sample struct {
	n              float64
	mean, variance float64
}

// normalFrom is from how many degrees of freedom on Student's distribution is taken to be
// the normal one: at 10 million they differ by two millionths of p at 3 deviations, and where
// they differ by a tenth, p is below 1e-300.
const normalFrom = 1e7

// welch returns how probable it is that the averages of two samples differ as much or more if
// those of their populations do not: Welch's t test, two-sided. One of them varies.
func welch(a, b sample) float64 {
	va, vb := a.variance/a.n, b.variance/b.n
	t := math.Abs(a.mean-b.mean) / math.Sqrt(va+vb)
	va, vb = va/(va+vb), vb/(va+vb) // whose squares are numbers, whatever is measured, and in which unit
	freedom := 1 / (va*va/(a.n-1) + vb*vb/(b.n-1))
	if freedom >= normalFrom {
		return math.Erfc(t / math.Sqrt2)
	}
	return incompleteBeta(freedom/(freedom+t*t), t*t/(freedom+t*t), freedom/2, 0.5)
}

// incompleteBeta is the regularised incomplete beta function I of a and b at x, by its
// continued fraction (DLMF 8.17.22), which Lentz's method works out. y is 1-x, without
// what the subtraction would lose.
func incompleteBeta(x, y, a, b float64) float64 {
	if x > (a+1)/(a+b+2) { // it converges where x is small
		return 1 - incompleteBeta(y, x, b, a)
	}
	if x <= 0 {
		return 0
	}
	const (
		tiny   = 1e-300 // in place of a zero that would be divided by
		enough = 1e-15
		steps  = 20_000 // of which sqrt(max(a, b)) and some are needed: 2,300 for normalFrom
	)
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	h := d
	for m := 1.0; m < steps; m++ {
		for _, of := range [...]float64{
			m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m)),
			-(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1)),
		} {
			d = 1 / nonzero(1+of*d)
			c = nonzero(1 + of/c)
			h *= c * d
		}
		if math.Abs(c*d-1) < enough {
			break
		}
	}
	logX := math.Log(x)
	if y < 0.5 {
		logX = math.Log1p(-y)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	both, _ := math.Lgamma(a + b)
	return math.Exp(both-la-lb+a*logX+b*math.Log(y)) * h / a
}

// adjust makes the probabilities of many comparisons those of Benjamini and Hochberg: of all
// with one up to q, no more than the share q is to be expected to be by chance.
func adjust(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(p[a], p[b]), cmp.Compare(a, b)) })
	out, least := make([]float64, len(p)), 1.0
	for rank := len(order); rank > 0; rank-- {
		i := order[rank-1]
		least = min(least, p[i]*float64(len(p))/float64(rank))
		out[i] = least
	}
	return out
}
