package base

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

// Job is one fold: a unit's old generation, if any, and what the head has settled since.
type Job struct {
	ID      keys.Unit // the new generation
	Class   effect.Class
	Old     *Unit           // nil: the shard had no unit
	Settled []*head.Settled // by chunk of the shard; nil entries have nothing
	Folded  uint64          // the position the settled objects stand for

	// Who writes to dst the hashes of the keys of some ordinals of the shard.
	Who func(ords []uint32, dst []uint64) error
	// What returns the hash of a code's string.
	What func(code uint32) uint64
}

// FoldMemory is about what folding a full shard of keys or sets works in, in bytes.
const FoldMemory = 64 << 20

// Folder folds units. It is scratch for one goroutine; the largest is 8 MiB of numbers
// and as much again for the codes' ordinals.
type Folder struct {
	store *kv.Store
	cache *Cache

	n        int // ordinals covered by the new unit
	ints     []int64
	present  []uint64
	ends     []uint32
	codes    []uint32
	ords     []uint32 // touched ordinals of a chunk, then all ordinals by code
	starts   []uint32
	who      []uint64
	buf      []byte
	unit     *Unit
	job      *Job
	held     *heldRows
	old      oldRows
	anew     bool   // all is encoded again, also where nothing has changed
	keep     uint16 // the chunks of the old generation in which nothing has changed
	setBlock []uint32
}

// NewFolder makes a folder.
func NewFolder(store *kv.Store, cache *Cache) *Folder { return &Folder{store: store, cache: cache} }

// Fold writes a new generation and returns it, ingested and durable. The caller has
// made sure that the log is synced up to job.Folded.
func (f *Folder) Fold(ctx context.Context, job *Job) (u *Unit, err error) {
	f.job = job
	f.unit = &Unit{ID: job.ID, Class: job.Class, Folded: job.Folded}
	if job.Old != nil {
		f.unit.Content, f.unit.Replica = job.Old.Content, job.Old.Replica
	}
	f.n = f.cover()
	f.unit.Covered = uint32(f.n)
	f.held = &heldRows{data: f.buf[:0], unit: f.unit, spill: f.store.NewTable}
	f.anew = false
	err = f.rows(ctx)
	return f.finish(ctx, f.held, err)
}

// finish writes the unit's rows, if nothing has failed, and ingests them.
func (f *Folder) finish(ctx context.Context, held *heldRows, failed error) (*Unit, error) {
	u := f.unit
	tables, err := held.write(f.store, failed)
	f.forget(held)
	if err != nil {
		return nil, err
	}
	if err := f.store.Ingest(ctx, tables...); err != nil {
		return nil, err
	}
	u.attach(f.cache)
	return u, nil
}

// forget lets go of what a fold was of, and of scratch that is large because its texts were:
// the folder lives as long as the store, and nobody counts what it keeps.
func (f *Folder) forget(held *heldRows) {
	if f.buf = held.data[:0]; cap(f.buf) > spillFrom {
		f.buf = nil
	}
	f.held, f.job, f.unit, f.old = nil, nil, nil, oldRows{}
}

// rows makes the rows of the new generation, block by block.
func (f *Folder) rows(ctx context.Context) (err error) {
	if err := f.old.open(ctx, f.store, f.job.Old); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.old.close()) }()
	f.keep = 0
	if f.job.Old != nil && !f.anew {
		for c := range bitmap.ShardChunks {
			if c >= len(f.job.Settled) || f.job.Settled[c] == nil {
				f.keep |= 1 << c
			}
		}
	}
	// Whole blocks: decoders write whole bitmaps.
	f.present = resize(f.present, (f.n+BlockSize-1)/BlockSize*BlockSize/64)
	clear(f.present)
	switch f.job.Class {
	case effect.Bytes:
		return f.foldBytes()
	case effect.Set:
		return f.foldSets()
	}
	return f.foldInts()
}

func joinDiscard(t *kv.Table, err error) error {
	if d := t.Discard(); d != nil {
		return fmt.Errorf("%w (and removing the unfinished table: %w)", err, d)
	}
	return err
}

// cover returns how many ordinals the new unit covers: to the last one touched.
func (f *Folder) cover() int {
	n := 0
	if f.job.Old != nil {
		n = int(f.job.Old.Covered)
	}
	for c, s := range f.job.Settled {
		if s != nil && len(s.Ords) > 0 {
			n = max(n, c*bitmap.ChunkSize+int(s.Ords[len(s.Ords)-1])+1)
		}
	}
	return n
}

// add counts a fact of touched ordinal i (see touched): its value's hashes. sub takes one away.
func (f *Folder) add(i int, content, replica uint64) {
	f.unit.Content.Add(digest.Fact(f.who[i], content))
	f.unit.Replica.Add(digest.Fact(f.ordinal(i), replica))
}

func (f *Folder) sub(i int, content, replica uint64) {
	f.unit.Content.Sub(digest.Fact(f.who[i], content))
	f.unit.Replica.Sub(digest.Fact(f.ordinal(i), replica))
}

// ordinal returns touched ordinal i, that of the store.
func (f *Folder) ordinal(i int) uint64 {
	return uint64(f.job.ID.Shard)<<bitmap.ShardBits | uint64(f.ords[i])
}

// touched fills ords with a chunk's ordinals within the shard, and who with their keys' hashes.
func (f *Folder) touched(chunk int, ords []uint16) error {
	f.ords = f.ords[:0]
	for _, o := range ords {
		f.ords = append(f.ords, uint32(chunk)<<bitmap.ChunkBits|uint32(o))
	}
	f.who = resize(f.who, len(f.ords))
	return f.job.Who(f.ords, f.who)
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// foldInts folds numbers and codes (a code is a number here).
func (f *Folder) foldInts() error {
	f.ints = resize(f.ints, f.n)
	for at := 0; at < f.n; at += BlockSize {
		values := f.ints[at:min(at+BlockSize, f.n)]
		b, err := f.old.block()
		if err != nil {
			return err
		}
		s, from, to := f.settledIn(at)
		same := s == nil && f.unchanged(at)
		switch {
		case same && (f.kept(at) || f.job.Class == effect.Int):
			b.ints.Present(f.present[at/64:])
		case b == nil:
			clear(values)
		default:
			clear(values[min(len(b.ints.Append(values[:0], f.present[at/64:])), len(values)):])
		}
		if s != nil {
			if err := f.applyInts(at, s, from, to); err != nil {
				return err
			}
		}
		if err := f.addBlock(at, same, func(dst []byte) ([]byte, error) {
			return column.EncodeInts(dst, values, f.present[at/64:(at+len(values)+63)/64]), nil
		}); err != nil {
			return err
		}
	}
	f.present = f.present[:(f.n+63)/64]
	if err := f.addExists(); err != nil || f.job.Class != effect.Code {
		return err
	}
	return f.addCodes()
}

// kept reports whether nothing has changed in the chunk of an ordinal.
func (f *Folder) kept(at int) bool { return f.keep>>(at/bitmap.ChunkSize)&1 == 1 }

// unchanged reports whether the old generation has all of the block that begins at an
// ordinal and for which nothing is settled: its bytes are taken over.
func (f *Folder) unchanged(at int) bool {
	return !f.anew && f.job.Old != nil && int(f.job.Old.Covered) >= min(at+BlockSize, f.n)
}

// settledIn returns the entries from..to-1 of s that the head has settled for the block
// that begins at an ordinal; s is nil if there are none.
func (f *Folder) settledIn(at int) (s *head.Settled, from, to int) {
	chunk, first := at/bitmap.ChunkSize, at%bitmap.ChunkSize
	if chunk >= len(f.job.Settled) || f.job.Settled[chunk] == nil {
		return nil, 0, 0
	}
	s = f.job.Settled[chunk]
	find := func(ord int) int {
		i, _ := slices.BinarySearchFunc(s.Ords, ord, func(have uint16, want int) int { return int(have) - want })
		return i
	}
	if from, to = find(first), find(first+BlockSize); from == to {
		return nil, 0, 0
	}
	return s, from, to
}

func (f *Folder) has(i int) bool { return f.present[i>>6]>>(i&63)&1 != 0 }

func (f *Folder) hashes(v int64) (content, replica uint64) {
	if f.job.Class == effect.Code {
		return f.job.What(uint32(v)), uint64(v)
	}
	h := digest.Number(v)
	return h, h
}

// applyInts writes the settled numbers of a block over the column, and moves the digests.
func (f *Folder) applyInts(at int, s *head.Settled, from, to int) error {
	if err := f.touched(at/bitmap.ChunkSize, s.Ords[from:to]); err != nil {
		return err
	}
	base := uint64(f.job.ID.Shard) << bitmap.ShardBits
	content, replica := f.unit.Content, f.unit.Replica
	for i, o := range f.ords {
		k := int(o)
		who, ord := f.who[i], base|uint64(o)
		if f.has(k) {
			c, r := f.hashes(f.ints[k])
			content.Sub(digest.Fact(who, c))
			replica.Sub(digest.Fact(ord, r))
		}
		var v int64
		var ok bool
		if s.Class == effect.Code {
			code := s.Code(from + i)
			v, ok = int64(code), code != schema.NoCode
		} else {
			v, ok = s.Int(from + i)
		}
		if !ok {
			f.ints[k] = 0
			f.present[k>>6] &^= 1 << (k & 63)
			continue
		}
		c, r := f.hashes(v)
		content.Add(digest.Fact(who, c))
		replica.Add(digest.Fact(ord, r))
		f.ints[k] = v
		f.present[k>>6] |= 1 << (k & 63)
	}
	f.unit.Content, f.unit.Replica = content, replica
	return nil
}

// addBlock adds the block that begins at an ordinal: the old generation's bytes if it is
// the same, else what encode makes. There is one form of a block only.
func (f *Folder) addBlock(at int, same bool, encode func(dst []byte) ([]byte, error)) error {
	runtime.Gosched() // a fold is in no hurry, and who waits for the writer is
	if same {
		encode = func(dst []byte) ([]byte, error) { return append(dst, f.old.raw...), nil }
	}
	n, err := f.held.add(keys.Block, uint32(at/BlockSize), encode)
	f.unit.Columns += n
	return err
}

// addExists writes the fragment of f.present.
func (f *Folder) addExists() error {
	var sets [bitmap.ShardChunks]bitmap.Set
	var words [bitmap.ShardChunks]bitmap.Words
	total := 0
	for c := range sets {
		from := min(c*bitmap.WordsPerSet, len(f.present))
		to := min(from+bitmap.WordsPerSet, len(f.present))
		copy(words[c][:], f.present[from:to])
		sets[c] = bitmap.FromWords(&words[c])
		total += sets[c].Count()
	}
	f.unit.Present = uint32(total)
	if total == 0 {
		return nil
	}
	n, err := f.held.add(keys.Exists, 0, func(dst []byte) ([]byte, error) { return bitmap.EncodeFragment(dst, &sets), nil })
	f.unit.Bitmaps += n
	return err
}

// addCodes writes one fragment per code: the ordinals of the chunks that are not kept are
// sorted by code by counting. The number of an absent value is 0.
func (f *Folder) addCodes() error {
	if f.unit.Present == 0 {
		return nil
	}
	top, present, absent := int64(f.topKept()), 0, 0
	for first, end := range f.changed() {
		n := 0
		for _, word := range f.present[first/64 : (end+63)/64] {
			n += bits.OnesCount64(word)
		}
		present, absent = present+n, absent+end-first-n
		for _, v := range f.ints[first:end] {
			top = max(top, v)
		}
	}
	f.starts = resize(f.starts, int(top)+2)
	clear(f.starts)
	counts := f.starts[1:]
	for first, end := range f.changed() {
		for _, v := range f.ints[first:end] {
			counts[v]++
		}
	}
	counts[0] -= uint32(absent)
	for c := 1; c < len(f.starts); c++ {
		f.starts[c] += f.starts[c-1]
	}
	f.ords = resize(f.ords, present)
	for first, end := range f.changed() {
		f.sortCodes(first, end)
	}
	return f.addFragments(uint32(top))
}

// changed yields the bounds of the chunks that are not kept.
func (f *Folder) changed() iter.Seq2[int, int] {
	return func(yield func(first, end int) bool) {
		for first := 0; first < f.n; first += bitmap.ChunkSize {
			if !f.kept(first) && !yield(first, min(first+bitmap.ChunkSize, f.n)) {
				return
			}
		}
	}
}

// topKept is the highest code that may be in a chunk that is kept.
func (f *Folder) topKept() uint32 {
	if f.keep == 0 || len(f.job.Old.Codes) == 0 {
		return 0
	}
	return f.job.Old.Codes[len(f.job.Old.Codes)-1]
}

// sortCodes puts the ordinals from first to below end where starts has the place for their
// codes. first is a multiple of 64.
func (f *Folder) sortCodes(first, end int) {
	for w, word := range f.present[first/64 : (end+63)/64] {
		at := first + w*64
		if word == ^uint64(0) {
			for i, v := range f.ints[at : at+64] {
				to := &f.starts[v]
				f.ords[*to] = uint32(at + i)
				*to++
			}
			continue
		}
		for ; word != 0; word &= word - 1 {
			i := at + bits.TrailingZeros64(word)
			to := &f.starts[f.ints[i]]
			f.ords[*to] = uint32(i)
			*to++
		}
	}
}

// addFragments writes the fragments of codes 0..top: in the chunks that are kept what the
// old ones have; in the others f.ords sorted by code, f.starts[c] the end of code c.
func (f *Folder) addFragments(top uint32) error {
	from := uint32(0)
	for code := uint32(0); code <= top; code++ {
		part := f.ords[from:f.starts[code]]
		from = f.starts[code]
		var old []byte
		if f.keep != 0 {
			var err error
			if old, err = f.old.fragment(code); err != nil {
				return err
			}
		}
		if len(part) == 0 && old == nil {
			continue
		}
		data, total, err := bitmap.ReplaceChunks(f.held.data, old, f.keep, part)
		if err != nil {
			if old != nil {
				err = f.job.Old.damagedFragment(err)
			}
			return err
		}
		if total == 0 {
			continue // nobody has it any more
		}
		f.unit.Bitmaps += f.held.put(keys.Fragment, code, data)
		f.unit.Codes, f.unit.Cards = append(f.unit.Codes, code), append(f.unit.Cards, uint32(total))
	}
	return nil
}
