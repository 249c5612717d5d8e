package timeline

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// tableFrom is from how many ranges of codes on a condition looks each code up in a table
// instead of comparing all of them with each range: a comparison costs about a tenth of a
// look-up.
const tableFrom = 8

// Range is the values from Lo to Hi, both included.
type Range struct{ Lo, Hi int64 }

// Condition is a comparison of one property, a Code or an Int, with ranges. It is unknown
// for an event without a value. A Condition may be used by several goroutines.
type Condition struct {
	property schema.AttrID
	ranges   []Range // ascending, with gaps between them
	not      bool
	has      bool     // asks for a value instead of comparing it, and is never unknown
	table    []uint64 // bit per code up to the greatest
}

// In is the condition that the value lies in one of the ranges, in any order.
func In(property schema.AttrID, ranges ...Range) Condition {
	c := Condition{property: property}
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r Range) bool { return r.Lo > r.Hi })
	slices.SortFunc(sorted, func(a, b Range) int {
		if a.Lo < b.Lo {
			return -1
		}
		return 1
	})
	for _, r := range sorted {
		if n := len(c.ranges); n > 0 && (r.Lo <= c.ranges[n-1].Hi || r.Lo-1 == c.ranges[n-1].Hi) {
			c.ranges[n-1].Hi = max(c.ranges[n-1].Hi, r.Hi)
			continue
		}
		c.ranges = append(c.ranges, r)
	}
	if n := len(c.ranges); n >= tableFrom && c.ranges[0].Lo >= 0 && c.ranges[n-1].Hi < schema.MaxDictionary {
		c.table = make([]uint64, c.ranges[n-1].Hi>>6+1)
		for _, r := range c.ranges {
			for v := r.Lo; v <= r.Hi; v++ {
				c.table[v>>6] |= 1 << (v & 63)
			}
		}
	}
	return c
}

// InCodes is the condition that the value is one of the codes.
func InCodes(property schema.AttrID, codes ...uint32) Condition {
	ranges := make([]Range, len(codes))
	for i, code := range codes {
		ranges[i] = Range{int64(code), int64(code)}
	}
	return In(property, ranges...)
}

// Has is the condition that there is a value. It is never unknown.
func Has(property schema.AttrID) Condition { return Condition{property: property, has: true} }

// Not returns the condition that is true where c is false, and unknown where c is.
func (c Condition) Not() Condition {
	c.not = !c.not
	return c
}

// All is a filter that is true where all conditions are, and false where one is.
type All []Condition

// Where is a filter in the form that [Scan] wants.
func (f All) Where(b *Block, yes, no *Mask) error {
	var one, none Mask
	yes.fill(b.From, b.To)
	*no = Mask{}
	for i := range f {
		if err := f[i].where(b, &one, &none); err != nil {
			return err
		}
		for w := range yes {
			yes[w] &= one[w]
			no[w] |= none[w]
		}
		if yes.IsEmpty() && no.count(b.From, b.To) == b.To-b.From {
			return nil
		}
	}
	return nil
}

// where sets yes to the events for which the condition is true, no to those for which it
// is false.
func (c *Condition) where(b *Block, yes, no *Mask) error {
	if c.not {
		yes, no = no, yes
	}
	var present Mask
	column := b.Source.Part.columnOf(c.property)
	if column < 0 {
		*yes, *no = Mask{}, Mask{}
		if c.has {
			no.fill(b.From, b.To)
		}
		return nil
	}
	if class := b.Source.Part.class(column); class > Int && !c.has {
		return fmt.Errorf("timeline: property %d of event %d is of class %d and has no number to compare", c.property, b.Source.Part.id.Event, class)
	}
	p := &b.Source.Part.column(column)[b.Index]
	if n := int(p.count); n == 0 || n == b.Source.Part.events(b.Index) && c.decided(p) {
		*yes, *no = Mask{}, Mask{}
		if n > 0 && c.holds(p) {
			yes.fill(b.From, b.To)
		} else if n > 0 || c.has {
			no.fill(b.From, b.To)
		}
		return nil
	}
	p, packed, err := b.presence(column, &present)
	if err != nil {
		return err
	}
	if c.has {
		*yes = present
	} else {
		b.compare(p, packed, &present, c.ranges, c.table, yes)
	}
	var looked Mask
	looked.fill(b.From, b.To)
	for i := range yes {
		yes[i] &= present[i] & looked[i]
		no[i] = looked[i] &^ yes[i]
		if !c.has {
			no[i] &= present[i]
		}
	}
	return nil
}

// decided reports whether the bounds of a piece alone decide the condition.
func (c *Condition) decided(p *piece) bool {
	if c.has {
		return true
	}
	for _, r := range c.ranges {
		if r.Hi >= p.min && r.Lo <= p.max() {
			return r.Lo <= p.min && r.Hi >= p.max()
		}
	}
	return true
}

// holds reports whether the least value of a piece meets the condition.
func (c *Condition) holds(p *piece) bool { return c.has || inRanges(c.ranges, p.min) }

func inRanges(ranges []Range, v int64) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool { return r.Lo <= v && v <= r.Hi })
}

// compare sets out to the events From to To-1 whose value lies in a range, or has a bit in
// table if that is not nil. What it says of other events, and of those without a value,
// means nothing.
func (b *Block) compare(p *piece, packed []byte, present *Mask, ranges []Range, table []uint64, out *Mask) {
	whole := *b
	whole.From &^= 63 // so that a word of out begins with the first number
	*out = Mask{}
	words := out[whole.From>>6:]
	switch {
	case p.width == 0:
		if inRanges(ranges, p.min) {
			out.fill(b.From, b.To)
		}
	case table != nil && p.width <= 32:
		for i, v := range stored[uint32](&whole, p, packed, present) {
			if code := uint64(p.min) + uint64(v)*p.unit; code>>6 < uint64(len(table)) {
				words[i>>6] |= table[code>>6] >> (code & 63) & 1 << (i & 63)
			}
		}
	case p.width <= 8:
		between(p, ranges, stored[uint8](&whole, p, packed, present), words, bitmap.BetweenU8)
	case p.width <= 16:
		between(p, ranges, stored[uint16](&whole, p, packed, present), words, bitmap.BetweenU16)
	case p.width <= 32:
		between(p, ranges, stored[uint32](&whole, p, packed, present), words, bitmap.BetweenU32)
	default:
		between(p, ranges, stored[uint64](&whole, p, packed, present), words, bitmap.BetweenU64)
	}
}

// stored returns the stored numbers of the events From to To-1, 0 for those without a
// value, in the scratch memory.
func stored[T uint8 | uint16 | uint32 | uint64](b *Block, p *piece, packed []byte, present *Mask) []T {
	out := unsafe.Slice((*T)(unsafe.Pointer(&b.mem.numbers)), b.To-b.From)
	if n := unpackDense(b, p, packed, present, out); n < len(out) {
		spread(out, present, b.From, n, 0)
	}
	return out
}

// between adds to out the numbers that lie in a range of values.
func between[T uint8 | uint16 | uint32 | uint64](p *piece, ranges []Range, numbers []T, out []uint64, kernel func([]T, T, T, []uint64)) {
	var one Mask
	for _, r := range ranges {
		from, to, ok := p.frame(r)
		if !ok {
			continue
		}
		kernel(numbers, T(from), T(to), one[:])
		for i := range (len(numbers) + 63) / 64 {
			out[i] |= one[i]
		}
	}
}

// frame translates a range of values into one of stored numbers, if any lies in it.
func (p *piece) frame(r Range) (from, to uint64, ok bool) {
	if r.Lo > r.Hi || r.Hi < p.min || r.Lo > p.max() {
		return 0, 0, false
	}
	to = p.top
	if r.Hi < p.max() {
		to = uint64(r.Hi-p.min) / p.unit
	}
	if r.Lo > p.min {
		from = (uint64(r.Lo-p.min)-1)/p.unit + 1
	}
	return from, to, from <= to
}
