package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/bench"
)

func small(dir string) settings {
	return settings{data: bench.Options{Profiles: 3000, Events: 60_000, Seed: 7, WithAbsent: true}, dir: dir, runs: 2, segments: 30, mix: 40 * time.Millisecond}
}

func loaded(t *testing.T, s settings) *comparison {
	c, err := load(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestCompare runs it all, then loads the same file again, as one that was given.
func TestCompare(t *testing.T) {
	c := loaded(t, small(t.TempDir()))
	if err := c.ask(context.Background()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.print(&out); err != nil {
		t.Fatal(err)
	}
	rest := out.String()
	for _, part := range []string{"DuckDB/Kanta", "Q1 ", "Q15 ids", "Q15 keys", "profile", "Q17", "MIX8", "Q8 ", "Q12 ", "Q7 ", "Q12 funnel", "Q13 ", "Q14", "trend", "path", "compare", "Q16", "questions per second", "load events", "All answers were the same. 3000 people, 60000 events"} {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q is missing, or not in this order, in\n%s", part, out.String())
		}
		rest = after
	}
	for i, f := range c.figures {
		if f.kanta50 <= 0 || f.duck50 <= 0 || f.kanta95 < f.kanta50 || f.duck95 < f.duck50 || f.ratio <= 0 {
			t.Errorf("%+v", f)
		}
		if i < len(c.expected.Answers) && (f.count != c.expected.Answers[i].True || f.unknown != c.expected.Answers[i].Unknown) {
			t.Errorf("%+v, the generator counted %+v", f, c.expected.Answers[i])
		}
	}
	again := small(t.TempDir())
	again.csv, again.data.Profiles = c.csv, 1
	if d := loaded(t, again); d.data.Profiles != 3000 || d.g.Options().Profiles != 3000 {
		t.Errorf("%d people in a given file", d.data.Profiles)
	}
}

// TestDifferences wants every kind of difference to be found.
func TestDifferences(t *testing.T) {
	ctx := context.Background()
	c := loaded(t, small(t.TempDir()))
	wanted := func(what string, err error, words string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, condition := range map[string]bench.Condition{
		"count":   {Text: `age >= 30`, SQL: `age > 30`},
		"unknown": {Text: `age >= 30`, SQL: `coalesce(age >= 30, false)`},
	} {
		_, err := c.same(ctx, condition)
		wanted(what, err, "kanta says")
	}
	if _, err := c.same(ctx, bench.Condition{Text: `age >= 30`, SQL: `age >= 30`}); err != nil {
		t.Error(err)
	}
	row := []bench.ValueCount{{Value: "a", Count: 1}}
	if err := differ(bench.Answer{Count: 1, Rows: row, Keys: []byte("a\n"), Unknown: 3}, bench.Answer{Count: 1, Rows: row, Keys: []byte("a\n")}); err != nil {
		t.Error(err)
	}
	wanted("count", differ(bench.Answer{Count: 1}, bench.Answer{}), "says 1")
	wanted("rows", differ(bench.Answer{Rows: row}, bench.Answer{}), "rows")
	wanted("keys", differ(bench.Answer{Keys: []byte("a\n")}, bench.Answer{Keys: []byte("b\n")}), "keys")
	members := bench.Question{Name: "Q1", Kind: bench.AskMembers, Condition: bench.Condition{Text: `country == "DE"`, SQL: `country = 'DE'`}}
	c.expected.Answers[0].True++
	wanted("generator", c.askAbout(ctx, members), "the generator counted")
	key := bench.Key(5) // in a segment or two
	wanted("segments", c.sameProfile(ctx, key), "segments")
	if err := c.g.SaveSegments(ctx, c.kanta.Store, c.segments); err != nil {
		t.Fatal(err)
	}
	if err := c.sameProfile(ctx, key); err != nil {
		t.Error(err)
	}
	if _, err := c.duck.db.ExecContext(ctx, "UPDATE people SET push_opt_in = NOT push_opt_in WHERE key = '"+key+"'"); err != nil {
		t.Fatal(err)
	}
	wanted("profile", c.sameProfile(ctx, key), "push_opt_in")
	if _, err := c.duck.db.ExecContext(ctx, "DELETE FROM events WHERE event = 'purchase'"); err != nil {
		t.Fatal(err)
	}
	wanted("events", c.askEvents(ctx, 1, "Q9"), "kanta says")
	wanted("recent", c.askRecent(ctx), "kanta says")
	for k, q := range c.g.AnalysisQuestions(0)[:2] { // of purchases
		wanted(q.Name, c.askAnalysis(ctx, k, q.Name), "kanta")
	}
}
