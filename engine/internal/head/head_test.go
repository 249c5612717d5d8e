package head

import (
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

// TestSortedRun: runs are sorted by profile, time and hash, whatever the times are.
func TestSortedRun(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	table := &EventTable{Event: 20}
	for _, spread := range []int64{3, 1 << 40, math.MaxInt64} {
		var parts []*Acts
		n := 0
		for range 5 {
			a := newActs(table, 0)
			for range r.IntN(200) {
				a.Ords, a.Hashes = append(a.Ords, uint16(r.IntN(20))), append(a.Hashes, r.Int64()-r.Int64())
				a.Times = append(a.Times, []int64{-1, 1}[r.IntN(2)]*(r.Int64N(3)+r.Int64N(2)*(spread-3)))
			}
			parts = append(parts, a)
			n += a.Len()
		}
		run := new(Sorter).sortedRun(table, parts)
		if run.Len() != n {
			t.Fatalf("%d events, want %d", run.Len(), n)
		}
		for i := 1; i < n; i++ {
			if run.Compare(i-1, run, i) > 0 {
				t.Fatalf("spread %d: event %d comes before %d", spread, i-1, i)
			}
		}
	}
}
