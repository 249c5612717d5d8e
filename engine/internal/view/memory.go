package view

import (
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
)

// bitmapMemory returns the memory of a caller's buffer, in which a sparse result is
// returned: 8 KiB, aligned for anything.
func bitmapMemory(w *bitmap.Words) unsafe.Pointer { return unsafe.Pointer(w) }
