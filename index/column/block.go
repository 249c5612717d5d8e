package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Geometry of blocks. These are formats.
const (
	BlockBits = 12
	BlockSize = 1 << BlockBits // values of a full block
	Words     = BlockSize / 64 // words of a bitmap over one block
)

// Errors of the decoders; test with errors.Is.
var (
	// ErrCorrupt means that the bytes are damaged, or are not a block of the expected type.
	ErrCorrupt = errors.New("column: corrupt block")
	// ErrNewerFormat means that a newer version of this program wrote the bytes.
	ErrNewerFormat = errors.New("column: block in a newer format")
)

const (
	magic      = "KNTC"
	version    = 1
	headerSize = 12 // what all types have in common
)

// The block types. They are stored and append-only.
const (
	typeInts    = 1
	typeStrings = 2
	typeSets    = 3
)

// These have no size. To slice or index them has Go compare two numbers, and say so as of any
// slice where only a bug of the caller's can make them wrong.
var (
	places    [BlockSize]struct{}      //tidy:constant
	textBytes [math.MaxUint32]struct{} //tidy:constant
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// appendHeader appends the common header of a block of n values, its checksum still zero.
func appendHeader(dst []byte, typ byte, n int) []byte {
	_ = places[:n] // the caller cuts blocks
	dst = append(dst, magic...)
	dst = append(dst, version, typ)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
	return append(dst, 0, 0, 0, 0)
}

// seal writes the checksum of a complete block.
func seal(block []byte) {
	binary.LittleEndian.PutUint32(block[8:], checksum(block))
}

func checksum(block []byte) uint32 {
	return crc32.Update(crc32.Checksum(block[:8], castagnoli), castagnoli, block[headerSize:])
}

// open checks the common header and the checksum; it returns the number of values and
// what follows the common header, which has at least min bytes.
func open(b []byte, typ byte, min int) (n int, body []byte, err error) {
	if len(b) < headerSize || string(b[:4]) != magic {
		return 0, nil, corrupt("no block")
	}
	if b[4] > version {
		return 0, nil, fmt.Errorf("%w: version %d", ErrNewerFormat, b[4])
	}
	if binary.LittleEndian.Uint32(b[8:]) != checksum(b) {
		return 0, nil, corrupt("checksum")
	}
	n = int(binary.LittleEndian.Uint16(b[6:]))
	if b[4] != version || b[5] != typ || n > BlockSize || len(b) < headerSize+min {
		return 0, nil, corrupt("header")
	}
	return n, b[headerSize:], nil
}

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// fill sets the first n bits of dst and clears the rest.
func fill(dst []uint64, n int) {
	clear(dst)
	for i := range n >> 6 {
		dst[i] = ^uint64(0)
	}
	if n&63 != 0 {
		dst[n>>6] = 1<<(n&63) - 1
	}
}
