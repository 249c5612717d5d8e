package basket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// shop is what people bought, and what is asked about it.
type shop struct {
	*basket
	events [][]query.PersonEvent // by person
}

func randomShop(r *rand.Rand) *shop {
	s := &shop{basket: &basket{study: &query.Study{}, item: schema.Attribute{Name: "item", Kind: schema.Int}, least: 1}}
	s.study.Parallelism = r.IntN(4)
	s.size, s.top, s.sort = 2+r.IntN(MaxSize-1), []int{1, 2, 5, 20, MaxTop}[r.IntN(5)], sorting(r.IntN(len(sorts())))
	kinds, most := 1+r.Int64N(9), 1+r.IntN(12)
	switch r.IntN(3) {
	case 1:
		s.key = 1 // orders
	case 2:
		s.key, s.gap = schema.TimeProperty, 1+r.Int64N(4)
	}
	for range r.IntN(30) {
		var events []query.PersonEvent
		for range 1 + r.IntN(most) {
			e := query.PersonEvent{Value: r.Int64N(kinds) - 2}
			if s.key != 0 {
				e.Key = r.Int64N(10)
			}
			events = append(events, e)
		}
		s.events = append(s.events, events)
	}
	if r.IntN(3) == 0 {
		s.isWith, s.with = true, r.Int64N(kinds)-2
	}
	if r.IntN(2) == 0 {
		s.least = 1 + r.Uint64N(4)
	}
	for _, x := range []*float64{&s.support, &s.confidence, &s.lift} {
		if r.IntN(4) == 0 {
			*x = float64(r.IntN(8)) / float64(1+r.IntN(8))
		}
	}
	s.support, s.confidence = min(s.support, 1), min(s.confidence, 1)
	return s
}

// baskets cuts the events of a person as doc.go says, pair by pair.
func (s *shop) baskets(events []query.PersonEvent) (out [][]int64) {
	of := make([]int, len(events)) // the basket of each
	for i := range of {
		of[i] = i
	}
	for range events { // until nothing moves
		for i, a := range events {
			for k, b := range events {
				near := s.key == 0 || a.Key == b.Key || s.gap > 0 && max(a.Key-b.Key, b.Key-a.Key) <= s.gap
				if near {
					of[i] = min(of[i], of[k])
				}
			}
		}
	}
	for basket := range events {
		var items []int64
		for i, e := range events {
			if of[i] == basket && !slices.Contains(items, e.Value) {
				items = append(items, e.Value)
			}
		}
		if len(items) > 0 {
			slices.Sort(items)
			out = append(out, items)
		}
	}
	return out
}

// slow counts everything by looking at every basket.
type slow struct {
	*shop
	all [][][]int64 // by person
	n   int64
}

func (s *slow) count(items []int64) (baskets, people int64) {
	for _, own := range s.all {
		had := false
		for _, b := range own {
			if !slices.ContainsFunc(items, func(x int64) bool { return !slices.Contains(b, x) }) {
				baskets++
				had = true
			}
		}
		if had {
			people++
		}
	}
	return baskets, people
}

func ratio(up ...int64) func(down ...int64) *big.Rat {
	return func(down ...int64) *big.Rat {
		x := big.NewRat(1, 1)
		for _, n := range up {
			x.Mul(x, big.NewRat(n, 1))
		}
		for _, n := range down {
			x.Quo(x, big.NewRat(n, 1))
		}
		return x
	}
}

func float(x *big.Rat) float64 {
	f, _ := x.Float64()
	return f
}

// line is a row, and what it is ordered by.
type line struct {
	score   *big.Rat // nil: above all
	baskets int64
	of      []int64
	then    int64
	text    string
}

func (s *slow) order(lines []line) (out []string) {
	slices.SortFunc(lines, func(a, b line) int {
		byScore := 0
		switch {
		case a.score != nil && b.score != nil:
			byScore = b.score.Cmp(a.score)
		case a.score != nil:
			byScore = 1
		case b.score != nil:
			byScore = -1
		}
		return cmp.Or(byScore, cmp.Compare(b.baskets, a.baskets), slices.Compare(a.of, b.of), cmp.Compare(a.then, b.then))
	})
	for _, l := range lines[:min(len(lines), s.top)] {
		out = append(out, l.text)
	}
	return out
}

func names(items []int64) string {
	var texts []string
	for _, n := range items {
		texts = append(texts, strconv.FormatInt(n, 10))
	}
	return strings.Join(texts, " + ")
}

// tables is what doc.go says.
func (s *slow) tables() (sets, rules []string) {
	var kinds []int64
	for _, own := range s.all {
		for _, b := range own {
			kinds = append(kinds, b...)
		}
		s.n += int64(len(own))
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	var setLines, ruleLines []line
	for of := range 1 << len(kinds) {
		var items []int64
		for i, x := range kinds {
			if of>>i&1 != 0 {
				items = append(items, x)
			}
		}
		n, people := s.count(items)
		if len(items) < 2 || len(items) > s.size || n == 0 || uint64(n) < s.least || float(ratio(n)(s.n)) < s.support || s.isWith && !slices.Contains(items, s.with) {
			continue
		}
		lift := ratio(n)(s.n)
		for _, x := range items {
			one, _ := s.count([]int64{x})
			lift.Mul(lift, ratio(s.n)(one))
		}
		if float(lift) >= s.lift {
			score := ratio(n)(1)
			if s.sort == byLift {
				score = lift
			}
			setLines = append(setLines, line{score, n, items, 0, fmt.Sprint(names(items), n, people, float(ratio(n)(s.n)), float(lift))})
		}
		for i, then := range items {
			if rest := slices.Delete(slices.Clone(items), i, i+1); !s.isWith || then != s.with {
				ruleLines = append(ruleLines, s.rule(rest, then, n, people)...)
			}
		}
	}
	return s.order(setLines), s.order(ruleLines)
}

func (s *slow) rule(rest []int64, then, n, people int64) []line {
	a, peopleIf := s.count(rest)
	b, _ := s.count([]int64{then})
	confidence, lift := ratio(n)(a), ratio(n, s.n)(a, b)
	leverage := new(big.Rat).Sub(ratio(n)(s.n), ratio(a, b)(s.n, s.n))
	var conviction *big.Rat
	shown := "-"
	if a > n {
		conviction = ratio(a, s.n-b)(s.n, a-n)
		shown = fmt.Sprint(float(conviction))
	}
	if float(confidence) < s.confidence || float(lift) < s.lift {
		return nil
	}
	score := []*big.Rat{ratio(n)(1), confidence, lift, leverage, conviction}[s.sort]
	return []line{{score, n, rest, then, fmt.Sprint(names(rest), "=>", names([]int64{then}), " ", n, people, peopleIf-people, float(ratio(n)(s.n)), float(confidence), float(lift), float(leverage), shown)}}
}

// TestBaskets compares random baskets of random people, read by several readers, with a count
// of every set by itself.
func TestBaskets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	seen := [2]int{}
	for round := range 1000 {
		s := randomShop(r)
		ref := &slow{shop: s}
		readers := []*reader{s.newReader(), s.newReader(), s.newReader()}[:1+r.IntN(3)]
		for _, events := range s.events {
			ref.all = append(ref.all, s.baskets(events))
			to := readers[r.IntN(len(readers))]
			r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			to.person(events)
			if r.IntN(4) == 0 {
				to.settle() // the next is of another chunk
			}
		}
		total, err := s.newTotal(readers)
		if err != nil {
			t.Fatal(err)
		}
		found, err := total.mine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var sets, rules []string
		tables, err := found.tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range tables[0].Rows {
			v := row.Values
			sets = append(sets, fmt.Sprint(v[0].Str(), v[1].Ordered(), v[2].Ordered(), v[3].Float(), v[4].Float()))
		}
		for _, row := range tables[1].Rows {
			v, conviction := row.Values, "-"
			if !v[9].IsAbsent() {
				conviction = fmt.Sprint(v[9].Float())
			}
			rules = append(rules, fmt.Sprint(v[0].Str(), "=>", v[1].Str(), " ", v[2].Ordered(), v[3].Ordered(), v[4].Ordered(), v[5].Float(), v[6].Float(), v[7].Float(), v[8].Float(), conviction))
		}
		wantSets, wantRules := ref.tables()
		if !slices.Equal(sets, wantSets) || !slices.Equal(rules, wantRules) {
			t.Fatalf("round %d: %+v of %v:\n%s\n%s\nwant\n%s\n%s", round, s.basket, ref.all, strings.Join(sets, "\n"), strings.Join(rules, "\n"), strings.Join(wantSets, "\n"), strings.Join(wantRules, "\n"))
		}
		if v := tables[2].Rows[0].Values; v[1].Ordered() != ref.n || v[2].Ordered() != int64(len(s.events)) {
			t.Fatalf("round %d: %d baskets of %d people, want %d of %d", round, v[1].Ordered(), v[2].Ordered(), ref.n, len(s.events))
		}
		seen[0] += len(sets)
		seen[1] += len(rules)
	}
	if seen[0] < 1500 || seen[1] < 2500 {
		t.Errorf("only %d sets and %d rules", seen[0], seen[1])
	}
}

// TestCells: the name of a cell is read as it is written.
func TestCells(t *testing.T) {
	lists := [][]string{{"tea"}, {"tea", "cup"}, {"a b", " c"}, {`"`, "+", "!", "(all)", ""}, {"x +", "y", "+ z"}, {"!x", `"y"`, "a\nb"}, {"(x", "y)", "x - y"}}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var items []string
		for range 1 + r.IntN(4) {
			item := make([]byte, r.IntN(6))
			for i := range item {
				item[i] = `"+!( )ab\`[r.IntN(9)]
			}
			items = append(items, string(item))
		}
		lists = append(lists, items)
	}
	for _, items := range lists {
		var texts []string
		for _, item := range items {
			texts = append(texts, quoted(item))
		}
		var got []string
		for rest := strings.Join(texts, and); rest != ""; {
			one, after, ok := cutItem(rest)
			if !ok {
				t.Fatalf("%q of %q is no item", rest, texts)
			}
			got, rest = append(got, one), after
		}
		if !slices.Equal(got, items) {
			t.Errorf("%q is read as %q", texts, got)
		}
	}
	for _, text := range []string{`"a`, `"a"b`, `"a" + `, "a + ", " + a"} {
		if one, rest, ok := cutItem(text); ok {
			t.Errorf("%q has the item %q, then %q", text, one, rest)
		}
	}
}

// TestManySets: sets of more than two, if they are too many, end the analysis with an advice.
func TestManySets(t *testing.T) {
	for size, fails := range map[int]bool{2: false, 5: true} { // nothing is kept of pairs
		b := &basket{study: &query.Study{}, item: schema.Attribute{Kind: schema.Int}, least: 1, size: size, top: 1}
		r := b.newReader()
		var events []query.PersonEvent
		for i := range int64(200) {
			events = append(events, query.PersonEvent{Value: i})
		}
		r.person(events)
		total, err := b.newTotal([]*reader{r})
		if err != nil {
			t.Fatal(err)
		}
		found, err := total.mine(t.Context())
		if !fails && (err != nil || len(found.best.rows) != 1) || fails && !(errors.Is(err, &query.Error{Code: query.CodeLimit}) && strings.Contains(err.Error(), "min-baskets")) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// endingContext ends after it was asked so many times.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestEnds: wherever an analysis is asked to end, it does.
func TestEnds(t *testing.T) {
	for left := 0; ; left++ {
		b := &basket{study: &query.Study{}, key: 1, item: schema.Attribute{Kind: schema.Int}, least: 1, size: 3, top: 3}
		b.study.Parallelism = 1
		r := b.newReader()
		for order := range int64(3000) {
			var events []query.PersonEvent
			for i := range int64(30) { // each item with the same others: 30,000 sets
				events = append(events, query.PersonEvent{Key: order, Value: 30*(order%8) + i})
			}
			r.person(events)
		}
		total, err := b.newTotal([]*reader{r})
		if err != nil {
			t.Fatal(err)
		}
		ctx := &endingContext{t.Context(), left}
		found, err := total.mine(ctx)
		if err == nil {
			_, err = found.tables(ctx)
		}
		if ctx.left >= 0 {
			if t.Logf("it asks %d times", left); err != nil || left < 20 {
				t.Errorf("%v", err)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("ended after %d questions: %v", left, err)
		}
	}
}

// TestLeast: a set is shown if the support that is shown of it is not below the threshold.
func TestLeast(t *testing.T) {
	for all := uint64(1); all < 200; all++ {
		for n := range all + 1 {
			b := basket{support: float64(n) / float64(all)}
			if got := b.leastOf(all); got != n {
				t.Fatalf("support %v of %d is at least %d, want %d", b.support, all, got, n)
			}
			b.support = math.Nextafter(b.support, 2)
			if got := b.leastOf(all); got != n+1 {
				t.Fatalf("support %v of %d is at least %d, want %d", b.support, all, got, n+1)
			}
		}
	}
}
