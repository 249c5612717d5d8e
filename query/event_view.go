package query

import (
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// EventScan says what is to be read of the events of one type.
type EventScan struct {
	Event      schema.EventID
	From, To   int64           // milliseconds UTC, half open
	Properties []schema.AttrID // whose values are read, ascending
	Times      bool            // whether the times are
	Zones      []ZoneMap       // conditions that every event wanted fulfils: the others are left out, best by the block
	Runs       bool            // only whose they are and how many is wanted: no times, no properties
	Told       *bitmap.Words   // not nil: what Facts has written; the events that it has told of are left out
}

// ZoneMap is a condition on a property's ordered form or code: there is one, in [Lo, Hi].
type ZoneMap struct {
	Property schema.AttrID
	Lo, Hi   int64
}

// EventBlock is some events of one type and one chunk, at most 65,536, of living profiles
// only. What it points to is valid during the call it is handed to.
type EventBlock struct {
	Ords    []uint16      // whose it is, within the chunk
	Counts  []uint16      // of a scan for runs: how many events each of Ords stands for; nil: one
	Times   []int64       // nil unless asked for
	Columns []EventColumn // in the order of EventScan.Properties
	Sorted  bool          // by profile and then in the order of Events; else in any order
}

// EventColumn is one property of the events of a block. Which fields are set depends on
// the property's class.
type EventColumn struct {
	Present []uint64 // bit i%64 of word i/64: event i has a value; nil: all have. Not for sets and codes
	Codes   []uint32 // bools, dictionary strings: schema.NoCode if absent
	Ints    []int64  // ordered kinds: the ordered form
	Texts   [][]byte // inline strings: nil is absent too
	Sets    Sets     // sets
}

// EventCursor is the part of a [Cursor] that reads events.
type EventCursor interface {
	// Events calls f with all events of a scan in one chunk, those of within only (nil: of
	// anybody). Events before the retention horizon are
	// never among them. f may change nothing of a block and does not use the cursor. It
	// stops at f's first error and returns it.
	Events(scan *EventScan, chunk int, within *bitmap.Set, f func(b *EventBlock) error) error

	// HasEvent returns who of the living has an event of a type with from <= time < to, within
	// as in Events: others may be among them. It reads as few events as it can. The result is
	// valid until buf is used again.
	HasEvent(event schema.EventID, from, to int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error)

	// EventDays adds to days[i] who has an event of a type on day first+i since 1970, in UTC.
	// Others may be among them. It reads what is kept of the days, and no stored event.
	EventDays(event schema.EventID, first int64, chunk int, days []bitmap.Words) error
}

// FactsOf says what is asked about the events of a scan.
type FactsOf struct {
	Property schema.AttrID // an int's or a decimal's values are; 0: the events alone
	Sums     bool          // and their sums
}

// FactsBlock is what the events of some profiles of one chunk come to. What it points to is
// valid during the call it is handed to.
type FactsBlock struct {
	Ords     []uint16          // ascending
	Counts   []uint32          // of the events; of a property, of those that have a value, which may be none
	Min, Max []int64           // of a property, where there are values
	Sums     []timeline.Int128 // if asked for
}

// FactsCursor is what an [EventCursor] may have beside: it knows what events come to
// without reading them.
type FactsCursor interface {
	// Facts calls f with what events of a scan come to, of some of the living within (nil:
	// everybody): all their events, or some. It writes to told of whom this is all that there
	// is to be told, be it nothing. Then the scan is read with Told, which has the events
	// that were not told of, so that in the end everybody's are. It has no zones.
	Facts(scan *EventScan, of FactsOf, chunk int, within *bitmap.Set, told *bitmap.Words, f func(b *FactsBlock)) error
}

// FactsView is what a [View] may have beside, if its cursors are [FactsCursor]s.
type FactsView interface {
	// SummedEvents returns about how many events of a type Facts tells of, as far as a
	// property goes (0: none is asked about).
	SummedEvents(event schema.EventID, property schema.AttrID) uint64
}

// EventReads is what it took to find events in their stored parts: in each chunk, the parts
// of a type and their blocks of up to 4,096 events.
type EventReads struct {
	Parts       uint64 // that may have events in the window
	OtherParts  uint64 // that have none
	Blocks      uint64 // that were read
	OtherTimes  uint64 // blocks that were not: they have no event in the window,
	OtherPeople uint64 // or of nobody who is still undecided,
	OtherValues uint64 // or with a value that the conditions want
	Facts       uint64 // blocks of up to 4,096 profiles of which it was read what all their events come to
}

// Add adds what another reading took.
func (r *EventReads) Add(o EventReads) {
	r.Parts += o.Parts
	r.OtherParts += o.OtherParts
	r.Blocks += o.Blocks
	r.OtherTimes += o.OtherTimes
	r.OtherPeople += o.OtherPeople
	r.OtherValues += o.OtherValues
	r.Facts += o.Facts
}

// less returns what has been added since o.
func (r EventReads) less(o EventReads) EventReads {
	return EventReads{r.Parts - o.Parts, r.OtherParts - o.OtherParts, r.Blocks - o.Blocks,
		r.OtherTimes - o.OtherTimes, r.OtherPeople - o.OtherPeople, r.OtherValues - o.OtherValues, r.Facts - o.Facts}
}

// EventReader is what an [EventCursor] may have beside, for plans.
type EventReader interface {
	// EventReads returns the total of what reading events took so far.
	EventReads() EventReads
}

// EventCounter is what a [View] may have beside: without it all event types are taken to
// be alike, and the order of evaluation is worse.
type EventCounter interface {
	// EventCount returns about how many events of a type lie in [from, to), by what is
	// known without reading them.
	EventCount(event schema.EventID, from, to int64) uint64
}
