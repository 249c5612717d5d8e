package bitmap

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"unsafe"
)

// The fragment format; see the package comment.
const (
	fragmentMagic   = "KNTF"
	fragmentVersion = 1
	fragmentFixed   = 16 // bytes before the entries
)

// MaxFragmentHeader is how many bytes the longest fragment header takes: enough of a
// fragment for [ReadFragmentHeader].
const MaxFragmentHeader = fragmentFixed + 4*ShardChunks

// denseAbove is from how many elements on a decoded container is held as Words although
// it was an array on disk: an operation on words costs 70 ns flat, on an array about
// 1 ns per element, and 1,000 elements are where the memory still pays.
const denseAbove = 1000

// FragmentHeader is what a fragment says without its payload.
type FragmentHeader struct {
	Counts [ShardChunks]int // elements per chunk, 0 to 65,536
	Total  int              // elements
	Size   int              // bytes of the whole fragment

	mask       uint16
	entries    [ShardChunks]entry
	payloadCRC uint32
	payloadAt  int
}

// Fragment is a decoded fragment. It never changes and is safe for concurrent use.
type Fragment struct {
	mem    []uint64 // words and arrays of all chunks
	total  int
	chunks [ShardChunks]chunkRef
}

// chunkRef says where a chunk is. Its count tells its form: none is Empty, all Full,
// more than denseAbove Dense, else Sparse.
type chunkRef struct {
	count uint32
	at    uint32 // index in mem of its first word
}

// Chunk returns the set of chunk i of the shard, 0 to 15; it is backed by the fragment.
func (f *Fragment) Chunk(i int) Set {
	c := f.chunks[i]
	switch {
	case c.count == 0:
		return Set{}
	case c.count == ChunkSize:
		return Set{Form: Full}
	case c.count > denseAbove:
		return Set{Form: Dense, Words: (*Words)(f.mem[c.at:])}
	}
	first := (*uint16)(unsafe.Pointer(&f.mem[c.at]))
	return Set{Form: Sparse, Array: unsafe.Slice(first, c.count)}
}

// Count returns the number of elements of chunk i of the shard, 0 to 15.
func (f *Fragment) Count(i int) int { return int(f.chunks[i].count) }

// Total returns the number of elements.
func (f *Fragment) Total() int { return f.total }

// MemBytes returns how many bytes of memory the fragment takes.
func (f *Fragment) MemBytes() int { return int(unsafe.Sizeof(*f)) + 8*len(f.mem) }

// ReadFragmentHeader reads a header and verifies its checksum. b is a fragment or begins
// as one; [MaxFragmentHeader] bytes always suffice. The error is an [ErrCorrupt] or an
// [ErrNewerFormat].
func ReadFragmentHeader(b []byte) (FragmentHeader, error) {
	var h FragmentHeader
	if len(b) < fragmentFixed || string(b[:4]) != fragmentMagic {
		return h, corrupt("fragment: no magic")
	}
	switch v := b[4]; {
	case v > fragmentVersion:
		return h, newer("fragment", v)
	case v < fragmentVersion || b[5] != 0:
		return h, corrupt("fragment: version %d, reserved %d", v, b[5])
	}
	h.mask = binary.LittleEndian.Uint16(b[6:])
	h.payloadAt = payloadOffset(bits.OnesCount16(h.mask))
	if len(b) < h.payloadAt {
		return h, corrupt("fragment: header of %d bytes in %d", h.payloadAt, len(b))
	}
	h.payloadCRC = binary.LittleEndian.Uint32(b[8:])
	if got := headerCRC(b[:h.payloadAt]); got != binary.LittleEndian.Uint32(b[12:]) {
		return h, corrupt("fragment: header checksum")
	}
	return h, h.readEntries(b[fragmentFixed:h.payloadAt])
}

// payloadOffset returns where the payload of a fragment of n containers begins.
func payloadOffset(n int) int { return (fragmentFixed + 4*n + 7) &^ 7 }

// readEntries unpacks the entries and adds up counts and sizes.
func (h *FragmentHeader) readEntries(b []byte) error {
	h.Size = h.payloadAt
	for m := h.mask; m != 0; m &= m - 1 {
		i := bits.TrailingZeros16(m)
		v := binary.LittleEndian.Uint32(b)
		b = b[4:]
		e, ok := parseEntry(v)
		if !ok {
			return corrupt("fragment: container %d: entry %#x", i, v)
		}
		h.entries[i] = e
		h.Counts[i] = e.count
		h.Total += e.count
		h.Size += e.bytes()
	}
	for _, v := range b {
		if v != 0 {
			return corrupt("fragment: padding")
		}
	}
	return nil
}

// MemWords returns how many words of memory [DecodeFragmentInto] takes for the fragment.
func (h *FragmentHeader) MemWords() int {
	n := 0
	for _, count := range h.Counts {
		n += memWords(count)
	}
	return n
}

// memWords returns how many words a decoded container of so many elements takes.
func memWords(count int) int {
	switch {
	case count == ChunkSize:
		return 0
	case count > denseAbove:
		return WordsPerSet
	}
	return (count + 3) / 4
}

// DecodeFragment verifies and decodes a fragment into memory of its own. b is exactly one
// fragment. The error is an [ErrCorrupt] or an [ErrNewerFormat].
func DecodeFragment(b []byte) (*Fragment, error) {
	h, err := ReadFragmentHeader(b)
	if err != nil {
		return nil, err
	}
	f := new(Fragment)
	return f, h.decode(f, b, nil)
}

// DecodeFragmentInto is [DecodeFragment] into memory of the caller (an arena), whose
// content does not matter: h is the header read from b, mem has h.MemWords() words (if it
// has fewer, memory is allocated). The fragment keeps mem.
func DecodeFragmentInto(h *FragmentHeader, b []byte, mem []uint64) (Fragment, error) {
	var f Fragment
	err := h.decode(&f, b, mem)
	return f, err
}

// verify checks the size and the payload of the fragment b.
func (h *FragmentHeader) verify(b []byte) error {
	if len(b) != h.Size {
		return corrupt("fragment: %d bytes, the header says %d", len(b), h.Size)
	}
	if crc32c(b[h.payloadAt:]) != h.payloadCRC {
		return corrupt("fragment: payload checksum")
	}
	return nil
}

// decode verifies the payload of the fragment b and unpacks it into f.
func (h *FragmentHeader) decode(f *Fragment, b []byte, mem []uint64) error {
	if err := h.verify(b); err != nil {
		return err
	}
	if n := h.MemWords(); len(mem) < n {
		mem = make([]uint64, n)
	} else {
		mem = mem[:n]
	}
	f.mem, f.total = mem, h.Total
	at := 0
	for i, count := range h.Counts {
		f.chunks[i] = chunkRef{count: uint32(count), at: uint32(at)}
		at += memWords(count)
	}
	if i := decodePayload(b[h.payloadAt:], h.entries[:], f.Chunk); i >= 0 {
		return corrupt("fragment: container %d", i)
	}
	return nil
}

// EncodeFragment appends the fragment of a shard's sets to dst and returns it. The
// fragment begins at len(dst); its payload is aligned to 8 bytes from there.
func EncodeFragment(dst []byte, sets *[ShardChunks]Set) []byte {
	var entries [ShardChunks]entry
	for i := range sets {
		entries[i] = entryOf(sets[i])
	}
	return encodeFragment(dst, sets, &entries, nil)
}

// encodeFragment is EncodeFragment of sets with their entries. A chunk that has bytes in
// kept has those in place of its set.
func encodeFragment(dst []byte, sets *[ShardChunks]Set, entries *[ShardChunks]entry, kept *[ShardChunks][]byte) []byte {
	mask, n := uint16(0), 0
	for i, e := range entries {
		if e.count > 0 {
			mask |= 1 << i
			n++
		}
	}
	start := len(dst)
	dst = append(dst, fragmentMagic...)
	dst = append(dst, fragmentVersion, 0)
	dst = binary.LittleEndian.AppendUint16(dst, mask)
	dst = append(dst, make([]byte, 8)...) // the checksums
	for _, e := range entries {
		if e.count > 0 {
			dst = binary.LittleEndian.AppendUint32(dst, e.pack())
		}
	}
	at := start + payloadOffset(n)
	for len(dst) < at {
		dst = append(dst, 0)
	}
	dst = appendPayload(dst, sets[:], entries[:], kept)
	binary.LittleEndian.PutUint32(dst[start+8:], crc32c(dst[at:]))
	binary.LittleEndian.PutUint32(dst[start+12:], headerCRC(dst[start:at]))
	return dst
}

// EncodeOrdinals is [EncodeFragment] for the sorted, distinct ordinals of a shard, each
// below ShardSize. It fails if they are not.
func EncodeOrdinals(dst []byte, ordinals []uint32) ([]byte, error) {
	dst, _, err := ReplaceChunks(dst, nil, 0, ordinals)
	return dst, err
}

// ReplaceChunks is [EncodeOrdinals] for the ordinals and, in the chunks whose bits are set
// in keep and which have none of them, those of the fragment old; nil is an empty one. It
// returns how many there are together. The error is an [ErrCorrupt] or an
// [ErrNewerFormat] if it is old's.
func ReplaceChunks(dst, old []byte, keep uint16, ordinals []uint32) (_ []byte, total int, err error) {
	low := make([]uint16, len(ordinals))
	var sets [ShardChunks]Set
	var entries [ShardChunks]entry
	var kept [ShardChunks][]byte
	if old != nil {
		h, err := ReadFragmentHeader(old)
		if err == nil {
			err = h.pieces(old, &kept)
		}
		if err != nil {
			return dst, 0, err
		}
		entries = h.entries
		for i := range kept {
			if keep>>i&1 == 0 {
				entries[i], kept[i] = entry{}, nil
			}
		}
	}
	last, from := -1, 0
	for i, o := range ordinals {
		if int64(o) <= int64(last) || o >= ShardSize || keep>>(o>>ChunkBits)&1 != 0 {
			return dst, 0, fmt.Errorf("bitmap: ordinal %d at %d: not ascending within a shard, or in a chunk that is kept", o, i)
		}
		last = int(o)
		low[i] = uint16(o)
		if c := o >> ChunkBits; i+1 == len(ordinals) || ordinals[i+1]>>ChunkBits != c {
			sets[c] = FromArray(low[from : i+1])
			entries[c] = entryOf(sets[c])
			from = i + 1
		}
	}
	for _, e := range entries {
		total += e.count
	}
	return encodeFragment(dst, &sets, &entries, &kept), total, nil
}

// pieces verifies the payload of the fragment b and finds the bytes of each container.
func (h *FragmentHeader) pieces(b []byte, out *[ShardChunks][]byte) error {
	if err := h.verify(b); err != nil {
		return err
	}
	payload := b[h.payloadAt:]
	for _, kind := range payloadOrder() {
		for i, e := range h.entries {
			if e.count > 0 && e.kind == kind {
				out[i], payload = payload[:e.bytes()], payload[e.bytes():]
			}
		}
	}
	return nil
}

// crc32c is the checksum of all formats here; the standard library has it in hardware.
func crc32c(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// headerCRC is the checksum of a header without the field that holds it.
func headerCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, b[:12]), table, b[16:])
}
