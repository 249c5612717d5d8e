package timeline

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestSome reads a few events of blocks one by one and, of the same blocks, all.
func TestSome(t *testing.T) {
	const seed = 31
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var done, not [3]int
	count := func(kind int, was bool) {
		if was {
			done[kind]++
		} else {
			not[kind]++
		}
	}
	for range 120 {
		for _, source := range randomSources(t, r) {
			for i := range source.Part.Blocks() {
				checkSome(t, r, source.block(i), count)
			}
		}
	}
	for kind := range done {
		if done[kind] < 50 || not[kind] < 50 {
			t.Errorf("kind %d: %d times one by one, %d times not", kind, done[kind], not[kind])
		}
	}
}

func checkSome(t *testing.T, r *rand.Rand, b *Block, count func(kind int, done bool)) {
	t.Helper()
	n := b.To
	var sel []uint16
	for range r.IntN(max(2, n/3)) {
		sel = append(sel, uint16(r.IntN(n)))
	}
	slices.Sort(sel)
	sel = slices.Compact(sel)
	var ints [BlockSize]int64
	var codes [BlockSize]uint32
	var present Mask
	got, ok, err := b.SomeTimes(sel, nil)
	if err != nil || b.Times(ints[:]) != nil || ok && !slices.Equal(got, picked(ints[:], sel)) {
		t.Fatalf("times of %d: %v, %v", sel, got, err)
	}
	count(0, ok)
	for _, p := range b.Source.Part.Properties() {
		switch p.Class {
		case Int:
			got, ok, err := b.SomeInts(p.ID, sel, nil)
			if err != nil || b.Ints(p.ID, ints[:], &present) != nil || ok && !slices.Equal(got, picked(ints[:], sel)) || ok && present.Count() != n {
				t.Fatalf("property %d of %d: %v, %v", p.ID, sel, got, err)
			}
			count(1, ok)
		case Code:
			got, ok, err := b.SomeCodes(p.ID, sel, nil)
			if err != nil || b.Codes(p.ID, codes[:]) != nil || ok && !slices.Equal(got, picked(codes[:], sel)) || ok && slices.Contains(codes[:n], schema.NoCode) {
				t.Fatalf("property %d of %d: %v, %v", p.ID, sel, got, err)
			}
			count(2, ok)
		}
	}
}

func picked[T any](all []T, sel []uint16) (out []T) {
	for _, i := range sel {
		out = append(out, all[i])
	}
	return out
}
