package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// TestTrendLaw compares random trends with what expressions say, which another part of the
// engine evaluates: of each row, its number and who its people are.
func TestTrendLaw(t *testing.T) {
	t.Parallel()
	const seed = 5
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 2)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	l := trendLaw{actModel: m, asked: map[string]int{}}
	for step := range Rounds(8, 3) {
		for range 3 {
			m.write()()
		}
		switch step % 4 {
		case 1:
			m.remove()
		case 2:
			m.compact(fmt.Sprint("step ", step))
		}
		for _, measure := range lawMeasures() {
			l.check(fmt.Sprint("step ", step), measure)
		}
	}
	for _, measure := range lawMeasures() {
		if l.asked[measure] == 0 && !testing.Short() {
			t.Errorf("no row of %s had events", measure)
		}
	}
}

func lawMeasures() []string {
	return []string{"count", "people", "people7", "stickiness", "sum", "avg", "min", "max", "p10", "p25", "median", "p75", "p90", "p95", "p99", "distinct"}
}

type trendLaw struct {
	*actModel
	asked map[string]int // by measure: rows with events
}

// trendRow is a row of a trend, as expressions say it.
type trendRow struct {
	what      string
	who, list string // its events are those of who in the list
	of        string
	value     schema.Value
}

// check compares one trend.
func (m *trendLaw) check(name, measure string) {
	m.t.Helper()
	text, event := m.events()
	who := pickOne(m.actModel, "true", m.condition())
	args := query.Arguments{"measure": {measure}, "zone": {pickOne(m.actModel, "UTC", "Europe/Rome", "America/New_York", "Asia/Kolkata")},
		"per": {pickOne(m.actModel, "hour", "day", "day", "week", "month")}}
	switch measure {
	case "people7", "stickiness":
		args["per"] = []string{"day"}
	case "sum", "avg": // no expression says what all people's come to: the model does
		who, text = "true", "buy"
		args["of"] = []string{pickOne(m.actModel, "e.amount", "e.amount * 2", "e.amount * 0.5")}
	case "min", "max", "p10", "p25", "median", "p75", "p90", "p95", "p99":
		for event == "look" {
			text, event = m.events()
		}
		args["of"] = []string{pickOne(m.actModel, "e.amount", "e.amount * 2", "e.amount * 0.5")}
	case "distinct":
		args["of"] = []string{"item"}
	}
	args["event"] = []string{text}
	if args["by"] = [][]string{nil, nil, {"e.item"}, {text + ".count()"}, {"e.item", text + ".count()"}}[m.r.IntN(5)]; who == "true" && text == "buy" && len(args["by"]) > 0 {
		args["by"] = []string{"e.item"}
	}
	if len(args["by"]) > 0 {
		args["top"] = []string{strconv.Itoa(1 + m.r.IntN(3))}
	}
	back := map[string]int{"hour": 1, "day": 12, "week": 40, "month": 70}[args.One("per")]
	args["from"] = []string{m.now.AddDate(0, 0, -m.r.IntN(back)-1).Format(time.DateOnly)}
	if m.r.IntN(3) == 0 {
		args["compare"] = []string{"previous"}
	}
	what := fmt.Sprintf("%s: trend %q %v", name, who, args)
	r, err := m.db.Analyze(m.t.Context(), "trend", who, args, nil)
	if errors.Is(err, &query.Error{Code: query.CodeType}) && strings.Contains(err.Error(), "has no plan") {
		return // in expressions it is interpreted
	}
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	m.rows(what, who, args, r.Tables[0].Rows)
	m.several(what, who, args, r.Tables[0].Rows)
}

// several compares a trend of two events with one of each.
func (m *trendLaw) several(what, who string, args query.Arguments, rows []query.ReportRow) {
	m.t.Helper()
	both := maps.Clone(args)
	both["event"] = append([]string{args.One("event") + ".in_last(days(9))"}, args["event"]...)
	r, err := m.db.Analyze(m.t.Context(), "trend", who, both, nil)
	if err != nil {
		m.t.Fatalf("%s: of two events: %v", what, err)
	}
	for _, row := range r.Tables[0].Rows {
		if row.Values[1].Str() != args.One("event") {
			continue
		}
		if len(rows) == 0 || row.Cells[0] != "2:"+rows[0].Cells[0] || !slices.EqualFunc(slices.Delete(slices.Clone(row.Values), 1, 2), rows[0].Values, schema.Value.Equal) {
			m.t.Fatalf("%s: of two events there is %v", what, row)
		}
		if m.r.IntN(20) == 0 {
			got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "trend", who, both, row.Cells[0], nil))
			if want := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "trend", who, args, rows[0].Cells[0], nil)); !slices.Equal(got, want) {
				m.t.Fatalf("%s: cell %s of two events is %q, want %q", what, row.Cells[0], got, want)
			}
		}
		rows = rows[1:]
	}
	if len(rows) > 0 {
		m.t.Fatalf("%s: of two events %v is missing", what, rows[0])
	}
}

// rows compares a few rows and cells of a trend, and what all add up to.
func (m *trendLaw) rows(what, who string, args query.Arguments, rows []query.ReportRow) {
	m.t.Helper()
	by, measure, all := args["by"], args.One("measure"), int64(0)
	for _, row := range rows {
		all += row.Values[1+len(by)].Ordered()
	}
	order := m.r.Perm(len(rows))
	slices.SortStableFunc(order, func(a, b int) int { // the greatest first
		return cmp.Compare(rows[b].Values[1+len(by)].Ordered(), rows[a].Values[1+len(by)].Ordered())
	})
	for _, i := range append(order[:min(2, len(order))], m.r.Perm(len(rows))[:min(2, len(rows))]...) {
		for k, cell := range rows[i].Cells {
			from, to := m.period(args, strings.Split(cell, "|")[0])
			if measure == "people7" {
				from = from.AddDate(0, 0, -6)
			}
			one := trendRow{fmt.Sprintf("%s: row %v", what, rows[i].Values), "(" + who + ")", args.One("event"), args.One("of"), rows[i].Values[1+len(by)+k]}
			m.group(&one, by, rows, i)
			month := one.who + " && " + one.list + trendBetween(from.AddDate(0, 0, -27), to) + ".any()"
			one.list += trendBetween(from, to)
			people := m.keysOf(m.db.Members(m.t.Context(), one.who+" && "+one.list+".any()", nil))
			if got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "trend", who, args, cell, nil)); !slices.Equal(got, people) {
				m.t.Fatalf("%s: cell %q is %q, want %q", one.what, cell, got, people)
			}
			if len(people) > 0 {
				m.asked[measure]++
			}
			switch measure {
			case "people", "people7":
				m.same(&one, one.value.Ordered() == int64(len(people)))
			case "stickiness":
				all := len(m.keysOf(m.db.Members(m.t.Context(), month, nil)))
				m.same(&one, one.value.IsAbsent() == (all == 0) && (all == 0 || one.value.Float() == float64(len(people))/float64(all)))
			case "sum", "avg":
				m.amounts(&one, measure, from, to)
			default:
				m.value(&one, measure)
			}
		}
	}
	if measure == "count" && len(rows) > 0 {
		from, _ := m.period(args, rows[0].Values[0].Str())
		_, to := m.period(args, rows[len(rows)-1].Values[0].Str())
		if want := m.total("("+who+")", args.One("event")+trendBetween(from, to)); all != want {
			m.t.Fatalf("%s: all rows add up to %d, want %d", what, all, want)
		}
	}
}

func trendBetween(from, to time.Time) string {
	return fmt.Sprintf(".between(timestamp(%q), timestamp(%q))", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
}

// period returns the period that a row is called by.
func (m *trendLaw) period(args query.Arguments, label string) (from, to time.Time) {
	m.t.Helper()
	zone, err := syntax.Zone(args.One("zone"))
	if err != nil {
		m.t.Fatal(err)
	}
	if per := args.One("per"); per != "hour" {
		from, err = time.ParseInLocation(time.DateOnly, label, zone)
		to = map[string]time.Time{"day": from.AddDate(0, 0, 1), "week": from.AddDate(0, 0, 7), "month": from.AddDate(0, 1, 0)}[per]
	} else {
		from, err = time.Parse("2006-01-02T15:04Z07:00", label)
		to = from.Add(time.Hour)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return from, to
}

// TestTrendChunks measures people of several chunks on several workers, and compares with a
// loop over all events.
func TestTrendChunks(t *testing.T) {
	t.Parallel()
	const n, days = 100_000, 9
	r := rand.New(rand.NewPCG(7, 1))
	m := &actModel{t: t, r: r}
	m.set(time.UnixMilli(100*actDay + 12345).UTC())
	var err error
	// A worker takes four chunks at a time: the sixteenth is another's than those behind it.
	if m.db, err = Open("store", &Options{FS: vfs.NewMem(), Clock: m.clock, FirstOrdinal: 1<<20 - 30_000}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	type act struct {
		who, day, item, amount int64
	}
	var acts []act
	for range 5 {
		m.apply(func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2}})
			for range 30_000 {
				a := act{r.Int64N(n), r.Int64N(days), r.Int64N(3), r.Int64N(1000)}
				acts = append(acts, a)
				table.Row(fmt.Appendf(nil, "k%d", a.who), []byte("buy"), (100-days+a.day)*actDay+r.Int64N(actDay))
				table.Str(0, fmt.Appendf(nil, "item %d", a.item))
				table.Int(1, a.amount)
			}
		})
	}
	defer m.outOfMemory()
	counts, sums := map[[2]int64]int64{}, map[[2]int64]int64{}
	who, seen := map[[2]int64]int64{}, map[[3]int64]bool{}
	numbers := map[[2]int64][]int64{}
	for _, a := range acts {
		row := [2]int64{a.day, a.item}
		counts[row]++
		sums[row] += a.amount
		numbers[row] = append(numbers[row], a.amount)
		if one := [3]int64{a.day, a.item, a.who}; !seen[one] {
			seen[one] = true
			who[row]++
		}
	}
	for _, measure := range []string{"count", "people", "sum", "median"} {
		args := query.Arguments{"event": {"buy"}, "measure": {measure}, "by": {"e.item"}, "from": {"1970-04-02"}, "to": {"1970-04-10"}}
		if measure == "sum" || measure == "median" {
			args["of"] = []string{"e.amount"}
		}
		report, err := m.db.Analyze(t.Context(), "trend", "", args, &query.Options{Parallelism: 3})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Tables[0].Rows) != 3*days {
			t.Fatalf("%d rows", len(report.Tables[0].Rows))
		}
		for i, row := range report.Tables[0].Rows {
			at := [2]int64{int64(i / 3), int64(row.Values[1].Str()[len("item ")] - '0')}
			slices.Sort(numbers[at])
			want := map[string]int64{"count": counts[at], "people": who[at], "sum": sums[at], "median": numbers[at][(len(numbers[at])+1)/2-1]}[measure]
			if got := row.Values[2].Ordered(); got != want {
				t.Errorf("%s: row %v: %d, want %d", measure, row.Values, got, want)
			}
		}
	}
}

// outOfMemory makes sure that a trend takes what it keeps from the store's budget, and gives
// it back.
func (m *actModel) outOfMemory() {
	m.t.Helper()
	var taken []func()
	for {
		free, err := m.db.cache.Reserve(1<<20, "test")
		if err != nil {
			break
		}
		taken = append(taken, free)
	}
	for i, free := range taken {
		if i < 2 { // for the question; the numbers take more
			free()
		}
		defer free()
	}
	before := m.db.cache.Reserved()
	for measure, fits := range map[string]bool{"avg": true, "median": false} {
		args := query.Arguments{"event": {"buy"}, "measure": {measure}, "of": {"e.amount"}}
		_, err := m.db.Analyze(m.t.Context(), "trend", "", args, nil)
		if (err == nil) != fits || err != nil && !(errors.Is(err, &query.Error{Code: query.CodeBudget}) && strings.Contains(err.Error(), "the trend")) {
			m.t.Errorf("%s with little memory: %v", measure, err)
		}
	}
	if after := m.db.cache.Reserved(); after != before {
		m.t.Errorf("%d bytes are kept for good", after-before)
	}
}

// group adds what tells the events of a row's group from others.
func (m *trendLaw) group(one *trendRow, by []string, rows []query.ReportRow, i int) {
	for k, text := range by {
		var top []string // of the split
		for _, row := range rows {
			if v := row.Values[1+k].Str(); !strings.HasPrefix(v, "(") && !slices.Contains(top, v) {
				top = append(top, v)
			}
		}
		quoted := strings.Join(top, ", ")
		if text == "e.item" {
			quoted = `"` + strings.Join(top, `", "`) + `"`
		}
		var condition string
		switch v := rows[i].Values[1+k].Str(); {
		case v == "(none)":
			condition = "!has(" + text + ")"
		case v == "(other)":
			condition = "!(" + text + " in [" + quoted + "])"
		case text == "e.item":
			condition = text + " == " + strconv.Quote(v)
		default:
			condition = text + " == " + v
		}
		if text == "e.item" {
			one.list += ".filter(e, " + condition + ")"
		} else {
			one.who += " && " + condition
		}
	}
}

// total returns how many events a list has of all people.
func (m *trendLaw) total(who, list string) (sum int64) {
	m.t.Helper()
	for k := 1; ; k++ {
		n, err := m.db.Count(m.t.Context(), fmt.Sprintf("%s && %s.count() >= %d", who, list, k), nil)
		if err != nil {
			m.t.Fatal(err)
		}
		if n.Count == 0 {
			return sum
		}
		sum += int64(n.Count)
	}
}

func (m *trendLaw) same(one *trendRow, ok bool) {
	m.t.Helper()
	if !ok {
		m.t.Fatalf("%s: that is not %s && %s of %q", one.what, one.who, one.list, one.of)
	}
}

// value compares the number of a row with how many events there are up to it.
func (m *trendLaw) value(one *trendRow, measure string) {
	m.t.Helper()
	filtered := func(condition string) int64 { return m.total(one.who, one.list+".filter(e, "+condition+")") }
	switch measure {
	case "count":
		m.same(one, one.value.Ordered() == m.total(one.who, one.list))
		return
	case "distinct":
		n := int64(0)
		for item := range 6 {
			n += min(1, filtered(fmt.Sprintf("e.item == \"item %d\"", item)))
		}
		m.same(one, one.value.Ordered() == n)
		return
	}
	n := filtered(one.of + " >= 0.0")
	if n == 0 || one.value.IsAbsent() {
		m.same(one, n == 0 && one.value.IsAbsent())
		return
	}
	rank := map[string]int64{"min": 1, "max": n, "p10": (n + 9) / 10, "p25": (n + 3) / 4, "median": (n + 1) / 2, "p75": (3*n + 3) / 4, "p90": (9*n + 9) / 10, "p95": (19*n + 19) / 20, "p99": (99*n + 99) / 100}[measure]
	m.same(one, filtered(one.of+" < "+one.value.String()) < rank && filtered(one.of+" <= "+one.value.String()) >= rank)
}

// amounts compares a sum or an average with the model's events.
func (m *trendLaw) amounts(one *trendRow, measure string, from, to time.Time) {
	m.t.Helper()
	sum, n, times := new(big.Rat), 0, map[string]*big.Rat{"e.amount": big.NewRat(1, 1), "e.amount * 2": big.NewRat(2, 1), "e.amount * 0.5": big.NewRat(1, 2)}[one.of]
	for _, a := range m.list {
		_, amount, ok := strings.Cut(a.props, " amount=")
		amount, _, _ = strings.Cut(amount, " ")
		if a.event != "buy" || !ok || a.time < from.UnixMilli() || a.time >= to.UnixMilli() || !inGroup(one.list, a.props) {
			continue
		}
		x, _ := new(big.Rat).SetString(amount)
		sum.Add(sum, x.Mul(x, times))
		n++
	}
	if measure == "sum" {
		got, ok := new(big.Rat).SetString(one.value.String())
		m.same(one, ok && got.Cmp(sum) == 0)
		return
	}
	average, _ := sum.Float64()
	m.same(one, one.value.IsAbsent() == (n == 0) && (n == 0 || one.value.Float() == average/float64(n)))
}

// inGroup reports whether an event with some properties is in a list that is only filtered
// by item.
func inGroup(list, props string) bool {
	_, item, has := strings.Cut(props, "item=")
	item = item[:min(len(item), len("item 0"))]
	switch {
	case strings.Contains(list, "!has("):
		return !has
	case strings.Contains(list, "!(e.item in"):
		return has && !strings.Contains(list, strconv.Quote(item))
	case strings.Contains(list, "e.item =="):
		return has && strings.Contains(list, strconv.Quote(item))
	}
	return true
}
