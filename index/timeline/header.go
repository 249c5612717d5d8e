package timeline

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

const (
	magic      = "KNTT"
	version    = 1
	fixedBytes = 32 // of the header, before what has no fixed length
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// checksum is that of bytes with a checksum of their own at 8 to 11.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, b[12:])
}

// extent is a stretch of one column's blocks in a row.
type extent struct{ column, blocks int }

// appendHeader writes the header of a part; extents are those of each row.
func appendHeader(dst []byte, p *Part, extents [][]extent) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version, byte(p.id.Partition.Days))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(p.properties)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, p.id.Event)
	dst = binary.LittleEndian.AppendUint32(dst, p.id.Shard)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.id.Partition.First))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.n))
	dst = append(dst, 0, 0, 0, 0)
	next := schema.AttrID(0)
	for _, property := range p.properties {
		dst = binary.AppendUvarint(dst, uint64(property.ID-next))
		dst = append(dst, byte(property.Class))
		next = property.ID + 1
	}
	for chunk := range bitmap.ShardChunks {
		dst = binary.AppendUvarint(dst, uint64(p.Count(chunk)))
	}
	dst = appendProfiles(dst, p.column(profileColumn))
	for column := timeColumn; column < ownColumns+len(p.properties); column++ {
		for i := range p.column(column) {
			dst = appendPiece(dst, p, column, &p.column(column)[i])
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.rows)))
	for i, r := range p.rows {
		dst = binary.LittleEndian.AppendUint32(dst, r.crc)
		dst = binary.AppendUvarint(dst, uint64(len(extents[i])))
		for _, e := range extents[i] {
			dst = binary.AppendUvarint(dst, uint64(e.column))
			dst = binary.AppendUvarint(dst, uint64(e.blocks))
		}
	}
	binary.LittleEndian.PutUint32(dst[start+8:], checksum(dst[start:]))
	return dst
}

func appendProfiles(dst []byte, pieces []piece) []byte {
	last := int64(0)
	for i := range pieces {
		p := &pieces[i]
		dst = binary.AppendUvarint(dst, uint64(p.min-last))
		dst = binary.AppendUvarint(dst, p.top)
		dst = binary.AppendUvarint(dst, uint64(p.count))
		dst = append(dst, p.width)
		last = p.max()
	}
	return dst
}

func appendPiece(dst []byte, part *Part, column int, p *piece) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.count))
	if p.count == 0 {
		return dst
	}
	class := part.class(column)
	if class == Text || class == Set {
		return binary.AppendUvarint(dst, uint64(p.size))
	}
	return p.appendFrame(dst, part.origin(column), class == Int)
}

// origin is what the least value of a column is counted from.
func (p *Part) origin(column int) int64 {
	if column == timeColumn {
		return p.id.Partition.Start()
	}
	return 0
}

// Open reads a header that a [Builder] made. It keeps nothing of b. The error is an
// [ErrCorrupt] or an [ErrNewerFormat].
func Open(b []byte) (*Part, error) {
	if len(b) < fixedBytes || string(b[:4]) != magic {
		return nil, corrupt("no header of a part")
	}
	if b[4] > version {
		return nil, fmt.Errorf("%w: part of version %d", ErrNewerFormat, b[4])
	}
	if got := checksum(b); b[4] != version || got != binary.LittleEndian.Uint32(b[8:]) {
		return nil, corrupt("checksum of a header")
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	p := &Part{id: ID{Event: u32(12), Shard: u32(16), Partition: Partition{First: int32(u32(20)), Days: int32(b[5])}}}
	if n := u32(24); n > MaxEvents || u32(28) != 0 {
		return nil, corrupt("%d events", n)
	}
	p.n = int(u32(24))
	p.blocks = (p.n + BlockSize - 1) / BlockSize
	d := &decoder{what: "header", b: b[fixedBytes:]}
	// The least there is: 2 bytes per property, 1 per chunk, 4 + 3 + 1 per block and property.
	properties := int(binary.LittleEndian.Uint16(b[6:]))
	if len(d.b) < 2*properties+bitmap.ShardChunks+p.blocks*(7+properties) {
		return nil, corrupt("header of %d bytes for %d blocks of %d properties", len(b), p.blocks, properties)
	}
	p.readProperties(d, properties)
	if what := problemOf(p.id, p.properties); what != "" {
		return nil, corrupt("%s", what)
	}
	p.readChunks(d)
	p.pieces = make([]piece, p.blocks*(ownColumns+properties))
	p.readProfiles(d)
	for column := timeColumn; column < ownColumns+properties && d.err == nil; column++ {
		for i := range p.column(column) {
			p.readPiece(d, column, i)
		}
	}
	p.readTimes(d)
	p.readRows(d)
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return p, nil
}

func (p *Part) readProperties(d *decoder, n int) {
	p.properties = make([]Property, n)
	next := uint64(0)
	for i := range p.properties {
		id := next + d.uvarint(math.MaxUint32-min(next, math.MaxUint32))
		p.properties[i] = Property{schema.AttrID(id), Class(d.byte())}
		next = id + 1
	}
}

func (p *Part) readChunks(d *decoder) {
	at := uint32(0)
	for chunk := range bitmap.ShardChunks {
		p.starts[chunk] = at
		at += uint32(d.uvarint(uint64(p.n) - uint64(at)))
	}
	p.starts[bitmap.ShardChunks] = at
	if int(at) != p.n {
		d.fail("the chunks have %d events of %d", at, p.n)
	}
}

func (p *Part) readProfiles(d *decoder) {
	last := uint64(0)
	for i := range p.column(profileColumn) {
		first := last + d.uvarint(bitmap.ShardSize-1-last)
		top := d.uvarint(bitmap.ShardSize - 1 - first)
		n := p.events(i)
		runs := d.uvarint(min(uint64(n), top+1))
		width := d.byte()
		last = first + top
		if runs == 0 || (runs == 1) != (top == 0) || width > bitmap.ChunkBits ||
			!p.inChunk(first, i<<BlockBits) || !p.inChunk(last, i<<BlockBits+n-1) {
			d.fail("the profiles of block %d", i)
			return
		}
		piece := &p.column(profileColumn)[i]
		*piece = pieceOf(int(runs), int64(first), top, 1)
		piece.width = width
		piece.size = uint32(maskSize(int(runs) > 1 && int(runs) < n, n) + packedSize(int(runs), int(width)))
	}
}

// inChunk reports whether an event is one of those of a profile's chunk.
func (p *Part) inChunk(profile uint64, event int) bool {
	chunk := profile >> bitmap.ChunkBits
	return int(p.starts[chunk]) <= event && event < int(p.starts[chunk+1])
}

// maskSize returns the bytes of a mask over n events, if there is one.
func maskSize(there bool, n int) int {
	if !there {
		return 0
	}
	return (n + 7) / 8
}

func (p *Part) readPiece(d *decoder, column, block int) {
	n, out := p.events(block), &p.column(column)[block]
	count := int(d.uvarint(uint64(n)))
	if count == 0 {
		if column == timeColumn {
			d.fail("block %d has no times", block)
		}
		return
	}
	class := p.class(column)
	if class == Text || class == Set {
		*out = piece{count: uint16(count), size: uint32(d.uvarint(math.MaxInt32))}
		return
	}
	most := int64(math.MaxInt64)
	if class == Code {
		most = schema.NoCode - 1
	}
	*out = d.frame(count, p.origin(column), most, class == Int)
	out.size = uint32(maskSize(count < n, n) + packedSize(count, int(out.width)))
	if class == Code && out.min < 0 {
		d.fail("a code below 0 in column %d", column)
	}
	start, end := p.id.Partition.times()
	if column == timeColumn && (count != n || out.min < start || out.max() >= end) {
		d.fail("the times of block %d", block)
	}
}

// readTimes makes the bounds of the part out of those of its blocks.
func (p *Part) readTimes(d *decoder) {
	if p.n == 0 || d.err != nil {
		return
	}
	p.first, p.last = math.MaxInt64, math.MinInt64
	for i := range p.column(timeColumn) {
		t := &p.column(timeColumn)[i]
		p.first, p.last = min(p.first, t.min), max(p.last, t.max())
	}
}

// readRows gives every piece its place.
func (p *Part) readRows(d *decoder) {
	columns := ownColumns + len(p.properties)
	n := d.uvarint(uint64(len(d.b) / 7)) // 4 + 1 + 2 bytes at least
	if d.err != nil {
		return
	}
	p.rows = make([]row, n)
	done := make([]int, columns) // blocks that have their place
	for i := range p.rows {
		r := &p.rows[i]
		for k := range 4 {
			r.crc |= uint32(d.byte()) << (8 * k)
		}
		size := uint64(slack)
		extents := d.uvarint(uint64(len(d.b) / 2))
		if extents == 0 {
			d.fail("row %d holds nothing", i)
		}
		for ; extents > 0; extents-- {
			column := d.uvarint(uint64(columns) - 1)
			blocks := d.uvarint(uint64(p.blocks - done[column]))
			if blocks == 0 {
				d.fail("row %d holds nothing of column %d", i, column)
			}
			for ; blocks > 0; blocks-- {
				piece := &p.column(int(column))[done[column]]
				piece.row, piece.at = uint32(i), uint32(size-slack)
				done[column]++
				if size += uint64(piece.size); size > math.MaxInt32 {
					d.fail("row %d is too long", i)
					return
				}
			}
		}
		r.size = int(size)
		p.size += r.size
	}
	for column, blocks := range done {
		if blocks != p.blocks {
			d.fail("column %d has %d blocks of %d", column, blocks, p.blocks)
		}
	}
}

// Verify reports, as an [ErrCorrupt], whether b is not row i, 0 <= i < Rows(). A row is
// verified once, when it is read from disk; the readers here take it as it is then, and
// stay within its bounds whatever it says.
func (p *Part) Verify(i int, b []byte) error {
	if r := p.rows[i]; len(b) != r.size || crc32.Checksum(b, castagnoli) != r.crc {
		return corrupt("row %d of %d events of type %d: %d bytes of %d, or their checksum", i, p.n, p.id.Event, len(b), r.size)
	}
	return nil
}
