package bitmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// randomValues returns values of one of several distributions, for all ordinals.
func randomValues(r *rand.Rand) []int64 {
	values := make([]int64, ChunkSize)
	base := []int64{0, -1000, math.MinInt64, 1 << 40}[r.IntN(4)]
	width := []uint{0, 1, 7, 22, 40, 63}[r.IntN(6)]
	for i := range values {
		values[i] = base + int64(r.Uint64()&(1<<width-1))
		if r.IntN(4) == 0 {
			values[i] = base + int64(r.IntN(3))&(1<<width-1)
		}
	}
	if r.IntN(8) == 0 {
		values[r.IntN(len(values))] = math.MaxInt64
		values[r.IntN(len(values))] = math.MinInt64
	}
	return values
}

// bounds returns ranges that begin and end at, near and far from values that occur.
func bounds(r *rand.Rand, values []int64) (lo, hi int64) {
	pick := func() int64 {
		v := values[r.IntN(len(values))]
		switch r.IntN(6) {
		case 0:
			return v + 1
		case 1:
			return v - 1
		case 2:
			return []int64{math.MinInt64, math.MaxInt64, 0, int64(r.Uint64())}[r.IntN(4)]
		}
		return v
	}
	lo, hi = pick(), pick()
	if lo > hi && r.IntN(8) > 0 {
		lo, hi = hi, lo
	}
	return lo, hi
}

func TestPlanes(t *testing.T) {
	r := newRand(t)
	for range 40 {
		values, exists := randomValues(r), randomSet(r)
		p := BuildPlanes(values, exists)
		q, err := DecodePlanes(p.Encode([]byte("before"))[6:])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Planes{p, q} {
			checkPlanes(t, r, p, values, exists)
		}
	}
}

func checkPlanes(t *testing.T, r *rand.Rand, p *Planes, values []int64, exists Set) {
	t.Helper()
	check(t, "exists", p.Exists(), refOf(exists))
	lo, hi := p.Range()
	for i, v := range values {
		got, ok := p.Value(uint16(i))
		if ok != exists.Contains(uint16(i)) || ok && (got != v || v < lo || v > hi) {
			t.Fatalf("value %d: %d, %v; want %d; range %d to %d", i, got, ok, v, lo, hi)
		}
	}
	for range 6 {
		lo, hi := bounds(r, values)
		want := newRef()
		for i, v := range values {
			want[i] = exists.Contains(uint16(i)) && lo <= v && v <= hi
		}
		what := fmt.Sprintf("%d planes, [%d, %d]", p.n, lo, hi)
		check(t, what, p.Between(lo, hi, randomWords(r)), want)
		for _, l := range levels() {
			check(t, fmt.Sprintf("%s, level %d", what, l), p.between(l, lo, hi, randomWords(r)), want)
		}
	}
}

func TestPlanesShortValues(t *testing.T) {
	p := BuildPlanes([]int64{7, 9, 0, 8}, FromArray([]uint16{0, 1, 3}))
	check(t, "between", p.Between(8, 100, new(Words)), refOf(FromArray([]uint16{1, 3})))
	if lo, hi := p.Range(); lo != 7 || hi != 9 || p.Count() != 3 {
		t.Fatalf("%d to %d, %d values", lo, hi, p.Count())
	}
}

func TestPlanesGolden(t *testing.T) {
	b := docExample(t, "The planes of the values")
	p := BuildPlanes([]int64{100, 102, 101}, FromArray([]uint16{0, 1, 2}))
	if again := p.Encode(nil); !bytes.Equal(b, again) {
		t.Fatalf("encoded:\n% x\ndocumented:\n% x", again, b)
	}
	q, err := DecodePlanes(b)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "documented", q.Between(101, 102, new(Words)), refOf(FromArray([]uint16{1, 2})))
}

func TestPlanesRefuse(t *testing.T) {
	r := newRand(t)
	b := BuildPlanes([]int64{5, 9, 200, 7}, FromArray([]uint16{0, 1, 2, 3})).Encode(nil)
	h, err := ReadPlanesHeader(b[:min(len(b), MaxPlanesHeader)])
	if err != nil || h.Count != 4 || h.Min != 5 || h.Max != 200 || h.Size != len(b) || h.Planes != 8 {
		t.Fatalf("header %+v, %v", h, err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1 << r.IntN(8)
		_, err := DecodePlanes(c)
		if i == 4 && c[4] > planesVersion {
			if !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("version %d: %v", c[4], err)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range len(b) {
		if _, err := DecodePlanes(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if h, err := ReadPlanesHeader(BuildPlanes(make([]int64, ChunkSize), Set{Form: Full}).Encode(nil)); err != nil || h.Size != 40 {
		t.Fatalf("all zero: %d bytes, %v", h.Size, err)
	}
	longest := BuildPlanes([]int64{math.MinInt64, math.MaxInt64}, FromArray([]uint16{0, 1})).Encode(nil)
	if h, err := ReadPlanesHeader(longest); err != nil || h.payloadAt > MaxPlanesHeader {
		t.Fatalf("longest header: %d bytes, %v", h.payloadAt, err)
	}
}

// sealPlanes writes the checksums of planes that a test has changed.
func sealPlanes(b []byte) []byte {
	if len(b) < planesFixed || len(b) < planesPayloadOffset(int(b[5])) {
		return b
	}
	at := planesPayloadOffset(int(b[5]))
	binary.LittleEndian.PutUint32(b[8:], crc32c(b[at:]))
	binary.LittleEndian.PutUint32(b[12:], headerCRC(b[:at]))
	return b
}

func FuzzDecodePlanes(f *testing.F) {
	f.Add(BuildPlanes([]int64{5, 9, 200, 7}, FromArray([]uint16{0, 1, 2, 3})).Encode(nil))
	f.Add(BuildPlanes(nil, Set{}).Encode(nil))
	f.Add(BuildPlanes(make([]int64, ChunkSize), Set{Form: Full}).Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePlanes(sealPlanes(bytes.Clone(b)))
		if err != nil {
			return
		}
		lo, hi := p.Range()
		buf := new(Words)
		if n := p.Between(lo, hi, buf).Count(); n != p.Count() {
			t.Fatalf("%d of %d", n, p.Count())
		}
		p.Between(lo+1, hi-1, buf)
		p.Value(3)
	})
}

func BenchmarkPlanes(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]int64, ChunkSize)
	for i := range values {
		values[i] = r.Int64N(1 << 22)
	}
	p := BuildPlanes(values, Set{Form: Full})
	buf := new(Words)
	for _, l := range levels() {
		b.Run(fmt.Sprintf("between22/level=%d", l), func(b *testing.B) {
			for b.Loop() {
				p.between(l, 1001, 3000000, buf)
			}
		})
	}
	b.Run("build22", func(b *testing.B) {
		for b.Loop() {
			BuildPlanes(values, Set{Form: Full})
		}
	})
	enc := p.Encode(nil)
	b.Run("decode22", func(b *testing.B) {
		b.SetBytes(int64(len(enc)))
		for b.Loop() {
			if _, err := DecodePlanes(enc); err != nil {
				b.Fatal(err)
			}
		}
	})
}
