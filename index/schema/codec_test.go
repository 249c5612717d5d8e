package schema

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func exampleSchema() *Schema {
	s := New(9, 21, []Attribute{
		{ID: 16, Name: "age", Kind: Int, Class: Demographic, Required: true, Min: IntValue(0), Max: IntValue(120)},
		{ID: 17, Changes: 20, Name: "plan", Kind: String, History: true, Allowed: []Value{StringValue("free"), StringValue("pro")}},
	}, Event{ID: 18, Name: "purchase", Retention: 730, Forgotten: 739000, Reduced: true, Class: Transaction, Properties: []Attribute{
		{ID: 19, Name: "amount", Kind: Decimal, Scale: 2, Required: true, Min: DecimalValue(0, 2)},
	}})
	s.Computed, s.ForgottenIDs = []Computed{{"orders", "purchase.count()"}}, 738000
	return s
}

// exampleBytes takes the example from the package comment itself.
func exampleBytes(t *testing.T) []byte {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "a computed attribute:\n")
	text, _, _ = strings.Cut(text, "// The first is age")
	b, err := hex.DecodeString(strings.NewReplacer("//", "", " ", "", "\t", "", "\n", "").Replace(text))
	if err != nil || len(b) == 0 {
		t.Fatalf("the example of the package comment does not read: %v", err)
	}
	return b
}

func TestGoldenExample(t *testing.T) {
	want := exampleSchema()
	b := exampleBytes(t)
	if got := AppendSchema(nil, want); !bytes.Equal(got, b) {
		t.Fatalf("encoded\n%x, the package comment has\n%x", got, b)
	}
	got, err := DecodeSchema(b)
	if err != nil {
		t.Fatal(err)
	}
	requireSameSchema(t, got, want)
	e, p := got.Property(19)
	if got.Lookup("plan").ID != 17 || got.ByID(16).Name != "age" || e != got.LookupEvent("purchase") || e != got.EventByID(18) || p != e.Lookup("amount") || e.Forgotten != 739000 || !e.Reduced || p.Min.String() != "0.00" {
		t.Fatal("the decoded schema is not indexed")
	}
}

func requireSameSchema(t *testing.T, got, want *Schema) {
	t.Helper()
	if got.Version != want.Version || got.NextID != want.NextID || got.ForgottenIDs != want.ForgottenIDs {
		t.Fatalf("got version %d next %d, ids of %d days forgotten, want %d %d %d", got.Version, got.NextID, got.ForgottenIDs, want.Version, want.NextID, want.ForgottenIDs)
	}
	requireSameAttributes(t, got.Attributes, want.Attributes)
	if len(got.Events) != len(want.Events) {
		t.Fatalf("got %d events, want %d", len(got.Events), len(want.Events))
	}
	for i := range want.Events {
		g, w := got.Events[i], want.Events[i]
		requireSameAttributes(t, g.Properties, w.Properties)
		g.Properties, w.Properties = nil, nil
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("event %d: got %+v, want %+v", i, g, w)
		}
	}
	if !slices.Equal(got.Computed, want.Computed) {
		t.Fatalf("computed: got %+v, want %+v", got.Computed, want.Computed)
	}
}

func requireSameAttributes(t *testing.T, got, want []Attribute) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d attributes, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].ID != want[i].ID || got[i].Changes != want[i].Changes || !SameDefinition(&got[i], &want[i]) {
			t.Fatalf("attribute %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	good := exampleBytes(t)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"newer schema", change(0, schemaFormat+1), ErrNewerFormat},
		{"newer attribute", change(4, attributeFormat+1), ErrNewerFormat},
		{"newer kind", change(10, 9), ErrNewerFormat},
		{"newer storage", change(12, 2), ErrNewerFormat},
		{"newer class", change(13, 8), ErrNewerFormat},
		{"newer flag", change(14, 32), ErrNewerFormat},
		{"newer value kind", change(15, 9), ErrNewerFormat},
		{"zeroed", make([]byte, len(good)), ErrCorrupt},
		{"trailing", append(bytes.Clone(good), 0), ErrCorrupt},
		{"id not ascending", change(5, 17), ErrCorrupt},
		{"id past next", change(2, 17), ErrCorrupt},
		{"not UTF-8", change(7, 0xff), ErrCorrupt},
		{"name past the end", change(6, 0x7f), ErrCorrupt},
		{"forged count", change(3, 0x7f), ErrCorrupt},
		{"the changes have an attribute's id", change(49, 16), ErrCorrupt},
		{"the changes have an event's id", change(49, 18), ErrCorrupt},
		{"the changes have no id", change(49, 0), ErrCorrupt},
		{"the id of the changes is past next", change(49, 21), ErrCorrupt},
		{"forged count of events", change(50, 0x7f), ErrCorrupt},
		{"an event's id is an attribute's", change(51, 17), ErrCorrupt},
		{"an event's id is past next", change(51, 21), ErrCorrupt},
		{"newer class of an event", change(63, 8), ErrNewerFormat},
		{"newer flag of an event", change(64, 8), ErrNewerFormat},
		{"no day is forgotten", slices.Concat(good[:65], []byte{0}, good[68:]), ErrCorrupt},
		{"more days than there are", slices.Concat(good[:65], []byte{0xff, 0xff, 0xff, 0x01}, good[68:]), ErrCorrupt},
		{"newer property", change(69, attributeFormat+1), ErrNewerFormat},
		{"a property's id is the event's", change(70, 18), ErrCorrupt},
		{"a property's id is below 16", change(70, 15), ErrCorrupt},
		{"forged count of computed attributes", change(89, 0x7f), ErrCorrupt},
		{"newer flag of a computed attribute", change(len(good)-4, 1), ErrNewerFormat},
		{"more days of ids than there are", slices.Concat(good[:len(good)-3], []byte{0xff, 0xff, 0xff, 0x01}), ErrCorrupt},
	} {
		if _, err := DecodeSchema(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	for n := range good {
		if _, err := DecodeSchema(good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: got %v, want corrupt", n, err)
		}
	}
	twice := exampleSchema()
	twice.Attributes[1].Name = "age"
	if _, err := DecodeSchema(AppendSchema(nil, twice)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a name twice: got %v, want corrupt", err)
	}
	for what, computed := range map[string][]Computed{
		"a computed name twice":           {{"a", "1"}, {"a", "2"}},
		"a computed name of an attribute": {{"age", "1"}},
		"a computed text past its limit":  {{"a", strings.Repeat("x", MaxComputedText+1)}},
	} {
		s := exampleSchema()
		s.Computed = computed
		if _, err := DecodeSchema(AppendSchema(nil, s)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want corrupt", what, err)
		}
	}
	for what, events := range map[string][]Event{
		"an event's name twice":    {{ID: 18, Name: "e"}, {ID: 19, Name: "e"}},
		"a property's name twice":  {{ID: 16, Name: "e", Properties: []Attribute{{ID: 17, Name: "x"}, {ID: 18, Name: "x"}}}},
		"events out of order":      {{ID: 19, Name: "e"}, {ID: 18, Name: "f"}},
		"properties out of order":  {{ID: 16, Name: "e", Properties: []Attribute{{ID: 18, Name: "x"}, {ID: 17, Name: "y"}}}},
		"one id in two properties": {{ID: 16, Name: "e", Properties: []Attribute{{ID: 18}}}, {ID: 17, Name: "f", Properties: []Attribute{{ID: 18}}}},
	} {
		if _, err := DecodeSchema(AppendSchema(nil, New(1, 20, nil, events...))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want corrupt", what, err)
		}
	}
	for _, v := range []Value{{kind: Bool, num: 2}, {kind: Float, num: math.MaxInt64 /* a NaN */}, {kind: Date, num: MaxDate + 1},
		{kind: Timestamp, num: MinTimestamp - 1}, {kind: Decimal, scale: 19}, {kind: Set, set: []string{"b", "a"}},
		{kind: Set, set: []string{"a", "a"}}} {
		b := AppendAttribute(nil, &Attribute{Name: "x", Kind: Int, Min: v})
		if _, _, err := DecodeAttribute(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("value %#v: got %v, want corrupt", v, err)
		}
	}
}

// randomAttribute makes an attribute of any form, not one that Validate admits.
func randomAttribute(r *rand.Rand) Attribute {
	a := Attribute{ID: AttrID(r.Uint32()), Name: randomText(r), Kind: Kind(1 + r.IntN(8)), Scale: uint8(r.IntN(19)),
		Storage: Storage(r.IntN(2)), Class: DataClass(r.IntN(8)), Format: randomText(r),
		Required: r.IntN(2) == 0, Unique: r.IntN(2) == 0, PII: r.IntN(2) == 0, History: r.IntN(2) == 0, Deprecated: r.IntN(2) == 0}
	if a.History {
		a.Changes = EventID(r.Uint32())
	}
	a.Min, a.Max = randomValue(r), randomValue(r)
	for range r.IntN(4) {
		a.Allowed = append(a.Allowed, randomValue(r))
	}
	return a
}

func randomText(r *rand.Rand) string {
	letters := []rune("abcxyz _-äß漢😀")
	out := make([]rune, 1+r.IntN(12))
	for i := range out {
		out[i] = letters[r.IntN(len(letters))]
	}
	return string(out)
}

func randomValue(r *rand.Rand) Value {
	switch Kind(r.IntN(9)) {
	case Bool:
		return BoolValue(r.IntN(2) == 0)
	case Int:
		return IntValue(int64(r.Uint64()) >> r.IntN(64))
	case Float:
		return FloatValue(r.NormFloat64())
	case Decimal:
		return DecimalValue(int64(r.Uint64())>>r.IntN(64), uint8(r.IntN(19)))
	case String:
		return StringValue(randomText(r))
	case Date:
		return DateValue(MinDate + r.Int64N(MaxDate-MinDate+1))
	case Timestamp:
		return TimestampValue(MinTimestamp + r.Int64N(MaxTimestamp-MinTimestamp+1))
	case Set:
		return SetValue(randomText(r), randomText(r), randomText(r))
	}
	return Value{}
}

func TestAttributeRoundTrip(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		want := randomAttribute(r)
		b := AppendAttribute([]byte("before"), &want)[len("before"):]
		got, n, err := DecodeAttribute(append(b, "after"...))
		if err != nil || n != len(b) || got.ID != want.ID || got.Changes != want.Changes || !SameDefinition(&got, &want) {
			t.Fatalf("got %+v, %d bytes, %v; want %+v, %d bytes", got, n, err, want, len(b))
		}
	}
}

func FuzzDecodeSchema(f *testing.F) {
	f.Add(AppendSchema(nil, exampleSchema()))
	f.Add(AppendSchema(nil, New(0, 0, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSchema(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := DecodeSchema(AppendSchema(nil, s))
		if err != nil {
			t.Fatal(err)
		}
		requireSameSchema(t, again, s)
	})
}

func FuzzDecodeAttribute(f *testing.F) {
	for _, a := range exampleSchema().Attributes {
		f.Add(AppendAttribute(nil, &a))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, n, err := DecodeAttribute(b)
		if err != nil {
			return
		}
		again, m, err := DecodeAttribute(AppendAttribute(nil, &a))
		if err != nil || n > len(b) || m > n || again.ID != a.ID || again.Changes != a.Changes || !SameDefinition(&again, &a) {
			t.Fatalf("%+v (%d bytes) became %+v (%d bytes), %v", a, n, again, m, err)
		}
	})
}
