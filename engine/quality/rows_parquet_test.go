package quality

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// parquetColumn is a column of a file that a test writes.
type parquetColumn struct {
	name string
	node parquet.Node
	rows [][]parquet.Value // of each row, with levels
}

func one(v parquet.Value) []parquet.Value  { return []parquet.Value{v} }
func some(v parquet.Value) []parquet.Value { return one(v.Level(0, 1, 0)) }
func null() []parquet.Value                { return one(parquet.NullValue()) }
func text(s string) parquet.Value          { return parquet.ByteArrayValue([]byte(s)) }

// listOf is a list of required elements in an optional list.
func listOf(values ...parquet.Value) (out []parquet.Value) {
	if len(values) == 0 {
		return one(parquet.NullValue().Level(0, 1, 0))
	}
	for i, v := range values {
		out = append(out, v.Level(min(i, 1), 2, 0))
	}
	return out
}

// writeParquet writes a file. Columns of one group are named with a dot.
func writeParquet(t testing.TB, columns []parquetColumn, options ...parquet.WriterOption) []byte {
	t.Helper()
	group := parquet.Group{}
	slices.SortFunc(columns, func(a, b parquetColumn) int { return strings.Compare(a.name, b.name) })
	for _, c := range columns {
		if outer, inner, nested := strings.Cut(c.name, "."); nested {
			if group[outer] == nil {
				group[outer] = parquet.Group{}
			}
			group[outer].(parquet.Group)[inner] = c.node
		} else {
			group[c.name] = c.node
		}
	}
	var out bytes.Buffer
	w := parquet.NewWriter(&out, append([]parquet.WriterOption{parquet.NewSchema("test", group)}, options...)...)
	for i := range columns[0].rows {
		var row parquet.Row
		for at, c := range columns {
			for _, v := range c.rows[i] {
				row = append(row, v.Level(v.RepetitionLevel(), v.DefinitionLevel(), at))
			}
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openParquet(t testing.TB, file []byte, opt *RowsOptions) Rows {
	t.Helper()
	rows, err := OpenParquet(bytes.NewReader(file), int64(len(file)), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rows.Close() })
	return rows
}

// TestParquetTypes: the text, and the kind that is inferred, of each type of the format.
func TestParquetTypes(t *testing.T) {
	ns := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC).UnixNano()
	const hour = 3600_000_000_000
	julian := deprecated.Int96{hour & math.MaxUint32, hour >> 32, 2440588 + 19782}
	fixed := func(b ...byte) parquet.Value { return parquet.FixedLenByteArrayValue(b) }
	for _, c := range []struct {
		name  string
		node  parquet.Node
		value parquet.Value
		cell  string
		want  string
	}{
		{"text", parquet.String(), text("Ä,\"x\""), "Ä,\"x\"", "string"},
		{"bytes", parquet.Leaf(parquet.ByteArrayType), text("plain"), "plain", "string"},
		{"digits as text", parquet.String(), text("12"), "12", "string"},
		{"enum", parquet.Enum(), text("gold"), "gold", "string"},
		{"json", parquet.JSON(), text(`{"a":1}`), `{"a":1}`, "string"},
		{"uuid", parquet.UUID(), fixed(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), "00010203-0405-0607-0809-0a0b0c0d0e0f", "string"},
		{"email", parquet.String(), text("a@b.de"), "a@b.de", "string inline pii"},
		{"bool", parquet.Leaf(parquet.BooleanType), parquet.BooleanValue(true), "true", "bool"},
		{"int8", parquet.Int(8), parquet.Int32Value(-128), "-128", "int"},
		{"int64", parquet.Int(64), parquet.Int64Value(math.MinInt64), "-9223372036854775808", "int"},
		{"uint32", parquet.Uint(32), parquet.Int32Value(-1), "4294967295", "int"},
		{"uint64", parquet.Uint(64), parquet.Int64Value(-1), "18446744073709551615", "int"},
		{"zip", parquet.Int(32), parquet.Int32Value(501), "501", "int"},
		{"float", parquet.Leaf(parquet.FloatType), parquet.FloatValue(0.1), "0.1", "float"},
		{"double", parquet.Leaf(parquet.DoubleType), parquet.DoubleValue(1700000000.25), "1700000000.25", "float"},
		{"tiny", parquet.Leaf(parquet.DoubleType), parquet.DoubleValue(5e-324), "5e-324", "float"},
		{"decimal32", parquet.Decimal(2, 9, parquet.Int32Type), parquet.Int32Value(-5), "-0.05", "decimal(2)"},
		{"decimal64", parquet.Decimal(4, 18, parquet.Int64Type), parquet.Int64Value(123456), "12.3456", "decimal(4)"},
		{"decimal0", parquet.Decimal(0, 9, parquet.Int32Type), parquet.Int32Value(7), "7", "decimal(0)"},
		{"decimal fixed", parquet.Decimal(2, 38, parquet.FixedLenByteArrayType(16)), fixed(slices.Repeat([]byte{0xff}, 16)...), "-0.01", "decimal(2)"},
		{"decimal bytes", parquet.Decimal(3, 20, parquet.ByteArrayType), parquet.ByteArrayValue([]byte{0x01, 0x00, 0x00}), "65.536", "decimal(3)"},
		{"date", parquet.Date(), parquet.Int32Value(-1), "1969-12-31", "date"},
		{"ms", parquet.Timestamp(parquet.Millisecond), parquet.Int64Value(ns / 1e6), "2024-02-29T23:59:59.123Z", "timestamp"},
		{"us", parquet.Timestamp(parquet.Microsecond), parquet.Int64Value(ns / 1e3), "2024-02-29T23:59:59.123Z", "timestamp"},
		{"ns", parquet.Timestamp(parquet.Nanosecond), parquet.Int64Value(ns), "2024-02-29T23:59:59.123Z", "timestamp"},
		{"before 1970", parquet.Timestamp(parquet.Nanosecond), parquet.Int64Value(-1), "1969-12-31T23:59:59.999Z", "timestamp"},
		{"local", parquet.TimestampAdjusted(parquet.Microsecond, false), parquet.Int64Value(ns / 1e3), "2024-02-29T23:59:59.123", "timestamp"},
		{"int96", parquet.Leaf(parquet.Int96Type), parquet.Int96Value(julian), "2024-02-29T01:00:00Z", "timestamp"},
	} {
		file := writeParquet(t, []parquetColumn{{"id", parquet.String(), [][]parquet.Value{one(text("k")), one(text("l"))}},
			{c.name, parquet.Optional(c.node), [][]parquet.Value{null(), some(c.value)}}})
		rows := openParquet(t, file, nil)
		at := slices.Index(rows.Columns(), c.name)
		if cells, line, err := rows.Next(); err != nil || line != 1 || cells[at] == nil || len(cells[at]) > 0 {
			t.Errorf("%s: null is %q in row %d, %v", c.name, cells[at], line, err)
		}
		if cells, line, err := rows.Next(); err != nil || line != 2 || string(cells[at]) != c.cell {
			t.Errorf("%s: %q in row %d, want %q, %v", c.name, cells[at], line, c.cell, err)
		}
		if _, _, err := rows.Next(); err != io.EOF {
			t.Errorf("%s: %v after the last row", c.name, err)
		}
		attributes, _, err := Infer(openParquet(t, file, nil), "id", 0)
		if err != nil || describe(&attributes[0]) != c.want {
			t.Errorf("%s: inferred %+v, %v, want %s", c.name, attributes, err, c.want)
		}
	}
}

// TestParquetAbsent: the file says the kind of what has no value too.
func TestParquetAbsent(t *testing.T) {
	file := writeParquet(t, []parquetColumn{{"a", parquet.Optional(parquet.Int(64)), [][]parquet.Value{null()}},
		{"b", parquet.Optional(parquet.List(parquet.String())), [][]parquet.Value{null()}}, {"c", parquet.Optional(parquet.Decimal(2, 9, parquet.Int32Type)), [][]parquet.Value{null()}},
		{"id", parquet.String(), [][]parquet.Value{one(text("k"))}}})
	attributes, _, err := Infer(openParquet(t, file, nil), "id", 0)
	var got []string
	for i := range attributes {
		got = append(got, describe(&attributes[i]))
	}
	if want := []string{"int", "set<string>", "decimal(2)"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestParquetBadRows: what is wrong with a row is its own matter.
func TestParquetBadRows(t *testing.T) {
	long := strings.Repeat("x", schema.MaxStringBytes)
	values := func(list ...parquet.Value) (out [][]parquet.Value) {
		for _, v := range list {
			out = append(out, one(v))
		}
		return out
	}
	half := strings.Repeat("y", schema.MaxStringBytes/2)
	file := writeParquet(t, []parquetColumn{{"a", parquet.String(), values(text(long), text(long+"x"), text("\xff"), text("é"), text(""), text("z"))},
		{"b", parquet.Optional(parquet.List(parquet.String())), [][]parquet.Value{listOf(), listOf(), listOf(), listOf(text("p|q")), listOf(text(half), text(half)), listOf(text("p"), text("q"))}}})
	rows := openParquet(t, file, nil)
	var got []string
	for {
		cells, line, err := rows.Next()
		var bad *RowError
		switch {
		case err == io.EOF:
			want := []string{"1 16384 0", `2 too long column "a": a value is longer than 16 KiB`, `3 not UTF-8 in normal form column "a": it is not UTF-8`,
				`4 not readable as a row column "b": an element has the set separator in it: choose another separator`, `5 too long column "b": a value is longer than 16 KiB`, "6 1 3"}
			compareLines(t, "rows", got, want)
			return
		case errors.As(err, &bad):
			got = append(got, fmt.Sprintf("%d %s %s", bad.Line, bad.Reason, bad.Detail))
			if len(bad.Raw) > maxRaw {
				t.Errorf("row %d keeps %d bytes", bad.Line, len(bad.Raw))
			}
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, fmt.Sprintf("%d %d %d", line, len(cells[0]), len(cells[1])))
		}
	}
}

// TestParquetLargeRows: what is too large for a row takes neither memory nor time, and is the
// row's own matter.
func TestParquetLargeRows(t *testing.T) {
	group, members := parquet.Group{}, 40
	var large, small parquet.Row
	for i := range members {
		group[fmt.Sprintf("m%02d", i)] = parquet.String()
		for k := range 100 {
			large = append(large, text(strings.Repeat("x", 12<<10)).Level(min(k, 1), 1, i))
		}
		small = append(small, text("y").Level(0, 1, i))
	}
	var out bytes.Buffer
	w := parquet.NewWriter(&out, parquet.NewSchema("test", parquet.Group{"l": parquet.Repeated(group)}))
	if _, err := w.WriteRows([]parquet.Row{large, small}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows := openParquet(t, out.Bytes(), &RowsOptions{Unnest: true})
	_, _, err := rows.Next()
	if bad := new(RowError); !errors.As(err, &bad) || bad.Reason != batch.ReasonTooLong || !strings.Contains(bad.Detail, "the row is longer than 1 MiB") {
		t.Error(err)
	}
	if n := cap(rows.(*parquetRows).raw); n > 4*MaxRowBytes {
		t.Errorf("%d bytes are held of a row", n)
	}
	if cells, line, err := rows.Next(); err != nil || line != 2 || string(cells[0]) != "y" {
		t.Errorf("%d %q %v", line, cells, err)
	}
	digits := func(n int) []parquet.Value { return one(parquet.ByteArrayValue(bytes.Repeat([]byte{0x7f}, n))) }
	rows = openParquet(t, writeParquet(t, []parquetColumn{{"d", parquet.Decimal(3, 20, parquet.ByteArrayType), [][]parquet.Value{digits(4 << 20), digits(2)}}}), nil)
	_, _, err = rows.Next()
	if bad := new(RowError); !errors.As(err, &bad) || bad.Reason != batch.ReasonOutOfRange || !strings.Contains(bad.Detail, `column "d": a number of 4194304 bytes`) {
		t.Error(err)
	}
	if cells, line, err := rows.Next(); err != nil || line != 2 || string(cells[0]) != "32.639" {
		t.Errorf("%d %q %v", line, cells, err)
	}
}

// TestParquetRefused: what cannot be loaded is named, with its column and type.
func TestParquetRefused(t *testing.T) {
	columns := func(node parquet.Node, value ...parquet.Value) []byte {
		return writeParquet(t, []parquetColumn{{"c", node, [][]parquet.Value{value}}})
	}
	good := columns(parquet.String(), text("x"))
	encrypted := slices.Clone(good)
	copy(encrypted[len(encrypted)-4:], "PARE")
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"fixed bytes", columns(parquet.Leaf(parquet.FixedLenByteArrayType(2)), parquet.FixedLenByteArrayValue([]byte("ab"))), `column "c" is FIXED_LEN_BYTE_ARRAY(2), which no attribute can be: write the file without it, or as text`},
		{"time of day", columns(parquet.Time(parquet.Millisecond), parquet.Int32Value(1)), `column "c" is TIME(`},
		{"bson", columns(parquet.BSON(), text("x")), `column "c" is BSON`},
		{"interval", columns(parquet.IntervalNode(), parquet.FixedLenByteArrayValue(make([]byte, 12))), `column "c" is INTERVAL`},
		{"wide decimal", columns(parquet.Decimal(19, 38, parquet.FixedLenByteArrayType(16)), parquet.FixedLenByteArrayValue(make([]byte, 16))), `column "c" is DECIMAL(38,19)`},
		{"map", writeParquet(t, []parquetColumn{{"c", parquet.Map(parquet.String(), parquet.String()), [][]parquet.Value{{parquet.NullValue(), parquet.NullValue().Level(0, 0, 1)}}}}), `column "c" is a map`},
		{"list of lists", columns(parquet.List(parquet.List(parquet.String())), parquet.NullValue()), `column "c" is a list of lists`},
		{"list of objects", columns(parquet.List(parquet.Group{"x": parquet.String()}), parquet.NullValue()), `column "c" is a list of objects, which no attribute can be: write the file without it, or as text`},
		{"empty", nil, "it is not complete"},
		{"cut", good[:len(good)-1], "it is not complete"},
		{"no footer", slices.Concat(good[:8], []byte("PAR1")), "damaged"},
		{"encrypted", encrypted, "an encrypted Parquet file: decrypt it first"},
	} {
		_, err := OpenParquet(bytes.NewReader(c.file), int64(len(c.file)), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, _, err := OpenRows(bytes.NewReader(good), nil); err == nil || !strings.Contains(err.Error(), "a Parquet file, which is not read as a stream") {
		t.Errorf("a stream: %v", err)
	}
	if !IsParquet(bytes.NewReader(good)) || IsParquet(strings.NewReader("PAR")) || IsParquet(strings.NewReader("PARk")) {
		t.Error("IsParquet is wrong")
	}
}

// randomParquet writes a file with the columns id, a set, numbers and texts, in a random
// layout, and returns its rows as OpenParquet is to return them.
func randomParquet(t testing.TB, rnd *rand.Rand, n int) (file []byte, want [][]string) {
	list := parquetColumn{name: "c", node: parquet.Optional(parquet.List(parquet.Optional(parquet.String())))}
	id := parquetColumn{name: "id", node: parquet.String()}
	number := parquetColumn{name: "n", node: parquet.Optional(parquet.Int(64))}
	member := parquetColumn{name: "g.x", node: parquet.Optional(parquet.Decimal(2, 18, parquet.Int64Type))}
	words := []string{"a", "b,c", "d\"e", "long " + strings.Repeat("w", 300), "é", ""}
	for i := range n {
		key := fmt.Sprint("k", i)
		id.rows = append(id.rows, one(text(key)))
		cells := []string{"", "", key, ""}
		var elements []parquet.Value
		switch count := rnd.IntN(6); count {
		case 0:
			elements = null()
		case 1:
			elements = one(parquet.NullValue().Level(0, 1, 0))
		default:
			var joined []string
			for j := range count - 1 {
				if rnd.IntN(4) == 0 {
					elements = append(elements, parquet.NullValue().Level(min(j, 1), 2, 0))
					continue
				}
				word := words[rnd.IntN(len(words)-1)]
				joined = append(joined, word)
				elements = append(elements, text(word).Level(min(j, 1), 3, 0))
			}
			cells[0] = strings.Join(joined, "|")
		}
		list.rows = append(list.rows, elements)
		x := rnd.Int64N(2000) - 1000
		if member.rows = append(member.rows, null()); rnd.IntN(3) > 0 {
			member.rows[i] = some(parquet.Int64Value(x))
			cells[1] = fmt.Sprintf("%.2f", float64(x)/100)
		}
		if number.rows = append(number.rows, null()); rnd.IntN(3) > 0 {
			number.rows[i] = some(parquet.Int64Value(x))
			cells[3] = fmt.Sprint(x)
		}
		want = append(want, cells)
	}
	if rnd.IntN(2) == 0 {
		list.node = parquet.Optional(parquet.List(parquet.Optional(parquet.Encoded(parquet.String(), &parquet.RLEDictionary))))
		number.node = parquet.Optional(parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary))
	}
	codec := []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd, &parquet.Gzip, &parquet.Lz4Raw, &parquet.Brotli}[rnd.IntN(6)]
	return writeParquet(t, []parquetColumn{id, list, number, member}, parquet.Compression(codec), parquet.DataPageVersion(1+rnd.IntN(2)),
		parquet.PageBufferSize(64+rnd.IntN(2000)), parquet.MaxRowsPerRowGroup(1+rnd.Int64N(int64(n)+1))), want
}

// TestParquetRandom: whatever the layout of pages and row groups, the cells are those that
// were written.
func TestParquetRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 1))
	for range 60 {
		file, want := randomParquet(t, rnd, 1+rnd.IntN(600))
		rows := openParquet(t, file, nil)
		if !slices.Equal(rows.Columns(), []string{"c", "g.x", "id", "n"}) {
			t.Fatalf("columns %q", rows.Columns())
		}
		for i, cells := range want {
			got, line, err := rows.Next()
			if err != nil || line != i+1 {
				t.Fatalf("row %d of %d: line %d, %v", i+1, len(want), line, err)
			}
			for j := range cells {
				if string(got[j]) != cells[j] || got[j] == nil {
					t.Fatalf("row %d, column %d: %q, want %q", i+1, j, got[j], cells[j])
				}
			}
		}
		if _, _, err := rows.Next(); err != io.EOF {
			t.Fatal(err)
		}
	}
}

// TestParquetLoad: a Parquet file makes the rows that the same table makes as NDJSON, and goes on
// after a kill.
func TestParquetLoad(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 2))
	file, rows := randomParquet(t, rnd, 500)
	var lines strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&lines, `{"id":%q,"c":%q,"g.x":%q,"n":%q}`+"\n", r[2], r[0], r[1], r[3])
	}
	s := schema.New(0, 0, []schema.Attribute{{Name: "c", Kind: schema.Set}, {Name: "g.x", Kind: schema.Decimal, Scale: 2, Min: schema.DecimalValue(-900, 2)}, {Name: "n", Kind: schema.Int}})
	o := LoadOptions{File: "f", Key: "id", BatchRows: 70, Source: "s"}
	want, _, err := loadText(t, lines.String(), s, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	load := func(o LoadOptions) (out []Loaded) {
		report, err := Load(t.Context(), openParquet(t, file, nil), s, o, func(l Loaded) error {
			out = append(out, l)
			return nil
		})
		if err != nil || report.Rows != 500 || report.Quarantined == 0 {
			t.Fatal(report, err)
		}
		return out
	}
	got := load(o)
	wantGood, wantBad := flatten(t, batchesOf(want))
	good, bad := flatten(t, batchesOf(got))
	compareLines(t, "good", good, wantGood)
	for i := range bad { // the raw texts differ
		bad[i], _, _ = strings.Cut(bad[i], " <")
		wantBad[i], _, _ = strings.Cut(wantBad[i], " <")
	}
	compareLines(t, "bad", bad, wantBad)
	if _, err := Load(t.Context(), openParquet(t, file, nil), eventSchema(), LoadOptions{File: "f", Key: "id", Columns: map[string]string{"g.x": ""}, Events: &EventColumns{Time: "n", Event: "c"}, Unknown: RefuseUnknown}, nil); err == nil || !strings.Contains(err.Error(), "f, row 1: ") {
		t.Errorf("a refused row: %v", err)
	}
	o.FromSequence = got[3].Sequence
	if rest := load(o); !reflect.DeepEqual(rest, got[3:]) {
		t.Errorf("%d batches from the fourth on", len(rest))
	}
}

// TestParquetLines: a list of groups makes an event of each.
func TestParquetLines(t *testing.T) {
	lines := parquet.Optional(parquet.List(parquet.Group{"n": parquet.Int(64), "sku": parquet.Optional(parquet.String())}))
	number := func(rep, def int, n int64) parquet.Value { return parquet.Int64Value(n).Level(rep, def, 1) }
	sku := func(rep, def int, s string) parquet.Value { return text(s).Level(rep, def, 2) }
	group := parquet.Group{"at": parquet.Timestamp(parquet.Millisecond), "lines": lines, "order": parquet.String(), "user": parquet.String()}
	var out bytes.Buffer
	w := parquet.NewWriter(&out, parquet.NewSchema("orders", group))
	row := func(order string, lines ...parquet.Value) {
		values := parquet.Row{parquet.Int64Value(1700000000000).Level(0, 0, 0)}
		values = append(values, lines...)
		values = append(values, text(order).Level(0, 0, 3), text("ann").Level(0, 0, 4))
		if _, err := w.WriteRows([]parquet.Row{values}); err != nil {
			t.Fatal(err)
		}
	}
	row("o1", number(0, 2, 1), number(1, 2, 2), number(1, 2, 3), sku(0, 3, "x"), parquet.NullValue().Level(1, 2, 2), sku(1, 3, "y,z"))
	row("o2", parquet.NullValue().Level(0, 1, 1), parquet.NullValue().Level(0, 1, 2))
	row("o3", parquet.NullValue().Level(0, 0, 1), parquet.NullValue().Level(0, 0, 2))
	row("o4", number(0, 2, 4), sku(0, 3, "v"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	columns := EventColumns{Time: "at", Name: "buy", ID: "order"}
	unnest := &RowsOptions{Unnest: true}
	events, _, err := InferEvents(openParquet(t, out.Bytes(), unnest), "user", columns, 0)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := (&Definitions{Events: events}).Diff(schema.New(0, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	s := schema.New(0, 0, nil)
	for _, c := range changes {
		if s, err = s.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	var batches []batch.Batch
	o := LoadOptions{File: "f", Key: "user", Events: &columns, BatchRows: 2}
	if _, err := Load(t.Context(), openParquet(t, out.Bytes(), unnest), s, o, func(l Loaded) error {
		batches = append(batches, l.Batch)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	good, bad := flatten(t, batches)
	act := func(id, values, order string) string {
		return fmt.Sprintf(`"ann" buy 2023-11-14T22:13:20Z %s; %sorder=string %q`, id, values, order)
	}
	compareLines(t, "good", good, []string{act("o1#1", `lines.n=int "1"; lines.sku=string "x"; `, "o1"), act("o1#2", `lines.n=int "2"; `, "o1"),
		act("o1#3", `lines.n=int "3"; lines.sku=string "y,z"; `, "o1"), act("o2", "", "o2"), act("o3", "", "o3"), act("o4#1", `lines.n=int "4"; lines.sku=string "v"; `, "o4")})
	compareLines(t, "bad", bad, nil)
}

// readDamaged reads all of a file that may be damaged, and whatever comes is no panic.
func readDamaged(file []byte) (rows int, err error) {
	r, err := OpenParquet(bytes.NewReader(file), int64(len(file)), &RowsOptions{Unnest: true})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		_, _, err := r.Next()
		var bad *RowError
		if err == io.EOF {
			return rows, nil
		}
		if err != nil && !errors.As(err, &bad) {
			return rows, err
		}
		rows++
	}
}

// TestParquetDamaged: a file that is cut, or has wrong bytes, is an error or other rows.
func TestParquetDamaged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 3))
	file, want := randomParquet(t, rnd, 40)
	if rows, err := readDamaged(file); err != nil || rows != len(want) {
		t.Fatal(rows, err)
	}
	for n := range len(file) {
		if rows, err := readDamaged(file[:n]); err == nil {
			t.Fatalf("%d of %d bytes are a file of %d rows", n, len(file), rows)
		}
	}
	failed := 0
	for range 3000 {
		broken := slices.Clone(file)
		for range 1 + rnd.IntN(3) {
			broken[4+rnd.IntN(len(broken)-8)] = byte(rnd.Uint32())
		}
		if _, err := readDamaged(broken); err != nil {
			failed++
		}
	}
	if failed < 300 {
		t.Errorf("only %d damaged files were noticed", failed)
	}
}

// TestParquetRowCount: a row group that says it has fewer or more rows than its columns have
// values is damaged, not shorter or longer.
func TestParquetRowCount(t *testing.T) {
	file := writeParquet(t, []parquetColumn{{"id", parquet.String(), [][]parquet.Value{one(text("k")), one(text("l"))}}})
	for _, n := range []int64{1, 2, 3} {
		rows := openParquet(t, file, nil)
		rows.(*parquetRows).file.Metadata().RowGroups[0].NumRows = n
		read := 0
		var err error
		for err == nil {
			if _, _, err = rows.Next(); err == nil {
				read++
			}
		}
		if (err == io.EOF) != (n == 2) || err != io.EOF && !strings.Contains(err.Error(), `damaged, or of a version that is not known: column "id"`) || read != int(min(n, 2)) {
			t.Errorf("a group of %d rows: %d read, %v", n, read, err)
		}
		if _, _, again := rows.Next(); again != err {
			t.Errorf("the error does not stay: %v, then %v", err, again)
		}
	}
}

// FuzzParquet: no bytes make the reader panic. The footer's length is made right, so that
// more is read than the end.
func FuzzParquet(f *testing.F) {
	rnd := rand.New(rand.NewPCG(8, 4))
	for range 3 {
		file, _ := randomParquet(f, rnd, 3)
		f.Add(file[4:len(file)-8], binary.LittleEndian.Uint32(file[len(file)-8:]))
	}
	f.Fuzz(func(_ *testing.T, body []byte, footer uint32) {
		file := slices.Concat([]byte("PAR1"), body, binary.LittleEndian.AppendUint32(nil, footer), []byte("PAR1"))
		_, _ = readDamaged(file)
	})
}

// TestParquetHuge: what a damaged file says it has is not made room for.
func TestParquetHuge(t *testing.T) {
	file := func(footer ...byte) []byte {
		return slices.Concat([]byte("PAR1"), footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
	}
	many := binary.AppendUvarint(nil, 1<<30)
	for name, f := range map[string][]byte{
		"a schema of a billion columns": file(slices.Concat([]byte{0x15, 2, 0x19, 0xfc}, many, []byte{0, 0, 0})...),
		"a text of a gigabyte":          file(slices.Concat([]byte{0x15, 2, 0x58}, many, []byte{0, 0, 0})...),
		"a footer of the file's length": slices.Concat([]byte("PAR1"), []byte{255, 255, 255, 0}, []byte("PAR1")),
		"deep":                          file(bytes.Repeat([]byte{0x1c}, 1000)...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := OpenParquet(bytes.NewReader(f), int64(len(f)), nil)
		runtime.ReadMemStats(&after)
		if size := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "damaged") || size > 1<<20 {
			t.Errorf("%s: %v, %d bytes allocated", name, err, size)
		}
	}
}

// parquetSchema is a file without rows of a schema's elements.
func parquetSchema(t *testing.T, elements ...format.SchemaElement) []byte {
	t.Helper()
	footer, err := thrift.Marshal(&thrift.CompactProtocol{}, &format.FileMetaData{Version: 1, Schema: elements, RowGroups: []format.RowGroup{}})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat([]byte("PAR1"), footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
}

func parquetGroup(members int32) (e format.SchemaElement) {
	e.Name, e.NumChildren.V, e.NumChildren.Valid = "g", members, true
	return e
}

func parquetInt(name string) (e format.SchemaElement) {
	e.Name, e.Type.V, e.Type.Valid = name, format.Int32, true
	return e
}

// TestParquetSchemaLimits: the library is not given schemas that take it minutes, or all memory.
func TestParquetSchemaLimits(t *testing.T) {
	nested := func(depth int) []format.SchemaElement {
		return append(slices.Repeat([]format.SchemaElement{parquetGroup(1)}, 1+depth), parquetInt("i"))
	}
	columns := func(n int) []format.SchemaElement {
		out := []format.SchemaElement{parquetGroup(int32(n))}
		for i := range n {
			out = append(out, parquetInt(fmt.Sprint("c", i)))
		}
		return out
	}
	for _, c := range []struct {
		name   string
		schema []format.SchemaElement
		want   string
	}{
		{"nested", nested(maxJSONDepth), ""},
		{"nested deeper", nested(maxJSONDepth + 1), "groups nested deeper than 16"},
		{"nested as deep as is looked at", nested(maxParquetDepth - 1), `column "g.g.g.g.g.g.g.g.g.g.g.g.g.g.g.g.g.": groups nested deeper than 16`},
		{"nested deeper than that", nested(maxParquetDepth), "groups nested deeper than 64"},
		{"nested a hundred thousand deep", nested(100_000), "groups nested deeper than 64"},
		{"of the most columns", columns(schema.MaxAttributes), ""},
		{"of one column more", columns(schema.MaxAttributes + 1), "16385 columns, at most 16384 can be attributes"},
		{"without columns", columns(0), ""},
		{"without anything", nil, "damaged"},
		{"of more members than there are", columns(3)[:3], "damaged"},
		{"of a negative number", []format.SchemaElement{parquetGroup(-1), parquetInt("i")}, "damaged"},
	} {
		file := parquetSchema(t, c.schema...)
		_, err := OpenParquet(bytes.NewReader(file), int64(len(file)), nil)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || len(err.Error()) > 400) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestParquetPageHeaders: of the pages too.
func TestParquetPageHeaders(t *testing.T) {
	m := &format.ColumnMetaData{Codec: format.Snappy, NumValues: 100}
	v1 := func(packed, unpacked, values int32) *format.PageHeader {
		h := &format.PageHeader{CompressedPageSize: packed, UncompressedPageSize: unpacked}
		h.DataPageHeader.Valid, h.DataPageHeader.V.NumValues = true, values
		return h
	}
	v2 := func(packed, levels int32) *format.PageHeader {
		h := &format.PageHeader{CompressedPageSize: packed, UncompressedPageSize: 100}
		h.DataPageHeaderV2.Valid, h.DataPageHeaderV2.V.DefinitionLevelsByteLength = true, levels
		return h
	}
	small := binary.AppendUvarint(nil, 100)
	large := binary.AppendUvarint(nil, 4<<30)
	for _, c := range []struct {
		name  string
		h     *format.PageHeader
		start []byte
		want  string
	}{
		{"good", v1(20, 100, 100), small, ""},
		{"past the end", v1(21, 100, 100), small, "21 bytes, 100 unpacked"},
		{"negative", v1(-1, 100, 100), small, "-1 bytes"},
		{"large when unpacked", v1(20, maxPageBytes+1, 100), small, "268435457 unpacked"},
		{"more values than the column", v1(20, 100, 101), small, "101 values, of 100 in all"},
		{"good levels", v2(20, 20), small, ""},
		{"levels past the end", v2(20, 21), small, "21 bytes of levels in 20"},
		{"snappy says that it is large", v1(20, 100, 100), large, "4294967296 bytes unpacked"},
		{"snappy behind levels", v2(20, 1), append([]byte{0}, large...), "4294967296 bytes unpacked"},
	} {
		err := checkPage(bytes.NewReader(append(c.start, make([]byte, 20)...)), 0, 20, c.h, m)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
