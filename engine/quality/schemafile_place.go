package quality

import (
	"fmt"
	"strings"
)

// place is where a table and its keys stand in a schema file. The TOML library does not
// say: it names no line for what it has parsed. The zero place is not known.
type place struct {
	table  string // as between the brackets
	header int
	keys   map[string]int
}

func (p place) line(key string) int {
	if line, ok := p.keys[key]; ok {
		return line
	}
	return p.header
}

// tablesOf returns the places of the tables of a name.
func tablesOf(places []place, table string) (out []place) {
	for _, p := range places {
		if p.table == table {
			out = append(out, p)
		}
	}
	return out
}

// eventPlaces returns the places of event type i, counted from 0, and of what is in it.
func eventPlaces(places []place, i int) []place {
	for len(places) > 0 {
		end := 1
		for end < len(places) && strings.HasPrefix(places[end].table, eventTable+".") {
			end++
		}
		if places[0].table == eventTable {
			if i == 0 {
				return places[:end]
			}
			i--
		}
		places = places[end:]
	}
	return nil
}

// locate finds the tables of a file that is valid TOML. Tables in another notation than
// [[attribute]] are not found; their errors have no line.
func locate(text []byte) []place {
	var places []place
	quote := "" // of the multi-line string that the line is in
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if quote == "" {
			switch {
			case strings.HasPrefix(line, "[["):
				table, _, _ := strings.Cut(line[2:], "]]")
				places = append(places, place{table: strings.ReplaceAll(table, " ", ""), header: i + 1, keys: map[string]int{}})
			case len(places) > 0 && !strings.HasPrefix(line, "#"):
				if key, _, ok := strings.Cut(line, "="); ok {
					key = strings.Trim(strings.TrimSpace(key), `"'`)
					if _, again := places[len(places)-1].keys[key]; !again {
						places[len(places)-1].keys[key] = i + 1
					}
				}
			}
		}
		for _, q := range []string{`"""`, "'''"} {
			if (quote == "" || quote == q) && strings.Count(line, q)%2 == 1 {
				quote = map[bool]string{true: q, false: ""}[quote == ""]
				break
			}
		}
	}
	return places
}

// nearest is the advice for a word that is not known: the most similar one that is.
func nearest(word string, known []string) string {
	best, bestDistance := "", 1+max(2, len(word)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < bestDistance || strings.EqualFold(word, k) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return "it is one of " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the number of letters to insert, remove, replace or swap with a neighbour.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
