package query

import (
	"context"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// View is one consistent state of a store, as the evaluator reads it. It never
// changes and is safe for concurrent use. Whoever made it closes it.
type View interface {
	Schema() *schema.Schema

	// Chunks returns one more than the chunk of the highest assigned ordinal (0: none).
	// Chunk c holds the ordinals c<<16 to c<<16 + 65,535. Ordinals of deleted profiles
	// stay assigned; Cursor.Exists of schema.KeyAttr tells who lives.
	Chunks() int

	// Code returns the dictionary code of a string of a dictionary attribute or set.
	// No code means that no profile ever had that string.
	Code(attr schema.AttrID, s string) (code uint32, ok bool)

	// Text is the inverse of Code. It costs a look-up, not a scan.
	Text(attr schema.AttrID, code uint32) (s string, ok bool)

	// Codes calls f for each (code, string) of a dictionary, in order of code,
	// until f returns false. It may list strings that nobody has any more.
	Codes(attr schema.AttrID, f func(code uint32, s string) bool)

	// RowCount returns how many profiles have a code, if that is known without
	// reading data (nothing of the attribute in the head); else an estimate and false.
	RowCount(attr schema.AttrID, code uint32) (n uint64, exact bool)

	// ExistsCount is RowCount for "has any value"; schema.KeyAttr counts the living.
	ExistsCount(attr schema.AttrID) (n uint64, exact bool)

	// Find returns the sorted ordinals of the living profiles whose inline string
	// attribute equals s; schema.KeyAttr finds a profile by key.
	Find(ctx context.Context, attr schema.AttrID, s string) ([]uint32, error)

	// Cursor opens a reader for one goroutine.
	Cursor() Cursor
}

// Cursor reads a view's data, chunk by chunk. It belongs to one goroutine. A Set it
// returns is either backed by the cache or by the buf given to the same call, and is
// valid until Release or Close; data of deleted profiles is never in it. Errors are
// I/O errors, corruption, or a spent memory budget.
type Cursor interface {
	// Exists returns the profiles that have a value (a set: are not empty);
	// schema.KeyAttr: the living ones.
	Exists(attr schema.AttrID, chunk int, buf *bitmap.Words) (bitmap.Set, error)

	// Row returns the profiles that have a code of a coded attribute
	// (bool: 0 and 1; schema.ListsAttr: the list's id).
	Row(attr schema.AttrID, code uint32, chunk int, buf *bitmap.Words) (bitmap.Set, error)

	// Range returns the profiles, out of within (nil: all), whose value of an ordered
	// kind lies in [lo, hi], in ordered form. The cursor picks planes, a column scan
	// or a probe of the candidates.
	Range(attr schema.AttrID, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error)

	// GatherCodes writes to dst[i] the code of the profile with ordinal ords[i] within
	// the chunk (bool, dictionary string), schema.NoCode if absent. ords ascend.
	GatherCodes(attr schema.AttrID, chunk int, ords []uint16, dst []uint32) error

	// GatherInts writes ordered forms to dst and whether there is a value to ok.
	GatherInts(attr schema.AttrID, chunk int, ords []uint16, dst []int64, ok []bool) error

	// GatherStrings writes the bytes of an inline string, nil if absent; they are
	// valid until Release.
	GatherStrings(attr schema.AttrID, chunk int, ords []uint16, dst [][]byte) error

	// GatherSets appends the codes of each profile's elements to dst.Codes and the
	// end of each profile's part to dst.Ends.
	GatherSets(attr schema.AttrID, chunk int, ords []uint16, dst *Sets) error

	// BytesRead is the total of stored or cached bytes looked at so far.
	BytesRead() uint64

	// Release gives back what the cursor holds of the cache: call it between chunks.
	Release()

	// Close ends the cursor.
	Close()
}

// MemoryCursor is a Cursor that has account of memory: what whoever reads with it keeps of
// what is read, of texts above all, is taken from the store's budget.
type MemoryCursor interface {
	// Take takes bytes more, before they are allocated, and fails with [CodeBudget] if so
	// much is not left; fewer than 0 are given back. Close gives back what is left.
	Take(bytes int64) error
}

// take takes bytes of the budget with a cursor, if it has account of any.
func take(cur Cursor, bytes int64) error {
	if m, ok := cur.(MemoryCursor); ok && bytes != 0 {
		return m.Take(bytes)
	}
	return nil
}

// Sets is what GatherSets returns: profile i has Codes[Ends[i-1]:Ends[i]], ascending.
type Sets struct {
	Ends  []uint32
	Codes []uint32
}

// Env is what an evaluation knows beside the data.
type Env struct {
	Now time.Time // the instant that windows end at; UTC, whole milliseconds
}
