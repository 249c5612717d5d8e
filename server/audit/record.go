package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kantadb/kanta/query"
)

// Limits of a record. What is longer is cut, and the record says so: a call is never refused
// because what is said of it is long.
const (
	MaxRecordBytes = 4096 // of a payload: a person reads it, and a group of them is written at once
	MaxTextBytes   = 128  // of a caller's id and name, a role, an address, a call, a name: what the names of a store have
	MaxWhatBytes   = 1536 // of an expression's shape
	MaxNames       = 64
	maxNamesBytes  = 640
	MaxKeys        = 64
)

// Outcome is what became of a call.
type Outcome uint8

// The outcomes.
const (
	Asked  Outcome = 1 // a change, written down before it is made
	Done   Outcome = 2
	Denied Outcome = 3
	Failed Outcome = 4
	Kept   Outcome = 5 // no call: the store says something of itself
)

// The calls of records that the store itself makes.
const (
	CallRemoved = "audit.removed" // retention removed segments
	CallCut     = "audit.cut"     // what a crash had left was cut off
)

// outcomes are their words.
//
//tidy:constant
var outcomes = [...]string{Asked: "asked", Done: "done", Denied: "denied", Failed: "failed", Kept: "kept"}

// String returns the word of an outcome, "" of none.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return ""
}

// ParseOutcome is the inverse of [Outcome.String].
func ParseOutcome(word string) (Outcome, bool) {
	for o, w := range outcomes {
		if w == word && w != "" {
			return Outcome(o), true
		}
	}
	return 0, false
}

// Hash is a keyed hash of a value.
type Hash [16]byte

// String returns the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Record is one call.
type Record struct {
	Number uint64    // from 1, given by the store
	Time   time.Time // in ms, given by the store
	Who    Caller
	Call   string // the procedure without its service, such as "Count"

	Outcome Outcome
	Code    query.Code // of the error, 0 without one

	What      string   // of what was asked, without values: see [Store.Shape]
	Names     []string // of attributes, segments and lists; at most [MaxNames], the rest is counted
	MoreNames uint64   // were not written for want of room
	Keys      []Hash   // of people: see [Store.Hash]; at most [MaxKeys], the rest is counted
	MoreKeys  uint64   // were not written for want of room
	Count     uint64   // of people, rows or ops: what the call is about
	Position  query.Position
	Skipped   uint64 // calls like this one that were not recorded since the last one that was

	Removed Removed // of a record whose call is [CallRemoved]
	Cut     uint64  // of a record whose call is [CallCut]: bytes
}

// Caller is who calls.
type Caller struct {
	ID      string // of a key, or the name in a certificate
	Name    string // what it is called
	Role    string
	Address string // without the port
}

// Removed says up to where records were removed.
type Removed struct {
	Number uint64
	Hash   [32]byte
}

// The tags of fields.
const (
	tagCaller = 1 + iota
	tagName
	tagRole
	tagAddress
	tagCall
	tagCode
	tagWhat
	tagNames
	tagMoreNames
	tagKeys
	tagMoreKeys
	tagCount
	tagPosition
	tagSkipped
	tagRemoved
	tagCut
)

// fixedBytes are in front of the fields: number, group, time, outcome.
const fixedBytes = 8 + 8 + 8 + 1

// encode writes the payload of a record; stamp fills in what the store knows only when it writes.
func (r *Record) encode() []byte {
	b := make([]byte, fixedBytes, 256)
	b[fixedBytes-1] = byte(r.Outcome)
	for i, text := range []string{r.Who.ID, r.Who.Name, r.Who.Role, r.Who.Address, r.Call} {
		b = appendField(b, byte(tagCaller+i), clip(text, MaxTextBytes))
	}
	if r.Code != 0 {
		b = appendField(b, tagCode, string(binary.LittleEndian.AppendUint16(nil, uint16(r.Code))))
	}
	b = appendField(b, tagWhat, clip(r.What, MaxWhatBytes))
	names, more := r.names()
	b = appendField(b, tagNames, names)
	b = appendCount(b, tagMoreNames, more)
	var keys []byte
	for _, k := range r.Keys[:min(len(r.Keys), MaxKeys)] {
		keys = append(keys, k[:]...)
	}
	b = appendField(b, tagKeys, string(keys))
	b = appendCount(b, tagMoreKeys, r.MoreKeys+uint64(len(r.Keys)-len(keys)/len(Hash{})))
	b = appendCount(b, tagCount, r.Count)
	if r.Position != (query.Position{}) {
		p := binary.LittleEndian.AppendUint64(nil, r.Position.Epoch)
		b = appendField(b, tagPosition, string(binary.LittleEndian.AppendUint64(p, r.Position.Applied)))
	}
	b = appendCount(b, tagSkipped, r.Skipped)
	if r.Removed.Number != 0 {
		b = appendField(b, tagRemoved, string(append(binary.LittleEndian.AppendUint64(nil, r.Removed.Number), r.Removed.Hash[:]...)))
	}
	return appendCount(b, tagCut, r.Cut)
}

// stamp writes into a payload what the store gives it.
func stamp(payload []byte, number, group, ms uint64) {
	binary.LittleEndian.PutUint64(payload, number)
	binary.LittleEndian.PutUint64(payload[8:], group)
	binary.LittleEndian.PutUint64(payload[16:], ms)
}

// names packs the names that there is room for.
func (r *Record) names() (packed string, more uint64) {
	var b []byte
	for i, name := range r.Names {
		if name = clip(name, MaxTextBytes); i == MaxNames || len(b)+1+len(name) > maxNamesBytes {
			return string(b), r.MoreNames + uint64(len(r.Names)-i)
		}
		b = append(append(b, byte(len(name))), name...)
	}
	return string(b), r.MoreNames
}

func appendField(b []byte, tag byte, value string) []byte {
	if value == "" {
		return b
	}
	b = binary.LittleEndian.AppendUint16(append(b, tag), uint16(len(value)))
	return append(b, value...)
}

func appendCount(b []byte, tag byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return appendField(b, tag, string(binary.AppendUvarint(nil, n)))
}

// ellipsis ends a text that was cut.
const ellipsis = "…"

// clip makes a text UTF-8 of at most so many bytes.
func clip(text string, most int) string {
	if !utf8.ValidString(text) {
		text = string(bytes.ToValidUTF8([]byte(text), []byte("\uFFFD")))
	}
	if len(text) <= most {
		return text
	}
	end := most - len(ellipsis)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// decode reads a payload. What encode does not write is an error.
func decode(payload []byte) (r Record, group uint64, err error) {
	if len(payload) < fixedBytes || len(payload) > MaxRecordBytes {
		return r, 0, errPayload
	}
	r.Number, group = binary.LittleEndian.Uint64(payload), binary.LittleEndian.Uint64(payload[8:])
	ms := binary.LittleEndian.Uint64(payload[16:])
	r.Outcome = Outcome(payload[fixedBytes-1])
	if r.Outcome.String() == "" || group == 0 || group > r.Number || ms > maxTime {
		return r, 0, errPayload
	}
	r.Time = time.UnixMilli(int64(ms)).UTC()
	last := byte(0)
	for rest := payload[fixedBytes:]; len(rest) > 0; {
		if len(rest) < 3 {
			return r, 0, errPayload
		}
		tag, n := rest[0], int(binary.LittleEndian.Uint16(rest[1:]))
		if tag <= last || n == 0 || n > len(rest)-3 {
			return r, 0, errPayload
		}
		if err := r.field(tag, rest[3:3+n]); err != nil {
			return r, 0, err
		}
		last, rest = tag, rest[3+n:]
	}
	return r, group, nil
}

// maxTime is the end of year 9999, in ms.
const maxTime = 253402300799999

// text returns where a field of text goes, nil for another one.
func (r *Record) text(tag byte) *string {
	switch tag {
	case tagCaller:
		return &r.Who.ID
	case tagName:
		return &r.Who.Name
	case tagRole:
		return &r.Who.Role
	case tagAddress:
		return &r.Who.Address
	case tagCall:
		return &r.Call
	case tagWhat:
		return &r.What
	}
	return nil
}

// number returns where a field of a number goes, nil for another one.
func (r *Record) number(tag byte) *uint64 {
	switch tag {
	case tagMoreNames:
		return &r.MoreNames
	case tagMoreKeys:
		return &r.MoreKeys
	case tagCount:
		return &r.Count
	case tagSkipped:
		return &r.Skipped
	case tagCut:
		return &r.Cut
	}
	return nil
}

// field reads a field.
func (r *Record) field(tag byte, b []byte) error {
	ok := false
	switch tag {
	case tagCode:
		if ok = len(b) == 2; ok {
			r.Code = query.Code(binary.LittleEndian.Uint16(b))
			ok = r.Code != 0
		}
	case tagNames:
		ok = r.readNames(b)
	case tagKeys:
		for ok = len(b)%len(Hash{}) == 0 && len(b) <= MaxKeys*len(Hash{}); ok && len(b) > 0; b = b[len(Hash{}):] {
			r.Keys = append(r.Keys, Hash(b))
		}
	case tagPosition:
		if ok = len(b) == 16; ok {
			r.Position = query.Position{Epoch: binary.LittleEndian.Uint64(b), Applied: binary.LittleEndian.Uint64(b[8:])}
			ok = r.Position != query.Position{}
		}
	case tagRemoved:
		if ok = len(b) == 8+len(r.Removed.Hash); ok {
			r.Removed.Number = binary.LittleEndian.Uint64(b)
			copy(r.Removed.Hash[:], b[8:])
			ok = r.Removed.Number != 0
		}
	default:
		if text := r.text(tag); text != nil {
			most := MaxTextBytes
			if tag == tagWhat {
				most = MaxWhatBytes
			}
			*text, ok = string(b), utf8.Valid(b) && len(b) <= most
		} else if number := r.number(tag); number != nil {
			var n int
			*number, n = binary.Uvarint(b)
			ok = *number != 0 && n == len(b) && b[n-1] != 0 // no longer than it must be
		}
	}
	if !ok {
		return errPayload
	}
	return nil
}

func (r *Record) readNames(b []byte) (ok bool) {
	if len(b) > maxNamesBytes {
		return false
	}
	for len(b) > 0 {
		n := int(b[0])
		if n > len(b)-1 || n > MaxTextBytes || !utf8.Valid(b[1:1+n]) || len(r.Names) == MaxNames {
			return false
		}
		r.Names = append(r.Names, string(b[1:1+n]))
		b = b[1+n:]
	}
	return true
}

// Told returns in words what the record says of what was asked, beside the people and their number.
func (r *Record) Told() string {
	var parts []string
	if r.What != "" {
		parts = append(parts, r.What)
	}
	if len(r.Names) > 0 {
		names := strings.Join(r.Names, ", ")
		if r.MoreNames > 0 {
			names += fmt.Sprintf(" and %d more", r.MoreNames)
		}
		parts = append(parts, "names "+names)
	}
	if r.MoreKeys > 0 {
		parts = append(parts, fmt.Sprintf("%d more people", r.MoreKeys))
	}
	if r.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d more calls denied before", r.Skipped))
	}
	if r.Removed.Number > 0 {
		parts = append(parts, fmt.Sprintf("up to record %d", r.Removed.Number))
	}
	if r.Cut > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", r.Cut))
	}
	return strings.Join(parts, "; ")
}
