package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Targets is the conformance suite of targets of backups. open returns an empty one.
func Targets(t *testing.T, open func(t *testing.T) query.BackupTarget) {
	t.Run("names", func(t *testing.T) { targetNames(t, open(t)) })
	t.Run("backups", func(t *testing.T) { targetBackups(t, open(t)) })
	t.Run("interrupted", func(t *testing.T) { targetInterrupted(t, open(t)) })
	t.Run("damaged", func(t *testing.T) { targetDamaged(t, open(t)) })
	t.Run("log", func(t *testing.T) { targetLogs(t, open(t)) })
	t.Run("damaged log", func(t *testing.T) { targetDamagedLogs(t, open(t)) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listed returns the names of a target with their sizes.
func listed(t *testing.T, target query.BackupTarget, prefix string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	must(t, target.List(t.Context(), prefix, func(name string, size int64) error {
		out[name] = size
		return nil
	}))
	return out
}

// targetNames holds a target against a map.
func targetNames(t *testing.T, target query.BackupTarget) {
	const seed = 11
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "backups/x-1.2.manifest", "objects/00/00aa", "objects/00/00ab", "objects/01/01aa", "under-way/x"}
	want := map[string][]byte{}
	ctx := t.Context()
	for range 150 {
		name := names[r.IntN(len(names))]
		switch r.IntN(3) {
		case 0:
			data := make([]byte, 1+r.IntN(3)*r.IntN(40_000))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			must(t, target.Put(ctx, name, data))
			want[name] = data
		case 1:
			must(t, target.Delete(ctx, name))
			delete(want, name)
		}
		got, err := target.Get(ctx, name, int64(len(want[name])))
		if data, there := want[name]; there && (err != nil || !bytes.Equal(got, data)) {
			t.Fatalf("%s: %d bytes, want %d (%v)", name, len(got), len(data), err)
		} else if !there && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s, which is not there: %v", name, err)
		}
		if n := int64(len(want[name])); n > 0 {
			if _, err := target.Get(ctx, name, n-1); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Fatalf("%s of %d bytes where fewer are wanted: %v", name, n, err)
			}
		}
		for _, prefix := range []string{"", "objects/", "objects/00/", "nothing/"} {
			there := map[string]int64{}
			for name, data := range want {
				if strings.HasPrefix(name, prefix) {
					there[name] = int64(len(data))
				}
			}
			if got := listed(t, target, prefix); fmt.Sprint(got) != fmt.Sprint(there) {
				t.Fatalf("%q has %v, want %v", prefix, got, there)
			}
		}
	}
	stop := errors.New("enough")
	must(t, target.Put(ctx, "a", []byte("b")))
	if err := target.List(ctx, "", func(string, int64) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("a listing that is stopped: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := target.Get(ended, "a", 10)
	for _, err := range []error{err, target.Put(ended, "a", []byte("b")), target.Delete(ended, "a"), target.List(ended, "", func(string, int64) error { return nil })} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	}
}

// openStore opens a store in a file system.
func openStore(t *testing.T, files vfs.FS, dir string) *engine.DB {
	t.Helper()
	db, err := engine.Open(dir, &engine.Options{FS: files})
	must(t, err)
	return db
}

// write writes some people with their purchases; n says which.
func write(t *testing.T, db *engine.DB, n int) {
	t.Helper()
	b := batch.New()
	if n == 0 {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "city", Kind: schema.String}})
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true}})
	}
	for i := range 50 {
		b.Upsert(fmt.Sprintf("person-%d-%d", n, i)).Set("city", schema.StringValue(fmt.Sprint("city-", i%7))).Set("email", schema.StringValue(fmt.Sprintf("%d.%d@x", n, i)))
	}
	raw, err := b.Encode()
	must(t, err)
	result, err := db.Apply(t.Context(), raw)
	if err != nil || result.Accepted != result.Received {
		t.Fatalf("%+v %v", result, err)
	}
}

// content returns the content digest of a store.
func content(t *testing.T, db *engine.DB) [16]byte {
	t.Helper()
	sums, err := db.Digests(t.Context())
	must(t, err)
	return sums.Content
}

// restored restores a backup and returns the content of the store that it makes, which is
// checked, and its epoch.
func restored(t *testing.T, target query.BackupTarget, o engine.RestoreOptions) ([16]byte, query.Position) {
	t.Helper()
	o.FS = vfs.NewMem()
	report, err := engine.Restore(t.Context(), "new", target, &o)
	must(t, err)
	db := openStore(t, o.FS, "new")
	defer func() { must(t, db.Close()) }()
	check, err := db.Check(t.Context(), nil)
	must(t, err)
	if len(check.Problems) > 0 {
		t.Fatalf("%q", check.Problems)
	}
	return content(t, db), report.Position
}

// sound verifies all backups of a target.
func sound(t *testing.T, target query.BackupTarget) query.BackupCheck {
	t.Helper()
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	must(t, err)
	if len(check.Problems) > 0 {
		t.Fatalf("%q", check.Problems)
	}
	return check
}

// targetBackups makes backups of a store that grows and is folded, restores each, by name, by
// time and by position, and prunes.
func targetBackups(t *testing.T, target query.BackupTarget) {
	db := openStore(t, vfs.NewMem(), "store")
	defer func() { must(t, db.Close()) }()
	var reports []query.BackupReport
	for n := range 4 {
		write(t, db, n)
		if n == 2 {
			must(t, db.Compact(t.Context()))
		}
		want := content(t, db)
		r, err := db.Backup(t.Context(), target, nil)
		must(t, err)
		if r.Content != want || r.Position.Applied != uint64(n+1) || r.SentRaw > r.Bytes || r.SentObjects == 0 {
			t.Fatalf("%+v", r)
		}
		reports = append(reports, r)
	}
	again, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	if last := &reports[len(reports)-1]; again.SentRaw*3 > again.Bytes || again.Parent != last.Name || again.Content != last.Content {
		t.Fatalf("nothing was written, and of %d bytes %d are sent: %+v", again.Bytes, again.SentRaw, again)
	}
	for i := range reports {
		r := &reports[i]
		for _, o := range []engine.RestoreOptions{{Name: r.Name}, {At: r.Received}, {Position: r.Position}} {
			if got, at := restored(t, target, o); got != r.Content || at.Applied != r.Position.Applied || at.Epoch != 2 {
				t.Fatalf("restored by %+v: %x at %s, want %x at %s", o, got, at, r.Content, r.Position)
			}
		}
	}
	if sound(t, target).Unnamed != 0 {
		t.Fatal("there are objects that no backup names")
	}
	before := listed(t, target, "")
	o := &query.PruneOptions{KeepLast: 2, DryRun: true}
	planned, err := engine.PruneBackups(t.Context(), target, o)
	must(t, err)
	if fmt.Sprint(listed(t, target, "")) != fmt.Sprint(before) {
		t.Fatal("a dry run has changed something")
	}
	o.DryRun = false
	pruned, err := engine.PruneBackups(t.Context(), target, o)
	must(t, err)
	if fmt.Sprint(pruned) != fmt.Sprint(planned) || len(pruned.Deleted) != 3 || pruned.Objects == 0 {
		t.Fatalf("planned %+v, done %+v", planned, pruned)
	}
	if check := sound(t, target); check.Backups != 2 || check.Unnamed != 0 || len(listed(t, target, "under-way/")) != 0 {
		t.Fatalf("%+v", check)
	}
	if got, _ := restored(t, target, engine.RestoreOptions{}); got != again.Content {
		t.Fatal("what was kept is another")
	}
	other := openStore(t, vfs.NewMem(), "other")
	defer func() { must(t, other.Close()) }()
	if _, err := other.Backup(t.Context(), target, nil); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("a backup of another store: %v", err)
	}
}

// broken is a target whose connection breaks after some operations: before one is done, or
// after, when nobody hears of it.
type broken struct {
	query.BackupTarget
	mu   sync.Mutex
	left int
	done bool
}

var errBroken = errors.New("the connection is broken")

func (b *broken) do(op func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left--
	if b.left >= 0 {
		return op()
	}
	if b.left == -1 && b.done {
		_ = op()
	}
	return errBroken
}

func (b *broken) Put(ctx context.Context, name string, data []byte) error {
	return b.do(func() error { return b.BackupTarget.Put(ctx, name, data) })
}

func (b *broken) Get(ctx context.Context, name string, limit int64) (data []byte, err error) {
	err = b.do(func() error {
		data, err = b.BackupTarget.Get(ctx, name, limit)
		return err
	})
	return data, err
}

func (b *broken) List(ctx context.Context, prefix string, f func(string, int64) error) error {
	return b.do(func() error { return b.BackupTarget.List(ctx, prefix, f) })
}

func (b *broken) Delete(ctx context.Context, name string) error {
	return b.do(func() error { return b.BackupTarget.Delete(ctx, name) })
}

// targetInterrupted breaks the connection at every operation of a backup and of pruning.
// Every backup that there is afterwards is whole, and to begin again is all there is to do.
func targetInterrupted(t *testing.T, target query.BackupTarget) {
	db := openStore(t, vfs.NewMem(), "store")
	defer func() { must(t, db.Close()) }()
	write(t, db, 0)
	_, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	interrupted := 0
	for _, do := range []func(target query.BackupTarget) error{
		func(target query.BackupTarget) error {
			_, err := db.Backup(t.Context(), target, nil)
			return err
		},
		func(target query.BackupTarget) error {
			_, err := engine.PruneBackups(t.Context(), target, &query.PruneOptions{KeepLast: 1})
			return err
		},
	} {
		for _, done := range []bool{false, true} {
			write(t, db, 1+interrupted)
			for n := 0; ; n++ {
				err := do(&broken{BackupTarget: target, left: n, done: done})
				if sound(t, target).Backups == 0 {
					t.Fatal("there is no backup any more")
				}
				if err == nil {
					break
				}
				if !errors.Is(err, errBroken) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
					t.Fatalf("interrupted at operation %d: %v", n, err)
				}
				interrupted++
				clearMarks(t, target)
			}
		}
	}
	_, err = db.Backup(t.Context(), target, nil)
	must(t, err)
	if got, _ := restored(t, target, engine.RestoreOptions{}); got != content(t, db) {
		t.Fatal("the last backup is another")
	}
	if interrupted < 30 {
		t.Fatalf("only %d interruptions", interrupted)
	}
}

// clearMarks deletes what somebody who died has left under way, as the operator does.
func clearMarks(t *testing.T, target query.BackupTarget) {
	t.Helper()
	for name := range listed(t, target, "under-way/") {
		must(t, target.Delete(t.Context(), name))
	}
}

// sortedNames returns the names of a target.
func sortedNames(t *testing.T, target query.BackupTarget) []string {
	t.Helper()
	var names []string
	for name := range listed(t, target, "") {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
