package quality

import (
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// MaxAhead is how far, in milliseconds, an event's time may be after the time at which it
// is received. Clocks go wrong by minutes and zones are mistaken by at most 14 hours, and
// such acts are still to be counted; what is further ahead has a wrong date or unit.
const MaxAhead = 24 * 3600 * 1000

// events checks events. What is wrong with an event type is said before what is wrong with
// a property.
func (c *checker) events(bl *batch.EventBlock, s *schema.Schema, received int64) {
	c.keys(bl.Keys)
	types := make([]*schema.Event, bl.Names.Len())
	known := true
	for i := range types {
		types[i] = s.LookupEvent(string(bl.Names.At(i)))
		known = known && types[i] != nil
	}
	if !known {
		for row, i := range bl.Event {
			if types[i] == nil {
				c.reject(row, batch.ReasonUnknownEvent, unknownEvent(bl.Names.At(int(i))))
			}
		}
	}
	if slices.Max(bl.Times)-MaxAhead > received {
		for row, ms := range bl.Times {
			if ms-MaxAhead > received {
				c.reject(row, batch.ReasonTooFarAhead, fmt.Sprintf("time: %s is more than 24 hours after its receipt", schema.TimestampValue(ms)))
			}
		}
	}
	if bl.IDs != nil && !bl.IDs.Plain.ASCII() {
		c.bad = c.bad[:0]
		for i := range bl.IDs.M {
			if problem := textProblem(bl.IDs.Plain.At(i)); problem != "" {
				c.bad = append(c.bad, badCell{i, batch.ReasonEncoding, "id: the id " + problem})
			}
		}
		c.rejectCells(bl.IDs, bl.N, nil)
	}
	for i := range bl.Columns {
		c.property(bl, &bl.Columns[i], types)
	}
	c.required(bl, types)
}

// property checks a column of properties, for each type of event that has cells in it.
func (c *checker) property(bl *batch.EventBlock, col *batch.BlockColumn, types []*schema.Event) {
	here := make([]bool, len(types))
	for row, i := range bl.Event {
		if !here[i] && col.Has(row) {
			here[i] = true
		}
	}
	for i, e := range types {
		if e == nil || !here[i] {
			continue
		}
		among := func(row int) bool { return bl.Event[row] == uint32(i) }
		p := e.Lookup(col.Name)
		reason, detail := batch.ReasonUnknownProperty, ""
		switch {
		case p == nil:
			detail = unknownProperty(e, col.Name)
		case p.Kind != col.Kind || p.Scale != col.Scale:
			reason = batch.ReasonKind
			detail = shorten(fmt.Sprintf("%s: %s given, the property of %q is %s",
				p.Name, kindWords(col.Kind, col.Scale), e.Name, kindWords(p.Kind, p.Scale)), batch.MaxDetail)
		default:
			c.cells(col, p)
			c.rejectCells(col, bl.N, among)
			continue
		}
		for row := range bl.N {
			if among(row) && col.Has(row) {
				c.reject(row, reason, detail)
			}
		}
	}
}

// required rejects events without a property that their type requires.
func (c *checker) required(bl *batch.EventBlock, types []*schema.Event) {
	for i, e := range types {
		if e == nil {
			continue
		}
		for j := range e.Properties {
			p := &e.Properties[j]
			if !p.Required {
				continue
			}
			at := slices.IndexFunc(bl.Columns, func(col batch.BlockColumn) bool {
				return col.Name == p.Name && col.Kind == p.Kind && col.Scale == p.Scale
			})
			for row, of := range bl.Event {
				if of == uint32(i) && (at < 0 || !bl.Columns[at].Has(row)) {
					c.reject(row, batch.ReasonRequired, missingProperty(e, p.Name))
				}
			}
		}
	}
}

func unknownEvent(name []byte) string {
	return shorten(fmt.Sprintf("event: there is no event %q", name), batch.MaxDetail)
}

func unknownProperty(e *schema.Event, name string) string {
	return shorten(fmt.Sprintf("%s: the event %q has no such property", name, e.Name), batch.MaxDetail)
}

func missingProperty(e *schema.Event, name string) string {
	return shorten(fmt.Sprintf("%s: the event %q requires it", name, e.Name), batch.MaxDetail)
}
