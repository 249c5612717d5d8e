package bitmap

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sink keeps results alive.
type sink struct {
	n   int
	any uint64
}

func BenchmarkKernels(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var o operands
	for o.n < 4 {
		w := new(Words)
		for i := range w {
			w[i] = r.Uint64()
		}
		o.words[o.n] = w
		o.n++
	}
	o.npos = 4
	array := randomArray(r, 1024)
	x, y, dst := o.words[0], o.words[1], new(Words)
	var s sink
	for _, l := range levels() {
		f := func(name string, run func()) {
			b.Run(fmt.Sprintf("%s/level=%d", name, l), func(b *testing.B) {
				b.SetBytes(bitmapBytes)
				for b.Loop() {
					run()
				}
			})
		}
		f("and", func() { s.any += andWords(l, dst, x, y) })
		f("andnot", func() { s.any += andNotWords(l, dst, x, y) })
		f("or", func() { orWords(l, dst, x, y) })
		f("count", func() { s.n += countWords(l, x) })
		f("count4", func() { s.n += countOperands(l, &o) })
		f("filter1024", func() { s.n += filterLevel(l, dst.array(), array, x, 0) })
		f("and4", func() { s.any += andOperands(l, dst, &o) })
	}
}

func BenchmarkBetween(b *testing.B) {
	for _, l := range levels() {
		betweenBench(b, l, betweenU8)
		betweenBench(b, l, betweenU16)
		betweenBench(b, l, betweenU32)
		betweenBench(b, l, betweenU64)
	}
}

func betweenBench[T unsigned](b *testing.B, l level, kernel func(level, []T, T, T, []uint64) int) {
	const n = 4096 // a block of a column
	r := rand.New(rand.NewPCG(1, 2))
	col, dst := make([]T, n), make([]uint64, n/64)
	for i := range col {
		col[i] = T(r.Uint64())
	}
	run := leveled(l, kernel)
	b.Run(fmt.Sprintf("%T/level=%d", col[0], l), func(b *testing.B) {
		for b.Loop() {
			run(col, 50, 100, dst)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/value")
	})
}

func BenchmarkArrays(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	buf, words := new(Words), randomWords(r)
	var s sink
	for _, size := range [][2]int{{10, 10}, {10, 1000}, {64, 4096}, {256, 256}, {1024, 1024}, {4096, 4096}} {
		x, y := FromArray(randomArray(r, size[0])), FromArray(randomArray(r, size[1]))
		for _, op := range operations {
			b.Run(fmt.Sprintf("%s/%d/%d", op.name, size[0], size[1]), func(b *testing.B) {
				for b.Loop() {
					s.n += int(op.set(x, y, buf).Form)
				}
			})
		}
		b.Run(fmt.Sprintf("probe/%d", size[1]), func(b *testing.B) {
			for b.Loop() {
				s.n += len(And(y, Set{Form: Dense, Words: words}, buf).Array)
			}
		})
	}
}

func BenchmarkFragment(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, form := range []struct {
		name string
		set  func() Set
	}{
		{"dense", func() Set { return Set{Form: Dense, Words: randomWords(r)} }},
		{"array3000", func() Set { return FromArray(randomArray(r, 3000)) }},
		{"array10", func() Set { return FromArray(randomArray(r, 10)) }},
	} {
		var sets [ShardChunks]Set
		for i := range sets {
			sets[i] = form.set()
		}
		enc := EncodeFragment(nil, &sets)
		b.Run("header/"+form.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := ReadFragmentHeader(enc); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+form.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(enc)))
			for b.Loop() {
				if _, err := DecodeFragment(enc); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encode/"+form.name, func(b *testing.B) {
			b.SetBytes(int64(len(enc)))
			for b.Loop() {
				enc = EncodeFragment(enc[:0], &sets)
			}
		})
	}
}
