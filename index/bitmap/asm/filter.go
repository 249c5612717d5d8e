package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// filter512 keeps the ordinals of an array whose bit in a set, exclusive or flip, is 1:
// flip is 0, or 0xffff to keep those that are not in the set. It takes blocks of 16 and
// writes 16 places at the end of the result, which are never more than it has read. AVX2
// cannot store selected lanes, and its gathers do not pay.
func filter512() {
	TEXT("filterAVX512", NOSPLIT, "func(out, a *uint16, blocks int, words *uint64, flip uint64) int")
	Pragma("noescape")
	start := Load(Param("out"), GP64())
	a := Load(Param("a"), GP64())
	blocks := Load(Param("blocks"), GP64())
	words := Load(Param("words"), GP64())
	flip := GP64()
	Load(Param("flip"), flip)
	out := GP64()
	MOVQ(start, out)
	flipK, all, k := K(), K(), K()
	KMOVW(flip.As32(), flipK)
	one, low := ZMM(), ZMM()
	r := GP32()
	MOVL(U32(1), r)
	VPBROADCASTD(r, one)
	MOVL(U32(31), r)
	VPBROADCASTD(r, low)
	v, at, got, bit := ZMM(), ZMM(), ZMM(), ZMM()
	n := GP64()
	countDown(blocks, func() {
		VPMOVZXWD(Mem{Base: a}, v)
		VPSRLD(Imm(5), v, at)
		VPANDD(low, v, bit)
		VPSLLVD(bit, one, bit)
		KXNORW(all, all, all) // a gather clears its mask
		VPXORD(got, got, got) // and merges into its result
		VPGATHERDD(Mem{Base: words, Index: at, Scale: 4}, all, got)
		VPTESTMD(bit, got, k)
		KXORW(flipK, k, k)
		VPCOMPRESSD_Z(v, k, v)
		VPMOVDW(v, Mem{Base: out})
		KMOVW(k, n.As32())
		POPCNTL(n.As32(), n.As32())
		LEAQ(Mem{Base: out, Index: n, Scale: 2}, out)
		ADDQ(Imm(32), a)
	})
	SUBQ(start, out)
	SHRQ(Imm(1), out)
	Store(out, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
