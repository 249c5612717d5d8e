package batch

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// block decodes the body of an upsert, or what events have in common with it.
func (d *Decoder) block(r *reader, code OpCode) *EventBlock {
	if d.used == len(d.blocks) {
		d.blocks = append(d.blocks, new(EventBlock))
	}
	bl := d.blocks[d.used]
	d.used++
	*bl = EventBlock{Block: Block{N: r.count(2), Columns: bl.Columns[:0]}}
	if r.err == nil && bl.N == 0 {
		r.fail("an op of no rows")
	}
	bl.Keys = d.keys(r, bl.N)
	const leastColumn = 1 + 1 + 4 + 1 + 1 // name of one byte, verb to encoding, presence, length
	n := r.count(leastColumn)
	if d.cols += n; d.cols > MaxColumns {
		r.fail("more than %d columns", MaxColumns)
	}
	for i := 0; i < n && r.err == nil; i++ {
		c := d.column(r, bl.N)
		if r.err == nil && !c.Verb.in(code) {
			r.fail("column %q: verb %d in op %d", c.Name, c.Verb, code)
		}
		bl.Columns = append(bl.Columns, c)
	}
	return bl
}

// events decodes the body of events.
func (d *Decoder) events(r *reader) *EventBlock {
	ids := r.optional()
	bl := d.block(r, OpEvents)
	bl.IDSource = ids
	properties, times := bl.Columns[:0], 0
	seen := make(map[Column]bool, len(bl.Columns))
	for i := 0; i < len(bl.Columns) && r.err == nil; i++ {
		c := &bl.Columns[i]
		switch c.Verb {
		case VerbEvent:
			bl.eventNames(r, c)
		case VerbTime:
			bl.Times = c.Ints
			times++
			if c.Name != timeColumn || c.M != bl.N {
				r.fail("column %q: %d of %d times", c.Name, c.M, bl.N)
			}
		case VerbID:
			bl.eventIDs(r, c)
		default:
			p := Column{Name: c.Name, Kind: c.Kind, Scale: c.Scale}
			if seen[p] {
				r.fail("property %q comes twice as %s", c.Name, c.Kind)
			}
			seen[p] = true
			properties = append(properties, *c)
		}
	}
	if r.err == nil && (bl.Event == nil || times != 1) {
		r.fail("events without types, or with %d columns of times", times)
	}
	bl.Columns = properties
	return bl
}

func (bl *EventBlock) eventNames(r *reader, c *BlockColumn) {
	if c.Name != eventColumn || c.M != bl.N || c.Index == nil || bl.Event != nil {
		r.fail("column %q of %d event types for %d rows, not in a dictionary, or a second one", c.Name, c.M, bl.N)
		return
	}
	bl.Names, bl.Event = c.Dict, c.Index
	for i := range c.Dict.Len() {
		if err := schema.CheckName(string(c.Dict.At(i))); err != nil {
			r.fail("an event type: %v", err)
		}
	}
}

func (bl *EventBlock) eventIDs(r *reader, c *BlockColumn) {
	if c.Name != idColumn || c.Index != nil || bl.IDs != nil {
		r.fail("column %q of ids, in a dictionary, or a second one", c.Name)
		return
	}
	for i := range c.M {
		if n := len(c.Plain.At(i)); n == 0 || n > MaxEventID {
			r.fail("an id of %d bytes", n)
			return
		}
	}
	ids := *c // its place is given to a property
	bl.IDs = &ids
}

// column decodes one column of a block of n rows.
func (d *Decoder) column(r *reader, n int) (c BlockColumn) {
	c.Name = r.name()
	c.Verb, c.Kind, c.Scale = Verb(r.byte()), schema.Kind(r.byte()), r.byte()
	encoding, presence := r.byte(), r.byte()
	c.M = n
	switch presence {
	case 0:
	case 1:
		c.Present = r.take((n + 7) / 8)
		c.M = 0
		for _, b := range c.Present {
			c.M += bits.OnesCount8(b)
		}
		if r.err == nil && n%8 != 0 && c.Present[n/8]>>(n%8) != 0 {
			r.fail("column %q: presence of rows that are not there", c.Name)
		}
	default:
		r.fail("column %q: presence %d", c.Name, presence)
	}
	data := reader{b: r.take(r.count(1))}
	if r.err != nil {
		return c
	}
	if d.cells += c.M; d.cells > MaxCells || c.M == 0 {
		r.fail("column %q of %d cells in a batch of at least %d", c.Name, c.M, d.cells)
		return c
	}
	if !c.Verb.fits(c.Kind) || c.Scale > schema.MaxScale || c.Scale > 0 && c.Kind != schema.Decimal {
		r.fail("column %q: verb %d, kind %d, scale %d", c.Name, c.Verb, c.Kind, c.Scale)
		return c
	}
	d.data(&data, &c, encoding)
	if data.err == nil && len(data.b) > 0 {
		data.fail("%d bytes behind the data", len(data.b))
	}
	if data.err != nil {
		r.fail("column %q: %v", c.Name, data.err)
	}
	return c
}

func (d *Decoder) data(r *reader, c *BlockColumn, encoding byte) {
	switch {
	case encoding == encNone && c.Kind == schema.Absent:
	case encoding == encOrdered && c.Kind.Ordered():
		d.ordered(r, c)
	case encoding == encPlain && c.Kind == schema.String:
		c.Plain = d.strings(r, c.M)
	case encoding == encDict && c.Kind == schema.String:
		d.dict(r, c)
		d.index(r, c, c.M)
	case encoding == encSets && c.Kind == schema.Set:
		d.sets(r, c)
	default:
		r.fail("encoding %d for kind %s", encoding, c.Kind)
	}
}

func (d *Decoder) ordered(r *reader, c *BlockColumn) {
	lo := r.varint()
	w := int(r.byte())
	if w > 8 || w&(w-1) != 0 {
		r.fail("width %d", w)
	}
	in := r.take(c.M * w)
	if r.err != nil {
		return
	}
	c.Ints = d.ints.take(c.M)
	top := widen(c.Ints, in, w, lo)
	first, last := kindRange(c.Kind)
	// top is the largest difference to lo; it must not wrap around.
	if lo < first || top > uint64(math.MaxInt64)-uint64(lo) || int64(uint64(lo)+top) > last {
		r.fail("a value out of the range of a %s", c.Kind)
	}
	if c.Kind == schema.Float && slices.Contains(c.Ints, negativeZero) {
		r.fail("a float that is -0")
	}
}

// widen writes lo plus each number of in, w bytes wide, and returns the largest of them.
func widen(dst []int64, in []byte, w int, lo int64) (top uint64) {
	switch w {
	case 0:
		for i := range dst {
			dst[i] = lo
		}
	case 1:
		for i, v := range in {
			top = max(top, uint64(v))
			dst[i] = lo + int64(v)
		}
	case 2:
		for i := range dst {
			v := uint64(binary.LittleEndian.Uint16(in[2*i:]))
			top = max(top, v)
			dst[i] = lo + int64(v)
		}
	case 4:
		for i := range dst {
			v := uint64(binary.LittleEndian.Uint32(in[4*i:]))
			top = max(top, v)
			dst[i] = lo + int64(v)
		}
	default:
		for i := range dst {
			v := binary.LittleEndian.Uint64(in[8*i:])
			top = max(top, v)
			dst[i] = int64(uint64(lo) + v)
		}
	}
	return top
}

func (d *Decoder) dict(r *reader, c *BlockColumn) {
	c.Dict = d.strings(r, r.count(1))
	for i := 1; i < c.Dict.Len() && r.err == nil; i++ {
		if bytes.Compare(c.Dict.At(i-1), c.Dict.At(i)) >= 0 {
			r.fail("a dictionary that does not ascend")
		}
	}
}

// index decodes m places in the dictionary.
func (d *Decoder) index(r *reader, c *BlockColumn, m int) {
	w := int(r.byte())
	if w != 1 && w != 2 && w != 4 {
		r.fail("width %d", w)
	}
	in := r.take(m * w)
	if r.err != nil {
		return
	}
	c.Index = d.uints.take(m)
	top := uint32(0)
	switch w {
	case 1:
		for i, v := range in {
			top = max(top, uint32(v))
			c.Index[i] = uint32(v)
		}
	case 2:
		for i := range c.Index {
			v := uint32(binary.LittleEndian.Uint16(in[2*i:]))
			top = max(top, v)
			c.Index[i] = v
		}
	default:
		for i := range c.Index {
			v := binary.LittleEndian.Uint32(in[4*i:])
			top = max(top, v)
			c.Index[i] = v
		}
	}
	if m > 0 && top >= uint32(c.Dict.Len()) {
		r.fail("index %d in a dictionary of %d", top, c.Dict.Len())
	}
}

func (d *Decoder) sets(r *reader, c *BlockColumn) {
	d.dict(r, c)
	if c.M > len(r.b) {
		r.fail("too few counts")
		return
	}
	c.Counts = d.uints.take(c.M)
	sum := 0
	for i := range c.Counts {
		n := r.count(1)
		c.Counts[i] = uint32(n)
		if sum += n; sum > len(r.b) {
			r.fail("%d elements in %d bytes", sum, len(r.b))
			return
		}
	}
	d.index(r, c, sum)
	if r.err != nil {
		return
	}
	at := 0
	for _, n := range c.Counts {
		for i := at + 1; i < at+int(n); i++ {
			if c.Index[i-1] >= c.Index[i] {
				r.fail("elements of a set that do not ascend")
				return
			}
		}
		at += int(n)
	}
}
