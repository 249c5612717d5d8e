package column

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"
)

// How an Ints block stores absent values. The codes are a format.
const (
	absentNone = 0 // there are none: stored = value - min
	absentZero = 1 // 0 is absent: stored = value - min + 1
	absentBase = 2 // 0 is absent: stored = value - base; base is a number no value has
)

// intsHeader is the size of what follows the common header, before base and payload.
const intsHeader = 20

// Ints is a decoded block of int64 values: ordered forms or dictionary codes. It is
// immutable and safe for concurrent use, and shares no memory with the bytes it was
// decoded from. Indexes are 0 to Len()-1; another one panics, as a slice would.
type Ints struct {
	n, count int
	min, max int64
	base     int64 // value = base + stored, modulo 2^64
	absent   bool  // stored 0 means absent
	col      array
}

// EncodeInts appends a block to dst. present tells which of the at most BlockSize values
// there are, bit i%64 of word i/64; nil means all. A value that is not present is not read.
func EncodeInts(dst []byte, values []int64, present []uint64) []byte {
	n := len(values)
	start := len(dst)
	dst = appendHeader(dst, typeInts, n)
	count, lo, hi := measure(values, present)
	mode, base, top := byte(absentNone), lo, uint64(hi)-uint64(lo)
	switch {
	case count == 0:
		if n > 0 {
			mode = absentZero
		}
		base, top = -1, 0
	case count < n && top < math.MaxUint64:
		mode, base, top = absentZero, lo-1, top+1
	case count < n:
		mode, base = absentBase, unused(values, present, lo)
	}
	width := widthFor(top)
	dst = append(dst, byte(width), mode)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(count))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(lo))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(hi))
	if mode == absentBase {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(base))
	}
	var stored [BlockSize]uint64
	if count == n {
		for i, v := range values {
			stored[i] = uint64(v - base)
		}
	} else {
		for i, v := range values {
			stored[i] = uint64(v-base) & -(present[i>>6] >> (i & 63) & 1)
		}
	}
	dst = pack(dst, stored[:n], width)
	seal(dst[start:])
	return dst
}

// measure returns how many values there are and their bounds, 0 and 0 if there is none.
func measure(values []int64, present []uint64) (count int, lo, hi int64) {
	lo, hi = math.MaxInt64, math.MinInt64
	if present == nil {
		for _, v := range values {
			lo, hi = min(lo, v), max(hi, v)
		}
		count = len(values)
	} else {
		for i, v := range values {
			if present[i>>6]>>(i&63)&1 != 0 {
				lo, hi = min(lo, v), max(hi, v)
				count++
			}
		}
	}
	if count == 0 {
		return 0, 0, 0
	}
	return count, lo, hi
}

// unused returns the first number above lo that no value has.
func unused(values []int64, present []uint64, lo int64) int64 {
	var seen [BlockSize + 1]bool
	for i, v := range values {
		if d := uint64(v - lo); present[i>>6]>>(i&63)&1 != 0 && d < uint64(len(seen)) {
			seen[d] = true
		}
	}
	d := int64(1)
	for d < BlockSize && seen[d] {
		d++
	}
	return lo + d
}

// DecodeInts decodes a block that EncodeInts made. The error is ErrCorrupt or ErrNewerFormat.
func DecodeInts(b []byte) (*Ints, error) {
	n, body, err := open(b, typeInts, intsHeader)
	if err != nil {
		return nil, err
	}
	width, mode := int(body[0]), body[1]
	c := &Ints{
		n: n, count: int(binary.LittleEndian.Uint16(body[2:])), absent: mode != absentNone,
		min: int64(binary.LittleEndian.Uint64(body[4:])), max: int64(binary.LittleEndian.Uint64(body[12:])),
	}
	body = body[intsHeader:]
	top := uint64(c.max) - uint64(c.min)
	c.base = c.min
	switch {
	case c.count > n || c.min > c.max || mode > absentBase || c.absent != (c.count < n):
		return nil, corrupt("count or bounds")
	case c.count == 0:
		if c.min != 0 || c.max != 0 || mode == absentBase {
			return nil, corrupt("empty block")
		}
		c.base, top = -1, 0
	case mode == absentZero:
		if top == math.MaxUint64 {
			return nil, corrupt("bounds")
		}
		c.base, top = c.min-1, top+1
	case mode == absentBase:
		if top != math.MaxUint64 || len(body) < 8 {
			return nil, corrupt("bounds")
		}
		c.base, body = int64(binary.LittleEndian.Uint64(body)), body[8:]
	}
	if width != widthFor(top) || len(body) != packedSize(n, width) {
		return nil, corrupt("size")
	}
	c.col = unpack(body, n, width)
	if !c.consistent(top) {
		return nil, corrupt("values")
	}
	return c, nil
}

// consistent reports whether every stored number is absent or within the bounds, which
// are taken, and the count is right. A number past the bounds would overflow.
func (c *Ints) consistent(top uint64) bool {
	var words [Words]uint64
	count := func(lo, hi uint64) int {
		c.col.between(c.n, lo, hi, words[:])
		return popcount(words[:])
	}
	if c.count == 0 {
		return true // all have width 0, and are absent
	}
	first := uint64(0)
	if c.absent {
		first = 1
		if count(0, 0) != c.n-c.count {
			return false
		}
	}
	lowest, highest := uint64(c.min)-uint64(c.base), uint64(c.max)-uint64(c.base)
	return count(first, top) == c.count && count(lowest, lowest) > 0 && count(highest, highest) > 0
}

func popcount(words []uint64) int {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Len returns the number of values, absent ones included.
func (c *Ints) Len() int { return c.n }

// CountPresent returns how many values are not absent.
func (c *Ints) CountPresent() int { return c.count }

// Min returns the least value, 0 if all are absent.
func (c *Ints) Min() int64 { return c.min }

// Max returns the greatest value, 0 if all are absent.
func (c *Ints) Max() int64 { return c.max }

// MemBytes returns what the block takes in memory, in bytes.
func (c *Ints) MemBytes() int { return int(unsafe.Sizeof(*c)) + c.col.size() }

// At returns value i, and 0 and false if it is absent.
func (c *Ints) At(i int) (v int64, ok bool) {
	_ = places[:c.n][i] // width 0 has no slice that would say so
	s := c.col.at(i)
	if s == 0 && c.absent {
		return 0, false
	}
	return c.base + int64(s), true
}

// Present sets dst, of [Words] words, to the positions that have a value.
func (c *Ints) Present(dst []uint64) {
	dst = dst[:Words]
	if !c.absent {
		fill(dst, c.n)
		return
	}
	c.col.between(c.n, 1, c.last(), dst)
}

// last returns a number that no stored one exceeds and that fits the width.
func (c *Ints) last() uint64 {
	switch {
	case c.col.u8 != nil:
		return math.MaxUint8
	case c.col.u16 != nil:
		return math.MaxUint16
	case c.col.u32 != nil:
		return math.MaxUint32
	}
	return math.MaxUint64
}
