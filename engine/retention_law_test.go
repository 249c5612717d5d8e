package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// TestRetentionLaw asks random stores for random retentions, and for the expressions that say
// the same, which another part of the engine evaluates.
func TestRetentionLaw(t *testing.T) {
	t.Parallel()
	const seed = 5
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		for _, a := range []schema.Attribute{{Name: "began", Kind: schema.Timestamp}, {Name: "birth", Kind: schema.Date}} {
			b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
		}
	})
	kinds := map[string]int{}
	for range 12 {
		m.write()()
		m.beginnings()
	}
	for step := range Rounds(40, 6) {
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(24)) * time.Hour))
		}
		switch k := m.r.IntN(16); {
		case k < 10:
			m.write()()
		case k < 13:
			m.beginnings()
		case k < 14:
			m.remove()
		case k < 15:
			m.compact(fmt.Sprint("step ", step))
		default:
			if err := m.db.Close(); err != nil {
				t.Fatal(err)
			}
			m.open()
		}
		for i := range 3 {
			q := m.retention()
			q.compare(m, fmt.Sprint("step ", step))
			if i < 2 {
				q.lifecycle(m, fmt.Sprint("step ", step), kinds)
			}
			kinds[q.by+" "+q.kind] += q.people
			if q.since != "" {
				kinds["since "+q.by] += q.people
				kinds["since "+q.since+" "+q.by] += q.people
			}
			if q.brackets != nil {
				kinds["brackets since "+q.since] += q.people
			}
			kinds["sums"] += q.sums
		}
	}
	for _, kind := range []string{"calendar on", "calendar on-or-after", "calendar on-or-before", "rolling on", "rolling on-or-after", "rolling on-or-before", "since calendar", "since birth rolling", "brackets since began", "brackets since birth", "sums",
		"new", "returning", "resurrected", "dormant", "since new", "since returning", "since resurrected", "since dormant"} {
		if kinds[kind] < 15 && !testing.Short() {
			t.Errorf("%s: only %d people came back", kind, kinds[kind])
		}
	}
}

// beginnings gives some people a time and a date with which they begin: of midnights and of the
// hours of events there are many.
func (m *actModel) beginnings() {
	m.t.Helper()
	m.apply(func(b *batch.Builder) {
		for range 40 {
			day := m.now.UnixMilli()/actDay + 1 - m.r.Int64N(20)
			b.Upsert(m.key()).Set("began", schema.TimestampValue(day*actDay+m.r.Int64N(4)*3_600_000)).Set("birth", schema.DateValue(day))
		}
	})
}

// lawRetention is a random retention.
type lawRetention struct {
	first, since, back, who string
	by, per, kind           string
	zone                    *time.Location
	now                     time.Time
	begin                   []time.Time     // of the periods, and the end of the last
	brackets                []time.Duration // when each begins, and the last ends; nil: none
	amount                  bool
	people                  int // that came back
	sums                    int // that are not 0
}

func (m *actModel) retention() *lawRetention {
	m.t.Helper()
	q := &lawRetention{by: pickOne(m, "calendar", "rolling"), per: pickOne(m, "day", "week", "week"), kind: pickOne(m, "on", "on-or-after", "on-or-before"), who: pickOne(m, "true", "true", m.condition())}
	for plain := false; !plain; { // what has no plan is interpreted in expressions, and refused of an analysis
		q.first, _ = m.events()
		q.back, _ = m.events()
		if m.r.IntN(3) == 0 {
			q.back = q.first
		}
		_, err := m.db.Analyze(m.t.Context(), "funnel", "", query.Arguments{"step": {q.first, q.back}}, nil)
		plain = err == nil
	}
	q.since = pickOne(m, "", "", "began", "birth", "birth")
	name := pickOne(m, "UTC", "Europe/Rome", "America/New_York")
	if q.since == "birth" && q.by == "rolling" { // of days of another zone no expression says the same
		name = pickOne(m, "UTC", "UTC", "Europe/Rome")
	}
	zone, err := syntax.Zone(name)
	if err != nil {
		m.t.Fatal(err)
	}
	q.zone, q.now = zone, m.now.Add(-time.Duration(m.r.IntN(10*24))*time.Hour)
	n, days := 1+m.r.IntN(7), 1
	if q.per == "week" {
		days = 7
	}
	y, month, d := q.now.In(zone).Date()
	if q.per == "week" {
		d -= (int(q.now.In(zone).Weekday()) + 6) % 7
	}
	for i := range n + 1 {
		at := time.Date(y, month, d+(i-n+1)*days, 0, 0, 0, 0, zone)
		if q.by == "rolling" {
			at = q.now.Add(-time.Duration((n-i)*days)*24*time.Hour + time.Millisecond)
		}
		q.begin = append(q.begin, at)
	}
	if m.r.IntN(3) == 0 {
		q.brackets = []time.Duration{0}
		for range 1 + m.r.IntN(4) {
			length := time.Duration(1+m.r.IntN(9)) * 24 * time.Hour
			if q.since != "birth" {
				length += time.Duration(m.r.IntN(24)) * time.Hour
			}
			q.brackets = append(q.brackets, q.brackets[len(q.brackets)-1]+length)
		}
	}
	q.amount = strings.HasPrefix(q.back, "buy") && (q.since == "" || m.r.IntN(2) == 0)
	return q
}

// last returns the last period that has begun for some of a cohort.
func (q *lawRetention) last(cohort int) int {
	if q.brackets == nil {
		return len(q.begin) - 2 - cohort
	}
	for k := len(q.brackets) - 2; ; k-- {
		if !q.begin[cohort].Add(q.brackets[k]).After(q.now) {
			return k
		}
	}
}

// between writes a window of a list.
func between(list string, from, to time.Time) string {
	return fmt.Sprintf("%s.between(timestamp(%q), timestamp(%q))", list, instant(from.UnixMilli()), instant(to.UnixMilli()))
}

// began is an expression for who is of a cohort.
func (q *lawRetention) began(cohort int) string {
	from, to := q.begin[cohort], q.begin[cohort+1]
	switch q.since {
	case "began":
		return fmt.Sprintf("began >= timestamp(%q) && began < timestamp(%q) && began <= now", instant(from.UnixMilli()), instant(to.UnixMilli()))
	case "birth": // it begins on the day that is that date; the ends of calendar periods are such beginnings
		return fmt.Sprintf("birth > date(timestamp(%[1]q), %[3]q) && birth <= date(timestamp(%[2]q), %[3]q) && birth <= today(%[3]q)", instant(from.UnixMilli()-1), instant(to.UnixMilli()-1), q.zone)
	}
	return between(q.first, from, to) + ".any() && !" + between(q.first, time.UnixMilli(0), from) + ".any()"
}

// returned is an expression for who of a cohort came back in a period from the one to the other;
// "" if there is none.
func (q *lawRetention) returned(cohort, from, to int) string {
	later := fmt.Sprintf("%s.then(%s, days(100)).any()", q.first, q.back)
	if q.by == "calendar" && q.brackets == nil {
		start, end := q.begin[cohort], q.begin[cohort+to+1]
		switch {
		case from > 0:
			return between(q.back, q.begin[cohort+from], end) + ".any()"
		case q.since == "began":
			return fmt.Sprintf("%s.exists(e, e.ts >= began)", between(q.back, start, end))
		case q.since == "birth":
			return fmt.Sprintf("%s.exists(e, date(e.ts, %q) >= birth)", between(q.back, start, end), q.zone)
		}
		return q.first + ".then(" + between(q.back, start, end) + ", days(100)).any()"
	}
	since := func(k int) time.Duration {
		if q.brackets != nil {
			return q.brackets[k]
		}
		return time.Duration(k) * q.begin[1].Sub(q.begin[0])
	}
	window := func(k int) string { return fmt.Sprintf("duration(%q)", since(k)) }
	switch {
	case q.since == "began":
		return fmt.Sprintf("%s.between(began + %s, began + %s).any()", q.back, window(from), window(to+1))
	case q.since == "birth" && q.zone.String() == "UTC":
		days := func(k int) int { return int(since(k).Hours()) / 24 }
		return fmt.Sprintf("%s.exists(e, date(e.ts, 'UTC') >= birth + days(%d) && date(e.ts, 'UTC') < birth + days(%d))", q.back, days(from), days(to+1))
	case q.brackets == nil && q.since == "" && from == 0 && cohort+to+2 == len(q.begin): // all that there is
		return later
	}
	return ""
}

func (q *lawRetention) compare(m *actModel, name string) {
	m.t.Helper()
	ctx, o := m.t.Context(), query.Options{Now: q.now}
	args := query.Arguments{"return": {q.back}, "by": {q.by}, "per": {q.per}, "kind": {q.kind}, "zone": {q.zone.String()}, "cohorts": {fmt.Sprint(len(q.begin) - 1)}}
	if args["first"] = []string{q.first}; q.since != "" {
		delete(args, "first")
		args["since"] = []string{q.since}
	}
	for i := range max(1, len(q.brackets)) - 1 {
		args["brackets"] = []string{strings.TrimPrefix(fmt.Sprintf("%s,%dh", args.One("brackets"), int((q.brackets[i+1]-q.brackets[i]).Hours())), ",")}
	}
	if q.amount {
		args["amount"] = []string{"e.amount"}
	}
	what := fmt.Sprintf("%s, now %v: retention of %q %v", name, q.now, q.who, args)
	r, err := m.db.Analyze(ctx, "retention", q.who, args, &o)
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	same := func(cell, text string, n int64) {
		m.t.Helper()
		q.same(m, what, args, cell, text, n)
	}
	rows := r.Tables[0].Rows
	for cohort := range len(q.begin) - 1 {
		last := q.last(cohort)
		of := "(" + q.who + ") && " + q.began(cohort)
		for k := range last + 1 {
			row := rows[k]
			if k == 0 {
				same(row.Cells[1], of, row.Values[1].Ordered())
			}
			from, to := q.fromTo(k, last)
			n := row.Values[3].Ordered()
			if text := q.returned(cohort, from, to); text != "" {
				same(row.Cells[0], of+" && "+text, n)
				q.people += int(n)
			} else if got := m.keysOf(m.db.AnalysisMembers(ctx, "retention", q.who, args, row.Cells[0], &query.MembersOptions{Options: o})); n != int64(len(got)) {
				m.t.Fatalf("%s: cell %s counts %d and is %q", what, row.Cells[0], n, got)
			}
		}
		q.compareAmounts(m, what, cohort, of, rows[:last+1])
		rows = rows[last+1:]
	}
	if len(rows) > 0 {
		m.t.Fatalf("%s: %d rows too many", what, len(rows))
	}
}

// fromTo returns the periods of which each counts in the one with a number.
func (q *lawRetention) fromTo(k, last int) (from, to int) {
	switch q.kind {
	case "on-or-after":
		return k, last
	case "on-or-before":
		return 0, k
	}
	return k, k
}

// compareAmounts compares the amounts of a cohort with the sums that a trend of the same events
// of the same people has.
func (q *lawRetention) compareAmounts(m *actModel, what string, cohort int, of string, rows []query.ReportRow) {
	m.t.Helper()
	if !q.amount || q.by != "calendar" || q.since != "" || q.brackets != nil {
		return
	}
	for k, row := range rows {
		from, to := q.fromTo(k, len(rows)-1)
		list := between(q.back, q.begin[cohort+from], q.begin[cohort+to+1])
		if from == 0 {
			list = q.first + ".then(" + list + ", days(100))"
		}
		r, err := m.db.Analyze(m.t.Context(), "trend", of, query.Arguments{"event": {list}, "measure": {"sum"}, "of": {"e.amount"}, "per": {"month"},
			"from": {q.begin[0].AddDate(0, 0, -1).Format(time.DateOnly)}}, &query.Options{Now: q.now})
		if err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
		sum := int64(0)
		for _, month := range r.Tables[0].Rows {
			sum += month.Values[1].Ordered()
		}
		if got := row.Values[6]; got.Ordered() != sum || got.Kind() != schema.Decimal {
			m.t.Fatalf("%s: %s is an amount of %v, want %d hundredths", what, row.Cells[0], got, sum)
		} else if sum != 0 {
			q.sums++
		}
	}
}

// same compares a cell with an expression.
func (q *lawRetention) same(m *actModel, what string, args query.Arguments, cell, text string, n int64) {
	m.t.Helper()
	o := &query.MembersOptions{Options: query.Options{Now: q.now}}
	want := m.keysOf(m.db.Members(m.t.Context(), text, o))
	got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "retention", q.who, args, cell, o))
	if !slices.Equal(got, want) || n != int64(len(want)) {
		m.t.Fatalf("%s:\ncell %s counts %d and is %q, want %q:\n%s", what, cell, n, got, want, text)
	}
}

// lifecycle compares who is new, returning, resurrected and dormant with the expressions that
// say so, and their numbers with who is active.
func (q *lawRetention) lifecycle(m *actModel, name string, kinds map[string]int) {
	m.t.Helper()
	days, since := 1, ""
	if q.per == "week" {
		days = 7
	}
	before := q.begin[0].AddDate(0, 0, -days)
	if q.by == "rolling" {
		before = q.begin[0].Add(-time.Duration(days) * 24 * time.Hour)
	}
	begin := append([]time.Time{before}, q.begin...)
	args := query.Arguments{"show": {"lifecycle"}, "return": {q.back}, "by": {q.by}, "per": {q.per}, "zone": {q.zone.String()}, "cohorts": {fmt.Sprint(len(q.begin) - 1)}}
	if q.since != "" {
		args["since"], since = []string{q.since}, "since "
	}
	what := fmt.Sprintf("%s, now %v: lifecycle of %q %v", name, q.now, q.who, args)
	r, err := m.db.Analyze(m.t.Context(), "retention", q.who, args, &query.Options{Now: q.now})
	if err != nil || len(r.Tables[0].Rows) != len(q.begin)-1 {
		m.t.Fatalf("%s: %v, %v", what, r.Tables, err)
	}
	is := func(p int) string { // active
		list := between(q.back, begin[p], begin[p+1])
		switch q.since {
		case "began":
			return list + ".exists(e, e.ts >= began)"
		case "birth":
			return fmt.Sprintf("%s.exists(e, date(e.ts, %q) >= birth)", list, q.zone)
		}
		return list + ".any()"
	}
	for p := 1; p < len(q.begin); p++ {
		began := map[string]string{"": "!" + between(q.back, time.UnixMilli(0), begin[p]) + ".any()", "began": fmt.Sprintf("began >= timestamp(%q)", instant(begin[p].UnixMilli())),
			"birth": fmt.Sprintf("birth > date(timestamp(%q), %q)", instant(begin[p].UnixMilli()-1), q.zone)}[q.since]
		row := r.Tables[0].Rows[p-1]
		n := func(i int) int64 { return row.Values[i].Ordered() }
		for i, text := range []string{is(p), is(p) + " && " + began, is(p) + " && " + is(p-1), is(p) + " && !" + is(p-1) + " && !(" + began + ")", is(p-1) + " && !" + is(p)} {
			q.same(m, what, args, row.Cells[i], "("+q.who+") && "+text, n(i+1))
			kinds[since+r.Tables[0].Columns[i+1].Name] += int(n(i + 1))
		}
		if n(1) != n(2)+n(3)+n(4) {
			m.t.Fatalf("%s: %v: who is active is none of these, or two", what, row.Values)
		}
	}
}
