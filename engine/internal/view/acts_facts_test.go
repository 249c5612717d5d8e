package view

import (
	"maps"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// total is what somebody's events come to.
type total struct {
	n        uint32 // of the events; of a property, of its values
	min, max int64
	sum      timeline.Int128
}

func (a total) plus(b total) total {
	switch {
	case a.n == 0:
		return b
	case b.n == 0:
		return a
	}
	return total{a.n + b.n, min(a.min, b.min), max(a.max, b.max), a.sum.Plus(b.sum)}
}

func totalOf(n int64) total { return total{1, n, n, timeline.Int128{}.Add(n)} }

// facts asks what the events of a scan come to: what facts tell, and the events that they
// have not told of, make what all events come to.
func (x *acts) facts(name string, s *State, scan query.EventScan, chunk int, within *bitmap.Set, list []plainAct, dead map[uint32]bool) {
	of := query.FactsOf{}
	if scan.Zones, scan.Properties, scan.Runs = nil, nil, false; scan.Event == buy && x.asks.IntN(2) == 0 {
		of, scan.Properties = query.FactsOf{Property: buyInt, Sums: x.asks.IntN(2) == 0}, []schema.AttrID{buyInt}
	}
	got, want := map[uint16]total{}, map[uint16]total{}
	c := View{S: s}.NewCursor()
	var told bitmap.Words
	told.Fill()
	err := c.Facts(&scan, of, chunk, within, &told, func(b *query.FactsBlock) {
		for i, o := range b.Ords {
			t := total{n: b.Counts[i]}
			if of.Property != 0 && t.n > 0 {
				t.min, t.max = b.Min[i], b.Max[i]
			}
			if of.Sums {
				t.sum = b.Sums[i]
			}
			got[o] = got[o].plus(t)
			x.told++
		}
	})
	if err != nil {
		x.t.Fatal(err)
	}
	scan.Told = &told
	err = c.Events(&scan, chunk, within, func(b *query.EventBlock) error {
		for i, o := range b.Ords {
			t := total{n: 1}
			if of.Property != 0 {
				if col := &b.Columns[0]; col.Present != nil && col.Present[i>>6]>>(i&63)&1 == 0 {
					t = total{}
				} else if t = totalOf(col.Ints[i]); !of.Sums {
					t.sum = timeline.Int128{}
				}
			}
			got[o] = got[o].plus(t)
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	from := max(scan.From, s.Horizon(s.Schema.EventByID(scan.Event)))
	for _, p := range list {
		o := uint16(p.ord & math.MaxUint16)
		if p.event != scan.Event || int(p.ord>>bitmap.ChunkBits) != chunk || p.time < from || p.time >= scan.To || dead[p.ord] || within != nil && !within.Contains(o) {
			continue
		}
		t := total{n: 1}
		if of.Property != 0 {
			if t = totalOf(p.number); !p.some {
				t = total{}
			} else if !of.Sums {
				t.sum = timeline.Int128{}
			}
		}
		want[o] = want[o].plus(t)
	}
	none := func(_ uint16, t total) bool { return t.n == 0 }
	maps.DeleteFunc(got, none)
	maps.DeleteFunc(want, none)
	if !maps.Equal(got, want) {
		x.t.Fatalf("%s: event %d, chunk %d, from %d to %d, %+v: %d people\n%.600v, want %d\n%.600v", name, scan.Event, chunk, scan.From, scan.To, of, len(got), got, len(want), want)
	}
}
