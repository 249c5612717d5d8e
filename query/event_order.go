package query

import (
	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// Events of a profile at the same time are ordered by the hash of their properties, read
// as a signed number, so that the order is the same in every store whatever the events'
// order of arrival. The hash is the sum modulo 2^64 of one term for each property that has
// a value: of [NumberTerm] for bools (0 and 1) and numbers in ordered form, of [TextTerm]
// for a string, and of the sum of TextTerm over the elements for a set. Events that are
// equal in time and hash are interchangeable. The hash is a format: it is stored with
// outcomes, and the order of events in stored parts is by it.

// NumberTerm is the term of a property whose value is a number in ordered form, or a bool.
func NumberTerm(property schema.AttrID, ordered int64) int64 {
	return int64(mix(mix(uint64(property)+0x9e3779b97f4a7c15) ^ uint64(ordered)))
}

// TextTerm is the term of a property whose value is a string, or one element of a set.
func TextTerm(property schema.AttrID, text []byte) int64 {
	return int64(mix(mix(uint64(property)+0xd1342543de82ef95) ^ xxhash.Sum64(text)))
}

// ValueTerm is the term of a property with any value, 0 if it is absent.
func ValueTerm(property schema.AttrID, v schema.Value) int64 {
	switch v.Kind() {
	case schema.Absent:
		return 0
	case schema.String:
		return TextTerm(property, []byte(v.Str()))
	case schema.Set:
		sum := int64(0)
		for _, e := range v.Elements() {
			sum += TextTerm(property, []byte(e))
		}
		return sum
	}
	return NumberTerm(property, v.Ordered())
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
