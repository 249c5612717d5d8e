package timeline

import (
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// someShare is from how many events of a block per event that is meant on each of these is
// read by itself: a number costs about eight times as much alone as in a row.
const someShare = 8

// someOf returns what is needed to read the numbers of a few events of a column one by one;
// nil if reading all is better, or not all of the block have one.
func (b *Block) someOf(column, events int) (*piece, []byte, error) {
	if column < 0 || events*someShare > b.To-b.From {
		return nil, nil, nil
	}
	if p := &b.Source.Part.column(column)[b.Index]; int(p.count) < b.Source.Part.events(b.Index) {
		return nil, nil, nil
	}
	return b.piece(column)
}

// SomeCodes appends the codes of a few events of the block, sel, to dst. It is not done if
// [Block.Codes] is the better way.
func (b *Block) SomeCodes(id schema.AttrID, sel []uint16, dst []uint32) (out []uint32, done bool, err error) {
	column, err := b.property(id, Code)
	if err != nil {
		return dst, false, err
	}
	p, packed, err := b.someOf(column, len(sel))
	if p == nil || err != nil {
		return dst, false, err
	}
	for _, i := range sel {
		dst = append(dst, uint32(p.min)+uint32(number(packed, int(i), int(p.width))))
	}
	return dst, true, nil
}

// SomeInts appends the numbers of a few events of the block, sel, to dst; all have one. It
// is not done if [Block.Ints] is the better way.
func (b *Block) SomeInts(id schema.AttrID, sel []uint16, dst []int64) (out []int64, done bool, err error) {
	column, err := b.property(id, Int)
	if err != nil {
		return dst, false, err
	}
	return b.someInts(column, sel, dst)
}

// SomeTimes is SomeInts of the times.
func (b *Block) SomeTimes(sel []uint16, dst []int64) (out []int64, done bool, err error) {
	return b.someInts(timeColumn, sel, dst)
}

func (b *Block) someInts(column int, sel []uint16, dst []int64) ([]int64, bool, error) {
	p, packed, err := b.someOf(column, len(sel))
	if p == nil || err != nil {
		return dst, false, err
	}
	least, unit, width := p.min, p.unit, int(p.width)
	n := len(dst)
	dst = slices.Grow(dst, len(sel))[:n+len(sel)]
	out := dst[n:]
	for at, i := range sel {
		out[at] = least + int64(number(packed, int(i), width)*unit)
	}
	return dst, true, nil
}
