package engine

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// collect finds the events of erased people and notes what of them is to be looked for, and
// which strings may be nobody's without them. It is done once: afterwards they are gone.
func (p *purge) collect(ctx context.Context) error {
	if p.state.UpTo >= p.newest {
		return nil
	}
	s := p.db.acquire()
	defer s.era.release()
	c := &collector{secret: &p.db.writer.ledger.secret, state: p.state, codes: map[erasure.Code]bool{}}
	p.state.Events = 0
	for _, known := range p.state.Codes {
		c.codes[known] = true
	}
	err := p.shards(func(shard int, erased base.Erased) error {
		for e := range s.Schema.Stored() {
			units := s.Acts[e.ID]
			if shard >= len(units) || units[shard] == nil {
				continue
			}
			for _, part := range units[shard].Parts {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := c.part(s, part, erased); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.state.UpTo = p.newest
	p.state.Codes = p.state.Codes[:0]
	for code := range c.codes {
		p.state.Codes = append(p.state.Codes, code)
	}
	slices.SortFunc(p.state.Codes, erasure.Code.Compare)
	kb := p.db.kv.NewBatch()
	defer kb.Close()
	return p.store(kb)
}

// collector reads the events of erased people.
type collector struct {
	secret *erasure.Secret
	state  *erasure.State
	codes  map[erasure.Code]bool
	buf    [timeline.BlockSize]uint32
	set    []uint32
}

func (c *collector) part(s *state, part *base.ActPart, erased base.Erased) error {
	if may, err := erased.In(part); err != nil || !may {
		return err
	}
	source, err := part.Source()
	if err != nil {
		return err
	}
	events := map[int][]int{} // by block
	if err := erased.Each(source, func(b *timeline.Block, _ uint32, event int) error {
		events[b.Index] = append(events[b.Index], event)
		c.state.Events++
		return nil
	}); err != nil {
		return err
	}
	for block, of := range events {
		b := timeline.BlockOf(source, block)
		for _, property := range source.Part.Properties() {
			if err := c.property(s, b, property, of); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) property(s *state, b *timeline.Block, property timeline.Property, events []int) error {
	id := property.ID
	switch property.Class {
	case timeline.Text:
		texts, err := b.Texts(id)
		if err != nil {
			return err
		}
		for _, i := range events {
			if text, ok := texts.At(i); ok {
				c.state.Traces = append(c.state.Traces, c.secret.Traces(text)...)
			}
		}
	case timeline.Code:
		if s.Dicts[id] == nil {
			return nil // bools
		}
		if err := b.Codes(id, c.buf[:]); err != nil {
			return err
		}
		for _, i := range events {
			if code := c.buf[i]; code != schema.NoCode {
				c.codes[erasure.Code{Attr: uint32(id), Code: code}] = true
			}
		}
	case timeline.Set:
		sets, err := b.Sets(id)
		if err != nil {
			return err
		}
		for _, i := range events {
			c.set = sets.AppendTo(i, c.set[:0])
			for _, code := range c.set {
				c.codes[erasure.Code{Attr: uint32(id), Code: code}] = true
			}
		}
	}
	return nil
}

// removeEvents has the parts written anew that have events of erased people.
func (p *purge) removeEvents(ctx context.Context) error {
	return p.shards(func(shard int, erased base.Erased) error {
		for e := range p.db.current.Load().Schema.Stored() {
			if err := p.db.compactor.have(ctx, func(ctx context.Context) error { return p.db.compactor.eraseActs(ctx, e.ID, shard, erased) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// eraseActs folds a unit of events without those of erased people, if it may have any.
func (c *compactor) eraseActs(ctx context.Context, id schema.EventID, shard int, erased base.Erased) error {
	s := c.db.acquire()
	defer s.era.release()
	e, units := s.Schema.StoredByID(id), s.Acts[id]
	if e == nil || shard >= len(units) || units[shard] == nil {
		return nil
	}
	for _, part := range units[shard].Parts {
		if may, err := erased.In(part); err != nil {
			return err
		} else if may {
			return c.foldActs(ctx, s, e, unitID{schema.AttrID(id), shard}, erased)
		}
	}
	return nil
}

// removeKeys takes the keys of erased people out of the column of keys. Until here they were
// needed: digests tell whose a value or an event was by its key.
func (p *purge) removeKeys(ctx context.Context) error {
	return p.shards(func(shard int, erased base.Erased) error {
		return p.db.compactor.have(ctx, func(ctx context.Context) error { return p.db.compactor.eraseKeys(ctx, shard, erased) })
	})
}

func (c *compactor) eraseKeys(ctx context.Context, shard int, erased base.Erased) error {
	id := unitID{schema.KeyAttr, shard}
	if _, pending := c.oldest[id]; pending {
		if err := c.fold(ctx, id); err != nil {
			return err
		}
	}
	s := c.db.acquire()
	defer s.era.release()
	units := s.Units[schema.KeyAttr]
	if shard >= len(units) || units[shard] == nil {
		return nil
	}
	part := make([]*head.Settled, bitmap.ShardChunks)
	for from := 0; from < len(erased); {
		chunk := erased[from] >> bitmap.ChunkBits
		var ords []uint16
		absent := effect.Column{Attr: schema.KeyAttr, Class: effect.Bytes}
		for from < len(erased) && erased[from]>>bitmap.ChunkBits == chunk {
			ords = append(ords, uint16(erased[from]))
			absent.AppendAbsent()
			from++
		}
		part[chunk] = head.SettledOf(ords, &absent)
	}
	if err := c.foldPart(ctx, s, id, effect.Bytes, part); err != nil {
		return err
	}
	c.hashes = keyHashes{} // of these there are none any more
	return nil
}

// removeEntries takes the entries of erased people out of the indexes.
func (p *purge) removeEntries(ctx context.Context) error {
	keep := func(ord uint32) bool {
		_, gone := slices.BinarySearch(p.ords, ord)
		return !gone
	}
	for id := range p.db.current.Load().Indexes {
		err := p.db.compactor.have(ctx, func(ctx context.Context) error {
			x := p.db.current.Load().Indexes[id]
			if x == nil {
				return nil
			}
			clean := x.Delta.Len() == 0
			if x.Static != nil && clean {
				if err := x.Static.Each(func(_ uint64, ord uint32) bool { clean = keep(ord); return clean }); err != nil {
					return err
				}
			}
			if clean {
				return nil
			}
			return p.db.compactor.mergeIndex(ctx, id, keep)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
