package timeline

import (
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Facts are what all events of one type of a profile come to: how many there are, on which
// days the first and the last is, and of Int properties how many have a value, the least,
// the greatest and the sum. They are kept by blocks of 4,096 ordinals of a shard, from a
// multiple of 4,096 on, and are derived from parts: they may be dropped and collected again.
// Sums of ordered forms mean nothing for floats: no facts are kept of these.

// MaxFactsProperties bounds the properties that facts are kept of: while they are
// collected, each may take 650 KiB, and whoever has more asks for few of them.
const MaxFactsProperties = 64

// blocksPerChunk is how many blocks of facts a chunk has.
const blocksPerChunk = bitmap.ChunkSize / BlockSize

// FactsBlocks is how many blocks of facts a shard has.
const FactsBlocks = bitmap.ShardSize / BlockSize

// FactsCollector collects facts out of parts. The zero FactsCollector is ready for use; it
// keeps its memory, up to 7 MiB, and belongs to one goroutine.
type FactsCollector struct {
	cursor Cursor
	who    bitmap.Words
	ends   Ends
	values Values
	blocks [blocksPerChunk]factsWriter
}

// Collect returns the stored facts of a chunk's blocks, nil where nobody has an event: of
// the events of some parts of one event type and shard from a time on. Properties are by
// ascending id. It looks at the parts once for the events and once for each property, so
// that what it holds hardly grows with their number.
func (c *FactsCollector) Collect(sources []Source, chunk int, from int64, properties []schema.AttrID) (stored [blocksPerChunk][]byte, err error) {
	if len(properties) > MaxFactsProperties {
		return stored, fmt.Errorf("timeline: facts of %d properties, at most %d: keep them of those that are asked for", len(properties), MaxFactsProperties)
	}
	scan := Scan{Chunk: chunk, From: from, To: math.MaxInt64}
	c.who.Clear()
	err = c.each(sources, scan, func(b *Batch) error { b.AddTo(&c.who); return nil })
	if err != nil || c.who.IsEmpty() {
		return stored, err
	}
	c.ends.Reset(&c.who)
	if err := c.each(sources, scan, c.ends.Add); err != nil {
		return stored, err
	}
	c.eachBlock(func(block int, _ *Mask, from, to int) { c.blocks[block].begin(c.ends.Bounds[from:to]) })
	for _, id := range properties {
		c.values.Reset(id, &c.who)
		if err := c.each(sources, scan, c.values.Add); err != nil {
			return stored, err
		}
		c.eachBlock(func(block int, _ *Mask, from, to int) {
			c.blocks[block].property(id, c.ends.Bounds[from:to], c.values.Values[from:to])
		})
	}
	c.eachBlock(func(block int, present *Mask, _, _ int) {
		stored[block] = c.blocks[block].finish(present, len(properties))
	})
	return stored, nil
}

func (c *FactsCollector) each(sources []Source, scan Scan, f func(b *Batch) error) error {
	for c.cursor.Reset(sources, scan); c.cursor.Next(); {
		if err := f(&c.cursor.Batch); err != nil {
			return err
		}
	}
	return c.cursor.Err()
}

// eachBlock calls f with the blocks in which somebody is: who it is, and their slots.
func (c *FactsCollector) eachBlock(f func(block int, present *Mask, from, to int)) {
	slot := 0
	for block := range blocksPerChunk {
		present := Mask(c.who[block*len(Mask{}):])
		if n := present.Count(); n > 0 {
			f(block, &present, slot, slot+n)
			slot += n
		}
	}
}
