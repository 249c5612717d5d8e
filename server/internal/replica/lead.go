package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// leadership is a time during which this member leads, and has committed something.
type leadership struct {
	term  uint64
	since time.Time
}

// watch does what a leader has to do, whenever this member is one. It ends with ctx.
func (n *Node) watch(ctx context.Context) {
	lost := func() {} // ends what a leader does
	var led sync.WaitGroup
	end := func() {
		lost()
		led.Wait()
		n.lead.Store(nil)
	}
	defer end()
	seen := make(chan raft.Observation, 16)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool { _, is := o.Data.(raft.LeaderObservation); return is })
	n.raft.RegisterObserver(o)
	defer n.raft.DeregisterObserver(o)
	_, leader := n.raft.LeaderWithID()
	n.history.saw(leader)
	for {
		select {
		case o := <-seen:
			if leader, ok := o.Data.(raft.LeaderObservation); ok {
				n.history.saw(leader.LeaderID)
			}
		case leads := <-n.raft.LeaderCh():
			end()
			if leads {
				during, cancel := context.WithCancel(ctx)
				lost = cancel
				led.Go(func() { n.takeOver(during) })
			}
			n.applied.wake()
			n.wire.acks.wake()
		case <-ctx.Done():
			return
		}
	}
}

// takeOverPause is after an entry that was not taken, because leadership is being handed over.
const takeOverPause = 20 * time.Millisecond

// takeOver begins a leadership: something is committed in its term, and then the member does
// what a leader does until ctx ends.
func (n *Node) takeOver(ctx context.Context) {
	term := n.raft.CurrentTerm()
	var duties sync.WaitGroup
	defer duties.Wait()
	duties.Go(func() { n.yield(ctx) }) // from the beginning: without room it may not come to apply anything
	for n.control(ctx, control{kind: controlTerm}) != nil {
		if !n.IsLeader() || n.failure() != nil {
			return
		}
		select {
		case <-time.After(takeOverPause):
		case <-ctx.Done():
			return
		}
	}
	if n.raft.CurrentTerm() != term {
		return
	}
	n.lead.Store(&leadership{term: term, since: time.Now()})
	n.purging.look.Store(true)
	n.applied.wake()
	n.cfg.Log.Info("this member leads the cluster", "member", n.id.ID, "term", term)
	duties.Go(func() { n.checks.ask(ctx) })
	duties.Go(func() { n.promote(ctx) })
	duties.Go(func() { n.tick(ctx) })
	duties.Go(func() { n.keepVersions(ctx) })
}

// tickEvery is how often a leader looks whether a day has begun in which nothing was written.
const tickEvery = 30 * time.Second

// tick writes a tick once a day where a day changes what is shown, as long as ctx lasts.
func (n *Node) tick(ctx context.Context) {
	clock := n.cfg.Engine.Clock
	if clock == nil {
		clock = time.Now
	}
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		if err := n.tickIfDue(ctx, clock()); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("the day's tick could not be written yet", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) tickIfDue(ctx context.Context, now time.Time) error {
	const day = 24 * time.Hour
	db := n.db.Load()
	if db == nil || !now.UTC().Truncate(day).After(db.Received().Truncate(day)) {
		return nil
	}
	s, err := db.Schema(ctx)
	if err != nil || !slices.ContainsFunc(s.Events, func(e schema.Event) bool { return e.Retention > 0 }) {
		return err
	}
	b := batch.New()
	b.Tick()
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(ctx, raw)
	}
	return err
}

// control has the log take a control entry and waits until it is committed.
func (n *Node) control(ctx context.Context, c control) error {
	x, err := n.enter(ctx, nil, c.encode())
	if err != nil {
		return err
	}
	select {
	case <-x.answered:
		return x.err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return n.failure()
	}
}

// rounds are questions to a majority whether this member still leads.
type rounds struct {
	mu     sync.Mutex
	asking *round // others are being asked
	next   *round // whoever comes meanwhile waits for this one
	closed bool
	idle   sync.WaitGroup
}

type round struct {
	done chan struct{}
	err  error
}

// join returns a round that has not begun yet: the answers of one that has may be older than
// what its caller must see.
func (r *rounds) join(n *Node) (*round, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		if r.asking == nil {
			r.idle.Add(1)
			go r.run(n)
			r.asking, r.next = r.next, nil
			return r.asking, nil
		}
	}
	return r.next, nil
}

// run asks, as long as somebody waits.
func (r *rounds) run(n *Node) {
	defer r.idle.Done()
	for {
		r.mu.Lock()
		now := r.asking
		r.mu.Unlock()
		now.err = n.confirm()
		close(now.done)
		r.mu.Lock()
		r.asking, r.next = r.next, nil
		over := r.asking == nil
		r.mu.Unlock()
		if over {
			return
		}
	}
}

// end has nobody asked any more and waits for who was.
func (r *rounds) end() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.idle.Wait() // a leader hears from a majority, or steps down
}

// isVoter reports whether a server of a configuration votes.
func isVoter(s raft.Server) bool { return s.Suffrage == raft.Voter }
