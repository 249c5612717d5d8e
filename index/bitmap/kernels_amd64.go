//go:build !purego

package bitmap

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg bitmap"

// level is a set of machine instructions. Kernels take it as an argument, so that tests
// can run each level that the machine has.
type level uint8

const (
	levelGo     level = iota
	levelAVX2         // and nothing newer
	levelAVX512       // F, BW, DQ, VL, VBMI and VPOPCNTDQ, and BMI2: Ice Lake, Zen 4 and later
)

// machine is the best level here. It never changes.
var machine = levels()[0] //tidy:constant

// levels returns the levels that this machine has, best first.
func levels() []level {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VBMI && x.HasAVX512VPOPCNTDQ && x.HasAVX2 && x.HasBMI2:
		return []level{levelAVX512, levelAVX2, levelGo}
	case x.HasAVX2:
		return []level{levelAVX2, levelGo}
	}
	return []level{levelGo}
}

func countWords(l level, a *Words) int {
	switch l {
	case levelAVX512:
		return countAVX512(&a[0])
	case levelAVX2:
		return countAVX2(&a[0])
	}
	return countGo(a)
}

func andWords(l level, dst, a, b *Words) uint64 {
	switch l {
	case levelAVX512:
		return andAVX512(&dst[0], &a[0], &b[0])
	case levelAVX2:
		return andAVX2(&dst[0], &a[0], &b[0])
	}
	return andGo(dst, a, b)
}

func andNotWords(l level, dst, a, b *Words) uint64 {
	switch l {
	case levelAVX512:
		return andNotAVX512(&dst[0], &a[0], &b[0])
	case levelAVX2:
		return andNotAVX2(&dst[0], &a[0], &b[0])
	}
	return andNotGo(dst, a, b)
}

func orWords(l level, dst, a, b *Words) {
	switch l {
	case levelAVX512:
		orAVX512(&dst[0], &a[0], &b[0])
	case levelAVX2:
		orAVX2(&dst[0], &a[0], &b[0])
	default:
		orGo(dst, a, b)
	}
}

func countOperands(l level, o *operands) int {
	switch l {
	case levelAVX512:
		return countOperandsAVX512(o.first(), o.npos, o.n)
	case levelAVX2:
		return countOperandsAVX2(o.first(), o.npos, o.n)
	}
	return countOperandsGo(o)
}

func andOperands(l level, dst *Words, o *operands) uint64 {
	switch l {
	case levelAVX512:
		return andOperandsAVX512(&dst[0], o.first(), o.npos, o.n)
	case levelAVX2:
		return andOperandsAVX2(&dst[0], o.first(), o.npos, o.n)
	}
	return andOperandsGo(dst, o)
}

// first returns the operands as the assembly takes them: pointers to first words.
func (o *operands) first() **uint64 { return (**uint64)(unsafe.Pointer(&o.words[0])) }

// planesBetween compares the planes from first on with two bounds; see planesGo.
func planesBetween(l level, dst *Words, p *Planes, first int, low, high uint64) uint64 {
	if l == levelGo || first == p.n {
		return planesGo(dst, p, first, low, high)
	}
	var masks [2 * maxPlanes]uint64
	for k := first; k < p.n; k++ {
		masks[2*k], masks[2*k+1] = low>>k&1-1, high>>k&1-1
	}
	exists, planes := &p.mem[0], &p.mem[(1+first)*WordsPerSet]
	if l == levelAVX512 {
		return planesAVX512(&dst[0], exists, planes, &masks[2*first], p.n-first)
	}
	return planesAVX2(&dst[0], exists, planes, &masks[2*first], p.n-first)
}

// filterWords does the first elements of filter: it returns how many it looked at, and
// how many it kept.
func filterWords(l level, out *[MaxSparse]uint16, a []uint16, w *Words, not uint64) (done, kept int) {
	if n := min(len(a), MaxSparse) / 16; n > 0 && l == levelAVX512 {
		return 16 * n, filterAVX512(&out[0], &a[0], n, &w[0], -not)
	}
	return 0, 0
}

// The column kernels return how many values they did: a multiple of 64.

func betweenU8(l level, col []uint8, lo, hi uint8, dst []uint64) int {
	n := blocks(len(col), dst)
	switch {
	case n == 0:
	case l == levelAVX512:
		betweenU8AVX512(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	case l == levelAVX2:
		betweenU8AVX2(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	}
	return 0
}

func betweenU16(l level, col []uint16, lo, hi uint16, dst []uint64) int {
	n := blocks(len(col), dst)
	switch {
	case n == 0:
	case l == levelAVX512:
		betweenU16AVX512(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	case l == levelAVX2:
		betweenU16AVX2(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	}
	return 0
}

func betweenU32(l level, col []uint32, lo, hi uint32, dst []uint64) int {
	n := blocks(len(col), dst)
	switch {
	case n == 0:
	case l == levelAVX512:
		betweenU32AVX512(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	case l == levelAVX2:
		betweenU32AVX2(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	}
	return 0
}

func betweenU64(l level, col []uint64, lo, hi uint64, dst []uint64) int {
	n := blocks(len(col), dst)
	switch {
	case n == 0:
	case l == levelAVX512:
		betweenU64AVX512(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	case l == levelAVX2:
		betweenU64AVX2(&col[0], n, lo, hi-lo, &dst[0])
		return 64 * n
	}
	return 0
}

// unpack returns how many of n numbers of size bytes it unpacked to dst: the packed bytes
// hold all of them, the first from a bit of the first byte on.
func unpack(l level, dst unsafe.Pointer, size, n int, packed []byte, bit, width int) int {
	if l != levelAVX512 || width == 0 || n < 8 {
		return 0
	}
	_ = packed[(bit+n*width+7)/8-1]
	from := &packed[0]
	switch {
	case size == 1 && width <= 8:
		unpackU8AVX512((*uint8)(dst), from, n/64, bit, width)
		return n &^ 63
	case size == 2 && width <= 16:
		unpackU16AVX512((*uint16)(dst), from, n/16, bit, width)
		return n &^ 15
	case size == 4 && width <= 25:
		unpackU32AVX512((*uint32)(dst), from, n/16, bit, width)
		return n &^ 15
	case size == 4 && width <= 32:
		unpackWideU32AVX512((*uint32)(dst), from, n/8, bit, width)
		return n &^ 7
	case size == 8 && width <= 57:
		unpackU64AVX512((*uint64)(dst), from, n/8, bit, width)
		return n &^ 7
	}
	return 0
}

// ascend returns how many gaps it turned into numbers, a multiple of 32, and their sum.
func ascend(l level, gaps []uint16, next int) (done, sum int) {
	if n := len(gaps) / 32; n > 0 && l == levelAVX512 {
		return 32 * n, ascendAVX512(&gaps[0], n, next)
	}
	return 0, 0
}

// positions returns how many words it did, and how many positions it wrote.
func positions(l level, dst []uint16, words []uint64, first int) (done, n int) {
	if l != levelAVX512 || len(words) == 0 {
		return 0, 0
	}
	_ = dst[64*len(words)+15] // the assembly does not look
	return len(words), positionsAVX512(&dst[0], &words[0], len(words), first)
}

// deposit reports whether it did what depositGo does.
func deposit(l level, dst, members *Words, ranks []uint64) bool {
	if l == levelAVX512 {
		depositAVX512(&dst[0], &members[0], &ranks[0])
		return true
	}
	return false
}

// blocks returns how many whole blocks of 64 values there are, and makes sure that dst
// has a word for each: the assembly does not look.
func blocks(values int, dst []uint64) int {
	n := values / 64
	_ = dst[:n]
	return n
}
