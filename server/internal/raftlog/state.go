package raftlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"

	"github.com/kantadb/kanta/query"
)

// Keys of the store.
const (
	entryPrefix = 'e'
	stateKey    = "s"
	stableKey   = "v"
)

// entryKey appends the key of an entry.
func entryKey(dst []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, entryPrefix), index)
}

// entriesEnd is above the key of every entry.
func entriesEnd() []byte { return []byte{entryPrefix + 1} }

// entryIndex returns the index in the key of an entry.
func entryIndex(key []byte) (uint64, bool) {
	if len(key) != 9 || key[0] != entryPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

const (
	stateVersion = 1
	stateSize    = 1 + 16 + 6*8 + sumSize
)

// point is a place in the log. Term 0: it is not known.
type point struct{ index, term uint64 }

// state is what there is. The entries are those of (base.index, last].
type state struct {
	id     [16]byte
	base   point
	edge   point
	last   uint64
	commit uint64
}

// empty reports that there is no entry.
func (s *state) empty() bool { return s.last == s.base.index }

func appendState(dst []byte, s *state) []byte {
	start := len(dst)
	dst = append(append(dst, stateVersion), s.id[:]...)
	for _, v := range []uint64{s.base.index, s.base.term, s.edge.index, s.edge.term, s.last, s.commit} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// checkRecord verifies sum and version of a record, and returns what is between.
func checkRecord(what string, b []byte, version byte) ([]byte, error) {
	if len(b) < 1+sumSize {
		return nil, damaged("%s has %d bytes", what, len(b))
	}
	body := b[:len(b)-sumSize]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, damaged("%s fails its checksum", what)
	}
	if body[0] != version {
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s has version %d, this is a reader of version %d", what, body[0], version), Hint: "use a newer version of Kanta"}
	}
	return body[1:], nil
}

func decodeState(b []byte) (s state, err error) {
	const what = "the state of the Raft log"
	body, err := checkRecord(what, b, stateVersion)
	if err != nil {
		return s, err
	}
	if len(b) != stateSize {
		return s, damaged("%s has %d bytes", what, len(b))
	}
	copy(s.id[:], body)
	for i, to := range []*uint64{&s.base.index, &s.base.term, &s.edge.index, &s.edge.term, &s.last, &s.commit} {
		*to = binary.LittleEndian.Uint64(body[16+8*i:])
	}
	if s.last < s.base.index {
		return s, damaged("%s ends at %d and begins at %d", what, s.last, s.base.index)
	}
	return s, nil
}

const (
	stableVersion = 1
	// Raft has three stable values, a term, a term and an address.
	maxStable      = 64
	maxStableValue = 4096 // bytes, of keys and of values
)

// stable are the stable values.
type stable struct {
	sequence uint64
	values   map[string][]byte
}

func appendStable(dst []byte, s *stable) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(append(dst, stableVersion), s.sequence)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s.values)))
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(k))), k...)
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(s.values[k]))), s.values[k]...)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeStable(b []byte) (s stable, err error) {
	const what = "the term and vote of the Raft log"
	body, err := checkRecord(what, b, stableVersion)
	if err != nil {
		return s, err
	}
	if len(body) < 10 {
		return s, damaged("%s has %d bytes", what, len(b))
	}
	s.sequence, s.values = binary.LittleEndian.Uint64(body), map[string][]byte{}
	n := int(binary.LittleEndian.Uint16(body[8:]))
	body = body[10:]
	text := func() (out []byte, ok bool) {
		if len(body) < 2 {
			return nil, false
		}
		n := int(binary.LittleEndian.Uint16(body))
		if n > maxStableValue || n > len(body)-2 {
			return nil, false
		}
		out, body = body[2:2+n], body[2+n:]
		return out, true
	}
	before := ""
	for i := range n {
		k, ok := text()
		v, whole := text()
		if !ok || !whole || n > maxStable || i > 0 && string(k) <= before {
			return s, damaged("%s cannot be read", what)
		}
		before = string(k)
		s.values[before] = slices.Clone(v)
	}
	if len(body) > 0 || s.sequence == math.MaxUint64 {
		return s, damaged("%s cannot be read", what)
	}
	return s, nil
}
