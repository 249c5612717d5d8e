package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512 needs F, BW, VL, DQ and VPOPCNTDQ; packed numbers need VBMI and BMI2 too.
type avx512 struct{}

func (avx512) suffix() string              { return "AVX512" }
func (avx512) width() int                  { return 64 }
func (avx512) vec() reg.VecVirtual         { return ZMM() }
func (avx512) load(m Mem, v reg.Register)  { VMOVDQU64(m, v) }
func (avx512) store(v reg.Register, m Mem) { VMOVDQU64(v, m) }
func (avx512) ones(v reg.Register)         { VPTERNLOGQ(Imm(0xff), v, v, v) }
func (avx512) zero(v reg.Register)         { VPXORQ(v, v, v) }
func (avx512) and(m Mem, acc reg.Register) { VPANDQ(m, acc, acc) }
func (avx512) or(m Mem, acc reg.Register)  { VPORQ(m, acc, acc) }
func (avx512) orReg(v, acc reg.Register)   { VPORQ(v, acc, acc) }

// andNot takes the ternary instruction because VPANDNQ inverts the register, not memory:
// 0x50 is acc and not m.
func (avx512) andNot(m Mem, acc reg.Register) { VPTERNLOGQ(Imm(0x50), m, acc, acc) }

func (avx512) clear(v, acc reg.Register) { VPANDNQ(acc, v, acc) }

func (avx512) majority(a, b, acc reg.Register) { VPTERNLOGQ(Imm(0xe8), a, b, acc) }

func (avx512) popcount(acc reg.Register) func(reg.Register) {
	return func(v reg.Register) {
		VPOPCNTQ(v, v)
		VPADDQ(v, acc, acc)
	}
}

func (avx512) sum(acc reg.Register) reg.GPVirtual {
	half := YMM()
	VEXTRACTI64X4(Imm(1), acc, half)
	low := acc.(reg.VecVirtual).AsY()
	VPADDQ(low, half, half)
	return avx2{}.sum(half)
}

func (avx512) any(acc reg.Register) reg.GPVirtual {
	k, r := K(), GP64()
	VPTESTMQ(acc, acc, k)
	KMOVB(k, r.As32())
	return r
}

type avx2 struct {
	nibbles   Mem // bits set in 0 to 15
	lowNibble Mem // 15
}

func (avx2) suffix() string              { return "AVX2" }
func (avx2) width() int                  { return 32 }
func (avx2) vec() reg.VecVirtual         { return YMM() }
func (avx2) load(m Mem, v reg.Register)  { VMOVDQU(m, v) }
func (avx2) store(v reg.Register, m Mem) { VMOVDQU(v, m) }
func (avx2) ones(v reg.Register)         { VPCMPEQD(v, v, v) }
func (avx2) zero(v reg.Register)         { VPXOR(v, v, v) }
func (avx2) and(m Mem, acc reg.Register) { VPAND(m, acc, acc) }
func (avx2) or(m Mem, acc reg.Register)  { VPOR(m, acc, acc) }
func (avx2) orReg(v, acc reg.Register)   { VPOR(v, acc, acc) }

func (avx2) andNot(m Mem, acc reg.Register) {
	v := YMM()
	VMOVDQU(m, v)
	VPANDN(acc, v, acc)
}

func (avx2) clear(v, acc reg.Register) { VPANDN(acc, v, acc) }

// majority is b, with the bits where acc differs from b taken from a.
func (avx2) majority(a, b, acc reg.Register) {
	pick := YMM()
	VPXOR(a, b, pick)
	VPXOR(b, acc, acc)
	VPAND(pick, acc, acc)
	VPXOR(b, acc, acc)
}

// popcount looks up the bits of each half byte (Mula): AVX2 has no instruction for it.
func (s avx2) popcount(acc reg.Register) func(reg.Register) {
	table, mask, zero := YMM(), YMM(), YMM()
	VBROADCASTI128(s.nibbles, table)
	VPBROADCASTB(s.lowNibble, mask)
	VPXOR(zero, zero, zero)
	return func(v reg.Register) {
		low := YMM()
		VPAND(mask, v, low)
		VPSRLW(Imm(4), v, v)
		VPAND(mask, v, v)
		VPSHUFB(low, table, low)
		VPSHUFB(v, table, v)
		VPADDB(low, v, v)
		VPSADBW(zero, v, v)
		VPADDQ(v, acc, acc)
	}
}

func (avx2) sum(acc reg.Register) reg.GPVirtual {
	x := XMM()
	VEXTRACTI128(Imm(1), acc, x)
	VPADDQ(acc.(reg.VecVirtual).AsX(), x, x)
	high := XMM()
	VPSRLDQ(Imm(8), x, high)
	VPADDQ(high, x, x)
	r := GP64()
	VMOVQ(x, r)
	return r
}

func (avx2) any(acc reg.Register) reg.GPVirtual {
	r := GP64()
	XORQ(r, r)
	VPTEST(acc, acc)
	SETNE(r.As8())
	return r
}

// newAVX2 defines the constants that its kernels share.
func newAVX2() avx2 {
	var s avx2
	s.nibbles = GLOBL("nibbles", RODATA|NOPTR)
	for i := range 16 {
		DATA(i, U8(bits.OnesCount(uint(i))))
	}
	s.lowNibble = GLOBL("lowNibble", RODATA|NOPTR)
	DATA(0, U8(15))
	return s
}

// countDown does body n times. n is 0 then.
func countDown(n reg.Register, body func()) {
	Label("block")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	body()
	DECQ(n)
	JMP(LabelRef("block"))
	Label("done")
}
