package bench

import "math/bits"

// Domains keep the draws of different things apart.
const (
	domainProfile   = 1
	domainSegment   = 2
	domainMix       = 3
	domainEvent     = 4 // by number of the event
	domainLive      = 5 // by number of the event
	domainFavourite = 6 // by number of the profile
	domainScatter   = 7 // one for all
	domainQuestion  = 8 // by number of the asking
)

const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio, as splitmix64 has it

// stream is the sequence of draws of one thing, such as one profile: a pure function
// of (seed, domain, number, draw).
type stream uint64

func newStream(seed, domain, number uint64) stream {
	return stream(mix(mix(mix(seed+golden)+domain*golden) + number*golden))
}

// at returns draw n, uniform over all 64-bit numbers.
func (s stream) at(n uint64) uint64 { return mix(uint64(s) + (n+1)*golden) }

// below returns draw n as a number in [0, limit).
func (s stream) below(n, limit uint64) uint64 {
	hi, _ := bits.Mul64(s.at(n), limit)
	return hi
}

// mix is the output function of splitmix64, a bijection.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit maps a draw to the open interval (0, 1), exactly: an odd multiple of 2^-53.
func unit(draw uint64) float64 { return (float64(draw>>12) + 0.5) * 0x1p-52 }

// alias is a discrete distribution over 0..n-1, sampled in constant time (A. J. Walker;
// the construction is M. D. Vose's, in integers).
type alias []aliasCell

type aliasCell struct {
	threshold uint32 // of 2^32: below it the cell's own number, else other
	other     uint32
}

// pick returns the number that a draw stands for: its upper half picks the cell, its
// lower half one of the cell's two numbers.
func (a alias) pick(draw uint64) int {
	cell := draw >> 32 * uint64(len(a)) >> 32
	if c := a[cell]; uint32(draw) >= c.threshold {
		return int(c.other)
	}
	return int(cell)
}

// newAlias builds the distribution with these weights: at least one, each below 2^48,
// not all 0.
func newAlias(weights []uint64) alias {
	n := uint64(len(weights))
	var sum uint64
	for _, w := range weights {
		sum += w
	}
	a := make(alias, n)
	rest := make([]uint64, n) // what of the number's own weight is not yet given away, times n
	var small, large []int
	for i, w := range weights {
		rest[i] = w * n
		if rest[i] < sum {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		hi, lo := bits.Mul64(rest[s], 1<<32)
		threshold, _ := bits.Div64(hi, lo, sum)
		a[s] = aliasCell{threshold: uint32(threshold), other: uint32(l)}
		rest[l] -= sum - rest[s]
		if rest[l] < sum {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	// What is left is full: both numbers of the cell are its own.
	for _, i := range append(small, large...) {
		a[i].other = uint32(i)
	}
	return a
}

// zipf returns the weights k^-s of the ranks k = 1..n, as integers.
func zipf(n int, s float64) []uint64 {
	w := make([]uint64, n)
	for k := range w {
		w[k] = fixed(exactPow(float64(k+1), -s))
	}
	return w
}

// powerSteps returns the weights of floor(n * u^power) for a uniform u.
func powerSteps(n int, power float64) []uint64 {
	w := make([]uint64, n)
	var before uint64
	for k := range w {
		upTo := fixed(exactPow(float64(k+1)/float64(n), 1/power))
		w[k] = upTo - before
		before = upTo
	}
	return w
}

// fixed returns f, at most 1, in units of 2^-40: fine enough that rounding is not seen
// in a billion profiles, coarse enough for newAlias.
func fixed(f float64) uint64 { return uint64(float64(f*(1<<40)) + 0.5) }
