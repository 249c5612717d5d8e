package keys

import (
	"bytes"
	"testing"
)

// FuzzKeys parses anything as a key of each kind: what is taken for one is one.
func FuzzKeys(f *testing.F) {
	f.Add(Dict(7, 9))
	f.Add(Record(5))
	f.Add(Repeat(1, 2, 3))
	f.Add(Kept(7))
	f.Add(Definition("rfm", "orders"))
	f.Add(Unit{1, 2, 3}.Row(Block, 4))
	f.Add(Table{1, 2}.Row(Page, 3))
	f.Add(Acts{1, 2, 3}.Key())
	f.Add(Part{1, 30, 2, 3, 4}.Row(Piece, 5))
	f.Add(Run{-1, 2}.Row(Filter, 3))
	f.Add(Facts{1, 2, 3}.Row(Block, 4))
	f.Fuzz(func(t *testing.T, k []byte) {
		same := func(again []byte) {
			if !bytes.Equal(again, k) {
				t.Fatalf("%x is taken for %x", k, again)
			}
		}
		if n, ok := ParseKept(k); ok {
			same(Kept(n))
		}
		if attr, code, ok := ParseDict(k); ok {
			same(Dict(attr, code))
		}
		if n, ok := ParseNumber(k); ok {
			same(append(k[:1:1], Record(n)[1:]...))
		}
		if source, run, sequence, ok := ParseRepeat(k); ok {
			same(Repeat(source, run, sequence))
		}
		if analysis, name, ok := ParseDefinition(k); ok {
			same(Definition(analysis, name))
		}
		if u, kind, row, ok := ParseUnit(k); ok {
			same(u.Row(kind, row))
		}
		if x, kind, page, ok := ParseTable(k); ok {
			same(x.Row(kind, page))
		}
		if a, ok := ParseActs(k); ok {
			same(a.Key())
		}
		if p, kind, row, ok := ParsePart(k); ok {
			same(p.Row(kind, row))
		}
		if r, kind, page, ok := ParseRun(k); ok {
			same(r.Row(kind, page))
		}
		if x, kind, row, ok := ParseFacts(k); ok {
			same(x.Row(kind, row))
		}
	})
}
