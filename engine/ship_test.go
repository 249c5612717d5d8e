package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestRestoreToEveryPosition writes a random history, makes backups and ships the log at
// random positions, and restores to every position from the first backup on: each is the
// model at that position, and so is the time of each record.
func TestRestoreToEveryPosition(t *testing.T) {
	seed := uint64(5)
	if os.Getenv("KANTA_LONG") != "" {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := newScript(t, r, 60)
	target := folder(t)
	o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: 65_530, Clock: s.now}
	engine.LowerLimits(&o, 10, 30, 12)
	engine.LowerKept(&o, 1<<30, 6_000)
	db, err := engine.Open("store", &o)
	must(t, err)
	must(t, db.KeepLog(t.Context(), true))
	first, objects := uint64(0), 0
	for i, b := range s.batches {
		s.clock.Store(int64(i + 1))
		_, err := db.Apply(t.Context(), b)
		must(t, err)
		switch r.IntN(8) {
		case 0:
			made, err := db.Backup(t.Context(), target, nil)
			must(t, err)
			if first == 0 {
				first = made.Position.Applied
			}
		case 1, 2:
			report, err := db.ShipLog(t.Context(), target, nil)
			must(t, err)
			objects += report.Objects
			if k := report.Kept; k.Records != 0 || k.Bytes != 0 || k.Broken != "" || report.To.Applied != uint64(i+1) && report.Records > 0 {
				t.Fatalf("%+v", report)
			}
		case 3:
			must(t, db.Compact(t.Context()))
		case 4:
			must(t, db.Close())
			db, err = engine.Open("store", &o)
			must(t, err)
		}
	}
	last, err := db.ShipLog(t.Context(), target, nil)
	must(t, err)
	check, err := db.Check(t.Context(), nil)
	must(t, err)
	want, err := db.Digests(t.Context())
	must(t, err)
	must(t, db.Close())
	found, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || len(found.Problems)+len(check.Problems) > 0 || found.LogObjects < 8 {
		t.Fatalf("%v %+v %q", err, found, check.Problems)
	}
	if first == 0 || first > 30 || objects < 5 {
		t.Fatalf("the first backup is at %d, %d objects", first, objects)
	}
	for at := first; at <= uint64(len(s.batches)); at++ {
		o := o
		o.FS = vfs.NewMem()
		ro := &engine.RestoreOptions{FS: o.FS, WithoutLedger: true}
		if at%2 == 0 {
			ro.Position = query.Position{Epoch: 1, Applied: at}
		} else {
			ro.At = fixedClock().Add(time.Duration(at) * time.Millisecond)
		}
		made, err := engine.Restore(t.Context(), "again", target, ro)
		must(t, err)
		if made.Position != (query.Position{Epoch: 2, Applied: at}) || made.Backup.Position.Applied+made.Replayed != at || !made.Received.Equal(fixedClock().Add(time.Duration(at)*time.Millisecond)) {
			t.Fatalf("%+v at %d", made, at)
		}
		again, err := engine.Open("again", &o)
		must(t, err)
		p := &pair{t: t, r: rand.New(rand.NewPCG(at, 2)), db: again, w: s.worlds[at], keys: 60}
		p.checkEverything()
		must(t, again.Close())
	}
	// The newest, without saying so, and the same bytes of history.
	files := vfs.NewMem()
	made, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: files, WithoutLedger: true})
	must(t, err)
	again, err := engine.Open("again", &engine.Options{FS: files})
	must(t, err)
	got, err := again.Digests(t.Context())
	must(t, err)
	must(t, again.Close())
	if made.Position.Applied != uint64(len(s.batches)) || got.Content != want.Content || got.Chain != want.Chain || last.Kept.Records != 0 {
		t.Fatalf("%+v: %+v, want %+v", made, got, want)
	}
}

// one writes one person.
func one(t *testing.T, db *engine.DB, n int) {
	t.Helper()
	written(t, db, func(b *batch.Builder) { b.Upsert(fmt.Sprint("more-", n)).Set("n", schema.IntValue(int64(n))) })
}

// logNames returns the pieces of logs that a target has.
func logNames(t *testing.T, target query.BackupTarget) (names []string) {
	t.Helper()
	must(t, target.List(t.Context(), "log/", func(name string, _ int64) error {
		names = append(names, name)
		return nil
	}))
	return names
}

// TestLogGaps turns the log off and on, keeps more than the limit, and has erased people
// purged: each time there is a gap that is named, and nothing is restored to a point in it.
func TestLogGaps(t *testing.T) {
	files, target, now := vfs.NewMem(), folder(t), fixedClock()
	o := engine.Options{FS: files, Clock: func() time.Time { now = now.Add(time.Second); return now }, PurgeAfter: -1}
	engine.LowerKept(&o, 2_000, 8<<20)
	db, err := engine.Open("store", &o)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	ship := func() query.ShipReport {
		t.Helper()
		r, err := db.ShipLog(t.Context(), target, nil)
		must(t, err)
		return r
	}
	backup := func() {
		t.Helper()
		_, err := db.Backup(t.Context(), target, nil)
		must(t, err)
	}
	n := 0
	write := func(count int) {
		t.Helper()
		for range count {
			one(t, db, n)
			n++
		}
	}
	written(t, db, func(b *batch.Builder) { addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int}) })
	if _, err := db.ShipLog(t.Context(), target, nil); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Fatalf("shipping what is not kept: %v", err)
	}
	backup() // at 1
	must(t, db.KeepLog(t.Context(), true))
	write(3)
	ship() // 2 to 4
	must(t, db.KeepLog(t.Context(), false))
	write(3)
	must(t, db.KeepLog(t.Context(), true))
	write(3)
	ship() // 8 to 10, of no use
	write(2)
	backup()  // at 12, 11 and 12 are shipped
	write(60) // more than is kept
	kept := db.KeptLog()
	if kept.Bytes > 2_000 || kept.Bytes < 1_600 || kept.Broken != "limit" || kept.Records > 59 || kept.Records < 20 {
		t.Fatalf("%+v", kept)
	}
	ship()   // some of 13 to 72
	backup() // at 72
	write(2)
	ship() // 73, 74
	write(2)
	_, err = db.Erase(t.Context(), "", "more-5")
	must(t, err) // 77
	_, err = db.Purge(t.Context(), nil)
	must(t, err)
	write(2)
	ship() // 78, 79
	runs, err := engine.BackupLogs(t.Context(), target)
	must(t, err)
	got := ""
	for _, r := range runs {
		got += fmt.Sprintf("%s-%s %s, ", r.From, r.To, r.Gap)
	}
	want := fmt.Sprintf("1.2-1.4 , 1.5-1.7 off, 1.8-1.12 , 1.13-1.%d limit, 1.%d-1.74 , 1.75-1.77 purge, 1.78-1.79 , ", kept.First.Applied-1, kept.First.Applied)
	if got != want {
		t.Fatalf("%s\nwant %s", got, want)
	}
	for at, reached := range map[uint64]bool{1: true, 2: true, 4: true, 5: false, 7: false, 8: false, 11: false, 12: true, 13: false, kept.First.Applied + 1: false, 71: false, 72: true, 74: true, 75: false, 77: false, 78: false, 79: false, 90: false} {
		before := treeOfMem(t, files)
		r, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: files, Position: query.Position{Epoch: 1, Applied: at}, WithoutLedger: true})
		if reached {
			if err != nil || r.Position.Applied != at {
				t.Errorf("to %d: %+v %v", at, r, err)
			}
			must(t, files.RemoveAll("again"))
			continue
		}
		if !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) || !strings.Contains(err.Error(), "the nearest before it is") {
			t.Errorf("to %d: %+v, %v", at, r, err)
		}
		if got := treeOfMem(t, files); got != before {
			t.Errorf("to %d: there is\n%s\nand there was\n%s", at, got, before)
		}
	}
	r, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: files})
	if err != nil || r.Replayed != 2 || r.Beyond.Applied != 79 {
		t.Errorf("the newest: %+v %v", r, err)
	}
	pruned, err := engine.PruneBackups(t.Context(), target, &query.PruneOptions{KeepLast: 1})
	if names := logNames(t, target); err != nil || pruned.LogObjects == 0 || len(names) != 2 {
		t.Errorf("after pruning there are %q: %+v %v", names, pruned, err)
	}
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || len(check.Problems) > 0 || check.LogObjects != 2 {
		t.Errorf("%+v %v", check, err)
	}
}

func treeOfMem(t *testing.T, files vfs.FS) string {
	t.Helper()
	names, err := files.List("")
	must(t, err)
	return strings.Join(names, " ")
}
