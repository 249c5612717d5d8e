package timeline

import (
	"math"
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

// Counts counts events per profile of a chunk. 256 KiB.
type Counts [bitmap.ChunkSize]uint32

// Add adds the events of a batch.
func (c *Counts) Add(b *Batch) {
	if b.Counts != nil {
		for i, p := range b.Profiles {
			c[p] += uint32(b.Counts[i])
		}
		return
	}
	starts, ends := b.Starts[:len(b.Profiles)], b.Ends[:len(b.Profiles)]
	for i, p := range b.Profiles {
		c[p] += uint32(ends[i] - starts[i])
	}
}

// MaxAtLeast is the most that [AtLeast] counts to: what a byte holds.
const MaxAtLeast = math.MaxUint8

// AtLeast finds the profiles of a chunk that have at least k events. It counts in a byte
// per profile, 64 KiB, which stay in the second-level cache; with more than about 1,000
// events that is 1.5 to 4 times as fast as k bitmaps.
type AtLeast struct {
	counts [bitmap.ChunkSize]uint8
	k      uint8
}

// Reset forgets all, and asks for k events, 1 to MaxAtLeast.
func (a *AtLeast) Reset(k int) {
	*a = AtLeast{k: uint8(min(max(k, 1), MaxAtLeast))}
}

// Add adds the events of a batch.
func (a *AtLeast) Add(b *Batch) {
	if b.Counts != nil {
		for i, p := range b.Profiles {
			a.counts[p] = uint8(min(uint32(a.counts[p])+uint32(b.Counts[i]), MaxAtLeast))
		}
		return
	}
	starts, ends := b.Starts[:len(b.Profiles)], b.Ends[:len(b.Profiles)]
	for i, p := range b.Profiles {
		a.counts[p] = uint8(min(uint32(a.counts[p])+uint32(ends[i]-starts[i]), MaxAtLeast))
	}
}

// Words sets w to the profiles found.
func (a *AtLeast) Words(w *bitmap.Words) { bitmap.BetweenU8(a.counts[:], a.k, math.MaxUint8, w[:]) }

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

// Moment is an event in the history of a profile.
type Moment struct {
	Time int64
	Ref  Ref
}

// Moments collects the events of each profile in order of time, whatever parts they are
// of. The zero Moments is ready for Reset.
type Moments struct {
	Slots
	Less func(a, b Ref) bool // as in Ends

	slots  []uint32 // of what was added
	added  []Moment
	ends   []uint32 // by slot, once sorted
	sorted []Moment
	times  [BlockSize]int64
}

// Reset forgets all, and asks for the profiles of within (nil: all of the chunk), to which
// the batches must be limited too.
func (m *Moments) Reset(within *bitmap.Words) {
	m.Slots.Reset(within)
	m.slots, m.added = m.slots[:0], m.added[:0]
}

// Add adds the events of a batch.
func (m *Moments) Add(b *Batch) error {
	if err := b.Times(m.times[:]); err != nil {
		return err
	}
	base := uint32(b.Index << BlockBits)
	for r, p := range b.Profiles {
		slot := uint32(m.Slot(p))
		for i := int(b.Starts[r]); i < int(b.Ends[r]); i++ {
			if b.Hits == nil || b.Hits.Has(i) {
				m.slots = append(m.slots, slot)
				m.added = append(m.added, Moment{m.times[i], Ref{uint32(b.At), base + uint32(i)}})
			}
		}
	}
	return nil
}

// Sort puts what was added in order; then Of may be called.
func (m *Moments) Sort() {
	m.ends = cleared(m.ends, m.Len())
	for _, slot := range m.slots {
		m.ends[slot]++
	}
	at := uint32(0)
	for slot, n := range m.ends {
		m.ends[slot] = at // its begin; placing its events makes it its end
		at += n
	}
	m.sorted = slices.Grow(m.sorted[:0], len(m.added))[:len(m.added)]
	for i, slot := range m.slots {
		m.sorted[m.ends[slot]] = m.added[i]
		m.ends[slot]++
	}
	less := func(a, b Moment) int {
		switch {
		case a.Time < b.Time || a.Time == b.Time && before(a.Ref, b.Ref, m.Less):
			return -1
		case a.Time == b.Time && a.Ref == b.Ref:
			return 0
		}
		return 1
	}
	for slot := range m.ends {
		if own := m.Of(slot); len(own) > 1 && !slices.IsSortedFunc(own, less) {
			slices.SortFunc(own, less)
		}
	}
}

// Of returns the events of the profile with a slot; they are valid until Reset.
func (m *Moments) Of(slot int) []Moment {
	from := uint32(0)
	if slot > 0 {
		from = m.ends[slot-1]
	}
	return m.sorted[from:m.ends[slot]]
}
