package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// drawRetention draws the table of cohorts as the usual triangle: a line for each cohort, a
// column for each period, the share in per cent; and another of the amount per person.
func drawRetention(t *query.ReportTable) (text string, ok bool) {
	if t.Name != "cohorts" {
		return "", false
	}
	var b strings.Builder
	until, perPerson := column(t, "until"), column(t, "per person")
	triangle(&b, t, until, func(row []schema.Value) string { return shaded(row[4], row[5].Bool()) })
	b.WriteString("per cent of the cohort who came back; * the period is not over\n")
	if perPerson >= 0 {
		b.WriteString("\n")
		triangle(&b, t, until, func(row []schema.Value) string { return perHead(row[perPerson], row[5].Bool()) })
		b.WriteString("amount per person of the cohort; * the period is not over\n")
	}
	return b.String(), true
}

// column returns the place of a column, -1 if there is none.
func column(t *query.ReportTable, name string) int {
	return slices.IndexFunc(t.Columns, func(c query.ReportColumn) bool { return c.Name == name })
}

// triangle draws one cell of each row. Periods of other lengths are called by their end.
func triangle(b *strings.Builder, t *query.ReportTable, until int, cell func(row []schema.Value) string) {
	out := &table{terminal: true, head: []string{t.Columns[0].Name, t.Columns[1].Name}, right: []bool{false, true}}
	for _, row := range t.Rows {
		period := int(row.Values[2].Ordered())
		if period == 0 {
			out.add(row.Values[0].String(), row.Values[1].Ordered())
		}
		if period+2 == len(out.head) {
			head := strconv.Itoa(period)
			if until >= 0 {
				head = "to " + longDuration(time.Duration(row.Values[until].Ordered())*time.Millisecond)
			}
			out.head, out.right = append(out.head, head), append(out.right, true)
		}
		line := &out.rows[len(out.rows)-1]
		*line = append(*line, cell(row.Values))
	}
	out.align(b)
}

// perHead is an amount per person.
func perHead(v schema.Value, incomplete bool) string {
	text := "-"
	if !v.IsAbsent() {
		text = strconv.FormatFloat(v.Float(), 'f', 2, 64)
	}
	if incomplete {
		return text + "*"
	}
	return text + " "
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
