package batch

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// column collects the cells of one column of a block. Its slices keep their
// memory from block to block.
type column struct {
	name  string
	verb  Verb
	kind  schema.Kind
	scale uint8

	cells   int    // present rows
	last    int    // row of the last cell, -1 for none
	popped  bool   // a cell was taken back: dict may hold what nobody uses
	sparse  bool   // some row before the last cell has none
	present []byte // valid if sparse

	ints       []int64 // ordered kinds
	lo, hi     int64   // bounds of ints, perhaps too wide after a pop
	dict       dict    // strings while they repeat, elements of sets
	index      []uint32
	counts     []uint32 // elements per cell of a set
	plain      stringList
	spread     bool // strings go to plain: too many are distinct, or they are ids
	plainBytes int  // what the strings of dict and index would take as a plain list
}

// A string column gives up its dictionary when, at a multiple of spreadStep distinct
// strings, more than spreadNum/spreadDen of its cells were distinct: then the codes save nothing.
const (
	spreadStep = 1024
	spreadNum  = 3
	spreadDen  = 4
)

func (c *column) reset() {
	c.cells, c.last, c.popped, c.sparse, c.spread, c.plainBytes = 0, -1, false, false, c.verb == VerbID, 0
	c.present, c.ints, c.index, c.counts = c.present[:0], c.ints[:0], c.index[:0], c.counts[:0]
	c.lo, c.hi = math.MaxInt64, math.MinInt64
	c.dict.reset()
	c.plain.reset()
}

// mark notes that a row, later than the last cell's, has a cell.
func (c *column) mark(row int) {
	if row != c.cells && !c.sparse {
		c.thin()
	}
	if c.sparse {
		for len(c.present) <= row/8 {
			c.present = append(c.present, 0)
		}
		c.present[row/8] |= 1 << (row % 8)
	}
	c.cells++
	c.last = row
}

// thin writes down the presence of the rows so far, which all have cells.
func (c *column) thin() {
	c.sparse = true
	c.present = c.present[:0]
	for range c.cells / 8 {
		c.present = append(c.present, 0xff)
	}
	if c.cells%8 != 0 {
		c.present = append(c.present, 1<<(c.cells%8)-1)
	}
}

// pop takes the last cell back.
func (c *column) pop() {
	if c.sparse {
		c.present[c.last/8] &^= 1 << (c.last % 8)
	}
	c.cells--
	c.last = -1
	c.popped = true
	switch {
	case c.kind == schema.Absent:
	case c.kind.Ordered():
		c.ints = c.ints[:c.cells]
	case c.kind == schema.Set:
		c.index = c.index[:len(c.index)-int(c.counts[c.cells])]
		c.counts = c.counts[:c.cells]
	case c.spread:
		c.plain.pop()
	default:
		c.plainBytes -= stringSize(c.dict.list.At(int(c.index[c.cells])))
		c.index = c.index[:c.cells]
	}
}

func (c *column) addInt(row int, v int64) {
	c.mark(row)
	c.lo, c.hi = min(c.lo, v), max(c.hi, v)
	c.ints = append(c.ints, v)
}

func (c *column) addString(row int, s []byte) {
	c.mark(row)
	if c.spread {
		c.plain.add(nfc(s))
		return
	}
	known := c.dict.list.Len()
	code, length := c.dict.code(s)
	c.index = append(c.index, code)
	c.plainBytes += uvarintLen(uint64(length)) + length
	if n := c.dict.list.Len(); n != known && n%spreadStep == 0 && c.distinct() {
		for _, i := range c.index {
			c.plain.add(c.dict.list.At(int(i)))
		}
		c.spread, c.index = true, c.index[:0]
		c.dict.reset()
	}
}

// distinct reports whether too few strings repeat for a dictionary. Names of events always
// stand in one.
func (c *column) distinct() bool {
	return c.verb != VerbEvent && c.dict.list.Len()*spreadDen > c.cells*spreadNum
}

func stringSize(s []byte) int { return uvarintLen(uint64(len(s))) + len(s) }

// openSet begins a cell of a set; addElement adds to the last cell.
func (c *column) openSet(row int) {
	c.mark(row)
	c.counts = append(c.counts, 0)
}

func (c *column) addElement(s []byte) {
	code, _ := c.dict.code(s)
	c.index = append(c.index, code)
	c.counts[len(c.counts)-1]++
}

// size returns how many bytes [column.append] adds for a block of n rows: exact, but
// for the elements that a set has twice and bounds that a pop left too wide.
func (c *column) size(n int) int {
	size := stringSize([]byte(c.name)) + 5
	if c.sparse || c.cells < n {
		size += (n + 7) / 8
	}
	data := c.dataSize()
	return size + uvarintLen(uint64(data)) + data
}

func (c *column) dataSize() int {
	switch {
	case c.kind == schema.Absent:
		return 0
	case c.kind.Ordered():
		if c.lo >= c.hi {
			return varintLen(c.lo) + 1
		}
		return varintLen(c.lo) + 1 + len(c.ints)*width(uint64(c.hi)-uint64(c.lo))
	case c.kind == schema.Set:
		size := c.dictSize()
		for _, n := range c.counts {
			size += uvarintLen(uint64(n))
		}
		return size
	case c.spread:
		return c.plain.size()
	case c.distinct():
		return c.plainBytes
	}
	return c.dictSize()
}

func (c *column) dictSize() int {
	d := c.dict.list.Len()
	return uvarintLen(uint64(d)) + c.dict.list.size() + 1 + len(c.index)*codeWidth(d)
}

// codeWidth returns the width of the codes of a dictionary of d strings.
func codeWidth(d int) int { return width(uint64(max(d, 1) - 1)) }

func varintLen(n int64) int { return uvarintLen(uint64(n)<<1 ^ uint64(n>>63)) }

// append appends the column's encoding in a block of n rows. tmp is scratch.
func (c *column) append(dst []byte, n int, tmp *[]byte) ([]byte, error) {
	data, encoding, err := c.appendData((*tmp)[:0])
	if err != nil {
		return dst, err
	}
	*tmp = data
	dst = appendString(dst, c.name)
	dst = append(dst, byte(c.verb), byte(c.kind), c.scale, encoding)
	if c.cells == n {
		dst = append(dst, 0)
	} else {
		if !c.sparse { // only rows behind the last cell have none
			c.thin()
		}
		c.present = append(c.present, make([]byte, max(0, (n+7)/8-len(c.present)))...)
		dst = append(append(dst, 1), c.present[:(n+7)/8]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...), nil
}

func (c *column) appendData(dst []byte) ([]byte, byte, error) {
	if c.popped && !c.spread {
		old := c.dict.list
		c.dict = dict{}
		for i, code := range c.index {
			c.index[i], _ = c.dict.code(old.At(int(code)))
		}
	}
	switch {
	case c.kind == schema.Absent:
		return dst, encNone, nil
	case c.kind.Ordered():
		dst, err := c.appendInts(dst)
		return dst, encOrdered, err
	case c.kind == schema.Set:
		return c.appendSets(dst), encSets, nil
	case c.spread:
		return c.plain.append(dst), encPlain, nil
	case c.distinct():
		c.plain.reset()
		for _, i := range c.index {
			c.plain.add(c.dict.list.At(int(i)))
		}
		dst = c.plain.append(dst)
		c.plain.reset()
		return dst, encPlain, nil
	}
	list, rank := c.dict.sorted()
	for i, code := range c.index {
		c.index[i] = rank[code]
	}
	return c.appendCodes(dst, list, nil), encDict, nil
}

func (c *column) appendInts(dst []byte) ([]byte, error) {
	lo, hi := slices.Min(c.ints), slices.Max(c.ints)
	first, last := kindRange(c.kind)
	if lo < first || hi > last || c.kind == schema.Float && slices.Contains(c.ints, negativeZero) {
		return dst, query.Errorf(query.CodeInvalid, "attribute %q has a value that no %s can have", c.name, c.kind)
	}
	dst = binary.AppendVarint(dst, lo)
	if lo == hi {
		return append(dst, 0), nil
	}
	w := width(uint64(hi) - uint64(lo))
	dst = append(dst, byte(w))
	at := len(dst)
	dst = slices.Grow(dst, len(c.ints)*w)[:at+len(c.ints)*w]
	out := dst[at:]
	for i, v := range c.ints {
		d := uint64(v) - uint64(lo)
		switch w {
		case 1:
			out[i] = byte(d)
		case 2:
			binary.LittleEndian.PutUint16(out[2*i:], uint16(d))
		case 4:
			binary.LittleEndian.PutUint32(out[4*i:], uint32(d))
		default:
			binary.LittleEndian.PutUint64(out[8*i:], d)
		}
	}
	return dst, nil
}

// appendSets sorts the elements of each cell by their place in the sorted dictionary
// and drops those that come twice.
func (c *column) appendSets(dst []byte) []byte {
	list, rank := c.dict.sorted()
	from, to := 0, 0
	for i, n := range c.counts {
		cell := c.index[from : from+int(n)]
		from += int(n)
		for j, code := range cell {
			cell[j] = rank[code]
		}
		slices.Sort(cell)
		cell = slices.Compact(cell)
		to += copy(c.index[to:], cell)
		c.counts[i] = uint32(len(cell))
	}
	c.index = c.index[:to]
	return c.appendCodes(dst, list, c.counts)
}

func (c *column) appendCodes(dst []byte, list stringList, counts []uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(list.Len()))
	dst = list.append(dst)
	for _, n := range counts {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	w := codeWidth(list.Len())
	return appendUints(append(dst, byte(w)), c.index, w)
}

// block is an upsert, or events, under construction.
type block struct {
	code OpCode
	ids  string // events: whose ids they have
	keys stringList
	cols []*column
}

func (bl *block) rows() int { return bl.keys.Len() }

func (bl *block) reset() {
	bl.keys.reset()
	for _, c := range bl.cols {
		c.reset()
	}
}

// size returns the encoded size of the op, a few bytes too many at most.
func (bl *block) size() int {
	const lengths = 1 + 3*binary.MaxVarintLen32 // code, body length, rows, columns
	size := lengths + bl.keys.size() + stringSize([]byte(bl.ids))
	for _, c := range bl.cols {
		if c.cells > 0 {
			size += c.size(bl.rows())
		}
	}
	return size
}

// append appends the body of the op.
func (bl *block) append(dst []byte, tmp *[]byte) (_ []byte, cols, cells int, err error) {
	n := bl.rows()
	for _, c := range bl.cols {
		if c.cells > 0 {
			cols++
		}
	}
	if bl.code == OpEvents {
		dst = appendString(dst, bl.ids)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = bl.keys.append(dst)
	dst = binary.AppendUvarint(dst, uint64(cols))
	for _, c := range bl.cols {
		if c.cells == 0 {
			continue
		}
		cells += c.cells
		if dst, err = c.append(dst, n, tmp); err != nil {
			return dst, 0, 0, err
		}
	}
	return dst, cols, cells, nil
}
