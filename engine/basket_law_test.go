package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestBasketLaw compares random baskets with what expressions say, and with a loop over all
// events where expressions cannot say it.
func TestBasketLaw(t *testing.T) {
	t.Parallel()
	const seed = 9
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	l := &basketLaw{actModel: m}
	for step := range Rounds(90, 30) {
		switch m.r.IntN(8) {
		case 0:
			m.compact(fmt.Sprint("step ", step))
		case 1:
			m.remove()
		default:
			m.write()()
		}
		l.step = fmt.Sprint("step ", step)
		l.expressions()
		l.grouped()
	}
	t.Logf("%d people in sets, %d left by rules", l.people, l.left)
	if least := Rounds(600, 30); l.people < least || l.left < least {
		t.Error("too few people")
	}
}

type basketLaw struct {
	*actModel
	step         string
	people, left int
}

// ask runs an analysis; ok is false if its list is one that only expressions can read.
func (l *basketLaw) ask(who string, args query.Arguments) (r query.Report, ok bool) {
	l.t.Helper()
	r, err := l.db.Analyze(l.t.Context(), "basket", who, args, nil)
	if err != nil && strings.Contains(err.Error(), "has no plan") {
		return r, false
	}
	if err != nil {
		l.t.Fatalf("%s: basket %q %v: %v", l.step, who, args, err)
	}
	one, err := l.db.Analyze(l.t.Context(), "basket", who, args, &query.Options{Parallelism: 1})
	if err != nil || fmt.Sprint(one.Tables) != fmt.Sprint(r.Tables) {
		l.t.Fatalf("%s: basket %q %v: one worker says %v, several %v (%v)", l.step, who, args, one.Tables, r.Tables, err)
	}
	return r, true
}

// cell returns the people of a cell, of whom there must be n.
func (l *basketLaw) cell(who string, args query.Arguments, cell string, n int64) []string {
	l.t.Helper()
	got := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "basket", who, args, cell, nil))
	if int64(len(got)) != n {
		l.t.Fatalf("%s: basket %q %v: cell %s is %q, %d people", l.step, who, args, cell, got, n)
	}
	return got
}

// expressions compares a random basket of people, where sets and rules are expressions.
func (l *basketLaw) expressions() {
	l.t.Helper()
	list, event := l.events()
	who := pickOne(l.actModel, "true", l.condition())
	args := query.Arguments{"event": {list}, "item": {"item"}, "size": {pickOne(l.actModel, "2", "3")}, "sort": {pickOne(l.actModel, "baskets", "lift", "conviction")}}
	if event == "buy" && l.r.IntN(4) == 0 {
		args["item"] = []string{"tags"}
	}
	r, ok := l.ask(who, args)
	if !ok {
		return
	}
	same := func(cell string, n int64, cond string) {
		l.t.Helper()
		got := l.cell(who, args, cell, n)
		if want := l.keysOf(l.db.Members(l.t.Context(), "("+who+") && "+cond, nil)); !slices.Equal(got, want) {
			l.t.Fatalf("%s: basket %q %v: cell %s is %q, want %q", l.step, who, args, cell, got, want)
		}
	}
	has := func(items string) string {
		var all []string
		for _, item := range strings.Split(items, " + ") {
			test := fmt.Sprintf("e.item == %q", item)
			if args.One("item") == "tags" {
				test = fmt.Sprintf("%q in e.tags", item)
			}
			all = append(all, fmt.Sprintf("%s.filter(e, %s).any()", list, test))
		}
		return "(" + strings.Join(all, " && ") + ")"
	}
	pick := func(rows []query.ReportRow) (some []query.ReportRow) {
		for _, i := range l.r.Perm(len(rows))[:min(len(rows), 4)] {
			some = append(some, rows[i])
		}
		return some
	}
	for _, row := range pick(r.Tables[0].Rows) {
		if row.Values[1].Ordered() != row.Values[2].Ordered() {
			l.t.Fatalf("%s: baskets are people: %v", l.step, row.Values)
		}
		same(row.Cells[0], row.Values[1].Ordered(), has(row.Values[0].Str()))
		l.people += int(row.Values[1].Ordered())
	}
	for _, row := range pick(r.Tables[1].Rows) {
		same(row.Cells[0], row.Values[2].Ordered(), has(row.Values[0].Str())+" && "+has(row.Values[1].Str()))
		same(row.Cells[1], row.Values[4].Ordered(), has(row.Values[0].Str())+" && !"+has(row.Values[1].Str()))
		l.left += int(row.Values[4].Ordered())
	}
	same("(all)", r.Tables[2].Rows[0].Values[1].Ordered(), list+".filter(e, has(e."+args.One("item")+")).any()")
	l.parts(who, args, r.Tables[0].Rows)
}

// parts makes sure that the sets of two parts of the people add up to those of all.
func (l *basketLaw) parts(who string, args query.Arguments, all []query.ReportRow) {
	l.t.Helper()
	if len(all) == 50 { // there may be more
		return
	}
	sum := map[string]int64{}
	cut := fmt.Sprintf("look.count() >= %d", 1+l.r.IntN(3))
	for _, part := range []string{cut, "!(" + cut + ")"} {
		r, _ := l.ask("("+who+") && "+part, args)
		for _, row := range r.Tables[0].Rows {
			sum[row.Cells[0]] += row.Values[1].Ordered()
		}
	}
	for _, row := range all {
		if sum[row.Cells[0]] != row.Values[1].Ordered() {
			l.t.Fatalf("%s: basket %q %v: of parts by %s %s is %d, want %v", l.step, who, args, cut, row.Cells[0], sum[row.Cells[0]], row.Values[1])
		}
		delete(sum, row.Cells[0])
	}
	if len(sum) > 0 {
		l.t.Fatalf("%s: basket %q %v: parts have %v", l.step, who, args, sum)
	}
}

// grouped compares baskets by a shared property or by gaps with a loop over all events.
func (l *basketLaw) grouped() {
	l.t.Helper()
	args := query.Arguments{"event": {"buy"}, "item": {"item"}}
	by := pickOne(l.actModel, "note", "gift", "amount", "gap")
	gap := (1 + l.r.Int64N(50)) * actDay / 24
	if by == "gap" {
		args["gap"] = []string{fmt.Sprintf("%dms", gap)}
	} else {
		args["order"] = []string{by}
	}
	r, _ := l.ask("true", args)
	baskets := l.baskets(by, gap)
	find := func(has string, without string) (n int64, people []string) {
		out := map[string]bool{}
		for who, own := range baskets {
			in, broken := false, false
			for _, b := range own {
				all := true
				for _, item := range strings.Split(has, " + ") {
					all = all && b[item]
				}
				if in = in || all; all {
					n++
					broken = broken || b[without]
				}
			}
			if in && !broken {
				out[who] = true
			}
		}
		return n, slices.Sorted(maps.Keys(out))
	}
	check := func(cell string, n, people int64, has, without string) {
		l.t.Helper()
		got := l.cell("true", args, cell, people)
		slices.Sort(got)
		if wantN, want := find(has, without); !slices.Equal(got, want) || without == "" && n != wantN {
			l.t.Fatalf("%s: basket %v: %s: %d of %q, want %d of %q", l.step, args, cell, n, got, wantN, want)
		}
	}
	for _, row := range r.Tables[0].Rows {
		check(row.Cells[0], row.Values[1].Ordered(), row.Values[2].Ordered(), row.Values[0].Str(), "")
	}
	for _, row := range r.Tables[1].Rows[:min(4, len(r.Tables[1].Rows))] {
		check(row.Cells[1], 0, row.Values[4].Ordered(), row.Values[0].Str(), row.Values[1].Str())
	}
	n := int64(0)
	for _, own := range baskets {
		n += int64(len(own))
	}
	if v := r.Tables[2].Rows[0].Values; v[1].Ordered() != n || v[2].Ordered() != int64(len(baskets)) {
		l.t.Fatalf("%s: basket %v: %v, want %d of %d", l.step, args, v, n, len(baskets))
	}
}

// baskets makes the baskets of everybody from the model's events.
func (l *basketLaw) baskets(by string, gap int64) map[string][]map[string]bool {
	item, order := regexp.MustCompile(`item=(item \d)`), regexp.MustCompile(by+`=(note \d|true|false|[\d.]+)`)
	acts := slices.DeleteFunc(slices.Clone(l.list), func(a modelAct) bool { return a.event != "buy" || !item.MatchString(a.props) })
	slices.SortFunc(acts, func(a, b modelAct) int { return cmp.Compare(a.time, b.time) })
	out, place, last := map[string][]map[string]bool{}, map[[2]string]int{}, map[string]int64{}
	for _, a := range acts {
		key, own := [2]string{a.key}, out[a.key]
		at := len(own) - 1
		if by == "gap" {
			if len(own) == 0 || a.time-last[a.key] > gap {
				at++
			}
			last[a.key] = a.time
		} else {
			value := order.FindStringSubmatch(a.props)
			if value == nil {
				continue
			}
			key[1] = value[1]
			var had bool
			if at, had = place[key]; !had {
				at = len(own)
				place[key] = at
			}
		}
		if at == len(own) {
			out[a.key] = append(own, map[string]bool{})
		}
		out[a.key][at][item.FindStringSubmatch(a.props)[1]] = true
	}
	return out
}

// TestBasketChunks counts the baskets of people of several chunks, on several workers, and
// compares with a loop over all events.
func TestBasketChunks(t *testing.T) {
	t.Parallel()
	const n, kinds = 100_000, 40
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
	bought := map[int64]map[int64]bool{}
	for range 5 {
		m.apply(func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}})
			for range 30_000 {
				who, item := r.Int64N(n), min(r.Int64N(kinds), r.Int64N(kinds))
				table.Row(fmt.Appendf(nil, "k%d", who), []byte("buy"), (60+r.Int64N(40))*actDay)
				table.Str(0, fmt.Appendf(nil, "item %02d", item))
				if bought[who] == nil {
					bought[who] = map[int64]bool{}
				}
				bought[who][item] = true
			}
		})
	}
	counts := map[string]int64{}
	for _, own := range bought {
		items := slices.Sorted(maps.Keys(own))
		for i, a := range items {
			for _, b := range items[i+1:] {
				counts[fmt.Sprintf("item %02d + item %02d", a, b)]++
			}
		}
	}
	want := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	args := query.Arguments{"event": {"buy"}, "item": {"item"}, "top": {"300"}}
	for _, parallel := range []int{1, 3} {
		report, err := m.db.Analyze(t.Context(), "basket", "", args, &query.Options{Parallelism: parallel})
		if err != nil || len(report.Tables[0].Rows) != 300 {
			t.Fatal(len(report.Tables[0].Rows), err)
		}
		for i, row := range report.Tables[0].Rows {
			if row.Cells[0] != want[i] || row.Values[1].Ordered() != counts[want[i]] {
				t.Fatalf("row %d is %v, want %s, %d", i, row.Values, want[i], counts[want[i]])
			}
		}
	}
	for _, item := range []string{"item 03", "item 39"} { // what a cell says beside the report's rows
		cell := totalOf(m.db.AnalysisMembers(t.Context(), "basket", "", args, item, nil))
		if expr := totalOf(m.db.Members(t.Context(), fmt.Sprintf("buy.filter(e, e.item == %q).any()", item), nil)); cell != expr || cell == 0 {
			t.Errorf("%s: %d people, want %d", item, cell, expr)
		}
	}
	m.basketMemory(args)
}

func totalOf(l query.Members, err error) uint64 {
	if err != nil {
		return 0
	}
	return l.Total
}

// basketMemory makes sure that what is kept of baskets is taken from the store's budget, and
// given back.
func (m *actModel) basketMemory(args query.Arguments) {
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
		if i < 2 {
			free()
		}
		defer free()
	}
	before := m.db.cache.Reserved()
	if _, err := m.db.Analyze(m.t.Context(), "basket", "", args, nil); !errors.Is(err, &query.Error{Code: query.CodeBudget}) || !strings.Contains(err.Error(), "the basket") {
		m.t.Errorf("with little memory: %v", err)
	}
	args = maps.Clone(args)
	args["for"] = []string{"item 35"} // little is kept of one item
	if _, err := m.db.Analyze(m.t.Context(), "basket", "", args, nil); err != nil {
		m.t.Errorf("of one item with little memory: %v", err)
	}
	if after := m.db.cache.Reserved(); after != before {
		m.t.Errorf("%d bytes are kept for good", after-before)
	}
}
