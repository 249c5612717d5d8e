package query

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// benchEvents is a shard with the events of 30 days at the density of the workload's scale
// L, as a warm cache would have them: decoded, sorted by profile and time, in blocks of
// 4,096. All chunks of an event type are alike. What it leaves out takes time that is no
// evaluator's.
type benchEvents struct {
	*benchView
	chunk  map[schema.EventID][]benchAct
	blocks map[window]map[schema.EventID][]EventBlock
	read   int
}

type benchAct struct {
	ord      uint16
	time     int64
	amount   int64
	price    int64
	category uint32
}

// perDay is how many events a chunk has on a day: 3, 25 and 45 % of what there is.
var perDay = map[schema.EventID]int{eBuy: 218, eView: 1815, eOpen: 3268, eCart: 436}

const (
	eCart       = eOpen + 1
	benchShard  = bitmap.ShardChunks
	benchDays   = 30
	benchWithin = 24 * 3600000
)

func newBenchEvents() *benchEvents {
	v := &benchEvents{benchView: newBenchView(true, 0), chunk: map[schema.EventID][]benchAct{},
		blocks: map[window]map[schema.EventID][]EventBlock{}}
	types := append(memEventTypes(), schema.Event{ID: eCart, Name: "add_to_cart"})
	v.benchView.schema = schema.New(1, pEnd, v.benchView.schema.Attributes, types...)
	r := rand.New(rand.NewPCG(2, 2))
	for _, e := range types {
		for range perDay[e.ID] * benchDays {
			rank := math.Pow(r.Float64(), 2.5) * bitmap.ChunkSize
			ord := uint16(uint32(rank) * 40503 % bitmap.ChunkSize) // scattered
			v.chunk[e.ID] = append(v.chunk[e.ID], benchAct{ord, memNow - r.Int64N(benchDays*msPerDay), int64(100 + r.IntN(9000)),
				schema.OrderedFloat(r.Float64() * 100), uint32(r.IntN(40))})
		}
		slices.SortFunc(v.chunk[e.ID], func(a, b benchAct) int { return cmp.Or(cmp.Compare(a.ord, b.ord), cmp.Compare(a.time, b.time)) })
	}
	return v
}

// of returns the blocks of a window, with all columns that the benchmarks read.
func (v *benchEvents) of(scan *EventScan) []EventBlock {
	in := window{scan.From, scan.To}
	if v.blocks[in] == nil {
		v.blocks[in] = map[schema.EventID][]EventBlock{}
	}
	if b, ok := v.blocks[in][scan.Event]; ok {
		return b
	}
	var out []EventBlock
	for _, a := range v.chunk[scan.Event] {
		if a.time < in.from || a.time >= in.to {
			continue
		}
		if len(out) == 0 || len(out[len(out)-1].Ords) == 4096 {
			out = append(out, EventBlock{Sorted: true, Columns: make([]EventColumn, 3)})
		}
		b := &out[len(out)-1]
		b.Ords, b.Times = append(b.Ords, a.ord), append(b.Times, a.time)
		b.Columns[0].Ints = append(b.Columns[0].Ints, a.amount)
		b.Columns[1].Ints = append(b.Columns[1].Ints, a.price)
		b.Columns[2].Codes = append(b.Columns[2].Codes, a.category)
	}
	v.blocks[in][scan.Event] = out
	return out
}

func (v *benchEvents) Chunks() int { return benchShard }
func (v *benchEvents) Cursor() Cursor {
	return &benchEventCursor{benchCursor{memCursor{}, v.benchView}, v}
}

func (v *benchEvents) ExistsCount(attr schema.AttrID) (uint64, bool) {
	return benchShard * bitmap.ChunkSize, true
}

func (v *benchEvents) EventCount(event schema.EventID, from, to int64) uint64 {
	return uint64(perDay[event]) * benchShard * uint64(min(benchDays, (to-max(from, 0))/msPerDay))
}

type benchEventCursor struct {
	benchCursor
	v *benchEvents
}

func (c *benchEventCursor) Events(scan *EventScan, _ int, within *bitmap.Set, f func(b *EventBlock) error) error {
	for _, b := range c.v.of(scan) {
		c.v.read += len(b.Ords)
		if within != nil {
			b = b.of(within)
		}
		out := EventBlock{Ords: b.Ords, Sorted: true}
		if scan.Times {
			out.Times = b.Times
		}
		for _, id := range scan.Properties {
			at, _ := slices.BinarySearch([]schema.AttrID{pAmount, pPrice, pCategory}, id)
			out.Columns = append(out.Columns, b.Columns[at])
		}
		if err := f(&out); err != nil {
			return err
		}
	}
	return nil
}

// of returns the events of some profiles.
func (b EventBlock) of(within *bitmap.Set) EventBlock {
	out := EventBlock{Columns: make([]EventColumn, 3)}
	for i, o := range b.Ords {
		if within.Contains(o) {
			out.Ords, out.Times = append(out.Ords, o), append(out.Times, b.Times[i])
			out.Columns[0].Ints = append(out.Columns[0].Ints, b.Columns[0].Ints[i])
			out.Columns[1].Ints = append(out.Columns[1].Ints, b.Columns[1].Ints[i])
			out.Columns[2].Codes = append(out.Columns[2].Codes, b.Columns[2].Codes[i])
		}
	}
	return out
}

func (c *benchEventCursor) EventDays(event schema.EventID, first int64, chunk int, days []bitmap.Words) error {
	from := first * msPerDay
	return c.Events(&EventScan{Event: event, From: from, To: from + int64(len(days))*msPerDay, Times: true}, chunk, nil, func(b *EventBlock) error {
		for i, o := range b.Ords {
			days[(b.Times[i]-from)/msPerDay].SetBit(o)
		}
		return nil
	})
}

func (c *benchEventCursor) HasEvent(event schema.EventID, from, to int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	buf.Clear()
	err := c.Events(&EventScan{Event: event, From: from, To: to}, chunk, within, func(b *EventBlock) error {
		for _, o := range b.Ords {
			buf.SetBit(o)
		}
		return nil
	})
	return bitmap.FromWords(buf), err
}

// benchQuestions are the shapes of the workload's questions.
func benchQuestions() map[string]Node {
	last := func(e schema.EventID, days int64) *Events {
		return &Events{Event: e, From: memNow + 1 - days*msPerDay, To: memNow + 1}
	}
	fold := func(op FoldOp, l *Events, of Arith, k schema.Kind, scale uint8) Arith {
		return &Fold{Op: op, List: l, Of: of, Kind: k, Scale: scale}
	}
	amount := &Column{pAmount, schema.Decimal, 2}
	hundred := &Literal{schema.DecimalValue(10000, 2)}
	count := fold(FoldCount, last(eBuy, 30), nil, schema.Int, 0)
	sum := &Compare{Op: GT, L: fold(FoldSum, last(eBuy, 30), amount, schema.Decimal, 2), R: hundred}
	q9 := []Node{&Compare{Op: GE, L: count, R: &Literal{schema.IntValue(3)}}, sum}
	c7 := last(eView, 14)
	c7.Filter = []Node{&In{Attr: pCategory, Values: []schema.Value{str("c7")}}}
	float := fold(FoldSum, last(eBuy, 30), &Column{pPrice, schema.Float, 0}, schema.Float, 0)
	days := &Fold{Op: FoldDistinctDays, List: last(eOpen, 30), Zone: zoneOf("Europe/Rome"), Kind: schema.Int}
	return map[string]Node{
		"Q8":       &And{[]Node{&Any{List: last(eBuy, 7)}, &Not{&Any{List: last(eOpen, 3)}}}},
		"Q9":       &And{q9},
		"Q9sum":    sum,
		"Q10":      &Compare{Op: GE, L: fold(FoldCount, c7, nil, schema.Int, 0), R: &Literal{schema.IntValue(5)}},
		"Q11":      &And{append(q9, is(aTotal, 1), is(aPlan, 2), is(aBool, 1))},
		"Q12":      &Sequence{Within: benchWithin, Of: []*Events{last(eView, 30), last(eCart, 30), last(eBuy, 30)}},
		"last":     &Compare{Op: LT, L: fold(FoldLast, last(eOpen, 30), &Column{schema.TimeProperty, schema.Timestamp, 0}, schema.Timestamp, 0), R: &Literal{schema.TimestampValue(memNow - 7*msPerDay)}},
		"floatsum": &Compare{Op: GT, L: float, R: &Literal{schema.FloatValue(300)}},
		"days":     &Compare{Op: GE, L: days, R: &Literal{schema.IntValue(5)}},
		"then":     &Any{List: &Events{Event: eBuy, From: memNow + 1 - 30*msPerDay, To: memNow + 1, Then: &Then{last(eCart, 30), 3600000}}},
	}
}

// BenchmarkEvents has one goroutine. It reports what a question costs per event read.
func BenchmarkEvents(b *testing.B) {
	v := newBenchEvents()
	questions := benchQuestions()
	for _, name := range []string{"Q8", "Q9", "Q9sum", "Q10", "Q11", "Q12", "last", "floatsum", "days", "then"} {
		b.Run(name, func(b *testing.B) {
			question := questions[name]
			b.ReportAllocs()
			v.read = 0
			var count Count
			run := func() {
				p, err := Prepare(context.Background(), question, v)
				if err != nil {
					b.Fatal(err)
				}
				if count, err = CountOf(context.Background(), v, p, Options{Parallelism: 1}); err != nil {
					b.Fatal(err)
				}
			}
			run() // the blocks are made
			v.read = 0
			for b.Loop() {
				run()
			}
			ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(ns/benchShard/1000, "us/chunk")
			b.ReportMetric(ns*float64(b.N)/float64(max(1, v.read)), "ns/event")
			b.ReportMetric(float64(count.Count), "people")
		})
	}
}
