package engine_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// laws holds answers against each other: laws that are true whatever the data are.
type laws struct {
	*testing.T
	*writer
	refused int
}

// TestLaws asks random segments of four stores: three with the same people, by different
// histories, and one in which the living were written in another order, in small batches.
func TestLaws(t *testing.T) {
	wholeOnly(t)
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := drawPeople(seed, 1<<20-66_000, 70_000)
	segments := map[string]string{"seg a": `has(p.age) && age > 3`, "seg b": `in_segment("seg a") || opt_in`, "seg c": `!in_segment("seg b")`}
	var stores []*store
	for k := range 3 {
		stores = append(stores, newStore(t, p, k, segments))
	}
	other := newStore(t, p.reordered(), 1, segments)
	for _, s := range append(stores, other) {
		defer func() { _ = s.Close() }()
	}
	l := &laws{T: t, writer: &writer{people: p}}
	cat := stores[0].catalog()
	var texts []string
	rounds := 8
	if os.Getenv("KANTA_LONG") != "" {
		rounds = 200
	}
	for range rounds {
		a, b := l.text(cat), l.text(cat)
		texts = append(texts, a)
		s := stores[l.IntN(3)]
		l.sets(s, a, b)
		l.listings(s, a)
		l.breakdowns(s, a)
		l.same(a, stores, other)
	}
	before := l.all(stores[0].snapshot(), texts)
	stores[0].reopen()
	l.equal("reopened", before, l.all(stores[0].snapshot(), texts))
	if err := stores[0].Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.equal("compacted", before, l.all(stores[0].snapshot(), texts))
	l.held(stores[0], texts)
}

// text writes an expression that compiles.
func (l *laws) text(cat *catalog) string {
	for {
		x := l.logic(l.IntN(3))
		if _, err := syntax.Compile(x.text, cat, query.Env{Now: oracleClock()}); err == nil && !strings.Contains(x.text, ".contains(p") {
			return x.text
		}
		l.refused++
	}
}

func (s *store) snapshot() query.Snapshot {
	s.t.Helper()
	n, err := s.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = n.Close() })
	return n
}

// numbers are the counts of a question.
type numbers struct{ yes, unknown uint64 }

func (l *laws) count(a query.Snapshot, text string) numbers {
	l.Helper()
	c, err := a.Count(l.Context(), text, nil)
	if err != nil {
		l.Fatalf("%s: %v", text, err)
	}
	return numbers{c.Count, c.Unknown}
}

func (l *laws) all(a query.Snapshot, texts []string) []numbers {
	l.Helper()
	var out []numbers
	for _, x := range texts {
		out = append(out, l.count(a, x))
	}
	return out
}

func (l *laws) equal(what string, want, got []numbers) {
	l.Helper()
	if !slices.Equal(want, got) {
		l.Fatalf("%s: the answers are %v, were %v", what, got, want)
	}
}

// sets: true, false and unknown are everybody; and narrows, or widens, and together they
// count nobody twice; the empty and the whole change nothing.
func (l *laws) sets(s *store, a, b string) {
	l.Helper()
	n := s.snapshot()
	A, B := l.count(n, a), l.count(n, b)
	if no := l.count(n, "!("+a+")"); A.yes+no.yes+A.unknown != uint64(l.living) || no.unknown != A.unknown {
		l.Fatalf("%s: true %d, false %d, unknown %d and %d, of %d people", a, A.yes, no.yes, A.unknown, no.unknown, l.living)
	}
	and, or := l.count(n, "("+a+") && ("+b+")"), l.count(n, "("+a+") || ("+b+")")
	if and.yes > A.yes || and.yes > B.yes || or.yes < A.yes || and.yes+or.yes != A.yes+B.yes {
		l.Fatalf("%s: %d\n%s: %d\nboth: %d, one of them: %d", a, A.yes, b, B.yes, and.yes, or.yes)
	}
	for _, same := range []string{"(%s) && true", "(%s) || false", "!(!(%s))", "(%[1]s) && (%[1]s)", "(%[1]s) || (%[1]s)"} {
		if x := fmt.Sprintf(same, a); l.count(n, x) != A {
			l.Fatalf("%s counts %v, %s %v", a, A, x, l.count(n, x))
		}
	}
	if x := "!(" + a + ") || !(" + b + ")"; l.count(n, x) != l.count(n, "!(("+a+") && ("+b+"))") {
		l.Fatalf("De Morgan: %s", x)
	}
}

// listings: as many members as counted, in order, and the same page by page.
func (l *laws) listings(s *store, a string) {
	l.Helper()
	n := s.snapshot()
	want := l.count(n, a)
	bits, err := n.Bitmap(l.Context(), a, nil)
	if err != nil || bits.Ordinals.GetCardinality() != want.yes {
		l.Fatalf("%s: %d ordinals, %v; counted %d", a, bits.Ordinals.GetCardinality(), err, want.yes)
	}
	all := l.list(n, a, &query.MembersOptions{})
	if uint64(len(all)) != want.yes || !slices.IsSortedFunc(all, func(x, y query.Member) int { return cmp.Compare(x.Ordinal, y.Ordinal) }) {
		l.Fatalf("%s: %d members (in order of ordinal?), counted %d", a, len(all), want.yes)
	}
	for _, m := range all {
		if i := int(m.Ordinal) - l.first; m.Key != l.keys[i] || l.dead[i] {
			l.Fatalf("%s: ordinal %d has the key %s, want %s; dead: %v", a, m.Ordinal, m.Key, l.keys[i], l.dead[i])
		}
	}
	f := l.facts[l.IntN(len(l.facts))]
	if f.Kind == schema.Set {
		return
	}
	o := query.MembersOptions{OrderBy: f.Name, Desc: l.IntN(2) == 0, Attributes: []string{f.Name}}
	ordered := l.list(n, a, &o)
	if len(ordered) != len(all) || !slices.IsSortedFunc(ordered, func(x, y query.Member) int { return order(x, y, o.Desc) }) {
		l.Fatalf("%s by %s: %d of %d members, not in order", a, f.Name, len(ordered), len(all))
	}
	for _, m := range ordered {
		if v := f.value(int(m.Ordinal) - l.first); !m.Values[0].Equal(v) {
			l.Fatalf("%s: %s of %s is %v, want %v", a, f.Name, m.Key, m.Values[0], v)
		}
	}
	if o.Limit = 1 + l.IntN(400); len(ordered) > 10*o.Limit {
		ordered = ordered[:10*o.Limit]
	}
	for len(ordered) > 0 {
		m, err := n.Members(l.Context(), a, &o)
		if err != nil {
			l.Fatal(err)
		}
		for x, err := range m.Rows {
			if err != nil || x.Ordinal != ordered[0].Ordinal {
				l.Fatalf("%s by %s: a page has %d, %v; want %d", a, f.Name, x.Ordinal, err, ordered[0].Ordinal)
			}
			ordered = ordered[1:]
		}
		if o.After = m.Next(); o.After == "" && len(ordered) > 0 {
			l.Fatalf("%s by %s: pages end %d members early", a, f.Name, len(ordered))
		}
	}
}

func (l *laws) list(n query.Snapshot, a string, o *query.MembersOptions) []query.Member {
	l.Helper()
	m, err := n.Members(l.Context(), a, o)
	if err != nil {
		l.Fatal(err)
	}
	var out []query.Member
	for x, err := range m.Rows {
		if err != nil {
			l.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// order compares members by their first value; absent ones come last, equal ones by ordinal.
func order(x, y query.Member, desc bool) int {
	v, w := x.Values[0], y.Values[0]
	c := 0
	switch {
	case v.IsAbsent() != w.IsAbsent():
		if v.IsAbsent() {
			return 1
		}
		return -1
	case v.Kind() == schema.String:
		c = strings.Compare(v.Str(), w.Str())
	default:
		c = cmp.Compare(v.Ordered(), w.Ordered())
	}
	if desc {
		c = -c
	}
	return cmp.Or(c, cmp.Compare(x.Ordinal, y.Ordinal))
}

// breakdowns: the values of a scalar share the members out; each row is the count of the
// segment narrowed to the value.
func (l *laws) breakdowns(s *store, a string) {
	l.Helper()
	n, f := s.snapshot(), l.facts[l.IntN(len(l.facts))]
	want := l.count(n, a)
	top := 1 + l.IntN(30)
	b, err := n.Breakdown(l.Context(), a, f.Name, &query.BreakdownOptions{Top: top})
	if err != nil {
		l.Fatal(err)
	}
	sum, none := b.Other, uint64(0)
	for _, r := range b.Rows {
		sum += r.Count
		if r.Value.IsAbsent() {
			none = r.Count
		}
	}
	scalar := f.Kind != schema.Set
	if b.People != want.yes || b.Unknown != want.unknown || len(b.Rows) > top || scalar && (sum != b.People || b.Memberships != 0) {
		l.Fatalf("%s by %s: %d people, %d unknown, rows add up to %d; counted %v", a, f.Name, b.People, b.Unknown, sum, want)
	}
	if full := b.OtherValues == 0; !scalar && full && (sum != b.Memberships+none || b.People < none) {
		l.Fatalf("%s by %s: %d memberships, %d with none, rows add up to %d", a, f.Name, b.Memberships, none, sum)
	}
	for _, r := range b.Rows[:min(3, len(b.Rows))] {
		narrowed := fmt.Sprintf("(%s) && !has(%s)", a, f.ref)
		switch {
		case r.Value.IsAbsent():
		case !scalar:
			narrowed = fmt.Sprintf("(%s) && %q in %s", a, r.Value, f.ref)
		case f.Kind == schema.Date:
			narrowed = fmt.Sprintf("(%s) && %s == date(%q)", a, f.ref, r.Value)
		case f.Kind == schema.Timestamp:
			narrowed = fmt.Sprintf("(%s) && %s == timestamp(%q)", a, f.ref, r.Value)
		case f.Kind == schema.String:
			narrowed = fmt.Sprintf("(%s) && %s == %q", a, f.ref, r.Value)
		case f.Kind == schema.Float:
			narrowed = fmt.Sprintf("(%s) && %s == %s", a, f.ref, floatText(r.Value.Float()))
		default:
			narrowed = fmt.Sprintf("(%s) && %s == %s", a, f.ref, r.Value)
		}
		if c := l.count(n, narrowed); c.yes != r.Count {
			l.Fatalf("%s by %s: %q has %d, but %s counts %d", a, f.Name, r.Value, r.Count, narrowed, c.yes)
		}
	}
}

// same: the history of the writes changes nothing, nor does their order.
func (l *laws) same(a string, stores []*store, other *store) {
	l.Helper()
	want := l.count(stores[0].snapshot(), a)
	f := l.facts[l.IntN(len(l.facts))].Name
	b, err := stores[0].Breakdown(l.Context(), a, f, nil)
	if err != nil {
		l.Fatal(err)
	}
	for _, s := range []*store{stores[1], stores[2], other} {
		if got := l.count(s.snapshot(), a); got != want {
			l.Fatalf("%s: %v in one store, %v in another", a, want, got)
		}
		got, err := s.Breakdown(l.Context(), a, f, nil)
		if err != nil || !slices.EqualFunc(b.Rows, got.Rows, func(x, y query.BreakdownRow) bool { return x.Count == y.Count && x.Value.Equal(y.Value) }) ||
			b.Memberships != got.Memberships || b.Other != got.Other {
			l.Fatalf("%s by %s: %v in one store, %v in another: %v", a, f, b, got, err)
		}
	}
}

// held: a snapshot answers as before, whatever is written meanwhile.
func (l *laws) held(s *store, texts []string) {
	l.Helper()
	n := s.snapshot()
	before := l.all(n, texts)
	listed := l.list(n, texts[0], &query.MembersOptions{})
	var gone []string
	for i, k := range l.keys {
		switch {
		case l.dead[i] || i%7 != 0:
		case i%3 == 0:
			gone = append(gone, k)
		default:
			row := s.batch.Upsert(k)
			for _, f := range l.facts {
				row.Set(f.Name, f.values[l.IntN(len(f.values))])
			}
			if s.batch.RawSize() > 300<<10 {
				s.apply()
			}
		}
	}
	s.batch.Delete(gone...)
	s.apply()
	l.equal("from the snapshot", before, l.all(n, texts))
	if after := l.all(s.snapshot(), texts); slices.Equal(before, after) {
		l.Fatalf("a seventh of the people changed, and nothing else: %v", after)
	}
	if err := s.Compact(l.Context()); err != nil {
		l.Fatal(err)
	}
	l.equal("from the snapshot, compacted", before, l.all(n, texts))
	again := l.list(n, texts[0], &query.MembersOptions{})
	if !slices.EqualFunc(listed, again, func(x, y query.Member) bool { return x.Key == y.Key && x.Ordinal == y.Ordinal }) {
		l.Fatalf("%s: the snapshot lists %d members, then %d", texts[0], len(listed), len(again))
	}
}

// reordered returns the living in another order.
func (p *people) reordered() *people {
	q := *p
	var at []int
	for i := range p.n {
		if !p.dead[i] {
			at = append(at, i)
		}
	}
	p.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
	q.n, q.living, q.reborn, q.gone, q.late = len(at), len(at), 0, nil, nil
	q.dead, q.early, q.keys = make([]bool, len(at)), make([]bool, len(at)), nil
	permute := func(facts []*fact) (out []*fact) {
		for _, f := range facts {
			g := *f
			g.ids = nil
			for _, i := range at {
				g.ids = append(g.ids, f.ids[i])
			}
			out = append(out, &g)
		}
		return out
	}
	q.facts, q.lists = permute(p.facts), permute(p.lists)
	for _, i := range at {
		q.keys = append(q.keys, p.keys[i])
	}
	return &q
}
