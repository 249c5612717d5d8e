package quality

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSniff(t *testing.T) {
	csvDialect := func(delimiter byte, header, trim bool) Dialect {
		return Dialect{Format: CSV, Encoding: UTF8, Delimiter: delimiter, Header: header, Trim: trim}
	}
	for _, c := range []struct {
		name, text string
		want       Dialect
	}{
		{"comma", "id,city\n1,Rome\n2,Turku\n", csvDialect(',', true, false)},
		{"semicolon and decimal commas", "id;ltv;x\n1;3,50;a\n2;4,20;b\n", csvDialect(';', true, false)},
		{"tab", "id\tcity\n1\tA, B\n2\tC\n", csvDialect('\t', true, false)},
		{"bar", "id|city|x\n1|A|b\n2|C,d|e\n", csvDialect('|', true, false)},
		{"comma with sets", "id,interests\n1,a|b\n2,a|b|c\n3,a\n", csvDialect(',', true, false)},
		{"one column", "id\n1\n2\n", csvDialect(',', true, false)},
		{"delimiters in quotes", "id;text\n1;\"a,b,c\"\n2;\"d,e\"\n3;\"f,g,h,i\"\n", csvDialect(';', true, false)},
		{"no header", "1,Rome\n2,Turku\n", csvDialect(',', false, false)},
		{"a name twice is no header", "Rome,Rome\nTurku,Turku\n", csvDialect(',', false, false)},
		{"spaces", "id, city, x\n1, Rome, 2\n, , 3\n", csvDialect(',', true, true)},
		{"quotes after spaces", "id, city\n1, \"Ro,me\"\n2, \"b\"\n", csvDialect(',', true, true)},
		{"a cell that starts with a space", "id,city,x\n1, Rome,y\n2,Turku,z\n", csvDialect(',', true, false)},
		{"cut in a row", "id;city\n1;Rome\n2;Turku\n3,4,5,6", csvDialect(';', true, false)},
		{"ragged", "a;b;c\n1;2;3\n1;2\n1;2;3\n", csvDialect(';', true, false)},
		{"empty", "", csvDialect(',', false, false)},
		{"mark", "\xef\xbb\xbfid,city\n1,Rome\n", csvDialect(',', true, false)},
		{"ndjson", "\n {\"id\": 1}\n{\"id\": 2}\n", Dialect{Format: NDJSON, Encoding: UTF8}},
	} {
		if got, err := Sniff([]byte(c.text)); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}

func TestSniffRefusals(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"Latin-1", "id,city\n1,Malm\xf6\n", "not UTF-8 (line 2): it may be Windows-1252 or Latin-1, which look alike; name it with --encoding"},
		{"zero bytes", "i\x00d\x00\n\x00", "--encoding utf-16le"},
		{"array", "[{\"id\":1}]", "write one object per line"},
		{"carriage returns", "id,city\r1,Rome\r2,Turku\r", "bare carriage return"},
		{"zip", "PK\x03\x04abcdef", "save it as CSV"},
		{"Parquet", "PAR1abcdef", "Parquet"},
		{"broken gzip", "\x1f\x8bnothing of the kind", "gzip"},
	} {
		if _, err := Sniff([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Sniff([]byte("id,city\n1,Malm\xf6\n2,\xc3\xa5\n")); err != nil {
		t.Errorf("one wrong byte among proper UTF-8 is for its row: %v", err)
	}
	for _, d := range []Dialect{{Encoding: "ebcdic"}, {Format: "xml"}, {Delimiter: '"'}} {
		if _, _, err := OpenRows(strings.NewReader("a,b\n"), &RowsOptions{Dialect: &d}); err == nil {
			t.Errorf("%+v is taken", d)
		}
	}
	if _, _, err := OpenRows(strings.NewReader("\xef\xbb\xbfa,b\n"), &RowsOptions{Encoding: Latin1}); err == nil {
		t.Error("a mark of UTF-8 in Latin-1 is taken")
	}
}

// A sample that is cut anywhere gives the dialect of the whole.
func TestSniffCut(t *testing.T) {
	const seed = 23
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		delimiter := ",;\t|"[r.IntN(4)]
		words := []string{"Zürich", "東京", "\"a " + string(delimiter) + "\"", "12.5", "x", ""}
		var b bytes.Buffer
		columns := 2 + r.IntN(5)
		for row := range 40 {
			for i := range columns {
				if i > 0 {
					b.WriteByte(delimiter)
				}
				if row == 0 {
					b.WriteString("name" + string(rune('a'+i)))
				} else {
					b.WriteString(words[r.IntN(len(words))])
				}
			}
			b.WriteByte('\n')
		}
		cut := 200 + r.IntN(b.Len()-200)
		got, err := Sniff(b.Bytes()[:cut])
		want := Dialect{Format: CSV, Encoding: UTF8, Delimiter: delimiter, Header: true}
		if err != nil || got != want {
			t.Fatalf("%q: got %+v, %v", b.Bytes()[:cut], got, err)
		}
	}
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("id;city\n1;Rome\n"))
	f.Add([]byte("\xff\xfei\x00d\x00"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 4, 0, 0})
	f.Fuzz(func(t *testing.T, sample []byte) {
		d, err := Sniff(sample)
		if err == nil && (d.Format == CSV) == (d.Delimiter == 0) {
			t.Fatalf("%+v", d)
		}
	})
}
