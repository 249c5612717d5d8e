package bitmap

import "slices"

// Geometry of the ordinal space. These are formats.
const (
	ChunkBits   = 16
	ChunkSize   = 1 << ChunkBits        // ordinals of a chunk, the unit of execution
	ShardBits   = 20                    // ordinals of a shard are 2^20, the unit of storage
	ShardSize   = 1 << ShardBits        //
	ShardChunks = ShardSize / ChunkSize // 16
	WordsPerSet = ChunkSize / 64        // 1024
)

// MaxSparse is the most elements a Sparse set may have: what fits the memory of one
// Words, so that a caller's buffer can hold any result.
const MaxSparse = WordsPerSet * 4

// Words is the dense form of a set of one chunk's ordinals: bit i of word i/64. 8 KiB.
type Words [WordsPerSet]uint64

// Form is how a [Set] is held.
type Form uint8

// The forms of a set.
const (
	Empty  Form = iota // no element; the zero Set
	Full               // all 65,536 ordinals
	Dense              // Words; any number of elements, even none or all
	Sparse             // Array: sorted, distinct, 1 to MaxSparse elements
)

// Set is a set of ordinals within one chunk. It is a view: Words and Array belong to
// whoever made it (the cache, or a caller's scratch), must not be changed through it,
// and live as long as their owner says. Copying a Set copies the view.
type Set struct {
	Form  Form
	Words *Words
	Array []uint16
}

// FromWords returns a view of w: Empty, Full, or Dense and backed by w.
func FromWords(w *Words) Set {
	switch w.Count() {
	case 0:
		return Set{}
	case ChunkSize:
		return Set{Form: Full}
	}
	return Set{Form: Dense, Words: w}
}

// FromArray returns a set of sorted, distinct ordinals: a Sparse view of a, or, if a has
// more than MaxSparse elements, a new Dense (or Full) set.
func FromArray(a []uint16) Set {
	switch {
	case len(a) == 0:
		return Set{}
	case len(a) == ChunkSize:
		return Set{Form: Full}
	case len(a) <= MaxSparse:
		return Set{Form: Sparse, Array: a}
	}
	w := new(Words)
	w.scatter(a)
	return Set{Form: Dense, Words: w}
}

// Count returns the number of elements, 0 to 65,536.
func (s Set) Count() int {
	switch s.Form {
	case Full:
		return ChunkSize
	case Dense:
		return s.Words.Count()
	case Sparse:
		return len(s.Array)
	}
	return 0
}

// IsEmpty reports whether the set has no element.
func (s Set) IsEmpty() bool {
	switch s.Form {
	case Full:
		return false
	case Dense:
		return s.Words.IsEmpty()
	case Sparse:
		return len(s.Array) == 0
	}
	return true
}

// Contains reports whether i is an element.
func (s Set) Contains(i uint16) bool {
	switch s.Form {
	case Full:
		return true
	case Dense:
		return s.Words.Has(i)
	case Sparse:
		_, ok := slices.BinarySearch(s.Array, i)
		return ok
	}
	return false
}

// AppendTo appends the elements to dst in ascending order and returns it.
func (s Set) AppendTo(dst []uint16) []uint16 {
	switch s.Form {
	case Full:
		for i := range ChunkSize {
			dst = append(dst, uint16(i))
		}
	case Dense:
		dst = s.Words.appendTo(dst)
	case Sparse:
		dst = append(dst, s.Array...)
	}
	return dst
}

// ToWords returns the set in dense form: s.Words itself if s is Dense, else buf, written
// fully. The caller must not write to the result unless it is buf. s may be backed by buf.
func (s Set) ToWords(buf *Words) *Words {
	switch s.Form {
	case Full:
		buf.Fill()
	case Dense:
		return s.Words
	case Sparse:
		a := s.Array
		if backs(buf, a) {
			a = slices.Clone(a)
		}
		buf.Clear()
		buf.scatter(a)
	default:
		buf.Clear()
	}
	return buf
}

// Clone returns a copy in memory of its own.
func (s Set) Clone() Set {
	switch s.Form {
	case Dense:
		w := *s.Words
		return Set{Form: Dense, Words: &w}
	case Sparse:
		return Set{Form: Sparse, Array: slices.Clone(s.Array)}
	}
	return Set{Form: s.Form}
}
