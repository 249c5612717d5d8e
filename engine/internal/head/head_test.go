package head

import (
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

func read(t *Tiers, ord uint16) (v int64, ok bool) {
	h := t.Of(attr)
	var o Overlay
	if !o.Load(&h, 0) {
		return 0, false
	}
	ints, present := make([]int64, 1), make([]bool, 1)
	o.PatchInts([]uint16{ord}, ints, present)
	return ints[0], present[0]
}

// TestCut appends under one stamp after the other: each cut sees what came up to it, also
// when the list has grown since.
func TestCut(t *testing.T) {
	l := NewL0(1, []schema.AttrID{attr}, 1)
	for stamp := uint16(1); stamp <= 200; stamp++ {
		l.Append(stamp, number(7, int64(stamp)), nil)
		l.Append(stamp, number(uint32(stamp)+100, 1), nil)
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

// TestSkip leaves out what the base has.
func TestSkip(t *testing.T) {
	l := NewL0(1, []schema.AttrID{attr}, 1)
	l.Append(1, number(7, 1), nil)
	l.Append(2, number(7, 2), func(a schema.AttrID, ord uint32) bool { return a == attr && ord == 7 })
	l.Append(3, number(8, 3), nil)
	tiers := &Tiers{Active: l, Cut: 3}
	if v, _ := read(tiers, 7); v != 1 {
		t.Errorf("7 has %d", v)
	}
	if v, _ := read(tiers, 8); v != 3 {
		t.Errorf("8 has %d", v)
	}
}

func TestFits(t *testing.T) {
	l := NewL0(1, []schema.AttrID{attr}, 2)
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
	l := NewL0(1, []schema.AttrID{attr}, 1)
	l.Append(1, number(9, 1), nil)
	l.Append(2, number(3, 2), nil)
	first := st.Settle(attr, effect.Int, 0, nil, []*L0{l})
	if again := st.Settle(attr, effect.Int, 0, first, nil); again != first {
		t.Error("nothing new makes a new object")
	}
	m := NewL0(3, []schema.AttrID{attr}, 1)
	m.Append(1, number(9, 3), nil)
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
