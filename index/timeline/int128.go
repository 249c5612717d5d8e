package timeline

import (
	"cmp"
	"math/bits"
)

// Int128 is a signed 128-bit number, Hi * 2^64 + Lo: the sum of 2^32 numbers of 64 bits
// does not overflow it.
type Int128 struct {
	Hi int64
	Lo uint64
}

// Add returns a + v.
func (a Int128) Add(v int64) Int128 { return a.Plus(Int128{v >> 63, uint64(v)}) }

// Plus returns a + b, modulo 2^128.
func (a Int128) Plus(b Int128) Int128 {
	lo, carry := bits.Add64(a.Lo, b.Lo, 0)
	return Int128{int64(uint64(a.Hi) + uint64(b.Hi) + carry), lo}
}

// Minus returns a - b, modulo 2^128.
func (a Int128) Minus(b Int128) Int128 {
	lo, borrow := bits.Sub64(a.Lo, b.Lo, 0)
	return Int128{int64(uint64(a.Hi) - uint64(b.Hi) - borrow), lo}
}

// product returns a * b; b is not negative.
func product(a, b int64) Int128 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	return Int128{int64(hi) + a>>63*b, lo} // as unsigned, a negative a is 2^64 too much
}

// Cmp returns -1, 0 or 1, as a is less than, equal to or greater than b.
func (a Int128) Cmp(b Int128) int {
	if c := cmp.Compare(a.Hi, b.Hi); c != 0 {
		return c
	}
	return cmp.Compare(a.Lo, b.Lo)
}

// Int64 returns the number as int64, and whether it is one.
func (a Int128) Int64() (int64, bool) {
	v := int64(a.Lo)
	return v, a.Hi == v>>63
}
