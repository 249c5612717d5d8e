package main

import (
	"strings"

	"github.com/kantadb/kanta/query"
)

// drawPath draws the tree of paths, each step under the one before it, with a bar for its
// share of all.
func drawPath(t *query.ReportTable) (text string, ok bool) {
	if t.Name != "tree" {
		return "", false
	}
	out := &table{terminal: true, head: []string{"path", t.Columns[3].Name, "of first", "of before", ""}, right: []bool{false, true, true, true, false}}
	for _, row := range t.Rows {
		label := strings.Repeat("  ", int(row.Values[0].Ordered())) + row.Values[2].Str()
		out.add(label, row.Values[3].Ordered(), out.value(row.Values[4], query.UnitShare), out.value(row.Values[5], query.UnitShare), drawn(size(row.Values[4])))
	}
	var b strings.Builder
	out.align(&b)
	return b.String(), true
}
