package timeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
)

func TestVersionAndDamage(t *testing.T) {
	header, row, _, _ := docExample(t)
	newer := bytes.Clone(header)
	newer[4]++
	if _, err := Open(newer); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrCorrupt) {
		t.Errorf("version+1: %v", err)
	}
	for n := range header {
		if _, err := Open(header[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for bit := range 8 * len(header) {
		bad := bytes.Clone(header)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := Open(bad); err == nil {
			t.Errorf("opened with bit %d flipped", bit)
		}
	}
	if _, err := Open(append(bytes.Clone(header), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	p, err := Open(header)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(row) {
		bad := bytes.Clone(row)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := p.Verify(0, bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("verified with bit %d flipped", bit)
		}
		if _, err := Check(InMemory(p, [][]byte{bad})); !errors.Is(err, ErrCorrupt) {
			t.Errorf("checked with bit %d flipped: %v", bit, err)
		}
	}
	if err := p.Verify(0, row[:len(row)-1]); !errors.Is(err, ErrCorrupt) {
		t.Error("a row cut short is verified")
	}
	if _, err := Check(InMemory(p, nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no rows: %v", err)
	}
}

// resealed returns a header with its checksum made right.
func resealed(header []byte) []byte {
	binary.LittleEndian.PutUint32(header[8:], checksum(header))
	return header
}

// TestHeaderHostile has headers with a good checksum and bad content. The offsets are
// those of the example in doc.go.
func TestHeaderHostile(t *testing.T) {
	good, _, _, _ := docExample(t)
	for name, change := range map[string]func(b []byte){
		"days":                 func(b []byte) { b[5] = 2 },
		"span not by floor":    func(b []byte) { b[5] = 30 },
		"properties":           func(b []byte) { b[6] = 3 },
		"too many properties":  func(b []byte) { b[7] = 0xff },
		"shard":                func(b []byte) { b[17] = 0x10 },
		"day":                  func(b []byte) { b[23] = 0x7f },
		"events":               func(b []byte) { b[24] = 4 },
		"too many events":      func(b []byte) { b[27] = 0x7f },
		"reserved":             func(b []byte) { b[28] = 1 },
		"class":                func(b []byte) { b[33] = 5 },
		"chunk counts":         func(b []byte) { b[36] = 1 },
		"first in other chunk": func(b []byte) { b[36], b[37] = 0, 3 },
		"last in other chunk":  func(b []byte) { b[37], b[38] = 0, 1 },
		"ordinal":              func(b []byte) { b[55] = 0x7f },
		"no runs":              func(b []byte) { b[56] = 0 },
		"one run":              func(b []byte) { b[56] = 1 },
		"more runs":            func(b []byte) { b[56] = 4 },
		"gap width":            func(b []byte) { b[57] = 17 },
		"no times":             func(b []byte) { b[58] = 0 },
		"a time is absent":     func(b []byte) { b[58] = 2 },
		"time before":          func(b []byte) { b[59] |= 1 },
		"code below 0":         func(b []byte) { b[66] |= 1 },
		"code count":           func(b []byte) { b[65] = 4 },
		"rows":                 func(b []byte) { b[74] = 2 },
		"no stretch":           func(b []byte) { b[79] = 0 },
		"more stretches":       func(b []byte) { b[79] = 5 },
		"column":               func(b []byte) { b[80] = 9 },
		"column twice":         func(b []byte) { b[82] = 0 },
		"no blocks":            func(b []byte) { b[81] = 0 },
		"more blocks":          func(b []byte) { b[81] = 2 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := Open(resealed(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(resealed(bytes.Clone(good))); err != nil {
		t.Error(err)
	}
	for name, b := range map[string][]byte{
		"unit 0":           slices.Concat(good[:63], []byte{0}, good[65:]),
		"a long number":    slices.Concat(good[:58], []byte{0x83, 0}, good[59:]),
		"column not there": slices.Concat(good[:79], []byte{3}, good[80:86]),
		"bytes too many":   append(bytes.Clone(good), 0),
		"an empty row":     slices.Concat(good[:74], []byte{2}, good[75:], []byte{0, 0, 0, 0, 0}),
		"an empty stretch": slices.Concat(good[:79], []byte{5}, good[80:], []byte{0, 0}),
	} {
		if _, err := Open(resealed(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRowHostile has rows that break a rule that readers rely on, as if their checksum
// were right.
func TestRowHostile(t *testing.T) {
	header, row, _, _ := docExample(t)
	f := func(name string, header, row []byte) {
		t.Helper()
		p, err := Open(header)
		if err != nil {
			t.Fatal(err)
		}
		whole := Scan{From: p.first, To: p.last + 1, Where: All{Has(16)}.Where}
		var c Cursor
		var failed error
		for i := range 4 {
			if whole.Chunk = i & 1; i == 2 {
				whole.Where = nil
			}
			for c.Reset([]Source{InMemory(p, [][]byte{row})}, whole); c.Next(); {
			}
			if c.Err() != nil {
				failed = c.Err()
			}
		}
		if !errors.Is(failed, ErrCorrupt) {
			t.Errorf("%s: %v", name, failed)
		}
	}
	changed := func(row []byte, at int, b ...byte) []byte {
		row = bytes.Clone(row)
		copy(row[at:], b)
		return row
	}
	f("three runs", header, changed(row, 0, 7))
	f("a chunk begins within a run", header, changed(row, 0, 3))
	f("the block begins within a run", header, changed(row, 0, 6))
	f("the last profile too high", header, changed(row, 1, 0x0c))
	f("the last profile too low", header, changed(row, 1, 4))
	f("presence", header, changed(row, 4, 7))
	f("a row too short", header, row[1:])
	b := build(t, ID{Partition: Day(0)}, []Property{{16, Code}}, []event{{profile: 0}, {profile: 60_000}, {profile: 65_541}})
	f("a profile of the next chunk", b.header, changed(b.rows[0], 2, 0xff, 0xff))
	b = build(t, ID{Partition: Day(0)}, []Property{{16, Code}}, []event{{profile: 0}, {profile: 0}, {profile: 65_536}})
	f("a run too many, no gaps", b.header, changed(b.rows[0], 0, 7))
}

// TestBlocksHostile has blocks of package column that are good, but not for their piece.
func TestBlocksHostile(t *testing.T) {
	two := func(p Property, v, w value) built {
		return build(t, ID{Partition: Day(0)}, []Property{p}, []event{
			{values: map[schema.AttrID]value{p.ID: v}}, {values: map[schema.AttrID]value{p.ID: w}}})
	}
	text := two(Property{18, Text}, value{ok: true, text: "ab"}, value{ok: true, text: "c"})
	copy(text.rows[0], column.EncodeStrings(nil, [][]byte{[]byte("ab"), nil}))
	if _, err := text.block(0).Texts(18); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a string is absent: %v", err)
	}
	longer := two(Property{18, Text}, value{ok: true, text: "abc"}, value{ok: true, text: "def"})
	copy(longer.rows[0], column.EncodeStrings(nil, [][]byte{[]byte("ab"), nil, []byte("c")}))
	if _, err := longer.block(0).Texts(18); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a string too many: %v", err)
	}
	copy(text.rows[0], "x")
	if _, err := text.block(0).Texts(18); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no block: %v", err)
	}
	set := two(Property{19, Set}, value{ok: true, set: []uint32{1}}, value{ok: true, set: []uint32{1}})
	copy(set.rows[0], column.EncodeSets(nil, []uint32{1, 1, 2}, []uint32{1, 1}))
	if _, err := set.block(0).Sets(19); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a set too many: %v", err)
	}
	copy(set.rows[0], "x")
	if _, err := set.block(0).Sets(19); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no block: %v", err)
	}
}

// TestCheck has a directory that says too much and a row with bits that nobody reads, of
// values that are right.
func TestCheck(t *testing.T) {
	header, row, _, _ := docExample(t)
	p, err := Open(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Check(InMemory(p, [][]byte{row})); err != nil {
		t.Error(err)
	}
	loose := bytes.Clone(row)
	loose[1] |= 0x10 // beyond the two gaps
	p.rows[0].crc = crc32.Checksum(loose, castagnoli)
	if _, err := Check(InMemory(p, [][]byte{loose})); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	p.rows[0].crc = crc32.Checksum(row, castagnoli)
	p.column(2)[0].top++ // the same width
	if _, err := Check(InMemory(p, [][]byte{row})); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// TestOverflow has pieces whose greatest value would not fit.
func TestOverflow(t *testing.T) {
	b := build(t, ID{Partition: Day(0)}, []Property{{16, Code}, {17, Int}}, []event{{}, {time: 1}})
	f := func(column int, change func(p *piece)) {
		t.Helper()
		part := *b.Part
		part.pieces = slices.Clone(part.pieces)
		p := &part.column(column)[0]
		p.count = 2
		change(p)
		header := appendHeader(nil, &part, [][]extent{{{0, 1}, {1, 1}, {2, 1}, {3, 1}}})
		if _, err := Open(header); !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	}
	f(3, func(p *piece) { p.min, p.top, p.unit = 1, math.MaxInt64, 1 })
	f(3, func(p *piece) { p.min, p.top, p.unit = 0, 1<<40, 1<<40 })
	f(3, func(p *piece) { p.min, p.top, p.unit = math.MinInt64, math.MaxUint64, 2 })
	f(2, func(p *piece) { p.min, p.top, p.unit = 0, math.MaxUint32, 1 })
	f(2, func(p *piece) { p.min, p.top, p.unit = math.MaxUint32, 0, 1 })
	f(1, func(p *piece) { p.min, p.top, p.unit = 0, uint64(msPerDay), 1 })
}

// use reads all that a part seems to have, in every way. Nothing of it may panic.
func use(t *testing.T, s Source) {
	t.Helper()
	var c Cursor
	var counts Counts
	var ends Ends
	var values Values
	var moments Moments
	var within bitmap.Words
	for i := range 8 { // few, so that what is folded takes little time to clear
		within[i] = 0x5555_5555_5555_5555
	}
	from, to := s.Part.Times()
	where := All{InCodes(16, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89), In(17, Range{-1000, 1000}).Not(), Has(20)}.Where
	ends.Reset(&within)
	moments.Reset(&within)
	values.Reset(17, &within)
	for _, scan := range []Scan{{From: from, To: to + 1}, {From: from + 1, To: to}, {From: from + 1, To: to + 1, Within: &within, Where: where},
		{From: from + 1, To: to + 1, Within: &within, One: true, Profile: 4, Where: where}} {
		for chunk := range bitmap.ShardChunks {
			scan.Chunk = chunk
			for c.Reset([]Source{s}, scan); c.Next(); {
				counts.Add(&c.Batch)
				if scan.Within == nil {
					continue
				}
				for _, err := range []error{ends.Add(&c.Batch), moments.Add(&c.Batch), values.Add(&c.Batch)} {
					wanted(t, err)
				}
			}
			wanted(t, c.Err())
		}
	}
	moments.Sort()
	_, err := Check(s)
	wanted(t, err)
}

// wanted accepts success and the errors that reading may have: a forged header may say
// that a property is of another class than it is read as.
func wanted(t *testing.T, err error) {
	t.Helper()
	if err != nil && !strings.Contains(err.Error(), "is of class") && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
		t.Fatal(err)
	}
}

// fuzzParts returns small parts for seeds.
func fuzzParts(f *testing.F) []built {
	r := rand.New(rand.NewPCG(1, 1))
	var parts []built
	for _, n := range []int{0, 1, 2, 10, 70} {
		p := Day(100)
		parts = append(parts, build(f, ID{Event: 1, Partition: p}, allProperties()[:5], randomEvents(r, p, allProperties()[:5], n)))
	}
	return parts
}

func FuzzHeader(f *testing.F) {
	for _, b := range fuzzParts(f) {
		f.Add(b.header, bytes.Join(b.rows, nil))
	}
	f.Fuzz(func(t *testing.T, header, content []byte) {
		if len(header) >= fixedBytes {
			header = resealed(bytes.Clone(header)) // else the checksum is all that is tested
		}
		p, err := Open(header)
		if err != nil {
			wanted(t, err)
			return
		}
		if p.Size() > 1<<20 {
			return // a row of many bytes is legal, and no test
		}
		var rows [][]byte
		for i := range p.rows {
			row := make([]byte, p.rows[i].size)
			content = content[copy(row, content):]
			p.rows[i].crc = crc32.Checksum(row, castagnoli)
			rows = append(rows, row)
		}
		use(t, InMemory(p, rows))
	})
}

// FuzzBlock has good headers and bad rows.
func FuzzBlock(f *testing.F) {
	parts := fuzzParts(f)
	for i, b := range parts {
		f.Add(byte(i), bytes.Join(b.rows, nil))
	}
	f.Fuzz(func(t *testing.T, which byte, content []byte) {
		b := parts[int(which)%len(parts)]
		p, err := Open(b.header)
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]byte
		for i := range p.rows {
			row := bytes.Clone(b.rows[i])
			content = content[copy(row, content):]
			p.rows[i].crc = crc32.Checksum(row, castagnoli)
			rows = append(rows, row)
		}
		use(t, InMemory(p, rows))
	})
}
