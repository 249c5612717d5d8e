package timeline

import (
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
)

// rowBytes is how many bytes of pieces a row has at least, if there are so many: a value
// of the key-value store then fills a block of it, and a question reads little that it
// does not need.
const rowBytes = 32 << 10

// Builder writes a part. Its events come in order; it keeps their encoded form only, and
// a block of them. The zero Builder is of no use.
type Builder struct {
	part    Part
	pending Events   // less than a block
	buffers []buffer // by column
	pieces  [][]piece
	rows    [][]byte
	extents [][]extent
	days    []dayBuilder // of the partition

	lastProfile uint32
	lastTime    int64

	dense []uint64 // scratch
	gaps  []uint16
}

// buffer is what a column has that no row holds yet.
type buffer struct {
	bytes  []byte
	blocks int
}

// NewBuilder begins a part. Properties are by ascending id.
func NewBuilder(id ID, properties []Property) (*Builder, error) {
	if what := problemOf(id, properties); what != "" {
		return nil, fmt.Errorf("timeline: no part can have a %s", what)
	}
	columns := ownColumns + len(properties)
	b := &Builder{buffers: make([]buffer, columns), pieces: make([][]piece, columns), lastTime: math.MinInt64}
	b.part.id, b.part.properties = id, slices.Clone(properties)
	b.days = make([]dayBuilder, id.Partition.Days)
	b.pending.Reset(properties)
	return b, nil
}

// Written is a part as it is to be stored: its header, its rows by number, and what is kept
// of each day on which it has events.
type Written struct {
	Header []byte
	Rows   [][]byte
	Days   []PartDay // ascending
}

// Build makes a part of sorted events: its header, and its rows by number.
func Build(id ID, properties []Property, e *Events) (header []byte, rows [][]byte, err error) {
	b, err := NewBuilder(id, properties)
	if err != nil {
		return nil, nil, err
	}
	if err := b.Add(e); err != nil {
		return nil, nil, err
	}
	w := b.Finish()
	return w.Header, w.Rows, nil
}

// Add adds events, which come after those added before. It copies them, texts excepted:
// these must stay as they are until the part is finished. It fails, and the part with it,
// if they are out of order, of another partition or shard, or have an unknown property.
func (b *Builder) Add(e *Events) error {
	for i := range e.Columns {
		c := &e.Columns[i]
		if !slices.Contains(b.part.properties, c.Property) || i > 0 && c.ID <= e.Columns[i-1].ID {
			return fmt.Errorf("timeline: column %d, of property %d and class %d, is not one of the part, or not by ascending id", i, c.ID, c.Class)
		}
	}
	for from := 0; from < e.Len(); {
		to := min(from+BlockSize-b.pending.Len(), e.Len())
		b.pending.add(e, from, to)
		if err := b.added(to - from); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// added is for when n events have been added to the pending ones.
func (b *Builder) added(n int) error {
	if b.part.n += n; b.part.n > MaxEvents {
		return fmt.Errorf("timeline: more than %d events in a part: make two", MaxEvents)
	}
	start := b.pending.Len() - n
	if err := b.order(b.pending.Profiles[start:], b.pending.Times[start:]); err != nil {
		return err
	}
	if b.pending.Len() == BlockSize {
		b.flush()
	}
	return nil
}

// order checks that events come after what is there, and counts them by chunk.
func (b *Builder) order(profiles []uint32, times []int64) error {
	p := &b.part
	start, end := p.id.Partition.times()
	for i, profile := range profiles {
		t := times[i]
		if profile < b.lastProfile || profile == b.lastProfile && t < b.lastTime {
			return fmt.Errorf("timeline: event of profile %d at %d comes after one of profile %d at %d: sort them first", profile, t, b.lastProfile, b.lastTime)
		}
		if profile >= bitmap.ShardSize || t < start || t >= end {
			return fmt.Errorf("timeline: event of profile %d at %d is not of this shard or partition", profile, t)
		}
		b.lastProfile, b.lastTime = profile, t
		p.starts[profile>>bitmap.ChunkBits]++
		in := t - p.id.Partition.Start()
		b.days[in/msPerDay].add(profile, in%msPerDay)
	}
	return nil
}

// flush encodes the pending block.
func (b *Builder) flush() {
	runtime.Gosched() // building is in no hurry, and who asks meanwhile is
	e := &b.pending
	b.put(profileColumn, b.profiles(e.Profiles))
	b.put(timeColumn, b.ints(timeColumn, e.Times, nil))
	for i := range e.Columns {
		c, at := &e.Columns[i], ownColumns+i
		var p piece
		switch c.Class {
		case Int:
			p = b.ints(at, c.Ints, c.Present)
		case Code:
			p = b.codes(at, c)
		case Text:
			p = b.texts(at, c)
		case Set:
			p = b.sets(at, c)
		}
		b.put(at, p)
	}
	e.Reset(b.part.properties)
}

// put notes the piece that has just been appended to its column's buffer.
func (b *Builder) put(column int, p piece) {
	b.pieces[column] = append(b.pieces[column], p)
	buf := &b.buffers[column]
	buf.blocks++
	if len(buf.bytes) >= rowBytes {
		b.row(buf.bytes, []extent{{column, buf.blocks}})
		*buf = buffer{}
	}
}

// row finishes a row.
func (b *Builder) row(bytes []byte, extents []extent) {
	bytes = append(bytes, make([]byte, slack)...)
	b.rows = append(b.rows, bytes)
	b.extents = append(b.extents, extents)
	b.part.rows = append(b.part.rows, row{crc: crc32.Checksum(bytes, castagnoli), size: len(bytes)})
}

// Finish ends the part. What is left of each column shares rows with the next ones, so a
// small part is one row.
func (b *Builder) Finish() Written {
	if b.pending.Len() > 0 {
		b.flush()
	}
	var shared []byte
	var extents []extent
	for column, buf := range b.buffers {
		if buf.blocks == 0 {
			continue
		}
		shared = append(shared, buf.bytes...)
		extents = append(extents, extent{column, buf.blocks})
		if len(shared) >= rowBytes {
			b.row(shared, extents)
			shared, extents = nil, nil
		}
	}
	if len(extents) > 0 {
		b.row(shared, extents)
	}
	p := &b.part
	p.blocks = len(b.pieces[profileColumn])
	p.pieces = slices.Concat(b.pieces...)
	at := uint32(0)
	for i, n := range p.starts { // counts so far
		p.starts[i] = at
		at += n
	}
	out := Written{Header: appendHeader(nil, p, b.extents), Rows: b.rows}
	for i := range b.days {
		if d := &b.days[i]; d.events > 0 {
			out.Days = append(out.Days, PartDay{p.id.Partition.First + int32(i), d.events, d.presence()})
		}
	}
	return out
}

// profiles encodes the profiles of a block: a mask of the events that begin a run, unless
// all do or only the first does, and the gap before each run.
func (b *Builder) profiles(profiles []uint32) piece {
	var begins Mask
	b.gaps = b.gaps[:0]
	next := profiles[0] // the least that the next run may have
	for i, p := range profiles {
		if i > 0 && p == profiles[i-1] {
			continue
		}
		begins[i>>6] |= 1 << (i & 63)
		next = max(next, p&^(bitmap.ChunkSize-1))
		b.gaps = append(b.gaps, uint16(p-next))
		next = p + 1
	}
	runs, n := len(b.gaps), len(profiles)
	out := pieceOf(runs, int64(profiles[0]), uint64(profiles[n-1]-profiles[0]), 1)
	out.width = uint8(widthOf(uint64(slices.Max(b.gaps))))
	buf := &b.buffers[profileColumn]
	start := len(buf.bytes)
	if runs > 1 && runs < n {
		buf.bytes = appendMask(buf.bytes, begins[:], n)
	}
	buf.bytes = pack(buf.bytes, b.gaps, int(out.width))
	out.size = uint32(len(buf.bytes) - start)
	return out
}

// appendMask appends the first n bits of a mask.
func appendMask(dst []byte, mask []uint64, n int) []byte {
	for i := range (n + 7) / 8 {
		dst = append(dst, byte(mask[i>>3]>>(i&7*8)))
	}
	return dst
}

// appendPresence appends the mask of who has a value if some have and some do not.
func appendPresence(dst []byte, present []uint64, count, n int) []byte {
	if count > 0 && count < n {
		return appendMask(dst, present, n)
	}
	return dst
}

// ints encodes numbers.
func (b *Builder) ints(column int, values []int64, present []uint64) piece {
	b.dense = b.dense[:0]
	least := int64(math.MaxInt64)
	for i, v := range values {
		if present == nil || present[i>>6]>>(i&63)&1 != 0 {
			b.dense = append(b.dense, uint64(v))
			least = min(least, v)
		}
	}
	if len(b.dense) == 0 {
		return piece{}
	}
	return b.numbers(column, len(values), frameOf(b.dense, least, true), present)
}

func (b *Builder) codes(column int, c *Column) piece {
	b.dense = b.dense[:0]
	least := uint64(math.MaxUint32)
	for i, v := range c.Codes {
		if c.has(i) {
			b.dense = append(b.dense, uint64(v))
			least = min(least, uint64(v))
		}
	}
	if len(b.dense) == 0 {
		return piece{}
	}
	return b.numbers(column, len(c.Codes), frameOf(b.dense, int64(least), false), c.Present)
}

// numbers encodes the dense numbers.
func (b *Builder) numbers(column, n int, out piece, present []uint64) piece {
	buf := &b.buffers[column]
	start := len(buf.bytes)
	buf.bytes = appendPresence(buf.bytes, present, len(b.dense), n)
	buf.bytes = pack(buf.bytes, b.dense, int(out.width))
	out.size = uint32(len(buf.bytes) - start)
	return out
}

// texts encodes the strings that there are as a block of package column.
func (b *Builder) texts(at int, c *Column) piece {
	dense := make([][]byte, 0, BlockSize)
	for i, v := range c.Texts {
		if c.has(i) {
			dense = append(dense, v)
		}
	}
	return b.block(at, len(dense), len(c.Texts), c.Present, func(dst []byte) []byte { return column.EncodeStrings(dst, dense) })
}

// sets encodes the sets that are not empty as a block of package column.
func (b *Builder) sets(at int, c *Column) piece {
	var ends []uint32
	var present Mask
	for i, end := range c.Ends {
		if c.has(i) {
			ends = append(ends, end)
			present[i>>6] |= 1 << (i & 63)
		}
	}
	return b.block(at, len(ends), len(c.Ends), present[:], func(dst []byte) []byte { return column.EncodeSets(dst, ends, c.Codes) })
}

// block encodes count values of n as a block of package column.
func (b *Builder) block(at, count, n int, present []uint64, encode func([]byte) []byte) piece {
	if count == 0 {
		return piece{}
	}
	buf := &b.buffers[at]
	start := len(buf.bytes)
	buf.bytes = appendPresence(buf.bytes, present, count, n)
	buf.bytes = encode(buf.bytes)
	return piece{count: uint16(count), size: uint32(len(buf.bytes) - start)}
}
