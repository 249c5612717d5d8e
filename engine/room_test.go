package engine_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestNearlyFullDisk writes until the disk is nearly full: writes are refused, nothing
// fails, and the same store goes on as soon as there is room. When somebody else fills the
// disk to the brim, the store fails, and has everything after it was opened again.
func TestNearlyFullDisk(t *testing.T) {
	files := faultfs.New()
	files.Limit(40 << 20) // a reserve of 32 MiB
	o := engine.Options{FS: files, Memory: 1, Clock: fixedClock}
	o.Hooks.Failed = func(err error) { t.Error(err) }
	engine.LowerLimits(&o, 200, 2000, 100)
	db, err := engine.Open("store", &o)
	must(t, err)
	written(t, db, func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
	})
	acked := uint64(1)
	fill := func() error {
		for i := 0; ; i++ {
			b := batch.New()
			scenarioMuch(b, i)
			raw, err := b.Encode()
			must(t, err)
			if _, err := db.Apply(t.Context(), raw); err != nil {
				return err
			}
			acked++
		}
	}
	for range engine.Rounds(3, 1) {
		err = fill()
		wantError(t, err, query.CodeIO, "MiB left", "nothing was written", "make room")
		wantError(t, db.Compact(t.Context()), query.CodeIO)
		if d, err := db.Digests(t.Context()); err != nil || d.Position.Applied != acked {
			t.Fatalf("at %s, %d were acknowledged (%v)", d.Position, acked, err)
		}
		before := acked
		files.Limit(files.Used() + 40<<20)
		if acked++; written(t, db, func(b *batch.Builder) { b.Upsert("ann") }).Position.Applied != before+1 {
			t.Fatal("the batch after there was room has another position")
		}
		must(t, db.Compact(t.Context()))
	}
	must(t, db.Close())
	o.Hooks.Failed = nil
	db, err = engine.Open("store", &o)
	must(t, err)
	files.Before((&faultfs.Fault{Kinds: []faultfs.Kind{faultfs.Create, faultfs.Write}, Nth: 1, Forever: true, Err: syscall.ENOSPC}).Before)
	if err = fill(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	wantError(t, err, query.CodeFailed)
	_ = db.Close() // Pebble has given up
	o.FS = crash(t, files, 0, 1)
	db, err = engine.Open("store", &o)
	must(t, err)
	d, err := db.Digests(t.Context())
	if must(t, err); d.Position.Applied != acked {
		t.Fatalf("at %s, %d were acknowledged", d.Position, acked)
	}
	must(t, db.Close())
}
