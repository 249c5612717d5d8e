package head

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// That all tiers together say the right thing is tested at random in package view.

const attr schema.AttrID = 16

func number(ord uint32, v int64) *effect.Outcome {
	return &effect.Outcome{Blocks: []effect.Block{{Ords: []uint32{ord}, Columns: []effect.Column{{Attr: attr, Class: effect.Int, Ints: []int64{v}}}}}}
}

func read(t *Tiers, ord uint32) (v int64, ok bool) {
	h := t.Of(attr)
	var o Overlay
	if !o.Load(&h, int(ord>>bitmap.ChunkBits)) {
		return 0, false
	}
	ints, present := make([]int64, 1), make([]bool, 1)
	o.PatchInts([]uint16{uint16(ord)}, ints, present)
	return ints[0], present[0]
}

// TestCut appends under one stamp after the other: each cut sees what came up to it, also
// when the list has grown since.
func TestCut(t *testing.T) {
	l := NewL0(1, []schema.AttrID{attr}, nil, 1)
	for stamp := uint16(1); stamp <= 200; stamp++ {
		l.Append(stamp, number(7, int64(stamp)), nil, nil, 0)
		l.Append(stamp, number(uint32(stamp)+100, 1), nil, nil, 0)
	}
	for cut := range uint16(201) {
		v, ok := read(&Tiers{Active: l, Cut: cut}, 7)
		if ok != (cut > 0) || v != int64(cut) {
			t.Fatalf("cut %d sees %d %v", cut, v, ok)
		}
	}
	if v, _ := read(&Tiers{Frozen: []*L0{l}}, 7); v != 200 {
		t.Fatalf("frozen, %d", v)
	}
	if empty := (&Tiers{Active: l}).Of(attr); !empty.Empty() {
		t.Error("a cut of 0 sees something")
	}
}

// TestFolded leaves out what the base has, by attribute, shard and position.
func TestFolded(t *testing.T) {
	chunks := 2 * bitmap.ShardChunks
	l := NewL0(1, []schema.AttrID{attr}, nil, chunks)
	folded := func(a schema.AttrID) []uint64 {
		if a != attr {
			t.Errorf("asked for attribute %d", a)
		}
		return []uint64{5}
	}
	second := uint32(bitmap.ShardSize)
	l.Append(1, number(7, 1), nil, nil, 1)
	l.Append(2, number(7, 2), folded, nil, 5)
	l.Append(3, number(8, 3), folded, nil, 6)
	l.Append(4, number(second+7, 4), folded, nil, 5)
	tiers := &Tiers{Active: l, Cut: 4}
	for ord, want := range map[uint32]int64{7: 1, 8: 3, second + 7: 4} {
		if v, _ := read(tiers, ord); v != want {
			t.Errorf("%d has %d, want %d", ord, v, want)
		}
	}
}

// TestGrouped appends rows in random order, more than are grouped, with keys that come
// twice: the later value holds, absent values too.
func TestGrouped(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		chunks := 1 + rnd.IntN(6)
		l, want := NewL0(1, []schema.AttrID{attr}, nil, chunks), map[uint32]int64{}
		for stamp := range uint16(1 + rnd.IntN(3)) {
			o := &effect.Outcome{Blocks: []effect.Block{{}}}
			b, c := &o.Blocks[0], effect.Column{Attr: attr, Class: effect.Int}
			for range 1 + rnd.IntN(300) {
				ord, v := uint32(rnd.IntN(chunks))*bitmap.ChunkSize+uint32(rnd.IntN(40)), rnd.Int64N(1000)
				b.Ords = append(b.Ords, ord)
				if v < 100 {
					c.AppendAbsent()
					want[ord] = -1
					continue
				}
				c.AppendInt(v)
				want[ord] = v
			}
			b.Columns = []effect.Column{c}
			l.Append(stamp+1, o, nil, nil, 0)
		}
		for ord, v := range want {
			if got, ok := read(&Tiers{Frozen: []*L0{l}}, ord); ok != (v >= 0) || ok && got != v {
				t.Fatalf("%d has %d %v, want %d", ord, got, ok, v)
			}
		}
	}
}

func TestFits(t *testing.T) {
	l := NewL0(1, []schema.AttrID{attr}, nil, 2)
	if !l.Fits(number(2*bitmap.ChunkSize-1, 1)) || l.Fits(number(2*bitmap.ChunkSize, 1)) {
		t.Error("the last chunk is wrong")
	}
	other := number(1, 1)
	other.Blocks[0].Columns[0].Attr = 17
	if l.Fits(other) {
		t.Error("an attribute without a place fits")
	}
}

// TestSettleKeepsWhatIsNew settles nothing, then something twice.
func TestSettleKeepsWhatIsNew(t *testing.T) {
	var st Settler
	l := NewL0(1, []schema.AttrID{attr}, nil, 1)
	l.Append(1, number(9, 1), nil, nil, 0)
	l.Append(2, number(3, 2), nil, nil, 0)
	first := st.Settle(attr, effect.Int, 0, nil, []*L0{l})
	if again := st.Settle(attr, effect.Int, 0, first, nil); again != first {
		t.Error("nothing new makes a new object")
	}
	m := NewL0(3, []schema.AttrID{attr}, nil, 1)
	m.Append(1, number(9, 3), nil, nil, 0)
	second := st.Settle(attr, effect.Int, 0, first, []*L0{m})
	if !slices.Equal(second.Ords, []uint16{3, 9}) {
		t.Fatalf("ordinals %v", second.Ords)
	}
	if v, _ := second.Int(1); v != 3 {
		t.Errorf("9 has %d", v)
	}
	if v, _ := first.Int(1); v != 1 {
		t.Errorf("the old object changed: 9 has %d", v)
	}
}

// TestSortedRun: runs are sorted by profile, time and hash, whatever these are, and have all
// values of their events: those of the plain sort.
func TestSortedRun(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	classes := []effect.Class{effect.Code, effect.Int, effect.Bytes, effect.Set}
	table, older := &EventTable{Event: 20}, &EventTable{Event: 20}
	for i, class := range classes {
		p := Property{schema.AttrID(30 + i), class}
		if table.Properties = append(table.Properties, p); i%2 == 1 {
			older.Properties = append(older.Properties, p)
		}
	}
	var sorter Sorter
	for round := range 60 {
		profiles, spread := []int{3, 20, 300, 1 << 16}[round%4], []int64{3, 1 << 40, math.MaxInt64}[round%3]
		var parts []*Acts
		var want []string
		for range 1 + r.IntN(5) {
			a := newActs([]*EventTable{table, older}[r.IntN(2)], 0)
			for range r.IntN([]int{3, 2 * radixFrom, 200}[r.IntN(3)]) {
				a.Ords, a.Hashes = append(a.Ords, uint16(r.IntN(profiles))), append(a.Hashes, r.Int64()-r.Int64())
				a.Times = append(a.Times, []int64{-1, 1}[r.IntN(2)]*(r.Int64N(3)+r.Int64N(2)*(spread-3)))
				for k := range a.Cols {
					addAny(r, &a.Cols[k])
				}
				want = append(want, text(a, table, a.Len()-1))
			}
			parts = append(parts, a)
		}
		run := sorter.sortedRun(table, parts)
		var got []string
		for i := range run.Len() {
			got = append(got, text(run, table, i))
			if i > 0 && run.Compare(i-1, run, i) > 0 {
				t.Fatalf("spread %d: event %d comes before %d", spread, i-1, i)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %d events, want %d, or others", round, len(got), len(want))
		}
	}
}

// addAny appends a value, or none.
func addAny(r *rand.Rand, c *ActColumn) {
	if r.IntN(3) == 0 {
		c.addAbsent()
		return
	}
	switch c.Class {
	case effect.Code:
		c.Codes = append(c.Codes, r.Uint32N(9))
	case effect.Int:
		c.Ints, c.Present = append(c.Ints, r.Int64()), append(c.Present, 1)
	case effect.Bytes:
		c.Data = append(c.Data, "some text"[:r.IntN(9)]...)
		c.Ends, c.Present = append(c.Ends, uint32(len(c.Data))), append(c.Present, 1)
	case effect.Set:
		for code := range r.Uint32N(4) {
			c.Codes = append(c.Codes, code)
		}
		c.Ends = append(c.Ends, uint32(len(c.Codes)))
	}
}

// text writes event i with its values of the table's properties.
func text(a *Acts, t *EventTable, i int) string {
	out := fmt.Sprint(a.Ords[i], " ", a.Times[i], " ", a.Hashes[i])
	for _, p := range t.Properties {
		c := a.Column(p.ID)
		switch {
		case c == nil || p.Class == effect.Code && c.Codes[i] == schema.NoCode || (p.Class == effect.Int || p.Class == effect.Bytes) && c.Present[i] == 0:
			out += " -"
		case p.Class == effect.Code:
			out += fmt.Sprint(" ", c.Codes[i])
		case p.Class == effect.Int:
			out += fmt.Sprint(" ", c.Ints[i])
		default:
			from, to := c.Span(i)
			if p.Class == effect.Set && from == to {
				out += " -"
			} else if p.Class == effect.Set {
				out += fmt.Sprint(" ", c.Codes[from:to])
			} else {
				out += fmt.Sprintf(" %q", c.Data[from:to])
			}
		}
	}
	return out
}

// TestKept: a chunk never has more runs than maxRuns, and events that come evenly are
// seldom written again.
func TestKept(t *testing.T) {
	table := &EventTable{Event: 20}
	var l0 []*L0
	var runs ActRuns
	again, before := 0, 0
	l := NewL0(1, nil, []*EventTable{table}, 1)
	for i := range 60 {
		next := NewL0(uint64(i), nil, []*EventTable{table}, 1)
		next.After(l)
		l = next
		n := 100 + i%7
		a := effect.Acts{Event: 20}
		a.Columns = []effect.Column{{Attr: effect.TimeColumn, Class: effect.Int}, {Attr: effect.HashColumn, Class: effect.Int}}
		for k := range n {
			a.Ords = append(a.Ords, uint32(k))
			a.Columns[0].Ints, a.Columns[1].Ints = append(a.Columns[0].Ints, int64(i)), append(a.Columns[1].Ints, 0)
		}
		l.Append(1, &effect.Outcome{Acts: []effect.Acts{a}}, nil, nil, 1)
		runs = SettleActs(table, 1, runs, append(l0[:0], l))
		all := 0
		for _, run := range runs[0] {
			all += run.Len()
		}
		if all != before+n || len(runs[0]) > maxRuns {
			t.Fatalf("%d events in %d runs, want %d in at most %d", all, len(runs[0]), before+n, maxRuns)
		}
		if again += runs[0][len(runs[0])-1].Len() - n; i == 29 && again > 3*before {
			t.Errorf("of %d events %d were written again", all, again)
		}
		before = all
	}
}

// TestActsIn: a settled run knows between which times its events are, another list does not.
func TestActsIn(t *testing.T) {
	table := &EventTable{Event: 1}
	l := newActs(table, 3)
	l.Ords, l.Times, l.Hashes = []uint16{5, 2, 2}, []int64{30, 10, 20}, []int64{0, 0, 0}
	var sorter Sorter
	run := sorter.sortedRun(table, []*Acts{l})
	for _, x := range []struct {
		from, to  int64
		some, all bool
	}{{10, 31, true, true}, {10, 30, true, false}, {11, 31, true, false}, {30, 40, true, false}, {31, 40, false, false}, {0, 10, false, false}, {0, 11, true, false}} {
		if some, all := run.In(x.from, x.to); some != x.some || all != x.all {
			t.Errorf("%d to %d: some %v, all %v", x.from, x.to, some, all)
		}
		if some, all := l.In(x.from, x.to); !some || all {
			t.Errorf("%d to %d of a list: some %v, all %v", x.from, x.to, some, all)
		}
	}
}

// TestAddTo: whose events a list or a run has, whether few or many.
func TestAddTo(t *testing.T) {
	table := &EventTable{Event: 1}
	for _, n := range []int{0, 1, 2, 7, peopleFrom - 1, peopleFrom, peopleFrom + 1} {
		l := newActs(table, n)
		var want bitmap.Words
		want.SetBit(9)
		for i := range n {
			ord := uint16(i * 7919 % 3001 * 21)
			l.Ords, l.Times, l.Hashes = append(l.Ords, ord), append(l.Times, int64(i)), append(l.Hashes, 0)
			want.SetBit(ord)
		}
		var sorter Sorter
		run := sorter.sortedRun(table, []*Acts{l})
		if (run.people != nil) != (n >= peopleFrom) {
			t.Errorf("%d events: a bitmap of the people: %v", n, run.people != nil)
		}
		for _, a := range []*Acts{l, run} {
			var got bitmap.Words
			got.SetBit(9)
			if a.AddTo(&got, n); got != want {
				t.Errorf("%d events: other people", n)
			}
		}
	}
}
