package main

import (
	"math"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestGrid: a grid is shaded by how much each number is of the greatest, be that infinite.
func TestGrid(t *testing.T) {
	for _, c := range []struct {
		values [2]schema.Value
		want   string
	}{
		{[2]schema.Value{schema.FloatValue(8), schema.FloatValue(2)}, "r1   ██ 8.00  ▒▒ 2.00"},
		{[2]schema.Value{schema.FloatValue(math.Inf(1)), schema.FloatValue(2)}, "r1   ██ +Inf  ░░ 2.00"},
		{[2]schema.Value{schema.FloatValue(math.MaxFloat64 / 1e308), schema.FloatValue(math.Inf(-1))}, "r1   ██ 1.80     -Inf"},
		{[2]schema.Value{{}, schema.FloatValue(0)}, "r1         -     0.00"},
	} {
		table := query.ReportTable{Columns: []query.ReportColumn{{Name: "cell"}, {Name: "recency"}, {Name: "frequency"}, {Name: "average"}}}
		for i, v := range c.values {
			for r := range int64(2) {
				table.Rows = append(table.Rows, query.ReportRow{Values: []schema.Value{{}, schema.IntValue(r + 1), schema.IntValue(int64(i + 1)), v}})
			}
		}
		contains(t, grid(&table, 3), c.want)
	}
}
