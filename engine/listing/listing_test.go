package listing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// people are members with a value of each kind, one with none, and one with awkward texts.
func people() *query.Members {
	attributes := []schema.Attribute{{Name: "b", Kind: schema.Bool}, {Name: "i", Kind: schema.Int}, {Name: "f", Kind: schema.Float}, {Name: "d", Kind: schema.Decimal, Scale: 2},
		{Name: "s", Kind: schema.String}, {Name: "day", Kind: schema.Date}, {Name: "at", Kind: schema.Timestamp}, {Name: `rfm("a,b").set`, Kind: schema.Set}}
	none := make([]schema.Value, len(attributes))
	rows := []query.Member{
		{Key: "1", Values: []schema.Value{schema.BoolValue(true), schema.IntValue(math.MinInt64), schema.FloatValue(1.5), schema.DecimalValue(-105, 2),
			schema.StringValue("a"), schema.DateValue(20_000), schema.TimestampValue(1_700_000_000_123), schema.SetValue("x", "y")}},
		{Key: "2", Values: none},
		{Key: "=3, \"three\"", Values: []schema.Value{schema.BoolValue(false), schema.IntValue(0), schema.FloatValue(0), schema.DecimalValue(0, 2),
			schema.StringValue("=1+1\nä,\""), schema.DateValue(0), schema.TimestampValue(0), schema.SetValue("z")}},
	}
	return &query.Members{Attributes: attributes, Total: 3, Rows: func(yield func(query.Member, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

// TestMembers writes each format: texts as they stand in testdata.
func TestMembers(t *testing.T) {
	for _, f := range []Format{CSV, NDJSON} {
		var out bytes.Buffer
		if n, err := Members(&out, f, people()); err != nil || n != 3 {
			t.Fatalf("%s: %d rows, %v", f, n, err)
		}
		golden(t, "members."+string(f), out.Bytes())
	}
	if _, err := Members(io.Discard, "xml", people()); err == nil {
		t.Error("members were written as XML")
	}
}

// TestParquet reads a file with the reader of loads: the same values, of the same kinds.
func TestParquet(t *testing.T) {
	var out bytes.Buffer
	m := people()
	if n, err := Members(&out, Parquet, m); err != nil || n != 3 {
		t.Fatalf("%d rows, %v", n, err)
	}
	rows, err := quality.OpenParquet(bytes.NewReader(out.Bytes()), int64(out.Len()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	want := []string{"key"}
	for i := range m.Attributes {
		want = append(want, m.Attributes[i].Name)
	}
	if got := rows.Columns(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("columns %q, want %q", got, want)
	}
	for row := range m.Rows {
		cells, _, err := rows.Next()
		if err != nil {
			t.Fatal(err)
		}
		if string(cells[0]) != row.Key {
			t.Errorf("key %q, want %q", cells[0], row.Key)
		}
		for i, v := range row.Values {
			a := &m.Attributes[i]
			got, err := schema.ParseValue(a, string(cells[i+1]), nil)
			if len(cells[i+1]) == 0 {
				got, err = schema.Value{}, nil
			}
			if err != nil || !got.Equal(v) {
				t.Errorf("%s of %s: %v (%v), want %v", a.Name, row.Key, got, err, v)
			}
		}
	}
	if _, _, err := rows.Next(); err != io.EOF {
		t.Errorf("after the last row: %v", err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if text := f.Schema().String(); !strings.Contains(text, "DECIMAL(18,2)") && !strings.Contains(text, "DECIMAL") || !strings.Contains(text, "required binary key") {
		t.Errorf("the schema is %s", text)
	}
}

// endless yields members until it is asked for no more.
func endless(n int, err error) iter.Seq2[query.Member, error] {
	return func(yield func(query.Member, error) bool) {
		for i := range n {
			if !yield(query.Member{Key: fmt.Sprintf("person %d", i), Values: []schema.Value{schema.IntValue(int64(i))}}, nil) {
				return
			}
		}
		if err != nil {
			yield(query.Member{}, err)
		}
	}
}

// TestParquetGroups writes more rows than a group has.
func TestParquetGroups(t *testing.T) {
	const n = groupRows + 1
	var out bytes.Buffer
	m := &query.Members{Attributes: []schema.Attribute{{Name: "n", Kind: schema.Int}}, Rows: endless(n, nil)}
	if rows, err := Members(&out, Parquet, m); err != nil || rows != n {
		t.Fatalf("%d rows, %v", rows, err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	groups := f.RowGroups()
	if f.NumRows() != n || len(groups) != 2 || groups[0].NumRows() != groupRows {
		t.Errorf("%d rows in %d groups", f.NumRows(), len(groups))
	}
}

// TestBroken ends listings with an error: it is returned, and a Parquet file has no end.
func TestBroken(t *testing.T) {
	broken := errors.New("broken")
	for _, f := range []Format{CSV, NDJSON, Parquet} {
		var out bytes.Buffer
		m := &query.Members{Attributes: []schema.Attribute{{Name: "n", Kind: schema.Int}}, Rows: endless(10, broken)}
		if n, err := Members(&out, f, m); err != broken || n != 10 {
			t.Errorf("%s: %d rows, %v", f, n, err)
		}
		if f == Parquet && bytes.HasSuffix(out.Bytes(), []byte("PAR1")) && out.Len() > 4 {
			t.Error("a broken file has an end")
		}
	}
	twice := &query.Members{Attributes: []schema.Attribute{{Name: "key", Kind: schema.Int}}, Rows: endless(1, nil)}
	if _, err := Members(io.Discard, Parquet, twice); err == nil {
		t.Error("two columns of a Parquet file have one name")
	}
}

// TestTimeline writes an event and a change.
func TestTimeline(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	events := []query.TimelineEvent{
		{Event: "purchase", Time: at, Properties: []query.AttributeValue{{Name: "amount", Value: schema.DecimalValue(1999, 2)}, {Name: "item", Value: schema.StringValue("a, \"b\"")}}},
		{Event: "plan", Time: at, Change: &query.Change{To: schema.StringValue("premium")}},
	}
	for _, f := range []Format{CSV, NDJSON} {
		var out bytes.Buffer
		if err := Timeline(&out, f, events); err != nil {
			t.Fatal(err)
		}
		golden(t, "timeline."+string(f), out.Bytes())
	}
	if err := Timeline(io.Discard, Parquet, events); err == nil {
		t.Error("a timeline was written as Parquet")
	}
}

// TestSplitNames cuts names apart.
func TestSplitNames(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "a,b": "a|b", `"a,b",c`: "a,b|c", `rfm("a,b").segment,c`: `rfm("a,b").segment|c`, `"a""b"`: `a"b`, "": ""} {
		if got, err := SplitNames(text); err != nil || strings.Join(got, "|") != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if _, err := SplitNames(`"a`); err == nil {
		t.Error("a quotation mark is missing")
	}
}
