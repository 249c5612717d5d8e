package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// column is the frame of a kernel over a column: the parameters and the loop over blocks
// of 64 values.
type column struct {
	col, dst reg.Register
	lo, span reg.Register // 32 or 64 bits, to be broadcast
}

func columnKernel(bits int, suffix string, setup func(c column), block func(c column)) {
	TEXT(fmt.Sprintf("betweenU%d%s", bits, suffix), NOSPLIT,
		fmt.Sprintf("func(col *uint%d, blocks int, lo, span uint%[1]d, dst *uint64)", bits))
	Pragma("noescape")
	c := column{col: Load(Param("col"), GP64())}
	blocks := Load(Param("blocks"), GP64())
	c.lo, c.span = loadWide("lo", bits), loadWide("span", bits)
	c.dst = Load(Param("dst"), GP64())
	setup(c)
	countDown(blocks, func() {
		block(c)
		ADDQ(U32(64*bits/8), c.col)
		ADDQ(Imm(8), c.dst)
	})
	VZEROUPPER()
	RET()
}

// loadWide loads a parameter into a register of at least 32 bits, which is what the
// broadcasts take.
func loadWide(name string, bits int) reg.Register {
	if bits == 64 {
		return Load(Param(name), GP64())
	}
	return Load(Param(name), GP32())
}

// lane is what the instructions for one width of values are called.
type lane struct {
	bits                int
	broadcast, subtract func(...Op)
	compare             func(...Op) // AVX-512, unsigned, with a predicate
	store               func(k, m Op)
	least, equal        func(...Op) // AVX2
}

func lanes() []lane {
	return []lane{
		{8, VPBROADCASTB, VPSUBB, VPCMPUB, KMOVQ, VPMINUB, VPCMPEQB},
		{16, VPBROADCASTW, VPSUBW, VPCMPUW, KMOVD, VPMINUW, VPCMPEQW},
		{32, VPBROADCASTD, VPSUBD, VPCMPUD, KMOVW, VPMINUD, VPCMPEQD},
		{64, VPBROADCASTQ, VPSUBQ, VPCMPUQ, KMOVB, nil, nil},
	}
}

// columns512 compares into mask registers, which are the bits of the result.
func columns512() {
	const lessOrEqual = 2
	for _, l := range lanes() {
		var lo, span, v reg.VecVirtual
		var k reg.OpmaskVirtual
		columnKernel(l.bits, "AVX512", func(c column) {
			lo, span, v, k = ZMM(), ZMM(), ZMM(), K()
			l.broadcast(c.lo, lo)
			l.broadcast(c.span, span)
		}, func(c column) {
			for i := range l.bits / 8 {
				VMOVDQU64(Mem{Base: c.col, Disp: 64 * i}, v)
				l.subtract(lo, v, v)
				l.compare(Imm(lessOrEqual), span, v, k)
				l.store(k, Mem{Base: c.dst, Disp: i * 64 / l.bits})
			}
		})
	}
}

// columns2 has no unsigned comparison: v <= span is min(v, span) == v, and for 8 bytes a
// signed comparison of values whose sign bits are inverted.
func columns2() {
	for _, l := range lanes()[:3] {
		var lo, span reg.VecVirtual
		// inside leaves all ones in the lanes of a register that are within the bounds.
		inside := func(m Mem) reg.VecVirtual {
			v, low := YMM(), YMM()
			VMOVDQU(m, v)
			l.subtract(lo, v, v)
			l.least(span, v, low)
			l.equal(low, v, v)
			return v
		}
		columnKernel(l.bits, "AVX2", func(c column) {
			lo, span = spread(c.lo, l), spread(c.span, l)
		}, func(c column) { columnBits2(c, l.bits, inside) })
	}
	between64AVX2()
}

// spread broadcasts a general register.
func spread(r reg.Register, l lane) reg.VecVirtual {
	x, y := XMM(), YMM()
	if l.bits == 64 {
		VMOVQ(r, x)
	} else {
		VMOVD(r, x)
	}
	l.broadcast(x, y)
	return y
}

// columnBits2 gathers the lanes of a block into bits.
func columnBits2(c column, bits int, inside func(Mem) reg.VecVirtual) {
	r := GP32()
	for i := range 2 * bits / 8 {
		m := Mem{Base: c.col, Disp: 32 * i}
		switch bits {
		case 8:
			VPMOVMSKB(inside(m), r)
			MOVL(r, Mem{Base: c.dst, Disp: 4 * i})
		case 16:
			if i%2 == 1 {
				continue // done with the one before
			}
			a, b := inside(m), inside(Mem{Base: c.col, Disp: 32 * (i + 1)})
			VPACKSSWB(b, a, a)
			VPERMQ(Imm(0xd8), a, a) // the pack works within halves
			VPMOVMSKB(a, r)
			MOVL(r, Mem{Base: c.dst, Disp: 2 * i})
		case 32:
			VMOVMSKPS(inside(m), r)
			MOVB(r.As8(), Mem{Base: c.dst, Disp: i})
		}
	}
}

func between64AVX2() {
	l := lanes()[3]
	var lo, span reg.VecVirtual
	columnKernel(64, "AVX2", func(c column) {
		BTCQ(Imm(63), c.lo) // v - (lo with its sign inverted) is v - lo with its sign inverted
		BTCQ(Imm(63), c.span)
		lo, span = spread(c.lo, l), spread(c.span, l)
	}, func(c column) {
		outside := func(i int) reg.GPVirtual {
			v, r := YMM(), GP32()
			VMOVDQU(Mem{Base: c.col, Disp: 32 * i}, v)
			VPSUBQ(lo, v, v)
			VPCMPGTQ(span, v, v)
			VMOVMSKPD(v, r)
			return r
		}
		for i := range 8 {
			low, high := outside(2*i), outside(2*i+1)
			SHLL(Imm(4), high)
			ORL(high, low)
			NOTL(low)
			MOVB(low.As8(), Mem{Base: c.dst, Disp: i})
		}
	})
}
