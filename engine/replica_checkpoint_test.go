package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// replicaOn opens a replica's store, and has it run.
func replicaOn(t *testing.T, files vfs.FS, m *enginetest.Member, name string, change func(o *engine.Options)) *engine.DB {
	t.Helper()
	o := engine.Options{FS: files, Clock: fixedClock, PurgeAfter: -1, Replica: m.Options()}
	engine.LowerLimits(&o, 10, 60, 12)
	if change != nil {
		change(&o)
	}
	db, err := engine.Open(name, &o)
	must(t, err)
	m.Run(db)
	return db
}

func stopReplica(t *testing.T, db *engine.DB, m *enginetest.Member) {
	t.Helper()
	must(t, m.Stop())
	must(t, db.Close())
}

// upserts writes some people.
func upserts(t *testing.T, db *engine.DB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		written(t, db, func(b *batch.Builder) {
			b.Upsert(fmt.Sprint("k", i%17)).Set("n", schema.IntValue(int64(i)))
			b.Upsert(fmt.Sprint("j", i)).Set("plan", schema.StringValue(fmt.Sprint("plan-", i%5)))
		})
	}
}

func peopleSchema(t *testing.T, db *engine.DB) {
	t.Helper()
	written(t, db, func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
		addAttribute(b, schema.Attribute{Name: "plan", Kind: schema.String})
	})
}

// TestCheckpoint has another replica begin with a copy, while entries are applied, and both
// come to the same. What the one keeps for backups is not the other's.
func TestCheckpoint(t *testing.T) {
	files, log := vfs.NewMem(), enginetest.NewLog()
	m := log.Member()
	db := replicaOn(t, files, m, "a/store", nil)
	peopleSchema(t, db)
	must(t, db.KeepLog(t.Context(), true))
	upserts(t, db, 0, 40)
	must(t, files.MkdirAll("b", 0o755))

	var wg sync.WaitGroup
	wg.Go(func() { upserts(t, db, 40, 80) })
	c, err := db.CheckpointTo(t.Context(), "b/store")
	must(t, err)
	wg.Wait()
	if c.Position.Applied < 41 || c.Index < 41 || c.Term == 0 || c.Chain == [16]byte{} {
		t.Fatalf("%+v", c)
	}
	read, err := engine.ReadCheckpoint("b/store", &engine.Options{FS: files})
	must(t, err)
	if read != c {
		t.Fatalf("made %+v, read %+v", c, read)
	}
	if _, err := db.CheckpointTo(t.Context(), "b/store"); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("over one that is there: %v", err)
	}

	other := log.Member()
	copied := replicaOn(t, files, other, "b/store", nil)
	if kept := copied.KeptLog(); kept.On {
		t.Errorf("the copy keeps its log: %+v", kept)
	}
	want := digestsAt(t, db, m, log.Last())
	if got := digestsAt(t, copied, other, log.Last()); got != want {
		t.Fatalf("the copy is %+v, the store %+v", got, want)
	}
	must(t, copied.KeepLog(t.Context(), true))
	stopReplica(t, copied, other)
	copied = replicaOn(t, files, other, "b/store", nil)
	if kept := copied.KeptLog(); !kept.On {
		t.Errorf("the copy has forgotten that it keeps its log")
	}
	stopReplica(t, copied, other)
	stopReplica(t, db, m)
	at, err := engine.ReadCheckpoint("a/store", &engine.Options{FS: files})
	must(t, err)
	if at.Chain != want.Chain || at.Position != want.Position {
		t.Fatalf("closed %+v, its digests were %+v", at, want)
	}
}

// TestCheckpointOfNoRecord is at entries that became no record, too.
func TestCheckpointOfNoRecord(t *testing.T) {
	files, log := vfs.NewMem(), enginetest.NewLog()
	m := log.Member()
	db := replicaOn(t, files, m, "store", nil)
	for i := range 9 {
		b := batch.New()
		b.Strict(true)
		b.Upsert(fmt.Sprint(i)).Set("nothing", schema.IntValue(1))
		raw, err := b.Encode()
		must(t, err)
		if _, err := db.Apply(t.Context(), raw); !errors.Is(err, &query.Error{Code: query.CodeRefused}) {
			t.Fatal(err)
		}
	}
	c, err := db.CheckpointTo(t.Context(), "copy")
	must(t, err)
	index, term := db.AppliedEntry()
	if c.Index != log.Last() || c.Index != index || c.Term != term || c.Position.Applied != 0 {
		t.Fatalf("%+v, the log ends at %d, the store at %d.%d", c, log.Last(), term, index)
	}
	stopReplica(t, db, m)
}

// TestCrashInCheckpoint cuts the power before every operation of a copy and of what is written
// meanwhile: there is a whole one then, or none, and the store has what the copy has.
func TestCrashInCheckpoint(t *testing.T) {
	files, log := faultfs.New(), enginetest.NewLog()
	m := log.Member()
	db := replicaOn(t, files, m, "store", nil)
	peopleSchema(t, db)
	upserts(t, db, 0, 30)
	must(t, files.MkdirAll("copies", 0o755))
	root, err := files.OpenDir(".") // that there is such a directory is the caller's to see to
	must(t, err)
	must(t, errors.Join(root.Sync(), root.Close()))
	var pictures []picture
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(4, 4))
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		pictures = append(pictures, picture{files: crash(t, files, []int{0, 30, 100}[r.IntN(3)], r.Uint64()), op: op.String()})
		return nil
	})
	c, err := db.CheckpointTo(t.Context(), "copies/one")
	must(t, err)
	mu.Lock()
	pictures = append(pictures, picture{files: crash(t, files, 0, 0), op: "the end"})
	mu.Unlock()
	files.Before(nil)
	stopReplica(t, db, m)
	whole := 0
	for _, p := range pictures {
		read, err := engine.ReadCheckpoint("copies/one", &engine.Options{FS: p.files})
		switch {
		case err == nil && read == c:
			whole++
			at, err := engine.ReadCheckpoint("store", &engine.Options{FS: p.files})
			if err != nil || at.Index < c.Index {
				t.Fatalf("crash before %s: the store is at %+v, its copy at %+v: %v", p.op, at, c, err)
			}
		case !errors.Is(err, &query.Error{Code: query.CodeNotAStore}):
			t.Fatalf("crash before %s: %+v %v", p.op, read, err)
		}
		if p.op == "the end" && whole == 0 {
			t.Fatal("the copy that was made is not there")
		}
		again := replicaOn(t, p.files, m, "store", nil)
		must(t, m.Wait(t.Context(), log.Last()))
		if whole == 0 {
			if made, err := again.CheckpointTo(t.Context(), "copies/one"); err != nil || made.Chain != c.Chain {
				t.Fatalf("crash before %s: made again %+v: %v", p.op, made, err)
			}
		}
		stopReplica(t, again, m)
	}
	if len(pictures) < 20 {
		t.Fatalf("only %d crashes", len(pictures))
	}
	t.Logf("%d crashes, %d with the copy", len(pictures), whole)
}

// TestCheckpointFails has every operation of a copy fail, one in each run: the error has a code,
// and there is no such directory. The store goes on and makes the copy the next time, or it has
// failed and says so.
func TestCheckpointFails(t *testing.T) {
	failed := 0
	for n := uint64(1); ; n += uint64(engine.Rounds(1, 5)) {
		files, log := faultfs.New(), enginetest.NewLog()
		m := log.Member()
		db := replicaOn(t, files, m, "store", nil)
		peopleSchema(t, db)
		upserts(t, db, 0, 10)
		must(t, db.Compact(t.Context()))
		upserts(t, db, 10, 12)
		must(t, files.MkdirAll("copies", 0o755))
		var ops atomic.Uint64
		beforeChanges(files, func(op faultfs.Op) error {
			if ops.Add(1) == n {
				return syscall.EIO
			}
			return nil
		})
		_, err := db.CheckpointTo(t.Context(), "copies/one")
		files.Before(nil)
		switch {
		case err == nil && ops.Load() < n:
			stopReplica(t, db, m)
			if n < 20 {
				t.Fatalf("only %d operations", n)
			}
			t.Logf("%d operations, %d times the store has failed", n, failed)
			return
		case err == nil: // what has failed was something in the background
			_ = m.Stop()
			_ = db.Close()
			continue
		}
		if !errors.Is(err, &query.Error{Code: query.CodeIO}) && !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Fatalf("operation %d: %v", n, err)
		}
		if _, err := engine.ReadCheckpoint("copies/one", &engine.Options{FS: files}); !errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
			t.Fatalf("operation %d: what is there: %v", n, err)
		}
		if _, err = db.CheckpointTo(t.Context(), "copies/two"); err != nil {
			failed++
			if !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
				t.Fatalf("operation %d, again: %v", n, err)
			}
		}
		_ = m.Stop()
		_ = db.Close()
	}
}
