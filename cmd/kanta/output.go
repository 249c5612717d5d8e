package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kantadb/kanta/query"
)

// printJSON writes a value as one line of JSON.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table collects lines and writes them when it is complete: aligned with a header on a
// terminal, tab separated without one elsewhere.
type table struct {
	head     []string
	right    []bool // numbers, by column
	rows     [][]string
	terminal bool
}

// newTable starts a table. A column whose name begins with "#" holds numbers.
func (a *app) newTable(head ...string) *table {
	t := &table{terminal: a.outTerminal}
	for _, h := range head {
		name, number := strings.CutPrefix(h, "#")
		t.head, t.right = append(t.head, printable(name)), append(t.right, number)
	}
	return t
}

// add adds a line: strings, numbers, durations and what prints itself.
func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = t.text(c)
	}
	t.rows = append(t.rows, row)
}

func (t *table) text(cell any) string {
	switch c := cell.(type) {
	case string:
		return printable(c)
	case int:
		return t.number(strconv.Itoa(c))
	case int64:
		return t.number(strconv.FormatInt(c, 10))
	case uint64:
		return t.number(strconv.FormatUint(c, 10))
	case time.Duration:
		if t.terminal {
			return shortDuration(c)
		}
		return strconv.FormatInt(c.Microseconds(), 10)
	}
	return printable(fmt.Sprint(cell))
}

func (t *table) number(digits string) string {
	if t.terminal {
		return grouped(digits)
	}
	return digits
}

func (t *table) write(w io.Writer) error {
	var b strings.Builder
	if !t.terminal {
		for _, row := range t.rows {
			b.WriteString(strings.Join(row, "\t"))
			b.WriteByte('\n')
		}
	} else {
		t.align(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) align(b *strings.Builder) {
	all := t.rows
	if strings.Join(t.head, "") != "" {
		all = append([][]string{t.head}, t.rows...)
	}
	widths := make([]int, len(t.head))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// gap parts two tables, on a terminal.
func (a *app) gap() {
	if a.outTerminal {
		fmt.Fprintln(a.out)
	}
}

// facts is a table of two columns: names and what there is to say of each.
func (a *app) facts() *table { return a.newTable("", "#") }

// printable makes a text safe for a terminal and for one cell of a line: control
// characters, which could move the cursor or end the line, are written as escapes.
func printable(s string) string {
	if !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		if unprintable(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// grouped puts commas between thousands.
func grouped(digits string) string {
	sign, rest := "", digits
	if strings.HasPrefix(rest, "-") {
		sign, rest = "-", rest[1:]
	}
	for i := len(rest) - 3; i > 0; i -= 3 {
		rest = rest[:i] + "," + rest[i:]
	}
	return sign + rest
}

// count writes a number for people.
func count[N int | int64 | uint64](n N) string { return grouped(fmt.Sprint(n)) }

// shortDuration writes a duration in the unit people would say it in.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3f ms", d.Seconds()*1e3)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// shortBytes writes a number of bytes for people.
func shortBytes(n int64) string {
	switch {
	case n < 10<<10:
		return count(n) + " B"
	case n < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// bytes is a number of bytes as a cell.
func (t *table) bytes(n int64) any {
	if t.terminal {
		return shortBytes(n)
	}
	return n
}

// micros is a duration as a cell: in words on a terminal, else in microseconds with one
// place, for a bare count takes less than one.
func (t *table) micros(d time.Duration) any {
	if t.terminal {
		return d
	}
	return strconv.FormatFloat(float64(d.Nanoseconds())/1e3, 'f', 1, 64)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// answerJSON is what every answer carries.
type answerJSON struct {
	Unknown   uint64   `json:"unknown"`
	Withheld  bool     `json:"unknown_withheld,omitempty"` // it is not told: the role has a smallest group
	Errors    uint64   `json:"errors"`
	Position  string   `json:"position"`
	Now       string   `json:"now"`
	Current   []string `json:"current,omitempty"` // of an instant in the past
	ElapsedUS int64    `json:"elapsed_us"`
}

func answerOf(a query.Answer) answerJSON {
	return answerJSON{Unknown: a.Unknown, Withheld: a.Withheld, Errors: a.Errors, Position: a.Position.String(), Now: rfc3339(a.Now), Current: a.Current, ElapsedUS: a.Elapsed.Microseconds()}
}

// addAnswer adds what every answer carries to a table of facts.
func (t *table) addAnswer(a query.Answer) {
	if a.Withheld {
		t.add("unknown", "not told: too few")
	} else {
		t.add("unknown", a.Unknown)
	}
	if a.Errors > 0 || !t.terminal {
		t.add("errors", a.Errors)
	}
	t.add("position", a.Position.String())
	t.add("now", rfc3339(a.Now))
	if t.terminal {
		t.add("time", a.Elapsed)
	} else {
		t.add("elapsed_us", a.Elapsed.Microseconds())
	}
}

// noteCurrent tells what an answer about the past has read as it is now.
func (a *app) noteCurrent(answer query.Answer) {
	if len(answer.Current) > 0 {
		fmt.Fprintf(a.err, "note: no history is kept of %s: read as of now\n", printable(strings.Join(answer.Current, ", ")))
	}
}
