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

func TestDepositLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			for round := range 300 {
				members, before := randomWords(r), randomWords(r)
				switch round {
				case 0:
					*members = Words{}
				case 1:
					for i := range members {
						members[i] = ^uint64(0)
					}
				}
				ranks := make([]uint64, RankWords)
				for i := range ranks {
					ranks[i] = r.Uint64() & r.Uint64()
				}
				want, rank := *before, 0
				for o := range ChunkSize {
					if !members.Has(uint16(o)) {
						continue
					}
					if ranks[rank/64]>>(rank%64)&1 != 0 {
						want.SetBit(uint16(o))
					}
					rank++
				}
				got := *before
				if done := deposit(l, &got, members, ranks); done && got != want {
					t.Fatal("another set")
				}
				if got = *before; l == levelGo {
					depositGo(&got, members, ranks)
				} else {
					got.Deposit(members, ranks)
				}
				if got != want {
					t.Fatal("another set")
				}
			}
		})
	}
}
