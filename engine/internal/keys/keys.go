// Package keys holds every key of the key-value store: one constructor and, where one
// is needed, one parser per kind. Nothing else puts key bytes together.
//
// What is not sealed (package kv) has a checksum in its own format.
//
// Fixed-width numbers are big endian, so that keys sort as their numbers do. Keys have
// no suffix. Prefixes are a format: append-only, never reused.
//
//	prefix  rest                                     value
//	0x01    name                                     store identity and state, sealed
//	0x03    (none)                                   schema, sealed
//	0x04    attr 4, code 4                           dictionary string, sealed
//	0x05    applied 8                                log record (package record)
//	0x06    applied 8                                outcome of the record (package effect)
//	0x07    source hash 8, run 8, sequence 8         outcome of a batch, for repeats, sealed
//	0x08    name                                     saved segment, sealed
//	0x09    name                                     list, sealed
//	0x0A    sequence 8                               quarantined row, sealed
//	0x0B    analysis, 0x00, name                     definition of an analysis, sealed
//	0x0C    hash 16                                  ledger of erased people (package erasure), sealed
//	0x0D    1 byte, see below                        purges (package erasure), sealed
//	0x0E    1 byte, see below                        the log that is kept for backups
//	0x0F    name                                     document, sealed
//	0x10    attr 4, shard 4, ^generation 8, kind 1, row 4   base, see below
//	0x11    attr 4, ^generation 8, kind 1, page 4    key table of an attribute
//	0x20    event 4, shard 4, ^generation 8          manifest of an event type's parts, sealed
//	0x21    partition 5, event 4, shard 4, part 8, kind 1, row 4   part of package timeline
//	0x22    day 4, run 8, kind 1, page 4             ids of events, sealed; the day as in a partition
//	0x23    (none)                                   manifest of the ids of events, sealed
//	0x24    event 4, shard 4, number 8, kind 1, row 4   lifetime facts of package timeline
//	0x25 .. 0x2F reserved for events
//
// Behind 0x0D stands 1 and the number of a record, which leaves something to be purged; or 2:
// the state of the purge under way; or 3 and 8 bytes of a number: a receipt.
//
// Behind 0x0E stands 1: what is kept, sealed; or 2 and applied 8: a log record (package record)
// that is kept until it is at a target of backups.
//
// The generation is stored inverted, so that the newest of a unit comes first. Kinds of
// the base: 0 manifest, 1 fragment of a code, 2 fragment of "has a value", 3 column
// block, 4 plane; of key tables: 5 page, 6 manifest; of parts: 7 header, 8 row, 10 day, by
// its number within the partition; of ids of events: 5 page, 9 filter; of facts: 3 block of
// 4,096 ordinals. The rows of a unit, a part, a run and the facts of one number are one
// contiguous span. A partition is its first day since
// 1970 plus 2^31 in 4 bytes, and its days in 1.
package keys

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Kind says what a row of a base unit is.
type Kind uint8

// The kinds of base rows, in key order.
const (
	Manifest Kind = 0
	Fragment Kind = 1  // row: the code
	Exists   Kind = 2  // row: 0
	Block    Kind = 3  // unit, facts: row: the block of 4,096 ordinals within the shard
	Plane    Kind = 4  // reserved
	Page     Kind = 5  // key table, run of ids: the page
	Done     Kind = 6  // key table: its manifest, which is known last
	Header   Kind = 7  // part: its header
	Piece    Kind = 8  // part: a row
	Filter   Kind = 9  // run of ids: the filter of a page
	Day      Kind = 10 // part: what is kept of a day; row: the day - the first of the partition
)

const (
	pMeta       = 0x01
	pSchema     = 0x03
	pDict       = 0x04
	pRecord     = 0x05
	pOutcome    = 0x06
	pRepeat     = 0x07
	pSegment    = 0x08
	pList       = 0x09
	pQuarantine = 0x0A
	pDefinition = 0x0B
	pErased     = 0x0C
	pPurge      = 0x0D
	pKept       = 0x0E
	pDocument   = 0x0F
	pBase       = 0x10
	pTable      = 0x11
	pActs       = 0x20
	pPart       = 0x21
	pRun        = 0x22
	pRuns       = 0x23
	pFacts      = 0x24
)

// Span is a half-open range of keys.
type Span struct{ Start, End []byte }

// Has reports whether a key is in the span.
func (s Span) Has(k []byte) bool {
	return bytes.Compare(k, s.Start) >= 0 && (s.End == nil || bytes.Compare(k, s.End) < 0)
}

func prefixSpan(p ...byte) Span {
	end := append([]byte(nil), p...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return Span{p, end[:i+1]}
		}
	}
	return Span{p, nil}
}

// Meta is the key of a piece of the store's identity or state.
func Meta(name string) []byte { return append([]byte{pMeta}, name...) }

// Schema is the key of the schema.
func Schema() []byte { return []byte{pSchema} }

// Dict is the key of a dictionary string.
func Dict(attr, code uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{pDict}, attr), code)
}

// Dicts spans all dictionaries.
func Dicts() Span { return prefixSpan(pDict) }

// DictOf spans one attribute's dictionary.
func DictOf(attr uint32) Span {
	return prefixSpan(binary.BigEndian.AppendUint32([]byte{pDict}, attr)...)
}

// ParseDict is the inverse of [Dict].
func ParseDict(k []byte) (attr, code uint32, ok bool) {
	if len(k) != 9 || k[0] != pDict {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:]), true
}

// Record is the key of a log record.
func Record(applied uint64) []byte { return binary.BigEndian.AppendUint64([]byte{pRecord}, applied) }

// Outcome is the key of a record's outcome.
func Outcome(applied uint64) []byte { return binary.BigEndian.AppendUint64([]byte{pOutcome}, applied) }

// Records spans the log records from..to-1.
func Records(from, to uint64) Span { return Span{Record(from), Record(to)} }

// Outcomes spans the outcomes from..to-1.
func Outcomes(from, to uint64) Span { return Span{Outcome(from), Outcome(to)} }

// Log spans the records and their outcomes.
func Log() Span { return Span{[]byte{pRecord}, []byte{pOutcome + 1}} }

// AllOutcomes spans all outcomes.
func AllOutcomes() Span { return prefixSpan(pOutcome) }

// ParseNumber returns the number in a key of a record, outcome or quarantined row.
func ParseNumber(k []byte) (uint64, bool) {
	if len(k) != 9 {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[1:]), true
}

// Repeat is the key of a batch's remembered outcome.
func Repeat(source, run, sequence uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte{pRepeat}, source)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, run), sequence)
}

// Repeats spans all remembered outcomes.
func Repeats() Span { return prefixSpan(pRepeat) }

// RepeatsOf spans the remembered outcomes of one source.
func RepeatsOf(source uint64) Span {
	return prefixSpan(binary.BigEndian.AppendUint64([]byte{pRepeat}, source)...)
}

// ParseRepeat is the inverse of [Repeat].
func ParseRepeat(k []byte) (source, run, sequence uint64, ok bool) {
	if len(k) != 25 || k[0] != pRepeat {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint64(k[9:]), binary.BigEndian.Uint64(k[17:]), true
}

// Segment is the key of a saved segment.
func Segment(name string) []byte { return append([]byte{pSegment}, name...) }

// Segments spans the saved segments.
func Segments() Span { return prefixSpan(pSegment) }

// List is the key of a list.
func List(name string) []byte { return append([]byte{pList}, name...) }

// Lists spans the lists.
func Lists() Span { return prefixSpan(pList) }

// Definition is the key of a definition. Names have no control characters.
func Definition(analysis, name string) []byte {
	return append(append([]byte{pDefinition}, analysis...), "\x00"+name...)
}

// Definitions spans the definitions.
func Definitions() Span { return prefixSpan(pDefinition) }

// ParseDefinition is the inverse of [Definition].
func ParseDefinition(k []byte) (analysis, name string, ok bool) {
	if len(k) == 0 || k[0] != pDefinition {
		return "", "", false
	}
	return strings.Cut(string(k[1:]), "\x00")
}

// Document is the key of a document.
func Document(name string) []byte { return append([]byte{pDocument}, name...) }

// Documents spans the documents.
func Documents() Span { return prefixSpan(pDocument) }

// Name returns the name in a key of a segment, a list or a document.
func Name(k []byte) string { return string(k[1:]) }

// Quarantine is the key of a quarantined row.
func Quarantine(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{pQuarantine}, seq) }

// Quarantined spans the quarantined rows from seq on.
func Quarantined(seq uint64) Span { return Span{Quarantine(seq), []byte{pQuarantine + 1}} }

// Kinds of keys of purges.
const (
	purgePending = 1
	purgeState   = 2
	purgeReceipt = 3
)

// Erased is the key of the ledger's entry of a person.
func Erased(name [16]byte) []byte { return append([]byte{pErased}, name[:]...) }

// Ledger spans the ledger of erased people.
func Ledger() Span { return prefixSpan(pErased) }

// ParseErased is the inverse of [Erased].
func ParseErased(k []byte) (name [16]byte, ok bool) {
	if len(k) != 17 || k[0] != pErased {
		return name, false
	}
	copy(name[:], k[1:])
	return name, true
}

// Purges spans what is pending, the state and the receipts, in this order.
func Purges() Span { return prefixSpan(pPurge) }

// IsPurgeState reports whether a key is that of the state of a purge.
func IsPurgeState(k []byte) bool { return len(k) == 2 && k[0] == pPurge && k[1] == purgeState }

// Pending is the key of what a record leaves to be purged.
func Pending(applied uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{pPurge, purgePending}, applied)
}

// AllPending spans what records leave to be purged.
func AllPending() Span { return prefixSpan(pPurge, purgePending) }

// PendingUpTo spans what the records up to one leave to be purged.
func PendingUpTo(applied uint64) Span { return Span{Pending(0), Pending(applied + 1)} }

// PurgeState is the key of the state of the purge under way.
func PurgeState() []byte { return []byte{pPurge, purgeState} }

// Receipt is the key of a receipt.
func Receipt(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{pPurge, purgeReceipt}, number)
}

// Receipts spans the receipts.
func Receipts() Span { return prefixSpan(pPurge, purgeReceipt) }

// ParsePurge returns the number in a key of what is pending, or of a receipt.
func ParsePurge(k []byte) (number uint64, ok bool) {
	if len(k) != 10 || k[0] != pPurge {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[2:]), true
}

// Kinds of keys of the log that is kept.
const (
	keptState  = 1
	keptRecord = 2
)

// KeptState is the key of what is known of the log that is kept.
func KeptState() []byte { return []byte{pKept, keptState} }

// Kept is the key of a log record that is kept.
func Kept(applied uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{pKept, keptRecord}, applied)
}

// KeptRecords spans the log records from..to-1 that are kept.
func KeptRecords(from, to uint64) Span { return Span{Kept(from), Kept(to)} }

// AllKept spans all log records that are kept.
func AllKept() Span { return prefixSpan(pKept, keptRecord) }

// ParseKept is the inverse of [Kept].
func ParseKept(k []byte) (applied uint64, ok bool) {
	if len(k) != 10 || k[0] != pKept || k[1] != keptRecord {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[2:]), true
}

// Logged spans the keys that are written through the log; the others are in tables that are ingested.
func Logged() Span { return Span{[]byte{pMeta}, []byte{pBase}} }

// IsRecord reports whether a key is that of a log record, kept for backups or not.
func IsRecord(k []byte) bool {
	_, kept := ParseKept(k)
	return kept || len(k) == 9 && k[0] == pRecord
}

// Unit names one generation of one attribute's data in one shard.
type Unit struct {
	Attr, Shard uint32
	Generation  uint64
}

func (u Unit) prefix() []byte {
	k := make([]byte, 0, 22)
	k = binary.BigEndian.AppendUint32(append(k, pBase), u.Attr)
	k = binary.BigEndian.AppendUint32(k, u.Shard)
	return binary.BigEndian.AppendUint64(k, ^u.Generation)
}

// Row is the key of a row of the unit.
func (u Unit) Row(kind Kind, row uint32) []byte {
	return binary.BigEndian.AppendUint32(append(u.prefix(), byte(kind)), row)
}

// Span is all rows of the unit.
func (u Unit) Span() Span { return prefixSpan(u.prefix()...) }

// Base spans all units.
func Base() Span { return prefixSpan(pBase) }

// BaseOf spans all units of an attribute.
func BaseOf(attr uint32) Span {
	return prefixSpan(binary.BigEndian.AppendUint32([]byte{pBase}, attr)...)
}

// AfterShard is the first key behind all generations of the unit's attribute and shard.
func (u Unit) AfterShard() []byte {
	k := binary.BigEndian.AppendUint32([]byte{pBase}, u.Attr)
	return prefixSpan(binary.BigEndian.AppendUint32(k, u.Shard)...).End
}

// ParseUnit is the inverse of [Unit.Row].
func ParseUnit(k []byte) (u Unit, kind Kind, row uint32, ok bool) {
	if len(k) != 22 || k[0] != pBase {
		return u, 0, 0, false
	}
	u = Unit{binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:]), ^binary.BigEndian.Uint64(k[9:])}
	return u, Kind(k[17]), binary.BigEndian.Uint32(k[18:]), true
}

// Table names one generation of an attribute's key table.
type Table struct {
	Attr       uint32
	Generation uint64
}

func (t Table) prefix() []byte {
	k := binary.BigEndian.AppendUint32([]byte{pTable}, t.Attr)
	return binary.BigEndian.AppendUint64(k, ^t.Generation)
}

// Row is the key of a row of the table: its manifest or a page.
func (t Table) Row(kind Kind, page uint32) []byte {
	return binary.BigEndian.AppendUint32(append(t.prefix(), byte(kind)), page)
}

// Span is all rows of the table.
func (t Table) Span() Span { return prefixSpan(t.prefix()...) }

// Tables spans all key tables.
func Tables() Span { return prefixSpan(pTable) }

// TablesOf spans all generations of an attribute's key table.
func TablesOf(attr uint32) Span {
	return prefixSpan(binary.BigEndian.AppendUint32([]byte{pTable}, attr)...)
}

// AfterTable is the first key behind all generations of the attribute's table.
func (t Table) AfterTable() []byte {
	return prefixSpan(binary.BigEndian.AppendUint32([]byte{pTable}, t.Attr)...).End
}

// ParseTable is the inverse of [Table.Row].
func ParseTable(k []byte) (t Table, kind Kind, page uint32, ok bool) {
	if len(k) != 18 || k[0] != pTable {
		return t, 0, 0, false
	}
	t = Table{binary.BigEndian.Uint32(k[1:]), ^binary.BigEndian.Uint64(k[5:])}
	return t, Kind(k[13]), binary.BigEndian.Uint32(k[14:]), true
}

// Acts names one generation of an event type's manifest in one shard.
type Acts struct {
	Event, Shard uint32
	Generation   uint64
}

func (a Acts) prefix() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{pActs}, a.Event), a.Shard)
}

// Key is the key of the manifest.
func (a Acts) Key() []byte { return binary.BigEndian.AppendUint64(a.prefix(), ^a.Generation) }

// Span is the manifest alone.
func (a Acts) Span() Span { return prefixSpan(a.Key()...) }

// AfterShard is the first key behind all generations of the event type and shard.
func (a Acts) AfterShard() []byte { return prefixSpan(a.prefix()...).End }

// AllActs spans all manifests of event types.
func AllActs() Span { return prefixSpan(pActs) }

// ParseActs is the inverse of [Acts.Key].
func ParseActs(k []byte) (a Acts, ok bool) {
	if len(k) != 17 || k[0] != pActs {
		return a, false
	}
	return Acts{binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:]), ^binary.BigEndian.Uint64(k[9:])}, true
}

// Part names a part of an event type: Number is unique in its shard and type.
type Part struct {
	FirstDay     int32
	Days         uint8
	Event, Shard uint32
	Number       uint64
}

func (p Part) prefix() []byte {
	k := make([]byte, 0, 27)
	k = append(binary.BigEndian.AppendUint32(append(k, pPart), uint32(p.FirstDay)+1<<31), p.Days)
	k = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(k, p.Event), p.Shard)
	return binary.BigEndian.AppendUint64(k, p.Number)
}

// Row is the key of the header, whose row is 0, or of a row of the part.
func (p Part) Row(kind Kind, row uint32) []byte {
	return binary.BigEndian.AppendUint32(append(p.prefix(), byte(kind)), row)
}

// Span is all rows of the part.
func (p Part) Span() Span { return prefixSpan(p.prefix()...) }

// Parts spans all parts.
func Parts() Span { return prefixSpan(pPart) }

// ParsePart is the inverse of [Part.Row].
func ParsePart(k []byte) (p Part, kind Kind, row uint32, ok bool) {
	if len(k) != 27 || k[0] != pPart {
		return p, 0, 0, false
	}
	p = Part{int32(binary.BigEndian.Uint32(k[1:]) - 1<<31), k[5], binary.BigEndian.Uint32(k[6:]), binary.BigEndian.Uint32(k[10:]), binary.BigEndian.Uint64(k[14:])}
	return p, Kind(k[22]), binary.BigEndian.Uint32(k[23:]), true
}

// Run names a run of ids of events: Number is unique in the store.
type Run struct {
	Day    int32
	Number uint64
}

func (r Run) prefix() []byte {
	k := make([]byte, 0, 18)
	k = binary.BigEndian.AppendUint32(append(k, pRun), uint32(r.Day)+1<<31)
	return binary.BigEndian.AppendUint64(k, r.Number)
}

// Row is the key of a page of the run, or of its filter.
func (r Run) Row(kind Kind, page uint32) []byte {
	return binary.BigEndian.AppendUint32(append(r.prefix(), byte(kind)), page)
}

// Span is all rows of the run.
func (r Run) Span() Span { return prefixSpan(r.prefix()...) }

// Runs spans all runs.
func Runs() Span { return prefixSpan(pRun) }

// ParseRun is the inverse of [Run.Row].
func ParseRun(k []byte) (r Run, kind Kind, page uint32, ok bool) {
	if len(k) != 18 || k[0] != pRun {
		return r, 0, 0, false
	}
	r = Run{int32(binary.BigEndian.Uint32(k[1:]) - 1<<31), binary.BigEndian.Uint64(k[5:])}
	return r, Kind(k[13]), binary.BigEndian.Uint32(k[14:]), true
}

// RunManifest is the key of the manifest of the runs.
func RunManifest() []byte { return []byte{pRuns} }

// Facts names lifetime facts of an event type: Number is unique in its shard and type.
type Facts struct {
	Event, Shard uint32
	Number       uint64
}

func (f Facts) prefix() []byte {
	k := make([]byte, 0, 22)
	k = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(append(k, pFacts), f.Event), f.Shard)
	return binary.BigEndian.AppendUint64(k, f.Number)
}

// Row is the key of a block of the facts.
func (f Facts) Row(kind Kind, row uint32) []byte {
	return binary.BigEndian.AppendUint32(append(f.prefix(), byte(kind)), row)
}

// Span is all rows of the facts.
func (f Facts) Span() Span { return prefixSpan(f.prefix()...) }

// AllFacts spans all facts.
func AllFacts() Span { return prefixSpan(pFacts) }

// ParseFacts is the inverse of [Facts.Row].
func ParseFacts(k []byte) (f Facts, kind Kind, row uint32, ok bool) {
	if len(k) != 22 || k[0] != pFacts {
		return f, 0, 0, false
	}
	f = Facts{binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:]), binary.BigEndian.Uint64(k[9:])}
	return f, Kind(k[17]), binary.BigEndian.Uint32(k[18:]), true
}
