package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/query"
)

// PieceSize is the most bytes of a file in one object: a worker holds one piece and its
// compressed form, and a request of this size takes well under a second.
const PieceSize = 8 << 20

const (
	objectMagic   = "KNTO"
	objectVersion = 1
	codecRaw      = 0
	codecZstd     = 1
	objectHeader  = 10
	maxObject     = objectHeader + PieceSize // one that does not shrink is kept as it is
)

// Hash names a piece: the SHA-256 of its bytes.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// parseHash is the inverse of [Hash.String].
func parseHash(text string) (h Hash, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) || hex.EncodeToString(b) != text {
		return h, false
	}
	copy(h[:], b)
	return h, true
}

// codec encodes and decodes objects. It belongs to one goroutine.
type codec struct {
	enc   *zstd.Encoder
	dec   *zstd.Decoder
	buf   []byte
	piece []byte // room for one, of who reads files
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(PieceSize), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // writes nothing: it has no writer
	c.dec.Close()
}

// encode returns the object of a piece, which is valid until the next call.
func (c *codec) encode(piece []byte) []byte {
	head := binary.LittleEndian.AppendUint32(append(c.buf[:0], objectMagic+"\x01\x01"...), uint32(len(piece)))
	out := c.enc.EncodeAll(piece, head)
	if len(out) >= objectHeader+len(piece) {
		out = append(out[:objectHeader], piece...)
		out[5] = codecRaw
	}
	c.buf = out
	return out
}

// decode verifies an object and returns its piece, which has to be of size bytes and is
// valid until the next call.
func (c *codec) decode(h Hash, size int, object []byte) ([]byte, error) {
	if len(object) >= objectHeader && string(object[:5]) == objectMagic+"\x01" && binary.LittleEndian.Uint32(object[6:]) != uint32(size) {
		return nil, query.Errorf(query.CodeCorrupt, "object %s is damaged: it has another length than the manifest says", h)
	}
	return c.decodeAny(h, object)
}

// decodeAny is decode of a piece of which nobody knows the size, but that it is one.
func (c *codec) decodeAny(h Hash, object []byte) ([]byte, error) {
	damaged := func(why string) error {
		return query.Errorf(query.CodeCorrupt, "object %s is damaged: %s", h, why)
	}
	if len(object) < objectHeader || string(object[:4]) != objectMagic {
		return nil, damaged("it is no object")
	}
	if object[4] != objectVersion {
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: "object " + h.String() + " is of a newer version", Hint: "use a newer version of Kanta"}
	}
	size := int64(binary.LittleEndian.Uint32(object[6:]))
	piece := object[objectHeader:]
	switch object[5] {
	case codecRaw:
	case codecZstd:
		var err error
		if piece, err = c.dec.DecodeAll(piece, c.buf[:0]); err != nil {
			return nil, damaged("it cannot be decompressed: " + err.Error())
		}
		c.buf = piece
	default:
		return nil, damaged("it has an unknown codec")
	}
	if int64(len(piece)) != size || sha256.Sum256(piece) != h {
		return nil, damaged("its checksum is another")
	}
	return piece, nil
}
