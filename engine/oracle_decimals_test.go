package engine_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// decimals is a store of people who have a decimal of every scale, and an int.
type decimals struct {
	drawn
	*engine.DB
	t     *testing.T
	attrs []schema.Attribute
	rows  [][]schema.Value // by profile, attribute
}

// TestDecimals holds comparisons of decimal columns of every scale, and of ints, with
// literals and with each other against math/big, at the ends of what 64 bits hold too.
// Half of the people are in the base, half in the head, on both sides of a shard's border.
func TestDecimals(t *testing.T) {
	wholeOnly(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := &decimals{drawn: drawn{rand.New(rand.NewPCG(seed, 3))}, t: t}
	d.load()
	defer func() { _ = d.Close() }()
	for range 4000 {
		d.literal()
	}
	for range 800 {
		d.columns()
		d.list()
	}
}

func (d *decimals) load() {
	db, err := engine.Open("", &engine.Options{FirstOrdinal: 1<<20 - 40, Clock: oracleClock, Memory: 1 << 26})
	if err != nil {
		d.t.Fatal(err)
	}
	d.DB = db
	b := batch.New()
	d.attrs = []schema.Attribute{{Name: "n", Kind: schema.Int}}
	for s := range schema.MaxScale + 1 {
		d.attrs = append(d.attrs, schema.Attribute{Name: fmt.Sprintf("d%d", s), Kind: schema.Decimal, Scale: uint8(s)})
	}
	for _, a := range d.attrs {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	for i := range 80 {
		if i == 40 {
			d.apply(b)
			if err := d.Compact(d.t.Context()); err != nil {
				d.t.Fatal(err)
			}
		}
		row, r := make([]schema.Value, len(d.attrs)), b.Upsert(fmt.Sprint("k", i))
		for k, a := range d.attrs {
			if !d.chance(0.1) {
				row[k] = schema.FromOrdered(a.Kind, a.Scale, d.unscaled())
			}
			r.Set(a.Name, row[k])
		}
		d.rows = append(d.rows, row)
	}
	d.apply(b)
}

func (d *decimals) apply(b *batch.Builder) {
	raw, err := b.Encode()
	if err == nil {
		_, err = d.Apply(d.t.Context(), raw)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	b.Reset()
}

// unscaled draws a number: at the ends, near powers of ten, or small.
func (d *decimals) unscaled() int64 {
	switch d.IntN(4) {
	case 0:
		return math.MaxInt64 - d.Int64N(3)
	case 1:
		return math.MinInt64 + d.Int64N(3)
	case 2:
		n := int64(1)
		for range d.IntN(19) {
			n *= 10
		}
		return (n + d.Int64N(3) - 1) * (1 - 2*d.Int64N(2))
	}
	return d.Int64N(2000) - 1000
}

// number writes a literal: a value of a column, perhaps with more or fewer places, or
// past the ends.
func (d *decimals) number(v schema.Value) (string, *big.Rat) {
	text := v.String()
	if v.IsAbsent() {
		text = d.of("0", "1e18", "-1e-18", "0.5", "1e-19", "9223372036854775808.0", "-9223372036854775809.0", "1e30", "-1e30", "9.223372036854775807", "9.223372036854775808")
	}
	switch d.IntN(6) {
	case 0:
		if strings.Contains(text, ".") && !strings.Contains(text, "e") {
			text += d.of("0", "1", "9", "0000000001")
		}
	case 1:
		if !strings.ContainsAny(text, ".e") && v.Kind() == schema.Decimal {
			text += d.of(".0", ".1", ".5")
		}
	case 2:
		if i := strings.IndexByte(text, '.'); i >= 0 && !strings.Contains(text, "e") {
			text = text[:i+1+d.IntN(len(text)-i)]
			text = strings.TrimSuffix(text, ".")
		}
	}
	x, ok := new(big.Rat).SetString(text)
	if ok && !strings.ContainsAny(text, ".e") && !x.Num().IsInt64() {
		text += ".0" // CEL's ints end there
	}
	if !ok {
		d.t.Fatalf("%q is no number", text)
	}
	return text, x
}

// exactly is the value of a profile, nil if there is none.
func exactly(v schema.Value) *big.Rat {
	if v.IsAbsent() {
		return nil
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale())), nil)
	return new(big.Rat).SetFrac(big.NewInt(v.Ordered()), scale)
}

func holdsFor(op string, c int) bool {
	return map[string]bool{"==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
}

// literal compares a column with a literal, one way round or the other.
func (d *decimals) literal() {
	k, op := d.IntN(len(d.attrs)), d.of("==", "!=", "<", "<=", ">", ">=")
	text, x := d.number(d.rows[d.IntN(len(d.rows))][k])
	expr, sign := fmt.Sprintf("%s %s %s", d.attrs[k].Name, op, text), 1
	if d.chance(0.5) {
		expr, sign = fmt.Sprintf("%s %s %s", text, op, d.attrs[k].Name), -1
	}
	d.ask(expr, func(row []schema.Value) query.Truth {
		v := exactly(row[k])
		if v == nil {
			return query.Unknown
		}
		return truthIf(holdsFor(op, sign*v.Cmp(x)))
	})
}

// columns compares two columns of any scales.
func (d *decimals) columns() {
	k, m, op := d.IntN(len(d.attrs)), d.IntN(len(d.attrs)), d.of("==", "!=", "<", "<=", ">", ">=")
	d.ask(fmt.Sprintf("%s %s %s", d.attrs[k].Name, op, d.attrs[m].Name), func(row []schema.Value) query.Truth {
		a, b := exactly(row[k]), exactly(row[m])
		if a == nil || b == nil {
			return query.Unknown
		}
		return truthIf(holdsFor(op, a.Cmp(b)))
	})
}

// list asks for one of several literals.
func (d *decimals) list() {
	k := d.IntN(len(d.attrs))
	var texts []string
	var numbers []*big.Rat
	for range d.IntN(8) {
		text, x := d.number(d.rows[d.IntN(len(d.rows))][k])
		texts, numbers = append(texts, text), append(numbers, x)
	}
	d.ask(fmt.Sprintf("%s in [%s]", d.attrs[k].Name, strings.Join(texts, ", ")), func(row []schema.Value) query.Truth {
		v := exactly(row[k])
		if v == nil {
			return query.Unknown
		}
		return truthIf(slices.ContainsFunc(numbers, func(x *big.Rat) bool { return v.Cmp(x) == 0 }))
	})
}

func truthIf(b bool) query.Truth {
	if b {
		return query.True
	}
	return query.False
}

// ask compares the answer with the truth of each profile.
func (d *decimals) ask(expr string, truth func(row []schema.Value) query.Truth) {
	d.t.Helper()
	got, err := d.Bitmap(d.t.Context(), expr, nil)
	if err != nil {
		d.t.Fatalf("%s: %v", expr, err)
	}
	c, err := d.Count(d.t.Context(), expr, nil)
	if err != nil {
		d.t.Fatalf("%s: %v", expr, err)
	}
	unknown := uint64(0)
	for i, row := range d.rows {
		want := truth(row)
		if want == query.Unknown {
			unknown++
		}
		if is := got.Ordinals.Contains(uint32(1<<20 - 40 + i)); is != (want == query.True) {
			d.t.Fatalf("%s: for %v it is %v, want %v", expr, row, is, want)
		}
	}
	if c.Unknown != unknown || c.Count != got.Ordinals.GetCardinality() || c.Errors != 0 {
		d.t.Fatalf("%s: counts %d, %d unknown, %d errors; want %d, %d, 0", expr, c.Count, c.Unknown, c.Errors, got.Ordinals.GetCardinality(), unknown)
	}
}
