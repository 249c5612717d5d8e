package bitmap

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type unsigned interface {
	uint8 | uint16 | uint32 | uint64
}

// scanColumn checks one kernel over columns of many lengths, with values around the bounds.
func scanColumn[T unsigned | int64](t *testing.T, r *rand.Rand, run func(col []T, lo, hi T, dst []uint64)) {
	t.Helper()
	lengths := []int{0, 1, 31, 63, 64, 65, 127, 128, 129, 200, 511, 512, 513, 1000, 4095, 4096, 4097}
	for range 15 {
		lengths = append(lengths, r.IntN(5000))
	}
	for _, n := range append(lengths, ChunkSize) {
		lo, hi := T(r.Uint64()), T(r.Uint64())
		switch r.IntN(8) {
		case 0:
			lo = 0
		case 1:
			hi = ^T(0)
		case 2:
			lo, hi = 0, ^T(0)
		case 3:
			hi = lo
		}
		if lo > hi && r.IntN(4) > 0 {
			lo, hi = hi, lo
		}
		near := []T{lo, lo - 1, lo + 1, hi, hi - 1, hi + 1, 0, ^T(0)}
		skip := r.IntN(3) // columns begin anywhere
		col := make([]T, n+skip)[skip:]
		for i := range col {
			if col[i] = T(r.Uint64()); r.IntN(2) == 0 {
				col[i] = near[r.IntN(len(near))]
			}
		}
		const guard = 0x5555555555555555
		dst := make([]uint64, wordsFor(n)+1)
		for i := range dst {
			dst[i] = guard
		}
		run(col, lo, hi, dst)
		if dst[wordsFor(n)] != guard {
			t.Fatalf("%T: %d values: wrote past the end", lo, n)
		}
		for i := range 64 * wordsFor(n) {
			want := i < n && lo <= col[i] && col[i] <= hi
			if got := dst[i/64]>>(i%64)&1 != 0; got != want {
				t.Fatalf("%T: value %d of %d: %v for [%v, %v]", lo, i, n, got, lo, hi)
			}
		}
	}
}

func TestBetween(t *testing.T) {
	r := newRand(t)
	scanColumn(t, r, BetweenU8)
	scanColumn(t, r, BetweenU16)
	scanColumn(t, r, BetweenU32)
	scanColumn(t, r, BetweenU64)
	scanColumn(t, r, BetweenI64)
}

// TestBetweenLevels runs the kernel of every level that this machine has.
func TestBetweenLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			scanColumn(t, r, leveled(l, betweenU8))
			scanColumn(t, r, leveled(l, betweenU16))
			scanColumn(t, r, leveled(l, betweenU32))
			scanColumn(t, r, leveled(l, betweenU64))
		})
	}
}

// leveled makes of a kernel what the exported function is.
func leveled[T unsigned](l level, kernel func(level, []T, T, T, []uint64) int) func([]T, T, T, []uint64) {
	return func(col []T, lo, hi T, dst []uint64) {
		if lo > hi {
			clear(dst[:wordsFor(len(col))])
			return
		}
		done := kernel(l, col, lo, hi, dst)
		betweenGo(col[done:], lo, hi, dst[done/64:])
	}
}
