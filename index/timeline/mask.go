package timeline

import "math/bits"

// Mask is a set of the events of a block: event i is bit i%64 of word i/64.
type Mask [BlockSize / 64]uint64

// fill sets the bits from to to-1 and clears the others.
func (m *Mask) fill(from, to int) {
	*m = Mask{}
	for i := from >> 6; i <= (to-1)>>6 && from < to; i++ {
		m[i] = ^uint64(0)
	}
	if from < to {
		m[from>>6] &= ^uint64(0) << (from & 63)
		m[(to-1)>>6] &= ^uint64(0) >> (63 - (to-1)&63)
	}
}

// Count returns the number of events.
func (m *Mask) Count() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// IsEmpty reports whether the mask has no event.
func (m *Mask) IsEmpty() bool {
	any := uint64(0)
	for _, w := range m {
		any |= w
	}
	return any == 0
}

// Has reports whether event i is in the mask.
func (m *Mask) Has(i int) bool { return m[i>>6]>>(i&63)&1 != 0 }

// count returns how many of the events from to to-1 are in the mask; from is less than to.
func (m *Mask) count(from, to int) int {
	i, j := from>>6, (to-1)>>6
	head, tail := ^uint64(0)<<(from&63), ^uint64(0)>>(63-(to-1)&63)
	if i == j {
		return bits.OnesCount64(m[i] & head & tail)
	}
	n := bits.OnesCount64(m[i]&head) + bits.OnesCount64(m[j]&tail)
	for _, w := range m[i+1 : j] {
		n += bits.OnesCount64(w)
	}
	return n
}

// rank returns how many events before i are in the mask.
func (m *Mask) rank(i int) int {
	if i == 0 {
		return 0
	}
	return m.count(0, i)
}

// nth returns bit number k, counted from 0, of those that are set from bit from on; there
// are so many.
func (m *Mask) nth(from, k int) int {
	for i := from >> 6; ; i++ {
		w := m[i]
		if i == from>>6 {
			w &= ^uint64(0) << (from & 63)
		}
		if n := bits.OnesCount64(w); k >= n {
			k -= n
			continue
		}
		for ; k > 0; k-- {
			w &= w - 1
		}
		return i<<6 | bits.TrailingZeros64(w)
	}
}
