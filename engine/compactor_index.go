package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// mergeFrom is the number of new entries from which an index is merged: more for a
// larger index, so that the merging of a growing one costs a constant per entry.
const (
	mergeFrom  = 1 << 18
	mergeShare = 8
	indexShare = 8 // of the memory budget the pages of one index take one part at most
)

// keyHashes remembers the key hashes of one shard: a round of folds asks for the same
// ones once per attribute. Keys never change, and those of the dead stay.
type keyHashes struct {
	shard  int
	hashes []uint64 // by ordinal within the shard, 8 MiB
	known  []uint64
}

// who returns the key hashes of a shard's ordinals.
func (c *compactor) who(s *view.State, shard int) func(ords []uint32, dst []uint64) error {
	h := &c.hashes
	if h.shard != shard || h.hashes == nil {
		if h.hashes == nil {
			h.hashes, h.known = make([]uint64, bitmap.ShardSize), make([]uint64, bitmap.ShardSize/64)
		}
		clear(h.known)
		h.shard = shard
	}
	read := readKeyHashes(s, shard)
	var missing []uint32
	var found []uint64
	return func(ords []uint32, dst []uint64) error {
		missing = missing[:0]
		for _, o := range ords {
			if h.known[o>>6]>>(o&63)&1 == 0 {
				missing = append(missing, o)
			}
		}
		if len(missing) > 0 {
			found = append(found[:0], make([]uint64, len(missing))...)
			if err := read(missing, found); err != nil {
				return err
			}
			for i, o := range missing {
				h.hashes[o] = found[i]
				h.known[o>>6] |= 1 << (o & 63)
			}
		}
		for i, o := range ords {
			dst[i] = h.hashes[o]
		}
		return nil
	}
}

// readKeyHashes reads keys and hashes them. The ordinals ascend; one that has several
// events comes as often.
func readKeyHashes(s *view.State, shard int) func(ords []uint32, dst []uint64) error {
	cursor := view.View{S: s}.NewCursor()
	var part []uint16
	var keys [][]byte
	return func(ords []uint32, dst []uint64) error {
		for from := 0; from < len(ords); {
			chunk := ords[from] >> bitmap.ChunkBits
			part = part[:0]
			to := from
			for ; to < len(ords) && ords[to]>>bitmap.ChunkBits == chunk; to++ {
				if to == from || ords[to] != ords[to-1] {
					part = append(part, uint16(ords[to]))
				}
			}
			keys = append(keys[:0], make([][]byte, len(part))...)
			if err := cursor.GatherStrings(schema.KeyAttr, shard*bitmap.ShardChunks+int(chunk), part, keys); err != nil {
				return err
			}
			for k := -1; from < to; from++ {
				if k < 0 || ords[from] != ords[from-1] {
					k++
				}
				dst[from] = digest.Text(keys[k])
			}
		}
		return nil
	}
}

// what returns the value hashes of an attribute's codes: those of the strings.
func what(s *view.State, id schema.AttrID) func(code uint32) uint64 {
	d := s.Dicts[id]
	if d == nil { // bools, and who lives
		return func(code uint32) uint64 { return digest.Number(int64(code)) }
	}
	hashes := d.Hashes()
	return func(code uint32) uint64 { return hashes[code] }
}

// mergeIndexes folds the deltas of the indexes into sorted tables: those that have grown,
// and those, be they small, for which alone much of the log is kept.
func (c *compactor) mergeIndexes(ctx context.Context, all bool) error {
	s := c.db.current.Load()
	unfolded := c.loggedFrom(c.lowest())
	for id, x := range s.Indexes {
		n := x.Delta.Len()
		grown := n >= max(c.db.opt.limits.mergeFrom, x.Entries/mergeShare)
		if n == 0 || !grown && !all && c.loggedFrom(x.Folded+1)-unfolded <= c.db.opt.limits.softValues {
			continue
		}
		if err := c.mergeIndex(ctx, id, nil); err != nil {
			return err
		}
	}
	return nil
}

// mergeIndex merges what is new in an index into a new table. Of whom keep says no, unless it
// is nil, all entries are left out.
func (c *compactor) mergeIndex(ctx context.Context, id schema.AttrID, keep func(ord uint32) bool) error {
	return c.replaceIndex(ctx, id, func(t keys.Table, frozen *view.Index, folded uint64) (*view.Index, error) {
		return c.db.writeIndex(ctx, t, frozen, folded, keep)
	})
}

// replaceIndex has the writer begin a new delta, which makes the old one complete up to a
// durable position, and write make a new table that is complete up to it, too.
func (c *compactor) replaceIndex(ctx context.Context, id schema.AttrID, write func(t keys.Table, frozen *view.Index, folded uint64) (*view.Index, error)) error {
	w := c.db.writer
	var frozen *view.Index
	var folded uint64
	r := &request{ctx: ctx, done: make(chan struct{})}
	r.task = func() {
		old := w.reading.Indexes[id]
		if old == nil {
			return
		}
		frozen = &view.Index{Static: old.Static, Generation: old.Generation, Folded: old.Folded, Entries: old.Entries, Frozen: old.Delta, Delta: keytable.NewDelta()}
		folded = w.pos.Applied
		w.setIndex(id, frozen)
	}
	if err := c.db.send(r); err != nil {
		return ctx.Err() // the store is closing
	}
	if frozen == nil {
		return nil
	}
	if err := c.db.syncLog(); err != nil { // as with a fold: the index must not be ahead of the log
		return err
	}
	c.generation++
	written, err := write(keys.Table{Attr: uint32(id), Generation: c.generation}, frozen, folded)
	if err != nil {
		return err
	}
	written.Delta = frozen.Delta
	var obsolete []keys.Span
	if old := (keys.Table{Attr: uint32(id), Generation: frozen.Generation}); frozen.Generation > 0 {
		obsolete = append(obsolete, old.Span())
	}
	r = &request{ctx: ctx, done: make(chan struct{}), task: func() { w.swapIndex(id, written, obsolete) }}
	if err := c.db.send(r); err != nil {
		return ctx.Err()
	}
	return nil
}

// writeIndex merges the table and the frozen delta of an index into a new table, which is
// complete up to position folded, and ingests it. The new index has no delta yet.
func (db *DB) writeIndex(ctx context.Context, t keys.Table, old *view.Index, folded uint64, keep func(ord uint32) bool) (*view.Index, error) {
	entries := old.Entries + old.Frozen.Len()
	return db.writeTable(ctx, t, folded, entries, func(emit func(page int, b []byte) error) (pages int, err error) {
		return keytable.Merge(old.Static, old.Frozen, keep, emit)
	})
}

// writeTable writes a table of about so many entries and ingests it.
func (db *DB) writeTable(ctx context.Context, t keys.Table, folded uint64, entries int, fill func(emit func(page int, b []byte) error) (pages int, err error)) (*view.Index, error) {
	table, err := db.kv.NewTable()
	if err != nil {
		return nil, err
	}
	pages, err := fill(func(page int, b []byte) error {
		return errors.Join(ctx.Err(), table.Set(t.Row(keys.Page, uint32(page)), b))
	})
	if err == nil {
		b := binary.AppendUvarint([]byte{1}, uint64(pages))
		b = binary.AppendUvarint(binary.AppendUvarint(b, folded), uint64(entries))
		err = table.Set(t.Row(keys.Done, 0), kv.Seal(nil, b))
	}
	if err != nil {
		return nil, errors.Join(err, table.Discard())
	}
	if err := table.Ingest(ctx); err != nil {
		return nil, err
	}
	static, err := db.openTable(t, pages)
	return &view.Index{Static: static, Folded: folded, Entries: entries, Generation: t.Generation}, err
}

// openTable opens an index's sorted pages.
func (db *DB) openTable(t keys.Table, pages int) (*keytable.Static, error) {
	return keytable.Open(pages, db.opt.Memory/indexShare, func(page int) ([]byte, error) {
		b, err := db.kv.Get(t.Row(keys.Page, uint32(page)))
		if err == nil && b == nil {
			err = query.Errorf(query.CodeCorrupt, "page %d of the index of attribute %d is missing", page, t.Attr)
		}
		return b, err
	})
}

// readTable reads the manifest of an attribute's index.
func readTable(attr uint32, sealed []byte) (pages int, folded uint64, entries int, err error) {
	name := fmt.Sprintf("the manifest of the index of attribute %d", attr)
	r, err := kv.NewReader(sealed, 1)
	if err != nil {
		return 0, 0, 0, kv.Damaged(name, err, nil, nil)
	}
	pages, folded, entries = int(r.Uvarint()), r.Uvarint(), int(r.Uvarint())
	return pages, folded, entries, damaged(&r, name)
}
