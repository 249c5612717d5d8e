package schema

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// The format numbers of the binary forms; see the package comment.
const (
	attributeFormat = 1
	schemaFormat    = 1
)

// Errors of the decoders; test with errors.Is.
var (
	// ErrNewerFormat means that a newer version of this program wrote the bytes.
	ErrNewerFormat = errors.New("schema: written in a newer format")
	// ErrCorrupt means that the bytes are damaged.
	ErrCorrupt = errors.New("schema: corrupt")
)

// The flag bits of an attribute. They are stored and append-only.
const (
	flagRequired = 1 << iota
	flagUnique
	flagPII
	flagHistory
	flagDeprecated
	flagsKnown = 1<<iota - 1
)

// The flag bits of an event type.
const (
	flagEventDeprecated = 1
	flagEventForgotten  = 2
	flagEventReduced    = 4
)

// AppendAttribute appends the binary form of a to dst. It checks nothing.
func AppendAttribute(dst []byte, a *Attribute) []byte {
	var flags byte
	for i, set := range [...]bool{a.Required, a.Unique, a.PII, a.History, a.Deprecated} {
		if set {
			flags |= 1 << i
		}
	}
	dst = append(dst, attributeFormat)
	dst = binary.AppendUvarint(dst, uint64(a.ID))
	dst = appendString(dst, a.Name)
	dst = append(dst, byte(a.Kind), a.Scale, byte(a.Storage), byte(a.Class), flags)
	dst = appendValue(dst, a.Min)
	dst = appendValue(dst, a.Max)
	dst = appendString(dst, a.Format)
	dst = binary.AppendUvarint(dst, uint64(len(a.Allowed)))
	for _, v := range a.Allowed {
		dst = appendValue(dst, v)
	}
	if a.History {
		dst = binary.AppendUvarint(dst, uint64(a.Changes))
	}
	return dst
}

// DecodeAttribute decodes an attribute at the start of b and returns it and the
// number of its bytes; it copies what it keeps. It checks the form, not the rules
// of a definition (see [Attribute.Validate]), and fails with [ErrNewerFormat] or [ErrCorrupt].
func DecodeAttribute(b []byte) (a Attribute, n int, err error) {
	d := decoder{b: b}
	a = d.attribute()
	return a, d.at, d.err
}

// AppendSchema appends the binary form of s to dst.
func AppendSchema(dst []byte, s *Schema) []byte {
	dst = append(dst, schemaFormat)
	dst = binary.AppendUvarint(dst, s.Version)
	dst = binary.AppendUvarint(dst, uint64(s.NextID))
	dst = binary.AppendUvarint(dst, uint64(len(s.Attributes)))
	for i := range s.Attributes {
		dst = AppendAttribute(dst, &s.Attributes[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Events)))
	for i := range s.Events {
		dst = appendEvent(dst, &s.Events[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Computed)))
	for i := range s.Computed {
		dst = appendString(appendString(dst, s.Computed[i].Name), s.Computed[i].Text)
		dst = append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(s.ForgottenIDs))
}

func appendEvent(dst []byte, e *Event) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.ID))
	dst = appendString(dst, e.Name)
	dst = binary.AppendUvarint(dst, uint64(e.Retention))
	var flags byte
	if e.Deprecated {
		flags = flagEventDeprecated
	}
	if e.Forgotten > 0 {
		flags |= flagEventForgotten
	}
	if e.Reduced {
		flags |= flagEventReduced
	}
	dst = append(dst, byte(e.Class), flags)
	if e.Forgotten > 0 {
		dst = binary.AppendUvarint(dst, uint64(e.Forgotten))
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Properties)))
	for i := range e.Properties {
		dst = AppendAttribute(dst, &e.Properties[i])
	}
	return dst
}

// DecodeSchema decodes a schema that fills b; it copies what it keeps. It fails with
// [ErrNewerFormat] or [ErrCorrupt].
func DecodeSchema(b []byte) (*Schema, error) {
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != schemaFormat {
		d.version("schema", v)
	}
	version := d.uvarint()
	d.next = AttrID(d.uint32())
	if d.err == nil && d.next < FirstUserAttr {
		d.corrupt("a bad next id")
	}
	d.taken = make(map[AttrID]bool)
	attributes, events := d.attributes(), d.events()
	computed, ids := d.computed(attributes), d.uint32()
	if d.err == nil && ids > MaxRetention {
		d.corrupt("days whose ids are forgotten")
	}
	if d.err == nil && d.at != len(b) {
		d.corrupt("trailing bytes")
	}
	if d.err != nil {
		return nil, d.err
	}
	s := New(version, d.next, attributes, events...)
	s.Computed, s.ForgottenIDs = computed, ids
	return s, nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.kind))
	switch v.kind {
	case Absent:
	case String:
		dst = appendString(dst, v.str)
	case Set:
		dst = binary.AppendUvarint(dst, uint64(len(v.set)))
		for _, s := range v.set {
			dst = appendString(dst, s)
		}
	case Decimal:
		dst = binary.AppendVarint(append(dst, v.scale), v.num)
	default:
		dst = binary.AppendVarint(dst, v.num)
	}
	return dst
}

// decoder reads the binary form and keeps the first error; after it, everything reads as zero.
type decoder struct {
	b   []byte
	at  int
	err error

	next  AttrID          // of a schema: all ids are below it
	taken map[AttrID]bool // of a schema: the ids so far
}

func (d *decoder) corrupt(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s at byte %d", ErrCorrupt, what, d.at)
	}
}

func (d *decoder) version(what string, got byte) {
	if d.err != nil {
		return
	}
	if got == 0 { // never written: zeroed bytes, not a newer program
		d.corrupt(what + " format 0")
		return
	}
	d.err = fmt.Errorf("%w: %s %d", ErrNewerFormat, what, got)
}

func (d *decoder) byte() byte {
	if d.err != nil || d.at >= len(d.b) {
		d.corrupt("too short")
		return 0
	}
	d.at++
	return d.b[d.at-1]
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.corrupt("bad number")
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.corrupt("number too large")
		return 0
	}
	return uint32(v)
}

// length reads a count of things that take at least one byte each, so that no
// forged count makes a reader allocate more than its input.
func (d *decoder) length() int {
	v := d.uvarint()
	if d.err == nil && v > uint64(len(d.b)-d.at) {
		d.corrupt("length past the end")
		return 0
	}
	return int(v)
}

func (d *decoder) string(limit int) string {
	n := d.length()
	if d.err != nil {
		return ""
	}
	s := string(d.b[d.at : d.at+n])
	if n > limit || !utf8.ValidString(s) {
		d.corrupt("bad string")
		return ""
	}
	d.at += n
	return s
}

func (d *decoder) attribute() (a Attribute) {
	if v := d.byte(); d.err == nil && v != attributeFormat {
		d.version("attribute", v)
	}
	a.ID, a.Name = AttrID(d.uint32()), d.string(MaxNameBytes)
	a.Kind, a.Scale = Kind(d.byte()), d.byte()
	a.Storage, a.Class = Storage(d.byte()), DataClass(d.byte())
	flags := d.byte()
	d.known("kind", byte(a.Kind), byte(Set))
	d.known("storage", byte(a.Storage), byte(StorageInline))
	d.known("data class", byte(a.Class), byte(Correspondence))
	d.known("flags", flags, flagsKnown)
	a.Required, a.Unique, a.PII = flags&flagRequired != 0, flags&flagUnique != 0, flags&flagPII != 0
	a.History, a.Deprecated = flags&flagHistory != 0, flags&flagDeprecated != 0
	a.Min, a.Max, a.Format = d.value(), d.value(), d.string(MaxNameBytes)
	n := d.length()
	for i := 0; i < n && d.err == nil; i++ {
		a.Allowed = append(a.Allowed, d.value())
	}
	if a.History {
		a.Changes = EventID(d.uint32())
	}
	if d.err != nil {
		return Attribute{}
	}
	return a
}

// attributes reads the attributes of a schema, or the properties of an event type.
func (d *decoder) attributes() (out []Attribute) {
	n := d.length()
	names := make(map[string]bool)
	var last AttrID
	for i := 0; i < n && d.err == nil; i++ {
		a := d.attribute()
		d.id(a.ID, &last)
		if a.History {
			var any AttrID // they ascend with the changes that turned history on, not with the attributes
			d.id(AttrID(a.Changes), &any)
		}
		d.distinct(a.Name, names)
		out = append(out, a)
	}
	return out
}

func (d *decoder) events() (out []Event) {
	n := d.length()
	names := make(map[string]bool)
	var last AttrID
	for i := 0; i < n && d.err == nil; i++ {
		e := Event{ID: EventID(d.uint32()), Name: d.string(MaxNameBytes), Retention: d.uint32(), Class: DataClass(d.byte())}
		flags := d.byte()
		d.known("data class", byte(e.Class), byte(Correspondence))
		d.known("flags of an event", flags, flagEventDeprecated|flagEventForgotten|flagEventReduced)
		e.Deprecated, e.Reduced = flags&flagEventDeprecated != 0, flags&flagEventReduced != 0
		if flags&flagEventForgotten != 0 {
			if e.Forgotten = d.uint32(); d.err == nil && (e.Forgotten == 0 || e.Forgotten > MaxRetention) {
				d.corrupt("days that an event forgets")
			}
		}
		d.id(AttrID(e.ID), &last)
		d.distinct(e.Name, names)
		e.Properties = d.attributes()
		out = append(out, e)
	}
	return out
}

// computed reads the computed attributes, whose names no attribute has.
func (d *decoder) computed(attributes []Attribute) (out []Computed) {
	n := d.length()
	names := make(map[string]bool)
	for i := range attributes {
		names[attributes[i].Name] = true
	}
	for i := 0; i < n && d.err == nil; i++ {
		c := Computed{d.string(MaxNameBytes), d.string(MaxComputedText)}
		d.known("flags of a computed attribute", d.byte(), 0)
		d.distinct(c.Name, names)
		out = append(out, c)
	}
	return out
}

// id checks an id: below the next one, above the last of its list, nobody else's.
func (d *decoder) id(id AttrID, last *AttrID) {
	if d.err == nil && (id < FirstUserAttr || id >= d.next || id <= *last || d.taken[id]) {
		d.corrupt("an id out of order or given twice")
	}
	d.taken[id], *last = true, id
}

func (d *decoder) distinct(name string, names map[string]bool) {
	if d.err == nil && names[name] {
		d.corrupt("a name twice")
	}
	names[name] = true
}

// known refuses a code past those of this version: later versions append to them.
func (d *decoder) known(what string, code, last byte) {
	if d.err == nil && code > last {
		d.err = fmt.Errorf("%w: %s %d", ErrNewerFormat, what, code)
	}
}

func (d *decoder) value() Value {
	v := Value{kind: Kind(d.byte())}
	d.known("kind", byte(v.kind), byte(Set))
	switch v.kind {
	case Absent:
	case String:
		v.str = d.string(MaxStringBytes)
	case Set:
		n := d.length()
		for i := 0; i < n && d.err == nil; i++ {
			v.set = append(v.set, d.string(MaxStringBytes))
		}
		if !slices.IsSorted(v.set) || len(slices.Compact(slices.Clone(v.set))) != len(v.set) {
			d.corrupt("set out of order")
		}
	case Decimal:
		v.scale, v.num = d.byte(), d.varint()
	default:
		v.num = d.varint()
	}
	if d.err == nil && !v.inRange() {
		d.corrupt("value out of range")
	}
	if d.err != nil {
		return Value{}
	}
	return v
}

// inRange reports whether an ordered value is one that its kind can have.
func (v Value) inRange() bool {
	switch v.kind {
	case Bool:
		return v.num == 0 || v.num == 1
	case Float:
		f := v.Float()
		return f == f && OrderedFloat(f) == v.num
	case Decimal:
		return v.scale <= MaxScale
	case Date:
		return v.num >= MinDate && v.num <= MaxDate
	case Timestamp:
		return v.num >= MinTimestamp && v.num <= MaxTimestamp
	}
	return true
}
