package message

import (
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// OfValue writes a value; an absent one is a message without anything.
func OfValue(v schema.Value) *pb.Value {
	switch v.Kind() {
	case schema.Bool:
		return &pb.Value{Kind: &pb.Value_Bool{Bool: v.Bool()}}
	case schema.Int:
		return &pb.Value{Kind: &pb.Value_Int{Int: v.Ordered()}}
	case schema.Float:
		return &pb.Value{Kind: &pb.Value_Float{Float: v.Float()}}
	case schema.Decimal:
		return &pb.Value{Kind: &pb.Value_Decimal{Decimal: v.String()}}
	case schema.String:
		return &pb.Value{Kind: &pb.Value_Text{Text: v.Str()}}
	case schema.Date:
		return &pb.Value{Kind: &pb.Value_Date{Date: v.String()}}
	case schema.Timestamp:
		return &pb.Value{Kind: &pb.Value_Timestamp{Timestamp: v.String()}}
	case schema.Set:
		return &pb.Value{Kind: &pb.Value_Set{Set: &pb.Strings{Values: v.Elements()}}}
	}
	return &pb.Value{}
}

// Value reads a value.
func (r *Reader) Value(v *pb.Value) schema.Value {
	switch k := v.GetKind().(type) {
	case nil:
		return schema.Value{}
	case *pb.Value_Bool:
		return schema.BoolValue(k.Bool)
	case *pb.Value_Int:
		return schema.IntValue(k.Int)
	case *pb.Value_Float:
		return schema.FloatValue(k.Float)
	case *pb.Value_Decimal:
		_, places, _ := strings.Cut(k.Decimal, ".")
		return r.ordered(schema.Decimal, len(places), k.Decimal)
	case *pb.Value_Text:
		return schema.StringValue(k.Text)
	case *pb.Value_Date:
		return r.ordered(schema.Date, 0, k.Date)
	case *pb.Value_Timestamp:
		return r.ordered(schema.Timestamp, 0, k.Timestamp)
	case *pb.Value_Set:
		return schema.SetValue(k.Set.GetValues()...)
	}
	r.fail("a value of a kind that this version does not know")
	return schema.Value{}
}

// ordered reads the text of a decimal, a date or a timestamp.
func (r *Reader) ordered(kind schema.Kind, scale int, text string) schema.Value {
	if scale > schema.MaxScale {
		r.fail("%q has too many decimal places", text)
		return schema.Value{}
	}
	n, err := schema.ParseOrdered(kind, uint8(scale), []byte(text), nil)
	if err != nil {
		r.fail("%q is no %s", text, kind)
		return schema.Value{}
	}
	return schema.FromOrdered(kind, uint8(scale), n)
}

// OfNamed writes values with their names.
func OfNamed(list []query.AttributeValue) []*pb.NamedValue {
	return each(list, func(v *query.AttributeValue) *pb.NamedValue {
		return &pb.NamedValue{Name: v.Name, Value: OfValue(v.Value)}
	})
}

// Named reads values with their names.
func (r *Reader) Named(list []*pb.NamedValue) []query.AttributeValue {
	return every(list, func(v *pb.NamedValue) query.AttributeValue {
		return query.AttributeValue{Name: v.GetName(), Value: r.Value(v.GetValue())}
	})
}

// AppendColumn adds one value of an attribute, that of row number row, to a column. The column
// has a place for each row before it. It returns about how many bytes that takes.
func AppendColumn(c *pb.Column, kind schema.Kind, row int, v schema.Value) (size int) {
	if v.IsAbsent() {
		c.Absent = append(c.Absent, uint32(row))
	}
	switch kind {
	case schema.Bool:
		c.Bools = append(c.Bools, v.Bool())
		return 1
	case schema.Int:
		c.Ints = append(c.Ints, v.Ordered())
		return 4
	case schema.Float:
		f := 0.0
		if !v.IsAbsent() {
			f = v.Float()
		}
		c.Floats = append(c.Floats, f)
		return 8
	case schema.Set:
		c.Sets = append(c.Sets, &pb.Strings{Values: v.Elements()})
		size = 2
		for _, s := range v.Elements() {
			size += 2 + len(s)
		}
		return size
	}
	text := v.String()
	c.Texts = append(c.Texts, text)
	return 2 + len(text)
}

// Column reads the values of an attribute, rows of them, to where they belong: dst[0],
// dst[step] and so on.
func (r *Reader) Column(c *pb.Column, a *schema.Attribute, rows int, dst []schema.Value, step int) {
	have := 0
	switch a.Kind {
	case schema.Bool:
		have = len(c.GetBools())
	case schema.Int:
		have = len(c.GetInts())
	case schema.Float:
		have = len(c.GetFloats())
	case schema.Set:
		have = len(c.GetSets())
	default:
		have = len(c.GetTexts())
	}
	if have != rows {
		r.fail("the column %q has %d values for %d rows", a.Name, have, rows)
		return
	}
	absent := c.GetAbsent()
	for i := range rows {
		if len(absent) > 0 && absent[0] == uint32(i) {
			absent = absent[1:]
			continue
		}
		dst[i*step] = r.cell(c, a, i)
	}
	if len(absent) > 0 {
		r.fail("the column %q lacks values of rows that are not there", a.Name)
	}
}

func (r *Reader) cell(c *pb.Column, a *schema.Attribute, i int) schema.Value {
	switch a.Kind {
	case schema.Bool:
		return schema.BoolValue(c.Bools[i])
	case schema.Int:
		return schema.IntValue(c.Ints[i])
	case schema.Float:
		return schema.FloatValue(c.Floats[i])
	case schema.Set:
		return schema.SetValue(c.Sets[i].GetValues()...)
	case schema.String:
		return schema.StringValue(c.Texts[i])
	}
	return r.ordered(a.Kind, int(a.Scale), c.Texts[i])
}
