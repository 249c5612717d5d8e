package column

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// seeded returns a generator whose seed is printed if the test fails.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// cell is the obvious form of a value.
type cell struct {
	v  int64
	ok bool
}

// randomCells makes a block of values that need about a number of bits, some absent.
func randomCells(r *rand.Rand) []cell {
	lengths := []int{0, 1, 2, 63, 64, 65, 1 + r.IntN(BlockSize), BlockSize, BlockSize}
	cells := make([]cell, lengths[r.IntN(len(lengths))])
	width := r.IntN(65)
	base := int64(r.Uint64())
	switch r.IntN(4) {
	case 0:
		base = 0
	case 1:
		base = math.MinInt64
	case 2:
		if width < 64 {
			base = math.MaxInt64 - int64(uint64(1)<<width-1)
		}
	}
	absent := []float64{0, 0, 0.01, 0.5, 0.99, 1}[r.IntN(6)]
	for i := range cells {
		if r.Float64() < absent {
			continue
		}
		cells[i] = cell{base + int64(r.Uint64()&(1<<width-1)), true}
		if width == 64 && r.IntN(4) == 0 { // the ends of int64, beside which mode 2 is needed
			cells[i].v = []int64{math.MinInt64, math.MaxInt64, math.MinInt64 + 1, math.MaxInt64 - 1}[r.IntN(4)]
		}
	}
	return cells
}

func encodeCells(cells []cell, r *rand.Rand) []byte {
	values, present, all := make([]int64, len(cells)), make([]uint64, Words), true
	for i, c := range cells {
		values[i] = c.v
		if c.ok {
			present[i>>6] |= 1 << (i & 63)
		} else {
			values[i] = int64(r.Uint64()) // must not be read
			all = false
		}
	}
	if all {
		present = nil
	}
	return EncodeInts([]byte("before"), values, present)[len("before"):]
}

// somewhere returns a bound: near a value, near an end of the block, or anywhere.
func somewhere(r *rand.Rand, cells []cell, c *Ints) int64 {
	near := int64(r.IntN(3) - 1)
	switch r.IntN(6) {
	case 0:
		return c.Min() + near
	case 1:
		return c.Max() + near
	case 2:
		return []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}[r.IntN(7)]
	case 3:
		return c.base + near
	}
	if len(cells) == 0 {
		return int64(r.Uint64())
	}
	return cells[r.IntN(len(cells))].v + near
}

func TestIntsAgainstReference(t *testing.T) {
	r := seeded(t)
	modes, widths := map[byte]int{}, map[byte]int{}
	for range 4000 {
		cells := randomCells(r)
		b := encodeCells(cells, r)
		widths[b[12]]++
		modes[b[13]]++
		c, err := DecodeInts(b)
		if err != nil {
			t.Fatal(err)
		}
		checkReads(t, r, cells, c)
		for range 4 {
			checkRange(t, r, cells, c, somewhere(r, cells, c), somewhere(r, cells, c))
		}
	}
	if len(modes) != 3 || len(widths) != 12 {
		t.Errorf("not all modes and widths were met: %v %v", modes, widths)
	}
}

func checkReads(t *testing.T, r *rand.Rand, cells []cell, c *Ints) {
	t.Helper()
	count, lo, hi := 0, int64(math.MaxInt64), int64(math.MinInt64)
	values := make([]int64, len(cells))
	present := make([]uint64, Words)
	for i, x := range cells {
		if v, ok := c.At(i); v != x.v || ok != x.ok {
			t.Fatalf("At(%d) = %d, %v, want %d, %v", i, v, ok, x.v, x.ok)
		}
		values[i] = x.v
		if x.ok {
			count++
			lo, hi = min(lo, x.v), max(hi, x.v)
			present[i>>6] |= 1 << (i & 63)
		}
	}
	if count == 0 {
		lo, hi = 0, 0
	}
	if c.Len() != len(cells) || c.CountPresent() != count || c.Min() != lo || c.Max() != hi || c.MemBytes() < c.col.size() {
		t.Fatalf("%d values, %d present in %d to %d; want %d, %d in %d to %d", c.Len(), c.CountPresent(), c.Min(), c.Max(), len(cells), count, lo, hi)
	}
	gotPresent := dirty()
	got := c.Append([]int64{7}, gotPresent)
	if !slices.Equal(got[1:], values) || got[0] != 7 || !slices.Equal(gotPresent, present) {
		t.Fatal("Append differs")
	}
	idx := randomIndexes(r, len(cells))
	dst, ok, codes := make([]int64, len(idx)), make([]bool, len(idx)), make([]uint32, len(idx))
	c.Gather(idx, dst, ok)
	c.GatherCodes(idx, codes)
	for k, i := range idx {
		want := uint32(schema.NoCode)
		if cells[i].ok {
			want = uint32(cells[i].v)
		}
		if dst[k] != cells[i].v || ok[k] != cells[i].ok || codes[k] != want {
			t.Fatalf("gathered %d, %v, code %d at %d, want %v", dst[k], ok[k], codes[k], i, cells[i])
		}
	}
}

func checkRange(t *testing.T, r *rand.Rand, cells []cell, c *Ints, lo, hi int64) {
	t.Helper()
	want := make([]uint64, Words)
	in := func(x cell) bool { return x.ok && x.v >= lo && x.v <= hi }
	for i, x := range cells {
		if in(x) {
			want[i>>6] |= 1 << (i & 63)
		}
	}
	got := dirty()
	if c.Range(lo, hi, got); !slices.Equal(got, want) {
		t.Fatalf("Range(%d, %d) of %d values in %d to %d, base %d differs", lo, hi, len(cells), c.Min(), c.Max(), c.base)
	}
	idx := randomIndexes(r, len(cells))
	wantIdx := []uint16{7}
	for _, i := range idx {
		if in(cells[i]) {
			wantIdx = append(wantIdx, i)
		}
	}
	if got := c.RangeProbe(lo, hi, idx, []uint16{7}); !slices.Equal(got, wantIdx) {
		t.Fatalf("RangeProbe(%d, %d) differs", lo, hi)
	}
	if got := c.RangeProbe(lo, hi, idx, idx[:0]); !slices.Equal(got, wantIdx[1:]) {
		t.Fatalf("RangeProbe(%d, %d) in place differs", lo, hi)
	}
}

// dirty returns a bitmap that is not clear, to find what is not written.
func dirty() []uint64 {
	w := make([]uint64, Words)
	for i := range w {
		w[i] = 0xdeadbeef
	}
	return w
}

// randomIndexes returns some ascending indexes below n.
func randomIndexes(r *rand.Rand, n int) []uint16 {
	var idx []uint16
	for i, step := r.IntN(3), 1+r.IntN(40); i < n; i += 1 + r.IntN(step) {
		idx = append(idx, uint16(i))
	}
	return idx
}

// TestModeTwo has the one case in which 2^64 values and absent do not fit 64 bits.
func TestModeTwo(t *testing.T) {
	r := seeded(t)
	cells := []cell{{math.MinInt64, true}, {0, false}, {math.MaxInt64, true}, {math.MinInt64 + 1, true}, {-5, true}, {math.MinInt64 + 3, true}}
	b := encodeCells(cells, r)
	if b[13] != absentBase {
		t.Fatalf("mode %d", b[13])
	}
	c, err := DecodeInts(b)
	if err != nil {
		t.Fatal(err)
	}
	checkReads(t, r, cells, c)
	for _, lo := range []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + 2, math.MinInt64 + 3, 0, math.MaxInt64} {
		for _, hi := range []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + 2, math.MinInt64 + 3, 0, math.MaxInt64 - 1, math.MaxInt64} {
			checkRange(t, r, cells, c, lo, hi)
		}
	}
}

// TestWidths pins the widths and their sizes: they are the format.
func TestWidths(t *testing.T) {
	for n := range 65 {
		want := []int{0, 1, 2, 4, 4}
		w := (n + 7) / 8 * 8
		if n < len(want) {
			w = want[n]
		}
		top := uint64(math.MaxUint64)
		if n < 64 {
			top = 1<<n - 1
		}
		if bits.Len64(top) != n || widthFor(top) != w {
			t.Errorf("%d bits: width %d, want %d", n, widthFor(top), w)
		}
		values := make([]int64, BlockSize)
		values[9] = int64(top)
		if size := len(EncodeInts(nil, values, nil)); n < 64 && size != 32+BlockSize*w/8 {
			t.Errorf("%d bits: %d bytes", n, size)
		}
	}
}

// TestIntsHostile has blocks with a good checksum and bad content.
func TestIntsHostile(t *testing.T) {
	good := EncodeInts(nil, []int64{10, 0, 12, 11}, []uint64{0b1101})
	for name, change := range map[string]func(b []byte) []byte{
		"width":           func(b []byte) []byte { b[12] = 3; return b },
		"wider than need": func(b []byte) []byte { b[12] = 8; return append(b, 0, 0, 0) },
		"mode":            func(b []byte) []byte { b[13] = 3; return b },
		"mode 0":          func(b []byte) []byte { b[13] = 0; return b },
		"mode 2":          func(b []byte) []byte { b[13] = 2; return b },
		"count":           func(b []byte) []byte { b[14] = 2; return b },
		"count all":       func(b []byte) []byte { b[14] = 4; return b },
		"count too many":  func(b []byte) []byte { b[14] = 5; return b },
		"count none":      func(b []byte) []byte { b[14] = 0; return b },
		"min over max":    func(b []byte) []byte { b[16] = 13; return b },
		"max too low":     func(b []byte) []byte { b[24] = 11; b[32] = 0b10_11_00_01; return b },
		"min not there":   func(b []byte) []byte { b[32] = 0b10_11_00_10; return b },
		"max not there":   func(b []byte) []byte { b[32] = 0b10_10_00_01; return b },
		"n":               func(b []byte) []byte { b[7] = 0x10; return b },
		"n over":          func(b []byte) []byte { b[6], b[7] = 1, 0x10; return append(b, make([]byte, 1025)...) },
		"payload short":   func(b []byte) []byte { return b[:32] },
		"full span":       func(b []byte) []byte { copy(b[16:], spanAll); b[12] = 64; return append(b[:32], make([]byte, 32)...) },
	} {
		b := change(slices.Clone(good))
		seal(b)
		if _, err := DecodeInts(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spanAll is min -2^63 and max 2^63-1.
const spanAll = "\x00\x00\x00\x00\x00\x00\x00\x80\xff\xff\xff\xff\xff\xff\xff\x7f"

// TestValueAboveMax has a stored number within its width but past the bounds, which would overflow.
func TestValueAboveMax(t *testing.T) {
	b := EncodeInts(nil, []int64{math.MaxInt64 - 2, math.MaxInt64}, nil) // width 2, numbers 0 and 2
	b[32] |= 3 << 2
	seal(b)
	if _, err := DecodeInts(b); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func FuzzDecodeInts(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		f.Add(encodeCells(randomCells(r), r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize {
			b = slices.Clone(b)
			seal(b) // else the checksum is all that is tested
		}
		c, err := DecodeInts(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		r := rand.New(rand.NewPCG(2, 2))
		cells := make([]cell, c.Len())
		for i := range cells {
			cells[i].v, cells[i].ok = c.At(i)
		}
		checkReads(t, r, cells, c)
		for range 4 {
			checkRange(t, r, cells, c, somewhere(r, cells, c), somewhere(r, cells, c))
		}
		again, err := DecodeInts(encodeCells(cells, r))
		if err != nil || fmt.Sprint(again.Append(nil, nil)) != fmt.Sprint(c.Append(nil, nil)) {
			t.Fatal("encoded again it differs", err)
		}
	})
}
