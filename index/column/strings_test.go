package column

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func randomStrings(r *rand.Rand) [][]byte {
	lengths := []int{0, 1, 63, 64, 65, 1 + r.IntN(BlockSize), BlockSize}
	values := make([][]byte, lengths[r.IntN(len(lengths))])
	absent, size := []float64{0, 0, 0.1, 0.9, 1}[r.IntN(5)], []int{1, 2, 14, 60, 3000}[r.IntN(5)]
	if size == 3000 && len(values) > 200 {
		values = values[:200] // wide ends need only one long group
	}
	for i := range values {
		if r.Float64() < absent {
			continue
		}
		values[i] = make([]byte, r.IntN(size))
		for k := range values[i] {
			values[i][k] = byte(r.Uint32())
		}
	}
	return values
}

func TestStringsAgainstReference(t *testing.T) {
	r := seeded(t)
	flags := map[byte]int{}
	for range 400 {
		values := randomStrings(r)
		b := EncodeStrings([]byte("before"), values)[len("before"):]
		flags[b[12]]++
		s, err := DecodeStrings(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b) // the block must not need it
		checkStrings(t, values, s)
	}
	if len(flags) != 4 {
		t.Errorf("not all flags were met: %v", flags)
	}
}

func checkStrings(t *testing.T, values [][]byte, s *Strings) {
	t.Helper()
	count, present := 0, make([]uint64, Words)
	for i, v := range values {
		got, ok := s.At(i)
		if ok != (v != nil) || (got == nil) != (v == nil) || !bytes.Equal(got, v) {
			t.Fatalf("At(%d) = %q, %v, want %q", i, got, ok, v)
		}
		if ok {
			count++
			present[i>>6] |= 1 << (i & 63)
		}
	}
	got := dirty()
	if s.Present(got); !slices.Equal(got, present) || s.CountPresent() != count || s.Len() != len(values) {
		t.Fatal("presence differs")
	}
}

// TestStringsSize holds the promise of 15 bytes for a key of 13, stored; in memory Go rounds up.
func TestStringsSize(t *testing.T) {
	values := make([][]byte, BlockSize)
	for i := range values {
		values[i] = fmt.Appendf(nil, "customer%05d", i)
	}
	b := EncodeStrings(nil, values)
	if size := float64(len(b)) / BlockSize; size > 15.01 {
		t.Errorf("%.3f bytes per key", size)
	}
	s, err := DecodeStrings(b)
	if err != nil {
		t.Fatal(err)
	}
	if size := float64(s.MemBytes()) / BlockSize; size > 16.5 {
		t.Errorf("%.3f bytes per key in memory", size)
	}
	if n := testing.AllocsPerRun(100, func() { s.At(17) }); n != 0 {
		t.Errorf("At allocates %v times", n)
	}
}

// TestGroupEdge has groups of the greatest length that a relative end can say, and one more.
func TestGroupEdge(t *testing.T) {
	for extra, want := range []byte{0, flagWide} {
		values := make([][]byte, 3*groupSize)
		for i := range values {
			values[i] = bytes.Repeat([]byte{byte(i)}, 1023)
		}
		values[groupSize+20] = make([]byte, 1023+63+extra)
		b := EncodeStrings(nil, values)
		if b[12] != want {
			t.Errorf("flags %d, want %d", b[12], want)
		}
		s, err := DecodeStrings(b)
		if err != nil {
			t.Fatal(err)
		}
		checkStrings(t, values, s)
	}
}

func TestStringsHostile(t *testing.T) {
	good := EncodeStrings(nil, [][]byte{[]byte("ann"), nil, {}, []byte("bo")})
	for name, change := range map[string]func(b []byte) []byte{
		"flags":             func(b []byte) []byte { b[12] = 5; return b },
		"reserved":          func(b []byte) []byte { b[13] = 1; return b },
		"wide without need": func(b []byte) []byte { return wideForm() },
		"no bitmap":         func(b []byte) []byte { b[12] = 0; return b },
		"count":             func(b []byte) []byte { b[14] = 2; return b },
		"count over":        func(b []byte) []byte { b[14] = 5; return b },
		"total":             func(b []byte) []byte { b[16] = 6; return b },
		"total huge":        func(b []byte) []byte { b[19] = 0xff; return b },
		"bit past the end":  func(b []byte) []byte { b[20] = 0b11001; return b },
		"descending":        func(b []byte) []byte { b[21] = 4; return b },
		"past the bytes":    func(b []byte) []byte { b[27] = 6; return b },
		"not all bytes":     func(b []byte) []byte { b[27] = 4; return b },
		"absent has bytes":  func(b []byte) []byte { b[21] = 2; return b },
	} {
		b := change(slices.Clone(good))
		seal(b)
		if _, err := DecodeStrings(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wideForm is one string of two bytes with a wide end, which its writer would not use.
func wideForm() []byte {
	b := appendHeader(nil, typeStrings, 1)
	return append(b, flagWide, 0, 1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 'b', 'o')
}

// TestNoStringsAreAbsent: a block without strings has no mark that some are absent.
func TestNoStringsAreAbsent(t *testing.T) {
	b := append(appendHeader(nil, typeStrings, 0), flagAbsent, 0, 0, 0, 0, 0, 0, 0)
	seal(b)
	if _, err := DecodeStrings(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("it is read: %v", err)
	}
}

func FuzzDecodeStrings(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		f.Add(EncodeStrings(nil, randomStrings(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize {
			b = slices.Clone(b)
			seal(b)
		}
		s, err := DecodeStrings(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		values := make([][]byte, s.Len())
		for i := range values {
			values[i], _ = s.At(i)
		}
		checkStrings(t, values, s)
		if !bytes.Equal(EncodeStrings(nil, values), b) {
			t.Fatal("encoded again it differs")
		}
	})
}
