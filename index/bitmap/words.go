package bitmap

import (
	"math/bits"
	"unsafe"
)

// SetBit adds i.
func (w *Words) SetBit(i uint16) { w[i>>6] |= 1 << (i & 63) }

// ClearBit removes i.
func (w *Words) ClearBit(i uint16) { w[i>>6] &^= 1 << (i & 63) }

// Has reports whether i is in w.
func (w *Words) Has(i uint16) bool { return w[i>>6]>>(i&63)&1 != 0 }

// Clear removes all.
func (w *Words) Clear() { *w = Words{} }

// Fill adds all 65,536 ordinals.
func (w *Words) Fill() {
	for i := range w {
		w[i] = ^uint64(0)
	}
}

// Count returns the number of elements, 0 to 65,536.
func (w *Words) Count() int { return countWords(machine, w) }

// IsEmpty reports whether w has no element.
func (w *Words) IsEmpty() bool {
	for i := 0; i < len(w); i += 8 {
		if w[i]|w[i+1]|w[i+2]|w[i+3]|w[i+4]|w[i+5]|w[i+6]|w[i+7] != 0 {
			return false
		}
	}
	return true
}

// And removes what is not in s. s must not be a Sparse set backed by w.
func (w *Words) And(s Set) {
	switch s.Form {
	case Empty:
		w.Clear()
	case Dense:
		andWords(machine, w, w, s.Words)
	case Sparse:
		var mask Words
		mask.scatter(s.Array)
		andWords(machine, w, w, &mask)
	}
}

// Or adds what is in s. s must not be a Sparse set backed by w.
func (w *Words) Or(s Set) {
	switch s.Form {
	case Full:
		w.Fill()
	case Dense:
		orWords(machine, w, w, s.Words)
	case Sparse:
		w.scatter(s.Array)
	}
}

// AndNot removes what is in s. s must not be a Sparse set backed by w.
func (w *Words) AndNot(s Set) {
	switch s.Form {
	case Full:
		w.Clear()
	case Dense:
		andNotWords(machine, w, w, s.Words)
	case Sparse:
		w.unscatter(s.Array)
	}
}

// scatter adds the ordinals of a.
func (w *Words) scatter(a []uint16) {
	for _, i := range a {
		w[i>>6] |= 1 << (i & 63)
	}
}

// unscatter removes the ordinals of a.
func (w *Words) unscatter(a []uint16) {
	for _, i := range a {
		w[i>>6] &^= 1 << (i & 63)
	}
}

// appendTo appends the elements in ascending order.
func (w *Words) appendTo(dst []uint16) []uint16 {
	for i, v := range w {
		for ; v != 0; v &= v - 1 {
			dst = append(dst, uint16(i<<6|bits.TrailingZeros64(v)))
		}
	}
	return dst
}

// runs counts the maximal stretches of elements: their first ordinals.
func (w *Words) runs() int {
	n, last := 0, uint64(0)
	for _, v := range w {
		n += bits.OnesCount64(v &^ (v<<1 | last))
		last = v >> 63
	}
	return n
}

// setRange adds first to last, both included.
func (w *Words) setRange(first, last int) {
	i, j := first>>6, last>>6
	head, tail := ^uint64(0)<<(first&63), ^uint64(0)>>(63-last&63)
	if i == j {
		w[i] |= head & tail
		return
	}
	w[i] |= head
	for k := i + 1; k < j; k++ {
		w[k] = ^uint64(0)
	}
	w[j] |= tail
}

// next returns the first ordinal from at on whose bit differs from those of skip (all
// bits 0 or all 1), or ChunkSize.
func (w *Words) next(at int, skip uint64) int {
	v := (w[at>>6] ^ skip) >> (at & 63) << (at & 63)
	for i := at >> 6; ; {
		if v != 0 {
			return i<<6 | bits.TrailingZeros64(v)
		}
		if i++; i == len(w) {
			return ChunkSize
		}
		v = w[i] ^ skip
	}
}

// array returns w's memory as an array for a result.
func (w *Words) array() *[MaxSparse]uint16 { return (*[MaxSparse]uint16)(unsafe.Pointer(w)) }

// backs reports whether a lies in w's memory.
func backs(w *Words, a []uint16) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(a)))
	start := uintptr(unsafe.Pointer(w))
	return at >= start && at < start+unsafe.Sizeof(*w)
}
