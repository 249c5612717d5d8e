package timeline

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

func TestPartAgainstModel(t *testing.T) {
	r := seeded(t)
	sizes := map[bool]int{}
	for range rounds(80) {
		b := randomBuilt(t, r, randomPartition(r))
		checkHeader(t, &b)
		checkEvents(t, r, &b, b.Part.Properties())
		checkEvents(t, r, &b, allProperties())
		if _, err := Check(b.Source); err != nil {
			t.Fatal(err)
		}
		sizes[b.Part.Rows() > 1]++
	}
	if !testing.Short() && len(sizes) != 2 {
		t.Errorf("parts of one row and of several are wanted: %v", sizes)
	}
}

func checkHeader(t *testing.T, b *built) {
	t.Helper()
	p, size := b.Part, 0
	for _, row := range b.rows {
		size += len(row)
		if large := slices.ContainsFunc(p.Properties(), func(p Property) bool { return p.Class > Int }); !large && len(row) > rowBytes+8*BlockSize+BlockSize/8+slack {
			t.Fatalf("a row of %d bytes", len(row))
		}
	}
	if p.Len() != len(b.events) || p.Blocks() != (len(b.events)+BlockSize-1)/BlockSize || p.Size() != size {
		t.Fatalf("%d events in %d blocks of %d bytes, want %d of %d bytes", p.Len(), p.Blocks(), p.Size(), len(b.events), size)
	}
	var counts [bitmap.ShardChunks]int
	first, last := int64(0), int64(0)
	for i, e := range b.events {
		counts[e.profile>>bitmap.ChunkBits]++
		if i == 0 {
			first, last = e.time, e.time
		}
		first, last = min(first, e.time), max(last, e.time)
		if !p.Has(e.profile) {
			t.Fatalf("it has no profile %d", e.profile)
		}
	}
	for chunk, n := range counts {
		if p.Count(chunk) != n {
			t.Fatalf("chunk %d has %d events, want %d", chunk, p.Count(chunk), n)
		}
	}
	if gotFirst, gotLast := p.Times(); gotFirst != first || gotLast != last {
		t.Fatalf("times %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
	if n := len(b.events); n > 0 && (p.Has(b.events[n-1].profile+1) || b.events[0].profile > 0 && p.Has(b.events[0].profile-1)) {
		t.Fatal("it has profiles beyond its own")
	}
}

// checkEvents reads all events, block by block and in pieces, with the given columns.
func checkEvents(t *testing.T, r *rand.Rand, b *built, properties []Property) {
	t.Helper()
	e := &Events{}
	e.Reset(properties)
	for i := range b.Part.Blocks() {
		block := b.block(i)
		if r.IntN(2) == 0 {
			block.From = r.IntN(block.To)
			block.To = block.From + 1 + r.IntN(block.To-block.From)
		}
		if err := block.Events(e); err != nil {
			t.Fatal(err)
		}
		if e.Len() != block.To-block.From {
			t.Fatalf("%d events, want %d", e.Len(), block.To-block.From)
		}
		checkSame(t, e, b.events[i*BlockSize+block.From:i*BlockSize+block.To], b.Part)
		at := block.From + r.IntN(e.Len())
		if got, err := block.Time(at); err != nil || got != e.Times[at-block.From] {
			t.Fatalf("time %d of event %d, want %d: %v", got, at, e.Times[at-block.From], err)
		}
	}
}

// checkSame compares columns with events; values of properties that the part does not
// have are absent.
func checkSame(t *testing.T, e *Events, want []event, p *Part) {
	t.Helper()
	for i, x := range want {
		if e.Profiles[i] != x.profile || e.Times[i] != x.time {
			t.Fatalf("event %d of %d is of profile %d at %d, want %d at %d", i, len(want), e.Profiles[i], e.Times[i], x.profile, x.time)
		}
		for k := range e.Columns {
			w := x.values[e.Columns[k].ID]
			if p.columnOf(e.Columns[k].ID) < 0 {
				w = value{}
			}
			if got := e.Columns[k].valueAt(i); !got.equal(w) {
				t.Fatalf("property %d of event %d is %v, want %v", e.Columns[k].ID, i, got, w)
			}
		}
	}
}

// TestOneProfile has a profile with events in many blocks, between others.
func TestOneProfile(t *testing.T) {
	r := seeded(t)
	p := Span(20453)
	var events []event
	for i := range 100_000 {
		events = append(events, event{profile: 70_000, time: p.Start() + int64(i/3), hash: r.Uint64()})
	}
	for _, profile := range []uint32{0, 69_999, 70_001, 1<<20 - 1} {
		events = append(events, event{profile: profile, time: p.Start()})
	}
	slices.SortFunc(events, compareEvents)
	b := build(t, ID{Partition: p}, nil, events)
	checkHeader(t, &b)
	checkEvents(t, r, &b, nil)
	if from, to := b.Part.find(70_000); to-from != 25 {
		t.Errorf("blocks %d to %d", from, to)
	}
	if from, to := b.Part.find(69_999); to-from != 1 {
		t.Errorf("blocks %d to %d", from, to)
	}
	if per := float64(b.Part.Size()+len(b.header)) / float64(len(events)); per > 2 {
		t.Errorf("%.2f bytes per event", per)
	}
	var c Cursor
	var counts Counts
	total := 0
	for chunk := range bitmap.ShardChunks {
		clear(counts[:])
		for c.Reset([]Source{b.Source}, Scan{Chunk: chunk, From: p.Start() + 10, To: p.End()}); c.Next(); {
			counts.Add(&c.Batch)
		}
		for _, n := range counts {
			total += int(n)
		}
	}
	if total != 100_000-30 || c.Err() != nil {
		t.Errorf("%d events, %v", total, c.Err())
	}
}

func TestPartition(t *testing.T) {
	for _, x := range []struct {
		day   int32
		first int32
	}{{0, 0}, {29, 0}, {30, 30}, {-1, -30}, {-30, -30}, {-31, -60}, {20453, 20430}, {firstDay, -719_190}} {
		if s := Span(x.day); s.First != x.first || !s.valid() || !s.Holds(Day(x.day)) || Day(x.day).Holds(s) || s.End()-s.Start() != 30*msPerDay {
			t.Errorf("day %d is in %+v", x.day, s)
		}
	}
	for ms, day := range map[int64]int32{0: 0, -1: -1, -msPerDay: -1, -msPerDay - 1: -2, msPerDay - 1: 0, msPerDay: 1} {
		if DayOf(ms) != day || Day(day).Start() > ms || Day(day).End() <= ms {
			t.Errorf("%d ms is day %d", ms, DayOf(ms))
		}
	}
	for _, p := range []Partition{{0, 2}, {1, 30}, {0, 0}, {0, 60}, {firstDay - 1, 1}, {lastDay + 1, 1}, {math.MaxInt32, 1}, {math.MinInt32, 1}, {math.MinInt32, 30}} {
		if p.valid() {
			t.Errorf("%+v", p)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	day := Day(100)
	two := func(p, q uint32, t, u int64) *Events {
		return &Events{Profiles: []uint32{p, q}, Times: []int64{day.Start() + t, day.Start() + u}}
	}
	f := func(id ID, properties []Property, e *Events, want string) {
		t.Helper()
		if _, _, err := Build(id, properties, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	id := ID{Partition: day}
	f(id, nil, two(2, 1, 0, 0), "sort")
	f(id, nil, two(1, 1, 5, 4), "sort")
	f(id, nil, two(1, 1<<20, 0, 0), "shard")
	f(id, nil, two(1, 1, -1, 0), "partition")
	f(id, nil, two(1, 1, 0, msPerDay), "partition")
	f(ID{Partition: Partition{100, 30}}, nil, &Events{}, "partition")
	f(ID{Partition: day, Shard: maxShards}, nil, &Events{}, "shard")
	f(id, []Property{{17, Int}, {16, Int}}, &Events{}, "property 16")
	f(id, []Property{{17, Int}, {17, Int}}, &Events{}, "property 17")
	f(id, []Property{{17, 5}}, &Events{}, "class 5")
	f(id, make([]Property, MaxProperties+1), &Events{}, "properties")
	f(id, []Property{{17, Int}}, &Events{Columns: []Column{{Property: Property{17, Code}}}}, "column 0")
	f(id, []Property{{16, Int}, {17, Int}}, &Events{Columns: []Column{{Property: Property{17, Int}}, {Property: Property{16, Int}}}}, "column 1")
	f(ID{Partition: Span(firstDay)}, nil, &Events{Profiles: []uint32{0}, Times: []int64{firstDay*msPerDay - 1}}, "partition")
}

// TestAbsentForms has the ways to say that there is no value.
func TestAbsentForms(t *testing.T) {
	e := &Events{Profiles: []uint32{1, 2, 3}, Times: []int64{0, 0, 0}, Columns: []Column{
		{Property: Property{16, Code}, Codes: []uint32{4, schema.NoCode, 5}},
		{Property: Property{17, Int}, Ints: []int64{4, 5, 6}, Present: []uint64{0b101}},
		{Property: Property{18, Text}, Texts: [][]byte{{}, nil, []byte("a")}},
		{Property: Property{19, Set}, Codes: []uint32{1, 2}, Ends: []uint32{1, 1, 2}},
	}}
	properties := []Property{{16, Code}, {17, Int}, {18, Text}, {19, Set}, {20, Int}}
	header, rows, err := Build(ID{Partition: Day(0)}, properties, e)
	if err != nil {
		t.Fatal(err)
	}
	b := opened(t, header, rows, nil)
	got := &Events{}
	got.Reset(properties)
	if err := b.block(0).Events(got); err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Columns {
		for i := range 3 {
			if c.has(i) != (i != 1 && c.ID != 20) {
				t.Errorf("property %d of event %d: %v", c.ID, i, c.valueAt(i))
			}
		}
	}
	if _, err := b.block(0).Texts(16); err == nil || !strings.Contains(err.Error(), "class") {
		t.Error(err)
	}
}
