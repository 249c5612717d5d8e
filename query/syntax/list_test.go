package syntax

import (
	"errors"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestList: a text is an event list, and nothing else is; what is wrong is shown in the text
// that was given.
func TestList(t *testing.T) {
	w := testWorld()
	for _, text := range []string{"purchase", "purchase.in_last(days(30))", "purchase.filter(e, e.amount > 10.0)", "view_item.then(purchase, hours(3))", `ev["Order Completed"]`} {
		l, err := testCompiler.List(text, w, testNow)
		if err != nil || l == nil || w.schema.EventByID(l.Event) == nil {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	for text, want := range map[string]string{
		"age":                                 "age is no event list",
		"purchase.count()":                    "purchase.count() is no event list",
		"purchase.any()":                      "purchase.any() is no event list",
		"true || purchase":                    "this is no event list",
		"purchase.any() && purchase":          "this is no event list",
		"!purchase":                           "",
		"purchase) || (purchase":              "",
		"purchas":                             `there is no event "purchas" (did you mean "purchase"?)`,
		" agee.in_last(days(3))":              `there is no event "agee"`,
		"purchase.filter(e, agee > 1)":        `there is no attribute or event "agee" (did you mean "age"?)`,
		"purchase.filter(e, e.amuont > 1.0)":  "",
		"purchase.in_last(days(0))":           "above zero",
		"purchase.filter(e, e.amount > 10.0 ": "",
		"":                                    "the event list is empty",
		"  ":                                  "the event list is empty",
		"purchase // any":                     "",
	} {
		l, err := testCompiler.List(text, w, testNow)
		var e *query.Error
		if l != nil || !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, l, err, want)
			continue
		}
		if e.Source != "" && e.Source != text || e.Span.End > len(text) || e.Span.Start > e.Span.End {
			t.Errorf("%q: %q, %v", text, e.Source, e.Span)
		}
	}
}

// TestFold: the sum of what is measured of events.
func TestFold(t *testing.T) {
	w := testWorld()
	f, err := testCompiler.Fold("purchase.in_last(days(30))", "e.amount * 2.0", w, testNow)
	if err != nil || f.Op != query.FoldSum || f.List == nil || f.Of == nil || f.Kind != schema.Decimal && f.Kind != schema.Float {
		t.Errorf("%+v, %v", f, err)
	}
	for _, of := range []string{"1 +", "e.amount) + purchase.sum(e, e.amount", "e.nothing", "", `"text"`} {
		if f, err := testCompiler.Fold("purchase", of, w, testNow); err == nil {
			t.Errorf("%q: %+v", of, f)
		}
	}
}

// TestFoldPlace: an error of what is added up, or of the list, says where in the text that was
// given.
func TestFoldPlace(t *testing.T) {
	w := testWorld()
	for _, c := range []struct{ list, of, source, at string }{
		{"purchase", "e.amout", "of", "e.amout"},
		{"purchase", "1 + e.amout * 2", "of", "e.amout"},
		{"purchase.in_last(days(30))", "\n e.amount + e.nothing", "of", "e.nothing"},
		{"purchase", "e.amount *", "of", ""},
		{"purchase", "(e.amount", "of", ""},
		{"purchase", "e.amount) || e", "of", ""},
		{"purchase", "", "of", ""},
		{"purchase", `"text"`, "of", `"text"`},
		{"purchase", "e.amount, 1", "of", "e.amount, 1"},
		{"purchase", "e.amount) + purchase.sum(e, e.amount", "of", "e.amount) + purchase.sum(e, e.amount"},
		{"purchse", "e.amount", "list", "purchse"},
		{"purchase.filter(e, e.amout > 1.0)", "e.amount", "list", "e.amout"},
	} {
		source := c.of
		if c.source == "list" {
			source = c.list
		}
		var q *query.Error
		_, err := testCompiler.Fold(c.list, c.of, w, testNow)
		if !errors.As(err, &q) || q.Source != source || q.Span.Start < 0 || q.Span.End > len(source) || q.Span.Start > q.Span.End {
			t.Errorf("%s of %s: %v, in %q at %v", c.of, c.list, err, q.Source, q.Span)
		} else if at := source[q.Span.Start:q.Span.End]; at != c.at {
			t.Errorf("%s of %s: %v at %q, not %q", c.of, c.list, err, at, c.at)
		}
	}
}
