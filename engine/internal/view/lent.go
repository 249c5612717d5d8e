package view

import (
	"maps"
	"math"
	"sync/atomic"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Lent is what analyses lend to the readers of a state at one instant: columns that nothing
// stores. They are added when a question needs them, and never change. Safe for concurrent
// use; one goroutine adds at a time.
type Lent struct {
	columns atomic.Pointer[map[schema.AttrID]*query.LentValues]
}

// Add adds columns.
func (l *Lent) Add(columns map[schema.AttrID]*query.LentValues) {
	all := maps.Clone(columns)
	if was := l.columns.Load(); was != nil {
		maps.Copy(all, *was)
	}
	l.columns.Store(&all)
}

// of returns a column, nil if there is none.
func (l *Lent) of(id schema.AttrID) *query.LentValues {
	if l == nil {
		return nil
	}
	all := l.columns.Load()
	if all == nil {
		return nil
	}
	return (*all)[id]
}

// lent returns a column that the question must have had worked out.
func (c *Cursor) lent(id schema.AttrID) (*query.LentValues, error) {
	if v := c.s.Lent.of(id); v != nil {
		return v, nil
	}
	return nil, query.Errorf(query.CodeInternal, "what an analysis lends as attribute %d was not worked out", id)
}

// lentCode returns the byte that stands for the code of a text.
func lentCode(code uint32) uint8 {
	if code >= query.MaxLent {
		return 0
	}
	return uint8(code) + 1
}

// lentBetween returns who of a chunk has a value between two bytes, of which the lower may
// not be none.
func (c *Cursor) lentBetween(id schema.AttrID, low, high uint8, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	v, err := c.lent(id)
	if err != nil || low == 0 {
		return bitmap.Set{}, err
	}
	c.bytes += uint64(len(v.Chunk(chunk)))
	return v.Between(chunk, low, high, buf), nil
}

// lentRange is Range of a lent number.
func (c *Cursor) lentRange(id schema.AttrID, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	lo, hi = max(lo, 1), min(hi, math.MaxUint8)
	if lo > hi {
		return bitmap.Set{}, nil
	}
	s, err := c.lentBetween(id, uint8(lo), uint8(hi), chunk, buf)
	if within == nil || err != nil || s.IsEmpty() {
		return s, err
	}
	return bitmap.And(s, *within, buf), nil
}

// lentCodes is GatherCodes of a lent text.
func (c *Cursor) lentCodes(id schema.AttrID, chunk int, ords []uint16, dst []uint32) error {
	v, err := c.lent(id)
	if err != nil {
		return err
	}
	c.bytes += uint64(len(ords))
	values := v.Chunk(chunk)
	for i, o := range ords {
		dst[i] = schema.NoCode
		if values != nil {
			dst[i] = uint32(values[o]) - 1 // of none NoCode
		}
	}
	return nil
}

// lentInts is GatherInts of a lent number.
func (c *Cursor) lentInts(id schema.AttrID, chunk int, ords []uint16, dst []int64, ok []bool) error {
	v, err := c.lent(id)
	if err != nil {
		return err
	}
	c.bytes += uint64(len(ords))
	values := v.Chunk(chunk)
	if values == nil {
		clear(ok[:len(ords)])
		return nil
	}
	for i, o := range ords {
		dst[i], ok[i] = int64(values[o]), values[o] > 0
	}
	return nil
}
