package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// crowd is a store with many users at once. In every state that a reader may see, the
// attributes left and right are equal for everybody.
type crowd struct {
	t     *testing.T
	db    *engine.DB
	users sync.WaitGroup
	added atomic.Int64 // acknowledged increments of the profile "counter"
	done  atomic.Bool
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: 65_400}
	engine.LowerLimits(&o, 100, 600, 60)
	db, err := engine.Open("store", &o)
	must(t, err)
	c := &crowd{t: t, db: db}
	b := batch.New()
	for _, name := range []string{"left", "right"} {
		addAttribute(b, schema.Attribute{Name: name, Kind: schema.Int})
		addAttribute(b, schema.Attribute{Name: name + " word", Kind: schema.String})
		addAttribute(b, schema.Attribute{Name: name + " set", Kind: schema.Set})
	}
	addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
	addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
	must(t, c.apply(b))
	return c
}

func (c *crowd) apply(b *batch.Builder) error {
	raw, err := b.Encode()
	if err == nil {
		_, err = c.db.Apply(context.Background(), raw)
	}
	return err
}

// user runs a user's action again and again until the crowd is done or the store closed.
func (c *crowd) user(times int, action func(r *rand.Rand, i int) error) {
	c.users.Go(func() {
		r := rand.New(rand.NewPCG(uint64(times), rand.Uint64()))
		for i := 0; i < times && !c.done.Load(); i++ {
			if err := action(r, i); err != nil {
				if !isClosed(err) {
					c.t.Error(err)
				}
				return
			}
		}
	})
}

func isClosed(err error) bool {
	return errors.Is(err, &query.Error{Code: query.CodeClosed}) || errors.Is(err, &query.Error{Code: query.CodeSnapshotGone})
}

// write changes both sides of some people, and deletes some.
func (c *crowd) write(r *rand.Rand, i int) error {
	b := batch.New()
	b.Upsert("counter").Increment("n", schema.IntValue(1))
	for range 1 + r.IntN(20) {
		key := fmt.Sprint("key-", r.IntN(300))
		v, word := schema.IntValue(r.Int64N(50)), schema.StringValue(fmt.Sprint("word-", r.IntN(500)))
		row := b.Upsert(key).Set("left", v).Set("left word", word).Unset("left set").Add("left set", word.Str(), "x")
		row.Set("right", v).Set("right word", word).Set("right set", schema.SetValue("x", word.Str()))
		row.Set("email", schema.StringValue(key+"@x"))
	}
	if r.IntN(4) == 0 {
		b.Delete(fmt.Sprint("key-", r.IntN(300)))
	}
	err := c.apply(b)
	if err == nil {
		c.added.Add(1)
	}
	return err
}

// try makes batches that come to nothing: dry runs and refused ones, with new strings.
func (c *crowd) try(r *rand.Rand, i int) error {
	b := batch.New()
	b.Strict(true)
	b.Upsert("counter").Increment("n", schema.IntValue(1)).Set("left word", schema.StringValue(fmt.Sprint("never ", i)))
	b.Upsert("counter").Set("nobody has this", schema.IntValue(1))
	addAttribute(b, schema.Attribute{Name: fmt.Sprint("new ", i), Kind: schema.Kind(1 + r.IntN(8))})
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	do := c.db.Apply
	if r.IntN(2) == 0 {
		do = c.db.DryRun
	}
	if _, err = do(context.Background(), raw); errors.Is(err, &query.Error{Code: query.CodeRefused}) {
		return nil
	}
	return err
}

// read checks the invariant in one state, by several ways of reading.
func (c *crowd) read(r *rand.Rand, i int) error {
	ctx := context.Background()
	s, err := c.db.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	all, err := s.Count(ctx, "has(left)", nil)
	if err != nil {
		return err
	}
	for _, text := range []string{"left == right", "p[\"left word\"] == p[\"right word\"]", "has(p[\"right set\"])"} {
		if n, err := s.Count(ctx, text, nil); err != nil {
			return err
		} else if n.Count != all.Count {
			return fmt.Errorf("%s: %d of %d", text, n.Count, all.Count)
		}
	}
	for _, what := range []string{" word", " set"} {
		left, err := s.Breakdown(ctx, "1 == 1", "left"+what, nil)
		if err != nil {
			return err
		}
		right, err := s.Breakdown(ctx, "1 == 1", "right"+what, nil)
		if err != nil {
			return err
		}
		if fmt.Sprint(left.Rows) != fmt.Sprint(right.Rows) {
			return fmt.Errorf("by%s: %v and %v", what, left.Rows, right.Rows)
		}
	}
	_, err = s.Values(ctx, "left word", "", 0)
	return err
}

// list reads people one by one.
func (c *crowd) list(r *rand.Rand, i int) error {
	ctx := context.Background()
	m, err := c.db.Members(ctx, "has(left)", &query.MembersOptions{Attributes: []string{"left", "right", "email"}})
	if err != nil {
		return err
	}
	n := uint64(0)
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		if n++; !row.Values[0].Equal(row.Values[1]) || row.Values[2].Str() != row.Key+"@x" {
			return fmt.Errorf("%+v", row)
		}
		if r.IntN(5000) == 0 {
			return nil
		}
	}
	if n != m.Total {
		return fmt.Errorf("%d members, total %d", n, m.Total)
	}
	key := fmt.Sprint("key-", r.IntN(300))
	if p, err := c.db.ProfileBy(ctx, "email", key+"@x", nil); err == nil && p.Key != key {
		return fmt.Errorf("%s finds %+v", key, p)
	} else if err != nil && isClosed(err) {
		return err
	}
	return nil
}

func (c *crowd) compact(*rand.Rand, int) error { return c.db.Compact(context.Background()) }

func (c *crowd) look(_ *rand.Rand, i int) error {
	ctx := context.Background()
	_, err := c.db.Stats(ctx)
	if err == nil {
		_, err = c.db.Digests(ctx)
	}
	if err == nil && i%5 == 0 {
		var report query.CheckReport
		if report, err = c.db.Check(ctx, nil); len(report.Problems) > 0 {
			err = fmt.Errorf("%q", report.Problems)
		}
	}
	return err
}

// TestConcurrent has everything happen at once.
func TestConcurrent(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := newCrowd(t)
	for range 4 {
		c.user(150, c.write)
	}
	c.user(60, c.try)
	c.user(60, c.read)
	c.user(60, c.read)
	c.user(60, c.list)
	c.user(12, c.compact)
	c.user(12, c.look)
	c.users.Wait()
	p, err := c.db.Profile(t.Context(), "counter", nil)
	must(t, err)
	if got := fmt.Sprint(p.Values); got != fmt.Sprintf("[{n %d}]", c.added.Load()) {
		t.Fatalf("%s, %d increments were acknowledged", got, c.added.Load())
	}
	must(t, c.db.Close())
	must(t, c.db.Close()) // again: nothing happens
}

// TestCloseUnderLoad closes a store that everybody is using: what was acknowledged stays,
// the others are told, and nothing is left behind.
func TestCloseUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for range 5 {
		c := newCrowd(t)
		started := make(chan struct{})
		var once sync.Once
		c.user(1<<30, func(r *rand.Rand, i int) error {
			if i == 20 {
				once.Do(func() { close(started) })
			}
			return c.write(r, i)
		})
		for _, action := range []func(*rand.Rand, int) error{c.write, c.try, c.read, c.list, c.compact, c.look} {
			c.user(1<<30, action)
		}
		s, err := c.db.Snapshot(t.Context())
		must(t, err)
		<-started
		must(t, c.db.Close())
		c.users.Wait()
		if _, err := s.Count(t.Context(), "1 == 1", nil); !isClosed(err) {
			t.Fatalf("a snapshot after closing: %v", err)
		}
		must(t, s.Close())
	}
}

// TestContext ends contexts before and while things happen.
func TestContext(t *testing.T) {
	c := newCrowd(t)
	defer func() { must(t, c.db.Close()) }()
	for i := range 10 {
		must(t, c.write(rand.New(rand.NewPCG(1, 1)), i))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b := batch.New()
	b.Upsert("late").Set("left", schema.IntValue(1))
	raw, err := b.Encode()
	must(t, err)
	_, err = c.db.Apply(ended, raw)
	wantCanceled(t, "Apply", err)
	_, err = c.db.Count(ended, "left > 3", nil)
	wantCanceled(t, "Count", err)
	_, err = c.db.Members(ended, "left > 3", nil)
	wantCanceled(t, "Members", err)
	_, err = c.db.Profile(ended, "counter", nil)
	wantCanceled(t, "Profile", err)
	wantCanceled(t, "Compact", c.db.Compact(ended))
	if _, err := c.db.Profile(t.Context(), "late", nil); err == nil {
		t.Fatal("a batch was applied after its context ended")
	}
	during, cancel := context.WithCancel(t.Context())
	m, err := c.db.Members(during, "has(left)", nil)
	must(t, err)
	cancel()
	for _, err = range m.Rows {
		wantCanceled(t, "Rows", err)
	}
}

func wantCanceled(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%s: %v", what, err)
	}
}
