package bitmap

import "math/bits"

// The kernels in plain Go: what machines without SIMD run, and what the others are
// tested against. Those that write return the or of all words they wrote, so that a
// caller sees an empty result without counting it.

func countGo(a *Words) int {
	n := 0
	for _, v := range a {
		n += bits.OnesCount64(v)
	}
	return n
}

func andGo(dst, a, b *Words) uint64 {
	any := uint64(0)
	for i := range dst {
		v := a[i] & b[i]
		dst[i] = v
		any |= v
	}
	return any
}

func andNotGo(dst, a, b *Words) uint64 {
	any := uint64(0)
	for i := range dst {
		v := a[i] &^ b[i]
		dst[i] = v
		any |= v
	}
	return any
}

func orGo(dst, a, b *Words) {
	for i := range dst {
		dst[i] = a[i] | b[i]
	}
}

// notWords writes the complement of a. No level has a faster one: it is rare.
func notWords(dst, a *Words) uint64 {
	any := uint64(0)
	for i := range dst {
		dst[i] = ^a[i]
		any |= dst[i]
	}
	return any
}

// countOperandsGo counts 64 words at a time, so that the partial result stays in
// registers and the first cache level.
func countOperandsGo(o *operands) int {
	n := 0
	var part [64]uint64
	for at := 0; at < WordsPerSet; at += len(part) {
		o.slice(&part, at)
		for _, v := range part {
			n += bits.OnesCount64(v)
		}
	}
	return n
}

func andOperandsGo(dst *Words, o *operands) uint64 {
	any := uint64(0)
	var part [64]uint64 // not in dst, which may be an operand
	for at := 0; at < WordsPerSet; at += len(part) {
		o.slice(&part, at)
		for i, v := range part {
			dst[at+i] = v
			any |= v
		}
	}
	return any
}

// slice combines words at..at+63 of all operands, up to three in a pass; a group that is
// not full repeats one of its members, which changes nothing.
func (o *operands) slice(part *[64]uint64, at int) {
	from := func(i, end int) *[64]uint64 { return (*[64]uint64)(o.words[min(i, end-1)][at:]) }
	if o.npos == 0 {
		for i := range part {
			part[i] = ^uint64(0)
		}
	} else {
		*part = *from(0, o.npos)
	}
	for k := 1; k < o.npos; k += 3 {
		a, b, c := from(k, o.npos), from(k+1, o.npos), from(k+2, o.npos)
		for i := range part {
			part[i] &= a[i] & b[i] & c[i]
		}
	}
	for k := o.npos; k < o.n; k += 3 {
		a, b, c := from(k, o.n), from(k+1, o.n), from(k+2, o.n)
		for i := range part {
			part[i] &^= a[i] | b[i] | c[i]
		}
	}
}

// planesGo compares bit-sliced values with two bounds, from plane first up. With x the
// plane, v >= bound so far is s & x where the bound has a 1, s | x where it has a 0. It
// goes plane by plane over 64 words, which stay in the first cache level.
func planesGo(dst *Words, p *Planes, first int, low, high uint64) uint64 {
	any := uint64(0)
	var ge, gt [64]uint64
	for at := 0; at < WordsPerSet; at += 64 {
		for i := range ge {
			ge[i], gt[i] = ^uint64(0), 0
		}
		for k := first; k < p.n; k++ {
			planeStep(&ge, &gt, (*[64]uint64)(p.words(k + 1)[at:]), low>>k&1, high>>k&1)
		}
		exists, out := (*[64]uint64)(p.mem[at:]), (*[64]uint64)(dst[at:])
		for i := range out {
			out[i] = exists[i] & ge[i] &^ gt[i]
			any |= out[i]
		}
	}
	return any
}

func planeStep(ge, gt, x *[64]uint64, low, high uint64) {
	switch low<<1 | high {
	case 0:
		for i, v := range x {
			ge[i] |= v
			gt[i] |= v
		}
	case 1:
		for i, v := range x {
			ge[i] |= v
			gt[i] &= v
		}
	case 2:
		for i, v := range x {
			ge[i] &= v
			gt[i] |= v
		}
	case 3:
		for i, v := range x {
			ge[i] &= v
			gt[i] &= v
		}
	}
}
