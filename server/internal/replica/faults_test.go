package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// TestPowerCuts cuts the power of members one after another, and of all at once: what was
// acknowledged is there, once, whatever the disks have kept of what was not synced.
func TestPowerCuts(t *testing.T) {
	for _, unsynced := range []int{0, 30, 100} {
		t.Run(fmt.Sprint(unsynced), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				c.three()
				n := uint64(0)
				write := func() {
					for range 20 {
						n++
						c.must(c.apply(increment(t, fmt.Sprint("p", n%7), n)))
					}
				}
				for _, m := range c.members {
					write()
					m.kill(unsynced)
					write()
					m.open()
				}
				write()
				for _, m := range c.members {
					m.kill(unsynced)
				}
				for _, m := range c.members {
					m.open()
				}
				write()
				c.agree()
				c.sums(n)
			})
		})
	}
}

// sums compares the sum of what was incremented, at each member, with how often it was.
func (c *cluster) sums(want uint64) {
	c.t.Helper()
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		sum := int64(0)
		for i := range 7 {
			sum += value(c.t, m.node.DB(), fmt.Sprint("p", i))
		}
		if sum != int64(want) {
			c.t.Errorf("%s: the sum is %d, not %d", m.id, sum, want)
		}
	}
}

// TestLeadersDisk has a leader's disk not come to an end of its syncs. The others have what it sends, but it answers
// nobody, and tells nobody that anything is committed; cut off from its power it may lose it all.
func TestLeadersDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		// begin has the leader take a batch that its disk does not sync, and the others have it.
		begin := func(n uint64) (l *member, answered chan error) {
			l, answered = c.leader(), make(chan error, 1)
			l.hold()
			wait, err := l.node.DB().Submit(t.Context(), increment(t, "p0", n))
			c.must(err)
			go func() {
				_, err := wait()
				answered <- err
			}()
			c.eventually("the others have it", func() bool {
				return !slices.ContainsFunc(c.others(l), func(m *member) bool { return m.node.logs.Durable() < l.node.raft.LastIndex() })
			})
			<-time.After(time.Second)
			for _, m := range c.members {
				if have := value(t, m.node.DB(), "p0"); have != int64(n)-1 || m != l && m.node.raft.CommitIndex() >= l.node.raft.LastIndex() {
					t.Errorf("%s has p0 = %d and takes %d of %d for committed", m.id, have, m.node.raft.CommitIndex(), l.node.raft.LastIndex())
				}
			}
			select {
			case err := <-answered:
				t.Errorf("it is answered: %v", err)
				answered <- err
			default:
			}
			return l, answered
		}
		l, answered := begin(2)
		close(*l.held.Swap(nil))
		c.must(<-answered)
		l, answered = begin(3)
		l.kill(0)
		<-answered // of a process that is dead
		c.must(c.apply(increment(t, "p0", 3)))
		l.open()
		c.agree()
		c.sums(3)
	})
}

// TestDivergentTail has a leader that nobody reaches append what is never committed, be left
// behind by more than a log, and come back: it gets the others' store by a snapshot.
func TestDivergentTail(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.SnapshotBytes, x.TrailingBytes = 1<<30, 1 }
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		old := c.leader()
		committed := old.node.raft.CommitIndex()
		old.isolate(true)
		for range 100 { // appended there, and nowhere else
			wait, err := old.node.DB().Submit(t.Context(), increment(t, "lost", 0))
			if err != nil {
				t.Log(err) // it has noticed already
				break
			}
			defer func() {
				if _, err := wait(); !isUnknown(err) {
					t.Errorf("a write that a majority never got: %v", err)
				}
			}()
		}
		tail := func() uint64 {
			last, err := old.node.logs.LastIndex()
			c.must(err)
			return last
		}
		c.eventually("it has a tail", func() bool { return tail() >= committed+100 })
		c.eventually("another leader", func() bool { return c.leader() != nil })
		for i := range uint64(30) {
			c.must(c.apply(increment(t, "p0", i+2)))
		}
		for _, m := range c.members {
			if m != old {
				c.must(m.node.Snapshot()) // which cuts the log behind it
			}
		}
		c.must(c.apply(increment(t, "p0", 32)))
		sent, _ := c.leader().node.snaps.Newest()
		if sent.Index <= committed || sent.Index >= tail() {
			t.Fatalf("the snapshot stands for %d entries, and its tail begins behind %d and ends at %d: the test does not test", sent.Index, committed, tail())
		}
		replaced, restored := old.node.DB(), old.node.swap.restored.Load()
		old.isolate(false)
		c.agree()
		if got, _ := old.node.snaps.Newest(); old.node.DB() == replaced || old.node.swap.restored.Load() == restored || got == nil || got.Index < sent.Index {
			t.Errorf("it has got no snapshot: %+v", got)
		}
		if first, err := old.node.logs.FirstIndex(); err != nil || first <= sent.Index {
			t.Errorf("what contradicts the snapshot is in its log, which begins at %d, %v", first, err)
		}
		c.sums(32)
		if n := value(t, old.node.DB(), "lost"); n != 0 {
			t.Errorf("what was never committed is there: %d", n)
		}
	})
}

// TestWiped has a member lose its directory. Under its old name it is refused as long as it
// answers, comes back without a vote, and gets one when it has the store.
func TestWiped(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		lost := c.members[2]
		if lost == c.leader() {
			lost = c.members[1]
		}
		l := c.leader().node
		err := l.Join(t.Context(), query.ClusterRecruit{ID: lost.id, Address: lost.id + ":2", RaftAddress: lost.id + ":1", Incarnation: "0123456789abcdef"})
		if !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
			t.Errorf("a second %s: %v", lost.id, err)
		}
		lost.kill(0)
		c.must(c.apply(increment(t, "p0", 2)))
		c.must(lost.files.RemoveAll(memberDir))
		c.join(lost)
		for _, s := range c.leader().node.servers() {
			if id, _ := memberOf(s.ID); id == lost.id && isVoter(s) {
				t.Error("it votes at once")
			}
		}
		c.eventually("three votes", func() bool { return c.votes() == 3 })
		c.agree()
		c.sums(2)
	})
}

// TestLostLog has a member come back without its log: it is not let in.
func TestLostLog(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		m := c.members[0]
		m.close()
		c.must(m.files.RemoveAll(m.files.PathJoin(memberDir, raftName)))
		_, err := Open(m.config())
		if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "join") {
			t.Errorf("opened without its log: %v", err)
		}
	})
}

// TestReads asks for what was acknowledged at members that may not have it.
func TestReads(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		l := c.leader()
		p, err := l.node.Linearizable(t.Context())
		c.must(err)
		for _, m := range c.members {
			c.must(m.node.AtLeast(t.Context(), p))
			if n := value(t, m.node.DB(), "p0"); n != 1 {
				t.Errorf("%s at %s: n is %d", m.id, p, n)
			}
			if m != l {
				_, err := m.node.Linearizable(t.Context())
				var e *query.Error
				if !errors.As(err, &e) || e.Code != query.CodeNotLeader || e.Leader != l.id+":2" {
					t.Errorf("a linearizable read at %s: %v", m.id, err)
				}
			}
		}
		if err := l.node.AtLeast(t.Context(), query.Position{Epoch: p.Epoch + 1}); !errors.Is(err, &query.Error{Code: query.CodeWrongEpoch}) {
			t.Errorf("a position of another epoch: %v", err)
		}
		c.eventually("all are fresh", func() bool {
			for _, m := range c.members {
				if s := m.node.Staleness(); s < 0 || s > time.Second {
					return false
				}
			}
			return true
		})

		// A leader that nobody reaches must not answer, though it does not know yet.
		l.isolate(true)
		if !l.node.IsLeader() {
			t.Error("it has noticed in no time")
		}
		if p, err := l.node.Linearizable(t.Context()); err == nil {
			t.Errorf("a leader that nobody reaches answers at %s", p)
		}
		c.eventually("another leader", func() bool { return c.leader() != nil })
		c.must(c.apply(increment(t, "p0", 2)))
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(time.Second) { // no word for so long
		}
		if s := l.node.Staleness(); s >= 0 && s < 10*time.Second {
			t.Errorf("who hears of nobody says it is %v old", s)
		}
		l.isolate(false)
		c.agree()
	})
}

// TestMembers hands over the leadership, removes a member, and looks at what is said of them.
func TestMembers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		old := c.leader()
		to := c.members[1]
		if to == old {
			to = c.members[2]
		}
		c.must(old.node.Transfer(t.Context(), to.id))
		c.eventually("it leads", func() bool { return c.leader() == to })
		if err := to.node.Remove(t.Context(), to.id); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
			t.Errorf("the leader is removed: %v", err)
		}
		if err := to.node.Remove(t.Context(), "n9"); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			t.Errorf("nobody is removed: %v", err)
		}
		if err := old.node.Remove(t.Context(), to.id); !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
			t.Errorf("removed by who does not lead: %v", err)
		}
		var s query.ClusterStatus
		c.eventually("the leader has heard of all", func() bool {
			var err error
			s, err = to.node.Status(t.Context())
			c.must(err)
			for _, m := range s.Members {
				if m.LastContact < 0 || m.Problem != "" || m.Lag > 0 {
					return false
				}
			}
			return true
		})
		if s.Leader != to.id || s.Node != to.id || len(s.Members) != 3 || s.Cluster != "test" || s.LeaderChanges == 0 || s.LeaderSince.IsZero() {
			t.Errorf("status %+v", s)
		}
		for i, m := range s.Members {
			if id := fmt.Sprint("n", i+1); m.ID != id || m.Address != id+":2" || m.RaftAddress != id+":1" || !m.Voter || m.Self != (id == to.id) {
				t.Errorf("member %+v", m)
			}
		}
		c.must(to.node.Remove(t.Context(), old.id))
		c.eventually("it has heard of it", func() bool { return old.node.Err() != nil && old.stopped.Load() != nil })
		if err := *old.stopped.Load(); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
			t.Errorf("who was removed stops with %v", err)
		}
		old.close()
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
	})
}

// TestRepeated sends batches again whose outcome nobody told, because the leader was killed or
// cut off with them on their way: each is applied once.
func TestRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		n, unknown := uint64(0), 0
		for trial := range 60 {
			l := c.leader()
			if l == nil {
				c.eventually("a leader", func() bool { return c.leader() != nil })
				l = c.leader()
			}
			first := n + 1
			var waits []func() error
			for range 1 + c.rng.IntN(20) {
				n++
				wait, err := l.node.DB().Submit(t.Context(), increment(t, fmt.Sprint("p", n%7), n))
				if err != nil {
					continue
				}
				waits = append(waits, func() error { _, err := wait(); return err })
			}
			if trial%2 == 0 {
				l.isolate(true)
			} else if c.rng.IntN(2) == 0 {
				go func() { _ = l.node.Transfer(t.Context(), "") }()
			}
			for _, wait := range waits {
				if err := wait(); isUnknown(err) {
					unknown++
				}
			}
			l.isolate(false)
			for i := first; i <= n; i++ { // whatever was said: all of them once more
				c.must(c.apply(increment(t, fmt.Sprint("p", i%7), i)))
			}
		}
		c.agree()
		c.sums(n)
		if unknown < 20 {
			t.Errorf("of %d batches the outcome of %d was not known: the test does not test", n, unknown)
		}
		t.Logf("%d batches, of %d the outcome was not known at first", n, unknown)
	})
}

// TestBrokenDisk has the disk of a member fail, of the leader and of another, under the log and
// under the store. The member stops and says why, the others go on, and with a new disk that has
// what the old one had, it comes back.
func TestBrokenDisk(t *testing.T) {
	for _, what := range []string{"/" + raftName + "/", "/" + storeName + "/"} {
		for _, leads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,%t", strings.Trim(what, "/"), leads), func(t *testing.T) {
				inChild(t, func(t *testing.T, c *cluster) {
					c.three()
					c.must(c.apply(increment(t, "p0", 1)))
					m := c.leader()
					if !leads {
						m = c.members[0]
						if m == c.leader() {
							m = c.members[1]
						}
					}
					m.broken.Store(&what)
					n := uint64(1)
					for m.node.Err() == nil {
						n++
						c.must(c.apply(increment(t, "p0", n)))
						if n == 10 {
							_ = m.node.DB().Compact(t.Context()) // the store writes in the background, else it may take long
						}
						if n > 5000 {
							t.Fatal("the member has not noticed")
						}
					}
					c.eventually("it has been told", func() bool { return m.stopped.Load() != nil })
					m.kill(0)
					c.must(c.apply(increment(t, "p0", n+1)))
					m.broken.Store(nil)
					m.open()
					c.agree()
					c.sums(n + 1)
				})
			})
		}
	}
}

// TestOldStore gives a member a store that is older than its newest snapshot, whose log was cut,
// and none at all: a process may be killed between the arrival of a snapshot and its installation.
func TestOldStore(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.TrailingBytes = 1 }
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		m := c.members[2]
		store := m.files.PathJoin(memberDir, storeName)
		m.close()
		_, err := vfs.Clone(m.files, m.files, store, "old", vfs.CloneSync)
		c.must(err)
		for n := uint64(2); ; n++ {
			m.open()
			for i := range uint64(5) {
				c.must(c.apply(increment(t, "p0", 5*n+i)))
			}
			c.agree()
			c.must(m.node.Snapshot())
			m.close()
			c.must(m.files.RemoveAll(store))
			if n == 4 {
				break
			}
			if n == 2 {
				c.must(m.files.Rename("old", store))
			}
		}
		m.open() // it has none, and nobody else runs
		for _, x := range c.members {
			if x != m {
				x.close()
			}
		}
		if n := value(t, m.node.DB(), "p0"); n != 16 {
			t.Errorf("n is %d", n)
		}
	})
}

// TestSentAgain sends a member once more what it has cut off its log, as a leader does that has
// not heard its answers: it has to take what is new of it, and say that it has the rest.
func TestSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.TrailingBytes = 1 }
		c.three()
		for i := range uint64(20) {
			c.must(c.apply(increment(t, "p0", i+1)))
		}
		c.agree()
		leader := c.leader()
		m := c.members[0]
		if m == leader {
			m = c.members[1]
		}
		term, end := leader.node.raft.CurrentTerm(), leader.node.raft.LastIndex()
		c.must(m.node.Snapshot())
		for i := range uint64(5) {
			c.must(c.apply(increment(t, "p0", i+21)))
		}
		c.agree()
		base := m.node.base()
		if base < end {
			t.Fatalf("the log was cut at %d of %d: the test does not test", base, end)
		}
		other := c.net.Join("n9:1")
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader.node.id.server()), Addr: []byte(leader.id + ":1")}
		send := func(from, to uint64) bool {
			said := &raft.AppendEntriesRequest{RPCHeader: header, Term: term, PrevLogEntry: from - 1, PrevLogTerm: term}
			for i := from; i <= to; i++ {
				l := new(raft.Log)
				c.must(leader.node.logs.GetLog(i, l))
				said.Entries = append(said.Entries, l)
			}
			var answer raft.AppendEntriesResponse
			c.must(other.AppendEntries(m.node.id.server(), m.network.LocalAddr(), said, &answer))
			return answer.Success
		}
		if !send(base-3, base-1) || !send(base-3, base) || !send(base-3, base+3) || !send(base-3, leader.node.raft.LastIndex()) {
			t.Error("it refuses what it has")
		}
		var answer raft.InstallSnapshotResponse
		old := &raft.InstallSnapshotRequest{RPCHeader: header, Term: term, SnapshotVersion: 1, LastLogIndex: base - 2, LastLogTerm: term}
		c.must(other.InstallSnapshot(m.node.id.server(), m.network.LocalAddr(), old, &answer, strings.NewReader("")))
		if !answer.Success {
			t.Error("it does not say that it has what an older snapshot has")
		}
		c.must(other.Close())
		c.must(c.apply(increment(t, "p0", 26)))
		c.agree()
	})
}
