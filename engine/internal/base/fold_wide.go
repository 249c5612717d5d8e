package base

import (
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/column"
)

// foldBytes folds inline strings and keys, block by block.
func (f *Folder) foldBytes() error {
	f.present = resize(f.present, (f.n+63)/64)
	for i := range f.present {
		f.present[i] = 0
	}
	values := make([][]byte, BlockSize)
	for at := 0; at < f.n; at += BlockSize {
		end := min(at+BlockSize, f.n)
		if err := f.loadBytes(at/BlockSize, values[:end-at]); err != nil {
			return err
		}
		for i, v := range values[:end-at] {
			if v != nil {
				k := at + i
				f.present[k>>6] |= 1 << (k & 63)
			}
		}
		if err := f.addBlock(at/BlockSize, func(dst []byte) ([]byte, error) {
			return column.EncodeStrings(dst, values[:end-at]), nil
		}); err != nil {
			return err
		}
	}
	return f.addExists()
}

// loadBytes writes block i's values, after the head's changes, to values.
func (f *Folder) loadBytes(i int, values [][]byte) error {
	clear(values)
	if f.job.Old != nil {
		b, err := f.job.Old.block(i)
		if err != nil {
			return err
		}
		if b != nil {
			for k := range min(b.strings.Len(), len(values)) {
				if v, ok := b.strings.At(k); ok {
					values[k] = notNil(v)
				}
			}
		}
	}
	chunk := i / chunkBlocks
	if chunk >= len(f.job.Settled) || f.job.Settled[chunk] == nil {
		return nil
	}
	s, first := f.job.Settled[chunk], i%chunkBlocks*BlockSize
	from, to := span(s, first, first+BlockSize)
	part := *s // the facts of this block's entries only
	part.Ords = s.Ords[from:to]
	err := f.facts(chunk, &part, func(k int, each func(c, r uint64)) {
		if v := values[int(part.Ords[k])-first]; v != nil {
			h := digest.Text(v)
			each(h, h)
		}
	}, func(k int, each func(c, r uint64)) {
		if v := s.Value(from + k); v != nil {
			h := digest.Text(v)
			each(h, h)
		}
	})
	for k := from; k < to; k++ {
		values[int(s.Ords[k])-first] = s.Value(k)
	}
	return err
}

func notNil(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

// span returns which entries of s lie in [lo, hi).
func span(s *head.Settled, lo, hi int) (from, to int) {
	for from < len(s.Ords) && int(s.Ords[from]) < lo {
		from++
	}
	to = from
	for to < len(s.Ords) && int(s.Ords[to]) < hi {
		to++
	}
	return from, to
}

// foldSets folds sets: the whole shard's elements as ends and codes.
func (f *Folder) foldSets() error {
	f.ends, f.codes = f.ends[:0], f.codes[:0]
	f.present = resize(f.present, (f.n+63)/64)
	for i := range f.present {
		f.present[i] = 0
	}
	for at := 0; at < f.n; at += BlockSize {
		end := min(at+BlockSize, f.n)
		n := len(f.ends)
		if err := f.loadSets(at/BlockSize, end-at); err != nil {
			return err
		}
		ends := make([]uint32, end-at)
		base := uint32(0)
		if n > 0 {
			base = f.ends[n-1]
		}
		for i, e := range f.ends[n:] {
			ends[i] = e - base
		}
		if err := f.addBlock(at/BlockSize, func(dst []byte) ([]byte, error) {
			return column.EncodeSets(dst, ends, f.codes[base:]), nil
		}); err != nil {
			return err
		}
	}
	from := uint32(0)
	for i, e := range f.ends {
		if e > from {
			f.present[i>>6] |= 1 << (i & 63)
		}
		from = e
	}
	if err := f.addExists(); err != nil || len(f.codes) == 0 {
		return err
	}
	return f.addElements()
}

// loadSets appends the n sets of block i, after the head's changes.
func (f *Folder) loadSets(i, n int) error {
	var b *block
	if f.job.Old != nil {
		var err error
		if b, err = f.job.Old.block(i); err != nil {
			return err
		}
	}
	chunk := i / chunkBlocks
	var s *head.Settled
	from, to, first := 0, 0, i%chunkBlocks*BlockSize
	if chunk < len(f.job.Settled) && f.job.Settled[chunk] != nil {
		s = f.job.Settled[chunk]
		from, to = span(s, first, first+BlockSize)
	}
	stored := func(k int) []uint32 {
		f.setBlock = f.setBlock[:0]
		if b != nil && k < b.sets.Len() {
			f.setBlock = b.sets.AppendTo(k, f.setBlock)
		}
		return f.setBlock
	}
	if s != nil && to > from {
		if err := f.setFacts(chunk, s, from, to, first, stored); err != nil {
			return err
		}
	}
	for k := range n {
		if from < to && int(s.Ords[from]) == first+k {
			f.codes = s.Change(from, stored(k), f.codes)
			from++
		} else {
			f.codes = append(f.codes, stored(k)...)
		}
		f.ends = append(f.ends, uint32(len(f.codes)))
	}
	return nil
}

func (f *Folder) setFacts(chunk int, s *head.Settled, from, to, first int, stored func(int) []uint32) error {
	part := *s
	part.Ords = s.Ords[from:to]
	var out []uint32
	return f.facts(chunk, &part, func(k int, each func(c, r uint64)) {
		for _, code := range stored(int(part.Ords[k]) - first) {
			each(f.job.What(code), uint64(code))
		}
	}, func(k int, each func(c, r uint64)) {
		out = s.Change(from+k, stored(int(part.Ords[k])-first), out[:0])
		for _, code := range out {
			each(f.job.What(code), uint64(code))
		}
	})
}

// addElements writes one fragment per element code.
func (f *Folder) addElements() error {
	top := uint32(0)
	for _, c := range f.codes {
		top = max(top, c)
	}
	f.starts = resize(f.starts, int(top)+2)
	clear(f.starts)
	for _, c := range f.codes {
		f.starts[c+1]++
	}
	for c := 1; c < len(f.starts); c++ {
		f.starts[c] += f.starts[c-1]
	}
	f.ords = resize(f.ords, len(f.codes))
	from := uint32(0)
	for i, e := range f.ends {
		for _, c := range f.codes[from:e] {
			f.ords[f.starts[c]] = uint32(i)
			f.starts[c]++
		}
		from = e
	}
	return f.addFragments(top)
}
