package engine

import (
	"context"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// settleActs sorts the events of frozen L0s into runs.
func (c *compactor) settleActs(ctx context.Context, s *state, frozen []*head.L0, chunks int) (map[schema.EventID]head.ActRuns, error) {
	out := s.Tiers.Acts
	for i := range s.Schema.Events {
		e := &s.Schema.Events[i]
		before := out[e.ID]
		after := head.SettleActs(head.TableOf(e), chunks, before, frozen)
		added := make(map[int]int)
		for chunk, runs := range after {
			n := eventsIn(runs)
			if chunk < len(before) {
				n -= eventsIn(before[chunk])
			}
			if n > 0 {
				added[chunk/bitmap.ShardChunks] += n
			}
		}
		if len(added) == 0 {
			continue
		}
		for shard, n := range added {
			c.note(unitID{schema.AttrID(e.ID), shard}, frozen[0].First, n*(1+len(e.Properties)))
		}
		out = cloned(out)
		out[e.ID] = after
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func eventsIn(runs []*head.Acts) int {
	n := 0
	for _, a := range runs {
		n += a.Len()
	}
	return n
}

// foldActs writes the events of a type and shard as parts and publishes them.
func (c *compactor) foldActs(ctx context.Context, s *state, e *schema.Event, id unitID) error {
	start := time.Now()
	runs := s.Tiers.Acts[e.ID]
	from := min(id.shard*bitmap.ShardChunks, len(runs))
	var old *base.ActUnit
	if units := s.Acts[e.ID]; id.shard < len(units) {
		old = units[id.shard]
	}
	c.generation++
	job := &base.ActJob{ID: keys.Acts{Event: uint32(e.ID), Shard: uint32(id.shard), Generation: c.generation}, Old: old, Table: head.TableOf(e),
		Runs: runs[from:min(from+bitmap.ShardChunks, len(runs))], Folded: settledUpTo(s), Closed: timeline.DayOf(s.Received),
		Who: c.who(s, id.shard), Hash: actHashes(s, e)}
	if err := c.syncedLog(); err != nil {
		return err
	}
	r, err := base.FoldActs(ctx, c.db.kv, c.db.cache, job)
	if err != nil {
		return err
	}
	var obsolete []keys.Span
	if old != nil {
		obsolete = append(obsolete, old.ID.Span())
	}
	for _, p := range r.Gone {
		obsolete = append(obsolete, p.ID.Span())
	}
	c.db.publishBase(obsolete, func() { c.db.cache.ForgetParts(r.Gone) }, func(s *state) {
		s.Acts = cloned(s.Acts)
		units := append([]*base.ActUnit(nil), s.Acts[e.ID]...)
		for len(units) <= id.shard {
			units = append(units, nil)
		}
		units[id.shard] = r.Unit
		s.Acts[e.ID] = units
		s.Tiers.Acts = cloned(s.Tiers.Acts)
		left := append(head.ActRuns(nil), s.Tiers.Acts[e.ID]...)
		for i := from; i < min(from+bitmap.ShardChunks, len(left)); i++ {
			left[i] = nil
		}
		s.Tiers.Acts[e.ID] = left
	})
	c.folded(id, r.Written, time.Since(start))
	return c.deleteObsolete()
}

// actHashes returns what computes the hashes of stored events: codes are read as the
// texts they stand for.
func actHashes(s *state, e *schema.Event) func(timeline.Source, []uint32, []int64) error {
	return func(source timeline.Source, events []uint32, dst []int64) error {
		var all timeline.Events
		for i, n := range events {
			if err := timeline.BlockOf(source, int(n>>timeline.BlockBits)).Events(&all); err != nil {
				return err
			}
			dst[i] = actHash(s, e, &all, int(n&(timeline.BlockSize-1)))
		}
		return nil
	}
}

// actHash is the hash of event i's properties; see query.NumberTerm.
func actHash(s *state, e *schema.Event, all *timeline.Events, i int) int64 {
	h := int64(0)
	for k := range all.Columns {
		c := &all.Columns[k]
		p := e.ByID(c.ID)
		if p == nil {
			continue // dropped
		}
		switch c.Class {
		case timeline.Set:
			from := uint32(0)
			if i > 0 {
				from = c.Ends[i-1]
			}
			for _, code := range c.Codes[from:c.Ends[i]] {
				h += query.TextTerm(c.ID, []byte(s.Dicts[c.ID].String(code)))
			}
		case timeline.Text:
			if c.Texts[i] != nil {
				h += query.TextTerm(c.ID, c.Texts[i])
			}
		case timeline.Code:
			if code := c.Codes[i]; code != schema.NoCode {
				h += codeTerm(s, p, code)
			}
		default:
			if c.Present == nil || c.Present[i>>6]>>(i&63)&1 != 0 {
				h += query.NumberTerm(c.ID, c.Ints[i])
			}
		}
	}
	return h
}

func codeTerm(s *state, p *schema.Attribute, code uint32) int64 {
	if p.Kind == schema.Bool {
		return query.NumberTerm(p.ID, int64(code))
	}
	return query.TextTerm(p.ID, []byte(s.Dicts[p.ID].String(code)))
}
