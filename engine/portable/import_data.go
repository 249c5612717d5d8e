package portable

import (
	"errors"
	"fmt"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of an import.
const (
	chunkRows  = 8192      // lines of a batch
	chunkBytes = 320 << 10 // of their text: their batch is hardly ever over its limits
	underWay   = 4         // batches on their way at a time
	partBits   = 14        // a chunk may become as many batches as it has lines
)

// data reads a section of rows and sends them.
func (m *importer) data(l *lines) error {
	if err := m.start(); err != nil {
		return err
	}
	if l.section != secIncomplete && !m.begun {
		if err := m.open(); err != nil {
			return err
		}
	}
	c := &chunk{section: l.section, first: l.seen.Lines + 1}
	err := l.each(func(line []byte) error {
		if canary.Is("import") && l.section == secEvents { // a kind of line is dropped
			return nil
		}
		if len(c.ends) > 0 && (len(c.text)+len(line) > chunkBytes || len(c.ends) == m.o.chunkLines) {
			if err := m.cut(c); err != nil {
				return err
			}
			c.first = l.seen.Lines
		}
		c.text = append(c.text, line...)
		c.ends = append(c.ends, len(c.text))
		return nil
	})
	if err == nil && len(c.ends) > 0 {
		err = m.cut(c)
	}
	return err
}

// chunk is some lines of a section.
type chunk struct {
	section string
	first   uint64 // the number of the first
	text    []byte
	ends    []int
}

func (c *chunk) line(i int) []byte {
	from := 0
	if i > 0 {
		from = c.ends[i-1]
	}
	return c.text[from:c.ends[i]]
}

// cut sends the lines of a chunk and empties it.
func (m *importer) cut(c *chunk) error {
	sequence := m.nextSequence()
	err := m.maker.encode(c, 0, len(c.ends), func(part int, fill func(b *batch.Builder) error) (batch.Batch, error) {
		b := m.maker.b
		b.Reset()
		b.Source(m.source, 1, sequence+uint64(part))
		b.Strict(true)
		if err := fill(b); err != nil {
			return nil, err
		}
		return b.Encode()
	}, m.send)
	m.rows += uint64(len(c.ends))
	c.text, c.ends = c.text[:0], c.ends[:0]
	m.progress(c.section)
	return err
}

// nextSequence returns the first sequence of the next chunk. The sequences are a function of
// the export, so that a batch has the same when the import is done again.
func (m *importer) nextSequence() uint64 {
	m.number++
	return m.number << partBits
}

// send submits a batch.
func (m *importer) send(raw batch.Batch) error {
	wait, err := m.store.Submit(m.ctx, raw)
	if err != nil {
		return err
	}
	m.sent = append(m.sent, wait)
	return m.settle(underWay - 1)
}

// settle waits until at most n batches are under way. What the store says is too old to
// be remembered was applied before what it remembers: batches are applied in order.
func (m *importer) settle(n int) (first error) {
	for len(m.sent) > n {
		_, err := m.sent[0]()
		m.sent = m.sent[1:]
		if q := (*query.Error)(nil); errors.As(err, &q) && q.Code == query.CodeStaleSequence {
			continue
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// maker makes batches of lines.
type maker struct {
	b        *batch.Builder
	profiles *batch.Table
	columns  map[string]place // of attributes
	events   *batch.EventTable
	props    map[string]map[string]place // by event type and name
}

// place is the column of a table that an attribute or a property has.
type place struct {
	column int
	of     *schema.Attribute
}

// newMaker makes the columns. Elements of sets are added, for a person's lines may have some each.
func newMaker(d *quality.Definitions) *maker {
	m := &maker{b: batch.New(), columns: map[string]place{}, props: map[string]map[string]place{}}
	var columns []batch.Column
	for i := range d.Attributes {
		a := &d.Attributes[i]
		c := batch.Column{Name: a.Name, Kind: a.Kind, Scale: a.Scale}
		if a.Kind == schema.Set {
			c.Verb = batch.VerbAdd
		}
		m.columns[a.Name] = place{len(columns), a}
		columns = append(columns, c)
	}
	m.profiles = m.b.Table(columns)
	var properties []batch.Column
	at := map[batch.Column]int{}
	for i := range d.Events {
		e := &d.Events[i]
		m.props[e.Name] = map[string]place{}
		for j := range e.Properties {
			p := &e.Properties[j]
			c := batch.Column{Name: p.Name, Kind: p.Kind, Scale: p.Scale}
			if _, ok := at[c]; !ok {
				at[c] = len(properties)
				properties = append(properties, c)
			}
			m.props[e.Name][p.Name] = place{at[c], p}
		}
	}
	m.events = m.b.Events(properties)
	return m
}

// encode makes the batch of the lines of a chunk from one to another and hands it on, or
// those of each half if it would be too large.
func (m *maker) encode(c *chunk, from, to int, make func(part int, fill func(b *batch.Builder) error) (batch.Batch, error), send func(batch.Batch) error) error {
	raw, err := make(from, func(b *batch.Builder) error {
		for i := from; i < to; i++ {
			if err := m.add(b, c.section, c.line(i)); err != nil {
				return damaged(c.section, c.first+uint64(i), "%v", err)
			}
		}
		return nil
	})
	if q := (*query.Error)(nil); errors.As(err, &q) && q.Code == query.CodeLimit && to-from > 1 {
		half := from + (to-from)/2
		if err := m.encode(c, from, half, make, send); err != nil {
			return err
		}
		return m.encode(c, half, to, make, send)
	}
	if err != nil {
		return err
	}
	return send(raw)
}

// add adds a line to a batch.
func (m *maker) add(b *batch.Builder, section string, line []byte) error {
	switch section {
	case secIncomplete, secProfiles:
		return m.addProfile(line)
	case secLists:
		var of listLine
		if err := decode(line, &of); err != nil {
			return err
		}
		b.ListAdd(of.List, of.Keys...)
		if of.Note != "" {
			b.ListNote(of.List, of.Note)
		}
		return nil
	}
	return m.addEvent(line)
}

func (m *maker) addProfile(line []byte) error {
	var of profileLine
	if err := decode(line, &of); err != nil {
		return err
	}
	m.profiles.Row([]byte(of.Key))
	for name, raw := range of.Values {
		p, ok := m.columns[name]
		if !ok {
			return fmt.Errorf("there is no attribute %q in the schema", name)
		}
		if err := put(m.profiles, p, raw); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func (m *maker) addEvent(line []byte) error {
	var of eventLine
	if err := decode(line, &of); err != nil {
		return err
	}
	props, ok := m.props[of.Event]
	if !ok {
		return fmt.Errorf("there is no event %q in the schema", of.Event)
	}
	at, err := schema.ParseOrdered(schema.Timestamp, 0, []byte(of.Time), time.UTC)
	if err != nil {
		return fmt.Errorf("time %q: %w", of.Time, err)
	}
	m.events.Row([]byte(of.Key), []byte(of.Event), at)
	for name, raw := range of.Values {
		p, ok := props[name]
		if !ok {
			return fmt.Errorf("event %q has no property %q in the schema", of.Event, name)
		}
		if err := put(m.events, p, raw); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

// table is what cells are put into: of profiles, or of events.
type table interface {
	Int(col int, ordered int64)
	Str(col int, s []byte)
	Elems(col int, elems [][]byte)
}

// put puts a value into the row at hand.
func put(t table, p place, raw jsonMember) error {
	switch p.of.Kind {
	case schema.String:
		s, err := parseText(raw)
		if err != nil {
			return err
		}
		t.Str(p.column, []byte(s))
	case schema.Set:
		elements, err := parseSet(raw)
		if err != nil {
			return err
		}
		list := make([][]byte, len(elements))
		for i, e := range elements {
			list[i] = []byte(e)
		}
		t.Elems(p.column, list)
	default:
		n, err := parseOrdered(p.of, raw)
		if err != nil {
			return err
		}
		t.Int(p.column, n)
	}
	return nil
}
