package syntax

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
)

func TestShape(t *testing.T) {
	known := func(name string) bool {
		return slices.Contains([]string{"country", "age", "Order total", "purchase", "amount", "e-mail"}, name)
	}
	for _, test := range []struct{ text, want string }{
		{``, ``},
		{`country == "IT"`, `country == ?`},
		{`country in ["IT", 'FI', r"N\L"] && age>=25`, `country in [?, ?, ?] && age>=?`},
		{`cuntry == "IT"`, `? == ?`},
		{"country\n\t ==   'IT' // of anna@example.com", `country == ?`},
		{"country == 'IT' // anna\n|| age < 3", `country == ? || age < ?`},
		{`p["Order total"] > 1.5e-3 && p["anna"] == 0xFFu`, `p["Order total"] > ? && p[?] == ?`},
		{`country in ["country"]`, `country in [?]`},
		{`["country"]`, `[?]`},
		{`purchase.last()["amount"] > 2u`, `purchase.last()["amount"] > ?`},
		{`purchase.in_last(days(30)).filter(e, e.amount > 100.0).count() >= 3`, `purchase.in_last(days(?)).filter(e, e.amount > ?).count() >= ?`},
		{`purchase.filter(anna, anna.amount > .5).any()`, `purchase.filter(?, ?.amount > ?).any()`},
		{`in_segment("newsletter") && !in_list('staff') ? true : has(p.age)`, `in_segment(?) && !in_list(?) ? true : has(p.age)`},
		{"p.`e-mail` == b'x' || p.`anna-x` == rb'y'", "p.`e-mail` == ? || p.? == ??"},
		{`country == "it's \"Anna\"" && age`, `country == ? && age`},
		{`country == """a "quote"` + "\n" + `""" && age`, `country == ? && age`},
		{`country == R"\" && age`, `country == ? && age`},
		{`country == 'Anna`, `country == ?`},
		{"country == 'Anna\nO'Hara' && age", `country == ?`},
		{"age < `anna@x` && age", `age < ?`},
		{`country == Anna.Müller@example.com`, `country == ?.?.?`},
		{`age < 12ab34 && 1.x`, `age < ?? && ?.x`},
		{"age\x1b[31m\x00 < \"", `?[?? < ?`},
		{`age - 5 * -3 % 2`, `age - ? * -? % ?`},
	} {
		if got := Shape(test.text, known, nil); got != test.want {
			t.Errorf("%q\n got %s\nwant %s", test.text, got, test.want)
		}
	}
	if got := Shape(`country == "IT"`, nil, nil); got != `? == ?` {
		t.Errorf("without names: %s", got)
	}
	var values []string
	Shape(`"a\n\x41\u00e9\101\?" + 'it''s' + r'\n' + b"\xff\303" + "\q" + 1.50`, nil, func(l Literal) string {
		values = append(values, l.Value)
		return "?"
	})
	if want := []string{"a\nAéA?", "it", "s", `\n`, "\xff\xc3", `\q`, "1.50"}; !slices.Equal(values, want) {
		t.Errorf("values %q, want %q", values, want)
	}
}

// FuzzShape compares with CEL's own parser: where a text parses, each literal of the tree was
// asked about, and what is made of the text with other literals parses to the same tree but
// for them. Of any text the shape has no byte but of names that are known.
func FuzzShape(f *testing.F) {
	for _, text := range goldenTexts(f) {
		f.Add(text)
	}
	f.Add("p.`a-b` == r'\\' || x[\"y\"] == b'\\xff' ? 1.5e3 : .5 // c\n")
	own, err := parser.NewParser(parser.EnableIdentEscapeSyntax(true))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []byte(strings.ReplaceAll(Shape(text, nil, nil), "?", "")) {
			if c != ' ' && !isWordByte(c) && strings.IndexByte(shapeSymbols, c) < 0 {
				t.Fatalf("%q: %q in the shape", text, c)
			}
		}
		values := map[string]bool{}
		Shape(text, nil, func(l Literal) string {
			values[l.Value] = true
			return "?"
		})
		tree, problems := own.Parse(common.NewTextSource(text))
		if len(text) > MaxTextBytes || !utf8.ValidString(text) || len(problems.GetErrors()) > 0 {
			return
		}
		names := map[string]bool{}
		same := Shape(text, func(name string) bool { names[name] = true; return true }, func(l Literal) string { return l.Text })
		again, problems := own.Parse(common.NewTextSource(same))
		if len(problems.GetErrors()) > 0 {
			t.Fatalf("%q becomes %q: %s", text, same, problems.ToDisplayString())
		}
		if a, b := literalsOf(tree), literalsOf(again); !slices.Equal(a, b) {
			t.Fatalf("%q becomes %q: literals %q, then %q", text, same, a, b)
		}
		for _, l := range literalsOf(tree) {
			if !values[l] && !names[l] {
				t.Fatalf("%q: of the literal %q nobody was asked", text, l)
			}
		}
	})
}

// literalsOf lists the strings and bytes of a tree.
func literalsOf(tree *ast.AST) (out []string) {
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind {
			return
		}
		switch v := e.AsLiteral().(type) {
		case types.String:
			out = append(out, string(v))
		case types.Bytes:
			out = append(out, string(v))
		}
	}))
	return out
}
