package base

import (
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

// Scratch is what gathering needs; it belongs to one goroutine.
type Scratch struct {
	idx    [BlockSize]uint16
	out    []uint16
	copied int64  // bytes of strings handed out as copies, which are on loan
	Bytes  uint64 // decoded bytes looked at
	Loan   *Loan  // what long strings are read in is taken from it; nil: it is not counted
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
			n := u.within(chunk, int(at), s.idx[:to-from])
			f(b, from, from+n, s.idx[:n])
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

// GatherBytes gathers bytes, nil for absent; they are never changed. Those of long strings
// are copies, of which the scratch's loan has account until it gathers bytes again.
func (u *Unit) GatherBytes(s *Scratch, chunk int, ords []uint16, dst [][]byte) error {
	s.Forget()
	for i := range dst[:len(ords)] {
		dst[i] = nil
	}
	for from := 0; from < len(ords); {
		at := ords[from] / BlockSize
		to := from
		for to < len(ords) && ords[to]/BlockSize == at {
			s.idx[to-from] = ords[to] % BlockSize
			to++
		}
		n := u.within(chunk, int(at), s.idx[:to-from])
		if err := u.strings(s, chunk*chunkBlocks+int(at), s.idx[:n], dst[from:to]); err != nil {
			return err
		}
		s.Bytes += uint64(to-from) * 4
		from = to
	}
	return nil
}

// strings gathers some strings of block i.
func (u *Unit) strings(s *Scratch, i int, idx []uint16, dst [][]byte) error {
	if i >= len(u.blocks) {
		return nil
	}
	b := u.blocks[i].get()
	if b == nil {
		return u.storedStrings(s, i, idx, dst)
	}
	if n := int64(b.memBytes()); n >= longBlock {
		if err := s.Loan.Take(n); err != nil {
			return err
		}
		defer func() { _ = s.Loan.Take(-n) }() // giving back does not fail
	}
	return s.pick(b.strings, b.memBytes() >= longBlock, idx, dst)
}

// storedStrings is strings of a block that is not in the cache. The bytes of a long one are
// on loan meanwhile; if it would not stay in the cache, it is read where the store has it.
func (u *Unit) storedStrings(s *Scratch, i int, idx []uint16, dst [][]byte) error {
	var b *block
	taken, failed := int64(0), error(nil)
	long := u.Columns/int64(len(u.blocks)) >= longBlock/2 // the others are like this one
	ok, err := u.cache.load(u.ID.Row(keys.Block, uint32(i)), long, func(v []byte) error {
		n := int64(len(v))
		if n >= longBlock {
			if failed = s.Loan.Take(n); failed != nil {
				return nil
			}
			taken = n
		}
		if n <= u.cache.budget/cacheShare {
			b = &block{}
			return b.decode(u.Class, v)
		}
		all, err := column.ViewStrings(v)
		if err == nil {
			failed = s.pick(all, true, idx, dst)
		}
		return err
	})
	defer func() { _ = s.Loan.Take(-taken) }()
	if err == nil && !ok {
		err = errMissing
	}
	switch {
	case err != nil:
		return u.damagedBlock(err)
	case b != nil:
		keep(u.cache, &u.blocks[i], b, int64(b.memBytes()))
		return s.pick(b.strings, b.memBytes() >= longBlock, idx, dst)
	}
	return failed
}

// pick writes the strings at some places of a block, as copies if they are to be their own.
func (s *Scratch) pick(b *column.Strings, own bool, idx []uint16, dst [][]byte) error {
	for i, k := range idx {
		if v, ok := b.At(int(k)); ok {
			dst[i] = notNil(v)
		}
	}
	if own {
		return s.copy(dst[:len(idx)])
	}
	return nil
}

// longBlock is from how many bytes on the memory of a block of strings is counted while it
// is read: shorter ones are part of what every question works in. Strings of such a block
// are copied for who wants some of them, because they would keep all of it.
const longBlock = 1 << 20

// copy makes the strings their own.
func (s *Scratch) copy(strings [][]byte) error {
	n := 0
	for _, v := range strings {
		n += len(v)
	}
	if err := s.Loan.Take(int64(n)); err != nil {
		clear(strings)
		return err
	}
	s.copied += int64(n)
	all := make([]byte, 0, n)
	for i, v := range strings {
		if v != nil {
			all = append(all, v...)
			strings[i] = all[len(all)-len(v) : len(all) : len(all)]
		}
	}
	return nil
}

// Forget is for when nobody uses the bytes that were gathered any more.
func (s *Scratch) Forget() {
	_ = s.Loan.Take(-s.copied) // giving back does not fail
	s.copied = 0
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
