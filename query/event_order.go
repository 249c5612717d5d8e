package query

import (
	"cmp"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// ActHash is the hash by which a profile's events of one type and one time are ordered:
// xxhash64 of what is added, which is each property that has a value, in ascending order
// of id. Strings go in as text, not as codes, so that every store has the same order. The
// zero ActHash is that of no property.
//
//	4 bytes  id of the property, little endian, and then
//	8 bytes  the ordered form, little endian, or
//	         of a string: 4 bytes length, little endian, and its bytes, or
//	         of a set: 4 bytes number of elements, little endian, and each, in order, as a string
//
// A set without an element is no value. Events of equal hash are taken to be equal in all:
// then it does not matter which is first.
type ActHash struct{ bytes []byte }

// Reset forgets what was added, and keeps the memory.
func (h *ActHash) Reset() { h.bytes = h.bytes[:0] }

// Ordered adds a value of an ordered kind.
func (h *ActHash) Ordered(id schema.AttrID, n int64) {
	h.bytes = binary.LittleEndian.AppendUint32(h.bytes, uint32(id))
	h.bytes = binary.LittleEndian.AppendUint64(h.bytes, uint64(n))
}

// Text adds a string.
func (h *ActHash) Text(id schema.AttrID, s string) {
	h.bytes = binary.LittleEndian.AppendUint32(h.bytes, uint32(id))
	h.text(s)
}

// Set adds a set, whose elements are sorted.
func (h *ActHash) Set(id schema.AttrID, elements []string) {
	if len(elements) == 0 {
		return
	}
	h.bytes = binary.LittleEndian.AppendUint32(h.bytes, uint32(id))
	h.bytes = binary.LittleEndian.AppendUint32(h.bytes, uint32(len(elements)))
	for _, s := range elements {
		h.text(s)
	}
}

func (h *ActHash) text(s string) {
	h.bytes = binary.LittleEndian.AppendUint32(h.bytes, uint32(len(s)))
	h.bytes = append(h.bytes, s...)
}

// Value adds a value of any kind; an absent one adds nothing.
func (h *ActHash) Value(id schema.AttrID, v schema.Value) {
	switch v.Kind() {
	case schema.Absent:
	case schema.String:
		h.Text(id, v.Str())
	case schema.Set:
		h.Set(id, v.Elements())
	default:
		h.Ordered(id, v.Ordered())
	}
}

// Sum returns the hash of what was added since Reset.
func (h *ActHash) Sum() uint64 { return xxhash.Sum64(h.bytes) }

// compareActs orders two acts of one profile and one event type, whose properties are given.
func compareActs(properties []schema.Attribute, a, b *Act, h *ActHash) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	return cmp.Compare(h.of(properties, a.Values), h.of(properties, b.Values))
}

// of returns the hash of values that stand in the order of properties.
func (h *ActHash) of(properties []schema.Attribute, values []schema.Value) uint64 {
	h.Reset()
	for i := range properties {
		h.Value(properties[i].ID, values[i])
	}
	return h.Sum()
}
