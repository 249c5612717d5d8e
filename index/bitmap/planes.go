package bitmap

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// The planes format; see the package comment.
const (
	planesMagic   = "KNTP"
	planesVersion = 1
	planesFixed   = 32      // bytes before the entries
	entryEmpty    = 1 << 29 // the entry of a container without elements
	maxPlanes     = 64
)

// MaxPlanesHeader is how many bytes the longest header of planes takes.
const MaxPlanesHeader = planesFixed + 4*(1+maxPlanes) + 4

// Planes are the values of one chunk of an ordered attribute, bit-sliced: plane p has the
// ordinals whose value, less the smallest one, has bit p. They never change and are safe
// for concurrent use.
type Planes struct {
	min, max int64    // over the ordinals that have a value
	count    int      // ordinals that have a value
	n        int      // planes
	mem      []uint64 // who has a value, then the planes, as Words
}

// Range returns the smallest and the largest value; both are 0 if Count is 0.
func (p *Planes) Range() (lo, hi int64) { return p.min, p.max }

// Count returns how many ordinals have a value.
func (p *Planes) Count() int { return p.count }

// MemBytes returns how many bytes of memory the planes take.
func (p *Planes) MemBytes() int { return int(unsafe.Sizeof(*p)) + 8*len(p.mem) }

// Exists returns who has a value; it is backed by the planes.
func (p *Planes) Exists() Set {
	switch p.count {
	case 0:
		return Set{}
	case ChunkSize:
		return Set{Form: Full}
	}
	return Set{Form: Dense, Words: p.words(0)}
}

// words returns set i of mem: 0 is who has a value, i+1 plane i.
func (p *Planes) words(i int) *Words { return (*Words)(p.mem[i*WordsPerSet:]) }

// Value returns the value of one ordinal, and whether it has one.
func (p *Planes) Value(i uint16) (int64, bool) {
	if !p.words(0).Has(i) {
		return 0, false
	}
	v := uint64(0)
	for k := range p.n {
		v |= p.words(k + 1)[i>>6] >> (i & 63) & 1 << k
	}
	return p.min + int64(v), true
}

// Between returns who has a value in [lo, hi]. The result is backed by buf or by p.
func (p *Planes) Between(lo, hi int64, buf *Words) Set {
	return p.between(machine, lo, hi, buf)
}

func (p *Planes) between(l level, lo, hi int64, buf *Words) Set {
	lo, hi = max(lo, p.min), min(hi, p.max)
	switch {
	case lo > hi || p.count == 0:
		return Set{}
	case lo == p.min && hi == p.max:
		return p.Exists()
	}
	low, high := uint64(lo)-uint64(p.min), uint64(hi)-uint64(p.min)
	// Nothing is below a bound that ends in zeros, or above one that ends in ones, as far
	// as these digits go, so their planes need not be read.
	first := min(bits.TrailingZeros64(low), bits.TrailingZeros64(^high), p.n)
	return dense(buf, planesBetween(l, buf, p, first, low, high))
}

// BuildPlanes makes the planes of values[i] for the elements i of exists; values has a
// place for each of them, and what it has at others is ignored.
func BuildPlanes(values []int64, exists Set) *Planes {
	p := &Planes{count: exists.Count()}
	var buf Words
	who := exists.ToWords(&buf)
	p.min, p.max = valueRange(values, who)
	p.n = bits.Len64(uint64(p.max) - uint64(p.min))
	p.mem = make([]uint64, (1+p.n)*WordsPerSet)
	*p.words(0) = *who
	var m [64]uint64
	for i, word := range who {
		if word == 0 {
			continue
		}
		clear(m[:])
		for ; word != 0; word &= word - 1 {
			k := bits.TrailingZeros64(word)
			m[k] = uint64(values[i<<6|k]) - uint64(p.min)
		}
		transpose(&m)
		for k := range p.n {
			p.words(k + 1)[i] = m[k]
		}
	}
	return p
}

// valueRange returns the smallest and the largest value of the elements of who, or 0.
func valueRange(values []int64, who *Words) (lo, hi int64) {
	first := true
	for i, word := range who {
		for ; word != 0; word &= word - 1 {
			v := values[i<<6|bits.TrailingZeros64(word)]
			if first {
				lo, hi, first = v, v, false
			}
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi
}

// transpose makes bit k of word j of bit j of word k, by swapping ever smaller squares
// (Warren, Hacker's Delight, 7-3).
func transpose(m *[64]uint64) {
	mask := uint64(0xffffffff)
	for j := 32; j != 0; j >>= 1 {
		for k := 0; k < 64; k = (k + j + 1) &^ j {
			t := (m[k]>>j ^ m[k+j]) & mask
			m[k] ^= t << j
			m[k+j] ^= t
		}
		mask ^= mask << (j / 2)
	}
}

// Encode appends the stored form to dst and returns it. It begins at len(dst); its
// payload is aligned to 8 bytes from there.
func (p *Planes) Encode(dst []byte) []byte {
	sets := make([]Set, 1+p.n)
	entries := make([]entry, len(sets))
	for i := range sets {
		sets[i] = FromWords(p.words(i))
		entries[i] = entryOf(sets[i])
	}
	start := len(dst)
	dst = append(dst, planesMagic...)
	dst = append(dst, planesVersion, byte(p.n), 0, 0)
	dst = append(dst, make([]byte, 8)...) // the checksums
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.min))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.max))
	for _, e := range entries {
		v := uint32(entryEmpty)
		if e.count > 0 {
			v = e.pack()
		}
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	at := start + planesPayloadOffset(p.n)
	for len(dst) < at {
		dst = append(dst, 0)
	}
	dst = appendPayload(dst, sets, entries, nil)
	binary.LittleEndian.PutUint32(dst[start+8:], crc32c(dst[at:]))
	binary.LittleEndian.PutUint32(dst[start+12:], headerCRC(dst[start:at]))
	return dst
}

func planesPayloadOffset(n int) int { return (planesFixed + 4*(1+n) + 7) &^ 7 }

// PlanesHeader is what stored planes say without their payload.
type PlanesHeader struct {
	Min, Max int64 // over the ordinals that have a value; 0 if there are none
	Count    int   // ordinals that have a value
	Planes   int   // 0 to 64
	Size     int   // bytes of the whole

	entries    [1 + maxPlanes]entry
	payloadCRC uint32
	payloadAt  int
}

// ReadPlanesHeader reads a header and verifies its checksum. b is encoded planes or begins
// as such; [MaxPlanesHeader] bytes always suffice. The error is an [ErrCorrupt] or an
// [ErrNewerFormat].
func ReadPlanesHeader(b []byte) (PlanesHeader, error) {
	var h PlanesHeader
	if len(b) < planesFixed || string(b[:4]) != planesMagic {
		return h, corrupt("planes: no magic")
	}
	switch v := b[4]; {
	case v > planesVersion:
		return h, newer("planes", v)
	case v < planesVersion || b[5] > maxPlanes || b[6] != 0 || b[7] != 0:
		return h, corrupt("planes: version %d, %d planes", v, b[5])
	}
	h.Planes = int(b[5])
	h.payloadAt = planesPayloadOffset(h.Planes)
	if len(b) < h.payloadAt {
		return h, corrupt("planes: header of %d bytes in %d", h.payloadAt, len(b))
	}
	h.payloadCRC = binary.LittleEndian.Uint32(b[8:])
	if got := headerCRC(b[:h.payloadAt]); got != binary.LittleEndian.Uint32(b[12:]) {
		return h, corrupt("planes: header checksum")
	}
	h.Min = int64(binary.LittleEndian.Uint64(b[16:]))
	h.Max = int64(binary.LittleEndian.Uint64(b[24:]))
	h.Size = h.payloadAt
	if err := h.readEntries(b[planesFixed:h.payloadAt]); err != nil {
		return h, err
	}
	h.Count = h.entries[0].count
	if h.Min > h.Max || bits.Len64(uint64(h.Max)-uint64(h.Min)) != h.Planes || h.Count == 0 && h.Min != 0 {
		return h, corrupt("planes: %d planes of %d to %d", h.Planes, h.Min, h.Max)
	}
	return h, nil
}

func (h *PlanesHeader) readEntries(b []byte) error {
	for i := range 1 + h.Planes {
		v := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if v == entryEmpty {
			continue
		}
		e, ok := parseEntry(v)
		if !ok {
			return corrupt("planes: container %d: entry %#x", i, v)
		}
		h.entries[i] = e
		h.Size += e.bytes()
	}
	for _, v := range b {
		if v != 0 {
			return corrupt("planes: padding")
		}
	}
	return nil
}

// MemWords returns how many words of memory [DecodePlanesInto] takes for the planes.
func (h *PlanesHeader) MemWords() int { return (1 + h.Planes) * WordsPerSet }

// DecodePlanes verifies and decodes planes into memory of their own. b is exactly the
// encoded form. The error is an [ErrCorrupt] or an [ErrNewerFormat].
func DecodePlanes(b []byte) (*Planes, error) {
	h, err := ReadPlanesHeader(b)
	if err != nil {
		return nil, err
	}
	p := new(Planes)
	*p, err = DecodePlanesInto(&h, b, nil)
	return p, err
}

// DecodePlanesInto is [DecodePlanes] into memory of the caller (an arena), whose content
// does not matter: h is the header read from b, mem has h.MemWords() words (if it has
// fewer, memory is allocated). The planes keep mem.
func DecodePlanesInto(h *PlanesHeader, b []byte, mem []uint64) (Planes, error) {
	p := Planes{min: h.Min, max: h.Max, count: h.Count, n: h.Planes}
	if len(b) != h.Size {
		return p, corrupt("planes: %d bytes, the header says %d", len(b), h.Size)
	}
	if crc32c(b[h.payloadAt:]) != h.payloadCRC {
		return p, corrupt("planes: payload checksum")
	}
	if n := h.MemWords(); len(mem) < n {
		mem = make([]uint64, n)
	} else {
		mem = mem[:n]
	}
	p.mem = mem
	bad := decodePayload(b[h.payloadAt:], h.entries[:1+h.Planes], func(i int) Set {
		return Set{Form: Dense, Words: p.words(i)}
	})
	if bad >= 0 {
		return p, corrupt("planes: container %d", bad)
	}
	return p, nil
}
