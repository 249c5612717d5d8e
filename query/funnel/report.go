package funnel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// cell is the people that are wanted.
type cell struct {
	group int // -1: it is not known yet
	at    int // in counts
	label string
}

// wanted reads the name of a cell.
func (f *funnel) wanted(text string) error {
	if text == "" {
		return nil
	}
	wrong := &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("a funnel of %d steps has no cell %q", len(f.texts), text), Hint: `"2" are the people of step 2, "2:dropped" those of them who went no further`}
	where, label, isGroup := strings.Cut(text, "|")
	if isGroup != (f.by != nil) {
		if f.by != nil {
			wrong.Hint = `with --by "2|FI" are the people of step 2 in the group FI`
		}
		return wrong
	}
	number, what, isPart := strings.Cut(where, ":")
	k, err := strconv.Atoi(number)
	if err != nil || k < 1 || k > len(f.texts) || strconv.Itoa(k) != number {
		return wrong
	}
	at := came
	switch {
	case isPart && what == "dropped":
		at = dropped
		if k == len(f.texts) { // whoever is at the end has not dropped
			return wrong
		}
	case isPart:
		bin := slices.IndexFunc(f.binNames(), func(name string) bool { return name == what })
		if bin < 0 || k == 1 {
			return wrong
		}
		at = firstBin + bin
	}
	f.cell = &cell{at: (k-1)*f.numbers() + at, label: label}
	if f.by != nil {
		f.cell.group = -1
	}
	return nil
}

// bins reads --histogram.
func (f *funnel) bins(text string) error {
	if text == "" {
		return nil
	}
	wrong := query.Errorf(query.CodeInvalid, "--histogram %q: neither a number of parts nor the borders of parts that ascend and are below %s", text, spanText(f.within))
	wrong.Hint = "such as 10, or 1m,10m,1h"
	f.edges = []int64{0}
	if n, err := strconv.Atoi(text); err == nil {
		switch {
		case n < 1 || int64(n) > f.within:
			return wrong
		case n > MaxBins:
			return query.Errorf(query.CodeLimit, "--histogram %d: the most are %d parts", n, MaxBins)
		}
		for i := range int64(n) {
			f.edges = append(f.edges, f.within/int64(n)*(i+1)+f.within%int64(n)*(i+1)/int64(n))
		}
	} else {
		for _, edge := range strings.Split(text, ",") {
			d, err := query.ParseSpan(strings.TrimSpace(edge))
			if err != nil {
				wrong.Message = fmt.Sprintf("--histogram %q: %s", text, err.Message)
				return wrong
			}
			if ms := d.Milliseconds(); ms > f.edges[len(f.edges)-1] && ms < f.within {
				f.edges = append(f.edges, ms)
			} else {
				return wrong
			}
		}
		f.edges = append(f.edges, f.within)
	}
	groups := 1
	if f.by != nil {
		groups = f.by.top + 2
	}
	if rows := (len(f.edges) - 1) * (len(f.texts) - 1) * groups; len(f.edges) > MaxBins+1 || rows > MaxRows {
		return query.Errorf(query.CodeLimit, "--histogram %q: %d parts of %d steps and %d groups are more than %d rows", text, len(f.edges)-1, len(f.texts)-1, groups, MaxRows)
	}
	return nil
}

// bin returns the part of the histogram that a time is in.
func (f *funnel) bin(t int64) int {
	at, _ := slices.BinarySearch(f.edges, t+1) // the first border that is after t
	return min(at-1, len(f.edges)-2)           // the last part has its end in it
}

// binNames are the parts of the histogram by name.
func (f *funnel) binNames() (names []string) {
	for i := range max(0, len(f.edges)-1) {
		names = append(names, spanText(f.edges[i])+"-"+spanText(f.edges[i+1]))
	}
	return names
}

// spanText writes a duration as query.ParseSpan reads it.
func spanText(ms int64) (text string) {
	for _, u := range []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := ms / u.of.Milliseconds(); n > 0 {
			text += strconv.FormatInt(n, 10) + u.name
			ms -= n * u.of.Milliseconds()
		}
	}
	if text == "" {
		return "0s"
	}
	return text
}

// report makes the report.
func (f *funnel) report(groups []*counts, answer query.Answer) query.Report {
	out := query.Report{Analysis: name, Tables: []query.ReportTable{f.header(steps, 2)}, Answer: answer}
	if f.edges != nil {
		out.Tables = append(out.Tables, f.header(times, 1))
	}
	order := make([]int, 0, len(groups))
	for i := range groups[1:] {
		order = append(order, i+1)
	}
	for _, i := range append(order, 0) { // whoever has no value comes last
		if f.by != nil && groups[i].isEmpty() {
			continue
		}
		base := groups[i]
		if f.by != nil && f.by.touch == stepTouch { // of one step to the next, people come from everywhere
			base = f.newCounts()
			for _, c := range groups {
				base.add(c)
			}
		}
		for k := range f.texts {
			out.Tables[0].Rows = append(out.Tables[0].Rows, f.stepRow(i, k, groups[i], base))
			if f.edges != nil && k > 0 {
				out.Tables[1].Rows = append(out.Tables[1].Rows, f.timeRows(i, k, groups[i])...)
			}
		}
	}
	return out
}

// header returns a table with the columns that depend on what was asked; that of --by comes
// after so many.
func (f *funnel) header(t query.ReportTable, after int) query.ReportTable {
	t.Columns = slices.Clone(t.Columns)
	if f.entries {
		at := slices.IndexFunc(t.Columns, func(c query.ReportColumn) bool { return c.Name == "people" })
		t.Columns = slices.Insert(t.Columns, at, query.ReportColumn{Name: "entries", Unit: query.UnitNumber})
	}
	if f.by != nil {
		t.Columns = slices.Insert(t.Columns, after, query.ReportColumn{Name: f.by.name, Unit: query.UnitText})
	}
	return t
}

// cellName names a cell.
func (f *funnel) cellName(group, k int, what string) string {
	text := strconv.Itoa(k+1) + what
	if f.by != nil {
		text += "|" + f.by.cellPart(group)
	}
	return text
}

// begin returns the first values of a row: those before its numbers of people.
func (f *funnel) begin(group int, values ...schema.Value) []schema.Value {
	if f.by != nil {
		values = append(values, schema.StringValue(f.by.groupName(group)))
	}
	return values
}

// number adds how many there are.
func (f *funnel) number(values []schema.Value, c *counts, at int) []schema.Value {
	if f.entries {
		values = append(values, schema.IntValue(int64(c.entries[at])))
	}
	return append(values, schema.IntValue(int64(c.people[at])))
}

func (f *funnel) stepRow(group, k int, c, base *counts) query.ReportRow {
	text := f.texts[k]
	if f.order == anyOrder {
		text = fmt.Sprintf("any %d of %d", k+1, len(f.texts))
	}
	at := k*f.numbers() + came
	row := query.ReportRow{Cells: []string{f.cellName(group, k, "")}, Values: f.number(f.begin(group, schema.IntValue(int64(k+1)), schema.StringValue(text)), c, at)}
	if k < len(f.texts)-1 {
		row.Cells = append(row.Cells, f.cellName(group, k, ":dropped"))
	}
	average, median, p90 := spread(c.times[k])
	row.Values = append(row.Values, query.Share(c.entries[at], base.entries[came]), query.Share(c.entries[at], base.entries[max(0, k-1)*f.numbers()+came]),
		schema.IntValue(int64(c.entries[k*f.numbers()+dropped])), average, median, p90)
	return row
}

func (f *funnel) timeRows(group, k int, c *counts) (rows []query.ReportRow) {
	for i, name := range f.binNames() {
		at := k*f.numbers() + firstBin + i
		values := f.begin(group, schema.IntValue(int64(k+1)))
		values = append(values, schema.IntValue(f.edges[i]), schema.IntValue(f.edges[i+1]))
		rows = append(rows, query.ReportRow{Cells: []string{f.cellName(group, k, ":"+name)},
			Values: append(f.number(values, c, at), query.Share(c.entries[at], c.entries[k*f.numbers()+came]))})
	}
	return rows
}

// spread returns the average and the nearest ranks of 50 and 90 %, absent of nothing.
func spread(times []int64) (average, median, p90 schema.Value) {
	n := len(times)
	if n == 0 {
		return average, median, p90
	}
	high, low := int64(0), int64(0) // of the sum, in units of n: a sum may not fit
	for _, t := range times {
		high += t / int64(n)
		low += t % int64(n)
	}
	return schema.IntValue(high + low/int64(n)), schema.IntValue(ranked(times, (n+1)/2-1)), schema.IntValue(ranked(times, (9*n+9)/10-1))
}

// ranked returns what would be at a place if the numbers were sorted. It sorts only those
// that are as large as that one by about a thousandth of their range.
func ranked(numbers []int64, place int) int64 {
	least, most := slices.Min(numbers), slices.Max(numbers)
	part := (most-least)/1024 + 1
	var count [1024]int
	for _, n := range numbers {
		count[(n-least)/part]++
	}
	at := 0
	for ; place >= count[at]; at++ {
		place -= count[at]
	}
	near := make([]int64, 0, count[at])
	for _, n := range numbers {
		if (n-least)/part == int64(at) {
			near = append(near, n)
		}
	}
	slices.Sort(near)
	return near[place]
}
