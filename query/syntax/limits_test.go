package syntax

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/parser"

	"github.com/kantadb/kanta/query"
)

// TestLimits compiles the largest text that each limit allows, and one more.
func TestLimits(t *testing.T) {
	w := testWorld()
	numbers := func(n int) string {
		return strings.TrimSuffix(strings.Repeat("1,", n), ",")
	}
	chain := func(n int) { // segments s1 .. sn, each naming the next
		for i := 1; i <= n; i++ {
			w.segments[fmt.Sprintf("s%d", i)] = fmt.Sprintf("in_segment(\"s%d\")", i+1)
		}
		w.segments[fmt.Sprintf("s%d", n)] = "age > 1"
	}
	many := func(n int) string { // 4 n - 1 nodes: age, 1, > and the && between
		return strings.TrimSuffix(strings.Repeat("age>1&&", n), "&&")
	}
	f := func(name string, good, bad string, before func()) {
		t.Helper()
		if _, err := testCompiler.Compile(good, w, testNow); err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		}
		if before != nil {
			before()
		}
		if _, err := testCompiler.Compile(bad, w, testNow); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
			t.Errorf("%s past the limit: %v, want a limit error", name, err)
		}
	}
	pad := func(n int) string { return "age > 1" + strings.Repeat(" ", n-len("age > 1")) }
	f("text", pad(MaxTextBytes), pad(MaxTextBytes+1), nil)
	f("list", "age in ["+numbers(MaxListLiteral)+"]", "age in ["+numbers(MaxListLiteral+1)+"]", nil)
	f("brackets", strings.Repeat("(", MaxDepth)+"vip"+strings.Repeat(")", MaxDepth), strings.Repeat("(", MaxDepth+1)+"vip"+strings.Repeat(")", MaxDepth+1), nil)
	f("chain of operators", "age"+strings.Repeat("+1", MaxDepth-1)+" > 1", "age"+strings.Repeat("+1", MaxDepth)+" > 1", nil)
	// 1,000 tests are 3,999 nodes; one more test of one name is two more nodes.
	f("nodes", many(MaxNodes/4), many(MaxNodes/4)+"&&vip", nil)
	steps := func(n int) string {
		return "sequence(days(1), [" + strings.TrimSuffix(strings.Repeat("purchase,", n), ",") + "]).any()"
	}
	f("steps of a sequence", steps(MaxSequenceSteps), steps(MaxSequenceSteps+1), nil)
	f("chain of verbs", "purchase"+strings.Repeat(".in_last(days(1))", MaxDepth-2)+".any()", "purchase"+strings.Repeat(".in_last(days(1))", MaxDepth)+".any()", nil)
	pattern := func(p string) string { return `zone.matches("` + p + `")` }
	f("pattern text", pattern(strings.Repeat("a", MaxPatternBytes)), pattern(strings.Repeat("a", MaxPatternBytes+1)), nil)
	// n letters are n steps, and two more are the end and the failure.
	f("pattern steps", pattern("a{999}b{999}"), pattern("a{999}b{1000}"), nil)
	chain(MaxSegmentDepth)
	f("segments", `in_segment("s1")`, `in_segment("s1")`, func() { chain(MaxSegmentDepth + 1) })
	w.segments["many"] = many(400)
	f("nodes of segments", `in_segment("many") || in_segment("many")`, strings.TrimSuffix(strings.Repeat(`in_segment("many") || `, 3), " || "), nil)
}

// TestSegmentsShared compiles segments that name the same one over and over: a tree
// would have 2^30 nodes.
func TestSegmentsShared(t *testing.T) {
	w := testWorld()
	w.segments["t0"] = "age > 1"
	for i := 1; i < MaxSegmentDepth; i++ {
		w.segments[fmt.Sprintf("t%d", i)] = fmt.Sprintf(`in_segment("t%d") != in_segment("t%d") || (in_segment("t%d") ? vip : opt_in)`, i-1, i-1, i-1)
	}
	if _, err := testCompiler.Compile(`in_segment("t15")`, w, testNow); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
		t.Errorf("got %v, want a limit error", err)
	}
}

// TestListsShared: a long list that is asked of a choice with many branches is translated
// once, not for each branch.
func TestListsShared(t *testing.T) {
	values := strings.Repeat("7,", 1900) + "8"
	text := "age"
	for i := range 25 {
		text = fmt.Sprintf("(visits > %d ? age : %s)", i, text)
	}
	e, err := testCompiler.Compile(text+" in ["+values+"]", testWorld(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := e.Root.(*query.If)
	first := n.Then.(*query.In).Values
	in, branches := query.Node(n), 0
	for ; ok; n, ok = in.(*query.If) {
		if own := n.Then.(*query.In).Values; len(own) != 2 || &own[0] != &first[0] {
			t.Fatalf("branch %d has a list of its own: %v", branches, own)
		}
		in, branches = n.Else, branches+1
	}
	if last := in.(*query.In).Values; branches != 25 || &last[0] != &first[0] {
		t.Fatalf("%d branches, the last has %v", branches, last)
	}
}

// TestPlacesShared: where a comparison stands, and which computed attributes it comes from, is
// looked up once, not in each branch that it is moved into: that took the square of a tree.
func TestPlacesShared(t *testing.T) {
	w := testWorld()
	w.schema = withComputed(w.schema, "band", "age < 1 ? 1 : age < 2 ? 2 : age < 3 ? 3 : visits")
	e, err := testCompiler.Compile("band == visits - visits + 3 || band == 3", w, testNow)
	if err != nil {
		t.Fatal(err)
	}
	n, branches := e.Root.(*query.Or).Of[1], 0
	first := n.(*query.If).Computed
	for ; ; branches++ {
		i, ok := n.(*query.If)
		if !ok {
			break
		}
		if len(i.Computed) != 1 || i.Computed[0] != "band" || &i.Computed[0] != &first[0] {
			t.Fatalf("branch %d stands in %v of its own", branches, i.Place)
		}
		n = i.Else
	}
	if branches != 3 {
		t.Fatalf("%d branches", branches)
	}
}

// TestSpans shows which part of the text a node stands for.
func TestSpans(t *testing.T) {
	w := testWorld()
	f := func(text, want string) {
		t.Helper()
		e, err := testCompiler.Compile(text, w, testNow)
		if err != nil {
			t.Fatal(err)
		}
		s := spanOf(e.Root)
		if got := text[s.Start:s.End]; got != want {
			t.Errorf("%s: span %q, want %q", text, got, want)
		}
	}
	f(`!(age > 30)`, `age > 30`)
	f(`!( (age) > (30) )`, `(age) > (30)`)
	f(`! (country.startsWith( ("I") )) `, `country.startsWith( ("I") )`)
	f(`!interests . hasAny(["a", // one ) of
	  "b"])`, "interests . hasAny([\"a\", // one ) of\n\t  \"b\"])")
	f(`!(p["Order total"] > -5)`, `p["Order total"] > -5`)
	f(`!(-(age + visits) * 2 == - 7.50)`, `-(age + visits) * 2 == - 7.50`)
	f(`!("ä" in interests)`, `"ä" in interests`)
	f(`!("ä" == country)`, `"ä" == country`)
	f(`!has( p.email )`, `has( p.email )`)
	f(`!in_segment ("adults")`, `in_segment ("adults")`)
	f(`!interests.exists(x, x.startsWith(")"))`, `interests.exists(x, x.startsWith(")"))`)
	f(`!(date(signup, "Europe/Rome") == today("UTC"))`, `date(signup, "Europe/Rome") == today("UTC")`)
	f(`!(country in ['a', r"\)", """b"]"""])`, `country in ['a', r"\)", """b"]"""]`)
	f(`age > 1 && age < (5)`, `age > 1 && age < (5)`)
	f("!(p.`Order total` > 3)", "p.`Order total` > 3")
	f(`!purchase . in_last( days(3) ).any( )`, `purchase . in_last( days(3) ).any( )`)
	f(`!(ev["Order Completed"].filter(e, e.total > (5)).count() > 3)`, `ev["Order Completed"].filter(e, e.total > (5)).count() > 3`)
	f(`!purchase.exists(e, e["Unit price"] > 3)`, `purchase.exists(e, e["Unit price"] > 3)`)
	f(`!sequence(hours(1), [purchase, app_open]).any()`, `sequence(hours(1), [purchase, app_open])`)
	f(`!has(purchase.first()["Unit price"])`, `has(purchase.first()["Unit price"])`)
	f(`!(now - purchase.last().ts > days(3))`, `now - purchase.last().ts > days(3)`)
	f(`!(purchase.avg(e, e.items) > 3)`, `purchase.avg(e, e.items) > 3`)
	f(`!purchase.at_hours(1, 2, zone).any()`, `purchase.at_hours(1, 2, zone).any()`)
}

func spanOf(n query.Node) query.Span {
	switch n := n.(type) {
	case *query.Not:
		return spanOf(n.Of)
	case *query.Has:
		return n.Span
	case *query.In:
		return n.Span
	case *query.Range:
		return n.Span
	case *query.Match:
		return n.Span
	case *query.SetHas:
		return n.Span
	case *query.Compare:
		return n.Span
	case *query.Segment:
		return n.Span
	case *query.InList:
		return n.Span
	case *query.Residual:
		return n.Span
	case *query.Any:
		return n.Span
	case *query.Sequence:
		return n.Span
	case *query.OneIs:
		return n.Span
	case *query.AverageIs:
		return n.Span
	}
	return query.Span{}
}

// TestParsersAgree parses with the parser that is used and with CEL's older one.
func TestParsersAgree(t *testing.T) {
	old, err := parser.NewParser(parser.Macros(parser.NewGlobalMacro("has", 1, expandHas)),
		parser.MaxRecursionDepth(MaxDepth))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBase()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range goldenTexts(t) {
		one, errs1 := b.parser.Parse(common.NewTextSource(text))
		two, errs2 := old.Parse(common.NewTextSource(text))
		if n, m := len(errs1.GetErrors()), len(errs2.GetErrors()); (n > 0) != (m > 0) {
			t.Errorf("%s: %d and %d errors", text, n, m)
			continue
		} else if n > 0 {
			continue
		}
		if !ast.EquivAST(one, two, ast.EquivIgnoreIdentifiers(true)) {
			t.Errorf("%s: different trees", text)
		}
	}
}

// TestConcurrent compiles and evaluates from many goroutines.
func TestConcurrent(t *testing.T) {
	c, w := NewCompiler(), testWorld()
	texts := goldenTexts(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range texts {
				e, err := c.Compile(texts[(i+g*7)%len(texts)], w, testNow)
				if err == nil {
					p := person{}
					evaluate(e.Root, p)
					e.Interpret(p.value, p.act, p.inList, testNow)
				}
			}
		})
	}
	wg.Wait()
}

// TestExpr looks at what a compiled expression says of itself.
func TestExpr(t *testing.T) {
	w := testWorld()
	f := func(text string, now bool, segments, lists string) {
		t.Helper()
		e, err := testCompiler.Compile(text, w, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if e.ReadsNow != now || strings.Join(e.Uses.Segments, " ") != segments || strings.Join(e.Uses.Lists, " ") != lists || e.Text != text {
			t.Errorf("%s: %v %v", text, e.ReadsNow, e.Uses)
		}
	}
	f("age > 3", false, "", "")
	f("born < today(\"UTC\")", true, "", "")
	f("signup < now && signup > now - days(3)", true, "", "")
	f(`in_segment("recent") || in_segment("newsletter") || in_segment("recent")`, true, "recent newsletter", "")
	f(`in_list("staff") != in_list("press")`, false, "", "staff press")
	f("purchase.any()", true, "", "")
	f(`vip || in_segment("buyers")`, true, "buyers", "")
	// A new schema is seen at once; names that need brackets are told apart.
	other := testWorld()
	if _, err := testCompiler.Compile("age > 3", other, testNow); err != nil {
		t.Error(err)
	}
	for name, bare := range map[string]bool{"age": true, "_x9": true, "": false, "9x": false, "Order total": false, "in": false, "now": false, "p": false, "ev": false, "é": false} {
		if Bare(name) != bare {
			t.Errorf("Bare(%q) is %v", name, !bare)
		}
	}
}

// TestNotUTF8 wants texts refused that the parser would mend: it would find who has U+FFFD.
func TestNotUTF8(t *testing.T) {
	_, err := testCompiler.Compile("country == \"a\xff\"", testWorld(), testNow)
	var e *query.Error
	if !errors.As(err, &e) || e.Code != query.CodeSyntax || e.Span != (query.Span{Start: 13, End: 14}) {
		t.Errorf("%v at %v", err, e.Span)
	}
	if _, err := testCompiler.Compile("country == \"a\ufffd\"", testWorld(), testNow); err != nil {
		t.Error(err)
	}
}
