package base

import (
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
)

// foldBytes folds inline strings and keys.
func (f *Folder) foldBytes() error {
	values := make([][]byte, BlockSize)
	for at := 0; at < f.n; at += BlockSize {
		end := min(at+BlockSize, f.n)
		part := values[:end-at]
		same, err := f.loadBytes(at, part)
		if err != nil {
			return err
		}
		for i, v := range part {
			if v != nil {
				k := at + i
				f.present[k>>6] |= 1 << (k & 63)
			}
		}
		if err := f.addBlock(at, same, func(dst []byte) ([]byte, error) {
			return column.EncodeStrings(dst, part), nil
		}); err != nil {
			return err
		}
	}
	f.present = f.present[:(f.n+63)/64]
	return f.addExists()
}

// loadBytes writes the next block's values, after the head's changes, to values; same: it
// is as it was.
func (f *Folder) loadBytes(at int, values [][]byte) (same bool, err error) {
	clear(values)
	b, err := f.old.block()
	if err != nil {
		return false, err
	}
	if b != nil {
		for k := range min(b.strings.Len(), len(values)) {
			if v, ok := b.strings.At(k); ok {
				values[k] = notNil(v)
			}
		}
	}
	s, from, to := f.settledIn(at)
	if s == nil {
		return f.unchanged(at), nil
	}
	if err := f.touched(at/bitmap.ChunkSize, s.Ords[from:to]); err != nil {
		return false, err
	}
	for i, o := range f.ords {
		if v := values[int(o)-at]; v != nil {
			h := digest.Text(v)
			f.sub(i, h, h)
		}
		v := s.Value(from + i)
		if v != nil {
			h := digest.Text(v)
			f.add(i, h, h)
		}
		values[int(o)-at] = v
	}
	return false, nil
}

func notNil(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

// foldSets folds sets: the elements of the whole shard, but of the chunks that are kept, as
// ends and codes.
func (f *Folder) foldSets() error {
	f.ends, f.codes = f.ends[:0], f.codes[:0]
	ends := make([]uint32, BlockSize)
	for at := 0; at < f.n; at += BlockSize {
		n := min(at+BlockSize, f.n) - at
		base := uint32(len(f.codes))
		same, err := f.loadSets(at, n)
		if err != nil {
			return err
		}
		for i, e := range f.ends[at:] {
			ends[i] = e - base
		}
		if err := f.addBlock(at, same, func(dst []byte) ([]byte, error) {
			return column.EncodeSets(dst, ends[:n], f.codes[base:]), nil
		}); err != nil {
			return err
		}
		if !same && f.kept(at) {
			f.leaveOut(at, base)
		}
	}
	f.present = f.present[:(f.n+63)/64]
	from := uint32(0)
	for i, e := range f.ends {
		if e > from {
			f.present[i>>6] |= 1 << (i & 63)
		}
		from = e
	}
	if err := f.addExists(); err != nil || f.unit.Present == 0 {
		return err
	}
	return f.addElements()
}

// loadSets appends the n sets of the next block, after the head's changes; same: it is as
// it was. Of a chunk that is kept it only notes who has elements.
func (f *Folder) loadSets(at, n int) (same bool, err error) {
	b, err := f.old.block()
	if err != nil {
		return false, err
	}
	s, from, to := f.settledIn(at)
	if s == nil {
		same = f.unchanged(at)
		if same && f.kept(at) {
			b.sets.Present(f.present[at/64:])
		} else if b != nil {
			f.ends, f.codes = b.sets.Append(f.ends, f.codes)
		}
		for len(f.ends) < at+n {
			f.ends = append(f.ends, uint32(len(f.codes)))
		}
		return same, nil
	}
	if err := f.touched(at/bitmap.ChunkSize, s.Ords[from:to]); err != nil {
		return false, err
	}
	touched := 0
	for k := range n {
		stored := f.setBlock[:0]
		if b != nil && k < b.sets.Len() {
			stored = b.sets.AppendTo(k, stored)
			f.setBlock = stored
		}
		if touched < len(f.ords) && int(f.ords[touched]) == at+k {
			f.changeSet(s, from+touched, touched, stored)
			touched++
		} else {
			f.codes = append(f.codes, stored...)
		}
		f.ends = append(f.ends, uint32(len(f.codes)))
	}
	return false, nil
}

// leaveOut notes who has elements in the block that begins at an ordinal, and drops them: it
// was only written again because it has become longer, and the fragments of its chunk are kept.
func (f *Folder) leaveOut(at int, base uint32) {
	from := base
	for i := at; i < len(f.ends); i++ {
		if f.ends[i] > from {
			f.present[i>>6] |= 1 << (i & 63)
		}
		from, f.ends[i] = f.ends[i], base
	}
	f.codes = f.codes[:base]
}

// changeSet appends what a stored set becomes by entry k of s, touched ordinal i, and
// moves the digests.
func (f *Folder) changeSet(s *head.Settled, k, i int, stored []uint32) {
	for _, code := range stored {
		f.sub(i, f.job.What(code), uint64(code))
	}
	before := len(f.codes)
	f.codes = s.Change(k, stored, f.codes)
	for _, code := range f.codes[before:] {
		f.add(i, f.job.What(code), uint64(code))
	}
}

// addElements writes one fragment per element code.
func (f *Folder) addElements() error {
	top := f.topKept()
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
