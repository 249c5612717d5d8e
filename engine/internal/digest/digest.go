// Package digest sums facts into order-independent 128-bit digests.
//
// A fact is a profile (its key's hash for the content digest, its ordinal for the
// replica digest) with one value of one attribute. A fact's hash is added when the fact
// becomes true and subtracted when it ceases to be, so the sum depends on the facts and
// on nothing else. Sums of one attribute are combined with the attribute's name at the
// end, so that a rename does not touch them.
//
// The hash is a pair of 64-bit mixes (the finalizer of splitmix64, with two constants);
// it finds accidents, not adversaries.
package digest

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Sum is a 128-bit sum of facts. The zero Sum has none.
type Sum struct{ Lo, Hi uint64 }

// Size is the length of a Sum's binary form.
const Size = 16

// Add adds another sum.
func (s *Sum) Add(t Sum) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, t.Lo, 0)
	s.Hi, _ = bits.Add64(s.Hi, t.Hi, carry)
}

// Sub takes another sum away.
func (s *Sum) Sub(t Sum) {
	var borrow uint64
	s.Lo, borrow = bits.Sub64(s.Lo, t.Lo, 0)
	s.Hi, _ = bits.Sub64(s.Hi, t.Hi, borrow)
}

// Append appends the binary form.
func (s Sum) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, s.Hi), s.Lo)
}

// Bytes returns the binary form.
func (s Sum) Bytes() (b [Size]byte) {
	s.Append(b[:0])
	return b
}

// FromBytes is the inverse of Append.
func FromBytes(b []byte) Sum {
	return Sum{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Fact hashes one fact: who is the profile's hash, what the value's.
func Fact(who, what uint64) Sum {
	a := mix(who + 0x9e3779b97f4a7c15)
	return Sum{mix(a ^ what), mix(a + bits.RotateLeft64(what, 32)*0xd1342543de82ef95 + 0x2545f4914f6cdd1d)}
}

// Number hashes a number as a value.
func Number(n int64) uint64 { return mix(uint64(n) ^ 0x6a09e667f3bcc909) }

// Text hashes a string as a value or a key.
func Text(b []byte) uint64 { return xxhash.Sum64(b) }

// String hashes a string as [Text] does.
func String(s string) uint64 { return xxhash.Sum64String(s) }

// Named returns an attribute's sum bound to its name and kind, to be added up over attributes.
func Named(name string, kind uint8, s Sum) Sum {
	if s == (Sum{}) {
		return s // an attribute that nobody has is no content
	}
	h := xxhash.New()
	_, _ = h.WriteString(name)
	_, _ = h.Write(s.Append([]byte{0, kind}))
	return Fact(h.Sum64(), s.Lo^mix(s.Hi))
}
