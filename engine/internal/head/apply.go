package head

import (
	"slices"
	"sync/atomic"

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

// Overwrite returns the object that stands for what an overlay says and then for the values
// of a column, which are those of some profiles, by ascending ordinal; it has at least one.
func (st *Settler) Overwrite(o *Overlay, ords []uint16, c *effect.Column) *Settled {
	var l L0
	var slot atomic.Pointer[list]
	top := l.grow(&slot, c, 0, c.Len())
	for i := range c.Len() {
		top.put(i, 0, ords[c.Row(i)], c, i)
	}
	top.n.Store(uint32(c.Len()))
	lists := append(slices.Clone(o.lists), entries{top, c.Len()})
	var out *Settled
	if c.Class == effect.Set {
		out = settleSets(o.settled, lists)
	} else {
		out = st.settleLast(c.Class, o.settled, lists)
	}
	out.finish()
	return out
}

// Replace makes the overlay say what an object does.
func (o *Overlay) Replace(s *Settled) { o.settled, o.lists = s, o.lists[:0] }
