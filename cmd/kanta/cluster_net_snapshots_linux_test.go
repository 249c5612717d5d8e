package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// What stores and logs are filled with: people with notes that no compression makes smaller.
const (
	netPeople    = 20_000
	netNoteBytes = 200
	netBulk      = 400 // people in a batch: 80 KB
	netLoad      = 40  // as long as a load goes on: 8 KB
)

// batchNumber counts batches of notes. It is for one goroutine at a time.
type batchNumber struct {
	random *rand.Rand
	last   uint64
	next   int // whose note is the next
}

// bulk has the notes of so many people written anew, and waits until that is acknowledged.
func (l *netLedger) bulk(ctx context.Context, people int) error {
	l.notes.last++
	b := batch.New()
	b.Source("notes", 1, l.notes.last)
	note := make([]byte, netNoteBytes)
	for range people {
		for j := range note {
			note[j] = ' ' + byte(l.notes.random.IntN(95))
		}
		b.Upsert(fmt.Sprintf("person-%d", l.notes.next)).Set("note", schema.StringValue(string(note)))
		l.notes.next = (l.notes.next + 1) % netPeople
	}
	raw, err := b.Encode()
	for err == nil {
		if _, err = l.all.Apply(ctx, raw); err != nil && netMayBe(err) && ctx.Err() == nil {
			err = nil
			continue
		}
		break
	}
	return err
}

// fill writes a note of everybody.
func (l *netLedger) fill() {
	for range netPeople / netBulk {
		if err := l.bulk(l.w.t.Context(), netBulk); err != nil {
			l.w.t.Fatal(err)
		}
	}
}

// load writes notes until what it returns is called.
func (l *netLedger) load() (end func()) {
	ctx, cancel := context.WithCancel(l.w.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		pace := time.NewTicker(40 * time.Millisecond) // 200 KB in a second: a store, and so a snapshot, grows by what it is given
		defer pace.Stop()
		for ; ctx.Err() == nil; <-pace.C {
			if err := l.bulk(ctx, netLoad); err != nil && ctx.Err() == nil {
				l.complain("notes: %v", err)
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// newest returns the index that a member's newest snapshot stands for, and its name; 0: it has none.
func (m *netMember) newest() (index uint64, name string) {
	entries, _ := os.ReadDir(filepath.Join(m.dir, "snapshots")) // which may not be there yet
	for _, e := range entries {
		if parts := strings.Split(e.Name(), "-"); len(parts) == 3 {
			if n, err := strconv.ParseUint(parts[1], 10, 64); err == nil && n > index {
				index, name = n, e.Name()
			}
		}
	}
	return index, name
}

// records returns how many records the store of a member's newest snapshot has applied.
func (m *netMember) records() (n uint64) {
	_, name := m.newest()
	text, _ := os.ReadFile(filepath.Join(m.dir, "snapshots", name, "META")) // an older one may be deleted just now
	_, rest, _ := strings.Cut(string(text), "\nposition ")
	_, rest, _ = strings.Cut(rest, ".")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ = strconv.ParseUint(line, 10, 64)
	return n
}

// receives returns how much a member has of a snapshot that is not finished; negative: there is none.
func (m *netMember) receives() int64 {
	dir := filepath.Join(m.dir, "snapshots", "tmp")
	entries, _ := os.ReadDir(dir) // as above
	for _, e := range entries {
		if strings.Count(e.Name(), "-") == 2 {
			return netBytes(filepath.Join(dir, e.Name()))
		}
	}
	return -1
}

// netBytes returns the bytes of files, some of which may be gone meanwhile.
func netBytes(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// installs returns how many snapshots a member says to have installed that it was sent.
func (m *netMember) installs() int {
	return strings.Count(m.says(), netInstalled)
}

// cutLog waits until the leader has cut what a member lacks that is away: of what a snapshot stands for some is kept,
// but none of it behind the one after it.
func (w *netWorld) cutLog(leader *netMember) {
	for range 2 {
		was, _ := leader.newest()
		w.until("a snapshot of "+leader.id, func() bool {
			is, _ := leader.newest()
			return is != was
		})
	}
}

// slow has a snapshot of the others take about so many seconds on its way to a member, and returns its bytes.
func (w *netWorld) slow(m *netMember, seconds int64) int64 {
	size := int64(netPeople * netNoteBytes)
	for _, o := range w.others(m) {
		if _, name := o.newest(); name != "" {
			size = max(size, netBytes(filepath.Join(o.dir, "snapshots", name)))
		}
	}
	w.run(fmt.Sprintf("tc qdisc replace dev %s root tbf rate %dbit burst 128kb latency 300ms", m.port(), 8*size/seconds))
	return size
}

// fast has what a member is sent be as fast as it can.
func (w *netWorld) fast(m *netMember) { w.run("tc qdisc del dev " + m.port() + " root") }

// netKilled says where receivers were killed, by what was on their disks then.
type netKilled struct{ receiving, received, replacing, replaced int }

// sceneInstall kills a member that is sent a snapshot while others write: at as many points as are wanted of the
// way, of which three quarters are while it comes, and the others while it is put in place. Then leaders that send one.
func sceneInstall(w *netWorld, l *netLedger) {
	points := 100
	if text := os.Getenv(netPointsVariable); text != "" {
		var err error
		if points, err = strconv.Atoi(text); err != nil {
			w.t.Fatal(err)
		}
	}
	l.fill()
	m := w.others(w.leader())[w.random.IntN(2)]
	w.kill(m)
	w.cutLog(w.leader())
	var killed netKilled
	first := l.acknowledged.Load()
	for i := range points {
		w.killReceiver(m, float64(i)/float64(points)/0.75, &killed)
	}
	w.t.Logf("%s was killed %d times: while a snapshot came %d, when it was there %d, while it took the store's place %d, and then %d; %d writes meanwhile",
		m.id, points, killed.receiving, killed.received, killed.replacing, killed.replaced, l.acknowledged.Load()-first)
	if killed.receiving < points/2 || killed.received+killed.replacing+killed.replaced == 0 {
		w.t.Error("void: too few were killed in the middle of it")
	}
	w.killSenders(m, max(1, points/10))
	w.fast(m)
	l.progress(50)
}

// killReceiver starts a member that lacks what the leader has cut off, and kills it when it has a part of the snapshot that
// it is sent; above 1 it has all of it, and some time has gone by.
func (w *netWorld) killReceiver(m *netMember, part float64, killed *netKilled) {
	w.t.Helper()
	was, _ := m.newest()
	w.transfer(m) // who has failed to reach a member for long lets 10 s go by before it tries again
	size, said := w.slow(m, 2), len(m.says())
	w.start(m)
	w.until(m.id+" is sent a snapshot", func() bool {
		is, _ := m.newest()
		return is != was || part <= 1 && m.receives() >= int64(part*float64(size))
	})
	if part > 1 {
		w.pass(w.between(0, 2*time.Second))
	}
	w.kill(m)
	is, _ := m.newest()
	between := func(suffix string) bool { _, err := os.Stat(filepath.Join(m.dir, "store") + suffix); return err == nil }
	switch {
	case is == was:
		killed.receiving++
	case between(".making"), between(".new"), between(".old"):
		killed.replacing++
	case strings.Contains(m.says()[said:], netInstalled):
		killed.replaced++
	default:
		killed.received++
	}
	if is != was { // what came behind it would do
		w.cutLog(w.leader(m))
	}
}

// transfer has another one lead of those that are not left out.
func (w *netWorld) transfer(without *netMember) {
	w.t.Helper()
	from := w.leader(without)
	i := slices.IndexFunc(w.members, func(o *netMember) bool { return o != from && o != without })
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := from.client.ClusterTransfer(ctx, w.members[i].id); err != nil {
		w.t.Logf("%s leads still: %v", from.id, err)
	}
	w.leader(without)
}

// killSenders kills leaders that send a member a snapshot.
func (w *netWorld) killSenders(m *netMember, times int) {
	w.t.Helper()
	for range times {
		w.transfer(m)
		w.slow(m, 3)
		before := m.installs()
		w.start(m)
		least := int64(w.random.Float64() * netPeople * netNoteBytes)
		var sender *netMember
		w.until(m.id+" is sent a snapshot", func() bool {
			sender = w.leads(m)
			return sender != nil && (m.receives() >= least || m.installs() > before)
		})
		w.kill(sender)
		w.start(sender) // without it, or m, nobody can lead
		w.until(m.id+" has a snapshot", func() bool { return m.installs() > before })
		w.kill(m)
		w.cutLog(w.leader(m))
	}
	w.t.Logf("%d leaders were killed that sent one", times)
	w.start(m)
}

// sceneTwo sends a member one snapshot, slowly, while the log grows so much that it needs a second one at once.
func sceneTwo(w *netWorld, l *netLedger) {
	l.fill()
	twice := 0
	for range 2 {
		m := w.others(w.leader())[w.random.IntN(2)]
		w.kill(m)
		end := l.load()
		w.cutLog(w.leader())
		w.slow(m, 8)
		before := m.installs()
		w.start(m)
		w.until(m.id+" has a snapshot", func() bool { return m.installs() > before })
		w.within(10*time.Second, func() bool { return m.installs() > before+1 || m.receives() > 0 })
		w.fast(m)
		w.within(20*time.Second, func() bool { return m.installs() > before+1 })
		if m.installs() > before+1 {
			twice++
		}
		end()
		l.progress(50)
	}
	w.t.Logf("%d times a member was sent a second snapshot when it had one", twice)
	if twice == 0 {
		w.t.Error("void: nobody was sent two")
	}
}

// netTail is what was sent to a leader that was cut off. Each write makes a person of its own.
type netTail struct {
	w            *netWorld
	name         string
	acknowledged []atomic.Bool
}

// tailWrites are more entries than what the others write meanwhile.
const tailWrites = 300

func (t *netTail) key(i int) string { return fmt.Sprintf("%s-%d", t.name, i) }

// send sends all at once to one member.
func (t *netTail) send(to *netMember) (end func()) {
	c, err := client.Open(t.w.t.Context(), serverScheme+to.address(), &t.w.secure)
	if err != nil {
		t.w.t.Fatal(err)
	}
	var sending sync.WaitGroup
	for i := range t.acknowledged {
		sending.Go(func() {
			ctx, cancel := context.WithTimeout(t.w.t.Context(), 2*time.Second)
			defer cancel()
			b := batch.New()
			b.Upsert(t.key(i)).Increment("n", schema.IntValue(1))
			raw, err := b.Encode()
			if err == nil {
				_, err = c.Apply(ctx, raw)
			}
			t.acknowledged[i].Store(err == nil)
		})
	}
	return func() {
		sending.Wait()
		_ = c.Close() // what failed is known
	}
}

// check compares.
func (t *netTail) check(c *client.Client) {
	for i := range t.acknowledged {
		n, err := netCount(t.w.t.Context(), c, t.key(i))
		if known := t.acknowledged[i].Load(); err != nil || n > 1 || known && n != 1 {
			t.w.t.Errorf("%s: acknowledged %v, and is there %d times (%v)", t.key(i), known, n, err)
		}
	}
}

// applied returns how many records a member's store has, as it says.
func (w *netWorld) applied(m *netMember) uint64 {
	w.t.Helper()
	s, err := w.status(m)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(s.Members, func(o query.ClusterMember) bool { return o.Self })
	return s.Members[i].Position.Applied
}

// sceneTail has a leader that is cut off keep entries that nobody else has, while the others go on by few entries, make
// snapshots and cut their log. When it is back it is sent a snapshot, which may stand for less than its tail: issue 697 of raft.
func sceneTail(w *netWorld, l *netLedger) {
	l.fill()
	wrong, behind := 0, 0
	for round := range 8 {
		m := w.leader()
		l.hold.Lock()
		before, said := w.applied(m), len(m.says())
		tail := &netTail{w: w, name: fmt.Sprintf("tail-%d", round), acknowledged: make([]atomic.Bool, tailWrites)}
		l.tails = append(l.tails, tail)
		w.cutOff(m, true, true)
		sent := tail.send(m)
		next := w.leader(m)
		for range 2 { // of what the first stands for some may be kept
			was, _ := next.newest()
			for is := was; is == was; is, _ = next.newest() {
				if err := l.bulk(w.t.Context(), netBulk); err != nil {
					w.t.Fatal(err)
				}
			}
		}
		sent()
		others := next.records() - before
		w.heal()
		w.until(m.id+" has a snapshot", func() bool { return strings.Contains(m.says()[said:], netInstalled) })
		l.hold.Unlock()
		l.progress(50)
		first, rest, _ := strings.Cut(m.says()[said:], netInstalled)
		cleared, after := netTailCleared.FindStringSubmatch(first+rest), netTailCleared.MatchString(rest)
		if cleared != nil {
			wrong++
		}
		if after {
			behind++
		}
		w.t.Logf("%s was cut off, and then sent a snapshot of %s with some %d entries; its own %v were cleared, behind that snapshot %v", m.id, next.id, others, cleared, after)
	}
	if wrong == 0 || behind == 0 {
		w.t.Errorf("void: a wrong tail was cleared %d times, %d behind the snapshot", wrong, behind)
	}
}

// netTailCleared is what Raft says when it deletes entries that others have overruled.
var netTailCleared = regexp.MustCompile(`clearing log suffix" from=[0-9]+ to=[0-9]+`)

// netInstalled is what Raft says when a snapshot is installed that came from the leader.
const netInstalled = "Installed remote snapshot"

// says returns all that a member has said.
func (m *netMember) says() string {
	text, _ := os.ReadFile(m.log) // if there is none it has said nothing
	return string(text)
}
