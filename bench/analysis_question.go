package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// AnalysisQuestion asks an analysis for a table, about the instant [Now]. The answer is
// lines: of each row some values, joined by "|", in any order.
type AnalysisQuestion struct {
	Name     string
	Analysis string
	Who      string
	Args     query.Arguments
	Table    string   // of the report
	Columns  []string // that are compared
	People   string   // rows in which this column is 0 are left out; "": none is
	First    []string // rows whose first column is none of these are left out; nil: none is
	SQL      string   // the same for DuckDB: a query of one column, the lines

	lines func(b *Behaviour) []string // the right ones, in plain Go, slowly
}

// AnalysisQuestions returns the analyses of the workload; with other constants for each i,
// as [Generator.EventQuestions] does.
func (g *Generator) AnalysisQuestions(i uint64) []AnalysisQuestion {
	c := g.constants(i)
	return []AnalysisQuestion{c.rfm(), c.funnel(), c.retention(), c.basket(), c.trend(), c.path(g.events.names), c.compare(g)}
}

// rfm is Q7.
func (c eventConstants) rfm() AnalysisQuestion {
	return AnalysisQuestion{
		Name: "Q7", Analysis: "rfm",
		Args: query.Arguments{"event": {fmt.Sprintf("purchase.in_last(days(%d))", c.scored)}, "amount": {"e.amount"},
			"recency-unit": {"1ms"}, "recency-by": {"rank"}, "frequency-by": {"rank"}},
		Table: "cells", Columns: []string{"cell", "people", "sum"}, People: "people",
		SQL: fmt.Sprintf(`WITH p AS (SELECT person, max(time) AS last, count(*) AS n, sum(amount) AS m FROM events WHERE %s GROUP BY person),`+
			` s AS (SELECT ntile(5) OVER (ORDER BY last, key) AS r, ntile(5) OVER (ORDER BY n, m, key) AS f, m FROM p JOIN people ON people.rowid = p.person)`+
			` SELECT concat_ws('|', 'r' || r || 'f' || f, count(*), sum(m)) FROM s GROUP BY r, f`, lastSQL("purchase", c.scored)),
		lines: func(b *Behaviour) []string { return b.scored(c.scored) },
	}
}

// funnel is Q12 with all its steps.
func (c eventConstants) funnel() AnalysisQuestion {
	look, cart, buy := lastSQL("view_item", 30), lastSQL("add_to_cart", 30), lastSQL("purchase", 30)
	return AnalysisQuestion{
		Name: "Q12 funnel", Analysis: "funnel",
		Args:  query.Arguments{"step": {"view_item.in_last(days(30))", "add_to_cart", "purchase"}, "within": {fmt.Sprintf("%dh", c.hours)}},
		Table: "steps", Columns: []string{"step", "people"},
		SQL: fmt.Sprintf(`WITH c AS (SELECT c.person, c.time, v.time AS seen FROM (SELECT person, time FROM events WHERE %[2]s) c`+
			` ASOF JOIN (SELECT person, time FROM events WHERE %[1]s) v ON c.person = v.person AND v.time < c.time),`+
			` p AS (SELECT p.person, p.time, c.seen FROM (SELECT person, time FROM events WHERE %[3]s) p ASOF JOIN c ON p.person = c.person AND c.time < p.time)`+
			` SELECT concat_ws('|', 1, count(DISTINCT person)) FROM events WHERE %[1]s`+
			` UNION ALL SELECT concat_ws('|', 2, count(DISTINCT person)) FROM c WHERE time - seen <= INTERVAL %[4]d HOUR`+
			` UNION ALL SELECT concat_ws('|', 3, count(DISTINCT person)) FROM p WHERE time - seen <= INTERVAL %[4]d HOUR`, look, cart, buy, c.hours),
		lines: func(b *Behaviour) []string { return b.converted(int64(c.hours) * hour) },
	}
}

// retention is Q13.
func (c eventConstants) retention() AnalysisQuestion {
	return AnalysisQuestion{
		Name: "Q13", Analysis: "retention",
		Args:  query.Arguments{"since": {"signup_date"}, "return": {"app_open"}, "by": {"rolling"}, "per": {"week"}, "cohorts": {fmt.Sprint(c.cohorts)}},
		Table: "cohorts", Columns: []string{"cohort", "period", "people", "returned"}, People: "people",
		SQL: fmt.Sprintf(`WITH s AS (SELECT rowid AS person, signup_date AS began, date_diff('day', signup_date, DATE '2026-01-01') // 7 AS c FROM people`+
			` WHERE signup_date <= DATE '2026-01-01' AND date_diff('day', signup_date, DATE '2026-01-01') < 7 * %[1]d),`+
			` o AS (SELECT DISTINCT s.person, c, epoch_ms(time - began::TIMESTAMP) // 604800000 AS k FROM events JOIN s ON s.person = events.person`+
			` WHERE event = 'app_open' AND time >= began AND time <= TIMESTAMP '2026-01-01'),`+
			` n AS (SELECT c, count(*) AS people FROM s GROUP BY c), r AS (SELECT c, k, count(*) AS returned FROM o GROUP BY c, k)`+
			` SELECT concat_ws('|', (DATE '2026-01-01' - ((n.c + 1) * 7)::INTEGER)::VARCHAR, t.k, people, coalesce(returned, 0))`+
			` FROM n JOIN (SELECT range AS k FROM range(%[1]d)) t ON t.k <= n.c LEFT JOIN r ON r.c = n.c AND r.k = t.k`, c.cohorts),
		lines: func(b *Behaviour) []string { return b.retained(c.cohorts) },
	}
}

// trend is one event per day with people.
func (c eventConstants) trend() AnalysisQuestion {
	from := Now().AddDate(0, 0, -c.daily)
	return AnalysisQuestion{
		Name: "trend", Analysis: "trend",
		Args:  query.Arguments{"event": {"app_open"}, "measure": {"people"}, "from": {from.Format(time.DateOnly)}, "to": {"2025-12-31"}},
		Table: "periods", Columns: []string{"period", "value"}, People: "value",
		SQL: fmt.Sprintf(`SELECT concat_ws('|', time::DATE::VARCHAR, count(DISTINCT person)) FROM events`+
			` WHERE event = 'app_open' AND time >= TIMESTAMP '%s' AND time < TIMESTAMP '2026-01-01' GROUP BY time::DATE`, from.Format(time.DateOnly)),
		lines: func(b *Behaviour) []string { return b.daily(AppOpen, from.UnixMilli()) },
	}
}

// basket is Q14.
func (c eventConstants) basket() AnalysisQuestion {
	const top = 50
	return AnalysisQuestion{
		Name: "Q14", Analysis: "basket",
		Args:  query.Arguments{"event": {fmt.Sprintf("purchase.in_last(days(%d))", c.scored)}, "item": {"item_id"}, "top": {fmt.Sprint(top)}},
		Table: "sets", Columns: []string{"items", "people"},
		SQL: fmt.Sprintf(`WITH p AS (SELECT DISTINCT person, item_id FROM events WHERE %s)`+
			` SELECT concat_ws('|', a || ' + ' || b, n) FROM (SELECT x.item_id AS a, y.item_id AS b, count(*) AS n`+
			` FROM p x JOIN p y ON x.person = y.person AND x.item_id < y.item_id GROUP BY ALL ORDER BY n DESC, a, b LIMIT %d)`, lastSQL("purchase", c.scored), top),
		lines: func(b *Behaviour) []string { return b.pairs(c.scored, top) },
	}
}

// pathSteps is how many steps the paths have that are asked for.
const pathSteps = 3

// path asks what people do after they have opened the app.
func (c eventConstants) path(types []string) AnalysisQuestion {
	return AnalysisQuestion{
		Name: "path", Analysis: "path",
		Args:  query.Arguments{"after": {fmt.Sprintf("app_open.in_last(days(%d))", c.bought)}, "steps": {fmt.Sprint(pathSteps)}, "within": {"7d"}, "top": {"100"}},
		Table: "flow", Columns: []string{"step", "from", "to", "people"},
		SQL: fmt.Sprintf(`WITH f AS (SELECT person, min(time) AS began FROM events WHERE %s GROUP BY person),`+
			` s AS (SELECT f.person, event, time, list_position(['%s'], event) AS type FROM events e JOIN f ON f.person = e.person`+
			` AND e.time > f.began AND e.time <= f.began + INTERVAL 7 DAY WHERE e.time <= TIMESTAMP '2026-01-01'),`+
			` c AS (SELECT *, lag(event, 1, 'app_open') OVER (PARTITION BY person ORDER BY time, type) AS before FROM s),`+
			` n AS (SELECT *, row_number() OVER (PARTITION BY person ORDER BY time, type) AS n FROM c WHERE event <> before),`+
			` p AS (SELECT ['app_open'] || list(event ORDER BY n) AS l FROM n WHERE n <= %[3]d GROUP BY person`+
			` UNION ALL SELECT ['app_open'] FROM f WHERE person NOT IN (SELECT person FROM n))`+
			` SELECT concat_ws('|', k, l[k + 1], coalesce(l[k + 2], '(end)'), count(*)) FROM p, (SELECT range AS k FROM range(%[3]d)) WHERE len(l) > k GROUP BY k, l[k + 1], l[k + 2]`,
			lastSQL("app_open", c.bought), strings.Join(types, "', '"), pathSteps),
		lines: func(b *Behaviour) []string { return b.paths(c.bought) },
	}
}

// compare asks what makes some people different, by all attributes. What is compared are the
// values that they have more often than everybody, of attributes that have few.
func (c eventConstants) compare(g *Generator) AnalysisQuestion {
	of := []string{"gender", "plan", "os", "marital_status", "income_band", "acquisition_channel", "loyalty_tier"}
	q := AnalysisQuestion{
		Name: "compare", Analysis: "compare", Who: fmt.Sprintf("purchase.in_last(days(%d)).any()", c.bought),
		Args:  query.Arguments{"each": {"10000"}, "top": {"10000"}, "min-people": {"1"}},
		Table: "more", Columns: []string{"what", "value", "people", "base people"}, First: of,
		SQL: fmt.Sprintf(`WITH g AS (SELECT *, rowid IN (SELECT person FROM events WHERE %s) AS s FROM people),`+
			` v AS (SELECT s, %[2]s FROM g), u AS (SELECT * FROM v UNPIVOT INCLUDE NULLS (value FOR what IN (%[2]s))),`+
			` n AS (SELECT count(*) AS base, count(*) FILTER (s) AS people FROM g)`+
			` SELECT concat_ws('|', what, coalesce(value, '(none)'), count(*) FILTER (s), count(*)) FROM u GROUP BY what, value`+
			` HAVING count(*) FILTER (s) * (SELECT base FROM n) > count(*) * (SELECT people FROM n)`, lastSQL("purchase", c.bought), strings.Join(of, ", ")),
		lines: func(b *Behaviour) []string { return b.compared(of, c.bought) },
	}
	for _, a := range g.Schema() {
		q.Args["of"] = append(q.Args["of"], a.Name)
	}
	return q
}

// Lines returns what a report answers.
func (q *AnalysisQuestion) Lines(r query.Report) ([]string, error) {
	for _, t := range r.Tables {
		if t.Name != q.Table {
			continue
		}
		at := func(name string) int {
			return slices.IndexFunc(t.Columns, func(c query.ReportColumn) bool { return c.Name == name })
		}
		var lines []string
		for _, row := range t.Rows {
			if q.People != "" && row.Values[at(q.People)].Ordered() == 0 {
				continue
			}
			if q.First != nil && !slices.Contains(q.First, row.Values[0].String()) {
				continue
			}
			var words []string
			for _, name := range q.Columns {
				words = append(words, row.Values[at(name)].String())
			}
			lines = append(lines, strings.Join(words, "|"))
		}
		slices.Sort(lines)
		return lines, nil
	}
	return nil, fmt.Errorf("the %s has no table %q", q.Analysis, q.Table)
}

// Lines returns the right answer to an analysis.
func (b *Behaviour) Lines(q AnalysisQuestion) []string {
	lines := q.lines(b)
	slices.Sort(lines)
	return lines
}
