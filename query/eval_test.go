package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func str(s string) schema.Value { return schema.StringValue(s) }

// fixed returns a small view with known people.
func fixed(exact bool) *memView {
	profiles := map[uint32]*memProfile{}
	add := func(o uint32, key string, values map[schema.AttrID]schema.Value, lists ...uint32) {
		profiles[o] = &memProfile{key: key, values: values, lists: lists}
	}
	type vals = map[schema.AttrID]schema.Value
	add(3, "anna", vals{aTotal: str("FI"), aPlan: str("free"), aAge: schema.IntValue(30), aTags: schema.SetValue("a", "b"), aMail: str("x@y.fi")}, 7)
	add(5, "bert", vals{aTotal: str("DE"), aPlan: str("plus"), aAge: schema.IntValue(0)})
	add(70000, "cleo", vals{aTotal: str("FI"), aPlan: str("plus"), aTags: schema.SetValue("b")})
	add(70001, "dora", vals{aTotal: str("NL"), aAge: schema.IntValue(math.MaxInt64)}, 7, 8)
	return newMemView(memSchema(), profiles, 2, exact, 1)
}

func mustCount(t *testing.T, v *memView, n Node) Count {
	t.Helper()
	p, err := Prepare(context.Background(), n, v)
	if err != nil {
		t.Fatal(err)
	}
	c, err := CountOf(context.Background(), v, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// By hand: what is true, unknown and an error of the four.
func TestCounts(t *testing.T) {
	v := fixed(false)
	age := &Column{Attr: aAge, Kind: schema.Int}
	lit := func(n int64) Arith { return &Literal{schema.IntValue(n)} }
	in := func(a schema.AttrID, values ...string) Node {
		n := &In{Attr: a}
		for _, s := range values {
			n.Values = append(n.Values, str(s))
		}
		return n
	}
	f := func(n Node, yes, unknown, failed uint64) {
		t.Helper()
		if c := mustCount(t, v, n); c.Count != yes || c.Unknown != unknown || c.Errors != failed {
			t.Errorf("%s: %d true, %d unknown, %d errors; want %d, %d, %d", describe(n), c.Count, c.Unknown, c.Errors, yes, unknown, failed)
		}
	}
	f(in(aTotal, "FI"), 2, 0, 0)
	f(&Not{in(aTotal, "FI")}, 2, 0, 0)
	f(in(aPlan, "plus"), 2, 1, 0)
	f(&Not{in(aPlan, "plus")}, 1, 1, 0)
	f(in(aPlan), 0, 1, 0)
	f(in(aPlan, "never seen"), 0, 1, 0)
	f(in(aMail, "x@y.fi"), 1, 3, 0)
	f(in(schema.KeyAttr, "bert", "dora", "emil"), 2, 0, 0)
	f(&Has{Attr: aAge}, 3, 0, 0)
	f(&InList{Code: 7}, 2, 0, 0)
	f(&SetHas{Attr: aTags, Values: []string{"b"}}, 2, 0, 0)
	f(&SetHas{Attr: aTags, All: true, Values: []string{"b", "a"}}, 1, 0, 0)
	f(&SetHas{Attr: aTags, All: true, Values: []string{"b", "z"}}, 0, 0, 0)
	f(&SetHas{Attr: aTags, All: true}, 4, 0, 0)
	f(&SetHas{Attr: aTags}, 0, 0, 0)
	f(&Range{Attr: aAge, Lo: 1, Hi: 40}, 1, 1, 0)
	f(&Range{Attr: aAge, Lo: 5, Hi: 4}, 0, 1, 0)
	f(&Compare{Op: GT, L: &Binary{Plus, age, lit(1), schema.Int, 0}, R: lit(5)}, 1, 2, 1)
	f(&Compare{Op: EQ, L: &Binary{Div, lit(60), age, schema.Int, 0}, R: lit(2)}, 1, 2, 1)
	// Of bert's division by zero nothing is left where something else decides.
	bad := &Compare{Op: EQ, L: &Binary{Div, lit(60), age, schema.Int, 0}, R: lit(2)}
	f(&And{[]Node{bad, in(aTotal, "FI")}}, 1, 1, 0)
	f(&Or{[]Node{bad, in(aTotal, "DE")}}, 2, 1, 0)
	f(&And{[]Node{&Const{Unknown}, in(aTotal, "FI")}}, 0, 2, 2)
	f(&Const{Unknown}, 0, 4, 4)
	f(&Const{True}, 4, 0, 0)
	f(&And{}, 4, 0, 0)
	f(&Or{}, 0, 0, 0)
}

// Numbers that the view has at hand need no data.
func TestCountReadsNothing(t *testing.T) {
	v := fixed(true)
	plus := &In{Attr: aPlan, Values: []schema.Value{str("plus")}}
	for _, n := range []Node{plus, &Not{plus}, &Has{Attr: aTags}, &Const{True}, &Segment{Of: plus},
		&SetHas{Attr: aTags, Values: []string{"b"}}, &InList{Code: 7}, &In{Attr: aPlan, Values: []schema.Value{str("plus"), str("free")}}} {
		before := v.reads.Load()
		got := mustCount(t, v, n)
		if v.reads.Load() != before {
			t.Errorf("%s was read", describe(n))
		}
		want := reference(v, n).counts
		if got.Count != want.yes || got.Unknown != want.unknown {
			t.Errorf("%s: %d, %d unknown; want %d, %d", describe(n), got.Count, got.Unknown, want.yes, want.unknown)
		}
	}
	two := &SetHas{Attr: aTags, Values: []string{"a", "b"}} // anna has both
	if c := mustCount(t, v, two); c.Count != 2 {
		t.Errorf("%d people have a or b, want 2", c.Count)
	}
}

func TestSimplify(t *testing.T) {
	x, y := &Has{Attr: aAge}, &Has{Attr: aPlan}
	rng := func(lo, hi int64) Node { return &Range{Attr: aAge, Lo: lo, Hi: hi} }
	in := func(values ...string) Node {
		n := &In{Attr: aPlan}
		for _, s := range values {
			n.Values = append(n.Values, str(s))
		}
		return n
	}
	f := func(n, want Node) {
		t.Helper()
		if got, err := simplify(n); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %s (%v), want %s", describe(got), err, describe(want))
		}
	}
	f(&Not{&Not{x}}, x)
	f(&And{[]Node{x, &And{[]Node{y, &Const{True}}}}}, &And{[]Node{x, y}})
	f(&And{[]Node{x, &Const{False}}}, &Const{False})
	f(&Or{[]Node{x, &Const{True}}}, &Const{True})
	f(&Or{[]Node{x, &Const{False}}}, x)
	f(&Not{&Or{[]Node{x, y}}}, &And{[]Node{&Not{x}, &Not{y}}})
	f(&And{[]Node{rng(1, 9), x, rng(5, 20)}}, &And{[]Node{rng(5, 9), x}})
	f(&And{[]Node{rng(1, 2), rng(5, 20)}}, rng(5, 2))
	f(&Or{[]Node{rng(1, 5), rng(6, 20)}}, rng(1, 20))
	f(&Or{[]Node{rng(1, 5), rng(7, 20)}}, &Or{[]Node{rng(1, 5), rng(7, 20)}})
	f(&Or{[]Node{rng(math.MaxInt64, math.MaxInt64), rng(5, 4)}}, &Or{[]Node{rng(math.MaxInt64, math.MaxInt64), rng(5, 4)}})
	f(&Or{[]Node{in("a"), in("b")}}, in("a", "b"))
	f(&And{[]Node{in("a", "b"), in("b", "c")}}, in("b"))
	if _, err := simplify(&Not{}); !errors.Is(err, &Error{Code: CodeInternal}) {
		t.Errorf("a hole: %v", err)
	}
}

func TestPrepareErrors(t *testing.T) {
	v := fixed(true)
	f := func(n Node, code Code) {
		t.Helper()
		if _, err := Prepare(context.Background(), n, v); !errors.Is(err, &Error{Code: code}) {
			t.Errorf("%s: %v, want code %d", describe(n), err, code)
		}
	}
	at := Place{Span: Span{3, 9}}
	f(&Has{at, 99}, CodeUnknownName)
	f(&In{at, aTags, nil}, CodeType)
	f(&In{at, aAge, []schema.Value{str("x")}}, CodeType)
	f(&Range{at, aPlan, 0, 1}, CodeType)
	f(&Match{at, aAge, Contains, "x"}, CodeType)
	f(&Match{at, aPlan, Matches, "("}, CodeSyntax)
	f(&Match{at, aPlan, 99, "("}, CodeInternal)
	f(&SetHas{at, aAge, true, []string{"x"}}, CodeType)
	f(&Residual{Place: at}, CodeInternal)
	age := &Column{aAge, schema.Int, 0}
	f(&Compare{at, EQ, age, &Literal{schema.FloatValue(1)}}, CodeType)
	f(&Compare{at, 99, age, age}, CodeInternal)
	f(&Compare{at, EQ, &Binary{99, age, age, schema.Int, 0}, age}, CodeType)
	f(&Compare{at, EQ, &Binary{Mod, &Column{aScore, schema.Float, 0}, &Column{aScore, schema.Float, 0}, schema.Float, 0}, age}, CodeType)
	f(&Compare{at, EQ, &Column{aMoney, schema.Decimal, 3}, age}, CodeType)
	f(&Compare{at, EQ, &Convert{age, schema.Timestamp, 0}, age}, CodeType)
	f(&Compare{at, EQ, nil, age}, CodeInternal)
	_, err := Prepare(context.Background(), &Has{at, 99}, v)
	if e := (*Error)(nil); !errors.As(err, &e) || e.Span != at.Span {
		t.Errorf("the error has no place: %v", err)
	}
}

// Every read may fail: then the question fails, and nothing is left behind.
func TestFaults(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	v := randomView(r, 300)
	v.exact = false
	tree := &Or{[]Node{
		&And{[]Node{&In{Attr: aPlan, Values: []schema.Value{str("plus")}}, &Match{Attr: aMail, Op: Contains, Text: "1"},
			&Compare{Op: LT, L: &Column{aAge, schema.Int, 0}, R: &Literal{schema.IntValue(50)}}}},
		&Residual{Attrs: []schema.AttrID{aTags, aMail}, Eval: func([]schema.Value, [][]Act, Env) (Truth, bool) { return False, false }},
		&In{Attr: aMail, Values: []schema.Value{str("user1@example.fi")}},
		&Range{Attr: aBorn, Lo: 0, Hi: 5}, &Match{Attr: aMany, Op: Greater, Text: "m1"},
	}}
	p, err := Prepare(context.Background(), tree, v)
	if err != nil {
		t.Fatal(err)
	}
	ctx, all := context.Background(), v.schema.Attributes
	order := *v.schema.ByID(aCity)
	calls := map[string]func() error{
		"count":  func() error { _, err := CountOf(ctx, v, p, Options{}); return err },
		"bitmap": func() error { _, _, err := BitmapOf(ctx, v, p, Options{}); return err },
		"breakdown": func() error {
			_, err := BreakdownOf(ctx, v, p, Field{Attribute: order}, BreakdownOptions{})
			return err
		},
		"explain": func() error { _, err := ExplainOf(ctx, v, tree, Options{}); return err },
		"members": func() error {
			m, err := MembersOf(ctx, v, p, fieldsOf(all), &Field{Attribute: order}, MembersOptions{}, nil)
			if err != nil {
				return err
			}
			for _, err := range m.Rows {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"profile": func() error { _, _, err := ProfileOf(ctx, v, v.ords[0]); return err },
		"values":  func() error { _, err := ValuesOf(ctx, v, order, "", 0); return err },
	}
	for name, call := range calls {
		v.reads.Store(0)
		v.failAt = 0
		if err := call(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		reads := v.reads.Load()
		for at := int64(1); at <= reads; at += 1 + reads/40 {
			v.reads.Store(0)
			v.failAt = at
			if err := call(); !errors.Is(err, &Error{Code: CodeCorrupt}) {
				t.Errorf("%s with a broken read %d of %d: %v", name, at, reads, err)
			}
		}
		if n := v.cursors.Load(); n != 0 {
			t.Errorf("%s left %d cursors open", name, n)
		}
	}
}

// A cancelled question ends with the context's error, also in the middle of a chunk.
func TestCancel(t *testing.T) {
	v := denseView(rand.New(rand.NewPCG(3, 4)))
	for after := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		runs := 0
		n := &Residual{Attrs: []schema.AttrID{aAge}, Eval: func([]schema.Value, [][]Act, Env) (Truth, bool) {
			if runs++; runs == after*batchSize+1 {
				cancel()
			}
			return True, false
		}}
		if after == 0 {
			cancel()
		}
		p, err := Prepare(context.Background(), n, v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CountOf(ctx, v, p, Options{Parallelism: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("count: %v", err)
		}
		if runs > (after+1)*batchSize {
			t.Errorf("%d profiles were evaluated, cancelled after %d batches", runs, after)
		}
		cancel()
	}
	p, err := Prepare(context.Background(), &Const{True}, v)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m, err := MembersOf(ctx, v, p, nil, nil, MembersOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, err := range m.Rows {
		if cancel(); err != nil {
			if !errors.Is(err, context.Canceled) || seen > batchSize {
				t.Errorf("%v after %d members", err, seen)
			}
			return
		}
		seen++
	}
	t.Error("a cancelled listing went on to its end")
}

func TestArithmeticEdges(t *testing.T) {
	const lo, hi = math.MinInt64, math.MaxInt64
	f := func(op ArithOp, a, b, want int64, ok bool) {
		t.Helper()
		if got, fine := intOp(op)(a, b); fine != ok || ok && got != want {
			t.Errorf("%d op %d %d = %d, %v; want %d, %v", a, op, b, got, fine, want, ok)
		}
	}
	f(Plus, hi, 1, 0, false)
	f(Plus, lo, -1, 0, false)
	f(Plus, lo, hi, -1, true)
	f(Minus, 0, lo, 0, false)
	f(Minus, -1, lo, hi, true)
	f(Times, lo, -1, 0, false)
	f(Times, lo, 1, lo, true)
	f(Times, 1<<32, 1<<31, 0, false)
	f(Times, -1<<32, 1<<31, lo, true)
	f(Div, lo, -1, 0, false)
	f(Div, -7, 2, -3, true)
	f(Div, 1, 0, 0, false)
	f(Mod, -7, 2, -1, true)
	f(Mod, lo, -1, 0, false)
	if c := compareScaled(hi, 0, hi, 18); c != 1 {
		t.Errorf("a large decimal is not larger: %d", c)
	}
	if c := compareScaled(-150, 2, -15, 1); c != 0 {
		t.Errorf("-1.50 and -1.5 differ: %d", c)
	}
	if d := decimalFloat(9007199254740993, 3); d != 9007199254740.993 {
		t.Errorf("rounded twice: %v", d)
	}
}

func TestProfileAndValues(t *testing.T) {
	for _, exact := range []bool{true, false} {
		v := fixed(exact)
		ctx := context.Background()
		p, lists, err := ProfileOf(ctx, v, 3)
		var names []string
		for _, a := range p.Values {
			names = append(names, a.Name+"="+a.Value.String())
		}
		if err != nil || p.Key != "anna" || !slices.Equal(lists, []uint32{7}) ||
			!slices.Equal(names, []string{"plan=free", "email=x@y.fi", "age=30", "tags=a|b", "country=FI"}) {
			t.Errorf("anna is %+v %v %v, %v", p, names, lists, err)
		}
		for _, o := range []uint32{4, 80000, 1 << 31} {
			if _, _, err := ProfileOf(ctx, v, o); !errors.Is(err, &Error{Code: CodeUnknownName}) {
				t.Errorf("ordinal %d: %v", o, err)
			}
		}
		f := func(attr schema.AttrID, prefix string, limit int, want ...ValueCount) {
			t.Helper()
			if got, err := ValuesOf(ctx, v, *v.schema.ByID(attr), prefix, limit); err != nil || !slices.Equal(got, want) {
				t.Errorf("values of %d with %q: %v, %v", attr, prefix, got, err)
			}
		}
		f(aPlan, "", 0, ValueCount{"plus", 2}, ValueCount{"free", 1})
		f(aPlan, "f", 0, ValueCount{"free", 1})
		f(aTags, "", 1, ValueCount{"b", 2})
		f(aMail, "x", 0, ValueCount{"x@y.fi", 1})
		f(aMail, "y", 0)
		f(aAge, "3", 0, ValueCount{"30", 1})
		f(aMany, "", 0)
	}
}

// A breakdown by a near-unique attribute ends before it fills the memory.
func TestBreakdownLimit(t *testing.T) {
	c := &valueCounts{attr: schema.Attribute{Name: "x", Kind: schema.Int}, byInt: map[int64]uint64{}}
	for i := range int64(MaxBreakdownValues) {
		c.byInt[i] = 1
	}
	if err := c.limit(len(c.byInt)); err != nil {
		t.Error(err)
	}
	o := &valueCounts{byInt: map[int64]uint64{-1: 1}}
	if err := c.merge(o); !errors.Is(err, &Error{Code: CodeLimit}) {
		t.Errorf("one too many: %v", err)
	}
}

// A cursor means the same after its value is gone from the dictionary.
func TestCursorOfVanishedString(t *testing.T) {
	v := fixed(true)
	p, err := Prepare(context.Background(), &Const{True}, v)
	if err != nil {
		t.Fatal(err)
	}
	order := v.schema.ByID(aTotal)
	f := func(text string, desc bool, want ...string) {
		t.Helper()
		after := cursorText(place{text: []byte(text), ordinal: 1 << 20}, order, desc)
		m, err := MembersOf(context.Background(), v, p, nil, fieldOf(order), MembersOptions{Desc: desc, After: after}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row, err := range m.Rows {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, row.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %q, descending %v: %v, want %v", text, desc, got, want)
		}
	}
	f("EE", false, "anna", "cleo", "dora")
	f("EE", true, "bert")
	f("FI", false, "dora")
	f("A", true)
	f("Z", false)
	f("Z", true, "dora", "anna", "cleo", "bert")
}

func fieldsOf(all []schema.Attribute) (out []Field) {
	for _, a := range all {
		out = append(out, Field{Attribute: a})
	}
	return out
}

func fieldOf(a *schema.Attribute) *Field {
	if a == nil {
		return nil
	}
	return &Field{Attribute: *a}
}

func TestMembersErrors(t *testing.T) {
	v := fixed(true)
	p, err := Prepare(context.Background(), &Const{True}, v)
	if err != nil {
		t.Fatal(err)
	}
	age, tags := v.schema.ByID(aAge), v.schema.ByID(aTags)
	f := func(order *schema.Attribute, o MembersOptions, code Code) {
		t.Helper()
		if _, err := MembersOf(context.Background(), v, p, nil, fieldOf(order), o, nil); !errors.Is(err, &Error{Code: code}) {
			t.Errorf("%+v: %v, want code %d", o, err, code)
		}
	}
	f(tags, MembersOptions{}, CodeType)
	f(nil, MembersOptions{Limit: -1}, CodeInvalid)
	f(nil, MembersOptions{AfterKey: "nobody"}, CodeUnknownName)
	f(nil, MembersOptions{After: "?"}, CodeInvalid)
	f(nil, MembersOptions{After: "7777"}, CodeInvalid)
	f(nil, MembersOptions{After: "x", AfterKey: "y"}, CodeInvalid)
	f(nil, MembersOptions{After: cursorText(place{num: 3}, age, false)}, CodeInvalid)
	f(age, MembersOptions{Desc: true, After: cursorText(place{num: 3}, age, false)}, CodeInvalid)
	f(age, MembersOptions{After: cursorText(place{}, nil, false)}, CodeInvalid)
	f(nil, MembersOptions{After: "AgAAAAAA"}, CodeNewerFormat)
}

// Example bytes of the format, as its comment says.
func TestCursorGolden(t *testing.T) {
	age := &schema.Attribute{ID: 20, Kind: schema.Int}
	got := cursorText(place{num: 30, ordinal: 70001}, age, true)
	if want := "AQNxEQEAFAAAAB4AAAAAAAAA"; got != want {
		t.Errorf("the cursor is %q, want %q", got, want)
	}
	p, err := parseCursor("AQNxEQEAFAAAAB4AAAAAAAAA", age, true)
	if err != nil || p.num != 30 || p.ordinal != 70001 || !p.set || p.absent {
		t.Errorf("parsed as %+v, %v", p, err)
	}
}

func FuzzCursor(f *testing.F) {
	text := &schema.Attribute{ID: 20, Kind: schema.String}
	num := &schema.Attribute{ID: 21, Kind: schema.Int}
	f.Add(cursorText(place{ordinal: 5}, nil, false))
	f.Add(cursorText(place{ordinal: 5, text: []byte("x")}, text, true))
	f.Add(cursorText(place{ordinal: 5, num: -1}, num, false))
	f.Add(cursorText(place{ordinal: 5, absent: true}, num, false))
	f.Fuzz(func(t *testing.T, s string) {
		for _, order := range []*schema.Attribute{nil, text, num} {
			for _, desc := range []bool{false, true} {
				p, err := parseCursor(s, order, desc)
				if err != nil {
					continue
				}
				q, err := parseCursor(cursorText(p, order, desc), order, desc)
				if err != nil || !reflect.DeepEqual(p, q) {
					t.Errorf("%+v came back as %+v, %v", p, q, err)
				}
			}
		}
	})
}

func TestLabels(t *testing.T) {
	s := memSchema()
	f := func(n Node, want string) {
		t.Helper()
		if got := label(s, n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(&In{Attr: aPlan, Values: []schema.Value{str("a\"b")}}, `plan == "a\"b"`)
	f(&In{Attr: aCity, Values: []schema.Value{str("a"), str("b")}}, `p["Home city"] in ["a", "b"]`)
	f(&Has{Attr: aAge}, `has(p.age)`)
	f(&Has{Attr: aCity}, `has(p["Home city"])`)
	f(&Range{Attr: aMoney, Lo: 100, Hi: 2050}, `money >= 1.00 && money <= 20.50`)
	f(&Range{Attr: aBorn, Lo: math.MinInt64, Hi: 0}, `born <= date("1970-01-01")`)
	f(&SetHas{Attr: aTags, Values: []string{"x"}}, `"x" in tags`)
	f(&SetHas{Attr: aTags, All: true, Values: []string{"a", "b", "c", "d", "e", "f", "g"}}, `tags.hasAll(["a", "b", "c", "d", "e", ... 2 more])`)
	f(&Match{Attr: aPlan, Op: Less, Text: "x"}, `plan < "x"`)
	f(&Compare{Op: GE, L: &Binary{Times, &Column{aAge, schema.Int, 0}, &Literal{schema.IntValue(2)}, schema.Int, 0},
		R: &Negate{&Column{aWide, schema.Int, 0}}}, `(age * 2) >= -wide`)
}

// People in chunks of their own, so that parallel workers meet.
func TestParallel(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for i := range uint32(300) {
		profiles[i<<bitmap.ChunkBits|i] = &memProfile{key: fmt.Sprint(i), values: map[schema.AttrID]schema.Value{aAge: schema.IntValue(int64(i % 7))}}
	}
	v := newMemView(memSchema(), profiles, 300, false, 9)
	n := &Range{Attr: aAge, Lo: 2, Hi: 4}
	want := reference(v, n).counts.yes
	p, err := Prepare(context.Background(), n, v)
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{0, 1, 2, 7, 500} {
		c, err := CountOf(context.Background(), v, p, Options{Parallelism: workers})
		if err != nil || c.Count != want {
			t.Errorf("%d workers: %d, %v; want %d", workers, c.Count, err, want)
		}
		b, err := BreakdownOf(context.Background(), v, p, Field{Attribute: *v.schema.ByID(aAge)}, BreakdownOptions{Options: Options{Parallelism: workers}})
		if err != nil || b.People != want || len(b.Rows) != 3 {
			t.Errorf("%d workers: %+v, %v", workers, b, err)
		}
	}
}

// Ordinals found at the edges of chunks.
func TestFindEdges(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for _, o := range []uint32{0, 1, 65535, 65536, 65537, 131071, 131072, 200000, 4*65536 - 1} {
		profiles[o] = &memProfile{key: fmt.Sprint(o), values: map[schema.AttrID]schema.Value{aMail: str("x"), aAge: schema.IntValue(1)}}
	}
	for chunks := 4; chunks < 7; chunks++ {
		v := newMemView(memSchema(), profiles, chunks, false, 9)
		p, err := Prepare(context.Background(), &In{Attr: aMail, Values: []schema.Value{str("x"), str("nobody")}}, v)
		if err != nil {
			t.Fatal(err)
		}
		bm, _, err := BitmapOf(context.Background(), v, p, Options{})
		if err != nil || !slices.Equal(bm.ToArray(), v.ords) {
			t.Errorf("%d chunks: %v, %v", chunks, bm, err)
		}
	}
}

// Conjunctions and disjunctions so wide that buffers are given back on the way.
func TestWide(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 5))
		v := randomView(r, 200)
		var kids []Node
		for i := range 80 {
			leaf := Node(&Match{Attr: aMany, Op: []MatchOp{Less, GreaterEqual}[i%2], Text: fmt.Sprintf("m%03d", r.IntN(600))})
			rare := &In{Attr: aCity, Values: []schema.Value{str(fmt.Sprintf("city%d", r.IntN(30)))}}
			or := &Or{[]Node{&Not{rare}, &Has{Attr: aScore}, &In{Attr: aPlan, Values: []schema.Value{str("plus"), str("free")}}}}
			if seed%2 == 0 { // operands that look at the undecided only
				or = &Or{[]Node{leaf, &Not{rare}, &Range{Attr: aWide, Lo: int64(i), Hi: 1 << 40}}}
			}
			kids = append(kids, or)
		}
		for _, n := range []Node{&And{kids}, &Or{[]Node{&And{kids[:40]}, &And{kids[40:]}}}, &Not{&And{kids}}} {
			c := &checker{t: t, r: r, v: v, tree: n, want: reference(v, n)}
			if c.check(0, map[string]int{}); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// endless is a view whose dictionary goes on until somebody has had enough.
type endless struct {
	View
	cancel context.CancelFunc
	strs   int
}

func (v *endless) Codes(_ schema.AttrID, f func(code uint32, s string) bool) {
	for ; v.strs < 1<<20 && f(uint32(v.strs), "x"); v.strs++ {
		if v.strs == 3*testsBetween {
			v.cancel()
		}
	}
}

// TestPrepareCancelled: a test of each string of a dictionary ends with its context.
func TestPrepareCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	v := &endless{View: fixed(false), cancel: cancel}
	_, err := Prepare(ctx, &Match{Attr: aPlan, Op: Matches, Text: "x"}, v)
	if !errors.Is(err, context.Canceled) || v.strs > 4*testsBetween {
		t.Errorf("%v after %d strings", err, v.strs)
	}
}
