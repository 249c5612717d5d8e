package view

import (
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

const dayMillis = 86_400_000

// presenceEvents is how many events of a chunk are read in the time in which the presence
// of a day is united: of parts with fewer per day the events are read.
const presenceEvents = 50

// HasEvent returns who has an event; see [query.EventCursor]. Parts say it by their presence
// of days, if that is less than their events; only who may have one in a day that the
// window cuts is looked up.
func (c *Cursor) HasEvent(event schema.EventID, from, to int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	e := c.s.Schema.EventByID(event)
	if e == nil {
		return bitmap.Set{}, query.Errorf(query.CodeInternal, "there is no event type %d", event)
	}
	r := c.actReader()
	from = max(from, c.s.Horizon(e))
	who, err := c.whose(chunk, within)
	if err != nil || who == nil && within != nil || from >= to {
		return bitmap.Set{}, err
	}
	buf.Clear()
	err = c.s.Tiers.EachActs(event, chunk, func(a *head.Acts, n int, _ bool) error {
		switch some, all := a.In(from, to); {
		case all:
			a.AddTo(buf, n)
			c.bytes += uint64(n) * 2
		case some:
			for i, t := range a.Times[:n] {
				if t >= from && t < to {
					buf.SetBit(a.Ords[i])
				}
			}
			c.bytes += uint64(n) * 10
		}
		return nil
	})
	if units := c.s.Acts[event]; err == nil && chunk/bitmap.ShardChunks < len(units) && units[chunk/bitmap.ShardChunks] != nil {
		err = r.anyStored(c, units[chunk/bitmap.ShardChunks], from, to, chunk&chunkMask, who, buf)
	}
	if who != nil {
		buf.And(bitmap.Set{Form: bitmap.Dense, Words: who})
	}
	return bitmap.FromWords(buf), err
}

// EventDays adds who has an event on which day; see [query.EventCursor].
func (c *Cursor) EventDays(event schema.EventID, first int64, chunk int, days []bitmap.Words) error {
	from, to := first*dayMillis, (first+int64(len(days)))*dayMillis
	err := c.s.Tiers.EachActs(event, chunk, func(a *head.Acts, n int, _ bool) error {
		for i, t := range a.Times[:n] {
			if t >= from && t < to {
				days[(t-from)/dayMillis].SetBit(a.Ords[i])
			}
		}
		c.bytes += uint64(n) * 10
		return nil
	})
	units, shard := c.s.Acts[event], chunk/bitmap.ShardChunks
	if err != nil || shard >= len(units) || units[shard] == nil {
		return err
	}
	r := c.actReader()
	r.parts = units[shard].Window(from, to, r.parts[:0])
	c.tookParts(units[shard], r.parts)
	for _, p := range r.parts {
		err := p.EachDay(int32(first), int32(first)+int32(len(days))-1, func(d *base.ActDay) error {
			who := d.Presence.Chunk(chunk & chunkMask)
			c.count(who)
			days[int64(d.Day)-first].Or(who)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// anyStored adds to found who has an event in parts, of who (nil: everybody).
func (r *actReader) anyStored(c *Cursor, u *base.ActUnit, from, to int64, chunk int, who, found *bitmap.Words) error {
	r.maybe.Clear()
	r.parts, r.sources, r.edges = u.Window(from, to, r.parts[:0]), r.sources[:0], r.edges[:0]
	c.tookParts(u, r.parts)
	for _, p := range r.parts {
		s, err := p.Source()
		if err != nil {
			return err
		}
		first, last := timeline.DayOf(max(from, p.First)), timeline.DayOf(min(to-1, p.Last))
		n := s.Part.Count(chunk)
		switch {
		case n == 0:
			continue
		case n < presenceEvents*p.DaysBetween(first, last):
			r.sources = append(r.sources, s)
			continue
		}
		cut := false // by the window
		err = p.EachDay(first, last, func(d *base.ActDay) error {
			start := int64(d.Day) * dayMillis
			c.count(d.Presence.Chunk(chunk))
			if from <= max(start, p.First) && to > min(start+dayMillis-1, p.Last) {
				found.Or(d.Presence.Chunk(chunk))
				return nil
			}
			cut = true
			end := min(to-start, dayMillis)
			if to > p.Last {
				end = dayMillis
			}
			d.Presence.Between(chunk, max(from-start, 0), end, found, &r.maybe)
			return nil
		})
		if err != nil {
			return err
		}
		if cut {
			r.edges = append(r.edges, s)
		}
	}
	scan := timeline.Scan{Chunk: chunk, From: from, To: to}
	if len(r.edges) > 0 {
		if who != nil {
			r.maybe.And(bitmap.Set{Form: bitmap.Dense, Words: who})
		}
		if err := r.lookUp(c, r.edges, scan, &r.maybe, found); err != nil {
			return err
		}
	}
	if len(r.sources) == 0 {
		return nil
	}
	r.maybe.Fill()
	if who != nil {
		r.maybe = *who
	}
	return r.lookUp(c, r.sources, scan, &r.maybe, found)
}

// lookUp adds to found those of left who have an event in parts.
func (r *actReader) lookUp(c *Cursor, parts []timeline.Source, scan timeline.Scan, left, found *bitmap.Words) error {
	left.AndNot(bitmap.Set{Form: bitmap.Dense, Words: found})
	if left.IsEmpty() {
		return nil
	}
	scan.Within = left
	for r.scan.Reset(parts, scan); r.scan.Next(); {
		r.scan.AddTo(found)
	}
	c.took(&r.scan.Stats)
	return r.scan.Err()
}
