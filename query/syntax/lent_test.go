package syntax

import (
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// lentWorld is the test world with a definition, whose fields have the names of attributes and
// events too, and an attribute that is named as one of them is written.
func lentWorld() *world {
	w := testWorld()
	w.schema = schema.New(0, w.schema.NextID+1, append(slices.Clone(w.schema.Attributes), schema.Attribute{ID: w.schema.NextID, Name: `rfm("orders").r`, Kind: schema.Bool}), w.schema.Events...)
	w.schema = w.schema.Lend([]schema.Lent{{Analysis: "rfm", Name: "orders", Fields: []schema.LentField{
		{Field: "segment", Attribute: schema.Attribute{Kind: schema.String}}, {Field: "r", Attribute: schema.Attribute{Kind: schema.Int}}}}})
	w.segments["stars"] = `rfm("orders").segment == "champions"`
	return w
}

// TestLent: what an analysis lends becomes a test of a column, wherever it stands.
func TestLent(t *testing.T) {
	w, c := lentWorld(), NewCompiler("rfm")
	for text, want := range map[string]string{
		`rfm("orders").segment == "champions"`:               `rfm("orders").segment is "champions"`,
		`rfm('orders')["r"] >= 4.5`:                          `rfm("orders").r is at least 5`,
		`has(rfm("orders").r)`:                               `rfm("orders").r is there`,
		`has(rfm("orders")["r"])`:                            `rfm("orders").r is there`,
		`!(rfm("orders").segment in ["a", "b"])`:             "not\n  rfm(\"orders\").segment is one of \"a\", \"b\"",
		`rfm("orders").segment.contains("x")`:                `rfm("orders").segment contains "x"`,
		`rfm("orders").r * 2 > age`:                          `per profile (rfm("orders").r * 2) > age`,
		`in_segment("stars")`:                                "segment \"stars\"\n  rfm(\"orders\").segment is \"champions\"",
		`p["rfm(\"orders\").r"]`:                             `p["rfm(\"orders\").r"] is true`,
		`purchase.exists(e, e.items > rfm("orders").r)`:      `interpreted per profile from rfm("orders").r, purchase`,
		`(rfm("orders").r > 2 ? "a" : "b") == "a" && opt_in`: "", // whatever it is
	} {
		e, err := c.Compile(text, w, testNow)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := strings.TrimRight(Print(e.Root, w.schema), "\n"); want != "" && got != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
		id := w.schema.Lent[0].Fields[0].ID
		if strings.Contains(text, `"r"`) || strings.Contains(text, ".r") {
			id = w.schema.Lent[0].Fields[1].ID
		}
		if lent := !strings.HasPrefix(text, "p["); e.ReadsNow != lent || slices.Contains(e.Reads().Attributes, id) != lent {
			t.Errorf("%s reads now: %v; it reads %v", text, e.ReadsNow, e.Reads())
		}
	}
}

// TestLentPlaces: parts and errors have the text as it was written.
func TestLentPlaces(t *testing.T) {
	w, c := lentWorld(), NewCompiler("rfm")
	text := `rfm("orders").r >= 2 || !has( rfm("orders").segment )`
	e, err := c.Compile(text, w, testNow)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Parts(e, w, testNow)
	if err != nil || len(p.Of) != 2 || p.Of[0].Text != `rfm("orders").r >= 2` || p.Of[1].Text != `!has( rfm("orders").segment )` {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := NewCompiler().Compile(`rfm("orders").r > 1`, w, testNow); err == nil || !strings.Contains(err.Error(), "there is no function rfm") {
		t.Errorf("a compiler without analyses: %v", err)
	}
}

// TestLentInterpreted: the interpreter reads what is lent through the function that it is given.
func TestLentInterpreted(t *testing.T) {
	w, c := lentWorld(), NewCompiler("rfm")
	segment, r := w.schema.Lent[0].Fields[0].ID, w.schema.Lent[0].Fields[1].ID
	values := map[schema.AttrID]schema.Value{segment: schema.StringValue("champions"), r: schema.IntValue(3)}
	for text, want := range map[string][2]query.Truth{ // of who has them, and of who has none
		`rfm("orders").r == 3 && in_segment("stars")`:  {query.True, query.Unknown},
		`rfm("orders").r > 3 || has(rfm("orders").r)`:  {query.True, query.Unknown},
		`rfm("orders").r > 3 && has(rfm("orders").r)`:  {query.False, query.False},
		`rfm("orders").segment + "!" == "champions!"`:  {query.True, query.Unknown},
		`rfm("orders").r + 1 == size("four")`:          {query.True, query.Unknown},
		`rfm("orders").segment.matches("^[ch]+a")`:     {query.True, query.Unknown},
		`rfm("orders").segment == "new" ? true : true`: {query.True, query.Unknown},
	} {
		e, err := c.Compile(text, w, testNow)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for i, of := range []func(schema.AttrID) schema.Value{func(id schema.AttrID) schema.Value { return values[id] }, func(schema.AttrID) schema.Value { return schema.Value{} }} {
			if got, failed := e.Interpret(of, nil, nil, testNow); got != want[i] || failed {
				t.Errorf("%s: %v (failed %v), want %v", text, got, failed, want[i])
			}
		}
	}
}
