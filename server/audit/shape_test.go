package audit

import (
	"slices"
	"strings"
	"testing"
)

// TestShape hides what is a value, and keeps what is not. What else there is in texts is the matter of syntax.Shape.
func TestShape(t *testing.T) {
	k := keyed{9}
	known := strings.Fields("country email age purchase amount")
	known = append(known, "Order total")
	h := func(value string) string { return "#" + k.Hash(value).String() }
	for _, c := range []struct {
		text, want, names string
		named             bool
	}{
		{`country == "IT"`, "country == " + h("IT"), "country", true},
		{`email == "ann\"s\x41\u00e9" && age > 3.5`, "email == " + h(`ann"sAé`) + " && age > " + h("3.5"), "email,age", false},
		{`country == "e` + "\u0301" + `"`, "country == " + h("é"), "country", true},
		{`p["Order total"] in [1, 2] || age == 1`, `p["Order total"] in [` + h("1") + ", " + h("2") + "] || age == " + h("1"), "Order total,age", true},
		{"purchase.sum(e, e.amount) > 1 // ann", "purchase.sum(e, e.amount) > " + h("1"), "purchase,amount", true},
		{"ann_smith == age", "? == age", "age", true},
		{`in_segment("news") && in_list('staff') && rfm("o").recency == 1 && email == "news"`,
			`in_segment("news") && in_list("staff") && rfm("o").? == ` + h("1") + " && email == " + h("news"), "email,news,staff,o", true},
		{`in_segment("news")`, "in_segment(" + h("news") + ")", "", false},
		{"", "", "", true},
	} {
		shape, names := k.Shape(c.text, func(name string) bool { return slices.Contains(known, name) }, c.named)
		if shape != c.want || strings.Join(names, ",") != c.names {
			t.Errorf("%s\nis   %s %q\nwant %s %s", c.text, shape, names, c.want, c.names)
		}
	}
	for _, long := range []string{"age in [" + strings.Repeat("1, ", 100) + "1]", "age in [" + strings.Repeat("1,", 100) + "1]"} {
		shape, _ := k.Shape(long, func(name string) bool { return name == "age" }, true)
		if len(shape) > MaxWhatBytes || !strings.HasPrefix(shape, "age in") || !strings.HasSuffix(shape, ellipsis+" "+h(long)) {
			t.Errorf("a long one: %d bytes, %.30s ... %s", len(shape), shape, shape[max(0, len(shape)-60):])
		}
	}
}
