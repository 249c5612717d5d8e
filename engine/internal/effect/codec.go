package effect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/kantadb/kanta/index/schema"
)

const version = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// ErrCorrupt is the error of bytes that are not an outcome.
var ErrCorrupt = errors.New("outcome: corrupt")

// ErrNewer is the error of an outcome written by a newer version.
var ErrNewer = errors.New("outcome: newer format")

// Append encodes an outcome behind dst.
func Append(dst []byte, o *Outcome) []byte {
	start := len(dst)
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(len(o.Blocks)))
	for i := range o.Blocks {
		dst = appendBlock(dst, &o.Blocks[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Acts)))
	for i := range o.Acts {
		dst = binary.AppendUvarint(dst, uint64(o.Acts[i].Event))
		dst = appendBlock(dst, &o.Acts[i].Block)
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Claims)))
	day := int32(0)
	for _, c := range o.Claims {
		dst = binary.AppendVarint(dst, int64(c.Day)-int64(day))
		dst = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, c.Hi), c.Lo)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Content))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(c.Content>>32))
		day = c.Day
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func appendBlock(dst []byte, b *Block) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Ords)))
	consecutive := true
	for i, o := range b.Ords {
		if o != b.Ords[0]+uint32(i) {
			consecutive = false
			break
		}
	}
	if consecutive && len(b.Ords) > 0 {
		dst = append(dst, 0)
		dst = binary.AppendUvarint(dst, uint64(b.Ords[0]))
	} else {
		dst = append(dst, 1)
		for _, o := range b.Ords {
			dst = binary.LittleEndian.AppendUint32(dst, o)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Columns)))
	for i := range b.Columns {
		dst = appendColumn(dst, &b.Columns[i])
	}
	return dst
}

func appendColumn(dst []byte, c *Column) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Attr))
	dst = append(dst, byte(c.Class))
	if c.Rows == nil {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 1)
		dst = binary.AppendUvarint(dst, uint64(len(c.Rows)))
		prev := uint32(0)
		for _, r := range c.Rows {
			dst = binary.AppendUvarint(dst, uint64(r-prev))
			prev = r
		}
	}
	switch c.Class {
	case Code:
		top := uint32(0)
		for _, v := range c.Codes {
			top = max(top, v+1) // NoCode + 1 is 0
		}
		w := max(1, byteWidth(uint64(top)))
		dst = append(dst, byte(w))
		for _, v := range c.Codes {
			dst = appendLE(dst, uint64(v+1), w)
		}
	case Set:
		for _, v := range c.Codes {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	case Int:
		dst = appendAbsent(dst, c.Absent)
		lo, w := bounds(c.Ints, c.Absent)
		dst = binary.AppendVarint(dst, lo)
		dst = append(dst, byte(w))
		for i, v := range c.Ints {
			if c.Absent != nil && c.Absent[i] {
				v = lo
			}
			dst = appendLE(dst, uint64(v)-uint64(lo), w)
		}
	case Bytes:
		dst = appendAbsent(dst, c.Absent)
		for i := range c.Ends {
			dst = binary.AppendUvarint(dst, uint64(len(c.Bytes(i))))
		}
		dst = append(dst, c.Data...)
	}
	return dst
}

func appendAbsent(dst []byte, absent []bool) []byte {
	if absent == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	at := len(dst)
	dst = append(dst, make([]byte, (len(absent)+7)/8)...)
	for i, a := range absent {
		if a {
			dst[at+i/8] |= 1 << (i % 8)
		}
	}
	return dst
}

func appendLE(dst []byte, v uint64, width int) []byte {
	switch width {
	case 1:
		return append(dst, byte(v))
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	case 8:
		return binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// Decode reads an outcome and verifies its checksum. It keeps nothing of b.
func Decode(b []byte) (*Outcome, error) {
	if len(b) < 5 {
		return nil, ErrCorrupt
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	if body[0] != version {
		return nil, fmt.Errorf("%w: version %d", ErrNewer, body[0])
	}
	r := reader{b: body[1:]}
	o := &Outcome{}
	for n := r.count(1); n > 0 && !r.bad; n-- {
		o.Blocks = append(o.Blocks, r.block())
	}
	for n := r.count(4); n > 0 && !r.bad; n-- {
		a := Acts{Event: schema.EventID(r.uvarint()), Block: r.block()}
		r.bad = r.bad || !a.wellFormed()
		o.Acts = append(o.Acts, a)
	}
	o.Claims = r.claims()
	if r.bad || len(r.b) != 0 {
		return nil, ErrCorrupt
	}
	return o, nil
}

// reader takes values off the front of b; the first impossible one makes it bad.
type reader struct {
	b    []byte
	rows uint64 // of the blocks so far
	free int    // values so far that took no bytes
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of items of at least size bytes each, so that a false number cannot make us allocate.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// claimBytes is how many bytes a claim takes at least.
const claimBytes = 1 + 8 + 8 + ContentBits/8

func (r *reader) claims() (out []Claim) {
	n := r.count(claimBytes)
	if n > 0 {
		out = make([]Claim, 0, n)
	}
	day := int64(0)
	for ; n > 0 && !r.bad; n-- {
		by, k := binary.Varint(r.b)
		if k <= 0 {
			r.bad = true
			return nil
		}
		r.b = r.b[k:]
		day += by
		b := r.take(claimBytes - 1)
		if b == nil || day != int64(int32(day)) {
			r.bad = true
			return nil
		}
		content := uint64(binary.LittleEndian.Uint32(b[16:])) | uint64(binary.LittleEndian.Uint16(b[20:]))<<32
		out = append(out, Claim{ID{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), int32(day)}, content})
	}
	return out
}

// Where ordinals are consecutive a row takes no bytes, and where the values of a column are
// all there and one number, neither does a value. Bounds are what a batch can come to, which has up to
// 4 MiB, with two bytes at least for each row, and 4M cells: a cell may change an attribute
// with history, which is a row more, and three numbers beside its own (package batch).
const (
	maxRows = 4<<20/2 + 4<<20
	maxFree = 4 * 4 << 20
)

func (r *reader) block() Block {
	var b Block
	n := r.uvarint()
	if r.rows += min(n, maxRows+1); r.rows > maxRows {
		r.bad = true
		return b
	}
	if r.byte() == 0 {
		first := uint32(r.uvarint())
		b.Ords = make([]uint32, n)
		for i := range b.Ords {
			b.Ords[i] = first + uint32(i)
		}
	} else if raw := r.take(int(n) * 4); raw != nil {
		b.Ords = make([]uint32, n)
		for i := range b.Ords {
			b.Ords[i] = binary.LittleEndian.Uint32(raw[4*i:])
		}
	}
	for k := r.count(3); k > 0 && !r.bad; k-- {
		b.Columns = append(b.Columns, r.column(len(b.Ords)))
	}
	return b
}

func (r *reader) column(n int) Column {
	c := Column{Attr: schema.AttrID(r.uvarint()), Class: Class(r.byte())}
	m := n
	if r.byte() == 1 {
		m = r.count(1)
		c.Rows = make([]uint32, m)
		prev := uint32(0)
		for i := range c.Rows {
			prev += uint32(r.uvarint())
			c.Rows[i] = prev
			r.bad = r.bad || int(prev) >= n
		}
	}
	if r.bad {
		return c
	}
	switch c.Class {
	case Code:
		w := int(r.byte())
		r.bad = r.bad || w == 0 || w == 8
		codes := r.ints(m, w)
		c.Codes = make([]uint32, 0, len(codes))
		for _, v := range codes {
			c.Codes = append(c.Codes, uint32(v)-1)
		}
	case Set:
		raw := r.take(4 * m)
		for i := 0; i < m && raw != nil; i++ {
			c.Codes = append(c.Codes, binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case Int:
		c.Absent = r.absent(m)
		lo, k := binary.Varint(r.b)
		if k <= 0 {
			r.bad = true
			return c
		}
		r.b = r.b[k:]
		w := int(r.byte())
		if w == 0 && c.Rows == nil && c.Absent == nil {
			r.free += m
			r.bad = r.bad || r.free > maxFree
		}
		ints := r.ints(m, w)
		c.Ints = make([]int64, 0, len(ints))
		for _, v := range ints {
			c.Ints = append(c.Ints, int64(v+uint64(lo)))
		}
	case Bytes:
		c.Absent = r.absent(m)
		end := uint64(0)
		c.Ends = make([]uint32, 0, min(m, len(r.b)))
		for i := 0; i < m && !r.bad; i++ {
			end += r.uvarint()
			c.Ends = append(c.Ends, uint32(end))
			r.bad = r.bad || end > uint64(len(r.b))
		}
		if !r.bad {
			c.Data = append([]byte(nil), r.take(int(end))...)
		}
	default:
		r.bad = true
	}
	return c
}

func (r *reader) absent(m int) []bool {
	if r.byte() == 0 {
		return nil
	}
	raw := r.take((m + 7) / 8)
	if raw == nil {
		return nil
	}
	out := make([]bool, m)
	for i := range out {
		out[i] = raw[i/8]>>(i%8)&1 == 1
	}
	return out
}

func (r *reader) ints(m, w int) []uint64 {
	if w != 0 && w != 1 && w != 2 && w != 4 && w != 8 {
		r.bad = true
		return nil
	}
	raw := r.take(m * w)
	if r.bad {
		return nil
	}
	out := make([]uint64, m)
	for i := range out {
		switch w {
		case 1:
			out[i] = uint64(raw[i])
		case 2:
			out[i] = uint64(binary.LittleEndian.Uint16(raw[2*i:]))
		case 4:
			out[i] = uint64(binary.LittleEndian.Uint32(raw[4*i:]))
		case 8:
			out[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
	}
	return out
}
