package view

import (
	"bytes"
	"math"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

// NoProfile stands for the ordinal of nobody.
const NoProfile uint32 = math.MaxUint32

// lookupBatch is how many keys LookupAll finds together: it is as fast as with more, and of
// blocks that the cache has let go it holds no more than these (some 16 MiB).
const lookupBatch = 256

// lookup is LookupAll's memory.
type lookup struct {
	byHash []uint32            // places of the hashes
	hashes [lookupBatch]uint64 // of a batch, and what is found
	found  [lookupBatch]uint32
	cands  []keytable.Candidate
	order  []uint64 // ordinal and place in cands, in one number
	ords   []uint16 // distinct, chunk by chunk
	runs   []lookupRun
	texts  []*column.Strings // that have the keys of ords, in the base
	keys   [][]byte          // of ords
	lasts  []byte            // of keys
	codes  []uint32          // of ords: who lives
}

// lookupRun is the ordinals of one chunk: ords up to end.
type lookupRun struct{ chunk, end int }

// LookupAll sets found[i] to the living profile with the key key(i), whose hash is
// hashes[i], or to NoProfile. Of a large store a look-up reads some eight lines of memory
// that no cache has, one after the other: here each step is taken for all keys before the
// next one, so that the processor waits for many of them at a time.
func (c *Cursor) LookupAll(hashes []uint64, key func(i int) []byte, found []uint32) error {
	return c.lookupAll(hashes, key, found, false)
}

// LookupSince is LookupAll for keys that were nobody's in an earlier state, whose table of
// keys had a generation, if no profile was deleted since: while it is the same table, nobody
// who came since is in it.
func (c *Cursor) LookupSince(table uint64, hashes []uint64, key func(i int) []byte, found []uint32) error {
	return c.lookupAll(hashes, key, found, c.KeyTable() == table)
}

// KeyTable is the generation of the table of keys, 0 if there is none.
func (c *Cursor) KeyTable() uint64 { return c.s.Indexes[schema.KeyAttr].Generation }

// lookupAll goes through the keys by their hashes, as the table has them: if it is not all
// in memory, its pages, which share blocks on disk, are read once and not once for each key.
func (c *Cursor) lookupAll(hashes []uint64, key func(i int) []byte, found []uint32, deltas bool) error {
	if len(hashes) <= lookupBatch {
		return c.lookupSome(hashes, key, found, deltas)
	}
	l := &c.lookup
	l.sortHashes(hashes)
	for from := 0; from < len(hashes); from += lookupBatch {
		some := l.byHash[from:min(from+lookupBatch, len(hashes))]
		for k, i := range some {
			l.hashes[k] = hashes[i]
		}
		err := c.lookupSome(l.hashes[:len(some)], func(k int) []byte { return key(int(some[k])) }, l.found[:len(some)], deltas)
		if err != nil {
			return err
		}
		for k, i := range some {
			found[i] = l.found[k]
		}
	}
	return nil
}

// sortHashes fills byHash with the places of the hashes, by their top byte.
func (l *lookup) sortHashes(hashes []uint64) {
	var at [257]int
	for _, h := range hashes {
		at[h>>56+1]++
	}
	for i := range 256 {
		at[i+1] += at[i]
	}
	l.byHash = slices.Grow(l.byHash[:0], len(hashes))[:len(hashes)]
	for i, h := range hashes {
		l.byHash[at[h>>56]] = uint32(i)
		at[h>>56]++
	}
}

func (c *Cursor) lookupSome(hashes []uint64, key func(i int) []byte, found []uint32, deltas bool) (err error) {
	l := &c.lookup
	x := c.s.Indexes[schema.KeyAttr]
	if l.cands = x.deltaCandidates(hashes, l.cands[:0]); !deltas {
		if l.cands, err = x.Static.AppendCandidates(hashes, l.cands); err != nil {
			return IndexDamaged(schema.KeyAttr, err)
		}
	}
	for i := range found {
		found[i] = NoProfile
	}
	l.sort(c.s.End)
	if err := c.gatherKeys(l); err != nil {
		return err
	}
	defer l.forget()
	for i, k := range l.keys {
		l.lasts[i] = lastOf(k)
	}
	place, before := -1, uint64(math.MaxUint64)
	for _, o := range l.order {
		if ord := o >> 32; ord != before {
			place, before = place+1, ord
		}
		i := l.cands[uint32(o)].Of
		k := key(int(i))
		if l.codes[place] == Live && l.lasts[place] == lastOf(k) && bytes.Equal(l.keys[place], k) {
			found[i] = uint32(before)
		}
	}
	return nil
}

// Former returns everybody who ever had a key, whose hash is given, the dead too, as long as
// their keys are not purged. They ascend.
func (c *Cursor) Former(hash uint64, key []byte) ([]uint32, error) {
	candidates, err := c.s.Indexes[schema.KeyAttr].Candidates(hash, nil)
	if err != nil {
		return nil, IndexDamaged(schema.KeyAttr, err)
	}
	slices.Sort(candidates)
	var out []uint32
	for _, ord := range slices.Compact(candidates) {
		if ord >= c.s.End {
			continue
		}
		one, text := [1]uint16{uint16(ord)}, [1][]byte{}
		if err := c.GatherStrings(schema.KeyAttr, int(ord>>bitmap.ChunkBits), one[:], text[:]); err != nil {
			return nil, err
		}
		if text[0] != nil && bytes.Equal(text[0], key) {
			out = append(out, ord)
		}
	}
	return out, nil
}

func lastOf(key []byte) byte {
	if len(key) == 0 {
		return 0
	}
	return key[len(key)-1]
}

// forget lets the blocks go: the cache alone says what stays in memory.
func (l *lookup) forget() {
	clear(l.texts)
	clear(l.keys)
}

// candidatesOf is Candidates of several hashes.
func (x *Index) candidatesOf(hashes []uint64, dst []keytable.Candidate) ([]keytable.Candidate, error) {
	return x.Static.AppendCandidates(hashes, x.deltaCandidates(hashes, dst))
}

// deltaCandidates is candidatesOf without those of the table.
func (x *Index) deltaCandidates(hashes []uint64, dst []keytable.Candidate) []keytable.Candidate {
	dst = x.Delta.AppendCandidates(hashes, dst)
	if x.Frozen != nil {
		dst = x.Frozen.AppendCandidates(hashes, dst)
	}
	return dst
}

// sort brings the candidates into the order of their ordinals; those from end on are left out.
func (l *lookup) sort(end uint32) {
	l.order, l.ords, l.runs = l.order[:0], l.ords[:0], l.runs[:0]
	for k, cand := range l.cands {
		if cand.Ordinal < end {
			l.order = append(l.order, uint64(cand.Ordinal)<<32|uint64(k))
		}
	}
	slices.Sort(l.order)
	chunk, last := -1, uint64(math.MaxUint64)
	for _, o := range l.order {
		ord := o >> 32
		if ord == last {
			continue
		}
		last = ord
		if of := int(ord >> bitmap.ChunkBits); of != chunk {
			chunk = of
			l.runs = append(l.runs, lookupRun{chunk: of})
		}
		l.ords = append(l.ords, uint16(ord))
		l.runs[len(l.runs)-1].end = len(l.ords)
	}
	n := len(l.ords)
	l.texts, l.keys = slices.Grow(l.texts[:0], n)[:n], slices.Grow(l.keys[:0], n)[:n]
	l.lasts, l.codes = slices.Grow(l.lasts[:0], n)[:n], slices.Grow(l.codes[:0], n)[:n]
}

// gatherKeys reads the keys of the ordinals, and who lives.
func (c *Cursor) gatherKeys(l *lookup) error {
	a := c.attr(schema.KeyAttr)
	from := 0
	for _, r := range l.runs {
		u := a.unit(r.chunk)
		for i, ord := range l.ords[from:r.end] {
			l.texts[from+i] = nil
			if u != nil {
				var err error
				if l.texts[from+i], err = u.Strings(r.chunk&chunkMask, ord); err != nil {
					return err
				}
			}
		}
		from = r.end
	}
	for i, t := range l.texts {
		l.keys[i] = nil
		if t != nil {
			l.keys[i], _ = t.At(int(l.ords[i]) % base.BlockSize)
		}
	}
	from = 0
	for _, r := range l.runs {
		if c.overlay.Load(&a.head, r.chunk) {
			c.overlay.PatchBytes(l.ords[from:r.end], l.keys[from:r.end])
		}
		from = r.end
	}
	from = 0
	for _, r := range l.runs {
		if err := c.GatherCodes(LiveAttr, r.chunk, l.ords[from:r.end], l.codes[from:r.end]); err != nil {
			return err
		}
		from = r.end
	}
	return nil
}
