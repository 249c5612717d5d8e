package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestPathLaw compares random paths with a loop over the model's events, with what
// expressions say, and with the paths of fewer people.
func TestPathLaw(t *testing.T) {
	t.Parallel()
	const seed = 5
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 3)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	l := pathLaw{actModel: m, lengths: map[int]int{}}
	for step := range Rounds(30, 10) {
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(48)) * time.Hour))
		}
		m.write()()
		m.write()()
		name := fmt.Sprint("step ", step)
		switch step % 5 {
		case 1:
			m.remove()
		case 2:
			l.asBefore(name)
		}
		for range 3 {
			l.all(name)
			l.expression(name)
		}
	}
	t.Logf("%v paths by their steps, %d people in cells as expressions have them", l.lengths, l.people)
	for n := range 4 {
		if l.lengths[n] < Rounds(100, 1) {
			t.Errorf("only %d paths have %d steps", l.lengths[n], n)
		}
	}
	if l.people < Rounds(300, 200) {
		t.Errorf("only %d people were in cells", l.people)
	}
}

type pathLaw struct {
	*actModel
	lengths map[int]int
	people  int
}

// pathAsk is a path that a loop over the events answers.
type pathAsk struct {
	before, collapse, every bool
	days, steps             int
	within, gap             time.Duration
	chosen                  string   // an event type, of the last days
	lists                   []string // event types
	label                   string
}

func (m *pathLaw) random() (q pathAsk, args query.Arguments) {
	q = pathAsk{before: m.r.IntN(2) == 0, collapse: m.r.IntN(2) == 0, every: m.r.IntN(2) == 0, days: 5 + m.r.IntN(50), steps: 1 + m.r.IntN(4),
		within: time.Duration(1+m.r.IntN(400)) * time.Hour, chosen: pickOne(m.actModel, "buy", "look"), label: pickOne(m.actModel, "", "item", "buy.item", "look.item")}
	args = query.Arguments{"steps": {fmt.Sprint(q.steps)}, "within": {fmt.Sprintf("%dh", q.within/time.Hour)}, "top": {"100"}}
	args[map[bool]string{true: "before", false: "after"}[q.before]] = []string{fmt.Sprintf("%s.in_last(days(%d))", q.chosen, q.days)}
	if !q.collapse {
		args["repeats"] = []string{"keep"}
	}
	if q.every {
		args["count"] = []string{"every"}
	}
	if m.r.IntN(2) == 0 {
		q.gap = time.Duration(1+m.r.IntN(200)) * time.Hour
		args["gap"] = []string{fmt.Sprintf("%dh", q.gap/time.Hour)}
	}
	if q.label != "" {
		args["label"] = []string{q.label}
	}
	switch q.lists = []string{"buy", "look"}; m.r.IntN(3) {
	case 0:
		q.lists = []string{"look", "buy"}
		args["event"] = q.lists
	case 1:
		if q.label == "" || q.label == "item" || strings.HasPrefix(q.label, q.chosen) {
			q.lists = []string{q.chosen}
			args["event"] = q.lists
		}
	}
	return q, args
}

// lawAct is an event with its place in order.
type lawAct struct {
	at    int64
	list  int
	label string
}

// paths loops over the model's events: the paths of everybody.
func (m *pathLaw) paths(q pathAsk) map[string][][]string {
	steps, chosen := map[string][]lawAct{}, map[string][]lawAct{}
	for _, a := range m.list {
		act := lawAct{at: a.time, label: a.event}
		if q.label == "item" || q.label == a.event+".item" {
			act.label = "(none)"
			if _, item, ok := strings.Cut(a.props, "item="); ok {
				act.label = item[:len("item 0")]
			}
		}
		if a.event == q.chosen && a.time > m.now.UnixMilli()-int64(q.days)*actDay {
			chosen[a.key] = append(chosen[a.key], act)
		}
		if act.list = slices.Index(q.lists, a.event); act.list >= 0 {
			steps[a.key] = append(steps[a.key], act)
		}
	}
	order := func(a, b lawAct) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.list, b.list), strings.Compare(a.label, b.label))
	}
	out := map[string][][]string{}
	for key, begin := range chosen {
		slices.SortFunc(begin, order)
		slices.SortFunc(steps[key], order)
		if !q.every {
			begin = begin[:1]
		}
		all := slices.Clone(steps[key])
		if q.before {
			slices.Reverse(all)
		}
		for _, first := range begin {
			path, last := []string{}, first
			for _, a := range all {
				away, pause := time.Duration(a.at-first.at)*time.Millisecond, time.Duration(a.at-last.at)*time.Millisecond
				if q.before {
					away, pause = -away, -pause
				}
				if away <= 0 {
					continue
				}
				if away > q.within || q.gap > 0 && pause > q.gap || len(path) == q.steps {
					break
				}
				if !q.collapse || a.label != last.label {
					path = append(path, a.label)
				}
				last = a
			}
			out[key] = append(out[key], path)
		}
	}
	return out
}

// all compares a tree and its cells, of everybody and of some, with the loop.
func (m *pathLaw) all(name string) {
	m.t.Helper()
	q, args := m.random()
	who := pickOne(m.actModel, "true", m.condition())
	what := fmt.Sprintf("%s: path %q %v", name, who, args)
	some := m.keysOf(m.db.Members(m.t.Context(), who, nil))
	counts, people := map[string]int64{q.chosen: 0}, map[string][]string{}
	for key, paths := range m.paths(q) {
		if !slices.Contains(some, key) {
			continue
		}
		for _, path := range paths {
			m.lengths[len(path)]++
			if len(path) < q.steps {
				path = append(path, "(end)")
			}
			for n := range len(path) + 1 {
				cell := strings.Join(append([]string{q.chosen}, path[:n]...), ">")
				if counts[cell]++; !slices.Contains(people[cell], key) {
					people[cell] = append(people[cell], key)
				}
				if n > 0 {
					flow := fmt.Sprintf("%d:%s", n-1, strings.Join(append([]string{q.chosen}, path...)[n-1:n+1], ">"))
					if counts[flow]++; !slices.Contains(people[flow], key) {
						people[flow] = append(people[flow], key)
					}
				}
			}
		}
	}
	r, err := m.db.Analyze(m.t.Context(), "path", who, args, nil)
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	rows := slices.Concat(r.Tables[0].Rows, r.Tables[1].Rows)
	for i, row := range rows {
		cell := row.Cells[0]
		if n, ok := counts[cell]; !ok || row.Values[3].Ordered() != n {
			m.t.Fatalf("%s: %s is %v, want %d", what, cell, row.Values, n)
		}
		delete(counts, cell)
		if i%7 != m.r.IntN(7) {
			continue
		}
		got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "path", who, args, cell, nil))
		slices.Sort(got)
		if slices.Sort(people[cell]); !slices.Equal(got, people[cell]) {
			m.t.Fatalf("%s: cell %s is %q, want %q", what, cell, got, people[cell])
		}
		if !q.every && row.Values[3].Ordered() != int64(len(got)) {
			m.t.Fatalf("%s: %s is %v, of %q", what, cell, row.Values, got)
		}
	}
	if len(counts) > 0 {
		m.t.Fatalf("%s: these rows are missing: %v\n%v", what, counts, rows)
	}
}

// expression compares one step to events of one list with the sequence that says the same,
// and of those who have one chosen event, each counted once, too.
func (m *pathLaw) expression(name string) {
	m.t.Helper()
	chosen, event := m.events()
	other, type2 := m.events()
	hours, who := 1+m.r.IntN(400), pickOne(m.actModel, "true", m.condition())
	args := query.Arguments{"after": {chosen}, "event": {other}, "steps": {"1"}, "within": {fmt.Sprintf("%dh", hours)}, "repeats": {"keep"}, "count": {"every"}}
	lists := chosen + ", " + other
	if m.r.IntN(2) == 0 {
		args["before"], lists = args["after"], other+", "+chosen
		delete(args, "after")
	}
	if m.r.IntN(2) == 0 {
		delete(args, "count")
		who = "(" + who + ") && " + chosen + ".count() == 1"
	}
	what := fmt.Sprintf("%s: path %q %v", name, who, args)
	r, err := m.db.Analyze(m.t.Context(), "path", who, args, nil)
	if errors.Is(err, &query.Error{Code: query.CodeType}) && strings.Contains(err.Error(), "has no plan") {
		return // in expressions it is interpreted
	}
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	for _, row := range r.Tables[0].Rows {
		want := fmt.Sprintf("(%s) && %s.any()", who, chosen)
		sequence := fmt.Sprintf(" && sequence(hours(%d), [%s]).any()", hours, lists)
		switch row.Values[2].Str() {
		case "(end)": // every chosen event: of somebody, some have a step and some do not
			if args["count"] != nil {
				continue
			}
			want += strings.Replace(sequence, "&& ", "&& !", 1)
		case event:
			if row.Values[0].Ordered() > 0 {
				want += sequence
			}
		default:
			want += sequence
		}
		got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "path", who, args, row.Cells[0], nil))
		if keys := m.keysOf(m.db.Members(m.t.Context(), want, nil)); !slices.Equal(got, keys) || args["count"] == nil && row.Values[3].Ordered() != int64(len(keys)) {
			m.t.Fatalf("%s: %s (%v, %s) is %q, want %q of %s", what, row.Cells[0], row.Values, type2, got, keys, want)
		}
		m.people += len(got)
	}
}

// asBefore makes sure that how events are stored changes nothing.
func (m *pathLaw) asBefore(name string) {
	m.t.Helper()
	_, args := m.random()
	var was string
	for _, when := range []string{"before", "after"} {
		r, err := m.db.Analyze(m.t.Context(), "path", "", args, &query.Options{Parallelism: 2})
		if err != nil {
			m.t.Fatal(err)
		}
		rows := fmt.Sprint(r.Tables)
		if when == "before" {
			was = rows
			m.compact(name)
		} else if rows != was {
			m.t.Fatalf("%s: path %v: after the compaction\n%s\nbefore\n%s", name, args, rows, was)
		}
	}
}

// TestPathChunks follows people of several chunks on several workers, and compares with a
// loop over all events. What is kept is taken from the store's budget, and given back.
func TestPathChunks(t *testing.T) {
	t.Parallel()
	const n = 100_000
	r := rand.New(rand.NewPCG(7, 1))
	m := &actModel{t: t, r: r}
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
	for range 5 {
		m.apply(func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}})
			for range 30_000 {
				a := modelAct{key: fmt.Sprint("k", r.IntN(n)), event: pickOne(m, "buy", "look"), time: 90*actDay + r.Int64N(10*actDay)}
				item := fmt.Sprint("item ", r.IntN(9))
				a.props = " item=" + item
				table.Row([]byte(a.key), []byte(a.event), a.time)
				table.Str(0, []byte(item))
				m.list = append(m.list, a)
			}
		})
	}
	l := pathLaw{actModel: m}
	q := pathAsk{chosen: "look", days: 30, lists: []string{"buy", "look"}, label: "item", steps: 3, within: 96 * time.Hour, every: true}
	args := query.Arguments{"after": {"look"}, "label": {"item"}, "within": {"96h"}, "repeats": {"keep"}, "count": {"every"}, "top": {"100"}}
	want := map[string]int64{}
	for _, paths := range l.paths(q) {
		for _, path := range paths {
			for k := range len(path) + 1 {
				want[strings.Join(append([]string{"look"}, path[:k]...), ">")]++
			}
		}
	}
	report, err := m.db.Analyze(t.Context(), "path", "", args, &query.Options{Parallelism: 3})
	if err != nil {
		t.Fatal(err)
	}
	compared, sums := 0, map[string]int64{}
	for _, row := range report.Tables[0].Rows {
		cell := row.Cells[0]
		if i := strings.LastIndex(cell, ">"); i > 0 {
			sums[cell[:i]] += row.Values[3].Ordered()
		}
		if strings.Contains(cell, "(") {
			continue
		}
		if compared++; row.Values[3].Ordered() != want[cell] {
			t.Errorf("%s: %v, want %d", cell, row.Values[3], want[cell])
		}
	}
	for cell, sum := range sums {
		if sum != want[cell] {
			t.Errorf("under %s are %d, want %d", cell, sum, want[cell])
		}
	}
	if compared < 150 || len(sums) < 50 {
		t.Errorf("%d rows compared, %d sums", compared, len(sums))
	}
	m.pathMemory(args, len(want))
	m.pathEnds(args)
}

// pathEnds makes sure that a cancelled context ends paths wherever they are.
func (m *actModel) pathEnds(args query.Arguments) {
	m.t.Helper()
	for looks := range int64(40) {
		ctx := &endingContext{Context: m.t.Context()}
		ctx.left.Store(looks)
		if _, err := m.db.Analyze(ctx, "path", "", args, nil); !errors.Is(err, context.Canceled) {
			m.t.Errorf("cancelled at look %d: %v", looks, err)
		}
	}
}

// endingContext is cancelled when it has been looked at some times.
type endingContext struct {
	context.Context
	left atomic.Int64
}

func (c *endingContext) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// pathMemory makes sure that paths take memory from the store's budget, and give it back.
func (m *actModel) pathMemory(args query.Arguments, beginnings int) {
	m.t.Helper()
	var taken []func()
	for {
		free, err := m.db.cache.Reserve(16<<10, "test")
		if err != nil {
			break
		}
		taken = append(taken, free)
	}
	refused := 0
	for len(taken) > 0 {
		before := m.db.cache.Reserved()
		_, err := m.db.Analyze(m.t.Context(), "path", "", args, nil)
		if after := m.db.cache.Reserved(); after != before {
			m.t.Fatalf("%d bytes are kept for good", after-before)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
			m.t.Fatal(err)
		}
		if strings.Contains(err.Error(), "the path") {
			refused++
		}
		last := max(0, len(taken)-4)
		for _, free := range taken[last:] {
			free()
		}
		taken = taken[:last]
	}
	for _, free := range taken {
		free()
	}
	if refused == 0 {
		m.t.Errorf("%d beginnings of paths took nothing", beginnings)
	}
}
