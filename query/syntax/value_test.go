package syntax

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// written writes a value as the language does, "" if it has no literal.
func written(v schema.Value, duration bool) string {
	switch v.Kind() {
	case schema.Date, schema.Timestamp:
		if y := v.String()[:4]; y == "0001" || y == "9999" {
			return "" // what is compared there is moved past the ends of time
		}
	}
	switch v.Kind() {
	case schema.String:
		if duration {
			return fmt.Sprintf("duration(%q)", v.Str())
		}
		return strconv.Quote(v.Str())
	case schema.Float:
		if math.IsInf(v.Float(), 0) {
			return fmt.Sprintf("%s1.0 / 0.0", map[bool]string{true: "-"}[v.Float() < 0])
		}
		return "double(" + strconv.FormatFloat(v.Float(), 'e', -1, 64) + ")" // no written number: an average would be exact
	case schema.Date:
		return fmt.Sprintf("date(%q)", v)
	case schema.Timestamp:
		return fmt.Sprintf("timestamp(%q)", v)
	case schema.Set:
		return ""
	}
	return v.String()
}

// TestValueEqualsInterpreter holds the values of random computed attributes against what the
// interpreter says of them: there is one where has() says so, and they equal their literal.
func TestValueEqualsInterpreter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	kinds, planned := map[string]int{}, map[string]int{}
	for range 1200 {
		cat := testWorld()
		n := &naming{eventWriter{writer{r}, cat.schema, testNow.Now}, cat, map[string]string{}}
		x := schema.Computed{Name: "c", Text: n.of(n.truth(1), n.writer.truth(1), n.writer.number(2), n.amount(1), n.date(), n.time(), n.text(), "interests",
			"("+n.truth(1)+" ? "+n.text()+" : "+n.of(n.text(), n.writer.truth(0)+" ? country : \"no\"")+")", "("+n.truth(0)+" ? "+n.writer.number(1)+" : "+n.amount(1)+")",
			"now - signup", "signup - last_seen", "country + plan", "vip ? age : visits", `in_list("staff") || vip`, `in_segment("early")`)}
		v, err := testCompiler.Value(&x, cat, testNow)
		if err != nil {
			checkError(t, x.Text, err)
			continue
		}
		cat.schema = withComputed(cat.schema, x.Name, x.Text)
		duration := v.Attribute.Format == query.FormatDuration
		kinds[v.Attribute.Kind.String()+v.Attribute.Format]++
		for range 8 {
			p := n.person(cat.schema)
			p.schema, p.env, p.absent, p.acts = cat.schema, testNow, new(int), map[schema.EventID][]query.Act{}
			for j := range cat.schema.Events {
				p.acts[cat.schema.Events[j].ID] = n.acts(&cat.schema.Events[j])
			}
			got := valueOf(v, p)
			if v.Plan != nil {
				planned[v.Attribute.Kind.String()]++
				if plan := chosen(v.Plan, p); !plan.Equal(got) || plan.Scale() != got.Scale() {
					t.Fatalf("seed %d: %s is %v by its plan, %v by the interpreter for %v", seed, x.Text, plan, got, named(cat.schema, p))
				}
			}
			if k := got.Kind(); k != schema.Absent && (k != v.Attribute.Kind || got.Scale() != v.Attribute.Scale) {
				t.Fatalf("seed %d: %s is %v, a %v of scale %d, for %+v", seed, x.Text, got, k, got.Scale(), v.Attribute)
			}
			has := !got.IsAbsent() && (got.Kind() != schema.Set || len(got.Elements()) > 0)
			if is := interpret(t, "has(c)", cat, p); is != has && !strange(t, cat, v, p) {
				t.Fatalf("seed %d: %s is %v, has() says %v for %v", seed, x.Text, got, is, named(cat.schema, p))
			}
			literal := written(got, duration)
			test := "c == " + literal
			if got.Kind() == schema.Timestamp { // it has whole milliseconds
				test = "c >= " + literal + " && c < " + written(schema.TimestampValue(got.Ordered()+1), false)
			}
			if has && literal != "" && !interpret(t, test, cat, p) {
				t.Fatalf("seed %d: %s is %s, the interpreter says no for %v", seed, x.Text, literal, named(cat.schema, p))
			}
		}
	}
	t.Log(kinds, planned)
	for _, k := range []string{"bool", "int", "float", "decimal", "string", "date", "timestamp"} {
		if planned[k] < 40 {
			t.Errorf("only %d plans of kind %s", planned[k], k)
		}
	}
	for _, k := range []string{"bool", "int", "float", "decimal", "string", "stringduration", "date", "timestamp", "set<string>"} {
		if kinds[k] < 8 {
			t.Errorf("only %d of kind %s", kinds[k], k)
		}
	}
}

// chosen is the reference evaluator of plans of values.
func chosen(c *query.Choice, p person) schema.Value {
	switch {
	case c.If != nil:
		switch t, _ := evaluate(c.If, p); t {
		case query.True:
			return chosen(c.Then, p)
		case query.False:
			return chosen(c.Else, p)
		}
		return schema.Value{}
	case c.Test != nil:
		t, _ := evaluate(c.Test, p)
		if t == query.Unknown {
			return schema.Value{}
		}
		return schema.BoolValue(t == query.True)
	case c.Attr != 0:
		return p.value(c.Attr)
	case c.Of == nil:
		return c.Value
	}
	switch x := calculate(c.Of, p); {
	case x.absent || x.failed:
		return schema.Value{}
	case x.kind == schema.Float:
		return schema.FloatValue(x.f)
	default:
		return schema.FromOrdered(x.kind, x.scale, x.n.Int64())
	}
}

// strange reports what is a value in an expression, but none that an attribute can have: a
// float that is no number, a date past the last, a decimal too large for the scale that
// another branch has.
func strange(t *testing.T, cat *world, v *Value, p person) bool {
	t.Helper()
	texts := []string{"c != c", `c > date("9999-12-31")`, `c < date("0001-01-01")`}
	if a := &v.Attribute; a.Kind == schema.Decimal {
		texts = append(texts, fmt.Sprintf("c > %v || c < %v", schema.DecimalValue(math.MaxInt64, a.Scale), schema.DecimalValue(math.MinInt64, a.Scale)))
	}
	for _, text := range texts {
		if e, err := testCompiler.Compile(text, cat, testNow); err == nil {
			if is, _ := e.Interpret(p.value, p.act, p.inList, testNow); is == query.True {
				return true
			}
		}
	}
	return false
}

func valueOf(v *Value, p person) schema.Value {
	var values []schema.Value
	for _, id := range v.Attrs {
		values = append(values, p.value(id))
	}
	var acts [][]query.Act
	for _, id := range v.Events {
		acts = append(acts, p.until(id))
	}
	return v.Eval(values, acts, testNow)
}

func interpret(t *testing.T, text string, cat *world, p person) bool {
	t.Helper()
	e, err := testCompiler.Compile(text, cat, testNow)
	if err != nil {
		t.Fatalf("%s with %+v: %v", text, cat.schema.Computed, err)
	}
	is, _ := e.Interpret(p.value, p.act, p.inList, testNow)
	return is == query.True
}

func TestValueErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "the expression is empty (true is everybody)"},
		{"age +", "1:6: the expression ends too early"},
		{"contry", `1:1: there is no attribute or event "contry" (did you mean "country"?)`},
		{"age + c", "1:7: computed attributes name each other in a circle: c -> c"},
		{"purchase", "1:1: purchase is an event list, not a value (.any() says whether there is one, .count() how many)"},
		{"purchase.last()", "1:1: purchase.last() is a whole event (take its time, .ts, or one of its properties)"},
		{"[1, 2]", "1:1: [1, 2] is no value that an attribute could have"},
		{"purchase.in_last(days(0)).count()", "1:18: in_last takes a duration above zero (such as days(30))"},
		{"age + country", "1:1: + does not fit int and string"},
	} {
		cat := testWorld()
		cat.schema = withComputed(cat.schema, "c", c.text)
		if _, err := testCompiler.Value(&cat.schema.Computed[0], cat, testNow); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}
