package base

import (
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

// Scratch is what gathering needs; it belongs to one goroutine.
type Scratch struct {
	idx   [BlockSize]uint16
	out   []uint16
	Bytes uint64 // decoded bytes looked at
}

// each calls f for each block that holds some of the ascending chunk ordinals: from and
// to bound them in ords, and s.idx holds their places in the block. b is nil where the unit ends.
func (u *Unit) each(s *Scratch, chunk int, ords []uint16, f func(b *block, from, to int, idx []uint16)) error {
	for from := 0; from < len(ords); {
		at := ords[from] / BlockSize
		to := from
		for to < len(ords) && ords[to]/BlockSize == at {
			s.idx[to-from] = ords[to] % BlockSize
			to++
		}
		b, err := u.block(chunk*chunkBlocks + int(at))
		if err != nil {
			return err
		}
		if b != nil {
			s.Bytes += uint64(to-from) * 4
			to = from + u.within(chunk, int(at), s.idx[:to-from])
			f(b, from, to, s.idx[:to-from])
			for to < len(ords) && ords[to]/BlockSize == at {
				to++
			}
		}
		from = to
	}
	return nil
}

// within returns how many of the ascending places lie in the covered part of a block.
func (u *Unit) within(chunk, at int, idx []uint16) int {
	n := int(u.Covered) - (chunk*chunkBlocks+at)*BlockSize
	if n >= BlockSize {
		return len(idx)
	}
	k := len(idx)
	for k > 0 && int(idx[k-1]) >= n {
		k--
	}
	return k
}

// GatherCodes gathers codes; what the unit does not cover is absent.
func (u *Unit) GatherCodes(s *Scratch, chunk int, ords []uint16, dst []uint32) error {
	if n := len(ords); n > 0 && len(u.Codes) == 1 && u.Present == u.Covered && uint32(chunk)<<bitmap.ChunkBits|uint32(ords[n-1]) < u.Covered {
		for i := range dst[:n] {
			dst[i] = u.Codes[0] // as all have
		}
		return nil
	}
	for i := range dst[:len(ords)] {
		dst[i] = schema.NoCode
	}
	return u.each(s, chunk, ords, func(b *block, from, to int, idx []uint16) { b.ints.GatherCodes(idx, dst[from:to]) })
}

// GatherInts gathers numbers; what the unit does not cover is absent.
func (u *Unit) GatherInts(s *Scratch, chunk int, ords []uint16, dst []int64, ok []bool) error {
	for i := range ok[:len(ords)] {
		ok[i] = false
	}
	return u.each(s, chunk, ords, func(b *block, from, to int, idx []uint16) { b.ints.Gather(idx, dst[from:to], ok[from:to]) })
}

// GatherBytes gathers bytes, nil for absent; they are never changed.
func (u *Unit) GatherBytes(s *Scratch, chunk int, ords []uint16, dst [][]byte) error {
	for i := range dst[:len(ords)] {
		dst[i] = nil
	}
	return u.each(s, chunk, ords, func(b *block, from, to int, idx []uint16) {
		for i, k := range idx {
			if v, ok := b.strings.At(int(k)); ok {
				if v == nil {
					v = []byte{}
				}
				dst[from+i] = v
			}
		}
	})
}

// Strings returns the block that has the bytes of a chunk's ordinal, at its place in the
// block; nil if the unit does not reach that far.
func (u *Unit) Strings(chunk int, ord uint16) (*column.Strings, error) {
	if uint32(chunk)<<bitmap.ChunkBits|uint32(ord) >= u.Covered {
		return nil, nil
	}
	b, err := u.block(chunk*chunkBlocks + int(ord/BlockSize))
	if err != nil {
		return nil, err
	}
	return b.strings, nil
}

// GatherSets calls emit with the codes of each of the ordinals in turn.
func (u *Unit) GatherSets(s *Scratch, chunk int, ords []uint16, emit func(i int, codes []uint32)) error {
	var codes []uint32
	return u.each(s, chunk, ords, func(b *block, from, _ int, idx []uint16) {
		for i, k := range idx {
			codes = b.sets.AppendTo(int(k), codes[:0])
			emit(from+i, codes)
		}
	})
}

// Range writes to w the chunk's profiles whose number lies in [lo, hi].
func (u *Unit) Range(s *Scratch, lo, hi int64, chunk int, w *bitmap.Words) error {
	for i := range chunkBlocks {
		b, err := u.block(chunk*chunkBlocks + i)
		if err != nil {
			return err
		}
		part := w[i*BlockSize/64 : (i+1)*BlockSize/64]
		if b == nil {
			for j := range part {
				part[j] = 0
			}
			continue
		}
		s.Bytes += uint64(b.memBytes())
		n := (b.ints.Len() + 63) / 64
		b.ints.Range(lo, hi, part[:n])
		for j := n; j < len(part); j++ {
			part[j] = 0
		}
	}
	return nil
}

// RangeProbe returns those of the ascending chunk ordinals whose number lies in [lo, hi];
// the result is valid until the scratch is used again.
func (u *Unit) RangeProbe(s *Scratch, lo, hi int64, chunk int, ords []uint16) ([]uint16, error) {
	out := s.out[:0]
	err := u.each(s, chunk, ords, func(b *block, from, _ int, idx []uint16) {
		n := len(out)
		first := ords[from] &^ (BlockSize - 1)
		out = b.ints.RangeProbe(lo, hi, idx, out)
		for i := range out[n:] {
			out[n+i] += first
		}
	})
	s.out = out
	return out, err
}
