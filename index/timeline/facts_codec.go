package timeline

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/schema"
)

const (
	factsMagic   = "KNTL"
	factsVersion = 1
	factsFixed   = 12 + BlockSize/8 // bytes before the columns
)

// Append appends the stored form of the facts to dst.
func (f *Facts) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, factsMagic...)
	dst = append(dst, factsVersion, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Properties)))
	dst = append(dst, 0, 0, 0, 0)
	dst = appendMask(dst, f.Present[:], BlockSize)
	var spans []int64
	for i, n := range f.Count {
		if n > 1 {
			spans = append(spans, f.Last[i]-f.First[i])
		}
	}
	dst = appendInts(appendInts(appendInts(dst, f.Count), f.First), spans)
	for i := range f.Properties {
		dst = f.Properties[i].append(dst, f.Count)
	}
	dst = append(dst, make([]byte, slack)...)
	binary.LittleEndian.PutUint32(dst[start+8:], checksum(dst[start:]))
	return dst
}

func appendInts(dst []byte, values []int64) []byte {
	if len(values) == 0 {
		return dst
	}
	numbers, least := make([]uint64, len(values)), int64(math.MaxInt64)
	for i, v := range values {
		numbers[i], least = uint64(v), min(least, v)
	}
	p := frameOf(numbers, least, true)
	return pack(p.appendFrame(dst, 0, true), numbers, int(p.width))
}

// append appends the facts of one property; counts are those of the events.
func (p *PropertyFacts) append(dst []byte, counts []int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.ID))
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
	if b[4] != factsVersion || b[5] != 0 {
		return nil, corrupt("header of facts")
	}
	f := &Facts{}
	for i := range f.Present {
		f.Present[i] = binary.LittleEndian.Uint64(b[12+8*i:])
	}
	properties := binary.LittleEndian.Uint16(b[6:])
	if properties > MaxFactsProperties {
		return nil, corrupt("facts of %d properties", properties)
	}
	d := &factsDecoder{decoder{what: "facts", b: b[factsFixed:]}}
	f.Count = d.ints(f.Present.Count(), 1, math.MaxInt64)
	f.First, f.Last = d.times(f.Count)
	last := int64(-1)
	for range properties {
		p := d.property(f.Count)
		if d.err != nil {
			return nil, d.err
		}
		if int64(p.ID) <= last {
			return nil, corrupt("facts: property %d comes after %d", p.ID, last)
		}
		last = int64(p.ID)
		f.Properties = append(f.Properties, p)
	}
	if d.err == nil && string(d.b) != string(make([]byte, slack)) {
		d.fail("the end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}

// factsDecoder reads columns. After an error it yields zeros.
type factsDecoder struct{ decoder }

// ints reads a column of n numbers, all at least lo and at most hi.
func (d *factsDecoder) ints(n int, lo, hi int64) []int64 {
	out := make([]int64, n)
	if n == 0 || d.err != nil {
		return out
	}
	p := d.frame(n, 0, hi, true)
	size := packedSize(n, int(p.width))
	if d.err == nil && len(d.b) < size+slack {
		d.fail("they end early")
	}
	if d.err == nil && p.min < lo {
		d.fail("a number of %d, at least %d", p.min, lo)
	}
	if d.err != nil {
		return out
	}
	numbers := make([]uint64, n)
	unpack(numbers, d.b, 0, int(p.width))
	d.b = d.b[size:]
	for i, v := range numbers {
		if v > p.top {
			d.fail("a number above %d", p.max())
			break
		}
		out[i] = p.min + int64(v*p.unit)
	}
	return out
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

// times reads the first and the last times.
func (d *factsDecoder) times(counts []int64) (first, last []int64) {
	start, end := firstDay*msPerDay, (lastDay+1)*msPerDay
	first = d.ints(len(counts), start, end-1)
	spans := d.ints(atLeast(counts, 2), 0, end-start)
	last = make([]int64, len(counts))
	for i, n := range counts {
		if last[i] = first[i]; n > 1 {
			last[i] += spans[0]
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
	p.ID = schema.AttrID(d.uvarint(math.MaxUint32))
	sums := d.byte()
	if p.Summed = sums == 1; sums > 1 {
		d.fail("%d sums of property %d", sums, p.ID)
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
