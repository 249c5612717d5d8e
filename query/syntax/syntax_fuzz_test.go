package syntax

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// goldenTexts returns the expressions of testdata.
func goldenTexts(t testing.TB) []string {
	var out []string
	for _, file := range []string{"testdata/attributes.txt", "testdata/events.txt"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(raw), "\n") {
			if text, ok := strings.CutPrefix(line, "> "); ok {
				out = append(out, text)
			}
		}
	}
	return out
}

// FuzzCompile gives Compile any text: it returns a tree that evaluates, or an error
// of the right type whose place lies in the text.
func FuzzCompile(f *testing.F) {
	for _, text := range goldenTexts(f) {
		f.Add(text)
	}
	f.Add("has(p.``) || p.`` == 1 || has(purchase.first().``)")
	w := testWorld()
	c := NewCompiler()
	somebody := person{schema: w.schema, env: testNow, acts: parseActs(f, w.schema, `purchase 2026-06-08T12:00:00Z amount=1.50 category=a items=3;
		purchase 2026-06-15T11:59:59.999Z amount=20.00 category=c1 weight=0.5 gift=true tags=a|red due=2026-06-15;
		purchase 2026-06-15T12:00:00.001Z; view_item 2026-06-15T11:00:00Z category=c7 ts=3; app_open 2026-03-29T01:00:00Z`)}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := c.Compile(text, w, testNow)
		if err != nil {
			checkError(t, text, err)
			return
		}
		for _, p := range []person{{env: testNow}, somebody} {
			got, _ := evaluate(e.Root, p)
			want, _ := e.Interpret(p.value, p.act, p.inList, testNow)
			if got != want {
				t.Fatalf("%s\n%splan %v, interpreter %v", text, Print(e.Root, w.schema), got, want)
			}
			parts, err := c.Parts(e, w, testNow)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if whole, _ := evaluate(parts.Root, p); whole != want {
				t.Fatalf("%s: as it was written it is %v, interpreter %v", text, whole, want)
			}
			sameUntil(t, c, e, p, want)
		}
	})
}

// sameUntil wants an expression to be the same until the first moment, the last millisecond
// before included, and right behind the last.
func sameUntil(t *testing.T, c *Compiler, e *Expr, p person, want query.Truth) {
	t.Helper()
	moments, err := c.Moments(t.Context(), e, Facts{Value: p.value, Acts: func(id schema.EventID) ([]query.Act, error) { return p.acts[id], nil }}, testNow)
	var cannot *NotDerivable
	if errors.As(err, &cannot) {
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", e.Text, err)
	}
	last := testNow.Now.Add(400 * 24 * time.Hour)
	if len(moments) > 0 {
		last = time.UnixMilli(moments[0] - 1).UTC()
	}
	if got, _ := e.Interpret(p.value, p.act, p.inList, query.Env{Now: last}); got != want {
		t.Fatalf("%s: %v at first, %v at %v, and no moment between: %v", e.Text, want, got, last, moments)
	}
}

func checkError(t *testing.T, text string, err error) {
	t.Helper()
	var q *query.Error
	if !errors.As(err, &q) {
		t.Fatalf("%q: error of type %T", text, err)
	}
	switch q.Code {
	case query.CodeSyntax, query.CodeUnknownName, query.CodeType, query.CodeLimit, query.CodeConflict:
	default:
		t.Fatalf("%q: code %d: %v", text, q.Code, err)
	}
	if q.Source != "" && (q.Span.Start < 0 || q.Span.Start > q.Span.End || q.Span.End > len(text)) {
		t.Fatalf("%q: place %v", text, q.Span)
	}
	if utf8.ValidString(text) && !utf8.ValidString(q.Pretty()) {
		t.Fatalf("%q: %q is cut inside a character", text, q.Pretty())
	}
}
