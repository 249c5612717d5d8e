package query

import (
	"github.com/kantadb/kanta/index/timeline"
)

// FloatSum adds floats exactly and rounds once: no order of them changes a bit of the sum.
// The zero FloatSum is 0.
type FloatSum struct {
	s     floatSum
	added uint32 // since the digits were last carried
}

// FloatSumBytes is what one takes.
const FloatSumBytes = 600

// carryAfter is how many numbers the digits hold without a carry: they have 31 bits more.
const carryAfter = 1 << 30

// Add adds a number.
func (f *FloatSum) Add(x float64) {
	f.s.add(x)
	f.count(1)
}

// AddSum adds a sum.
func (f *FloatSum) AddSum(o *FloatSum) {
	a, b := &f.s, &o.s
	a.carry() // and b's digits have room for one more
	for i := range a.digits {
		a.digits[i] += b.digits[i]
	}
	a.lo, a.hi, f.added = 0, floatDigits, carryAfter
	a.nan = a.nan || b.nan
	for i := range a.infinite {
		a.infinite[i] = a.infinite[i] || b.infinite[i]
	}
	f.count(0)
}

func (f *FloatSum) count(n uint32) {
	if f.added += n; f.added >= carryAfter {
		f.s.carry()
		f.added = 0
	}
}

// Value returns the sum, rounded to the nearest float; see floatSum.
func (f *FloatSum) Value() float64 {
	s := f.s // value changes it
	return s.value()
}

// Quotient returns the float nearest to sum * 10^-scale, divided by the float of n: what an
// average of exact numbers is in expressions too.
func Quotient(sum timeline.Int128, scale uint8, n uint64) float64 {
	return int128{sum.Hi, sum.Lo}.float(scale) / float64(n)
}
