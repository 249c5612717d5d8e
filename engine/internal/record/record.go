// Package record frames a log record: what a node adds to a batch when it accepts it.
//
// # Format, version 1
//
//	1 byte    version: 1
//	uvarint   received time, milliseconds since 1970
//	uvarint   origin: 0 embedded
//	uvarint   length of the verdicts, then the verdicts (package quality)
//	rest      the caller's batch, untouched
//	4 bytes   CRC-32C of all before, little endian
//
// # Worked example
//
// Received at 1,780,000,000,000, verdicts "V!", batch "KNTB":
//
//	01 80 90 92 82 e7 33 00  version, received, origin
//	02 56 21  the verdicts
//	4b 4e 54 42  the batch
//	b7 5c aa 04  CRC
//
// The chain hash of a record is the first 16 bytes of SHA-256 over the chain hash of the
// record before it (16 zero bytes for the first) and the record's bytes.
package record

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/kantadb/kanta/query"
)

const version = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// Record is one entry of the log.
type Record struct {
	Received int64 // milliseconds since 1970
	Origin   uint64
	Verdicts []byte
	Batch    []byte
}

// Append encodes a record behind dst.
func Append(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(r.Received))
	dst = binary.AppendUvarint(dst, r.Origin)
	dst = binary.AppendUvarint(dst, uint64(len(r.Verdicts)))
	dst = append(append(dst, r.Verdicts...), r.Batch...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// Decode verifies and reads a record; it aliases b.
func Decode(b []byte) (*Record, error) {
	corrupt := query.Errorf(query.CodeCorrupt, "a log record is damaged")
	if len(b) < 8 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, corrupt
	}
	if b[0] != version {
		return nil, query.Errorf(query.CodeNewerFormat, "a log record has version %d, this is a reader of version %d", b[0], version)
	}
	b = b[1 : len(b)-4]
	var fields [3]uint64
	for i := range fields {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, corrupt
		}
		fields[i], b = v, b[n:]
	}
	if fields[2] > uint64(len(b)) {
		return nil, corrupt
	}
	return &Record{Received: int64(fields[0]), Origin: fields[1], Verdicts: b[:fields[2]], Batch: b[fields[2]:]}, nil
}

// Chain returns the chain hash of a record after the one before it.
func Chain(before [16]byte, record []byte) (h [16]byte) {
	d := sha256.New()
	d.Write(before[:])
	d.Write(record)
	copy(h[:], d.Sum(nil))
	return h
}
