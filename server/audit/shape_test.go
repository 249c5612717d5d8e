package audit

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestShape hides what is a value, and keeps what is not.
func TestShape(t *testing.T) {
	k := keyed{9}
	known := strings.Fields("country email Order age purchase amount staff newsletter")
	known = append(known, "Order total", "Straße")
	h := func(value string) string { return "#" + k.Hash(value).String() }
	for _, c := range []struct{ text, want, names string }{
		{`country == "IT"`, "country == " + h("IT"), "country"},
		{`country in ["IT", 'FI']`, "country in [" + h("IT") + ", " + h("FI") + "]", "country"},
		{`email == "ann\"s\x41\u00e9\?" && true`, "email == " + h(`ann"sAé?`) + " && true", "email"},
		{`email == r"a\n" || email == """a"b` + "\n" + `c"""`, "email == " + h(`a\n`) + " || email == " + h("a\"b\nc"), "email"},
		{`age >= 25 && age<.5e+3 || age > -0x1F`, "age >= " + h("25") + " && age<" + h(".5e+3") + " || age > -" + h("0x1F"), "age"},
		{`p["Order total"] > 3.50 && p["country"] != null`, `p["Order total"] > ` + h("3.50") + ` && p["country"] != null`, "Order total,country"},
		{`age in ["country"] && p["ann"] == b"x"`, "age in [" + h("country") + "] && p[" + h("ann") + "] == " + h("x"), "age"},
		{"purchase.in_last(days(30)).sum(e, e.amount) > 1", "purchase.in_last(days(" + h("30") + ")).sum(e, e.amount) > " + h("1"), "purchase,amount"},
		{`in_segment("newsletter") && !in_list("staff") && in_list("ann")`, `in_segment("newsletter") && !in_list("staff") && in_list("ann")`, "newsletter,staff,ann"},
		{`in_list("stafff")`, "in_list(" + h("stafff") + ")", ""},
		{"ann_smith == age // ann\n+ `Straße`", h("ann_smith") + " == age + `Straße`", "age,Straße"},
		{"ann@smith.org", h("ann") + "@" + h("smith") + "." + h("org"), ""},
		{"Ännä == 1", h("Ännä") + " == " + h("1"), ""},
		{"email == \"ann", "email == " + h("ann"), "email"},
		{`country == "e` + "\u0301" + `"`, "country == " + h("é"), "country"},
		{"", "", ""}, {"\x00\x01ann", h("\x00\x01ann"), ""}, {"`ann", h("ann"), ""}, {`"\`, h(`\`), ""},
	} {
		shape, names := k.Shape(c.text, func(name string) bool { return slices.Contains(known, name) }, !strings.Contains(c.text, "stafff"))
		if shape != c.want || strings.Join(names, ",") != c.names {
			t.Errorf("%s\nis   %s %v\nwant %s %s", c.text, shape, names, c.want, c.names)
		}
	}
	long := "age in [" + strings.Repeat("1, ", 100) + "1]"
	shape, _ := k.Shape(long, func(name string) bool { return name == "age" }, true)
	if len(shape) > MaxWhatBytes || !strings.HasPrefix(shape, "age in [#") || !strings.HasSuffix(shape, ellipsis+" "+h(long)) {
		t.Errorf("a long one: %d bytes, %.30s ... %.60s", len(shape), shape, shape[len(shape)-60:])
	}
}

// FuzzShape: of a text that knows no names nothing is left but words of the language.
func FuzzShape(f *testing.F) {
	for _, seed := range []string{`country == "IT" && p["x"] > 3.5e-1`, "r'''a\\'''b", "`x", "a.b(c, 'd\\", "// x\n\"", "in_list('x')", "\xff\x01ab \u00e4"} {
		f.Add(seed)
	}
	hash := regexp.MustCompile(`#[0-9a-f]{32}`)
	word := regexp.MustCompile(`[A-Za-z0-9_]+`)
	k := keyed{1}
	f.Fuzz(func(t *testing.T, text string) {
		shape, names := k.Shape(text, nil, false)
		if len(shape) > MaxWhatBytes || len(names) > 0 {
			t.Errorf("%d bytes, names %q", len(shape), names)
		}
		rest := strings.ReplaceAll(hash.ReplaceAllString(shape, " "), ellipsis, "")
		for _, w := range word.FindAllString(rest, -1) {
			if len(w) > 1 && schema.Usable(w) || len(w) == 1 && !letter(w[0]) {
				t.Errorf("%q of %q is left in %q", w, text, shape)
			}
		}
		if strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\'' || r == '`' }) {
			t.Errorf("%q has left %q", text, rest)
		}
	})
}
