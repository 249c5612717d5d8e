package timeline

import (
	"math/bits"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// AddTo adds the profiles of a batch to w.
func (b *Batch) AddTo(w *bitmap.Words) {
	for _, p := range b.Profiles {
		w[p>>6] |= 1 << (p & 63)
	}
}

// Slots numbers the profiles of a set from 0 up, so that what is kept per profile takes
// memory for these only.
type Slots struct {
	words  bitmap.Words
	before [bitmap.WordsPerSet]uint32 // profiles in the words before
	n      int
}

// Reset numbers the profiles of within, all of the chunk if it is nil.
func (s *Slots) Reset(within *bitmap.Words) {
	if within == nil {
		s.words.Fill()
	} else {
		s.words = *within
	}
	s.n = 0
	for i, w := range s.words {
		s.before[i] = uint32(s.n)
		s.n += bits.OnesCount64(w)
	}
}

// Len returns how many profiles there are.
func (s *Slots) Len() int { return s.n }

// Slot returns the number of a profile, which is in the set.
func (s *Slots) Slot(p uint16) int {
	return int(s.before[p>>6]) + bits.OnesCount64(s.words[p>>6]&(1<<(p&63)-1))
}

// Value is what is known of an Int property over some events of a profile.
type Value struct {
	Count    uint32 // events that have a value
	Min, Max int64  // 0 if there is none
	Sum      Int128
}

func (v *Value) add(x int64) {
	if v.Count == 0 {
		v.Min, v.Max = x, x
	}
	v.Count++
	v.Min, v.Max = min(v.Min, x), max(v.Max, x)
	v.Sum = v.Sum.Add(x)
}

// Values folds an Int property per profile. The zero Values is ready for Reset.
type Values struct {
	Slots
	Values   []Value // by slot
	property schema.AttrID
	ints     [BlockSize]int64
	meant    Mask
}

// Reset forgets all, and asks for a property of the profiles of within (nil: all of the
// chunk), to which the batches must be limited too.
func (v *Values) Reset(property schema.AttrID, within *bitmap.Words) {
	v.Slots.Reset(within)
	v.property = property
	v.Values = cleared(v.Values, v.Len())
}

// cleared returns n zeros in the memory of s if it suffices.
func cleared[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// Add adds the events of a batch.
func (v *Values) Add(b *Batch) error {
	if err := b.Ints(v.property, v.ints[:], &v.meant); err != nil {
		return err
	}
	if b.Hits != nil {
		for i := range v.meant {
			v.meant[i] &= b.Hits[i]
		}
	}
	for r, p := range b.Profiles {
		out := &v.Values[v.Slot(p)]
		for i := int(b.Starts[r]); i < int(b.Ends[r]); i++ {
			if v.meant.Has(i) {
				out.add(v.ints[i])
			}
		}
	}
	return nil
}

// Ref names an event: of which of the sources, and which of the part.
type Ref struct{ Source, Event uint32 }

// Bounds is the first and the last of some events of a profile, and how many there are.
type Bounds struct {
	Count       uint32
	First, Last int64 // their times; 0 if there is none
	FirstRef    Ref
	LastRef     Ref
}

// Ends finds the first and the last event per profile. The zero Ends is ready for Reset.
type Ends struct {
	Slots
	Bounds []Bounds // by slot

	// Less tells which of two events of different sources comes first, if they are equal
	// in profile and time. nil: that of the lower source.
	Less func(a, b Ref) bool
}

// Reset forgets all, and asks for the profiles of within (nil: all of the chunk), to which
// the batches must be limited too.
func (e *Ends) Reset(within *bitmap.Words) {
	e.Slots.Reset(within)
	e.Bounds = cleared(e.Bounds, e.Len())
}

// Add adds the events of a batch. Batches of one source come in its order.
func (e *Ends) Add(b *Batch) error {
	p, packed, err := b.piece(timeColumn)
	if err != nil {
		return err
	}
	base := uint32(b.Index << BlockBits)
	for r, profile := range b.Profiles {
		i, j := int(b.Starts[r]), int(b.Ends[r])-1
		first := p.min + int64(number(packed, i, int(p.width))*p.unit)
		last := p.min + int64(number(packed, j, int(p.width))*p.unit)
		e.add(&e.Bounds[e.Slot(profile)], uint32(b.Count(r)), first, Ref{uint32(b.At), base + uint32(i)}, last, Ref{uint32(b.At), base + uint32(j)})
	}
	return nil
}

func (e *Ends) add(out *Bounds, count uint32, first int64, firstRef Ref, last int64, lastRef Ref) {
	if out.Count == 0 || first < out.First || first == out.First && e.before(firstRef, out.FirstRef) {
		out.First, out.FirstRef = first, firstRef
	}
	if out.Count == 0 || last > out.Last || last == out.Last && !e.before(lastRef, out.LastRef) {
		out.Last, out.LastRef = last, lastRef
	}
	out.Count += count
}

// before reports whether a comes before b, which are equal in profile and time.
func (e *Ends) before(a, b Ref) bool { return before(a, b, e.Less) }

func before(a, b Ref, less func(a, b Ref) bool) bool {
	if a.Source == b.Source {
		return a.Event < b.Event
	}
	if less == nil {
		return a.Source < b.Source
	}
	return less(a, b)
}
