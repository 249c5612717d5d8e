package base

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// ActFacts are the lifetime facts of an event type in one shard, see package timeline: what
// all events of the unit's summed parts come to, those before FirstDay excepted. They are
// derived from these parts, and always those of all their events: a fold that drops some of
// these drops the facts. Generations of a unit share them. Safe for concurrent use.
type ActFacts struct {
	ID         keys.Facts
	FirstDay   int32
	Bytes      int64
	Properties []schema.AttrID

	stored [factsWords]uint64 // the blocks that somebody is in
	cache  *Cache
	slots  []slot[timeline.FactsBlock]
}

const factsWords = timeline.FactsBlocks / 64

const (
	// factsShare is the share of the summed events that may be unsummed: all events are
	// read again to make facts, so each is read about five times as a store grows, and a
	// question reads a fifth of all events at most.
	factsShare = 4

	// compactShare is factsShare when all is to be compacted. Compacting again after a few
	// events more must not read them all.
	compactShare = 64

	// factsDays is after how many days events that are past their retention since are
	// taken out of the facts: until then whoever has one is answered from events.
	factsDays = 7
)

// IsSummed reports whether the events of a part of the unit are in its facts.
func (u *ActUnit) IsSummed(p *ActPart) bool { return u.summed[p.ID.Number] }

// SummedEvents returns how many events are in the parts that are summed, and in all.
func (u *ActUnit) SummedEvents() (summed, all uint64) {
	for _, p := range u.Parts {
		if all += p.Events; u.IsSummed(p) {
			summed += p.Events
		}
	}
	return summed, all
}

// SummedTimes returns between which times the events are that are in the facts.
func (u *ActUnit) SummedTimes() (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for _, p := range u.Parts {
		if u.IsSummed(p) {
			first, last = min(first, p.First), max(last, p.Last)
		}
	}
	return max(first, timeline.Day(u.Facts.FirstDay).Start()), last
}

// FactsDue reports whether compacting is to make facts anew, of a unit that has so many
// events.
func (u *ActUnit) FactsDue(from uint64) bool {
	summed, all := u.SummedEvents()
	return all >= from && (all-summed)*compactShare > summed
}

// dropFacts is for when facts are not those of the summed parts any more.
func (u *ActUnit) dropFacts() { u.Facts, u.summed = nil, map[uint64]bool{} }

// appendFacts appends what the manifest says of the facts.
func (u *ActUnit) appendFacts(b []byte) []byte {
	f := u.Facts
	if f == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, f.ID.Number)
	b = binary.AppendUvarint(binary.AppendVarint(b, int64(f.FirstDay)), uint64(f.Bytes))
	for _, w := range f.stored {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(f.Properties)))
	for _, id := range f.Properties {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}

// takeFacts is the inverse.
func (u *ActUnit) takeFacts(r *kv.Reader, cache *Cache) {
	f := &ActFacts{cache: cache, ID: keys.Facts{Event: u.ID.Event, Shard: u.ID.Shard, Number: r.Uvarint()}}
	if f.ID.Number == 0 {
		r.Bad = r.Bad || len(u.summed) > 0
		return
	}
	day := r.Varint()
	f.FirstDay, f.Bytes = int32(day), int64(r.Uvarint())
	if words := r.Take(8 * factsWords); words != nil {
		for i := range f.stored {
			f.stored[i] = binary.LittleEndian.Uint64(words[8*i:])
		}
	}
	n := r.Uvarint()
	r.Bad = r.Bad || day != int64(f.FirstDay) || f.ID.Number >= u.Next || n > timeline.MaxFactsProperties
	for ; n > 0 && !r.Bad; n-- {
		id := r.Uvarint()
		f.Properties = append(f.Properties, schema.AttrID(id))
		r.Bad = r.Bad || id > math.MaxUint32
	}
	f.slots = make([]slot[timeline.FactsBlock], timeline.FactsBlocks)
	u.Facts = f
}

// Has reports whether there are facts of a property.
func (f *ActFacts) Has(id schema.AttrID) bool { return slices.Contains(f.Properties, id) }

// Block returns a block of the facts, nil if nobody in it has an event.
func (f *ActFacts) Block(i int) (*timeline.FactsBlock, error) {
	if b := f.slots[i].get(); b != nil {
		return b, nil
	}
	if f.stored[i>>6]>>(i&63)&1 == 0 {
		return nil, nil
	}
	var b *timeline.FactsBlock
	ok, err := f.cache.store.View(f.ID.Row(keys.Block, uint32(i)), func(v []byte) (err error) {
		b, err = timeline.OpenFacts(append(make([]byte, 0, len(v)), v...))
		return err
	})
	if err == nil && !ok {
		err = query.Errorf(query.CodeCorrupt, "it is missing")
	}
	if err == nil && !slices.Equal(b.Properties(), f.Properties) {
		err = query.Errorf(query.CodeCorrupt, "it has other properties than the manifest names")
	}
	if err != nil {
		return nil, f.Damaged(i, err)
	}
	keep(f.cache, &f.slots[i], b, int64(b.MemBytes()))
	return b, nil
}

// Damaged gives an error of a block, or of its columns, its code.
func (f *ActFacts) Damaged(block int, err error) error {
	return kv.Damaged(fmt.Sprintf("block %d of the lifetime facts of event %d, shard %d", block, f.ID.Event, f.ID.Shard), err, timeline.ErrCorrupt, timeline.ErrNewerFormat)
}

// ForgetFacts takes facts that are gone out of the cache.
func (c *Cache) ForgetFacts(f *ActFacts) {
	if f == nil {
		return
	}
	gone := map[any]bool{}
	for i := range f.slots {
		if f.slots[i].p.Swap(nil) != nil {
			gone[&f.slots[i]] = true
		}
	}
	c.remove(gone)
}

// CheckFacts collects the unit's facts again and tells what is stored otherwise. It returns
// how many blocks there are.
func (u *ActUnit) CheckFacts(ctx context.Context) (blocks int, problems []string, err error) {
	if u.Facts == nil {
		return 0, nil, nil
	}
	var sources []timeline.Source
	for _, p := range u.Parts {
		if !u.IsSummed(p) {
			continue
		}
		s, err := p.Source()
		if err != nil {
			return 0, []string{err.Error()}, nil
		}
		sources = append(sources, s)
	}
	f := u.Facts
	bytes := int64(0)
	err = f.collect(ctx, sources, func(i int, want []byte) error {
		got, err := f.cache.store.Get(f.ID.Row(keys.Block, uint32(i)))
		if err != nil {
			return err
		}
		_, open := timeline.OpenFacts(got)
		switch named := f.stored[i>>6]>>(i&63)&1 != 0; {
		case got == nil && want == nil && !named:
			return nil
		case got != nil && open != nil:
			problems = append(problems, f.Damaged(i, open).Error())
		case string(got) != string(want) || named != (want != nil):
			problems = append(problems, fmt.Sprintf("block %d of the lifetime facts is not that of the events", i))
		}
		bytes += int64(len(got))
		blocks++
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return blocks, append(problems, fmt.Sprintf("lifetime facts: %v", err)), nil
	}
	if bytes != f.Bytes && len(problems) == 0 {
		problems = append(problems, "the bytes of lifetime facts in the manifest are not those that there are")
	}
	return blocks, problems, err
}

// collect calls save with the stored form of all blocks, nil where nobody has an event.
func (f *ActFacts) collect(ctx context.Context, sources []timeline.Source, save func(block int, stored []byte) error) error {
	c := new(timeline.FactsCollector)
	for chunk := range bitmap.ShardChunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		blocks, err := c.Collect(sources, chunk, timeline.Day(f.FirstDay).Start(), f.Properties)
		if err != nil {
			return err
		}
		for i, b := range blocks {
			if err := save(chunk*len(blocks)+i, b); err != nil {
				return err
			}
		}
		runtime.Gosched() // as a fold does
	}
	return nil
}

// facts makes the facts of all parts of the new generation, if there are none: see factsDue.
func (f *actFolder) facts(ctx context.Context) error {
	if f.unit.Facts != nil || !f.kept() {
		return nil
	}
	facts := &ActFacts{ID: keys.Facts{Event: f.job.ID.Event, Shard: f.job.ID.Shard, Number: f.unit.Next}, FirstDay: f.job.First,
		Properties: f.job.Facts, cache: f.cache, slots: make([]slot[timeline.FactsBlock], timeline.FactsBlocks)}
	f.unit.Next++
	var sources []timeline.Source
	for _, p := range f.unit.Parts {
		fresh, ok := f.fresh[p]
		source := fresh.source
		if !ok {
			var err error
			if source, err = p.Source(); err != nil {
				return err
			}
		}
		sources = append(sources, source)
		f.unit.summed[p.ID.Number] = true
	}
	f.unit.Facts = facts
	var t *kv.Table
	return facts.collect(ctx, sources, func(i int, stored []byte) (err error) {
		if stored == nil {
			return nil
		}
		if t == nil { // a table must not be empty
			if t, err = f.store.NewTable(); err != nil {
				return err
			}
			f.tables = append(f.tables, t)
		}
		facts.stored[i>>6] |= 1 << (i & 63)
		facts.Bytes += int64(len(stored))
		f.written += int64(len(stored))
		return t.Set(facts.ID.Row(keys.Block, uint32(i)), stored)
	})
}

// kept reports whether facts are kept of the unit.
func (f *actFolder) kept() bool {
	_, all := f.unit.SummedEvents()
	return f.job.FactsFrom > 0 && all >= f.job.FactsFrom
}

// factsDue reports whether the facts there are are not to stay: they are not of the
// properties that they should be of, too many events are not in them, or too many are past
// their retention.
func (f *actFolder) factsDue() bool {
	old, share := f.unit.Facts, uint64(factsShare)
	if f.job.Compact {
		share = compactShare
	}
	summed, all := f.unit.SummedEvents()
	return old != nil && (!f.kept() || !slices.Equal(old.Properties, f.job.Facts) ||
		(all-summed)*share > summed ||
		f.job.First >= old.FirstDay+factsDays && slices.ContainsFunc(f.unit.Parts, func(p *ActPart) bool {
			return f.unit.IsSummed(p) && timeline.DayOf(p.First) < f.job.First
		}))
}
