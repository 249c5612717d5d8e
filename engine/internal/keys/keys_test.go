package keys

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func number(r *rand.Rand) uint32 {
	return []uint32{0, 1, 255, 256, math.MaxUint32 - 1, math.MaxUint32, r.Uint32()}[r.IntN(7)]
}

// TestParts is TestUnits of events' manifests and parts, which ascend by day.
func TestParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	random := func() Part {
		return Part{int32(number(r)), uint8(number(r)), number(r), number(r), uint64(number(r)) << (r.IntN(2) * 32)}
	}
	for range 20000 {
		a, row := random(), number(r)
		k := a.Row(Piece, row)
		if p, kind, got, ok := ParsePart(k); !ok || p != a || kind != Piece || got != row {
			t.Fatalf("%+v: parsed %+v %d %d", a, p, kind, got)
		}
		b := a
		if r.IntN(2) == 0 {
			b = random()
		}
		k = b.Row(Header, 0)
		if a.Span().Has(k) != (a == b) || !Parts().Has(k) || a.FirstDay < b.FirstDay && bytes.Compare(a.Row(Piece, row), k) >= 0 {
			t.Fatalf("%+v and %+v", a, b)
		}
		m := Acts{a.Event, a.Shard, a.Number}
		n := Acts{a.Event, a.Shard, b.Number}
		if got, ok := ParseActs(n.Key()); !ok || got != n || m.Span().Has(n.Key()) != (m == n) || !AllActs().Has(n.Key()) ||
			m.Generation > n.Generation && bytes.Compare(m.Key(), n.Key()) >= 0 || bytes.Compare(n.Key(), m.AfterShard()) >= 0 {
			t.Fatalf("%+v and %+v", m, n)
		}
		x, y := Run{a.FirstDay, a.Number}, Run{b.FirstDay, b.Number}
		k = y.Row(Filter, row)
		if got, kind, page, ok := ParseRun(k); !ok || got != y || kind != Filter || page != row || x.Span().Has(k) != (x == y) || !Runs().Has(k) ||
			x.Day < y.Day && bytes.Compare(x.Row(Filter, row), k) >= 0 {
			t.Fatalf("%+v and %+v", x, y)
		}
	}
}

// TestUnits checks that parsing is the inverse, that a span holds its own rows and no
// other's, and that the newest generation of a unit comes first.
func TestUnits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a := Unit{number(r), number(r), uint64(number(r)) << (r.IntN(2) * 32)}
		b := a
		switch r.IntN(4) {
		case 0:
			b.Attr = number(r)
		case 1:
			b.Shard = number(r)
		case 2:
			b.Generation = uint64(number(r))
		}
		kind, row := Kind(r.IntN(5)), number(r)
		k := b.Row(kind, row)
		u, gotKind, gotRow, ok := ParseUnit(k)
		if !ok || u != b || gotKind != kind || gotRow != row {
			t.Fatalf("%+v %d %d: parsed %+v %d %d", b, kind, row, u, gotKind, gotRow)
		}
		if a.Span().Has(k) != (a == b) || !Base().Has(k) || BaseOf(a.Attr).Has(k) != (a.Attr == b.Attr) {
			t.Fatalf("spans of %+v and %x", a, k)
		}
		same := a.Attr == b.Attr && a.Shard == b.Shard
		if after := a.AfterShard(); same && bytes.Compare(k, after) >= 0 {
			t.Fatalf("%+v comes before %x", b, after)
		}
		if same && a.Generation > b.Generation && bytes.Compare(a.Row(4, math.MaxUint32), k) >= 0 {
			t.Fatalf("generation %d does not come before %d", a.Generation, b.Generation)
		}
		table := Table{a.Attr, a.Generation}
		other := Table{b.Attr, b.Generation}
		k = other.Row(Page, row)
		if got, gotKind, page, ok := ParseTable(k); !ok || got != other || gotKind != Page || page != row {
			t.Fatalf("%+v: parsed %+v", other, got)
		}
		if table.Span().Has(k) != (table == other) || TablesOf(table.Attr).Has(k) != (table.Attr == other.Attr) || !Tables().Has(k) {
			t.Fatalf("spans of %+v and %x", table, k)
		}
	}
}

func TestFacts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		a := Facts{number(r), number(r), uint64(number(r))}
		b := a
		switch r.IntN(4) {
		case 0:
			b.Event = number(r)
		case 1:
			b.Shard = number(r)
		case 2:
			b.Number = uint64(number(r))
		}
		row := number(r)
		k := b.Row(Block, row)
		if got, kind, gotRow, ok := ParseFacts(k); !ok || got != b || kind != Block || gotRow != row {
			t.Fatalf("%+v %d: parsed %+v %d %d", b, row, got, kind, gotRow)
		}
		if a.Span().Has(k) != (a == b) || !AllFacts().Has(k) {
			t.Fatalf("spans of %+v and %x", a, k)
		}
	}
	if _, _, _, ok := ParseFacts(Part{}.Row(Header, 0)); ok {
		t.Error("a part is taken for facts")
	}
}

func TestOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		attr, code, n := number(r), number(r), uint64(number(r))<<(r.IntN(2)*32)
		if a, c, ok := ParseDict(Dict(attr, code)); !ok || a != attr || c != code || !DictOf(attr).Has(Dict(attr, code)) || DictOf(attr).Has(Dict(attr+1, code)) {
			t.Fatal(attr, code)
		}
		for _, k := range [][]byte{Record(n), Outcome(n), Quarantine(n)} {
			if got, ok := ParseNumber(k); !ok || got != n {
				t.Fatal(n, got)
			}
		}
		source, run, sequence, ok := ParseRepeat(Repeat(n, 7, 8))
		if !ok || source != n || run != 7 || sequence != 8 || !RepeatsOf(n).Has(Repeat(n, 7, 8)) || RepeatsOf(n).Has(Repeat(n+1, 7, 8)) {
			t.Fatal(n)
		}
		m := uint64(number(r))
		if (n < m) != (bytes.Compare(Outcome(n), Outcome(m)) < 0) {
			t.Fatalf("outcomes %d and %d are out of order", n, m)
		}
	}
	if Name(Segment("søk")) != "søk" || Name(List("l")) != "l" || !Segments().Has(Segment("")) || Lists().Has(Segment("x")) {
		t.Fatal("names")
	}
	for _, k := range [][]byte{nil, {0x10}, bytes.Repeat([]byte{0x10}, 23), bytes.Repeat([]byte{9}, 22)} {
		if _, _, _, ok := ParseUnit(k); ok {
			t.Errorf("%x is taken for a unit", k)
		}
		if _, _, _, ok := ParseTable(k); ok {
			t.Errorf("%x is taken for a table", k)
		}
		if _, _, ok := ParseDict(k); ok {
			t.Errorf("%x is taken for a dictionary string", k)
		}
	}
}

// TestPrefixes pins the prefixes: they are a format.
func TestPrefixes(t *testing.T) {
	for want, k := range map[byte][]byte{0x01: Meta("x"), 0x03: Schema(), 0x04: Dict(1, 1), 0x05: Record(1), 0x06: Outcome(1), 0x07: Repeat(1, 1, 1),
		0x08: Segment("x"), 0x09: List("x"), 0x0A: Quarantine(1), 0x0F: Document("x"), 0x10: Unit{}.Row(Manifest, 0), 0x11: Table{}.Row(Page, 0), 0x20: Acts{}.Key(), 0x21: Part{}.Row(Header, 0), 0x22: Run{}.Row(Page, 0), 0x23: RunManifest(),
		0x24: Facts{}.Row(Block, 0)} {
		if k[0] != want {
			t.Errorf("%x has the prefix %#x, want %#x", k, k[0], want)
		}
	}
}

// TestDefinitions: an analysis and a name are told apart, and spans hold nothing else.
func TestDefinitions(t *testing.T) {
	for _, d := range [][2]string{{"rfm", "orders"}, {"rfm", ""}, {"rf", "morders"}, {"a", "\u00ff"}} {
		k := Definition(d[0], d[1])
		analysis, name, ok := ParseDefinition(k)
		if !ok || analysis != d[0] || name != d[1] || !Definitions().Has(k) || Lists().Has(k) || Quarantined(0).Has(k) {
			t.Errorf("%q: %q %q %v", k, analysis, name, ok)
		}
	}
	for _, k := range [][]byte{nil, List("x"), {pDefinition}} {
		if _, _, ok := ParseDefinition(k); ok || len(k) > 1 && Definitions().Has(k) {
			t.Errorf("%q is a definition", k)
		}
	}
}
