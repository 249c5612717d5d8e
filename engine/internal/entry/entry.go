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
// # Format, version 2
//
// It raises the cluster version, which says by what rules the entries behind it are decided. A program that
// knows version 1 only takes it for what it is, the work of a newer one, and goes no further.
//
//	2 bytes   magic "KE"
//	1 byte    version: 2
//	uvarint   number of the cluster version
//	1 byte    length of what follows, 1 to 32
//	          the release of the time zones that it goes with
//	4 bytes   CRC-32C of all before, little endian
//
// Version 3 of the cluster with the time zones 2026a:
//
//	4b 45 02 03  magic, version, number
//	05 32 30 32 36 61  2026a
//	4e 83 d9 f2  CRC
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
	raises  = 2 // the version of an entry that raises that of the cluster
	crcSize = 4

	maxZones = 32 // bytes of the name of a release
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// Entry is an entry of the replicated log.
type Entry struct {
	Schema uint64 // the version of the schema by which the verdicts are
	Record record.Record

	Raise *query.ClusterVersion // what it raises the cluster version to; nil: it is a record
}

// Append encodes an entry behind dst.
func Append(dst []byte, e *Entry) []byte {
	start := len(dst)
	dst = append(append(dst, magic...), version)
	dst = binary.AppendUvarint(dst, e.Schema)
	dst = record.Append(dst, &e.Record)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// AppendRaise encodes an entry that raises the cluster version behind dst.
func AppendRaise(dst []byte, v query.ClusterVersion) []byte {
	start := len(dst)
	dst = append(append(dst, magic...), raises)
	dst = binary.AppendUvarint(dst, v.Number)
	dst = append(append(dst, byte(len(v.Zones))), v.Zones...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// decodeRaise reads what stands between the version and the checksum.
func decodeRaise(b []byte) (*query.ClusterVersion, bool) {
	number, n := binary.Uvarint(b)
	if n <= 0 || number == 0 || len(b) <= n {
		return nil, false
	}
	zones := b[n+1:]
	if len(zones) != int(b[n]) || len(zones) == 0 || len(zones) > maxZones {
		return nil, false
	}
	return &query.ClusterVersion{Number: number, Zones: string(zones)}, true
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
	switch v := body[len(magic)]; v {
	case version:
	case raises:
		if to, ok := decodeRaise(body[head:]); ok {
			return Entry{Raise: to}, nil
		}
		return Entry{}, corrupt
	default:
		return Entry{}, query.Errorf(query.CodeNewerFormat, "an entry of the replicated log has version %d, this is a reader of the versions %d and %d", v, version, raises)
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
