package server

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/internal/admission"
)

// TestLanes says of each call in the table where it goes, before anything is known of it and when
// it is known to take long or short.
func TestLanes(t *testing.T) {
	g := newGate(defaultGate(2))
	count := map[lane]int{}
	for name, rule := range access.Calls {
		c := &call{name: name, rule: rule}
		c.seen.asked.shape = g.shape(name, &asked{})
		first := g.lane(c)
		g.costs.Learn(c.seen.asked.shape, time.Minute)
		long := g.lane(c)
		g.costs.Learn(c.seen.asked.shape, time.Millisecond)
		short := g.lane(c)
		count[first]++
		moves := rule.Needs&(access.Numbers|access.Lists|access.Person) != 0 && (rule.Load == access.Question || rule.Load == access.Long)
		switch {
		case moves && (long != laneLong || short != laneShort || (first == laneLong) != (rule.Load == access.Long)):
			t.Errorf("%s goes to %d, when it takes long to %d, when short to %d", name, first, long, short)
		case !moves && (long != first || short != first || first == laneShort || first == laneLong):
			t.Errorf("%s goes to %d, %d and %d", name, first, long, short)
		}
	}
	for l := range lanes {
		if count[l] == 0 {
			t.Errorf("no call goes to %s", l)
		}
	}
	if l := defaultLimits(); l.gate.calls() > int64(l.handlers)*3/4 { // the rest are free calls, and streams of batches
		t.Errorf("the lanes hold %d calls, the compact wire %d", l.gate.calls(), l.handlers)
	}
	if count[noLane] == 0 {
		t.Error("no call is free")
	}
}

// TestTurnedAway has a place for one question, which is taken: the next one is refused at once and
// tried again later; what is urgent and what costs nothing passes.
func TestTurnedAway(t *testing.T) {
	o, log := logged(&Options{})
	s := limited(t, openStore(t), o, func(l *limits) {
		l.behind = time.Hour
		l.gate.lanes[laneShort] = admission.Limits{Places: 1}
	})
	l := listen(t, s)
	slow, c := dial(t, "kanta://"+l.Addr().String(), nil), dial(t, "kanta://"+l.Addr().String(), &client.Options{Attempts: 1})
	answered := waiting(t, slow, "n > 1")
	eventually(t, "the place is taken", func() bool { return s.gate.lanes[laneShort].State().Taken == 1 })
	_, err := c.Count(t.Context(), "n > 2", nil)
	if !isCode(err, query.CodeUnavailable) {
		t.Fatalf("a question without a place: %v", err)
	}
	if e := asError(err); e.RetryAfter <= 0 || e.Hint == "" {
		t.Errorf("it is refused with %+v", e)
	}
	if _, err := c.Profile(t.Context(), "nobody", nil); !isCode(err, query.CodeUnknownName) {
		t.Errorf("what is urgent: %v", err)
	}
	if _, err := c.Schema(t.Context()); err != nil {
		t.Errorf("what is free: %v", err)
	}
	if _, err := c.Apply(t.Context(), increment(t, "a", 0)); err != nil { // the position that is waited for
		t.Errorf("what is written: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the question that had the place: %v", err)
	}
	eventually(t, "the place is free", func() bool { return s.gate.lanes[laneShort].State().Taken == 0 })
	if _, err := c.Count(t.Context(), "n > 2", nil); err != nil {
		t.Errorf("when the place is free: %v", err)
	}
	if rec := log.find("calls were turned away", nil); rec == nil || rec["short"] != 1.0 {
		t.Errorf("the record is %v", rec)
	}
}

func asError(err error) *query.Error {
	e, _ := err.(*query.Error)
	if e == nil {
		return &query.Error{}
	}
	return e
}

// TestIngestRoom has no room for a batch: one call is refused and has done nothing, a stream waits.
func TestIngestRoom(t *testing.T) {
	db := openStore(t)
	raw := increment(t, "a", 0)
	s := limited(t, db, nil, func(l *limits) {
		l.gate.lanes[laneIngest] = admission.Limits{Places: leastWritten + 100, Waiting: 10}
	})
	c := dial(t, "", &client.Options{Transport: connectinprocess.New(s.RPC()), Attempts: 1})
	room := s.gate.lanes[laneIngest]
	for taken, want := range map[int64]bool{100: true, 101: false} {
		turn, _ := room.Try("", taken)
		if _, err := c.Apply(t.Context(), raw); want != (err == nil) || err != nil && !isCode(err, query.CodeUnavailable) {
			t.Errorf("a batch, with %d bytes taken: %v", taken, err)
		}
		turn.Leave()
	}
	turn, _ := room.Try("", leastWritten+100)
	wait, err := c.Submit(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream waits", func() bool { return room.State().Waiting == 1 })
	turn.Leave()
	if _, err := wait(); err != nil {
		t.Errorf("a batch that waited: %v", err)
	}
	valueOf(t, db, "a", 2)
	eventually(t, "nothing is under way", func() bool { return room.State().Taken == 0 })
}

// overloadVariable makes the overload of the test last for a minute.
const overloadVariable = "KANTA_OVERLOAD"

// TestOverload asks ten times as much as the server can answer.
func TestOverload(t *testing.T) {
	// The bounds are those that a machine keeps on which much else runs at the same time; by itself
	// it is to keep those of the minute.
	lasts, share, soon := 3*time.Second, 0.1, 2*time.Second
	if os.Getenv(overloadVariable) != "" {
		lasts, share, soon = time.Minute, 0.8, 50*time.Millisecond
	}
	db := numbered(t, 5_000)
	s := limited(t, db, nil, nil)
	c := dial(t, "kanta://"+listen(t, s).Addr().String(), &client.Options{Attempts: 1, Timeout: 20 * time.Second})
	const question = `memo + memo == memo + "x" || memo + "y" == "z"` // has no plan but to look at each person
	ask := func() error { _, err := c.Count(context.Background(), question, nil); return err }
	peak := float64(0)
	for _, clients := range []int{1, 2, 4, 8} {
		peak = max(peak, closedLoop(t, clients, time.Second/2, ask))
	}
	var before, most runtime.MemStats
	runtime.ReadMemStats(&before)
	o := openLoop(10*peak, lasts, ask, func() {
		var now runtime.MemStats
		if runtime.ReadMemStats(&now); now.HeapInuse > most.HeapInuse {
			most = now
		}
	})
	slices.Sort(o.refused)
	slices.Sort(o.answered)
	if len(o.refused) == 0 || len(o.answered) == 0 {
		t.Fatalf("%d answered, %d refused, %v", len(o.answered), len(o.refused), o.failed)
	}
	began := time.Now()
	for range 3 {
		if err := ask(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
	goodput, median := float64(len(o.answered))/o.took.Seconds(), o.refused[len(o.refused)/2]
	t.Logf("peak %.0f/s; for %v asked %.0f/s, of which %.0f/s were answered (%.0f %% of peak; p50 %v, p99 %v); refused p50 %v, p99 %v; heap %d MiB before, %d MiB at most; normal after %v",
		peak, lasts, o.asked/o.took.Seconds(), goodput, 100*goodput/peak, o.answered[len(o.answered)/2], o.answered[len(o.answered)*99/100],
		median, o.refused[len(o.refused)*99/100], before.HeapInuse>>20, most.HeapInuse>>20, time.Since(began))
	if goodput < share*peak {
		t.Errorf("%.0f answers/s of %.0f", goodput, peak)
	}
	if median > soon {
		t.Errorf("refused after %v", median)
	}
	if grown := int64(most.HeapInuse) - int64(before.HeapInuse); grown > 256<<20 {
		t.Errorf("%d MiB more in use", grown>>20)
	}
	for _, err := range o.failed {
		t.Errorf("a call failed: %v", err)
	}
}

// numbered is a store of so many people, in memory.
func numbered(t *testing.T, people int) *engine.DB {
	t.Helper()
	db := openStore(t)
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "memo", Kind: schema.String}})
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	for from := 0; from < people; from += 5000 {
		b := batch.New()
		for i := from; i < from+5000; i++ {
			text := strconv.Itoa(i)
			b.Upsert(text).Set("n", schema.IntValue(int64(i))).Set("memo", schema.StringValue(text))
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// closedLoop has so many clients ask one question after the other, and returns answers per second.
func closedLoop(t *testing.T, clients int, lasts time.Duration, ask func() error) float64 {
	t.Helper()
	var answers atomic.Int64
	began := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for time.Since(began) < lasts {
				if err := ask(); err != nil {
					t.Error(err)
					return
				}
				answers.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(answers.Load()) / time.Since(began).Seconds()
}

// outcomes are those of an open loop.
type outcomes struct {
	asked             float64
	took              time.Duration
	answered, refused []time.Duration
	failed            []error
}

// openLoop asks so many questions per second, whether or not they are answered. look is called
// now and then.
func openLoop(rate float64, lasts time.Duration, ask func() error, look func()) *outcomes {
	o := &outcomes{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; time.Since(began) < lasts; <-tick.C {
		for ; o.asked < rate*time.Since(began).Seconds(); o.asked++ {
			wg.Go(func() {
				start := time.Now()
				err := ask()
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					o.answered = append(o.answered, took)
				case isCode(err, query.CodeUnavailable) && asError(err).RetryAfter > 0:
					o.refused = append(o.refused, took)
				case len(o.failed) < 5:
					o.failed = append(o.failed, err)
				}
			})
		}
		if n++; n%50 == 0 {
			look()
		}
	}
	wg.Wait()
	o.took = time.Since(began)
	return o
}
