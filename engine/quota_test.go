package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

// killersOfMemory are questions that take the more memory the more there is.
func killersOfMemory() map[string]query.Arguments {
	return map[string]query.Arguments{
		"path":      {"after": {"buy"}, "steps": {"10"}, "top": {"100"}, "label": {"item"}},
		"basket":    {"event": {"buy"}, "item": {"item"}, "size": {"5"}},
		"rfm":       {"event": {"buy"}, "amount": {"e.amount"}},
		"funnel":    {"step": {"buy", "buy"}, "by": {"buy.first().ts"}},
		"trend":     {"event": {"buy"}, "measure": {"people"}, "per": {"hour"}, "from": {"1970-03-01"}},
		"retention": {"first": {"buy"}, "return": {"buy"}, "per": {"day"}},
		"compare":   {},
	}
}

// watched is a context that has each look at it do something first. One goroutine looks.
type watched struct {
	context.Context
	look func()
}

// Err implements context.Context.
func (w *watched) Err() error {
	w.look()
	return w.Context.Err()
}

// TestKillerBesideOthers asks, whenever a question that would take all memory looks whether it
// is still wanted, another one: there is always room for that.
func TestKillerBesideOthers(t *testing.T) {
	k := newKillers(t)
	cache := k.db.cache
	least := k.db.snapshotNow(t).workingMemory(1)
	one := &query.Options{Parallelism: 1}
	for name, args := range killersOfMemory() {
		cache.SetShare(cache.Budget())
		needs := needsOf(t, func(memory int64) error {
			_, err := k.db.Analyze(t.Context(), name, "", args, &query.Options{Parallelism: 1, Memory: memory})
			return err
		})
		if needs <= least {
			t.Fatalf("%s needs %d bytes, as a count: it kills nobody", name, needs)
		}
		// With all the memory that there is it would leave too little for a count.
		cache.SetShare(needs - 1)
		free, err := cache.Reserve(cache.Budget()-(needs-1)-least, "test")
		if err != nil {
			t.Fatal(err)
		}
		looks, most := 0, int64(0)
		others := cache.Reserved()
		ctx := &watched{Context: t.Context()}
		ctx.look = func() {
			looks, most = looks+1, max(most, cache.Reserved()-others)
			if n, err := k.db.Count(context.WithoutCancel(t.Context()), "age >= 0", one); err != nil || n.Count != killerPeople {
				t.Errorf("a count beside %s, which has %d of %d bytes: %v", name, cache.Reserved()-others, needs-1, err)
			}
		}
		_, err = k.db.Analyze(ctx, name, "", args, one)
		var q *query.Error
		if !errors.As(err, &q) || q.Code != query.CodeBudget || q.RetryAfter > 0 || !strings.Contains(err.Error(), "one question may take") {
			t.Errorf("%s with a byte less than it needs: %v", name, err)
		}
		if looks == 0 || most == 0 {
			t.Errorf("%s was looked at %d times, and had %d bytes: nothing was tried", name, looks, most)
		}
		free()
		if n := cache.Reserved(); n != 0 {
			t.Errorf("%s keeps %d bytes for good", name, n)
		}
	}
}

// snapshotNow is a snapshot that ends with the test.
func (db *DB) snapshotNow(t *testing.T) *snapshot {
	n, err := db.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// needsOf returns the least that a question may be allowed to be answered, which is refused
// with a byte less.
func needsOf(t *testing.T, ask func(memory int64) error) int64 {
	t.Helper()
	const more = 1 << 30
	low, high := int64(0), int64(more) // low is too little
	for high-low > 1 {
		mid := (low + high) / 2
		switch err := ask(mid); {
		case err == nil:
			high = mid
		case errors.Is(err, &query.Error{Code: query.CodeBudget}):
			low = mid
		default:
			t.Fatal(err)
		}
	}
	if high == more {
		t.Fatal("it is never answered")
	}
	return high
}

// TestMemoryOfOne: what a question needs at least is the same each time, with a byte less it
// is refused, and what it keeps is counted with it, be it asked of a snapshot or of the past.
func TestMemoryOfOne(t *testing.T) {
	k := newKillers(t)
	ctx := t.Context()
	least := k.db.snapshotNow(t).workingMemory(1)
	for name, ask := range map[string]func(o query.Options) error{
		"count": func(o query.Options) error { _, err := k.db.Count(ctx, "age > 3", &o); return err },
		"bitmap": func(o query.Options) error {
			_, err := k.db.Bitmap(ctx, "age > 3", &o)
			return err
		},
		"listing": func(o query.Options) error {
			m, err := k.db.Members(ctx, "age > 3", &query.MembersOptions{Options: o, OrderBy: "city"})
			if err != nil {
				return err
			}
			for _, err := range m.Rows {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"breakdown": func(o query.Options) error {
			_, err := k.db.Breakdown(ctx, "age > 3", "city", &query.BreakdownOptions{Options: o})
			return err
		},
		"plan":    func(o query.Options) error { _, err := k.db.Plan(ctx, "age > 3", &o); return err },
		"explain": func(o query.Options) error { _, err := k.db.Explain(ctx, "age > 3", &o); return err },
		"cell": func(o query.Options) error {
			_, err := k.db.AnalysisMembers(ctx, "rfm", "", query.Arguments{"event": {"buy"}}, "champions", &query.MembersOptions{Options: o})
			return err
		},
	} {
		with := func(memory int64) error { return ask(query.Options{Parallelism: 1, Memory: memory}) }
		n := needsOf(t, with)
		if n < least {
			t.Errorf("%s is answered with %d bytes, and works in %d", name, n, least)
		}
		if err := with(n); err != nil {
			t.Errorf("%s with %d bytes: %v", name, n, err)
		}
		if err := with(n - 1); !errors.Is(err, &query.Error{Code: query.CodeBudget}) || !strings.Contains(fmt.Sprint(err), "allow the question more memory") {
			t.Errorf("%s with %d bytes: %v", name, n-1, err)
		}
		if err := with(-1); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%s with -1 bytes: %v", name, err)
		}
		if err := with(1 << 62); err != nil {
			t.Errorf("%s with more than there is: %v", name, err)
		}
	}
}

// TestMemoryOfTexts: questions that take nothing but what texts need are bounded, too, and so
// are those under a policy that masks.
func TestMemoryOfTexts(t *testing.T) {
	notRaced(t)
	k := newTexts(t)
	ctx := t.Context()
	masked, err := k.db.SnapshotWith(ctx, &query.SnapshotOptions{Policy: &query.Policy{Rules: []query.PolicyRule{{Event: "buy", Property: "item", Access: query.Masked}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close()
	for name, ask := range map[string]func(o query.Options) error{
		"profile": func(o query.Options) error {
			_, err := k.db.Profile(ctx, "k0", &query.ProfileOptions{Options: o})
			return err
		},
		"timeline": func(o query.Options) error {
			_, err := k.db.Timeline(ctx, "k0", &query.TimelineOptions{Options: o, Limit: 10})
			return err
		},
		"masked timeline": func(o query.Options) error {
			_, err := masked.Timeline(ctx, "k0", &query.TimelineOptions{Options: o, Limit: 10})
			return err
		},
		"why": func(o query.Options) error {
			_, err := k.db.Why(ctx, "k1", `buy.filter(e, e.note.contains("ab")).any()`, &query.WhyOptions{Options: o})
			return err
		},
		"listing": func(o query.Options) error {
			m, err := k.db.Members(ctx, `memo > "5"`, &query.MembersOptions{Options: o, OrderBy: "memo", Limit: 10})
			if err != nil {
				return err
			}
			for _, err := range m.Rows {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if err := ask(query.Options{Parallelism: 1}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask(query.Options{Parallelism: 1, Memory: 1 << 20}); !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
			t.Errorf("%s with a MiB: %v", name, err)
		}
	}
	if n := k.db.cache.Reserved(); n != 0 {
		t.Errorf("%d bytes are kept for good", n)
	}
}

// TestQuestionMemory: what one question may take follows from the options.
func TestQuestionMemory(t *testing.T) {
	for _, c := range []struct{ memory, question, limit int64 }{
		{1 << 30, 0, 256 << 20},
		{400 << 20, 0, questionLeast},
		{minMemory, 0, 20 << 20}, // all that there is
		{1 << 30, 1 << 20, 1 << 20},
		{1 << 30, 1 << 40, 512 << 20},
	} {
		db, err := Open("", &Options{Memory: c.memory, QuestionMemory: c.question})
		if err != nil {
			t.Fatal(err)
		}
		if free, err := db.cache.Question(0).Reserve(c.limit, "test"); err != nil {
			t.Errorf("%+v: %v", c, err)
		} else {
			free()
		}
		if _, err := db.cache.Question(0).Reserve(c.limit+1, "test"); !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
			t.Errorf("%+v: a byte more: %v", c, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open("", &Options{QuestionMemory: -1}); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("less than nothing: %v", err)
	}
}
