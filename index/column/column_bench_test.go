package column

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchInts returns a block of values that need some bits, one in eight absent or none.
func benchInts(bits int, absent bool) ([]int64, []uint64) {
	r := rand.New(rand.NewPCG(1, 1))
	values, present := make([]int64, BlockSize), make([]uint64, Words)
	for i := range values {
		values[i] = 1000 + int64(r.Uint64N(1<<bits-1))
		if r.IntN(8) > 0 {
			present[i>>6] |= 1 << (i & 63)
		}
	}
	if !absent {
		present = nil
	}
	return values, present
}

func perValue(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
}

func BenchmarkInts(b *testing.B) {
	for _, bits := range []int{1, 2, 4, 8, 16, 24, 32, 40, 62} {
		for _, absent := range []bool{false, true} {
			values, present := benchInts(bits, absent)
			block := EncodeInts(nil, values, present)
			name := fmt.Sprintf("bits=%d/absent=%v/", bits, absent)
			b.Run(name+"encode", func(b *testing.B) {
				for b.Loop() {
					block = EncodeInts(block[:0], values, present)
				}
				perValue(b, BlockSize)
			})
			b.Run(name+"decode", func(b *testing.B) {
				for b.Loop() {
					if _, err := DecodeInts(block); err != nil {
						b.Fatal(err)
					}
				}
				perValue(b, BlockSize)
			})
			c, _ := DecodeInts(block)
			var out [Words]uint64
			b.Run(name+"range", func(b *testing.B) {
				for b.Loop() {
					c.Range(1000, 1000+1<<bits/3, out[:])
				}
			})
			dst := make([]int64, 0, BlockSize)
			b.Run(name+"append", func(b *testing.B) {
				for b.Loop() {
					c.Append(dst, out[:])
				}
				perValue(b, BlockSize)
			})
			benchGather(b, name, c, bits)
		}
	}
}

func benchGather(b *testing.B, name string, c *Ints, bits int) {
	idx := randomIndexes(rand.New(rand.NewPCG(1, 1)), BlockSize)
	dst, ok, codes, out := make([]int64, len(idx)), make([]bool, len(idx)), make([]uint32, len(idx)), make([]uint16, 0, len(idx))
	b.Run(name+"gather", func(b *testing.B) {
		for b.Loop() {
			c.Gather(idx, dst, ok)
		}
		perValue(b, len(idx))
	})
	b.Run(name+"codes", func(b *testing.B) {
		for b.Loop() {
			c.GatherCodes(idx, codes)
		}
		perValue(b, len(idx))
	})
	b.Run(name+"probe", func(b *testing.B) {
		for b.Loop() {
			c.RangeProbe(1000, 1000+1<<bits/3, idx, out)
		}
		perValue(b, len(idx))
	})
}

func BenchmarkStrings(b *testing.B) {
	values := make([][]byte, BlockSize)
	for i := range values {
		values[i] = fmt.Appendf(nil, "customer%05d", i)
	}
	block := EncodeStrings(nil, values)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			block = EncodeStrings(block[:0], values)
		}
		perValue(b, BlockSize)
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeStrings(block); err != nil {
				b.Fatal(err)
			}
		}
		perValue(b, BlockSize)
	})
	s, _ := DecodeStrings(block)
	b.Run("at", func(b *testing.B) {
		total := 0
		for b.Loop() {
			for i := range BlockSize {
				v, _ := s.At(i * 1237 % BlockSize)
				total += len(v)
			}
		}
		perValue(b, BlockSize)
	})
}

func BenchmarkSets(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var ends, codes []uint32
	for range BlockSize {
		for code, n := uint32(r.IntN(10)), r.IntN(6); n > 0; n-- {
			codes = append(codes, code)
			code += 1 + uint32(r.IntN(10))
		}
		ends = append(ends, uint32(len(codes)))
	}
	block := EncodeSets(nil, ends, codes)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			block = EncodeSets(block[:0], ends, codes)
		}
		perValue(b, BlockSize)
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeSets(block); err != nil {
				b.Fatal(err)
			}
		}
		perValue(b, BlockSize)
	})
	s, _ := DecodeSets(block)
	idx := randomIndexes(r, BlockSize)
	b.Run("gather", func(b *testing.B) {
		for b.Loop() {
			ends, codes = s.Gather(idx, ends[:0], codes[:0])
		}
		perValue(b, len(idx))
	})
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			ends, codes = s.Append(ends[:0], codes[:0])
		}
		perValue(b, BlockSize)
	})
	b.ReportMetric(float64(len(block))/BlockSize, "bytes/row")
}
