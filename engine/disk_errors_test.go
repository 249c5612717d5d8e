package engine_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestCheckpointThatCannotBeSynced: a backup whose files cannot be made durable fails, and
// nothing else does.
func TestCheckpointThatCannotBeSynced(t *testing.T) {
	files, target := faultfs.New(), folder(t)
	db := grown(t, files, "store", 20)
	fault := &faultfs.Fault{Kinds: []faultfs.Kind{faultfs.Sync}, Match: func(path string) bool { return strings.HasSuffix(path, "checkpoint/db") },
		Nth: 1, Forever: true, Err: syscall.EIO}
	files.Before(fault.Before)
	if _, err := db.Backup(t.Context(), target, nil); !errors.Is(err, &query.Error{Code: query.CodeIO}) || !errors.Is(err, syscall.EIO) {
		t.Errorf("the backup: %v", err)
	}
	if n, _ := fault.Fired(); n == 0 {
		t.Error("void: nothing has failed")
	}
	files.Before(nil)
	counted(t, db, 1)
	if _, err := db.Backup(t.Context(), target, nil); err != nil {
		t.Errorf("the next backup: %v", err)
	}
	must(t, db.Close())
}

// TestPurgeOfFilesThatStay: a table that could not be deleted is deleted by the purge, and if
// that cannot be done, the purge says so, at once, and can be made again.
func TestPurgeOfFilesThatStay(t *testing.T) {
	for _, forever := range []bool{false, true} {
		files := faultfs.New()
		db, err := engine.Open("store", &engine.Options{FS: files, PurgeAfter: -1})
		must(t, err)
		written(t, db, func(b *batch.Builder) { b.Upsert("anna") })
		must(t, db.Compact(t.Context()))
		_, err = db.Erase(t.Context(), "", "anna")
		must(t, err)
		fault := &faultfs.Fault{Kinds: []faultfs.Kind{faultfs.Remove}, Match: func(path string) bool { return strings.HasSuffix(path, ".sst") && !strings.Contains(path, "ingest") },
			Nth: 1, Forever: forever, Err: syscall.EIO}
		files.Before(fault.Before)
		r, err := db.Purge(t.Context(), nil)
		if n, _ := fault.Fired(); n == 0 {
			t.Error("void: nothing has failed")
		}
		if forever {
			if !errors.Is(err, &query.Error{Code: query.CodeIO}) || !errors.Is(err, syscall.EIO) {
				t.Errorf("tables that cannot be deleted: %v", err)
			}
			files.Before(nil)
			r, err = db.Purge(t.Context(), nil)
		}
		if err != nil || r == nil || r.Hits > 0 {
			t.Errorf("forever %v: %+v %v", forever, r, err)
		}
		must(t, db.Close())
	}
}

// TestPurgeIsDurable: what a purge has deleted does not come back with a power cut.
func TestPurgeIsDurable(t *testing.T) {
	files := faultfs.New()
	db, err := engine.Open("store", &engine.Options{FS: files, PurgeAfter: -1})
	must(t, err)
	written(t, db, func(b *batch.Builder) { b.Upsert("anna") })
	must(t, db.Compact(t.Context()))
	_, err = db.Erase(t.Context(), "", "anna")
	must(t, err)
	before := filesOf(t, files, "store")
	_, err = db.Purge(t.Context(), nil)
	must(t, err)
	trace, removed := files.Trace(), 0
	for i := range trace.Len() {
		if op := trace.Op(i); op.Kind == faultfs.Remove {
			removed = i
		} else if op == (faultfs.Op{Kind: faultfs.Sync, Path: "store/db"}) {
			removed = 0
		}
	}
	if removed > 0 {
		t.Errorf("%s, and the directory is not synced afterwards", trace.Op(removed))
	}
	gone := 0
	left := filesOf(t, crash(t, files, 0, 0), "store")
	now := filesOf(t, files, "store")
	for path := range before {
		if _, there := now[path]; there {
			continue
		}
		if gone++; left[path] != nil {
			t.Errorf("%s is back", path)
		}
	}
	if gone < 5 {
		t.Errorf("void: only %d files have gone", gone)
	}
	must(t, db.Close())
}

// TestErasureThatIsLost: after an erasure that could not be written nobody is told that rows of
// the quarantine have gone, or that somebody was erased; it is as before when the store is
// opened again.
func TestErasureThatIsLost(t *testing.T) {
	files := faultfs.New()
	o := &engine.Options{FS: files, PurgeAfter: -1}
	db, err := engine.Open("store", o)
	must(t, err)
	b := batch.New()
	b.Upsert("anna").Set("nothing", schema.StringValue("anna@example.org"))
	b.Upsert("anna")
	raw, err := b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), raw)
	must(t, err)
	told := func(db *engine.DB) (rows, erased int, err error) {
		list, err := db.Quarantine(t.Context(), 0, 0)
		return len(list), erased, errors.Join(err, db.Erased(t.Context(), func(query.ErasedPerson) error { erased++; return nil }))
	}
	if rows, erased, err := told(db); rows != 1 || erased > 0 || err != nil {
		t.Fatalf("before: %d rows, %d erased, %v", rows, erased, err)
	}
	fault := &faultfs.Fault{Kinds: []faultfs.Kind{faultfs.Write, faultfs.Sync}, Match: func(path string) bool { return strings.HasSuffix(path, ".log") }, Nth: 1, Forever: true, Err: syscall.EIO}
	files.Before(fault.Before)
	if _, err := db.Erase(t.Context(), "", "anna"); !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
		t.Fatalf("the erasure: %v", err)
	}
	if _, _, err := told(db); !errors.Is(err, &query.Error{Code: query.CodeFailed}) || !errors.Is(err, syscall.EIO) {
		t.Errorf("after an erasure that is lost: %v", err)
	}
	_ = db.Close() // it says the same
	files.Before(nil)
	o.FS = crash(t, files, 0, 0)
	db, err = engine.Open("store", o)
	must(t, err)
	if rows, erased, err := told(db); rows != 1 || erased > 0 || err != nil {
		t.Errorf("opened again: %d rows, %d erased, %v", rows, erased, err)
	}
	must(t, db.Close())
}
