package raftlog

import (
	"bytes"
	"hash/crc32"
	"testing"
)

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// FuzzEntry reads anything as an entry: what is accepted is written as the same bytes.
func FuzzEntry(f *testing.F) {
	b, _ := appendEntry(nil, entry(3, 2), 7)
	f.Add(uint64(3), b)
	f.Add(uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, index uint64, b []byte) {
		l, at, err := decodeEntry(index, b)
		if err == nil {
			if got, sum := appendEntry(nil, &l, at.previous); !bytes.Equal(got, b) || sum != at.sum {
				t.Fatalf("%x is accepted and comes out as %x", b, got)
			}
		}
		if len(b) < entryHead { // and as one whose sum is right
			return
		}
		sum := entrySum(index, b)
		b = append(bytes.Clone(b), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
		if l, at, err := decodeEntry(index, b); err == nil {
			if got, _ := appendEntry(nil, &l, at.previous); !bytes.Equal(got, b) {
				t.Fatalf("%x is accepted and comes out as %x", b, got)
			}
		}
	})
}

// FuzzRecords reads anything as state, stable values and marks.
func FuzzRecords(f *testing.F) {
	f.Add(appendState(nil, &state{base: point{3, 2}, last: 9, commit: 8}))
	f.Add(appendStable(nil, &stable{4, map[string][]byte{"a": nil, "b": {1}}}))
	f.Add(appendSlot(nil, 2, &slot{sequence: 3, mark: mark{last: 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := crcOf(b)
		for _, b := range [][]byte{b, append(bytes.Clone(b), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))} {
			if s, err := decodeState(b); err == nil && !bytes.Equal(appendState(nil, &s), b) {
				t.Fatalf("state %x comes out otherwise", b)
			}
			if s, err := decodeStable(b); err == nil && !bytes.Equal(appendStable(nil, &s), b) {
				t.Fatalf("stable values %x come out otherwise", b)
			}
			if s, ok, _ := readSlot(2, b); ok && !bytes.Equal(appendSlot(nil, 2, &s), b[:markSize]) {
				t.Fatalf("slot %x comes out otherwise", b)
			}
		}
	})
}
