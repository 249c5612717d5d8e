package batch

import "github.com/kantadb/kanta/index/schema"

// EventTable adds many events without allocating per row. Start each with
// [EventTable.Row], then give its id, if it has one, and its properties by the number of
// the column; a property that is not given is absent. A cell given twice: the last holds.
// What is passed is copied. An EventTable lives as long as its builder, over Reset too.
type EventTable struct {
	table           Table // of the properties; its block has the three columns below first
	event, time, id *column
}

// Events returns a table of events whose properties are these columns. Their verb is set,
// or 0. All types of event may share a table: a column is a property, by name, of the types
// that have cells in it. Where these have properties of one name and different kinds,
// there is a column for each kind.
//
// Events without ids are kept as they come: two that are equal in all are two acts. A batch
// that is sent again, because nobody knows whether it arrived, is then two batches, unless it
// has a [Builder.Source]. Events with ids are kept once per (source, UTC day of the event), in
// whatever batches they come.
func (b *Builder) Events(columns []Column) *EventTable {
	t := &EventTable{table: Table{b: b, bl: block{code: OpEvents}}}
	fixed := func(name string, kind schema.Kind, verb Verb) *column {
		c := b.newColumn(new(column), Column{Name: name, Kind: kind, Verb: verb})
		t.table.bl.cols = append(t.table.bl.cols, c)
		return c
	}
	t.event = fixed(eventColumn, schema.String, VerbEvent)
	t.time = fixed(timeColumn, schema.Timestamp, VerbTime)
	t.id = fixed(idColumn, schema.String, VerbID)
	for i, def := range columns {
		if def.Verb == 0 {
			def.Verb = VerbSet
		}
		c := b.newColumn(new(column), def)
		if def.Verb != VerbSet {
			b.fail("property %q: a column of events has the verb set, not %d", def.Name, def.Verb)
		}
		for _, other := range t.table.set[:i] {
			if other.name == c.name && other.kind == c.kind && other.scale == c.scale {
				b.fail("property %q comes twice as %s", c.name, c.kind)
			}
		}
		t.table.bl.cols = append(t.table.bl.cols, c)
		t.table.set = append(t.table.set, c)
		t.table.unset = append(t.table.unset, nil)
	}
	return t
}

// IDSource names whose ids the events have: an id is unique among those of one source and
// day. Without it they are of the batch's [Builder.Source]. It has at most
// schema.MaxNameBytes and holds for all batches that the table is used for.
func (t *EventTable) IDSource(name string) {
	if name = nfcString(name); len(name) > schema.MaxNameBytes {
		t.table.b.fail("the source of ids has at most %d bytes, not %d", schema.MaxNameBytes, len(name))
		return
	}
	t.table.bl.ids = name
}

// Row starts an event of a profile, which is created if there is none. The key has 1 to
// [MaxKeyBytes] bytes, event is the name of an event type, time is in milliseconds UTC.
func (t *EventTable) Row(key, event []byte, time int64) {
	t.table.Row(key)
	row := t.table.bl.rows() - 1
	types := &t.event.dict.list
	known := types.Len()
	t.event.addString(row, event)
	if types.Len() > known {
		if err := schema.CheckName(string(types.At(known))); err != nil {
			t.table.b.fail("the name of an event: %w", err)
		}
	}
	t.time.addInt(row, time)
}

// ID gives the event an id of 1 to [MaxEventID] bytes.
func (t *EventTable) ID(id []byte) {
	row := t.table.bl.rows() - 1
	id = nfc(id)
	if row < 0 || len(id) == 0 || len(id) > MaxEventID {
		t.table.b.fail("an id without an event, or of %d bytes: it has 1 to %d", len(id), MaxEventID)
		return
	}
	if t.id.last == row {
		t.id.pop()
	}
	t.id.addString(row, id)
}

// Int gives a property of an ordered kind, in ordered form ([schema.Value.Ordered]).
func (t *EventTable) Int(col int, ordered int64) { t.table.Int(col, ordered) }

// Str gives a property of kind string.
func (t *EventTable) Str(col int, s []byte) { t.table.Str(col, s) }

// Elems gives a property of kind set. Order and repetition of elements do not matter.
func (t *EventTable) Elems(col int, elems [][]byte) { t.table.Elems(col, elems) }
