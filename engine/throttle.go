package engine

import (
	"context"
	"sync"
	"time"
)

// throttle holds writers back while the head is too full: the fuller it gets, the
// slower, so that nobody meets a wall. Not the writer itself: the compactor needs it to
// make room.
type throttle struct {
	mu       sync.Mutex
	unfolded int64         // values in the log that the base does not have yet
	pace     float64       // nanoseconds per value that writers keep to; 0: as fast as they like
	free     time.Time     // when the next writer may go on
	changed  chan struct{} // closed when room was made, or the compactor ended
	ended    bool
	err      error // why the compactor ended
}

// paceFor works out how slow writers are to be: from half of the soft limit on, ever
// slower towards the hard one. In the middle they write softValues in a round, the time
// in which all units that were written to are folded once.
func paceFor(l *limits, unfolded int64, round time.Duration) float64 {
	from := l.softValues / 2
	over := min(float64(unfolded-from)/float64(l.hardValues-from), 0.95)
	if over <= 0 {
		return 0
	}
	return over / (1 - over) * float64(round) / float64(l.softValues)
}

// set tells writers how full the head is.
func (t *throttle) set(unfolded int64, pace float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unfolded, t.pace = unfolded, pace
	t.announce()
}

// look has all writers look again whether there is any sense in waiting.
func (t *throttle) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.announce()
}

// end lets all writers go: there will be no more room, and writing fails or the store closes.
func (t *throttle) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.announce()
}

func (t *throttle) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *throttle) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// announce lets everybody look again who waits for room; t.mu is held.
func (t *throttle) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// waitForRoom holds a caller back that brings so many values.
func (c *compactor) waitForRoom(ctx context.Context, values int) error {
	t := &c.throttle
	if err := c.wait(ctx, t.turn(values)); err != nil {
		return err
	}
	return c.waitWhileFull(ctx)
}

// waitWhileFull holds a caller back until there is room in the head.
func (c *compactor) waitWhileFull(ctx context.Context) error {
	t := &c.throttle
	for {
		t.mu.Lock()
		full := !t.ended && (t.unfolded > c.db.opt.limits.hardValues || len(c.db.current.Load().Tiers.Frozen) >= maxFrozen)
		changed := t.changed
		t.mu.Unlock()
		if !full {
			return nil
		}
		if err := c.db.room(); err != nil { // nothing is folded until there is some
			return err
		}
		c.wake()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// turn returns how long a caller with so many values waits for its turn.
func (t *throttle) turn(values int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.pace == 0 || t.ended {
		t.free = now
		return 0
	}
	at := t.free
	if at.Before(now) {
		at = now
	}
	t.free = at.Add(time.Duration(float64(values) * t.pace))
	return at.Sub(now)
}

// wait ends early when the compactor has: writes then fail, and need not wait for that.
func (c *compactor) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
