package timeline

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

const (
	factsMagic   = "KNTL"
	factsVersion = 1
	factsFixed   = 24 + BlockSize/8 // bytes before the columns
)

// Append appends the stored form of the facts to dst.
func (f *Facts) Append(dst []byte) []byte { return f.append(dst, f.unit()) }

// append appends the stored form with times in a unit.
func (f *Facts) append(dst []byte, unit int64) []byte {
	start := len(dst)
	dst = append(dst, factsMagic...)
	dst = append(dst, factsVersion, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Properties)))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(unit))
	dst = appendMask(dst, f.Present[:], BlockSize)
	var first, spans []int64
	for i, t := range f.First {
		first = append(first, t/unit)
		if f.Count[i] > 1 {
			spans = append(spans, (f.Last[i]-t)/unit)
		}
	}
	dst = appendInts(appendInts(appendInts(dst, f.Count), first), spans)
	for i := range f.Properties {
		dst = f.Properties[i].append(dst, f.Count)
	}
	binary.LittleEndian.PutUint32(dst[start+8:], checksum(dst[start:]))
	return dst
}

// unit returns the greatest number of ms that all times are multiples of.
func (f *Facts) unit() int64 {
	unit := uint64(0)
	for i, t := range f.First {
		if unit == 1 {
			break
		}
		unit = gcd(gcd(unit, magnitude(t)), magnitude(f.Last[i]))
	}
	return int64(max(unit, 1))
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func appendInts(dst []byte, values []int64) []byte {
	at := len(dst)
	dst = column.EncodeInts(append(dst, 0, 0, 0, 0), values, nil)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// append appends the facts of one property; counts are those of the events.
func (p *PropertyFacts) append(dst []byte, counts []int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.ID))
	flags := byte(0)
	if p.Summed {
		flags = 1
	}
	dst = append(dst, flags)
	var missing, least, spread, low, high []int64
	for i, n := range p.Count {
		missing = append(missing, counts[i]-n)
		if n > 0 {
			least = append(least, p.Min[i])
		}
		if n > 1 {
			spread = append(spread, p.Max[i]-p.Min[i]) // modulo 2^64
			if p.Summed {
				lo := int64(p.Sum[i].Lo)
				low, high = append(low, lo), append(high, p.Sum[i].Hi-lo>>63)
			}
		}
	}
	dst = appendInts(appendInts(appendInts(dst, missing), least), spread)
	if p.Summed {
		dst = appendInts(appendInts(dst, low), high)
	}
	return dst
}

// DecodeFacts reads what [Facts.Append] wrote. The error is an [ErrCorrupt] or an
// [ErrNewerFormat].
func DecodeFacts(b []byte) (*Facts, error) {
	if len(b) < factsFixed || string(b[:4]) != factsMagic {
		return nil, corrupt("no facts")
	}
	if b[4] > factsVersion {
		return nil, fmt.Errorf("%w: facts of version %d", ErrNewerFormat, b[4])
	}
	if checksum(b) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, corrupt("checksum of facts")
	}
	unit := int64(binary.LittleEndian.Uint64(b[16:]))
	if b[4] != factsVersion || b[5] != 0 || binary.LittleEndian.Uint32(b[12:]) != 0 || unit < 1 {
		return nil, corrupt("header of facts")
	}
	f := &Facts{}
	for i := range f.Present {
		f.Present[i] = binary.LittleEndian.Uint64(b[24+8*i:])
	}
	d := &factsDecoder{b: b[factsFixed:]}
	n := f.Present.Count()
	f.Count = d.ints(n, 1, math.MaxInt64)
	f.First, f.Last = d.times(f.Count, unit)
	properties := int(binary.LittleEndian.Uint16(b[6:]))
	last := int64(-1)
	for range properties {
		p := d.property(f.Count)
		if d.err == nil && int64(p.ID) <= last {
			d.fail("properties out of order")
		}
		if d.err != nil {
			return nil, d.err
		}
		last = int64(p.ID)
		f.Properties = append(f.Properties, p)
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes too many")
	}
	if d.err == nil && f.unit() != unit {
		d.fail("unit")
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}

// factsDecoder reads columns. The first thing that does not fit is its error; it yields
// zeros from there on.
type factsDecoder struct {
	b   []byte
	err error
}

func (d *factsDecoder) fail(what string) {
	if d.err == nil {
		d.err = corrupt("facts: %s", what)
		d.b = nil
	}
}

// bytes reads n bytes, nil if there are not so many.
func (d *factsDecoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail("they end early")
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

// ints reads a column of n numbers, all at least lo and at most hi.
func (d *factsDecoder) ints(n int, lo, hi int64) []int64 {
	out := make([]int64, 0, n)
	size := d.bytes(4)
	if size == nil {
		return out[:n]
	}
	block := d.bytes(int(binary.LittleEndian.Uint32(size)))
	if d.err != nil {
		return out[:n]
	}
	c, err := column.DecodeInts(block)
	if err != nil {
		d.fail(err.Error())
		return out[:n]
	}
	if c.Len() != n || c.CountPresent() != n || n > 0 && (c.Min() < lo || c.Max() > hi) {
		d.fail("a column of other numbers")
		return out[:n]
	}
	return c.Append(out, nil)
}

// atLeast returns how many numbers are at least k.
func atLeast(numbers []int64, k int64) (n int) {
	for _, v := range numbers {
		if v >= k {
			n++
		}
	}
	return n
}

// times reads the first and the last times, which are multiples of unit.
func (d *factsDecoder) times(counts []int64, unit int64) (first, last []int64) {
	start, end := firstDay*msPerDay, (lastDay+1)*msPerDay
	first = d.ints(len(counts), start/unit, (end-1)/unit)
	spans := d.ints(atLeast(counts, 2), 0, (end-start)/unit)
	last = make([]int64, len(counts))
	for i, n := range counts {
		first[i] *= unit
		last[i] = first[i]
		if n > 1 {
			last[i] += spans[0] * unit
			spans = spans[1:]
		}
		if last[i] >= end {
			d.fail("a time past the year 9999")
		}
	}
	return first, last
}

// property reads the facts of one property.
func (d *factsDecoder) property(counts []int64) PropertyFacts {
	p := PropertyFacts{Count: make([]int64, len(counts)), Min: make([]int64, len(counts)), Max: make([]int64, len(counts))}
	head := d.bytes(5)
	if head == nil {
		return p
	}
	p.ID, p.Summed = schema.AttrID(binary.LittleEndian.Uint32(head)), head[4] == 1
	if head[4] > 1 {
		d.fail("flags of a property")
	}
	missing := d.ints(len(counts), 0, math.MaxInt64)
	for i, n := range missing {
		if p.Count[i] = counts[i] - n; p.Count[i] < 0 {
			d.fail("more values are missing than there are events")
		}
	}
	any, several := atLeast(p.Count, 1), atLeast(p.Count, 2)
	least := d.ints(any, math.MinInt64, math.MaxInt64)
	spread := d.ints(several, math.MinInt64, math.MaxInt64)
	var low, high []int64
	if p.Summed {
		p.Sum = make([]Int128, len(counts))
		low, high = d.ints(several, math.MinInt64, math.MaxInt64), d.ints(several, math.MinInt64, math.MaxInt64)
	}
	for i, n := range p.Count {
		if n > 0 && d.err == nil {
			p.Min[i], p.Max[i] = least[0], least[0]
			least = least[1:]
			if p.Summed {
				p.Sum[i] = Int128{}.Add(p.Min[i])
			}
		}
		if n > 1 && d.err == nil {
			p.Max[i] += spread[0]
			spread = spread[1:]
			if p.Summed {
				p.Sum[i] = Int128{Hi: high[0] + low[0]>>63, Lo: uint64(low[0])}
				low, high = low[1:], high[1:]
			}
			if p.Max[i] < p.Min[i] {
				d.fail("a greatest value below the least")
			}
		}
	}
	return p
}
