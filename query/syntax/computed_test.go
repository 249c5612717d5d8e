package syntax

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// withComputed returns a schema with computed attributes, given as name and text in turn.
func withComputed(s *schema.Schema, computed ...string) *schema.Schema {
	out := *s
	out.Computed = nil
	for i := 0; i < len(computed); i += 2 {
		out.Computed = append(out.Computed, schema.Computed{Name: computed[i], Text: computed[i+1]})
	}
	return &out
}

// naming writes texts in which parts have a name of their own.
type naming struct {
	eventWriter
	cat   *world
	texts map[string]string // of the names, c0 and so on
}

// name gives a random part of a text a name; the text stays as it is if the part cannot
// have one.
func (n *naming) name(text string) string {
	c := testCompiler.compilation(&environment{schema: n.cat.schema}, n.cat, testNow)
	p, err := c.parse(text)
	if err != nil {
		return text
	}
	var parts []query.Span
	names := map[int64]bool{} // p["name"] has no other name, nor what has() asks for
	ast.PreOrderVisit(p.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Index {
			names[e.AsCall().Args()[1].ID()] = true
		}
		if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
			names[e.AsSelect().Operand().ID()] = true
		}
		if names[e.ID()] {
			return
		}
		parts = append(parts, p.src.span(p.tree.SourceInfo(), e))
	}))
	at := parts[n.IntN(len(parts))]
	x := schema.Computed{Name: fmt.Sprintf("c%d", len(n.texts)), Text: text[at.Start:at.End]}
	if _, err := testCompiler.Value(&x, n.cat, testNow); err != nil {
		return text // such as an event list, or what is said of one event
	}
	n.texts[x.Name] = x.Text
	n.cat.schema.Computed = append(n.cat.schema.Computed, x)
	use := n.of(x.Name, "p."+x.Name, fmt.Sprintf("p[%q]", x.Name))
	return text[:at.Start] + use + text[at.End:]
}

var nameOf = regexp.MustCompile(`\bp\.(c\d)\b|\bp\["(c\d)"\]|\b(c\d)\b`)

// inlined writes the text of each name where it stands.
func (n *naming) inlined(text string) string {
	return nameOf.ReplaceAllStringFunc(text, func(use string) string {
		m := nameOf.FindStringSubmatch(use)
		formula, ok := n.texts[m[1]+m[2]+m[3]]
		if !ok {
			return use
		}
		return "(" + n.inlined(formula) + ")"
	})
}

// TestComputedEqualsInlined gives random parts of random expressions a name: the plan has to
// be that of the text without names, and CEL's interpreter has to agree with it.
func TestComputedEqualsInlined(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	compared, nested := 0, 0
	for range 1500 {
		cat := testWorld()
		if r.IntN(2) == 0 {
			cat.schema = withEvents(cat.schema, randomEvents(r))
		}
		cat.schema = withComputed(cat.schema)
		n := &naming{eventWriter{writer{r}, cat.schema, testNow.Now}, cat, map[string]string{}}
		text := n.of(n.truth(r.IntN(3)), n.writer.truth(r.IntN(4)))
		for range 1 + r.IntN(4) {
			if len(cat.schema.Computed) > 0 && r.IntN(2) == 0 { // a name within a name's text
				was := cat.schema.Computed[r.IntN(len(cat.schema.Computed))]
				now := n.name(was.Text)
				n.texts[was.Name], cat.schema.LookupComputed(was.Name).Text = now, now
				if was.Text != now {
					nested++
				}
			} else {
				text = n.name(text)
			}
		}
		if len(n.texts) == 0 {
			continue
		}
		plain := n.inlined(text)
		want, err := testCompiler.Compile(plain, cat, testNow)
		got, gotErr := testCompiler.Compile(text, cat, testNow)
		if err != nil || gotErr != nil {
			sameProblem(t, text, plain, gotErr, err)
			continue
		}
		compared++
		if a, b := Print(got.Root, cat.schema), Print(want.Root, cat.schema); a != b {
			t.Fatalf("seed %d: %s with %v\n%s%s\n%s", seed, text, n.texts, a, plain, b)
		}
		for range 10 {
			p := n.person(cat.schema)
			p.schema, p.env, p.absent, p.acts = cat.schema, testNow, new(int), map[schema.EventID][]query.Act{}
			for j := range cat.schema.Events {
				p.acts[cat.schema.Events[j].ID] = n.acts(&cat.schema.Events[j])
			}
			truth, _ := evaluate(got.Root, p)
			if want, _ := got.Interpret(p.value, p.act, p.inList, testNow); truth != want {
				t.Fatalf("seed %d: %s with %v\n%splan %v, interpreter %v for %v", seed, text, n.texts, Print(got.Root, cat.schema), truth, want, named(cat.schema, p))
			}
		}
	}
	t.Logf("%d expressions with names, %d names within names", compared, nested)
	if compared < 300 || nested < 50 {
		t.Errorf("only %d expressions with names and %d names within names", compared, nested)
	}
}

// sameProblem fails unless a text with names is refused as the plain one is. What has to
// be written out may have no name.
func sameProblem(t *testing.T, text, plain string, got, want error) {
	t.Helper()
	var a, b *query.Error
	if errors.As(got, &a) && (strings.Contains(a.Message, "written out") || strings.Contains(a.Message, "is no day of the week")) {
		return
	}
	if !errors.As(got, &a) || !errors.As(want, &b) || a.Code != b.Code {
		t.Errorf("%s: %v\n%s: %v", text, got, plain, want)
	}
}
