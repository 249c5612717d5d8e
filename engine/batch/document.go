package batch

import "crypto/sha256"

// MaxDocument bounds a document in bytes: it is a setting, such as a key or a role, not a file.
const MaxDocument = 64 << 10

// DocumentHash names the value of a document: its SHA-256.
type DocumentHash [sha256.Size]byte

// HashDocument returns the hash of a value, for [Builder.ReplaceDocument].
func HashDocument(value []byte) DocumentHash { return sha256.Sum256(value) }

// Expectation is what a document put demands of what it replaces. Codes are stored and
// append-only.
type Expectation uint8

// The expectations; see the package comment.
const (
	ExpectAnything   Expectation = 0
	ExpectNoDocument Expectation = 1
	ExpectDocument   Expectation = 2
)

// Document is what a document put says, or a document drop, which has a name only.
type Document struct {
	Name   string
	Expect Expectation
	Hash   DocumentHash // of the value that is replaced, if that is expected
	Value  []byte       // a view of the batch: read-only
}

// PutDocument puts a document under a name, new or not. The value has at most MaxDocument
// bytes and may be empty; it is kept as it is.
func (b *Builder) PutDocument(name string, value []byte) {
	b.document(&Document{Name: name, Value: value})
}

// CreateDocument puts a document where there must be none: else the batch is refused, with
// query.CodeConflict.
func (b *Builder) CreateDocument(name string, value []byte) {
	b.document(&Document{Name: name, Expect: ExpectNoDocument, Value: value})
}

// ReplaceDocument puts a document in the place of one whose value has the hash: if it has
// another, or is not there, the batch is refused, with query.CodeConflict.
func (b *Builder) ReplaceDocument(name string, value []byte, replaced DocumentHash) {
	b.document(&Document{Name: name, Expect: ExpectDocument, Hash: replaced, Value: value})
}

// DropDocument drops a document, which must be there.
func (b *Builder) DropDocument(name string) { b.nameOp(OpDocumentDrop, name) }

func (b *Builder) document(d *Document) {
	body := appendString(b.body[:0], b.checkName(d.Name))
	body = append(body, byte(d.Expect))
	if d.Expect == ExpectDocument {
		body = append(body, d.Hash[:]...)
	}
	if len(d.Value) > MaxDocument {
		b.fail("the document %.150q has %d bytes, at most %d", d.Name, len(d.Value), MaxDocument)
		return
	}
	b.body = appendString(body, d.Value)
	b.op(OpDocumentPut, b.body, 0)
}

// document reads the body of a document put.
func (r *reader) document() *Document {
	d := &Document{Name: r.name(), Expect: Expectation(r.byte())}
	switch d.Expect {
	case ExpectAnything, ExpectNoDocument:
	case ExpectDocument:
		copy(d.Hash[:], r.take(len(d.Hash)))
	default:
		r.fail("an expectation %d of a document", d.Expect)
	}
	if d.Value = r.take(r.count(1)); len(d.Value) > MaxDocument {
		r.fail("a document of %d bytes", len(d.Value))
	}
	return d
}
