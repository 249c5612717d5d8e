package timeline

import (
	"math"

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

// blocksPerChunk is how many blocks of facts a chunk has.
const blocksPerChunk = bitmap.ChunkSize / BlockSize

// FactsBlocks is how many blocks of facts a shard has.
const FactsBlocks = bitmap.ShardSize / BlockSize

// CollectFacts returns the facts of a chunk's blocks from all parts of one event type and
// shard. Properties are by ascending id.
func CollectFacts(sources []Source, chunk int, properties []FactsProperty) ([blocksPerChunk]*Facts, error) {
	var facts [blocksPerChunk]*Facts
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

// Merge returns the facts of the events that f and g are about, who have no event in
// common, and the same properties: those of a new part and those of all before.
func (f *Facts) Merge(g *Facts) *Facts {
	out := &Facts{}
	for i, p := range f.Properties {
		out.Properties = append(out.Properties, PropertyFacts{FactsProperty: p.FactsProperty})
		_ = g.Properties[i]
	}
	a, b := 0, 0
	for w := range out.Present {
		out.Present[w] = f.Present[w] | g.Present[w]
		for rest := out.Present[w]; rest != 0; rest &= rest - 1 {
			bit := rest & -rest
			inF, inG := f.Present[w]&bit != 0, g.Present[w]&bit != 0
			switch {
			case inF && inG:
				out.appendBoth(f, a, g, b)
			case inF:
				out.appendOne(f, a)
			default:
				out.appendOne(g, b)
			}
			if inF {
				a++
			}
			if inG {
				b++
			}
		}
	}
	return out
}

// appendOne appends what f has at i.
func (f *Facts) appendOne(g *Facts, i int) {
	f.Count, f.First, f.Last = append(f.Count, g.Count[i]), append(f.First, g.First[i]), append(f.Last, g.Last[i])
	for k := range f.Properties {
		p, q := &f.Properties[k], &g.Properties[k]
		p.Count, p.Min, p.Max = append(p.Count, q.Count[i]), append(p.Min, q.Min[i]), append(p.Max, q.Max[i])
		if p.Summed {
			p.Sum = append(p.Sum, q.Sum[i])
		}
	}
}

// appendBoth appends what g has at i and h at j of one profile.
func (f *Facts) appendBoth(g *Facts, i int, h *Facts, j int) {
	f.appendOne(g, i)
	last := f.Len() - 1
	f.Count[last] += h.Count[j]
	f.First[last], f.Last[last] = min(f.First[last], h.First[j]), max(f.Last[last], h.Last[j])
	for k := range f.Properties {
		p, q := &f.Properties[k], &h.Properties[k]
		switch {
		case q.Count[j] == 0:
			continue
		case p.Count[last] == 0:
			p.Min[last], p.Max[last] = q.Min[j], q.Max[j]
		}
		p.Count[last] += q.Count[j]
		p.Min[last], p.Max[last] = min(p.Min[last], q.Min[j]), max(p.Max[last], q.Max[j])
		if p.Summed {
			p.Sum[last] = p.Sum[last].Plus(q.Sum[j])
		}
	}
}
