package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kantadb/kanta/server/internal/faultnet"
)

// What is told to the test of histories by the environment.
const (
	historySeed  = "KANTA_HISTORY"     // one history, by its seed
	historiesFor = "KANTA_HISTORY_FOR" // how long histories are tried, such as 4m, in real time
	historyCount = "KANTA_HISTORIES"   // how many are tried
)

// trial is what some clients do to a cluster in which things go wrong, and what they are told.
type trial struct {
	*cluster
	end    chan struct{} // closed when no client begins anything more
	ticks  atomic.Uint64 // a number for each thing that begins or ends, in their order
	values int64         // how many have been written
	writes []*written
	sights []seen
	acts   map[string][]int64 // what each member has in the end
	counts counts
}

// counts is what has happened. Of the writes whose outcome was unknown once all were tried again:
// some were found to be repeated, and some were found out elsewhere than where they were tried before.
type counts struct {
	writes, unknown, retried, repeated, elsewhere int
	reads, own, stale                             int // linearizable, of what was just written, as old as the member says
	faults                                        int
}

func (c *counts) add(d counts) {
	c.writes, c.unknown, c.retried, c.repeated, c.elsewhere = c.writes+d.writes, c.unknown+d.unknown, c.retried+d.retried, c.repeated+d.repeated, c.elsewhere+d.elsewhere
	c.reads, c.own, c.stale, c.faults = c.reads+d.reads, c.own+d.own, c.stale+d.stale, c.faults+d.faults
}

// enough reports whether n histories have had as much as it takes to tell anything.
func (c *counts) enough(n int) bool {
	return c.writes >= 200*n && c.retried >= n && c.repeated >= n/4 && c.elsewhere >= n/4 && c.reads >= 100*n && c.own >= 50*n && c.stale >= 20*n && c.faults >= 5*n
}

const (
	historyKeys    = 4
	historyWriters = 4
	historyReaders = 3
	historyLasts   = 20 * time.Second // of virtual time, while things go wrong
)

// TestHistories has clients write and read while members are killed, cut off, wiped and made to
// lead, and while their clocks are set; each history has a seed. It is judged as [judgement] says,
// and in the end all have the same.
func TestHistories(t *testing.T) {
	if s := os.Getenv(historySeed); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		oneHistory(t, seed)
		return
	}
	begin, tries, lasts := time.Now(), 6, time.Duration(0)
	if testing.Short() {
		tries = 2
	}
	if s := os.Getenv(historiesFor); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv(historyCount); s != "" {
		var err error
		if tries, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	first := uint64(1)
	if os.Getenv(historiesFor)+os.Getenv(historyCount) != "" {
		first = uint64(begin.UnixNano())
	}
	var sum counts
	n := 0
	for ; n < tries || time.Since(begin) < lasts; n++ {
		h := oneHistory(t, first+uint64(n))
		if t.Failed() {
			return
		}
		sum.add(h.counts)
	}
	t.Logf("%d histories: %+v", n, sum)
	if !sum.enough(n) {
		t.Errorf("%d histories have %+v: too little to tell anything", n, sum)
	}
}

func oneHistory(t *testing.T, seed uint64) (h *trial) {
	t.Helper()
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("again: %s=%d go test ./server/internal/replica -run TestHistories -v", historySeed, seed)
			}
		}()
		defer func() { // in real time, also if something was found wrong before
			if h != nil {
				(&judgement{t: t, writes: h.writes, sights: h.sights, acts: h.acts}).judge()
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			h = &trial{cluster: &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 0)), cut: map[[2]string]bool{}, quiet: os.Getenv(historySeed) == ""}, end: make(chan struct{})}
			h.change = func(x *Config) {
				x.CheckEvery, x.SnapshotBytes, x.TrailingBytes = time.Second, 8<<10, 2<<10
				if os.Getenv("KANTA_CANARY") != "" { // the test is to find it, not the members
					x.CheckEvery = -1
				}
			}
			h.net = faultnet.New(seed, answerWithin)
			h.net.Set(faultnet.Faults{Lose: 20, LoseReply: 20, Repeat: 20, Break: 200, Slow: 20, Delay: 10 * time.Millisecond, SlowDelay: 400 * time.Millisecond})
			defer h.close()
			h.run()
		})
	})
	return h
}

func (h *trial) run() {
	h.three()
	h.must(h.apply(historySchema(h.t)))
	var clients sync.WaitGroup
	stop := sync.OnceFunc(func() { close(h.end); clients.Wait() })
	defer stop()
	for i := range historyWriters {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), uint64(i)))
		clients.Go(func() { h.write(rng, i+1) })
	}
	for i := range historyReaders {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), uint64(i)))
		clients.Go(func() { h.read(rng) })
	}
	for end := time.Now().Add(historyLasts); time.Now().Before(end); {
		h.fault()
		h.counts.faults++
	}
	h.heal()
	h.eventually("a leader", func() bool { return h.leader() != nil })
	stop()
	h.settle(h.rng)
	h.agree()
	h.acts = map[string][]int64{}
	for _, m := range h.members {
		for key := range historyKeys {
			h.look(h.rng, m.node, seen{key: key, called: h.ticks.Add(1), linearizable: true}, &h.counts.own) // nobody writes any more
			all, err := acts(h.t.Context(), m.node, key)
			h.must(err)
			h.acts[m.id] = append(h.acts[m.id], all...)
		}
	}
}

// longestStep is between the earliest and the latest that a clock is set to: years, but not to
// before what people have done.
const longestStep = 20 * 365 * 24 * time.Hour

// fault is one thing that goes wrong, and lasts a while.
func (h *trial) fault() {
	pause := func(longest time.Duration) { <-time.After(time.Duration(1 + h.rng.Int64N(int64(longest)))) }
	m := h.members[h.rng.IntN(len(h.members))]
	other := h.members[h.rng.IntN(len(h.members))]
	switch h.rng.IntN(10) {
	case 0:
		m.isolate(true)
		pause(4 * time.Second)
		m.isolate(false)
	case 1: // it does not reach one other, who reaches it
		h.cut[[2]string{m.id, other.id}] = true
		h.connect()
		pause(4 * time.Second)
		clear(h.cut)
		h.connect()
	case 2:
		m.kill(h.rng.IntN(101))
		pause(3 * time.Second)
		m.open()
	case 3: // two at a time
		m.kill(h.rng.IntN(101))
		pause(time.Second)
		if other != m {
			other.kill(h.rng.IntN(101))
			other.open()
		}
		m.open()
	case 4:
		ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
		_ = m.node.Transfer(ctx, other.id) // most do not lead
		cancel()
	case 5:
		_ = m.node.Snapshot() // there may be nothing new
	case 6: // the power of all is cut
		for _, m := range h.members {
			m.kill(h.rng.IntN(101))
		}
		pause(time.Second)
		for _, m := range h.members {
			m.open()
		}
	case 7:
		if h.leader() == nil || h.votes() < 3 {
			break
		}
		m.kill(0)
		h.must(m.files.RemoveAll(memberDir))
		h.join(m)
	case 8: // somebody sets its clock
		m.step.Store(int64(time.Duration(h.rng.Int64N(int64(longestStep))) - longestStep/2))
	case 9: // another one leads, and who did hears of it late
		h.usurp(other)
	}
	pause(3 * time.Second)
}

// usurp has a member be elected while nobody tells the leader, who goes on for as long as a lease.
func (h *trial) usurp(other *member) {
	m := h.leader()
	if m == nil || m == other {
		return
	}
	var transfer sync.WaitGroup
	transfer.Go(func() {
		ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
		defer cancel()
		_ = m.node.Transfer(ctx, other.id)
	})
	for end := time.Now().Add(100 * time.Millisecond); other.node.raft.CurrentTerm() == m.node.raft.CurrentTerm() && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	m.isolate(true)
	transfer.Wait()
	m.isolate(false)
}

// heal ends what is wrong.
func (h *trial) heal() {
	for _, m := range h.members {
		if m.node != nil && m.node.Err() != nil {
			h.t.Fatalf("%s has stopped by itself: %v", m.id, m.node.Err())
		}
		m.alone = false
		if m.node == nil {
			m.open()
		}
	}
	clear(h.cut)
	h.connect()
}
