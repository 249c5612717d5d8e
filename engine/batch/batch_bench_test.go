package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// people are rows with the 20 attributes and about the distributions of the workload.
type people struct {
	columns []Column
	keys    [][]byte
	ints    [][]int64    // by column, then row; -1 << 63 is no cell
	strs    [][][]byte   // by column, then row; nil is no cell
	sets    [][][][]byte // by column, then row
}

const noCell = math.MinInt64

func newPeople(n int) *people {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := &people{}
	for i := range n {
		p.keys = append(p.keys, fmt.Appendf(nil, "user-%08d", i))
	}
	add := func(name string, k schema.Kind, scale uint8) int {
		p.columns = append(p.columns, Column{Name: name, Kind: k, Scale: scale})
		p.ints, p.strs, p.sets = append(p.ints, make([]int64, n)), append(p.strs, make([][]byte, n)), append(p.sets, make([][][]byte, n))
		return len(p.columns) - 1
	}
	text := func(name string, distinct int, absent float64) {
		c := add(name, schema.String, 0)
		var values [][]byte
		for i := range distinct {
			values = append(values, fmt.Appendf(nil, "%s-%02d", name[:4], i))
		}
		for i := range n {
			if rnd.Float64() >= absent {
				p.strs[c][i] = values[int(float64(distinct)*math.Pow(rnd.Float64(), 3))]
			}
		}
	}
	number := func(name string, k schema.Kind, scale uint8, lo, hi int64, absent float64) {
		c := add(name, k, scale)
		for i := range n {
			p.ints[c][i] = noCell
			if rnd.Float64() >= absent {
				p.ints[c][i] = lo + int64(float64(hi-lo+1)*math.Pow(rnd.Float64(), 1.8))
			}
		}
	}
	text("country", 50, 0)
	text("city", 2000, 0)
	text("gender", 3, 0.03)
	number("age", schema.Int, 0, 18, 90, 0.05)
	text("plan", 4, 0)
	text("os-name", 3, 0)
	text("app_version", 40, 0)
	text("language", 20, 0)
	text("marital_status", 5, 0.1)
	text("income_band", 8, 0.2)
	text("acquisition_channel", 12, 0)
	text("campaign", 300, 0)
	number("has_email", schema.Bool, 0, 0, 1, 0)
	number("email_opt_in", schema.Bool, 0, 0, 1, 0)
	number("push_opt_in", schema.Bool, 0, 0, 1, 0)
	c := add("interests", schema.Set, 0)
	for i := range n {
		p.sets[c][i] = [][]byte{}
		for range rnd.IntN(7) {
			p.sets[c][i] = append(p.sets[c][i], fmt.Appendf(nil, "i%d", rnd.IntN(200)))
		}
	}
	number("signup_date", schema.Date, 0, 19358, 20453, 0)
	number("ltv", schema.Decimal, 2, 100, 500000, 0.02)
	text("loyalty_tier", 5, 0)
	number("support_tickets", schema.Int, 0, 0, 9, 0)
	return p
}

func (p *people) fill(t *Table) {
	for i, key := range p.keys {
		t.Row(key)
		for c := range p.columns {
			switch {
			case p.columns[c].Kind == schema.String:
				if p.strs[c][i] != nil {
					t.Str(c, p.strs[c][i])
				}
			case p.columns[c].Kind == schema.Set:
				t.Elems(c, p.sets[c][i])
			case p.ints[c][i] != noCell:
				t.Int(c, p.ints[c][i])
			}
		}
	}
}

const benchRows = 5000

func BenchmarkTable(b *testing.B) {
	p := newPeople(benchRows)
	bld := New()
	t := bld.Table(p.columns)
	var enc Batch
	raw := 0
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		p.fill(t)
		raw = bld.RawSize()
		var err error
		if enc, err = bld.Encode(); err != nil {
			b.Fatal(err)
		}
	}
	perRow := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / benchRows
	b.ReportMetric(perRow, "ns/row")
	b.ReportMetric(perRow/20, "ns/cell")
	b.ReportMetric(float64(raw)/benchRows, "rawB/row")
	b.ReportMetric(float64(len(enc))/benchRows, "B/row")
}

// BenchmarkFill is BenchmarkTable without Encode.
func BenchmarkFill(b *testing.B) {
	p := newPeople(benchRows)
	bld := New()
	t := bld.Table(p.columns)
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		p.fill(t)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkUnique fills a column of distinct strings, such as e-mail addresses.
func BenchmarkUnique(b *testing.B) {
	var mails [][]byte
	for i := range benchRows {
		mails = append(mails, fmt.Appendf(nil, "somebody.%d@example.org", i))
	}
	bld := New()
	t := bld.Table([]Column{{Name: "email", Kind: schema.String}})
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		for _, m := range mails {
			t.Row(m[9:])
			t.Str(0, m)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/cell")
}

func BenchmarkDecode(b *testing.B) {
	p := newPeople(benchRows)
	bld := New()
	p.fill(bld.Table(p.columns))
	enc, err := bld.Encode()
	if err != nil {
		b.Fatal(err)
	}
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkSingle makes and decodes a batch of one row of three attributes.
func BenchmarkSingle(b *testing.B) {
	for _, how := range []string{"build", "decode"} {
		b.Run(how, func(b *testing.B) {
			bld := New()
			var d Decoder
			var enc Batch
			build := func() {
				bld.Reset()
				bld.Upsert("user-00000001").Set("ltv", schema.DecimalValue(12345, 2)).Set("plan", schema.StringValue("premium")).Increment("support_tickets", schema.IntValue(1))
				var err error
				if enc, err = bld.Encode(); err != nil {
					b.Fatal(err)
				}
			}
			build()
			b.ReportAllocs()
			for b.Loop() {
				if how == "build" {
					build()
				} else if _, err := d.Decode(enc); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(enc)), "B")
		})
	}
}

// BenchmarkRows is BenchmarkTable through Upsert and Set.
func BenchmarkRows(b *testing.B) {
	p := newPeople(benchRows)
	values := make([][]schema.Value, benchRows)
	for i := range values {
		for c, def := range p.columns {
			var v schema.Value
			switch {
			case def.Kind == schema.Set:
				var elems []string
				for _, e := range p.sets[c][i] {
					elems = append(elems, string(e))
				}
				v = schema.SetValue(elems...)
			case def.Kind == schema.String:
				v = schema.StringValue(string(p.strs[c][i]))
			default:
				v = schema.FromOrdered(def.Kind, def.Scale, max(0, p.ints[c][i]))
			}
			values[i] = append(values[i], v)
		}
	}
	bld := New()
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		for i := range values {
			r := bld.Upsert(string(p.keys[i]))
			for c := range p.columns {
				r.Set(p.columns[c].Name, values[i][c])
			}
		}
		if _, err := bld.Encode(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkEvents makes and decodes events of two properties, with and without ids.
func BenchmarkEvents(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 3))
	var keys, ids [][]byte
	types := [][]byte{[]byte("app_open"), []byte("view_item"), []byte("purchase")}
	for range benchRows {
		keys = append(keys, fmt.Appendf(nil, "user-%08d", rnd.IntN(1e7)))
		ids = append(ids, fmt.Appendf(nil, "%016x", rnd.Uint64()))
	}
	item := []byte("item-000")
	for _, how := range []string{"build", "build with ids", "decode", "decode with ids"} {
		b.Run(how, func(b *testing.B) {
			bld := New()
			t := bld.Events([]Column{{Name: "item_id", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2}})
			var d Decoder
			var enc Batch
			build := func() {
				bld.Reset()
				for i, key := range keys {
					t.Row(key, types[i%3], 1767225600000+int64(i)*700)
					if i%3 > 0 {
						item[7] = '0' + byte(i%10)
						t.Str(0, item)
					}
					if i%3 == 2 {
						t.Int(1, int64(i%900)*10)
					}
					if how[len(how)-1] == 's' {
						t.ID(ids[i])
					}
				}
				var err error
				if enc, err = bld.Encode(); err != nil {
					b.Fatal(err)
				}
			}
			build()
			b.ReportAllocs()
			for b.Loop() {
				if how[0] == 'b' {
					build()
				} else if _, err := d.Decode(enc); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
			b.ReportMetric(float64(len(enc))/benchRows, "B/row")
		})
	}
}
