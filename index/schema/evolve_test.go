package schema

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type applyCase struct {
	what    string
	change  Change
	problem string // "" if it is possible
}

func applyCases(base *Schema) []applyCase {
	age, plan := base.Attributes[0], base.Attributes[1]
	with := func(a Attribute, edit func(*Attribute)) Attribute { edit(&a); return a }
	add := func(a Attribute) Change { return Change{Op: AddAttribute, Name: a.Name, Attribute: a} }
	return []applyCase{
		{"add", add(Attribute{Name: "city", Kind: String}), ""},
		{"add any name", add(Attribute{Name: "Order total €", Kind: Decimal, Scale: 2}), ""},
		{"add a taken name", add(Attribute{Name: "age", Kind: Int}), "the name is taken"},
		{"add without a name", add(Attribute{Kind: Int}), "the name is empty"},
		{"add a long name", add(Attribute{Name: strings.Repeat("n", 129), Kind: Int}), "longer than 128 bytes"},
		{"add a control character", add(Attribute{Name: "a\tb", Kind: Int}), "control character"},
		{"add not UTF-8", add(Attribute{Name: "a\xff", Kind: Int}), "not UTF-8"},
		{"add no kind", add(Attribute{Name: "x"}), "no attribute can have the kind absent"},
		{"add money", add(Attribute{Name: "x", Kind: 9}), "no attribute can have the kind kind(9)"},
		{"add another name", Change{Op: AddAttribute, Name: "x", Attribute: Attribute{Name: "y", Kind: Int}}, `the definition is named "y"`},
		{"add scale 19", add(Attribute{Name: "x", Kind: Decimal, Scale: 19}), "the scale is 19"},
		{"add an int with a scale", add(Attribute{Name: "x", Kind: Int, Scale: 1}), "only a decimal has a scale"},
		{"add personal", add(Attribute{Name: "x", Kind: String, PII: true}), "nothing personal may stand in a dictionary"},
		{"add personal inline", add(Attribute{Name: "x", Kind: String, PII: true, Storage: StorageInline}), ""},
		{"add a personal set", add(Attribute{Name: "x", Kind: Set, PII: true}), "nothing personal may be"},
		{"add unique", add(Attribute{Name: "x", Kind: String, Unique: true}), "unique strings"},
		{"add unique int", add(Attribute{Name: "x", Kind: Int, Unique: true}), ""},
		{"add unique set", add(Attribute{Name: "x", Kind: Set, Unique: true}), "set<string> cannot be unique"},
		{"add required set", add(Attribute{Name: "x", Kind: Set, Required: true}), "never absent"},
		{"add inline int", add(Attribute{Name: "x", Kind: Int, Storage: StorageInline}), "only a string has a storage"},
		{"add set with allowed elements", add(Attribute{Name: "x", Kind: Set, Allowed: []Value{StringValue("a")}}), ""},
		{"add set with allowed sets", add(Attribute{Name: "x", Kind: Set, Allowed: []Value{SetValue("a")}}), "is not a value of set<string>"},
		{"add allowed of another kind", add(Attribute{Name: "x", Kind: Int, Allowed: []Value{StringValue("a")}}), `the allowed value "a" is not a value of int`},
		{"add allowed twice", add(Attribute{Name: "x", Kind: Int, Allowed: []Value{IntValue(1), IntValue(1)}}), "comes twice"},
		{"add bounds of another scale", add(Attribute{Name: "x", Kind: Decimal, Scale: 2, Min: DecimalValue(1, 1)}), "min or max is not a value of decimal(2)"},
		{"add min above max", add(Attribute{Name: "x", Kind: Date, Min: DateValue(2), Max: DateValue(1)}), "min 1970-01-03 is above max 1970-01-02"},
		{"add bounds of a string", add(Attribute{Name: "x", Kind: String, Min: StringValue("a")}), "string has no min or max"},
		{"add bounds and allowed", add(Attribute{Name: "x", Kind: Int, Min: IntValue(1), Allowed: []Value{IntValue(1)}}), "bounds and allowed values"},
		{"add format of an int", add(Attribute{Name: "x", Kind: Int, Format: "email"}), "int has no format"},
		{"add history", add(Attribute{Name: "x", Kind: Int, History: true}), ""},
		{"widen max", Change{Op: Widen, Name: "age", Attribute: with(age, func(a *Attribute) { a.Max = IntValue(150) })}, ""},
		{"widen no bounds", Change{Op: Widen, Name: "age", Attribute: Attribute{Kind: Int, Required: true, Class: Demographic}}, ""},
		{"widen not required", Change{Op: Widen, Name: "age", Attribute: with(age, func(a *Attribute) { a.Required = false })}, ""},
		{"widen allowed", Change{Op: Widen, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.Allowed = append(a.Allowed[:2:2], StringValue("x")) })}, ""},
		{"widen to a smaller max", Change{Op: Widen, Name: "age", Attribute: with(age, func(a *Attribute) { a.Max = IntValue(99) })}, "would not be"},
		{"widen to required", Change{Op: Widen, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.Required = true })}, "would not be"},
		{"widen nothing", Change{Op: Widen, Name: "age", Attribute: age}, "nothing changes"},
		{"widen the kind", Change{Op: Widen, Name: "age", Attribute: with(age, func(a *Attribute) { a.Kind = Float })}, "it is int and cannot become float"},
		{"widen the storage", Change{Op: Widen, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.Storage = StorageInline })}, "its storage is another"},
		{"widen the name", Change{Op: Widen, Name: "age", Attribute: with(age, func(a *Attribute) { a.Name = "years" })}, `the definition is named "years"`},
		{"widen a stranger", Change{Op: Widen, Name: "years", Attribute: age}, "there is no such attribute"},
		{"widen to an invalid definition", Change{Op: Widen, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.PII = true })}, "nothing personal"},
		{"narrow max", Change{Op: Narrow, Name: "age", Attribute: with(age, func(a *Attribute) { a.Max = IntValue(99) })}, ""},
		{"narrow allowed", Change{Op: Narrow, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.Allowed = a.Allowed[:1] })}, ""},
		{"narrow deprecates", Change{Op: Narrow, Name: "plan", Attribute: with(plan, func(a *Attribute) { a.Deprecated = true })}, "cannot deprecate"},
		{"rename", Change{Op: Rename, Name: "age", To: "years"}, ""},
		{"rename to a taken name", Change{Op: Rename, Name: "age", To: "plan"}, `the name "plan" is taken`},
		{"rename to nothing", Change{Op: Rename, Name: "age"}, "the name is empty"},
		{"deprecate", Change{Op: Deprecate, Name: "age"}, ""},
		{"drop", Change{Op: Drop, Name: "age"}, ""},
		{"drop a stranger", Change{Op: Drop, Name: "x"}, "there is no such attribute"},
		{"inline with history", Change{Op: SetStorage, Name: "plan", Attribute: Attribute{Storage: StorageInline}}, "turn history off first"},
		{"dictionary again", Change{Op: SetStorage, Name: "plan"}, "it is stored so already"},
		{"inline int", Change{Op: SetStorage, Name: "age", Attribute: Attribute{Storage: StorageInline}}, "only a string has a storage"},
		{"unknown", Change{Op: 99, Name: "age"}, "there is no such change"},
		{"attribute of an event", Change{Op: AddAttribute, Event: "purchase", Attribute: Attribute{Name: "coupon", Kind: Bool}}, "an event is named"},
		{"drop of an event", Change{Op: Drop, Event: "purchase", Name: "age"}, "an event is named"},
	}
}

func TestApplyCases(t *testing.T) {
	base := exampleSchema() // age int 0..120 required, plan string {free, pro}; purchase with amount
	for _, c := range slices.Concat(applyCases(base), applyEventCases(base), applyComputedCases()) {
		before := AppendSchema(nil, base)
		next, err := base.Apply(c.change)
		if !bytes.Equal(before, AppendSchema(nil, base)) {
			t.Fatalf("%s: it changed the schema it was given", c.what)
		}
		if c.problem == "" && (err != nil || next.Version != 10) {
			t.Errorf("%s: %v", c.what, err)
		}
		var e *ChangeError
		if c.problem != "" && (!errors.As(err, &e) || !strings.Contains(err.Error(), c.problem) || e.Advice == "" || e.Op != c.change.Op) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.problem)
		}
	}
}

func TestDeprecationEnds(t *testing.T) {
	s, err := exampleSchema().Apply(Change{Op: Deprecate, Name: "age"})
	if err != nil || !s.Lookup("age").Deprecated {
		t.Fatal(err)
	}
	if _, err := s.Apply(Change{Op: Deprecate, Name: "age"}); err == nil {
		t.Fatal("deprecated twice")
	}
	again, err := s.Apply(Change{Op: Widen, Name: "age", Attribute: exampleSchema().Attributes[0]})
	if err != nil || again.Lookup("age").Deprecated {
		t.Fatalf("a widening does not end the deprecation: %v", err)
	}
}

// admits is the obvious definition of what an int attribute of 0..6 admits.
func admits(a *Attribute, v int64) bool {
	in := len(a.Allowed) == 0
	for _, w := range a.Allowed {
		in = in || w.Ordered() == v
	}
	return in && (a.Min.IsAbsent() || v >= a.Min.Ordered()) && (a.Max.IsAbsent() || v <= a.Max.Ordered())
}

func TestWidensDifferential(t *testing.T) {
	const seed = 13
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func() Attribute {
		a := Attribute{Name: "x", Kind: Int}
		if r.IntN(3) == 0 {
			for v := range int64(5) {
				if r.IntN(2) == 0 {
					a.Allowed = append(a.Allowed, IntValue(1+v))
				}
			}
			return a
		}
		if r.IntN(3) > 0 {
			a.Min = IntValue(1 + r.Int64N(5))
		}
		if r.IntN(3) > 0 {
			a.Max = IntValue(1 + r.Int64N(5))
		}
		return a
	}
	yes := 0
	for range 20000 {
		from, to := random(), random()
		if from.Validate() != nil || to.Validate() != nil {
			continue
		}
		want := true
		for v := int64(-1); v <= 7; v++ {
			want = want && (!admits(&from, v) || admits(&to, v))
		}
		// Bounds that leave only allowed values are a coincidence that Widens need not see.
		if bounds := len(from.Allowed) == 0 && len(to.Allowed) > 0; bounds {
			want = false
		}
		if got := Widens(&from, &to); got != want {
			t.Fatalf("from %+v to %+v: got %v, want %v", from, to, got, want)
		}
		if want {
			yes++
		}
	}
	if yes < 2000 {
		t.Fatalf("only %d widenings: the generator is wrong", yes)
	}
}

func TestUsable(t *testing.T) {
	if !slices.IsSorted(reservedNames[:]) {
		t.Fatal("the list of reserved names is not sorted, so the search in it fails")
	}
	for _, name := range []string{"age", "_x", "Plan2", "country_code", "nows", "P"} {
		if !Usable(name) {
			t.Errorf("%q is not usable", name)
		}
	}
	for _, name := range append([]string{"", "2x", "a b", "a-b", "ä", "a.b", "x\x00"}, reservedNames[:]...) {
		if Usable(name) {
			t.Errorf("%q is usable", name)
		}
	}
}

// TestGivenIDs: what is added may ask for an id that nothing has had.
func TestGivenIDs(t *testing.T) {
	s := New(0, 0, nil)
	add := func(c Change) error {
		next, err := s.Apply(c)
		if err == nil {
			s = next
		}
		return err
	}
	for _, c := range []Change{
		{Op: AddAttribute, Name: "a", Attribute: Attribute{Kind: Int, History: true}, ID: 20},
		{Op: AddEvent, Event: "e", ID: 30},
		{Op: AddProperty, Event: "e", Name: "p", Attribute: Attribute{Kind: Int}, ID: 31},
		{Op: AddAttribute, Name: "b", Attribute: Attribute{Kind: Int}},
	} {
		if err := add(c); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
	}
	e := s.Events[0]
	if s.Attributes[0].ID != 20 || s.Attributes[0].Changes != 21 || e.ID != 30 || e.Properties[0].ID != 31 || s.Attributes[1].ID != 32 || s.NextID != 33 {
		t.Fatalf("%+v", s)
	}
	for _, c := range []Change{
		{Op: AddAttribute, Name: "c", Attribute: Attribute{Kind: Int}, ID: 32},
		{Op: AddEvent, Event: "f", ID: 3},
		{Op: AddProperty, Event: "e", Name: "q", Attribute: Attribute{Kind: Int}, ID: maxGivenID + 1},
	} {
		if err := add(c); err == nil || !strings.Contains(err.Error(), "is not free") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
