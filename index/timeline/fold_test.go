package timeline

import (
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
)

// What tests take out of batches, to compare it with the model.

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
