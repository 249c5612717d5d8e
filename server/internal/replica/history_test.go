package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kantadb/kanta/query"
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
	keys   [historyKeys]counter
	counts struct{ writes, unknown, reads, stale, faults int }
}

// counter is what is known of one person's n, which clients make one more, and read.
type counter struct{ begun, done int64 }

const (
	historyKeys    = 3
	historyWriters = 4
	historyReaders = 3
	historyLasts   = 20 * time.Second // of virtual time, while things go wrong
)

// TestHistories has clients write and read while members are killed, cut off, wiped and made to
// lead; each history has a seed. What was acknowledged is there, once; a linearizable read has
// what was acknowledged before it; in the end all have the same.
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
	if lasts > 0 {
		first = uint64(begin.UnixNano())
	}
	var sum trial
	n := 0
	for ; n < tries || time.Since(begin) < lasts; n++ {
		h := oneHistory(t, first+uint64(n))
		sum.counts.writes += h.counts.writes
		sum.counts.unknown += h.counts.unknown
		sum.counts.reads += h.counts.reads
		sum.counts.stale += h.counts.stale
		sum.counts.faults += h.counts.faults
		if t.Failed() {
			return
		}
	}
	t.Logf("%d histories: %+v", n, sum.counts)
	if c := sum.counts; c.writes < 200*n || c.unknown < n || c.reads < 100*n || c.faults < 5*n {
		t.Errorf("%d histories have %+v: too little to tell anything", n, c)
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
		synctest.Test(t, func(t *testing.T) {
			h = &trial{cluster: &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 0)), cut: map[[2]string]bool{}, quiet: os.Getenv(historySeed) == ""}, end: make(chan struct{})}
			h.change = func(x *Config) { x.CheckEvery, x.SnapshotBytes, x.TrailingBytes = time.Second, 8<<10, 2<<10 }
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
	var clients sync.WaitGroup
	for i := range historyWriters {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), uint64(i)))
		clients.Go(func() { h.write(rng, uint64(i+1)) })
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
	close(h.end)
	clients.Wait()
	h.agree()
	for _, m := range h.members {
		for i := range h.keys {
			if n := value(h.t, m.node.DB(), fmt.Sprint("p", i)); n != h.keys[i].done || n != h.keys[i].begun {
				h.t.Errorf("%s: p%d has %d, of %d writes %d were acknowledged", m.id, i, n, h.keys[i].begun, h.keys[i].done)
			}
		}
	}
}

// fault is one thing that goes wrong, and lasts a while.
func (h *trial) fault() {
	pause := func(longest time.Duration) { <-time.After(time.Duration(1 + h.rng.Int64N(int64(longest)))) }
	m := h.members[h.rng.IntN(len(h.members))]
	other := h.members[h.rng.IntN(len(h.members))]
	switch h.rng.IntN(8) {
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
	}
	pause(3 * time.Second)
}

// heal ends what is wrong.
func (h *trial) heal() {
	for _, m := range h.members {
		m.alone = false
		if m.node == nil {
			m.open()
		}
	}
	clear(h.cut)
	h.connect()
}

// pick returns a member that runs, most often one that believes to lead.
func (h *trial) pick(rng *rand.Rand) *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	some := h.members[rng.IntN(len(h.members))].node
	if rng.IntN(10) == 0 {
		return some
	}
	for _, m := range h.members {
		if m.node != nil && m.node.IsLeader() {
			return m.node
		}
	}
	return some
}

func (h *trial) ended() bool {
	select {
	case <-h.end:
		return true
	default:
		return false
	}
}

// write writes, one batch after another, each until it is known to be applied.
func (h *trial) write(rng *rand.Rand, run uint64) {
	for sequence := uint64(1); !h.ended(); sequence++ {
		key := rng.IntN(historyKeys)
		b := incrementOf(h.t, fmt.Sprint("p", key), fmt.Sprint("writer-", run), sequence)
		h.mu.Lock()
		h.keys[key].begun++
		h.counts.writes++
		h.mu.Unlock()
		for {
			var position query.Position
			n := h.pick(rng)
			err := errNoStore()
			if n != nil {
				if db := n.DB(); db != nil {
					ctx, cancel := context.WithTimeout(h.t.Context(), time.Duration(1+rng.Int64N(int64(5*time.Second))))
					result, applied := db.Apply(ctx, b)
					cancel()
					position, err = result.Position, applied
				}
			}
			if err == nil {
				h.mu.Lock()
				h.keys[key].done++
				least := h.keys[key].done
				h.mu.Unlock()
				h.ownWrite(rng, key, position, least)
				break
			}
			if !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
				h.mu.Lock()
				h.counts.unknown++
				h.mu.Unlock()
			}
			<-time.After(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
		}
		<-time.After(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
	}
}

// ownWrite reads what was written at some member that says it has it.
func (h *trial) ownWrite(rng *rand.Rand, key int, p query.Position, least int64) {
	h.mu.Lock()
	n := h.members[rng.IntN(len(h.members))].node
	h.mu.Unlock()
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 200*time.Millisecond)
	defer cancel()
	if n.AtLeast(ctx, p) != nil {
		return
	}
	got, err := valueOf(n, key)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.stale++
	if got < 1 || got > h.keys[key].begun {
		h.t.Errorf("%s, which has %s, says p%d is %d; %d were acknowledged", n.id.ID, p, key, got, least)
	}
}

// read makes linearizable reads.
func (h *trial) read(rng *rand.Rand) {
	for !h.ended() {
		key := rng.IntN(historyKeys)
		h.mu.Lock()
		least := h.keys[key].done // acknowledged before the read begins
		h.mu.Unlock()
		if n := h.pick(rng); n != nil {
			ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Second)
			p, err := n.Linearizable(ctx)
			cancel()
			if err == nil {
				h.check(n, key, p, least)
			}
		}
		<-time.After(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
	}
}

func (h *trial) check(n *Node, key int, p query.Position, least int64) {
	got, err := valueOf(n, key)
	if err != nil {
		return // it was closed meanwhile
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.reads++
	if most := h.keys[key].begun; got < least || got > most {
		h.t.Errorf("a linearizable read at %s, %s: p%d is %d; %d were acknowledged before, %d had begun when it ended", n.id.ID, p, key, got, least, most)
	}
}

// valueOf returns n of a person at a member.
func valueOf(n *Node, key int) (int64, error) {
	db := n.DB()
	if db == nil {
		return 0, errNoStore()
	}
	return valueIn(db, fmt.Sprint("p", key))
}
