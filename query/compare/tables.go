package compare

import (
	"context"
	"fmt"
	"math/big"
	"strconv"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// The cells of whole groups, and what a cell of the base begins with.
const (
	segmentCell = "segment"
	baseCell    = "base"
	restCell    = "rest"
	ofBase      = "base:"
)

func quote(text string) string { return strconv.Quote(text) }

// rounded returns a number that floats were calculated for, to six digits: as many as are the
// same on every machine.
func rounded(x float64) schema.Value {
	x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64) // its own text is one
	return schema.FloatValue(x)
}

// cell names the people of the segment who have a value.
func (c *comparison) cell(s *query.Study, v *value) string {
	name := quotedName(c.things[v.thing].name)
	switch text := c.text(s, v); v.sort {
	case ofAny:
		return name
	case ofCode:
		return name + "=" + quotedText(text)
	default:
		return name + "=" + text
	}
}

// tables makes the report.
func (c *comparison) tables(s *query.Study, t *tally, f *found) []query.ReportTable {
	number := func(n uint64) schema.Value { return schema.IntValue(int64(n)) }
	whole := groupsTable
	for _, g := range []struct {
		name   string
		people uint64
	}{{segmentCell, t.people.segment()}, {baseCell, t.people.base()}, {restCell, t.people[rest]}} {
		whole.Rows = append(whole.Rows, query.ReportRow{Cells: []string{g.name}, Values: []schema.Value{schema.StringValue(g.name), number(g.people)}})
	}
	more, less := query.ReportTable{Name: "more", Columns: valueColumns}, query.ReportTable{Name: "less", Columns: valueColumns}
	shown := map[int]*[2]int{} // by thing: in more, in less
	for i := range f.values {
		v := &f.values[i]
		if shown[v.thing] == nil {
			shown[v.thing] = new([2]int)
		}
		to, had := &more, &shown[v.thing][0]
		if v.effect < 0 {
			to, had = &less, &shown[v.thing][1]
		}
		if v.effect == 0 || *had == c.each || len(to.Rows) == c.top {
			continue
		}
		*had++
		times := schema.Value{}
		if v.base > 0 {
			times = rounded(v.share / v.base)
		}
		cell := c.cell(s, v)
		to.Rows = append(to.Rows, query.ReportRow{Cells: []string{cell, ofBase + cell}, Values: []schema.Value{
			schema.StringValue(c.things[v.thing].name), schema.StringValue(c.text(s, v)), number(v.people.segment()), schema.FloatValue(v.share),
			number(v.people.base()), schema.FloatValue(v.base), times, schema.FloatValue(v.share - v.base),
			rounded(v.effect), rounded(v.p), rounded(v.adjusted)}})
	}
	numbers := averagesTable
	for i := range f.averages {
		if len(numbers.Rows) == c.top {
			break
		}
		a := &f.averages[i]
		t := &c.things[a.thing]
		row := query.ReportRow{Cells: c.averageCells(a), Values: []schema.Value{schema.StringValue(t.name),
			number(a.segment.n), t.average(&a.segment), number(a.base.n), t.average(&a.base), {}, {}, {}}}
		if a.isVaried {
			row.Values = append(row.Values[:5], rounded(a.effect), rounded(a.p), rounded(a.adjusted))
		}
		numbers.Rows = append(numbers.Rows, row)
	}
	return []query.ReportTable{whole, more, less, numbers}
}

// averageCells names the people of an average: who has a number, or of events everybody.
func (c *comparison) averageCells(a *average) []string {
	if c.things[a.thing].event != nil {
		return []string{segmentCell, baseCell}
	}
	name := quotedName(c.things[a.thing].name)
	return []string{name, ofBase + name}
}

// average returns an average as its column has it: of dates and times one of them, rounded down.
func (t *thing) average(m *moments) schema.Value {
	if m.floats != nil {
		return schema.FloatValue(m.average())
	}
	mean := m.mean()
	if t.attr != nil && (t.attr.Kind == schema.Date || t.attr.Kind == schema.Timestamp) {
		down := new(big.Int).Div(mean.Num(), mean.Denom()) // Euclid's: the denominator is above zero
		return schema.FromOrdered(t.attr.Kind, 0, down.Int64())
	}
	if t.attr != nil && t.attr.Kind == schema.Decimal {
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.attr.Scale)), nil)
		mean.Quo(mean, new(big.Rat).SetInt(ten))
	}
	x, _ := mean.Float64()
	return schema.FloatValue(x)
}

// collect puts the people of the cell that is wanted.
func (c *comparison) collect(ctx context.Context, s *query.Study, f *found) error {
	test, ofBase, err := c.wanted(s, f)
	if err != nil {
		return err
	}
	_, err = s.EachBeside(ctx, c.base, func() query.BesideVisitor {
		var room bitmap.Words
		return func(ctx context.Context, chunk *query.StudyChunk, base bitmap.Set) error {
			who := chunk.People
			if ofBase {
				who = base
			}
			switch {
			case s.Cell == restCell:
				who = bitmap.AndNot(base, chunk.People, &room)
			case test != nil:
				var err error
				if who, err = chunk.True(ctx, test, who); err != nil {
					return err
				}
			}
			chunk.Put(who)
			return nil
		}
	})
	return err
}

// wanted returns whose people are wanted, out of the segment or of the base; nil: all.
func (c *comparison) wanted(s *query.Study, f *found) (*query.StudyTest, bool, error) {
	if s.Cell == segmentCell || s.Cell == baseCell || s.Cell == restCell {
		return nil, s.Cell == baseCell, nil
	}
	for i := range f.values {
		v := &f.values[i]
		if cell := c.cell(s, v); cell == s.Cell || ofBase+cell == s.Cell {
			t, err := s.Test(c.node(s, v))
			return t, cell != s.Cell, err
		}
	}
	for i := range f.averages {
		if cells := c.averageCells(&f.averages[i]); cells[0] == s.Cell || cells[1] == s.Cell {
			t, err := s.Test(&query.Has{Attr: c.things[f.averages[i].thing].attr.ID})
			return t, cells[0] != s.Cell, err
		}
	}
	return nil, false, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("this comparison has no cell %q", s.Cell), Hint: `"segment", "base" and "rest" are the groups, "country=FI" those of the segment with a value, "base:country=FI" those of the base`}
}
