package syntax

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file holds the slow, obvious evaluation of a tree for one profile, written
// from query/node.go, and the random test that holds it against CEL's interpreter.

// person is one profile, or one event with its properties as values.
type person struct {
	values map[schema.AttrID]schema.Value
	lists  map[string]bool
	acts   map[schema.EventID][]query.Act
	schema *schema.Schema // of acts
	env    query.Env
	absent *int // counts what was absent, if not nil
}

// none notes that a value is absent.
func (p person) none() {
	if p.absent != nil {
		*p.absent++
	}
}

func (p person) inList(name string) bool           { return p.lists[name] }
func (p person) act(id schema.EventID) []query.Act { return p.acts[id] }

func (p person) value(id schema.AttrID) schema.Value {
	if id != schema.ListsAttr {
		return p.values[id]
	}
	var in []string
	for name, is := range p.lists {
		if is {
			in = append(in, name)
		}
	}
	return schema.SetValue(in...)
}

// noted notes a result that is absent.
func (p person) noted(x result) result {
	if x.absent {
		p.none()
	}
	return x
}

// evaluate is the reference evaluator.
func evaluate(n query.Node, p person) (t query.Truth, failed bool) {
	switch n := n.(type) {
	case *query.Const:
		return n.Value, n.Value == query.Unknown
	case *query.And:
		return junctionOf(n.Of, p, query.False, query.True)
	case *query.Or:
		return junctionOf(n.Of, p, query.True, query.False)
	case *query.Not:
		t, failed = evaluate(n.Of, p)
		return [...]query.Truth{query.True, query.False, query.Unknown}[t], failed
	case *query.Segment:
		return evaluate(n.Of, p)
	case *query.If:
		switch t, failed = evaluate(n.Cond, p); t {
		case query.True:
			return evaluate(n.Then, p)
		case query.False:
			return evaluate(n.Else, p)
		}
		return t, failed
	case *query.Has:
		v := p.value(n.Attr)
		return truthOf(!v.IsAbsent() && (v.Kind() != schema.Set || len(v.Elements()) > 0)), false
	case *query.InList:
		return truthOf(p.inList(n.Name)), false
	case *query.SetHas:
		return truthOf(setHas(p.value(n.Attr).Elements(), n)), false
	case *query.Residual:
		var values []schema.Value
		for _, a := range n.Attrs {
			values = append(values, p.value(a))
		}
		var acts [][]query.Act
		for _, id := range n.Events {
			acts = append(acts, p.until(id))
		}
		t, failed := n.Eval(values, acts, p.env)
		if t == query.Unknown && !failed {
			p.none()
		}
		return t, failed
	case *query.Compare:
		return evaluateCompare(n, p)
	case *query.Any, *query.Sequence, *query.OneIs, *query.AverageIs:
		return evaluateEvents(n, p)
	}
	t = evaluateTest(n, p)
	if t == query.Unknown {
		p.none()
	}
	return t, false
}

func truthOf(b bool) query.Truth {
	if b {
		return query.True
	}
	return query.False
}

func junctionOf(of []query.Node, p person, absorbing, neutral query.Truth) (t query.Truth, failed bool) {
	t = neutral
	for _, x := range of {
		u, f := evaluate(x, p)
		failed = failed || f
		if u == absorbing {
			return absorbing, false
		}
		if u == query.Unknown {
			t = query.Unknown
		}
	}
	return t, failed
}

func setHas(elements []string, n *query.SetHas) bool {
	for _, v := range n.Values {
		if slices.Contains(elements, v) != n.All {
			return !n.All
		}
	}
	return n.All
}

// evaluateTest evaluates a test of one scalar attribute.
func evaluateTest(n query.Node, p person) query.Truth {
	switch n := n.(type) {
	case *query.In:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return query.Unknown
		}
		return truthOf(slices.ContainsFunc(n.Values, v.Equal))
	case *query.Range:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return query.Unknown
		}
		return truthOf(n.Lo <= v.Ordered() && v.Ordered() <= n.Hi)
	case *query.Match:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return query.Unknown
		}
		s := v.Str()
		return truthOf([...]bool{strings.HasPrefix(s, n.Text), strings.HasSuffix(s, n.Text), strings.Contains(s, n.Text),
			n.Op == query.Matches && regexp.MustCompile(n.Text).MatchString(s), s < n.Text, s <= n.Text, s > n.Text, s >= n.Text}[n.Op])
	}
	panic(fmt.Sprintf("no reference for %T", n))
}

type result struct {
	absent, failed bool
	n              *big.Int // ordered form of ints, decimals, dates, timestamps
	f              float64
	kind           schema.Kind
	scale          uint8
}

func evaluateCompare(n *query.Compare, p person) (query.Truth, bool) {
	a, b := calculate(n.L, p), calculate(n.R, p)
	if a.absent || b.absent || a.failed || b.failed {
		return query.Unknown, a.failed || b.failed
	}
	if a.kind != b.kind {
		panic(fmt.Sprintf("comparison of %v with %v", a.kind, b.kind))
	}
	if a.kind == schema.Float {
		return truthOf([...]bool{a.f == b.f, a.f != b.f, a.f < b.f, a.f <= b.f, a.f > b.f, a.f >= b.f}[n.Op]), false
	}
	c := rational(a).Cmp(rational(b))
	return truthOf([...]bool{c == 0, c != 0, c < 0, c <= 0, c > 0, c >= 0}[n.Op]), false
}

func exactly(n *big.Int, kind schema.Kind, scale uint8) result {
	return result{n: n, kind: kind, scale: scale, failed: !n.IsInt64()}
}

func fromValue(v schema.Value) result {
	switch {
	case v.IsAbsent():
		return result{absent: true}
	case v.Kind() == schema.Float:
		return result{f: v.Float(), kind: schema.Float}
	}
	return exactly(big.NewInt(v.Ordered()), v.Kind(), v.Scale())
}

func calculate(a query.Arith, p person) result {
	switch a := a.(type) {
	case *query.Column:
		return p.noted(fromValue(p.value(a.Attr)))
	case *query.Literal:
		return fromValue(a.Value)
	case *query.Negate:
		x := calculate(a.Of, p)
		if x.absent || x.failed {
			return x
		}
		if x.kind == schema.Float {
			x.f = -x.f
			return x
		}
		return exactly(new(big.Int).Neg(x.n), x.kind, x.scale)
	case *query.Convert:
		return convert(calculate(a.Of, p), a)
	case *query.Binary:
		x, y := calculate(a.L, p), calculate(a.R, p)
		if x.absent || x.failed {
			return x
		}
		if y.absent || y.failed {
			return y
		}
		return operate(a, x, y)
	case *query.Fold:
		return p.noted(foldOf(a, p))
	}
	panic(fmt.Sprintf("no reference for %T", a))
}

func rational(x result) *big.Rat { return new(big.Rat).SetFrac(x.n, pow10(int(x.scale))) }

func convert(x result, c *query.Convert) result {
	switch {
	case x.absent || x.failed:
		return x
	case c.Kind == schema.Float && x.kind == schema.Int:
		return result{kind: schema.Float, f: float64(x.n.Int64())}
	case c.Kind == schema.Float:
		f, _ := rational(x).Float64()
		return result{kind: schema.Float, f: f}
	}
	return exactly(new(big.Int).Mul(x.n, pow10(int(c.Scale)-int(x.scale))), schema.Decimal, c.Scale)
}

func operate(a *query.Binary, x, y result) result {
	if x.kind != y.kind || x.kind != a.Kind || a.Op != query.Times && (x.scale != y.scale || x.scale != a.Scale) {
		panic(fmt.Sprintf("operands %v/%d and %v/%d of a %v/%d", x.kind, x.scale, y.kind, y.scale, a.Kind, a.Scale))
	}
	if x.kind == schema.Float {
		return result{kind: schema.Float, f: [...]float64{x.f + y.f, x.f - y.f, x.f * y.f, x.f / y.f, 0}[a.Op]}
	}
	n := new(big.Int)
	switch a.Op {
	case query.Plus:
		n.Add(x.n, y.n)
	case query.Minus:
		n.Sub(x.n, y.n)
	case query.Times:
		n.Mul(x.n, y.n)
	default:
		if y.n.Sign() == 0 {
			return result{failed: true}
		}
		// The smallest int has no quotient and no remainder by -1, as in CEL.
		if quo := n.Quo(x.n, y.n); a.Op == query.Mod && quo.IsInt64() {
			n = new(big.Int).Rem(x.n, y.n)
		}
	}
	return exactly(n, a.Kind, a.Scale)
}

// writer writes random expressions over the test world.
type writer struct{ *rand.Rand }

func (w writer) of(choices ...string) string { return choices[w.IntN(len(choices))] }

func (w writer) truth(depth int) string {
	if depth <= 0 {
		return w.test()
	}
	switch w.IntN(12) {
	case 0, 1, 2:
		return "(" + w.truth(depth-1) + " && " + w.truth(depth-1) + ")"
	case 3, 4, 5:
		return "(" + w.truth(depth-1) + " || " + w.truth(depth-1) + ")"
	case 6:
		return "!(" + w.truth(depth-1) + ")"
	case 7:
		return "((" + w.truth(0) + ")" + w.of(" == ", " != ") + "(" + w.truth(0) + "))"
	case 8:
		return "(" + w.truth(0) + " ? " + w.truth(0) + " : " + w.truth(0) + ")"
	}
	return w.test()
}

func (w writer) test() string {
	cmp := w.of(" == ", " != ", " < ", " <= ", " > ", " >= ")
	switch w.IntN(18) {
	case 0:
		return w.text() + cmp + `"` + w.of("", "a", "IT", "FI", "Zoë", "it") + `"`
	case 1:
		return w.text() + " in [" + w.of(`"IT"`, `"IT", "FI", "a"`, `"x"`, "") + "]"
	case 2:
		return w.text() + "." + w.of("startsWith", "endsWith", "contains", "matches") + `("` + w.of("", "I", "T", "IT", "^I", "o.", "ë") + `")`
	case 3:
		return w.of("opt_in", "vip", "opt_in == true", "vip != false", "opt_in == vip", "!vip", "true", "opt_in in [true]")
	case 4:
		return "has(p." + w.of("age", "ltv", "country", "interests", "opt_in", "born") + ")"
	case 5:
		return `"` + w.of("cook", "wine", "golf") + `" in interests`
	case 6:
		return "interests." + w.of("hasAny", "hasAll") + "([" + w.of("", `"cook"`, `"wine", "cook"`, `"golf", "x", "golf"`) + "])"
	case 7:
		return w.of(`in_list("staff")`, `in_list("press")`, `in_segment("adults")`, `in_segment("newsletter")`, `in_segment("recent")`)
	case 8:
		return w.date() + cmp + w.date()
	case 9:
		return w.time() + cmp + w.time()
	case 10:
		return w.of("now - last_seen", "signup - timestamp(\"2020-01-01T00:00:00Z\")", "last_seen - signup", "today(\"UTC\") - born", "born - date(\"1990-06-15\")") + cmp + w.of("days(0)", "days(30)", "hours(-36)", "days(4000)")
	case 11:
		return w.of("interests.exists(x, x.startsWith(\"c\"))", "interests.all(x, x != \"wine\")", "size(interests) > 1", "size(country) == 2", "country == email", "country < email", "country + email == \"ITa\"")
	case 12:
		return w.number(1) + " in [" + w.constant() + ", " + w.constant() + "]"
	case 13:
		return "(has(p.ltv) ? " + w.of("ltv", "p.ltv", "5", "age") + " : " + w.of("0", "0.5") + ")" + cmp + w.constant()
	}
	return w.number(2) + cmp + w.number(2)
}

func (w writer) text() string { return w.of("country", "plan", "email", "p.country", `p["plan"]`) }

func (w writer) date() string {
	return w.of("born", "expires", `date("1990-06-15")`, `date("2026-06-15")`, `today("Europe/Rome")`, `date(signup, "America/New_York")`,
		`today("UTC") - days(30)`, `date(last_seen, "UTC")`, `date(now, "Pacific/Auckland")`, `date(signup, zone)`, `date(signup, "America/Havana")`, `date("2026-05-16")`, `born + days(30)`)
}

func (w writer) time() string {
	return w.of("signup", "last_seen", "now", "now - days(30)", `timestamp("2026-06-01T00:00:00.0005Z")`, "now - hours(36)", "signup + days(3)", "last_seen - minutes(5)")
}

func (w writer) constant() string {
	return w.of("0", "1", "-1", "2", "30", "30.5", "0.1", "-0.005", "50.00", "100", "1e3", "9223372036854775807", "-9223372036854775808", "1e30",
		"0.1 + 0.2", "2 * 25", "(1 - 3)", "-(2)", "1.005", "9007199254740993", "5 / 2", "1.0 / 3.0")
}

// number writes a calculation. Many do not fit together; those are errors of Compile.
func (w writer) number(depth int) string {
	if depth <= 0 || w.IntN(3) == 0 {
		return w.of("age", "visits", "score", "ltv", "fee", `p["Order total"]`, "age", "ltv", w.constant(), w.constant(), "double(ltv)", "double(age)", "p.in")
	}
	switch w.IntN(8) {
	case 0:
		return "-(" + w.number(depth-1) + ")"
	case 1:
		return "double(" + w.number(depth-1) + ")"
	}
	return "(" + w.number(depth-1) + w.of(" + ", " - ", " * ", " / ", " % ") + w.number(depth-1) + ")"
}

// person makes a random profile whose values lie near the constants of the writer.
func (w writer) person(s *schema.Schema) person {
	p := person{values: map[schema.AttrID]schema.Value{}, lists: map[string]bool{"staff": w.IntN(2) == 0, "press": w.IntN(2) == 0}}
	ints := []int64{0, 1, -1, 2, 17, 18, 30, 31, 50, 100, 1000, 9007199254740992, 9007199254740993, math.MaxInt64, math.MinInt64, 5000, 5001, 10, 500000}
	missing := w.IntN(3) * 15
	for _, a := range s.Attributes {
		if w.IntN(100) < missing {
			continue
		}
		n := ints[w.IntN(len(ints))]
		var v schema.Value
		switch a.Kind {
		case schema.Bool:
			v = schema.BoolValue(w.IntN(2) == 0)
		case schema.Int:
			v = schema.IntValue(n)
		case schema.Float:
			v = schema.FloatValue([]float64{0, 1, -1, 30, 30.5, 0.1, 0.30000000000000004, 9007199254740992, math.Inf(1), -math.MaxFloat64, 1e30}[w.IntN(11)])
		case schema.Decimal:
			v = schema.DecimalValue(n, a.Scale)
		case schema.String:
			v = schema.StringValue(w.of("", "a", "IT", "FI", "Zoë", "it", "Europe/Rome", "UTC"))
		case schema.Date:
			v = schema.DateValue([]int64{schema.MinDate, schema.MaxDate, 0, 7470, 20619, 20618, 20620, 20589}[w.IntN(8)])
		case schema.Timestamp:
			v = schema.TimestampValue([]int64{schema.MinTimestamp, schema.MaxTimestamp, 0, 1781524800000, 1780272000000, 1780272000001, 1781524800000 - 36*3600000,
				1781524800000 - 30*86400000, 1577836800000}[w.IntN(9)])
		case schema.Set:
			v = schema.SetValue([][]string{{"cook"}, {"cook", "wine"}, {"golf", "x"}, {}}[w.IntN(4)]...)
		}
		p.values[a.ID] = v
	}
	return p
}

func TestPlanEqualsInterpreter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := writer{rand.New(rand.NewPCG(seed, 1))}
	cat := testWorld()
	people := make([]person, 60)
	for i := range people {
		people[i] = w.person(cat.schema)
		people[i].env = testNow
	}
	kinds, compiled := map[string]int{}, 0
	for range 15000 {
		text := w.truth(w.IntN(4))
		e, err := compileAt(w.Rand, testCompiler, text, cat, testNow)
		if err != nil {
			continue
		}
		compiled++
		countKinds(e.Root, kinds)
		for _, p := range people[:20+w.IntN(40)] {
			got, failed := evaluate(e.Root, p)
			want, wantFailed := e.Interpret(p.value, p.act, p.inList, testNow)
			if got != want || len(p.values) == len(cat.schema.Attributes) && failed != wantFailed {
				t.Fatalf("seed %d: %s\n%splan %v %v, interpreter %v %v for %v", seed, text, Print(e.Root, cat.schema), got, failed, want, wantFailed, named(cat.schema, p))
			}
		}
	}
	t.Logf("%d expressions compiled, nodes %v", compiled, kinds)
	if compiled < 5000 {
		t.Errorf("only %d of 15000 random expressions compile", compiled)
	}
	for _, k := range []string{"And", "Or", "Not", "Has", "In", "Range", "Match", "SetHas", "Compare", "InList", "Segment", "Residual", "Const"} {
		if kinds[k] < 100 {
			t.Errorf("node %s occurred %d times, want 100", k, kinds[k])
		}
	}
}

func named(s *schema.Schema, p person) string {
	var out []string
	for _, a := range s.Attributes {
		if v, ok := p.values[a.ID]; ok {
			out = append(out, fmt.Sprintf("%s=%s", a.Name, v))
		}
	}
	return strings.Join(out, " ")
}

func countKinds(n query.Node, kinds map[string]int) {
	kinds[strings.TrimPrefix(fmt.Sprintf("%T", n), "*query.")]++
	switch n := n.(type) {
	case *query.And:
		for _, x := range n.Of {
			countKinds(x, kinds)
		}
	case *query.Or:
		for _, x := range n.Of {
			countKinds(x, kinds)
		}
	case *query.Not:
		countKinds(n.Of, kinds)
	case *query.Segment:
		countKinds(n.Of, kinds)
	case *query.If:
		countKinds(n.Cond, kinds)
		countKinds(n.Then, kinds)
		countKinds(n.Else, kinds)
	case *query.Any:
		countList(n.List, kinds)
	case *query.Sequence:
		for _, l := range n.Of {
			countList(l, kinds)
		}
	case *query.OneIs:
		countList(n.List, kinds)
		countKinds(n.Test, kinds)
	case *query.AverageIs:
		countList(n.List, kinds)
	case *query.Compare:
		countArith(n.L, kinds)
		countArith(n.R, kinds)
	}
}
