package batch

import (
	"fmt"

	"github.com/kantadb/kanta/query"
)

// Limits of a batch.
const (
	MaxRaw    = 4 << 20   // what a decoder allocates for one batch
	MaxStored = 512 << 10 // Raft entries larger than this delay its heartbeats
)

// Batch is an encoded batch; see the package comment. Bytes from outside are checked by [Decode].
type Batch []byte

// Reason says why a row was quarantined or refused. Codes are stored and append-only.
type Reason uint8

// The reasons.
const (
	ReasonNone            Reason = 0
	ReasonRagged          Reason = 1  // more or fewer cells than columns
	ReasonEncoding        Reason = 2  // not UTF-8 in NFC
	ReasonTooLong         Reason = 3  // a string over schema.MaxStringBytes, a key over MaxKeyBytes, an id over MaxEventID
	ReasonBadValue        Reason = 4  // does not parse as the attribute's kind
	ReasonOutOfRange      Reason = 5  // below min, above max, or past the kind's range
	ReasonNotAllowed      Reason = 6  // not one of the allowed values
	ReasonFormat          Reason = 7  // not in the attribute's format
	ReasonNoKey           Reason = 8  // no key, or an empty one
	ReasonUnknownColumn   Reason = 9  // no such attribute
	ReasonKind            Reason = 10 // the batch's kind is not the attribute's
	ReasonRequired        Reason = 11 // a required attribute is missing from a new profile, a required property from an event
	ReasonNotUnique       Reason = 12 // another profile has the unique value
	ReasonDictionaryFull  Reason = 13 // the dictionary is full: store the attribute inline
	ReasonOverflow        Reason = 14 // an increment left the range
	ReasonExpect          Reason = 15 // an expectation failed (refused)
	ReasonErased          Reason = 16 // the key was erased (refused)
	ReasonUnknownKey      Reason = 17 // a delete or a list names a profile that does not exist
	ReasonSchema          Reason = 18 // the schema change is not possible (refused)
	ReasonSegment         Reason = 19 // the segment does not compile or makes a cycle (refused)
	ReasonTooLate         Reason = 20 // the event's time is before the retention horizon of its type, or its id's day before that of all
	ReasonConflicting     Reason = 21 // the event's id is that of another event of the same day
	ReasonTooMany         Reason = 22 // more set elements than schema.MaxSetElements
	ReasonSyntax          Reason = 23 // the row is not CSV or JSON: wrong quotes, braces, a key twice
	ReasonTooFarAhead     Reason = 24 // the event's time is later than the received time by too much
	ReasonUnknownEvent    Reason = 25 // no such event, or none is named
	ReasonUnknownProperty Reason = 26 // the event has no such property
)

// Rejected is one row that was not applied.
type Rejected struct {
	Row    int    // see the package comment
	Line   uint64 // of the source, from 1, if the batch says where the row comes from; else 0
	Reason Reason
	Detail string // attribute and value, for people
}

// Result is the outcome of a batch. Received = Accepted + Quarantined + Duplicates + Refused.
type Result struct {
	Position    query.Position // of the log record; of the first application for a repeat
	Received    uint64
	Accepted    uint64
	Quarantined uint64
	Duplicates  uint64
	Refused     uint64
	Created     uint64            // accepted rows that created a profile
	Reasons     map[Reason]uint64 // how many rows were quarantined or refused for each; nil for a repeat
	Rejected    []Rejected        // the quarantined and refused rows, at most MaxRejected of them
	Repeated    bool              // this (source, run, sequence) had been applied before
}

// Reject counts a row that was not applied; whether as quarantined or refused, the caller says.
func (r *Result) Reject(row Rejected) {
	if r.Reasons == nil {
		r.Reasons = map[Reason]uint64{}
	}
	r.Reasons[row.Reason]++
	if len(r.Rejected) < MaxRejected {
		r.Rejected = append(r.Rejected, row)
	}
}

// MaxRejected bounds Result.Rejected: the rest are in the quarantine and in the counters.
const MaxRejected = 1000

// MaxKeyBytes bounds a profile's key: keys are identifiers, and they stand in indexes.
const MaxKeyBytes = 512

// MaxEventID bounds an event's id, of which the store keeps a hash: it is a UUID, or made
// of a few names and numbers.
const MaxEventID = 256

// String returns the reason in words.
func (r Reason) String() string {
	names := [...]string{
		ReasonNone: "none", ReasonRagged: "wrong number of cells", ReasonEncoding: "not UTF-8 in normal form",
		ReasonTooLong: "too long", ReasonBadValue: "not a value of the kind", ReasonOutOfRange: "out of range",
		ReasonNotAllowed: "not an allowed value", ReasonFormat: "wrong format", ReasonNoKey: "no key",
		ReasonUnknownColumn: "unknown attribute", ReasonKind: "wrong kind", ReasonRequired: "required attribute missing",
		ReasonNotUnique: "value not unique", ReasonDictionaryFull: "dictionary full", ReasonOverflow: "increment out of range",
		ReasonExpect: "expectation failed", ReasonErased: "key erased", ReasonUnknownKey: "unknown key",
		ReasonSchema: "schema change not possible", ReasonSegment: "segment not possible", ReasonTooLate: "too old",
		ReasonConflicting: "conflicting", ReasonTooMany: "too many elements", ReasonSyntax: "not readable as a row",
		ReasonTooFarAhead: "too far ahead", ReasonUnknownEvent: "unknown event", ReasonUnknownProperty: "unknown property",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
