package bitmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// unpackColumn compares the kernel for one size of numbers with their bits one by one, in
// all widths, from any number on. Behind the last byte that has a bit comes no other.
func unpackColumn[T unsigned](t *testing.T, r *rand.Rand, l level) {
	t.Helper()
	size, able := int(unsafe.Sizeof(T(0))), false
	for width := range min(8*size, 57) {
		width++
		for range 12 {
			n, first := r.IntN(300), r.IntN(20)
			b := make([]byte, ((first+n)*width+7)/8)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			want, dst := make([]T, n), make([]T, n+1)
			for i := range want {
				for k := range width {
					at := (first+i)*width + k
					want[i] |= T(b[at>>3]>>(at&7)&1) << k
				}
			}
			dst[n] = 85
			at := first * width
			done := unpack(l, unsafe.Pointer(&dst[0]), size, n, b[at>>3:], at&7, width)
			if n >= 64 { // whatever the width, a level has instructions or has none
				if some := done > 0; width > 1 && some != able {
					t.Fatalf("%d bytes, width %d: done %v, a smaller width %v", size, width, some, able)
				}
				able = done > 0
			}
			if done > n || able && done < n-63 {
				t.Fatalf("%d bytes, width %d: %d of %d numbers", size, width, done, n)
			}
			if !slices.Equal(dst[:done], want[:done]) {
				t.Fatalf("%d bytes, width %d, from %d on: other numbers", size, width, first)
			}
			if dst[n] != 85 {
				t.Fatalf("%d bytes, width %d: wrote past the end", size, width)
			}
			if l == machine && Unpack(dst[:n], b, first, width) != done {
				t.Fatal("Unpack does not do what the machine can")
			}
		}
	}
}

func TestUnpackLevels(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			r := newRand(t)
			unpackColumn[uint8](t, r, l)
			unpackColumn[uint16](t, r, l)
			unpackColumn[uint32](t, r, l)
			unpackColumn[uint64](t, r, l)
		})
	}
}
