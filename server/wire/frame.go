package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Kinds of frames, the low half of the first byte. Append only.
const (
	kindHello   = 1  // both, once: what the sender takes, who it is
	kindOpen    = 2  // client: a call begins
	kindCall    = 3  // client: a call begins, with its first message
	kindHeaders = 4  // server: the headers of the answer
	kindMessage = 5  // both: a message or a piece of one
	kindEnd     = 6  // client: no more messages; server: the call's status
	kindCancel  = 7  // client: the answer is not wanted any more
	kindWindow  = 8  // both: the receiver has room again
	kindPing    = 9  // both: answer with a pong of the same payload
	kindPong    = 10 // both
	kindGoAway  = 11 // both: no new calls; with a code: the connection ends now
)

// Flags, the high half of the first byte.
const (
	flagMore    = 0x10 // the message goes on in the stream's next message frame
	flagPacked  = 0x20 // the message is compressed (on the first piece)
	flagRefused = 0x20 // of an end: no handler has seen the call
	flagLast    = 0x40 // the sender's last message; from the server also: status ok, no trailers
	flagMeta    = 0x80 // of a beginning: deadline and metadata follow
)

// allowedFlags are the flags that a kind may carry.
//
//tidy:constant
var allowedFlags = [16]byte{
	kindOpen:    flagLast | flagMeta,
	kindCall:    flagMore | flagPacked | flagLast | flagMeta,
	kindMessage: flagMore | flagPacked | flagLast,
	kindEnd:     flagRefused,
}

// headerBytes is the most that a header takes: the first byte, length and stream.
const headerBytes = 1 + 4 + 3

const checksumBytes = 4

// castagnoli is CRC32C, which the processor computes.
//
//tidy:constant
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one frame. Its payload is valid until the next one is read.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// appendFrame appends a frame whose payload are the two parts, one after the other.
func appendFrame(dst []byte, sums bool, kind, flags byte, stream uint32, head, body []byte) []byte {
	start := len(dst)
	dst = append(dst, kind|flags)
	dst = binary.AppendUvarint(dst, uint64(len(head)+len(body)))
	dst = binary.AppendUvarint(dst, uint64(stream))
	dst = append(dst, head...)
	dst = append(dst, body...)
	if sums {
		dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	}
	return dst
}

// parseFrame reads the frame at the beginning of b. It returns the frame and its length
// if it is there, else, without an error, the length that b must have for it to be (or
// for the next attempt to say more).
func parseFrame(b []byte, sums bool, limit int) (f frame, n int, err error) {
	if len(b) == 0 {
		return f, 3, nil
	}
	f.kind, f.flags = b[0]&0x0f, b[0]&0xf0
	if f.kind == 0 || f.kind > kindGoAway {
		return f, 0, broken("a frame of kind %d, which does not exist", f.kind)
	}
	if f.flags&^allowedFlags[f.kind] != 0 {
		return f, 0, broken("a frame of kind %d with flags %#x, which it does not have", f.kind, f.flags)
	}
	size, at, err := parseSmall(b, 1, 4)
	if err != nil || at == 0 {
		return f, len(b) + 1, err
	}
	if size > uint64(limit) {
		return f, 0, broken("a frame of %d bytes: at most %d are taken", size, limit)
	}
	stream, at, err := parseSmall(b, at, 3)
	if err != nil || at == 0 {
		return f, len(b) + 1, err
	}
	f.stream = uint32(stream)
	n = at + int(size)
	end := n
	if sums {
		n += checksumBytes
	}
	if len(b) < n {
		return f, n, nil
	}
	f.payload = b[at:end:end]
	if sums && crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return f, 0, broken("a frame whose checksum does not hold: what lies between the peers changes bytes")
	}
	return f, n, nil
}

// parseSmall reads a number of at most width bytes at an offset, and returns the offset
// behind it, or 0 if it is not all there.
func parseSmall(b []byte, at, width int) (v uint64, next int, err error) {
	for i := 0; i < width; i++ {
		if at+i >= len(b) {
			return 0, 0, nil
		}
		c := b[at+i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				return 0, 0, broken("a number in a longer form than it needs")
			}
			return v, at + i + 1, nil
		}
	}
	return 0, 0, broken("a number in a frame's header of more than %d bytes", width)
}

// fields reads the fields of a payload one after the other. After the first that is not
// as it must be, all are empty and err says why.
type fields struct {
	b   []byte
	err error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = broken("%s is cut off or out of range", what)
	}
	f.b = nil
}

// number reads a number of at most limit.
func (f *fields) number(what string, limit uint64) uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > limit {
		f.fail(what)
		return 0
	}
	f.b = f.b[n:]
	return v
}

// bytes reads a length and as many bytes, at most limit.
func (f *fields) bytes(what string, limit int) []byte {
	n := f.number(what, uint64(limit))
	if n > uint64(len(f.b)) {
		f.fail(what)
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

// close reports an error if something is left.
func (f *fields) close(what string) error {
	if f.err == nil && len(f.b) > 0 {
		return broken("%s has %d bytes too many", what, len(f.b))
	}
	return f.err
}

func appendBytes[T string | []byte](dst []byte, v T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// brokenError is a breach of the protocol: what the peer sent.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return "wire: the peer sent " + e.text }

func broken(format string, args ...any) error { return &brokenError{fmt.Sprintf(format, args...)} }
