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
	t.Parallel()
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
	first := s.shipped(t, r, &o, target)
	db, err := engine.Open("store", &o)
	must(t, err)
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
	s.everyPosition(t, o, target, first)
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

// shipped writes the history to a store, with backups and shipping at random positions, and
// returns the position of the first backup.
func (s *script) shipped(t *testing.T, r *rand.Rand, o *engine.Options, target query.BackupTarget) (first uint64) {
	t.Helper()
	db, err := engine.Open("store", o)
	must(t, err)
	must(t, db.KeepLog(t.Context(), true))
	objects := 0
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
			db, err = engine.Open("store", o)
			must(t, err)
		}
	}
	if first == 0 || first > 30 || objects < 5 {
		t.Fatalf("the first backup is at %d, %d objects", first, objects)
	}
	must(t, db.Close())
	return first
}

// everyPosition restores to each position and compares with the model.
func (s *script) everyPosition(t *testing.T, o engine.Options, target query.BackupTarget, first uint64) {
	t.Helper()
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
	backup := func() { backedUp(t, db, target) }
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
	got := runsOf(t, target)
	want := fmt.Sprintf("1.2-1.4 , 1.5-1.7 off, 1.8-1.12 , 1.13-1.%d limit, 1.%d-1.74 , 1.75-1.77 purge, 1.78-1.79 , ", kept.First.Applied-1, kept.First.Applied)
	if got != want {
		t.Fatalf("%s\nwant %s", got, want)
	}
	gapsRefused(t, files, target, kept.First.Applied)
	pruned, err := engine.PruneBackups(t.Context(), target, &query.PruneOptions{KeepLast: 1})
	if names := logNames(t, target); err != nil || pruned.LogObjects == 0 || len(names) != 2 {
		t.Errorf("after pruning there are %q: %+v %v", names, pruned, err)
	}
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || len(check.Problems) > 0 || check.LogObjects != 2 {
		t.Errorf("%+v %v", check, err)
	}
}

// gapsRefused restores to positions in gaps, behind them and between them; limit is the first
// behind the gap that the limit has made.
func gapsRefused(t *testing.T, files vfs.FS, target query.BackupTarget, limit uint64) {
	t.Helper()
	for at, reached := range map[uint64]bool{1: true, 2: true, 4: true, 5: false, 7: false, 8: false, 11: false, 12: true, 13: false, limit + 1: false, 71: false, 72: true, 74: true, 75: false, 77: false, 78: false, 79: false, 90: false} {
		before := treeOfMem(t, files)
		r, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: files, Position: query.Position{Epoch: 1, Applied: at}, WithoutLedger: true})
		if reached {
			if err != nil || r.Position.Applied != at {
				t.Errorf("to %d: %+v %v", at, r, err)
			}
			must(t, files.RemoveAll("again"))
			continue
		}
		if !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) || !strings.Contains(err.Error(), "The nearest before it is") {
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
}

func backedUp(t *testing.T, db *engine.DB, target query.BackupTarget) {
	t.Helper()
	_, err := db.Backup(t.Context(), target, nil)
	must(t, err)
}

// runsOf returns the runs of a target's logs, and the gaps, as a text.
func runsOf(t *testing.T, target query.BackupTarget) (out string) {
	t.Helper()
	runs, err := engine.BackupLogs(t.Context(), target)
	must(t, err)
	for _, r := range runs {
		out += fmt.Sprintf("%s-%s %s, ", r.From, r.To, r.Gap)
	}
	return out
}

func treeOfMem(t *testing.T, files vfs.FS) string {
	t.Helper()
	names, err := files.List("")
	must(t, err)
	return strings.Join(names, " ")
}

// TestLogTargets: a log goes to one target, a backup at another does not take it away; it can
// be moved, which is a gap. A store that is restored goes on with a log of its own, and one
// that was copied may not ship what it has written.
func TestLogTargets(t *testing.T) {
	files, here, there := vfs.NewMem(), folder(t), folder(t)
	db := grown(t, files, "store", 3)
	must(t, db.KeepLog(t.Context(), true))
	one(t, db, 1)
	r, err := db.Backup(t.Context(), here, nil) // the first that is told of it
	must(t, err)
	one(t, db, 2)
	_, err = db.Backup(t.Context(), there, nil)
	must(t, err)
	if names := logNames(t, there); r.Shipped.Records != 1 || len(names) > 0 || db.KeptLog().Records != 1 {
		t.Fatalf("%+v; the other target has %q", r.Shipped, names)
	}
	if _, err := db.ShipLog(t.Context(), there, nil); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("to another target: %v", err)
	}
	copied(t, files, "store", "copy")
	_, err = db.ShipLog(t.Context(), here, nil)
	must(t, err)
	twin, err := engine.Open("copy", &engine.Options{FS: files})
	must(t, err)
	one(t, twin, 7)
	if _, err := twin.ShipLog(t.Context(), here, nil); err != nil {
		t.Fatalf("a copy has the record that is there, and one more: %v", err)
	}
	must(t, twin.Close())
	one(t, db, 8)
	if _, err := db.ShipLog(t.Context(), here, nil); !errors.Is(err, &query.Error{Code: query.CodeConflict}) || !strings.Contains(err.Error(), "copy") {
		t.Fatalf("the copy has shipped another record: %v", err)
	}
	one(t, db, 9)
	moved, err := db.ShipLog(t.Context(), there, &query.ShipOptions{Move: true})
	if err != nil || moved.Records != 2 {
		t.Fatalf("%+v %v", moved, err)
	}
	runs, err := engine.BackupLogs(t.Context(), there)
	if err != nil || len(runs) != 1 || runs[0].From.Applied != 4 {
		t.Fatalf("%+v %v", runs, err) // it begins where the backup ends
	}
	want := contentOf(t, db)
	must(t, db.Close())
	made, err := engine.Restore(t.Context(), "again", there, &engine.RestoreOptions{FS: files})
	must(t, err)
	again, err := engine.Open("again", &engine.Options{FS: files})
	must(t, err)
	defer func() { must(t, again.Close()) }()
	if got := contentOf(t, again); got != want || made.Replayed != 2 {
		t.Fatalf("%+v has another content", made)
	}
	if kept := again.KeptLog(); !kept.On || kept.Records != 0 || kept.Broken != "epoch" || kept.First != (query.Position{Epoch: 2, Applied: 6}) {
		t.Fatalf("%+v", kept)
	}
	_, err = again.Backup(t.Context(), there, nil)
	must(t, err)
	one(t, again, 10)
	_, err = again.ShipLog(t.Context(), there, nil)
	must(t, err)
	if r, err := engine.Restore(t.Context(), "third", there, &engine.RestoreOptions{FS: files, Position: query.Position{Epoch: 2, Applied: 6}}); err != nil || r.Position != (query.Position{Epoch: 3, Applied: 6}) {
		t.Fatalf("%+v %v", r, err)
	}
}

// copied copies a directory of a store that is open, as nobody should.
func copied(t *testing.T, files vfs.FS, from, to string) {
	t.Helper()
	names, err := files.List(from)
	must(t, err)
	must(t, files.MkdirAll(to, 0o777))
	for _, name := range names {
		a, b := files.PathJoin(from, name), files.PathJoin(to, name)
		info, err := files.Stat(a)
		must(t, err)
		if info.IsDir() {
			copied(t, files, a, b)
		} else if name != "LOCK" {
			must(t, vfs.Copy(files, a, b))
		}
	}
}

// TestKeptIsNoContent: what is kept of the log is in no digest.
func TestKeptIsNoContent(t *testing.T) {
	sums := map[bool]query.Digests{}
	for _, on := range []bool{false, true} {
		db := grown(t, vfs.NewMem(), "store", 3)
		must(t, db.KeepLog(t.Context(), on))
		one(t, db, 1)
		d, err := db.Digests(t.Context())
		must(t, err)
		sums[on] = d
		must(t, db.Close())
	}
	a, b := sums[false], sums[true]
	if a.Content != b.Content || a.Position != b.Position {
		t.Fatalf("%+v and %+v", a, b)
	}
}
