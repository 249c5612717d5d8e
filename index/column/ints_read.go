package column

import "github.com/kantadb/kanta/index/schema"

// Range sets dst, of [Words] words, to the positions whose value lies in [lo, hi]. The
// bounds may be any numbers; lo > hi is an empty range. Absent values are never in it.
// Blocks wholly inside or outside the range are answered without reading values.
func (c *Ints) Range(lo, hi int64, dst []uint64) {
	dst = dst[:Words]
	f := c.frame(lo, hi)
	switch {
	case f.none:
		clear(dst)
	case f.all:
		c.Present(dst)
	case !f.outside:
		c.col.between(c.n, f.from, f.to, dst)
	default:
		var not [Words]uint64
		c.col.between(c.n, f.from, f.to, not[:])
		c.Present(dst)
		for i := range dst {
			dst[i] &^= not[i]
		}
	}
}

// RangeProbe appends to dst those of idx whose value lies in [lo, hi], as Range does, in
// their order. idx and dst may share memory if dst ends where idx begins or before.
func (c *Ints) RangeProbe(lo, hi int64, idx []uint16, dst []uint16) []uint16 {
	f := c.frame(lo, hi)
	if f.none {
		return dst
	}
	if f.all {
		if !c.absent {
			return append(dst, idx...)
		}
		f.from, f.to = 1, c.last()
	}
	switch {
	case c.col.u8 != nil:
		return probe(c.col.u8, f, idx, dst)
	case c.col.u16 != nil:
		return probe(c.col.u16, f, idx, dst)
	case c.col.u32 != nil:
		return probe(c.col.u32, f, idx, dst)
	case c.col.u64 != nil:
		return probe(c.col.u64, f, idx, dst)
	}
	return dst // one value for all is in (f.all) or out (f.none)
}

// frame is a range in stored numbers.
type frame struct {
	from, to  uint64
	outside   bool // the range is what is present and not in [from, to]
	none, all bool // decided by the bounds alone; all is all that is present
}

// frame translates a range of values into one of stored numbers.
func (c *Ints) frame(lo, hi int64) frame {
	lo, hi = max(lo, c.min), min(hi, c.max)
	if c.count == 0 || lo > hi {
		return frame{none: true}
	}
	if lo == c.min && hi == c.max {
		return frame{all: true}
	}
	if c.absent && lo == c.base { // only in mode absentBase: the base is no value, and stored it would be 0
		if lo++; lo > hi {
			return frame{none: true}
		}
	}
	from, to := uint64(lo)-uint64(c.base), uint64(hi)-uint64(c.base)
	if from <= to {
		return frame{from: from, to: to}
	}
	// Mode absentBase with the base inside the range, or at its end: stored numbers wrap
	// there, and the range is all but the gap, which may be empty (from 1 above to).
	return frame{from: to + 1, to: from - 1, outside: true}
}

func probe[T uint8 | uint16 | uint32 | uint64](col []T, f frame, idx, dst []uint16) []uint16 {
	if f.outside {
		for _, i := range idx {
			if s := uint64(col[i]); s != 0 && (s < f.from || s > f.to) {
				dst = append(dst, i)
			}
		}
		return dst
	}
	from, span := T(f.from), T(f.to-f.from)
	k := len(dst)
	dst = grow(dst, len(idx))
	for _, i := range idx { // every candidate is written, and stays if the next one does not replace it
		dst[k] = i
		if col[i]-from <= span {
			k++
		}
	}
	return dst[:k]
}

// grow returns dst longer by n.
func grow[T any](dst []T, n int) []T {
	if cap(dst)-len(dst) >= n {
		return dst[:len(dst)+n]
	}
	return append(dst, make([]T, n)...)
}

// Gather writes the values at idx to dst and whether there is one to ok; an absent one
// is 0. dst and ok must be as long as idx.
func (c *Ints) Gather(idx []uint16, dst []int64, ok []bool) {
	switch {
	case c.col.u8 != nil:
		gather(c.col.u8, c.base, c.absent, idx, dst, ok)
	case c.col.u16 != nil:
		gather(c.col.u16, c.base, c.absent, idx, dst, ok)
	case c.col.u32 != nil:
		gather(c.col.u32, c.base, c.absent, idx, dst, ok)
	case c.col.u64 != nil:
		gather(c.col.u64, c.base, c.absent, idx, dst, ok)
	default:
		for k := range idx {
			dst[k], ok[k] = c.At(0) // one value for all
		}
	}
}

func gather[T uint8 | uint16 | uint32 | uint64](col []T, base int64, absent bool, idx []uint16, dst []int64, ok []bool) {
	dst, ok = dst[:len(idx)], ok[:len(idx)]
	if !absent {
		for k, i := range idx {
			dst[k], ok[k] = base+int64(col[i]), true
		}
		return
	}
	for k, i := range idx {
		s := col[i]
		v := base + int64(s)
		if s == 0 {
			v = 0
		}
		dst[k], ok[k] = v, s != 0
	}
}

// GatherCodes writes the values at idx to dst as dictionary codes, schema.NoCode if
// absent. It is for blocks whose values are codes; dst must be as long as idx.
func (c *Ints) GatherCodes(idx []uint16, dst []uint32) {
	none := uint32(c.base) // what a stored 0 means
	if c.absent {
		none = schema.NoCode
	}
	switch {
	case c.col.u8 != nil:
		gatherCodes(c.col.u8, uint32(c.base), none, idx, dst)
	case c.col.u16 != nil:
		gatherCodes(c.col.u16, uint32(c.base), none, idx, dst)
	case c.col.u32 != nil:
		gatherCodes(c.col.u32, uint32(c.base), none, idx, dst)
	case c.col.u64 != nil:
		gatherCodes(c.col.u64, uint32(c.base), none, idx, dst)
	default:
		for k := range idx {
			dst[k] = none
		}
	}
}

func gatherCodes[T uint8 | uint16 | uint32 | uint64](col []T, base, none uint32, idx []uint16, dst []uint32) {
	dst = dst[:len(idx)]
	for k, i := range idx {
		s := col[i]
		v := base + uint32(s)
		if s == 0 {
			v = none
		}
		dst[k] = v
	}
}

// Append appends all Len() values to dst, 0 for absent ones. present, if not nil, must
// have [Words] words and is set to the positions that have a value.
func (c *Ints) Append(dst []int64, present []uint64) []int64 {
	start := len(dst)
	dst = grow(dst, c.n)
	out := dst[start:]
	absent := c.absent
	switch {
	case c.col.u8 != nil:
		expand(c.col.u8, c.base, absent, out)
	case c.col.u16 != nil:
		expand(c.col.u16, c.base, absent, out)
	case c.col.u32 != nil:
		expand(c.col.u32, c.base, absent, out)
	case c.col.u64 != nil:
		expand(c.col.u64, c.base, absent, out)
	default:
		v := c.min // 0 if all are absent
		for i := range out {
			out[i] = v
		}
	}
	if present != nil {
		c.Present(present)
	}
	return dst
}

func expand[T uint8 | uint16 | uint32 | uint64](col []T, base int64, absent bool, out []int64) {
	out = out[:len(col)]
	if !absent {
		for i, s := range col {
			out[i] = base + int64(s)
		}
		return
	}
	for i, s := range col {
		v := base + int64(s)
		if s == 0 {
			v = 0
		}
		out[i] = v
	}
}
