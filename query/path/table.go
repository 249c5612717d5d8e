package path

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// tables are the report's tables, and what paths the rows are about.
type tables struct {
	*paths
	*counts
	tree, flow query.ReportTable
	matches    []func(path []uint32) bool // by row of the tree, then of the flow
	under      map[uint32][]uint32        // by node: those shown that go on from it, in order
	levels     [][]uint32                 // by step: the labels shown in the flow, in order
}

func newTables(p *paths, total *counts) *tables {
	t := &tables{paths: p, counts: total, tree: tree, flow: flow, under: map[uint32][]uint32{}}
	if p.every {
		t.tree.Columns, t.flow.Columns = slices.Clone(tree.Columns), slices.Clone(flow.Columns)
		t.tree.Columns[3].Name, t.flow.Columns[3].Name = "paths", "paths"
	}
	t.show()
	t.growTree(0, nil, quoted(p.chosen.name), p.chosen.name)
	t.level()
	t.flows()
	return t
}

// best keeps the first few of an order.
type best struct {
	most   int
	before func(a, b uint32) int
	list   []uint32
}

func (b *best) add(x uint32) {
	if len(b.list) == b.most && b.before(b.list[b.most-1], x) <= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(b.list, x, b.before)
	if b.list = slices.Insert(b.list, at, x); len(b.list) > b.most {
		b.list = b.list[:b.most]
	}
}

// show chooses the beginnings of each length that are shown.
func (t *tables) show() {
	rank := map[uint32]int{0: 0} // of those that are shown and one step shorter
	for step := 1; step <= t.steps; step++ {
		top := best{most: t.top, before: func(a, b uint32) int {
			x, y := &t.nodes[a], &t.nodes[b]
			return cmp.Or(cmp.Compare(t.n[b], t.n[a]), cmp.Compare(rank[x.parent], rank[y.parent]), t.labels.compare(x.label, y.label))
		}}
		for i, n := range t.nodes {
			if t.length[i] != uint8(step) {
				continue
			}
			if _, ok := rank[n.parent]; ok {
				top.add(uint32(i))
			}
		}
		clear(rank)
		for i, at := range top.list {
			rank[at] = i
			parent := t.nodes[at].parent
			t.under[parent] = append(t.under[parent], at)
		}
	}
}

// growTree adds the rows of a beginning and of what it goes on with. cell is its name, text its
// last label.
func (t *tables) growTree(at uint32, prefix []uint32, cell, text string) {
	begins := func(path []uint32) bool {
		return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
	}
	t.addTree(at, len(prefix), cell, text, t.n[at], begins)
	rest := t.n[at] - t.nodes[at].ends
	var shown []uint32
	for _, next := range t.under[at] {
		label := t.nodes[next].label
		t.growTree(next, append(slices.Clone(prefix), label), cell+">"+t.labels.quoted(label), t.labels.texts[label])
		shown, rest = append(shown, label), rest-t.n[next]
	}
	if rest > 0 {
		t.addTree(at, len(prefix)+1, cell+">"+otherText, otherText, rest, func(path []uint32) bool {
			return begins(path) && len(path) > len(prefix) && !slices.Contains(shown, path[len(prefix)])
		})
	}
	if ends := t.nodes[at].ends; ends > 0 && len(prefix) < t.steps {
		t.addTree(at, len(prefix)+1, cell+">"+endText, endText, ends, func(path []uint32) bool {
			return begins(path) && len(path) == len(prefix)
		})
	}
}

// addTree adds a row to the tree: of n paths that begin with a node, be it all.
func (t *tables) addTree(at uint32, step int, cell, text string, n uint64, match func(path []uint32) bool) {
	before := schema.Value{}
	if int(t.length[at]) < step {
		before = query.Share(n, t.n[at])
	} else if step > 0 {
		before = query.Share(n, t.n[t.nodes[at].parent])
	}
	t.matches = append(t.matches, match)
	t.tree.Rows = append(t.tree.Rows, query.ReportRow{Cells: []string{cell}, Values: []schema.Value{
		schema.IntValue(int64(step)), schema.StringValue(cell), schema.StringValue(text), schema.IntValue(int64(n)), query.Share(n, t.n[0]), before}})
}

// level chooses the labels of each step that are shown in the flow.
func (t *tables) level() {
	n := make([]uint64, len(t.labels.texts))
	for step := 1; step <= t.steps; step++ {
		clear(n)
		for i, x := range t.nodes {
			if t.length[i] == uint8(step) {
				n[x.label] += t.n[i]
			}
		}
		top := best{most: t.top, before: func(a, b uint32) int {
			return cmp.Or(cmp.Compare(n[b], n[a]), t.labels.compare(a, b))
		}}
		for label, count := range n {
			if count > 0 {
				top.add(uint32(label))
			}
		}
		t.levels = append(t.levels, top.list)
	}
}

// class returns the place among those shown that a step of a path has in the flow: behind them
// are the others, then the end.
func (t *tables) class(path []uint32, step int) int {
	switch {
	case step == 0:
		return 0
	case step > len(path):
		return len(t.levels[step-1]) + 1
	}
	if at := slices.Index(t.levels[step-1], path[step-1]); at >= 0 {
		return at
	}
	return len(t.levels[step-1])
}

// classText returns what a place is called, and how it is called in a cell.
func (t *tables) classText(step, class int) (text, cell string) {
	if step == 0 {
		return t.chosen.name, quoted(t.chosen.name)
	}
	switch shown := t.levels[step-1]; class - len(shown) {
	case 0:
		return otherText, otherText
	case 1:
		return endText, endText
	default:
		return t.labels.texts[shown[class]], t.labels.quoted(shown[class])
	}
}

// flows adds the rows of the flow.
func (t *tables) flows() {
	places := make([]map[uint32]int, t.steps+1) // by step, of the labels that are shown
	sums := make([][][]uint64, t.steps)         // by step, place and place of the next one
	for step := range places {
		if places[step] = map[uint32]int{0: 0}; step == 0 {
			continue
		}
		clear(places[step])
		for at, label := range t.levels[step-1] {
			places[step][label] = at
		}
	}
	place := func(step int, label uint32) int {
		if at, ok := places[step][label]; ok {
			return at
		}
		return len(t.levels[step-1])
	}
	for step := range sums {
		size := 1
		if step > 0 {
			size = len(t.levels[step-1]) + 1
		}
		for range size {
			sums[step] = append(sums[step], make([]uint64, len(t.levels[step])+2))
		}
	}
	for i, n := range t.nodes {
		step := int(t.length[i])
		from := place(step, n.label)
		if step < t.steps {
			sums[step][from][len(t.levels[step])+1] += n.ends
		}
		if i > 0 {
			parent := t.nodes[n.parent]
			sums[step-1][place(step-1, parent.label)][from] += t.n[i]
		}
	}
	for step, from := range sums {
		for a, to := range from {
			t.addFlow(step, a, to)
		}
	}
}

// addFlow adds the rows of what goes on from a place.
func (t *tables) addFlow(step, from int, to []uint64) {
	all := uint64(0)
	for _, n := range to {
		all += n
	}
	text, cell := t.classText(step, from)
	for class, n := range to {
		if n == 0 {
			continue
		}
		next, name := t.classText(step+1, class)
		name = strconv.Itoa(step) + ":" + cell + ">" + name
		t.matches = append(t.matches, func(path []uint32) bool {
			return step <= len(path) && t.class(path, step) == from && t.class(path, step+1) == class
		})
		t.flow.Rows = append(t.flow.Rows, query.ReportRow{Cells: []string{name}, Values: []schema.Value{
			schema.IntValue(int64(step)), schema.StringValue(text), schema.StringValue(next), schema.IntValue(int64(n)), query.Share(n, all)}})
	}
}

// wanted returns what paths the people of a cell have.
func (t *tables) wanted(cell string) (func(path []uint32) bool, error) {
	for i, row := range slices.Concat(t.tree.Rows, t.flow.Rows) {
		if row.Cells[0] == cell {
			return t.matches[i], nil
		}
	}
	such := t.tree.Rows[min(1, len(t.tree.Rows)-1)].Cells[0]
	return nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("these paths have no cell %q", cell), Hint: "such as " + strconv.Quote(such)}
}
