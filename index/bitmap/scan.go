package bitmap

import "unsafe"

// BetweenU8 sets bit i of dst where lo <= col[i] <= hi, and clears the others. dst must
// have at least (len(col)+63)/64 words; so many are written fully.
func BetweenU8(col []uint8, lo, hi uint8, dst []uint64) {
	if lo > hi {
		clear(dst[:wordsFor(len(col))])
		return
	}
	done := betweenU8(machine, col, lo, hi, dst)
	betweenGo(col[done:], lo, hi, dst[done/64:])
}

// BetweenU16 is [BetweenU8] for a column of 2 bytes.
func BetweenU16(col []uint16, lo, hi uint16, dst []uint64) {
	if lo > hi {
		clear(dst[:wordsFor(len(col))])
		return
	}
	done := betweenU16(machine, col, lo, hi, dst)
	betweenGo(col[done:], lo, hi, dst[done/64:])
}

// BetweenU32 is [BetweenU8] for a column of 4 bytes.
func BetweenU32(col []uint32, lo, hi uint32, dst []uint64) {
	if lo > hi {
		clear(dst[:wordsFor(len(col))])
		return
	}
	done := betweenU32(machine, col, lo, hi, dst)
	betweenGo(col[done:], lo, hi, dst[done/64:])
}

// BetweenU64 is [BetweenU8] for a column of 8 bytes.
func BetweenU64(col []uint64, lo, hi uint64, dst []uint64) {
	if lo > hi {
		clear(dst[:wordsFor(len(col))])
		return
	}
	done := betweenU64(machine, col, lo, hi, dst)
	betweenGo(col[done:], lo, hi, dst[done/64:])
}

// BetweenI64 is [BetweenU8] for a column of signed numbers of 8 bytes.
func BetweenI64(col []int64, lo, hi int64, dst []uint64) {
	n := wordsFor(len(col))
	if lo > hi {
		clear(dst[:n])
		return
	}
	stored := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(col))), len(col))
	if (lo < 0) == (hi < 0) {
		BetweenU64(stored, uint64(lo), uint64(hi), dst)
		return
	}
	BetweenU64(stored, uint64(hi)+1, uint64(lo)-1, dst) // the others: negative numbers are the greatest here
	for i := range dst[:n] {
		dst[i] = ^dst[i]
	}
	if len(col)&63 != 0 {
		dst[n-1] &= 1<<(len(col)&63) - 1
	}
}

// Unpack writes to dst the numbers that are packed in b one after the other, each in width
// bits from its lowest on; first is the number of the one with which dst begins. It does as
// many of them as this machine has instructions for, and returns how many: perhaps none.
// The others are the caller's. It reads no byte that has no bit of what it writes.
func Unpack[T uint8 | uint16 | uint32 | uint64](dst []T, b []byte, first, width int) int {
	bit := first * width
	return unpack(machine, unsafe.Pointer(unsafe.SliceData(dst)), int(unsafe.Sizeof(T(0))), len(dst), b[bit>>3:], bit&7, width)
}

// wordsFor returns how many words hold n bits.
func wordsFor(n int) int { return (n + 63) / 64 }

// betweenGo is the kernel in plain Go, and does the last values of a column, which are
// no full word, for the others. lo must be at most hi.
func betweenGo[T uint8 | uint16 | uint32 | uint64](col []T, lo, hi T, dst []uint64) {
	span := hi - lo // one unsigned comparison does for two: below lo wraps to a large number
	for len(col) >= 64 {
		w := uint64(0)
		for i := 0; i < 64; i += 8 {
			v := (*[8]T)(col[i:])
			w |= (bit(v[0]-lo <= span) | bit(v[1]-lo <= span)<<1 | bit(v[2]-lo <= span)<<2 | bit(v[3]-lo <= span)<<3 |
				bit(v[4]-lo <= span)<<4 | bit(v[5]-lo <= span)<<5 | bit(v[6]-lo <= span)<<6 | bit(v[7]-lo <= span)<<7) << i
		}
		dst[0] = w
		col, dst = col[64:], dst[1:]
	}
	if len(col) > 0 {
		w := uint64(0)
		for i, v := range col {
			w |= bit(v-lo <= span) << i
		}
		dst[0] = w
	}
}

// bit is 1 for true; the compiler makes no jump of it.
func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
