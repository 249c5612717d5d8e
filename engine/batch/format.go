package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Further limits of a batch.
const (
	SafeRaw          = 480 << 10 // a batch of this raw size is never over MaxStored, however badly it compresses
	MaxCells         = 4 << 20   // cells of all blocks: constant columns take no bytes but 8 in memory each
	MaxColumns       = 1 << 17   // columns of all blocks, some 200 bytes in memory each
	MaxOps           = 1 << 15   // some 500 bytes in memory each
	MaxChangeBytes   = 64 << 10  // one schema change
	MaxNoteBytes     = 4 << 10   // of a list: an analysis, its parameters, a cell
	MaxReference     = 256       // of an erasure: the number of a ticket
	MaxQuarantineRaw = 1024      // bytes of a bad row that are kept, enough to find it again
	MaxDetail        = 512       // bytes of the detail of a bad row
)

// OpCode says what an op does. Codes are stored and append-only.
type OpCode uint8

// The ops; see the package comment.
const (
	OpUpsert       OpCode = 1
	OpDelete       OpCode = 2
	OpSchemaChange OpCode = 3
	OpSegmentSave  OpCode = 4
	OpSegmentDrop  OpCode = 5
	OpListPut      OpCode = 6
	OpListAdd      OpCode = 7
	OpListRemove   OpCode = 8
	OpListDrop     OpCode = 9
	OpQuarantined  OpCode = 10
	OpTick         OpCode = 11
	OpEvents       OpCode = 12
	OpOrigin       OpCode = 20
	OpListNote     OpCode = 21

	OpDefinitionSave OpCode = 22
	OpDefinitionDrop OpCode = 23

	OpErase   OpCode = 24
	OpReadmit OpCode = 25

	OpDocumentPut  OpCode = 26
	OpDocumentDrop OpCode = 27

	OpSegmentShare OpCode = 28
)

// Verb says what a column of an upsert does with its cells, or what a column of events is.
// Codes are stored and append-only.
type Verb uint8

// The verbs; see the package comment.
const (
	VerbSet          Verb = 1
	VerbUnset        Verb = 2
	VerbAdd          Verb = 3
	VerbRemove       Verb = 4
	VerbIncrement    Verb = 5
	VerbExpect       Verb = 6
	VerbExpectAbsent Verb = 7
	VerbEvent        Verb = 8
	VerbTime         Verb = 9
	VerbID           Verb = 10
)

// The columns of events that are no properties have these names.
const (
	eventColumn = "event"
	timeColumn  = "time"
	idColumn    = "id"
)

// in reports whether an op may have columns of a verb.
func (v Verb) in(code OpCode) bool {
	if v > VerbExpectAbsent {
		return code == OpEvents
	}
	return v == VerbSet || code == OpUpsert
}

// fits reports whether a verb may carry values of a kind. Verbs without values have kind Absent.
func (v Verb) fits(k schema.Kind) bool {
	switch v {
	case VerbSet, VerbExpect:
		return k.Valid()
	case VerbUnset, VerbExpectAbsent:
		return k == schema.Absent
	case VerbAdd, VerbRemove:
		return k == schema.Set
	case VerbIncrement:
		return k == schema.Int || k == schema.Float || k == schema.Decimal
	case VerbEvent, VerbID:
		return k == schema.String
	case VerbTime:
		return k == schema.Timestamp
	}
	return false
}

// The parts of the header.
const (
	magic      = "KNTB"
	version    = 1
	headerSize = 24
	codecNone  = 0
	codecZstd  = 1
	flagStrict = 1
)

// The encodings of a column's data.
const (
	encNone    = 0
	encOrdered = 1
	encPlain   = 2
	encDict    = 3
	encSets    = 4
)

// kindRange returns the ordered forms that a value of an ordered kind may have.
func kindRange(k schema.Kind) (lo, hi int64) {
	switch k {
	case schema.Bool:
		return 0, 1
	case schema.Float:
		return schema.OrderedFloat(math.Inf(-1)), schema.OrderedFloat(math.Inf(1))
	case schema.Date:
		return schema.MinDate, schema.MaxDate
	case schema.Timestamp:
		return schema.MinTimestamp, schema.MaxTimestamp
	}
	return math.MinInt64, math.MaxInt64
}

// negativeZero is what -0 would be in ordered form; it is no value.
const negativeZero = -1

// header is the decoded first 24 bytes.
type header struct {
	codec  uint8
	strict bool
	raw    int
	stored []byte
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// sealHeader fills b's first headerSize bytes for the payload behind them.
func sealHeader(b []byte, codec uint8, strict bool, raw int) {
	copy(b, magic)
	b[4], b[5] = version, codec
	var flags uint16
	if strict {
		flags |= flagStrict
	}
	binary.LittleEndian.PutUint16(b[6:], flags)
	binary.LittleEndian.PutUint32(b[8:], uint32(raw))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)-headerSize))
	binary.LittleEndian.PutUint32(b[16:], checksum(b[headerSize:]))
	binary.LittleEndian.PutUint32(b[20:], checksum(b[:20]))
}

// parseHeader checks the header and the checksums. Magic and version come first and
// apart: the rest of a newer header may look different.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || string(b[:4]) != magic {
		return header{}, corrupt("not a batch: %d bytes without the magic %q", len(b), magic)
	}
	if b[4] > version {
		return header{}, query.Errorf(query.CodeNewerFormat, "batch format %d; this version reads %d", b[4], version)
	}
	if checksum(b[:20]) != binary.LittleEndian.Uint32(b[20:]) {
		return header{}, corrupt("the header's checksum is wrong")
	}
	flags := binary.LittleEndian.Uint16(b[6:])
	h := header{codec: b[5], strict: flags&flagStrict != 0, stored: b[headerSize:]}
	raw, stored := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	switch {
	case b[4] != version:
		return h, corrupt("format %d", b[4])
	case h.codec > codecZstd:
		return h, corrupt("codec %d", h.codec)
	case flags&^flagStrict != 0:
		return h, corrupt("flags %#x", flags)
	case raw > MaxRaw || stored > MaxStored:
		return h, corrupt("lengths %d and %d are over the limits", raw, stored)
	case int(stored) != len(h.stored):
		return h, corrupt("%d bytes of payload, %d are there", stored, len(h.stored))
	case h.codec == codecNone && raw != stored:
		return h, corrupt("raw length %d, stored %d, without a codec", raw, stored)
	case checksum(h.stored) != binary.LittleEndian.Uint32(b[16:]):
		return h, corrupt("the payload's checksum is wrong")
	}
	h.raw = int(raw)
	return h, nil
}

func corrupt(format string, args ...any) error {
	return query.Errorf(query.CodeCorrupt, "corrupt batch: %s", fmt.Sprintf(format, args...))
}

// uvarintLen returns the encoded length of n.
func uvarintLen(n uint64) int {
	l := 1
	for n >= 0x80 {
		n >>= 7
		l++
	}
	return l
}

// width returns the smallest of 1, 2, 4 and 8 bytes that holds n.
func width(n uint64) int {
	switch {
	case n <= math.MaxUint8:
		return 1
	case n <= math.MaxUint16:
		return 2
	case n <= math.MaxUint32:
		return 4
	}
	return 8
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendUints appends each number of a (all below 256^w) in w bytes.
func appendUints(dst []byte, a []uint32, w int) []byte {
	switch w {
	case 1:
		for _, v := range a {
			dst = append(dst, byte(v))
		}
	case 2:
		for _, v := range a {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(v))
		}
	default:
		for _, v := range a {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	}
	return dst
}
