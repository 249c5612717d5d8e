package compare

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestNumbers compares numbers, told in any order and in several parts, with a loop over them.
func TestNumbers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		values := make([]int64, 1+r.IntN(200))
		width := int64(1) << r.IntN(63)
		from := int64(r.Uint64()) >> r.IntN(64)
		for i := range values {
			values[i] = from + r.Int64N(width) // which may wrap
			if r.IntN(50) == 0 {
				values[i] = []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)]
			}
		}
		all := numbersOf(r, values)
		all.spill()
		sameMoments(t, &all.moments, values)
		if n := all.between(math.MinInt64, math.MaxInt64); n != uint64(len(values)) {
			t.Fatalf("%d numbers of %d have a cell", n, len(values))
		}
		sameCuts(t, all, values, 1+r.IntN(12))
	}
}

// numbersOf adds numbers up in parts and in any order.
func numbersOf(r *rand.Rand, values []int64) *numbers {
	parts := make([]numbers, 1+r.IntN(4))
	for _, i := range r.Perm(len(values)) {
		ok := []bool{false, true, false}
		if n := parts[r.IntN(len(parts))].add([]int64{7, values[i], 7}, ok); n != 1 {
			panic(n)
		}
	}
	for i := range parts[1:] {
		parts[0].merge(&parts[i+1])
	}
	return &parts[0]
}

// sameMoments compares an average and a variance with rational numbers.
func sameMoments(t *testing.T, m *moments, values []int64) {
	t.Helper()
	sum, squares, n := new(big.Rat), new(big.Rat), big.NewRat(int64(len(values)), 1)
	for _, x := range values {
		sum.Add(sum, new(big.Rat).SetInt64(x))
	}
	mean := new(big.Rat).Quo(sum, n)
	for _, x := range values {
		d := new(big.Rat).Sub(new(big.Rat).SetInt64(x), mean)
		squares.Add(squares, d.Mul(d, d))
	}
	if m.n != uint64(len(values)) || m.mean().Cmp(mean) != 0 {
		t.Fatalf("%d numbers, on average %v, want %d, %v", m.n, m.mean(), len(values), mean)
	}
	if len(values) < 2 {
		return
	}
	if want, _ := squares.Quo(squares, n.Sub(n, big.NewRat(1, 1))).Float64(); m.variance() != want {
		t.Fatalf("the variance of %v is %v, want %v", values, m.variance(), want)
	}
}

// sameCuts compares the cuts with the definition: by rank, and then up to the end of the cell.
func sameCuts(t *testing.T, g *numbers, values []int64, parts int) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(values))
	lo, hi := unsigned(sorted[0]), unsigned(sorted[len(sorted)-1])
	shift := uint8(0)
	for hi>>shift-lo>>shift >= maxCells {
		shift++
	}
	if g.shift != shift {
		t.Fatalf("the cells of %v have %d bits, want %d", values, g.shift, shift)
	}
	var want []int64
	for part := 1; part < parts; part++ {
		rank := (part*len(sorted) + parts - 1) / parts
		end := signed(unsigned(sorted[rank-1])>>shift<<shift | (1<<shift - 1))
		if end < sorted[len(sorted)-1] && !slices.Contains(want, end) {
			want = append(want, end)
		}
	}
	got := g.cuts(parts)
	if !slices.Equal(got, want) {
		t.Fatalf("%d parts of %v are cut at %v, want %v", parts, values, got, want)
	}
	from := int64(math.MinInt64)
	for _, to := range append(got, math.MaxInt64) {
		n := uint64(0)
		for _, x := range values {
			if from <= x && x <= to {
				n++
			}
		}
		if g.between(from, to) != n {
			t.Fatalf("%d of %v are from %d to %d, want %d", g.between(from, to), values, from, to, n)
		}
		from = to + 1
	}
}

// TestFloats: the variance of floats is that of the numbers, as near as one rounding of each sum.
func TestFloats(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var parts [3]numbers
		var values []float64
		for range 2 + r.IntN(50) {
			x := math.Ldexp(r.Float64()-0.5, r.IntN(40))
			values = append(values, x)
			parts[r.IntN(3)].addFloats([]int64{schema.OrderedFloat(x)}, []bool{true})
		}
		all := new(numbers)
		for i := range parts {
			all.merge(&parts[i])
		}
		all.coarsen(all.shift + 1) // what the cells have is no number of theirs
		m := all.moments
		mean, squares := 0.0, 0.0
		for _, x := range values {
			mean += x / float64(len(values))
		}
		for _, x := range values {
			squares += (x - mean) * (x - mean)
		}
		got := m.average()
		if want := squares / float64(len(values)-1); math.Abs(m.variance()-want) > 1e-9*want || math.Abs(got-mean) > 1e-9*math.Abs(mean)+1e-12*math.Sqrt(want) {
			t.Fatalf("%v: %v and %v, want %v and %v", values, got, m.variance(), mean, want)
		}
	}
}

// TestHugeFloats: what is beyond all floats is infinite, and not 0.
func TestHugeFloats(t *testing.T) {
	of := func(values ...float64) moments {
		var n numbers
		for _, x := range values {
			n.addFloats([]int64{schema.OrderedFloat(x)}, []bool{true})
		}
		return n.moments
	}
	for _, c := range []struct {
		of                moments
		average, variance float64
	}{
		{of(math.MaxFloat64, math.MaxFloat64), math.Inf(1), math.Inf(1)},
		{of(-math.MaxFloat64, -math.MaxFloat64), math.Inf(-1), math.Inf(1)},
		{of(1e200, -1e200), 0, math.Inf(1)},
		{of(1e150, -1e150), 0, 2e300},
	} {
		if a, v := c.of.average(), c.of.variance(); a != c.average || v != c.variance && !(math.Abs(v/c.variance-1) < 1e-9) {
			t.Errorf("average %v, variance %v, want %v and %v", a, v, c.average, c.variance)
		}
	}
	huge := thingTally{}
	for g, values := range [groups][]int64{{schema.OrderedFloat(1e200), schema.OrderedFloat(2e200)}, {}, {0, schema.OrderedFloat(3e200)}} {
		huge.numbers[g].addFloats(values, []bool{true, true})
	}
	var f found
	f.addAverage(&comparison{}, 0, false, &huge, perGroup{2, 0, 2})
	if len(f.averages) != 1 || f.averages[0].isVaried {
		t.Errorf("%+v", f.averages)
	}
}

// TestCarry: a sum of squares carries through all its words.
func TestCarry(t *testing.T) {
	for _, n := range []uint64{1, 2} {
		m := moments{squares: [3]uint64{math.MaxUint64, math.MaxUint64, 5}}
		if m.add(1, n); m.squares != [3]uint64{n - 1, 0, 6} {
			t.Errorf("%d ones more: %v", n, m.squares)
		}
	}
	m := moments{squares: [3]uint64{math.MaxUint64, math.MaxUint64, 5}}
	m.addSmall(0)
	if m.merge(&moments{squares: [3]uint64{1, 0, 1}}); m.squares != [3]uint64{0, 0, 7} {
		t.Errorf("merged: %v", m.squares)
	}
}

// TestDayOf: days begin at midnight before 1970 too.
func TestDayOf(t *testing.T) {
	for ms, want := range map[int64]int64{0: 0, msPerDay - 1: 0, msPerDay: 1, -1: -1, -msPerDay: -1, -msPerDay - 1: -2} {
		if got := dayOf(ms); got != want {
			t.Errorf("%d is of day %d, want %d", ms, got, want)
		}
	}
}
