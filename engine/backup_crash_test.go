package engine_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// powerCuts returns what a power cut would leave before each operation that do does, with
// nothing, some and all of what is not synced.
func powerCuts(t *testing.T, files *faultfs.FS, do func()) (out []picture) {
	t.Helper()
	from := files.Changes()
	do()
	trace := files.Trace()
	replay := trace.Replay()
	for n := from; n <= trace.Len(); n++ {
		replay.To(n)
		for _, percent := range []int{0, 30, 100} {
			after, err := replay.Crash(faultfs.Cut{Percent: percent, Seed: uint64(n)})
			must(t, err)
			out = append(out, picture{files: after, op: trace.Op(n).String()})
		}
	}
	return out
}

// TestCrashInBackup cuts the power at every operation of a backup: the store is as it was,
// nothing of the backup is left in it, and the next backup is whole.
func TestCrashInBackup(t *testing.T) {
	files, target := faultfs.New(), folder(t)
	db := grown(t, files, "store", 200)
	defer func() { must(t, db.Close()) }()
	must(t, db.Compact(t.Context()))
	written(t, db, func(b *batch.Builder) { b.Upsert("key-1").Set("n", schema.IntValue(7)) })
	want := contentOf(t, db)
	pictures := powerCuts(t, files, func() {
		_, err := db.Backup(t.Context(), target, nil)
		must(t, err)
	})
	if len(pictures) < 60 {
		t.Fatalf("only %d crashes", len(pictures))
	}
	every := 1
	if testing.Short() {
		every = 5
	}
	for i := 0; i < len(pictures); i += every {
		c := pictures[i]
		again, err := engine.Open("store", &engine.Options{FS: c.files, MustExist: true})
		if err != nil {
			t.Fatalf("crash before %s: %v", c.op, err)
		}
		names, err := c.files.List("store")
		must(t, err)
		if got := contentOf(t, again); got != want || slices.Contains(names, "checkpoint") {
			t.Fatalf("crash before %s: content %x, want %x; %q", c.op, got, want, names)
		}
		if i%15 == 0 {
			r, err := again.Backup(t.Context(), target, nil)
			if err != nil || r.Content != want {
				t.Fatalf("crash before %s: the next backup: %+v %v", c.op, r, err)
			}
		}
		must(t, again.Close())
	}
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || len(check.Problems) > 0 {
		t.Fatalf("%+v %v", check, err)
	}
	t.Logf("%d crashes", len(pictures))
}

// TestCrashInRestore cuts the power at every operation of a restore, over a store and to where
// there is none: there is the old one or the new one afterwards, whole, and the restore can
// be made again.
func TestCrashInRestore(t *testing.T) {
	target := folder(t)
	from := grown(t, faultfs.New(), "from", 200)
	report, err := from.Backup(t.Context(), target, nil)
	must(t, err)
	must(t, from.Close())
	for _, replace := range []bool{false, true} {
		files, old := faultfs.New(), [16]byte{}
		if replace {
			db := grown(t, files, "store", 3)
			old = contentOf(t, db)
			must(t, db.Close())
		}
		o := engine.RestoreOptions{FS: files, Replace: replace}
		pictures := powerCuts(t, files, func() {
			_, err := engine.Restore(t.Context(), "store", target, &o)
			must(t, err)
		})
		before, after := 0, 0
		for i, c := range pictures {
			db, err := engine.Open("store", &engine.Options{FS: c.files, MustExist: true})
			switch {
			case !replace && errors.Is(err, &query.Error{Code: query.CodeNotAStore}):
				before++
			case err != nil:
				t.Fatalf("crash before %s: %v", c.op, err)
			default:
				if got := contentOf(t, db); got == report.Content {
					after++
				} else if before++; got != old || !replace {
					t.Fatalf("crash before %s: the content is another", c.op)
				}
				must(t, db.Close())
			}
			for _, name := range []string{"store.replaced", "store/REPLACED"} {
				if _, err := c.files.Stat(name); err == nil {
					t.Fatalf("crash before %s: %s is left", c.op, name)
				}
			}
			if i%10 > 0 {
				continue
			}
			again := engine.RestoreOptions{FS: c.files, Replace: true}
			if _, err := engine.Restore(t.Context(), "store", target, &again); err != nil {
				t.Fatalf("crash before %s: again: %v", c.op, err)
			}
		}
		t.Logf("replacing %v: %d crashes that leave the old, %d that leave the new", replace, before, after)
		if before < 30 || after < 1 {
			t.Fatal("too few crashes")
		}
	}
}
