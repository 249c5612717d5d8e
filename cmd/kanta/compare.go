package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/query"
)

// drawCompare draws what people have more or less often, without the columns that the others
// come from: a bar is the share, and the line in it the base's.
func drawCompare(t *query.ReportTable) (string, bool) {
	title := map[string]string{"more": "more often than in the base", "less": "less often than in the base"}[t.Name]
	if title == "" {
		return "", false
	}
	column := map[string]int{}
	for i, c := range t.Columns {
		column[c.Name] = i
	}
	out := &table{terminal: true, head: []string{title, "", "people", "share", "base", "times", "effect", "adjusted p", ""}, right: []bool{false, false, true, true, true, true, true, true, false}}
	for _, row := range t.Rows {
		at := func(name string) any { return out.value(row.Values[column[name]], t.Columns[column[name]].Unit) }
		share, base := row.Values[column["share"]].Float(), row.Values[column["base share"]].Float()
		times := row.Values[column["times"]]
		often := ""
		if !times.IsAbsent() {
			often = strconv.FormatFloat(times.Float(), 'f', 2, 64)
		}
		out.add(at("what"), at("value"), at("people"), at("share"), at("base share"), often,
			fmt.Sprintf("%+.2f", row.Values[column["effect"]].Float()), shortProbability(row.Values[column["adjusted p"]].Float()), marked(share, base))
	}
	var text strings.Builder
	if err := out.write(&text); err != nil {
		return "", false
	}
	return text.String(), true
}

// marked is a share as a bar, with a line where another one ends.
func marked(share, other float64) string {
	bar := []rune(drawn(share))
	at := min(int(other*barWidth), barWidth-1)
	for len(bar) <= at {
		bar = append(bar, ' ')
	}
	bar[at] = '│'
	return string(bar)
}

// shortProbability writes a probability with two digits, and what is next to nothing as that.
func shortProbability(p float64) string {
	if p < 0.0001 {
		return "<0.0001"
	}
	return strconv.FormatFloat(p, 'g', 2, 64)
}
