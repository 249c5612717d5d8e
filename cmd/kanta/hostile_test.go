package main

import (
	"strings"
	"testing"
)

// hostileStore has people and acts whose values are made to be taken for something else.
func hostileStore(t *testing.T) *cli {
	c := newCLI(t)
	c.terminal = true
	people := c.file("people.csv", "id,city,ok\n1,Rome,true\n2,a>b,false\n3,\u202efed,true\n")
	c.must("load", "profiles", people, "--key", "id")
	acts := c.file("acts.csv", "id,t,item,x\n1,2026-02-01,tea,1.5\n1,2026-02-02,cup,2.5\n2,2026-02-01,\u202efed,3.5\n3,2026-02-03,tea,4.5\n")
	c.must("load", "events", acts, "--profile", "id", "--event-name", "buy", "--time", "t")
	return c
}

// TestNoControlCharacters: nothing that is shown moves a cursor or colours a terminal, and an
// error shows little of what was given.
func TestNoControlCharacters(t *testing.T) {
	c := hostileStore(t)
	long := strings.Repeat("x", 100_000)
	const red = "\x1b[31mred\u202e"
	condition := `city != "` + red + `"`
	for _, line := range []struct {
		code int
		args []string
	}{
		{exitOK, []string{"rfm", "--event", "buy", "--reach", condition}},
		{exitOK, []string{"rfm", "--event", "buy", "--since", "2026-02-03", "--map", "r1-5f1-5=\u202efed"}},
		{exitOK, []string{"breakdown", "--by", condition}},
		{exitOK, []string{"breakdown", "--by", "city", "--of", condition + " ? 1.0 : 2.0"}},
		{exitOK, []string{"trend", "--event", "buy", "--by", condition, "--per", "week"}},
		{exitOK, []string{"trend", "--event", `buy.filter(e, e.item != "` + red + `")`, "--event", "buy", "--by", "e.item"}},
		{exitOK, []string{"funnel", "--step", `buy.filter(e, e.item != "` + red + `")`, "--step", "buy", "--by", condition}},
		{exitOK, []string{"overlap", "--set", condition, "--set", "ok"}},
		{exitOK, []string{"path", "--after", "buy", "--label", "item"}},
		{exitOK, []string{"basket", "--event", "buy", "--item", "item"}},
		{exitOK, []string{"compare", condition, "--of", "city", "--min-people", "1"}},
		{exitQuestion, []string{"trend", "--event", red}},
		{exitQuestion, []string{"trend", red, "--event", "buy"}},
		{exitQuestion, []string{"rfm", "--event", "buy", "--amount", red}},
		{exitQuestion, []string{"rfm", "--event", "buy", "--frequency", long}},
		{exitQuestion, []string{"definition", "show", red, long}},
		{exitQuestion, []string{"definition", "drop", "rfm", strings.Repeat("\u202e", 40)}},
		{exitOK, []string{"list", "put", "l", "\u202e"}},
		{exitUsage, []string{"trend", "--event", "buy", "--format", red}},
		{exitUsage, []string{"trend", "--event", "buy", "--format", long}},
		{exitUsage, []string{"trend", "--event", "buy", "--" + red}},
		{exitUsage, []string{"trend", "--event", "buy", "--zone", long}},
		{exitUsage, []string{"trend", "--event", "buy", "--cell", long}},
		{exitUsage, []string{"trend", "--event", "buy", "--output", "no/" + red}},
		{exitUsage, []string{"rfm", "--defined", red, "--event", "buy"}},
		{exitUsage, []string{"rfm", "--event", "buy", "--define", long}},
	} {
		stdout, stderr, code := c.run(line.args...)
		name := shownOf(strings.Join(line.args, " "))
		if code != line.code {
			t.Errorf("%q: exit %d, not %d\n%.2000s", name, code, line.code, stderr)
		}
		if text := strings.ReplaceAll(stdout+stderr, "\n", ""); strings.ContainsFunc(text, unprintable) {
			t.Errorf("%q shows control characters: %.2000q", name, text)
		}
		if len(stderr) > 3*maxErrorLine {
			t.Errorf("%q: an error of %d bytes", name, len(stderr))
		}
	}
}

// TestInfiniteAmounts: what is beyond all numbers has a place in a picture.
func TestInfiniteAmounts(t *testing.T) {
	c := hostileStore(t)
	for _, line := range [][]string{
		{"rfm", "--event", "buy", "--amount", "1e308", "--bins", "3"},
		{"rfm", "--event", "buy", "--amount", "double(e.x) * -2e307", "--bins", "3"},
		{"breakdown", "--by", "ok", "--of", "1e308"},
		{"trend", "--event", "buy", "--measure", "sum", "--of", "1e308", "--average", "2", "--compare", "previous"},
		{"retention", "--first", "buy", "--return", "buy", "--amount", "1e308"},
	} {
		contains(t, c.must(line...), "unknown")
	}
}

// TestComposed: texts that look the same are the same, however they came.
func TestComposed(t *testing.T) {
	c := hostileStore(t)
	const composed, apart = "caf\u00e9", "cafe\u0301"
	c.must("load", "profiles", c.file("more.csv", "id,city\n4,"+apart+"\n"), "--key", "id")
	contains(t, c.must("breakdown", "--by", "city", "--cell", apart), "4")
	c.must("rfm", "--event", "buy", "--map", "r1-5f1-5="+apart, "--define", "orders")
	contains(t, c.must("count", `rfm("orders").segment == "`+composed+`"`), "3")
	contains(t, c.must("rfm", "--defined", "orders", "--cell", apart), "1", "2", "3")
}

// TestNothingHalfDone: what is refused leaves no list and no definition.
func TestNothingHalfDone(t *testing.T) {
	c := hostileStore(t)
	for stderr, args := range map[string][]string{
		"--define: the name has a control character":           {"--define", "a\tb", "--cell", "champions", "--save-as", "l"},
		"--define: the name is longer than 128 bytes":          {"--define", strings.Repeat("x", 129)},
		"--define is empty":                                    {"--define", ""},
		"--save-as: the name has a control character":          {"--define", "d", "--cell", "champions", "--save-as", "a\tb"},
		"--save-as: the name is not UTF-8":                     {"--define", "d", "--cell", "champions", "--save-as", "\xff"},
		"--save-as \"l\": the people of which --cell?":         {"--define", "d", "--save-as", "l"},
		"there is no cell \"r5f6\"":                            {"--define", "d", "--cell", "r5f6", "--save-as", "l"},
		"--reach: 1:1: there is no attribute or event \"oka\"": {"--define", "d", "--reach", "oka", "--cell", "champions", "--save-as", "l"},
		"for \"--now\" flag: it is empty":                      {"--define", "d", "--now", "", "--cell", "champions", "--save-as", "l"},
		"--now: \"0000-01-01\" is no time":                     {"--define", "d", "--now", "0000-01-01", "--cell", "champions", "--save-as", "l"},
	} {
		_, got, code := c.run(append([]string{"rfm", "--event", "buy"}, args...)...)
		if code != exitUsage && code != exitQuestion {
			t.Errorf("%q: exit %d", args, code)
		}
		contains(t, got, stderr)
	}
	if out := c.must("definition", "list", "--json") + c.must("list", "show", "--json"); out != "{\"definitions\":[]}\n{\"lists\":[]}\n" {
		t.Errorf("something was saved: %s", out)
	}
}
