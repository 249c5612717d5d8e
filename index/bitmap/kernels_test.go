package bitmap

import (
	"fmt"
	"slices"
	"testing"
)

// TestKernelLevels compares every kernel of every level that this machine has with plain
// Go, also where the result overwrites an operand.
func TestKernelLevels(t *testing.T) {
	if machine != levels()[0] {
		t.Fatal("not the best level")
	}
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for range 200 {
				a, b := randomWords(r), randomWords(r)
				switch r.IntN(4) {
				case 0:
					*b = Words{}
				case 1:
					*b = *a
					b[r.IntN(len(b))] ^= 1 << r.IntN(64)
				}
				if got, want := countWords(l, b), countGo(b); got != want {
					t.Fatalf("count %d, want %d", got, want)
				}
				kernel(t, "and", func(dst, a, b *Words) uint64 { return andWords(l, dst, a, b) }, andGo, a, b)
				kernel(t, "andNot", func(dst, a, b *Words) uint64 { return andNotWords(l, dst, a, b) }, andNotGo, a, b)
				kernel(t, "or", func(dst, a, b *Words) uint64 { orWords(l, dst, a, b); return 1 },
					func(dst, a, b *Words) uint64 { orGo(dst, a, b); return 1 }, a, b)
			}
		})
	}
}

// kernel compares one kernel with the reference.
func kernel(t *testing.T, what string, run, want func(dst, a, b *Words) uint64, a, b *Words) {
	t.Helper()
	var w, got Words
	anyWant := want(&w, a, b)
	f := func(how string, dst *Words, anyGot uint64) {
		t.Helper()
		if *dst != w || (anyGot == 0) != (anyWant == 0) {
			t.Fatalf("%s, %s: another result (any %d, want %d)", what, how, anyGot, anyWant)
		}
	}
	f("apart", &got, run(&got, a, b))
	got = *a
	f("onto a", &got, run(&got, &got, b))
	got = *b
	f("onto b", &got, run(&got, a, &got))
}

func TestOperandLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for n := range fanIn + 1 {
				for npos := range n + 1 {
					for range 4 {
						o := operands{npos: npos, n: n}
						for i := range n {
							o.words[i] = randomWords(r)
						}
						var want, got Words
						anyWant := andOperandsGo(&want, &o)
						for i := range ChunkSize {
							in := true
							for k, w := range o.words[:n] {
								in = in && w.Has(uint16(i)) == (k < npos)
							}
							if in != want.Has(uint16(i)) {
								t.Fatalf("plain Go: %d of %d: bit %d", npos, n, i)
							}
						}
						anyGot := andOperands(l, &got, &o)
						if got != want || (anyGot == 0) != (anyWant == 0) {
							t.Fatalf("%d of %d: another result", npos, n)
						}
						if n > 0 {
							onto := o
							i := r.IntN(n)
							got = *o.words[i]
							onto.words[i] = &got
							if andOperands(l, &got, &onto); got != want {
								t.Fatalf("%d of %d: another result onto operand %d", npos, n, i)
							}
						}
						if c := countOperands(l, &o); c != countGo(&want) || c != countOperandsGo(&o) {
							t.Fatalf("%d of %d: counted %d, want %d", npos, n, c, countGo(&want))
						}
					}
				}
			}
		})
	}
}

func TestFilterLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for range 300 {
				w, n := randomWords(r), r.IntN(100)
				if r.IntN(8) == 0 {
					n = MaxSparse - r.IntN(20)
				}
				a := randomArray(r, n)
				for _, not := range []uint64{0, 1} {
					var want []uint16
					for _, v := range a {
						if w.Has(v) == (not == 0) {
							want = append(want, v)
						}
					}
					var out [MaxSparse]uint16
					if k := filterLevel(l, &out, a, w, not); !slices.Equal(out[:k], want) {
						t.Fatalf("%d elements, not %d: %d kept, want %d", n, not, k, len(want))
					}
					copy(out[:], a)
					if k := filterLevel(l, &out, out[:n], w, not); !slices.Equal(out[:k], want) {
						t.Fatalf("%d elements, not %d, in place: %d kept, want %d", n, not, k, len(want))
					}
				}
			}
		})
	}
}
