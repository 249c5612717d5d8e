package rfm

import (
	"math/big"
	"math/bits"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// total is what the people of a row come to.
type total struct {
	people uint64
	wide                   // of ints
	floats *query.FloatSum // of floats
}

// wide is a sum of 128 bits, high * 2^64 + low.
type wide struct {
	high int64
	low  uint64
}

func (w *wide) add(x int64) {
	var carry uint64
	w.low, carry = bits.Add64(w.low, uint64(x), 0)
	w.high += x>>63 + int64(carry)
}

func (w *wide) sum() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(w.high), 64)
	return n.Add(n, new(big.Int).SetUint64(w.low))
}

// tables makes the report's tables, and puts the people who are wanted where they are.
func (a *rfm) tables(p *people, cuts [dimensions][]schema.Value) []query.ReportTable {
	var grid [MaxBins + 1][MaxBins + 1]total
	var amounts [MaxBins + 1]total
	named := make([]total, len(a.segments.names))
	for i, who := range p.who {
		r, f, m, x := p.scores[recency][i], p.scores[frequency][i], uint8(0), int64(0)
		segment := a.segments.of[r][f]
		own := [3]*total{&grid[r][f], &named[segment], &amounts[0]}
		if a.has > amount {
			m, x = p.scores[amount][i], p.values[amount][i]
			own[2] = &amounts[m]
		}
		for _, t := range own {
			t.people++
			if a.units[amount].float {
				if t.floats == nil {
					t.floats = new(query.FloatSum)
				}
				t.floats.Add(schema.FloatFromOrdered(x))
			} else {
				t.add(x)
			}
		}
		if a.wanted.has(r, f, m, segment) {
			a.study.Put(who)
		}
	}
	cells, segments, byAmount := a.trimmed(cellTable), a.trimmed(segmentTable), amountTable
	n := uint64(len(p.who))
	for r := a.bins; r >= 1; r-- {
		for f := a.bins; f >= 1; f-- {
			name := cellName(r, f)
			cells.Rows = append(cells.Rows, a.row(name, &grid[r][f], n, schema.IntValue(int64(r)), schema.IntValue(int64(f))))
		}
	}
	for i, name := range a.segments.names {
		segments.Rows = append(segments.Rows, a.row(name, &named[i], n))
	}
	out := []query.ReportTable{cells, segments}
	if a.has > amount {
		for m := a.bins; m >= 1; m-- {
			byAmount.Rows = append(byAmount.Rows, a.row(amountName(m), &amounts[m], n))
		}
		out = append(out, byAmount)
	}
	return append(out, a.cutRows(cuts))
}

// trimmed returns a table without what needs an amount, if there is none.
func (a *rfm) trimmed(t query.ReportTable) query.ReportTable {
	if a.has == amount {
		t.Columns = t.Columns[:len(t.Columns)-2]
	}
	return t
}

// row makes a row of people: its name, some values, and what they come to.
func (a *rfm) row(name string, t *total, all uint64, values ...schema.Value) query.ReportRow {
	values = append([]schema.Value{schema.StringValue(name)}, values...)
	values = append(values, schema.IntValue(int64(t.people)), query.Share(t.people, all))
	if a.has > amount {
		sum, average := a.sumOf(t)
		values = append(values, sum, average)
	}
	return query.ReportRow{Cells: []string{name}, Values: values}
}

// sumOf returns the sum, and the average, of nobody none.
func (a *rfm) sumOf(t *total) (sum, average schema.Value) {
	if a.units[amount].float {
		x := 0.0
		if t.floats != nil {
			x = t.floats.Value()
			average = schema.FloatValue(x / float64(t.people))
		}
		return schema.FloatValue(x), average
	}
	exact := new(big.Rat).SetFrac(t.sum(), big.NewInt(pow10(a.money.Scale)))
	if n := t.sum(); n.IsInt64() {
		sum = schema.FromOrdered(a.money.Kind, a.money.Scale, n.Int64())
	} else {
		sum = value(exact)
	}
	if t.people > 0 {
		x, _ := exact.Quo(exact, new(big.Rat).SetUint64(t.people)).Float64()
		average = schema.FloatValue(x)
	}
	return sum, average
}

// cutRows makes the table of cut points.
func (a *rfm) cutRows(cuts [dimensions][]schema.Value) query.ReportTable {
	out := cutTable
	out.Columns = out.Columns[:1+a.has]
	for k := range a.bins - 1 {
		row := query.ReportRow{Values: []schema.Value{schema.IntValue(int64(k + 1))}}
		for d := range a.has {
			row.Values = append(row.Values, cuts[d][k])
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}
