package portable

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// changesAtATime is how many schema changes go into one batch.
const changesAtATime = 500

// adds returns the changes that make the schema as it is while data is imported: without
// what would keep out what is old, or would take effect too early. Properties are required,
// days forgotten and changes kept only in the end (see complete). Ids are given again, so
// additions stand in their order.
func (m *importer) adds() []schema.Change {
	var out []schema.Change
	for _, a := range m.definitions.Attributes {
		a.History = false
		out = append(out, schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a, ID: m.out.IDs.Attributes[a.Name]})
	}
	for i := range m.definitions.Events {
		e := &m.definitions.Events[i]
		out = append(out, schema.Change{Op: schema.AddEvent, Event: e.Name, Class: e.Class, ID: m.out.IDs.Events[e.Name]})
		for _, p := range e.Properties {
			p.Required = false
			out = append(out, schema.Change{Op: schema.AddProperty, Event: e.Name, Name: p.Name, Attribute: p, ID: m.out.IDs.Properties[e.Name][p.Name]})
		}
	}
	slices.SortStableFunc(out, func(a, b schema.Change) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// start sends the first batch, which marks the store as that of this import. A store that
// has something must have it.
func (m *importer) start() error {
	if m.started {
		return nil
	}
	m.started = true
	if m.definitions == nil {
		return damaged(secSchema, 0, "it is missing")
	}
	m.maker = newMaker(m.definitions)
	b := m.begin(1, m.nextSequence())
	b.Tick()
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	st, err := m.store.Stats(m.ctx)
	if err != nil {
		return err
	}
	if st.Position.Applied > 0 {
		if err := m.mine(raw); err != nil {
			return err
		}
	}
	return m.send(raw)
}

// open applies the schema.
func (m *importer) open() error {
	m.begun = true
	for changes := m.adds(); len(changes) > 0; {
		b := m.begin(1, m.nextSequence())
		n := min(len(changes), changesAtATime)
		for _, c := range changes[:n] {
			b.Change(c)
		}
		changes = changes[n:]
		raw, err := b.Encode()
		if err != nil {
			return err
		}
		if err := m.send(raw); err != nil {
			return err
		}
	}
	return nil
}

// schemaNow returns the schema when all that was sent has been applied.
func (m *importer) schemaNow() (*schema.Schema, error) {
	if err := m.settle(0); err != nil {
		return nil, err
	}
	return m.store.Schema(m.ctx)
}

// mine fails if the first batch of this import is not in a store that has something.
func (m *importer) mine(first batch.Batch) error {
	res, err := m.store.DryRun(m.ctx, first)
	var q *query.Error
	if err == nil && res.Repeated || errors.As(err, &q) && q.Code == query.CodeStaleSequence {
		return nil
	}
	e := query.Errorf(query.CodeConflict, "the store is not new, and what it has is not of this export")
	e.Hint = "an import makes a new store: name another directory with --db"
	return e
}

// name saves segments, computed attributes and definitions. Which names which is for the
// store to say: what it does not take yet waits until others are there.
func (m *importer) name() error {
	type item struct {
		what string
		add  func(b *batch.Builder)
	}
	var left []item
	s, err := m.schemaNow()
	if err != nil {
		return err
	}
	for _, c := range m.definitions.Computed {
		if s.LookupComputed(c.Name) == nil {
			left = append(left, item{fmt.Sprintf("computed attribute %q", c.Name), func(b *batch.Builder) {
				b.Change(schema.Change{Op: schema.AddComputed, Name: c.Name, Text: c.Text})
			}})
		}
	}
	for _, n := range m.names {
		if n.Segment != "" {
			left = append(left, item{fmt.Sprintf("segment %q", n.Segment), func(b *batch.Builder) {
				b.SaveSegment(n.Segment, n.Text)
				if n.Shared {
					b.ShareSegment(n.Segment)
				}
			}})
			continue
		}
		left = append(left, item{fmt.Sprintf("definition %s(%q)", n.Analysis, n.Definition), func(b *batch.Builder) {
			b.SaveDefinition(&batch.Definition{Analysis: n.Analysis, Name: n.Definition, Who: n.Who, Arguments: n.Arguments})
		}})
	}
	for len(left) > 0 {
		m.progress("names")
		var waiting []item
		var first error
		for _, it := range left {
			b := batch.New()
			it.add(b)
			err := m.applyOne(b)
			if q := (*query.Error)(nil); err != nil && (!errors.As(err, &q) || m.ctx.Err() != nil) {
				return fmt.Errorf("%s: %w", it.what, err)
			}
			if err != nil {
				waiting = append(waiting, it)
				first = cmp.Or(first, fmt.Errorf("%s: %w", it.what, err))
			}
		}
		if len(waiting) == len(left) {
			return first
		}
		left = waiting
	}
	return nil
}

// applyOne applies a batch that may be refused.
func (m *importer) applyOne(b *batch.Builder) error {
	raw, err := b.Encode()
	if err == nil {
		_, err = m.store.Apply(m.ctx, raw)
	}
	return err
}

// complete brings the schema to what was exported. A rule that the old data breaks, such as
// a property that became required when there were events without it, cannot be made again.
func (m *importer) complete() error {
	s, err := m.schemaNow()
	if err != nil {
		return err
	}
	want := &quality.Definitions{Attributes: m.definitions.Attributes, Events: m.definitions.Events}
	changes, err := want.Diff(s)
	if err != nil {
		return err
	}
	for _, c := range changes {
		b := batch.New()
		b.Change(c)
		err := m.applyOne(b)
		if q := (*query.Error)(nil); errors.As(err, &q) && q.Code == query.CodeConflict && c.Op == schema.NarrowProperty {
			m.out.Left = append(m.out.Left, fmt.Sprintf("%s: %s", c.Op, q.Message))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
