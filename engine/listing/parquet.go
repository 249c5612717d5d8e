package listing

import (
	"io"
	"reflect"

	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// A group of rows is in memory until it is written.
const (
	groupRows  = 100_000
	groupBytes = 32 << 20
)

// decimalDigits is the precision of all decimals: those of an int64.
const decimalDigits = 18

// table is the root of a file's columns, in the order of the listing.
type table struct {
	parquet.Group
	columns []parquet.Field
}

// Fields implements [parquet.Node].
func (t *table) Fields() []parquet.Field { return t.columns }

// GoType implements [parquet.Node]. Rows are not made of Go structs, and names of attributes are
// not names of their fields.
func (t *table) GoType() reflect.Type { return reflect.TypeFor[struct{}]() }

type tableColumn struct {
	parquet.Node
	name string
}

// Name implements [parquet.Field].
func (c *tableColumn) Name() string { return c.name }

// Value implements [parquet.Field].
func (c *tableColumn) Value(reflect.Value) reflect.Value { return reflect.Value{} }

// add adds a column; of one that is there it reports false.
func (t *table) add(name string, n parquet.Node) bool {
	if t.Group[name] != nil {
		return false
	}
	t.Group[name] = n
	t.columns = append(t.columns, &tableColumn{n, name})
	return true
}

func nodeOf(a *schema.Attribute) parquet.Node {
	switch a.Kind {
	case schema.Bool:
		return parquet.Optional(parquet.Leaf(parquet.BooleanType))
	case schema.Int:
		return parquet.Optional(parquet.Int(64))
	case schema.Float:
		return parquet.Optional(parquet.Leaf(parquet.DoubleType))
	case schema.Decimal:
		return parquet.Optional(parquet.Decimal(int(a.Scale), decimalDigits, parquet.Int64Type))
	case schema.Date:
		return parquet.Optional(parquet.Date())
	case schema.Timestamp:
		return parquet.Optional(parquet.Timestamp(parquet.Millisecond))
	case schema.Set:
		return parquet.List(parquet.String())
	}
	return parquet.Optional(parquet.String())
}

func membersParquet(w io.Writer, m *query.Members) (rows uint64, err error) {
	root := &table{Group: parquet.Group{}}
	root.add("key", parquet.String())
	for i := range m.Attributes {
		if a := &m.Attributes[i]; !root.add(a.Name, nodeOf(a)) {
			return 0, query.Errorf(query.CodeInvalid, "two columns are named %q, which a Parquet file cannot have: leave one out", a.Name)
		}
	}
	out := parquet.NewWriter(w, parquet.NewSchema("members", root), parquet.Compression(&parquet.Snappy), parquet.CreatedBy("kanta", "1", ""))
	var row parquet.Row
	held, bytes := 0, 0
	for member, err := range m.Rows {
		if err != nil {
			return rows, err
		}
		row = append(row[:0], parquet.ByteArrayValue([]byte(member.Key)).Level(0, 0, 0))
		bytes += len(member.Key)
		for i, v := range member.Values {
			var n int
			row, n = appendValue(row, v, &m.Attributes[i], i+1)
			bytes += n
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return rows, err
		}
		rows++
		if held++; held == groupRows || bytes >= groupBytes {
			if err := out.Flush(); err != nil {
				return rows, err
			}
			held, bytes = 0, 0
		}
	}
	return rows, out.Close()
}

// appendValue appends the value of a column, or the elements of a set, and returns how many
// bytes that are.
func appendValue(row parquet.Row, v schema.Value, a *schema.Attribute, column int) (parquet.Row, int) {
	if a.Kind == schema.Set {
		size := 0
		for i, element := range v.Elements() {
			row = append(row, parquet.ByteArrayValue([]byte(element)).Level(min(i, 1), 1, column))
			size += len(element)
		}
		if len(v.Elements()) == 0 {
			row = append(row, parquet.NullValue().Level(0, 0, column))
		}
		return row, size
	}
	if v.IsAbsent() {
		return append(row, parquet.NullValue().Level(0, 0, column)), 1
	}
	size := 8
	var out parquet.Value
	switch a.Kind {
	case schema.Bool:
		out = parquet.BooleanValue(v.Bool())
	case schema.Int, schema.Decimal, schema.Timestamp:
		out = parquet.Int64Value(v.Ordered())
	case schema.Float:
		out = parquet.DoubleValue(v.Float())
	case schema.Date:
		out = parquet.Int32Value(int32(v.Ordered()))
	default:
		text := v.String()
		out, size = parquet.ByteArrayValue([]byte(text)), len(text)
	}
	return append(row, out.Level(0, 1, column)), size
}
