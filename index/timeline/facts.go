package timeline

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Facts are what is known of all events of one type of the profiles of a block: 4,096
// ordinals of a shard, from a multiple of 4,096 on. They are derived from the parts, and
// may be dropped and collected again. Slices have a value per profile that has an event,
// in order of ordinals.
type Facts struct {
	Present    Mask // who has an event, by ordinal within the block
	Count      []int64
	First      []int64 // times
	Last       []int64
	Properties []PropertyFacts // by ascending id
}

// PropertyFacts are those of an Int property. Where Count is 0, the others are.
type PropertyFacts struct {
	FactsProperty
	Count    []int64 // events that have a value
	Min, Max []int64
	Sum      []Int128 // if Summed
}

// FactsProperty is an Int property that facts are kept of. Sums of ordered forms mean
// nothing for floats: those are not summed.
type FactsProperty struct {
	ID     schema.AttrID
	Summed bool
}

// MaxFactsProperties bounds the properties that facts are kept of: each may take 160 KiB in
// memory per block, of a few bytes stored.
const MaxFactsProperties = 256

// blocksPerChunk is how many blocks of facts a chunk has.
const blocksPerChunk = bitmap.ChunkSize / BlockSize

// FactsBlocks is how many blocks of facts a shard has.
const FactsBlocks = bitmap.ShardSize / BlockSize

// CollectFacts returns the facts of a chunk's blocks from all parts of one event type and
// shard. Properties are by ascending id.
func CollectFacts(sources []Source, chunk int, properties []FactsProperty) ([blocksPerChunk]*Facts, error) {
	var facts [blocksPerChunk]*Facts
	if len(properties) > MaxFactsProperties {
		return facts, fmt.Errorf("timeline: facts of %d properties, at most %d: keep them of those that are asked for", len(properties), MaxFactsProperties)
	}
	var who bitmap.Words
	var c Cursor
	scan := Scan{Chunk: chunk, From: math.MinInt64, To: math.MaxInt64}
	for c.Reset(sources, scan); c.Next(); {
		c.AddTo(&who)
	}
	if c.Err() != nil {
		return facts, c.Err()
	}
	var ends Ends
	ends.Reset(&who)
	values := make([]Values, len(properties))
	for i, p := range properties {
		values[i].Reset(p.ID, &who)
	}
	for c.Reset(sources, scan); c.Next(); {
		if err := ends.Add(&c.Batch); err != nil {
			return facts, err
		}
		for i := range values {
			if err := values[i].Add(&c.Batch); err != nil {
				return facts, err
			}
		}
	}
	slot := 0
	for block := range facts {
		f := &Facts{Present: Mask(who[block*len(Mask{}):])}
		n := f.Present.Count()
		for _, b := range ends.Bounds[slot : slot+n] {
			f.Count, f.First, f.Last = append(f.Count, int64(b.Count)), append(f.First, b.First), append(f.Last, b.Last)
		}
		for i, p := range properties {
			f.Properties = append(f.Properties, propertyFacts(p, values[i].Values[slot:slot+n]))
		}
		facts[block] = f
		slot += n
	}
	return facts, c.Err()
}

func propertyFacts(p FactsProperty, values []Value) PropertyFacts {
	out := PropertyFacts{FactsProperty: p}
	for _, v := range values {
		out.Count, out.Min, out.Max = append(out.Count, int64(v.Count)), append(out.Min, v.Min), append(out.Max, v.Max)
		if p.Summed {
			out.Sum = append(out.Sum, v.Sum)
		}
	}
	return out
}

// Len returns how many profiles have an event.
func (f *Facts) Len() int { return len(f.Count) }

// Slot returns where the slices have the facts of a profile, by its ordinal within the
// block, and whether it has an event.
func (f *Facts) Slot(profile int) (int, bool) { return f.Present.rank(profile), f.Present.Has(profile) }

// Merge returns the facts of the events that f and g are about, which have no event in
// common: those of a new part and those of all before. A property that one of them does
// not have is one that none of its events has.
func (f *Facts) Merge(g *Facts) *Facts {
	out := &Facts{}
	for _, p := range slices.Concat(f.Properties, g.Properties) {
		if out.property(p.ID) == nil {
			out.Properties = append(out.Properties, PropertyFacts{FactsProperty: p.FactsProperty})
		}
	}
	slices.SortFunc(out.Properties, func(p, q PropertyFacts) int { return cmp.Compare(p.ID, q.ID) })
	a, b := 0, 0
	for w := range out.Present {
		out.Present[w] = f.Present[w] | g.Present[w]
		for rest := out.Present[w]; rest != 0; rest &= rest - 1 {
			out.appendNone()
			if bit := rest & -rest; f.Present[w]&bit != 0 {
				out.addLast(f, a)
				a++
			}
			if bit := rest & -rest; g.Present[w]&bit != 0 {
				out.addLast(g, b)
				b++
			}
		}
	}
	return out
}

// property returns the facts of a property, nil if there are none.
func (f *Facts) property(id schema.AttrID) *PropertyFacts {
	for i := range f.Properties {
		if f.Properties[i].ID == id {
			return &f.Properties[i]
		}
	}
	return nil
}

// appendNone appends the facts of no event.
func (f *Facts) appendNone() {
	f.Count, f.First, f.Last = append(f.Count, 0), append(f.First, math.MaxInt64), append(f.Last, math.MinInt64)
	for k := range f.Properties {
		p := &f.Properties[k]
		p.Count, p.Min, p.Max = append(p.Count, 0), append(p.Min, 0), append(p.Max, 0)
		if p.Summed {
			p.Sum = append(p.Sum, Int128{})
		}
	}
}

// addLast adds what g has at i to the last profile of f.
func (f *Facts) addLast(g *Facts, i int) {
	last := f.Len() - 1
	f.Count[last] += g.Count[i]
	f.First[last], f.Last[last] = min(f.First[last], g.First[i]), max(f.Last[last], g.Last[i])
	for k := range f.Properties {
		p := &f.Properties[k]
		q := g.property(p.ID)
		if q == nil || q.Count[i] == 0 {
			continue
		}
		if p.Count[last] == 0 {
			p.Min[last], p.Max[last] = q.Min[i], q.Max[i]
		}
		p.Count[last] += q.Count[i]
		p.Min[last], p.Max[last] = min(p.Min[last], q.Min[i]), max(p.Max[last], q.Max[i])
		if p.Summed {
			p.Sum[last] = p.Sum[last].Plus(q.Sum[i])
		}
	}
}
