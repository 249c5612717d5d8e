package timeline

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// seeded returns a generator whose seed is printed if the test fails.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// rounds is how often a random test is repeated: less in the short form of the tests.
func rounds(n int) int {
	if testing.Short() {
		return (n + 7) / 8
	}
	return n
}

// value is the obvious form of a property's value; none of its fields is set if it is absent.
type value struct {
	ok   bool
	n    int64 // of a Code and an Int
	text string
	set  []uint32
}

// event is the obvious form of an event. Its hash is what orders equal times.
type event struct {
	profile uint32
	time    int64
	hash    uint64
	values  map[schema.AttrID]value
}

func compareEvents(a, b event) int {
	return cmp.Or(cmp.Compare(a.profile, b.profile), cmp.Compare(a.time, b.time), cmp.Compare(a.hash, b.hash))
}

// allProperties are those that random parts have some of.
func allProperties() []Property {
	return []Property{{16, Code}, {17, Int}, {18, Text}, {19, Set}, {20, Int}, {33, Code}, {1000, Int}}
}

// someProperties returns a random choice of properties.
func someProperties(r *rand.Rand) []Property {
	n := r.IntN(4)
	return slices.DeleteFunc(allProperties(), func(Property) bool { return r.IntN(4) < n })
}

// dice makes the values of one property: its range, and how often there is one.
type dice struct {
	Property
	base, step int64
	faces      uint64
	absent     float64
	edges      bool
}

func newDice(r *rand.Rand, p Property) dice {
	d := dice{Property: p, absent: []float64{0, 0, 0.03, 0.5, 0.97, 1}[r.IntN(6)], step: 1}
	d.faces = []uint64{1, 2, 5, 40, 200, 5000, 1 << 17, 1 << 30}[r.IntN(8)]
	if p.Class == Int {
		d.base = []int64{0, -5, 1 << 40, math.MinInt64, math.MaxInt64 - 1<<45}[r.IntN(5)]
		d.step = []int64{1, 1, 7, 1000}[r.IntN(4)]
		d.edges = r.IntN(6) == 0
	}
	return d
}

func (d dice) roll(r *rand.Rand) value {
	if r.Float64() < d.absent {
		return value{}
	}
	n := d.base + int64(r.Uint64N(d.faces))*d.step
	switch d.Class {
	case Text:
		text := make([]byte, r.IntN(int(min(d.faces, 30))))
		for i := range text {
			text[i] = byte(r.Uint32())
		}
		return value{ok: true, text: string(text)}
	case Set:
		set := []uint32{uint32(n)}
		for range r.IntN(4) {
			set = append(set, uint32(r.Uint64N(d.faces)))
		}
		slices.Sort(set)
		return value{ok: true, set: slices.Compact(set)}
	case Int:
		if d.edges && r.IntN(3) == 0 {
			n = []int64{math.MinInt64, math.MaxInt64, math.MinInt64 + 1, math.MaxInt64 - 1, 0, -1}[r.IntN(6)]
		}
	}
	return value{ok: true, n: n}
}

// randomProfile returns a maker of ordinals: dense, sparse, few, one, or at the borders
// of chunks.
func randomProfile(r *rand.Rand) func() uint32 {
	base := uint32(r.IntN(bitmap.ShardChunks)) << bitmap.ChunkBits
	switch r.IntN(6) {
	case 0:
		return func() uint32 { return base | uint32(r.IntN(500)) }
	case 1:
		return func() uint32 { return base | uint32(r.IntN(bitmap.ChunkSize)) }
	case 2:
		p := r.Uint32N(bitmap.ShardSize)
		return func() uint32 { return p }
	case 3:
		return func() uint32 {
			return uint32(r.IntN(bitmap.ShardChunks)<<bitmap.ChunkBits-1+r.IntN(3)) % bitmap.ShardSize
		}
	case 4:
		return func() uint32 { return uint32(math.Pow(r.Float64(), 4) * bitmap.ShardSize) }
	}
	return func() uint32 { return r.Uint32N(bitmap.ShardSize) }
}

// randomTime returns a maker of times in a partition.
func randomTime(r *rand.Rand, p Partition) func() int64 {
	from, to := p.times()
	unit := []int64{1, 1, 1000, 60_000, msPerDay}[r.IntN(5)]
	switch r.IntN(4) {
	case 0:
		t := from + r.Int64N(to-from)
		return func() int64 { return min(t+r.Int64N(3), to-1) }
	case 1:
		return func() int64 { return []int64{from, from + 1, to - 1}[r.IntN(3)] }
	}
	return func() int64 { return from + r.Int64N(to-from)/unit*unit }
}

// randomEvents returns sorted events of a partition.
func randomEvents(r *rand.Rand, p Partition, properties []Property, n int) []event {
	profile, at := randomProfile(r), randomTime(r, p)
	all := make([]dice, len(properties))
	for i, property := range properties {
		all[i] = newDice(r, property)
	}
	events := make([]event, n)
	for i := range events {
		events[i] = event{profile(), at(), r.Uint64(), make(map[schema.AttrID]value, len(all))}
		for _, d := range all {
			if v := d.roll(r); v.ok {
				events[i].values[d.ID] = v
			}
		}
	}
	slices.SortFunc(events, compareEvents)
	return events
}

func randomCount(r *rand.Rand) int {
	return []int{0, 1, 2, 63, 64, 65, 300, 1 + r.IntN(BlockSize), BlockSize - 1, BlockSize, BlockSize + 1, 2 * BlockSize, 3*BlockSize + r.IntN(BlockSize)}[r.IntN(13)]
}

func randomPartition(r *rand.Rand) Partition {
	day := []int32{firstDay, lastDay, -1, 0, 29, 30, 20453, firstDay + int32(r.IntN(lastDay-firstDay))}[r.IntN(8)]
	if r.IntN(2) == 0 {
		return Day(day)
	}
	return Span(day)
}

// columns returns events as the builder wants them.
func columns(events []event, properties []Property) *Events {
	e := &Events{}
	e.Reset(properties)
	for i, x := range events {
		e.Profiles, e.Times = append(e.Profiles, x.profile), append(e.Times, x.time)
		for k := range e.Columns {
			c, v := &e.Columns[k], x.values[e.Columns[k].ID]
			c.Present = growMask(c.Present, i+1)
			if v.ok {
				c.Present[i>>6] |= 1 << (i & 63)
			}
			switch c.Class {
			case Code:
				c.Codes = append(c.Codes, uint32(v.n))
			case Int:
				c.Ints = append(c.Ints, v.n)
			case Text:
				c.Texts = append(c.Texts, []byte(v.text))
			case Set:
				c.Codes = append(c.Codes, v.set...)
				c.Ends = append(c.Ends, uint32(len(c.Codes)))
			}
		}
	}
	return e
}

// valueAt returns what a column has for an event.
func (c *Column) valueAt(i int) value {
	if !c.has(i) {
		return value{}
	}
	switch c.Class {
	case Code:
		return value{ok: true, n: int64(c.Codes[i])}
	case Int:
		return value{ok: true, n: c.Ints[i]}
	case Text:
		return value{ok: true, text: string(c.Texts[i])}
	}
	from, to := c.set(i)
	return value{ok: true, set: c.Codes[from:to]}
}

func (v value) equal(w value) bool {
	return v.ok == w.ok && v.n == w.n && v.text == w.text && slices.Equal(v.set, w.set)
}

// built is a part beside the events it was made of.
type built struct {
	Source
	header []byte
	rows   [][]byte
	events []event
}

// build makes a part and opens it as a store would.
func build(t testing.TB, id ID, properties []Property, events []event) built {
	t.Helper()
	header, rows, err := Build(id, properties, columns(events, properties))
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, header, rows, events)
}

func opened(t testing.TB, header []byte, rows [][]byte, events []event) built {
	t.Helper()
	part, err := Open(header)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != part.Rows() {
		t.Fatalf("%d rows, want %d", len(rows), part.Rows())
	}
	for i, row := range rows {
		if err := part.Verify(i, row); err != nil {
			t.Fatal(err)
		}
	}
	return built{InMemory(part, rows), header, rows, events}
}

// block returns a whole block for reading.
func (b *built) block(i int) *Block { return BlockOf(b.Source, i) }

// randomBuilt returns a random part of a shard.
func randomBuilt(t testing.TB, r *rand.Rand, p Partition) built {
	id := ID{Event: r.Uint32(), Shard: r.Uint32N(maxShards), Partition: p}
	properties := someProperties(r)
	return build(t, id, properties, randomEvents(r, p, properties, randomCount(r)))
}
