package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planesKernel compares bit-sliced values with two bounds, from the lowest plane up. With
// x the plane and c the bound's bit, v >= bound is s & x where c is 1 and s | x where it
// is 0, which is the majority of s, x and not c; it begins with all ones. v > bound is the
// same and begins with zeros. masks holds, per plane, not c of the lower and of the upper
// bound, as words. The result is exists, and not below, and not above.
func planesKernel(s isa) {
	TEXT("planes"+s.suffix(), NOSPLIT, "func(dst, exists, planes, masks *uint64, n int) uint64")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	exists := Load(Param("exists"), GP64())
	planes := Load(Param("planes"), GP64())
	masks := Load(Param("masks"), GP64())
	n := Load(Param("n"), GP64())
	any := s.vec()
	s.zero(any)
	x, low, high := s.vec(), s.vec(), s.vec()
	ge, gt := vecs(s, unroll), vecs(s, unroll)
	plane, mask, left := GP64(), GP64(), GP64()
	each(s, "step", func(off reg.GPVirtual) {
		for i := range ge {
			s.ones(ge[i])
			s.zero(gt[i])
		}
		LEAQ(at(planes, off, 0), plane)
		MOVQ(masks, mask)
		MOVQ(n, left)
		Label("plane")
		TESTQ(left, left)
		JZ(LabelRef("compared"))
		VPBROADCASTQ(Mem{Base: mask}, low)
		VPBROADCASTQ(Mem{Base: mask, Disp: 8}, high)
		for i := range ge {
			s.load(Mem{Base: plane, Disp: i * s.width()}, x)
			s.majority(low, x, ge[i])
			s.majority(high, x, gt[i])
		}
		ADDQ(U32(setBytes), plane)
		ADDQ(Imm(16), mask)
		DECQ(left)
		JMP(LabelRef("plane"))
		Label("compared")
		for i := range ge {
			s.and(at(exists, off, i*s.width()), ge[i])
			s.clear(gt[i], ge[i])
			s.store(ge[i], at(dst, off, i*s.width()))
			s.orReg(ge[i], any)
		}
	})
	Store(s.any(any), ReturnIndex(0))
	VZEROUPPER()
	RET()
}
