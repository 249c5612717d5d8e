package base

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

// isBudget fails unless an error is that of a budget; with again, of one in which there will
// be room.
func isBudget(t *testing.T, err error, again bool, says ...string) {
	t.Helper()
	var q *query.Error
	if !errors.As(err, &q) || q.Code != query.CodeBudget || (q.RetryAfter > 0) != again {
		t.Fatalf("%v; it is to be an error of the budget, and %v that trying again helps", err, again)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// TestQuota takes as much as a question may have, and a byte more, in every way.
func TestQuota(t *testing.T) {
	const budget, share = 20 << 20, 8<<20 + 5
	for name, c := range map[string]struct {
		allows, limit int64
		says          string
	}{
		"of the store":      {0, share, "and one question may take 8192 KiB of the memory budget"},
		"of the question":   {3<<20 + 7, 3<<20 + 7, "and it was to take 3072 KiB of the memory budget"},
		"not all of a step": {1000, 1000, "needs 1 KiB, and it was to take 0 KiB"},
		"more than a share": {share + 1, share, "and one question may take 8192 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := NewCache(nil, budget)
			cache.SetShare(share)
			q := cache.Question(c.allows)
			free, err := q.Reserve(c.limit, "the test")
			if err != nil {
				t.Fatal(err)
			}
			_, err = q.Reserve(1, "the test")
			isBudget(t, err, false, "the test needs", c.says)
			free()
			free() // twice is once
			_, err = q.Reserve(c.limit+1, "the test")
			isBudget(t, err, false)
			a, b := q.Lend("one"), q.Lend("another")
			if err := errors.Join(a.Take(c.limit-1), b.Take(1)); err != nil {
				t.Fatal(err)
			}
			isBudget(t, b.Take(1), false, "another needs")
			a.Close()
			b.Close()
			if n := cache.Reserved(); n != 0 || q.used != 0 {
				t.Errorf("%d bytes are kept for good, %d by the question", n, q.used)
			}
		})
	}
}

// TestQuotas has two questions at once, and the store's own work beside them.
func TestQuotas(t *testing.T) {
	const budget = 10 << 20
	cache := NewCache(nil, budget)
	cache.SetShare(budget / 2)
	one, two := cache.Question(0), cache.Question(0)
	free, err := one.Reserve(budget/2, "one")
	if err != nil {
		t.Fatal(err)
	}
	all, err := two.Reserve(budget/2, "two")
	if err != nil {
		t.Fatalf("one question leaves no room for another: %v", err)
	}
	_, err = cache.Reserve(1, "folding")
	isBudget(t, err, true, "folding needs 1 KiB; 10240 KiB of 10240 KiB are in use by other work")
	_, err = cache.Question(0).Reserve(1, "three")
	isBudget(t, err, true, "ask again")
	free()
	all()
	rest, err := cache.Reserve(budget, "folding") // which is bounded by the budget only
	if err != nil {
		t.Fatal(err)
	}
	defer rest()
	_, err = cache.Question(0).Reserve(budget/2+1, "four")
	isBudget(t, err, false, "one question may take 5120 KiB") // trying again would not help
}

// TestQuotaOfNothing: what has no store takes nothing of it.
func TestQuotaOfNothing(t *testing.T) {
	var c *Cache
	if l := c.Question(1).Lend("a view by itself"); l.Take(1<<40) != nil {
		t.Error("a view without a store is refused memory")
	} else {
		l.Close()
	}
}

// TestSizes: what is wanted never looks as if it fitted into what there is.
func TestSizes(t *testing.T) {
	for _, n := range []int64{0, 1, 1 << 10, 5000, 16<<20 - 1, 16 << 20, 16<<20 + 1, 1 << 40} {
		if has, wants := size(n), needed(n+1); has == wants {
			t.Errorf("%d bytes are %s, and one more is, too", n, has)
		}
	}
	if got := fmt.Sprint(size(17<<20+1), needed(17<<20+1), size(1025), needed(1025)); got != "17 MiB18 MiB1 KiB2 KiB" {
		t.Error(got)
	}
}
