package bitmap

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// atEdge returns memory for n numbers behind which none may be touched.
func atEdge[T unsigned](t *testing.T, n int) []T {
	t.Helper()
	page := os.Getpagesize()
	bytes := n * int(unsafe.Sizeof(T(0)))
	room := (bytes + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, room+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	if err := unix.Mprotect(m[room:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(m[room-bytes:]))), n)
}

// staysInside fails if f touches what is behind its memory.
func staysInside(t *testing.T, what string, f func()) {
	t.Helper()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err := recover(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}()
	f()
}

func edgeOfColumn[T unsigned](t *testing.T, l level, n int) {
	t.Helper()
	size := int(unsafe.Sizeof(T(0)))
	packed, dst := atEdge[uint8](t, n*size), atEdge[T](t, n)
	for width := range min(8*size, 57) {
		width++
		for first := range min(8, n) {
			bytes := (n*width + 7) / 8
			b := packed[len(packed)-bytes:]
			staysInside(t, fmt.Sprintf("%d of %d numbers of %d bytes, width %d", n-first, n, size, width), func() {
				at, to := first*width, dst[first:]
				unpack(l, unsafe.Pointer(unsafe.SliceData(to)), size, len(to), b[at>>3:], at&7, width)
			})
		}
	}
}

// TestKernelsAtEdge: kernels touch nothing behind their slices, where the memory of others
// may be, or none.
func TestKernelsAtEdge(t *testing.T) {
	for _, l := range levels() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			for _, n := range []int{1, 7, 8, 9, 16, 31, 63, 64, 65, 200, 4096} {
				edgeOfColumn[uint8](t, l, n)
				edgeOfColumn[uint16](t, l, n)
				edgeOfColumn[uint32](t, l, n)
				edgeOfColumn[uint64](t, l, n)
				gaps, words := atEdge[uint16](t, n), atEdge[uint64](t, (n+63)/64)
				for i := range words {
					words[i] = ^uint64(0)
				}
				all := atEdge[uint16](t, 64*len(words)+16)
				staysInside(t, fmt.Sprintf("%d gaps", n), func() { ascend(l, gaps, 0) })
				if ranks := atEdge[uint64](t, RankWords); n == 1 {
					var members, dst Words
					members.Fill()
					staysInside(t, "ranks", func() { deposit(l, &dst, &members, ranks) })
				}
				staysInside(t, fmt.Sprintf("positions in %d words", len(words)), func() { positions(l, all, words, 0) })
			}
		})
	}
}
