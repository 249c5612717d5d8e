package query

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
)

// TestSums: sums in 128 bits, and what is compared with them, are those of math/big.
func TestSums(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	number := func() int64 {
		switch r.IntN(4) {
		case 0:
			return wideInts[r.IntN(len(wideInts))]
		case 1:
			return int64(r.IntN(100) - 50)
		}
		return int64(r.Uint64()) >> r.IntN(64)
	}
	wide := 0
	for range 20000 {
		var place slots
		var who bitmap.Words
		place.begin(bitmap.FromArray([]uint16{7, 9}))
		s := sums{slots: &place, who: &who, low: make([]int64, place.n), counts: make([]int64, place.n)}
		want := new(big.Int)
		n := int64(1 + r.IntN(6))
		for range n {
			x := number()
			s.add(9, x)
			want.Add(want, big.NewInt(x))
		}
		sum, count := s.of(9)
		if sum.big().Cmp(want) != 0 || count != n {
			t.Fatalf("the sum is %v of %d, want %v of %d", sum.big(), count, want, n)
		}
		small, ok := sum.small()
		if ok != want.IsInt64() || ok && small != want.Int64() || ok != (s.high[9] == 0) {
			t.Fatalf("%v is small: %v", want, ok)
		}
		if !ok {
			wide++
		}
		a, scale := number(), uint8(r.IntN(19))
		other, sa := product(a, n), uint8(r.IntN(19))
		if p := new(big.Int).Mul(big.NewInt(a), big.NewInt(n)); other.big().Cmp(p) != 0 {
			t.Fatalf("%d * %d is %v", a, n, other.big())
		}
		exact := new(big.Rat).SetFrac(want, big.NewInt(pow10[scale]))
		if c := exact.Cmp(new(big.Rat).SetFrac(other.big(), big.NewInt(pow10[sa]))); c != compareWide(sum, scale, other, sa) {
			t.Fatalf("%v of scale %d compares with %v of scale %d as %d", want, scale, other.big(), sa, -c)
		}
		if f, _ := exact.Float64(); f != sum.float(scale) {
			t.Fatalf("%v of scale %d is the float %v, want %v", want, scale, sum.float(scale), f)
		}
	}
	if wide == 0 {
		t.Error("no sum was wide")
	}
	if p := product(math.MinInt64, math.MinInt64); p != (int128{1 << 62, 0}) {
		t.Errorf("the greatest product is %v", p)
	}
}

// TestSlots: a candidate's place is its rank, or, of many, its ordinal.
func TestSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 100, 5000, manyCandidates - 1, manyCandidates, bitmap.ChunkSize} {
		ords := []uint16{}
		for _, o := range r.Perm(bitmap.ChunkSize)[:n] {
			ords = append(ords, uint16(o))
		}
		slices.Sort(ords)
		var s slots
		s.begin(bitmap.FromArray(ords))
		for i, o := range ords {
			want := i
			if n >= manyCandidates {
				want = int(o)
			}
			if got := s.of(o); got != want {
				t.Fatalf("%d of %d has place %d", i, n, got)
			}
		}
		for o := range bitmap.ChunkSize {
			if p := s.of(uint16(o)); p < 0 || p >= s.n {
				t.Fatalf("%d has place %d of %d", o, p, s.n)
			}
		}
	}
}
