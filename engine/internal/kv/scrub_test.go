package kv

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/keys"
)

// remains returns the kinds of files that hold a text.
func (s *Store) remains(t *testing.T, text string) (out []string) {
	t.Helper()
	files, size, err := s.Contents(t.Context(), 32, func(file string, key, b []byte) error {
		what := file[strings.LastIndexByte(file, '.')+1:]
		if key != nil {
			what += " row"
		}
		if bytes.Contains(b, []byte(text)) && !slices.Contains(out, what) {
			out = append(out, what)
		}
		return nil
	})
	if err != nil || files < 5 || size < 1000 {
		t.Fatalf("%d files, %d bytes: %v", files, size, err)
	}
	slices.Sort(out)
	return out
}

// TestScrub deletes and excises, which removes nothing, and scrubs, which does. If Pebble
// began to remove it by itself, much of Scrub could go.
func TestScrub(t *testing.T) {
	files := vfs.NewMem()
	s, err := Open("store", Config{FS: files, Cache: 1 << 20, MemTable: 1 << 20})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	row := func(unit, row uint32) []byte {
		return keys.Unit{Attr: 20 + unit, Generation: 1}.Row(keys.Block, row)
	}
	value := func(unit, row uint32) []byte {
		return []byte(strings.Repeat(fmt.Sprintf("the secret of unit %d, row %d. ", unit, row), 3))
	}
	rows := func(unit uint32) uint32 { return []uint32{1, 2, 1, 3, 1}[unit] }
	for unit := range uint32(5) {
		table, err := s.NewTable()
		must(t, err)
		for r := range rows(unit) {
			must(t, table.Set(row(unit, r), value(unit, r)))
		}
		must(t, table.Ingest(t.Context()))
	}
	must(t, s.rewrite(t.Context(), keys.Span{Start: around(row(0, 0)).Start, End: around(row(4, 0)).End})) // into one file
	set := func(v string) {
		b := s.NewBatch()
		b.Set(keys.Segment("s"), []byte(v))
		must(t, b.Commit(true))
		must(t, b.Close())
	}
	set("the secret of a segment")
	must(t, s.DB.Flush())
	set("nothing")
	for _, unit := range []uint32{1, 3} {
		must(t, s.Excise(keys.Unit{Attr: 20 + unit, Generation: 1}.Span()))
	}
	tables, err := s.tables()
	must(t, err)
	if !slices.ContainsFunc(tables, func(t pebble.SSTableInfo) bool { return t.Virtual }) {
		t.Fatal("no table was cut")
	}
	// Whether a text can be read in a table as it stands there depends on how its block was compressed.
	for text, kind := range map[string]string{"secret of a segment": "log", "secret of unit 1": "sst row", "secret of unit 3, row 2": "sst row"} {
		if before := s.remains(t, text); !slices.Contains(before, kind) || !slices.Contains(before, "sst row") {
			t.Fatalf("before: %q is in %q", text, before)
		}
	}
	must(t, s.Scrub(t.Context(), func(string) {}))
	if after := fmt.Sprint(s.remains(t, "secret of a segment"), s.remains(t, "secret of unit 1"), s.remains(t, "secret of unit 3")); after != "[] [] []" {
		t.Fatalf("after: %s", after)
	}
	for unit := range uint32(5) {
		for r := range rows(unit) {
			v, err := s.Get(row(unit, r))
			must(t, err)
			if want := value(unit, r); unit%2 == 0 && !bytes.Equal(v, want) || unit%2 == 1 && v != nil {
				t.Errorf("unit %d, row %d: %q", unit, r, v)
			}
		}
	}
	if v, err := s.Get(keys.Segment("s")); string(v) != "nothing" {
		t.Errorf("%q %v", v, err)
	}
}

// TestAround takes keys that are next to another one on both sides.
func TestAround(t *testing.T) {
	for _, k := range [][]byte{{1, 'a'}, keys.Segment("vips"), keys.Quarantine(256), keys.Quarantine(0), keys.Dict(1, 0xFFFFFF00), {5}} {
		s := around(k)
		if bytes.Compare(s.Start, k) >= 0 || bytes.Compare(k, s.End) >= 0 || len(s.Start) == len(k) && len(k) > 1 || len(s.End) == len(k) {
			t.Errorf("%x: %x", k, s)
		}
	}
}
