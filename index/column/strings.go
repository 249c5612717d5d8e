package column

import (
	"encoding/binary"
	"unsafe"
)

// stringsHeader is the size of what follows the common header, before bitmap, ends and bytes.
const stringsHeader = 8

// The flags of a Strings block; others are corrupt.
const (
	flagAbsent = 1 // a presence bitmap follows
	flagWide   = 2 // ends are absolute, 4 bytes each
)

// Strings is a decoded block of byte strings. It is immutable and safe for concurrent use.
type Strings struct {
	n, count int
	present  []uint64 // nil: all are
	ends     ends
	text     []byte
}

// EncodeStrings appends a block to dst. A nil value is absent, which an empty one is not.
// There are at most BlockSize values, of together less than 4 GiB.
func EncodeStrings(dst []byte, values [][]byte) []byte {
	n, start := len(values), len(dst)
	dst = appendHeader(dst, typeStrings, n)
	var abs [BlockSize]uint32
	var present [BlockSize / 8]byte
	count, total := 0, 0
	for i, v := range values {
		if v != nil {
			present[i>>3] |= 1 << (i & 7)
			count++
		}
		total += len(v)
		abs[i] = uint32(total)
	}
	_ = textBytes[:total] // a string is at most 16 KiB
	flags, narrow := byte(0), fitsNarrow(abs[:n])
	if count < n {
		flags |= flagAbsent
	}
	if !narrow {
		flags |= flagWide
	}
	dst = append(dst, flags, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(count))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(total))
	if count < n {
		dst = append(dst, present[:(n+7)/8]...)
	}
	begin := uint32(0)
	for i, end := range abs[:n] {
		if narrow {
			if i&(groupSize-1) == 0 && i > 0 {
				begin = abs[i-1]
			}
			dst = binary.LittleEndian.AppendUint16(dst, uint16(end-begin))
		} else {
			dst = binary.LittleEndian.AppendUint32(dst, end)
		}
	}
	for _, v := range values {
		dst = append(dst, v...)
	}
	seal(dst[start:])
	return dst
}

// DecodeStrings decodes a block that EncodeStrings made; it shares no memory with b. The
// error is ErrCorrupt or ErrNewerFormat.
func DecodeStrings(b []byte) (*Strings, error) {
	s, err := ViewStrings(b)
	if err == nil {
		s.text = append([]byte(nil), s.text...)
	}
	return s, err
}

// ViewStrings is DecodeStrings of a block whose strings are those of b, which must stay as
// it is as long as they are in use: of long strings a copy takes as much again.
func ViewStrings(b []byte) (*Strings, error) {
	n, body, err := open(b, typeStrings, stringsHeader)
	if err != nil {
		return nil, err
	}
	flags, count := body[0], int(binary.LittleEndian.Uint16(body[2:]))
	total := int(binary.LittleEndian.Uint32(body[4:]))
	s := &Strings{n: n, count: count}
	mapSize, endSize := 0, 2
	if flags&flagAbsent != 0 {
		mapSize = (n + 7) / 8
	}
	if flags&flagWide != 0 {
		endSize = 4
	}
	if flags > flagAbsent|flagWide || body[1] != 0 || count > n || (count < n) != (flags&flagAbsent != 0) || len(body) != stringsHeader+mapSize+n*endSize+total {
		return nil, corrupt("size")
	}
	body = body[stringsHeader:]
	if mapSize > 0 {
		s.present = make([]uint64, Words)
		for i, x := range body[:mapSize] {
			s.present[i>>3] |= uint64(x) << (i & 7 * 8)
		}
		if popcount(s.present) != count || n < BlockSize && s.present[n>>6]>>(n&63) != 0 {
			return nil, corrupt("presence")
		}
	}
	body = body[mapSize:]
	if !s.readEnds(body[:n*endSize], endSize == 4, uint32(total)) {
		return nil, corrupt("ends")
	}
	s.text = body[n*endSize : len(body) : len(body)]
	return s, nil
}

// readEnds reads the ends and reports whether they ascend up to total, and give absent
// strings no bytes.
func (s *Strings) readEnds(b []byte, wide bool, total uint32) bool {
	last := uint32(0)
	if wide {
		s.ends.wide = make([]uint32, s.n)
		for i := range s.ends.wide {
			end := binary.LittleEndian.Uint32(b[4*i:])
			if end < last || end > last && !s.has(i) {
				return false
			}
			s.ends.wide[i], last = end, end
		}
		return last == total && !fitsNarrow(s.ends.wide)
	}
	s.ends.begin, s.ends.narrow = make([]uint32, (s.n+groupSize-1)>>groupBits), make([]uint16, s.n)
	for g := range s.ends.begin {
		begin := last
		s.ends.begin[g] = begin
		for i := g << groupBits; i < min((g+1)<<groupBits, s.n); i++ {
			rel := binary.LittleEndian.Uint16(b[2*i:])
			end := begin + uint32(rel)
			if end < last || end > last && !s.has(i) {
				return false
			}
			s.ends.narrow[i], last = rel, end
		}
	}
	return last == total
}

func (s *Strings) has(i int) bool { return s.present == nil || s.present[i>>6]>>(i&63)&1 != 0 }

// Len returns the number of strings, absent ones included.
func (s *Strings) Len() int { return s.n }

// CountPresent returns how many strings are not absent.
func (s *Strings) CountPresent() int { return s.count }

// MemBytes returns what the block takes in memory, in bytes.
func (s *Strings) MemBytes() int {
	return int(unsafe.Sizeof(*s)) + 8*cap(s.present) + s.ends.size() + cap(s.text)
}

// At returns string i, 0 <= i < Len(); nil and false if it is absent, while an empty
// one is not nil. The bytes are the block's: they must not be changed, and live as long
// as anybody refers to them.
func (s *Strings) At(i int) ([]byte, bool) {
	if !s.has(i) {
		return nil, false
	}
	from, to := s.ends.bounds(i)
	if from == to {
		return []byte{}, true // s.text itself may be nil
	}
	return s.text[from:to:to], true
}

// Present sets dst, of [Words] words, to the positions that have a string.
func (s *Strings) Present(dst []uint64) {
	if s.present == nil {
		fill(dst[:Words], s.n)
		return
	}
	copy(dst[:Words], s.present)
}
