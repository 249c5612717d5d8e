package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// counted writes batch number i: one person more, whose number is i.
func counted(t *testing.T, db *engine.DB, i int) query.Position {
	t.Helper()
	return written(t, db, func(b *batch.Builder) { b.Upsert(fmt.Sprint("k", i)) }).Position
}

// markIn returns the mark of a store.
func markIn(t *testing.T, files vfs.FS) kv.Mark {
	t.Helper()
	s, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 1 << 20, ReadOnly: true})
	must(t, err)
	m, err := s.Mark()
	must(t, errors.Join(err, s.Close()))
	return m
}

// TestMarkFollows cuts the power before every operation of some writes, folds and a close:
// the mark is never ahead of the log that is left, or opening would tell; and where each
// group is synced, it is at most the group in front of the last acknowledged one.
func TestMarkFollows(t *testing.T) {
	for _, durability := range []engine.Durability{engine.SyncGroup, engine.SyncNone} {
		files := faultfs.New()
		o := engine.Options{FS: files, Clock: fixedClock, Durability: durability}
		engine.LowerLimits(&o, 4, 16, 4)
		db, err := engine.Open("store", &o)
		must(t, err)
		var mu sync.Mutex
		var pictures []picture
		var acked atomic.Uint64
		syncs := 0 // of the mark
		beforeChanges(files, func(op faultfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind == faultfs.Sync && strings.HasSuffix(op.Path, "MARK") {
				syncs++
			}
			n := acked.Load()
			for _, percent := range []int{0, 50} {
				pictures = append(pictures, picture{crash(t, files, percent, uint64(len(pictures))), n, op.String()})
			}
			return nil
		})
		const batches = 40
		for i := range batches {
			acked.Store(counted(t, db, i).Applied)
			if i == 25 {
				must(t, db.Compact(t.Context()))
			}
		}
		must(t, db.Close())
		mu.Lock()
		files.Before(nil)
		if m := markIn(t, files); m.Applied != batches {
			t.Errorf("durability %d: closed at %d, the mark is at %d", durability, batches, m.Applied)
		}
		step := engine.Rounds(3, 15)
		for i := 0; i < len(pictures); i += step {
			c := pictures[i]
			m := markIn(t, c.files)
			if durability == engine.SyncGroup && m.Applied+1 < c.acked {
				t.Fatalf("crash before %s: the mark is at %d, %d are acknowledged", c.op, m.Applied, c.acked)
			}
			o.FS = c.files
			again, err := engine.Open("store", &o)
			if err != nil {
				t.Fatalf("durability %d, crash before %s, mark at %d: %v", durability, c.op, m.Applied, err)
			}
			must(t, again.Close())
		}
		mu.Unlock()
		if min := map[engine.Durability]int{engine.SyncGroup: batches - 1, engine.SyncNone: 2}[durability]; syncs < min || len(pictures) < 100 {
			t.Errorf("durability %d: %d marks, %d crashes", durability, syncs, len(pictures))
		}
	}
}

// files returns what is in the files of a store.
func filesOf(t *testing.T, files vfs.FS, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := files.List(dir)
	must(t, err)
	for _, name := range names {
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		must(t, err)
		if info.IsDir() {
			maps.Copy(out, filesOf(t, files, path))
			continue
		}
		f, err := files.Open(path)
		must(t, err)
		out[path], err = io.ReadAll(f)
		must(t, errors.Join(err, f.Close()))
	}
	return out
}

// cloned returns a copy of a store.
func clonedStore(t *testing.T, files vfs.FS) *vfs.MemFS {
	t.Helper()
	out := vfs.NewMem()
	must(t, out.MkdirAll("store/db", 0o755))
	for path, b := range filesOf(t, files, "store") {
		writeText(t, out, path, string(b))
	}
	return out
}

// TestLostLog cuts ever more off the end of a log: opening tells how many acknowledged
// batches are missing, in reading too, and what is left can be had in a new epoch.
func TestLostLog(t *testing.T) {
	const batches = 30
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock}
	db, err := engine.Open("store", &o)
	must(t, err)
	for i := range batches {
		counted(t, db, i)
	}
	must(t, db.Close())
	left := clonedStore(t, files)
	log, b := "", []byte(nil)
	for path, in := range filesOf(t, left, "store") {
		if strings.HasSuffix(path, ".log") && len(in) > len(b) {
			log, b = path, in
		}
	}
	b = bytes.TrimRight(b, "\x00")
	lost := map[uint64]bool{}
	for n := len(b); n > 0; n -= engine.Rounds(97, 970) {
		files := clonedStore(t, left)
		writeText(t, files, log, string(b[:n]))
		o.FS, o.ReadOnly = files, true
		db, err := engine.Open("store", &o)
		if err == nil {
			if n < len(b)-97 {
				t.Fatalf("%d of %d bytes: nothing is told", n, len(b))
			}
			must(t, db.Close())
			continue
		}
		before := filesOf(t, files, "store")
		if _, again := engine.Open("store", &o); again == nil || again.Error() != err.Error() {
			t.Fatalf("%v, then %v", err, again)
		}
		if after := filesOf(t, files, "store"); !maps.EqualFunc(before, after, bytes.Equal) {
			t.Errorf("opening for reading has changed files: %v", slices.Sorted(maps.Keys(after)))
		}
		o.ReadOnly = false
		if _, err := engine.Open("store", &o); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "accept-loss") {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
		loss, err := engine.AcceptLoss("store", &o)
		must(t, err)
		at := loss.From.Applied - 1
		if loss.To != (query.Position{Epoch: 1, Applied: batches}) || loss.Now != (query.Position{Epoch: 2, Applied: at}) || loss.Unknown {
			t.Fatalf("%+v", loss)
		}
		lost[at] = true
		continued(t, &o, at)
	}
	if len(lost) < engine.Rounds(20, 2) {
		t.Errorf("only %d lengths of the log", len(lost))
	}
}

// continued opens a store that has begun epoch 2 at a position, and writes on.
func continued(t *testing.T, o *engine.Options, at uint64) {
	t.Helper()
	for range 2 {
		db, err := engine.Open("store", o)
		must(t, err)
		n, err := db.Count(t.Context(), "true", nil)
		must(t, err)
		if n.Count != at || n.Position != (query.Position{Epoch: 2, Applied: at}) {
			t.Fatalf("%d people at %s, want %d", n.Count, n.Position, at)
		}
		counted(t, db, int(at))
		at++
		must(t, db.Close())
	}
	if loss, err := engine.AcceptLoss("store", o); err != nil || loss != (query.Loss{}) {
		t.Errorf("of a whole store %+v is lost (%v)", loss, err)
	}
}

// TestMarkIsNeeded: a store without a mark, with a damaged or another one, or with the log
// of another one does not open; what is there can be had if that is accepted.
func TestMarkIsNeeded(t *testing.T) {
	o := engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	for range 2 {
		db, err := engine.Open("store", &o)
		must(t, err)
		for i := range 3 {
			counted(t, db, i)
		}
		must(t, db.Close())
	}
	whole := o.FS
	other := engine.Options{FS: vfs.NewMem()}
	for i := range 6 {
		db, err := engine.Open("store", &other)
		must(t, err)
		counted(t, db, i)
		must(t, db.Close())
	}
	mark := filesOf(t, whole, "store")["store/MARK"]
	flipped := bytes.Clone(mark)
	flipped[8] ^= 1
	flipped[4096+30] ^= 4
	for name, change := range map[string]func(files vfs.FS){
		"is missing":        func(files vfs.FS) { must(t, files.Remove("store/MARK")) },
		"slots are damaged": func(files vfs.FS) { writeText(t, files, "store/MARK", string(flipped)) },
		"has 4096 bytes":    func(files vfs.FS) { writeText(t, files, "store/MARK", string(mark[:4096])) },
		"of store": func(files vfs.FS) {
			writeText(t, files, "store/MARK", string(filesOf(t, other.FS, "store")["store/MARK"]))
		},
		"the log at 1.6 is anot": func(files vfs.FS) { swapLog(t, files, other.FS) },
	} {
		o.FS = clonedStore(t, whole)
		change(o.FS)
		_, err := engine.Open("store", &o)
		if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "accept-loss") {
			t.Errorf("%s: %v", name, err)
		}
		loss, err := engine.AcceptLoss("store", &o)
		if err != nil || !loss.Unknown || loss.Now != (query.Position{Epoch: 2, Applied: 6}) {
			t.Errorf("%s: %+v %v", name, loss, err)
		}
		if db, err := engine.Open("store", &o); err != nil {
			t.Errorf("%s: then %v", name, err)
		} else {
			must(t, db.Close())
		}
	}
}

// swapLog puts the key-value store of another store in the place of one's own.
func swapLog(t *testing.T, files, other vfs.FS) {
	t.Helper()
	must(t, files.RemoveAll("store/db"))
	must(t, files.MkdirAll("store/db", 0o755))
	for path, b := range filesOf(t, other, "store/db") {
		writeText(t, files, path, string(b))
	}
}

// TestBaseAheadOfTheLog loses log whose batches have been folded: then parts of them are
// there, and nothing but a backup helps.
func TestBaseAheadOfTheLog(t *testing.T) {
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock}
	db, err := engine.Open("store", &o)
	must(t, err)
	for i := range 10 {
		counted(t, db, i)
	}
	var pictures []picture
	files.Before(func(op faultfs.Op) error {
		if op.Kind == faultfs.Remove && strings.Contains(op.Path, "ingest-") && len(pictures) == 0 {
			pictures = append(pictures, picture{files: crash(t, files, 100, 1)})
		}
		return nil
	})
	must(t, db.Compact(t.Context()))
	must(t, db.Close())
	if len(pictures) == 0 {
		t.Fatal("nothing was folded")
	}
	o.FS = pictures[0].files
	for path, b := range filesOf(t, o.FS, "store/db") {
		if strings.HasSuffix(path, ".log") {
			writeText(t, o.FS, path, string(b[:len(bytes.TrimRight(b, "\x00"))/2]))
		}
	}
	_, err = engine.Open("store", &o)
	if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "has later ones") || strings.Contains(err.Error(), "accept-loss") {
		t.Errorf("opening: %v", err)
	}
	if _, again := engine.AcceptLoss("store", &o); again == nil || !strings.Contains(again.Error(), "has later ones") {
		t.Errorf("accepting the loss: %v", again)
	}
}

// TestMarkThatFails: a mark that cannot be written ends writing, and the store opens
// afterwards with all that was acknowledged.
func TestMarkThatFails(t *testing.T) {
	for _, which := range []faultfs.Kind{faultfs.Write, faultfs.Sync} {
		files := faultfs.New()
		o := engine.Options{FS: files, Clock: fixedClock}
		db, err := engine.Open("store", &o)
		must(t, err)
		counted(t, db, 0)
		files.Before(func(op faultfs.Op) error {
			if op.Kind == which && strings.HasSuffix(op.Path, "MARK") {
				return errors.New("bad disk")
			}
			return nil
		})
		failed := 0
		for i := range 4 {
			b := batch.New()
			b.Upsert(fmt.Sprint("k", 1+i))
			raw, err := b.Encode()
			must(t, err)
			if _, err = db.Apply(t.Context(), raw); err != nil {
				if !errors.Is(err, &query.Error{Code: query.CodeFailed}) || !strings.Contains(err.Error(), "store/MARK") {
					t.Fatal(err)
				}
				failed++
			}
		}
		if failed < 2 {
			t.Errorf("%s: only %d writes have failed", which, failed)
		}
		if err := db.Close(); !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Errorf("%s: closing: %v", which, err)
		}
		o.FS = crash(t, files, 0, 1)
		again, err := engine.Open("store", &o)
		must(t, err)
		if n, err := again.Count(t.Context(), "true", nil); err != nil || n.Count < uint64(5-failed) {
			t.Errorf("%s: %d people (%v)", which, n.Count, err)
		}
		must(t, again.Close())
	}
}

// TestLastMarkFails: whoever writes nothing more hears of it when the store is closed.
func TestLastMarkFails(t *testing.T) {
	for _, durability := range []engine.Durability{engine.SyncGroup, engine.SyncNone} {
		files := faultfs.New()
		db, err := engine.Open("store", &engine.Options{FS: files, Clock: fixedClock, Durability: durability})
		must(t, err)
		files.Before(func(op faultfs.Op) error {
			if op.Kind == faultfs.Sync && strings.HasSuffix(op.Path, "MARK") {
				return errors.New("bad disk")
			}
			return nil
		})
		b := batch.New()
		b.Upsert("k0")
		raw, err := b.Encode()
		must(t, err)
		if _, err := db.Apply(t.Context(), raw); err != nil && !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Fatal(err) // the compactor may have been the first to hear of the disk
		}
		if err := db.Close(); !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Errorf("durability %d: closing: %v", durability, err)
		}
	}
}
