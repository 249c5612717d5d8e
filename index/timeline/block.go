package timeline

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

// Source is a part together with its rows. Row returns row i, which has been verified
// (see [Part.Verify]) and is never changed; the engine's looks into its cache first.
type Source struct {
	Part *Part
	Row  func(i int) ([]byte, error)
}

// InMemory returns a source whose rows lie in memory.
func InMemory(part *Part, rows [][]byte) Source {
	return Source{part, func(i int) ([]byte, error) {
		if i >= len(rows) {
			return nil, corrupt("%d rows, want %d", len(rows), part.Rows())
		}
		return rows[i], nil
	}}
}

// Block is the events From to To-1 of a block of a part. Its methods read columns; what
// they write for event i goes to index i of dst, which has room for BlockSize events, and
// other indexes are left or overwritten. A Block belongs to one goroutine.
type Block struct {
	Source   Source
	Index    int // of the block in the part
	From, To int
	mem      *scratch
}

// BlockOf returns block i of a part, with all its events, for reading them without a
// [Cursor]: that is the way to read many. To read one event, set From and To to it.
func BlockOf(s Source, i int) *Block {
	b := &Block{mem: &scratch{}}
	b.Move(s, i)
	return b
}

// Move makes it all of another block, in the same memory.
func (b *Block) Move(s Source, i int) {
	b.Source, b.Index, b.From, b.To = s, i, 0, s.Part.events(i)
}

// scratch is the memory of reading, for one goroutine.
type scratch struct {
	numbers  [BlockSize]uint64 // stored numbers, of any width
	gaps     [BlockSize]uint16
	profiles [BlockSize]uint16      // per run, within the chunk
	starts   [BlockSize + 16]uint16 // room for [bitmap.Positions], and where the last run ends
	begins   Mask
	bytes    int // of the pieces read so far
}

// piece returns what the directory says of a column of the block, and its bytes, which
// have slack.
func (b *Block) piece(column int) (*piece, []byte, error) {
	p := &b.Source.Part.column(column)[b.Index]
	row, err := b.Source.Row(int(p.row))
	if err != nil {
		return nil, nil, err
	}
	if len(row) != b.Source.Part.rows[p.row].size {
		return nil, nil, corrupt("row %d has %d bytes, want %d", p.row, len(row), b.Source.Part.rows[p.row].size)
	}
	b.mem.bytes += int(p.size)
	return p, row[p.at : int(p.at)+int(p.size)+slack], nil
}

// Times reads the times.
func (b *Block) Times(dst []int64) error {
	return b.ints(timeColumn, dst, nil)
}

// Time reads the time of one event.
func (b *Block) Time(i int) (int64, error) {
	p, packed, err := b.piece(timeColumn)
	if err != nil {
		return 0, err
	}
	return p.min + int64(number(packed, i, int(p.width))*p.unit), nil
}

// property returns the column of a property, which is to be of a class; -1 if the part
// has no such property, so that all values are absent.
func (b *Block) property(id schema.AttrID, class Class) (int, error) {
	column := b.Source.Part.columnOf(id)
	if column >= 0 && b.Source.Part.class(column) != class {
		return 0, fmt.Errorf("timeline: property %d of event %d is of class %d, read as %d", id, b.Source.Part.id.Event, b.Source.Part.class(column), class)
	}
	return column, nil
}

// Ints reads an Int property, 0 where it is absent; present is set to the events of the
// block that have a value, those before From and from To on being left out.
func (b *Block) Ints(id schema.AttrID, dst []int64, present *Mask) error {
	column, err := b.property(id, Int)
	if err != nil {
		return err
	}
	if column < 0 {
		clear(dst[b.From:b.To])
		*present = Mask{}
		return nil
	}
	return b.ints(column, dst, present)
}

// All reports whether all events of the block have a value of a property.
func (b *Block) All(id schema.AttrID) bool {
	column := b.Source.Part.columnOf(id)
	return column >= 0 && int(b.Source.Part.column(column)[b.Index].count) == b.Source.Part.events(b.Index)
}

// ints reads numbers; present may be nil if all have one.
func (b *Block) ints(column int, dst []int64, present *Mask) error {
	p, packed, err := b.presence(column, present)
	if err != nil {
		return err
	}
	out := dst[b.From:b.To]
	if p.count == 0 {
		clear(out)
		return nil
	}
	stored := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(out))), len(out))
	n := unpackDense(b, p, packed, present, stored)
	for i, v := range stored[:n] {
		stored[i] = uint64(p.min) + v*p.unit
	}
	if n < len(out) {
		spread(out, present, b.From, n, 0)
	}
	return nil
}

// unpackDense unpacks the numbers of those of the events From to To-1 that have one to the
// begin of dst and returns how many there are.
func unpackDense[T uint8 | uint16 | uint32 | uint64](b *Block, p *piece, packed []byte, present *Mask, dst []T) int {
	first, n := b.From, b.To-b.From
	if int(p.count) < b.Source.Part.events(b.Index) {
		first, n = present.rank(b.From), present.count(b.From, b.To)
	}
	unpack(dst[:n], packed, first, int(p.width))
	return n
}

// spread moves the n values at the begin of dst to their events, and writes none to the
// others. dst[0] is of event from.
func spread[T any](dst []T, present *Mask, from, n int, none T) {
	for i := len(dst) - 1; i >= n; i-- { // when all that is left is n values, they are in place
		if present.Has(from + i) {
			n--
			dst[i] = dst[n]
		} else {
			dst[i] = none
		}
	}
}

// presence returns a column's piece, what follows the mask in it, and writes the mask of
// those of the events From to To-1 that have a value.
func (b *Block) presence(column int, present *Mask) (*piece, []byte, error) {
	p, bytes, err := b.piece(column)
	if err != nil {
		return nil, nil, err
	}
	n := b.Source.Part.events(b.Index)
	switch int(p.count) {
	case 0:
		*present = Mask{}
	case n:
		if present != nil {
			present.fill(0, n)
		}
	default:
		present.read(bytes, n)
		if present.Count() != int(p.count) {
			return nil, nil, corrupt("column %d of block %d: presence", column, b.Index)
		}
		bytes = bytes[(n+7)/8:]
	}
	return p, bytes, nil
}

// read sets m to the first n bits of b, which has slack.
func (m *Mask) read(b []byte, n int) {
	*m = Mask{}
	for i := range (n + 63) / 64 {
		m[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	if n&63 != 0 {
		m[n>>6] &= 1<<(n&63) - 1
	}
}

// Codes reads a Code property, schema.NoCode where it is absent.
func (b *Block) Codes(id schema.AttrID, dst []uint32) error {
	column, err := b.property(id, Code)
	if err != nil {
		return err
	}
	out := dst[b.From:b.To]
	var present Mask
	if column < 0 {
		for i := range out {
			out[i] = schema.NoCode
		}
		return nil
	}
	p, packed, err := b.presence(column, &present)
	if err != nil {
		return err
	}
	n := unpackDense(b, p, packed, &present, b.mem.numbers[:])
	for i, v := range b.mem.numbers[:n] {
		out[i] = uint32(p.min) + uint32(v)
	}
	if n < len(out) {
		spread(out, &present, b.From, n, schema.NoCode)
	}
	return nil
}

// Texts are the strings of a block. They are immutable; their bytes are those of the row.
type Texts struct {
	present Mask
	strings *column.Strings
}

// At returns the string of event i, nil and false if it has none. The bytes must not be
// changed.
func (t *Texts) At(i int) ([]byte, bool) {
	if !t.present.Has(i) {
		return nil, false
	}
	return t.strings.At(t.present.rank(i))
}

// TextBytes returns how many bytes the row has that is read for the texts of a property; 0 if
// none is.
func (b *Block) TextBytes(id schema.AttrID) int {
	at := b.Source.Part.columnOf(id)
	if at < 0 || b.Source.Part.class(at) != Text {
		return 0
	}
	return b.Source.Part.rows[b.Source.Part.column(at)[b.Index].row].size
}

// Texts reads a Text property of all events of the block.
func (b *Block) Texts(id schema.AttrID) (*Texts, error) {
	at, err := b.property(id, Text)
	if err != nil {
		return nil, err
	}
	t := &Texts{}
	if at < 0 {
		return t, nil
	}
	p, bytes, err := b.presence(at, &t.present)
	if err != nil || p.count == 0 {
		return t, err
	}
	t.strings, err = column.ViewStrings(bytes[:len(bytes)-slack])
	if err != nil {
		return nil, corrupt("column %d of block %d: %v", at, b.Index, err)
	}
	if t.strings.Len() != int(p.count) || t.strings.CountPresent() != int(p.count) {
		return nil, corrupt("column %d of block %d: %d strings of %d", at, b.Index, t.strings.CountPresent(), p.count)
	}
	return t, nil
}

// Sets are the sets of a block. They are immutable, and share no memory with it.
type Sets struct {
	present Mask
	sets    *column.Sets
}

// AppendTo appends the codes of event i to dst; they ascend.
func (s *Sets) AppendTo(i int, dst []uint32) []uint32 {
	if !s.present.Has(i) {
		return dst
	}
	return s.sets.AppendTo(s.present.rank(i), dst)
}

// Sets reads a Set property of all events of the block.
func (b *Block) Sets(id schema.AttrID) (*Sets, error) {
	at, err := b.property(id, Set)
	if err != nil {
		return nil, err
	}
	s := &Sets{}
	if at < 0 {
		return s, nil
	}
	p, bytes, err := b.presence(at, &s.present)
	if err != nil || p.count == 0 {
		return s, err
	}
	s.sets, err = column.DecodeSets(bytes[:len(bytes)-slack])
	if err != nil {
		return nil, corrupt("column %d of block %d: %v", at, b.Index, err)
	}
	if s.sets.Len() != int(p.count) {
		return nil, corrupt("column %d of block %d: %d sets of %d", at, b.Index, s.sets.Len(), p.count)
	}
	return s, nil
}

// begins reads with which of the events From to To-1, which are all of one chunk, a run
// begins: into b.mem.begins. It returns how many do, the number of the first of them in the
// block, the least profile that this one may have, and the packed gaps of the block.
func (b *Block) begins() (runs, first int, least uint32, p *piece, gaps []byte, err error) {
	p, gaps, err = b.piece(profileColumn)
	if err != nil {
		return 0, 0, 0, nil, nil, err
	}
	mem, n, total := b.mem, b.Source.Part.events(b.Index), int(p.count)
	switch total {
	case 1:
		mem.begins = Mask{1}
	case n:
		mem.begins.fill(0, n)
	default:
		mem.begins.read(gaps, n)
		gaps = gaps[(n+7)/8:]
	}
	first = mem.begins.rank(b.From)
	if b.From < b.To {
		runs = mem.begins.count(b.From, b.To)
	}
	// A damaged mask could ask for gaps that are not there, or give a chunk's first event
	// to the profile before it.
	if mem.begins.Count() != total || !mem.begins.Has(b.From) {
		return 0, 0, 0, nil, nil, corrupt("block %d: where its profiles begin", b.Index)
	}
	if first == 0 {
		least = uint32(p.min) & (bitmap.ChunkSize - 1)
	}
	return runs, first, least, p, gaps, nil
}

// runs reads the profiles of the events From to To-1, which are all of one chunk: it
// leaves the event with which each run begins in b.mem.begins, each run's profile in
// b.mem.profiles, and returns how many there are.
func (b *Block) runs() (int, error) {
	runs, first, next, p, bytes, err := b.begins()
	if err != nil {
		return 0, err
	}
	mem := b.mem
	unpack(mem.profiles[:runs], bytes, first, int(p.width))
	next = uint32(bitmap.Ascend(mem.profiles[:runs], int(next)))
	last := uint32(bitmap.ChunkSize)
	if b.To == b.Source.Part.events(b.Index) {
		if last = uint32(p.max())&(bitmap.ChunkSize-1) + 1; next != last {
			return 0, corrupt("block %d: its last profile", b.Index)
		}
	}
	if next > last {
		return 0, corrupt("block %d: its profiles", b.Index)
	}
	return runs, nil
}

// Profiles reads the ordinals within the shard, one per event.
func (b *Block) Profiles(dst []uint32) error {
	part := b.Source.Part
	own := &part.column(profileColumn)[b.Index]
	piece := *b
	for chunk := int(own.min >> bitmap.ChunkBits); chunk <= int(own.max()>>bitmap.ChunkBits); chunk++ {
		piece.From, piece.To = part.segment(b.Index, chunk)
		if piece.From >= b.To || piece.To <= b.From || piece.From >= piece.To {
			continue
		}
		if _, err := piece.runs(); err != nil {
			return err
		}
		base, run := uint32(chunk)<<bitmap.ChunkBits, -1
		for i := piece.From; i < piece.To; i++ {
			if b.mem.begins.Has(i) {
				run++
			}
			if i >= b.From && i < b.To {
				dst[i] = base | uint32(b.mem.profiles[run])
			}
		}
	}
	return nil
}

// Events reads the events From to To-1 into dst, which has been given its columns by
// [Events.Reset] and is emptied: those that the part does not have are absent. Texts
// keep the bytes of their rows alive.
func (b *Block) Events(dst *Events) error {
	n := b.To - b.From
	dst.Profiles, dst.Times = grow(dst.Profiles), grow(dst.Times)
	if err := b.Profiles(dst.Profiles); err != nil {
		return err
	}
	if err := b.Times(dst.Times); err != nil {
		return err
	}
	dst.Profiles, dst.Times = shift(dst.Profiles, b.From, n), shift(dst.Times, b.From, n)
	for i := range dst.Columns {
		if err := b.column(&dst.Columns[i]); err != nil {
			return err
		}
	}
	return nil
}

// grow returns s with room for BlockSize values.
func grow[T any](s []T) []T { return slices.Grow(s[:0], BlockSize)[:BlockSize] }

// shift moves n values from where a block has them to the begin.
func shift[T any](s []T, from, n int) []T { return s[:copy(s, s[from:from+n])] }

// column reads the values of the events From to To-1.
func (b *Block) column(c *Column) error {
	n := b.To - b.From
	switch c.Class {
	case Int:
		var present Mask
		c.Ints = grow(c.Ints)
		if err := b.Ints(c.ID, c.Ints, &present); err != nil {
			return err
		}
		c.Ints = shift(c.Ints, b.From, n)
		c.Present = growMask(c.Present[:0], n)
		for i := range n {
			if present.Has(b.From + i) {
				c.Present[i>>6] |= 1 << (i & 63)
			}
		}
	case Code:
		c.Codes, c.Present = grow(c.Codes), nil
		if err := b.Codes(c.ID, c.Codes); err != nil {
			return err
		}
		c.Codes = shift(c.Codes, b.From, n)
	case Text:
		texts, err := b.Texts(c.ID)
		if err != nil {
			return err
		}
		c.Texts, c.Present = c.Texts[:0], nil
		for i := b.From; i < b.To; i++ {
			v, _ := texts.At(i)
			c.Texts = append(c.Texts, v)
		}
	case Set:
		sets, err := b.Sets(c.ID)
		if err != nil {
			return err
		}
		c.Codes, c.Ends = c.Codes[:0], c.Ends[:0]
		for i := b.From; i < b.To; i++ {
			c.Codes = sets.AppendTo(i, c.Codes)
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
	}
	return nil
}
