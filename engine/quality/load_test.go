package quality

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// loadText loads a text and returns all that was emitted.
func loadText(t testing.TB, text string, s *schema.Schema, o LoadOptions, r *RowsOptions) ([]Loaded, LoadReport, error) {
	t.Helper()
	rows, _, err := OpenRows(strings.NewReader(text), r)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []Loaded
	report, err := Load(context.Background(), rows, s, o, func(l Loaded) error {
		out = append(out, l)
		return nil
	})
	return out, report, err
}

// flatten decodes batches into one line per row, in the order in which they apply: good
// rows as key, attributes and values; bad ones with line, reason and detail.
func flatten(t testing.TB, batches []batch.Batch) (good, bad []string) {
	t.Helper()
	for _, b := range batches {
		d, err := batch.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range d.Ops {
			for _, r := range op.Bad {
				bad = append(bad, fmt.Sprintf("%s:%d %s: %s <%s>", op.Name, r.Line, r.Reason, r.Detail, r.Raw))
			}
			if op.Block != nil {
				good = append(good, flattenBlock(op.Block)...)
			}
			if op.Events != nil {
				good = append(good, flattenEvents(op.Events)...)
			}
		}
	}
	return good, bad
}

func flattenBlock(b *batch.Block) []string {
	rows := make([]map[string]string, b.N)
	for i := range rows {
		rows[i] = map[string]string{}
	}
	for i := range b.Columns {
		c := &b.Columns[i]
		cell, element := 0, 0
		for row := range b.N {
			if !c.Has(row) {
				continue
			}
			var v schema.Value
			switch {
			case c.Verb == batch.VerbUnset:
			case c.Kind == schema.Set:
				var list []string
				for range c.Counts[cell] {
					list = append(list, string(c.Dict.At(int(c.Index[element]))))
					element++
				}
				v = schema.SetValue(list...)
			case c.Kind == schema.String && c.Index != nil:
				v = schema.StringValue(string(c.Dict.At(int(c.Index[cell]))))
			case c.Kind == schema.String:
				v = schema.StringValue(string(c.Plain.At(cell)))
			default:
				v = schema.FromOrdered(c.Kind, c.Scale, c.Ints[cell])
			}
			cell++
			rows[row][c.Name] = fmt.Sprintf("%s %q", v.Kind(), v)
		}
	}
	out := make([]string, b.N)
	for i := range out {
		out[i] = fmt.Sprintf("%q", b.Keys.At(i))
		for _, name := range slices.Sorted(maps.Keys(rows[i])) {
			out[i] += fmt.Sprintf("; %s=%s", name, rows[i][name])
		}
	}
	return out
}

func batchesOf(list []Loaded) (out []batch.Batch) {
	for _, l := range list {
		out = append(out, l.Batch)
	}
	return out
}

// slowLoad is the reference: encoding/csv, schema.ParseValue, and a batch per cell to ask CheckAt.
// It returns the one batch of all good rows and the bad rows.
func slowLoad(t testing.TB, text string, s *schema.Schema, o LoadOptions) (batch.Batch, []batch.BadRow) {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	all := batch.New()
	var bad []batch.BadRow
	start := r.InputOffset()
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := r.FieldPos(0)
		raw := strings.TrimLeft(text[start:r.InputOffset()], "\r\n")
		start = r.InputOffset()
		values, reason, detail := slowRow(t, header, record, s, o)
		if reason != batch.ReasonNone {
			raw = strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
			bad = append(bad, batch.BadRow{Line: uint64(line), Reason: reason, Detail: detail, Raw: raw})
			continue
		}
		row := all.Upsert(values[0].Str())
		for i, v := range values[1:] {
			switch {
			case s.Lookup(header[i]) == nil:
			case record[i] != "":
				row.Set(header[i], v)
			case o.EmptyUnsets:
				row.Unset(header[i])
			}
		}
	}
	b, err := all.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b, bad
}

// slowRow returns the key and the values of a record, absent for what is not loaded.
func slowRow(t testing.TB, header, record []string, s *schema.Schema, o LoadOptions) ([]schema.Value, batch.Reason, string) {
	for i, cell := range record {
		if len(cell) > schema.MaxStringBytes {
			return nil, batch.ReasonTooLong, fmt.Sprintf("cell %d has %d bytes, more than 16384", i+1, len(cell))
		}
	}
	if len(record) != len(header) {
		return nil, batch.ReasonRagged, fmt.Sprintf("%d cells, but %d columns", len(record), len(header))
	}
	key := norm.NFC.String(record[slices.Index(header, o.Key)])
	if key == "" {
		return nil, batch.ReasonNoKey, o.Key + ": the key is missing"
	}
	if len(key) > batch.MaxKeyBytes {
		return nil, batch.ReasonTooLong, fmt.Sprintf("%s: a key of %d bytes; it has at most 512", o.Key, len(key))
	}
	values := []schema.Value{schema.StringValue(key)}
	for i, cell := range record {
		a := s.Lookup(header[i])
		if a == nil && cell != "" && header[i] != o.Key && o.Unknown == QuarantineUnknown {
			return nil, batch.ReasonUnknownColumn, header[i] + ": there is no such attribute"
		}
		if a == nil || cell == "" {
			values = append(values, schema.Value{})
			continue
		}
		v, err := schema.ParseValue(a, norm.NFC.String(cell), o.Zone)
		if err != nil {
			reason := map[error]batch.Reason{schema.OutOfRange: batch.ReasonOutOfRange, schema.TooLong: batch.ReasonTooLong, schema.TooMany: batch.ReasonTooMany}[err]
			if reason == batch.ReasonNone {
				reason = batch.ReasonBadValue
			}
			r := newRules(a, batch.VerbSet)
			return nil, reason, r.detail("%s: %v", r.show(norm.NFC.String(cell)), err)
		}
		parts := []schema.Value{v}
		if a.Kind == schema.Set { // one by one in order of the text
			parts = nil
			for _, element := range strings.Split(norm.NFC.String(cell), schema.SetSeparator) {
				parts = append(parts, schema.SetValue(element))
			}
		}
		for _, part := range parts {
			if part.Kind() == schema.Set && part.Elements()[0] == "" {
				continue
			}
			one := batch.New()
			one.Upsert("k").Set(a.Name, part)
			encoded, err := one.Encode()
			if err != nil {
				t.Fatal(err)
			}
			d, err := batch.Decode(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if verdicts := CheckAt(d, s, schema.MaxTimestamp); len(verdicts) > 0 {
				return nil, verdicts[0].Reason, verdicts[0].Detail
			}
		}
		values = append(values, v)
	}
	return values, batch.ReasonNone, ""
}

// loadSchema is testSchema with the kinds that it lacks.
func loadSchema() *schema.Schema {
	s := testSchema()
	attrs := slices.Clone(s.Attributes)
	attrs = append(attrs, schema.Attribute{Name: "score", Kind: schema.Float}, schema.Attribute{Name: "seen", Kind: schema.Timestamp},
		schema.Attribute{Name: "Order total", Kind: schema.Decimal, Scale: 4})
	for i := range attrs {
		attrs[i].ID = schema.FirstUserAttr + schema.AttrID(i)
	}
	return schema.New(2, 0, attrs)
}

// randomCell returns a cell, often a good one of the attribute.
func randomCell(r *rand.Rand, a *schema.Attribute) string {
	if r.IntN(8) == 0 {
		return ""
	}
	if a == nil || r.IntN(60) == 0 {
		return []string{"x", "-", "12", "1.5", "2023-02-29", "2023-02-28T25:00", "99999999999999999999", "e\u0301a", "caf\u00e9", "a,b", "q\"q", "l1\nl2",
			" spaced ", "|", "||a||a|", "true", strings.Repeat("z", 20000), strings.Repeat("\u0958", 6000), "1e400", "\u0301"}[r.IntN(20)]
	}
	words := []string{"red", "green", "cafe\u0301", "caf\u00e9", "en", "pt-BR", "a b", "blue"}
	switch {
	case len(a.Allowed) > 0 && r.IntN(12) > 0:
		return a.Allowed[r.IntN(len(a.Allowed))].String()
	case a.Kind == schema.Set:
		n := r.IntN(5)
		if r.IntN(30) == 0 {
			n = 1020 + r.IntN(10)
		}
		var list []string
		for i := range n {
			if n > 10 && r.IntN(200) > 0 {
				list = append(list, fmt.Sprint("e", i))
			} else {
				list = append(list, words[r.IntN(len(words))])
			}
		}
		return strings.Join(list, "|")
	case a.Format == FormatEmail:
		return fmt.Sprintf("p%d@example.org", r.IntN(1000))
	case a.Format == FormatPhone:
		return fmt.Sprintf("+39%08d", r.IntN(1e8))
	case a.Format == FormatCountry:
		return []string{"IT", "FI", "ZZ"}[r.IntN(3)]
	case a.Kind == schema.String:
		return words[r.IntN(len(words))]
	case a.Kind == schema.Bool:
		return []string{"true", "no", "1", "0", "YES"}[r.IntN(5)]
	case a.Kind == schema.Date:
		return fmt.Sprintf("20%02d-%02d-%02d", r.IntN(30), 1+r.IntN(12), 1+r.IntN(29))
	case a.Kind == schema.Timestamp:
		return fmt.Sprintf("20%02d-%02d-%02d %02d:30:00%s", r.IntN(30), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), []string{"", ".5Z", "+02:00"}[r.IntN(3)])
	case a.Kind == schema.Int:
		return fmt.Sprint(r.IntN(122) - 1)
	}
	return fmt.Sprintf("%d.%d", r.IntN(1000)-2, r.IntN(100))
}

// randomCSV returns a file, its columns in random order, some of them unknown.
func randomCSV(r *rand.Rand, s *schema.Schema, n int) string {
	header := []string{"id", "mystery"}
	for i := range s.Attributes {
		if r.IntN(4) > 0 {
			header = append(header, s.Attributes[i].Name)
		}
	}
	r.Shuffle(len(header), func(i, j int) { header[i], header[j] = header[j], header[i] })
	var out strings.Builder
	w := csv.NewWriter(&out)
	w.Write(header)
	for range n {
		var row []string
		for _, name := range header {
			switch {
			case name != "id":
				row = append(row, randomCell(r, s.Lookup(name)))
			case r.IntN(30) > 0:
				row = append(row, fmt.Sprintf("u%d", r.IntN(n)))
			default:
				row = append(row, []string{"", "cle\u0301", "cl\u00e9", strings.Repeat("k", 512), strings.Repeat("k", 513), strings.Repeat("\u0958", 100)}[r.IntN(6)])
			}
		}
		if r.IntN(40) == 0 {
			row = append(row, "more")
		}
		w.Write(row)
	}
	w.Flush()
	return out.String()
}

func TestLoadDifferential(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := loadSchema()
	helsinki := time.FixedZone("EET", 7200)
	reasons := map[batch.Reason]int{}
	for range 40 {
		text := randomCSV(rnd, s, 1+rnd.IntN(120))
		o := LoadOptions{File: "f.csv", Key: "id", EmptyUnsets: rnd.IntN(2) == 0, BatchRows: 1 + rnd.IntN(50), Zone: []*time.Location{nil, helsinki}[rnd.IntN(2)],
			Unknown: []Unknown{IgnoreUnknown, IgnoreUnknown, QuarantineUnknown}[rnd.IntN(3)]}
		got, report, err := loadText(t, text, s, o, &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}})
		if err != nil {
			t.Fatal(err)
		}
		slow, slowBad := slowLoad(t, text, s, o)
		wantGood, _ := flatten(t, []batch.Batch{slow})
		b := batch.New()
		b.Quarantine("f.csv", slowBad...)
		encoded, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, wantBad := flatten(t, []batch.Batch{encoded})
		good, bad := flatten(t, batchesOf(got))
		compareLines(t, "good", good, wantGood)
		compareLines(t, "bad", bad, wantBad)
		if o.Unknown == QuarantineUnknown { // it is left out in no row
			if report.Unknown != nil {
				t.Errorf("left out: %q", report.Unknown)
			}
			report.Unknown = []string{"mystery"}
		}
		checkReport(t, got, report, wantGood, slowBad)
		for _, r := range slowBad {
			reasons[r.Reason]++
		}
	}
	for _, r := range []batch.Reason{batch.ReasonRagged, batch.ReasonTooLong, batch.ReasonBadValue, batch.ReasonOutOfRange, batch.ReasonNotAllowed,
		batch.ReasonFormat, batch.ReasonNoKey, batch.ReasonTooMany, batch.ReasonUnknownColumn} {
		if reasons[r] < 3 {
			t.Errorf("reason %q came only %d times", r, reasons[r])
		}
	}
}

func compareLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s row %d of %d and %d:\n got %.2000s\nwant %.2000s", what, i, len(got), len(want), g, w)
		}
	}
}

// checkReport checks the counters against the batches and the reference.
func checkReport(t testing.TB, got []Loaded, report LoadReport, good []string, bad []batch.BadRow) {
	t.Helper()
	next, lines := uint64(1), 1
	for _, l := range got {
		if l.Sequence != next || l.FirstLine < lines || l.LastLine < l.FirstLine {
			t.Fatalf("batch at sequence %d, lines %d to %d, after row %d and line %d", l.Sequence, l.FirstLine, l.LastLine, next-1, lines)
		}
		next, lines = next+uint64(l.Rows), l.LastLine+1
	}
	keys := map[string]bool{}
	for _, g := range good {
		key, _, _ := strings.Cut(g, ";")
		keys[key] = true
	}
	want := LoadReport{Rows: next - 1, Typed: uint64(len(good)), Quarantined: uint64(len(bad)), Reasons: map[batch.Reason]uint64{}, Batches: uint64(len(got)),
		Overwritten: uint64(len(good) - len(keys)), OverwrittenKnown: true, Unknown: []string{"mystery"}}
	for _, r := range bad {
		want.Reasons[r.Reason]++
	}
	if !reflect.DeepEqual(report, want) || report.Rows != report.Typed+report.Quarantined {
		t.Fatalf("report\n got %+v\nwant %+v", report, want)
	}
}

// TestLoadDeterministic: the same file and options give the same bytes, whatever the
// parallelism, the size of reads and the compression; and resuming gives the rest of them.
func TestLoadDeterministic(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	s := loadSchema()
	text := randomCSV(rnd, s, 1000)
	var packed, squeezed bytes.Buffer
	g := gzip.NewWriter(&packed)
	io.WriteString(g, text)
	g.Close()
	z, _ := zstd.NewWriter(&squeezed)
	io.WriteString(z, text)
	z.Close()
	dialect := &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}}
	for _, rows := range []int{0, 1, 2 + rnd.IntN(300)} {
		o := LoadOptions{Key: "id", Source: "file 1", Run: 3, BatchRows: rows, Parallelism: 1}
		want, wantReport, err := loadText(t, text, s, o, dialect)
		if err != nil || rows > 0 && len(want) < 2 {
			t.Fatal(len(want), err)
		}
		for i, in := range []string{text, text, packed.String(), squeezed.String()} {
			o.Parallelism = []int{2, 5, 2, 0}[i]
			got, report, err := loadText(t, in, s, o, dialect)
			if err != nil || !reflect.DeepEqual(report, wantReport) || !reflect.DeepEqual(got, want) {
				t.Fatalf("input %d, parallelism %d: %v, %+v, want %+v", i, o.Parallelism, err, report, wantReport)
			}
		}
		for _, l := range want {
			d, err := batch.Decode(l.Batch)
			if err != nil || d.Source != "file 1" || d.Run != 3 || d.Sequence != l.Sequence || d.Rows != l.Rows || len(CheckAt(d, s, schema.MaxTimestamp)) != 0 {
				t.Fatalf("%v: batch %+v decodes to %s %d %d with %d rows", err, l.Sequence, d.Source, d.Run, d.Sequence, d.Rows)
			}
		}
		from := rnd.IntN(len(want) + 1)
		o.FromSequence = wantReport.Rows + 1
		if from < len(want) {
			o.FromSequence = want[from].Sequence
		}
		rest, report, err := loadText(t, text, s, o, dialect)
		if err != nil || !slices.EqualFunc(rest, want[from:], func(a, b Loaded) bool { return reflect.DeepEqual(a, b) }) || report.Skipped != o.FromSequence-1 || report.Typed != wantReport.Typed || report.Overwritten != wantReport.Overwritten {
			t.Fatalf("from %d: %v, %+v", o.FromSequence, err, report)
		}
	}
}

// TestLoadSplits: rows that do not compress go into several batches, a row that fits in none into
// the quarantine.
func TestLoadSplits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	const columns = 60
	var attrs []schema.Attribute
	text := "id"
	for i := range columns {
		attrs = append(attrs, schema.Attribute{ID: schema.FirstUserAttr + schema.AttrID(i), Name: fmt.Sprint("a", i), Kind: schema.String})
		text += "," + attrs[i].Name
	}
	text += "\n"
	noise := func(n int) string {
		b := make([]rune, n/2) // a random letter of two bytes has some 10 bits
		for i := range b {
			b[i] = rune(0x400 + rnd.IntN(0x100))
		}
		return string(b)
	}
	var lines []string
	for i := range 12 {
		line := fmt.Sprint("k", i)
		for range columns {
			line += "," + noise(map[bool]int{true: 16000, false: 4000}[i == 7])
		}
		lines = append(lines, line)
	}
	text += strings.Join(lines, "\n")
	s := schema.New(1, 0, attrs)
	o := LoadOptions{Key: "id", Source: "s", Parallelism: 1}
	got, report, err := loadText(t, text, s, o, nil)
	if err != nil || report.Typed != 11 || report.Overwritten != 0 || report.Reasons[batch.ReasonTooLong] != 1 || len(got) < 4 {
		t.Fatalf("%d batches, %v, %+v", len(got), err, report.Reasons)
	}
	good, bad := flatten(t, batchesOf(got))
	if !strings.Contains(bad[0], "does not fit") || !strings.Contains(bad[0], ":9 ") {
		t.Errorf("got %.100q", bad[0])
	}
	if len(good) != 11 || len(bad) != 1 || !strings.HasPrefix(good[7], `"k8"`) {
		t.Errorf("%d good, %d bad", len(good), len(bad))
	}
	next := uint64(1)
	for _, l := range got {
		if l.Sequence != next {
			t.Errorf("sequence %d, want %d", l.Sequence, next)
		}
		next += uint64(l.Rows)
	}
	o.Parallelism = 5
	if again, _, _ := loadText(t, text, s, o, nil); !reflect.DeepEqual(again, got) {
		t.Error("not the same with more goroutines")
	}
}

func TestLoadNDJSON(t *testing.T) {
	s := loadSchema()
	text := `{"id":"a","age":"41","likes":["tea","jazz"],"extra":1}
{"id":"b","age":null,"plan":""}

{"id":"c","age":4.5}
{"id":"a","seen":"2023-05-01T10:00:00Z","other":{"deep":2}}
{"age":3}
not json
`
	for _, c := range []struct {
		unset bool
		want  []string
	}{
		{false, []string{`"a"; age=int "41"; likes=set<string> "jazz|tea"`, `"b"`, `"a"; seen=timestamp "2023-05-01T10:00:00Z"`}},
		{true, []string{`"a"; age=int "41"; likes=set<string> "jazz|tea"`, `"b"; age=absent ""; plan=absent ""`, `"a"; seen=timestamp "2023-05-01T10:00:00Z"`}},
	} {
		for _, rows := range []int{1, 2, 100} {
			got, report, err := loadText(t, text, s, LoadOptions{Key: "id", EmptyUnsets: c.unset, BatchRows: rows}, nil)
			if err != nil {
				t.Fatal(err)
			}
			good, bad := flatten(t, batchesOf(got))
			compareLines(t, "good", good, c.want)
			if len(bad) != 3 || !strings.Contains(bad[0], `input:4 not a value of the kind: age: "4.5": not an int`) || !strings.HasSuffix(bad[0], `<{"id":"c","age":4.5}>`) ||
				!strings.HasPrefix(bad[1], "input:6 no key") || !strings.HasPrefix(bad[2], "input:7 not readable") {
				t.Errorf("bad %q", bad)
			}
			if report.Overwritten != 1 || !slices.Equal(report.Unknown, []string{"extra", "other.deep"}) {
				t.Errorf("report %+v", report)
			}
		}
	}
}

// TestLoadNewColumns: an NDJSON column that comes after the sample is loaded too.
func TestLoadNewColumns(t *testing.T) {
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, `{"id":"k%d","note":"n"}`+"\n", i)
	}
	text.WriteString(`{"id":"late","free":7}` + "\n" + `{"id":"later","note":"x","tags":["red"],"odd":1}` + "\n")
	// One worker has the plan without the columns first.
	got, report, err := loadText(t, text.String(), loadSchema(), LoadOptions{Key: "id", BatchRows: 1000, Parallelism: 1}, nil)
	if err != nil || len(got) != 6 {
		t.Fatal(len(got), err)
	}
	good, _ := flatten(t, batchesOf(got))
	compareLines(t, "late", good[4999:], []string{`"k4999"; note=string "n"`, `"late"; free=int "7"`, `"later"; note=string "x"; tags=set<string> "red"`})
	if !slices.Equal(report.Unknown, []string{"odd"}) {
		t.Errorf("unknown %q", report.Unknown)
	}
	_, _, err = loadText(t, text.String(), loadSchema(), LoadOptions{Key: "id", Unknown: RefuseUnknown}, nil)
	wantError(t, err, query.CodeUnknownName, `input: column 5, "odd", is not an attribute`)
}

func TestLoadColumns(t *testing.T) {
	text := "customer,years,note,plan\nk1,41,hello,free\n"
	o := LoadOptions{Key: "customer", Columns: map[string]string{"years": "age", "plan": "", "customer": "phone"}}
	got, report, err := loadText(t, text, loadSchema(), o, nil)
	if _, bad := flatten(t, batchesOf(got)); err != nil || !strings.Contains(bad[0], `phone: "k1" is not in the format`) {
		t.Fatal(report, err)
	}
	o.Columns["customer"] = "country"
	got, report, err = loadText(t, strings.Replace(text, "k1", "IT", 1), loadSchema(), o, nil)
	if err != nil || report.Unknown != nil {
		t.Fatal(report, err)
	}
	good, _ := flatten(t, batchesOf(got))
	compareLines(t, "good", good, []string{`"IT"; age=int "41"; country=string "IT"; note=string "hello"`})
}

func wantError(t testing.TB, err error, code query.Code, text string) {
	t.Helper()
	if !errors.Is(err, &query.Error{Code: code}) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %q with code %d", err, text, code)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		o    LoadOptions
		code query.Code
		want string
	}{
		{"", LoadOptions{Key: "id"}, query.CodeInvalid, "people.csv: it is empty: there is not even a header"},
		{"id,age\n", LoadOptions{Key: "id"}, query.CodeInvalid, "people.csv: there is a header and no row: is the file complete?"},
		{"id,age\n1,2\n", LoadOptions{}, query.CodeInvalid, "people.csv: no column is named for the key"},
		{"ID,age\nx,2\n", LoadOptions{Key: "id"}, query.CodeUnknownName, `people.csv: there is no column "id" for the key (did you mean "ID"?)`},
		{"1,2\n3,4\n", LoadOptions{Key: "id"}, query.CodeUnknownName, `column_2; if the first line is a header after all, say so`},
		{"id,age\nx,2\n", LoadOptions{Key: "id", Columns: map[string]string{"aeg": "age"}}, query.CodeUnknownName, `there is no column "aeg" to rename (did you mean "age"?)`},
		{"id,x\nx,2\n", LoadOptions{Key: "id", Columns: map[string]string{"x": "nothing"}}, query.CodeUnknownName, `column "x" is to be loaded as attribute "nothing"`},
		{"id,x,age\nx,2,3\n", LoadOptions{Key: "id", Columns: map[string]string{"x": "age"}}, query.CodeInvalid, `column 3, "age", is to be attribute "age", as column "x" is`},
		{"id,x\nx,2\n", LoadOptions{Key: "id", Unknown: RefuseUnknown}, query.CodeUnknownName, `column 2, "x", is not an attribute of the schema`},
		{"id,age\nx,2\n", LoadOptions{Key: "id", BatchRows: 1 << 17}, query.CodeInvalid, "they have 1 to 65536"},
		{"id,age\nx,2\n", LoadOptions{Key: "id", Parallelism: -1}, query.CodeInvalid, "parallelism"},
		{"id,age\nx,2\n", LoadOptions{Key: "id", Source: strings.Repeat("s", 200)}, query.CodeInvalid, "people.csv, line 2: the source's name"},
	} {
		c.o.File = "people.csv"
		_, _, err := loadText(t, c.text, loadSchema(), c.o, nil)
		wantError(t, err, c.code, c.want)
	}
}

// failingReader gives a text and then an error.
type failingReader struct {
	text io.Reader
	err  error
}

func (f *failingReader) Read(b []byte) (int, error) {
	n, err := f.text.Read(b)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func TestLoadStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	text := "id,age\n" + strings.Repeat("x,1\n", 30_000)
	broken := errors.New("the disk is gone")
	load := func(ctx context.Context, in io.Reader, emit func(Loaded) error) (LoadReport, error) {
		rows, _, err := OpenRows(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return Load(ctx, rows, loadSchema(), LoadOptions{Key: "id", BatchRows: 100, Parallelism: 3}, emit)
	}
	emitted := 0
	report, err := load(context.Background(), &failingReader{strings.NewReader(text), broken}, func(Loaded) error { emitted++; return nil })
	if !errors.Is(err, broken) || emitted != 300 || report.Rows != 30_000 || report.Overwritten != 29_999 {
		t.Errorf("reader: %v after %d batches, %+v", err, emitted, report)
	}
	report, err = load(context.Background(), strings.NewReader(text), func(l Loaded) error {
		if l.Sequence == 401 {
			return broken
		}
		return nil
	})
	if err != broken || report.Rows != 500 {
		t.Errorf("emit: %v, %+v", err, report)
	}
	ctx, cancel := context.WithCancel(context.Background())
	report, err = load(ctx, strings.NewReader(text), func(Loaded) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || report.Batches != 1 {
		t.Errorf("context: %v, %+v", err, report)
	}
}

func TestKeySet(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	var k keySet
	want := map[uint64]bool{}
	for range 200_000 {
		h := rnd.Uint64N(100_000) * 0x9e3779b97f4a7c15
		if rnd.IntN(10) == 0 { // crowd the end of a shard, so that places wrap around
			h = 1<<56 - 1 - rnd.Uint64N(500)
		}
		if got := k.add(h); got == want[h|1] {
			t.Fatalf("hash %x: new %v", h, got)
		}
		want[h|1] = true
	}
	if k.n != len(want) || k.full {
		t.Errorf("%d of %d", k.n, len(want))
	}
	k.n = maxCountedKeys - 1
	if !k.add(rnd.Uint64()) || !k.full || !k.add(2) || !k.add(2) {
		t.Error("a full set calls all keys new")
	}
}

// FuzzLoad: whatever the text, rows add up and stage 1 finds nothing in the batches. It
// uses no goroutines, which would make the fuzzer's coverage a matter of chance.
func FuzzLoad(f *testing.F) {
	s := loadSchema()
	rnd := rand.New(rand.NewPCG(1, 4))
	for range 3 {
		f.Add(randomCSV(rnd, s, 3), true)
	}
	f.Add("id,age\nx,1\n\"y,2\nz,3\"\n", false)
	f.Add(`{"id":"a","age":1,"likes":["x"]}`+"\n", true)
	f.Fuzz(func(t *testing.T, text string, unset bool) {
		rows, _, err := OpenRows(strings.NewReader(text), nil)
		if err != nil || len(rows.Columns()) == 0 {
			return
		}
		loadAll(t, rows, s, LoadOptions{Key: rows.Columns()[0], EmptyUnsets: unset, BatchRows: 3})
	})
}

// loadAll loads rows without goroutines and looks at what comes out.
func loadAll(t *testing.T, rows Rows, s *schema.Schema, o LoadOptions) {
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	l := loader{o: o, rows: rows, next: 1, planner: planner{o: &o, schema: s, taken: map[string]string{}}, report: LoadReport{Reasons: map[batch.Reason]uint64{}}}
	var err error
	if l.plan, err = l.planner.extend(nil, rows.Columns()); err != nil {
		t.Fatal(err)
	}
	w, job, seen := newLoadWorker(&l.o), &loadJob{}, 0
	for more := true; more; {
		if more, err = l.fill(&job.chunk); err != nil {
			t.Fatal(err)
		}
		if len(job.chunk.rows) == 0 {
			break
		}
		if err := w.do(job); err != nil {
			t.Fatal(err)
		}
		err := l.deliver(job, func(l Loaded) error {
			d, err := batch.Decode(l.Batch)
			if err != nil || d.Rows != l.Rows {
				t.Fatal(err)
			}
			if verdicts := CheckAt(d, s, schema.MaxTimestamp); len(verdicts) > 0 {
				t.Fatalf("stage 1 rejects %+v", verdicts)
			}
			seen += d.Rows
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if r := l.report; r.Rows != r.Typed+r.Quarantined || r.Rows != uint64(seen) || r.Rows != l.next-1 {
		t.Fatalf("%d rows emitted, %d read, report %+v", seen, l.next-1, r)
	}
}
