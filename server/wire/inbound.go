package wire

import (
	"io"
	"net"
)

// inbound reads frames from a connection. Only the reading goroutine uses it.
//
// An idle connection holds the small buffer only. A larger one comes from the pool when a
// frame does not fit or a read has filled the small one, and goes back when all it held
// has been handled and the peer pauses.
type inbound struct {
	nc    net.Conn
	sums  bool
	limit int // bytes of a frame's payload
	small [512]byte
	large *buffer
	r, w  int  // what is read and not yet handled
	full  bool // the last read filled the buffer: more is coming
}

func (in *inbound) buf() []byte {
	if in.large != nil {
		return in.large.b
	}
	return in.small[:]
}

// empty reports whether nothing is read that was not handled.
func (in *inbound) empty() bool { return in.r == in.w }

// next returns the next frame. It is valid until the next call. io.EOF means that the
// peer has closed the connection between two frames.
func (in *inbound) next() (frame, error) {
	for {
		f, n, err := parseFrame(in.buf()[in.r:in.w], in.sums, in.limit)
		if err != nil {
			return f, err
		}
		if n <= in.w-in.r {
			in.r += n
			return f, nil
		}
		if err := in.fill(n); err != nil {
			return f, err
		}
	}
}

// fill reads once, after it has made room for a frame of n bytes.
func (in *inbound) fill(n int) error {
	held := in.w - in.r
	if held == 0 {
		in.r, in.w = 0, 0
		if !in.full && n <= len(in.small) {
			in.drop()
		}
	}
	switch {
	case in.full && in.large == nil || n > len(in.buf()):
		size := n
		if in.full {
			size = max(n, readBytes)
		}
		grown := newBuffer(size)
		grown.b = grown.b[:cap(grown.b)]
		copy(grown.b, in.buf()[in.r:in.w])
		in.drop()
		in.large = grown
	case in.r > 0:
		copy(in.buf(), in.buf()[in.r:in.w])
	}
	in.r, in.w = 0, held
	b := in.buf()
	got, err := in.nc.Read(b[in.w:])
	in.w += got
	in.full = in.w == len(b)
	if got > 0 {
		return nil
	}
	if err == io.EOF && held > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readBytes is the buffer of a connection in full flow: some frames of bulk, or hundreds
// of small ones, for one system call.
const readBytes = 64 << 10

func (in *inbound) drop() {
	in.large.free()
	in.large = nil
}
