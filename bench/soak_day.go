package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A soak lives two hours of a company's day in a twelfth of the time: of half a million
// customers a fifth come in the evening, and what they do in these two hours is, per second
// of the day and compressed:
//
//	                  in two hours   per second   compressed
//	events               1,440,000          200        2,400   100,000 people, 14.4 acts each; batches of 50
//	changed profiles       180,000           25          300   by the systems around it; batches of 25
//	sign-ups                 3,600          0.5            6   batches of 3
//	profiles deleted           360         0.05          0.6
//	profiles looked at     180,000           25          300   with their last 100 events
//	questions               36,000            5           60   of dashboards and campaigns, a sixth are analyses
//	questions given up       1,200         0.17            2   the caller goes away after some milliseconds
//	questions refused        1,200         0.17            2   that no store should answer
//	lists changed            1,200         0.17            2
//	segments changed           600         0.08            1
//	people exported            120         0.02          0.2
//	snapshots opened           300         0.04          0.5   each is held for six seconds
//
// and ten times a backup, an erasure of some people, and the purge of what is left of them. A
// run of another length lives as much more or less of the day; but in a short one what is rare
// comes more often. A company of fewer customers has less to do, down to a tenth; a larger one
// has no more.
const (
	compression = 12
	customers   = 500_000
	leastBusy   = 0.1

	eventsOfBatch  = 50
	changesOfBatch = 25
	signupsOfBatch = 3

	// How often each duty falls due in any run; but what takes long has so much time at least.
	leastTimes = 10
	leastLong  = 2 * time.Second
)

// Deed is something that a soak does again and again.
type Deed uint8

// The deeds.
const (
	SoakEvents Deed = iota // batches of events
	SoakChanges
	SoakSignups
	SoakDeletes
	SoakLists
	SoakSegments
	SoakQuestions
	SoakViews
	SoakCancelled
	SoakRefused
	SoakExports
	SoakSnapshots
	SoakErasures
	SoakBackups
	NumDeeds int = iota
)

// every is how often a deed falls due in a run of ten minutes, by all who do it together.
func (d Deed) every() time.Duration {
	return [...]time.Duration{
		SoakEvents: time.Second / 48, SoakChanges: time.Second / 12, SoakSignups: time.Second / 2, SoakDeletes: 5 * time.Second / 3,
		SoakLists: time.Second / 2, SoakSegments: time.Second, SoakQuestions: time.Second / 60, SoakViews: time.Second / 300,
		SoakCancelled: time.Second / 2, SoakRefused: time.Second / 2, SoakExports: 5 * time.Second, SoakSnapshots: 2 * time.Second,
		SoakErasures: time.Minute, SoakBackups: time.Minute,
	}[d]
}

// String returns the deed's name in reports.
func (d Deed) String() string {
	return [...]string{
		SoakEvents: "batches of events", SoakChanges: "batches of changed profiles", SoakSignups: "batches of sign-ups", SoakDeletes: "deletions",
		SoakLists: "lists changed", SoakSegments: "segments changed", SoakQuestions: "questions", SoakViews: "profiles looked at",
		SoakCancelled: "questions given up", SoakRefused: "questions refused", SoakExports: "people exported", SoakSnapshots: "snapshots opened",
		SoakErasures: "erasures with their purge", SoakBackups: "backups",
	}[d]
}

// duty is a deed that falls due again and again.
type duty struct {
	deed  Deed
	every time.Duration
	due   time.Duration // since the start
	do    func(ctx context.Context) error

	// long is set where it takes seconds: quiet moments do not wait for it.
	long bool
}

// actor does its duties one after the other, always the one that is due first. None is left
// out: who is late is late with all that follows, until it has caught up.
type actor struct {
	s      *soak
	duties []*duty
	end    func(ctx context.Context) error // may be nil
}

// newActor makes one of several actors that share duties.
func (s *soak) newActor() *actor {
	a := &actor{s: s}
	s.actors = append(s.actors, a)
	return a
}

// has gives the actor a duty, as number n of those that share it.
func (a *actor) has(deed Deed, n, of int, do func(ctx context.Context) error) *duty {
	every := deed.every()
	switch deed {
	case SoakErasures, SoakBackups:
		every = max(min(every, a.s.Duration/leastTimes), leastLong)
	case SoakSnapshots:
		every = min(every, a.s.Duration/leastTimes)
	default:
		busy := min(max(float64(a.s.Data.Profiles)/customers, leastBusy), 1)
		every = min(time.Duration(float64(every)/busy), a.s.Duration/leastTimes)
	}
	d := &duty{deed: deed, every: every * time.Duration(of), due: every*time.Duration(n) + every/2, do: do}
	a.duties = append(a.duties, d)
	a.s.due[deed] += uint64(max(0, (a.s.Duration-d.due-1)/d.every+1))
	return d
}

// live does the duties, and what is to be done in the end.
func (a *actor) live(ctx context.Context) error {
	err := a.run(ctx)
	if a.end != nil {
		err = errors.Join(err, a.end(ctx))
	}
	return err
}

// run does the duties until the time is over.
func (a *actor) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := a.duties[0]
		for _, d := range a.duties[1:] {
			if d.due < next.due {
				next = d
			}
		}
		now := time.Since(a.s.start)
		if next.due >= a.s.Duration || now >= a.s.Duration {
			return nil
		}
		timer.Reset(next.due - now)
		select {
		case <-ctx.Done():
			return nil // whoever ended it says why
		case <-timer.C:
		}
		if err := a.s.perform(ctx, next); err != nil {
			return err
		}
		next.due += next.every
	}
}

// perform does a duty, but for long ones not in a quiet moment.
func (s *soak) perform(ctx context.Context, d *duty) error {
	if !d.long {
		s.gate.RLock()
		defer s.gate.RUnlock()
	}
	if err := d.do(ctx); err != nil {
		return err
	}
	s.done[d.deed].Add(1)
	return nil
}

// clock is the time of the day that is lived: it begins at [Now], when the events that were
// loaded end, and goes twelve times as fast as others.
func (s *soak) clock() time.Time {
	return Now().Add(compression * time.Since(s.start)).Truncate(time.Millisecond)
}

// deeds counts deeds.
type deeds [NumDeeds]atomic.Uint64
