package view

import (
	"math"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Masked is a view for showing people: of some attributes and properties it says only where
// there is a value, which reads [query.Mask]. Whoever reads it gets no other value of them,
// nor anything made of one, such as the hash that orders events of one time.
type Masked struct {
	View   // its schema has them as they are stored
	schema *schema.Schema
	masked map[schema.AttrID]bool
}

// NewMasked makes a masked view of one whose schema has all that is shown, as it is
// stored. masked are the ids of what is not, which in shown are inline strings.
func NewMasked(v View, shown *schema.Schema, masked map[schema.AttrID]bool) *Masked {
	return &Masked{v, shown, masked}
}

// Schema returns the schema in which what is masked is an inline string.
func (v *Masked) Schema() *schema.Schema { return v.schema }

// Cursor opens a reader for one goroutine.
func (v *Masked) Cursor() query.Cursor { return &maskedCursor{Cursor: v.Counted("the question"), v: v} }

// maskedCursor is a cursor of a masked view.
type maskedCursor struct {
	*Cursor
	v       *Masked
	present bitmap.Words
	columns []query.EventColumn
}

var _ query.EventCursor = (*maskedCursor)(nil)

// GatherStrings gathers inline strings and keys, and masks.
func (c *maskedCursor) GatherStrings(attr schema.AttrID, chunk int, ords []uint16, dst [][]byte) error {
	if !c.v.masked[attr] {
		return c.Cursor.GatherStrings(attr, chunk, ords, dst)
	}
	has, err := c.Exists(attr, chunk, &c.present)
	if err != nil {
		return err
	}
	for i, o := range ords {
		if dst[i] = nil; has.Contains(o) {
			dst[i] = []byte(query.Mask)
		}
	}
	return nil
}

// Events reads events; see [query.EventCursor].
func (c *maskedCursor) Events(scan *query.EventScan, chunk int, within *bitmap.Set, f func(b *query.EventBlock) error) error {
	if !slices.ContainsFunc(scan.Properties, func(id schema.AttrID) bool { return c.v.masked[id] }) {
		return c.Cursor.Events(scan, chunk, within, f)
	}
	return c.Cursor.Events(scan, chunk, within, func(b *query.EventBlock) error {
		out := *b
		c.columns = append(c.columns[:0], b.Columns...)
		out.Columns = c.columns
		for i, id := range scan.Properties {
			if c.v.masked[id] {
				out.Columns[i] = masked(&b.Columns[i], len(b.Ords))
			}
		}
		return f(&out)
	})
}

// masked makes a column of n events one of masks.
func masked(of *query.EventColumn, n int) query.EventColumn {
	out := query.EventColumn{Texts: make([][]byte, n), Present: make([]uint64, (n+63)/64)}
	from := uint32(0)
	for i := range n {
		has := of.Present == nil || of.Present[i>>6]>>(i&63)&1 != 0
		switch {
		case of.Codes != nil:
			has = of.Codes[i] != math.MaxUint32
		case of.Texts != nil:
			has = has && of.Texts[i] != nil
		case of.Ints == nil:
			has = of.Sets.Ends[i] > from
			from = of.Sets.Ends[i]
		}
		if has {
			out.Texts[i] = []byte(query.Mask)
			out.Present[i>>6] |= 1 << (i & 63)
		}
	}
	return out
}
