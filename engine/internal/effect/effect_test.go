package effect

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// example is the outcome of the package comment.
func example() *Outcome {
	return &Outcome{Blocks: []Block{{Ords: []uint32{70000, 70001}, Columns: []Column{
		{Attr: 16, Class: Int, Ints: []int64{41, 0}, Absent: []bool{false, true}},
		{Attr: 17, Class: Code, Rows: []uint32{1}, Codes: []uint32{2}},
		{Attr: 18, Class: Set, Rows: []uint32{0, 0}, Codes: []uint32{Reset, 5 | Add}},
	}}}, Acts: []Acts{{20, Block{Ords: []uint32{70000}, Columns: []Column{
		{Attr: TimeColumn, Class: Int, Ints: []int64{1000}},
		{Attr: HashColumn, Class: Int, Ints: []int64{-1}},
		{Attr: 21, Class: Int, Ints: []int64{7}},
	}}}, {22, Block{Ords: []uint32{70001}, Columns: []Column{
		{Attr: TimeColumn, Class: Int, Ints: []int64{2000}},
		{Attr: HashColumn, Class: Int, Ints: []int64{-2}},
		{Attr: schema.PositionProperty, Class: Int, Ints: []int64{9}},
		{Attr: 17, Class: Code, Rows: []uint32{0}, Codes: []uint32{1}},
	}}}}, Claims: []Claim{{ID{1, 2, 0}, 0x0605_0403_0201}}}
}

// documented returns the bytes of the example in the package comment.
func documented(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text2, ok := strings.Cut(string(text), "# Worked example")
	if !ok {
		t.Fatal("the package comment has no example")
	}
	var out []byte
	for line := range strings.Lines(text2) {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		for _, field := range strings.Fields(line) {
			b, err := hex.DecodeString(field)
			if len(field) != 2 || err != nil {
				break
			}
			out = append(out, b...)
		}
	}
	return out
}

func TestGolden(t *testing.T) {
	want := documented(t)
	if got := Append(nil, example()); !reflect.DeepEqual(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	o, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if e := example(); !sameOutcome(o, e) {
		t.Fatalf("decoded %+v, want %+v", o, e)
	}
}

// sameOutcome compares what can be read, not how it is held.
func sameOutcome(a, b *Outcome) bool {
	if len(a.Blocks) != len(b.Blocks) || len(a.Acts) != len(b.Acts) || !slices.Equal(a.Claims, b.Claims) {
		return false
	}
	for i := range a.Blocks {
		if !sameBlock(&a.Blocks[i], &b.Blocks[i]) {
			return false
		}
	}
	for i := range a.Acts {
		if a.Acts[i].Event != b.Acts[i].Event || !sameBlock(&a.Acts[i].Block, &b.Acts[i].Block) {
			return false
		}
	}
	return true
}

func sameBlock(x, y *Block) bool {
	if len(x.Ords) != len(y.Ords) || len(x.Columns) != len(y.Columns) || len(x.Ords) > 0 && !reflect.DeepEqual(x.Ords, y.Ords) {
		return false
	}
	for j := range x.Columns {
		if !sameColumn(&x.Columns[j], &y.Columns[j]) {
			return false
		}
	}
	return true
}

func sameColumn(a, b *Column) bool {
	if a.Attr != b.Attr || a.Class != b.Class || a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if a.Row(i) != b.Row(i) {
			return false
		}
		if a.Class == Set {
			if a.Codes[i] != b.Codes[i] {
				return false
			}
			continue
		}
		if a.IsAbsent(i) != b.IsAbsent(i) {
			return false
		}
		if a.IsAbsent(i) {
			continue
		}
		if a.Class == Int && a.Ints[i] != b.Ints[i] || a.Class == Code && a.Codes[i] != b.Codes[i] ||
			a.Class == Bytes && string(a.Bytes(i)) != string(b.Bytes(i)) {
			return false
		}
	}
	return true
}

func randomOutcome(r *rand.Rand) *Outcome {
	o := &Outcome{}
	for range r.IntN(4) {
		b := Block{}
		first := r.Uint32N(1 << 22)
		scattered := r.IntN(2) == 0
		for i := range r.Uint32N(40) {
			ord := first + i
			if scattered {
				ord = r.Uint32()
			}
			b.Ords = append(b.Ords, ord)
		}
		for range r.IntN(5) {
			b.Columns = append(b.Columns, randomColumn(r, len(b.Ords)))
		}
		o.Blocks = append(o.Blocks, b)
	}
	for range r.IntN(3) {
		o.Acts = append(o.Acts, randomActs(r))
	}
	for range r.IntN(5) {
		o.Claims = append(o.Claims, Claim{ID{r.Uint64(), r.Uint64(), int32(r.Uint32())}, r.Uint64() >> (64 - ContentBits)})
	}
	return o
}

func randomActs(r *rand.Rand) Acts {
	a := Acts{Event: schema.EventID(r.Uint32N(1000))}
	times, hashes := Column{Attr: TimeColumn, Class: Int, Ints: []int64{}}, Column{Attr: HashColumn, Class: Int, Ints: []int64{}}
	for range 1 + r.IntN(20) {
		a.Ords = append(a.Ords, r.Uint32())
		times.Ints, hashes.Ints = append(times.Ints, r.Int64N(1<<40)), append(hashes.Ints, int64(r.Uint64()))
	}
	a.Columns = []Column{times, hashes}
	for range r.IntN(4) {
		c := randomColumn(r, len(a.Ords))
		if c.Absent == nil {
			a.Columns = append(a.Columns, c)
		}
	}
	return a
}

func randomColumn(r *rand.Rand, rows int) Column {
	c := Column{Attr: schema.AttrID(r.Uint32N(1 << r.IntN(20))), Class: Class(1 + r.IntN(4))}
	wide := 1 << r.IntN(30)
	spread := int64(1) << r.IntN(63)
	listed := r.IntN(2) == 0 && rows > 0
	if listed {
		c.Rows = []uint32{}
	}
	for row := range rows {
		times := 1
		if listed {
			times = r.IntN(2)
			if c.Class == Set {
				times = r.IntN(4)
			}
		}
		for range times {
			if listed {
				c.Rows = append(c.Rows, uint32(row))
			}
			switch absent := r.IntN(5) == 0; {
			case c.Class == Set:
				c.Codes = append(c.Codes, uint32(r.IntN(wide))|SetOp(r.IntN(3))<<30)
			case absent:
				c.AppendAbsent()
			case c.Class == Code:
				c.Codes = append(c.Codes, uint32(r.IntN(wide)))
			case c.Class == Int:
				c.AppendInt(r.Int64N(spread) - spread/2)
			default:
				c.AppendBytes([]byte(strings.Repeat("x", r.IntN(30))))
			}
		}
	}
	return c
}

func TestRoundTrip(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 3000 {
		want := randomOutcome(r)
		b := Append([]byte("before"), want)
		got, err := Decode(b[6:])
		if err != nil || !sameOutcome(got, want) {
			t.Fatalf("outcome %d: %v\n got %+v\nwant %+v", i, err, got, want)
		}
	}
}

func reseal(b []byte) []byte {
	body := b[:len(b)-4]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, castagnoli))
}

func TestNewerAndDamaged(t *testing.T) {
	good := Append(nil, example())
	newer := append([]byte(nil), good...)
	newer[0]++
	if _, err := Decode(reseal(newer)); !errors.Is(err, ErrNewer) {
		t.Errorf("version 2: %v", err)
	}
	for i := range 8 * len(good) {
		bad := append([]byte(nil), good...)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Decode(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// TestForgedCounts reads outcomes of a few bytes whose rows and values would be very many:
// as many as a batch can come to are read, more cost no memory.
func TestForgedCounts(t *testing.T) {
	if maxRows < batch.MaxRaw/2+batch.MaxCells || maxFree < 4*batch.MaxCells {
		t.Fatal("a batch can come to more than is read")
	}
	forged := func(rows uint64, columns ...string) []byte {
		b := binary.AppendUvarint([]byte{version, 1}, rows)
		b = append(b, 0, 0, byte(len(columns)))
		b = append(append(b, strings.Join(columns, "")...), 0, 0)
		return reseal(append(b, 0, 0, 0, 0))
	}
	const free, code = "\x10\x02\x00\x00\x00\x00", "\x10\x01\x00\x00" // no bytes for a value
	for _, test := range []struct {
		name string
		b    []byte
		ints uint64 // that are read, at most
		ok   bool
	}{
		{"all rows", forged(maxRows), 0, true},
		{"a row more", forged(maxRows + 1), 0, false},
		{"all values", forged(maxFree/4, free, free, free, free), maxFree, true},
		{"a value more", forged(maxFree/4+1, free, free, free, free), maxFree, false},
		{"everybody deleted", forged(maxRows, slices.Repeat([]string{"\x10\x02\x00\x01" + strings.Repeat("\xff", maxRows/8) + "\x00\x00"}, 3)...), 4 * maxRows, true},
		{"very many values", forged(maxRows, slices.Repeat([]string{free}, 12)...), maxFree, false},
		{"codes of no bytes", forged(1<<20, slices.Repeat([]string{code}, 12)...), 0, false},
		{"one wide number", forged(maxRows, "\x10\x02\x00\x00\x00\x08"), 0, false},
		{"one wide code", forged(maxRows, "\x10\x01\x00\x04"), 0, false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(test.b)
		runtime.ReadMemStats(&after)
		if test.ok != (err == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		// Each number is unpacked before it is kept.
		if took := after.TotalAlloc - before.TotalAlloc; took > 2*8*test.ints+4*maxRows+1<<20 {
			t.Errorf("%s: %d MiB of memory for %d bytes", test.name, took>>20, len(test.b))
		}
	}
}

// FuzzDecode decodes anything with a right checksum: no panic, no huge memory, and what
// is accepted comes out the same again.
func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, example()))
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		f.Add(Append(nil, randomOutcome(r)))
	}
	f.Add([]byte{1, 2, 0xff, 0xff, 0xff, 0x01, 0, 0, 1, 16, 2, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 5 {
			return
		}
		o, err := Decode(reseal(b))
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, o))
		if err != nil || !sameOutcome(o, again) {
			t.Fatalf("%v\n%+v\n%+v", err, o, again)
		}
	})
}
