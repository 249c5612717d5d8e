package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// TestFoldSetsNextChunk: sets and lists that end within a block of one chunk go on in the next
// chunk, and nothing of the first one changes.
func TestFoldSetsNextChunk(t *testing.T) {
	db, err := Open("store", &Options{FS: vfs.NewMem(), FirstOrdinal: 1<<16 - 5})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	write := func(fill func(b *batch.Builder)) {
		t.Helper()
		b := batch.New()
		fill(b)
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Apply(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	write(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "likes", Attribute: schema.Attribute{Kind: schema.Set}})
		for i := range 10 {
			b.Upsert(fmt.Sprint("k", i))
		}
	})
	for _, key := range []string{"k1", "k7", "k3"} { // of the first chunk, of the second, of the first again
		write(func(b *batch.Builder) {
			b.Upsert(key).Add("likes", "tea", "go")
			b.ListAdd("staff", key)
		})
		if err := db.Compact(t.Context()); err != nil {
			t.Fatalf("with %s: %v", key, err)
		}
	}
	for _, expr := range []string{`"tea" in likes`, `has(p.likes)`, `in_list("staff")`} {
		if n, err := db.Count(t.Context(), expr, nil); err != nil || n.Count != 3 {
			t.Errorf("%s: %d people, %v", expr, n.Count, err)
		}
	}
	if r, err := db.Check(t.Context(), nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("%v %q", err, r.Problems)
	}
}
