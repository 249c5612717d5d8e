package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestCrashInShipping cuts the power at every operation of the store while its log is
// shipped, and while the setting is changed: what is there afterwards is shipped again, and
// the target has each record once, all of them.
func TestCrashInShipping(t *testing.T) {
	wholeOnly(t)
	files, target := faultfs.New(), folder(t)
	db, err := engine.Open("store", &engine.Options{FS: files, Clock: fixedClock})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	written(t, db, func(b *batch.Builder) { addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int}) })
	must(t, db.KeepLog(t.Context(), true))
	one(t, db, 1)
	made, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	var pictures []picture
	last := 0 // where the last round begins: the target is not ahead of what it leaves
	for n := range 5 {
		one(t, db, 2*n+2)
		one(t, db, 2*n+3)
		last = len(pictures)
		pictures = append(pictures, powerCuts(t, files, func() {
			_, err := db.ShipLog(t.Context(), target, nil)
			must(t, err)
		})...)
	}
	want, names := contentOf(t, db), logNames(t, target)
	if len(pictures) < 30 || len(names) != 6 {
		t.Fatalf("%d crashes, %q", len(pictures), names)
	}
	shipped := 0
	for i, c := range pictures {
		again, err := engine.Open("store", &engine.Options{FS: c.files, MustExist: true, Clock: fixedClock})
		if err != nil {
			t.Fatalf("crash before %s: %v", c.op, err)
		}
		check, err := again.Check(t.Context(), nil)
		if err != nil || len(check.Problems) > 0 {
			t.Fatalf("crash before %s: %v %q", c.op, err, check.Problems)
		}
		st, err := again.Stats(t.Context())
		must(t, err)
		if st.Position.Applied < made.Position.Applied+2 || !st.KeptLog.On {
			t.Fatalf("crash before %s: %+v", c.op, st)
		}
		if i >= last {
			r, err := again.ShipLog(t.Context(), target, nil)
			if err != nil || r.Objects > 0 || r.Kept.Records > 0 || r.Kept.Broken != "" {
				t.Fatalf("crash before %s: %+v %v", c.op, r, err)
			}
			shipped++
		}
		must(t, again.Close())
	}
	if got := logNames(t, target); !slices.Equal(got, names) || shipped < 5 {
		t.Fatalf("%q, want %q", got, names)
	}
	o := faultfs.New()
	r, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: o})
	must(t, err)
	again, err := engine.Open("again", &engine.Options{FS: o})
	must(t, err)
	defer func() { must(t, again.Close()) }()
	if got := contentOf(t, again); got != want || r.Replayed != 10 {
		t.Fatalf("%+v: another content", r)
	}
	t.Logf("%d crashes", len(pictures))
}

// TestShippedIsDurable: a store that syncs nothing by itself has what it ships on its disk
// before, so that the target is never ahead of it.
func TestShippedIsDurable(t *testing.T) {
	files, target := faultfs.New(), folder(t)
	db, err := engine.Open("store", &engine.Options{FS: files, Durability: engine.SyncNone})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	must(t, db.KeepLog(t.Context(), true))
	written(t, db, func(b *batch.Builder) { addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int}) })
	_, err = db.ShipLog(t.Context(), target, nil) // the target is known from here on
	must(t, err)
	for n := range 5 {
		one(t, db, n)
	}
	crashes := 0
	_, err = db.ShipLog(t.Context(), &watchedTarget{target, func(_ context.Context, name string) {
		if !strings.HasPrefix(name, "log/") {
			return
		}
		crashes++
		again, err := engine.Open("store", &engine.Options{FS: crash(t, files, 0, 1)})
		must(t, err)
		st, err := again.Stats(t.Context())
		must(t, err)
		if st.Position.Applied != 6 || st.KeptLog.Records != 5 {
			t.Errorf("after a power cut the store is at %s, %s is shipped", st.Position, name)
		}
		must(t, again.Close())
	}}, nil)
	must(t, err)
	if crashes != 1 {
		t.Fatalf("%d crashes", crashes)
	}
}

// TestCrashInReplay cuts the power at every operation of a restore that applies the log:
// there is the old store or the new one, whole.
func TestCrashInReplay(t *testing.T) {
	wholeOnly(t)
	target := folder(t)
	from := grown(t, faultfs.New(), "from", 20)
	must(t, from.KeepLog(t.Context(), true))
	_, err := from.Backup(t.Context(), target, nil)
	must(t, err)
	for n := range 3 {
		one(t, from, n)
	}
	_, err = from.ShipLog(t.Context(), target, nil)
	must(t, err)
	want := contentOf(t, from)
	must(t, from.Close())
	files := faultfs.New()
	db := grown(t, files, "store", 3)
	old := contentOf(t, db)
	must(t, db.Close())
	pictures := powerCuts(t, files, func() {
		_, err := engine.Restore(t.Context(), "store", target, &engine.RestoreOptions{FS: files, Replace: true})
		must(t, err)
	})
	before, after := 0, 0
	every := 1
	if testing.Short() {
		every = 5
	}
	for i := 0; i < len(pictures); i += every {
		c := pictures[i]
		db, err := engine.Open("store", &engine.Options{FS: c.files, MustExist: true})
		if err != nil {
			t.Fatalf("crash before %s: %v", c.op, err)
		}
		at, err := db.Stats(t.Context())
		must(t, err)
		switch got := contentOf(t, db); {
		case got == old:
			before++
		case got == want && at.Position == (query.Position{Epoch: 2, Applied: 4}):
			after++
		default:
			t.Fatalf("crash before %s: the store is at %s and neither the old nor the new one", c.op, at.Position)
		}
		must(t, db.Close())
	}
	t.Logf("%d crashes that leave the old, %d that leave the new", before, after)
	if before < 20 || after < 1 {
		t.Fatal("too few crashes")
	}
}
