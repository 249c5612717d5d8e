package timeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// kind is an event type of the workload of ten million profiles.
type kind struct {
	name       string
	perSpan    int // events in 30 days
	properties []Property
}

// The properties of the workload, and how they are drawn.
const (
	category = 16
	amount   = 17
	item     = 18
	channel  = 19
)

func kinds() []kind {
	things := []Property{{category, Code}, {item, Code}}
	return []kind{
		{"app_open", 15_000_000, nil},
		{"view_item", 8_333_333, things},
		{"search", 2_666_667, nil},
		{"add_to_cart", 2_000_000, things},
		{"purchase", 1_000_000, []Property{{category, Code}, {amount, Int}, {item, Code}}},
		{"watch", 1_333_333, things},
		{"share", 500_000, []Property{{channel, Code}}},
		{"review", 266_667, things},
		{"support_ticket", 133_333, []Property{{channel, Code}}},
		{"email_open", 1_333_333, []Property{{channel, Code}}},
		{"push_click", 666_667, []Property{{channel, Code}}},
		{"uninstall", 100_000, nil},
	}
}

// zipf returns ranks below n, of weight (rank+1)^-s.
func zipf(r *rand.Rand, n int, s float64) func() int {
	total, sums := 0.0, make([]float64, n)
	for i := range sums {
		total += math.Pow(float64(i+1), -s)
		sums[i] = total
	}
	return func() int {
		k, _ := slices.BinarySearch(sums, r.Float64()*total)
		return min(k, n-1)
	}
}

// draw draws the events that the first 2^bits profiles have in a partition: the profile by
// rank u^2.5, scattered; times in a unit of ms.
func (k kind) draw(p Partition, bits int, unit int64) *Events {
	r := rand.New(rand.NewPCG(uint64(p.First), 7))
	size := 1 << bits
	events := make([]event, int(float64(k.perSpan)*float64(p.Days)/SpanDays*float64(size)/10_000_000))
	for i := range events {
		rank := int(math.Pow(r.Float64(), 2.5) * float64(size))
		events[i].profile = uint32(rank * 2654435761 % size)
		events[i].time = p.Start() + r.Int64N(p.End()-p.Start())/unit*unit
	}
	slices.SortFunc(events, compareEvents)
	e := &Events{}
	e.Reset(k.properties)
	for _, x := range events {
		e.Profiles, e.Times = append(e.Profiles, x.profile), append(e.Times, x.time)
	}
	makers := map[int]func() int{category: zipf(r, 40, 0.8), item: zipf(r, 5000, 0.9), channel: zipf(r, 5, 1)}
	for i := range e.Columns {
		c := &e.Columns[i]
		c.Present = nil
		for range events {
			if c.ID == amount {
				c.Ints = append(c.Ints, int64(100*math.Exp(3.2+0.9*r.NormFloat64()))+99)
			} else {
				c.Codes = append(c.Codes, uint32(makers[int(c.ID)]()))
			}
		}
	}
	return e
}

// part builds what draw draws.
func (k kind) part(tb testing.TB, p Partition, bits int, unit int64) (built, int) {
	header, rows, err := Build(ID{Event: 1, Partition: p}, k.properties, k.draw(p, bits, unit))
	if err != nil {
		tb.Fatal(err)
	}
	b := opened(tb, header, rows, nil)
	return b, len(header) + b.Part.Size()
}

// TestSizes holds the promises of bytes per event, with times in ms, in spans and in days.
func TestSizes(t *testing.T) {
	all, events := 0.0, 0.0
	for _, k := range kinds() {
		span, size := k.part(t, Span(20430), bitmap.ChunkBits, 1)
		per := float64(size) / float64(span.Part.Len())
		whole, size := k.part(t, Day(20453), bitmap.ShardBits-2, 1)
		perDay := float64(size) / float64(whole.Part.Len())
		seconds, size := k.part(t, Span(20430), bitmap.ChunkBits, 1000)
		t.Logf("%-14s %.2f bytes per event in a span, %.2f with whole seconds, %.2f in a day", k.name, per, float64(size)/float64(seconds.Part.Len()), perDay)
		all, events = all+per*float64(k.perSpan), events+float64(k.perSpan)
		if most := map[string]float64{"app_open": 4.5, "view_item": 7, "purchase": 9.5}[k.name]; most > 0 && max(per, perDay) > most {
			t.Errorf("%s: %.2f and %.2f bytes per event, at most %.1f", k.name, per, perDay, most)
		}
	}
	if mean := all / events; mean > 5.6 {
		t.Errorf("%.2f bytes per event of all types", mean)
	} else {
		t.Logf("all types %.2f", mean)
	}
}

// TestDerivedSizes holds the promise for presence and facts: 3 and 1.2 bytes per event of 90
// days, with times in ms.
func TestDerivedSizes(t *testing.T) {
	presence, facts, events := 0, 0, 0
	var c FactsCollector
	for _, k := range kinds() {
		var spans []Source
		for i := range int32(3) {
			part, _ := k.part(t, Span(20370+i*SpanDays), bitmap.ChunkBits, 1)
			spans = append(spans, part.Source)
			events += part.Part.Len()
			days, err := Check(part.Source)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range days {
				presence += len(d.Presence)
			}
		}
		var numbers []schema.AttrID
		if slices.Contains(k.properties, Property{amount, Int}) {
			numbers = []schema.AttrID{amount}
		}
		collected, err := c.Collect(spans, 0, math.MinInt64, numbers)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range collected {
			facts += len(f)
		}
	}
	days, lifetime := float64(presence)/float64(events), float64(facts)/float64(events)
	t.Logf("presence %.2f bytes per event, facts %.2f", days, lifetime)
	if days > 3 || lifetime > 1.2 {
		t.Error("at most 3 and 1.2 bytes")
	}
}

// perEvent reports the time per event of b.N rounds over n.
func perEvent(b *testing.B, n int) {
	ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n)
	b.ReportMetric(ns, "ns/event")
	b.ReportMetric(1000/ns, "Mevents/s")
}

func BenchmarkBuild(b *testing.B) {
	for _, i := range []int{0, 4} {
		k, p := kinds()[i], Span(20430)
		e := k.draw(p, bitmap.ChunkBits+1, 1)
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Build(ID{Partition: p}, k.properties, e); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, e.Len())
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, i := range []int{0, 4} {
		k, span, n := kinds()[i], Span(20430), 0
		var days []Source
		for day := range int32(SpanDays) {
			part, _ := k.part(b, Day(span.First+day), bitmap.ChunkBits+1, 1)
			days, n = append(days, part.Source), n+part.Part.Len()
		}
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Merge(ID{Event: 1, Partition: span}, days, MergeOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, n)
		})
	}
}

// BenchmarkScan scans a quarter of a shard: closed spans, and the shorter parts of days.
func BenchmarkScan(b *testing.B) {
	for _, i := range []int{0, 1, 4} {
		for _, p := range []Partition{Span(20430), Day(20430)} {
			k := kinds()[i]
			part, _ := k.part(b, p, bitmap.ShardBits-2, 1)
			name := fmt.Sprintf("%s/days=%d/", k.name, p.Days)
			benchScan(b, name, part)
		}
	}
}

func benchScan(b *testing.B, name string, part built) {
	p := part.Part.ID().Partition
	var c Cursor
	run := func(what string, scan Scan, begin func(), each func(*Batch)) {
		b.Run(name+what, func(b *testing.B) {
			for b.Loop() {
				for chunk := range bitmap.ShardChunks / 4 {
					scan.Chunk = chunk
					begin()
					for c.Reset([]Source{part.Source}, scan); c.Next(); {
						each(&c.Batch)
					}
					if c.Err() != nil {
						b.Fatal(c.Err())
					}
				}
			}
			perEvent(b, part.Part.Len())
		})
	}
	nothing := func() {}
	all := Scan{From: p.Start(), To: p.End()}
	cut := Scan{From: p.Start() + (p.End()-p.Start())/5, To: p.End()}
	var counts Counts
	var words, few bitmap.Words
	var values Values
	var ends Ends
	for i := range 300 {
		few.SetBit(uint16(i * 211))
	}
	run("decode", all, nothing, func(*Batch) {})
	run("count", all, nothing, counts.Add)
	run("count in a window", cut, nothing, counts.Add)
	run("presence", all, words.Clear, func(b *Batch) { b.AddTo(&words) })
	run("ends of a few", Scan{From: p.Start(), To: p.End(), Within: &few}, func() { ends.Reset(&few) }, func(b *Batch) { _ = ends.Add(b) })
	if part.Part.columnOf(amount) >= 0 {
		run("sum", all, func() { values.Reset(amount, nil) }, func(b *Batch) { _ = values.Add(b) })
		run("sum of a few", Scan{From: p.Start(), To: p.End(), Within: &few}, func() { values.Reset(amount, &few) }, func(b *Batch) { _ = values.Add(b) })
	}
	if part.Part.columnOf(category) >= 0 {
		all.Where = All{InCodes(category, 7)}.Where
		cut.Where = all.Where
		run("count of one category", all, nothing, counts.Add)
		run("count of one category in a window", cut, nothing, counts.Add)
	}
}

func BenchmarkCollectFacts(b *testing.B) {
	for _, i := range []int{0, 4} {
		k := kinds()[i]
		var spans []Source
		n := 0
		for i := range int32(12) {
			part, _ := k.part(b, Span(20070+i*SpanDays), bitmap.ChunkBits, 1)
			spans, n = append(spans, part.Source), n+part.Part.Len()
		}
		var numbers []schema.AttrID
		if slices.Contains(k.properties, Property{amount, Int}) {
			numbers = []schema.AttrID{amount}
		}
		var c FactsCollector
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Collect(spans, 0, math.MinInt64, numbers); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, n)
		})
	}
}

func BenchmarkFactsReader(b *testing.B) {
	stored := randomFacts(rand.New(rand.NewPCG(1, 1)), 2).stored()
	f, err := OpenFacts(stored)
	if err != nil {
		b.Fatal(err)
	}
	var r FactsReader
	for name, sums := range map[string]bool{"counts": false, "sums": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.Reset(f)
				if !sums {
					continue
				}
				if _, err := r.Property(20, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(f.Len()), "ns/profile")
		})
	}
}
