package engine

import (
	"bytes"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
)

// keyed are the keys of an op and whose they are in some state, as the batches before it
// have left it.
type keyed struct {
	keys    batch.Strings
	hashes  []uint64
	ords    []uint32 // view.NoProfile: nobody's
	end     uint32   // of the state
	deleted uint64   // of the state
	table   uint64   // the generation of the state's table of keys
}

// workbench is where a batch is made ready for the writer: memory that the next one uses again.
type workbench struct {
	decoder batch.Decoder
	keyed   []keyed // of its ops; none: they were not looked up ahead
	cursor  *view.Cursor
}

// lookAhead finds the profiles of a batch in the published state, in the caller's goroutine.
// When its turn comes most of that still holds: see decider.lookUp. What cannot be read the
// writer will find, too.
func (b *workbench) lookAhead(db *DB, d *batch.Decoded) {
	b.keyed = b.keyed[:0]
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return
	}
	s := db.acquire()
	defer s.era.release()
	if b.cursor == nil {
		b.cursor = view.View{S: &s.State}.NewCursor()
	}
	b.cursor.Reset(&s.State)
	defer b.cursor.Reset(nil)
	b.keyed = slices.Grow(b.keyed, len(d.Ops))[:len(d.Ops)]
	for i := range d.Ops {
		k := &b.keyed[i]
		k.end, k.deleted, k.table = s.End, s.deleted, b.cursor.KeyTable()
		if err := k.find(b.cursor, s.Seed, keysOf(&d.Ops[i])); err != nil {
			b.keyed = b.keyed[:0]
			return
		}
	}
}

func keysOf(op *batch.Op) batch.Strings {
	switch {
	case op.Block != nil:
		return op.Block.Keys
	case op.Events != nil:
		return op.Events.Keys
	}
	return op.Keys
}

// find looks all keys up together (see view.Cursor.LookupAll).
func (k *keyed) find(c *view.Cursor, seed uint64, keys batch.Strings) error {
	n := keys.Len()
	k.keys, k.hashes, k.ords = keys, slices.Grow(k.hashes[:0], n)[:n], slices.Grow(k.ords[:0], n)[:n]
	for i := range k.hashes {
		k.hashes[i] = view.Hash(seed, keys.At(i))
	}
	return c.LookupAll(k.hashes, keys.At, k.ords)
}

type newKey struct {
	ord uint32
	key []byte // the decoded batch's
}

// lookUp finds the profiles of the keys of the op at hand, as the batches before have left
// them; it is valid until the next op. What was found ahead of the batch's turn stands: an
// ordinal has its key for good, and nobody else has the key while it lives. So all is
// looked up again only if profiles were deleted since, and who was not found then if
// some were created.
func (d *decider) lookUp(keys batch.Strings) (*keyed, error) {
	w := d.w
	if len(d.found) == 0 || d.found[d.op].deleted != w.deleted {
		return &w.keyed, w.keyed.find(w.cursor, w.seed, keys)
	}
	k := &d.found[d.op]
	if k.end == w.end {
		return k, nil
	}
	again, rows := &w.keyed, w.rows[:0]
	again.hashes = again.hashes[:0]
	for i, ord := range k.ords {
		if ord == view.NoProfile {
			again.hashes, rows = append(again.hashes, k.hashes[i]), append(rows, i)
		}
	}
	w.rows, again.ords = rows, slices.Grow(again.ords[:0], len(rows))[:len(rows)]
	err := w.cursor.LookupSince(k.table, again.hashes, func(i int) []byte { return keys.At(rows[i]) }, again.ords)
	for i, row := range rows {
		k.ords[row] = again.ords[i]
	}
	return k, err
}

// resolve returns whose key i is, also of a profile that this batch creates.
func (d *decider) resolve(k *keyed, i int) (ord uint32, known bool) {
	if len(d.created)+len(d.clashes) > 0 {
		key := k.keys.At(i)
		if n, ok := d.created[k.hashes[i]]; ok && bytes.Equal(n.key, key) {
			return n.ord, true
		}
		if ord, ok := d.clashes[string(key)]; ok {
			return ord, true
		}
	}
	ord = k.ords[i]
	return ord, ord != view.NoProfile && !d.gone[ord]
}

// remember notes that the batch creates a profile with key i.
func (d *decider) remember(k *keyed, i int, ord uint32) {
	hash, key := k.hashes[i], k.keys.At(i)
	if d.created == nil {
		d.created = make(map[uint64]newKey, k.unknown())
	}
	if _, taken := d.created[hash]; !taken {
		d.created[hash] = newKey{ord, key}
		return
	}
	if d.clashes == nil {
		d.clashes = map[string]uint32{}
	}
	d.clashes[string(key)] = ord
}

// unknown returns how many keys are nobody's.
func (k *keyed) unknown() (n int) {
	for _, ord := range k.ords {
		if ord == view.NoProfile {
			n++
		}
	}
	return n
}
