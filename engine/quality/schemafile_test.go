package quality

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

const fileExample = `# the customers
[[attribute]]
name = "age"
kind = "int"
class = "demographic"
min = 0
max = 120
required = true

[[attribute]]
name = "plan"
kind = "string"
allowed = ["free", "pro \"x\""]
history = true

[[attribute]]
name = "Order total €"
kind = "decimal"
scale = 2
min = "-0.05"

[[attribute]]
name = "email"
kind = "string"
storage = "inline"
format = "email"
unique = true
pii = true

[[attribute]]
name = "seen"
kind = "timestamp"
max = "2030-01-01T00:00:00Z"
deprecated = true

[[attribute]]
name = "interests"
kind = "set<string>"
allowed = ["wine", "food"]

[[attribute]]
name = "score"
kind = "float"
min = -1.5
max = 2.0

[[event]]
name = "purchase"
class = "transaction"
retention_days = 730
deprecated = true

[[event.property]]
name = "amount"
kind = "decimal"
scale = 2
min = "0.00"
required = true

[[event.property]]
name = "coupon"
kind = "string"
storage = "inline"

[[event]]
name = "Order Completed"

[[computed]]
name = "spent"
expression = "ev[\"purchase\"].sum(e, e.amount)"
`

func exampleEvents() []schema.Event {
	return []schema.Event{
		{Name: "purchase", Class: schema.Transaction, Retention: 730, Deprecated: true, Properties: []schema.Attribute{
			{Name: "amount", Kind: schema.Decimal, Scale: 2, Min: schema.DecimalValue(0, 2), Required: true},
			{Name: "coupon", Kind: schema.String, Storage: schema.StorageInline},
		}},
		{Name: "Order Completed"},
	}
}

func exampleAttributes() []schema.Attribute {
	text := schema.StringValue
	return []schema.Attribute{
		{Name: "age", Kind: schema.Int, Class: schema.Demographic, Min: schema.IntValue(0), Max: schema.IntValue(120), Required: true},
		{Name: "plan", Kind: schema.String, Allowed: []schema.Value{text("free"), text(`pro "x"`)}, History: true},
		{Name: "Order total €", Kind: schema.Decimal, Scale: 2, Min: schema.DecimalValue(-5, 2)},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Format: "email", Unique: true, PII: true},
		{Name: "seen", Kind: schema.Timestamp, Max: schema.TimestampValue(1893456000000), Deprecated: true},
		{Name: "interests", Kind: schema.Set, Allowed: []schema.Value{text("wine"), text("food")}},
		{Name: "score", Kind: schema.Float, Min: schema.FloatValue(-1.5), Max: schema.FloatValue(2)},
	}
}

func requireSame(t testing.TB, got, want []schema.Attribute) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d attributes, want %d", len(got), len(want))
	}
	for i := range want {
		if !schema.SameDefinition(&got[i], &want[i]) {
			t.Fatalf("attribute %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func requireSameEvents(t testing.TB, got, want []schema.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		requireSame(t, got[i].Properties, want[i].Properties)
		if g, w := got[i], want[i]; g.Name != w.Name || g.Class != w.Class || g.Retention != w.Retention || g.Deprecated != w.Deprecated {
			t.Fatalf("event %d: got %+v, want %+v", i, g, w)
		}
	}
}

func TestSchemaFileGolden(t *testing.T) {
	got, err := ReadDefinitions(strings.NewReader(fileExample))
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got.Attributes, exampleAttributes())
	requireSameEvents(t, got.Events, exampleEvents())
	var b bytes.Buffer
	s := schema.New(1, 0, exampleAttributes(), exampleEvents()...)
	s.Computed = []schema.Computed{{Name: "spent", Text: `ev["purchase"].sum(e, e.amount)`}}
	requireSameComputed(t, got.Computed, s.Computed)
	if err := WriteSchemaFile(&b, s); err != nil {
		t.Fatal(err)
	}
	if written := "# the customers\n" + b.String(); written != fileExample {
		t.Fatalf("written:\n%s", written)
	}
}

func TestSchemaFileValues(t *testing.T) {
	for _, c := range []struct{ kind, key, want string }{
		{`kind = "date"`, `min = 2024-02-29`, "2024-02-29"},
		{`kind = "date"`, `min = "2024-02-29"`, "2024-02-29"},
		{`kind = "timestamp"`, `min = 2024-02-29T12:00:00+02:00`, "2024-02-29T10:00:00Z"},
		{`kind = "timestamp"`, `min = 2024-02-29 12:00:00.5`, "2024-02-29T12:00:00.5Z"},
		{`kind = "timestamp"`, `min = 2024-02-29`, "2024-02-29T00:00:00Z"},
		{`kind = "int"`, `min = "12"`, "12"},
		{`kind = "float"`, `min = 12`, "12"},
		{"kind = \"decimal\"\nscale = 2", `min = 12.5`, "12.50"},
		{"kind = \"decimal\"\nscale = 2", `min = 12`, "12.00"},
		{"kind = \"decimal\"\nscale = 7", `min = 0.0000001`, "0.0000001"},
	} {
		got, err := readAttributes(strings.NewReader("[[attribute]]\nname = \"x\"\n" + c.kind + "\n" + c.key + "\n"))
		if err != nil || got[0].Min.String() != c.want {
			t.Errorf("%s %s: got %v, %v", c.kind, c.key, got, err)
		}
	}
	got, err := readAttributes(strings.NewReader("\xef\xbb\xbf[[attribute]]\nname = \"e\u0301\"\nkind = \"string\"\npii = true\n"))
	if err != nil || got[0].Name != "é" || got[0].Storage != schema.StorageInline {
		t.Errorf("mark, normal form and storage of personal strings: got %+v, %v", got, err)
	}
	if got, err := readAttributes(strings.NewReader("")); err != nil || len(got) != 0 {
		t.Errorf("an empty file: %v, %v", got, err)
	}
}

func TestSchemaFileErrors(t *testing.T) {
	table := "[[attribute]]\nname = \"x\"\n"
	for _, c := range []struct{ text, want string }{
		{"[[attribute]\n", "line 1: "},
		{table + "kind = \n", "line 3: "},
		{table + "knid = \"int\"\nkind = \"int\"", `line 3: attribute "x": unknown key "knid" (did you mean "kind"?)`},
		{table + "kind = \"integer\"", `line 3: attribute "x": there is no kind "integer" (it is one of bool, int`},
		{table + "kind = \"sting\"", `did you mean "string"?`},
		{table + "kind = \"decimal(2)\"", `write kind = "decimal" and scale = ...`},
		{table + "kind = \"decimal\"", "the decimal has no scale"},
		{table + "kind = \"decimal\"\nscale = 19", "line 4: attribute \"x\": the scale is 19"},
		{table + "kind = \"int\"\nscale = 2", "only a decimal has a scale"},
		{"[[computed]]\nname = \"x\"", `line 1: computed attribute "x": the expression is empty`},
		{"[[computed]]\nexpression = \"1\"", "line 1: the name is empty"},
		{"[[computed]]\nname = \"x\"\nexpression = 1", `line 3: computed attribute "x": expression is not a text`},
		{"[[computed]]\nname = \"x\"\nexpresion = \"1\"", `unknown key "expresion" (did you mean "expression"?)`},
		{"[[computed]]\nname = \"x\"\nexpression = \"1\"\n[[computed]]\nname = \"x\"\nexpression = \"2\"", `line 5: computed attribute "x": the name comes twice`},
		{table + "kind = \"int\"\n[[computed]]\nname = \"x\"\nexpression = \"2\"", `line 5: computed attribute "x": an attribute has this name`},
		{"[computed]\nname = \"x\"", "write [[computed]], with two brackets"},
		{table, "line 1: attribute \"x\": the attribute has no kind"},
		{"[[attribute]]\nkind = \"int\"", "line 1: the attribute has no name"},
		{table + "kind = 4", "line 3: attribute \"x\": kind is not a text"},
		{table + "kind = \"int\"\nrequired = \"yes\"", "line 4: attribute \"x\": required is not a bool"},
		{table + "kind = \"int\"\nmin = \"a\"", `line 4: attribute "x": "a" is not a value of int (not an int`},
		{table + "kind = \"int\"\nmin = 1.5", `"1.5" is not a value of int`},
		{table + "kind = \"decimal\"\nscale = 2\nmin = 90071992547409.93", "not exact"},
		{table + "kind = \"decimal\"\nscale = 2\nmin = 0.123", "more decimal places"},
		{table + "kind = \"string\"\nallowed = [1]", "line 4: attribute \"x\": 1 is not a value of string (put it between quotes)"},
		{table + "kind = \"string\"\nallowed = \"a\"", "allowed is not a list"},
		{table + "kind = \"string\"\nallowed = [\"a\", \"a\"]", "comes twice"},
		{table + "kind = \"timestamp\"\nmin = 12:30:00", "a time of day needs its date"},
		{table + "kind = \"int\"\nmin = nan", "not a value of int"},
		{table + "kind = \"float\"\nmin = inf", "not a value of float"},
		{table + "kind = \"string\"\nstorage = \"inlined\"", `did you mean "inline"?`},
		{table + "kind = \"string\"\nclass = \"Demographic\"", `did you mean "demographic"?`},
		{table + "kind = \"string\"\npii = true\nstorage = \"dictionary\"", "nothing personal may stand in a dictionary"},
		{table + "kind = \"int\"\n" + table + "kind = \"int\"", `line 5: attribute "x": the name comes twice`},
		{"version = 1\n", `unknown key "version"`},
		{"[attribute]\nname = \"x\"\n", "attribute is not a list of tables"},
		{"[[event]]\nname = \"e\"\nretention_day = 3", `line 3: event "e": unknown key "retention_day" (did you mean "retention_days"?)`},
		{"[[event]]\nclass = \"activity\"", `line 1: the event has no name`},
		{"[[event]]\nname = \"e\"\nclass = \"active\"", `line 3: event "e": there is no class "active"`},
		{"[[event]]\nname = \"e\"\nretention_days = 0", `line 3: event "e": a retention of 0 days`},
		{"[[event]]\nname = \"e\"\nretention_days = 4000000", `a retention of 4000000 days`},
		{"[[event]]\nname = \"e\"\n[[event]]\nname = \"e\"", `line 4: event "e": the name comes twice`},
		{"[[event]]\nname = \"\"", "line 1: the name is empty"},
		{"[[event]]\nname = \"e\"\nproperty = \"amount\"", `line 3: event "e": event.property is not a list of tables`},
		{"[[event]]\nname = \"e\"\n[[event.property]]\nkind = \"int\"", `line 3: event "e": the property has no name`},
		{"[event]\nname = \"x\"\n", "event is not a list of tables"},
		{table + "kind = \"int\"\n[[event]]\nname = \"e\"\n[[event.property]]\nname = \"x\"\nkind = \"int\"\n" +
			"[[event]]\nname = \"f\"\n\n[[ event . property ]]\nname = \"x\"\nkind = \"int\"\nunique = true", `line 12: property "x" of event "f": a property cannot be unique`},
		{"[[event]]\nname = \"e\"\n[[event.property]]\nname = \"ts\"\nkind = \"int\"", `line 3: property "ts" of event "e": "ts" is the time of every event`},
		{"[[event]]\nname = \"e\"\n[[event.property]]\nname = \"x\"\nkind = \"int\"\n[[event.property]]\nname = \"x\"\nkind = \"int\"", `line 7: property "x" of event "e": the name comes twice`},
		{table + "kind = \"int\"\nfrmat = \"\"\"\nmin = 3\n\"\"\"\nmix = 4", `line 7: attribute "x": unknown key "mix" (did you mean "min"?)`},
	} {
		_, err := ReadDefinitions(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
		var bad *SchemaFileError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%q: an error of no kind: %v", c.text, err)
		}
	}
}

// randomAttributes makes definitions that are valid.
func randomAttributes(r *rand.Rand, n int) []schema.Attribute {
	var out []schema.Attribute
	texts := []string{"a", "B c", "\"", "\\", "é", "#=", "[[x]]", "\t\x00\x7f", "'''", "\"\"\"", "😀"}
	text := func() string { return texts[r.IntN(len(texts))] + texts[r.IntN(len(texts))] }
	for len(out) < n {
		a := schema.Attribute{Name: fmt.Sprintf("%s %d", texts[r.IntN(7)], len(out)), Kind: schema.Kind(1 + r.IntN(8)),
			Class: schema.DataClass(r.IntN(8)), History: r.IntN(2) == 0, Deprecated: r.IntN(4) == 0,
			Required: r.IntN(4) == 0, Unique: r.IntN(4) == 0, PII: r.IntN(4) == 0, Storage: schema.Storage(r.IntN(2))}
		if a.Kind == schema.Decimal {
			a.Scale = uint8(r.IntN(19))
		}
		random := func() schema.Value {
			switch a.Kind {
			case schema.String, schema.Set:
				return schema.StringValue(text())
			case schema.Float:
				return schema.FloatValue(r.NormFloat64() * 1e10)
			case schema.Bool:
				return schema.BoolValue(r.IntN(2) == 0)
			case schema.Date:
				return schema.DateValue(schema.MinDate + r.Int64N(schema.MaxDate-schema.MinDate))
			case schema.Timestamp:
				return schema.TimestampValue(schema.MinTimestamp + r.Int64N(schema.MaxTimestamp-schema.MinTimestamp))
			}
			return schema.FromOrdered(a.Kind, a.Scale, int64(r.Uint64())>>r.IntN(64))
		}
		switch r.IntN(4) {
		case 0:
			a.Min, a.Max = random(), random()
		case 1:
			for range 1 + r.IntN(4) {
				a.Allowed = append(a.Allowed, random())
			}
		case 2:
			a.Format = text()
		}
		if a.Validate() == nil {
			out = append(out, a)
		}
	}
	return out
}

// randomEvents makes definitions that are valid.
func randomEvents(r *rand.Rand, n int) (out []schema.Event) {
	for i := range n {
		e := schema.Event{Name: fmt.Sprintf("%s %d", []string{"e", "\"", "[[event]]", "é"}[r.IntN(4)], i), Class: schema.DataClass(r.IntN(8)),
			Retention: uint32(r.IntN(3) * r.IntN(1000)), Deprecated: r.IntN(4) == 0}
		for _, p := range randomAttributes(r, r.IntN(4)) {
			p.Unique, p.History = false, false
			e.Properties = append(e.Properties, p)
		}
		out = append(out, e)
	}
	return out
}

func TestSchemaFileRoundTrip(t *testing.T) {
	const seed = 24
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		want := Definitions{randomAttributes(r, r.IntN(8)), randomEvents(r, r.IntN(4)), randomComputed(r)}
		var b bytes.Buffer
		if err := want.Write(&b); err != nil {
			t.Fatal(err)
		}
		got, err := ReadDefinitions(&b)
		if err != nil {
			t.Fatalf("%v of %+v", err, want)
		}
		requireSame(t, got.Attributes, want.Attributes)
		requireSameEvents(t, got.Events, want.Events)
		requireSameComputed(t, got.Computed, want.Computed)
	}
}

// randomComputed makes computed attributes in any order.
func randomComputed(r *rand.Rand) (out []schema.Computed) {
	for _, i := range r.Perm(5)[:r.IntN(5)] {
		text := []string{"1", "a + 1", "\"x\" == `y` // what\n && \\", "'''\n\"\"\""}[r.IntN(4)]
		out = append(out, schema.Computed{Name: fmt.Sprintf("computed %d", i), Text: text})
	}
	return out
}

func requireSameComputed(t *testing.T, got, want []schema.Computed) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("computed: got %+v, want %+v", got, want)
	}
}

func TestDiffCases(t *testing.T) {
	text := schema.StringValue
	old := schema.New(3, 22, []schema.Attribute{
		{ID: 16, Name: "age", Kind: schema.Int, Max: schema.IntValue(120)},
		{ID: 17, Name: "plan", Kind: schema.String, Allowed: []schema.Value{text("free"), text("pro")}},
		{ID: 18, Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true},
		{ID: 19, Name: "old", Kind: schema.Bool},
		{ID: 20, Changes: 21, Name: "tier", Kind: schema.String, History: true},
	})
	for _, c := range []struct {
		name  string
		want  []schema.Attribute
		steps string
	}{
		{"nothing", nil, ""},
		{"the same", old.Attributes, ""},
		{"order of allowed values", []schema.Attribute{{Name: "plan", Kind: schema.String, Allowed: []schema.Value{text("pro"), text("free")}}}, ""},
		{"add", []schema.Attribute{{Name: "city", Kind: schema.String}}, `add city`},
		{"add a deprecated one", []schema.Attribute{{Name: "x", Kind: schema.Int, Deprecated: true}}, `add x`},
		{"widen", []schema.Attribute{{Name: "age", Kind: schema.Int}}, "widen age"},
		{"narrow", []schema.Attribute{{Name: "age", Kind: schema.Int, Max: schema.IntValue(99)}}, "narrow age"},
		{"narrow and deprecate", []schema.Attribute{{Name: "age", Kind: schema.Int, Max: schema.IntValue(99), Deprecated: true}}, "narrow age, deprecate age"},
		{"into the dictionary", []schema.Attribute{{Name: "email", Kind: schema.String}}, "widen email, set storage email"},
		{"out of the dictionary", []schema.Attribute{{Name: "plan", Kind: schema.String, Storage: schema.StorageInline, PII: true}}, "set storage plan, widen plan"},
		{"another kind", []schema.Attribute{{Name: "age", Kind: schema.Float}}, "kinds never change"},
		{"another storage with history", []schema.Attribute{{Name: "tier", Kind: schema.String, Storage: schema.StorageInline}}, "its history is stored so too"},
		{"another storage, then history", []schema.Attribute{{Name: "plan", Kind: schema.String, Storage: schema.StorageInline, History: true}}, "set storage plan, widen plan"},
		{"invalid", []schema.Attribute{{Name: "plan", Kind: schema.String, PII: true}}, "nothing personal"},
	} {
		changes, err := diffAttributes(old, c.want)
		var steps []string
		for _, change := range changes {
			steps = append(steps, change.Op.String()+" "+change.Name)
		}
		got := strings.Join(steps, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != c.steps && (err == nil || !strings.Contains(got, c.steps)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.steps)
		}
	}
	if only := OnlyInStore(old, old.Attributes[1:3]); fmt.Sprint(only) != "[age old tier]" {
		t.Errorf("only in the store: %q", only)
	}
}

func TestDiffEvents(t *testing.T) {
	old := schema.New(3, 30, []schema.Attribute{{ID: 16, Name: "age", Kind: schema.Int}},
		schema.Event{ID: 17, Name: "buy", Retention: 30, Properties: []schema.Attribute{{ID: 18, Name: "amount", Kind: schema.Int, Max: schema.IntValue(9)}, {ID: 19, Name: "item", Kind: schema.String}}},
		schema.Event{ID: 20, Name: "view", Deprecated: true})
	buy := func(edit func(*schema.Event)) []schema.Event {
		e := old.Events[0]
		e.Properties = append([]schema.Attribute{}, e.Properties...)
		edit(&e)
		return []schema.Event{e}
	}
	for _, c := range []struct {
		name  string
		want  []schema.Event
		steps string
		drops string
	}{
		{"nothing", nil, "", "drop age, drop event buy, drop event view"},
		{"the same", old.Events, "", "drop age"},
		{"add", []schema.Event{{Name: "new", Properties: []schema.Attribute{{Name: "x", Kind: schema.Int}}}}, "add event new, add property new.x", "drop age, drop event buy, drop event view"},
		{"add a deprecated one", []schema.Event{{Name: "new", Deprecated: true}}, "add event new, deprecate event new", "drop age, drop event buy, drop event view"},
		{"retention", buy(func(e *schema.Event) { e.Retention = 0 }), "redefine event buy", "drop age, drop event view"},
		{"class", buy(func(e *schema.Event) { e.Class = schema.Transaction }), "redefine event buy", "drop age, drop event view"},
		{"deprecate", buy(func(e *schema.Event) { e.Deprecated = true }), "deprecate event buy", "drop age, drop event view"},
		{"no longer deprecated", []schema.Event{{Name: "view"}}, "redefine event view", "drop age, drop event buy"},
		{"still deprecated", []schema.Event{{Name: "view", Class: schema.Activity, Deprecated: true}}, "redefine event view, deprecate event view", "drop age, drop event buy"},
		{"widen", buy(func(e *schema.Event) { e.Properties[0].Max = schema.Value{} }), "widen property buy.amount", "drop age, drop event view"},
		{"narrow and deprecate", buy(func(e *schema.Event) {
			e.Properties[0].Max = schema.IntValue(1)
			e.Properties[0].Deprecated = true
		}), "narrow property buy.amount, deprecate property buy.amount", "drop age, drop event view"},
		{"fewer properties", buy(func(e *schema.Event) { e.Properties = e.Properties[1:] }), "", "drop age, drop property buy.amount, drop event view"},
		{"another kind", buy(func(e *schema.Event) { e.Properties[0].Kind = schema.Float }), `property "amount" of event "buy": it is int in the store and float in the file (kinds never change`, ""},
		{"another storage", buy(func(e *schema.Event) { e.Properties[1].Storage = schema.StorageInline }), "it is dictionary in the store and inline in the file", ""},
		{"invalid", buy(func(e *schema.Event) { e.Properties[0].Unique = true }), "a property cannot be unique", ""},
	} {
		list := func(changes []schema.Change) string {
			var steps []string
			for _, change := range changes {
				name := change.Event + "." + change.Name
				steps = append(steps, change.Op.String()+" "+strings.Trim(name, "."))
			}
			return strings.Join(steps, ", ")
		}
		d := Definitions{Events: c.want}
		changes, err := d.Diff(old)
		got := list(changes)
		if err != nil {
			got = err.Error()
		}
		if got != c.steps && (err == nil || !strings.Contains(got, c.steps)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.steps)
		}
		if drops := list(d.Drops(old)); err == nil && drops != c.drops {
			t.Errorf("%s: got %q, want %q", c.name, drops, c.drops)
		}
	}
}

// TestDiffApplies brings random schemas to random files: after the changes and the drops
// the schema has what the file says, and a second Diff finds nothing.
func TestDiffApplies(t *testing.T) {
	const seed = 25
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	applied := 0
	for range 400 {
		s := schema.New(0, 0, nil)
		from := Definitions{randomAttributes(r, 6), randomEvents(r, 3), randomComputed(r)}
		want := Definitions{randomAttributes(r, 6), randomEvents(r, 3), randomComputed(r)}
		alike(r, from.Attributes, want.Attributes, false)
		for i := range want.Events { // names of properties are numbered
			e, f := &want.Events[i], &from.Events[i]
			e.Name = f.Name
			alike(r, f.Properties[:min(len(e.Properties), len(f.Properties))], e.Properties, true)
		}
		for range 2 {
			changes, err := from.Diff(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range append(changes, from.Drops(s)...) {
				if s, err = s.Apply(c); err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
			}
			if again, err := from.Diff(s); err != nil || len(again) > 0 || len(from.Drops(s)) > 0 {
				t.Fatalf("a second time: %+v, %v", again, err)
			}
			requireSame(t, byName(s.Attributes), byName(from.Attributes))
			requireSameEvents(t, s.Events, from.Events)
			order := func(a, b schema.Computed) int { return strings.Compare(a.Name, b.Name) }
			requireSameComputed(t, slices.SortedFunc(slices.Values(s.Computed), order), slices.SortedFunc(slices.Values(from.Computed), order))
			if _, err := want.Diff(s); err != nil {
				var bad *schema.ChangeError
				if !errors.As(err, &bad) {
					t.Fatal(err)
				}
				break
			}
			from = want
			applied++
		}
	}
	if applied < 100 {
		t.Fatalf("only %d files could be applied: the generator is wrong", applied)
	}
}

// byName returns attributes in another order than that of their ids, which a change of
// storage changes.
func byName(list []schema.Attribute) []schema.Attribute {
	return slices.SortedFunc(slices.Values(list), func(a, b schema.Attribute) int { return strings.Compare(a.Name, b.Name) })
}

// alike gives wanted attributes the names of those that are there, and most of them the
// kind, or nothing would be left to compare.
func alike(r *rand.Rand, from, want []schema.Attribute, properties bool) {
	for i := range from {
		want[i].Name = from[i].Name
		other := want[i].Kind != from[i].Kind || want[i].Scale != from[i].Scale || properties && want[i].Storage != from[i].Storage
		if other && r.IntN(8) > 0 {
			want[i] = from[i]
			want[i].Class, want[i].History, want[i].Deprecated = schema.Activity, !properties, !from[i].Deprecated
		}
	}
}

func FuzzSchemaFile(f *testing.F) {
	f.Add(fileExample)
	f.Add("[[computed]]\nname = \"x\"\nexpression = '''\na + 1'''\n")
	f.Add("[[attribute]]\nname = \"x\"\nkind = \"date\"\nallowed = [2024-01-01, \"2024-01-02\"]\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadDefinitions(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := got.Write(&b); err != nil {
			t.Fatal(err)
		}
		written := b.String()
		again, err := ReadDefinitions(&b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		requireSame(t, again.Attributes, got.Attributes)
		requireSameEvents(t, again.Events, got.Events)
		requireSameComputed(t, again.Computed, got.Computed)
	})
}

// readAttributes reads a schema file that has attributes only.
func readAttributes(r io.Reader) ([]schema.Attribute, error) {
	d, err := ReadDefinitions(r)
	if err != nil {
		return nil, err
	}
	return d.Attributes, nil
}

func diffAttributes(old *schema.Schema, want []schema.Attribute) ([]schema.Change, error) {
	return (&Definitions{Attributes: want}).Diff(old)
}
