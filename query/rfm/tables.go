package rfm

import (
	"context"
	"math/bits"
	"slices"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// total is what the people of a row come to.
type total struct {
	people uint64
	sum    timeline.Int128 // of ints
	floats *query.FloatSum // of floats
	reach  [MaxReach]uint64
}

// add adds a total.
func (t *total) add(o *total) {
	t.people += o.people
	t.sum = t.sum.Plus(o.sum)
	for i, n := range o.reach {
		t.reach[i] += n
	}
	if o.floats != nil {
		if t.floats == nil {
			t.floats = new(query.FloatSum)
		}
		t.floats.AddSum(o.floats)
	}
}

// tally is what a worker has added up, by scores; without an amount its score is 0.
type tally struct {
	grid    [MaxBins + 1][MaxBins + 1]total
	amounts [MaxBins + 1]total
}

// add adds the people of a part.
func (t *tally) add(a *rfm, p *part) {
	rs, fs := p.scores[recency], p.scores[frequency]
	for i, reach := range p.reach {
		for ; reach != 0; reach &= reach - 1 {
			k := bits.TrailingZeros8(reach)
			t.grid[rs[i]][fs[i]].reach[k]++
			if a.has > amount {
				t.amounts[p.scores[amount][i]].reach[k]++
			}
		}
	}
	if a.has == amount {
		for i, r := range rs {
			t.grid[r][fs[i]].people++
		}
		return
	}
	for i, x := range p.values[amount] {
		cell, own := &t.grid[rs[i]][fs[i]], &t.amounts[p.scores[amount][i]]
		cell.people++
		own.people++
		if a.units[amount].float {
			cell.addFloat(x)
			own.addFloat(x)
		} else {
			cell.sum, own.sum = cell.sum.Add(x), own.sum.Add(x)
		}
	}
}

// addFloat adds a float by its ordered form.
func (t *total) addFloat(x int64) {
	if t.floats == nil {
		t.floats = new(query.FloatSum)
	}
	t.floats.Add(schema.FloatFromOrdered(x))
}

// putWanted puts the people who are wanted where they are.
func (a *rfm) putWanted(p *part) {
	for i := range p.who {
		r, f, m, reach := p.scores[recency][i], p.scores[frequency][i], uint8(0), uint8(0)
		if a.has > amount {
			m = p.scores[amount][i]
		}
		if p.reach != nil {
			reach = p.reach[i]
		}
		if a.wanted.has(r, f, m, a.segments.of[r][f], reach) {
			a.study.Put(p.ordinal(i))
		}
	}
}

// total adds up what people come to.
func (a *rfm) total(ctx context.Context, p *people) (*tally, error) {
	var each []*tally
	err := a.spread(ctx, len(p.parts), func() func(i int) error {
		own := new(tally)
		each = append(each, own)
		return func(i int) error {
			own.add(a, p.parts[i])
			if a.wanted != (wanted{}) && !a.wanted.isFlow() {
				a.putWanted(p.parts[i])
			}
			return nil
		}
	})
	all := new(tally)
	for _, own := range each {
		for r := range own.grid {
			for f := range own.grid[r] {
				all.grid[r][f].add(&own.grid[r][f])
			}
			all.amounts[r].add(&own.amounts[r])
		}
	}
	return all, err
}

// tables makes the report's tables.
func (a *rfm) tables(ctx context.Context, p *people, cuts [dimensions][]schema.Value) ([]query.ReportTable, error) {
	all, err := a.total(ctx, p)
	if err != nil {
		return nil, err
	}
	named := make([]total, len(a.segments.names))
	for r := 1; r <= a.bins; r++ {
		for f := 1; f <= a.bins; f++ {
			named[a.segments.of[r][f]].add(&all.grid[r][f])
		}
	}
	cells, segments, byAmount := a.shaped(cellTable), a.shaped(segmentTable), a.shaped(amountTable)
	n := uint64(p.count)
	for r := a.bins; r >= 1; r-- {
		for f := a.bins; f >= 1; f-- {
			name := cellName(r, f)
			cells.Rows = append(cells.Rows, a.row(name, &all.grid[r][f], n, schema.IntValue(int64(r)), schema.IntValue(int64(f))))
		}
	}
	for i, name := range a.segments.names {
		segments.Rows = append(segments.Rows, a.row(name, &named[i], n))
	}
	out := []query.ReportTable{cells, segments}
	if a.has > amount {
		for m := a.bins; m >= 1; m-- {
			byAmount.Rows = append(byAmount.Rows, a.row(amountName(m), &all.amounts[m], n))
		}
		out = append(out, byAmount)
	}
	return append(out, a.cutRows(cuts)), nil
}

// shaped returns a table without what needs an amount, if there is none, and with what is
// told of reach.
func (a *rfm) shaped(t query.ReportTable) query.ReportTable {
	t.Columns = slices.Clone(t.Columns)
	if a.has == amount {
		t.Columns = t.Columns[:len(t.Columns)-2]
	}
	for i := range a.reach {
		t.Columns = append(t.Columns, query.ReportColumn{Name: "reach " + a.reach[i].text, Unit: query.UnitNumber},
			query.ReportColumn{Name: "reach share " + a.reach[i].text, Unit: query.UnitShare})
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
	cells := []string{name}
	for i := range a.reach {
		cells = append(cells, name+":"+a.reach[i].text)
		values = append(values, schema.IntValue(int64(t.reach[i])), query.Share(t.reach[i], t.people))
	}
	return query.ReportRow{Cells: cells, Values: values}
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
	sum = schema.FloatValue(query.Quotient(t.sum, a.money.Scale, 1))
	if n, ok := t.sum.Int64(); ok {
		sum = schema.FromOrdered(a.money.Kind, a.money.Scale, n)
	}
	if t.people > 0 {
		average = schema.FloatValue(query.Quotient(t.sum, a.money.Scale, t.people))
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
