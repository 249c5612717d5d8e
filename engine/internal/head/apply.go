package head

import (
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/schema"
)

// Code returns the code of entry i of class Code.
func (s *Settled) Code(i int) uint32 { return s.codes[i] }

// Int returns the number of entry i of class Int and whether there is one.
func (s *Settled) Int(i int) (int64, bool) { return s.number(i), s.present[i] != 0 }

// Value returns the bytes of entry i of class Bytes, nil if absent.
func (s *Settled) Value(i int) []byte { return bytesOrNil(s.bytes(i), s.present[i]) }

// Change appends to out what a set with the stored codes becomes by entry i (class Set).
func (s *Settled) Change(i int, stored, out []uint32) []uint32 {
	if s.reset[i] {
		stored = nil
	}
	c := change{ops: s.opsOf(i)}
	return c.merge(stored, out)
}

// MaxCode returns the largest code in the object, or false if it has none.
func (s *Settled) MaxCode() (top uint32, any bool) {
	switch s.Class {
	case effect.Code:
		for _, c := range s.codes {
			if c != schema.NoCode {
				top, any = max(top, c), true
			}
		}
	case effect.Set:
		if n := len(s.byCode.codes); n > 0 {
			return s.byCode.codes[n-1], true
		}
	}
	return top, any
}
