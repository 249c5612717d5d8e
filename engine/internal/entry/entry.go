// Package entry frames an entry of the log that replicas share: a log record as the replica
// that took the batch would write it, and what the others must know to decide it alike.
//
// # Format, version 1
//
//	2 bytes   magic "KE"
//	1 byte    version: 1
//	uvarint   version of the schema by which stage 1 looked at the batch
//	rest      the log record (package record), with a checksum of its own
//	4 bytes   CRC-32C of all before, little endian
//
// An entry is no record yet: it has no position, and where its turn comes at another version of
// the schema it becomes none. The received time of the record is what the clock of the replica
// said that took the batch; the record that comes of it has the one before it if that is later.
//
// # Worked example
//
// Schema version 300, and the record of the worked example of package record:
//
//	4b 45 01 ac 02  magic, version, schema version
//	01 80 90 92 82 e7 33 00  the record
//	02 56 21
//	4b 4e 54 42
//	b7 5c aa 04
//	3d 93 0d 8c  CRC
package entry

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

const (
	magic   = "KE"
	version = 1
	crcSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// Entry is an entry of the replicated log.
type Entry struct {
	Schema uint64 // the version of the schema by which the verdicts are
	Record record.Record
}

// Append encodes an entry behind dst.
func Append(dst []byte, e *Entry) []byte {
	start := len(dst)
	dst = append(append(dst, magic...), version)
	dst = binary.AppendUvarint(dst, e.Schema)
	dst = record.Append(dst, &e.Record)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// Decode verifies and reads an entry; it aliases b.
func Decode(b []byte) (Entry, error) {
	corrupt := query.Errorf(query.CodeCorrupt, "an entry of the replicated log is damaged")
	const head = len(magic) + 1
	if len(b) < head+1+crcSize || string(b[:len(magic)]) != magic {
		return Entry{}, corrupt
	}
	body := b[:len(b)-crcSize]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return Entry{}, corrupt
	}
	if v := body[len(magic)]; v != version {
		return Entry{}, query.Errorf(query.CodeNewerFormat, "an entry of the replicated log has version %d, this is a reader of version %d", v, version)
	}
	schema, n := binary.Uvarint(body[head:])
	if n <= 0 {
		return Entry{}, corrupt
	}
	r, err := record.Decode(body[head+n:])
	if err != nil {
		return Entry{}, err
	}
	return Entry{Schema: schema, Record: *r}, nil
}
