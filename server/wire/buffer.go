package wire

import (
	"math/bits"
	"sync"
)

// buffer is memory that is used again. Its bytes are valid until free.
type buffer struct {
	b     []byte
	class int8 // of the pool it goes back to, -1 for none
}

// Classes of buffers: 256 bytes, 1, 4, 16, 64, 256 KiB and 1 MiB. Larger ones are left to
// the collector.
const (
	smallestBuffer = 8 // bits
	bufferClasses  = 7
)

// buffers are the pools. The memory is anonymous: what was in it is overwritten.
//
//tidy:constant
var buffers [bufferClasses]sync.Pool

// newBuffer returns an empty buffer with room for n bytes.
func newBuffer(n int) *buffer {
	class := 0
	if n > 1<<smallestBuffer {
		class = (bits.Len(uint(n-1)) - smallestBuffer + 1) / 2
	}
	if class >= bufferClasses {
		return &buffer{b: make([]byte, 0, n), class: -1}
	}
	if v, ok := buffers[class].Get().(*buffer); ok {
		v.b = v.b[:0]
		return v
	}
	return &buffer{b: make([]byte, 0, 1<<(smallestBuffer+2*class)), class: int8(class)}
}

// free gives the buffer back. It may have grown: then it is left to the collector.
func (b *buffer) free() {
	if b == nil || b.class < 0 || cap(b.b) != 1<<(smallestBuffer+2*int(b.class)) {
		return
	}
	buffers[b.class].Put(b)
}

// chunk is what one frame brought for a stream.
type chunk struct {
	kind, flags byte
	first       bool // of a message
	total, raw  int  // of a message in pieces, of a packed one
	cost        int  // in the windows
	data        *buffer
	next        *chunk
}
