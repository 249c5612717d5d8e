//go:build !amd64 || purego

package bitmap

import "unsafe"

// level is a set of machine instructions; without any there is one level.
type level uint8

const levelGo level = 0

const machine = levelGo

func levels() []level { return []level{levelGo} }

func countWords(_ level, a *Words) int                    { return countGo(a) }
func andWords(_ level, dst, a, b *Words) uint64           { return andGo(dst, a, b) }
func andNotWords(_ level, dst, a, b *Words) uint64        { return andNotGo(dst, a, b) }
func orWords(_ level, dst, a, b *Words)                   { orGo(dst, a, b) }
func countOperands(_ level, o *operands) int              { return countOperandsGo(o) }
func andOperands(_ level, dst *Words, o *operands) uint64 { return andOperandsGo(dst, o) }

func planesBetween(_ level, dst *Words, p *Planes, first int, low, high uint64) uint64 {
	return planesGo(dst, p, first, low, high)
}

func filterWords(level, *[MaxSparse]uint16, []uint16, *Words, uint64) (done, kept int) { return 0, 0 }

// The column kernels return how many values they did: a multiple of 64.

func betweenU8(level, []uint8, uint8, uint8, []uint64) int     { return 0 }
func betweenU16(level, []uint16, uint16, uint16, []uint64) int { return 0 }
func betweenU32(level, []uint32, uint32, uint32, []uint64) int { return 0 }
func betweenU64(level, []uint64, uint64, uint64, []uint64) int { return 0 }

func ascend(level, []uint16, int) (done, sum int)                        { return 0, 0 }
func positions(level, []uint16, []uint64, int) (done, n int)             { return 0, 0 }
func deposit(level, *Words, *Words, []uint64) bool                       { return false }
func unpack(_ level, _ unsafe.Pointer, _, _ int, _ []byte, _, _ int) int { return 0 }
