package batch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// example is the batch of the package comment.
func example(t testing.TB) (Batch, plainBatch) {
	b := New()
	b.Source("crm", 7, 1)
	b.Upsert("ann").Set("age", schema.IntValue(41)).Set("city", schema.StringValue("Rome")).Add("likes", "tea", "jazz")
	b.Upsert("bob").Set("age", schema.IntValue(37)).Set("city", schema.StringValue("Oslo"))
	b.Upsert("cat").Set("city", schema.StringValue("Rome"))
	b.Delete("dan")
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	set := func(v schema.Value) []plainCell { return []plainCell{{VerbSet, v}} }
	return enc, plainBatch{source: "crm", run: 7, sequence: 1, ops: []plainOp{
		{code: OpUpsert, rows: []plainRow{
			{key: "ann", cells: map[string][]plainCell{"age": set(schema.IntValue(41)), "city": set(schema.StringValue("Rome")), "likes": {{VerbAdd, schema.SetValue("jazz", "tea")}}}},
			{key: "bob", cells: map[string][]plainCell{"age": set(schema.IntValue(37)), "city": set(schema.StringValue("Oslo"))}},
			{key: "cat", cells: map[string][]plainCell{"city": set(schema.StringValue("Rome"))}},
		}},
		{code: OpDelete, keys: []string{"dan"}},
	}}
}

// exampleEvents is the second batch of the package comment.
func exampleEvents(t testing.TB) (Batch, plainBatch) {
	const start = 1767225600000 // 2026-01-01
	b := New()
	e := b.Events([]Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
	e.Row([]byte("ann"), []byte("view"), start)
	e.Row([]byte("bob"), []byte("view"), start+1500)
	e.Row([]byte("ann"), []byte("buy"), start+60000)
	e.ID([]byte("o1"))
	e.Int(0, 1999)
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	row := func(key, event string, ms int64) plainRow {
		return plainRow{key: key, cells: map[string][]plainCell{"<event>": {{VerbEvent, schema.StringValue(event)}}, "<time>": {{VerbTime, schema.TimestampValue(ms)}}}}
	}
	buy := row("ann", "buy", start+60000)
	buy.cells["<id>"] = []plainCell{{VerbID, schema.StringValue("o1")}}
	buy.cells["amount"] = []plainCell{{VerbSet, schema.DecimalValue(1999, 2)}}
	return enc, plainBatch{ops: []plainOp{{code: OpEvents, rows: []plainRow{row("ann", "view", start), row("bob", "view", start+1500), buy}}}}
}

// exampleDefinition is the third batch of the package comment.
func exampleDefinition(t testing.TB) (Batch, plainBatch) {
	b := New()
	d := Definition{Analysis: "rfm", Name: "orders", Who: "vip", Arguments: query.Arguments{"event": {"buy"}, "bins": {"3"}}}
	b.SaveDefinition(&d)
	b.DropDefinition("rfm", "old")
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return enc, plainBatch{ops: []plainOp{{code: OpDefinitionSave, definition: &d}, {code: OpDefinitionDrop, definition: &Definition{Analysis: "rfm", Name: "old"}}}}
}

// exampleErasure is the fourth batch of the package comment.
func exampleErasure(t testing.TB) (Batch, plainBatch) {
	b := New()
	b.Erase("T-17", "ann", "bob")
	b.Readmit("dan")
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return enc, plainBatch{ops: []plainOp{{code: OpErase, text: "T-17", keys: []string{"ann", "bob"}}, {code: OpReadmit, keys: []string{"dan"}}}}
}

// exampleDocuments is the fifth batch of the package comment.
func exampleDocuments(t testing.TB) (Batch, plainBatch) {
	b := New()
	b.CreateDocument("role/a", []byte("{}"))
	b.ReplaceDocument("role/b", []byte("v2"), HashDocument([]byte("v1")))
	b.PutDocument("role/c", nil)
	b.DropDocument("role/d")
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return enc, plainBatch{ops: []plainOp{
		{code: OpDocumentPut, document: &plainDocument{name: "role/a", expect: ExpectNoDocument, value: "{}"}},
		{code: OpDocumentPut, document: &plainDocument{name: "role/b", expect: ExpectDocument, hash: HashDocument([]byte("v1")), value: "v2"}},
		{code: OpDocumentPut, document: &plainDocument{name: "role/c"}},
		{code: OpDocumentDrop, document: &plainDocument{name: "role/d"}},
	}}
}

// docBytes returns the bytes of an example in doc.go, the lines with a tab behind its
// heading: hexadecimal pairs up to two spaces.
func docBytes(t testing.TB, heading string) Batch {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "// # "+heading+"\n")
	text, _, _ = strings.Cut(text, "// # ")
	var out []byte
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		pairs, _, _ := strings.Cut(line, "  ")
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(pairs), " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, b...)
	}
	return out
}

func TestGolden(t *testing.T) {
	for heading, example := range map[string]func(testing.TB) (Batch, plainBatch){"Worked example": example, "Worked example of events": exampleEvents, "Worked example of a definition": exampleDefinition, "Worked example of an erasure": exampleErasure, "Worked example of documents": exampleDocuments} {
		doc := docBytes(t, heading)
		enc, want := example(t)
		if !bytes.Equal(doc, enc) {
			t.Errorf("the doc's example is not what the builder makes:\n%s", hex.Dump(enc))
		}
		d, err := Decode(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := plain(t, d); !reflect.DeepEqual(got, want) {
			diff(t, got, want)
		}
	}
}

func code(err error) query.Code {
	var e *query.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code
}

// reseal makes the checksums of a damaged batch right again.
func reseal(b Batch) Batch {
	binary.LittleEndian.PutUint32(b[16:], checksum(b[headerSize:]))
	binary.LittleEndian.PutUint32(b[20:], checksum(b[:20]))
	return b
}

func TestNewerVersion(t *testing.T) {
	enc, _ := example(t)
	enc[4]++
	if _, err := Decode(enc); code(err) != query.CodeNewerFormat {
		t.Errorf("version+1: %v", err)
	}
	if _, err := Decode(reseal(enc)); code(err) != query.CodeNewerFormat {
		t.Errorf("version+1, checksums right: %v", err)
	}
	enc[4] = 0
	if _, err := Decode(reseal(enc)); code(err) != query.CodeCorrupt {
		t.Errorf("version 0: %v", err)
	}
	b := New()
	b.appendOp(OpSegmentShare+1, nil, 0)
	newer, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(newer); code(err) != query.CodeNewerFormat {
		t.Errorf("an op of a later version: %v", err)
	}
}

// TestDamage changes each byte and cuts at each length: always corrupt, but for the
// version byte.
func TestDamage(t *testing.T) {
	for _, example := range []func(testing.TB) (Batch, plainBatch){example, exampleEvents, exampleDefinition, exampleErasure, exampleDocuments} {
		enc, _ := example(t)
		damage(t, enc)
	}
}

func damage(t *testing.T, enc Batch) {
	for i := range enc {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(enc)
			bad[i] ^= bit
			if _, err := Decode(bad); code(err) != query.CodeCorrupt && i != 4 {
				t.Errorf("byte %d: %v", i, err)
			}
		}
		if _, err := Decode(enc[:i]); code(err) != query.CodeCorrupt {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := Decode(append(bytes.Clone(enc), 0)); code(err) != query.CodeCorrupt {
		t.Errorf("a byte too many: %v", err)
	}
}

// payload wraps a hand-made payload.
func payload(p ...byte) Batch {
	b := append(make([]byte, headerSize), p...)
	sealHeader(b, codecNone, false, len(p))
	return b
}

// TestForged has payloads with right checksums that break one rule each.
func TestForged(t *testing.T) {
	// upsert makes a payload of one upsert of one key "k" and one column "a" with what
	// follows the name.
	upsert := func(column ...byte) []byte {
		body := append([]byte{1, 1, 'k', 1, 1, 'a'}, column...)
		return append([]byte{0, 0, 0, 1, 1, byte(len(body))}, body...)
	}
	if _, err := Decode(payload(upsert(1, 2, 0, 1, 0, 2, 10, 0)...)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, p := range map[string][]byte{
		"empty":                    {},
		"run without source":       {0, 1, 0, 0},
		"op 0":                     {0, 0, 0, 1, 0, 0},
		"trailing byte":            {0, 0, 0, 0, 9},
		"trailing byte in op":      {0, 0, 0, 1, 11, 1, 9},
		"too many ops":             {0, 0, 0, 9, 11, 0},
		"no rows":                  {0, 0, 0, 1, 1, 2, 0, 0},
		"empty key":                {0, 0, 0, 1, 2, 2, 1, 0},
		"long list":                {0, 0, 0, 1, 2, 5, 0xff, 0xff, 0xff, 0xff, 1},
		"string past its end":      {0, 0, 0, 1, 2, 3, 1, 9, 'k'},
		"no quarantined rows":      {0, 0, 0, 1, 10, 2, 0, 0},
		"quarantine reason 0":      {0, 0, 0, 1, 10, 6, 0, 1, 5, 0, 0, 0},
		"name with a line break":   {0, 0, 0, 1, 9, 2, 1, '\n'},
		"name that is not UTF-8":   {0, 0, 0, 1, 9, 2, 1, 0xff},
		"verb 0":                   upsert(0, 2, 0, 1, 0, 2, 10, 0),
		"verb 8":                   upsert(8, 2, 0, 1, 0, 2, 10, 0),
		"kind 9":                   upsert(1, 9, 0, 1, 0, 2, 10, 0),
		"add of ints":              upsert(3, 2, 0, 1, 0, 2, 10, 0),
		"increment of dates":       upsert(5, 6, 0, 1, 0, 2, 10, 0),
		"unset with a kind":        upsert(2, 2, 0, 0, 0, 0),
		"scale of an int":          upsert(1, 2, 1, 1, 0, 2, 10, 0),
		"scale 19":                 upsert(1, 4, 19, 1, 0, 2, 10, 0),
		"encoding of another kind": upsert(1, 2, 0, 2, 0, 2, 1, 'x'),
		"encoding 5":               upsert(1, 2, 0, 5, 0, 0),
		"presence 2":               upsert(1, 2, 0, 1, 2, 2, 10, 0),
		"presence behind the rows": upsert(1, 2, 0, 1, 1, 3, 2, 10, 0),
		"nobody present":           upsert(1, 2, 0, 1, 1, 0, 2, 10, 0),
		"width 3":                  upsert(1, 2, 0, 1, 0, 5, 10, 3, 0, 0, 0),
		"bool 2":                   upsert(1, 1, 0, 1, 0, 2, 4, 0),
		"float -0":                 upsert(1, 3, 0, 1, 0, 2, 1, 0),
		"date past 9999":           upsert(1, 6, 0, 1, 0, 6, 0x80, 0x80, 0x80, 0x80, 1, 0),
		"trailing data":            upsert(1, 2, 0, 1, 0, 3, 10, 0, 0),
		"int wraps around":         upsert(append([]byte{1, 2, 0, 1, 0, 10, 10, 8}, bytes.Repeat([]byte{255}, 8)...)...),
		"index past dict":          upsert(1, 5, 0, 3, 0, 5, 1, 1, 'x', 1, 1),
		"dict out of order":        upsert(1, 5, 0, 3, 0, 7, 2, 1, 1, 'y', 'x', 1, 0),
		"dict with a double":       upsert(1, 5, 0, 3, 0, 7, 2, 1, 1, 'x', 'x', 1, 0),
		"set element twice":        upsert(1, 8, 0, 4, 0, 7, 1, 1, 'x', 2, 1, 0, 0),
		"set too short":            upsert(1, 8, 0, 4, 0, 6, 1, 1, 'x', 3, 1, 0),
	} {
		if _, err := Decode(payload(p...)); code(err) != query.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	definition := func(body ...byte) Batch {
		body = append([]byte{1, 'r', 1, 'n', 0}, body...)
		return payload(append([]byte{0, 0, 0, 1, 22, byte(len(body))}, body...)...)
	}
	if d, err := Decode(definition(2, 1, 'a', 1, 0, 1, 'b', 2, 1, 'x', 1, 'y')); err != nil || len(d.Ops[0].Definition.Arguments["b"]) != 2 {
		t.Errorf("the good definition: %v, %v", d, err)
	}
	for name, b := range map[string]Batch{
		"no texts":       definition(1, 1, 'a', 0),
		"no name":        definition(1, 0, 1, 1, 'x'),
		"descending":     definition(2, 1, 'b', 1, 0, 1, 'a', 1, 0),
		"twice":          definition(2, 1, 'a', 1, 0, 1, 'a', 1, 0),
		"not UTF-8":      definition(1, 1, 'a', 1, 1, 0xff),
		"too many":       definition(0xff, 1, 1, 'a', 1, 0),
		"too many texts": definition(1, 1, 'a', 0xff, 1, 0),
		"trailing bytes": definition(0, 9),
		"drop with more": payload(0, 0, 0, 1, 23, 5, 1, 'r', 1, 'n', 0),
		"drop unnamed":   payload(0, 0, 0, 1, 23, 3, 1, 'r', 0),
	} {
		if _, err := Decode(b); code(err) != query.CodeCorrupt {
			t.Errorf("definition, %s: %v", name, err)
		}
	}
	forgedDocuments(t)
	row := []byte{1, 4, 1, 1, 'k', 0} // an upsert of one row without columns
	origin := func(body ...byte) []byte { return append([]byte{20, byte(len(body))}, body...) }
	ops := func(n byte, ops ...[]byte) Batch {
		return payload(append([]byte{0, 0, 0, n}, slices.Concat(ops...)...)...)
	}
	if d, err := Decode(ops(2, origin(1, 'f', 1, 1, 9), row)); err != nil || d.Ops[0].Line(0) != 9 || d.Ops[0].Name != "f" {
		t.Errorf("the good origin: %v, %v", d, err)
	}
	for name, b := range map[string]Batch{
		"last op":         ops(1, origin(1, 'f', 1, 1, 9)),
		"before a tick":   ops(3, origin(1, 'f', 1, 1, 9), []byte{11, 0}, row),
		"of two rows":     ops(2, origin(1, 'f', 1, 2, 9), row),
		"of two runs":     ops(2, origin(1, 'f', 2, 1, 9, 1, 0), row),
		"of no rows":      ops(2, origin(1, 'f', 1, 0, 9), row),
		"without runs":    ops(2, origin(1, 'f', 0), row),
		"two":             ops(3, origin(1, 'f', 1, 1, 9), origin(1, 'f', 1, 1, 9), row),
		"line past 2^40":  ops(2, origin(1, 'f', 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), row),
		"of many rows":    ops(2, origin(1, 'f', 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 9), row),
		"trailing bytes":  ops(2, origin(1, 'f', 1, 1, 9, 9), row),
		"source too long": ops(2, origin(append(append([]byte{129, 1}, bytes.Repeat([]byte{'f'}, 129)...), 1, 1, 9)...), row),
	} {
		if _, err := Decode(b); code(err) != query.CodeCorrupt {
			t.Errorf("origin, %s: %v", name, err)
		}
	}
	if _, err := Decode(payload(0, 0, 0, 1, 13, 0)); code(err) != query.CodeNewerFormat {
		t.Errorf("op 13: %v", err)
	}
}

func forgedDocuments(t *testing.T) {
	document := func(body ...byte) Batch {
		return payload(append(binary.AppendUvarint([]byte{0, 0, 0, 1, 26}, uint64(len(body))), body...)...)
	}
	large := append([]byte{1, 'n', 0}, appendString(nil, make([]byte, MaxDocument))...)
	if d, err := Decode(document(large...)); err != nil || len(d.Ops[0].Document.Value) != MaxDocument {
		t.Errorf("the largest document: %v", err)
	}
	hash := make([]byte, 32)
	for name, b := range map[string]Batch{
		"too large":      document(append([]byte{1, 'n', 0}, appendString(nil, make([]byte, MaxDocument+1))...)...),
		"expectation 3":  document(1, 'n', 3, 0),
		"short hash":     document(append([]byte{1, 'n', 2}, hash[1:]...)...),
		"no value":       document(append([]byte{1, 'n', 2}, hash...)...),
		"trailing bytes": document(1, 'n', 0, 0, 9),
		"no name":        document(0, 0, 0),
		"a line break":   document(1, '\n', 0, 0),
		"drop with more": payload(0, 0, 0, 1, 27, 3, 1, 'n', 0),
		"drop unnamed":   payload(0, 0, 0, 1, 27, 1, 0),
	} {
		if _, err := Decode(b); code(err) != query.CodeCorrupt {
			t.Errorf("document, %s: %v", name, err)
		}
	}
}

// TestForgedEvents has blocks of events with right checksums that break one rule each.
func TestForgedEvents(t *testing.T) {
	column := func(name string, rest ...byte) []byte {
		return append(append([]byte{byte(len(name))}, name...), rest...)
	}
	ints := func(kind byte) []byte { return []byte{1, kind, 0, 1, 0, 2, 10, 0} }
	event := column("event", 8, 5, 0, 3, 0, 6, 1, 1, 'e', 1, 0, 0)
	time := column("time", 9, 7, 0, 1, 0, 2, 10, 0)
	id := column("id", 10, 5, 0, 2, 0, 4, 1, 1, 'x', 'y')
	a := column("a", ints(2)...)
	events := func(columns ...[]byte) Batch { // of two rows
		body := append([]byte{1, 'f', 2, 1, 1, 'k', 'l', byte(len(columns))}, slices.Concat(columns...)...) // ids of f
		return payload(append([]byte{0, 0, 0, 1, 12, byte(len(body))}, body...)...)
	}
	d, err := Decode(events(a, id, event, time, column("a", ints(7)...)))
	if err != nil {
		t.Fatalf("the good one: %v", err)
	}
	if bl := d.Ops[0].Events; bl.N != 2 || len(bl.Columns) != 2 || bl.Columns[1].Kind != schema.Timestamp || string(bl.IDs.Plain.At(1)) != "y" ||
		!slices.Equal(bl.Times, []int64{5, 5}) || !slices.Equal(bl.Event, []uint32{0, 0}) || string(bl.Names.At(0)) != "e" || d.Rows != 2 || d.Values() != 2+2*2 || bl.IDSource != "f" {
		t.Fatalf("the good one: %+v", bl)
	}
	for name, b := range map[string]Batch{
		"no event":                  events(time, a),
		"no time":                   events(event, a),
		"two of event":              events(event, event, time),
		"two of time":               events(event, time, time),
		"two of id":                 events(event, time, id, id),
		"event of another name":     events(column("evens", event[6:]...), time),
		"time of another name":      events(event, column("tine", time[5:]...)),
		"id of another name":        events(event, time, column("ib", id[3:]...)),
		"event of ints":             events(column("event", 8, 2, 0, 1, 0, 2, 10, 0), time),
		"event not in a dictionary": events(column("event", 8, 5, 0, 2, 0, 4, 1, 1, 'e', 'f'), time),
		"event of some rows":        events(column("event", 8, 5, 0, 3, 1, 1, 5, 1, 1, 'e', 1, 0), time),
		"event without a name":      events(column("event", 8, 5, 0, 3, 0, 5, 1, 0, 1, 0, 0), time),
		"event with a line break":   events(column("event", 8, 5, 0, 3, 0, 6, 1, 1, '\n', 1, 0, 0), time),
		"time of some rows":         events(event, column("time", 9, 7, 0, 1, 1, 1, 2, 10, 0)),
		"time of dates":             events(event, column("time", 9, 6, 0, 1, 0, 2, 10, 0)),
		"id in a dictionary":        events(event, time, column("id", 10, 5, 0, 3, 0, 6, 1, 1, 'e', 1, 0, 0)),
		"empty id":                  events(event, time, column("id", 10, 5, 0, 2, 0, 3, 1, 0, 'x')),
		"unset":                     events(event, time, column("a", 2, 0, 0, 0, 0, 0)),
		"expect":                    events(event, time, column("a", 6, 2, 0, 1, 0, 2, 10, 0)),
		"a property twice":          events(event, time, a, a),
	} {
		if _, err := Decode(b); code(err) != query.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := column("id", append([]byte{10, 5, 0, 2, 1, 1, 0x83, 2, 0x81, 2}, bytes.Repeat([]byte{'x'}, 257)...)...)
	body := append([]byte{0, 2, 1, 1, 'k', 'l', 3}, slices.Concat(event, time, long)...)
	b := payload(append(binary.AppendUvarint([]byte{0, 0, 0, 1, 12}, uint64(len(body))), body...)...)
	if _, err := Decode(b); code(err) != query.CodeCorrupt || !strings.Contains(err.Error(), "an id of 257 bytes") {
		t.Errorf("a long id: %v", err)
	}
	for name, p := range map[string][]byte{
		"event in an upsert": event, "time in an upsert": time, "id in an upsert": id,
	} {
		body := append([]byte{2, 1, 1, 'k', 'l', 1}, p...)
		if _, err := Decode(payload(append([]byte{0, 0, 0, 1, 1, byte(len(body))}, body...)...)); code(err) != query.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgedChange has schema changes that no builder makes.
func TestForgedChange(t *testing.T) {
	change := func(before ...byte) Batch {
		body := schema.AppendAttribute(before, &schema.Attribute{})
		return payload(append([]byte{0, 0, 0, 1, 3, byte(len(body))}, body...)...)
	}
	if d, err := Decode(change(12, 0, 0, 1, 'e', 7, 6, 0)); err != nil || !reflect.DeepEqual(d.Ops[0].Change, schema.Change{Op: schema.RedefineEvent, Event: "e", Retention: 7, Class: schema.Transaction}) {
		t.Errorf("the good one: %+v, %v", d, err)
	}
	if d, err := Decode(change(19, 1, 'c', 0, 0, 0, 0, 3, 'a', '+', 'b')); err != nil || !reflect.DeepEqual(d.Ops[0].Change, schema.Change{Op: schema.AddComputed, Name: "c", Text: "a+b"}) {
		t.Errorf("a computed attribute: %+v, %v", d, err)
	}
	given := schema.AppendAttribute([]byte{8, 0, 0, 1, 'e', 0, 0, 0}, &schema.Attribute{ID: 77})
	if d, err := Decode(payload(append([]byte{0, 0, 0, 1, 3, byte(len(given))}, given...)...)); err != nil || !reflect.DeepEqual(d.Ops[0].Change, schema.Change{Op: schema.AddEvent, Event: "e", ID: 77}) {
		t.Errorf("an id that is asked for: %+v, %v", d, err)
	}
	given[0] = 12
	if _, err := Decode(payload(append([]byte{0, 0, 0, 1, 3, byte(len(given))}, given...)...)); code(err) != query.CodeCorrupt {
		t.Errorf("an id for what is there: %v", err)
	}
	if _, err := Decode(change(12, 0, 0, 1, 'e', 7, 8, 0)); code(err) != query.CodeNewerFormat {
		t.Errorf("a class of a later version: %v", err)
	}
	for name, b := range map[string]Batch{
		"op 0":                change(0, 0, 0, 1, 'e', 7, 6, 0),
		"retention past 2^32": change(12, 0, 0, 1, 'e', 0x80, 0x80, 0x80, 0x80, 0x10, 6, 0),
		"event not UTF-8":     change(12, 0, 0, 1, 0xff, 7, 6, 0),
		"text past the end":   change(19, 1, 'c', 0, 0, 0, 0, 0x7f),
	} {
		if _, err := Decode(b); code(err) != query.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgedSizes has batches that would take far more memory than bytes.
func TestForgedSizes(t *testing.T) {
	column := []byte{1, 'a', 1, 2, 0, 1, 0, 2, 10, 0} // constant: no byte per row
	rows := 100_000
	var p []byte
	p = append(p, 0, 0, 0, 1, 1)
	body := binary.AppendUvarint(nil, uint64(rows))
	body = append(body, bytes.Repeat([]byte{1}, rows)...)
	body = append(body, bytes.Repeat([]byte{'k'}, rows)...)
	body = binary.AppendUvarint(body, 1000)
	body = append(body, bytes.Repeat(column, 1000)...)
	p = append(binary.AppendUvarint(p, uint64(len(body))), body...)
	if _, err := Decode(payload(p...)); code(err) != query.CodeCorrupt || !strings.Contains(err.Error(), "cells") {
		t.Errorf("10^8 cells: %v", err)
	}
	p = append([]byte{0, 0, 0, 1, byte(OpEvents)}, binary.AppendUvarint(nil, uint64(len(body)+1))...)
	p = append(append(p, 0), body...)
	if _, err := Decode(payload(p...)); code(err) != query.CodeCorrupt || !strings.Contains(err.Error(), "cells") {
		t.Errorf("10^8 cells of events: %v", err)
	}
	ticks := append([]byte{0, 0, 0}, binary.AppendUvarint(nil, MaxOps+1)...)
	ticks = append(ticks, bytes.Repeat([]byte{11, 0}, MaxOps+1)...)
	if _, err := Decode(payload(ticks...)); code(err) != query.CodeCorrupt || !strings.Contains(err.Error(), "ops") {
		t.Errorf("too many ops: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	tab := []Column{{Name: "n", Kind: schema.Int}, {Name: "s", Kind: schema.String, Verb: VerbExpect}, {Name: "t", Kind: schema.Date}, {Name: "f", Kind: schema.Float}}
	for name, use := range map[string]func(b *Builder){
		"empty key":           func(b *Builder) { b.Upsert("") },
		"long key":            func(b *Builder) { b.Delete(strings.Repeat("k", MaxKeyBytes+1)) },
		"empty table key":     func(b *Builder) { b.Table(tab).Row(nil) },
		"no row":              func(b *Builder) { b.Table(tab).Int(0, 1) },
		"wrong kind":          func(b *Builder) { x := b.Table(tab); x.Row([]byte("k")); x.Str(0, nil) },
		"unset of an expect":  func(b *Builder) { x := b.Table(tab); x.Row([]byte("k")); x.Unset(1) },
		"date out of range":   func(b *Builder) { x := b.Table(tab); x.Row([]byte("k")); x.Int(2, 1<<40) },
		"negative zero":       func(b *Builder) { x := b.Table(tab); x.Row([]byte("k")); x.Int(3, -1) },
		"no kind":             func(b *Builder) { b.Table([]Column{{Name: "n", Verb: VerbUnset}}) },
		"reserved kind":       func(b *Builder) { b.Table([]Column{{Name: "n", Kind: 9}}) },
		"bad scale":           func(b *Builder) { b.Table([]Column{{Name: "n", Kind: schema.Decimal, Scale: 19}}) },
		"increment of a date": func(b *Builder) { b.Upsert("k").Increment("n", schema.DateValue(1)) },
		"increment of none":   func(b *Builder) { b.Upsert("k").Increment("n", schema.Value{}) },
		"name":                func(b *Builder) { b.Upsert("k").Set("", schema.IntValue(1)) },
		"old row":             func(b *Builder) { r := b.Upsert("k"); b.Tick(); r.Unset("n") },
		"list name":           func(b *Builder) { b.ListPut("a\nb") },
		"source":              func(b *Builder) { b.Source("", 1, 1) },
		"reason":              func(b *Builder) { b.Quarantine("f", BadRow{}) },
		"origin of nothing":   func(b *Builder) { b.Origin("f", 1) },
		"origin twice":        func(b *Builder) { b.Upsert("k"); b.Origin("f", 1); b.Origin("f", 2) },
		"origin of some":      func(b *Builder) { b.Upsert("k"); b.Origin("f", 1); b.Upsert("l") },
		"origin of the last":  func(b *Builder) { b.Upsert("k"); b.Upsert("l"); b.Origin("f", 1) },
		"descending lines":    func(b *Builder) { b.Upsert("k"); b.Origin("f", 2); b.Upsert("l"); b.Origin("f", 1) },
		"event in a table":    func(b *Builder) { b.Table([]Column{{Name: "event", Kind: schema.String, Verb: VerbEvent}}) },
		"expect of an event":  func(b *Builder) { b.Events([]Column{{Name: "n", Kind: schema.Int, Verb: VerbExpect}}) },
		"property twice":      func(b *Builder) { b.Events([]Column{tab[0], tab[0]}) },
		"property of no kind": func(b *Builder) { b.Events([]Column{{Name: "n"}}) },
		"event without name":  func(b *Builder) { b.Events(nil).Row([]byte("k"), nil, 0) },
		"event on two lines":  func(b *Builder) { b.Events(nil).Row([]byte("k"), []byte("a\nb"), 0) },
		"event past 9999":     func(b *Builder) { b.Events(nil).Row([]byte("k"), []byte("e"), schema.MaxTimestamp+1) },
		"event of nobody":     func(b *Builder) { b.Events(nil).Row(nil, []byte("e"), 0) },
		"id before an event":  func(b *Builder) { b.Events(nil).ID([]byte("x")) },
		"empty id":            func(b *Builder) { e := b.Events(nil); e.Row([]byte("k"), []byte("e"), 0); e.ID(nil) },
		"long id": func(b *Builder) {
			e := b.Events(nil)
			e.Row([]byte("k"), []byte("e"), 0)
			e.ID(make([]byte, MaxEventID+1))
		},
		"document's name":   func(b *Builder) { b.PutDocument("a\nb", nil) },
		"document's size":   func(b *Builder) { b.PutDocument("a", make([]byte, MaxDocument+1)) },
		"drop of no name":   func(b *Builder) { b.DropDocument("") },
		"definition's whom": func(b *Builder) { b.SaveDefinition(&Definition{Analysis: "rfm", Name: "d", Who: "\xff"}) },
		"two sources":       func(b *Builder) { b.Upsert("k"); b.Origin("f", 2); b.Upsert("l"); b.Origin("g", 3) },
	} {
		b := New()
		use(b)
		if _, err := b.Encode(); code(err) != query.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		b.Reset()
		if _, err := b.Encode(); err != nil {
			t.Errorf("%s, after Reset: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	noise := make([]byte, 600<<10)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x)
	}
	for name, use := range map[string]func(b *Builder){
		"raw":    func(b *Builder) { b.SaveSegment("s", strings.Repeat("x", MaxRaw)) },
		"stored": func(b *Builder) { b.SaveSegment("s", string(noise)) },
		"ops": func(b *Builder) {
			for range MaxOps + 1 {
				b.Tick()
			}
		},
		"change": func(b *Builder) {
			b.Change(schema.Change{Op: schema.Widen, Attribute: schema.Attribute{Kind: schema.String,
				Allowed: []schema.Value{schema.StringValue(strings.Repeat("x", MaxChangeBytes))}}})
		},
	} {
		b := New()
		use(b)
		if _, err := b.Encode(); code(err) != query.CodeLimit || !strings.Contains(err.Error(), "smaller") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := New()
	b.SaveSegment("s", string(noise[:SafeRaw-100]))
	if b.RawSize() > SafeRaw {
		t.Fatal(b.RawSize())
	}
	enc, err := b.Encode()
	if err != nil || enc[5] != codecNone {
		t.Errorf("noise of SafeRaw: %v", err)
	}
	if _, err := Decode(enc); err != nil {
		t.Error(err)
	}
}

func TestQuarantineIsShortened(t *testing.T) {
	b := New()
	b.Quarantine("f\xff", BadRow{1, ReasonRagged, strings.Repeat("ä", MaxDetail), "a\xff" + strings.Repeat("日", MaxQuarantineRaw)})
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	row := d.Ops[0].Bad[0]
	if row.Detail != strings.Repeat("ä", MaxDetail/2) || row.Raw != "a\ufffd"+strings.Repeat("日", (MaxQuarantineRaw-4)/3) || d.Ops[0].Name != "f\ufffd" {
		t.Errorf("%+v", row)
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := ReasonNone; r <= ReasonUnknownProperty; r++ {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if s := Reason(200).String(); s != "reason 200" {
		t.Error(s)
	}
}

// FuzzDecode feeds payloads, with right checksums, and whole batches. What decodes is
// walked as Apply would.
func FuzzDecode(f *testing.F) {
	enc, _ := example(f)
	f.Add([]byte(enc), false)
	f.Add([]byte(enc[headerSize:]), true)
	events, _ := exampleEvents(f)
	f.Add([]byte(events[headerSize:]), true)
	definition, _ := exampleDefinition(f)
	f.Add([]byte(definition[headerSize:]), true)
	erasure, _ := exampleErasure(f)
	f.Add([]byte(erasure[headerSize:]), true)
	documents, _ := exampleDocuments(f)
	f.Add([]byte(documents[headerSize:]), true)
	b := New()
	for i := range 300 {
		b.Upsert(strings.Repeat("k", 1+i%5)).Set("s", schema.StringValue(strings.Repeat("v", i%7))).Set("i", schema.SetValue("a", strings.Repeat("b", i%3))).
			Set("d", schema.DecimalValue(int64(i)*1000, 2)).Expect("n", schema.Value{})
	}
	e := b.Events([]Column{{Name: "s", Kind: schema.String}, {Name: "i", Kind: schema.Set}, {Name: "s", Kind: schema.Decimal, Scale: 2}})
	for i := range 300 {
		e.Row([]byte("k"), []byte{'a' + byte(i%3)}, int64(i)*1000)
		b.Origin("f", uint64(i/2))
		if i%4 == 0 {
			e.Str(0, []byte{byte('a' + i%20)})
			e.Elems(1, [][]byte{{'x'}, {byte('a' + i%7)}})
			e.ID([]byte{'i', byte('a' + i%20)})
		} else {
			e.Int(2, int64(i))
		}
	}
	b.Change(schema.Change{Op: schema.Drop, Name: "x"})
	b.Change(schema.Change{Op: schema.AddComputed, Name: "c", Text: "x + 1"})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "x", Attribute: schema.Attribute{Kind: schema.Int}})
	b.Quarantine("f", BadRow{1, ReasonKind, "d", "r"})
	big, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(big), false)
	var dec Decoder
	f.Fuzz(func(t *testing.T, data []byte, wrap bool) {
		if wrap {
			data = payload(data...)
		}
		d, err := dec.Decode(data)
		if err != nil {
			if c := code(err); c != query.CodeCorrupt && c != query.CodeNewerFormat {
				t.Fatal(err)
			}
			return
		}
		plain(t, d)
	})
}
