package portable

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
)

// FuzzReader reads anything as an export in one file, to its end.
func FuzzReader(f *testing.F) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		f.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("// # Worked example"))
	f.Add([]byte(strings.ReplaceAll(string(text[bytes.IndexByte(text, '{'):]), "\n//\t", "\n")))
	f.Add([]byte("{\"section\":\"export\"}\n{\"section\":\"schema\"}\n\"\"\n{\"section\":\"manifest\"}\n"))
	f.Add([]byte(zstdMagic + "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := OpenStream(bytes.NewReader(b))
		if err != nil {
			return
		}
		defer r.Close()
		m := &importer{out: Imported{Lines: map[string]uint64{}}, seen: map[string]Section{}, o: ImportOptions{WithoutHistory: true}}
		for range len(b) + 1 {
			l, err := r.next()
			if err != nil {
				return
			}
			switch l.section {
			case secIncomplete, secProfiles, secLists, secEvents:
				err = l.each(func([]byte) error { return nil })
			default:
				err = m.section(l)
			}
			if err != nil {
				return
			}
		}
		t.Fatal("it does not end")
	})
}

// fuzzDefinitions are attributes and properties of every kind, named as their kinds.
func fuzzDefinitions() *quality.Definitions {
	d := &quality.Definitions{Events: []schema.Event{{Name: "act"}}}
	for k := schema.Bool; k.Valid(); k++ {
		a := schema.Attribute{Name: k.String(), Kind: k}
		if k == schema.Decimal {
			a.Scale = 2
		}
		d.Attributes = append(d.Attributes, a)
	}
	d.Events[0].Properties = d.Attributes
	return d
}

// FuzzLine makes batches of any line: what is taken is written again as a line that says the same.
func FuzzLine(f *testing.F) {
	for i, line := range []string{
		`{"key":"ann","values":{"bool":true,"int":-5,"float":1e300,"decimal":19.90,"string":"a\u0000b","date":"2026-01-31","timestamp":"2026-01-31T12:00:00.5Z","set<string>":["a",""]}}`,
		`{"key":"ann","values":{"float":"-Inf"}}`,
		`{"list":"staff","note":"n","keys":["ann","bo"]}`,
		`{"key":"ann","event":"act","time":"2026-01-01T00:00:00Z","values":{"decimal":0.10}}`,
		`{"key":"ann","values":{"int":1.5}}`,
	} {
		f.Add([]byte(line), uint8(i))
	}
	d := fuzzDefinitions()
	m := newMaker(d)
	f.Fuzz(func(t *testing.T, line []byte, section uint8) {
		b := m.b
		b.Reset()
		of := []string{secProfiles, secProfiles, secLists, secEvents, secIncomplete}[section%5]
		if m.add(b, of, line) != nil {
			return
		}
		raw, err := b.Encode()
		if err != nil {
			return // not a key, or a name, or too much
		}
		dec, err := batch.Decode(raw)
		if err != nil {
			t.Fatalf("%q makes a batch that cannot be read: %v", line, err)
		}
		if again := rewritten(dec); again != nil {
			b.Reset()
			if err := m.add(b, of, again); err != nil {
				t.Fatalf("%q became %q: %v", line, again, err)
			}
			other, err := b.Encode()
			if err != nil || !bytes.Equal(raw, other) {
				t.Fatalf("%q became %q, which is something else (%v)", line, again, err)
			}
		}
	})
}

// rewritten writes the person that a batch has, if that is what it has.
func rewritten(d *batch.Decoded) []byte {
	if len(d.Ops) != 1 || d.Ops[0].Block == nil || d.Ops[0].Block.N != 1 {
		return nil
	}
	var out bytes.Buffer
	w := &Writer{name: secProfiles, out: unclosed{&out}, sum: newSum()}
	var attributes []schema.Attribute
	var values []schema.Value
	for i := range d.Ops[0].Block.Columns {
		c := &d.Ops[0].Block.Columns[i]
		attributes = append(attributes, schema.Attribute{Name: c.Name, Kind: c.Kind, Scale: c.Scale})
		switch {
		case c.Kind == schema.Set:
			var elements []string
			for _, k := range c.Index {
				elements = append(elements, string(c.Dict.At(int(k))))
			}
			values = append(values, schema.SetValue(elements...))
		case c.Kind == schema.String && c.Plain.Len() > 0:
			values = append(values, schema.StringValue(string(c.Plain.At(0))))
		case c.Kind == schema.String:
			values = append(values, schema.StringValue(string(c.Dict.At(int(c.Index[0])))))
		default:
			values = append(values, schema.FromOrdered(c.Kind, c.Scale, c.Ints[0]))
		}
	}
	for _, v := range values {
		if v.Kind() == schema.Set && len(v.Elements()) == 0 {
			return nil // an empty set is not written
		}
	}
	if err := w.Profile(string(d.Ops[0].Block.Keys.At(0)), attributes, values); err != nil || bytes.Count(out.Bytes(), []byte{'\n'}) != 1 {
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}

// FuzzString compares with the standard library what strings are in JSON.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\x1f\x7f\u0080", "\u2028\ufeff😀", "\xff\xc0\x80", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		want, err := json.Marshal(s) // which puts U+FFFD in place of what is not UTF-8
		if err != nil {
			t.Fatal(err)
		}
		var wanted string
		if err := json.Unmarshal(want, &wanted); err != nil || back != wanted {
			t.Fatalf("%q came back as %q, want %q (%v)", s, back, wanted, err)
		}
		if bytes.ContainsFunc(AppendString(nil, s), func(r rune) bool { return r < 0x20 }) {
			t.Fatalf("%q has a control character", s)
		}
	})
}
