package engine

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

// TestReborn: in one batch a profile comes, is deleted, and comes again; nothing of the first
// one is left, and its unique value is free.
func TestReborn(t *testing.T) {
	db, err := Open("store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "u", Attribute: schema.Attribute{Name: "u", Kind: schema.Int, Unique: true}})
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
		b.Upsert("old").Set("u", schema.IntValue(2))
	})
	mustApply(t, db, func(b *batch.Builder) {
		for _, key := range []string{"new", "old"} {
			b.Upsert(key).Set("u", schema.IntValue(1))
			b.Delete(key)
			b.Upsert(key).Set("n", schema.IntValue(5))
		}
		b.Upsert("other").Set("u", schema.IntValue(1))
	})
	for expr, want := range map[string]uint64{"true": 3, "u == 1": 1, "u == 2": 0, "n == 5": 2, "n == 5 && has(u)": 0} {
		if n, err := db.Count(t.Context(), expr, nil); err != nil || n.Count != want {
			t.Errorf("%s: %d, want %d (%v)", expr, n.Count, want, err)
		}
	}
}

// TestKeysOfOneHash: new keys of a batch are told apart though their hashes are the same.
func TestKeysOfOneHash(t *testing.T) {
	b := batch.New()
	for _, key := range []string{"a", "b", "c"} {
		b.Upsert(key)
	}
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := new(batch.Decoder).Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = view.NoProfile
	d := &decider{w: &writer{}}
	k := &keyed{keys: decoded.Ops[0].Block.Keys, hashes: []uint64{7, 7, 7}, ords: []uint32{nobody, nobody, nobody}}
	want := func(what string, ords ...uint32) {
		t.Helper()
		for i, o := range ords {
			if got, known := d.resolve(k, i); known != (o != nobody) || known && got != o {
				t.Errorf("%s: %q is %d (%v), want %d", what, k.keys.At(i), got, known, o)
			}
		}
	}
	want("none", nobody, nobody, nobody)
	d.remember(k, 0, 10)
	want("one", 10, nobody, nobody)
	d.remember(k, 1, 11)
	d.remember(k, 2, 12)
	want("all", 10, 11, 12)
	d.deleted(7, "b", 11)
	want("the second is gone", 10, nobody, 12)
	d.deleted(7, "a", 10)
	want("and the first", nobody, nobody, 12)
	d.remember(k, 1, 13)
	want("the second is there again", nobody, 13, 12)
	d.deleted(7, "c", 12)
	want("the third is gone", nobody, 13, nobody)
}
