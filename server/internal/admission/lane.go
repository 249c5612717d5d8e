// Package admission lets calls in as fast as a machine can do them, and turns the rest away
// before they cost anything.
//
// Calls of one kind share a [Lane], which has so many places. Who finds none free waits, but only
// if the wait promises to be short: it is known how long a place is kept, so whoever would
// wait longer than is of use is told so at once and not when the time is over. What waits is
// bounded by time, therefore, not by number, and a queue that has grown long once does not stay
// long. Places go to the caller that has the fewest, so that one who asks a thousand things at
// once waits for himself.
package admission

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Limits are those of a lane.
type Limits struct {
	Places   int64         // taken at a time, each by a call or by a byte of what it brings; at least 1
	Share    int64         // of these, one caller's; 0: all. Nobody in particular ("") has all
	Waiting  int           // calls that wait, however short it will be: memory. At least 0
	Patience time.Duration // how long a wait is of use, of which half may be expected; 0: none is, negative: any is
}

// Reason says why a call was turned away.
type Reason uint8

// The reasons.
const (
	Full   Reason = iota // a place would have come free too late
	Waited               // it was expected in time and came too late
	Queue                // too many wait
	reasons
)

// Reasons has all of them, for tables.
const Reasons = int(reasons)

// String returns a word for programs.
func (r Reason) String() string {
	return [...]string{"full", "waited", "queue"}[r]
}

// Refused is the error of a call that was turned away. It has done nothing.
type Refused struct {
	Reason Reason
	After  time.Duration // when a place may be free; more than 0
}

// Error implements error.
func (r *Refused) Error() string {
	return fmt.Sprintf("turned away (%s): try again after %v", r.Reason, r.After)
}

// The bounds of Refused.After: whoever comes back sooner is only turned away again, and what
// is known of later is a guess.
const (
	leastAfter = 10 * time.Millisecond
	mostAfter  = 30 * time.Second
)

// sure is how much shorter than is of use a wait has to promise to be, for the promise is an average:
// whoever is let to wait is rarely turned away after all, when he has waited.
const sure = 2

// held is the weight of the last call in the average of how long places are kept, one of so many:
// enough calls for it not to jump, few enough to follow a change within a second.
const held = 8

// Lane is what calls of one kind pass through. It is safe for concurrent use.
type Lane struct {
	limits Limits

	mu      sync.Mutex
	taken   int64
	waiting int
	callers map[string]*caller // who has places or waits
	came    uint64             // who has begun to wait so far
	kept    time.Duration      // how long a place is kept, on average
}

// caller is who shares a lane with others.
type caller struct {
	taken  int64
	queue  []*waiter // the first first
	queued int64     // places that they wait for
}

type waiter struct {
	places int64
	number uint64        // in the order in which they came: two may come at one instant of the clock
	let    chan struct{} // closed when it has its places
}

// New returns a lane.
func New(l Limits) *Lane {
	if l.Share <= 0 || l.Share > l.Places {
		l.Share = l.Places
	}
	return &Lane{limits: l, callers: make(map[string]*caller)}
}

// Turn is a call that was let in. It is used by one goroutine at a time.
type Turn struct {
	lane   *Lane
	who    string
	places int64
	since  time.Time
	kept   time.Duration // before the pauses
	paused bool
}

// Enter waits for places, as long as is of use, and returns the turn, which is to be left. Of a
// call that wants more than there are all are taken. The error is a *[Refused], or that of ctx.
func (l *Lane) Enter(ctx context.Context, who string, places int64) (*Turn, error) {
	return l.enter(ctx, who, places, l.limits.Patience)
}

// Wait is Enter for who has all the time: it is held back and not turned away.
func (l *Lane) Wait(ctx context.Context, who string, places int64) (*Turn, error) {
	return l.enter(ctx, who, places, -1)
}

func (l *Lane) enter(ctx context.Context, who string, places int64, patience time.Duration) (*Turn, error) {
	places = min(places, l.share(who))
	t := &Turn{lane: l, who: who, places: places}
	l.mu.Lock()
	c := l.caller(who)
	if _, next := l.next(); next == nil && l.fits(who, c, places) {
		l.take(c, places)
		l.mu.Unlock()
		t.since = time.Now()
		return t, nil
	}
	expected := l.expect(c, places)
	switch {
	case l.waiting >= l.limits.Waiting:
		l.forget(who, c)
		l.mu.Unlock()
		return nil, refused(Queue, expected)
	case patience >= 0 && (patience == 0 || expected > patience/sure):
		l.forget(who, c)
		l.mu.Unlock()
		return nil, refused(Full, expected)
	}
	l.came++
	w := &waiter{places: places, number: l.came, let: make(chan struct{})}
	c.queue, c.queued = append(c.queue, w), c.queued+places
	l.waiting++
	l.mu.Unlock()
	if err := l.await(ctx, who, w, patience); err != nil {
		return nil, err
	}
	t.since = time.Now()
	return t, nil
}

func refused(r Reason, after time.Duration) error {
	return &Refused{r, min(max(after, leastAfter), mostAfter)}
}

// await waits until a waiter is let in.
func (l *Lane) await(ctx context.Context, who string, w *waiter, patience time.Duration) error {
	var late <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case <-w.let:
		return nil
	case <-late:
		err = refused(Waited, patience)
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.let: // both at once: it has its places
		return nil
	default:
	}
	c := l.callers[who]
	for i, other := range c.queue {
		if other == w {
			l.drop(c, i)
			break
		}
	}
	l.forget(who, c)
	l.dispatch() // who waited behind it may fit
	return err
}

// drop takes a waiter out of its queue.
func (l *Lane) drop(c *caller, i int) {
	c.queued -= c.queue[i].places
	copy(c.queue[i:], c.queue[i+1:])
	c.queue[len(c.queue)-1] = nil
	c.queue = c.queue[:len(c.queue)-1]
	l.waiting--
}

// share is how many places a caller may have.
func (l *Lane) share(who string) int64 {
	if who == "" {
		return l.limits.Places
	}
	return l.limits.Share
}

func (l *Lane) caller(who string) *caller {
	c := l.callers[who]
	if c == nil {
		c = &caller{}
		l.callers[who] = c
	}
	return c
}

// forget lets a caller go who has nothing here.
func (l *Lane) forget(who string, c *caller) {
	if c.taken == 0 && len(c.queue) == 0 {
		delete(l.callers, who)
	}
}

func (l *Lane) fits(who string, c *caller, places int64) bool {
	return l.taken+places <= l.limits.Places && c.taken+places <= l.share(who)
}

func (l *Lane) take(c *caller, places int64) {
	l.taken += places
	c.taken += places
}

// next returns the caller who is let in next, nil if none waits but for places of his own: the
// one with the fewest, of several the one who has waited longest.
func (l *Lane) next() (who string, next *caller) {
	if l.waiting == 0 {
		return "", nil
	}
	for name, c := range l.callers {
		if len(c.queue) == 0 || c.taken+c.queue[0].places > l.share(name) {
			continue
		}
		if next == nil || c.taken < next.taken || c.taken == next.taken && c.queue[0].number < next.queue[0].number {
			who, next = name, c
		}
	}
	return who, next
}

// dispatch lets in whoever fits.
func (l *Lane) dispatch() {
	for {
		who, c := l.next()
		if c == nil || !l.fits(who, c, c.queue[0].places) {
			return
		}
		w := c.queue[0]
		l.drop(c, 0)
		l.take(c, w.places)
		close(w.let)
	}
}

// expect says how long a caller would wait for places: until what he waits for already, and
// this, has had its turn, of which as many take turns as there are callers who wait.
func (l *Lane) expect(c *caller, places int64) time.Duration {
	waiting := int64(1)
	for _, other := range l.callers {
		if other != c && len(other.queue) > 0 {
			waiting++
		}
	}
	ahead := float64((c.queued + places) * waiting)
	return time.Duration(ahead / float64(l.limits.Places) * float64(l.kept))
}

// Try is Enter for who does not wait. It reports false of who was turned away.
func (l *Lane) Try(who string, places int64) (*Turn, bool) {
	t, err := l.enter(context.Background(), who, places, 0)
	return t, err == nil
}

// Leave gives the places back, and says how long they were kept without the pauses.
func (t *Turn) Leave() (kept time.Duration) {
	t.Pause()
	l := t.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == 0 {
		l.kept = t.kept
	}
	l.kept += (t.kept - l.kept) / held
	return t.kept
}

// Pause gives the places to others while the call does nothing, such as to wait for its
// client. The call goes on with [Turn.Resume], or ends with [Turn.Leave].
func (t *Turn) Pause() {
	if t.paused {
		return
	}
	t.paused = true
	t.kept += time.Since(t.since)
	l := t.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.callers[t.who]
	l.taken -= t.places
	c.taken -= t.places
	l.dispatch()
	l.forget(t.who, c)
}

// Resume takes the places back, at once and be there more taken than there are: what has begun
// is to end, and the next one waits for it.
func (t *Turn) Resume() {
	if !t.paused {
		return
	}
	t.paused, t.since = false, time.Now()
	l := t.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(l.caller(t.who), t.places)
}

// State is how full a lane is.
type State struct {
	Taken   int64
	Places  int64
	Waiting int
	Kept    time.Duration // how long a place is kept, on average
}

// State returns it.
func (l *Lane) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{l.taken, l.limits.Places, l.waiting, l.kept}
}
