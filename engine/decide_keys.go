package engine

import (
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
)

// keyed are the keys of an op and whose they are, as the batches before have left it.
type keyed struct {
	keys   batch.Strings
	hashes []uint64
	ords   []uint32 // view.NoProfile: nobody's
}

type newKey struct {
	ord uint32
	key string
}

// lookUp finds the profiles of an op's keys, all at once (see view.Cursor.LookupAll). What
// it returns is valid until the next op.
func (d *decider) lookUp(keys batch.Strings) (*keyed, error) {
	k, n := &d.w.keyed, keys.Len()
	k.keys, k.hashes, k.ords = keys, slices.Grow(k.hashes[:0], n)[:n], slices.Grow(k.ords[:0], n)[:n]
	for i := range k.hashes {
		k.hashes[i] = view.Hash(d.w.seed, keys.At(i))
	}
	return k, d.w.cursor.LookupAll(k.hashes, keys.At, k.ords)
}

// resolve returns whose key i is, also of a profile that this batch creates.
func (d *decider) resolve(k *keyed, i int) (ord uint32, known bool) {
	if len(d.created)+len(d.clashes) > 0 {
		key := k.keys.At(i)
		if n, ok := d.created[k.hashes[i]]; ok && n.key == string(key) {
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
	hash, key := k.hashes[i], string(k.keys.At(i))
	if _, taken := d.created[hash]; taken {
		if d.clashes == nil {
			d.clashes = map[string]uint32{}
		}
		d.clashes[key] = ord
		return
	}
	if d.created == nil {
		d.created = map[uint64]newKey{}
	}
	d.created[hash] = newKey{ord, key}
}
