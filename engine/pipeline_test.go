package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// randomBatches are batches of all kinds of writes, some of which are refused.
func randomBatches(t *testing.T, r *rand.Rand, n int) (out []batch.Batch) {
	p := &pair{t: t, r: r, w: newWorld(), keys: 60}
	for len(out) < n {
		steps := firstAttributes()
		if len(out) > 0 {
			steps = p.randomSteps()
		}
		b := batch.New()
		b.Strict(r.IntN(6) == 0 && len(out) > 0)
		if len(out) == 0 {
			b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
			for i := range steps {
				steps[i].change.Attribute.History = i%3 == 0
			}
		} else if r.IntN(12) == 0 {
			b.Change(randomEventChange(r))
		}
		if r.IntN(8) == 0 {
			b.Source("feed", 1, uint64(r.IntN(20)))
		}
		encodeSteps(b, steps)
		table := b.Events([]batch.Column{{Name: "amount", Kind: schema.Int}})
		for range r.IntN(4) {
			id := len(out)/3 + r.IntN(5) // an event comes again soon, at times as another one
			table.Row(fmt.Appendf(nil, "key-%d", id%p.keys), []byte("buy"), receivedAt(3*id).Add(-time.Duration(id%7)*24*time.Hour).UnixMilli())
			if table.ID(fmt.Append(nil, id)); r.IntN(5) > 0 {
				table.Int(0, int64(id%100))
			}
		}
		raw, err := b.Encode()
		must(t, err)
		out = append(out, raw)
		if after := p.w.clone(); r.IntN(9) > 0 { // at times the model does not know what there is
			if _, code := after.apply(steps, false); code == 0 {
				p.w = after
			}
		}
	}
	return out
}

// randomEventChange changes how long events are kept, or their one property.
func randomEventChange(r *rand.Rand) schema.Change {
	amount := schema.Attribute{Name: "amount", Kind: schema.Int}
	c := schema.Change{Op: pick(r, []schema.ChangeOp{schema.RedefineEvent, schema.AddProperty, schema.AddProperty, schema.NarrowProperty, schema.DropProperty}), Event: "buy"}
	switch c.Op {
	case schema.RedefineEvent:
		c.Retention = pick(r, []uint32{0, 3, 5, 20})
	case schema.NarrowProperty:
		amount.Max = schema.IntValue(int64(30 + r.IntN(90)))
		fallthrough
	default:
		c.Name, c.Attribute = "amount", amount
	}
	return c
}

// receivedAt is when a batch is received.
func receivedAt(i int) time.Time { return fixedClock().Add(time.Duration(i) * time.Hour) }

// played is what came of batches, whose digests are the store's.
type played struct {
	outcomes []string
	digests  query.Digests
}

func (p *played) note(r batch.Result, err error) {
	if r.Repeated {
		r.Reasons, r.Rejected = nil, nil // they are not kept over an opening
	}
	var code *query.Error
	if errors.As(err, &code) {
		p.outcomes = append(p.outcomes, fmt.Sprintf("%+v %v", r, code.Code))
	} else {
		p.outcomes = append(p.outcomes, fmt.Sprintf("%+v %v", r, err))
	}
}

// TestManyUnderWay: what comes of batches does not depend on how many are under way together,
// nor on what the compactor does meanwhile.
func TestManyUnderWay(t *testing.T) {
	t.Parallel()
	const seed = 24
	t.Logf("seed %d", seed)
	batches := randomBatches(t, rand.New(rand.NewPCG(seed, 1)), engine.Rounds(600, 200))
	var want played
	for run := range 4 {
		r := rand.New(rand.NewPCG(seed, uint64(2+run)))
		var now atomic.Int64
		o := engine.Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(now.Load()).UTC() }}
		if run > 0 {
			engine.LowerLimits(&o, 5*run, 60, 20)
		}
		db, err := engine.Open("store", &o)
		must(t, err)
		var got played
		for at := 0; at < len(batches); {
			n := 1
			if run > 0 {
				n = min(1+r.IntN(60), len(batches)-at)
			}
			var waits []func() (batch.Result, error)
			for i, raw := range batches[at : at+n] {
				now.Store(receivedAt(at + i).UnixMilli())
				wait, err := db.Submit(t.Context(), raw)
				must(t, err)
				waits = append(waits, wait)
			}
			at += n
			if run > 0 && r.IntN(3) == 0 {
				must(t, db.Compact(t.Context()))
			}
			for _, wait := range waits {
				got.note(wait())
			}
			if run > 0 && r.IntN(10) == 0 {
				must(t, db.Close())
				db, err = engine.Open("store", &o)
				must(t, err)
			}
		}
		got.digests, err = db.Digests(t.Context())
		must(t, err)
		if r, err := db.Check(t.Context(), nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("run %d: %v %q", run, err, r.Problems)
		}
		must(t, db.Close())
		if run == 0 {
			want = got
			continue
		}
		for i := range want.outcomes {
			if got.outcomes[i] != want.outcomes[i] {
				t.Fatalf("run %d, batch %d: got %s\nwant %s", run, i, got.outcomes[i], want.outcomes[i])
			}
		}
		if got.digests != want.digests {
			t.Errorf("run %d: got %+v, want %+v", run, got.digests, want.digests)
		}
	}
}
