package timeline

import (
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// Events are events as columns: event i has Profiles[i], Times[i] and value i of every
// column. What is here is sorted by profile, then time; events that are equal in both are
// in the order that the caller has for them.
type Events struct {
	Profiles []uint32 // ordinals within the shard
	Times    []int64
	Columns  []Column // by ascending id
}

// Column is the values of one property.
type Column struct {
	Property
	Present []uint64 // bit i%64 of word i/64 tells whether event i has a value; nil: all have. A set has none
	Ints    []int64  // of an Int
	Codes   []uint32 // of a Code, schema.NoCode being absent too; of a Set, those of all events
	Ends    []uint32 // of a Set: event i has Codes[Ends[i-1]:Ends[i]], ascending
	Texts   [][]byte // of a Text, nil being absent too
}

// Len returns the number of events.
func (e *Events) Len() int { return len(e.Profiles) }

// has reports whether event i has a value.
func (c *Column) has(i int) bool {
	switch {
	case c.Class == Set:
		from, to := c.set(i)
		return from < to
	case c.Present != nil && c.Present[i>>6]>>(i&63)&1 == 0:
		return false
	case c.Class == Code:
		return c.Codes[i] != schema.NoCode
	case c.Class == Text:
		return c.Texts[i] != nil
	}
	return true
}

// set returns the piece of Codes that event i has.
func (c *Column) set(i int) (from, to uint32) {
	if i > 0 {
		from = c.Ends[i-1]
	}
	return from, c.Ends[i]
}

// Reset empties e and gives it columns, keeping their memory where it can.
func (e *Events) Reset(properties []Property) {
	e.Profiles, e.Times = e.Profiles[:0], e.Times[:0]
	e.Columns = slices.Grow(e.Columns[:0], len(properties))[:len(properties)]
	for i, p := range properties {
		c := &e.Columns[i]
		*c = Column{Property: p, Present: c.Present[:0], Ints: c.Ints[:0], Codes: c.Codes[:0], Ends: c.Ends[:0], Texts: c.Texts[:0]}
	}
}

// add appends events from to to-1 of src, whose columns are among those of e. Texts are
// shared, not copied.
func (e *Events) add(src *Events, from, to int) {
	start := len(e.Profiles)
	e.Profiles = append(e.Profiles, src.Profiles[from:to]...)
	e.Times = append(e.Times, src.Times[from:to]...)
	k := 0
	for i := range e.Columns {
		c := &e.Columns[i]
		if k < len(src.Columns) && src.Columns[k].ID == c.ID {
			c.add(&src.Columns[k], start, from, to)
			k++
		} else {
			c.addAbsent(start, to-from)
		}
	}
}

// add appends values from to to-1 of src after the n that c has.
func (c *Column) add(src *Column, n, from, to int) {
	switch c.Class {
	case Int:
		c.Ints = append(c.Ints, src.Ints[from:to]...)
	case Code:
		c.Codes = append(c.Codes, src.Codes[from:to]...)
	case Text:
		c.Texts = append(c.Texts, src.Texts[from:to]...)
	case Set:
		for i := from; i < to; i++ {
			a, b := src.set(i)
			c.Codes = append(c.Codes, src.Codes[a:b]...)
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
		return
	}
	c.Present = growMask(c.Present, n+to-from)
	for i := from; i < to; i++ {
		if src.has(i) {
			at := n + i - from
			c.Present[at>>6] |= 1 << (at & 63)
		}
	}
}

// addAbsent appends m events without a value after the n that c has.
func (c *Column) addAbsent(n, m int) {
	switch c.Class {
	case Int:
		c.Ints = append(c.Ints, make([]int64, m)...)
	case Code:
		c.Codes = append(c.Codes, make([]uint32, m)...)
	case Text:
		c.Texts = append(c.Texts, make([][]byte, m)...)
	case Set:
		for range m {
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
		return
	}
	c.Present = growMask(c.Present, n+m)
}

// growMask returns a mask that has room for n events.
func growMask(mask []uint64, n int) []uint64 {
	for len(mask) < (n+63)/64 {
		mask = append(mask, 0)
	}
	return mask
}

// addPicks appends events that a merge has picked from its streams, which have all columns
// of e.
func (e *Events) addPicks(streams []*stream, picks []pick) {
	n := len(e.Profiles)
	for _, p := range picks {
		src := &streams[p.stream].events
		e.Profiles = append(e.Profiles, src.Profiles[p.event])
		e.Times = append(e.Times, src.Times[p.event])
	}
	sources := make([]*Column, len(streams))
	for k := range e.Columns {
		for i, s := range streams {
			sources[i] = &s.events.Columns[k]
		}
		e.Columns[k].addPicks(sources, picks, n)
	}
}

// addPicks appends values after the n that c has.
func (c *Column) addPicks(sources []*Column, picks []pick, n int) {
	switch c.Class {
	case Int:
		for _, p := range picks {
			c.Ints = append(c.Ints, sources[p.stream].Ints[p.event])
		}
	case Code:
		for _, p := range picks {
			c.Codes = append(c.Codes, sources[p.stream].Codes[p.event])
		}
	case Text:
		for _, p := range picks {
			c.Texts = append(c.Texts, sources[p.stream].Texts[p.event])
		}
	case Set:
		for _, p := range picks {
			from, to := sources[p.stream].set(int(p.event))
			c.Codes = append(c.Codes, sources[p.stream].Codes[from:to]...)
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
		return
	}
	c.Present = growMask(c.Present, n+len(picks))
	for i, p := range picks {
		if sources[p.stream].has(int(p.event)) {
			c.Present[(n+i)>>6] |= 1 << ((n + i) & 63)
		}
	}
}
