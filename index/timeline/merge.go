package timeline

import (
	"fmt"
	"slices"
)

// MergeOptions says what a merge leaves out and how it orders.
type MergeOptions struct {
	// Keep reports whether an event stays: its profile, an ordinal within the shard, is not
	// deleted, and its time is not past the retention. nil: all stay.
	Keep func(profile uint32, time int64) bool

	// Less tells which of two events of different sources comes first, if they are equal
	// in profile and time: that with the lesser hash of its properties. It is asked for
	// such events only, so it may read both. nil: that of the lower source.
	Less func(a, b Ref) bool
}

// Merge makes one part of several of the same event type and shard, whose partitions lie
// in the new one. It has the properties of all, and may have no events.
func Merge(id ID, sources []Source, o MergeOptions) (Written, error) {
	properties, err := mergeProperties(id, sources)
	if err != nil {
		return Written{}, err
	}
	b, err := NewBuilder(id, properties)
	if err != nil {
		return Written{}, err
	}
	m := merger{options: &o, builder: b}
	mem := &scratch{}
	for i, source := range sources {
		s := &stream{at: -1, block: Block{Source: source, Index: -1, mem: mem}}
		s.events.Reset(properties)
		m.streams = append(m.streams, s)
		if err := m.advance(i); err != nil {
			return Written{}, err
		}
		if s.at >= 0 {
			m.heap = append(m.heap, m.head(i))
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	for len(m.heap) > 0 {
		if err := m.take(); err != nil {
			return Written{}, err
		}
	}
	if err := m.flush(); err != nil {
		return Written{}, err
	}
	return b.Finish(), nil
}

// mergeProperties returns the properties of all sources.
func mergeProperties(id ID, sources []Source) ([]Property, error) {
	var all []Property
	for _, s := range sources {
		own := s.Part.id
		if own.Event != id.Event || own.Shard != id.Shard || !id.Partition.Holds(own.Partition) {
			return nil, fmt.Errorf("timeline: a part of event %d, shard %d, days from %d does not belong into one of event %d, shard %d, days from %d",
				own.Event, own.Shard, own.Partition.First, id.Event, id.Shard, id.Partition.First)
		}
		all = append(all, s.Part.properties...)
	}
	slices.SortFunc(all, func(a, b Property) int { return int(int64(a.ID) - int64(b.ID)) })
	for i := 1; i < len(all); i++ {
		if all[i].ID == all[i-1].ID && all[i].Class != all[i-1].Class {
			return nil, fmt.Errorf("timeline: property %d of event %d is of class %d and of class %d: rewrite the older parts first", all[i].ID, id.Event, all[i-1].Class, all[i].Class)
		}
	}
	return slices.Compact(all), nil
}

// stream is the events of one source, a block at a time.
type stream struct {
	block  Block
	events Events // with all columns of the new part
	at     int    // the event that comes next; -1: there is none
}

// head is the next event of a stream.
type head struct {
	profile uint32
	stream  uint32
	time    int64
}

// pick is an event of a stream's block.
type pick struct{ stream, event uint32 }

// merger has a heap of the next events. What it takes it notes first, and copies column by
// column before a block is replaced by the next one.
type merger struct {
	streams []*stream
	heap    []head
	picks   []pick
	builder *Builder
	options *MergeOptions
}

func (m *merger) head(i int) head {
	s := m.streams[i]
	return head{s.events.Profiles[s.at], uint32(i), s.events.Times[s.at]}
}

// advance goes to the next event of a stream that stays.
func (m *merger) advance(i int) error {
	s := m.streams[i]
	for {
		for s.at++; s.at < s.events.Len(); s.at++ {
			if m.stays(s, s.at) {
				return nil
			}
		}
		if err := m.flush(); err != nil {
			return err
		}
		s.block.Index++
		part := s.block.Source.Part
		s.at = -1
		if s.block.Index == part.blocks {
			return nil
		}
		s.block.From, s.block.To = 0, part.events(s.block.Index)
		if err := s.block.Events(&s.events); err != nil {
			return err
		}
	}
}

// stays reports whether event i is not left out.
func (m *merger) stays(s *stream, i int) bool {
	keep := m.options.Keep
	return keep == nil || keep(s.events.Profiles[i], s.events.Times[i])
}

// take picks those events of the first stream that come before all others: often a whole
// run, or a block.
func (m *merger) take() error {
	at := m.heap[0].stream
	s := m.streams[at]
	next := 0 // the second least of a heap is one of the two after the first
	if len(m.heap) > 1 {
		next = 1
	}
	if len(m.heap) > 2 && m.less(m.heap[2], m.heap[1]) {
		next = 2
	}
	m.picks = append(m.picks, pick{at, uint32(s.at)})
	for i := s.at + 1; i < s.events.Len() && m.stays(s, i); i++ {
		s.at = i
		if next > 0 && !m.less(m.head(int(at)), m.heap[next]) {
			s.at--
			break
		}
		m.picks = append(m.picks, pick{at, uint32(i)})
	}
	if err := m.advance(int(at)); err != nil {
		return err
	}
	if s.at >= 0 {
		m.heap[0] = m.head(int(at))
	} else {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.sink(0)
	return nil
}

// less reports whether a comes before b, which is of another stream. Both are next in theirs.
func (m *merger) less(a, b head) bool {
	if a.profile != b.profile {
		return a.profile < b.profile
	}
	if a.time != b.time {
		return a.time < b.time
	}
	return before(m.ref(a.stream), m.ref(b.stream), m.options.Less)
}

// ref names the next event of a stream.
func (m *merger) ref(i uint32) Ref {
	s := m.streams[i]
	return Ref{i, uint32(s.block.Index<<BlockBits + s.at)}
}

// sink moves an entry down the heap to where it belongs.
func (m *merger) sink(i int) {
	h := m.heap
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && m.less(h[child+1], h[child]) {
			child++
		}
		if !m.less(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// flush gives what was picked to the builder.
func (m *merger) flush() error {
	picks := m.picks
	m.picks = m.picks[:0]
	for len(picks) > 0 {
		n := min(len(picks), BlockSize-m.builder.pending.Len())
		m.builder.pending.addPicks(m.streams, picks[:n])
		if err := m.builder.added(n); err != nil {
			return err
		}
		picks = picks[n:]
	}
	return nil
}
