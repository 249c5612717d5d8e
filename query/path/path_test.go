package path

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// act is an event of one person.
type act struct {
	at    int64
	list  int // that of the chosen events is the last
	label string
}

// byLabel is the order of labels: none is the first.
func byLabel(a, b string) int {
	return cmp.Compare(strings.ReplaceAll(a, noneText, ""), strings.ReplaceAll(b, noneText, ""))
}

// slowly is what doc.go says of paths, word by word.
func slowly(p *paths, acts []act) (out [][]string) {
	chosen := len(p.sources)
	order := func(a, b act) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.list, b.list), byLabel(a.label, b.label))
	}
	all := slices.Clone(acts)
	slices.SortFunc(all, order)
	for i, first := range all {
		if first.list != chosen {
			continue
		}
		if earlier := func(a act) bool { return a.list == chosen && order(a, first) < 0 }; !p.every && slices.ContainsFunc(all, earlier) {
			continue
		}
		if !p.every && slices.Contains(all[:i], first) {
			continue
		}
		follow := slices.DeleteFunc(slices.Clone(all), func(a act) bool {
			return a.list == chosen || a.at == first.at || p.before == (a.at > first.at) || max(a.at-first.at, first.at-a.at) > p.within
		})
		if p.before {
			slices.Reverse(follow)
		}
		path, before, last := []string{}, first.at, first.label
		for _, a := range follow {
			if p.gap > 0 && max(a.at-before, before-a.at) > p.gap {
				break
			}
			if before = a.at; (!p.collapse || a.label != last) && len(path) < p.steps {
				path, last = append(path, a.label), a.label
			}
		}
		out = append(out, path)
	}
	return out
}

// random makes paths ready and a person's events.
func random(r *rand.Rand) (p *paths, acts []act) {
	p = &paths{chosen: source{name: "a"}, sources: make([]source, 1+r.IntN(3)), steps: 1 + r.IntN(4), within: 1 + r.Int64N(20),
		before: r.IntN(2) == 0, collapse: r.IntN(2) == 0, every: r.IntN(2) == 0, top: 1 + r.IntN(6)}
	if r.IntN(2) == 0 {
		p.gap = 1 + r.Int64N(6)
	}
	return p, actsOf(p, r)
}

func actsOf(p *paths, r *rand.Rand) (acts []act) {
	now := int64(0)
	for range r.IntN(40) {
		now += r.Int64N(4)
		acts = append(acts, act{now, r.IntN(len(p.sources) + 1), []string{"a", "a", "b", "c", "!", noneText}[r.IntN(6)]})
	}
	r.Shuffle(len(acts), func(i, k int) { acts[i], acts[k] = acts[k], acts[i] })
	return acts
}

// counted counts the paths of one person.
func counted(v *visitor, acts []act) {
	for list := range v.callers {
		read := (list + len(v.sources)) % len(v.callers) // the chosen events first
		for _, a := range acts {
			at, l := a.at, &v.lanes[7]
			if v.before {
				at = -at
			}
			if a.list != read || read == len(v.sources) && !v.choose(7, l, at) || read < len(v.sources) && (!v.who.Has(7) || !v.near(l, at)) {
				continue
			}
			label := uint32(none)
			if a.label != noneText {
				label = v.labels.of(a.label)
			}
			v.entries = append(v.entries, entry{place{at, uint32(read)<<labelBits | label}, l.entry})
			l.entry = int32(len(v.entries))
		}
	}
	if v.who.Has(7) {
		v.person(nil, 7)
	}
	v.entries = v.entries[:0]
	v.who.Clear()
}

// TestPaths compares the paths of random people, and the tables made of them, with the
// definition.
func TestPaths(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	lengths, others := map[int]int{}, 0
	for round := range 700 {
		p, acts := random(r)
		var all [][]string
		var workers []*visitor
		for range 1 + r.IntN(3) {
			v := newVisitor(p, nil)
			v.trie = newTrie()
			workers = append(workers, v)
		}
		for range r.IntN(12) {
			v := workers[r.IntN(len(workers))]
			counted(v, acts)
			one := slowly(p, acts)
			all = append(all, one...)
			acts = actsOf(p, r)
		}
		total, err := merge(t.Context(), p, nil, workers)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range all {
			lengths[len(path)]++
		}
		others += compare(t, fmt.Sprintf("round %d: %+v", round, *p), newTables(p, total), all)
	}
	for n := range 5 {
		if lengths[n] < 100 {
			t.Errorf("only %d paths of %d steps", lengths[n], n)
		}
	}
	if others < 100 {
		t.Errorf("only %d rows of others", others)
	}
}

// slowTree is the table of a tree: by the row's cell, how many paths.
func slowTree(p *paths, all [][]string) map[string]int {
	rows := map[string]int{}
	shown := []string{"a"} // in the order of the length before
	for step := 0; len(shown) > 0; step++ {
		next := map[string]int{}
		for _, cell := range shown {
			rows[cell] = 0
			for _, path := range all {
				whole := "a>" + strings.Join(path, ">") + ">"
				if !strings.HasPrefix(whole, cell+">") {
					continue
				}
				rows[cell]++
				switch {
				case step < len(path):
					next[cell+">"+path[step]]++
				case step < p.steps:
					rows[cell+">"+endText]++
				}
			}
		}
		best := slices.Collect(func(yield func(string) bool) {
			for cell := range next {
				yield(cell)
			}
		})
		parent := func(cell string) string { return cell[:strings.LastIndex(cell, ">")] }
		slices.SortFunc(best, func(a, b string) int {
			return cmp.Or(cmp.Compare(next[b], next[a]), cmp.Compare(slices.Index(shown, parent(a)), slices.Index(shown, parent(b))), byLabel(a, b))
		})
		for _, cell := range best[min(p.top, len(best)):] {
			rows[parent(cell)+">"+otherText] += next[cell]
		}
		shown = best[:min(p.top, len(best))]
	}
	return rows
}

// slowFlow is the table of a flow.
func slowFlow(p *paths, all [][]string) map[string]int {
	rows := map[string]int{}
	at := func(path []string, step int) string {
		switch {
		case step == 0:
			return "a"
		case step > len(path):
			return endText
		}
		n := map[string]int{}
		for _, path := range all {
			if step <= len(path) {
				n[path[step-1]]++
			}
		}
		better := 0
		for label, count := range n {
			if mine := n[path[step-1]]; count > mine || count == mine && byLabel(label, path[step-1]) < 0 {
				better++
			}
		}
		if better >= p.top {
			return otherText
		}
		return path[step-1]
	}
	for _, path := range all {
		for step := 0; step <= len(path) && step < p.steps; step++ {
			rows[fmt.Sprintf("%d:%s>%s", step, at(path, step), at(path, step+1))]++
		}
	}
	return rows
}

// compare compares tables with the definition, and each row with the paths that it is about.
func compare(t *testing.T, what string, got *tables, all [][]string) (others int) {
	t.Helper()
	for i, x := range []struct {
		table query.ReportTable
		want  map[string]int
	}{{got.tree, slowTree(got.paths, all)}, {got.flow, slowFlow(got.paths, all)}} {
		left := x.want
		if len(all) == 0 {
			left = map[string]int{"a": 0}
			if i == 1 {
				clear(left)
			}
		}
		below := map[string]int64{}
		for k, row := range x.table.Rows {
			cell := row.Cells[0]
			n, ok := left[cell]
			if !ok || row.Values[3].Ordered() != int64(n) {
				t.Fatalf("%s: %s is %v, want %d, %v\n%q", what, cell, row.Values, n, ok, all)
			}
			delete(left, cell)
			match, err := got.wanted(cell)
			if err != nil {
				t.Fatal(err)
			}
			matching := 0
			for _, path := range all {
				var labels []uint32
				for _, text := range path {
					labels = append(labels, got.labels.place[text])
				}
				if match(labels) {
					matching++
				}
			}
			if matching != n {
				t.Fatalf("%s: %d paths are of %s, want %d\n%q", what, matching, cell, n, all)
			}
			if strings.Contains(cell, otherText) {
				others++
			}
			if i == 0 && k > 0 {
				below[cell[:strings.LastIndex(cell, ">")]] += int64(n)
			}
		}
		if len(left) > 0 {
			t.Fatalf("%s: these rows are missing: %v\n%q\n%v", what, left, all, x.table.Rows)
		}
		for _, row := range x.table.Rows {
			if sum, ok := below[row.Cells[0]]; ok && sum != row.Values[3].Ordered() {
				t.Fatalf("%s: under %s are %d, not %v", what, row.Cells[0], sum, row.Values[3])
			}
		}
	}
	return others
}

// TestManyEvents: a person with very many events of one kind is gone through once, not once
// for each chosen event.
func TestManyEvents(t *testing.T) {
	const n = 200_000
	p := &paths{chosen: source{name: "a"}, sources: make([]source, 1), steps: 10, within: 1 << 40, collapse: true, every: true, top: 3}
	v := newVisitor(p, nil)
	v.trie = newTrie()
	var acts []act
	for i := range int64(n) {
		acts = append(acts, act{i, 0, "a"}, act{i, 1, "a"})
	}
	counted(v, append(acts, act{n, 0, "b"}))
	total, err := merge(t.Context(), p, nil, []*visitor{v})
	if err != nil {
		t.Fatal(err)
	}
	if rows := newTables(p, total).tree.Rows; len(rows) != 3 || rows[1].Cells[0] != "a>b" || rows[1].Values[3].Ordered() != n {
		t.Errorf("%v", rows)
	}
}

// TestTooManyLabels: a property that names single things is refused.
func TestTooManyLabels(t *testing.T) {
	p := &paths{chosen: source{name: "a", property: &schema.Attribute{Name: "n", Kind: schema.Int}}}
	v := newVisitor(p, nil)
	v.labels.texts = append(v.labels.texts, make([]string, MaxLabels-len(v.labels.texts))...)
	for n, fits := range []bool{true, false} {
		label, err := v.label(&v.callers[0], int64(n)-1)
		if fits && (label != MaxLabels || err != nil) || !fits && !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
			t.Errorf("value %d: %d, %v", n, label, err)
		}
	}
}
