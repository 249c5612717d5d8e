package engine_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
)

// TestReadAhead: a store that is opened for writing has soon read what finds its profiles,
// unless it is opened for reading or the budget is small; and nothing goes on behind Close.
func TestReadAhead(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	fs := vfs.NewMem()
	o := engine.Options{FS: fs}
	db, err := engine.Open("store", &o)
	must(t, err)
	const profiles, keyBytes = 20_000, 500 // more than a small budget's share
	b := batch.New()
	for i := range profiles {
		b.Upsert(fmt.Sprintf("%0*d", keyBytes, i))
		if i%5000 == 4999 {
			raw, err := b.Encode()
			must(t, err)
			_, err = db.Apply(t.Context(), raw)
			must(t, err)
			b.Reset()
		}
	}
	must(t, db.Compact(t.Context()))
	must(t, db.Close())

	opened := func(change func(o *engine.Options)) (table, blocks int64) {
		t.Helper()
		o := engine.Options{FS: fs}
		change(&o)
		db, err := engine.Open("store", &o)
		must(t, err)
		table, blocks, readers := engine.Warmed(db)
		if readers > 0 {
			t.Errorf("the base is still read, %d times", readers)
		}
		must(t, db.Close())
		return table, blocks
	}
	if table, blocks := opened(func(*engine.Options) {}); table < 8*profiles || blocks < profiles*keyBytes {
		t.Errorf("%d bytes of the key table, %d of the base are there", table, blocks)
	}
	for what, change := range map[string]func(o *engine.Options){
		"a store for reading":      func(o *engine.Options) { o.ReadOnly = true },
		"a store with little room": func(o *engine.Options) { o.Memory = 64 << 20 },
	} {
		if table, blocks := opened(change); table+blocks > 0 {
			t.Errorf("%s: %d bytes of the key table, %d of the base are there", what, table, blocks)
		}
	}
	db, err = engine.Open("store", &o) // and is closed while it reads
	must(t, err)
	must(t, db.Close())
}
