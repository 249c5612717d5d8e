package quality

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// event types row i of the chunk as an event and adds it to the table if all of it is good.
func (w *loadWorker) event(c *loadChunk, i int, key []byte, cells []span, plain bool) problem {
	o, plan := w.o.Events, w.plan.events
	of, known, name := plan.named, true, plan.name
	if of < 0 {
		name = c.cell(cells[plan.event], plain)
		of, known = plan.types[string(name)]
	}
	switch {
	case len(name) == 0:
		return problem{batch.ReasonUnknownEvent, o.Event + ": the event is missing"}
	case !known:
		return problem{batch.ReasonUnknownEvent, unknownEvent(name)}
	}
	text := c.cell(cells[plan.time], plain)
	if len(text) == 0 {
		return problem{batch.ReasonBadValue, o.Time + ": the time is missing"}
	}
	at, err := parseTime(text, w.o.Zone)
	if err != nil {
		return unparsed(shorten(fmt.Sprintf("%s: %q: %v", o.Time, excerpt(text), err), batch.MaxDetail), err)
	}
	var id []byte
	if plan.id >= 0 {
		id = w.eventID(c.cell(cells[plan.id], plain), c.rows[i].part)
		if len(id) > batch.MaxEventID {
			return problem{batch.ReasonTooLong, fmt.Sprintf("%s: an id of %d bytes; it has at most %d", o.ID, len(id), batch.MaxEventID)}
		}
	}
	if p := w.values(c, cells, plain, of); p.reason != batch.ReasonNone {
		return p
	}
	for _, p := range plan.required[of] {
		if !slices.ContainsFunc(w.typed, func(t typedCell) bool { return t.attr == p }) {
			return problem{batch.ReasonRequired, missingProperty(&plan.list[of], p.Name)}
		}
	}
	w.events.Row(key, name, at)
	if len(id) > 0 {
		w.events.ID(id)
	}
	w.put(w.events)
	return problem{}
}

// eventID returns the id of an event, which may be one of several that a line makes.
func (w *loadWorker) eventID(id []byte, part int) []byte {
	if part == 0 || len(id) == 0 {
		return id
	}
	w.id = append(append(w.id[:0], id...), '#')
	w.id = strconv.AppendInt(w.id, int64(part), 10)
	return w.id
}

// parseTime parses the time of an event; see EventColumns. The error is a schema.ValueError.
func parseTime(text []byte, zone *time.Location) (int64, error) {
	whole, fraction, point := bytes.Cut(text, []byte("."))
	if len(whole) >= 9 && allDigits(whole) && allDigits(fraction) && point == (len(fraction) > 0) {
		if n, ok := unixTime(whole, fraction); ok {
			return n, nil
		}
	}
	return schema.ParseOrdered(schema.Timestamp, 0, text, zone)
}

// unixTime returns the milliseconds since 1970 of a number. Its unit is told by its digits:
// all of 1973-03-03 to 2286-11-20 is 9 or 10 digits of seconds. The other units are taken
// only where that is since 2001, so that no 12 digits of a date and time are one of them.
func unixTime(whole, fraction []byte) (ms int64, ok bool) {
	if len(fraction) > 0 && len(whole) > 10 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil {
		return 0, false
	}
	switch len(whole) {
	case 9, 10:
		ms = n * 1000
		unit := int64(100)
		for _, digit := range fraction[:min(3, len(fraction))] {
			ms += int64(digit-'0') * unit
			unit /= 10
		}
		return ms, true
	case 13:
		return n, true
	case 16:
		return n / 1000, true
	case 19:
		return n / 1e6, true
	}
	return 0, false
}
