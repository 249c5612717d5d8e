package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// PersonEvent is what an analysis reads of an event beside whose it is: the value of one
// property, and a key by which events of one person are put together.
type PersonEvent struct{ Key, Value int64 }

// personEventBytes is what is kept of one: as it was read, and by person.
const personEventBytes = 24 + 16

// personEvents is a worker's memory for them.
type personEvents struct {
	read   []readPersonEvent
	sorted []PersonEvent
	who    bitmap.Words     // who has any
	ends   []uint32         // by who: how many, then where in sorted they end; 0 between two chunks
	texts  map[string]int64 // of one chunk: a number for each key that has no code
	bytes  int              // of the texts of a block
}

// keyTextBytes is what one takes beside its bytes, in a map that is half full.
const keyTextBytes = 2 * (16 + 8 + 1)

type readPersonEvent struct {
	PersonEvent
	who uint16
}

// ReadFor adds to what is read of a list what [StudyChunk.PerPerson] needs: a value is of any
// property but an inline string, of a set each element is one; a key is the time, or of any
// property but a set, 0 is none.
func (l *StudyList) ReadFor(key, value schema.AttrID) error {
	if key == 0 {
		return l.list.need(value)
	}
	return l.list.need(key, value)
}

// PerPerson calls f with the events of a list, of each of within who has any, in ascending
// order of people. Those of one person are in no order; an event without the value or the key
// is not among them, one with a set of values is several. A key is the time, the code or the
// ordered form of a value; or of inline strings a number by which it is told from other keys
// of this chunk. What f gets is its own during the call.
func (c *StudyChunk) PerPerson(ctx context.Context, l *StudyList, key, value schema.AttrID, within *bitmap.Set, f func(who uint16, events []PersonEvent) error) error {
	e := c.w.eventsOf(within)
	defer e.release(e.mark())
	return c.w.inParts(within, func(within *bitmap.Set) error {
		p := &c.persons
		p.read = p.read[:0]
		clear(p.texts)
		err := c.w.eachEvent(ctx, l.list, within, func(h *hits) error {
			had := len(p.read)
			if err := p.readBlock(h, l, key, value); err != nil {
				return err
			}
			return e.keep((len(p.read)-had)*personEventBytes + p.bytes)
		})
		if err != nil {
			return err
		}
		return p.each(c, f)
	})
}

// readBlock reads the events of a block.
func (p *personEvents) readBlock(h *hits, l *StudyList, key, value schema.AttrID) error {
	first := len(p.read)
	p.bytes = 0
	if err := p.readValues(h, l, value); err != nil {
		return err
	}
	if key == 0 {
		for i := first; i < len(p.read); i++ {
			p.read[i].Key = 0
		}
		return nil
	}
	number, err := h.keys(l, key, p)
	if err != nil {
		return err
	}
	kept := p.read[:first]
	for _, r := range p.read[first:] {
		if r.Key = number(int(r.Key)); r.Key != NoValue {
			kept = append(kept, r)
		}
	}
	p.read = kept
	return nil
}

// readValues reads the values of the events of a block; the key is the event's place in it.
func (p *personEvents) readValues(h *hits, l *StudyList, value schema.AttrID) error {
	a, err := attribute(l.list.view.schema, value)
	if err != nil {
		return err
	}
	if a.Kind == schema.Set {
		col, err := h.sub.cur.(*blockCursor).column(value, sizeOfSets)
		if err != nil {
			return err
		}
		for _, k := range h.at {
			from := uint32(0)
			if k > 0 {
				from = col.Sets.Ends[k-1]
			}
			for _, code := range col.Sets.Codes[from:col.Sets.Ends[k]] {
				p.read = append(p.read, readPersonEvent{PersonEvent{int64(k), int64(code)}, h.Ords[k]})
			}
		}
		return nil
	}
	number, err := h.numbers(l, value)
	if err != nil {
		return err
	}
	for _, k := range h.at {
		if n := number(int(k)); n != NoValue {
			p.read = append(p.read, readPersonEvent{PersonEvent{int64(k), n}, h.Ords[k]})
		}
	}
	return nil
}

// keys is numbers, of inline strings too.
func (h *hits) keys(l *StudyList, id schema.AttrID, p *personEvents) (func(k int) int64, error) {
	a, err := attribute(l.list.view.schema, id)
	if err != nil || !a.Inline() {
		number, err2 := h.numbers(l, id)
		if err == nil {
			err = err2
		}
		return number, err
	}
	col, err := h.sub.cur.(*blockCursor).column(id, sizeOfTexts)
	if err != nil {
		return nil, err
	}
	return func(k int) int64 {
		text := col.Texts[k]
		if text == nil || !hasBit(col.Present, uint16(k)) {
			return NoValue
		}
		n, ok := p.texts[string(text)]
		if !ok {
			if p.texts == nil {
				p.texts = map[string]int64{}
			}
			n = int64(len(p.texts))
			p.texts[string(text)] = n
			p.bytes += keyTextBytes + len(text)
		}
		return n
	}, nil
}

// each calls f with the events of each person.
func (p *personEvents) each(c *StudyChunk, f func(who uint16, events []PersonEvent) error) error {
	if p.ends == nil {
		p.ends = make([]uint32, bitmap.ChunkSize)
	}
	p.who.Clear()
	for i := range p.read {
		who := p.read[i].who
		p.who.SetBit(who)
		p.ends[who]++
	}
	c.ords = bitmap.Set{Form: bitmap.Dense, Words: &p.who}.AppendTo(c.ords[:0])
	from := uint32(0)
	for _, who := range c.ords {
		from, p.ends[who] = from+p.ends[who], from
	}
	p.sorted = grow(p.sorted, len(p.read))
	for i := range p.read {
		end := &p.ends[p.read[i].who]
		p.sorted[*end] = p.read[i].PersonEvent
		*end++
	}
	from = 0
	var err error
	for _, who := range c.ords {
		to := p.ends[who]
		if p.ends[who] = 0; err == nil {
			err = f(who, p.sorted[from:to])
		}
		from = to
	}
	return err
}

// Texts calls f with each string that a dictionary has, in order of code, until it returns
// false; some may be of events that are no more.
func (s *Study) Texts(attr schema.AttrID, f func(text string) bool) {
	s.view.Codes(attr, func(_ uint32, text string) bool { return f(text) })
}
