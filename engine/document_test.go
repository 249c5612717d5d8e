package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/query"
)

// documentStore is a store that is asked for its documents.
type documentStore struct {
	*testing.T
	fs vfs.FS
	db *DB
}

func newDocumentStore(t *testing.T) *documentStore {
	s := &documentStore{T: t, fs: vfs.NewMem()}
	s.open()
	t.Cleanup(func() { _ = s.db.Close() })
	return s
}

func (s *documentStore) open() {
	s.Helper()
	var err error
	if s.db, err = Open("store", &Options{FS: s.fs}); err != nil {
		s.Fatal(err)
	}
}

// apply applies a batch, for good or not.
func (s *documentStore) apply(dry bool, fill func(b *batch.Builder)) error {
	s.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err != nil {
		s.Fatal(err)
	}
	if dry {
		_, err = s.db.DryRun(s.Context(), raw)
	} else {
		_, err = s.db.Apply(s.Context(), raw)
	}
	return err
}

func (s *documentStore) put(fill func(b *batch.Builder)) {
	s.Helper()
	if err := s.apply(false, fill); err != nil {
		s.Fatal(err)
	}
}

// all returns the documents with a prefix, as name=value@position.
func (s *documentStore) all(prefix string) string {
	s.Helper()
	list, err := s.db.Documents(s.Context(), prefix)
	if err != nil {
		s.Fatal(err)
	}
	var out []string
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s=%s@%d", d.Name, d.Value, d.Saved.Applied))
		one, err := s.db.Document(s.Context(), d.Name)
		if err != nil || !reflect.DeepEqual(one, d) {
			s.Fatalf("%+v, by itself %+v, %v", d, one, err)
		}
	}
	return strings.Join(out, " ")
}

func (s *documentStore) digests() query.Digests {
	s.Helper()
	d, err := s.db.Digests(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return d
}

func (s *documentStore) reopen() {
	s.Helper()
	if err := s.db.Close(); err != nil {
		s.Fatal(err)
	}
	s.open()
}

// TestDocuments puts, replaces and drops documents: what is there is there after an opening,
// is no content, and a batch that is refused has changed nothing.
func TestDocuments(t *testing.T) {
	s := newDocumentStore(t)
	empty := s.digests()
	if got := s.all(""); got != "" {
		t.Fatal(got)
	}
	if _, err := s.db.Document(t.Context(), "role/a"); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Fatalf("a document that is not there: %v", err)
	}
	value := []byte("one")
	s.put(func(b *batch.Builder) { b.PutDocument("role/a", value); b.PutDocument("key/b", nil) })
	copy(value, "XXX")
	s.put(func(b *batch.Builder) {
		b.PutDocument("role/c", []byte("two"))
		b.DropDocument("role/c")
		b.CreateDocument("role/c", []byte("three"))
	})
	const want = "key/b=@1 role/a=one@1 role/c=three@2"
	for range 2 {
		if got := s.all(""); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got := s.all("role/"); got != "role/a=one@1 role/c=three@2" {
			t.Fatal(got)
		}
		s.reopen()
	}
	d, err := s.db.Document(t.Context(), "role/a")
	if err != nil {
		t.Fatal(err)
	}
	copy(d.Value, "XXX") // it is the caller's
	if got := s.all(""); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	now := s.digests()
	if now.Content != empty.Content || now.Replica == empty.Replica {
		t.Fatalf("digests without documents %+v, with %+v", empty, now)
	}
	refused(t, s, want)
	if _, err := s.db.ExportAll(t.Context(), portable.ToStream(&noText{t, "three"}), nil); err != nil {
		t.Fatal(err)
	}
	s.put(func(b *batch.Builder) { b.DropDocument("key/b"); b.DropDocument("role/a"); b.DropDocument("role/c") })
	if got := s.digests(); s.all("") != "" || got.Replica != empty.Replica {
		t.Fatal(s.all(""), got)
	}
	s.reopen()
	if got := s.all(""); got != "" {
		t.Fatal(got)
	}
}

// refused sends batches that are refused, and runs that are dry: nothing has changed by them.
func refused(t *testing.T, s *documentStore, want string) {
	t.Helper()
	version := s.db.DocumentsVersion()
	hash := func(text string) batch.DocumentHash { return batch.HashDocument([]byte(text)) }
	for name, c := range map[string]struct {
		code query.Code
		fill func(b *batch.Builder)
	}{
		"create what is there": {query.CodeConflict, func(b *batch.Builder) { b.CreateDocument("role/a", nil) }},
		"replace another":      {query.CodeConflict, func(b *batch.Builder) { b.ReplaceDocument("role/a", nil, hash("two")) }},
		"replace nothing":      {query.CodeConflict, func(b *batch.Builder) { b.ReplaceDocument("role/b", nil, hash("")) }},
		"drop nothing":         {query.CodeUnknownName, func(b *batch.Builder) { b.DropDocument("role/b") }},
		"replace what is replaced": {query.CodeConflict, func(b *batch.Builder) {
			b.ReplaceDocument("role/a", nil, hash("one"))
			b.ReplaceDocument("role/a", nil, hash("one"))
		}},
		"another op is refused": {query.CodeUnknownName, func(b *batch.Builder) { b.DropDocument("role/a"); b.DropSegment("none") }},
		"a row is refused":      {query.CodeRefused, func(b *batch.Builder) { b.Strict(true); b.PutDocument("role/a", nil); b.Delete("nobody") }},
	} {
		for _, dry := range []bool{true, false} {
			if err := s.apply(dry, c.fill); !errors.Is(err, &query.Error{Code: c.code}) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := s.apply(true, func(b *batch.Builder) { b.ReplaceDocument("role/a", []byte("four"), hash("one")) }); err != nil {
		t.Error(err)
	}
	if got := s.all(""); got != want || s.db.DocumentsVersion() != version {
		t.Errorf("%s, want %s, version %d after %d", got, want, s.db.DocumentsVersion(), version)
	}
	s.put(func(b *batch.Builder) { b.Tick() })
	if s.db.DocumentsVersion() != version {
		t.Error("the version has changed, and no document")
	}
	s.put(func(b *batch.Builder) { b.ReplaceDocument("role/a", []byte("one"), hash("one")) })
	if s.db.DocumentsVersion() == version {
		t.Error("the version has not changed")
	}
}

// noText is a writer that fails when it is given a text.
type noText struct {
	t    *testing.T
	text string
}

func (w *noText) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.text)) {
		w.t.Errorf("%q is in what is written", w.text)
	}
	return io.Discard.Write(b)
}

// TestDocumentsTogether counts in a document from several goroutines, each of which replaces
// what it has read: no count is lost.
func TestDocumentsTogether(t *testing.T) {
	const writers, each = 4, 25
	s := newDocumentStore(t)
	s.put(func(b *batch.Builder) { b.CreateDocument("count", []byte("0")) })
	add := func() error {
		for {
			version := s.db.DocumentsVersion()
			d, err := s.db.Document(t.Context(), "count")
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(d.Value))
			if err != nil {
				return err
			}
			err = s.apply(false, func(b *batch.Builder) {
				b.ReplaceDocument("count", []byte(strconv.Itoa(n+1)), batch.HashDocument(d.Value))
			})
			if err == nil && s.db.DocumentsVersion() == version {
				return errors.New("the version has not changed")
			}
			if !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := add(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if d, err := s.db.Document(t.Context(), "count"); err != nil || string(d.Value) != strconv.Itoa(writers*each) {
		t.Fatalf("%s, %v", d.Value, err)
	}
}

// TestDocumentLimits fills a store with as many documents, and as many bytes, as there may be.
func TestDocumentLimits(t *testing.T) {
	notRaced(t)
	s := newDocumentStore(t)
	tooMany := func(fill func(b *batch.Builder)) {
		t.Helper()
		before := s.digests()
		if err := s.apply(false, fill); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
			t.Fatalf("one too many: %v", err)
		}
		if after := s.digests(); after != before {
			t.Fatal("a refused document has changed something")
		}
	}
	name := func(i int) string { return fmt.Sprintf("n/%06d", i) }
	s.put(func(b *batch.Builder) {
		for i := range maxDocuments {
			b.PutDocument(name(i), nil)
		}
	})
	tooMany(func(b *batch.Builder) { b.PutDocument("one", nil) })
	s.put(func(b *batch.Builder) { b.PutDocument(name(7), []byte("another")) })
	s.put(func(b *batch.Builder) {
		for i := range maxDocuments {
			b.DropDocument(name(i))
		}
	})

	largest := make([]byte, batch.MaxDocument)
	size := batch.MaxDocument + len(name(0))
	whole := maxDocumentBytes / size
	for from := 0; from < whole; from += 60 {
		s.put(func(b *batch.Builder) {
			for i := from; i < min(from+60, whole); i++ {
				b.PutDocument(name(i), largest)
			}
		})
	}
	rest := maxDocumentBytes - whole*size - len("rest")
	tooMany(func(b *batch.Builder) { b.PutDocument("rest", largest[:rest+1]) })
	s.put(func(b *batch.Builder) { b.PutDocument("rest", largest[:rest]) })
	s.reopen()
	tooMany(func(b *batch.Builder) { b.PutDocument("rest", largest[:rest+1]) })
	s.put(func(b *batch.Builder) {
		b.PutDocument(name(3), []byte("small"))
		b.PutDocument("rest", largest[:rest+1])
	})
}

// TestDocumentsInBackups makes a store of a backup and the log behind it.
func TestDocumentsInBackups(t *testing.T) {
	s := newDocumentStore(t)
	target, err := OpenBackupDir(filepath.Join(t.TempDir(), "target"))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	s.put(func(b *batch.Builder) { b.PutDocument("role/a", []byte("one")); b.PutDocument("role/b", []byte("two")) })
	if err := s.db.KeepLog(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Backup(t.Context(), target, nil); err != nil {
		t.Fatal(err)
	}
	s.put(func(b *batch.Builder) { b.PutDocument("role/a", []byte("three")); b.DropDocument("role/b") })
	if _, err := s.db.ShipLog(t.Context(), target, nil); err != nil {
		t.Fatal(err)
	}
	want, digests := s.all(""), s.digests()
	restored := &documentStore{T: t, fs: s.fs}
	if _, err := Restore(t.Context(), "restored", target, &RestoreOptions{FS: s.fs}); err != nil {
		t.Fatal(err)
	}
	if restored.db, err = Open("restored", &Options{FS: s.fs}); err != nil {
		t.Fatal(err)
	}
	defer restored.db.Close()
	if got := restored.all(""); got != want || restored.digests().Replica != digests.Replica {
		t.Fatalf("%s, want %s", got, want)
	}
}

// TestDocumentsRot: check finds a document that is damaged.
func TestDocumentsRot(t *testing.T) {
	s := newDocumentStore(t)
	s.put(func(b *batch.Builder) { b.PutDocument("role/a", []byte("one")) })
	sealed, err := s.db.kv.Get(keys.Document("role/a"))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(sealed)
	bad[len(bad)-1] ^= 1
	kb := s.db.kv.NewBatch()
	kb.Set(keys.Document("role/a"), bad)
	if err := errors.Join(kb.Commit(true), kb.Close()); err != nil {
		t.Fatal(err)
	}
	report, err := s.db.Check(context.Background(), nil)
	if err != nil || len(report.Problems) != 1 || !strings.HasPrefix(report.Problems[0], "a document: ") {
		t.Fatalf("%q, %v", report.Problems, err)
	}
}
