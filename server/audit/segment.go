package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	magic   = "KANTAAUD"
	version = 1

	headerBytes = 8 + 2 + 6 + 16 + 8 + 8 + 8 + 32 + 4
	frameBytes  = 4 + 4 + sha256.Size // around a payload
)

var (
	errPayload = errors.New("it says what no record says")
	errTorn    = errors.New("its header is not whole")
)

// header begins a segment.
type header struct {
	store  [16]byte
	first  uint64
	made   time.Time
	until  time.Time         // of the record before
	before [sha256.Size]byte // of the record before
}

func (h *header) encode() []byte {
	b := append(make([]byte, 0, headerBytes), magic...)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = append(b, make([]byte, 6)...)
	b = append(b, h.store[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.made.UnixMilli()))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.until.UnixMilli()))
	b = append(b, h.before[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads a header; path is for the error of a later format.
func decodeHeader(b []byte, path string) (h header, err error) {
	if len(b) < headerBytes || string(b[:8]) != magic {
		return h, errTorn
	}
	sum := binary.LittleEndian.Uint32(b[headerBytes-4:])
	v := binary.LittleEndian.Uint16(b[8:])
	if v > version { // whose header may be another
		return h, newer(path, strconv.Itoa(int(v)))
	}
	copy(h.store[:], b[16:])
	h.first = binary.LittleEndian.Uint64(b[32:])
	made, until := binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])
	copy(h.before[:], b[56:])
	if sum != crc32.Checksum(b[:headerBytes-4], castagnoli) || v != version || !bytes.Equal(b[10:16], make([]byte, 6)) || h.first == 0 || made > maxTime || until > made {
		return h, errTorn
	}
	h.made, h.until = time.UnixMilli(int64(made)).UTC(), time.UnixMilli(int64(until)).UTC()
	return h, nil
}

// appendFrame frames a payload and returns the hash of the record.
func appendFrame(b, payload []byte, before [sha256.Size]byte) ([]byte, [sha256.Size]byte) {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, 0, 0, 0, 0)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[start+4:], sumOf(b[start:start+4], payload))
	hash := chain(before, payload)
	return append(b, hash[:]...), hash
}

func sumOf(length, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, payload)
}

// chain returns the hash of a record.
func chain(before [sha256.Size]byte, payload []byte) (out [sha256.Size]byte) {
	h := sha256.New()
	_, _ = h.Write(before[:]) // a hash takes everything
	_, _ = h.Write(payload)
	h.Sum(out[:0])
	return out
}

// frame returns the payload and the stored hash of the frame that b begins with, and how long
// it is; ok says that it is whole.
func frame(b []byte) (payload, hash []byte, size int, ok bool) {
	if len(b) < 4 {
		return nil, nil, 0, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n < fixedBytes || n > MaxRecordBytes || len(b) < frameBytes+n {
		return nil, nil, 0, false
	}
	payload, hash = b[8:8+n], b[8+n:frameBytes+n]
	return payload, hash, frameBytes + n, sumOf(b[:4], payload) == binary.LittleEndian.Uint32(b[4:])
}

// place is between two records of a segment.
type place struct {
	at     int64             // where the next one begins
	number uint64            // of the one before
	hash   [sha256.Size]byte // of the one before
	time   time.Time         // of the one before
}

// readBytes is how much of a segment is read at once.
const readBytes = 256 << 10

// scanner reads a segment from its first record on. It is for one goroutine.
type scanner struct {
	d     *dir
	name  string
	f     vfs.File
	end   int64 // nothing is read behind it
	buf   []byte
	begin int64 // where buf begins

	header header
	place         // behind the last record
	group  uint64 // of the last record: its first
	groups int64  // where the group of the last record begins, 0 before the first
}

// open reads the header of a segment. end bounds what is read, -1: all of it.
func (d *dir) open(first uint64, end int64) (_ *scanner, err error) {
	s := &scanner{d: d, name: segmentName(first), end: end}
	f, err := d.fs.Open(d.path(s.name))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	s.f = f
	if end < 0 {
		info, err := s.f.Stat()
		if err != nil {
			return nil, err
		}
		s.end = info.Size()
	}
	b, err := readAt(s.f, make([]byte, headerBytes), 0)
	if err != nil {
		return nil, err
	}
	if s.header, err = decodeHeader(b, d.path(s.name)); err != nil {
		return nil, err
	}
	if s.header.first != first {
		return nil, d.damaged(s.name, 0, 0, fmt.Sprintf("its name says that it begins with record %d, its header with %d", first, s.header.first))
	}
	s.place = place{at: headerBytes, number: first - 1, hash: s.header.before, time: s.header.made}
	return s, nil
}

func (s *scanner) close() error { return s.f.Close() }

// ahead returns at least so many of the next bytes, or all that are left.
func (s *scanner) ahead(n int) ([]byte, error) {
	have := s.buf[min(s.at-s.begin, int64(len(s.buf))):]
	if left := s.end - s.at; len(have) >= n || int64(len(have)) >= left {
		return have, nil
	}
	next := make([]byte, min(s.end-s.at, readBytes)) // records that were handed out keep nothing of it, but a new one is simplest
	got, err := readAt(s.f, next, s.at)
	s.buf, s.begin = got, s.at
	return got, err
}

// next reads a record. io.EOF: there is no more. errBroken: the next one is not whole, or does
// not fit to the one before.
func (s *scanner) next() (r Record, err error) {
	b, err := s.ahead(frameBytes + MaxRecordBytes)
	if err != nil {
		return r, err
	}
	if len(b) == 0 && s.at >= s.end {
		return r, io.EOF
	}
	payload, stored, size, ok := frame(b)
	if !ok {
		return r, s.broken("it is not whole, or was changed")
	}
	hash := chain(s.hash, payload)
	if !bytes.Equal(hash[:], stored) {
		return r, s.broken("its hash does not follow from the record before")
	}
	r, group, err := decode(payload)
	switch {
	case err != nil:
		return r, s.broken(err.Error())
	case r.Number != s.number+1:
		return r, s.broken(fmt.Sprintf("it has number %d", r.Number))
	case r.Time.Before(s.time):
		return r, s.broken("it is older than the record before")
	case group != s.group && group != r.Number:
		return r, s.broken("it is of a group that did not begin there")
	}
	if group != s.group {
		s.group, s.groups = group, s.at
	}
	s.place = place{at: s.at + int64(size), number: r.Number, hash: hash, time: r.Time}
	return r, nil
}

// errBroken is a record that cannot be read.
type errBroken struct{ what string }

func (e *errBroken) Error() string { return e.what }

func (s *scanner) broken(what string) error { return &errBroken{what} }

// damage makes of what next returned the error of a segment that must be whole.
func (s *scanner) damage(err error) error {
	var broken *errBroken
	if errors.As(err, &broken) {
		return s.d.damaged(s.name, s.number+1, s.at, broken.what)
	}
	return err
}

// torn reports whether the record that next could not read is one of the last group: no record
// behind it was written after it had been synced.
func (s *scanner) torn() (bool, error) {
	want := s.number + 1
	for at := s.at; at < s.end; {
		b, err := readAt(s.f, make([]byte, min(s.end-at, readBytes)), at)
		if err != nil {
			return false, err
		}
		last := at+int64(len(b)) >= s.end
		for i := range b {
			if !last && len(b)-i < frameBytes+MaxRecordBytes {
				b = b[:i]
				break
			}
			if payload, _, _, ok := frame(b[i:]); ok && binary.LittleEndian.Uint64(payload[8:]) > want {
				return false, nil
			}
		}
		if at += int64(len(b)); len(b) == 0 {
			break
		}
	}
	return true, nil
}
