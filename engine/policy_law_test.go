package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestPolicyLaw: a snapshot under a policy answers, refuses and suggests word for word what a
// store does that never got anything else. KANTA_SEED repeats a run; KANTA_LONG makes it so many
// times longer, with a new seed.
func TestPolicyLaw(t *testing.T) {
	t.Parallel()
	notRaced(t)
	seed, stories := uint64(7), 2
	if testing.Short() {
		stories = 1
	}
	if n, err := strconv.Atoi(os.Getenv("KANTA_LONG")); err == nil {
		stories, seed = stories*n, rand.Uint64()>>1
	}
	if n, err := strconv.ParseUint(os.Getenv("KANTA_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	asked, answers := map[string]int{}, map[string]int{}
	seen := policyMet{}
	for k := range stories {
		m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, uint64(k))), fs: vfs.NewMem()}
		s := newPolicyStory(m)
		texts := s.texts()
		for i := range 5 {
			l := &policyLaw{policyStory: s, asked: asked, answers: answers, met: &seen, step: fmt.Sprintf("story %d, policy %d", k, i)}
			l.run(texts)
		}
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("asked %v, answered %v, %+v", asked, answers, seen)
	for _, kind := range policyKinds() {
		if asked[kind] < 25*stories || answers[kind] < 3*stories {
			t.Errorf("%s: asked %d times, answered %d times", kind, asked[kind], answers[kind])
		}
	}
	if min(seen.masks, seen.hidden, seen.past, seen.outside) < 20*stories {
		t.Errorf("too little was met: %+v", seen)
	}
}

func policyKinds() []string {
	return []string{"count", "bitmap", "members", "breakdown", "values", "profile", "profile by", "timeline", "why", "schema",
		"trend", "compare", "rfm", "funnel", "retention", "path", "basket", "overlap", "analysis breakdown"}
}

// policyMet is what was met on the way.
type policyMet struct{ masks, hidden, past, outside int }

// policyLaw is one policy.
type policyLaw struct {
	*policyStory
	asked, answers map[string]int
	met            *policyMet
	step           string

	policy query.Policy
	rows   map[string]bool
	access map[string]query.Access // by kind, name and event
}

// drawPolicy makes a policy, and what it comes to, name by name.
func (l *policyLaw) drawPolicy(texts []policyText) {
	p := &l.policy
	p.Classes = map[schema.DataClass]query.Access{}
	l.access = map[string]query.Access{}
	for c := schema.ClassNone; c <= schema.Correspondence; c++ {
		if l.r.IntN(6) == 0 {
			p.Classes[c] = query.Access(1 + l.r.IntN(2))
		}
	}
	p.PII = query.Access(l.r.IntN(3))
	rule := func(r query.PolicyRule, kind, name, of string, class schema.DataClass, pii bool, least query.Access) query.Access {
		access := p.Classes[class]
		if pii {
			access = max(access, p.PII)
		}
		if l.r.IntN(4) == 0 {
			access = query.Access(l.r.IntN(3))
			if kind != "attribute" && kind != "event" && kind != "property" && access == query.Masked {
				access = query.Hidden
			}
			r.Access = access
			p.Rules = append(p.Rules, r)
		}
		access = max(access, least)
		l.access[kind+" "+name+" "+of] = access
		return access
	}
	for _, a := range policyAttributes() {
		rule(query.PolicyRule{Attribute: a.Name}, "attribute", a.Name, "", a.Class, a.PII, query.Visible)
	}
	for _, c := range policyEvents() {
		if c.Op == schema.AddEvent {
			rule(query.PolicyRule{Event: c.Event}, "event", c.Event, "", c.Class, false, query.Visible)
		}
	}
	for _, c := range policyEvents() {
		if c.Op == schema.AddProperty {
			class := c.Attribute.Class
			if class == schema.ClassNone {
				class = map[string]schema.DataClass{"buy": schema.Transaction, "look": schema.Activity}[c.Event]
			}
			rule(query.PolicyRule{Event: c.Event, Property: c.Name}, "property", c.Name, c.Event, class, c.Attribute.PII, l.access["event "+c.Event+" "])
		}
	}
	for _, name := range l.lists {
		rule(query.PolicyRule{List: name}, "list", name, "", schema.Correspondence+1, false, query.Visible)
	}
	for _, x := range texts {
		if x.kind == "segment" && l.r.IntN(3) == 0 {
			rule(query.PolicyRule{Segment: x.name}, "segment", x.name, "", schema.Correspondence+1, false, query.Visible)
		}
	}
}

// drawRows makes the policy's people: some of them, if that can be had.
func (l *policyLaw) drawRows() {
	l.t.Helper()
	if l.r.IntN(6) == 0 {
		l.rows = l.people
		return
	}
	for try := 0; ; try++ {
		l.policy.Rows = l.expression()
		l.rows = map[string]bool{}
		m, err := l.db.Members(l.t.Context(), l.policy.Rows, nil)
		if err != nil {
			continue
		}
		for row, err := range m.Rows {
			if err != nil {
				l.t.Fatal(err)
			}
			l.rows[row.Key] = true
		}
		if n := len(l.rows); n*8 > len(l.people) && n < len(l.people) || try == 200 {
			return
		}
	}
}

// sees says what the other store gets.
func (l *policyLaw) sees(kind, name, of string) bool {
	if kind == "person" {
		return l.rows[name]
	}
	return l.access[kind+" "+name+" "+of] == query.Visible
}

func (l *policyLaw) run(texts []policyText) {
	l.t.Helper()
	l.drawPolicy(texts)
	l.drawRows()
	plain := l.plain(l.r, texts, l.sees)
	defer func() { _ = plain.Close() }()
	if l.r.IntN(2) == 0 {
		if err := plain.Compact(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
	want, err := plain.Snapshot(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = want.Close() }()
	got, err := l.db.SnapshotWith(l.t.Context(), &query.SnapshotOptions{Policy: &l.policy})
	if err != nil {
		l.t.Fatalf("%s: %+v: %v", l.step, l.policy, err)
	}
	defer func() { _ = got.Close() }()
	hides := map[string]bool{}
	for what, access := range l.access {
		var kind, name, of string
		if _, _ = fmt.Sscan(what, &kind, &name, &of); access != query.Masked {
			continue
		}
		if of != "" {
			name = of + "." + name
		}
		hides[name] = true
	}
	for _, kind := range policyKinds() {
		for range 12 {
			q := l.question(kind)
			if kind == "analysis breakdown" {
				q = l.analysisQuestion(policyQuestion{kind: "breakdown"}, l.expression(), l.pastOptions())
			}
			l.compare(kind, q, got, want, hides)
		}
	}
	l.checkMasks(got)
}

// compare asks both.
func (l *policyLaw) compare(kind string, q policyQuestion, got, want query.Snapshot, hides map[string]bool) {
	l.t.Helper()
	x, err := q.ask(got)
	y, err2 := q.ask(want)
	l.asked[kind]++
	if l.showsMasks(q) {
		return // the other store knows nothing of it; see checkMasks
	}
	if said, wanted := said(x, err, hides), said(y, err2, hides); said != wanted {
		l.t.Fatalf("%s: %s: %s\npolicy %+v\nsays\n%s\nwant\n%s", l.step, kind, q.text, l.policy, said, wanted)
	}
	var e *query.Error
	switch {
	case err == nil:
		l.answers[kind]++
	case errors.As(err, &e) && e.Code == query.CodeUnknownName:
		l.met.hidden++
	}
	if q.past {
		l.met.past++
	}
	if l.policy.Rows != "" {
		l.met.outside++
	}
}

func said(v any, err error, hides map[string]bool) string {
	var e *query.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("error %d: %v", e.Code, err)
	}
	if err != nil {
		return err.Error()
	}
	return say(v, hides)
}

// checkMasks compares what is shown of masked attributes with what there is.
func (l *policyLaw) checkMasks(of query.Snapshot) {
	l.t.Helper()
	for _, a := range policyAttributes() {
		if l.access["attribute "+a.Name+" "] != query.Masked {
			continue
		}
		for _, o := range []query.Options{{}, {Now: l.now.AddDate(0, 0, -9)}} {
			mo := &query.MembersOptions{Options: o, Attributes: []string{a.Name}}
			have := map[string]string{}
			m, err := l.db.Members(l.t.Context(), "true", mo)
			if err != nil {
				l.t.Fatal(err)
			}
			for row, err := range m.Rows {
				if err != nil {
					l.t.Fatal(err)
				}
				if v := row.Values[0]; l.rows[row.Key] {
					have[row.Key] = ""
					if !v.IsAbsent() && (v.Kind() != schema.Set || len(v.Elements()) > 0) {
						have[row.Key] = query.Mask
					}
				}
			}
			shown := map[string]string{}
			if m, err = of.Members(l.t.Context(), "true", mo); err != nil {
				l.t.Fatalf("%s: %+v: %s: %v", l.step, l.policy, a.Name, err)
			}
			for row, err := range m.Rows {
				if err != nil {
					l.t.Fatal(err)
				}
				shown[row.Key] = row.Values[0].String()
				l.met.masks++
			}
			if !maps.Equal(have, shown) {
				l.t.Fatalf("%s: %+v: %s is shown as %v, there is %v", l.step, l.policy, a.Name, shown, have)
			}
		}
	}
}

// showsMasks reports whether a listing has a column that is masked, or a timeline is of such.
func (l *policyLaw) showsMasks(q policyQuestion) bool {
	return slices.ContainsFunc(q.columns, func(name string) bool {
		return l.access["attribute "+name+" "] == query.Masked || l.access["event "+name+" "] == query.Masked
	})
}
