package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file has the commands of the cases that ask.

// unsure tells for how many there is no answer.
func unsure(a query.Answer) string {
	out := ""
	if a.Unknown > 0 {
		out = fmt.Sprintf(", unknown for %d", a.Unknown)
	}
	if a.Errors > 0 {
		out += fmt.Sprintf(" (%s)", plural(a.Errors, "error", "errors"))
	}
	if a.Withheld {
		out += ", unknown is withheld"
	}
	if len(a.Current) > 0 {
		out += ", as now: " + strings.Join(a.Current, ", ")
	}
	return out + "\n"
}

func (c *caseRun) count(expr, _ string) (string, error) {
	o := c.about()
	n, err := c.asked().Count(c.t.Context(), expr, &o)
	if err != nil {
		return "", err
	}
	return plural(n.Count, "person", "people") + unsure(n.Answer), nil
}

// truth says of everybody whether the expression is true, false or unknown.
func (c *caseRun) truth(expr, _ string) (string, error) {
	yes, n, err := c.keysOf(expr, "")
	if err != nil {
		return "", err
	}
	no, _, err := c.keysOf("!("+expr+")", "")
	if err != nil {
		return "", err
	}
	all, _, err := c.keysOf("true", "")
	if err != nil {
		return "", err
	}
	var unknown []string
	for _, k := range all {
		if !slices.Contains(yes, k) && !slices.Contains(no, k) {
			unknown = append(unknown, k)
		}
	}
	if uint64(len(unknown)) != n.Unknown || len(yes)+len(no)+len(unknown) != len(all) {
		c.t.Errorf("%s: %d true, %d false, %d unknown do not add up to %d; the answer says %d unknown", expr, len(yes), len(no), len(unknown), len(all), n.Unknown)
	}
	out := ""
	for _, x := range []struct {
		name string
		keys []string
	}{{"true:    ", yes}, {"false:   ", no}, {"unknown: ", unknown}} {
		out += strings.TrimRight(x.name+strings.Join(x.keys, " "), " ") + "\n"
	}
	if n.Errors > 0 {
		out += "errors:  " + fmt.Sprint(n.Errors) + "\n"
	}
	return out, nil
}

func (c *caseRun) keysOf(expr, order string) ([]string, query.Answer, error) {
	m, err := c.asked().Members(c.t.Context(), expr, &query.MembersOptions{Options: c.about(), OrderBy: order})
	if err != nil {
		return nil, query.Answer{}, err
	}
	var keys []string
	for row, err := range m.Rows {
		if err != nil {
			return nil, query.Answer{}, err
		}
		keys = append(keys, row.Key)
	}
	return keys, m.Answer, nil
}

// members: EXPRESSION [by ATTRIBUTE [desc]] [limit N] [columns A, B]. A listing with a
// limit is continued to its end, by cursor.
func (c *caseRun) members(rest, _ string) (string, error) {
	o := query.MembersOptions{Options: c.about()}
	if s, ok := clause(&rest, "columns"); ok {
		o.Attributes = strings.Split(s, ", ")
	}
	if s, ok := clause(&rest, "limit"); ok {
		o.Limit = number(s)
	}
	if s, ok := clause(&rest, "by"); ok {
		o.OrderBy, o.Desc = strings.CutSuffix(s, " desc")
	}
	out := ""
	for {
		m, err := c.asked().Members(c.t.Context(), rest, &o)
		if err != nil {
			return "", err
		}
		var rows [][]string
		for row, err := range m.Rows {
			if err != nil {
				return "", err
			}
			line := []string{row.Key}
			for _, v := range row.Values {
				line = append(line, shown(v.String(), v.IsAbsent()))
			}
			rows = append(rows, line)
		}
		if out == "" {
			out = plural(m.Total, "person", "people") + unsure(m.Answer)
		}
		out += table(rows)
		if o.After = m.Next(); o.After == "" {
			return out, nil
		}
		out += "more:\n"
	}
}

func shown(text string, absent bool) string {
	switch {
	case absent:
		return "(none)"
	case text == "":
		return `""`
	}
	return text
}

// breakdown: EXPRESSION by ATTRIBUTE [top N]
func (c *caseRun) breakdown(rest, _ string) (string, error) {
	o := query.BreakdownOptions{Options: c.about()}
	if s, ok := clause(&rest, "top"); ok {
		o.Top = number(s)
	}
	by, _ := clause(&rest, "by")
	b, err := c.asked().Breakdown(c.t.Context(), rest, by, &o)
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, r := range b.Rows {
		rows = append(rows, []string{shown(r.Value.String(), r.Value.IsAbsent()), fmt.Sprint(r.Count)})
	}
	if b.OtherValues > 0 {
		rows = append(rows, []string{fmt.Sprintf("(%d others)", b.OtherValues), fmt.Sprint(b.Other)})
	}
	if b.Withheld > 0 {
		rows = append(rows, []string{fmt.Sprintf("(%d withheld)", b.Withheld)})
	}
	out := plural(b.People, "person", "people")
	if b.Memberships > 0 {
		out += fmt.Sprintf(", %d memberships", b.Memberships)
	}
	return out + unsure(b.Answer) + table(rows), nil
}

// values: ATTRIBUTE [PREFIX]
func (c *caseRun) valuesOf(rest, _ string) (string, error) {
	attr, prefix, _ := strings.Cut(rest, " ")
	values, err := c.asked().Values(c.t.Context(), attr, prefix, 0)
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, v := range values {
		rows = append(rows, []string{shown(v.Value, false), fmt.Sprint(v.Count)})
	}
	return table(rows), nil
}

// profile: KEY, or ATTRIBUTE = VALUE
func (c *caseRun) profile(rest, _ string) (string, error) {
	var p query.Profile
	var err error
	o := query.ProfileOptions{Options: c.about(), Lent: true}
	if attr, value, ok := strings.Cut(rest, " = "); ok {
		p, err = c.asked().ProfileBy(c.t.Context(), attr, value, &o)
	} else {
		p, err = c.asked().Profile(c.t.Context(), rest, &o)
	}
	if err != nil {
		return "", err
	}
	rows := [][]string{{"key", p.Key}}
	for _, v := range slices.Concat(p.Values, p.Computed, p.Lent) {
		rows = append(rows, []string{v.Name, shown(v.Value.String(), false)})
	}
	if len(p.Lists) > 0 {
		rows = append(rows, []string{"lists", strings.Join(p.Lists, ", ")})
	}
	if len(p.Segments) > 0 {
		rows = append(rows, []string{"segments", strings.Join(p.Segments, ", ")})
	}
	if len(p.Current) > 0 {
		rows = append(rows, []string{"as now", strings.Join(p.Current, ", ")})
	}
	return table(rows), nil
}

func (c *caseRun) lists(_, _ string) (string, error) {
	lists, err := c.asked().Lists(c.t.Context())
	var rows [][]string
	for _, l := range lists {
		rows = append(rows, []string{l.Name, plural(l.People, "person", "people")})
	}
	return table(rows), err
}

func (c *caseRun) segments(_, _ string) (string, error) {
	segments, err := c.asked().Segments(c.t.Context())
	var rows [][]string
	for _, s := range segments {
		row := []string{s.Name, s.Text}
		if s.Withheld {
			row[1] = "(withheld)"
		}
		if s.Shared {
			row = append(row, "shared")
		}
		if len(s.UsedBy) > 0 {
			row = append(row, "used by "+strings.Join(s.UsedBy, ", "))
		}
		rows = append(rows, row)
	}
	return table(rows), err
}

func (c *caseRun) definitions(_, _ string) (string, error) {
	all, err := c.asked().Definitions(c.t.Context())
	var rows [][]string
	for _, d := range all {
		row := []string{d.Analysis, d.Name, shown(d.Who, false), fmt.Sprint(d.Arguments), strings.Join(d.Fields, " ")}
		if len(d.UsedBy) > 0 {
			row = append(row, "used by "+strings.Join(d.UsedBy, ", "))
		}
		rows = append(rows, row)
	}
	return table(rows), err
}

func (c *caseRun) quarantine(_, _ string) (string, error) {
	bad, err := c.Quarantine(c.t.Context(), 0, 0)
	var rows [][]string
	for _, q := range bad {
		rows = append(rows, []string{fmt.Sprintf("%s:%d", q.Source, q.Line), q.Reason, q.Detail, q.Raw})
	}
	return table(rows), err
}

// explain shows the parts of an expression, each evaluated by itself.
func (c *caseRun) explain(expr, _ string) (string, error) {
	o := c.about()
	e, err := c.asked().Explain(c.t.Context(), expr, &o)
	if err != nil {
		return "", err
	}
	var rows [][]string
	var add func(n query.PlanNode, indent string)
	add = func(n query.PlanNode, indent string) {
		label := indent + n.Label
		if len(n.Computed) > 0 {
			label += " (" + strings.Join(n.Computed, ", ") + ")"
		}
		rows = append(rows, []string{label, fmt.Sprintf("true %d", n.True), fmt.Sprintf("unknown %d", n.Unknown)})
		for _, x := range n.Of {
			add(x, indent+"  ")
		}
	}
	add(e.Root, "")
	return table(rows), nil
}

// analyze: NAME [EXPRESSION], then lines of a parameter and its text. The people of every cell
// are listed.
func (c *caseRun) analyze(rest, input string) (string, error) {
	name, who, _ := strings.Cut(rest, " ")
	args := arguments(input)
	o := c.about()
	r, err := c.asked().Analyze(c.t.Context(), name, who, args, &o)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, t := range r.Tables {
		lines := [][]string{{}}
		for _, column := range t.Columns {
			lines[0] = append(lines[0], column.Name)
		}
		for _, row := range t.Rows {
			var line []string
			for i, v := range row.Values {
				line = append(line, reportText(v, t.Columns[i].Unit))
			}
			lines = append(lines, line)
		}
		out.WriteString(aligned(lines))
		for _, row := range t.Rows {
			for _, cell := range row.Cells {
				m, err := c.asked().AnalysisMembers(c.t.Context(), name, who, args, cell, &query.MembersOptions{Options: o})
				if err != nil {
					return "", err
				}
				fmt.Fprintf(&out, "cell %s:", cell)
				for row, err := range m.Rows {
					if err != nil {
						return "", err
					}
					out.WriteString(" " + row.Key)
				}
				out.WriteString("\n")
			}
		}
	}
	if end := unsure(r.Answer); end != "\n" {
		out.WriteString(strings.TrimPrefix(end, ", "))
	}
	return out.String(), nil
}

func reportText(v schema.Value, unit query.ReportUnit) string {
	switch {
	case v.IsAbsent():
		return "-"
	case unit == query.UnitShare:
		return fmt.Sprintf("%.1f%%", 100*v.Float())
	case unit == query.UnitDuration:
		return (time.Duration(v.Ordered()) * time.Millisecond).String()
	}
	return v.String()
}

// aligned writes columns.
func aligned(lines [][]string) string {
	var out strings.Builder
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, line := range lines {
		text := ""
		for i, cell := range line {
			text += fmt.Sprintf("%-*s  ", widths[i], cell)
		}
		out.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	return out.String()
}
