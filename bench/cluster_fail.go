package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

const (
	// How much the log of the member grows before it makes a snapshot, where one is to be seen in seconds.
	snapshotLog = 1 << 20

	// What is looked at before a snapshot's files appear: a store is flushed first.
	snapshotFlush = time.Second

	snapshotsWanted = 2
	snapshotLook    = 5 * time.Millisecond
)

// span is from when until when something was so.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// snapshot measures the longest time without an acknowledgement while the member that leads makes a snapshot. That
// member is started anew so that it makes one after little, and made to lead.
func (r *clusterRun) snapshot(ctx context.Context) error {
	r.Progress("making snapshots under load")
	followers, err := r.followers(ctx)
	if err != nil {
		return err
	}
	m := &r.Members[followers[0]]
	if err := r.restart(ctx, followers[0], snapshotLog); err != nil {
		return err
	}
	if err := r.all.ClusterTransfer(ctx, m.ID); err != nil {
		return err
	}
	if err := eventually(ctx, m.ID+" leads", func() (bool, error) {
		leader, err := r.leader(ctx)
		return err == nil && leader == followers[0], err
	}); err != nil {
		return err
	}
	acks, made, err := r.snapshots(ctx, m)
	if err != nil {
		return err
	}
	var during, otherwise time.Duration
	for i := 1; i < len(acks); i++ {
		gap := span{acks[i-1], acks[i]}
		if slices.ContainsFunc(made, gap.overlaps) {
			during = max(during, gap.to.Sub(gap.from))
		} else {
			otherwise = max(otherwise, gap.to.Sub(gap.from))
		}
	}
	size, _, err := m.Snapshot()
	if err != nil {
		return err
	}
	r.add(ClusterFigure{Name: "snapshots made under full load", Unit: UnitCount, Value: float64(len(made))})
	r.add(ClusterFigure{Name: "size of the last one", Unit: UnitBytes, Value: float64(size)})
	r.most("longest time between two acknowledgements, one under way", UnitTime, float64(during), 0, float64(goalPause))
	r.add(ClusterFigure{Name: "longest time between two acknowledgements, none under way", Unit: UnitTime, Value: float64(otherwise)})
	return r.restart(ctx, followers[0], 0)
}

// snapshots writes flat out until a member has made some snapshots. It returns the times of acknowledgements and of
// the snapshots.
func (r *clusterRun) snapshots(ctx context.Context, m *ClusterMember) (acks []time.Time, made []span, err error) {
	start := time.Now()
	var enough atomic.Bool
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream(ctx, r.all.Submit, streamOptions{done: enough.Load, acked: func(t time.Time) { acks = append(acks, t) }})
		ended <- err
	}()
	look := func() error {
		tick := time.NewTicker(snapshotLook)
		defer tick.Stop()
		var since time.Time // a snapshot is being made; zero: none
		for {
			<-tick.C
			_, making, err := m.Snapshot()
			if err != nil {
				return err
			}
			switch now := time.Now(); {
			case making && since.IsZero():
				since = now
			case !making && !since.IsZero():
				made = append(made, span{since.Add(-snapshotFlush), now})
				since = time.Time{}
			}
			if more, err := r.due(start, len(made), snapshotsWanted); !more || len(ended) > 0 {
				return err
			}
		}
	}
	err = look()
	enough.Store(true)
	err = errors.Join(err, <-ended)
	return acks, made, err
}

// restart stops a member, starts it and waits until it has everything.
func (r *clusterRun) restart(ctx context.Context, i int, logBytes int64) error {
	m := &r.Members[i]
	if err := m.Stop(); err != nil {
		return err
	}
	if err := m.Start(logBytes); err != nil {
		return err
	}
	return r.caughtUp(ctx, i)
}

// caughtUp waits until a member that was started has what was acknowledged before.
func (r *clusterRun) caughtUp(ctx context.Context, i int) error {
	c, err := r.Connect(ctx, i)
	if err != nil {
		return err
	}
	defer c.Close()
	p := r.all.Written()
	if err := eventually(ctx, r.Members[i].ID+" catches up", func() (bool, error) {
		err := seen(ctx, c, p)
		return err == nil, err
	}); err != nil {
		return err
	}
	_, err = r.status(ctx)
	return err
}

// wiped measures how long a member that has lost its disk takes to have everything again, at half load.
func (r *clusterRun) wiped(ctx context.Context) error {
	r.Progress("wiping a member while events are written")
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	size, _, err := r.Members[leader].Snapshot()
	if err != nil {
		return err
	}
	victim := (leader + 1) % len(r.Members)
	m := &r.Members[victim]
	if err := m.Kill(); err != nil {
		return err
	}
	var enough atomic.Bool
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream(ctx, r.all.Submit, streamOptions{every: r.half(), done: enough.Load})
		ended <- err
	}()
	back, err := r.rejoin(ctx, victim)
	enough.Store(true)
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	took := back.waited + back.sent + back.log
	r.add(ClusterFigure{Name: "snapshot that a wiped member was sent at half load", Unit: UnitBytes, Value: float64(size)})
	r.add(ClusterFigure{Name: "entries of the log behind it, which it was sent as well", Unit: UnitCount, Value: float64(back.entries)})
	r.add(ClusterFigure{Name: "from its start until it had everything", Unit: UnitTime, Value: float64(took)})
	r.add(ClusterFigure{Name: "of that, until the snapshot began to be sent", Unit: UnitTime, Value: float64(back.waited)})
	r.add(ClusterFigure{Name: "of that, until the snapshot was sent and installed", Unit: UnitTime, Value: float64(back.sent)})
	r.add(ClusterFigure{Name: "of that, until the log was sent and applied", Unit: UnitTime, Value: float64(back.log)})
	r.add(ClusterFigure{Name: "bytes of the snapshot while it was sent and installed", Unit: UnitBytesPerSecond, Value: float64(size) / back.sent.Seconds()})
	r.least("bytes of the snapshot in all of the time, its start and the log included", UnitBytesPerSecond, float64(size)/took.Seconds(), 0, goalCatchUp)
	return r.caughtUp(ctx, victim) // and has a vote
}

// rejoined is what a member took that began anew, one after the other.
type rejoined struct {
	waited  time.Duration // from its start until a snapshot began to be sent to it
	sent    time.Duration // until that was installed, and its store opened
	log     time.Duration // until it had applied all that had been acknowledged when the store was there
	entries uint64        // of the log that it lacked then
}

// rejoin has a member begin anew and returns how long it took from its start until it had everything.
func (r *clusterRun) rejoin(ctx context.Context, i int) (out rejoined, err error) {
	m := &r.Members[i]
	if err := m.Wipe(ctx, r.all); err != nil {
		return out, err
	}
	start := time.Now()
	if err := m.Start(0); err != nil {
		return out, err
	}
	began := time.Now()
	looks, enough := context.WithCancel(ctx)
	defer enough()
	sent := make(chan sending, 1)
	go func() { sent <- r.sending(looks, m.ID) }()
	c, err := r.Connect(ctx, i) // it answers nobody until it has a store
	if err != nil {
		return out, err
	}
	defer c.Close()
	installed := time.Now()
	p := r.all.Written()
	enough()
	s := <-sent
	if !s.from.IsZero() { // else it took less than a look at it
		began = s.from
	}
	if !s.to.IsZero() { // else it answers sooner than the leader knows
		installed = s.to
	}
	err = eventually(ctx, m.ID+" has everything", func() (bool, error) {
		err := seen(ctx, c, p)
		return err == nil, err
	})
	return rejoined{began.Sub(start), installed.Sub(began), time.Since(installed), s.entries}, err
}

// sending is from when until when a snapshot was sent and installed, as the leader sees it; zero: that was not seen.
type sending struct {
	span
	entries uint64 // of the log that the member lacked then
}

// sending looks, until ctx ends, when a member that has nothing is sent a snapshot, for the first time.
func (r *clusterRun) sending(ctx context.Context, id string) (out sending) {
	for ctx.Err() == nil && out.to.IsZero() {
		s, err := r.all.ClusterStatus(ctx)
		at := slices.IndexFunc(s.Members, func(m query.ClusterMember) bool { return m.ID == id })
		if err == nil && at >= 0 {
			m, now := &s.Members[at], time.Now()
			switch {
			case m.SnapshotTotal > 0 && out.from.IsZero():
				out.from = now
			case m.SnapshotTotal == 0 && !out.from.IsZero():
				out.to = now
			}
			if m.LastContact >= 0 {
				out.entries = m.Lag
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(snapshotLook):
		}
	}
	return out
}

// failover kills whoever leads, again and again.
func (r *clusterRun) failover(ctx context.Context) error {
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: failoverWrites, Kind: schema.Int}})
	encoded, err := b.Encode()
	if err == nil {
		err = accepted(r.all.Apply(ctx, encoded))
	}
	if err != nil {
		return err
	}
	w := &failoverWork{r: r}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, failoverWriters)
	for i := 1; i < failoverWriters; i++ { // number 0 is who looks
		wg.Go(func() {
			for errs[i] == nil && !w.stop.Load() {
				errs[i] = w.write(ctx, i)
			}
		})
	}
	took, err := w.trials(ctx)
	w.stop.Store(true)
	wg.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	if err := w.check(ctx); err != nil {
		return err
	}
	slices.Sort(took)
	r.add(ClusterFigure{Name: "trials of kill -9 of the leader, writers at work", Unit: UnitCount, Value: float64(len(took))})
	r.most("failover p50, until the next write is acknowledged", UnitTime, float64(took[len(took)/2]), 0, float64(goalFailover))
	r.most("failover, the longest", UnitTime, float64(took[len(took)-1]), 0, float64(goalFailoverMax))
	return nil
}

const (
	failoverWriters = 5
	failoverLeast   = 5 // writes of each before a leader is killed
	failoverWrites  = "bench_writes"
)

// failoverWork is what is written while leaders are killed: each writer makes a number of a person of its own one
// more, again and again.
type failoverWork struct {
	r    *clusterRun
	stop atomic.Bool
	done [failoverWriters]atomic.Int64
}

func (w *failoverWork) person(i int) string { return fmt.Sprintf("bench-writer-%d", i) }

// write writes once. It returns when that is acknowledged.
func (w *failoverWork) write(ctx context.Context, i int) error {
	b := batch.New()
	b.Source(w.person(i), 1, uint64(w.done[i].Load())+1)
	b.Upsert(w.person(i)).Increment(failoverWrites, schema.IntValue(1))
	encoded, err := b.Encode()
	if err == nil {
		err = accepted(w.r.all.Apply(ctx, encoded))
	}
	if err == nil {
		w.done[i].Add(1)
	}
	return err
}

// trials returns how long it took each time from the kill until a write was acknowledged that began after it.
func (w *failoverWork) trials(ctx context.Context) (took []time.Duration, err error) {
	r := w.r
	for n := range r.Trials {
		r.Progress(fmt.Sprintf("killing the leader, %d of %d", n+1, r.Trials))
		var before [failoverWriters]int64
		for i := range before {
			before[i] = w.done[i].Load()
		}
		if err := eventually(ctx, "writers write", func() (bool, error) {
			for i := 1; i < failoverWriters; i++ {
				if w.done[i].Load() < before[i]+failoverLeast {
					return false, nil
				}
			}
			return true, nil
		}); err != nil {
			return took, err
		}
		leader, err := r.leader(ctx)
		if err != nil {
			return took, err
		}
		start := time.Now()
		if err := r.Members[leader].Kill(); err != nil {
			return took, err
		}
		if err := w.write(ctx, 0); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
		if err := r.Members[leader].Start(0); err != nil {
			return took, err
		}
		if err := r.caughtUp(ctx, leader); err != nil {
			return took, err
		}
	}
	return took, nil
}

// check wants each acknowledged write to be there, once.
func (w *failoverWork) check(ctx context.Context) error {
	for i := range failoverWriters {
		p, err := w.r.all.Profile(ctx, w.person(i), &query.ProfileOptions{Events: -1})
		if err != nil {
			return err
		}
		have := int64(0)
		for j := range p.Values {
			if p.Values[j].Name == failoverWrites {
				have = p.Values[j].Value.Ordered()
			}
		}
		if want := w.done[i].Load(); have != want {
			return fmt.Errorf("%d writes of %s were acknowledged, and %d are there", want, w.person(i), have)
		}
	}
	return nil
}
