package quality

import (
	"fmt"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
)

// InferEventsReport says what inference of event types saw.
type InferEventsReport struct {
	InferReport                 // Columns is empty
	Unnamed     int             // rows without a name that an event type can have
	Events      []InferredEvent // in order of their first rows
	Skipped     []string        // columns whose name no property can have
}

// InferredEvent says what was seen of one event type.
type InferredEvent struct {
	Event   schema.Event  // with its properties
	Rows    int           // of the type
	Columns []InferColumn // of the properties, in their order
}

// InferEvents reads up to limit rows (0: [InferRows]) of events and proposes their types, ready to be
// added to a schema. A column is a property of the event types in whose rows it has a text.
// The rules of [Infer] are applied to all rows; where they find no more than texts in a
// column, to the rows of each type. Where a JSON array became rows (see
// RowsOptions.Unnest), the column of the ids is a property too, so that what the rows have in
// common can be asked for.
//
// It fails when there is no column of a given name, when there are more event types than a
// schema can have, and as rows.Next does.
func InferEvents(rows Rows, key string, columns EventColumns, limit int) ([]schema.Event, *InferEventsReport, error) {
	s := eventSample{rows: rows, key: key, given: columns, types: map[string]int{}, report: &InferEventsReport{}}
	if err := s.report.read(rows, limit, s.row); err != nil {
		return nil, nil, err
	}
	names := rows.Columns()
	for _, c := range [...]struct{ name, what string }{{key, "for the key"}, {columns.Time, "for the time"}, {columns.Event, "for the event types"}, {columns.ID, "for the ids"}} {
		if c.name != "" {
			if err := hasColumn(names, c.name, c.what); err != nil {
				return nil, nil, err
			}
		}
	}
	s.conclude()
	var events []schema.Event
	for i := range s.report.Events {
		events = append(events, s.report.Events[i].Event)
	}
	return events, s.report, nil
}

// eventSample collects what is seen of events.
type eventSample struct {
	rows    Rows
	key     string
	given   EventColumns
	report  *InferEventsReport
	types   map[string]int // places in report.Events
	nested  []bool         // of each type: rows came from an array
	columns []sampledColumn
}

// sampledColumn is one column over all rows, and over those of each event type that fills it.
type sampledColumn struct {
	all *column
	of  map[int]*column
}

// row takes in one row.
func (s *eventSample) row(cells [][]byte, line int) error {
	names := s.rows.Columns()
	for i := len(s.columns); i < len(names); i++ {
		s.columns = append(s.columns, sampledColumn{newColumn(names[i], 0), map[int]*column{}})
	}
	name := s.given.Name
	for i := range cells {
		if names[i] == s.given.Event {
			name = norm.NFC.String(string(cells[i]))
		}
	}
	if schema.CheckName(name) != nil {
		s.report.Unnamed++
		return nil
	}
	of, known := s.types[name]
	if !known {
		of = len(s.types)
		if of == schema.MaxEvents {
			return fmt.Errorf("there are more than %d different event types in column %q: are they in another column?", schema.MaxEvents, s.given.Event)
		}
		s.types[name] = of
		s.report.Events = append(s.report.Events, InferredEvent{Event: schema.Event{Name: name}})
		s.nested = append(s.nested, false)
	}
	s.report.Events[of].Rows++
	if known, ok := s.rows.(knownRows); ok && known.place() > 0 {
		s.nested[of] = true
	}
	for i, cell := range cells {
		if len(cell) == 0 || s.fixed(names[i]) {
			continue
		}
		c := &s.columns[i]
		if c.of[of] == nil {
			c.of[of] = newColumn(names[i], 0)
		}
		c.all.add(cell, line)
		c.of[of].add(cell, line)
	}
	return nil
}

// fixed reports whether a column is what every event has.
func (s *eventSample) fixed(name string) bool {
	return name == s.key || name == s.given.Time || name == s.given.Event || name == s.given.ID
}

// conclude chooses the properties.
func (s *eventSample) conclude() {
	for i := range s.columns {
		c := &s.columns[i]
		probe := schema.Event{Name: "e", Properties: []schema.Attribute{{Name: c.all.name, Kind: schema.Int}}}
		if c.all.seen > 0 && probe.Validate() != nil {
			s.report.Skipped = append(s.report.Skipped, c.all.name)
			continue
		}
		said := declared(s.rows, i)
		whole := c.all.conclude(said)
		for of := range s.report.Events {
			if own := c.of[of]; own != nil {
				own.absent = s.report.Events[of].Rows - own.seen
				s.report.Events[of].add(c.property(own, whole, said))
			}
		}
	}
	for of, nested := range s.nested {
		if nested && s.given.ID != "" {
			s.report.Events[of].add(InferColumn{Attribute: schema.Attribute{Name: s.given.ID, Kind: schema.String, Storage: schema.StorageInline},
				Why: "it is what the objects of an array have in common"})
		}
	}
}

func (e *InferredEvent) add(c InferColumn) {
	e.Columns = append(e.Columns, c)
	e.Event.Properties = append(e.Event.Properties, c.Attribute)
}

// property chooses the property of an event type, of which own is the column.
func (c *sampledColumn) property(own *column, whole InferColumn, said schema.Attribute) InferColumn {
	out := own.conclude(said)
	if said.Kind.Ordered() {
		return out
	}
	if whole.Attribute.Kind == schema.String && out.Attribute.Kind != schema.String && !c.all.padded() {
		return out
	}
	if f, _, ok := c.all.form(); ok && whole.Attribute.Kind.Ordered() {
		own.take(&out, f)
	}
	out.Attribute, out.Why = whole.Attribute, whole.Why
	if !whole.Attribute.Kind.Ordered() {
		out.Min, out.Max = schema.Value{}, schema.Value{}
	}
	return out
}
