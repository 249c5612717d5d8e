package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// shades are from none to all that there is, so that a grid reads without colour.
const shades = " ░▒▓█"

// drawRFM draws the cells of an RFM analysis as grids, the most recent at the top and the
// most frequent at the right, as they are drawn everywhere.
func drawRFM(t *query.ReportTable) (string, bool) {
	if t.Name != "cells" {
		return "", false
	}
	var out strings.Builder
	for k, c := range t.Columns {
		switch c.Name {
		case "people":
			out.WriteString("people, by recency (r) and frequency (f)\n" + grid(t, k))
		case "average":
			out.WriteString("\naverage amount\n" + grid(t, k))
		}
	}
	return out.String(), true
}

// grid draws a column of numbers, by the scores in the columns 1 and 2.
func grid(t *query.ReportTable, column int) string {
	bins, width, most := 0, 2, 0.0
	for _, row := range t.Rows {
		bins = max(bins, int(row.Values[1].Ordered()))
		width = max(width, utf8.RuneCountInString(gridNumber(row.Values[column])))
		most = max(most, gridSize(row.Values[column]))
	}
	lines := make([][]string, bins)
	for _, row := range t.Rows {
		r, f, v := row.Values[1].Ordered(), row.Values[2].Ordered(), row.Values[column]
		shade := 0
		if size := gridSize(v); size > 0 {
			shade = 1 + min(3, int(4*size/most))
		}
		line := &lines[bins-int(r)]
		if *line == nil {
			*line = make([]string, bins)
		}
		(*line)[f-1] = fmt.Sprintf("  %s %*s", strings.Repeat(string([]rune(shades)[shade]), 2), width, gridNumber(v))
	}
	var out strings.Builder
	out.WriteString("   ")
	for f := range bins {
		fmt.Fprintf(&out, "  %*s", width+3, "f"+strconv.Itoa(f+1))
	}
	for i, line := range lines {
		fmt.Fprintf(&out, "\n%-3s%s", "r"+strconv.Itoa(bins-i), strings.TrimRight(strings.Join(line, ""), " "))
	}
	return out.String() + "\n"
}

// gridSize returns a number as it is shaded.
func gridSize(v schema.Value) float64 {
	switch v.Kind() {
	case schema.Int:
		return float64(v.Ordered())
	case schema.Float:
		return v.Float()
	}
	return 0
}

func gridNumber(v schema.Value) string {
	if v.Kind() == schema.Float {
		return fmt.Sprintf("%.2f", v.Float())
	}
	if v.IsAbsent() {
		return "-"
	}
	return grouped(v.String())
}
