package quality

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// describe writes an attribute as "kind", "decimal(2)", "string inline pii".
func describe(a *schema.Attribute) string {
	out := kindText(a)
	if a.Storage == schema.StorageInline {
		out += " inline"
	}
	if a.PII {
		out += " pii"
	}
	return out
}

// inferColumn infers one column of cells, given as a CSV file with a key.
func inferColumn(t *testing.T, name string, cells []string) InferColumn {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "key,%s\n", name)
	for i, cell := range cells {
		fmt.Fprintf(&b, "%d,\"%s\"\n", i, cell)
	}
	rows := open(t, b.String(), &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}})
	attributes, report, err := Infer(rows, "key", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(attributes) != 1 || attributes[0].Name != name || !schema.SameDefinition(&attributes[0], &report.Columns[0].Attribute) {
		t.Fatalf("%s: %+v", name, attributes)
	}
	if _, err := schema.New(0, 0, nil).Apply(schema.Change{Op: schema.AddAttribute, Name: name, Attribute: attributes[0]}); err != nil {
		t.Fatalf("%s: what was inferred cannot be added: %v", name, err)
	}
	return report.Columns[0]
}

func repeat(n int, cell func(i int) string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = cell(i)
	}
	return out
}

func TestInferRules(t *testing.T) {
	number := func(format string) []string {
		return repeat(2000, func(i int) string { return fmt.Sprintf(format, i) })
	}
	for _, c := range []struct {
		name  string
		cells []string
		want  string
		why   string
	}{
		{"x", nil, "string", "no value was seen"},
		{"x", []string{"", ""}, "string", "no value was seen"},
		{"x", []string{"true", "No", ""}, "bool", "true, false, yes or no"},
		{"x", []string{"1", "0"}, "int", "whole numbers"},
		{"is_vip", []string{"1", "0"}, "bool", "1 or 0"},
		{"Has_App", []string{"1", ""}, "bool", "1 or 0"},
		{"opt_out", []string{"0"}, "bool", "1 or 0"},
		{"email_opt_in", []string{"0", "1"}, "bool", "1 or 0"},
		{"churn_flag", []string{"0", "yes"}, "bool", "1 or 0"},
		{"is_vip", []string{"1", "2"}, "int", "whole numbers"},
		{"x", []string{"1", "-5", "9223372036854775807"}, "int", "whole numbers"},
		{"x", []string{"1", "9223372036854775808"}, "string", "text"},
		{"x", []string{"007", "1"}, "string", `1 numbers start with a zero, so they are codes (first "007", line 2)`},
		{"x", []string{"0", "0.5", "-0.25"}, "float", "numbers"},
		{"x", []string{"1.50", "-0.25"}, "decimal(2)", "2 places"},
		{"x", []string{"1.5000", "2.2500"}, "decimal(4)", "4 places"},
		{"x", []string{"1.50000", "2.25000"}, "float", "numbers"},
		{"x", []string{"1.5", "2.25"}, "float", "numbers"},
		{"x", []string{"1.5", "2"}, "float", "numbers"},
		{"x", []string{"1e5", "2"}, "float", "numbers"},
		{"x", []string{"nan", "2"}, "string", "text"},
		{"x", []string{"2024-02-29", "1999-01-01"}, "date", "dates"},
		{"x", []string{"2024-02-29", "2023-02-29"}, "string", "text"},
		{"x", []string{"2024-02-29", "2024-02-29 10:00"}, "timestamp", "dates or times"},
		{"x", []string{"2024-02-29T10:00:00Z", "2024-02-29T10:00:00.5+02:00"}, "timestamp", "dates or times"},
		{"x", []string{"a|b", "c", "d"}, "set<string>", `1 of 3 cells have a "|"`},
		{"x", append([]string{"a|b"}, number("t%d")[:30]...), "string", "text"},
		{"x", []string{"|", "a|"}, "string", "text"},
		{"city", repeat(2000, func(i int) string { return fmt.Sprint("c", i%900) }), "string", "900 different values in 2000"},
		{"token", number("t%d"), "string inline", "nearly unique"},
		{"token", number("t%d")[:1000], "string", "1000 different values in 1000"},
		{"x", append(number("%d"), "N/A"), "string inline", `it would be int but for 1 cells (first "N/A", line 2002)`},
		{"x", append(repeat(19, func(int) string { return "2024-02-29" }), "29.2.2024"), "string", `it would be date but for 1 cells (first "29.2.2024", line 21)`},
		{"email", []string{"a@b.c"}, "string inline pii", "personal"},
		{"Phone Number", []string{"391234"}, "string inline pii", "personal"},
		{"firstName", []string{"Aino"}, "string inline pii", "personal"},
		{"given_name", []string{"Aino"}, "string inline pii", "personal"},
		{"address_1", []string{"x street"}, "string inline pii", "personal"},
		{"address.city", []string{"Turku"}, "string", "text"},
		{"address.country", []string{"FI"}, "string", "text"},
		{"name", []string{"Aino"}, "string inline pii", "personal"},
		{"product_name", []string{"Aino"}, "string", "text"},
		{"email_verified", []string{"true"}, "bool", "true"},
		{"emails_opened", []string{"3"}, "int", "whole"},
		{"has_email", []string{"1"}, "bool", "1 or 0"},
		{"phone", []string{"true"}, "bool", "true"},
		{"mobile", []string{"2024-02-29"}, "date", "dates"},
		{"postcode", []string{"4011", "2000"}, "string", "the name says that its numbers are codes"},
	} {
		got := inferColumn(t, c.name, c.cells)
		if d := describe(&got.Attribute); d != c.want || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s %.5q: got %s because %q, want %s because %q", c.name, c.cells, d, got.Why, c.want, c.why)
		}
	}
}

func TestInferReport(t *testing.T) {
	got := inferColumn(t, "x", []string{"5", "", "-3", "5", "40", "7"})
	if got.Seen != 5 || got.Absent != 1 || got.Distinct != 4 || got.More || fmt.Sprint(got.Examples) != "[5 -3 40]" ||
		got.Min.String() != "-3" || got.Max.String() != "40" {
		t.Errorf("got %+v", got)
	}
	many := inferColumn(t, "x", repeat(80000, func(i int) string { return fmt.Sprint("t", i) }))
	if !many.More || many.Distinct != maxDistinct || !many.Attribute.Inline() {
		t.Errorf("got %+v", many)
	}
	rows := open(t, "id,a\n1,2\n3\n4,\"\n5,6\n7,8\n", nil)
	_, report, err := Infer(rows, "id", 4)
	if err != nil || report.Rows != 4 || report.Bad != 2 || report.BadRow.Line != 3 || report.Columns[0].Seen != 2 {
		t.Errorf("got %+v, %v", report, err)
	}
	if _, _, err := Infer(open(t, "id,a\n1,2\n", nil), "key", 0); err == nil || !strings.Contains(err.Error(), `no column "key" for the key: the columns are id, a`) {
		t.Errorf("got %v", err)
	}
	attributes, report, err := Infer(open(t, "id,a\n", nil), "id", 0)
	if err != nil || len(attributes) != 1 || report.Columns[0].Why != "no value was seen" {
		t.Errorf("no rows: got %+v, %v", attributes, err)
	}
}

func TestInferNDJSON(t *testing.T) {
	rows := open(t, `{"id":"1","tags":["a"],"home":{"city":"Turku"}}
{"id":"2","tags":[],"score":1.5}
`, nil)
	attributes, report, err := Infer(rows, "id", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range attributes {
		got = append(got, attributes[i].Name+" "+describe(&attributes[i])+fmt.Sprintf(" %d/%d", report.Columns[i].Seen, report.Columns[i].Absent))
	}
	if s := strings.Join(got, ", "); s != "tags set<string> 1/1, home.city string 1/1, score decimal(1) 1/1" {
		t.Errorf("got %s", s)
	}
}

// TestInferGenerated makes columns of known kinds: what is inferred is the kind that
// was meant, and it reads every cell of the column.
func TestInferGenerated(t *testing.T) {
	const seed = 26
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		meant := schema.Attribute{Kind: []schema.Kind{schema.Bool, schema.Int, schema.Float, schema.Decimal, schema.Date, schema.Timestamp}[r.IntN(6)]}
		if meant.Kind == schema.Decimal {
			meant.Scale = uint8(1 + r.IntN(4))
		}
		cells := repeat(20+r.IntN(50), func(i int) string {
			switch {
			case i > 1 && r.IntN(4) == 0:
				return ""
			case meant.Kind == schema.Float:
				return schema.FloatValue(r.NormFloat64()).String()
			case meant.Kind == schema.Bool:
				return schema.BoolValue(r.IntN(2) == 0).String()
			case meant.Kind == schema.Timestamp:
				return schema.TimestampValue(r.Int64N(4e12)).String()
			case meant.Kind == schema.Date:
				return schema.DateValue(r.Int64N(40000)).String()
			}
			return schema.FromOrdered(meant.Kind, meant.Scale, r.Int64N(2e9)-1e9).String()
		})
		got := inferColumn(t, "x", cells)
		if got.Attribute.Kind != meant.Kind || got.Attribute.Scale != meant.Scale {
			t.Fatalf("%q: got %s, want %s", cells, describe(&got.Attribute), describe(&meant))
		}
		for _, cell := range cells {
			v, err := schema.ParseValue(&got.Attribute, cell, nil)
			if err != nil {
				t.Fatalf("%q: %v", cell, err)
			}
			if !v.IsAbsent() && meant.Kind != schema.Bool && (v.Ordered() < got.Min.Ordered() || v.Ordered() > got.Max.Ordered()) {
				t.Fatalf("%q is not in %s..%s", cell, got.Min, got.Max)
			}
		}
	}
}

// refData opens a file of the reference data.
func refData(t *testing.T, name string) *os.File {
	t.Helper()
	dir := os.Getenv("KANTA_REFDATA")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("KANTA_REFDATA is not set: name the folder of reference data")
		}
		t.Skip("KANTA_REFDATA is not set: the reference data is not tested")
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestInferReferenceData(t *testing.T) {
	for _, c := range []struct {
		file, key string
		rows      int
		want      map[string]string
	}{
		{"febrl/dataset1.csv", "rec_id", 1000, map[string]string{
			"given_name": "string inline pii", "surname": "string inline pii", "address_1": "string inline pii", "state": "string",
			"postcode": "string", "suburb": "string", "date_of_birth": "int", "soc_sec_id": "string inline pii"}},
		{"completejourney/demographics.csv.gz", "household_id", 801, map[string]string{
			"age": "string", "income": "string", "home_ownership": "string", "household_size": "string", "kids_count": "string"}},
	} {
		rows, d, err := OpenRows(refData(t, c.file), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		attributes, report, err := Infer(rows, c.key, 0)
		if err != nil {
			t.Fatal(err)
		}
		if report.Rows != c.rows || report.Bad > 0 {
			t.Errorf("%s: %d rows, %d bad (%v), dialect %+v", c.file, report.Rows, report.Bad, report.BadRow, d)
		}
		for i := range attributes {
			t.Logf("%s %s: %s; %d seen, %d absent, %d different; %s; %q", c.file, attributes[i].Name, describe(&attributes[i]),
				report.Columns[i].Seen, report.Columns[i].Absent, report.Columns[i].Distinct, report.Columns[i].Why, report.Columns[i].Examples)
			if want, ok := c.want[attributes[i].Name]; ok && describe(&attributes[i]) != want {
				t.Errorf("%s %s: got %s, want %s", c.file, attributes[i].Name, describe(&attributes[i]), want)
			}
			delete(c.want, attributes[i].Name)
		}
		if len(c.want) > 0 {
			t.Errorf("%s: no columns %v", c.file, c.want)
		}
	}
}

func BenchmarkInfer(b *testing.B) {
	var text strings.Builder
	text.WriteString("id,country,plan,age,ltv,signup,visits,newsletter,interests,city\n")
	for i := range 20000 {
		fmt.Fprintf(&text, "u%07d,IT,premium,%d,%d.50,2023-05-%02d,17,true,cooking|wine,c%d\n", i, i%90, i, 1+i%28, i%500)
	}
	for b.Loop() {
		rows, _, err := OpenRows(strings.NewReader(text.String()), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := Infer(rows, "id", 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
