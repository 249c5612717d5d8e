package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// A load goes on for its length and until it has done something that can be judged. One that has not
// in many times its length is void.
const (
	leastWrites  = 50
	leastSamples = 20
	mostLengths  = 20
)

// errVoid is the error of a run in which too little was done to say anything.
var errVoid = errors.New("void: the machine is too busy, or --length too short")

// due says whether a load goes on that began at start and has done so much.
func (r *clusterRun) due(start time.Time, done, least int) (bool, error) {
	switch took := time.Since(start); {
	case done >= least && took >= r.Length:
		return false, nil
	case took > max(mostLengths*r.Length, clusterWait):
		return false, fmt.Errorf("%w: %d of %d in %v", errVoid, done, least, took)
	}
	return true, nil
}

type (
	applier   = func(context.Context, batch.Batch) (batch.Result, error)
	submitter = func(context.Context, batch.Batch) (func() (batch.Result, error), error)
)

// writers writes single rows, each writer one after the other.
func (r *clusterRun) writers(ctx context.Context, all []applier) (WireFigure, error) {
	took, errs := make([][]time.Duration, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	start := time.Now()
	for w, apply := range all {
		wg.Go(func() {
			b := batch.New()
			random := rand.New(rand.NewPCG(r.Data.Seed, uint64(w)))
			change := r.g.fewAttributes(b, random)
			for {
				b.Reset()
				change(random.Uint64N(r.Data.Profiles))
				encoded, err := b.Encode()
				if err == nil {
					from := time.Now()
					if err = accepted(apply(ctx, encoded)); err == nil {
						took[w] = append(took[w], time.Since(from))
					}
				}
				more := false
				if err == nil {
					more, err = r.due(start, len(took[w]), leastWrites/len(all)+1)
				}
				if errs[w] = err; !more {
					return
				}
			}
		})
	}
	wg.Wait()
	f := WireFigure{}
	if err := errors.Join(errs...); err != nil {
		return f, err
	}
	elapsed, each := time.Since(start), slices.Concat(took...)
	slices.Sort(each)
	return WireFigure{P50: each[len(each)/2], P99: each[len(each)*99/100], Runs: len(each), PerSec: float64(len(each)) / elapsed.Seconds()}, nil
}

// clusterConnections are those of the clients of single writes: a server gives one caller 32.
const clusterConnections = 16

// singles measures single writes, some clients over a connection.
func (r *clusterRun) singles(ctx context.Context) (err error) {
	var clients []*client.Client
	defer func() {
		for _, c := range clients {
			err = errors.Join(err, c.Close())
		}
	}()
	for range clusterConnections {
		c, err := r.Connect(ctx, -1)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	var appliers []applier
	for i := range clusterClients {
		appliers = append(appliers, clients[i%len(clients)].Apply)
	}
	r.Progress(fmt.Sprintf("writing single rows, %d clients", clusterClients))
	f, err := r.writers(ctx, appliers)
	if err != nil {
		return err
	}
	r.least(fmt.Sprintf("single writes by %d clients", clusterClients), UnitPerSecond, f.PerSec, r.embedded.singles, goalSingles)
	r.Progress(fmt.Sprintf("writing single rows, %d clients", clusterFew))
	if f, err = r.writers(ctx, appliers[:clusterFew]); err != nil {
		return err
	}
	r.most(fmt.Sprintf("write p50, %d clients", clusterFew), UnitTime, float64(f.P50), float64(r.embedded.p50), float64(goalWrite))
	r.add(ClusterFigure{Name: fmt.Sprintf("write p99, %d clients", clusterFew), Unit: UnitTime, Value: float64(f.P99), Embedded: float64(r.embedded.p99)})
	return nil
}

// streamOptions shape a stream.
type streamOptions struct {
	every time.Duration     // a batch is due; 0: flat out
	done  func() bool       // says when it ends; nil: after the length of a load
	acked func(t time.Time) // is called for each acknowledgement, by one goroutine; may be nil
}

// flow is what a stream did.
type flow struct {
	batches int
	took    time.Duration
}

func (s flow) rate() float64 { return float64(s.batches*wireBatchRows) / s.took.Seconds() }

// stream writes batches of events, as many at a time as a server takes, until all are acknowledged.
func (r *clusterRun) stream(ctx context.Context, submit submitter, o streamOptions) (out flow, err error) {
	under := make(chan func() (batch.Result, error), wireUnderWay-2) // one is waited for, one waits to get in
	failed := make(chan error, 1)
	go func() {
		var first error
		for wait := range under {
			err := accepted(wait())
			switch {
			case first != nil: // the rest is waited for, so that nobody has the batches any more
			case err != nil:
				first = err
				failed <- err
			default:
				out.batches++
				if o.acked != nil {
					o.acked(time.Now())
				}
			}
		}
		close(failed)
	}()
	start := time.Now()
	for i := 0; err == nil; i++ {
		more := true
		if o.done != nil {
			more = !o.done()
		} else {
			more, err = r.due(start, i, leastWrites)
		}
		if !more {
			break
		}
		if o.every > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * o.every)))
		}
		var wait func() (batch.Result, error)
		if wait, err = submit(ctx, r.batches[i%len(r.batches)]); err != nil {
			break
		}
		select {
		case under <- wait:
		case err = <-failed:
			_, lost := wait() // as those before it
			err = errors.Join(err, lost)
		}
	}
	close(under)
	err = errors.Join(err, <-failed)
	out.took = time.Since(start)
	return out, err
}

// ingests measures events flat out, and then how far followers are behind at half of that.
func (r *clusterRun) ingests(ctx context.Context) error {
	r.Progress(fmt.Sprintf("writing events, batches of %d", wireBatchRows))
	flat, err := r.stream(ctx, r.all.Submit, streamOptions{})
	if err != nil {
		return err
	}
	r.rate = flat.rate()
	r.add(ClusterFigure{Name: fmt.Sprintf("durable events, a stream of batches of %d", wireBatchRows), Unit: UnitPerSecond, Value: flat.rate(), Embedded: r.embedded.ingest})
	r.least("the same, of the embedded rate", UnitRatio, flat.rate()/r.embedded.ingest, 0, goalIngestShare)
	r.Progress("the same at half the rate")
	lag, err := r.lag(ctx, r.half())
	if err != nil {
		return err
	}
	slices.Sort(lag)
	r.add(ClusterFigure{Name: "follower lag p50 at half that rate, as a client sees it", Unit: UnitTime, Value: float64(lag[len(lag)/2])})
	r.most("follower lag p99 at half that rate, as a client sees it", UnitTime, float64(lag[len(lag)*99/100]), 0, float64(goalLag))
	return nil
}

// half is after how long a batch is due at half the rate.
func (r *clusterRun) half() time.Duration {
	return time.Duration(2 * wireBatchRows / r.rate * float64(time.Second))
}

// How lag is looked for.
const (
	lagEvery = 20 * time.Millisecond
	lagAtAll = 64 // questions under way at once
)

// lagProbe asks followers for what has been acknowledged.
type lagProbe struct {
	r      *clusterRun
	at     []*client.Client // of each follower
	newest latest
	under  chan struct{}

	mu   sync.Mutex
	took []time.Duration
	err  error
}

// lag asks followers, again and again while events are written, for the newest position that was acknowledged, and
// returns how long after the acknowledgement each answer came that has seen it. The next question is put when its
// time has come, whether or not the last one is answered.
func (r *clusterRun) lag(ctx context.Context, every time.Duration) (_ []time.Duration, err error) {
	followers, err := r.followers(ctx)
	if err != nil {
		return nil, err
	}
	l := &lagProbe{r: r, under: make(chan struct{}, lagAtAll)}
	defer func() {
		for _, c := range l.at {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, f := range followers {
		c, err := r.Connect(ctx, f)
		if err != nil {
			return nil, err
		}
		l.at = append(l.at, c)
	}
	start, ended := time.Now(), make(chan error, 1)
	go func() {
		_, err := r.stream(ctx, r.all.Submit, streamOptions{every: every, done: func() bool { return l.done(start) },
			acked: func(t time.Time) { l.newest.set(r.all.Written(), t) }})
		ended <- err
	}()
	var wg sync.WaitGroup
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		select {
		case failed := <-ended:
			wg.Wait()
			return l.took, errors.Join(l.err, failed)
		case <-tick.C:
		}
		p, at, ok := l.newest.take()
		if !ok {
			continue
		}
		for _, c := range l.at {
			l.under <- struct{}{}
			wg.Go(func() { l.ask(ctx, c, p, at) })
		}
	}
}

// ask asks one follower.
func (l *lagProbe) ask(ctx context.Context, c *client.Client, p query.Position, acknowledged time.Time) {
	err := seen(ctx, c, p)
	took := time.Since(acknowledged)
	<-l.under
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took, l.err = append(l.took, took), errors.Join(l.err, err)
}

// seen has a member answer from a state that has seen a position.
func seen(ctx context.Context, c *client.Client, p query.Position) error {
	c.See(p)
	o := Asker{}.options()
	_, err := c.Count(ctx, "has(p.plan)", &o)
	return err
}

// done says whether there is enough.
func (l *lagProbe) done(start time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	more, err := l.r.due(start, len(l.took), leastSamples)
	l.err = errors.Join(l.err, err)
	return !more || l.err != nil
}

// latest is the newest acknowledgement.
type latest struct {
	mu sync.Mutex
	p  query.Position
	at time.Time // zero: none since take
}

func (l *latest) set(p query.Position, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.p, l.at = p, at
}

func (l *latest) take() (query.Position, time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at
	l.at = time.Time{}
	return l.p, at, !at.IsZero()
}
