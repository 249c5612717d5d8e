package base

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// Erased are the ordinals of a shard whose events go.
type Erased []uint32

// within returns those of a chunk, nil if there are none.
func (e Erased) within(chunk int, buf *bitmap.Words) *bitmap.Words {
	from, _ := slices.BinarySearch(e, uint32(chunk)<<bitmap.ChunkBits)
	to, _ := slices.BinarySearch(e, uint32(chunk+1)<<bitmap.ChunkBits)
	if from == to {
		return nil
	}
	buf.Clear()
	for _, ord := range e[from:to] {
		buf[(ord&(bitmap.ChunkSize-1))>>6] |= 1 << (ord & 63)
	}
	return buf
}

// In reports whether a part may have events of any of them.
func (e Erased) In(p *ActPart) (bool, error) {
	s, err := p.Source()
	return err == nil && slices.ContainsFunc(e, s.Part.Has), err
}

// Each calls f for each event of theirs in a part: the block it is in, and its place there.
func (e Erased) Each(source timeline.Source, f func(b *timeline.Block, profile uint32, event int) error) error {
	var scan timeline.Cursor
	var buf bitmap.Words
	for chunk := range bitmap.ShardChunks {
		within := e.within(chunk, &buf)
		if within == nil {
			continue
		}
		scan.Reset([]timeline.Source{source}, timeline.Scan{Chunk: chunk, From: schema.MinTimestamp, To: schema.MaxTimestamp + 1, Within: within})
		for scan.Next() {
			b := &scan.Batch
			for i, ord := range b.Profiles {
				for k := b.Starts[i]; k < b.Ends[i]; k++ {
					if err := f(&b.Block, uint32(chunk)<<bitmap.ChunkBits|uint32(ord), int(k)); err != nil {
						return err
					}
				}
			}
		}
		if err := scan.Err(); err != nil {
			return err
		}
	}
	return nil
}

// erase makes the parts anew that have events of erased people, without these.
func (f *actFolder) erase(ctx context.Context) error {
	if len(f.job.Erased) == 0 {
		return nil
	}
	for _, p := range slices.Clone(f.unit.Parts) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if has, err := f.has(p); err != nil || !has {
			if err != nil {
				return err
			}
			continue
		}
		if err := f.eraseFrom(p); err != nil {
			return err
		}
	}
	return nil
}

func (f *actFolder) has(p *ActPart) (bool, error) {
	if fresh, ok := f.fresh[p]; ok {
		return slices.ContainsFunc(f.job.Erased, fresh.source.Part.Has), nil
	}
	return f.job.Erased.In(p)
}

func (f *actFolder) eraseFrom(p *ActPart) error {
	sums := daySums{}
	source, err := f.read(p, sums)
	if err != nil {
		return err
	}
	base := uint64(f.job.ID.Shard) << bitmap.ShardBits
	var who [1]uint64
	var hash [1]int64
	any := false
	err = f.job.Erased.Each(source, func(b *timeline.Block, profile uint32, event int) error {
		time, err := b.Time(event)
		if err == nil {
			err = f.job.Who([]uint32{profile}, who[:])
		}
		if err == nil {
			err = f.job.Hash(source, []uint32{uint32(b.Index)<<timeline.BlockBits | uint32(event)}, hash[:])
		}
		if err != nil {
			return err
		}
		any = true
		what := ActFact(time, hash[0])
		content, replica := digest.Fact(who[0], what), digest.Fact(base|uint64(profile), what)
		day := sums.of(timeline.DayOf(time))
		day.events--
		day.content.Sub(content)
		day.replica.Sub(replica)
		f.unit.Content.Sub(content)
		f.unit.Replica.Sub(replica)
		return nil
	})
	if err != nil || !any {
		return err
	}
	id := timeline.ID{Event: f.job.ID.Event, Shard: f.job.ID.Shard, Partition: p.Partition()}
	w, err := timeline.Merge(id, []timeline.Source{source}, timeline.MergeOptions{Keep: func(profile uint32, _ int64) bool {
		_, gone := slices.BinarySearch(f.job.Erased, profile)
		return !gone
	}})
	if err != nil {
		return err
	}
	for day, sum := range sums { // of a type that has lost a property something is left where all events are gone
		if !slices.ContainsFunc(w.Days, func(d timeline.PartDay) bool { return d.Day == day }) {
			f.unit.Content.Sub(sum.content)
			f.unit.Replica.Sub(sum.replica)
		}
	}
	f.unit.Parts = slices.DeleteFunc(f.unit.Parts, func(x *ActPart) bool { return x == p })
	delete(f.fresh, p)
	if f.unit.IsSummed(p) {
		f.unit.dropFacts()
	}
	return f.add(p.Partition(), w, sums)
}
