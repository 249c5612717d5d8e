package bitmap

import (
	"encoding/binary"
	"math/bits"
)

// The container format, which fragments and planes share; see the package comment.
const (
	maxArray    = 4096
	bitmapBytes = WordsPerSet * 8

	typeArray  = 0
	typeBitmap = 1
	typeRuns   = 2
	typeFull   = 3
)

// payloadOrder is the order of the containers in a payload, by type; Full has no bytes.
func payloadOrder() [3]uint8 { return [...]uint8{typeBitmap, typeRuns, typeArray} }

// entry describes a container. The zero entry is that of an empty one, which is not stored.
type entry struct {
	count int   // elements, 1 to 65,536
	runs  int   // of typeRuns, else anything
	kind  uint8 // type
}

// entryOf chooses how a set is stored: as the smallest of array, bitmap and runs.
func entryOf(s Set) entry {
	e := entry{count: s.Count()}
	switch s.Form {
	case Dense:
		e.runs = s.Words.runs()
	case Sparse:
		e.runs = arrayRuns(s.Array)
	}
	if e.count == ChunkSize {
		e.kind = typeFull
		return e
	}
	best := bitmapBytes
	e.kind = typeBitmap
	if e.count <= maxArray {
		e.kind, best = typeArray, 2*e.count
	}
	if 4*e.runs < best {
		e.kind = typeRuns
	}
	return e
}

// pack returns the stored form of an entry that is not empty.
func (e entry) pack() uint32 {
	v := uint32(e.count-1) | uint32(e.kind)<<16
	if e.kind == typeRuns {
		v |= uint32(e.runs-1) << 18
	}
	return v
}

// parseEntry is the inverse of pack. It reports whether v is well formed.
func parseEntry(v uint32) (entry, bool) {
	e := entry{count: int(v&0xffff) + 1, kind: uint8(v >> 16 & 3)}
	ok := v>>18 == 0
	switch e.kind {
	case typeArray:
		ok = ok && e.count <= maxArray
	case typeRuns:
		e.runs = int(v>>18&0x7ff) + 1
		ok = v>>29 == 0 && e.runs <= e.count
	case typeFull:
		ok = ok && e.count == ChunkSize
	}
	return e, ok
}

// bytes returns how many bytes of payload the container takes.
func (e entry) bytes() int {
	switch {
	case e.count == 0:
		return 0
	case e.kind == typeArray:
		return 2 * e.count
	case e.kind == typeBitmap:
		return bitmapBytes
	case e.kind == typeRuns:
		return 4 * e.runs
	}
	return 0
}

// appendPayload appends the containers of sets; entries describe them. The bytes of some
// are known already: those in kept, if that is not nil.
func appendPayload(dst []byte, sets []Set, entries []entry, kept *[ShardChunks][]byte) []byte {
	for _, kind := range payloadOrder() {
		for i, e := range entries {
			switch {
			case e.count == 0 || e.kind != kind:
			case kept != nil && kept[i] != nil:
				dst = append(dst, kept[i]...)
			default:
				dst = appendContainer(dst, sets[i], kind)
			}
		}
	}
	return dst
}

// decodePayload unpacks containers into the memory of the sets that dst returns, whose
// forms are chosen already. It returns the index of the first container that is not well
// formed, or -1. payload has exactly as many bytes as the entries say.
func decodePayload(payload []byte, entries []entry, dst func(i int) Set) int {
	for i, e := range entries {
		if s := dst(i); s.Form == Dense && e.count == 0 {
			s.Words.Clear()
		} else if s.Form == Dense && e.kind == typeFull {
			s.Words.Fill()
		}
	}
	for _, kind := range payloadOrder() {
		for i, e := range entries {
			if e.count == 0 || e.kind != kind {
				continue
			}
			n := e.bytes()
			if !decodeContainer(dst(i), e.count, kind, payload[:n]) {
				return i
			}
			payload = payload[n:]
		}
	}
	return -1
}

func arrayRuns(a []uint16) int {
	n, next := 0, -1
	for _, v := range a {
		if int(v) != next {
			n++
		}
		next = int(v) + 1
	}
	return n
}

func appendContainer(dst []byte, s Set, kind uint8) []byte {
	switch kind {
	case typeBitmap:
		for _, v := range s.Words {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	case typeRuns:
		if s.Form == Dense {
			return appendWordRuns(dst, s.Words)
		}
		return appendArrayRuns(dst, s.Array)
	case typeArray:
		if s.Form == Sparse {
			for _, v := range s.Array {
				dst = binary.LittleEndian.AppendUint16(dst, v)
			}
			return dst
		}
		for i, v := range s.Words {
			for ; v != 0; v &= v - 1 {
				dst = binary.LittleEndian.AppendUint16(dst, uint16(i<<6|bits.TrailingZeros64(v)))
			}
		}
	}
	return dst
}

func appendArrayRuns(dst []byte, a []uint16) []byte {
	for i := 0; i < len(a); {
		j := i + 1
		for j < len(a) && a[j] == a[j-1]+1 {
			j++
		}
		dst = binary.LittleEndian.AppendUint16(dst, a[i])
		dst = binary.LittleEndian.AppendUint16(dst, a[j-1])
		i = j
	}
	return dst
}

func appendWordRuns(dst []byte, w *Words) []byte {
	for at := 0; at < ChunkSize; {
		first := w.next(at, 0)
		if first == ChunkSize {
			break
		}
		end := w.next(first, ^uint64(0))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(first))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(end-1))
		at = end
	}
	return dst
}

// decodeContainer unpacks src into the memory of dst, whose form is chosen already. It
// reports whether src is well formed and has count elements.
func decodeContainer(dst Set, count int, kind uint8, src []byte) bool {
	switch {
	case kind == typeBitmap && dst.Form == Dense:
		loadWords(dst.Words, src)
		return dst.Words.Count() == count
	case kind == typeBitmap:
		var w Words
		loadWords(&w, src)
		if w.Count() != count {
			return false
		}
		if dst.Form == Sparse {
			w.appendTo(dst.Array[:0])
		}
		return true
	case kind == typeRuns:
		return decodeRuns(dst, count, src)
	case dst.Form == Dense:
		dst.Words.Clear()
		last := -1
		for ; len(src) >= 2; src = src[2:] {
			v := binary.LittleEndian.Uint16(src)
			if int(v) <= last {
				return false
			}
			dst.Words.SetBit(v)
			last = int(v)
		}
		return true
	}
	last := -1
	for i := range dst.Array {
		v := binary.LittleEndian.Uint16(src[2*i:])
		if int(v) <= last {
			return false
		}
		dst.Array[i] = v
		last = int(v)
	}
	return true
}

func decodeRuns(dst Set, count int, src []byte) bool {
	if dst.Form == Dense {
		dst.Words.Clear()
	}
	out, n, next := dst.Array, 0, 0 // a run begins at next or later
	for ; len(src) >= 4; src = src[4:] {
		first := int(binary.LittleEndian.Uint16(src))
		last := int(binary.LittleEndian.Uint16(src[2:]))
		n += last - first + 1
		if first < next || last < first || n > count {
			return false
		}
		next = last + 2
		switch dst.Form {
		case Dense:
			dst.Words.setRange(first, last)
		case Sparse:
			for v := first; v <= last; v++ {
				out[0], out = uint16(v), out[1:]
			}
		}
	}
	return n == count
}

// loadWords copies little endian words.
func loadWords(w *Words, src []byte) {
	_ = src[bitmapBytes-1]
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(src[8*i:])
	}
}
