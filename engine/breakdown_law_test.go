package engine

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestBreakdownLaw asks for breakdowns of random people, and makes them of a listing of the
// same people, row by row.
func TestBreakdownLaw(t *testing.T) {
	t.Parallel()
	m := newLawPeople(t, 31, 0)
	defer func() { _ = m.db.Close() }()
	steps, rows := 80, 0
	if testing.Short() {
		steps = 20
	}
	for step := range steps {
		m.change(fmt.Sprint("step ", step))
		rows += m.breakdown(fmt.Sprint("step ", step))
	}
	if t.Logf("%d rows", rows); rows < 5*steps {
		t.Errorf("only %d rows", rows)
	}
}

// lawGroup is what a loop makes of a group.
type lawGroup struct {
	keys []string
	n    int64
	sum  *big.Rat
}

func (m lawPeople) breakdown(name string) int {
	m.t.Helper()
	by := []string{"country", "member", "likes", "email", "age", "spent", "score", "born", "seen", "buy.count()", `member ? "yes" : "no"`, "age * 2", "buy.last().item", "wide < 0"}
	m.r.Shuffle(len(by), func(i, j int) { by[i], by[j] = by[j], by[i] })
	args := query.Arguments{"by": by[:1+m.r.IntN(3)], "top": {strconv.Itoa(1 + m.r.IntN(6))}}
	of := pickOne(m.actModel, "", "age", "wide", "spent", "score", "buy.sum(e, e.amount)", "buy.count()", "spent * 2", "score * 0.5", "member ? 1 : 2")
	if of != "" {
		args["of"] = []string{of}
	}
	who := m.who()
	what := fmt.Sprintf("%s: breakdown %q %v", name, who, args)
	r, err := m.db.Analyze(m.t.Context(), "breakdown", who, args, &query.Options{Parallelism: 1 + m.r.IntN(3)})
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	people, top := m.listed(who, args["by"], of), 0
	if top, err = strconv.Atoi(args.One("top")); err != nil {
		m.t.Fatal(err)
	}
	want, all := groupsOf(people, len(args["by"]), top), int64(0)
	rows := r.Tables[0].Rows
	for _, row := range rows[:len(rows)-1] {
		g := want[row.Cells[0]]
		if g == nil {
			m.t.Fatalf("%s: there is no group %q", what, row.Cells[0])
		}
		delete(want, row.Cells[0])
		all += row.Values[len(args["by"])].Ordered()
		m.sameGroup(what, row.Values[len(args["by"]):], g)
		if got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "breakdown", who, args, row.Cells[0], nil)); !slices.Equal(got, g.keys) {
			m.t.Fatalf("%s: cell %s is %q, want %q", what, row.Cells[0], got, g.keys)
		}
	}
	if len(want) > 0 {
		m.t.Fatalf("%s: these have no row: %v", what, want)
	}
	whole := rows[len(rows)-1].Values[len(args["by"])].Ordered()
	if sets := slices.Contains(args["by"], "likes"); whole != int64(len(people)) || !sets && all != whole || sets && all < whole {
		m.t.Fatalf("%s: %d people in rows, %d in all, want %d", what, all, whole, len(people))
	}
	if len(args["by"]) == 1 {
		m.sameBreakdown(what, who, args, rows)
	}
	return len(rows)
}

// listed lists people with what they are broken down by, and what is added up.
func (m lawPeople) listed(who string, by []string, of string) (people []query.Member) {
	m.t.Helper()
	o := query.MembersOptions{}
	for i, text := range append(slices.Clone(by), of) {
		if text != "" && !slices.ContainsFunc(lawAttributes(), func(a schema.Attribute) bool { return a.Name == text }) {
			m.define(fmt.Sprint("law", i), text)
			text = fmt.Sprint("law", i)
		}
		if text != "" {
			o.Attributes = append(o.Attributes, text)
		}
	}
	members, err := m.db.Members(m.t.Context(), who, &o)
	if err != nil {
		m.t.Fatal(err)
	}
	for p, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		people = append(people, p)
	}
	return people
}

// countedValues returns the values that a person counts for.
func countedValues(v schema.Value) []schema.Value {
	if v.Kind() != schema.Set {
		return []schema.Value{v}
	}
	if len(v.Elements()) == 0 {
		return []schema.Value{{}}
	}
	var out []schema.Value
	for _, e := range v.Elements() {
		out = append(out, schema.StringValue(e))
	}
	return out
}

// groupsOf makes groups of people, by their cells.
func groupsOf(people []query.Member, by, top int) map[string]*lawGroup {
	names := make([]map[string]string, by) // of each value
	for i := range by {
		counts, values := map[string]int{}, []schema.Value{}
		for _, p := range people {
			for _, v := range countedValues(p.Values[i]) {
				if counts[v.String()]++; counts[v.String()] == 1 && !v.IsAbsent() {
					values = append(values, v)
				}
			}
		}
		slices.SortFunc(values, func(a, b schema.Value) int {
			return cmp.Or(counts[b.String()]-counts[a.String()], cmp.Compare(a.Ordered(), b.Ordered()), cmp.Compare(a.Str(), b.Str()))
		})
		names[i] = map[string]string{}
		for _, v := range values[:min(top, len(values))] {
			names[i][v.String()] = v.String()
			if text := v.String(); strings.HasPrefix(text, "(") || strings.ContainsAny(text, `"|`) {
				names[i][text] = strconv.Quote(text)
			}
		}
	}
	out := map[string]*lawGroup{}
	for _, p := range people {
		cells := []string{""}
		for i := range by {
			var longer []string
			for _, v := range countedValues(p.Values[i]) {
				text, ok := names[i][v.String()]
				if v.IsAbsent() {
					text = "(none)"
				} else if !ok {
					text = "(other)"
				}
				for _, cell := range cells {
					longer = append(longer, cell+"|"+text)
				}
			}
			cells = longer
		}
		slices.Sort(cells)
		for _, cell := range slices.Compact(cells) {
			g := out[cell[1:]]
			if g == nil {
				g = &lawGroup{sum: new(big.Rat)}
				out[cell[1:]] = g
			}
			g.add(&p, by)
		}
	}
	return out
}

func (g *lawGroup) add(p *query.Member, by int) {
	g.keys = append(g.keys, p.Key)
	if len(p.Values) == by || p.Values[by].IsAbsent() {
		return
	}
	g.n++
	if v := p.Values[by]; v.Kind() == schema.Float {
		g.sum.Add(g.sum, new(big.Rat).SetFloat64(v.Float()))
	} else {
		x, _ := new(big.Rat).SetString(v.String())
		g.sum.Add(g.sum, x)
	}
}

// sameGroup compares the numbers of a row.
func (m lawPeople) sameGroup(what string, got []schema.Value, want *lawGroup) {
	m.t.Helper()
	if got[0].Ordered() != int64(len(want.keys)) {
		m.t.Fatalf("%s: %v people, want %q", what, got[0], want.keys)
	}
	if len(got) == 2 {
		return
	}
	sum, _ := want.sum.Float64()
	exact, ok := new(big.Rat).SetString(got[2].String())
	if same := got[2].Kind() == schema.Float && got[2].Float() == sum || ok && exact.Cmp(want.sum) == 0; !same {
		m.t.Fatalf("%s: of %q the sum is %v, want %v", what, want.keys, got[2], want.sum)
	}
	if got[3].IsAbsent() != (want.n == 0) || want.n > 0 && got[3].Float() != sum/float64(want.n) {
		m.t.Fatalf("%s: of %q the average is %v, want %v / %d", what, want.keys, got[3], want.sum, want.n)
	}
}

// sameBreakdown compares with the call that does one attribute.
func (m lawPeople) sameBreakdown(what, who string, args query.Arguments, rows []query.ReportRow) {
	m.t.Helper()
	by := args.One("by")
	if !slices.ContainsFunc(lawAttributes(), func(a schema.Attribute) bool { return a.Name == by }) {
		by = "law0"
	}
	b, err := m.db.Breakdown(m.t.Context(), who, by, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, row := range b.Rows {
		counts[row.Value.String()] = int64(row.Count)
	}
	for _, row := range rows[:len(rows)-1] {
		text := row.Values[0].Str()
		if cell := row.Cells[0]; cell == "(other)" {
			continue
		} else if cell == "(none)" {
			text = ""
		}
		if counts[text] != row.Values[1].Ordered() {
			m.t.Fatalf("%s: %v, and %d in a breakdown by %s", what, row.Values, counts[text], by)
		}
	}
}

// breakdownChunks breaks people of several chunks down, and compares with a loop over all.
func (m lawPeople) breakdownChunks() {
	m.t.Helper()
	for _, args := range []query.Arguments{
		{"by": {"country", "likes"}, "of": {"wide"}},
		{"by": {"country", "age"}, "of": {"wide"}, "top": {"40"}},
		{"by": {"wide % 7"}, "of": {"age * 0.25"}},
	}[:Rounds(3, 1)] {
		r, err := m.db.Analyze(m.t.Context(), "breakdown", "age < 60", args, &query.Options{Parallelism: 3})
		if err != nil {
			m.t.Fatal(err)
		}
		var people []query.Member
		for i := range chunkPeople() {
			if chunkAge(i) >= 60 {
				continue
			}
			country, likes := schema.StringValue(chunkCountry(i)), schema.SetValue([]string{"cake", "tea"}[1-i%4/2:]...)
			if chunkCountry(i) == "" {
				country = schema.Value{}
			}
			if i%2 == 1 {
				likes = schema.SetValue()
			}
			wide := schema.IntValue(chunkWide(i))
			people = append(people, query.Member{Values: [][]schema.Value{{country, likes, wide}, {country, schema.IntValue(chunkAge(i)), wide},
				{schema.IntValue(chunkWide(i) % 7), schema.FloatValue(float64(chunkAge(i)) / 4)}}[len(args["top"])+2*(2-len(args["by"]))]})
		}
		top, _ := strconv.Atoi(cmp.Or(args.One("top"), "1000"))
		want := groupsOf(people, len(args["by"]), top)
		rows := r.Tables[0].Rows
		if len(rows) != len(want)+1 {
			m.t.Fatalf("%v: %d rows, want %d", args, len(rows), len(want))
		}
		for _, row := range rows[:len(rows)-1] {
			if want[row.Cells[0]] == nil {
				m.t.Fatalf("%v: there is no group %s", args, row.Cells[0])
			}
			m.sameGroup(fmt.Sprint(args), row.Values[len(args["by"]):], want[row.Cells[0]])
		}
	}
}
