package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ascend512 turns the gaps between ascending numbers into the numbers, 32 at a time: each
// is next, its place, and its gap and those before it. Sums of lanes are made by adding
// what lies 1, 2, 4, 8 and 16 lanes before. It returns the sum of the gaps, which tells
// whether a number was too large for its lane.
func ascend512() {
	TEXT("ascendAVX512", NOSPLIT, "func(gaps *uint16, blocks int, next int) int")
	Pragma("noescape")
	p := Load(Param("gaps"), GP64())
	blocks := Load(Param("blocks"), GP64())
	next := GP64()
	Load(Param("next"), next)
	place := GLOBL("places16", RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(uint64(4*i)|uint64(4*i+1)<<16|uint64(4*i+2)<<32|uint64(4*i+3)<<48))
	}
	places, carry, v, t, one := ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VMOVDQU16(place, places)
	VPBROADCASTW(next.As32(), carry)
	r := GP32()
	constant := func(n uint32, to reg.VecVirtual) {
		MOVL(U32(n), r)
		VPBROADCASTW(r, to)
	}
	constant(1, one)
	var before [5]reg.VecVirtual
	var has [5]reg.OpmaskVirtual
	for i := range before {
		before[i], has[i] = ZMM(), K()
		constant(1<<i, t)
		VPSUBW(t, places, before[i])
		MOVL(U32(^uint32(0)<<(1<<i)), r)
		KMOVD(r, has[i])
	}
	last, zero, all, high := ZMM(), ZMM(), ZMM(), ZMM()
	constant(31, last)
	for _, v := range []reg.VecVirtual{zero, all, high} {
		VPXORQ(v, v, v)
	}
	countDown(blocks, func() {
		VMOVDQU16(Mem{Base: p}, v)
		VPSADBW(zero, v, t) // the bytes, and the high ones once more: 255 of them are missing
		VPADDQ(t, all, all)
		VPSRLW(Imm(8), v, t)
		VPSADBW(zero, t, t)
		VPADDQ(t, high, high)
		for i := range before {
			VPERMW_Z(v, before[i], has[i], t)
			VPADDW(t, v, v)
		}
		VPADDW(places, v, v)
		VPADDW(carry, v, v)
		VMOVDQU16(v, Mem{Base: p})
		VPERMW(v, last, carry)
		VPADDW(one, carry, carry)
		ADDQ(Imm(64), p)
	})
	sum, more := avx512{}.sum(all), avx512{}.sum(high)
	IMUL3Q(U32(255), more, more)
	ADDQ(more, sum)
	Store(sum, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// positions512 writes which bits of words are set, first being the number of the first bit:
// 16 places at a time, and so 16 more than there are.
func positions512() {
	TEXT("positionsAVX512", NOSPLIT, "func(dst *uint16, words *uint64, n, first int) int")
	Pragma("noescape")
	start := Load(Param("dst"), GP64())
	words := Load(Param("words"), GP64())
	n := Load(Param("n"), GP64())
	place := GLOBL("places32", RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(uint64(2*i)|uint64(2*i+1)<<32))
	}
	at, v, step, word := ZMM(), ZMM(), ZMM(), ZMM()
	r, dst, w, count, k := GP32(), GP64(), GP64(), GP64(), K()
	MOVQ(start, dst)
	first := GP64()
	Load(Param("first"), first)
	VPBROADCASTD(first.As32(), at)
	VPADDD(place, at, at)
	MOVL(U32(16), r)
	VPBROADCASTD(r, step)
	MOVL(U32(64), r)
	VPBROADCASTD(r, word)
	Label("word")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	MOVQ(Mem{Base: words}, w)
	ADDQ(Imm(8), words)
	DECQ(n)
	VMOVDQA32(at, v)
	VPADDD(word, at, at)
	Label("bits")
	TESTQ(w, w)
	JZ(LabelRef("word"))
	KMOVW(w.As32(), k)
	MOVWLZX(w.As16(), count.As32())
	POPCNTL(count.As32(), count.As32())
	got := ZMM()
	VPCOMPRESSD_Z(v, k, got)
	VPMOVDW(got, Mem{Base: dst})
	LEAQ(Mem{Base: dst, Index: count, Scale: 2}, dst)
	VPADDD(step, v, v)
	SHRQ(Imm(16), w)
	JMP(LabelRef("bits"))
	Label("done")
	SUBQ(start, dst)
	SHRQ(Imm(1), dst)
	Store(dst, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// deposit512 adds to a set those members of another whose rank's bit is set.
func deposit512() {
	TEXT("depositAVX512", NOSPLIT, "func(dst, members, ranks *uint64)")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	members := Load(Param("members"), GP64())
	ranks := Load(Param("ranks"), GP64())
	off, rank := GP64(), GP64()
	XORQ(off, off)
	XORQ(rank, rank)
	Label("next")
	m, q, low, high, r := GP64(), GP64(), GP64(), GP64(), GP64()
	MOVQ(at(members, off, 0), m)
	MOVQ(rank, q)
	SHRQ(Imm(6), q)
	SHRXQ(rank, Mem{Base: ranks, Index: q, Scale: 8}, low)
	MOVQ(Mem{Base: ranks, Index: q, Scale: 8, Disp: 8}, high)
	ADDQ(high, high)
	MOVQ(rank, r)
	NOTQ(r) // as a shift it is 63 less the shift of the low bits, and high is shifted by one
	SHLXQ(r, high, high)
	ORQ(high, low)
	PDEPQ(m, low, low)
	ORQ(low, at(dst, off, 0))
	POPCNTQ(m, m)
	ADDQ(m, rank)
	ADDQ(Imm(8), off)
	CMPQ(off, U32(setBytes))
	JNE(LabelRef("next"))
	RET()
}
