package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestSharedLaw: under a random policy a shared segment is for whoever the policy lets exist
// what it is in a store that was sent these people only, with all their names; nothing that is
// answered names what is hidden.
func TestSharedLaw(t *testing.T) {
	notRaced(t)
	const seed = 9
	t.Logf("seed %d", seed)
	met := sharedMet{}
	for k := range 2 {
		s := newPolicyStory(&actModel{t: t, r: rand.New(rand.NewPCG(seed, uint64(k))), fs: vfs.NewMem()})
		texts := s.texts()
		for i := range 6 {
			l := &sharedLaw{policyLaw: policyLaw{policyStory: s, step: fmt.Sprintf("story %d, policy %d", k, i)}, seen: &met}
			l.drawPolicy(texts)
			if i%2 == 0 {
				l.policy.Rules = nil
				l.checkClasses()
			}
			l.drawRows()
			l.share(texts)
			l.run(texts)
		}
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%+v", met)
	if met.opaque < 10 || met.open < 10 || met.answers < 200 || met.unknown < 20 || met.past < 50 || met.hiddenSegments < 10 {
		t.Errorf("too little was met: %+v", met)
	}
}

// sharedMet is what was met on the way.
type sharedMet struct{ opaque, open, answers, unknown, past, hiddenSegments int }

type sharedLaw struct {
	policyLaw
	seen  *sharedMet
	names []string // of the opaque segments
}

// share marks some of the segments as shared, and the others as not.
func (l *sharedLaw) share(texts []policyText) {
	l.t.Helper()
	for _, x := range texts {
		if x.kind != "segment" {
			continue
		}
		shared := l.r.IntN(2) == 0
		if !l.try(l.db, func(b *batch.Builder) {
			b.SaveSegment(x.name, x.text)
			if shared {
				b.ShareSegment(x.name)
			}
		}) {
			l.t.Fatalf("%s: %+v cannot be saved again", l.step, x)
		}
	}
}

// snapshot takes one under the policy.
func (l *sharedLaw) snapshot() query.Snapshot {
	l.t.Helper()
	n, err := l.db.SnapshotWith(l.t.Context(), &query.SnapshotOptions{Policy: &l.policy})
	if err != nil {
		l.t.Fatalf("%s: %+v: %v", l.step, l.policy, err)
	}
	return n
}

func (l *sharedLaw) segments(of query.Asker) []query.SavedSegment {
	l.t.Helper()
	all, err := of.Segments(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// checkClasses: without rules a segment that nobody shares is there if and only if all the
// classes that it is said to be of are visible.
func (l *sharedLaw) checkClasses() {
	l.t.Helper()
	l.policy.Classes[schema.ClassNone] = query.Visible // it is in no list of classes
	for _, s := range l.segments(l.db) {
		if s.Shared {
			l.try(l.db, func(b *batch.Builder) { b.SaveSegment(s.Name, s.Text) })
		}
	}
	n := l.snapshot()
	defer func() { _ = n.Close() }()
	there := l.segments(n)
	for _, s := range l.segments(l.db) {
		visible := !s.PII || l.policy.PII == query.Visible
		for _, c := range s.Classes {
			visible = visible && l.policy.Classes[c] == query.Visible
		}
		if visible != slices.ContainsFunc(there, func(x query.SavedSegment) bool { return x.Name == s.Name }) {
			l.t.Fatalf("%s: %+v: %+v: it should be visible: %v", l.step, l.policy, s, visible)
		}
		if !visible {
			l.seen.hiddenSegments++
		}
	}
}

func (l *sharedLaw) run(texts []policyText) {
	l.t.Helper()
	plain := l.plain(l.r, texts, func(kind, name, _ string) bool { return kind != "person" || l.rows[name] })
	defer func() { _ = plain.Close() }()
	n := l.snapshot()
	defer func() { _ = n.Close() }()
	whole := map[string]query.SavedSegment{}
	for _, s := range l.segments(l.db) {
		whole[s.Name] = s
	}
	for _, s := range l.segments(n) {
		w := whole[s.Name]
		if s.Withheld && !s.Shared || s.Shared != w.Shared || s.Withheld != (s.Text == "") || !s.Withheld && s.Text != w.Text || !reflect.DeepEqual(s.Classes, w.Classes) || s.PII != w.PII {
			l.t.Fatalf("%s: %+v is listed, it is %+v", l.step, s, w)
		}
		if s.Withheld {
			l.names = append(l.names, s.Name)
			l.seen.opaque++
		} else {
			l.seen.open++
		}
	}
	if len(l.names) == 0 {
		return
	}
	for range 40 {
		l.compare(n, plain)
	}
	for range 10 {
		l.compareProfiles(n, plain)
	}
}

// expression makes one that names what is shared.
func (l *sharedLaw) expression() string {
	in := fmt.Sprintf("in_segment(%q)", pickOne(l.actModel, l.names...))
	switch l.r.IntN(6) {
	case 0:
		return in
	case 1:
		return "!" + in
	case 2:
		return fmt.Sprintf("(%s ? %s : %s)", in, l.fact(), l.condition())
	case 3:
		return fmt.Sprintf(`(%s ? "a" : "b") + "c" == "ac"`, in) // interpreted
	}
	return "(" + in + pickOne(l.actModel, " && ", " || ") + l.policyStory.expression() + ")"
}

// compare asks both who an expression is true for, and about one of them.
func (l *sharedLaw) compare(got query.Snapshot, want *DB) {
	l.t.Helper()
	ctx, expr, o := l.t.Context(), l.expression(), l.pastOptions()
	x, err := got.Count(ctx, expr, &o)
	if err != nil { // it names what is hidden, or is wrong
		l.hidesNames(err.Error(), expr)
		return
	}
	y, err := want.Count(ctx, expr, &o)
	if err != nil || x.Count != y.Count || x.Unknown != y.Unknown {
		l.t.Fatalf("%s: %+v: %s at %v: %+v, want %+v, %v", l.step, l.policy, expr, o.Now, x, y, err)
	}
	l.seen.answers++
	if x.Unknown > 0 {
		l.seen.unknown++
	}
	if !o.Now.IsZero() {
		l.seen.past++
	}
	l.hidesNames(say(x, nil), expr)
	keys := func(of query.Asker) string {
		m, err := of.Members(ctx, expr, &query.MembersOptions{Options: o})
		if err != nil {
			l.t.Fatal(err)
		}
		rows, err := listed(m)
		return fmt.Sprint(rows, err)
	}
	if x, y := keys(got), keys(want); x != y {
		l.t.Fatalf("%s: %+v: %s at %v: members %s, want %s", l.step, l.policy, expr, o.Now, x, y)
	}
	l.compareWhy(got, want, expr, o)
	if l.policy.Rows == "" {
		p, err := got.Plan(ctx, expr, &o)
		if err != nil || p.Count != x.Count {
			l.t.Fatalf("%s: %s: the plan counts %d, not %d: %v", l.step, expr, p.Count, x.Count, err)
		}
		l.hidesNames(say(p, nil), expr)
	}
}

func (l *sharedLaw) compareWhy(got query.Snapshot, want *DB, expr string, o query.Options) {
	l.t.Helper()
	key := l.key()
	x, err := got.Why(l.t.Context(), key, expr, &query.WhyOptions{Options: o})
	y, err2 := want.Why(l.t.Context(), key, expr, &query.WhyOptions{Options: o})
	if (err == nil) != (err2 == nil) || err == nil && x.Root.Verdict != y.Root.Verdict {
		l.t.Fatalf("%s: %+v: why %s %s at %v: %+v %v, want %+v %v", l.step, l.policy, key, expr, o.Now, x.Root, err, y.Root, err2)
	}
	l.hidesNames(say(x, nil), expr)
}

// compareProfiles: who is in which segments.
func (l *sharedLaw) compareProfiles(got query.Snapshot, want *DB) {
	l.t.Helper()
	key, o := l.key(), l.pastOptions()
	x, err := got.Profile(l.t.Context(), key, &query.ProfileOptions{Options: o})
	y, err2 := want.Profile(l.t.Context(), key, &query.ProfileOptions{Options: o})
	if (err == nil) != (err2 == nil) {
		l.t.Fatalf("%s: profile %s: %v, want %v", l.step, key, err, err2)
	}
	known := map[string]bool{}
	for _, s := range l.segments(got) {
		known[s.Name] = true
	}
	y.Segments = slices.DeleteFunc(y.Segments, func(name string) bool { return !known[name] })
	if !slices.Equal(x.Segments, y.Segments) {
		l.t.Fatalf("%s: %+v: %s at %v is in %q, want %q", l.step, l.policy, key, o.Now, x.Segments, y.Segments)
	}
}

// hidesNames fails if a text has a name that is hidden and that was not asked with.
func (l *sharedLaw) hidesNames(text, asked string) {
	l.t.Helper()
	for what, access := range l.access {
		kind, rest, _ := strings.Cut(what, " ")
		name, _, _ := strings.Cut(rest, " ")
		if access == query.Hidden && kind == "attribute" && strings.Contains(text, name) && !strings.Contains(asked, name) {
			l.t.Fatalf("%s: %s: %q is told of: %s", l.step, asked, name, text)
		}
	}
}

// TestSharedSegments: what is told of a shared segment, and what becomes of the mark.
func TestSharedSegments(t *testing.T) {
	db := policyOfTest(t, &Options{})
	hidden := query.PolicyRule{Attribute: "age", Access: query.Hidden}
	under := func(p *query.Policy) query.Snapshot {
		t.Helper()
		n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	names := func(of query.Asker) (out []string) {
		t.Helper()
		all, err := of.Segments(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			out = append(out, fmt.Sprintf("%s=%s %v %v %v %v", s.Name, s.Text, s.Shared, s.Withheld, s.Uses, s.UsedBy))
		}
		return out
	}
	same := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	writePolicy(t, db, func(b *batch.Builder) {
		b.SaveSegment("older", `in_segment("old") && age > 5`)
		b.SaveSegment("oldest", `in_segment("older") && !has(p.plan)`)
		b.SaveSegment("free", "has(p.plan)")
	})
	rules := []query.PolicyRule{hidden}
	same(names(under(&query.Policy{Rules: rules})), "free=has(p.plan) false false [] []")
	writePolicy(t, db, func(b *batch.Builder) { b.ShareSegment("older") })
	n := under(&query.Policy{Rules: rules, Rows: `age != 7`})
	same(names(n), "free=has(p.plan) false false [] []", "older= true true [] [oldest]", `oldest=in_segment("older") && !has(p.plan) false false [older] []`)
	if c, err := n.Count(t.Context(), `in_segment("oldest")`, nil); err != nil || c.Count != 3 {
		t.Errorf("%+v %v", c, err)
	}
	if p, err := n.Profile(t.Context(), "k8", &query.ProfileOptions{Lent: true}); err != nil || fmt.Sprint(p.Segments, p.Lent) != "[older oldest] []" {
		t.Errorf("%v %v %v", p.Segments, p.Lent, err)
	}
	if s, err := n.Schema(t.Context()); err != nil || len(s.Lent) != 0 {
		t.Errorf("%+v %v", s.Lent, err)
	}
	w, err := n.Why(t.Context(), "k8", `in_segment("older") || has(p.plan)`, nil)
	if err != nil || len(w.Root.Of) != 2 || w.Root.Of[0].Text != `in_segment("older")` || w.Root.Of[0].Verdict.Truth != query.True || w.Root.Of[0].Of != nil || strings.Contains(say(w, nil), "age") {
		t.Errorf("%+v %v", w, err)
	}
	same(names(under(&query.Policy{Rules: append(rules, query.PolicyRule{Segment: "older", Access: query.Hidden})})), "free=has(p.plan) false false [] []")
	all := `old=age > 3 false false [] [older]|older=in_segment("old") && age > 5 true false [old] [oldest]`
	same(names(db), append([]string{"free=has(p.plan) false false [] []"}, append(strings.Split(all, "|"), `oldest=in_segment("older") && !has(p.plan) false false [older] []`)...)...)
	writePolicy(t, db, func(b *batch.Builder) { b.SaveSegment("older", "age > 5") })
	same(names(under(&query.Policy{Rules: rules})), "free=has(p.plan) false false [] []")
	b := batch.New()
	b.ShareSegment("nobody's")
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), raw); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Error(err)
	}
}

// TestSharedTakesMemory: of the budget, as long as the snapshot is open.
func TestSharedTakesMemory(t *testing.T) {
	db := policyOfTest(t, &Options{FirstOrdinal: 1 << 20, Clock: func() time.Time { return time.UnixMilli(100 * actDay) }}) // another instant has a column of its own
	writePolicy(t, db, func(b *batch.Builder) { b.ShareSegment("old") })
	before := db.cache.Reserved()
	n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &query.Policy{Rules: []query.PolicyRule{{Attribute: "age", Access: query.Masked}}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if c, err := n.Count(t.Context(), `in_segment("old")`, nil); err != nil || c.Count != 6 {
			t.Fatalf("%+v %v", c, err)
		}
		if got, want := db.cache.Reserved()-before, int64(17*query.LentBytes); got != want {
			t.Errorf("%d bytes of the budget, want %d", got, want)
		}
	}
	if err := n.Close(); err != nil || db.cache.Reserved() != before {
		t.Errorf("closed: %v, %d bytes", err, db.cache.Reserved()-before)
	}
}

// TestSharedGroups: a number of a shared segment is of several people, too.
func TestSharedGroups(t *testing.T) {
	db := policyOfTest(t, &Options{})
	writePolicy(t, db, func(b *batch.Builder) {
		b.SaveSegment("few", "age > 7")
		b.ShareSegment("few")
		b.ShareSegment("old")
		b.ListPut("few", "k1")
		b.ListPut("five", "k1", "k2", "k3", "k4", "k5")
		b.ListNote("five", "age is 1 to 5")
	})
	n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &query.Policy{MinGroup: 4, PII: query.Hidden, Rules: []query.PolicyRule{{Attribute: "age", Access: query.Hidden}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if c, err := n.Count(t.Context(), `in_segment("old")`, nil); err != nil || c.Count != 6 {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := n.Count(t.Context(), `in_segment("few")`, nil); !errors.Is(err, &query.Error{Code: query.CodeDenied}) {
		t.Errorf("%+v %v", c, err)
	}
	lists, err := n.Lists(t.Context())
	if err != nil || len(lists) != 2 || lists[1].People != 5 || lists[1].Withheld || lists[1].Note != "" || lists[0].People != 0 || !lists[0].Withheld {
		t.Errorf("%+v %v", lists, err)
	}
}
