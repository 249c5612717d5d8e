package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Limits of documents. All of them are in memory, beside the budget, and are settings, such
// as the keys and roles of a server: an organisation has thousands of them at most.
const (
	maxDocuments     = 10_000
	maxDocumentBytes = 64 << 20 // names and values of all
)

// documents are those of one state, immutable but for the batch that makes them.
type documents struct {
	all     map[string]*document
	bytes   int    // of names and values
	version uint64 // changes since the store was opened
}

type document struct {
	value []byte
	saved query.Position
}

// set puts a document, or drops it.
func (s *documents) set(name string, x *document) {
	if old := s.all[name]; old != nil {
		s.bytes -= len(name) + len(old.value)
		delete(s.all, name)
	}
	if x != nil {
		s.bytes += len(name) + len(x.value)
		s.all[name] = x
	}
}

// sum is what documents are in the replica digest. When they were saved is not in it.
func (s *documents) sum() (sum digest.Sum) {
	for name, x := range s.all { //tidy:same a sum of all
		sum.Add(digest.Fact(digest.String(name), digest.Text(x.value)))
	}
	return sum
}

// Document returns the document of a name; without one, an error with the code
// [query.CodeUnknownName].
func (db *DB) Document(ctx context.Context, name string) (query.SavedDocument, error) {
	return read(ctx, db, func(n *snapshot) (query.SavedDocument, error) {
		x := n.s.documents.all[name]
		if x == nil {
			return query.SavedDocument{}, noDocument(name)
		}
		return x.named(name), nil
	})
}

// Documents returns the documents whose names begin with a prefix, by name.
func (db *DB) Documents(ctx context.Context, prefix string) ([]query.SavedDocument, error) {
	return read(ctx, db, func(n *snapshot) (out []query.SavedDocument, err error) {
		for name, x := range n.s.documents.all { //tidy:same a question
			if strings.HasPrefix(name, prefix) {
				out = append(out, x.named(name))
			}
		}
		slices.SortFunc(out, func(a, b query.SavedDocument) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// DocumentsVersion returns a number that is another one after each change of a document, as
// long as the store is open. It costs no more than to read a variable: who keeps what
// documents say asks for it first, then reads them, and reads them again when it has changed.
func (db *DB) DocumentsVersion() uint64 { return db.current.Load().documents.version }

func (x *document) named(name string) query.SavedDocument {
	return query.SavedDocument{Name: name, Value: slices.Clone(x.value), Saved: x.saved}
}

func noDocument(name string) error {
	return query.Errorf(query.CodeUnknownName, "there is no document %q", name)
}

// putDocument puts a document, if what it replaces is as the batch says.
func (d *decider) putDocument(op *batch.Op) error {
	given := op.Document
	have := d.w.documents.all[given.Name]
	if err := expected(given, have); err != nil {
		return err
	}
	x := &document{value: slices.Clone(given.Value), saved: d.w.nextPosition()} // what is given is the batch's
	all := d.setDocument(given.Name, x)
	if n := len(all.all); n > maxDocuments {
		return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("the document %q would be one too many: there are %d, the most there can be", given.Name, maxDocuments),
			Hint: "drop those that nobody needs"}
	}
	if all.bytes > maxDocumentBytes {
		return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("with the document %q all documents would take %d bytes, at most %d", given.Name, all.bytes, maxDocumentBytes),
			Hint: "drop those that nobody needs, or make them smaller"}
	}
	return nil
}

// expected reports a document that is not what a batch replaces.
func expected(given *batch.Document, have *document) error {
	const hint = "somebody else has changed it: read it, and decide anew"
	switch {
	case given.Expect == batch.ExpectNoDocument && have != nil:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("there is a document %q already", given.Name), Hint: hint}
	case given.Expect == batch.ExpectDocument && have == nil:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("there is no document %q to replace", given.Name), Hint: hint}
	case given.Expect == batch.ExpectDocument && batch.HashDocument(have.value) != given.Hash:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the document %q is not the one that was to be replaced", given.Name), Hint: hint}
	}
	return nil
}

func (d *decider) dropDocument(op *batch.Op) error {
	if d.w.documents.all[op.Document.Name] == nil {
		return noDocument(op.Document.Name)
	}
	d.setDocument(op.Document.Name, nil)
	return nil
}

// setDocument changes a document; nil drops it. The first of a batch copies them.
func (d *decider) setDocument(name string, x *document) *documents {
	if d.out.meta.documents == nil {
		d.out.meta.documents = map[string]*document{}
		d.w.documents = &documents{all: cloned(d.w.documents.all), bytes: d.w.documents.bytes, version: d.w.documents.version + 1}
	}
	d.out.meta.documents[name] = x
	d.w.documents.set(name, x)
	return d.w.documents
}

// persistDocuments writes what a batch does to documents.
func (m *metaChanges) persistDocuments(kb *kv.Batch) {
	for _, name := range slices.Sorted(maps.Keys(m.documents)) {
		if x := m.documents[name]; x == nil {
			kb.Delete(keys.Document(name))
		} else {
			kb.Set(keys.Document(name), kv.Seal(nil, append(appendPosition(nil, x.saved), x.value...)))
		}
	}
}

func readDocument(b []byte) (*document, error) {
	r := kv.Reader{B: b}
	x := &document{saved: takePosition(&r)}
	x.value = slices.Clone(r.B)
	return x, damaged(&r, "a document")
}

// documents reads the documents.
func (r *recovery) documents() error {
	all := &documents{all: map[string]*document{}}
	r.s.documents, r.w.documents = all, all
	return r.db.kv.Scan(r.ctx, keys.Documents(), func(k, v []byte) (bool, error) {
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		x, err := readDocument(b)
		if err == nil {
			all.set(keys.Name(k), x)
		}
		return err == nil, err
	})
}
