package syntax

import (
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestTouched: attributes, event types and properties are found wherever they stand.
func TestTouched(t *testing.T) {
	w, c := lentWorld(), NewCompiler("rfm")
	w.schema.Computed = []schema.Computed{{Name: "rich", Text: `ltv > 10.0 && purchase.exists(e, e.gift)`}}
	w.segments["rich ones"] = `p.rich && in_segment("newsletter")`
	for text, want := range map[string]string{
		`true`:                           "",
		`has(p.email)`:                   "email",
		`age + visits > 3 || vip`:        "age visits vip",
		`in_segment("newsletter")`:       "age opt_in",
		`in_segment("early")`:            "signup purchase",
		`in_list("staff")`:               "",
		`purchase.any()`:                 "purchase",
		`purchase.exists(e, e.ts < now)`: "purchase",
		`purchase.filter(e, e.category == "x" && "y" in e.tags).sum(e, e.amount) > 1.0`:          "purchase amount category tags",
		`purchase.exists(e, e.items > age)`:                                                      "age purchase items",
		`purchase.filter(e, has(e.due)).distinct(e, e["coupon"]) > 1`:                            "purchase due coupon",
		`purchase.last().weight > 1.0`:                                                           "purchase weight",
		`rfm("orders").r > visits`:                                                               `rfm("orders").r visits`,
		`in_segment("rich ones")`:                                                                "age ltv opt_in purchase gift",
		`(in_segment("rich ones") ? "a" : plan) == "a"`:                                          "age ltv opt_in plan purchase gift",
		`sequence(days(3), [purchase.filter(e, e.gift), purchase.filter(f, f.items > 2)]).any()`: "purchase gift items",
	} {
		e, err := c.Compile(text, w, testNow)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, err := c.Value(&schema.Computed{Name: text, Text: text}, w, testNow)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, touched := range []Touched{e.Touched(), v.Touched} {
			if got := touchedNames(w.schema, &touched); !slices.Equal(got, sortedWords(want)) {
				t.Errorf("%s touches %q, want %s", text, got, want)
			}
		}
	}
}

func sortedWords(text string) []string {
	words := strings.Fields(text)
	slices.Sort(words)
	return words
}

func touchedNames(s *schema.Schema, t *Touched) []string {
	var names []string
	for _, id := range t.Attributes {
		if id != schema.ListsAttr {
			names = append(names, s.ByID(id).Name)
		}
	}
	for _, id := range t.Events {
		names = append(names, s.EventByID(id).Name)
	}
	for _, id := range t.Properties {
		_, p := s.Property(id)
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// TestOpaqueSegment: a segment that is lent is a column, whatever its text; a part of a text
// that names it is as it was written.
func TestOpaqueSegment(t *testing.T) {
	w, c := lentWorld(), NewCompiler("rfm")
	w.segments["broken"], w.segments["names it"] = "agee > 1", `in_segment("broken") && vip`
	w.schema = w.schema.Lend(append(w.schema.Lent, schema.Lent{Analysis: schema.LentSegment, Name: "broken", Fields: []schema.LentField{{Attribute: schema.Attribute{Kind: schema.Bool}}}}))
	id := w.schema.LookupLent(schema.LentSegment, "broken").Fields[0].ID
	text := `in_segment("names it") || ! in_segment( "broken" )`
	e, err := c.Compile(text, w, testNow)
	if err != nil {
		t.Fatal(err)
	}
	const want = "or\n  segment \"names it\"\n    and\n      in_segment(\"broken\") is true\n      vip is true\n  not\n    in_segment(\"broken\") is true"
	if got := strings.TrimSpace(Print(e.Root, w.schema)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !e.ReadsNow || !slices.Contains(e.Reads().Attributes, id) || !slices.Equal(e.Uses.Segments, []string{"names it", "broken"}) {
		t.Errorf("%v %v %v", e.ReadsNow, e.Reads(), e.Uses)
	}
	p, err := c.Parts(e, w, testNow)
	if err != nil || len(p.Of) != 2 || p.Of[1].Text != `! in_segment( "broken" )` || p.Of[1].Of[0].Text != `in_segment( "broken" )` || p.Of[1].Of[0].Op != "" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, of := range []struct {
		value schema.Value
		want  query.Truth
	}{{schema.BoolValue(true), query.False}, {schema.BoolValue(false), query.True}, {schema.Value{}, query.Unknown}} {
		e, err := c.Compile(`!in_segment("broken")`, w, testNow)
		if err != nil {
			t.Fatal(err)
		}
		got, failed := e.Interpret(func(attr schema.AttrID) (v schema.Value) {
			if attr == id {
				v = of.value
			}
			return v
		}, nil, func(string) bool { return false }, testNow)
		if got != of.want || failed {
			t.Errorf("of %v it is %v, %v", of.value, got, failed)
		}
	}
}
