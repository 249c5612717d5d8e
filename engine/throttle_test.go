package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/head"
)

// TestPace: nothing below half of the soft limit, a round per softValues in the middle,
// and always slower the fuller the head is.
func TestPace(t *testing.T) {
	l := &limits{softValues: 1000, hardValues: 2500}
	for _, c := range []struct {
		unfolded int64
		want     float64
	}{{0, 0}, {500, 0}, {1500, 2}, {1000, 2. / 3}, {2000, 6}, {2500, 38}, {9999, 38}} {
		if got := paceFor(l, c.unfolded, 2*time.Microsecond); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%d unfolded: %v ns per value, want %v", c.unfolded, got, c.want)
		}
	}
}

// TestThrottle: writers keep to the pace together, in their order; a context that ends
// and a compactor that ends let them go.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &compactor{db: &DB{}, done: make(chan struct{})}
		c.db.opt.limits.ensureDefaults()
		c.db.current.Store(&state{})
		c.throttle.changed = make(chan struct{})
		ctx := context.Background()
		took := func(values int) time.Duration {
			start := time.Now()
			if err := c.waitForRoom(ctx, values); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := took(1e6); d != 0 {
			t.Errorf("an empty head: waited %v", d)
		}
		c.throttle.set(8e6, 1000)
		if a, b, d := took(1e6), took(1e6), took(0); a != 0 || b != time.Second || d != time.Second {
			t.Errorf("a full head: waited %v, %v, %v; each waits for the one before", a, b, d)
		}
		took(1e6)
		brief, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if err := c.waitForRoom(brief, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline: %v", err)
		}
		time.AfterFunc(10*time.Millisecond, func() {
			c.throttle.end()
			close(c.done)
		})
		if d := took(1); d != 10*time.Millisecond {
			t.Errorf("the compactor ended after 10 ms: waited %v", d)
		}
	})
}

// TestWall: with more unfolded values than the hard limit, or as many frozen L0s as there
// may be, a writer waits until the compactor has made room.
func TestWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &compactor{db: &DB{opt: Options{FS: vfs.NewMem()}}, signal: make(chan struct{}, 1), done: make(chan struct{})}
		c.db.opt.limits.ensureDefaults()
		c.throttle.changed = make(chan struct{})
		full, empty := &state{}, &state{}
		full.Tiers.Frozen = make([]*head.L0, maxFrozen)
		for name, fill := range map[string]struct {
			unfolded int64
			state    *state
		}{"values": {hardValues + 1, empty}, "frozen": {0, full}} {
			c.db.current.Store(fill.state)
			c.throttle.set(fill.unfolded, 0)
			time.AfterFunc(time.Second, func() { c.throttle.set(hardValues+1, 0) }) // not enough, or not that
			time.AfterFunc(2*time.Second, func() {
				c.db.current.Store(empty)
				c.throttle.set(hardValues, 0)
			})
			start := time.Now()
			if err := c.waitForRoom(t.Context(), 1); err != nil || time.Since(start) != 2*time.Second {
				t.Errorf("%s: waited %v, %v", name, time.Since(start), err)
			}
			select {
			case <-c.signal:
			default:
				t.Errorf("%s: the compactor was not woken", name)
			}
		}
	})
}
