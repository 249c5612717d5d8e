package rfm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// person is one of the slow definition.
type person struct {
	key     string
	numbers [dimensions]*big.Rat
}

// slowly scores people by a dimension, as doc.go says it: all cut points by sorting, all
// ranks by one comparison of everything.
func slowly(a *rfm, all []person, d int) (scores []int, cuts []*big.Rat) {
	w := &a.ways[d]
	if w.byRank {
		return slowRanks(a, all, d)
	}
	cuts = w.edges
	if cuts == nil && len(all) > 0 {
		var sorted []*big.Rat
		for _, p := range all {
			sorted = append(sorted, p.numbers[d])
		}
		slices.SortFunc(sorted, (*big.Rat).Cmp)
		for k := 1; k < a.bins; k++ {
			h := big.NewRat(int64((len(all)-1)*k), int64(a.bins))
			lower := new(big.Int).Div(h.Num(), h.Denom()).Int64()
			upper := min(int(lower)+1, len(all)-1)
			part := new(big.Rat).Sub(h, new(big.Rat).SetInt64(lower))
			cut := new(big.Rat).Mul(part, new(big.Rat).Sub(sorted[upper], sorted[lower]))
			cut.Add(cut, sorted[lower])
			if w.plus {
				cut.Add(cut, big.NewRat(1, 1))
			}
			cuts = append(cuts, cut)
		}
	}
	for _, p := range all {
		above := 0
		for _, cut := range cuts {
			c := p.numbers[d].Cmp(cut)
			if c > 0 || c == 0 && (w.plus || w.edges != nil) {
				above++
			}
		}
		score := 1 + above
		if d == recency {
			score = a.bins - above
		}
		scores = append(scores, score)
	}
	return scores, cuts
}

func slowRanks(a *rfm, all []person, d int) (scores []int, cuts []*big.Rat) {
	n := len(all)
	sorted := make([]int, n)
	for i := range sorted {
		sorted[i] = i
	}
	slices.SortFunc(sorted, func(x, y int) int {
		p, q := &all[x], &all[y]
		c := p.numbers[d].Cmp(q.numbers[d])
		if d == recency {
			c = -c
		}
		if c == 0 && d == frequency && a.has == dimensions {
			c = p.numbers[amount].Cmp(q.numbers[amount])
		}
		return cmp.Or(c, cmp.Compare(p.key, q.key))
	})
	scores, cuts = make([]int, n), make([]*big.Rat, a.bins-1)
	at := 0
	for part := range a.bins {
		size := n / a.bins
		if part < n%a.bins {
			size++
		}
		switch {
		case part == 0 || at >= n:
		case d == recency:
			cuts[a.bins-1-part] = all[sorted[at-1]].numbers[d]
		default:
			cuts[part-1] = all[sorted[at]].numbers[d]
		}
		for range size {
			scores[sorted[at]] = part + 1
			at++
		}
	}
	return scores, cuts
}

// randomWay makes a way to score.
func randomWay(r *rand.Rand, d, bins, most int) way {
	switch r.IntN(4) {
	case 0:
		return way{byRank: true}
	case 1:
		return way{plus: true}
	case 2:
		return way{}
	}
	edges := map[int64]bool{}
	for len(edges) < bins-1 {
		edges[r.Int64N(int64(2*most+20))] = true
	}
	var out way
	for _, e := range slices.Sorted(maps.Keys(edges)) {
		if d == amount {
			out.edges = append(out.edges, big.NewRat(e-int64(most), 2))
		} else {
			out.edges = append(out.edges, big.NewRat(e, 1))
		}
	}
	return out
}

// TestScores compares scores, cut points and totals with the slow definition.
func TestScores(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var asked atomic.Int64 // keys
	for round := range 1500 {
		n, most := r.IntN(40), 1+r.IntN(30)
		if round%500 == 0 { // more than are sorted
			n, most = fewNumbers+1+r.IntN(1000), 1<<r.IntN(20)
		}
		a := &rfm{workers: 1 + r.IntN(3), has: amount + r.IntN(2), bins: MinBins + r.IntN(MaxBins-MinBins+1)}
		isFloat := r.IntN(3) == 0
		a.money.Kind = schema.Decimal
		if isFloat {
			a.money.Kind = schema.Float
		} else {
			a.money.Scale = uint8(r.IntN(3))
		}
		a.round, a.units[amount] = 1+r.Int64N(3), unit{float: isFloat, scale: a.money.Scale}
		for d := range dimensions {
			a.ways[d] = randomWay(r, d, a.bins, most)
		}
		p, all := randomPeople(r, a, n, most)
		a.keep = func(int64) error { return nil }
		a.keys = func(_ context.Context, who []uint32, f func([]byte) error) error {
			asked.Add(int64(len(who)))
			for _, o := range who {
				if err := f([]byte(all[o].key)); err != nil {
					return err
				}
			}
			return nil
		}
		for d := range a.has {
			got, err := a.score(t.Context(), p, d)
			if err != nil {
				t.Fatal(err)
			}
			scores, cuts := slowly(a, all, d)
			for _, x := range p.parts {
				for k, score := range x.scores[d] {
					if i := x.ordinal(k); scores[i] != int(score) {
						t.Fatalf("round %d, %d bins, dimension %d, %+v: %v of %d has score %d, want %d; cuts %v", round, a.bins, d, a.ways[d], all[i], n, score, scores[i], cuts)
					}
				}
			}
			compareCuts(t, a, got, cuts, d)
		}
		compareTotals(t, a, p, all)
	}
	if n := asked.Load(); n < 300 {
		t.Errorf("only %d keys were needed", n)
	}
}

// randomPeople makes people in both forms: ordinals are places in the second.
func randomPeople(r *rand.Rand, a *rfm, n, most int) (*people, []person) {
	p, all := &people{count: n}, make([]person, n)
	far := int64(1) << (r.IntN(2) * 40) // numbers that are further apart than the buckets of their counts
	key := []string{"p%d", "%d", "customer-%07d", "customer-%024d", "%d\x00"}[r.IntN(5)]
	for i, k := range r.Perm(n) {
		all[i].key = fmt.Sprintf(key, k)
		if r.IntN(20) == 0 {
			all[i].key += "\x00"
		}
		if i == 0 || r.IntN(10) == 0 {
			p.parts = append(p.parts, new(part))
		}
		x := p.parts[len(p.parts)-1]
		x.who = append(x.who, uint16(i))
		for d := range dimensions {
			n := r.Int64N(int64(most)) * far
			if d == amount && a.units[d].float {
				n = schema.OrderedFloat(float64(n/far-int64(most)/2) / 4 * math.Pow(2, float64(r.IntN(3)*60)))
			} else if d == amount {
				n -= int64(most) / 2 * far
			}
			all[i].numbers[d] = a.units[d].exact(n)
			if d == recency {
				n = -n
			}
			x.values[d], x.scores[d] = append(x.values[d], n), append(x.scores[d], 0)
		}
	}
	return p, all
}

func compareCuts(t *testing.T, a *rfm, got []schema.Value, want []*big.Rat, d int) {
	t.Helper()
	for k, v := range got {
		switch {
		case k >= len(want) || want[k] == nil:
			if !v.IsAbsent() {
				t.Fatalf("cut %d is %v, there is none", k, v)
			}
		case d == recency:
			ms := new(big.Rat).Mul(want[k], big.NewRat(a.round, 1))
			if down := new(big.Int).Div(ms.Num(), ms.Denom()); v.Ordered() != down.Int64() {
				t.Fatalf("cut %d is %v, want %v of %d", k, v, want[k], a.round)
			}
		default:
			x, _ := want[k].Float64()
			if is := v.Float(); v.Kind() == schema.Float && is != x || v.Kind() == schema.Int && big.NewRat(v.Ordered(), 1).Cmp(want[k]) != 0 {
				t.Fatalf("cut %d is %v, want %v", k, v, want[k])
			}
		}
	}
}

// compareTotals compares the rows with what the scores of each say.
func compareTotals(t *testing.T, a *rfm, p *people, all []person) {
	t.Helper()
	var err error
	if a.segments, err = readSegments([]string{StandardMap}, a.bins); err != nil {
		t.Fatal(err)
	}
	tables, err := a.tables(t.Context(), p, [dimensions][]schema.Value{make([]schema.Value, a.bins), make([]schema.Value, a.bins), make([]schema.Value, a.bins)})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == "cuts" {
			continue
		}
		counted := int64(0)
		for _, row := range table.Rows {
			sum, count := new(big.Rat), int64(0)
			for _, x := range p.parts {
				for i := range x.who {
					r, f, m := x.scores[recency][i], x.scores[frequency][i], x.scores[amount][i]
					name := map[string]string{"cells": cellName(int(r), int(f)), "segments": a.segments.names[a.segments.of[r][f]], "amounts": amountName(int(m))}[table.Name]
					if name == row.Cells[0] {
						count++
						sum.Add(sum, all[x.ordinal(i)].numbers[amount])
					}
				}
			}
			at := slices.IndexFunc(table.Columns, func(c query.ReportColumn) bool { return c.Name == "people" })
			if row.Values[at].Ordered() != count || len(row.Values) != len(table.Columns) {
				t.Fatalf("%s %s: %v, want %d people", table.Name, row.Cells, row.Values, count)
			}
			counted += count
			if a.has == amount {
				continue
			}
			want, _ := sum.Float64()
			if got := row.Values[at+2]; got.Kind() == schema.Float && got.Float() != want ||
				got.Kind() == schema.Decimal && big.NewRat(got.Ordered(), pow10(got.Scale())).Cmp(sum) != 0 {
				t.Fatalf("%s %s: the sum is %v, want %v", table.Name, row.Cells, got, sum)
			}
		}
		if counted != int64(len(all)) {
			t.Fatalf("%s: %d people of %d", table.Name, counted, len(all))
		}
	}
}

// TestGreat scores numbers at the ends of what there is.
func TestGreat(t *testing.T) {
	values := []int64{math.MinInt64, math.MinInt64, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64, math.MaxInt64, math.MaxInt64}
	for _, w := range []way{{}, {plus: true}} {
		a := &rfm{has: dimensions, bins: 4, ways: [dimensions]way{amount: w}}
		x := &part{who: make([]uint16, len(values))}
		x.values[amount], x.scores[amount] = values, make([]uint8, len(values))
		all := make([]person, len(values))
		for i, x := range values {
			all[i].numbers[amount] = big.NewRat(x, 1)
		}
		if _, err := a.score(t.Context(), &people{parts: []*part{x}, count: len(values)}, amount); err != nil {
			t.Fatal(err)
		}
		want, _ := slowly(a, all, amount)
		for i := range want {
			if int(x.scores[amount][i]) != want[i] {
				t.Errorf("%+v: %d has score %d, want %d", w, values[i], x.scores[amount][i], want[i])
			}
		}
	}
}

// TestStatistics compares what stands at places of many numbers with sorting them.
func TestStatistics(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 60 {
		var columns [][]int64
		var all []int64
		var at []int
		for len(all) <= fewNumbers+r.IntN(3*fewNumbers) {
			own := make([]int64, r.IntN(2000))
			for i := range own {
				switch r.IntN(3) * (round % 3) {
				case 0:
					own[i] = r.Int64N(3000)
				case 1, 4: // all over the place
					own[i] = int64(r.Uint64())
				default: // most of them close together
					own[i] = math.MaxInt64 - r.Int64N(1<<r.IntN(62))
				}
			}
			columns, all = append(columns, own), append(all, own...)
		}
		for range 1 + r.IntN(2*MaxBins) {
			at = append(at, r.IntN(len(all)))
		}
		slices.Sort(at)
		kept := int64(0)
		a := &rfm{workers: 1 + r.IntN(4), keep: func(n int64) error { kept += n; return nil }}
		got, err := a.statistics(t.Context(), columns, at)
		if err != nil {
			t.Fatal(err)
		}
		if want := sortedStatistics(all, at); !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		if round%3 > 0 && kept == 0 {
			t.Errorf("round %d: nothing was looked at again", round)
		}
	}
}

// TestKeyOrder ranks people who are all alike, by keys that begin alike, are parts of each other
// or have nothing in common.
func TestKeyOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	letters := []string{"\x00", "a", "b", "\xff", "same text", "some text which is longer than a word"}
	for round := range 400 {
		known := map[string]bool{}
		var all []person
		p, most := &people{parts: []*part{{}}}, 1+r.IntN(6)
		rare := r.IntN(60)
		for range r.IntN(600) {
			key := ""
			if rare > 0 && r.IntN(rare+1) > 0 { // nearly all begin so
				key = "ac"
			}
			for range r.IntN(12) {
				key += letters[r.IntN(most)]
			}
			if known[key] {
				continue
			}
			known[key] = true
			if len(all)%50 == 49 {
				p.parts = append(p.parts, new(part))
			}
			x := p.parts[len(p.parts)-1]
			x.who = append(x.who, uint16(len(all)))
			x.values[recency], x.scores[recency] = append(x.values[recency], 0), append(x.scores[recency], 0)
			all = append(all, person{key: key, numbers: [dimensions]*big.Rat{new(big.Rat)}})
		}
		p.count = len(all)
		a := &rfm{workers: 1 + r.IntN(2), has: amount, bins: 3 + r.IntN(8), ways: [dimensions]way{{byRank: true}}, keep: func(int64) error { return nil }}
		a.keys = func(_ context.Context, who []uint32, f func([]byte) error) error {
			for _, o := range who {
				if err := f([]byte(all[o].key)); err != nil {
					return err
				}
			}
			return nil
		}
		if _, err := a.score(t.Context(), p, recency); err != nil {
			t.Fatal(err)
		}
		want, _ := slowly(a, all, recency)
		for _, x := range p.parts {
			for i, score := range x.scores[recency] {
				if o := x.ordinal(i); int(score) != want[o] {
					t.Fatalf("round %d: %q of %d has score %d, want %d", round, all[o].key, len(all), score, want[o])
				}
			}
		}
	}
}

// TestRankEnds: ranks of people who are all alike are not told when the question is given up,
// or memory is spent.
func TestRankEnds(t *testing.T) {
	const chunks, each = 40, 500
	p := &people{count: chunks * each}
	for c := range chunks {
		x := &part{chunk: c}
		for o := range each {
			x.who = append(x.who, uint16(o))
		}
		x.values[recency], x.scores[recency] = make([]int64, each), make([]uint8, each)
		p.parts = append(p.parts, x)
	}
	for _, workers := range []int{1, 3} {
		ctx, cancel := context.WithCancel(t.Context())
		var asked atomic.Int64
		a := &rfm{workers: workers, has: amount, bins: 5, round: 1, ways: [dimensions]way{{byRank: true}}, keep: func(int64) error { return nil }}
		a.keys = func(_ context.Context, who []uint32, f func([]byte) error) error {
			for _, o := range who {
				if err := f(fmt.Appendf(nil, "%d", o)); err != nil {
					return err
				}
			}
			if asked.Add(int64(len(who))) >= 3*each {
				cancel()
			}
			return nil
		}
		if _, err := a.score(ctx, p, recency); !errors.Is(err, context.Canceled) || asked.Load() > 10*each {
			t.Errorf("%d workers: %v, %d keys were read", workers, err, asked.Load())
		}
		spent, left := errors.New("spent"), int64(0)
		a.keep = func(n int64) error {
			if left -= n; left < 0 {
				return spent
			}
			return nil
		}
		for _, left = range []int64{0, 2 * chunks * each, 10*chunks*each - 1} {
			if _, err := a.score(t.Context(), p, recency); err != spent {
				t.Errorf("%v, not that memory is spent", err)
			}
		}
	}
}

func TestStandardMap(t *testing.T) {
	five, err := readSegments([]string{StandardMap}, 5)
	if err != nil {
		t.Fatal(err)
	}
	for bins, want := range map[int][]int{3: {1, 3, 5}, 4: {1, 2, 4, 5}, 5: {1, 2, 3, 4, 5}, 6: {1, 2, 3, 3, 4, 5}, 10: {1, 1, 2, 2, 3, 3, 4, 4, 5, 5}} {
		s, err := readSegments([]string{StandardMap}, bins)
		if err != nil {
			t.Fatal(err)
		}
		for r := range bins {
			for f := range bins {
				if s.of[r+1][f+1] != five.of[want[r]][want[f]] {
					t.Errorf("%d bins: r%df%d is %q", bins, r+1, f+1, s.names[s.of[r+1][f+1]])
				}
			}
		}
	}
	if len(five.names) != 10 {
		t.Errorf("%q are not ten", five.names)
	}
}

// TestReachCells: a cell is of the condition that stands behind the first colon, whatever
// colons there are in it.
func TestReachCells(t *testing.T) {
	segments, err := readSegments([]string{"r1-3f1-3=all"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	a := &rfm{bins: 3, has: amount, segments: segments, reach: []reach{{text: "old ? rich:vip"}, {text: "vip"}, {text: "rich:vip"}}}
	for cell, want := range map[string]wanted{
		"all": {segment: 1}, "r3f2": {r: 3, f: 2}, "all:vip": {segment: 1, reach: 2}, "r3f2:rich:vip": {r: 3, f: 2, reach: 3},
		"r3f2:old ? rich:vip": {r: 3, f: 2, reach: 1}, "all:old": {}, "all:": {}, "all:vip:vip": {}, ":vip": {},
	} {
		if got, err := a.readWanted(cell); got != want || (err == nil) != (want != wanted{}) {
			t.Errorf("cell %q: %+v, want %+v (%v)", cell, got, want, err)
		}
	}
}

// TestSegmentNames: what cannot be shown, or stand in an expression, is no name.
func TestSegmentNames(t *testing.T) {
	for _, name := range []string{"\x1b[31m", "a\tb", "\u0085", "\xff", strings.Repeat("x", 129)} {
		if _, err := readSegments([]string{"r1-5f1-5=" + name}, 5); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%.20q is a name: %v", name, err)
		}
	}
}
