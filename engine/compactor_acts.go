package engine

import (
	"context"
	"slices"
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
	for e := range s.Schema.Stored() {
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

// foldActs writes the events of a type and shard as parts and publishes them; those of erased
// people it leaves out.
func (c *compactor) foldActs(ctx context.Context, s *state, e *schema.Event, id unitID, erased base.Erased) error {
	start := time.Now()
	runs := s.Tiers.Acts[e.ID]
	from := min(id.shard*bitmap.ShardChunks, len(runs))
	var old *base.ActUnit
	upTo := settledUpTo(s)
	if units := s.Acts[e.ID]; id.shard < len(units) && units[id.shard] != nil {
		old = units[id.shard]
		upTo = max(upTo, old.Folded) // a store that was just opened has settled less than its units have
	}
	c.generation++
	job := &base.ActJob{ID: keys.Acts{Event: uint32(e.ID), Shard: uint32(id.shard), Generation: c.generation}, Old: old, Table: head.TableOf(e),
		Runs: runs[from:min(from+bitmap.ShardChunks, len(runs))], Folded: upTo, Closed: timeline.DayOf(s.Received), First: timeline.DayOf(s.Horizon(e)),
		Who: c.who(&s.State, id.shard), Hash: actHashes(s, e), Erased: erased}
	if s.Schema.ChangedBy(e.ID) == nil { // else nobody asks what they come to
		job.Facts, job.FactsFrom, job.Compact = factsOf(e), c.db.opt.limits.factsFrom, c.all
	}
	if err := c.db.syncLog(); err != nil {
		return err
	}
	r, err := base.FoldActs(ctx, c.db.kv, c.db.cache, job)
	if err != nil {
		return err
	}
	c.publishActs(e, id, old, r, func(s *state) {
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

// publishActs makes a new generation the state's, and with it what change does.
func (c *compactor) publishActs(e *schema.Event, id unitID, old *base.ActUnit, r base.ActResult, change func(s *state)) {
	var obsolete []keys.Span
	if old != nil {
		obsolete = append(obsolete, old.ID.Span())
	}
	for _, p := range r.Gone {
		obsolete = append(obsolete, p.ID.Span())
	}
	if r.Facts != nil {
		obsolete = append(obsolete, r.Facts.ID.Span())
	}
	forget := func() {
		c.db.cache.ForgetParts(r.Gone)
		c.db.cache.ForgetFacts(r.Facts)
	}
	c.db.publishBase(forget, func(s *state) []keys.Span {
		if s.Schema.StoredByID(e.ID) == nil {
			return append(obsolete, r.Unit.Spans()...) // dropped meanwhile, with the parts that it had then
		}
		s.Acts = cloned(s.Acts)
		units := append([]*base.ActUnit(nil), s.Acts[e.ID]...)
		for len(units) <= id.shard {
			units = append(units, nil)
		}
		units[id.shard] = r.Unit
		s.Acts[e.ID] = units
		change(s)
		return obsolete
	})
}

// factsOf returns the properties that lifetime facts are kept of: the first numbers that
// have exact sums.
func factsOf(e *schema.Event) []schema.AttrID {
	var out []schema.AttrID
	for i := range e.Properties {
		if k := e.Properties[i].Kind; k == schema.Int || k == schema.Decimal {
			out = append(out, e.Properties[i].ID)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), timeline.MaxFactsProperties)]
}

// compactFacts folds the units that have many events which are not in their facts.
func (c *compactor) compactFacts(ctx context.Context) error {
	s := c.db.current.Load()
	for i := range s.Schema.Events {
		id := s.Schema.Events[i].ID
		for shard, u := range s.Acts[id] {
			if u == nil || !u.FactsDue(c.db.opt.limits.factsFrom) {
				continue
			}
			if err := c.fold(ctx, unitID{schema.AttrID(id), shard}); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropExpired folds the units that have parts past their retention, and the ids if there
// are any of days that are forgotten, which drops these.
func (c *compactor) dropExpired(ctx context.Context) error {
	s := c.db.current.Load()
	if s.ids.Expired(s.IDHorizon()) {
		if err := c.fold(ctx, unitID{attr: idsUnit}); err != nil {
			return err
		}
	}
	for i := range s.Schema.Events {
		e := &s.Schema.Events[i]
		first := timeline.DayOf(s.Horizon(e))
		for shard, u := range s.Acts[e.ID] {
			if u == nil || !slices.ContainsFunc(u.Parts, func(p *base.ActPart) bool { return p.Expired(first) }) {
				continue
			}
			if err := c.fold(ctx, unitID{schema.AttrID(e.ID), shard}); err != nil {
				return err
			}
		}
	}
	return nil
}

// actOrder is the hash of an event's properties as the head and outcomes hold it: a signed
// number in the order of the hashes.
func actOrder(h *query.ActHash) int64 { return int64(h.Sum() ^ 1<<63) }

// Of parts that are merged those that have events of one person at one time are asked in
// turns: actHashes keeps so many blocks decoded as have hashColumns columns of up to 32 KiB,
// at most hashBlocks.
const (
	hashBlocks  = 16
	hashColumns = 64
)

// actHashes returns what computes the hashes of stored events: codes are read as the
// texts they stand for. It belongs to one goroutine.
func actHashes(s *state, e *schema.Event) func(timeline.Source, []uint32, []int64) error {
	type decoded struct {
		part  *timeline.Part
		block int
		all   timeline.Events
	}
	kept := make([]decoded, max(1, min(hashBlocks, hashColumns/(2+len(e.Properties)))))
	var b *timeline.Block // its memory is large
	var h query.ActHash
	oldest := 0
	find := func(source timeline.Source, block int) (*timeline.Events, error) {
		for i := range kept {
			if d := &kept[i]; d.part == source.Part && d.block == block {
				return &d.all, nil
			}
		}
		d := &kept[oldest]
		oldest = (oldest + 1) % len(kept)
		if b == nil {
			b = timeline.BlockOf(source, block)
		}
		b.Move(source, block)
		d.part = nil
		d.all.Reset(source.Part.Properties())
		if err := b.Events(&d.all); err != nil {
			return nil, err
		}
		d.part, d.block = source.Part, block
		return &d.all, nil
	}
	return func(source timeline.Source, events []uint32, dst []int64) error {
		for i, n := range events {
			all, err := find(source, int(n>>timeline.BlockBits))
			if err != nil {
				return err
			}
			dst[i] = storedOrder(&h, s, e, all, int(n&(timeline.BlockSize-1)))
		}
		return nil
	}
}

// storedOrder returns the hash of stored event i.
func storedOrder(h *query.ActHash, s *state, e *schema.Event, all *timeline.Events, i int) int64 {
	h.Reset()
	for k := range all.Columns {
		if p := e.ByID(all.Columns[k].ID); p != nil { // else it was dropped
			hashStored(h, s, p, &all.Columns[k], i)
		}
	}
	return actOrder(h)
}

// hashStored adds value i of a stored column.
func hashStored(h *query.ActHash, s *state, p *schema.Attribute, c *timeline.Column, i int) {
	switch c.Class {
	case timeline.Set:
		from := uint32(0)
		if i > 0 {
			from = c.Ends[i-1]
		}
		h.Set(p.ID, textsOf(s, p.ID, c.Codes[from:c.Ends[i]]))
	case timeline.Text:
		if c.Texts[i] != nil {
			h.Text(p.ID, string(c.Texts[i]))
		}
	case timeline.Code:
		switch code := c.Codes[i]; {
		case code == schema.NoCode:
		case p.Kind == schema.Bool:
			h.Ordered(p.ID, int64(code))
		default:
			h.Text(p.ID, s.Dicts[p.ID].String(code))
		}
	default:
		if c.Present == nil || c.Present[i>>6]>>(i&63)&1 != 0 {
			h.Ordered(p.ID, c.Ints[i])
		}
	}
}

// textsOf returns the sorted elements that codes stand for.
func textsOf(s *state, id schema.AttrID, codes []uint32) []string {
	out := make([]string, len(codes))
	for i, code := range codes {
		out[i] = s.Dicts[id].String(code)
	}
	slices.Sort(out)
	return out
}
