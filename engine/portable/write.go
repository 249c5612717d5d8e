package portable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Writer writes an export, section by section in their order. It belongs to one goroutine.
// The first error ends the export.
type Writer struct {
	create   func(section string) (io.WriteCloser, error)
	manifest Manifest
	name     string
	out      io.WriteCloser
	sum      hash.Hash
	section  Section
	line     []byte
}

// NewWriter begins an export with its header and the schema. create is called for each
// section; what it returns is closed before the next one.
func NewWriter(create func(section string) (io.WriteCloser, error), h Header, s *schema.Schema) (*Writer, error) {
	h.Format, h.IDs = version, IDsOf(s)
	w := &Writer{create: create, manifest: Manifest{Format: version, Store: h.Store, Position: h.Position, Sections: map[string]Section{}}}
	if err := w.begin(secExport); err != nil {
		return nil, err
	}
	if err := w.json(h); err != nil {
		return nil, err
	}
	if err := w.begin(secSchema); err != nil {
		return nil, err
	}
	return w, quality.WriteSchemaFile(w, s)
}

// begin ends the section at hand and begins another.
func (w *Writer) begin(section string) error {
	if err := w.end(); err != nil {
		return err
	}
	out, err := w.create(section)
	w.name, w.out, w.sum, w.section = section, out, newSum(), Section{}
	return err
}

func newSum() hash.Hash { return sha256.New() }

func (w *Writer) end() error {
	if w.out == nil {
		return nil
	}
	w.section.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if w.name != secManifest {
		w.manifest.Sections[w.name] = w.section
	}
	out := w.out
	w.out = nil
	return out.Close()
}

// Close ends an export that is not finished; of one that is, nothing is left to do.
func (w *Writer) Close() error { return w.end() }

// Write writes a part of the section: the schema file.
func (w *Writer) Write(b []byte) (int, error) {
	w.section.Bytes += uint64(len(b))
	w.sum.Write(b)
	for _, c := range b {
		if c == '\n' {
			w.section.Lines++
		}
	}
	return w.out.Write(b)
}

// write writes w.line as a line.
func (w *Writer) write() error {
	w.line = append(w.line, '\n')
	w.section.Bytes += uint64(len(w.line))
	w.section.Lines++
	w.sum.Write(w.line)
	_, err := w.out.Write(w.line)
	return err
}

func (w *Writer) json(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return query.Errorf(query.CodeInternal, "a line of the export: %w", err)
	}
	w.line = append(w.line[:0], bytes.TrimSuffix(b.Bytes(), []byte{'\n'})...)
	return w.write()
}

// in sees to it that the section is this one.
func (w *Writer) in(section string) error {
	if w.name == section {
		return nil
	}
	return w.begin(section)
}

// Section begins a section, which may stay empty.
func (w *Writer) Section(name string) error { return w.in(name) }

// start begins a line with a member.
func (w *Writer) start(name, value string) {
	w.line = append(append(w.line[:0], `{"`...), name...)
	w.line = AppendString(append(w.line, `":`...), value)
}

func (w *Writer) member(name, value string) {
	w.line = append(append(append(w.line, `,"`...), name...), `":`...)
	w.line = AppendString(w.line, value)
}

// Change writes a change of an attribute with history.
func (w *Writer) Change(key string, a *schema.Attribute, at, record int64, before schema.Value) error {
	if err := w.in(secHistory); err != nil {
		return err
	}
	w.start("key", key)
	w.member("attribute", a.Name)
	w.member("time", schema.TimestampValue(at).String())
	w.line = strconv.AppendInt(append(w.line, `,"record":`...), record, 10)
	if !before.IsAbsent() {
		w.line = AppendValue(append(w.line, `,"before":`...), before)
	}
	w.line = append(w.line, '}')
	return w.write()
}

// Incomplete writes the key of a person who lacks a required value.
func (w *Writer) Incomplete(key string) error {
	if err := w.in(secIncomplete); err != nil {
		return err
	}
	w.start("key", key)
	w.line = append(w.line, '}')
	return w.write()
}

// Profile writes a person. values stand in the order of attributes.
func (w *Writer) Profile(key string, attributes []schema.Attribute, values []schema.Value) error {
	if err := w.in(secProfiles); err != nil {
		return err
	}
	begin := func() {
		w.start("key", key)
		w.line = append(w.line, `,"values":{`...)
	}
	first := true
	next := func(name string) error { // begins a value, on another line if this one is long
		if len(w.line) > profilePart {
			w.line = append(w.line, '}', '}')
			if err := w.write(); err != nil {
				return err
			}
			begin()
			first = true
		}
		if !first {
			w.line = append(w.line, ',')
		}
		first = false
		w.line = append(AppendString(w.line, name), ':')
		return nil
	}
	begin()
	for i, v := range values {
		if v.IsAbsent() || v.Kind() == schema.Set && len(v.Elements()) == 0 {
			continue
		}
		if err := next(attributes[i].Name); err != nil {
			return err
		}
		if v.Kind() != schema.Set {
			w.line = AppendValue(w.line, v)
			continue
		}
		if err := w.elements(attributes[i].Name, v.Elements(), next); err != nil {
			return err
		}
	}
	w.line = append(w.line, '}', '}')
	return w.write()
}

// elements writes a set, in several lines if it is large.
func (w *Writer) elements(name string, elements []string, next func(name string) error) error {
	w.line = append(w.line, '[')
	for i, e := range elements {
		if i > 0 && len(w.line) > profilePart {
			w.line = append(w.line, ']')
			if err := next(name); err != nil {
				return err
			}
			w.line = append(w.line, '[')
		} else if i > 0 {
			w.line = append(w.line, ',')
		}
		w.line = AppendString(w.line, e)
	}
	w.line = append(w.line, ']')
	return nil
}

// List writes some of the people of a list, and where it comes from.
func (w *Writer) List(name, note string, keys []string) error {
	if err := w.in(secLists); err != nil {
		return err
	}
	w.start("list", name)
	if note != "" {
		w.member("note", note)
	}
	w.line = append(w.line, `,"keys":[`...)
	for i, k := range keys {
		if i > 0 {
			w.line = append(w.line, ',')
		}
		w.line = AppendString(w.line, k)
	}
	w.line = append(w.line, ']', '}')
	return w.write()
}

// ListPart is how many keys a line of a list should have.
const ListPart = listPart

// Event writes an event. value returns that of a property.
func (w *Writer) Event(key []byte, e *schema.Event, at int64, value func(k int) (schema.Value, error)) error {
	if err := w.in(secEvents); err != nil {
		return err
	}
	w.line = AppendString(append(w.line[:0], `{"key":`...), key)
	w.member("event", e.Name)
	w.member("time", schema.TimestampValue(at).String())
	w.line = append(w.line, `,"values":{`...)
	first := true
	for k := range e.Properties {
		v, err := value(k)
		if err != nil {
			return err
		}
		if v.IsAbsent() || v.Kind() == schema.Set && len(v.Elements()) == 0 {
			continue
		}
		if !first {
			w.line = append(w.line, ',')
		}
		first = false
		w.line = AppendValue(append(AppendString(w.line, e.Properties[k].Name), ':'), v)
	}
	w.line = append(w.line, '}', '}')
	return w.write()
}

// Segment writes a saved segment, with its name, its text and whether it is shared.
func (w *Writer) Segment(s *query.SavedSegment) error {
	if err := w.in(secNames); err != nil {
		return err
	}
	return w.json(nameLine{Segment: s.Name, Text: s.Text, Shared: s.Shared})
}

// Definition writes a saved analysis.
func (w *Writer) Definition(d *query.SavedDefinition) error {
	if err := w.in(secNames); err != nil {
		return err
	}
	return w.json(nameLine{Definition: d.Name, Analysis: d.Analysis, Who: d.Who, Arguments: d.Arguments})
}

// Quarantined writes a row of the quarantine.
func (w *Writer) Quarantined(r *query.QuarantinedRow) error {
	if err := w.in(secQuarantine); err != nil {
		return err
	}
	return w.json(quarantineLine{r.Source, r.Line, r.Reason, r.Detail, r.Raw, r.Received.UTC().Format(time.RFC3339Nano)})
}

// Finish ends the export with its manifest.
func (w *Writer) Finish(content [16]byte) (Manifest, error) {
	if err := w.begin(secManifest); err != nil {
		return w.manifest, err
	}
	w.manifest.Content = hex.EncodeToString(content[:])
	if err := w.json(w.manifest); err != nil {
		return w.manifest, err
	}
	return w.manifest, w.end()
}
