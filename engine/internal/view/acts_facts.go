package view

import (
	"math"
	"math/bits"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

var (
	_ query.FactsCursor = (*Cursor)(nil)
	_ query.FactsView   = View{}
)

// factsReader is what a cursor needs to read facts.
type factsReader struct {
	columns timeline.FactsReader
	meant   timeline.Mask // who is asked for
	ords    [timeline.BlockSize]uint16
	slots   [timeline.BlockSize]uint16 // where their facts are
	block   query.FactsBlock
}

// Facts tells what events come to; see [query.FactsCursor]. Facts answer for a profile if
// all its events that they are of are in the scan: none is past the retention, or later.
func (c *Cursor) Facts(scan *query.EventScan, of query.FactsOf, chunk int, within *bitmap.Set, told *bitmap.Words, f func(b *query.FactsBlock)) error {
	told.Clear()
	e := c.s.Schema.EventByID(scan.Event)
	if e == nil {
		return query.Errorf(query.CodeInternal, "there is no event type %d", scan.Event)
	}
	u := c.s.actUnit(scan.Event, chunk)
	if u == nil || u.Facts == nil || of.Property != 0 && !u.Facts.Has(of.Property) {
		return nil
	}
	r := c.actReader()
	from := max(scan.From, c.s.Horizon(e))
	who, err := c.whose(chunk, within)
	if err != nil || who == nil && within != nil || from >= scan.To {
		return err
	}
	if r.facts == nil {
		r.facts = new(factsReader)
	}
	first, last := u.SummedTimes()
	days := factsDays{all: first >= from && last < scan.To,
		first: timeline.DayOf(min(from, schema.MaxTimestamp) + dayMillis - 1), end: timeline.DayOf(min(scan.To, schema.MaxTimestamp+1))}
	told.Fill() // who is in no block has none of the events that facts are of
	const blocks = bitmap.ChunkSize / timeline.BlockSize
	for i := range blocks {
		at := chunk&chunkMask*blocks + i
		b, err := u.Facts.Block(at)
		if err != nil {
			return err
		}
		if b == nil || !r.facts.meet(b, i, who) {
			continue
		}
		if err := r.facts.read(b, of, &days); err != nil {
			return u.Facts.Damaged(at, err)
		}
		c.bytes += uint64(r.facts.columns.Bytes)
		c.reads.Facts++
		if r.facts.choose(b, i, of, &days, told); len(r.facts.block.Ords) > 0 {
			f(&r.facts.block)
		}
	}
	return nil
}

// history leaves out those of the parts in r.parts that have no event of the one profile
// looked for, as far as the days of its first and its last event tell.
func (r *actReader) history(u *base.ActUnit, chunk int) error {
	if u.Facts == nil {
		return nil
	}
	const blocks = bitmap.ChunkSize / timeline.BlockSize
	at, ordinal := chunk&chunkMask*blocks+int(r.person)/timeline.BlockSize, int(r.person)%timeline.BlockSize
	b, err := u.Facts.Block(at)
	if err != nil {
		return err
	}
	from, to := int64(math.MaxInt64), int64(math.MinInt64) // of whoever is in no block
	if b != nil {
		count, first, last, err := b.Of(ordinal)
		if err != nil {
			return u.Facts.Damaged(at, err)
		}
		if count > 0 {
			from, to = timeline.Day(first).Start(), timeline.Day(last+1).Start()
		}
	}
	r.parts = slices.DeleteFunc(r.parts, func(p *base.ActPart) bool {
		return u.IsSummed(p) && (p.First >= to || p.Last < from)
	})
	return nil
}

// actUnit returns the unit of an event type that has a chunk, nil if there is none.
func (s *State) actUnit(event schema.EventID, chunk int) *base.ActUnit {
	if units, shard := s.Acts[event], chunk/bitmap.ShardChunks; shard < len(units) {
		return units[shard]
	}
	return nil
}

// factsDays are the days of a scan.
type factsDays struct {
	all        bool  // all events that facts are of are in the scan
	first, end int32 // the first that is wholly in it, and that which is behind the last
}

// meet finds out who is meant of block i of a chunk, out of who (nil: everybody).
func (r *factsReader) meet(b *timeline.FactsBlock, i int, who *bitmap.Words) bool {
	r.meant = b.Present
	if who != nil {
		for k := range r.meant {
			r.meant[k] &= who[i*len(r.meant)+k]
		}
	}
	return !r.meant.IsEmpty()
}

// read reads the columns that are asked for.
func (r *factsReader) read(b *timeline.FactsBlock, of query.FactsOf, days *factsDays) error {
	r.columns.Reset(b)
	if !days.all {
		if err := r.columns.Days(); err != nil {
			return err
		}
	}
	if of.Property == 0 {
		return nil
	}
	_, err := r.columns.Property(of.Property, of.Sums)
	return err
}

// choose makes the block of those who are meant and whose facts answer. The columns keep
// what is chosen of them.
func (r *factsReader) choose(b *timeline.FactsBlock, i int, of query.FactsOf, days *factsDays, told *bitmap.Words) {
	x := &r.columns
	everybody := days.all && r.meant == b.Present
	n, slot := 0, 0
	for k, present := range b.Present {
		for ; present != 0; present &= present - 1 {
			bit := present & -present
			switch {
			case !everybody && r.meant[k]&bit == 0:
			case !days.all && (x.First[slot] < days.first || x.Last[slot] >= days.end):
				told[i*len(b.Present)+k] &^= bit
			default:
				r.ords[n] = uint16((i*len(b.Present)+k)<<6 | bits.TrailingZeros64(bit))
				r.slots[n] = uint16(slot)
				n++
			}
			slot++
		}
	}
	r.block = query.FactsBlock{Ords: r.ords[:n], Counts: x.Count[:n]}
	if of.Property != 0 {
		r.block = query.FactsBlock{Ords: r.ords[:n], Counts: x.Values[:n], Min: x.Min[:n], Max: x.Max[:n]}
	}
	if of.Sums {
		r.block.Sums = x.Sum[:n]
	}
	if n == slot {
		return
	}
	for k, s := range r.slots[:n] { // none is behind its new place
		if of.Property == 0 {
			x.Count[k] = x.Count[s]
			continue
		}
		x.Values[k], x.Min[k], x.Max[k] = x.Values[s], x.Min[s], x.Max[s]
		if of.Sums {
			x.Sum[k] = x.Sum[s]
		}
	}
}

// SummedEvents tells of how many events there are facts; see [query.FactsView].
func (v View) SummedEvents(event schema.EventID, property schema.AttrID) (n uint64) {
	for _, u := range v.S.Acts[event] {
		if u != nil && u.Facts != nil && (property == 0 || u.Facts.Has(property)) {
			summed, _ := u.SummedEvents()
			n += summed
		}
	}
	return n
}
