package quality

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

func TestUnnestCases(t *testing.T) {
	for _, c := range []struct{ name, text, columns, want string }{
		{"an order", `{"user":"u","items":[{"sku":"a","n":2},{"sku":"b"}],"total":9}` + "\n" + `{"user":"v"}`, "user total items.sku items.n",
			"1: u¦9¦a¦2; 1: u¦9¦b¦; 2: v¦¦¦"},
		{"nested objects", `{"o":{"id":1,"l":[{"p":{"q":"x"},"tags":["s","t"]},{}]}}`, "o.id o.l.p.q o.l.tags", "1: 1¦x¦s|t; 1: 1¦¦"},
		{"an empty array", `{"a":1,"l":[]}`, "a l", "1: 1¦"},
		{"other arrays", `{"s":["x","y"],"l":[{"a":1}]}`, "s l.a", "1: x|y¦1"},
		{"escapes", `{"e":"\u0041","l":[{"a":"\u0042"},{"a":"\u0043}]"}],"f":"\u0044"}`, "e f l.a", "1: A¦D¦B; 1: A¦D¦C}]"},
		{"spaces", ` { "l" : [ { "a" : 1 } , { "a" : 2 } ] , "b" : 3 } `, "b l.a", "1: 3¦1; 1: 3¦2"},
		{"two arrays", `{"l":[{"a":1}],"m":[{"a":1}]}` + "\n" + `{"b":1}`, "b", "1! not readable as a row; 2: 1"},
		{"an array within", `{"l":[{"m":[{"a":1}]},{"b":2}]}`, "l.b", "1! not readable as a row; 1: 2"},
		{"not all objects", `{"l":[{"a":1},2,{"a":3}]}`, "l.a", "1: 1; 1! not readable as a row; 1: 3"},
		{"a bad one", `{"b":7,"l":[{"a":1},{"a":1,"a":2},{"a":"` + strings.Repeat("x", schema.MaxStringBytes+1) + `"},{"a":4}]}`, "b l.a",
			"1: 7¦1; 1! not readable as a row; 1! too long; 1: 7¦4"},
		{"a member twice", `{"l.a":1,"l":[{"a":1},{"b":1}]}`, "l.a l.b", "1! not readable as a row; 1: 1¦1"},
	} {
		rows := open(t, c.text, &RowsOptions{Unnest: true})
		got := strings.Join(readAll(t, rows), "; ")
		if columns := strings.Join(rows.Columns(), " "); got != c.want || columns != c.columns {
			t.Errorf("%s: got %q, columns %q", c.name, got, columns)
		}
	}
	two := `{"b":2,"m":[{"a":1}],"l\u00e9":[{"a":3},{"a":4,"x":[{"y":1}]}]}` + "\n" + `{"m":[{"a":"}"}]}`
	rows := open(t, two, &RowsOptions{Unnest: true, Lines: "le\u0301"})
	if got := strings.Join(readAll(t, rows), "; "); got != "1: 2¦¦3¦; 1: 2¦¦4¦; 2: ¦¦¦" || !slices.Equal(rows.Columns(), []string{"b", "m", "l\u00e9.a", "l\u00e9.x"}) {
		t.Errorf("one of two: %q, %q", got, rows.Columns())
	}
	if got := readAll(t, open(t, `{"l":[{"a":1}]}`, nil)); len(got) != 1 || got[0] != "1! not readable as a row" {
		t.Errorf("nobody asked for rows of an array: %q", got)
	}
}

// TestUnnestDifferential compares with what encoding/json makes of a line: the members
// around the array together with those of each object.
func TestUnnestDifferential(t *testing.T) {
	const seed = 23
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	texts := []string{"", "a", "[{", "ä\"", "\\", "]}", "😀", `\"`}
	object := func(from int) map[string]any {
		out := map[string]any{}
		for i := range r.IntN(4) {
			key := fmt.Sprint(texts[1+r.IntN(4)], from+i)
			switch r.IntN(4) {
			case 0:
				out[key] = []any{texts[r.IntN(len(texts))], 5, nil}
			case 1:
				out[key] = map[string]any{"x": texts[r.IntN(len(texts))]}
			default:
				out[key] = texts[r.IntN(len(texts))]
			}
		}
		return out
	}
	var text bytes.Buffer
	var want []string
	print := func(line int, row map[string]string) { want = append(want, fmt.Sprint(line, " ", row)) }
	const lines = 2000
	for line := 1; line <= lines; line++ {
		around := object(0)
		plain := map[string]string{}
		flat("", around, plain)
		if r.IntN(4) == 0 {
			print(line, plain)
		} else {
			name := []string{"items", "m", "z{"}[r.IntN(3)]
			var list []any
			for range 1 + r.IntN(4) {
				o := object(4)
				list = append(list, o)
				row := map[string]string{}
				flat("", around, row)
				flat(name, o, row)
				print(line, row)
			}
			around[name] = list
		}
		encoded, err := json.Marshal(around)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(encoded, '\n'))
	}
	rows := open(t, text.String(), &RowsOptions{Unnest: true})
	for i, w := range want {
		cells, line, err := rows.Next()
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		got := map[string]string{}
		for i, cell := range cells {
			if cell != nil {
				got[rows.Columns()[i]] = string(cell)
			}
		}
		if g := fmt.Sprint(line, " ", got); g != w {
			t.Fatalf("row %d:\n got %q\nwant %q", i, g, w)
		}
	}
	if rest := readAll(t, rows); len(rest) > 0 {
		t.Fatalf("%d rows too many", len(rest))
	}
}
