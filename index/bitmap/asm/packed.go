package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unpacked is a kernel over packed numbers: it puts the bytes in which each number lies
// into a lane of its own, shifts and masks it there, and stores the lanes narrowed.
type unpacked struct {
	name  string // of the numbers it writes
	size  int    // their bytes
	lanes int    // numbers of a group
	wide  bool   // lanes have 64 bits instead of 32
	store func(v reg.VecVirtual, m Mem)
}

// unpack512 makes the kernels for numbers of at most 8, 16, 25, 32 and 57 bits: shifted by
// up to 7, more of them would not fit their lane.
func unpack512() {
	wide := newLaneData("lanes64", func(i int) uint64 { return uint64(i) }, 7, 0x0101010101010101, 0x0706050403020100)
	narrow := newLaneData("lanes32", func(i int) uint64 { return uint64(2*i) | uint64(2*i+1)<<32 }, 7<<32|7, 0x0101010101010101, 0x0302010003020100)
	unpackBytes512(wide)
	for _, u := range []unpacked{
		{"U16", 2, 16, false, func(v reg.VecVirtual, m Mem) { VPMOVDW(v, m) }},
		{"U32", 4, 16, false, func(v reg.VecVirtual, m Mem) { VMOVDQU32(v, m) }},
		{"WideU32", 4, 8, true, func(v reg.VecVirtual, m Mem) { VPMOVQD(v, m) }},
		{"U64", 8, 8, true, func(v reg.VecVirtual, m Mem) { VMOVDQU64(v, m) }},
	} {
		if u.wide {
			unpackKernel512(u, wide)
		} else {
			unpackKernel512(u, narrow)
		}
	}
}

// packed is the frame of these kernels: the parameters, and the loop over groups of lanes
// numbers, which read no byte but those that have one of their bits.
func packed(name, kind string, size, lanes int, setup func(bit, width reg.GPVirtual), group func(v reg.VecVirtual, to Mem)) {
	TEXT("unpack"+name+"AVX512", NOSPLIT, "func(dst *"+kind+", packed *byte, groups, bit, width int)")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	from := Load(Param("packed"), GP64())
	groups := Load(Param("groups"), GP64())
	bit, width := GP64(), GP64()
	Load(Param("bit"), bit)
	Load(Param("width"), width)
	setup(bit, width)
	bytes, ones, mask := GP64(), GP64(), K()
	IMUL3Q(Imm(uint64(lanes)), width, bytes)
	ADDQ(bit, bytes)
	ADDQ(Imm(7), bytes)
	SHRQ(Imm(3), bytes)
	NEGQ(bytes) // a shift takes it modulo 64
	MOVQ(I32(-1), ones)
	SHRXQ(bytes, ones, ones)
	KMOVQ(ones, mask)
	step := GP64()
	IMUL3Q(Imm(uint64(lanes)), width, step)
	SHRQ(Imm(3), step)
	v := ZMM()
	countDown(groups, func() {
		VMOVDQU8_Z(Mem{Base: from}, mask, v)
		group(v, Mem{Base: dst})
		ADDQ(step, from)
		ADDQ(U32(uint32(lanes*size)), dst)
	})
	VZEROUPPER()
	RET()
}

func unpackKernel512(u unpacked, data laneData) {
	at, shift, mask := ZMM(), ZMM(), ZMM()
	kind := "uint" + u.name[len(u.name)-2:]
	packed(u.name, kind, u.size, u.lanes, func(bit, width reg.GPVirtual) {
		w := ZMM()
		if u.wide {
			VPBROADCASTQ(width, w)
			VPMULLQ(data.number, w, w)
			VPBROADCASTQ(bit, at)
			VPADDQ(at, w, w) // the bit at which each lane begins
			VPANDQ(data.seven, w, shift)
			VPSRLQ(Imm(3), w, w)
			VPMULLQ(data.ones, w, w)
			VPADDB(data.bytes, w, at)
			VPBROADCASTQ(onesOf(width), mask)
			return
		}
		VPBROADCASTD(width.As32(), w)
		VPMULLD(data.number, w, w)
		VPBROADCASTD(bit.As32(), at)
		VPADDD(at, w, w)
		VPANDD(data.seven, w, shift)
		VPSRLD(Imm(3), w, w)
		VPMULLD(data.ones, w, w)
		VPADDB(data.bytes, w, at)
		VPBROADCASTD(onesOf(width).As32(), mask)
	}, func(v reg.VecVirtual, to Mem) {
		VPERMB(v, at, v)
		if u.wide {
			VPSRLVQ(shift, v, v)
		} else {
			VPSRLVD(shift, v, v)
		}
		VPANDQ(mask, v, v)
		u.store(v, to)
	})
}

// unpackBytes512 makes bytes: eight numbers lie in eight bytes, of which one instruction
// takes any eight bits for each.
func unpackBytes512(data laneData) {
	at, shift, mask := ZMM(), ZMM(), ZMM()
	packed("U8", "uint8", 1, 64, func(bit, width reg.GPVirtual) {
		w := ZMM()
		VPBROADCASTQ(width, at)
		VPMULLQ(data.number, at, at)
		VPMULLQ(data.ones, at, at)
		VPADDB(data.bytes, at, at)
		VPBROADCASTQ(width, w)
		VPMULLQ(data.bytes, w, w) // no carry: 7 * 8 fits a byte
		VPBROADCASTB(bit.As32(), shift)
		VPADDB(w, shift, shift)
		VPBROADCASTB(onesOf(width).As32(), mask)
	}, func(v reg.VecVirtual, to Mem) {
		VPERMB(v, at, v)
		VPMULTISHIFTQB(v, shift, v)
		VPANDQ(mask, v, v)
		VMOVDQU64(v, to)
	})
}

// onesOf returns a register whose low width bits are set.
func onesOf(width reg.GPVirtual) reg.GPVirtual {
	ones := GP64()
	MOVQ(I32(-1), ones)
	BZHIQ(width, ones, ones)
	return ones
}

// laneData are constants for lanes of 64 or 32 bits: the number of each, 7, a 1 in each of
// its bytes, and the number of each of its bytes.
type laneData struct{ number, seven, ones, bytes Mem }

func newLaneData(name string, number func(i int) uint64, seven, ones, bytes uint64) laneData {
	data := func(what string, word func(i int) uint64) Mem {
		m := GLOBL(name+what, RODATA|NOPTR)
		for i := range 8 {
			DATA(8*i, U64(word(i)))
		}
		return m
	}
	always := func(w uint64) func(int) uint64 { return func(int) uint64 { return w } }
	return laneData{data("Number", number), data("Seven", always(seven)), data("Ones", always(ones)), data("Bytes", always(bytes))}
}
