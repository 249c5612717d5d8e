package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func encoded(t *testing.T, fill func(b *batch.Builder)) batch.Batch {
	t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	must(t, err)
	return raw
}

// TestStaleKeepsOrder has writers submit many batches at a time, each counting up a number that
// the next one expects, while somebody else changes the schema all the time. Each is accepted:
// those that are stale come again in the order in which they were submitted, and behind none
// that was submitted later.
func TestStaleKeepsOrder(t *testing.T) {
	log := enginetest.NewLog()
	m := log.Member()
	m.Most = 3
	var mu sync.Mutex
	stale := 0
	counted := engine.ReplicaOptions{Propose: func(ctx context.Context, entry []byte) (func() (engine.Outcome, error), error) {
		wait, err := m.Options().Propose(ctx, entry)
		return func() (engine.Outcome, error) {
			out, err := wait()
			mu.Lock()
			defer mu.Unlock()
			if out.Stale {
				stale++
			}
			return out, err
		}, err
	}}
	db := replicaOn(t, vfs.NewMem(), m, "store", func(o *engine.Options) { o.Replica = &counted })
	peopleSchema(t, db)
	var wg sync.WaitGroup
	for who := range 3 {
		wg.Go(func() {
			var waits []func() (batch.Result, error)
			for i := range 120 {
				wait, err := db.Submit(t.Context(), encoded(t, func(b *batch.Builder) {
					u := b.Upsert(fmt.Sprint("k", who))
					if i > 0 {
						u.Expect("n", schema.IntValue(int64(i-1)))
					}
					u.Set("n", schema.IntValue(int64(i)))
				}))
				if err != nil {
					t.Error(err)
					return
				}
				if waits = append(waits, wait); len(waits) == 20 {
					accepted(t, waits[0])
					waits = waits[1:]
				}
			}
			for _, wait := range waits {
				accepted(t, wait)
			}
		})
	}
	wg.Go(func() {
		for i := range 60 {
			written(t, db, func(b *batch.Builder) {
				addAttribute(b, schema.Attribute{Name: fmt.Sprint("new ", i), Kind: schema.Int})
			})
		}
	})
	wg.Wait()
	for who := range 3 {
		p, err := db.Profile(t.Context(), fmt.Sprint("k", who), nil)
		must(t, err)
		if got := fmt.Sprint(p.Values); got != "[{n 119}]" {
			t.Errorf("k%d: %s", who, got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if stale < 10 {
		t.Fatalf("only %d were stale", stale)
	}
	t.Logf("%d were stale", stale)
	stopReplica(t, db, m)
}

func accepted(t *testing.T, wait func() (batch.Result, error)) {
	t.Helper()
	if r, err := wait(); err != nil || r.Accepted != r.Received {
		t.Errorf("%+v %v", r, err)
	}
}

// TestAlwaysStale gives up in the end.
func TestAlwaysStale(t *testing.T) {
	tries := 0
	o := engine.Options{Replica: &engine.ReplicaOptions{Propose: func(context.Context, []byte) (func() (engine.Outcome, error), error) {
		tries++
		return func() (engine.Outcome, error) { return engine.Outcome{Stale: true}, nil }, nil
	}}}
	db, err := engine.Open("", &o)
	must(t, err)
	_, err = db.Apply(t.Context(), encoded(t, func(b *batch.Builder) { b.Upsert("ann") }))
	if !errors.Is(err, &query.Error{Code: query.CodeConflict}) || tries != 17 {
		t.Errorf("%d tries: %v", tries, err)
	}
	must(t, db.Close())
}

// TestProposeFails tells the caller what the log said, and the next one is proposed.
func TestProposeFails(t *testing.T) {
	log := enginetest.NewLog()
	m := log.Member()
	var refuse, unknown error
	db := replicaOn(t, vfs.NewMem(), m, "store", func(o *engine.Options) {
		o.Replica = &engine.ReplicaOptions{Propose: func(ctx context.Context, entry []byte) (func() (engine.Outcome, error), error) {
			if refuse != nil {
				return nil, refuse
			}
			wait, err := m.Options().Propose(ctx, entry)
			if unknown != nil {
				return func() (engine.Outcome, error) { return engine.Outcome{}, unknown }, err
			}
			return wait, err
		}}
	})
	b := encoded(t, func(b *batch.Builder) { b.Source("feed", 1, 1); b.Upsert("ann") })
	refuse = query.Errorf(query.CodeUnavailable, "not here")
	if _, err := db.Apply(t.Context(), b); err != refuse {
		t.Errorf("refused: %v", err)
	}
	if log.Last() > 0 {
		t.Error("something is in the log")
	}
	refuse, unknown = nil, query.Errorf(query.CodeUnavailable, "nobody knows")
	if _, err := db.Apply(t.Context(), b); err != unknown {
		t.Errorf("unknown: %v", err)
	}
	unknown = nil
	must(t, m.Wait(t.Context(), log.Last()))
	r, err := db.Apply(t.Context(), b)
	if err != nil || !r.Repeated || r.Accepted != 1 || r.Position.Applied != 1 {
		t.Errorf("again: %+v %v", r, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	last := log.Last()
	if _, err := db.Apply(ended, b); !errors.Is(err, context.Canceled) || log.Last() != last {
		t.Errorf("of a caller that is gone: %v", err)
	}
	stopReplica(t, db, m)
	if _, err := db.Apply(t.Context(), b); err == nil {
		t.Error("a closed store takes a batch")
	}
}
