package bitmap

import (
	"fmt"
	"slices"
	"testing"
)

// TestAscendLevels compares with the definition, and looks whether numbers that do not fit
// are told.
func TestAscendLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for range 2000 {
				gaps, most := make([]uint16, r.IntN(200)), []int{1, 2, 30, 500, 65536}[r.IntN(5)]
				next := r.IntN(70000 / (1 + r.IntN(70000)))
				var want []uint16
				end := next
				for i := range gaps {
					gaps[i] = uint16(r.IntN(most))
					end += int(gaps[i])
					want = append(want, uint16(end))
					end++
				}
				if l == machine {
					if got := slices.Clone(gaps); Ascend(got, next) != end || end <= ChunkSize && !slices.Equal(got, want) {
						t.Fatalf("%d gaps from %d: not the numbers up to %d", len(gaps), next, end)
					}
				}
				done, sum := ascend(l, gaps, next)
				if done > 0 && next+done+sum != int(want[done-1])+1 && end <= ChunkSize || done == len(gaps) && next+done+sum != end {
					t.Fatalf("%d of %d gaps from %d: the sum is %d", done, len(gaps), next, sum)
				}
				if end <= ChunkSize && !slices.Equal(gaps[:done], want[:done]) {
					t.Fatalf("%d of %d gaps from %d: %v, want %v", done, len(gaps), next, gaps[:done], want[:done])
				}
			}
		})
	}
}

func TestPositionsLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for range 500 {
				w := randomWords(r)
				words, first := w[:r.IntN(70)], 64*r.IntN(900)
				var want []uint16
				for i := range 64 * len(words) {
					if words[i/64]>>(i%64)&1 != 0 {
						want = append(want, uint16(first+i))
					}
				}
				room := 64*len(words) + 16
				dst := make([]uint16, room+1)
				dst[room] = 12345
				done, n := positions(l, dst[:room], words, first)
				if done != 0 && (done != len(words) || !slices.Equal(dst[:n], want)) {
					t.Fatalf("%d words from %d: %v, want %v", len(words), first, dst[:n], want)
				}
				if l == machine {
					if n := Positions(dst[:room], words, first); !slices.Equal(dst[:n], want) {
						t.Fatalf("%d words from %d: %v, want %v", len(words), first, dst[:n], want)
					}
				}
				if dst[room] != 12345 {
					t.Fatal("wrote past the end")
				}
			}
		})
	}
}
