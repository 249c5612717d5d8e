package column

import (
	"encoding/binary"
	"unsafe"
)

// setsHeader is the size of what follows the common header, before counts and codes.
const setsHeader = 12

// Sets is a decoded block of sets of dictionary codes. It is immutable and safe for
// concurrent use, and shares no memory with the bytes it was decoded from.
type Sets struct {
	n, total int
	ends     ends
	codes    array
}

// EncodeSets appends a block to dst. Row i of the at most BlockSize rows has
// codes[ends[i-1]:ends[i]], which must ascend strictly.
func EncodeSets(dst []byte, ends []uint32, codes []uint32) []byte {
	n, start := len(ends), len(dst)
	dst = appendHeader(dst, typeSets, n)
	var counts [BlockSize]uint32
	most, last := uint32(0), uint32(0)
	for i, end := range ends {
		counts[i] = end - last
		most, last = max(most, counts[i]), end
	}
	codes = codes[:last]
	top := uint32(0)
	for _, code := range codes {
		top = max(top, code)
	}
	countWidth, codeWidth := widthFor(uint64(most)), widthFor(uint64(top))
	dst = append(dst, byte(countWidth), byte(codeWidth), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, last)
	dst = binary.LittleEndian.AppendUint32(dst, top)
	dst = pack(dst, counts[:n], countWidth)
	dst = pack(dst, codes, codeWidth)
	seal(dst[start:])
	return dst
}

// DecodeSets decodes a block that EncodeSets made. The error is ErrCorrupt or ErrNewerFormat.
func DecodeSets(b []byte) (*Sets, error) {
	n, body, err := open(b, typeSets, setsHeader)
	if err != nil {
		return nil, err
	}
	countWidth, codeWidth := int(body[0]), int(body[1])
	total, top := int(binary.LittleEndian.Uint32(body[4:])), binary.LittleEndian.Uint32(body[8:])
	zero := body[2] | body[3]
	body = body[setsHeader:]
	if zero != 0 || countWidth > 32 || widthFor(1<<countWidth-1) != countWidth || codeWidth != widthFor(uint64(top)) {
		return nil, corrupt("widths")
	}
	countSize := packedSize(n, countWidth)
	if len(body) != countSize+packedSize(total, codeWidth) {
		return nil, corrupt("size")
	}
	s := &Sets{n: n, total: total, codes: unpack(body[countSize:], total, codeWidth)}
	if !s.readCounts(unpack(body[:countSize], n, countWidth)) {
		return nil, corrupt("counts")
	}
	if !s.ascend(top) {
		return nil, corrupt("codes")
	}
	return s, nil
}

// readCounts makes the ends out of the counts and reports whether these add up.
func (s *Sets) readCounts(counts array) bool {
	var abs [BlockSize]uint32
	sum := uint64(0)
	for i := range s.n {
		sum += counts.at(i)
		if sum > uint64(s.total) {
			return false
		}
		abs[i] = uint32(sum)
	}
	if sum != uint64(s.total) {
		return false
	}
	s.ends = makeEnds(abs[:s.n])
	return true
}

// ascend reports whether the codes of every row ascend strictly and top is the greatest of all.
func (s *Sets) ascend(top uint32) bool {
	switch {
	case s.codes.u8 != nil:
		return ascend(s.codes.u8, s, top)
	case s.codes.u16 != nil:
		return ascend(s.codes.u16, s, top)
	case s.codes.u32 != nil:
		return ascend(s.codes.u32, s, top)
	}
	for i := range s.n { // all codes are 0, so no row has two
		if from, to := s.ends.bounds(i); to-from > 1 {
			return false
		}
	}
	return top == 0
}

func ascend[T uint8 | uint16 | uint32](codes []T, s *Sets, top uint32) bool {
	greatest := uint32(0)
	for i := range s.n {
		from, to := s.ends.bounds(i)
		row := codes[from:to]
		for k := 1; k < len(row); k++ {
			if row[k-1] >= row[k] {
				return false
			}
		}
		if len(row) > 0 {
			greatest = max(greatest, uint32(row[len(row)-1]))
		}
	}
	return greatest == top
}

// Len returns the number of rows.
func (s *Sets) Len() int { return s.n }

// CountCodes returns how many codes all rows have together.
func (s *Sets) CountCodes() int { return s.total }

// MemBytes returns what the block takes in memory, in bytes.
func (s *Sets) MemBytes() int { return int(unsafe.Sizeof(*s)) + s.ends.size() + s.codes.size() }

// Count returns how many codes row i has, 0 <= i < Len().
func (s *Sets) Count(i int) int {
	from, to := s.ends.bounds(i)
	return int(to - from)
}

// AppendTo appends the codes of row i, 0 <= i < Len(), to dst; they ascend.
func (s *Sets) AppendTo(i int, dst []uint32) []uint32 {
	from, to := s.ends.bounds(i)
	return s.appendRange(from, to, dst)
}

func (s *Sets) appendRange(from, to uint32, dst []uint32) []uint32 {
	start := len(dst)
	dst = grow(dst, int(to-from))
	out := dst[start:]
	switch {
	case s.codes.u8 != nil:
		widen(out, s.codes.u8[from:to])
	case s.codes.u16 != nil:
		widen(out, s.codes.u16[from:to])
	case s.codes.u32 != nil:
		copy(out, s.codes.u32[from:to])
	default:
		clear(out)
	}
	return dst
}

func widen[T uint8 | uint16](dst []uint32, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = uint32(v)
	}
}

// Gather appends the codes of the rows at idx to codes and the end of each row's piece,
// counted from the beginning of codes, to ends.
func (s *Sets) Gather(idx []uint16, ends, codes []uint32) (_, _ []uint32) {
	for _, i := range idx {
		from, to := s.ends.bounds(int(i))
		codes = s.appendRange(from, to, codes)
		ends = append(ends, uint32(len(codes)))
	}
	return ends, codes
}

// Append appends all rows, as Gather does.
func (s *Sets) Append(ends, codes []uint32) (_, _ []uint32) {
	base := uint32(len(codes))
	for i := range s.n {
		_, to := s.ends.bounds(i)
		ends = append(ends, base+to)
	}
	return ends, s.appendRange(0, uint32(s.total), codes)
}

// Present sets dst, of [Words] words, to the rows that are not empty.
func (s *Sets) Present(dst []uint64) {
	dst = dst[:Words]
	clear(dst)
	for i := range s.n {
		if from, to := s.ends.bounds(i); from != to {
			dst[i>>6] |= 1 << (i & 63)
		}
	}
}
