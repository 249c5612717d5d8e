package batch

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"

	"golang.org/x/text/unicode/norm"
)

// Strings is a list of byte strings in one piece. The zero Strings is empty.
type Strings struct {
	ends []uint32
	data []byte
}

// Len returns the number of strings.
func (s Strings) Len() int { return len(s.ends) }

// At returns string i, valid as long as what it was decoded from.
func (s Strings) At(i int) []byte {
	var start uint32
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.data[start:s.ends[i]:s.ends[i]]
}

// ASCII reports whether all strings are ASCII, and so UTF-8 in NFC.
func (s Strings) ASCII() bool { return isASCII(s.data) }

// Longest returns the length in bytes of the longest string.
func (s Strings) Longest() int {
	longest, start := uint32(0), uint32(0)
	for _, end := range s.ends {
		longest, start = max(longest, end-start), end
	}
	return int(longest)
}

// stringList is a Strings that grows. It owns its memory.
type stringList struct {
	Strings
	lengths int // bytes that the lengths take as uvarints
}

func (l *stringList) add(s []byte) {
	l.data = append(l.data, s...)
	l.ends = append(l.ends, uint32(len(l.data)))
	l.lengths += uvarintLen(uint64(len(s)))
}

func (l *stringList) pop() {
	last := l.At(l.Len() - 1)
	l.lengths -= uvarintLen(uint64(len(last)))
	l.data = l.data[:len(l.data)-len(last)]
	l.ends = l.ends[:len(l.ends)-1]
}

func (l *stringList) reset() { l.ends, l.data, l.lengths = l.ends[:0], l.data[:0], 0 }

// size returns the encoded size.
func (l *stringList) size() int { return l.lengths + len(l.data) }

func (s Strings) append(dst []byte) []byte {
	var start uint32
	for _, end := range s.ends {
		dst = binary.AppendUvarint(dst, uint64(end-start))
		start = end
	}
	return append(dst, s.data...)
}

// dict gives strings codes in order of their first appearance.
type dict struct {
	seed  maphash.Seed
	salt  [2]uint64 // of the hashes of short strings, made of the seed
	slots []slot    // open addressing, at most half full, a power of two
	list  stringList
}

type slot struct {
	hash uint32
	code uint32 // plus one; 0 is an empty slot
}

// code returns the code of s in NFC, and the length it then has. Only a string that is
// seen for the first time is normalised, so that a column of few distinct values pays
// once for each.
func (d *dict) code(s []byte) (code uint32, length int) {
	if len(d.slots) == 0 {
		d.slots = make([]slot, 64)
		d.seed = maphash.MakeSeed()
		d.salt = [2]uint64{maphash.Comparable(d.seed, 0), maphash.Comparable(d.seed, 1)}
	}
	at, hash := d.find(s)
	if d.slots[at].code == 0 && !isNFC(s) {
		s = norm.NFC.Bytes(s)
		at, hash = d.find(s)
	}
	if known := d.slots[at].code; known != 0 {
		return known - 1, len(s)
	}
	d.list.add(s)
	d.slots[at] = slot{hash, uint32(d.list.Len())}
	if d.list.Len()*2 > len(d.slots) {
		d.grow()
	}
	return uint32(d.list.Len() - 1), len(s)
}

// find returns the slot of s, or the empty one where it belongs.
func (d *dict) find(s []byte) (at, hash uint32) {
	hash = d.hash(s)
	mask := uint32(len(d.slots) - 1)
	for at = hash & mask; d.slots[at].code != 0; at = (at + 1) & mask {
		if d.slots[at].hash == hash && bytes.Equal(d.list.At(int(d.slots[at].code-1)), s) {
			break
		}
	}
	return at, hash
}

// hash multiplies the two ends of a short string, which overlap, by what nobody outside
// knows: for the few bytes that most values have, the general hash is mostly the call.
func (d *dict) hash(s []byte) uint32 {
	var a, b uint64
	switch n := len(s); {
	case n > 16:
		return uint32(maphash.Bytes(d.seed, s))
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[n-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(s)), uint64(binary.LittleEndian.Uint32(s[n-4:]))
	case n > 0:
		a = uint64(s[0]) | uint64(s[n/2])<<8 | uint64(s[n-1])<<16
	}
	hi, lo := bits.Mul64(a^d.salt[0], b^d.salt[1]^uint64(len(s)))
	return uint32(hi ^ lo)
}

func (d *dict) grow() {
	old := d.slots
	d.slots = make([]slot, 2*len(old))
	mask := uint32(len(d.slots) - 1)
	for _, s := range old {
		if s.code == 0 {
			continue
		}
		i := s.hash & mask
		for d.slots[i].code != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

func (d *dict) reset() {
	if d.list.Len() > 0 {
		clear(d.slots)
	}
	d.list.reset()
}

// sorted returns the strings in ascending order of bytes, and the place of each code in it.
func (d *dict) sorted() (s stringList, rank []uint32) {
	order := make([]uint32, d.list.Len())
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return bytes.Compare(d.list.At(int(a)), d.list.At(int(b))) // no two are equal
	})
	s.ends = make([]uint32, 0, len(order))
	s.data = make([]byte, 0, len(d.list.data))
	rank = make([]uint32, len(order))
	for place, code := range order {
		s.add(d.list.At(int(code)))
		rank[code] = uint32(place)
	}
	return s, rank
}

// isNFC reports whether s needs no normalisation. Bytes that are not UTF-8 are left
// as they are: stage 1 rejects them.
func isNFC(s []byte) bool { return isASCII(s) || norm.NFC.IsNormal(s) }

func isASCII(s []byte) bool {
	for len(s) >= 8 {
		if binary.LittleEndian.Uint64(s)&0x8080808080808080 != 0 {
			return false
		}
		s = s[8:]
	}
	for _, c := range s {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func nfc(s []byte) []byte {
	if isNFC(s) {
		return s
	}
	return norm.NFC.Bytes(s)
}

func nfcString(s string) string { return norm.NFC.String(s) }
