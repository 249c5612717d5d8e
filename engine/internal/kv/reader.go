package kv

import (
	"encoding/binary"

	"github.com/kantadb/kanta/query"
)

// Reader takes numbers and bytes off the front of a payload: what [Unseal] returned. What
// is not there is zero, and Bad from then on. The zero Reader has nothing.
type Reader struct {
	B   []byte // what is left
	Bad bool   // something was not there
}

// NewReader unseals a value that begins with a version, and returns what reads the rest.
func NewReader(sealed []byte, version byte) (Reader, error) {
	b, err := Unseal(sealed)
	r := Reader{B: b}
	if err != nil {
		return r, err
	}
	if v := r.Byte(); r.Bad {
		return r, query.Errorf(query.CodeCorrupt, "it is empty")
	} else if v != version {
		return r, query.Errorf(query.CodeNewerFormat, "it has version %d, this is a reader of version %d", v, version)
	}
	return r, nil
}

func (r *Reader) none() { r.Bad, r.B = true, nil }

// Uvarint takes a number as encoding/binary writes it.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.none()
		return 0
	}
	r.B = r.B[n:]
	return v
}

// Varint takes a signed number as encoding/binary writes it.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Byte takes a byte.
func (r *Reader) Byte() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Take takes n bytes, which alias the payload; nil if there are fewer.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.B)) {
		r.none()
		return nil
	}
	b := r.B[:n]
	r.B = r.B[n:]
	return b
}

// Text takes a string behind its length.
func (r *Reader) Text() string { return string(r.Take(r.Uvarint())) }
