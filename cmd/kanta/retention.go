package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// drawRetention draws the table of cohorts as the usual triangle: a line for each cohort, a
// column for each period, the share in per cent.
func drawRetention(t *query.ReportTable) (text string, ok bool) {
	out := &table{terminal: true, head: []string{t.Columns[0].Name, t.Columns[1].Name}, right: []bool{false, true}}
	for _, row := range t.Rows {
		period := int(row.Values[2].Ordered())
		if period == 0 {
			out.add(row.Values[0].String(), row.Values[1].Ordered())
		}
		if period+2 == len(out.head) {
			out.head, out.right = append(out.head, strconv.Itoa(period)), append(out.right, true)
		}
		line := &out.rows[len(out.rows)-1]
		*line = append(*line, shaded(row.Values[4], row.Values[5].Bool()))
	}
	var b strings.Builder
	out.align(&b)
	b.WriteString("per cent of the cohort who came back; * the period is not over\n")
	return b.String(), true
}

// shaded is a share in per cent, darker the more it is.
func shaded(share schema.Value, incomplete bool) string {
	text := "-"
	if !share.IsAbsent() {
		shades := []rune(" ░▒▓█")
		text = fmt.Sprintf("%c%3.0f", shades[int(share.Float()*float64(len(shades)-1)+0.5)], 100*share.Float())
	}
	if incomplete {
		return text + "*"
	}
	return text + " "
}
