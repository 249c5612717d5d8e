package bench

import (
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// TestFill decodes batches of several sizes and compares every cell with Value.
func TestFill(t *testing.T) {
	g := New(Options{Seed: 5, WithAbsent: true})
	b := batch.New()
	f := g.NewFiller(b)
	var number uint64
	for _, n := range []int{1, 1000, 3000} {
		first := number
		for ; number < first+uint64(n); number++ {
			var p Profile
			g.Profile(number, &p)
			f.Add(&p)
		}
		if b.Rows() != n {
			t.Errorf("%d rows, want %d", b.Rows(), n)
		}
		encoded, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		decoded, err := batch.Decode(encoded)
		if err != nil || len(decoded.Ops) != 1 || decoded.Rows != n {
			t.Fatalf("%d ops, %d rows: %v", len(decoded.Ops), decoded.Rows, err)
		}
		checkBlock(t, g, decoded.Ops[0].Block, first)
	}
}

// checkBlock compares an upsert with the profiles from first on.
func checkBlock(t *testing.T, g *Generator, block *batch.Block, first uint64) {
	found := make([]map[string]schema.Value, block.N)
	for row := range found {
		found[row] = map[string]schema.Value{}
	}
	for i := range block.Columns {
		c := &block.Columns[i]
		cell, element := 0, 0
		for row := range found {
			if !c.Has(row) {
				continue
			}
			if c.Verb != batch.VerbSet {
				t.Fatalf("%s has verb %d", c.Name, c.Verb)
			}
			found[row][c.Name] = cellValue(c, cell, &element)
			cell++
		}
	}
	for row, values := range found {
		var p Profile
		g.Profile(first+uint64(row), &p)
		if got := string(block.Keys.At(row)); got != Key(p.Number) {
			t.Fatalf("row %d has the key %s, want %s", row, got, Key(p.Number))
		}
		for a, attribute := range g.Schema() {
			want, got := g.Value(&p, Attribute(a)), values[attribute.Name]
			if attribute.Kind == schema.Set && got.IsAbsent() {
				got = schema.SetValue()
			}
			if !got.Equal(want) {
				t.Fatalf("profile %d, %s: %v, want %v", p.Number, attribute.Name, got, want)
			}
		}
	}
}

// cellValue returns a cell of a column; element is the place of its first element in
// a column of sets, and moves behind its last.
func cellValue(c *batch.BlockColumn, cell int, element *int) schema.Value {
	switch {
	case c.Kind == schema.Set:
		var elements []string
		for range c.Counts[cell] {
			elements = append(elements, string(c.Dict.At(int(c.Index[*element]))))
			*element++
		}
		return schema.SetValue(elements...)
	case c.Kind != schema.String:
		return schema.FromOrdered(c.Kind, c.Scale, c.Ints[cell])
	case c.Plain.Len() > 0:
		return schema.StringValue(string(c.Plain.At(cell)))
	}
	return schema.StringValue(string(c.Dict.At(int(c.Index[cell]))))
}

func BenchmarkFill(b *testing.B) {
	const rows = 4000
	g := New(Options{Seed: 1, WithAbsent: true})
	builder := batch.New()
	f := g.NewFiller(builder)
	var p Profile
	for range b.N {
		for i := range uint64(rows) {
			g.Profile(i, &p)
			f.Add(&p)
		}
		if _, err := builder.Encode(); err != nil {
			b.Fatal(err)
		}
		builder.Reset()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
