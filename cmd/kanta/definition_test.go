package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestColumns: commas separate columns, but not within quotes.
func TestColumns(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                             {"a"},
		"a,b":                           {"a", "b"},
		`rfm("a,b").r,c`:                {`rfm("a,b").r`, "c"},
		`rfm('it is "x"').r,rfm("y").f`: {`rfm('it is "x"').r`, `rfm("y").f`},
		`"Order, total",c`:              {"Order, total", "c"},
		`"say ""hi""",c`:                {`say "hi"`, "c"},
		"":                              {""},
		"a,":                            {"a", ""},
	} {
		var got columnsFlag
		if err := got.Set(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	var f columnsFlag
	if err := f.Set(`rfm("x`); err == nil {
		t.Errorf("%q", f)
	}
	if err := f.Set("a"); err != nil || f.Set("b,c") != nil || f.String() != "a,b,c" {
		t.Errorf("%q, %v", f, err)
	}
}

func TestCompleteDefinitions(t *testing.T) {
	c := newCLI(t)
	c.people()
	c.must("schema", "apply", c.file("more.toml", "[[event]]\nname = \"buy\"\n"))
	c.must("rfm", "--event", "buy", "--define", "orders")
	for want, args := range map[string][]string{
		"rfm\n:4\n":    {"definition", "show", ""},
		"orders\n:4\n": {"definition", "drop", "rfm", "o"},
		"orders\n":     {"rfm", "--defined", ""},
	} {
		contains(t, c.must(append([]string{"__complete"}, args...)...), want)
	}
	contains(t, c.must("plan", `rfm("orders").r > 3`), "rfm(\"orders\")\t0\t0\t")
}

// TestDefineNowhere: an analysis is not saved when what it says cannot be written where it is to.
func TestDefineNowhere(t *testing.T) {
	c := newCLI(t)
	c.people()
	c.must("schema", "apply", c.file("more.toml", "[[event]]\nname = \"buy\"\n"))
	nowhere := filepath.Join("no", "such", "dir")
	for _, more := range [][]string{nil, {"--cell", "champions"}, {"--json"}} {
		for _, to := range []string{c.path(filepath.Join(nowhere, "out")), t.TempDir()} {
			_, stderr, code := c.run(append([]string{"rfm", "--event", "buy", "--define", "orders", "-o", to}, more...)...)
			if code != exitUsage || !strings.Contains(stderr, filepath.Base(to)) {
				t.Errorf("%v: exit %d, %s", more, code, stderr)
			}
			if got := c.must("definition", "list"); strings.Contains(got, "orders") {
				t.Fatalf("%v: it was saved: %s", more, got)
			}
		}
	}
	c.must("rfm", "--event", "buy", "--define", "orders", "-o", c.path("out"))
	contains(t, c.must("definition", "list"), "orders")
}
