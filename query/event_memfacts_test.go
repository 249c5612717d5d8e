package query

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// Every other view knows what some of its events come to: those whose owner is summed.

func (v *memView) hasFacts() bool { return v.salt&2 == 0 }

func (v *memView) SummedEvents(event schema.EventID, property schema.AttrID) uint64 {
	if !v.hasFacts() {
		return 0
	}
	r := rand.New(rand.NewPCG(v.salt, uint64(event)^uint64(property)<<32)) // about, and for some properties there are none
	return uint64(r.IntN(3) * len(v.ords))
}

// Facts tells of some people: of those whose summed events all are in the scan, not of all.
func (c *memCursor) Facts(scan *EventScan, of FactsOf, chunk int, within *bitmap.Set, told *bitmap.Words, f func(b *FactsBlock)) error {
	e := c.v.schema.EventByID(scan.Event)
	r := rand.New(rand.NewPCG(c.v.salt^99, uint64(scan.Event)<<32|uint64(chunk)))
	own := map[uint16][]memOwned{}
	outside := map[uint16]bool{}
	for _, b := range c.v.layout(e, chunk) {
		for _, a := range b.acts {
			if a.summed {
				own[a.ord] = append(own[a.ord], a)
				outside[a.ord] = outside[a.ord] || a.time < scan.From || a.time >= scan.To
			}
		}
	}
	told.Clear()
	b := &FactsBlock{}
	hand := func() {
		f(b)
		for i := range b.Ords {
			b.Ords[i], b.Counts[i] = 0xfff0, math.MaxUint32
		}
		for i := range b.Min {
			b.Min[i], b.Max[i] = -1, -1
		}
		b = &FactsBlock{}
	}
	for _, o := range c.v.ords {
		ord := uint16(o)
		if int(o>>bitmap.ChunkBits) != chunk || within != nil && !within.Contains(ord) || outside[ord] || r.IntN(5) == 0 {
			continue
		}
		told.SetBit(ord)
		if len(own[ord]) == 0 {
			continue
		}
		b.add(ord, own[ord], of)
		if r.IntN(8) == 0 {
			hand()
		}
	}
	c.v.events.mu.Lock()
	c.v.events.seen["facts"]++
	c.v.events.mu.Unlock()
	hand()
	return c.v.fault()
}

// add adds what the events of a profile come to.
func (b *FactsBlock) add(ord uint16, acts []memOwned, of FactsOf) {
	b.Ords = append(b.Ords, ord)
	if of.Property == 0 {
		b.Counts = append(b.Counts, uint32(len(acts)))
		return
	}
	var values []int64
	sum := new(big.Int)
	for _, a := range acts {
		if v := a.values[of.Property]; !v.IsAbsent() {
			values = append(values, v.Ordered())
			sum.Add(sum, big.NewInt(v.Ordered()))
		}
	}
	b.Counts = append(b.Counts, uint32(len(values)))
	least, most := int64(0), int64(0)
	if len(values) > 0 {
		least, most = slices.Min(values), slices.Max(values)
	}
	b.Min, b.Max = append(b.Min, least), append(b.Max, most)
	if of.Sums {
		high := new(big.Int).Rsh(sum, 64) // towards the negative
		low := new(big.Int).Sub(sum, new(big.Int).Lsh(high, 64))
		b.Sums = append(b.Sums, timeline.Int128{Hi: high.Int64(), Lo: low.Uint64()})
	}
}
