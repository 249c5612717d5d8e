package timeline

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// docBytes returns the example bytes of doc.go, read from the file itself: those of each
// indented stretch. A comment follows three spaces or more.
func docBytes(t *testing.T) [][]byte {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, _ := strings.Cut(string(text), "# Example")
	var out [][]byte
	inside := false
	for line := range strings.Lines(examples) {
		data, ok := strings.CutPrefix(line, "//\t")
		if ok && !inside {
			out = append(out, nil)
		}
		if inside = ok; !ok {
			continue
		}
		data, _, _ = strings.Cut(data, "   ")
		b, err := hex.DecodeString(strings.Join(strings.Fields(data), ""))
		if err != nil && len(out) > 1 { // the first stretch is the events in words
			t.Fatalf("%q: %v", line, err)
		}
		out[len(out)-1] = append(out[len(out)-1], b...)
	}
	return out
}

// docExample returns the example of doc.go: the header, the row, the presence and the facts.
func docExample(t *testing.T) (header, row, presence, facts []byte) {
	t.Helper()
	b := docBytes(t)
	if len(b) != 6 {
		t.Fatalf("%d examples in doc.go", len(b))
	}
	facts = append(bytes.Clone(b[4]), make([]byte, 504)...)
	return b[1], b[2], b[3], append(facts, b[5]...)
}

func docEvents() (ID, []Property, *Events) {
	id := ID{Event: 21, Partition: Day(20453)}
	at := id.Partition.Start()
	e := &Events{Profiles: []uint32{3, 3, 65538}, Times: []int64{at + 10_000, at + 60_000, at + 30_000}, Columns: []Column{
		{Property: Property{16, Code}, Codes: []uint32{7, schema.NoCode, 9}},
		{Property: Property{17, Int}, Ints: []int64{1999, 999, 2999}},
	}}
	return id, []Property{{16, Code}, {17, Int}}, e
}

func TestGolden(t *testing.T) {
	header, row, presence, stored := docExample(t)
	id, properties, e := docEvents()
	gotHeader, gotRows, err := Build(id, properties, e)
	if err != nil {
		t.Fatal(err)
	}
	if len(gotRows) != 1 || !bytes.Equal(header, gotHeader) || !bytes.Equal(row, gotRows[0]) {
		t.Errorf("the builder makes\n% x\n% x\ndoc.go says\n% x\n% x", gotHeader, gotRows, header, row)
	}
	b := opened(t, header, [][]byte{row}, nil)
	if b.Part.ID() != id || b.Part.Len() != 3 || b.Part.Count(0) != 2 || b.Part.Count(1) != 1 {
		t.Errorf("%+v", b.Part)
	}
	got := &Events{}
	got.Reset(properties)
	if err := b.block(0).Events(got); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got.Profiles[i] != e.Profiles[i] || got.Times[i] != e.Times[i] || !got.Columns[0].valueAt(i).equal(e.Columns[0].valueAt(i)) ||
			!got.Columns[1].valueAt(i).equal(e.Columns[1].valueAt(i)) {
			t.Errorf("event %d is of profile %d at %d: %+v", i, got.Profiles[i], got.Times[i], got.Columns)
		}
	}
	days, err := Check(b.Source)
	if err != nil || len(days) != 1 || days[0].Day != 20453 || days[0].Events != 3 || !bytes.Equal(days[0].Presence, presence) {
		t.Errorf("the days are %x, %v; doc.go says\n% x", days, err, presence)
	}
	facts, err := new(FactsCollector).Collect([]Source{b.Source}, 0, 0, []schema.AttrID{17})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(facts[0], stored) {
		t.Errorf("facts are\n% x\ndoc.go says\n% x", facts[0], stored)
	}
	opened, err := OpenFacts(stored)
	if err != nil {
		t.Fatal(err)
	}
	var r FactsReader
	if err := r.readAll(opened); err != nil || r.Count[0] != 2 || r.First[0] != 20453 || r.Last[0] != 20453 ||
		r.value(0) != (Value{Count: 2, Min: 999, Max: 1999, Sum: Int128{Lo: 2998}}) {
		t.Errorf("%+v, %v", r.value(0), err)
	}
}
