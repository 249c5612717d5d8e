package timeline

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestPack compares with the definition: number i is the bits i*w to i*w+w-1.
func TestPack(t *testing.T) {
	r := seeded(t)
	for top := range 65 {
		w := widthOf(1<<top - 1)
		if want := top; w != want && !(top > maxWidth && w == 64) {
			t.Fatalf("%d bits: width %d", top, w)
		}
		numbers := make([]uint64, r.IntN(400))
		for i := range numbers {
			numbers[i] = r.Uint64() & (1<<w - 1)
		}
		b := pack(nil, numbers, w)
		if len(b) != packedSize(len(numbers), w) {
			t.Fatalf("width %d: %d bytes", w, len(b))
		}
		for i, v := range numbers {
			var got uint64
			for k := range w {
				at := i*w + k
				got |= uint64(b[at>>3]>>(at&7)&1) << k
			}
			if got != v {
				t.Fatalf("width %d: number %d is %d, want %d", w, i, got, v)
			}
		}
		if used := len(numbers) * w & 7; used > 0 && b[len(b)-1]>>used != 0 {
			t.Fatalf("width %d: bits past the end are set", w)
		}
		b = append(b, make([]byte, slack)...)
		first := r.IntN(len(numbers) + 1)
		checkUnpack[uint64](t, numbers, b, first, w)
		checkUnpack[uint32](t, numbers, b, first, w)
		checkUnpack[uint16](t, numbers, b, first, w)
		checkUnpack[uint8](t, numbers, b, first, w)
	}
}

func checkUnpack[T uint8 | uint16 | uint32 | uint64](t *testing.T, numbers []uint64, b []byte, first, w int) {
	t.Helper()
	if w > bits.Len64(uint64(^T(0))) {
		return
	}
	dst := make([]T, len(numbers)-first)
	unpack(dst, b, first, w)
	for i, v := range dst {
		if want := numbers[first+i]; uint64(v) != want || number(b, first+i, w) != want {
			t.Fatalf("width %d from %d: number %d is %d or %d, want %d", w, first, i, v, number(b, first+i, w), want)
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, w := range []int{1, 4, 6, 13, 17, 31} {
		numbers := make([]uint64, BlockSize)
		for i := range numbers {
			numbers[i] = r.Uint64() & (1<<w - 1)
		}
		packed := append(pack(nil, numbers, w), make([]byte, slack)...)
		b.Run(fmt.Sprintf("width=%d", w), func(b *testing.B) {
			dst := make([]uint32, BlockSize)
			for b.Loop() {
				unpack(dst, packed, 0, w)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/BlockSize, "ns/value")
		})
	}
}
