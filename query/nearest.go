package query

import (
	"slices"
	"strings"
)

// Nearest returns the known name most like a name that is not known, "" if none is
// near: at most a third of its letters may differ.
func Nearest(name string, known []string) string {
	best, at := "", len([]rune(name))/3+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k), at); d < at {
			best, at = k, d
		}
	}
	return best
}

// editDistance is the number of characters to insert, delete or replace, or limit if
// that is not less.
func editDistance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit {
		return limit
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range y {
			cost := diagonal
			if r != s {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return min(row[len(y)], limit)
}
