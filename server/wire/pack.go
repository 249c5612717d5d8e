package wire

import (
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Packing says when messages are compressed. Both ends must wish it.
type Packing uint8

// The ways to pack.
const (
	PackAuto   Packing = iota // unless the connection stays on the machine, where it costs more than it saves
	PackAlways                // always, where it makes a message smaller
	PackNever                 // never
)

// packWindow is the window of the compressor: what a decompressor must keep.
const packWindow = 128 << 10

// encoder returns the one compressor: it has no state between messages, and keeps
// as many workers as there are processors.
//
//tidy:constant
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
})

// decoder returns the one decompressor. It writes no further than the capacity of what it
// is given, which is the size that the message declared.
//
//tidy:constant
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxMessageBytes),
		zstd.WithDecoderMaxWindow(maxMessageBytes), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
})

// probeBytes are what is tried of a large message before the whole is compressed.
const probeBytes = 1 << 10

// pack compresses a message into a buffer, or returns nil where that is not worth it:
// for small ones, and where neither the first KiB nor the middle one shrinks, as with
// batches, exports and backups, which are compressed already.
func pack(message []byte) *buffer {
	if len(message) < packBytes {
		return nil
	}
	enc, err := encoder()
	if err != nil {
		return nil
	}
	out := newBuffer(len(message))
	if len(message) > 4*probeBytes && !shrinks(enc, out, message[:probeBytes]) &&
		!shrinks(enc, out, message[len(message)/2:][:probeBytes]) {
		out.free()
		return nil
	}
	out.b = enc.EncodeAll(message, out.b[:0])
	if len(out.b) > len(message)-len(message)/16 {
		out.free()
		return nil
	}
	return out
}

func shrinks(enc *zstd.Encoder, out *buffer, part []byte) bool {
	out.b = enc.EncodeAll(part, out.b[:0])
	return len(out.b) < len(part)-len(part)/8
}

// unpack decompresses a message that says it has raw bytes.
func unpack(packed []byte, raw int) (*buffer, error) {
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	out := newBuffer(raw)
	b, err := dec.DecodeAll(packed, out.b[:0:raw])
	if err != nil || len(b) != raw {
		out.free()
		return nil, broken("a packed message that is not the %d bytes it says: %v", raw, err)
	}
	out.b = b
	return out, nil
}
