package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// netKind is how a writer sees to it that what it writes is there once.
type netKind uint8

const (
	bySequence netKind = iota // batches with source, run and sequence, sent again until they are acknowledged
	byID                      // events with ids, and values that are set, sent again alike
	sentOnce                  // nothing: what is not acknowledged may be there, or come later, once
	netKinds
)

// netLedger is what was acknowledged, and what was read.
type netLedger struct {
	w       *netWorld
	all     *client.Client // which writes
	writers []*netWriter
	tails   []*netTail
	notes   batchNumber
	hold    sync.RWMutex // held: no writer begins anything
	stop    atomic.Bool
	cancel  context.CancelFunc // of readers
	writing sync.WaitGroup
	reading sync.WaitGroup

	acknowledged, reads, unread, again atomic.Int64 // of all writers, and of all readers

	mu    sync.Mutex
	wrong []string // what may not be
}

// netWriter writes for one person, who has an event of each write with its number, and as n how many there were. Its
// numbers are written by itself, and read by everybody.
type netWriter struct {
	*netLedger
	key     string
	kind    netKind
	random  *rand.Rand
	sent    atomic.Int64 // the last that was begun
	counted atomic.Int64 // what n has at least: of those that were acknowledged
	seen    atomic.Int64 // the most that a linearizable read has told
	open    map[int64]bool
}

func (l *netLedger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// newNetLedger starts writers of each kind, and readers: each asks one member, be it who it is, and the last asks all.
func newNetLedger(w *netWorld, seed uint64) *netLedger {
	all, err := client.Open(w.t.Context(), w.addresses(), &w.secure)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = all.Close() })
	l := &netLedger{w: w, all: all, notes: batchNumber{random: rand.New(rand.NewPCG(seed, 99))}}
	b := batch.New()
	for _, c := range []schema.Change{
		{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "n", Kind: schema.Int}},
		{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "note", Kind: schema.String, Storage: schema.StorageInline}},
		{Op: schema.AddEvent, Event: "act"},
		{Op: schema.AddProperty, Event: "act", Name: "number", Attribute: schema.Attribute{Name: "number", Kind: schema.Int}},
	} {
		b.Change(c)
	}
	raw, err := b.Encode()
	if err == nil {
		_, err = all.Apply(w.t.Context(), raw)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range 2 * int(netKinds) {
		one := &netWriter{netLedger: l, key: fmt.Sprintf("writer-%d", i), kind: netKind(i % int(netKinds)), random: rand.New(rand.NewPCG(seed, uint64(i)+1)), open: map[int64]bool{}}
		l.writers = append(l.writers, one)
		l.writing.Go(func() { one.write(w.t.Context(), all) })
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	l.cancel = cancel
	for i, m := range append(w.members, nil) {
		address := w.addresses()
		if m != nil {
			address = serverScheme + m.address()
		}
		l.reading.Go(func() { l.read(ctx, address, rand.New(rand.NewPCG(seed, uint64(i)+100))) })
	}
	return l
}

// encode returns a write.
func (w *netWriter) encode(number int64, now time.Time) (batch.Batch, error) {
	b := batch.New()
	if w.kind == bySequence {
		b.Source(w.key, 1, uint64(number))
	}
	if row := b.Upsert(w.key); w.kind == byID {
		row.Set("n", schema.IntValue(number))
	} else {
		row.Increment("n", schema.IntValue(1))
	}
	e := b.Events([]batch.Column{{Name: "number", Kind: schema.Int}})
	if w.kind == byID {
		e.IDSource(w.key)
	}
	e.Row([]byte(w.key), []byte("act"), now.UnixMilli())
	e.Int(0, number)
	if w.kind == byID {
		e.ID(fmt.Append(nil, number))
	}
	return b.Encode()
}

// patience is how long a writer or reader waits for an answer: also shorter than what an election takes, so that
// nobody knows what became of it.
func patience(r *rand.Rand) time.Duration {
	return 300*time.Millisecond + time.Duration(r.Int64N(int64(6*time.Second)))
}

func (w *netWriter) write(ctx context.Context, c *client.Client) {
	for number := int64(1); !w.stop.Load(); number++ {
		raw, err := w.encode(number, time.Now())
		if err != nil {
			w.complain("%s: %v", w.key, err)
			return
		}
		w.hold.RLock()
		w.sent.Store(number)
		on := w.send(ctx, c, number, raw)
		w.hold.RUnlock()
		if !on {
			return
		}
		if number%16 != 0 {
			continue
		}
		// Whoever answers has what this client has written.
		least := w.counted.Load()
		short, cancel := context.WithTimeout(ctx, patience(w.random))
		have, err := netCount(short, c, w.key)
		cancel()
		if err == nil && (have < least || have > number) {
			w.complain("%s has written %d, and is told %d", w.key, least, have)
		}
	}
}

// send writes until it is acknowledged, if that may be. It reports whether to go on.
func (w *netWriter) send(ctx context.Context, c *client.Client, number int64, raw batch.Batch) bool {
	for first := true; ; first = false {
		short, cancel := context.WithTimeout(ctx, patience(w.random))
		r, err := c.Apply(short, raw)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil && r.Accepted+r.Duplicates != r.Received:
			w.complain("%s: write %d: %+v", w.key, number, r)
			return false
		case err == nil:
			w.counted.Add(1)
			w.acknowledged.Add(1)
			return true
		case !netMayBe(err):
			w.complain("%s: write %d: %v", w.key, number, err)
			return false
		case w.kind == sentOnce:
			w.open[number] = true
			return true
		case first:
			w.again.Add(1)
		}
	}
}

// netMayBe reports whether an error is one that a write may have while members are lost: nobody knows what became of
// it. The disk of a member that leads may be full.
func netMayBe(err error) bool {
	for _, code := range []query.Code{query.CodeUnavailable, query.CodeNotLeader, query.CodeIO} {
		if errors.Is(err, &query.Error{Code: code}) {
			return true
		}
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// netCount asks what n a person has; 0: there is none yet.
func netCount(ctx context.Context, c *client.Client, key string) (int64, error) {
	p, err := c.Profile(ctx, key, &query.ProfileOptions{Events: -1})
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return 0, nil
	}
	for i := range p.Values {
		if p.Values[i].Name == "n" {
			return p.Values[i].Value.Ordered(), err
		}
	}
	return 0, err
}

// read makes linearizable reads until ctx ends, through one member as long as that thinks that it leads.
func (l *netLedger) read(ctx context.Context, address string, random *rand.Rand) {
	o := l.w.secure
	o.Consistency, o.Attempts = client.Linearizable, 1
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, patience(random))
		c, err := client.Open(short, address, &o)
		if err == nil {
			for range 8 { // who was told of another leader would ask that one for ever
				l.readOne(short, c, l.writers[random.IntN(len(l.writers))])
			}
			_ = c.Close() // it has asked only
		} else {
			l.unread.Add(1)
			<-time.After(20 * time.Millisecond) // it may be refused at once
		}
		cancel()
	}
}

// readOne reads what a writer has written. Before it is asked so much is acknowledged, or was told; and no more can
// be told than was sent until then.
func (l *netLedger) readOne(ctx context.Context, c *client.Client, w *netWriter) {
	least, told := w.counted.Load(), w.seen.Load()
	have, err := netCount(ctx, c, w.key)
	if err != nil {
		l.unread.Add(1)
		return
	}
	l.reads.Add(1)
	switch most := w.sent.Load(); {
	case have < least:
		l.complain("stale: %s had %d acknowledged, and is told to have %d", w.key, least, have)
	case have < told:
		l.complain("stale: %s was told to have %d, and then %d", w.key, told, have)
	case have > most:
		l.complain("%s is told to have %d of %d that were sent", w.key, have, most)
	}
	for told = w.seen.Load(); told < have && !w.seen.CompareAndSwap(told, have); told = w.seen.Load() {
	}
}

// finish ends writers and readers, who can reach all members, and compares.
func (l *netLedger) finish() {
	w := l.w
	l.stop.Store(true)
	l.writing.Wait()
	l.cancel()
	l.reading.Wait()
	o := w.secure
	o.Consistency = client.Linearizable
	c, err := client.Open(w.t.Context(), w.addresses(), &o)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	open := 0
	for _, one := range l.writers {
		one.check(c)
		open += len(one.open)
	}
	for _, tail := range l.tails {
		tail.check(c)
	}
	l.same()
	w.t.Logf("%d writes acknowledged, %d more of which nobody knew, %d sent again; %d linearizable reads, %d not answered", l.acknowledged.Load(), open, l.again.Load(), l.reads.Load(), l.unread.Load())
	for _, what := range l.wrong {
		w.t.Error(what)
	}
}

// check compares what a writer has been told with what is there.
func (w *netWriter) check(c *client.Client) {
	t := w.w.t
	have, err := netCount(t.Context(), c, w.key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Timeline(t.Context(), w.key, &query.TimelineOptions{Limit: query.MaxTimeline})
	if err != nil || list.Next != "" {
		t.Fatalf("%s: %q, %v", w.key, list.Next, err)
	}
	times := map[int64]int{}
	for i := range list.Events {
		if p := list.Events[i].Properties; len(p) == 1 {
			times[p[0].Value.Ordered()]++
		}
	}
	sent, there := w.sent.Load(), int64(0)
	for number := int64(1); number <= sent; number++ {
		switch n := times[number]; {
		case n == 0 && !w.open[number]:
			w.complain("%s: write %d was acknowledged, and is lost", w.key, number)
		case n > 1:
			w.complain("%s: write %d was done %d times", w.key, number, n)
		case n == 1:
			there++
		}
		delete(times, number)
	}
	if len(times) > 0 {
		w.complain("%s: writes that nobody has sent: %v", w.key, times)
	}
	if have != there {
		w.complain("%s has n = %d and %d acts: a write is atomic", w.key, have, there)
	}
}

// same waits until all members have the same.
func (l *netLedger) same() {
	w := l.w
	var all []query.Digests
	ok := w.within(netWait, func() bool {
		all = nil
		for _, m := range w.members {
			if _, err := w.status(m); err != nil {
				return false
			}
			d, err := m.client.Digests(w.t.Context())
			if err != nil {
				return false
			}
			all = append(all, d)
		}
		for i := range all {
			if all[i] != all[0] {
				return false
			}
		}
		return true
	})
	if !ok {
		l.complain("the members differ: %+v", all)
	}
	var problems []string
	ok = w.within(netWait, func() bool {
		problems = nil
		for _, m := range w.members {
			s, err := w.status(m)
			if err != nil {
				problems = append(problems, err.Error())
			}
			for i := range s.Members {
				if p := s.Members[i].Problem; p != "" {
					problems = append(problems, m.id+" says of "+s.Members[i].ID+": "+p)
				}
			}
		}
		return len(problems) == 0
	})
	if !ok {
		l.complain("%q", problems)
	}
}

// progress waits until so many more writes are acknowledged, and as many linearizable reads as members.
func (l *netLedger) progress(n int64) {
	l.w.t.Helper()
	writes, reads := l.acknowledged.Load()+n, l.reads.Load()+int64(len(l.w.members))
	l.w.until(fmt.Sprintf("%d writes are acknowledged, and some reads", n), func() bool {
		l.mu.Lock()
		wrong := len(l.wrong)
		l.mu.Unlock()
		return l.acknowledged.Load() >= writes && l.reads.Load() >= reads || wrong > 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) > 0 {
		for _, what := range l.wrong {
			l.w.t.Error(what)
		}
		l.w.t.FailNow()
	}
}
