package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// folder opens a folder of the test as a target.
func folder(t *testing.T) query.BackupTarget {
	t.Helper()
	return folderAt(t, filepath.Join(t.TempDir(), "target"))
}

func folderAt(t *testing.T, name string) query.BackupTarget {
	t.Helper()
	target, err := engine.OpenBackupDir(name)
	must(t, err)
	t.Cleanup(func() { must(t, target.Close()) })
	return target
}

// TestTargets runs the conformance suite of targets on a folder.
func TestTargets(t *testing.T) {
	t.Parallel()
	enginetest.Targets(t, folder)
}

// TestBackupUnderWrites makes backups while a history is written, settled and folded as
// fast as it goes. Each, restored, is the model at its position, and the rest of the
// history can be written to it.
func TestBackupUnderWrites(t *testing.T) {
	t.Parallel()
	seed := uint64(3)
	if os.Getenv("KANTA_LONG") != "" {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := newScript(t, rand.New(rand.NewPCG(seed, 1)), 120)
	target := folder(t)
	o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: 65_530, Clock: s.now}
	engine.LowerLimits(&o, 10, 30, 12)
	db, err := engine.Open("store", &o)
	must(t, err)
	made, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for i, b := range s.batches {
			s.clock.Store(int64(i + 1))
			if _, err := db.Apply(t.Context(), b); err != nil {
				t.Error(err)
				return
			}
			if i%9 == 8 {
				<-made // another backup began meanwhile
			}
		}
	}()
	var reports []query.BackupReport
	for done := false; !done; {
		r, err := db.Backup(t.Context(), target, nil)
		must(t, err)
		reports = append(reports, r)
		select {
		case made <- struct{}{}:
		case <-written:
			done = true
		}
	}
	must(t, db.Close())
	between := 0
	for i := range reports {
		if at := reports[i].Position.Applied; at > 0 && at < uint64(len(s.batches)) && at%9 != 0 {
			between++
		}
		if !testing.Short() || i%4 == 0 {
			s.restore(t, o, target, &reports[i])
		}
	}
	t.Logf("%d backups, %d of them in the middle of writing", len(reports), between)
	if len(reports) < 10 || between < 3 {
		t.Fatal("too few backups in the middle of writing")
	}
}

// restore restores a backup, compares it with the model, and writes the rest of the history.
func (s *script) restore(t *testing.T, o engine.Options, target query.BackupTarget, r *query.BackupReport) {
	t.Helper()
	o.FS = vfs.NewMem()
	made, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{Name: r.Name, FS: o.FS, WithoutLedger: true}) // the model is that of then
	must(t, err)
	at := r.Position.Applied
	if made.Position.Applied != at || made.Position.Epoch <= r.Position.Epoch || made.Store == r.Store {
		t.Fatalf("%+v of %+v", made, r)
	}
	db, err := engine.Open("again", &o)
	must(t, err)
	p := &pair{t: t, r: rand.New(rand.NewPCG(at, 2)), db: db, w: s.worlds[at], keys: 60}
	p.checkEverything()
	p.ask(db, p.w)
	for i, b := range s.batches[at:] {
		s.clock.Store(int64(at) + int64(i) + 1)
		_, err := db.Apply(t.Context(), b)
		must(t, err)
	}
	p.w = s.worlds[len(s.batches)]
	p.checkEverything()
	sums, err := db.Digests(t.Context())
	must(t, err)
	if sums.Position != (query.Position{Epoch: made.Position.Epoch, Applied: uint64(len(s.batches))}) {
		t.Fatalf("%s after %+v", sums.Position, made)
	}
	must(t, db.Close())
}

// grown opens a store and writes n people to it.
func grown(t *testing.T, files vfs.FS, dir string, n int) *engine.DB {
	t.Helper()
	db, err := engine.Open(dir, &engine.Options{FS: files})
	must(t, err)
	written(t, db, func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
		for i := range n {
			b.Upsert(fmt.Sprint("key-", i)).Set("n", schema.IntValue(int64(i)))
		}
	})
	return db
}

func contentOf(t *testing.T, db *engine.DB) [16]byte {
	t.Helper()
	sums, err := db.Digests(t.Context())
	must(t, err)
	return sums.Content
}

// TestRestoreAndBackupAgain restores, backs the restored store up to the same target, and
// restores that: the content is the same, nearly nothing is sent, each store has its own
// id, and each restore an epoch of its own.
func TestRestoreAndBackupAgain(t *testing.T) {
	dir, target := t.TempDir(), folder(t)
	db := grown(t, nil, filepath.Join(dir, "store"), 1000)
	defer func() { must(t, db.Close()) }()
	want := contentOf(t, db)
	first, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	stores := map[string]bool{first.Store: true}
	for epoch := uint64(2); epoch < 5; epoch++ {
		name := filepath.Join(dir, fmt.Sprint("again-", epoch))
		r, err := engine.Restore(t.Context(), name, target, nil)
		must(t, err)
		if stores[r.Store] || r.Position.Epoch != epoch {
			t.Fatalf("%+v", r)
		}
		stores[r.Store] = true
		again, err := engine.Open(name, nil)
		must(t, err)
		written(t, again, func(b *batch.Builder) { b.Upsert("key-1").Set("n", schema.IntValue(1)) })
		report, err := again.Backup(t.Context(), target, nil)
		must(t, err)
		must(t, again.Close())
		if report.Content != want || report.Root != first.Store || report.Store != r.Store || report.Position.Epoch != epoch {
			t.Fatalf("%+v", report)
		}
	}
	// The newest has epoch 4; one of epoch 1 is restored over it.
	name := filepath.Join(dir, "again-4")
	if _, err := engine.Restore(t.Context(), name, target, nil); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("into a store: %v", err)
	}
	r, err := engine.Restore(t.Context(), name, target, &engine.RestoreOptions{Name: first.Name, Replace: true})
	must(t, err)
	if r.Position.Epoch != 5 {
		t.Fatalf("%+v", r)
	}
	open, err := engine.Open(name, nil)
	must(t, err)
	if _, err := engine.Restore(t.Context(), name, target, &engine.RestoreOptions{Replace: true}); !errors.Is(err, &query.Error{Code: query.CodeInUse}) {
		t.Fatalf("over a store in use: %v", err)
	}
	must(t, open.Close())
	if left, err := filepath.Glob(filepath.Join(dir, "*.re*")); err != nil || len(left) > 0 {
		t.Fatalf("%q is left", left)
	}
}

// TestRestoreMistakes asks for what cannot be restored, or not there.
func TestRestoreMistakes(t *testing.T) {
	dir, target := t.TempDir(), folder(t)
	db := grown(t, nil, filepath.Join(dir, "store"), 10)
	report, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	must(t, db.Close())
	must(t, os.MkdirAll(filepath.Join(dir, "other", "things"), 0o777))
	must(t, os.MkdirAll(filepath.Join(dir, "beside.restoring", "things"), 0o777))
	must(t, os.MkdirAll(filepath.Join(dir, "store.replaced", "things"), 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o666))
	for what, c := range map[string]struct {
		dir  string
		o    engine.RestoreOptions
		code query.Code
	}{
		"no such name":           {"new", engine.RestoreOptions{Name: "20200101T000000.000Z-1.1"}, query.CodeUnknownName},
		"a name that is a path":  {"new", engine.RestoreOptions{Name: "../x"}, query.CodeInvalid},
		"too early a time":       {"new", engine.RestoreOptions{At: report.Received.Add(-1)}, query.CodeUnknownName},
		"too early a position":   {"new", engine.RestoreOptions{Position: query.Position{Epoch: 1}}, query.CodeUnknownName},
		"another epoch":          {"new", engine.RestoreOptions{Position: query.Position{Epoch: 2, Applied: 9}}, query.CodeUnknownName},
		"two answers":            {"new", engine.RestoreOptions{At: report.Received, Position: report.Position}, query.CodeInvalid},
		"a directory of others":  {"other", engine.RestoreOptions{Replace: true}, query.CodeNotAStore},
		"others' things beside":  {"beside", engine.RestoreOptions{}, query.CodeConflict},
		"others' things behind":  {"store", engine.RestoreOptions{Replace: true}, query.CodeConflict},
		"a store, and no -force": {"store", engine.RestoreOptions{}, query.CodeConflict},
	} {
		before := treeOf(t, dir)
		if _, err := engine.Restore(t.Context(), filepath.Join(dir, c.dir), target, &c.o); !errors.Is(err, &query.Error{Code: c.code}) {
			t.Errorf("%s: %v", what, err)
		}
		if after := treeOf(t, dir); after != before {
			t.Errorf("%s: there is\n%s and there was\n%s", what, after, before)
		}
	}
	if _, err := engine.Restore(t.Context(), filepath.Join(dir, "file"), target, &engine.RestoreOptions{Replace: true}); err == nil {
		t.Error("a file was replaced")
	}
}

// treeOf lists a folder of the machine.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if entry.IsDir() {
			size = 0
		}
		fmt.Fprintln(&out, path, info.Mode(), size)
		return nil
	}))
	return out.String()
}

// TestBackupOfDamage flips bits in tables of a store: a backup that has them already says so,
// and one that would be the first to have them too.
func TestBackupOfDamage(t *testing.T) {
	for _, before := range []bool{false, true} {
		files, target := vfs.NewMem(), folder(t)
		db := grown(t, files, "store", 5000)
		must(t, db.Compact(t.Context()))
		if before {
			_, err := db.Backup(t.Context(), target, nil)
			must(t, err)
		}
		names, err := files.List("store/db")
		must(t, err)
		flipped := 0
		for _, name := range names {
			if info, err := files.Stat("store/db/" + name); err == nil && info.Size() > 0 && strings.HasSuffix(name, ".sst") { // compaction may make one, or have it deleted
				flipInFile(t, files, "store/db/"+name)
				flipped++
			}
		}
		_, err = db.Backup(t.Context(), target, nil)
		if flipped == 0 || !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "0000") {
			t.Errorf("%d tables are damaged, backed up before: %v: %v", flipped, before, err)
		}
		if left, _ := files.List("store"); slices.Contains(left, "checkpoint") {
			t.Errorf("%q is left", left)
		}
		_ = db.Close()
	}
}

// flipInFile flips a bit in the middle of a file.
func flipInFile(t *testing.T, files vfs.FS, path string) {
	t.Helper()
	f, err := files.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()/4)
	must(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], info.Size()/4)
	must(t, err)
	must(t, f.Close())
}

// watchedTarget calls do before everything that is put.
type watchedTarget struct {
	query.BackupTarget
	do func(ctx context.Context, name string)
}

func (w *watchedTarget) Put(ctx context.Context, name string, data []byte) error {
	w.do(ctx, name)
	return w.BackupTarget.Put(ctx, name, data)
}

// TestBackupEndsEarly closes the store, or ends the context, while a backup is made: it ends
// with that error, and nothing of it runs on or is left.
func TestBackupEndsEarly(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for want, end := range map[error]func(db *engine.DB, cancel func()) error{
		context.Canceled:                     func(_ *engine.DB, cancel func()) error { cancel(); return nil },
		&query.Error{Code: query.CodeClosed}: func(db *engine.DB, _ func()) error { return db.Close() },
	} {
		files, ended := vfs.NewMem(), make(chan error, 1)
		db := grown(t, files, "store", 100)
		ctx, cancel := context.WithCancel(t.Context())
		target, err := engine.OpenBackupDir(filepath.Join(t.TempDir(), "target"))
		must(t, err)
		var once sync.Once
		_, err = db.Backup(ctx, &watchedTarget{target, func(ctx context.Context, name string) {
			if strings.HasPrefix(name, "objects/") {
				once.Do(func() {
					go func() { ended <- end(db, cancel) }()
				})
				<-ctx.Done()
			}
		}}, nil)
		cancel()
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if marks := listedIn(t, target, "under-way/"); marks != 0 {
			t.Errorf("%v: %d marks are left", want, marks)
		}
		must(t, errors.Join(<-ended, db.Close(), target.Close()))
		if left, _ := files.List("store"); slices.Contains(left, "checkpoint") {
			t.Errorf("%v: %q is left", want, left)
		}
	}
}

func listedIn(t *testing.T, target query.BackupTarget, prefix string) (n int) {
	t.Helper()
	must(t, target.List(t.Context(), prefix, func(string, int64) error {
		n++
		return nil
	}))
	return n
}

// TestPruneWaitsForBackups begins a backup while pruning is under way, and prunes while a
// backup is made: who comes second gives up, and nothing that a backup needs is lost.
func TestPruneWaitsForBackups(t *testing.T) {
	target := folder(t)
	db := grown(t, vfs.NewMem(), "store", 100)
	defer func() { must(t, db.Close()) }()
	var refused atomic.Int64
	_, err := db.Backup(t.Context(), &watchedTarget{target, func(_ context.Context, name string) {
		if strings.HasPrefix(name, "objects/") || strings.HasPrefix(name, "backups/") {
			if _, err := engine.PruneBackups(t.Context(), target, &query.PruneOptions{KeepLast: 1}); errors.Is(err, &query.Error{Code: query.CodeConflict}) {
				refused.Add(1)
			}
		}
	}}, nil)
	must(t, err)
	if n := refused.Load(); n < 3 {
		t.Fatalf("pruning was refused %d times", n)
	}
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || check.Backups != 1 || len(check.Problems) > 0 {
		t.Fatalf("%+v %v", check, err)
	}
	must(t, target.Put(t.Context(), "under-way/20991231T000000.000Z-prune-x", []byte("prune\n")))
	if _, err := db.Backup(t.Context(), target, nil); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("a backup while somebody prunes: %v", err)
	}
	// A process that died long ago holds nobody up.
	must(t, target.Delete(t.Context(), "under-way/20991231T000000.000Z-prune-x"))
	must(t, target.Put(t.Context(), "under-way/20200101T000000.000Z-prune-x", []byte("prune\n")))
	_, err = db.Backup(t.Context(), target, nil)
	must(t, err)
}
