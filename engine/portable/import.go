package portable

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// importVersion is part of the source's name: it changes when the same lines make other batches.
const importVersion = 1

// Store is what an import writes to: an engine.DB, or what stands for one elsewhere.
type Store interface {
	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error)
	DryRun(ctx context.Context, b batch.Batch) (batch.Result, error)
	Schema(ctx context.Context) (*schema.Schema, error)
	Stats(ctx context.Context) (query.Stats, error)
	Digests(ctx context.Context) (query.Digests, error)
}

// ImportOptions shape an import. The zero value, and nil, are good.
type ImportOptions struct {
	// WithoutHistory lets an import begin that leaves out changes of attributes with
	// history. Without it an export that has some is refused.
	WithoutHistory bool
	// Progress, if not nil, is called from the caller's goroutine with the lines sent so far.
	Progress func(lines uint64, what string)

	chunkLines int // fewer than chunkRows, for tests; 0: as many
}

// Imported says what an import did.
type Imported struct {
	Header
	Lines    map[string]uint64 // of each section
	Content  [16]byte          // the content digest of the new store, which is that of the export
	Repeated bool              // all of it had been imported before
	Left     []string          // rules of the schema that the data itself breaks: they are not in the new store
}

// Import makes a store, which must be new, of an export. What it writes are ordinary batches
// with a source: an import that was ended anywhere is resumed by doing it again, and nothing
// is written twice. At the end it compares the content digest of the store with that of the
// export, and fails if it is another.
func Import(ctx context.Context, s Store, r *Reader, o *ImportOptions) (Imported, error) {
	m := &importer{ctx: ctx, store: s, out: Imported{Lines: map[string]uint64{}}, seen: map[string]Section{}}
	if o != nil {
		m.o = *o
	}
	m.o.chunkLines = cmp.Or(m.o.chunkLines, chunkRows)
	for {
		l, err := r.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = m.section(l)
		}
		if err != nil {
			_ = m.settle(0) // the first error tells
			return m.out, err
		}
	}
	if m.manifest == nil {
		return m.out, damaged(secManifest, 0, "it is missing: the export is not complete")
	}
	return m.out, m.finish()
}

// importer is one call of Import.
type importer struct {
	ctx   context.Context
	store Store
	o     ImportOptions
	out   Imported
	seen  map[string]Section

	definitions *quality.Definitions
	names       []*nameLine
	manifest    *Manifest
	last        int // the place of the section at hand

	source  string
	started bool   // the first batch is sent
	begun   bool   // the schema is there
	number  uint64 // of chunks so far
	maker   *maker
	sent    []func() (batch.Result, error)
	rows    uint64
}

// section reads one section.
func (m *importer) section(l *lines) error {
	at := slices.Index(sections(), l.section)
	if at < m.last || m.out.Format == 0 && l.section != secExport {
		return l.damaged("it is not in its place")
	}
	m.last = at + 1
	var err error
	switch l.section {
	case secExport:
		err = m.header(l)
	case secSchema:
		err = m.schema(l)
	case secHistory:
		err = m.history(l)
	case secIncomplete, secProfiles, secLists, secEvents:
		err = m.data(l)
	case secNames:
		err = m.readNames(l)
	case secQuarantine:
		err = l.each(func([]byte) error { return nil })
	case secManifest:
		return m.readManifest(l)
	}
	if err != nil {
		return err
	}
	m.seen[l.section] = l.end()
	m.out.Lines[l.section] = m.seen[l.section].Lines
	return nil
}

// each calls f with every line to the end of the section.
func (l *lines) each(f func(line []byte) error) error {
	for {
		line, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return err
		}
	}
}

func (m *importer) header(l *lines) error {
	err := l.each(func(line []byte) error {
		if m.out.Format != 0 {
			return l.damaged("there is more than one line")
		}
		if err := l.decode(line, &m.out.Header); err != nil {
			return err
		}
		return checkFormat(m.out.Format)
	})
	m.source = fmt.Sprintf("import %d %s %s %s", importVersion, m.out.Store, m.out.Position, m.out.Exported)
	return cmp.Or(err, checkFormat(m.out.Format))
}

func (m *importer) schema(l *lines) error {
	text, err := l.text()
	if err != nil {
		return err
	}
	if m.definitions, err = quality.ReadDefinitions(bytes.NewReader(text)); err != nil {
		return l.damaged("%v", err)
	}
	return nil
}

// history reads the changes, which no batch can write again.
func (m *importer) history(l *lines) error {
	return l.each(func([]byte) error {
		if m.o.WithoutHistory {
			return nil
		}
		e := query.Errorf(query.CodeInvalid, "the export has changes of attributes with history, which an import cannot write again")
		e.Hint = "with --without-history they are left out: the new store has the values as they are, and keeps their changes from now on"
		return e
	})
}

func (m *importer) readNames(l *lines) error {
	return l.each(func(line []byte) error {
		n := new(nameLine)
		if err := l.decode(line, n); err != nil {
			return err
		}
		if (n.Segment == "") == (n.Definition == "") {
			return l.damaged("it names neither a segment nor a definition, or both")
		}
		m.names = append(m.names, n)
		return nil
	})
}

// readManifest compares what was read with what was written.
func (m *importer) readManifest(l *lines) error {
	err := l.each(func(line []byte) error {
		if m.manifest != nil {
			return l.damaged("there is more than one line")
		}
		m.manifest = new(Manifest)
		if err := l.decode(line, m.manifest); err != nil {
			return err
		}
		if again, err := json.Marshal(m.manifest); err != nil || !bytes.Equal(again, line) { // nothing vouches for this line
			return l.damaged("it is not as it was written")
		}
		return nil
	})
	if err != nil || m.manifest == nil {
		return err
	}
	if err := checkFormat(m.manifest.Format); err != nil {
		return err
	}
	if m.manifest.Store != m.out.Store || m.manifest.Position != m.out.Position {
		return l.damaged("it is that of another export, of store %s at %s", m.manifest.Store, m.manifest.Position)
	}
	for _, name := range sections() {
		if want, got := m.manifest.Sections[name], m.seen[name]; want != got && name != secManifest {
			return damaged(name, 0, "it has %d lines and %d bytes with the SHA-256 %.12s, the manifest says %d and %d with %.12s",
				got.Lines, got.Bytes, got.SHA256, want.Lines, want.Bytes, want.SHA256)
		}
	}
	return nil
}

// finish verifies the content, and gives the store what only then can be: names, and the
// rules of the schema that an import must not apply to what is old.
func (m *importer) finish() error {
	if m.definitions == nil || !m.begun {
		return damaged(secManifest, 0, "there is no schema, or nobody")
	}
	if err := m.settle(0); err != nil {
		return err
	}
	done := m.begin(2, 1)
	done.Tick()
	mark, err := done.Encode()
	if err != nil {
		return err
	}
	// A finished import is not looked at again: the store may have been written to since.
	first, err := m.store.DryRun(m.ctx, mark)
	if err != nil || first.Repeated {
		m.out.Repeated = first.Repeated
		return err
	}
	if err := m.verify(); err != nil {
		return err
	}
	if err := m.name(); err != nil {
		return err
	}
	if err := m.complete(); err != nil {
		return err
	}
	_, err = m.store.Apply(m.ctx, mark)
	return err
}

func (m *importer) verify() error {
	m.progress("comparing the digests")
	d, err := m.store.Digests(m.ctx)
	if err != nil {
		return err
	}
	m.out.Content = d.Content
	if got := hex.EncodeToString(d.Content[:]); got != m.manifest.Content {
		e := query.Errorf(query.CodeCorrupt, "the content digest of the new store is %s, that of the export %s", got, m.manifest.Content)
		e.Hint = "do not use the new store; import once more into an empty one, and if it is the same again, keep the old store and report this"
		return e
	}
	return nil
}

func (m *importer) progress(what string) {
	if m.o.Progress != nil {
		m.o.Progress(m.rows, what)
	}
}

// begin starts a batch of the import.
func (m *importer) begin(run, sequence uint64) *batch.Builder {
	b := batch.New()
	b.Source(m.source, run, sequence)
	b.Strict(true)
	return b
}
