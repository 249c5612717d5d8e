package quality

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// loadPart is a batch made from rows of a chunk.
type loadPart struct {
	loaded Loaded
	bad    []batch.BadRow
}

// loadWorker makes batches from chunks. It belongs to one goroutine.
type loadWorker struct {
	o         *LoadOptions
	separator []byte
	builder   *batch.Builder
	plan      *loadPlan // of table or events
	table     *batch.Table
	events    *batch.EventTable

	typed    []typedCell // of the row at hand
	elements [][]byte    // of its sets
	id       []byte      // scratch
	bad      []batch.BadRow
}

// typedCell is a good cell of a row, to be given to the table when all are good.
type typedCell struct {
	column int // of the table
	unset  bool
	attr   *schema.Attribute
	number int64  // ordered kinds
	text   []byte // strings
	from   int    // sets: the place of its elements
	to     int
}

// problem says why a row is not typed; the zero problem: it is.
type problem struct {
	reason batch.Reason
	detail string
}

// unknown reports whether the schema does not have what the row has.
func (p problem) unknown() bool {
	return p.reason == batch.ReasonUnknownColumn || p.reason == batch.ReasonUnknownEvent || p.reason == batch.ReasonUnknownProperty
}

func newLoadWorker(o *LoadOptions) *loadWorker {
	return &loadWorker{o: o, separator: []byte(o.SetSeparator), builder: batch.New()}
}

// do makes the batches of a job's chunk: one, if it fits.
func (w *loadWorker) do(job *loadJob) error {
	job.parts, job.hashes = job.parts[:0], job.hashes[:0]
	if c := &job.chunk; w.plan != c.plan {
		w.plan = c.plan
		if c.plan.events != nil {
			w.events = w.builder.Events(c.plan.table)
			w.events.IDSource(w.o.Events.IDSource)
		} else {
			w.table = w.builder.Table(c.plan.table)
		}
	}
	return w.encode(job, 0, len(job.chunk.rows), "")
}

// encode makes the batch of some rows, or several when it would be too large: how rows
// compress is not known before. refused says why a single row is not to be typed.
func (w *loadWorker) encode(job *loadJob, from, to int, refused string) error {
	c, hashes := &job.chunk, len(job.hashes)
	sequence := c.first + uint64(from)
	w.builder.Reset()
	w.bad = nil
	if w.o.Source != "" {
		w.builder.Source(w.o.Source, w.o.Run, sequence)
	}
	for i := from; i < to; i++ {
		p := problem{batch.ReasonTooLong, refused}
		if refused == "" {
			p = w.row(job, i)
		}
		if p.reason != batch.ReasonNone {
			r := &c.rows[i]
			if w.o.Unknown == RefuseUnknown && p.unknown() {
				err := query.Errorf(query.CodeUnknownName, "%s, %s %d: %s", w.o.File, c.plan.place, r.line, p.detail)
				err.Hint = "add it to the schema, or correct the name"
				return err
			}
			w.bad = append(w.bad, batch.BadRow{Line: uint64(r.line), Reason: p.reason, Detail: p.detail, Raw: string(c.text[r.raw.start:min(r.raw.end, r.raw.start+maxRaw)])})
		}
	}
	part := loadPart{bad: w.bad, loaded: Loaded{Sequence: sequence, Rows: to - from, Quarantined: len(w.bad),
		FirstLine: c.rows[from].line, LastLine: c.rows[to-1].line, Offset: c.rows[to-1].offset}}
	if c.first+uint64(len(c.rows)) > w.o.FromSequence {
		w.builder.Quarantine(w.o.File, w.bad...)
		encoded, err := w.builder.Encode()
		switch limit := (*query.Error)(nil); {
		case errors.As(err, &limit) && limit.Code == query.CodeLimit && refused == "":
			job.hashes = job.hashes[:hashes]
			return w.split(job, from, to, limit.Message)
		case err != nil:
			return fmt.Errorf("%s, %s %d: %w", w.o.File, c.plan.place, c.rows[from].line, err)
		}
		part.loaded.Batch = encoded
	}
	job.parts = append(job.parts, part)
	return nil
}

// split encodes rows that do not fit into one batch as two, or quarantines the one row.
func (w *loadWorker) split(job *loadJob, from, to int, why string) error {
	if to-from == 1 {
		return w.encode(job, from, to, "the row does not fit into a batch: "+why)
	}
	middle := from + (to-from)/2
	if err := w.encode(job, from, middle, ""); err != nil {
		return err
	}
	return w.encode(job, middle, to, "")
}

// row types row i of the chunk and adds it to the table if all of it is good.
func (w *loadWorker) row(job *loadJob, i int) problem {
	c := &job.chunk
	r := &c.rows[i]
	if r.bad != nil {
		return problem{r.bad.Reason, r.bad.Detail}
	}
	first := uint32(0)
	if i > 0 {
		first = c.rows[i-1].cells
	}
	cells := c.cells[first:r.cells]
	plain := isASCII(c.text[r.raw.start:r.end]) // and so all cells are in NFC
	key := c.cell(cells[0], plain)
	switch {
	case len(key) == 0:
		return problem{batch.ReasonNoKey, fmt.Sprintf("%s: the key is missing", w.o.Key)}
	case len(key) > batch.MaxKeyBytes:
		return problem{batch.ReasonTooLong, fmt.Sprintf("%s: a key of %d bytes; it has at most %d", w.o.Key, len(key), batch.MaxKeyBytes)}
	}
	if w.plan.events != nil {
		if p := w.event(c, i, key, cells, plain); p.reason != batch.ReasonNone {
			return p
		}
	} else {
		if p := w.values(c, cells, plain, 0); p.reason != batch.ReasonNone {
			return p
		}
		w.table.Row(key)
		w.put(w.table)
		job.hashes = append(job.hashes, xxhash.Sum64(key))
	}
	w.builder.Origin(w.o.File, uint64(r.line))
	return problem{}
}

// values types the attributes of a row, or the properties of event type of.
func (w *loadWorker) values(c *loadChunk, cells []span, plain bool, of int) problem {
	w.typed, w.elements = w.typed[:0], w.elements[:0]
	for j := w.plan.first(); j < len(cells); j++ {
		f := &w.plan.fields[j]
		v := &f.values[of]
		switch s := cells[j]; {
		case s == absent:
		case s.start == s.end:
			if w.o.EmptyUnsets && !f.alien {
				w.typed = append(w.typed, typedCell{column: v.column, unset: true, attr: v.rules.attr})
			}
		case v.rules.attr != nil:
			if p := w.cell(v, c.cell(s, plain)); p.reason != batch.ReasonNone {
				return p
			}
		case f.alien && w.plan.events == nil:
			return problem{batch.ReasonUnknownColumn, unknownAttribute(f.name)}
		case !f.also:
			return problem{batch.ReasonUnknownProperty, unknownProperty(&w.plan.events.list[of], f.name)}
		}
	}
	return problem{}
}

// rowTable takes the cells of a row: a table of profiles or of events.
type rowTable interface {
	Int(column int, ordered int64)
	Str(column int, s []byte)
	Elems(column int, elements [][]byte)
}

// put gives the typed cells to the row that was started last.
func (w *loadWorker) put(to rowTable) {
	for i := range w.typed {
		switch t := &w.typed[i]; {
		case t.unset:
			w.table.Unset(t.column) // events unset nothing
		case t.attr.Kind == schema.String:
			to.Str(t.column, t.text)
		case t.attr.Kind == schema.Set:
			to.Elems(t.column, w.elements[t.from:t.to])
		default:
			to.Int(t.column, t.number)
		}
	}
}

// cell returns the text of a cell in NFC. plain says that it is.
func (c *loadChunk) cell(s span, plain bool) []byte {
	if s.start >= s.end {
		return nil
	}
	text := c.text[s.start:s.end:s.end]
	if plain || isASCII(text) || norm.NFC.IsNormal(text) {
		return text
	}
	return norm.NFC.Bytes(text)
}

// cell types a text that is not empty.
func (w *loadWorker) cell(f *loadValue, text []byte) problem {
	a := f.rules.attr
	t := typedCell{column: f.column, attr: a}
	switch {
	case a.Kind == schema.String:
		t.text = text
		if len(text) > schema.MaxStringBytes {
			return f.unparsed(text, schema.TooLong)
		}
		if f.checked {
			if reason, detail := f.rules.text(text); reason != batch.ReasonNone {
				return problem{reason, detail}
			}
		}
	case a.Kind == schema.Set:
		t.from = len(w.elements)
		if p := w.set(f, text); p.reason != batch.ReasonNone {
			return p
		}
		t.to = len(w.elements)
	default:
		n, err := schema.ParseOrdered(a.Kind, a.Scale, text, w.o.Zone)
		if err != nil {
			return f.unparsed(text, err)
		}
		if f.checked {
			if p := f.rules.number(n); p.reason != batch.ReasonNone {
				return p
			}
		}
		t.number = n
	}
	w.typed = append(w.typed, t)
	return problem{}
}

// set cuts a text into w.elements, as schema.ParseSet does.
func (w *loadWorker) set(f *loadValue, text []byte) problem {
	all := text
	before := len(w.elements)
	for len(text) > 0 {
		element := text
		if i := bytes.Index(text, w.separator); i >= 0 {
			element, text = text[:i], text[i+len(w.separator):]
		} else {
			text = nil
		}
		if len(element) == 0 {
			continue
		}
		if len(element) > schema.MaxStringBytes {
			return f.unparsed(all, schema.TooLong)
		}
		w.elements = append(w.elements, element)
	}
	if len(w.elements)-before > schema.MaxSetElements { // fewer, if some come twice
		if _, err := schema.ParseSet(string(all), string(w.separator)); err != nil {
			return f.unparsed(all, err)
		}
	}
	if f.checked {
		for _, element := range w.elements[before:] {
			if reason, detail := f.rules.text(element); reason != batch.ReasonNone {
				return problem{reason, detail}
			}
		}
	}
	return problem{}
}

// unparsed says why a text is no value of the attribute's kind.
func (f *loadValue) unparsed(text []byte, err error) problem {
	return unparsed(f.rules.detail("%s: %v", f.rules.show(string(text)), err), err)
}

func unparsed(detail string, err error) problem {
	var e schema.ValueError
	errors.As(err, &e)
	switch e {
	case schema.OutOfRange:
		return problem{batch.ReasonOutOfRange, detail}
	case schema.TooLong:
		return problem{batch.ReasonTooLong, detail}
	case schema.TooMany:
		return problem{batch.ReasonTooMany, detail}
	case schema.NotUTF8:
		return problem{batch.ReasonEncoding, detail}
	}
	return problem{batch.ReasonBadValue, detail}
}

// number checks a value of an ordered kind, given in its ordered form. Its words are
// those of CheckAt.
func (r *rules) number(n int64) problem {
	if n >= r.lo && n <= r.hi && (r.ints == nil || contains(r.ints, n)) {
		return problem{}
	}
	shown := schema.FromOrdered(r.attr.Kind, r.attr.Scale, n).String()
	if r.attr.PII {
		shown = "the value"
	}
	switch {
	case n < r.lo:
		return problem{batch.ReasonOutOfRange, r.detail("%s is below the minimum %s", shown, r.attr.Min)}
	case n > r.hi:
		return problem{batch.ReasonOutOfRange, r.detail("%s is above the maximum %s", shown, r.attr.Max)}
	}
	return problem{batch.ReasonNotAllowed, r.detail("%s is not an allowed value", shown)}
}

// isASCII reports whether b is ASCII.
func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
