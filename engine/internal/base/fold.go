package base

import (
	"context"
	"fmt"
	"math/bits"
	"runtime"

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
	table    *kv.Table
	held     *heldRows
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
	if f.table, err = f.store.NewTable(); err != nil {
		return nil, err
	}
	var rows func() error
	switch job.Class {
	case effect.Bytes:
		rows = f.foldBytes
	case effect.Set:
		rows = f.foldSets
	default:
		rows = f.foldInts
	}
	// The manifest is the first key of the unit and known last, so the rows are made in memory first.
	held := heldRows{data: f.buf[:0]}
	f.held = &held
	if err = rows(); err == nil {
		err = held.write(f.table, f.unit)
	}
	f.buf = held.data
	if err != nil {
		return nil, joinDiscard(f.table, err)
	}
	if err = f.table.Ingest(ctx); err != nil {
		return nil, err
	}
	f.unit.attach(f.cache)
	return f.unit, nil
}

func joinDiscard(t *kv.Table, err error) error {
	if d := t.Discard(); d != nil {
		return fmt.Errorf("%w (and removing the unfinished table: %w)", err, d)
	}
	return err
}

// heldRows are a unit's rows in memory until its manifest is known.
type heldRows struct {
	data []byte
	rows []heldRow
}

type heldRow struct {
	kind keys.Kind
	row  uint32
	end  int
}

func (h *heldRows) add(kind keys.Kind, row uint32, encode func(dst []byte) ([]byte, error)) (size int64, err error) {
	n := len(h.data)
	if h.data, err = encode(h.data); err != nil {
		return 0, err
	}
	h.rows = append(h.rows, heldRow{kind, row, len(h.data)})
	return int64(len(h.data) - n), nil
}

func (h *heldRows) write(t *kv.Table, u *Unit) error {
	if err := t.Set(u.ID.Row(keys.Manifest, 0), u.manifest()); err != nil {
		return err
	}
	for _, kind := range []keys.Kind{keys.Fragment, keys.Exists, keys.Block} {
		start := 0
		for _, r := range h.rows {
			if r.kind == kind {
				if err := t.Set(u.ID.Row(kind, r.row), h.data[start:r.end]); err != nil {
					return err
				}
			}
			start = r.end
		}
	}
	return nil
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

// facts moves the unit's digests from the old to the new value of touched ordinals.
// before and after return the value hashes of entry i, none for absent; replica hashes likewise.
func (f *Folder) facts(chunk int, s *head.Settled, before, after func(i int, each func(content, replica uint64))) error {
	if err := f.touched(chunk, s.Ords); err != nil {
		return err
	}
	base := uint64(f.job.ID.Shard) << bitmap.ShardBits
	for i, o := range f.ords {
		who, ord := f.who[i], base|uint64(o)
		before(i, func(c, r uint64) {
			f.unit.Content.Sub(digest.Fact(who, c))
			f.unit.Replica.Sub(digest.Fact(ord, r))
		})
		after(i, func(c, r uint64) {
			f.unit.Content.Add(digest.Fact(who, c))
			f.unit.Replica.Add(digest.Fact(ord, r))
		})
	}
	return nil
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
	if err := f.loadInts(); err != nil {
		return err
	}
	for c, s := range f.job.Settled {
		if s == nil {
			continue
		}
		runtime.Gosched()
		if err := f.applyInts(c, s); err != nil {
			return err
		}
	}
	for at := 0; at < f.n; at += BlockSize {
		end := min(at+BlockSize, f.n)
		if err := f.addBlock(at/BlockSize, func(dst []byte) ([]byte, error) {
			return column.EncodeInts(dst, f.ints[at:end], f.present[at/64:(end+63)/64]), nil
		}); err != nil {
			return err
		}
	}
	if err := f.addExists(); err != nil || f.job.Class != effect.Code {
		return err
	}
	return f.addCodes()
}

// loadInts decodes the old generation; ordinals beyond it are absent.
func (f *Folder) loadInts() error {
	words := (f.n + 63) / 64
	f.ints, f.present = resize(f.ints, f.n)[:0], resize(f.present, (f.n+BlockSize-1)/BlockSize*BlockSize/64)
	for i := range f.present {
		f.present[i] = 0
	}
	if old := f.job.Old; old != nil {
		for i := range old.blocks {
			runtime.Gosched()
			b, err := old.block(i)
			if err != nil {
				return err
			}
			at := i * BlockSize / 64
			f.ints = b.ints.Append(f.ints, f.present[at:at+(b.ints.Len()+63)/64])
		}
	}
	f.ints = append(f.ints, make([]int64, f.n-len(f.ints))...)
	f.present = f.present[:words]
	return nil
}

func (f *Folder) has(i int) bool { return f.present[i>>6]>>(i&63)&1 != 0 }

func (f *Folder) hashes(v int64) (content, replica uint64) {
	if f.job.Class == effect.Code {
		return f.job.What(uint32(v)), uint64(v)
	}
	h := digest.Number(v)
	return h, h
}

// applyInts writes a chunk's settled numbers over the column, and moves the digests.
func (f *Folder) applyInts(chunk int, s *head.Settled) error {
	if err := f.touched(chunk, s.Ords); err != nil {
		return err
	}
	first := chunk * bitmap.ChunkSize
	base := uint64(f.job.ID.Shard) << bitmap.ShardBits
	content, replica := f.unit.Content, f.unit.Replica
	for i, o := range s.Ords {
		k := first + int(o)
		who, ord := f.who[i], base|uint64(k)
		if f.has(k) {
			c, r := f.hashes(f.ints[k])
			content.Sub(digest.Fact(who, c))
			replica.Sub(digest.Fact(ord, r))
		}
		var v int64
		var ok bool
		if s.Class == effect.Code {
			v, ok = int64(s.Code(i)), s.Code(i) != schema.NoCode
		} else {
			v, ok = s.Int(i)
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

func (f *Folder) addBlock(i int, encode func(dst []byte) ([]byte, error)) error {
	runtime.Gosched() // a fold is in no hurry, and who waits for the writer is
	n, err := f.held.add(keys.Block, uint32(i), encode)
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

// addCodes writes one fragment per code: the ordinals are sorted by code by counting.
// The number of an absent value is 0.
func (f *Folder) addCodes() error {
	if f.unit.Present == 0 {
		return nil
	}
	top := int64(0)
	for _, v := range f.ints {
		top = max(top, v)
	}
	f.starts = resize(f.starts, int(top)+2)
	clear(f.starts)
	counts := f.starts[1:]
	for _, v := range f.ints {
		counts[v]++
	}
	counts[0] -= uint32(len(f.ints)) - f.unit.Present
	for c := 1; c < len(f.starts); c++ {
		f.starts[c] += f.starts[c-1]
	}
	f.ords = resize(f.ords, int(f.unit.Present))
	for w, word := range f.present {
		first := w * 64
		if word == ^uint64(0) {
			for i, v := range f.ints[first : first+64] {
				at := &f.starts[v]
				f.ords[*at] = uint32(first + i)
				*at++
			}
			continue
		}
		for ; word != 0; word &= word - 1 {
			i := first + bits.TrailingZeros64(word)
			at := &f.starts[f.ints[i]]
			f.ords[*at] = uint32(i)
			*at++
		}
	}
	return f.addFragments(uint32(top))
}

// addFragments writes the fragments of codes 0..top: f.ords sorted by code, f.starts[c] the end of code c.
func (f *Folder) addFragments(top uint32) error {
	from := uint32(0)
	for code := uint32(0); code <= top; code++ {
		to := f.starts[code]
		if to == from {
			continue
		}
		part := f.ords[from:to]
		n, err := f.held.add(keys.Fragment, code, func(dst []byte) ([]byte, error) { return bitmap.EncodeOrdinals(dst, part) })
		if err != nil {
			return err
		}
		f.unit.Bitmaps += n
		f.unit.Codes, f.unit.Cards = append(f.unit.Codes, code), append(f.unit.Cards, to-from)
		from = to
	}
	return nil
}
