// Command asm writes the amd64 kernels of package bitmap: run "go generate" there.
//
// Conventions: every pointer is to the first word; set kernels take sets of 8 KiB; column
// kernels take whole blocks of 64 values and subtract lo first, so that one unsigned
// comparison with span = hi - lo answers lo <= v <= hi. A function that writes words
// returns something that is not 0 if any word is not 0.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const setBytes = 8192

func main() {
	ConstraintExpr("amd64,!purego")
	for _, s := range []isa{avx512{}, newAVX2()} {
		setKernel(s, "and", s.and)
		setKernel(s, "andNot", s.andNot)
		setKernel(s, "or", s.or)
		countKernel(s)
		operandsKernel(s, false)
		operandsKernel(s, true)
		planesKernel(s)
	}
	columns512()
	filter512()
	unpack512()
	ascend512()
	positions512()
	deposit512()
	columns2()
	Generate()
}

// isa is a level of instructions: registers of width bytes and what to do with them.
type isa interface {
	suffix() string
	width() int
	vec() reg.VecVirtual
	load(m Mem, v reg.Register)
	store(v reg.Register, m Mem)
	ones(v reg.Register)
	zero(v reg.Register)
	and(m Mem, acc reg.Register)    // acc &= m
	andNot(m Mem, acc reg.Register) // acc &^= m
	or(m Mem, acc reg.Register)     // acc |= m
	orReg(v, acc reg.Register)
	clear(v, acc reg.Register)                      // acc &^= v
	majority(a, b, acc reg.Register)                // acc = the majority of the three, bit by bit
	popcount(acc reg.Register) func(v reg.Register) // adds bits of v to 8-byte sums in acc, spoils v
	sum(acc reg.Register) reg.GPVirtual             // of the 8-byte lanes
	any(acc reg.Register) reg.GPVirtual
}

// unroll is how many registers a step works on.
const unroll = 4

func at(base reg.Register, index reg.Register, disp int) Mem {
	return Mem{Base: base, Index: index, Scale: 1, Disp: disp}
}

// each runs the body for every step of a set, with the offset in a register.
func each(s isa, label string, body func(off reg.GPVirtual)) {
	off := GP64()
	XORQ(off, off)
	Label(label)
	body(off)
	ADDQ(U32(unroll*s.width()), off)
	CMPQ(off, U32(setBytes))
	JNE(LabelRef(label))
}

func vecs(s isa, n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = s.vec()
	}
	return v
}

func setKernel(s isa, name string, op func(m Mem, acc reg.Register)) {
	TEXT(name+s.suffix(), NOSPLIT, "func(dst, a, b *uint64) uint64")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	any := vecs(s, 2)
	for _, v := range any {
		s.zero(v)
	}
	v := vecs(s, unroll)
	each(s, "step", func(off reg.GPVirtual) {
		for i := range v {
			s.load(at(a, off, i*s.width()), v[i])
		}
		for i := range v {
			op(at(b, off, i*s.width()), v[i])
		}
		for i := range v {
			s.store(v[i], at(dst, off, i*s.width()))
			s.orReg(v[i], any[i%2])
		}
	})
	s.orReg(any[1], any[0])
	Store(s.any(any[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func countKernel(s isa) {
	TEXT("count"+s.suffix(), NOSPLIT, "func(a *uint64) int")
	Pragma("noescape")
	a := Load(Param("a"), GP64())
	sums := vecs(s, 2)
	v := vecs(s, unroll)
	var add [2]func(reg.Register)
	for i := range sums {
		s.zero(sums[i])
		add[i] = s.popcount(sums[i])
	}
	each(s, "step", func(off reg.GPVirtual) {
		for i := range v {
			s.load(at(a, off, i*s.width()), v[i])
			add[i%2](v[i])
		}
	})
	addLanes(s, sums[1], sums[0])
	Store(s.sum(sums[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// operandsKernel combines the first npos of n sets by and, the rest by and-not; it counts
// the result or writes it. The result of a step stays in registers.
func operandsKernel(s isa, count bool) {
	var dst reg.Register
	if count {
		TEXT("countOperands"+s.suffix(), NOSPLIT, "func(words **uint64, npos, n int) int")
	} else {
		TEXT("andOperands"+s.suffix(), NOSPLIT, "func(dst *uint64, words **uint64, npos, n int) uint64")
		dst = Load(Param("dst"), GP64())
	}
	Pragma("noescape")
	words := Load(Param("words"), GP64())
	npos := Load(Param("npos"), GP64())
	n := Load(Param("n"), GP64())
	acc := vecs(s, 2) // counts, or the or of all
	var add [2]func(reg.Register)
	for i := range acc {
		s.zero(acc[i])
		if count {
			add[i] = s.popcount(acc[i])
		}
	}
	v := vecs(s, unroll)
	j, p := GP64(), GP64()
	each(s, "step", func(off reg.GPVirtual) {
		for i := range v {
			s.ones(v[i])
		}
		XORQ(j, j)
		operandLoop("positive", "negatives", words, j, npos, p, func() {
			for i := range v {
				s.and(at(p, off, i*s.width()), v[i])
			}
		})
		operandLoop("negative", "combined", words, j, n, p, func() {
			for i := range v {
				s.andNot(at(p, off, i*s.width()), v[i])
			}
		})
		for i := range v {
			if count {
				add[i%2](v[i])
				continue
			}
			s.store(v[i], at(dst, off, i*s.width()))
			s.orReg(v[i], acc[i%2])
		}
	})
	if count {
		addLanes(s, acc[1], acc[0])
		Store(s.sum(acc[0]), ReturnIndex(0))
	} else {
		s.orReg(acc[1], acc[0])
		Store(s.any(acc[0]), ReturnIndex(0))
	}
	VZEROUPPER()
	RET()
}

// operandLoop runs the body for words[j] up to words[end-1].
func operandLoop(label, done string, words, j, end, p reg.Register, body func()) {
	Label(label)
	CMPQ(j, end)
	JGE(LabelRef(done))
	MOVQ(Mem{Base: words, Index: j, Scale: 8}, p)
	body()
	INCQ(j)
	JMP(LabelRef(label))
	Label(done)
}

func addLanes(s isa, from, to reg.Register) { VPADDQ(from, to, to) }
