package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestPolicyWithholds: of what a breakdown tells nobody can make a number that it withholds.
func TestPolicyWithholds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	some, more := 0, 0
	for range 20_000 {
		u := &underPolicy{minGroup: uint64(2 + r.IntN(6))}
		b := query.Breakdown{Attribute: schema.Attribute{Kind: []schema.Kind{schema.Int, schema.Set}[r.IntN(2)]}}
		set := b.Attribute.Kind == schema.Set
		last, total := uint64(30), uint64(0)
		for i := range r.IntN(7) {
			last = 1 + r.Uint64N(last)
			row := query.BreakdownRow{Value: schema.IntValue(int64(i)), Count: last}
			if r.IntN(6) == 0 && (i == 0 || !b.Rows[i-1].Value.IsAbsent()) {
				row.Value = schema.Value{}
			}
			b.Rows, total = append(b.Rows, row), total+last
			if b.People += last; set {
				b.People = max(b.Rows[0].Count, b.People-r.Uint64N(last))
			}
			if !row.Value.IsAbsent() {
				b.Memberships += last
			}
		}
		u.living = b.People + r.Uint64N(2)*u.minGroup
		before := len(b.Rows)
		small := 0
		for _, row := range b.Rows {
			if row.Count < u.minGroup {
				small++
			}
		}
		all := fmt.Sprintf("%+v of %d, at least %d: ", b, u.living, u.minGroup)
		u.withhold(&b)
		if int(b.Withheld)+len(b.Rows) != before {
			t.Fatalf("%s%+v", all, b)
		}
		rest, rows := b.People, before-len(b.Rows)
		if set {
			rest = b.Memberships
		}
		none := set
		for _, row := range b.Rows {
			if row.Count < u.minGroup || u.living-row.Count < u.minGroup || set && b.People != row.Count && b.People-row.Count < u.minGroup {
				t.Fatalf("%s%+v is told", all, row)
			}
			if !set || !row.Value.IsAbsent() {
				rest, none = rest-row.Count, false
			}
		}
		if !none && len(b.Rows) > 0 && rest != 0 && (rest < u.minGroup || rows == 1) {
			t.Fatalf("%s%d are withheld in %d rows: %+v", all, rest, rows, b)
		}
		if rows > 0 {
			some++
		}
		if rows > small {
			more++
		}
	}
	if some < 1000 || more < 1000 {
		t.Errorf("rows were withheld %d times, more than the small ones %d times", some, more)
	}
}

func policyOfTest(t *testing.T, o *Options) *DB {
	t.Helper()
	o.FS = vfs.NewMem()
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	writePolicy(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "age", Attribute: schema.Attribute{Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "plan", Attribute: schema.Attribute{Kind: schema.String}})
		b.SaveSegment("old", "age > 3")
		for i := range 10 {
			b.Upsert(fmt.Sprint("k", i)).Set("age", schema.IntValue(int64(i)))
		}
	})
	return db
}

func writePolicy(t *testing.T, db *DB, fill func(b *batch.Builder)) {
	t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyIsCompiledOnce: for one schema and its names, however it is written.
func TestPolicyIsCompiledOnce(t *testing.T) {
	db := policyOfTest(t, &Options{})
	under := func(p *query.Policy) *policy {
		t.Helper()
		n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		return n.(*snapshot).policy.policy
	}
	age, plan := query.PolicyRule{Attribute: "age", Access: query.Hidden}, query.PolicyRule{Attribute: "plan", Access: query.Masked}
	first := under(&query.Policy{Rules: []query.PolicyRule{age, plan}})
	if again := under(&query.Policy{Rules: []query.PolicyRule{plan, age}, Rows: "age > 3", MinGroup: 2, Classes: map[schema.DataClass]query.Access{schema.Activity: query.Visible}}); again != first {
		t.Error("it was compiled again for the same names")
	}
	if other := under(&query.Policy{Rules: []query.PolicyRule{age}}); other == first {
		t.Error("another policy has the same names")
	}
	if len(first.segments) != 0 {
		t.Error("a segment that reads what is hidden is there")
	}
	writePolicy(t, db, func(b *batch.Builder) { b.SaveSegment("old", "true") })
	if later := under(&query.Policy{Rules: []query.PolicyRule{age, plan}}); later == first || len(later.segments) != 1 {
		t.Error("a segment was saved, and the policy does not know it")
	}
}

// TestPolicyTakesMemory: of the budget, until it is closed, and also what it could not have.
func TestPolicyTakesMemory(t *testing.T) {
	db := policyOfTest(t, &Options{FirstOrdinal: 1 << 20})
	before := db.cache.Reserved()
	n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &query.Policy{Rows: "age > 3", MinGroup: 3}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := db.cache.Reserved()-before, int64(17*8192); got != want {
		t.Errorf("%d bytes of the budget, want %d", got, want)
	}
	if c, err := n.Count(t.Context(), "true", nil); err != nil || c.Count != 6 {
		t.Errorf("%+v %v", c, err)
	}
	_ = n.Close()
	_, err = n.Count(t.Context(), "true", nil)
	if !errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) || db.cache.Reserved() != before {
		t.Errorf("closed: %v, %d bytes", err, db.cache.Reserved()-before)
	}
	for _, p := range []query.Policy{{Rows: "agee > 3"}, {Rows: "age > 3", Rules: []query.PolicyRule{{List: "nobody"}}}} {
		if _, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &p}); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) || db.cache.Reserved() != before {
			t.Errorf("%+v: %v, %d bytes", p, err, db.cache.Reserved()-before)
		}
	}
}

// TestPolicyAges: its snapshot is closed as any other is, and stands still until then.
func TestPolicyAges(t *testing.T) {
	db := policyOfTest(t, &Options{SnapshotMaxAge: time.Hour})
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &query.Policy{Rows: "age > 3"}})
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := db.Count(t.Context(), "age > 0", nil); err != nil || whole.BytesRead == 0 {
		t.Fatalf("%+v %v", whole, err)
	}
	writePolicy(t, db, func(b *batch.Builder) {
		b.Delete("k9")
		b.Upsert("k1").Set("age", schema.IntValue(50))
	})
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := n.Count(t.Context(), "age > 0", nil); err != nil || c.Count != 6 || c.BytesRead != 0 {
		t.Errorf("%+v %v", c, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Count(t.Context(), "true", nil); !errors.Is(err, &query.Error{Code: query.CodeClosed}) {
		t.Errorf("after the store was closed: %v", err)
	}
	_ = n.Close()
}

// TestPolicyDenies goes through all methods of a snapshot: one that is new must be looked at.
func TestPolicyDenies(t *testing.T) {
	db := policyOfTest(t, &Options{})
	open := func(p query.Policy) reflect.Value {
		n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: &p})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return reflect.ValueOf(&n).Elem()
	}
	groups, rows := open(query.Policy{MinGroup: 2}), open(query.Policy{Rows: "age > 3"})
	args := map[string][]any{
		"Position": nil, "Schema": {}, "Close": nil,
		"Count": {"age > 3", (*query.Options)(nil)}, "Breakdown": {"age > 3", "plan", (*query.BreakdownOptions)(nil)}, "Values": {"plan", "", 0},
		"Bitmap": {"age > 3", (*query.Options)(nil)}, "Members": {"age > 3", (*query.MembersOptions)(nil)},
		"Profile": {"k4", (*query.ProfileOptions)(nil)}, "ProfileBy": {"age", "4", (*query.ProfileOptions)(nil)}, "Timeline": {"k4", (*query.TimelineOptions)(nil)},
		"Plan": {"age > 3", (*query.Options)(nil)}, "Explain": {"age > 3", (*query.Options)(nil)}, "Why": {"k4", "age > 3", (*query.WhyOptions)(nil)},
		"Analyze":  {"breakdown", "", query.Arguments{"by": {"plan"}}, (*query.Options)(nil)},
		"Segments": {}, "Lists": {}, "Definitions": {},
		"AnalysisMembers": {"breakdown", "", query.Arguments{"by": {"plan"}}, "(none)", (*query.MembersOptions)(nil)},
	}
	allowed := map[string]bool{"Schema": true, "Count": true, "Breakdown": true, "Values": true, "Segments": true, "Lists": true, "Definitions": true}
	estimates := map[string]bool{"Plan": true, "Explain": true}
	for i := range groups.NumMethod() {
		name := groups.Type().Method(i).Name
		with, known := args[name]
		if !known {
			t.Errorf("%s: what does a policy allow of it?", name)
		}
		if with == nil {
			continue
		}
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for _, a := range with {
			in = append(in, reflect.ValueOf(a))
		}
		for _, of := range []struct {
			n      reflect.Value
			denied bool
		}{{groups, !allowed[name]}, {rows, estimates[name]}} {
			out := of.n.Method(i).Call(in)
			err, _ := out[len(out)-1].Interface().(error)
			if errors.Is(err, &query.Error{Code: query.CodeDenied}) != of.denied {
				t.Errorf("%s: %v, denied should be %v", name, err, of.denied)
			}
		}
	}
}

// TestPolicyHidesLists: also where somebody's lists are what an answer rests on.
func TestPolicyHidesLists(t *testing.T) {
	db := policyOfTest(t, &Options{})
	writePolicy(t, db, func(b *batch.Builder) {
		b.Upsert("k4").Set("plan", schema.StringValue("pro"))
		b.ListPut("staff", "k4")
		b.ListPut("guests", "k4", "k5")
	})
	says := func(p *query.Policy) string {
		t.Helper()
		n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		w, err := n.Why(t.Context(), "k4", `(in_list("guests") ? "a " : "no ") + plan == "a pro"`, nil)
		if err != nil {
			t.Fatal(err)
		}
		return say(w.Root, nil)
	}
	if all := says(nil); !strings.Contains(all, "guests") || !strings.Contains(all, "staff") {
		t.Fatalf("it rests on other lists: %s", all)
	}
	if some := says(&query.Policy{Rules: []query.PolicyRule{{List: "staff", Access: query.Hidden}}}); !strings.Contains(some, "guests") || strings.Contains(some, "staff") {
		t.Errorf("a list that is hidden is told of: %s", some)
	}
}

// TestPolicyValidate: what is wrong with a policy by itself.
func TestPolicyValidate(t *testing.T) {
	rule := func(r ...query.PolicyRule) query.Policy { return query.Policy{Rules: r} }
	for _, p := range []query.Policy{{MinGroup: -1}, {PII: 3}, {Classes: map[schema.DataClass]query.Access{schema.Activity: 3}}, {Classes: map[schema.DataClass]query.Access{99: 0}},
		rule(query.PolicyRule{}), rule(query.PolicyRule{Property: "x"}), rule(query.PolicyRule{Attribute: "a", Event: "b"}), rule(query.PolicyRule{Attribute: "a", Access: 3}),
		rule(query.PolicyRule{List: "a", Access: query.Masked}), rule(query.PolicyRule{Segment: "a", Access: query.Masked}),
		rule(query.PolicyRule{Attribute: "a", Access: query.Masked}, query.PolicyRule{Attribute: "a"})} {
		if err := p.Validate(); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []query.Policy{{}, {MinGroup: 1 << 30}, rule(query.PolicyRule{Attribute: "a"}, query.PolicyRule{Event: "a"}, query.PolicyRule{Event: "a", Property: "a"})} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
