package engine

import (
	"errors"
	"fmt"
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
)

// TestFunnelLaw asks random funnels of random stores, and compares their rows with their
// cells, with the same funnel split by something, restricted to some people, after a
// compaction, and with what the model's events say.
func TestFunnelLaw(t *testing.T) {
	t.Parallel()
	const seed = 6
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 2)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	l := funnelLaw{actModel: m, seen: map[string]int{}}
	for step := range Rounds(8, 4) {
		for range 3 {
			m.write()()
		}
		l.busy()
		if step%4 == 1 {
			m.remove()
		}
		var again []func()
		for range Rounds(12, 8) {
			again = append(again, l.check(fmt.Sprint("step ", step)))
		}
		l.plain(fmt.Sprint("step ", step))
		m.compact(fmt.Sprint("step ", step))
		for _, f := range again {
			f()
		}
	}
	for _, what := range []string{"sequence people", "sequence entries", "strict people", "strict entries", "any people", "any entries", "hold", "exclude", "part", "plain strict", "plain sequence"} {
		if l.seen[what] < Rounds(30, 5) {
			t.Errorf("only %d people came to the second step: %s", l.seen[what], what)
		}
	}
}

type funnelLaw struct {
	*actModel
	seen map[string]int // people who came to the second step
}

// busy writes events of a few people in a few days.
func (m *funnelLaw) busy() {
	m.t.Helper()
	m.apply(func(b *batch.Builder) {
		table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}})
		for range 30 {
			a := modelAct{key: fmt.Sprint("busy", m.r.IntN(12)), event: pickOne(m.actModel, "buy", "look"), time: m.now.UnixMilli() - 3_600_000*m.r.Int64N(100)}
			table.Row([]byte(a.key), []byte(a.event), a.time)
			if m.r.IntN(4) > 0 {
				table.Str(0, fmt.Appendf(nil, "item %d", m.r.IntN(3)))
			}
			m.list = append(m.list, a)
		}
	})
}

// funnelRow is a row of the table "steps".
type funnelRow struct {
	step, group                        string
	entries, people, dropped           int64
	average, median, p90, first, ahead schema.Value
	cells                              []string
}

// rows reads the table "steps".
func (m *funnelLaw) rows(r *query.Report) (out []funnelRow) {
	m.t.Helper()
	at := map[string]int{}
	for i, c := range r.Tables[0].Columns {
		at[c.Name] = i
	}
	for _, row := range r.Tables[0].Rows {
		v := func(name string) schema.Value { return row.Values[at[name]] }
		one := funnelRow{step: v("step").String(), people: v("people").Ordered(), dropped: v("dropped").Ordered(), cells: row.Cells,
			average: v("average"), median: v("median"), p90: v("p90"), first: v("of first"), ahead: v("of before")}
		if one.entries = one.people; at["entries"] > 0 {
			one.entries = v("entries").Ordered()
		}
		if len(r.Tables[0].Columns)-min(1, at["entries"]) > 9 {
			one.group = row.Values[2].Str()
		}
		out = append(out, one)
	}
	return out
}

// arguments makes a random funnel.
func (m *funnelLaw) arguments() query.Arguments {
	args := query.Arguments{"within": {fmt.Sprintf("%dh", 1+m.r.IntN(300))}, "order": {pickOne(m.actModel, "sequence", "strict", "any")}, "count": {pickOne(m.actModel, "people", "entries")}}
	for range 2 + m.r.IntN(2) {
		text, _ := m.events()
		if m.r.IntN(4) == 0 {
			other, _ := m.events()
			text += " | " + other
		}
		args["step"] = append(args["step"], text)
	}
	if args.One("order") == "sequence" && m.r.IntN(3) == 0 {
		text, _ := m.events()
		args["exclude"] = []string{"1:" + text}
	}
	if args.One("order") != "strict" && m.r.IntN(4) == 0 {
		args["hold"] = []string{"item"}
	}
	if m.r.IntN(2) == 0 {
		args["histogram"] = []string{pickOne(m.actModel, "3", "10m", "7")}
	}
	return args
}

// check checks one funnel, and returns what asks it again.
func (m *funnelLaw) check(name string) (again func()) {
	m.t.Helper()
	args, who := m.arguments(), pickOne(m.actModel, "true", "true", m.condition())
	what := fmt.Sprintf("%s: funnel %q %v", name, who, args)
	r, err := m.db.Analyze(m.t.Context(), "funnel", who, args, nil)
	if errors.Is(err, &query.Error{Code: query.CodeType}) && strings.Contains(err.Error(), "has no plan") {
		return func() {} // in expressions it is interpreted
	}
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	m.cells(what, who, args, &r)
	rows := m.rows(&r)
	m.seen[args.One("order")+" "+args.One("count")] += int(rows[1].people)
	for _, key := range []string{"hold", "exclude"} {
		if args[key] != nil {
			m.seen[key] += int(rows[1].people)
		}
	}
	m.partition(what, who, args, rows)
	m.restricted(what, who, args)
	return func() {
		after, err := m.db.Analyze(m.t.Context(), "funnel", who, args, &query.Options{Now: r.Now, Parallelism: 1 + m.r.IntN(3)})
		if err != nil || fmt.Sprint(after.Tables) != fmt.Sprint(r.Tables) {
			m.t.Fatalf("%s: compacted it is\n%v (%v), was\n%v", what, after.Tables, err, r.Tables)
		}
	}
}

// cells compares what rows say with who is in their cells, and the parts of the histogram
// with the step that they are of.
func (m *funnelLaw) cells(what, who string, args query.Arguments, r *query.Report) {
	m.t.Helper()
	listed := func(cell string) []string {
		return m.keysOf(m.db.AnalysisMembers(m.t.Context(), "funnel", who, args, cell, nil))
	}
	isPeople := args.One("count") == "people"
	for _, row := range m.rows(r) {
		got := listed(row.cells[0])
		if int64(len(got)) != row.people || row.people > row.entries {
			m.t.Fatalf("%s: cell %s is %q, the row says %+v", what, row.cells[0], got, row)
		}
		if len(row.cells) > 1 {
			if dropped := listed(row.cells[1]); isPeople && int64(len(dropped)) != row.dropped || int64(len(dropped)) > row.dropped || row.dropped > 0 && len(dropped) == 0 {
				m.t.Fatalf("%s: cell %s is %q, the row says %+v", what, row.cells[1], dropped, row)
			}
		}
	}
	if len(r.Tables) < 2 {
		return
	}
	sums := map[string]int64{}
	count := len(r.Tables[1].Columns) - 2
	for _, row := range r.Tables[1].Rows {
		sums[row.Values[0].String()] += row.Values[3].Ordered() // people, or entries
		if got := listed(row.Cells[0]); int64(len(got)) != row.Values[count].Ordered() {
			m.t.Fatalf("%s: cell %s is %q, the row says %v", what, row.Cells[0], got, row.Values)
		}
	}
	for _, row := range m.rows(r)[1:] {
		if sums[row.step] != row.entries {
			m.t.Fatalf("%s: the parts of step %s add up to %d, not %d", what, row.step, sums[row.step], row.entries)
		}
		m.seen["part"] += int(sums[row.step])
	}
}

// partition splits a funnel by a property, which reads all events of all people, or by what
// people are: all groups together are what it was.
func (m *funnelLaw) partition(what, who string, args query.Arguments, rows []funnelRow) {
	m.t.Helper()
	split := query.Arguments{"top": {strconv.Itoa(1 + m.r.IntN(3))}}
	for k, v := range args {
		split[k] = v
	}
	split["by"] = []string{pickOne(m.actModel, "e.item", "look.count()")}
	if split.One("by") == "e.item" {
		split["touch"] = []string{pickOne(m.actModel, "first", "last", "step")}
	}
	r, err := m.db.Analyze(m.t.Context(), "funnel", who, split, nil)
	if err != nil {
		m.t.Fatalf("%s by %s: %v", what, split["by"], err)
	}
	m.cells(what+" by "+split.One("by"), who, split, &query.Report{Tables: r.Tables[:1]})
	sum := map[string]funnelRow{}
	for _, row := range m.rows(&r) {
		of := sum[row.step]
		of.entries += row.entries
		of.people += row.people
		of.dropped += row.dropped
		sum[row.step] = of
	}
	for _, row := range rows {
		of := sum[row.step]
		if of.entries != row.entries || of.dropped != row.dropped || args.One("count") == "people" && of.people != row.people {
			m.t.Fatalf("%s by %s, touch %s: step %s adds up to %+v, not %+v\n%v", what, split["by"], split["touch"], row.step, of, row, r.Tables[0].Rows)
		}
	}
}

// restricted compares the rows of one group with the funnel of its people only.
func (m *funnelLaw) restricted(what, who string, args query.Arguments) {
	m.t.Helper()
	split := query.Arguments{"by": {"look.count()"}, "top": {"50"}}
	for k, v := range args {
		split[k] = v
	}
	r, err := m.db.Analyze(m.t.Context(), "funnel", who, split, nil)
	if err != nil {
		m.t.Fatalf("%s by look.count(): %v", what, err)
	}
	rows := m.rows(&r)
	if len(rows) == 0 {
		return
	}
	group := rows[m.r.IntN(len(rows))].group
	own, err := m.db.Analyze(m.t.Context(), "funnel", fmt.Sprintf("(%s) && look.count() == %s", who, group), args, nil)
	if err != nil {
		m.t.Fatalf("%s of %s: %v", what, group, err)
	}
	rows = slices.DeleteFunc(rows, func(row funnelRow) bool { return row.group != group })
	for i, row := range m.rows(&own) {
		rows[i].group, rows[i].cells = "", row.cells
		if fmt.Sprint(rows[i]) != fmt.Sprint(row) {
			m.t.Fatalf("%s: of the people with %s looks the row is %+v, by it %+v", what, group, row, rows[i])
		}
	}
}

// plain compares funnels of all events of two types with a loop over the model's events.
func (m *funnelLaw) plain(name string) {
	m.t.Helper()
	own := map[string][]modelAct{}
	for _, a := range m.list {
		if a.time <= m.now.UnixMilli() {
			own[a.key] = append(own[a.key], a)
		}
	}
	for _, order := range []string{"strict", "sequence"} {
		hours := 1 + m.r.IntN(200)
		args := query.Arguments{"step": {"look", "buy"}, "order": {order}, "within": {fmt.Sprintf("%dh", hours)}}
		people, entries := [2]int64{}, [2]int64{}
		for _, acts := range own {
			until, began, came := int64(-1), false, false
			slices.SortFunc(acts, func(a, b modelAct) int { return int(a.time - b.time) })
			for _, first := range acts {
				if first.event != "look" {
					continue
				}
				at, goes := plainSecond(acts, first, order, int64(hours)*3_600_000)
				began, came = true, came || goes
				if first.time <= until {
					continue
				}
				entries[0]++
				switch {
				case goes:
					entries[1]++
					until = at
				case order == "strict":
					until = first.time
				default:
					until = first.time + int64(hours)*3_600_000
				}
			}
			for k, is := range []bool{began, came} {
				if is {
					people[k]++
				}
			}
		}
		for _, count := range []string{"people", "entries"} {
			args["count"] = []string{count}
			want := map[string][2]int64{"people": people, "entries": entries}[count]
			r, err := m.db.Analyze(m.t.Context(), "funnel", "", args, nil)
			if err != nil {
				m.t.Fatal(err)
			}
			for k, row := range m.rows(&r) {
				if row.entries != want[k] {
					m.t.Fatalf("%s: %v: step %s has %d, the events say %d", name, args, row.step, row.entries, want[k])
				}
			}
			m.seen["plain "+order] += int(want[1])
		}
	}
}

// plainSecond returns when what begins with an event comes to the second step.
func plainSecond(acts []modelAct, first modelAct, order string, within int64) (at int64, ok bool) {
	for _, a := range acts { // in order of time
		if a.event != "buy" || a.time <= first.time || a.time > first.time+within {
			continue
		}
		between := func(b modelAct) bool { return b.time > first.time && b.time < a.time }
		if order == "sequence" || !slices.ContainsFunc(acts, between) {
			return a.time, true
		}
	}
	return 0, false
}

// TestFunnelCells: a cell that a funnel does not have is an error that says what there is.
func TestFunnelCells(t *testing.T) {
	s := newIDSender(t)
	s.send("app", "id", 90, 1)
	args := query.Arguments{"step": {"buy", "look"}, "histogram": {"2d"}}
	split := query.Arguments{"step": {"buy", "look"}, "by": {"buy.count()"}}
	for _, x := range []struct {
		args query.Arguments
		cell string
		want string
	}{
		{args, "0", `has no cell "0"`}, {args, "3", `has no cell`}, {args, "02", `has no cell`}, {args, "two", `"2" are the people of step 2`}, {args, "2:dropped", `has no cell`},
		{args, "1:0s-2d", `has no cell`}, {args, "2:0s-3d", `has no cell`}, {args, "1|1", `has no cell`}, {args, "1:", `has no cell`},
		{split, "1", `with --by "2|FI" are the people`}, {split, "1|7", `nobody of this funnel is in a group "7" of --by buy.count()`}, {split, "1|(other)", `such as "1"`}, {split, "2:0s-2d|1", "has no cell"},
	} {
		_, err := s.db.AnalysisMembers(t.Context(), "funnel", "", x.args, x.cell, nil)
		if e := new(query.Error); !errors.As(err, &e) || e.Code != query.CodeInvalid || !strings.Contains(e.Message+" "+e.Hint, x.want) {
			t.Errorf("%q: %v, want %s", x.cell, err, x.want)
		}
	}
	for _, cell := range []string{"1", "1:dropped", "2", "2:0s-2d", "2:2d-7d"} {
		if m, err := s.db.AnalysisMembers(t.Context(), "funnel", "", args, cell, nil); err != nil || m.Total > 1 {
			t.Errorf("%q: %d, %v", cell, m.Total, err)
		}
	}
}

// TestFunnelChunks asks for people of several chunks, of whom days tell who may go on, on
// several workers, and compares with a loop over all events; and with little memory.
func TestFunnelChunks(t *testing.T) {
	const n, hours = 100_000, 24
	m := &actModel{t: t, r: rand.New(rand.NewPCG(7, 1))}
	m.set(time.UnixMilli(100*actDay + 12345).UTC())
	var err error
	if m.db, err = Open("store", &Options{FS: vfs.NewMem(), Clock: m.clock}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	own := map[string][]modelAct{}
	for range 5 {
		m.apply(func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}})
			for range 40_000 {
				a := modelAct{key: fmt.Sprint("k", m.r.IntN(n)), event: pickOne(m, "buy", "look"), time: 90*actDay + m.r.Int64N(9*actDay)}
				table.Row([]byte(a.key), []byte(a.event), a.time)
				own[a.key] = append(own[a.key], a)
			}
		})
	}
	if err := m.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	people, took := [2]int64{}, int64(0)
	for _, acts := range own {
		slices.SortFunc(acts, func(a, b modelAct) int { return int(a.time - b.time) })
		began, came := false, false
		for _, first := range acts {
			if first.event != "look" || came {
				continue
			}
			began = true
			var at int64
			if at, came = plainSecond(acts, first, "sequence", hours*3_600_000); came {
				took += at - first.time
			}
		}
		for k, is := range []bool{began, came} {
			if is {
				people[k]++
			}
		}
	}
	l := funnelLaw{actModel: m}
	args := query.Arguments{"step": {"look.in_last(days(20))", "buy"}, "within": {fmt.Sprintf("%dh", hours)}}
	for _, by := range []string{"", "e.item", "look.count()"} {
		if args["by"] = nil; by != "" {
			args["by"] = []string{by}
		}
		r, err := m.db.Analyze(t.Context(), "funnel", "", args, &query.Options{Parallelism: 3})
		if err != nil {
			t.Fatal(err)
		}
		got, average := [2]int64{}, int64(0)
		for i, row := range l.rows(&r) {
			got[i%2] += row.people
			average = row.average.Ordered()
		}
		if got != people || by != "look.count()" && average != took/people[1] {
			t.Errorf("by %q: %d people in %d ms, the events say %d in %d", by, got, average, people, took/people[1])
		}
	}
	l.outOfMemory(query.Arguments{"step": {"look", "buy"}, "by": {"look.first().ts"}}) // nearly everybody is a group
}

// outOfMemory makes sure that a funnel takes what it keeps from the store's budget, and gives
// it back.
func (m *funnelLaw) outOfMemory(args query.Arguments) {
	m.t.Helper()
	var taken []func()
	for {
		free, err := m.db.cache.Reserve(1<<20, "test")
		if err != nil {
			break
		}
		taken = append(taken, free)
	}
	taken[0]() // for the question; the groups take more
	for _, free := range taken[1:] {
		defer free()
	}
	before := m.db.cache.Reserved()
	_, err := m.db.Analyze(m.t.Context(), "funnel", "", args, nil)
	if !errors.Is(err, &query.Error{Code: query.CodeBudget}) || !strings.Contains(err.Error(), "the funnel") {
		m.t.Errorf("with little memory: %v", err)
	}
	if after := m.db.cache.Reserved(); after != before {
		m.t.Errorf("%d bytes are kept for good", after-before)
	}
}
