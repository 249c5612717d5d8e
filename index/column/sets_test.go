package column

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

func randomSets(r *rand.Rand) [][]uint32 {
	lengths := []int{0, 1, 63, 64, 65, 1 + r.IntN(BlockSize), BlockSize}
	rows := make([][]uint32, lengths[r.IntN(len(lengths))])
	most := []int{1, 2, 4, 12, 300, 3000, 70000}[r.IntN(7)]
	if most > 100 {
		rows = rows[:min(len(rows), 1+200_000/most)]
	}
	bits := []int{0, 1, 2, 4, 8, 12, 18, 32}[r.IntN(8)]
	for i := range rows {
		for range r.IntN(most + 1) {
			rows[i] = append(rows[i], uint32(r.Uint64N(1<<bits)))
		}
		slices.Sort(rows[i])
		rows[i] = slices.Compact(rows[i])
	}
	return rows
}

func encodeRows(rows [][]uint32) []byte {
	var ends, codes []uint32
	for _, row := range rows {
		codes = append(codes, row...)
		ends = append(ends, uint32(len(codes)))
	}
	return EncodeSets([]byte("before"), ends, codes)[len("before"):]
}

func TestSetsAgainstReference(t *testing.T) {
	r := seeded(t)
	counts, widths, wide := map[byte]int{}, map[byte]int{}, 0
	for range 600 {
		rows := randomSets(r)
		b := encodeRows(rows)
		counts[b[12]]++
		widths[b[13]]++
		s, err := DecodeSets(b)
		if err != nil {
			t.Fatal(err)
		}
		if s.ends.wide != nil {
			wide++
		}
		clear(b)
		checkSets(t, r, rows, s)
	}
	if len(counts) < 6 || len(widths) != 8 || wide == 0 {
		t.Errorf("not all forms were met: %v %v, %d wide", counts, widths, wide)
	}
}

func checkSets(t *testing.T, r *rand.Rand, rows [][]uint32, s *Sets) {
	t.Helper()
	ends, codes := s.Append([]uint32{5}, []uint32{1, 2, 3})
	present, total := make([]uint64, Words), 0
	for i, row := range rows {
		if got := s.AppendTo(i, []uint32{7}); got[0] != 7 || !slices.Equal(got[1:], row) || s.Count(i) != len(row) {
			t.Fatalf("row %d is %d, want %d", i, got[1:], row)
		}
		if got := codes[3+total : ends[1+i]]; !slices.Equal(got, row) {
			t.Fatalf("row %d of Append is %d, want %d", i, got, row)
		}
		total += len(row)
		if len(row) > 0 {
			present[i>>6] |= 1 << (i & 63)
		}
	}
	got := dirty()
	if s.Present(got); !slices.Equal(got, present) || s.Len() != len(rows) || s.CountCodes() != total || len(codes) != 3+total {
		t.Fatal("counts or presence differ")
	}
	idx := randomIndexes(r, len(rows))
	ends, codes = s.Gather(idx, []uint32{5}, []uint32{1, 2, 3})
	from := uint32(3)
	for k, i := range idx {
		if !slices.Equal(codes[from:ends[1+k]], rows[i]) {
			t.Fatalf("gathered row %d differs", i)
		}
		from = ends[1+k]
	}
}

func TestSetsHostile(t *testing.T) {
	good := encodeRows([][]uint32{{1, 3}, {}, {2}})
	for name, change := range map[string]func(b []byte) []byte{
		"count width":    func(b []byte) []byte { b[12] = 3; return b },
		"count width 64": func(b []byte) []byte { b[12] = 64; return b },
		"code width":     func(b []byte) []byte { b[13] = 1; return b },
		"reserved":       func(b []byte) []byte { b[14] = 1; return b },
		"total":          func(b []byte) []byte { b[16] = 4; return b },
		"total huge":     func(b []byte) []byte { b[19] = 0xff; return b },
		"top":            func(b []byte) []byte { b[20] = 2; return b },
		"top huge":       func(b []byte) []byte { b[23] = 0xff; return b },
		"counts":         func(b []byte) []byte { b[24] = 0b01_01_10; return b },
		"counts less":    func(b []byte) []byte { b[24] = 0b01_00_01; return b },
		"descending":     func(b []byte) []byte { b[25] = 0b10_01_11; return b },
		"twice":          func(b []byte) []byte { b[25] = 0b10_11_11; return b },
		"no codes":       func(b []byte) []byte { b[13], b[20] = 0, 0; return b[:25] },
	} {
		b := change(slices.Clone(good))
		seal(b)
		if _, err := DecodeSets(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	huge := appendHeader(nil, typeSets, 1) // 2^32-1 codes that take no bytes
	huge = append(huge, 32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
	seal(huge)
	if _, err := DecodeSets(huge); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func FuzzDecodeSets(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		f.Add(encodeRows(randomSets(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize {
			b = slices.Clone(b)
			seal(b)
		}
		s, err := DecodeSets(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		rows := make([][]uint32, s.Len())
		for i := range rows {
			rows[i] = s.AppendTo(i, nil)
		}
		r := rand.New(rand.NewPCG(2, 2))
		checkSets(t, r, rows, s)
		again, err := DecodeSets(encodeRows(rows))
		if err != nil {
			t.Fatal(err)
		}
		checkSets(t, r, rows, again)
	})
}
