// Package record frames a log record: what a node adds to a batch when it accepts it.
//
// # Format, version 1
//
//	1 byte    version: 1
//	uvarint   received time, milliseconds since 1970
//	uvarint   origin: 0 unknown, or of no account: the embedding program;
//	          1 a caller of a server, then: strings id, name and role (uvarint length, bytes,
//	          at most 1,024 together), 1 byte what he may: 1 share segments of others
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
// The same of the caller "key 7" with the name "k" and the role "r", who may not:
//
//	01 80 90 92 82 e7 33 01  version, received, origin
//	05 6b 65 79 20 37 01 6b 01 72 00  the caller
//	02 56 21 4b 4e 54 42  as above
//	00 0a 31 2d  CRC
//
// The chain hash of a record is the first 16 bytes of SHA-256 over the chain hash of the
// record before it (16 zero bytes for the first) and the record's bytes.
package record

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/kantadb/kanta/query"
)

const version = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// Record is one entry of the log.
type Record struct {
	Received int64 // milliseconds since 1970
	Author   query.Author
	Verdicts []byte
	Batch    []byte
}

// The origins, and what an author may.
const (
	originNone   = 0
	originAuthor = 1
	mayShareAll  = 1
)

// MaxAuthor bounds the texts of an author, in bytes together: names of people and roles.
const MaxAuthor = 1024

// Append encodes a record behind dst.
func Append(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(r.Received))
	dst = appendAuthor(dst, &r.Author)
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
	c := cursor{b: b[1 : len(b)-4]}
	r := &Record{Received: int64(c.uvarint())}
	switch origin := c.uvarint(); {
	case c.bad:
	case origin == originAuthor:
		c.author(&r.Author)
	case origin != originNone:
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("a log record is of origin %d", origin), Hint: "use a newer version of Kanta"}
	}
	r.Verdicts = c.bytes()
	if r.Batch = c.b; c.bad {
		return nil, corrupt
	}
	return r, nil
}

func appendAuthor(dst []byte, a *query.Author) []byte {
	if a.ID == "" {
		return binary.AppendUvarint(dst, originNone)
	}
	dst = binary.AppendUvarint(dst, originAuthor)
	for _, text := range [...]string{a.ID, a.Name, a.Role} {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	if a.SharesAll {
		return append(dst, mayShareAll)
	}
	return append(dst, 0)
}

// cursor reads the fields of a record; bad says that one was not there.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes() []byte {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) author(a *query.Author) {
	a.ID, a.Name, a.Role = string(c.bytes()), string(c.bytes()), string(c.bytes())
	if c.bad || len(c.b) == 0 || c.b[0] > mayShareAll || a.ID == "" || len(a.ID)+len(a.Name)+len(a.Role) > MaxAuthor {
		c.bad, c.b = true, nil
		return
	}
	a.SharesAll, c.b = c.b[0] == mayShareAll, c.b[1:]
}

// Chain returns the chain hash of a record after the one before it.
func Chain(before [16]byte, record []byte) (h [16]byte) {
	d := sha256.New()
	d.Write(before[:])
	d.Write(record)
	copy(h[:], d.Sum(nil))
	return h
}
