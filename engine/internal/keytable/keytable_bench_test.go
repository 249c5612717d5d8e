package keytable

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// hashes returns n pseudo-random hashes, again the same for the same seed.
func hashes(seed uint64, n int) []uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	h := make([]uint64, n)
	for i := range h {
		h[i] = r.Uint64()
	}
	return h
}

// BenchmarkTable measures tables in memory; the larger take some seconds to make.
func BenchmarkTable(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { benchTable(b, n) })
	}
}

func benchTable(b *testing.B, n int) {
	h := hashes(1, n)
	d, small := NewDelta(), NewDelta()
	perKey := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/key")
	}
	b.Run("insert", func(b *testing.B) {
		for b.Loop() {
			d = NewDelta()
			for i, hash := range h {
				d.Insert(hash, uint32(i))
			}
		}
		perKey(b)
		b.ReportMetric(float64(d.MemBytes())/float64(n), "bytes/key")
	})
	ordinals := make([]uint32, n)
	for i := range ordinals {
		ordinals[i] = uint32(i)
	}
	b.Run("insert-all", func(b *testing.B) {
		for b.Loop() {
			d = NewDelta()
			for first := 0; first < n; first += 5000 {
				end := min(first+5000, n)
				d.InsertAll(h[first:end], ordinals[first:end])
			}
		}
		perKey(b)
	})
	lookups(b, "delta", h, func(hash uint64, dst []uint32) []uint32 { return ofDelta(d, hash, dst) })
	s, _ := merge(b, nil, d, nil)
	b.Run("merge-all", func(b *testing.B) {
		for b.Loop() {
			merge(b, nil, d, nil)
		}
		perKey(b)
	})
	d = nil
	for i, hash := range hashes(2, n/20) {
		small.Insert(hash, uint32(n+i))
	}
	b.Run("merge-5%", func(b *testing.B) {
		for b.Loop() {
			merge(b, s, small, nil)
		}
		perKey(b)
	})
	for i := range s.Pages() {
		if _, err := ofStatic(s, uint64(i)<<(64-s.pageBits), nil); err != nil {
			b.Fatal(err)
		}
	}
	lookups(b, "static", h, func(hash uint64, dst []uint32) []uint32 {
		dst, _ = ofStatic(s, hash, dst)
		return dst
	})
	b.ReportMetric(float64(s.ResidentBytes()+int64(8*s.Pages()))/float64(n), "resident-bytes/key")
}

// lookups measures look-ups of random hashes that are there. Which one is next depends on
// what was found, so that the processor cannot overlap two look-ups.
func lookups(b *testing.B, name string, h []uint64, find func(uint64, []uint32) []uint32) {
	order := rand.New(rand.NewPCG(3, 3))
	random := make([]uint64, 1<<20)
	for i := range random {
		random[i] = h[order.IntN(len(h))]
	}
	b.Run(name, func(b *testing.B) {
		var buf [8]uint32
		i, found := 0, 0
		for b.Loop() {
			got := find(random[i&(len(random)-1)], buf[:0])
			found += len(got)
			i += len(got)
		}
		if found < b.N {
			b.Fatalf("%d of %d found", found, b.N)
		}
	})
}
