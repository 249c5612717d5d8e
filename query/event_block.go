package query

import (
	"context"
	"math"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Conditions on events are planned and evaluated by what plans and evaluates conditions on
// profiles: the events of a block are taken for the profiles of a chunk, their properties
// and [schema.TimeProperty] for attributes. So whatever may be asked of a profile may be
// asked of an event, with the same three values.

// eventView is the view that such a plan is made for.
type eventView struct {
	View   // of the profiles: their dictionaries are those of events too
	schema *schema.Schema
	event  *schema.Event
}

// timeAttribute is an event's time as an attribute.
var timeAttribute = schema.Attribute{ID: schema.TimeProperty, Name: "ts", Kind: schema.Timestamp} //tidy:constant

func newEventView(view View, e *schema.Event) *eventView {
	attrs := append(make([]schema.Attribute, 0, len(e.Properties)+1), timeAttribute)
	return &eventView{view, schema.New(view.Schema().Version, view.Schema().NextID, append(attrs, e.Properties...)), e}
}

// guessedEvents is how many events a block is taken to have when conditions are ordered.
const guessedEvents = 4096

func (v *eventView) Schema() *schema.Schema { return v.schema }
func (v *eventView) Chunks() int            { return 1 }

// RowCount guesses: nobody counts the values of properties.
func (v *eventView) RowCount(schema.AttrID, uint32) (uint64, bool) { return guessedEvents / 16, false }

// ExistsCount says of a property that some events may not have it.
func (v *eventView) ExistsCount(attr schema.AttrID) (uint64, bool) {
	if attr == schema.KeyAttr || attr == schema.TimeProperty {
		return guessedEvents, true
	}
	return guessedEvents / 8 * 7, false
}

// Find has no index to look in: the planner does not ask (planner.inInline).
func (v *eventView) Find(context.Context, schema.AttrID, string) ([]uint32, error) {
	return nil, Errorf(CodeInternal, "properties of events have no value index")
}

// blockCursor reads the columns of one block after the other.
type blockCursor struct {
	schema     *schema.Schema  // of the eventView
	properties []schema.AttrID // of the block's columns
	block      *EventBlock
	live       bitmap.Set // all events of the block
	words      bitmap.Words
	filled     int // how many events words holds
}

// begin moves to a block of a scan.
func (c *blockCursor) begin(b *EventBlock, scan *EventScan) error {
	n := len(b.Ords)
	switch {
	case n > bitmap.ChunkSize:
		return Errorf(CodeInternal, "a block of %d events, at most %d", n, bitmap.ChunkSize)
	case scan.Times && len(b.Times) != n, len(b.Columns) != len(scan.Properties):
		return Errorf(CodeInternal, "a block of %d events has %d times and %d columns", n, len(b.Times), len(b.Columns))
	}
	c.properties, c.block = scan.Properties, b
	if n == bitmap.ChunkSize {
		c.live = bitmap.Set{Form: bitmap.Full}
		return nil
	}
	if n != c.filled {
		clear(c.words[n/64 : max(n, c.filled)/64+1])
		for i := range n / 64 {
			c.words[i] = math.MaxUint64
		}
		c.words[n/64] = 1<<(n%64) - 1
		c.filled = n
	}
	c.live = bitmap.Set{Form: bitmap.Dense, Words: &c.words}
	return nil
}

// column returns the column of a property, of which size tells how many events it has.
func (c *blockCursor) column(attr schema.AttrID, size func(*EventColumn) int) (*EventColumn, error) {
	for i, p := range c.properties {
		if p != attr {
			continue
		}
		col, events := &c.block.Columns[i], len(c.block.Ords)
		if n := size(col); n != events || col.Present != nil && len(col.Present) < (events+63)/64 {
			return nil, Errorf(CodeInternal, "property %d has %d values in a block of %d events", attr, n, events)
		}
		return col, nil
	}
	return nil, Errorf(CodeInternal, "property %d was not read", attr)
}

func sizeOfCodes(c *EventColumn) int { return len(c.Codes) }
func sizeOfInts(c *EventColumn) int  { return len(c.Ints) }
func sizeOfTexts(c *EventColumn) int { return len(c.Texts) }
func sizeOfSets(c *EventColumn) int  { return len(c.Sets.Ends) }

// ints returns a column of ordered forms, and who has one (nil: all).
func (c *blockCursor) ints(attr schema.AttrID) ([]int64, []uint64, error) {
	if attr == schema.TimeProperty {
		return c.block.Times, nil, nil
	}
	col, err := c.column(attr, sizeOfInts)
	if err != nil {
		return nil, nil, err
	}
	return col.Ints, col.Present, nil
}

func hasBit(mask []uint64, i uint16) bool { return mask == nil || mask[i>>6]>>(i&63)&1 != 0 }

// setOf makes a set of the first words of buf, as many as the block has events, less
// those without a value.
func (c *blockCursor) setOf(buf *bitmap.Words, present []uint64) bitmap.Set {
	n := (len(c.block.Ords) + 63) / 64
	clear(buf[n:])
	if present != nil {
		for i := range n {
			buf[i] &= present[i]
		}
	}
	return bitmap.FromWords(buf)
}

func (c *blockCursor) Exists(attr schema.AttrID, _ int, buf *bitmap.Words) (bitmap.Set, error) {
	if attr == schema.KeyAttr || attr == schema.TimeProperty {
		return c.live, nil
	}
	a, err := attribute(c.schema, attr)
	if err != nil {
		return bitmap.Set{}, err
	}
	switch {
	case a.Kind == schema.Set:
		return c.where(attr, buf, func(codes []uint32) bool { return len(codes) > 0 })
	case a.Coded():
		col, err := c.column(attr, sizeOfCodes)
		if err != nil {
			return bitmap.Set{}, err
		}
		bitmap.BetweenU32(col.Codes, 0, schema.NoCode-1, buf[:])
		return c.setOf(buf, nil), nil
	case a.Inline():
		col, err := c.column(attr, sizeOfTexts)
		if err != nil {
			return bitmap.Set{}, err
		}
		buf.Clear()
		for i, s := range col.Texts {
			if s != nil {
				buf.SetBit(uint16(i))
			}
		}
		return c.setOf(buf, col.Present), nil
	}
	_, present, err := c.ints(attr)
	if err != nil || present == nil {
		return c.live, err
	}
	*buf = *c.live.ToWords(buf)
	return c.setOf(buf, present), nil
}

func (c *blockCursor) Row(attr schema.AttrID, code uint32, _ int, buf *bitmap.Words) (bitmap.Set, error) {
	a, err := attribute(c.schema, attr)
	if err != nil {
		return bitmap.Set{}, err
	}
	if a.Kind == schema.Set {
		return c.where(attr, buf, func(codes []uint32) bool { return slices.Contains(codes, code) })
	}
	col, err := c.column(attr, sizeOfCodes)
	if err != nil {
		return bitmap.Set{}, err
	}
	bitmap.BetweenU32(col.Codes, code, code, buf[:])
	return c.setOf(buf, nil), nil
}

// where returns the events whose set passes a test.
func (c *blockCursor) where(attr schema.AttrID, buf *bitmap.Words, test func(codes []uint32) bool) (bitmap.Set, error) {
	col, err := c.column(attr, sizeOfSets)
	if err != nil {
		return bitmap.Set{}, err
	}
	buf.Clear()
	from := uint32(0)
	for i, end := range col.Sets.Ends {
		if test(col.Sets.Codes[from:end]) {
			buf.SetBit(uint16(i))
		}
		from = end
	}
	return c.setOf(buf, nil), nil
}

func (c *blockCursor) Range(attr schema.AttrID, lo, hi int64, _ int, _ *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	values, present, err := c.ints(attr)
	if err != nil || lo > hi {
		return bitmap.Set{}, err
	}
	span := uint64(hi) - uint64(lo)
	for i := 0; i < len(values); i += 64 {
		word := uint64(0)
		for j, v := range values[i:min(i+64, len(values))] {
			in := uint64(0)
			if uint64(v)-uint64(lo) <= span {
				in = 1
			}
			word |= in << j
		}
		buf[i/64] = word
	}
	return c.setOf(buf, present), nil
}

func (c *blockCursor) GatherCodes(attr schema.AttrID, _ int, at []uint16, dst []uint32) error {
	col, err := c.column(attr, sizeOfCodes)
	if err != nil {
		return err
	}
	for i, k := range at {
		dst[i] = col.Codes[k]
	}
	return nil
}

func (c *blockCursor) GatherInts(attr schema.AttrID, _ int, at []uint16, dst []int64, ok []bool) error {
	values, present, err := c.ints(attr)
	if err != nil {
		return err
	}
	for i, k := range at {
		dst[i], ok[i] = values[k], hasBit(present, k)
	}
	return nil
}

func (c *blockCursor) GatherStrings(attr schema.AttrID, _ int, at []uint16, dst [][]byte) error {
	col, err := c.column(attr, sizeOfTexts)
	if err != nil {
		return err
	}
	for i, k := range at {
		dst[i] = nil
		if hasBit(col.Present, k) {
			dst[i] = col.Texts[k]
		}
	}
	return nil
}

func (c *blockCursor) GatherSets(attr schema.AttrID, _ int, at []uint16, dst *Sets) error {
	col, err := c.column(attr, sizeOfSets)
	if err != nil {
		return err
	}
	for _, k := range at {
		from := uint32(0)
		if k > 0 {
			from = col.Sets.Ends[k-1]
		}
		dst.Codes = append(dst.Codes, col.Sets.Codes[from:col.Sets.Ends[k]]...)
		dst.Ends = append(dst.Ends, uint32(len(dst.Codes)))
	}
	return nil
}

func (c *blockCursor) BytesRead() uint64 { return 0 } // the store's cursor has counted them
func (c *blockCursor) Release()          {}
func (c *blockCursor) Close()            {}
