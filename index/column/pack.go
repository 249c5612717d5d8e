package column

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
)

// widthFor returns the narrowest stored width, in bits, that holds top: a width that
// divides a byte, or whole bytes, so that values never straddle.
func widthFor(top uint64) int {
	switch n := bits.Len64(top); {
	case n <= 2:
		return n
	case n <= 4:
		return 4
	default:
		return (n + 7) &^ 7
	}
}

// packedSize returns the bytes that n values of a width take.
func packedSize(n, width int) int { return (n*width + 7) / 8 }

// pack appends values in a width. Each must fit.
func pack[T uint32 | uint64](dst []byte, values []T, width int) []byte {
	start := len(dst)
	dst = grow(dst, packedSize(len(values), width))
	out := dst[start:]
	switch width {
	case 0:
	case 1, 2, 4:
		clear(out)
		per := 8 / width
		for i := range out {
			piece := values[i*per : min(i*per+per, len(values))]
			for k, v := range piece {
				out[i] |= byte(v) << (k * width)
			}
		}
	case 8:
		for i, v := range values {
			out[i] = byte(v)
		}
	case 16:
		for i, v := range values {
			binary.LittleEndian.PutUint16(out[2*i:], uint16(v))
		}
	case 32:
		for i, v := range values {
			binary.LittleEndian.PutUint32(out[4*i:], uint32(v))
		}
	default:
		packBytes(out, values, width/8)
	}
	return dst
}

// packBytes writes values of step bytes each.
func packBytes[T uint32 | uint64](out []byte, values []T, step int) {
	i := 0
	for ; i*step+8 <= len(out); i++ { // eight bytes at once: the next value overwrites what is too many
		binary.LittleEndian.PutUint64(out[i*step:], uint64(values[i]))
	}
	for ; i < len(values); i++ {
		for k := range step {
			out[i*step+k] = byte(uint64(values[i]) >> (8 * k))
		}
	}
}

// array is a column of unsigned numbers in the narrowest Go type that holds its
// width; at most one slice is set. With none, every number is 0.
type array struct {
	u8  []uint8
	u16 []uint16
	u32 []uint32
	u64 []uint64
}

// unpack is the inverse of pack; b has packedSize(n, width) bytes, and width is one that
// widthFor returns.
func unpack(b []byte, n, width int) array {
	switch {
	case width == 0 || n == 0:
		return array{}
	case width <= 8:
		return array{u8: unpackBits(b, n, width)}
	case width == 16:
		return array{u16: copyNumbers[uint16](b, n)}
	case width == 32:
		return array{u32: copyNumbers[uint32](b, n)}
	case width == 64:
		return array{u64: copyNumbers[uint64](b, n)}
	case width <= 32:
		return array{u32: unpackBytes[uint32](b, n, width/8)}
	default:
		return array{u64: unpackBytes[uint64](b, n, width/8)}
	}
}

// unpackBits unpacks widths of 1, 2, 4 and 8 bits.
func unpackBits(b []byte, n, width int) []uint8 {
	if width == 8 {
		return append([]uint8(nil), b[:n]...)
	}
	per := 8 / width
	out := make([]uint8, len(b)*per) // whole bytes of b, cut to n below
	for i, x := range b {
		o := out[i*per : i*per+per]
		switch width {
		case 4:
			o[0], o[1] = x&15, x>>4
		case 2:
			o[0], o[1], o[2], o[3] = x&3, x>>2&3, x>>4&3, x>>6
		default:
			binary.LittleEndian.PutUint64(o, spread(x))
		}
	}
	return out[:n]
}

// spread puts bit k of x into byte k of the result.
func spread(x byte) uint64 {
	const each, low7 = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f
	y := uint64(x) * each & 0x8040201008040201 // byte k keeps bit k of x only
	return ((y&low7 + low7) | y) >> 7 & each   // any bit of a byte moves to its top, then to its bottom
}

// copyNumbers copies numbers of whole bytes whose width is that of T.
func copyNumbers[T uint16 | uint32 | uint64](b []byte, n int) []T {
	out := make([]T, n) // n > 0
	size := int(unsafe.Sizeof(out[0]))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), n*size), b)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 { // a big-endian machine; elsewhere the compiler drops this
		for i := range out {
			v := uint64(0)
			for k := range size {
				v |= uint64(b[i*size+k]) << (8 * k)
			}
			out[i] = T(v)
		}
	}
	return out
}

// unpackBytes unpacks widths of whole bytes that no Go type has.
func unpackBytes[T uint32 | uint64](b []byte, n, step int) []T {
	out := make([]T, n)
	i, mask := 0, uint64(1)<<(8*step)-1
	for ; i*step+8 <= len(b); i++ { // eight bytes at once, as long as there are eight
		out[i] = T(binary.LittleEndian.Uint64(b[i*step:]) & mask)
	}
	for ; i < n; i++ {
		var v uint64
		for k := range step {
			v |= uint64(b[i*step+k]) << (8 * k)
		}
		out[i] = T(v)
	}
	return out
}

// at returns number i.
func (a *array) at(i int) uint64 {
	switch {
	case a.u8 != nil:
		return uint64(a.u8[i])
	case a.u16 != nil:
		return uint64(a.u16[i])
	case a.u32 != nil:
		return uint64(a.u32[i])
	case a.u64 != nil:
		return a.u64[i]
	}
	return 0
}

// size returns the bytes of the numbers.
func (a *array) size() int {
	return cap(a.u8) + 2*cap(a.u16) + 4*cap(a.u32) + 8*cap(a.u64)
}

// between sets dst to the n positions with lo <= number <= hi, both of which fit the width.
func (a *array) between(n int, lo, hi uint64, dst []uint64) {
	switch {
	case a.u8 != nil:
		bitmap.BetweenU8(a.u8, uint8(lo), uint8(hi), dst)
	case a.u16 != nil:
		bitmap.BetweenU16(a.u16, uint16(lo), uint16(hi), dst)
	case a.u32 != nil:
		bitmap.BetweenU32(a.u32, uint32(lo), uint32(hi), dst)
	case a.u64 != nil:
		bitmap.BetweenU64(a.u64, lo, hi, dst)
	case lo == 0:
		fill(dst, n)
		return
	default:
		n = 0
	}
	clear(dst[(n+63)>>6:])
}
