package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestRFMLaws asks RFM analyses of random stores, and the expressions that say the same.
func TestRFMLaws(t *testing.T) {
	t.Parallel()
	const seed = 11
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	scored, moved := 0, 0
	for step := range Rounds(40, 10) {
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(48)) * time.Hour))
		}
		switch m.r.IntN(10) {
		case 0:
			m.compact(fmt.Sprint("step ", step))
		case 1:
			m.remove()
		default:
			m.write()()
		}
		story := m.r // is what it is, whatever is asked
		m.r = rand.New(rand.NewPCG(seed, uint64(step)))
		l := rfmLaw{m, fmt.Sprint("step ", step)}
		scored += l.edges()
		if step%2 == 0 {
			l.parts()
		} else {
			moved += l.flow()
		}
		m.r = story
	}
	t.Logf("%d people scored, %d went to another segment", scored, moved)
	if scored < Rounds(200, 15) || moved < Rounds(100, 30) {
		t.Errorf("only %d people were scored, only %d went to another segment", scored, moved)
	}
}

// rfmLaw asks at a step of a story.
type rfmLaw struct {
	*actModel
	step string
}

// random makes arguments for 3 bins.
func (l *rfmLaw) random() (who, list string, args query.Arguments) {
	list, event := l.events()
	args = query.Arguments{"event": {list}, "bins": {"3"}, "recency-unit": {"1ms"}, "map": {"r1f1-3=one,r2f1-3=two", "r3f1-3=three"}}
	if l.r.IntN(2) == 0 {
		args["frequency"] = []string{"item"}
	}
	if event == "buy" {
		args["amount"] = []string{pickOne(l.actModel, "e.amount", "e.amount * 2.0")}
	}
	return pickOne(l.actModel, "true", l.condition()), list, args
}

// ask runs an analysis; ok is false if the list is one that only expressions can read.
func (l *rfmLaw) ask(who string, args query.Arguments) (r query.Report, ok bool) {
	l.t.Helper()
	r, err := l.db.Analyze(l.t.Context(), "rfm", who, args, nil)
	if err != nil && strings.Contains(err.Error(), "has no plan") {
		return r, false
	}
	if err != nil {
		l.t.Fatalf("%s: rfm %q %v: %v", l.step, who, args, err)
	}
	return r, true
}

// edges compares all cells of an analysis by edges with expressions.
func (l *rfmLaw) edges() (scored int) {
	l.t.Helper()
	who, list, args := l.random()
	r1, f1, a1 := 1+l.r.IntN(300), 1+l.r.IntN(2), 1+l.r.IntN(3)
	r2, f2, a2 := r1+1+l.r.IntN(300), f1+1+l.r.IntN(2), a1+1+l.r.IntN(4)
	args["recency-by"] = []string{fmt.Sprintf("edges:%dh,%dh", r1, r2)}
	args["frequency-by"] = []string{fmt.Sprintf("edges:%d,%d", f1, f2)}
	count := list + ".count()"
	if args["frequency"] != nil {
		count = list + ".distinct(e, e.item)"
	}
	between := func(what string, score, low, high int) string {
		return []string{fmt.Sprintf("%s < %d", what, low), fmt.Sprintf("%s >= %d && %s < %d", what, low, what, high), fmt.Sprintf("%s >= %d", what, high)}[score-1]
	}
	last := list + ".last().ts"
	same := map[string]string{}
	for score := range 3 {
		recent := []string{fmt.Sprintf("%s <= now - hours(%d)", last, r2), fmt.Sprintf("%s <= now - hours(%d) && %s > now - hours(%d)", last, r1, last, r2), fmt.Sprintf("%s > now - hours(%d)", last, r1)}[score]
		for f := range 3 {
			same[fmt.Sprintf("r%df%d", score+1, f+1)] = recent + " && " + between(count, f+1, f1, f2)
		}
		same[[]string{"one", "two", "three"}[score]] = recent
		if args["amount"] != nil {
			args["amount-by"] = []string{fmt.Sprintf("edges:%d,%d", a1, a2)}
			sum := fmt.Sprintf("%s.sum(e, %s)", list, args.One("amount"))
			same[fmt.Sprint("m", score+1)] = []string{fmt.Sprintf("%s < %d.0", sum, a1), fmt.Sprintf("%s >= %d.0 && %s < %d.0", sum, a1, sum, a2), fmt.Sprintf("%s >= %d.0", sum, a2)}[score]
		}
	}
	reached := l.condition()
	args["reach"] = []string{reached}
	r, ok := l.ask(who, args)
	if !ok {
		return 0
	}
	for _, table := range r.Tables {
		if table.Name == "cuts" {
			continue
		}
		for _, row := range table.Rows {
			text := fmt.Sprintf("(%s) && %s.any() && %s", who, list, same[row.Cells[0]])
			want := l.keysOf(l.db.Members(l.t.Context(), text, nil))
			l.cell(who, args, &table, &row, want)
			want = l.keysOf(l.db.Members(l.t.Context(), text+" && ("+reached+")", nil))
			got := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", who, args, row.Cells[1], nil))
			if n := row.Values[len(row.Values)-2].Ordered(); !slices.Equal(got, want) || n != int64(len(want)) {
				l.t.Fatalf("%s: rfm %q %v: cell %s has %d people, %q; want %q", l.step, who, args, row.Cells[1], n, got, want)
			}
			if table.Name == "segments" {
				scored += len(want)
			}
		}
	}
	return scored
}

// cell compares a row and the people of its cell with who they should be.
func (l *rfmLaw) cell(who string, args query.Arguments, table *query.ReportTable, row *query.ReportRow, want []string) {
	l.t.Helper()
	at := slices.IndexFunc(table.Columns, func(c query.ReportColumn) bool { return c.Name == "people" })
	got := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", who, args, row.Cells[0], nil))
	if !slices.Equal(got, want) || row.Values[at].Ordered() != int64(len(want)) {
		l.t.Fatalf("%s: rfm %q %v: cell %s has %v people, %q; want %q", l.step, who, args, row.Cells[0], row.Values[at], got, want)
	}
}

// flow compares who has gone from segment to segment with who is in the segments at either
// date, of which an analysis of its own tells.
func (l *rfmLaw) flow() (moved int) {
	l.t.Helper()
	_, _, args := l.random()
	for _, p := range []string{"recency-by", "frequency-by"} {
		args[p] = []string{pickOne(l.actModel, "quantile", "quantile+1", "rank")}
	}
	if _, ok := l.ask("true", args); !ok {
		return 0
	}
	past := l.now.Add(-time.Duration(1+l.r.IntN(900)) * time.Hour)
	segment := map[string][2]string{} // by key: that of then and that of now
	for i, o := range []query.Options{{Now: past}, {}} {
		for _, name := range []string{"one", "two", "three"} {
			for _, key := range l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", "true", args, name, &query.MembersOptions{Options: o})) {
				both := segment[key]
				both[i] = name
				segment[key] = both
			}
		}
	}
	want := map[string][]string{}
	for key, both := range segment {
		for i := range both {
			if both[i] == "" {
				both[i] = "outside"
			}
		}
		if both[0] != both[1] {
			moved++
		}
		want[both[0]+">"+both[1]] = append(want[both[0]+">"+both[1]], key)
	}
	args["since"] = []string{past.Format(time.RFC3339Nano)}
	r, _ := l.ask("true", args)
	flow := r.Tables[len(r.Tables)-1]
	if len(flow.Rows) != 15 {
		l.t.Fatalf("%s: rfm %v: %d transitions", l.step, args, len(flow.Rows))
	}
	for _, row := range flow.Rows {
		got := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", "true", args, row.Cells[0], nil))
		slices.Sort(got)
		keys := want[row.Cells[0]]
		slices.Sort(keys)
		if !slices.Equal(got, keys) || row.Values[2].Ordered() != int64(len(keys)) {
			l.t.Fatalf("%s: rfm %v: cell %s has %v people, %q; want %q", l.step, args, row.Cells[0], row.Values[2], got, keys)
		}
	}
	return moved
}

// parts makes sure, however scores are told, that everybody who has an event is in one cell of
// each table, that rows count whom they list, and that one worker says what several do.
func (l *rfmLaw) parts() {
	l.t.Helper()
	who, list, args := l.random()
	for _, p := range []string{"recency-by", "frequency-by", "amount-by"} {
		if p != "amount-by" || args["amount"] != nil {
			args[p] = []string{pickOne(l.actModel, "quantile", "quantile+1", "rank")}
		}
	}
	r, ok := l.ask(who, args)
	if !ok {
		return
	}
	all := l.keysOf(l.db.Members(l.t.Context(), fmt.Sprintf("(%s) && %s.any()", who, list), nil))
	slices.Sort(all)
	for _, table := range r.Tables {
		var found []string
		for _, row := range table.Rows {
			if len(row.Cells) > 0 {
				own := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", who, args, row.Cells[0], nil))
				l.cell(who, args, &table, &row, own)
				found = append(found, own...)
			}
		}
		if slices.Sort(found); table.Name != "cuts" && !slices.Equal(found, all) {
			l.t.Fatalf("%s: rfm %q %v: in %s are %q, want %q", l.step, who, args, table.Name, found, all)
		}
	}
	one, err := l.db.Analyze(l.t.Context(), "rfm", who, args, &query.Options{Parallelism: 1})
	if err != nil || fmt.Sprint(one.Tables) != fmt.Sprint(r.Tables) {
		l.t.Fatalf("%s: rfm %q %v: one worker says %v, several %v (%v)", l.step, who, args, one.Tables, r.Tables, err)
	}
}

// TestRFMMemory: what is kept is taken from the store's budget, to the byte, and given back;
// an analysis that is given up says so.
func TestRFMMemory(t *testing.T) {
	const n = 1000
	s := newIDSender(t)
	s.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "see"})
		events := b.Events(nil)
		for i := range n {
			events.Row(fmt.Appendf(nil, "p%d", i), []byte("see"), 90*actDay)
		}
	})
	cache := s.db.cache
	var taken []func()
	for size := int64(1 << 40); size > 0; size /= 2 {
		for f, err := cache.Reserve(size, "test"); err == nil; f, err = cache.Reserve(size, "test") {
			taken = append(taken, f)
		}
	}
	full := cache.Reserved()
	for _, f := range taken {
		f()
	}
	// least returns how much memory an analysis takes by one worker.
	least := func(args query.Arguments) int64 {
		return int64(sort.Search(8<<20, func(free int) bool {
			release, err := cache.Reserve(full-int64(free), "test")
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			_, err = s.db.Analyze(t.Context(), "rfm", "", args, &query.Options{Parallelism: 1})
			if err != nil && !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
				t.Errorf("with little memory: %v", err)
			}
			if after := cache.Reserved(); after != full-int64(free) {
				t.Errorf("%d bytes are kept for good", after-full+int64(free))
			}
			return err == nil
		}))
	}
	nobody := least(query.Arguments{"event": {"see.filter(e, false)"}}) // and a worker's table
	once := least(query.Arguments{"event": {"see"}})
	if nobody < 2<<20 || once-nobody != 30*n {
		t.Errorf("%d bytes are taken to read nobody, %d more to read %d people", nobody, once-nobody, n)
	}
	if ranked := least(query.Arguments{"event": {"see"}, "recency-by": {"rank"}}); ranked-once != 10*n {
		t.Errorf("%d more bytes are taken to rank them", ranked-once)
	}
	args := query.Arguments{"event": {"see"}, "since": {time.UnixMilli(91 * actDay).UTC().Format(time.RFC3339)}}
	if twice := least(args); twice-once != 30*n {
		t.Errorf("%d more bytes are taken to read them at another date", twice-once)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.db.Analyze(ctx, "rfm", "", args, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// TestRFMManyPeople parts more people than one worker takes, all alike, by key: whoever has
// loaded them and whoever reads them in whatever order.
func TestRFMManyPeople(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it writes 300,000 people, and runs in make test")
	}
	const n, at = 300_000, 100 * actDay
	db, err := Open("many", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(at + actDay).UTC() }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for first := true; len(order) > 0; first = false {
		b := batch.New()
		if first {
			b.Change(schema.Change{Op: schema.AddEvent, Event: "look"})
		}
		part := order[:min(len(order), 30_000)]
		order = order[len(part):]
		events := b.Events(nil)
		for _, i := range part {
			events.Row(fmt.Appendf(nil, "p%06d", i), []byte("look"), at)
		}
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := db.Apply(t.Context(), raw); err != nil || r.Accepted != uint64(len(part)) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	args := query.Arguments{"event": {"look"}, "recency-by": {"rank"}, "frequency-by": {"rank"}, "bins": {"3"}}
	for _, parallel := range []int{1, 3} {
		r, err := db.Analyze(t.Context(), "rfm", "", args, &query.Options{Parallelism: parallel})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Tables[0].Rows {
			want := int64(0)
			if row.Values[1].Equal(row.Values[2]) { // the scores
				want = n / 3
			}
			if row.Values[3].Ordered() != want {
				t.Fatalf("%d at once: cell %s has %v people, want %d", parallel, row.Cells[0], row.Values[3], want)
			}
		}
	}
	m, err := db.AnalysisMembers(t.Context(), "rfm", "", args, "r2f2", nil)
	if err != nil || m.Total != n/3 {
		t.Fatalf("%d people (%v)", m.Total, err)
	}
	for row, err := range m.Rows {
		if err != nil || row.Key < fmt.Sprintf("p%06d", n/3) || row.Key >= fmt.Sprintf("p%06d", 2*n/3) {
			t.Fatalf("%s is not in the middle third (%v)", row.Key, err)
		}
	}
}
