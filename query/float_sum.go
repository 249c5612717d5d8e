package query

import (
	"math"
	"math/bits"
)

// floatSum adds floats exactly and rounds once, so that no order of them changes a bit of
// the sum, nor does an intermediate overflow. It is the small superaccumulator of R. Neal,
// "Fast Exact Summation Using Small and Large Superaccumulators" (arXiv:1505.05571, 2015):
// a fixed-point number as wide as all floats are, in digits of 32 bits that stand in 64, so
// that carries wait until the end.
//
// The sum is that of real numbers, rounded to the nearest float, ties to even; beyond the
// greatest float it is an infinity. A zero sum is +0. With an infinity the sum is that
// infinity, with both or a NaN it is NaN.
//
// The zero floatSum is 0.
type floatSum struct {
	digits   [floatDigits]int64 // of 2^(32*i - 1074)
	lo, hi   int                // the digits used are lo to hi-1
	infinite [2]bool            // + and -
	nan      bool
}

// floatDigits holds a mantissa at the greatest exponent, which begins in digit 2045/32 = 63
// and takes three, and the carries of 2^31 of them, which is more than a profile has events.
const floatDigits = 68

func (s *floatSum) reset() {
	if s.lo < s.hi { // else nothing finite was added
		clear(s.digits[s.lo:s.hi])
	}
	s.lo, s.hi, s.infinite, s.nan = floatDigits, 0, [2]bool{}, false
}

func (s *floatSum) add(x float64) {
	b := math.Float64bits(x)
	exponent, mantissa := int(b>>52&0x7ff), b&(1<<52-1)
	switch exponent {
	case 0x7ff:
		s.nan = s.nan || mantissa != 0
		s.infinite[b>>63] = s.infinite[b>>63] || mantissa == 0
		return
	case 0: // subnormal
		exponent = 1
	default:
		mantissa |= 1 << 52
	}
	at, shift := (exponent-1)>>5, uint(exponent-1)&31
	high, low := mantissa>>(64-shift), mantissa<<shift // a shift by 64 leaves 0
	d := (*[3]int64)(s.digits[at:])
	if b>>63 == 0 {
		d[0] += int64(low & math.MaxUint32)
		d[1] += int64(low >> 32)
		d[2] += int64(high)
	} else {
		d[0] -= int64(low & math.MaxUint32)
		d[1] -= int64(low >> 32)
		d[2] -= int64(high)
	}
	s.lo, s.hi = min(s.lo, at), max(s.hi, at+3)
}

// carry brings all digits but the last into 0 to 2^32-1 and reports whether the sum is negative.
func (s *floatSum) carry() bool {
	for i := s.lo; i < floatDigits-1; i++ {
		c := s.digits[i] >> 32
		if c == 0 && i >= s.hi {
			break
		}
		s.digits[i] &= math.MaxUint32
		s.digits[i+1] += c
		s.hi = max(s.hi, i+2)
	}
	return s.digits[floatDigits-1] < 0
}

// value returns the sum. Only reset may follow.
func (s *floatSum) value() float64 {
	switch {
	case s.nan, s.infinite[0] && s.infinite[1]:
		return math.NaN()
	case s.infinite[0]:
		return math.Inf(1)
	case s.infinite[1]:
		return math.Inf(-1)
	}
	negative := s.carry()
	if negative {
		for i := s.lo; i < s.hi; i++ {
			s.digits[i] = -s.digits[i]
		}
		s.carry()
	}
	top := s.hi - 1
	for top >= 0 && s.digits[top] == 0 {
		top--
	}
	if top < 0 {
		return 0
	}
	x := s.round(top)
	if negative {
		return -x
	}
	return x
}

// round returns the float nearest to the digits, of which top is the first that is not 0.
func (s *floatSum) round(top int) float64 {
	digit := func(i int) uint64 {
		if i < 0 {
			return 0
		}
		return uint64(s.digits[i])
	}
	m, below := digit(top)<<32|digit(top-1), digit(top-2)
	zeros := bits.LeadingZeros64(m)
	m = m<<zeros | below<<zeros>>32 // below has 32 bits and zeros is less than 32
	more := below<<zeros&math.MaxUint32 != 0
	for i := 0; i < top-2 && !more; i++ {
		more = s.digits[i] != 0
	}
	exponent := 32*(top-1) - 1074 - zeros // of the last bit of m
	drop := max(64-53, -1074-exponent)
	kept, rest, half := m>>drop, m&(1<<drop-1), uint64(1)<<(drop-1)
	if rest > half || rest == half && (more || kept&1 == 1) {
		kept++
	}
	return math.Ldexp(float64(kept), exponent+drop)
}

// of returns the sum of floats, given as their bits.
func (s *floatSum) of(xs []int64) float64 {
	x := func(i int) float64 { return math.Float64frombits(uint64(xs[i])) }
	switch len(xs) {
	case 0:
		return 0
	case 1:
		return x(0) + 0 // -0 becomes 0
	case 2:
		return x(0) + x(1) + 0 // the sum of two is rounded once anyway
	}
	s.reset()
	for i := range xs {
		s.add(x(i))
	}
	return s.value()
}
