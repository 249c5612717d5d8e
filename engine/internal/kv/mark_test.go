package kv

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

const goldenStore = "000102030405060708090a0b0c0d0e0f"

func goldenMark() (id [16]byte, m Mark) {
	m = Mark{Epoch: 1, Applied: 300}
	for i := range id {
		id[i], m.Chain[i] = byte(i), byte(0xff-0x11*i)
	}
	return id, m
}

// TestMarkGolden pins the example of the package comment.
func TestMarkGolden(t *testing.T) {
	id, m := goldenMark()
	got := hex.EncodeToString(appendMark(nil, 7, id, m, fileList{9, 500}))
	const want = "4b4e544d01000000" + "0700000000000000" + "0100000000000000" + "2c01000000000000" +
		"ffeeddccbbaa99887766554433221100" + goldenStore +
		"0900000000000000" + "f401000000000000" + "d50633cb"
	if got != want {
		t.Fatalf("a mark is\n%s, want\n%s", got, want)
	}
}

// markFileOf is a file with marks of two sequence numbers.
func markFileOf(first, second uint64) []byte {
	b := make([]byte, markSlots*markSlot)
	id, m := goldenMark()
	for i, n := range []uint64{first, second} {
		m.Applied = n
		appendMark(b[i*markSlot:i*markSlot], n, id, m, fileList{n, 5})
	}
	return b
}

// TestMarkDamaged flips each bit of a slot: the other one holds, and is right; with both
// damaged there is none.
func TestMarkDamaged(t *testing.T) {
	for _, x := range []struct {
		slot         int
		newest, left uint64
		good         []byte
	}{{0, 8, 7, markFileOf(8, 7)}, {1, 9, 8, markFileOf(8, 9)}} {
		s, err := newestSlot(x.good, goldenStore)
		if err != nil || s.sequence != x.newest || s.mark.Applied != x.newest || s.list != (fileList{x.newest, 5}) {
			t.Fatalf("slot %d: %+v %v", x.slot, s, err)
		}
		for bit := range 8 * markSize {
			b := bytes.Clone(x.good)
			b[x.slot*markSlot+bit/8] ^= 1 << (bit % 8)
			if s, err := newestSlot(b, goldenStore); err != nil || s.sequence != x.left || s.mark.Applied != x.left {
				t.Fatalf("slot %d, bit %d: %+v %v", x.slot, bit, s, err)
			}
			b[(1-x.slot)*markSlot+bit/8] ^= 1 << (bit % 8)
			if _, err := newestSlot(b, goldenStore); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Fatalf("both slots, bit %d: %v", bit, err)
			}
		}
	}
}

// TestMarkOfAnother has marks that are whole, but not of this store, version or place.
func TestMarkOfAnother(t *testing.T) {
	reseal := func(b []byte) {
		binary.LittleEndian.PutUint32(b[markSize-4:], crc32.Checksum(b[:markSize-4], castagnoli))
	}
	newer := markFileOf(8, 9)
	newer[markSlot+4]++
	reseal(newer[markSlot:])
	if _, err := newestSlot(newer, goldenStore); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
	if _, err := newestSlot(markFileOf(8, 9), strings.ToUpper(goldenStore)); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
		t.Errorf("another store: %v", err)
	}
	if s, err := newestSlot(markFileOf(8, 10), goldenStore); s.sequence != 8 || err != nil {
		t.Errorf("a slot in the wrong place: %+v, %v", s, err)
	}
	for _, n := range []int{0, markSlot, 2*markSlot - 1, 2*markSlot + 1} {
		if _, err := newestSlot(append(markFileOf(8, 9), 0)[:n], goldenStore); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add(markFileOf(8, 9)[:markSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readSlot(b); err == nil && !bytes.Equal(appendMark(nil, s.sequence, s.id, s.mark, s.list), b[:markSize]) {
			t.Fatalf("%x is accepted and comes out as %+v", b, s)
		}
	})
}

// TestMarks writes marks, which must never go back, and finds the last one again.
func TestMarks(t *testing.T) {
	files := vfs.NewMem()
	s, err := Open("store", config(files))
	must(t, err)
	for i, at := range []uint64{1, 2, 5, 4, 5, 9} {
		must(t, s.WriteMark(Mark{Epoch: 1, Applied: at, Chain: [16]byte{byte(i)}}))
	}
	must(t, s.Close())
	f, err := files.Open("store/MARK")
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	for i, want := range []uint64{4, 5} {
		if s, err := readSlot(b[i*markSlot:]); s.sequence != want || s.list.number == 0 || err != nil {
			t.Errorf("slot %d is %+v, want sequence %d (%v)", i, s, want, err)
		}
	}
	c := config(files)
	c.ReadOnly = true
	s, err = Open("store", c)
	must(t, err)
	if m, err := s.Mark(); err != nil || m != (Mark{Epoch: 1, Applied: 9, Chain: [16]byte{5}}) {
		t.Errorf("the last mark is %+v (%v)", m, err)
	}
	if err := s.WriteMark(Mark{Epoch: 2}); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) {
		t.Errorf("a mark in a store that is open for reading: %v", err)
	}
	must(t, s.Close())
}
