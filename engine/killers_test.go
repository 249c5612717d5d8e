package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// killers is a store that questions try to bring down.
type killers struct {
	*actModel
}

const killerPeople = 3000

func newKillers(t *testing.T) *killers {
	k := &killers{&actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC()}}
	k.open()
	t.Cleanup(func() { _ = k.db.Close() })
	k.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		for i := range 10 {
			b.Change(schema.Change{Op: schema.AddEvent, Event: fmt.Sprint("e", i)})
		}
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "age", Attribute: schema.Attribute{Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "city", Attribute: schema.Attribute{Kind: schema.String}})
		for i := range killerPeople {
			b.Upsert(fmt.Sprint("k", i)).Set("age", schema.IntValue(int64(i%90))).Set("city", schema.StringValue(fmt.Sprint("city ", i%700)))
		}
		table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2}})
		for i := range 3 * killerPeople {
			table.Row(fmt.Append(nil, "k", i%killerPeople), []byte("buy"), 100*actDay-int64(i)*1000)
			table.Str(0, fmt.Append(nil, "item ", i*7%900))
			table.Int(1, int64(i%5000))
		}
	})
	if err := k.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// many is a text n times.
func many(text string, n int) string { return strings.Repeat(text, n) }

// lists are n event lists.
func lists(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("buy.filter(e, e.amount > %d.0)", i))
	}
	return out
}

// TestKillers asks what no store can answer, or should: each question is refused by what it
// would cost, and the error says which limit.
func TestKillers(t *testing.T) {
	k := newKillers(t)
	count := func(expr string) func() error {
		return func() error { _, err := k.db.Count(t.Context(), expr, nil); return err }
	}
	analyze := func(name string, args query.Arguments) func() error {
		return func() error { _, err := k.db.Analyze(t.Context(), name, "", args, nil); return err }
	}
	apply := func(fill func(b *batch.Builder)) func() error {
		return func() error {
			b := batch.New()
			fill(b)
			raw, err := b.Encode()
			if err == nil {
				_, err = k.db.Apply(t.Context(), raw)
			}
			return err
		}
	}
	buy := []string{"buy"}
	for _, c := range []struct {
		name string
		ask  func() error
		says string
	}{
		{"10,000 conditions", count(many("age > 1 && ", 9999) + "age > 1"), "at most 16384 bytes"},
		{"10,000 conditions in segments", apply(func(b *batch.Builder) {
			b.SaveSegment("s", many("age>1&&", 999)+"age>1")
			b.SaveSegment("all", many(`in_segment("s")||`, 9)+`in_segment("s")`)
		}), "at most 4000 parts"},
		{"4,000 brackets", count(many("(", 4000) + "age > 1" + many(")", 4000)), "more than 60 deep"},
		{"4,000 negations", count(many("!(", 4000) + "age > 1" + many(")", 4000)), "more than 60 deep"},
		{"4,000 additions", count("age" + many("+1", 4000) + " > 1"), "60"},
		{"a list of 100,000 values", count("age in [" + many("1,", 99_999) + "1]"), "at most 16384 bytes"},
		{"a list of 3,000 values", count("age in [" + many("1,", 2999) + "1]"), "at most 2000"},
		{"a pattern of 3,000 steps", count(`city.matches("a{999}b{999}c{999}")`), "2000 steps"},
		{"events of events", count(`buy.filter(e, buy.filter(f, f.amount > e.amount).any()).any()`), "inside another"},
		{"a sequence of 21", count("sequence(days(1), [" + many("buy,", 20) + "buy]).any()"), "at most 20 steps"},
		{"segments 17 deep", apply(func(b *batch.Builder) {
			b.SaveSegment("d0", "age > 1")
			for i := range 17 {
				b.SaveSegment(fmt.Sprint("d", i+1), fmt.Sprintf(`in_segment("d%d")`, i))
			}
		}), "more than 16 deep"},
		{"a computed attribute of 10,000 conditions", apply(func(b *batch.Builder) {
			b.Change(schema.Change{Op: schema.AddComputed, Name: "c", Text: many("age > 1 && ", 9999) + "age > 1"})
		}), "65536"},
		{"a funnel of 21 steps", analyze("funnel", query.Arguments{"step": lists(21)}), "2 to 20 steps"},
		{"a funnel of 61 lists", analyze("funnel", query.Arguments{"step": lists(2), "exclude": slices.Repeat([]string{"1:e1"}, 59)}), "at most 60"},
		{"a path of 11 steps", analyze("path", query.Arguments{"after": buy, "steps": {"11"}}), "most is 10"},
		{"a path with 101 branches", analyze("path", query.Arguments{"after": buy, "top": {"101"}}), "most is 100"},
		{"a basket of 6", analyze("basket", query.Arguments{"event": buy, "item": {"item"}, "size": {"6"}}), "2 to 5"},
		{"a breakdown by 4", analyze("breakdown", query.Arguments{"by": {"age", "city", "buy.count()", "age + 1"}}), "at most 3"},
		{"a trend of 11 events", analyze("trend", query.Arguments{"event": lists(11)}), "at most 10"},
		{"a trend of a century by hours", analyze("trend", query.Arguments{"event": buy, "per": {"hour"}, "from": {"1900-01-01"}}), "10000"},
		{"retention of 65 cohorts", analyze("retention", query.Arguments{"first": buy, "return": buy, "cohorts": {"65"}}), "64"},
		{"an overlap of 7 sets", analyze("overlap", query.Arguments{"set": {"age > 1", "age > 2", "age > 3", "age > 4", "age > 5", "age > 6", "age > 7"}}), "at most 6"},
		{"rfm of 11 scores", analyze("rfm", query.Arguments{"event": buy, "bins": {"11"}}), "3 to 10"},
		{"a timeline of a million", func() error {
			_, err := k.db.Timeline(t.Context(), "k1", &query.TimelineOptions{Limit: 1_000_000})
			return err
		}, "1 to 100000"},
		{"a comparison of 10,001 rows", analyze("compare", query.Arguments{"top": {"10001"}}), "10000"},
		{"a batch of 40,000 ops", apply(func(b *batch.Builder) {
			for range 40_000 {
				b.Tick()
			}
		}), "32768"},
	} {
		err := c.ask()
		q := (*query.Error)(nil)
		if !errors.As(err, &q) || q.Code == query.CodeInternal || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %.300v; it does not say %q", c.name, err, c.says)
		}
	}
}

// TestKillersOfMemory asks for trees, baskets and tables of everybody when there is little
// memory: each is given up with an error that names it, and gives back what it had.
func TestKillersOfMemory(t *testing.T) {
	k := newKillers(t)
	cache := k.db.cache
	for name, args := range killersOfMemory() {
		var taken []func()
		for size := int64(1 << 30); size >= 4<<10; size /= 2 {
			for free, err := cache.Reserve(size, "test"); err == nil; free, err = cache.Reserve(size, "test") {
				taken = append(taken, free)
			}
		}
		full, named := cache.Reserved(), false
		room := int64(0)
		for ; ; room += 32 << 10 { // more and more of it
			for _, free := range taken {
				free()
			}
			free, err := cache.Reserve(full-room, "test")
			if err != nil {
				t.Fatal(err)
			}
			taken = []func(){free}
			_, err = k.db.Analyze(t.Context(), name, "", args, &query.Options{Parallelism: 1})
			if after := cache.Reserved(); after != full-room {
				t.Fatalf("%s keeps %d bytes for good", name, after-full+room)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
				t.Fatalf("%s: %v", name, err)
			}
			named = named || strings.Contains(err.Error(), "the "+name)
		}
		taken[0]()
		if !named {
			t.Errorf("%s takes %d KiB, and never said that it is too much", name, room>>10)
		}
	}
}

// slow is a reader that takes two hours for each write.
type slow struct {
	k *killers
	n int
}

func (s *slow) Write(b []byte) (int, error) {
	s.n += len(b)
	s.k.set(s.k.now.Add(2 * time.Hour))
	return len(b), nil
}

// TestSlowReaders reads everything, slowly: a state is not held for longer than it may be.
func TestSlowReaders(t *testing.T) {
	k := newKillers(t)
	s := &slow{k: k}
	_, err := k.db.ExportAll(t.Context(), portable.ToStream(s), nil)
	if !errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) || s.n == 0 {
		t.Errorf("a slow export: %v after %d bytes", err, s.n)
	}
	n := 0
	m, err := k.db.Members(t.Context(), "true", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, rowErr := range m.Rows {
		k.set(k.now.Add(time.Minute))
		if n, err = n+1, rowErr; err != nil {
			break
		}
	}
	if !errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) || n < 60 {
		t.Errorf("a slow listing: %v after %d people", err, n)
	}
	if n := k.db.current.Load().era.refs.Load(); n != 1 {
		t.Errorf("%d readers hold the state", n)
	}
}

// TestStoppedKillers: what is asked for by somebody who has gone is not worked out.
func TestStoppedKillers(t *testing.T) {
	k := newKillers(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, ask := range map[string]func() error{
		"export": func() error { _, err := k.db.ExportAll(ctx, portable.ToStream(io.Discard), nil); return err },
		"person": func() error { return k.db.Export(ctx, "k1", io.Discard) },
		"path": func() error {
			_, err := k.db.Analyze(ctx, "path", "", query.Arguments{"after": {"buy"}}, nil)
			return err
		},
		"digests": func() error { _, err := k.db.Digests(ctx); return err },
	} {
		if err := ask(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
