package main

import (
	"fmt"
	"math"
	"slices"
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
	switch t.Name {
	case "transitions":
		return drawTransitions(t), true
	case "cells":
	default:
		return "", false
	}
	var out strings.Builder
	for k, c := range t.Columns {
		reached, isReach := strings.CutPrefix(c.Name, "reach share ")
		switch {
		case c.Name == "people":
			out.WriteString("people, by recency (r) and frequency (f)\n" + grid(t, k))
		case c.Name == "average":
			out.WriteString("\naverage amount\n" + grid(t, k))
		case isReach:
			out.WriteString("\nshare of whom is true: " + printable(reached) + "\n" + grid(t, k))
		}
	}
	return out.String(), true
}

// drawTransitions draws where people have gone, by letters for the segments: their names would
// be too wide for columns.
func drawTransitions(t *query.ReportTable) string {
	var names []string
	people := map[string]int64{}
	cells := map[[2]string]string{}
	for _, row := range t.Rows {
		from, to, n := printable(row.Values[0].String()), printable(row.Values[1].String()), row.Values[2].Ordered()
		if !slices.Contains(names, from) {
			names = append(names, from)
		}
		people[from] += n
		cells[[2]string{from, to}] = fmt.Sprintf("%5s", "-")
		if share := row.Values[3].Float(); n > 0 {
			percent := fmt.Sprintf("%.0f%%", 100*share)
			if share < 0.005 {
				percent = "<1%"
			}
			cells[[2]string{from, to}] = fmt.Sprintf("%c%4s", []rune(shades)[1+min(3, int(4*share))], percent)
		}
	}
	width, wide := 0, len("people")
	for _, name := range names {
		width = max(width, utf8.RuneCountInString(name))
		wide = max(wide, len(grouped(strconv.FormatInt(people[name], 10))))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "of those in a segment then (rows), the share in each now (columns)\n%*s", width+4+wide, "people")
	for i := range names {
		fmt.Fprintf(&out, "  %4c", letter(i))
	}
	for i, from := range names {
		line := fmt.Sprintf("%c %s%*s", letter(i), from, width-utf8.RuneCountInString(from)+2+wide, grouped(strconv.FormatInt(people[from], 10)))
		for _, to := range names {
			line += fmt.Sprintf(" %5s", cells[[2]string{from, to}])
		}
		out.WriteString("\n" + strings.TrimRight(line, " "))
	}
	return out.String() + "\n"
}

// letter names a segment in a column.
func letter(i int) rune { return 'A' + rune(i) }

// grid draws a column of numbers, by the scores in the columns 1 and 2.
func grid(t *query.ReportTable, column int) string {
	bins, width, most, unit := 0, 2, 0.0, t.Columns[column].Unit
	for _, row := range t.Rows {
		bins = max(bins, int(row.Values[1].Ordered()))
		width = max(width, utf8.RuneCountInString(gridNumber(row.Values[column], unit)))
		most = max(most, gridSize(row.Values[column]))
	}
	lines := make([][]string, bins)
	for _, row := range t.Rows {
		r, f, v := row.Values[1].Ordered(), row.Values[2].Ordered(), row.Values[column]
		shade := 0
		if size := gridSize(v); size > 0 {
			shade = 1 + min(3, int(4*(size/most)))
		}
		line := &lines[bins-int(r)]
		if *line == nil {
			*line = make([]string, bins)
		}
		(*line)[f-1] = fmt.Sprintf("  %s %*s", strings.Repeat(string([]rune(shades)[shade]), 2), width, gridNumber(v, unit))
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

// gridSize returns a number as it is shaded, which is finite.
func gridSize(v schema.Value) float64 {
	switch v.Kind() {
	case schema.Int:
		return float64(v.Ordered())
	case schema.Float:
		return min(v.Float(), math.MaxFloat64)
	}
	return 0
}

func gridNumber(v schema.Value, unit query.ReportUnit) string {
	if v.Kind() == schema.Float && unit == query.UnitShare {
		return fmt.Sprintf("%.0f%%", 100*v.Float())
	}
	if v.Kind() == schema.Float {
		return fmt.Sprintf("%.2f", v.Float())
	}
	if v.IsAbsent() {
		return "-"
	}
	return grouped(v.String())
}
