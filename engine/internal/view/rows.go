package view

import (
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Rows is who there is for the readers of a state: for them nobody else lives. It never
// changes, and is safe for concurrent use.
type Rows struct {
	chunks []bitmap.Set
	people uint64
	living uint64 // about how many live in all
}

// NewRows makes rows of one bit per ordinal, whole chunks of them, which it keeps. All of
// them live, out of about living.
func NewRows(words []uint64, living uint64) *Rows {
	r := &Rows{chunks: make([]bitmap.Set, len(words)/bitmap.WordsPerSet), living: living}
	for i := range r.chunks {
		r.chunks[i] = bitmap.FromWords((*bitmap.Words)(words[i*bitmap.WordsPerSet:]))
		r.people += uint64(r.chunks[i].Count())
	}
	return r
}

// People is how many they are.
func (r *Rows) People() uint64 { return r.people }

// only returns those of a set of a chunk who are among the rows. It may be an operand, or
// stand in buf, which may back the set.
func (r *Rows) only(s bitmap.Set, chunk int, buf *bitmap.Words) bitmap.Set {
	if chunk >= len(r.chunks) {
		return bitmap.Set{}
	}
	return bitmap.And(s, r.chunks[chunk], buf)
}

// has reports whether somebody is among the rows; nil rows are everybody.
func (r *Rows) has(ord uint32) bool {
	if r == nil {
		return true
	}
	chunk := int(ord >> bitmap.ChunkBits)
	return chunk < len(r.chunks) && r.chunks[chunk].Contains(uint16(ord))
}

// share returns about how many of n people are among the rows.
func (r *Rows) share(n uint64) uint64 {
	if n >= r.living {
		return r.people
	}
	return n * r.people / r.living // each is a number of ordinals, of 32 bits
}

// Row returns the profiles that have a code.
func (c *Cursor) Row(attr schema.AttrID, code uint32, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	s, err := c.row(attr, code, chunk, buf)
	if c.s.Rows == nil || err != nil {
		return s, err
	}
	return c.s.Rows.only(s, chunk, buf), nil
}

// Exists returns the profiles that have a value; of the key attribute, who lives.
func (c *Cursor) Exists(attr schema.AttrID, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	s, err := c.exists(attr, chunk, buf)
	if c.s.Rows == nil || err != nil {
		return s, err
	}
	return c.s.Rows.only(s, chunk, buf), nil
}

// Range returns the profiles, out of within, whose number lies in [lo, hi].
func (c *Cursor) Range(attr schema.AttrID, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	s, err := c.between(attr, lo, hi, chunk, within, buf)
	if c.s.Rows == nil || err != nil {
		return s, err
	}
	return c.s.Rows.only(s, chunk, buf), nil
}

// RowCount returns how many profiles have a code; exact if the head has nothing of the
// attribute, and everybody is read as it is.
func (v View) RowCount(attr schema.AttrID, code uint32) (n uint64, exact bool) {
	n, exact = v.rowCount(attr, code)
	return v.among(attr, n, exact)
}

// ExistsCount returns how many profiles have a value; exact if the head has nothing of the
// attribute, and everybody is read as it is. How many live among rows is always known.
func (v View) ExistsCount(attr schema.AttrID) (n uint64, exact bool) {
	if v.S.Rows != nil && attr == schema.KeyAttr {
		return v.S.Rows.people, true
	}
	n, exact = v.existsCount(attr)
	return v.among(attr, n, exact)
}

// among makes a number of everybody one of the rows. What is lent was worked out among them.
func (v View) among(attr schema.AttrID, n uint64, exact bool) (uint64, bool) {
	if v.S.Rows == nil || attr >= schema.FirstLent {
		return n, exact
	}
	return v.S.Rows.share(n), false
}

var _ query.View = View{}
