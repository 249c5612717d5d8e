package quality

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
)

var errRepetition = errors.New("its values do not start where a row does") //tidy:constant

// parquetWalk finds the columns of a file.
type parquetWalk struct {
	unnest  bool
	lines   string // the list to make rows of; "": whichever there is
	ignored []string
	seen    map[string]bool // the names of columns
	rows    *parquetRows
}

// group adds the columns of a group's members. defined is the definition level of the group.
func (w *parquetWalk) group(c *parquet.Column, prefix string, defined int) error {
	if strings.Count(prefix, ".") > maxJSONDepth {
		return fmt.Errorf("column %q: groups nested deeper than %d", prefix, maxJSONDepth)
	}
	for _, member := range c.Columns() {
		if err := w.member(member, prefix+member.Name(), defined); err != nil {
			return err
		}
	}
	return nil
}

func (w *parquetWalk) member(c *parquet.Column, name string, defined int) error {
	if !c.Required() {
		defined++
	}
	switch {
	case c.Repeated():
		return w.list(c, name, defined)
	case c.Leaf():
		return w.leaf(c, name, parquetLeaf{defined: defined})
	case annotated(c, &format.MapType{}):
		return unsupported(name, "a map")
	case annotated(c, &format.VariantType{}):
		return unsupported(name, "a variant")
	case annotated(c, &format.ListType{}):
		inner := c.Columns()
		if len(inner) != 1 || !inner[0].Repeated() {
			return unsupported(name, "a list that is not written as one")
		}
		// Writers of old repeat the element itself: the format's rules for reading them.
		list := inner[0]
		if old := list.Name() == "array" || list.Name() == c.Name()+"_tuple"; !list.Leaf() && !old && len(list.Columns()) == 1 {
			return w.element(list.Columns()[0], name, defined+1)
		}
		return w.list(list, name, defined+1)
	}
	return w.group(c, name+".", defined)
}

// element adds what a list has in it. listed is the definition level of the list's elements.
func (w *parquetWalk) element(c *parquet.Column, name string, listed int) error {
	defined := listed
	if c.Optional() {
		defined++
	}
	switch {
	case c.Repeated() || !c.Leaf() && (annotated(c, &format.ListType{}) || annotated(c, &format.MapType{})):
		return unsupported(name, "a list of lists")
	case c.Leaf():
		return w.leaf(c, name, parquetLeaf{defined: defined, repeated: parquetSet, listed: listed})
	}
	return w.objects(c, name, defined, listed)
}

// list adds a repeated column, whose elements have no name of their own.
func (w *parquetWalk) list(c *parquet.Column, name string, listed int) error {
	if c.Leaf() {
		return w.leaf(c, name, parquetLeaf{defined: listed, repeated: parquetSet, listed: listed})
	}
	return w.objects(c, name, listed, listed)
}

// objects adds the members of a list of groups, of which each becomes a row.
func (w *parquetWalk) objects(c *parquet.Column, name string, defined, listed int) error {
	switch p := w.rows; {
	case !w.unnest:
		return unsupported(name, "a list of objects")
	case w.lines != "" && norm.NFC.String(name) != w.lines:
		w.ignored = append(w.ignored, name)
		return nil
	case p.lines != "":
		return fmt.Errorf("column %q is a list of objects, as %q is: only one can become rows, name it with --lines", name, p.lines)
	default:
		p.lines = name
	}
	return w.fields(c, name+".", defined, listed)
}

// fields adds the members of the elements of a list.
func (w *parquetWalk) fields(c *parquet.Column, prefix string, defined, listed int) error {
	for _, member := range c.Columns() {
		name, defined := prefix+member.Name(), defined
		if member.Optional() {
			defined++
		}
		var err error
		switch {
		case member.Repeated() || annotated(member, &format.ListType{}) || annotated(member, &format.MapType{}):
			err = unsupported(name, "a list within a list")
		case member.Leaf():
			err = w.leaf(member, name, parquetLeaf{defined: defined, repeated: parquetLine, listed: listed})
		case strings.Count(name, ".") > maxJSONDepth:
			err = fmt.Errorf("column %q: groups nested deeper than %d", name, maxJSONDepth)
		default:
			err = w.fields(member, name+".", defined, listed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *parquetWalk) leaf(c *parquet.Column, name string, l parquetLeaf) error {
	p := w.rows
	form, ok := parquetFormOf(c)
	if !ok {
		return unsupported(name, c.Type().String())
	}
	if err := w.column(name); err != nil {
		return err
	}
	l.at, l.name, l.form = c.Index(), p.columns[len(p.columns)-1], form
	p.leaves = append(p.leaves, l)
	return nil
}

func (w *parquetWalk) column(name string) error {
	p := w.rows
	column, err := columnName([]byte(name), len(p.columns)+1)
	if err != nil {
		return err
	}
	if w.seen[column] {
		return fmt.Errorf("there are two columns %q: rename one of them", column)
	}
	w.seen[column] = true
	p.columns = append(p.columns, column)
	return nil
}

// unsupported refuses a column. One that is not wanted has to be left out where the file is
// made: what it means to leave it out here, silently, nobody would see.
func unsupported(name, what string) error {
	return fmt.Errorf("column %q is %s, which no attribute can be: write the file without it, or as text", name, what)
}

// annotated reports whether a column has a logical type.
func annotated(c *parquet.Column, want format.LogicalTypeValue) bool {
	t := c.Type().LogicalType()
	return t != nil && t.Value != nil && t.Value.FieldID() == want.FieldID()
}

// parquetForm is how a value is written as text.
type parquetForm struct {
	write parquetWrite
	scale int   // of a decimal
	unit  int64 // of a timestamp: how many are a millisecond
	local bool  // the timestamp is that of a clock whose zone is not known
}

type parquetWrite int

const (
	writeText parquetWrite = iota
	writeUUID
	writeBool
	writeInt
	writeUint
	writeFloat
	writeDecimal
	writeDate
	writeTimestamp
	writeInt96 // a timestamp of Impala and of Spark before 3
)

// parquetFormOf returns the form of a column's values, if there is one.
func parquetFormOf(c *parquet.Column) (f parquetForm, ok bool) {
	t := c.Type()
	kind := t.Kind()
	whole := kind == parquet.Int32 || kind == parquet.Int64
	if logical := t.LogicalType(); logical != nil {
		switch lt := logical.Value.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			return parquetForm{}, kind == parquet.ByteArray
		case *format.NullType:
			return parquetForm{}, true
		case *format.UUIDType:
			return parquetForm{write: writeUUID}, kind == parquet.FixedLenByteArray
		case *format.DecimalType:
			f = parquetForm{write: writeDecimal, scale: int(lt.Scale)}
			return f, lt.Scale >= 0 && lt.Scale <= schema.MaxScale && (whole || kind == parquet.ByteArray || kind == parquet.FixedLenByteArray)
		case *format.DateType:
			return parquetForm{write: writeDate}, kind == parquet.Int32
		case *format.TimestampType:
			if lt.Unit.Value == nil || kind != parquet.Int64 {
				return f, false
			}
			return parquetForm{write: writeTimestamp, unit: int64(time.Millisecond / lt.Unit.Value.Duration()), local: !lt.IsAdjustedToUTC}, true
		case *format.IntType:
			if !lt.IsSigned {
				return parquetForm{write: writeUint}, whole
			}
			return parquetForm{write: writeInt}, whole
		case nil:
		default:
			return f, false
		}
	}
	switch converted := t.ConvertedType(); {
	case converted != nil && (*converted == deprecated.Interval || *converted == deprecated.Bson):
		return f, false
	case kind == parquet.Boolean:
		f.write = writeBool
	case whole:
		f.write = writeInt
	case kind == parquet.Int96:
		f.write = writeInt96
	case kind == parquet.Float || kind == parquet.Double:
		f.write = writeFloat
	case kind == parquet.ByteArray: // of writers that do not say that it is text
	default:
		return f, false
	}
	return f, true
}

// text reports whether the values are texts of any bytes.
func (f *parquetForm) text() bool { return f.write == writeText }

// kind returns the kind of attribute that the values have.
func (f *parquetForm) kind() (schema.Kind, uint8) {
	switch f.write {
	case writeBool:
		return schema.Bool, 0
	case writeInt, writeUint:
		return schema.Int, 0
	case writeFloat:
		return schema.Float, 0
	case writeDecimal:
		return schema.Decimal, uint8(f.scale)
	case writeDate:
		return schema.Date, 0
	case writeTimestamp, writeInt96:
		return schema.Timestamp, 0
	}
	return schema.String, 0
}

// append appends the text of a value that is not null.
func (f *parquetForm) append(dst []byte, v *parquet.Value) ([]byte, error) {
	switch f.write {
	case writeText:
		return append(dst, v.ByteArray()...), nil
	case writeUUID:
		return appendUUID(dst, v.ByteArray())
	case writeBool:
		return strconv.AppendBool(dst, v.Boolean()), nil
	case writeInt:
		return strconv.AppendInt(dst, integer(v), 10), nil
	case writeUint:
		if v.Kind() == parquet.Int32 {
			return strconv.AppendUint(dst, uint64(v.Uint32()), 10), nil
		}
		return strconv.AppendUint(dst, v.Uint64(), 10), nil
	case writeFloat:
		if v.Kind() == parquet.Float {
			return appendFloat(dst, float64(v.Float()), 32), nil
		}
		return appendFloat(dst, v.Double(), 64), nil
	case writeDecimal:
		return f.appendDecimal(dst, v), nil
	case writeDate:
		return time.Unix(integer(v)*86400, 0).UTC().AppendFormat(dst, time.DateOnly), nil
	case writeTimestamp:
		return f.appendTime(dst, floorDiv(v.Int64(), f.unit)), nil
	}
	t := v.Int96() // nanoseconds of the day, and the Julian day
	const julian = 2440588
	return f.appendTime(dst, (int64(t[2])-julian)*86400000+(int64(t[1])<<32|int64(t[0]))/1e6), nil
}

func integer(v *parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

// appendFloat writes numbers of usual size without an exponent, so that a time in seconds is
// known as one.
func appendFloat(dst []byte, x float64, bits int) []byte {
	if a := math.Abs(x); a == 0 || a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, x, 'f', -1, bits)
	}
	return strconv.AppendFloat(dst, x, 'g', -1, bits)
}

func (f *parquetForm) appendTime(dst []byte, ms int64) []byte {
	layout := "2006-01-02T15:04:05.999Z"
	if f.local {
		layout = "2006-01-02T15:04:05.999"
	}
	return time.UnixMilli(ms).UTC().AppendFormat(dst, layout)
}

func (f *parquetForm) appendDecimal(dst []byte, v *parquet.Value) []byte {
	start := len(dst)
	switch v.Kind() {
	case parquet.Int32, parquet.Int64:
		dst = strconv.AppendInt(dst, integer(v), 10)
	default:
		dst = bigEndian(v.ByteArray()).Append(dst, 10)
	}
	if f.scale == 0 {
		return dst
	}
	digits := start
	if dst[digits] == '-' {
		digits++
	}
	if missing := f.scale + 1 - (len(dst) - digits); missing > 0 {
		dst = append(dst, strings.Repeat("0", missing)...)
		copy(dst[digits+missing:], dst[digits:])
		for i := range missing {
			dst[digits+i] = '0'
		}
	}
	dst = append(dst, 0)
	point := len(dst) - 1 - f.scale
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// maxDecimalBytes bounds decimals that are written as bytes: it takes long to make digits of
// many, and no attribute holds more than 18.
const maxDecimalBytes = 64

// size returns of how many bytes a decimal is made, if it is written as bytes.
func (f *parquetForm) size(v *parquet.Value) int {
	if f.write != writeDecimal || v.Kind() == parquet.Int32 || v.Kind() == parquet.Int64 {
		return 0
	}
	return len(v.ByteArray())
}

// bigEndian reads a number in two's complement.
func bigEndian(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

func appendUUID(dst, b []byte) ([]byte, error) {
	if len(b) != 16 {
		return nil, fmt.Errorf("an UUID of %d bytes", len(b))
	}
	return fmt.Appendf(dst, "%08x-%04x-%04x-%04x-%012x", binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]),
		binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint16(b[8:]), b[10:]), nil
}

// floorDiv divides and rounds down, as the texts of times before 1970 are truncated.
func floorDiv(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}
