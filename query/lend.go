package query

import (
	"time"

	"github.com/kantadb/kanta/index/bitmap"
)

// What an analysis lends to expressions is a column of each person that it works out for
// everybody at once: rfm("orders").segment. A definition, an analysis with its arguments
// that was saved under a name, says what is meant by it.

// Lent is a field that an analysis lends.
type Lent struct {
	Field string
	Texts []string // which texts it may be, by code; nil: it is a whole number from 1 to MaxLent
}

// MaxLent is the greatest number, and how many texts there may be: with "none" they fill a byte.
const MaxLent = 255

// LentValues are the values of a field: a byte for each person, so that a comparison of a
// chunk is a look at 64 KiB. They are filled by one goroutine and then never change.
type LentValues struct {
	Texts  []string            // of the field
	chunks [][]uint8           // by ordinal: 0 none, else the number, or the text's code plus 1; nil: nobody of the chunk has one
	counts [MaxLent + 1]uint64 // how many have each byte; none is not counted
	people uint64
}

// LentCost is what it took to work out what a definition lends.
type LentCost struct {
	Name      string // as expressions call it: rfm("orders")
	People    uint64 // who has what is lent
	BytesRead uint64
	Elapsed   time.Duration
}

// NewLentValues returns the values of a field of nobody, for so many chunks of people.
func NewLentValues(of *Lent, chunks int) *LentValues {
	return &LentValues{Texts: of.Texts, chunks: make([][]uint8, chunks)}
}

// LentBytes is what the values of one chunk take at most.
const LentBytes = bitmap.ChunkSize

// Put gives somebody who has none a value: a number, or a text's code plus 1.
func (v *LentValues) Put(ordinal uint32, value uint8) {
	chunk := &v.chunks[ordinal>>bitmap.ChunkBits]
	if *chunk == nil {
		*chunk = make([]uint8, bitmap.ChunkSize)
	}
	(*chunk)[uint16(ordinal)] = value
	v.counts[value]++
	v.people++
}

// Chunk returns the values of a chunk by ordinal, nil if nobody has one; see Put, 0 is none.
func (v *LentValues) Chunk(chunk int) []uint8 { return v.chunks[chunk] }

// People returns how many have a value.
func (v *LentValues) People() uint64 { return v.people }

// Count returns how many have a value; see Put.
func (v *LentValues) Count(value uint8) uint64 { return v.counts[value] }

// Between returns who of a chunk has a value from low to high, 1 or more; see Put.
func (v *LentValues) Between(chunk int, low, high uint8, buf *bitmap.Words) bitmap.Set {
	if v.chunks[chunk] == nil || low > high {
		return bitmap.Set{}
	}
	bitmap.BetweenU8(v.chunks[chunk], low, high, buf[:])
	return bitmap.FromWords(buf)
}
