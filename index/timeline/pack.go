package timeline

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
)

// slack is how many bytes follow the pieces of a row: a packed number is read by one load
// of 8 bytes from the byte in which it begins.
const slack = 8

// maxWidth is the widest number that such a load holds whole, wherever it begins; wider
// ones take 64 bits, and begin with a byte.
const maxWidth = 57

// widthOf returns the bits in which numbers up to top are packed.
func widthOf(top uint64) int {
	if n := bits.Len64(top); n <= maxWidth {
		return n
	}
	return 64
}

// packedSize returns the bytes that n numbers of a width take.
func packedSize(n, width int) int { return (n*width + 7) / 8 }

// pack appends numbers in a width. Each must fit.
func pack[T uint16 | uint64](dst []byte, numbers []T, width int) []byte {
	if width == 64 {
		for _, v := range numbers {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
		return dst
	}
	acc, fill := uint64(0), 0
	for _, v := range numbers {
		acc |= uint64(v) << fill
		if fill += width; fill >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			fill -= 64
			acc = uint64(v) >> (width - fill) // what was shifted out
		}
	}
	for ; fill > 0; fill -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

// number returns packed number i of b, which has slack.
func number(b []byte, i, width int) uint64 {
	if width == 0 {
		return 0
	}
	at := i * width
	return binary.LittleEndian.Uint64(b[at>>3:]) >> (at & 7) & (^uint64(0) >> (64 - width))
}

// unpack writes the packed numbers of b from first on to dst, whose type holds them. b
// has slack.
func unpack[T uint8 | uint16 | uint32 | uint64](dst []T, b []byte, first, width int) {
	if width == 0 {
		clear(dst)
		return
	}
	done := bitmap.Unpack(dst, b, first, width)
	n := len(dst) &^ 7
	if n > done {
		bit := (first + done) * width
		_ = b[(bit+(n-done)*width-1)>>3+slack-1] // no load of unpackGroups goes further
		unpackGroups(dst[done:n], unsafe.Pointer(&b[bit>>3]), bit&7, width)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = T(number(b, first+i, width))
	}
}

// unpackGroups unpacks numbers that begin at a bit of *p, in groups of eight: these take
// whole bytes together, so the places of the eight within their group are always the same.
func unpackGroups[T uint8 | uint16 | uint32 | uint64](dst []T, p unsafe.Pointer, bit, width int) {
	var at [8]uintptr
	var shift [8]uint
	for k := range at {
		at[k], shift[k] = uintptr((bit+k*width)>>3), uint((bit+k*width)&7)
	}
	mask := ^uint64(0) >> (64 - width)
	for ; len(dst) >= 8; dst = dst[8:] {
		o := (*[8]T)(dst)
		o[0] = T(load(p, at[0]) >> (shift[0] & 63) & mask)
		o[1] = T(load(p, at[1]) >> (shift[1] & 63) & mask)
		o[2] = T(load(p, at[2]) >> (shift[2] & 63) & mask)
		o[3] = T(load(p, at[3]) >> (shift[3] & 63) & mask)
		o[4] = T(load(p, at[4]) >> (shift[4] & 63) & mask)
		o[5] = T(load(p, at[5]) >> (shift[5] & 63) & mask)
		o[6] = T(load(p, at[6]) >> (shift[6] & 63) & mask)
		o[7] = T(load(p, at[7]) >> (shift[7] & 63) & mask)
		p = unsafe.Add(p, width) // at the end still in the slack
	}
}

// load reads the 8 bytes at p+at.
func load(p unsafe.Pointer, at uintptr) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(p, at))[:])
}
