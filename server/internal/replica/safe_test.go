package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// closing is a transport that knows whether it was closed.
type closing struct {
	*raft.InmemTransport
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return c.InmemTransport.Close()
}

// TestOpenNothing opens what is no member's directory: the port does not stay open.
func TestOpenNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		cfg := c.add("n1").config()
		_, network := raft.NewInmemTransport("n1:1")
		over := &closing{InmemTransport: network}
		cfg.Transport = over
		if _, err := Open(cfg); !errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
			t.Errorf("opened: %v", err)
		}
		if !over.closed {
			t.Error("the transport is open")
		}
	})
}

// others returns the members that do not lead.
func (c *cluster) others(leader *member) (out []*member) {
	for _, m := range c.members {
		if m != leader {
			out = append(out, m)
		}
	}
	return out
}

// voters returns all others that may vote.
func (c *cluster) voters(leader *member) []*member {
	return slices.DeleteFunc(c.others(leader), func(m *member) bool { return m.readOnly })
}

// during waits for a while of the bubble's time.
func during(d time.Duration) { <-time.After(d) }

// TestRemovalNotCommitted has a member get the entry that removes it, which is never committed: it may be the only one
// left with what was acknowledged before, so it goes on.
func TestRemovalNotCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		a := c.leader()
		b, last := c.others(a)[0], c.others(a)[1]
		b.isolate(true)
		c.must(c.apply(increment(t, "p0", 1))) // a majority has it: a and last
		ctx, cancel := context.WithCancel(t.Context())
		removed := make(chan error, 1)
		go func() { removed <- a.node.Remove(ctx, last.id) }()
		c.eventually("it has the entry", func() bool { return !has(last.node.servers(), last.node.id.server()) })
		a.kill(0)
		cancel()
		if err := <-removed; err == nil {
			t.Error("it is removed by one of two")
		}
		during(10 * time.Second)
		if err := last.node.Err(); err != nil {
			t.Errorf("it has stopped: %v", err)
		}
		if n := value(t, last.node.DB(), "p0"); n != 1 {
			t.Errorf("n is %d", n)
		}
	})
}

// TestAllows has a member be away while another joins: it hears that one, which may lead by now. The leader hears
// members only.
func TestAllows(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		l := c.leader()
		away := c.others(l)[0]
		away.isolate(true)
		c.join(c.add("n4"))
		if !has(l.node.servers(), c.members[3].node.id.server()) || has(away.node.servers(), c.members[3].node.id.server()) {
			t.Error("both know the same: the test does not test")
		}
		if !away.node.Allows("n4") {
			t.Error("a member that it does not know yet is not heard")
		}
		if !l.node.Allows("n4") || !l.node.Allows(away.id) || l.node.Allows("n9") {
			t.Error("the leader does not hear a member, or hears a stranger")
		}
		away.isolate(false)
		c.agree()
	})
}

// TestSameAddress has members join with an address that another one has: they are refused, and who was in their place
// is a member still.
func TestSameAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		l := c.leader()
		gone, other := c.others(l)[0], c.others(l)[1]
		gone.kill(0)
		c.eventually("it does not answer", func() bool {
			return !slices.ContainsFunc(l.node.servers(), func(s raft.Server) bool { name, _ := memberOf(s.ID); return name == gone.id && l.node.answers(s.ID) })
		})
		said := func() string {
			all, err := documents(t.Context(), l.node.DB())
			c.must(err)
			return fmt.Sprint(l.node.servers(), all)
		}
		before := said()
		for _, id := range []string{gone.id, "n9"} {
			for what, r := range map[string]query.ClusterRecruit{
				"the raft address of a member":     {Address: "n9:2", RaftAddress: other.id + ":1"},
				"the raft address of the leader":   {Address: "n9:2", RaftAddress: l.id + ":1"},
				"the client address of a member":   {Address: other.id + ":2", RaftAddress: "n9:1"},
				"the client address of the leader": {Address: l.id + ":2", RaftAddress: "n9:1"},
				"a client address for members":     {Address: "n9:2", RaftAddress: other.id + ":2"},
				"a raft address for clients":       {Address: other.id + ":1", RaftAddress: "n9:1"},
			} {
				r.ID, r.Incarnation = id, "0123456789abcdef"
				if err := l.node.Join(t.Context(), r); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
					t.Errorf("%s joins with %s: %v", id, what, err)
				}
				if after := said(); after != before {
					t.Fatalf("%s, with %s: the members were %s and are %s", id, what, before, after)
				}
			}
		}
		c.must(gone.files.RemoveAll(memberDir))
		c.join(gone) // with its own addresses
		c.agree()
	})
}

// TestRemovedMeanwhile removes a member while it is about to get a vote: it does not come back.
func TestRemovedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.init()
		c.must(c.apply(schemaBatch(t)))
		n := c.leader().node
		c.join(c.add("n2"))
		n.members.held <- struct{}{}
		recruit := raft.Server{Suffrage: raft.Nonvoter, ID: c.members[1].node.id.server()}
		c.eventually("it may vote", func() bool { return n.mayVote(t.Context(), recruit) })
		during(2 * promoteEvery) // and waits for its turn
		c.must(n.raft.RemoveServer(recruit.ID, 0, 0).Error())
		n.members.release()
		for range 10 {
			during(promoteEvery)
			if has(n.servers(), recruit.ID) {
				t.Fatal("it is a member again")
			}
		}
	})
}

// TestChangeBehindAnother has a change whose caller has gone: the next one waits for it.
func TestChangeBehindAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		n := c.init().node
		answered := make(chan struct{})
		n.members.last = answered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Transfer(ctx, "n9"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while another change is under way: %v", err)
		}
		close(answered)
		if err := n.Transfer(t.Context(), "n9"); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			t.Errorf("after it: %v", err)
		}
	})
}

// TestSnapshotsTaken gives a member whose store has more than Raft knows, as after a start, a snapshot that Raft
// needs, and one that it does not.
func TestSnapshotsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		n := c.others(c.leader())[0].node
		c.agree()
		has := n.raft.AppliedIndex()
		n.applied.reached(has + 100)
		if err := n.refuse(&raft.InstallSnapshotRequest{LastLogIndex: has + 50}); err != nil {
			t.Errorf("a snapshot that Raft needs: %v", err)
		}
		if n.refuse(&raft.InstallSnapshotRequest{LastLogIndex: has - 1}) == nil {
			t.Error("a snapshot of what Raft has is taken")
		}
	})
}

// TestSnapshotOvertaken installs a snapshot between the moment that Raft asks for one and that it is made.
func TestSnapshotOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		n := c.others(c.leader())[0].node
		c.agree()
		c.must(n.Snapshot())
		newest, id := n.snaps.Newest()
		for _, overtaken := range []bool{true, false} {
			asked, err := machine{n}.Snapshot()
			c.must(err)
			if overtaken {
				_, from, err := n.snaps.Open(id)
				c.must(err)
				c.must(errors.Join(n.restore(from), from.Close()))
			}
			sink, err := n.snaps.Create(raft.SnapshotVersionMax, newest.Index, newest.Term, newest.Configuration, newest.ConfigurationIndex, nil)
			c.must(err)
			if err := asked.Persist(sink); (err == nil) == overtaken {
				t.Errorf("overtaken %t: %v", overtaken, err)
			}
			_ = sink.Cancel() // which has ended, if it was made
		}
	})
}

// TestRecoveredIsAnother recovers a cluster: those left behind, who have the name and the certificates, say another id
// in the preamble of package peer, and are not heard.
func TestRecoveredIsAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		m := c.init()
		before := m.node.Identity()
		m.kill(0)
		report, err := Recover(t.Context(), m.config(), RecoverOptions{Into: "new"})
		c.must(err)
		if report.Member.Store == before.Store || report.Member.Incarnation == before.Incarnation {
			t.Errorf("before %+v, recovered %+v", before, report.Member)
		}
	})
}

// TestReadOnly has a member that never votes: not when it has caught up, not by another leader, and nobody counts on
// it. It refuses what the leader does, and may be made one that votes only by joining anew.
func TestReadOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.init()
		c.must(c.apply(schemaBatch(t)))
		reader := c.add("n9")
		reader.readOnly = true
		c.join(reader)
		for _, id := range []string{"n2", "n3"} {
			c.join(c.add(id))
		}
		c.eventually("three votes", func() bool { return c.votes() == 3 })
		first := c.leader()
		c.must(first.node.Transfer(t.Context(), ""))
		c.eventually("another one leads", func() bool { l := c.leader(); return l != nil && l != first })
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		during(5 * promoteEvery)
		if c.votes() != 3 {
			t.Fatalf("%d vote", c.votes())
		}
		l := c.leader()
		s, err := reader.node.Status(t.Context())
		c.must(err)
		for _, m := range s.Members {
			if is := m.ID == reader.id; m.ReadOnly != is || m.Voter == is {
				t.Errorf("%+v", m)
			}
		}
		var e *query.Error
		if _, err := reader.node.DB().Apply(t.Context(), increment(t, "p0", 2)); !errors.As(err, &e) || e.Code != query.CodeNotLeader || e.Leader != l.id+":2" {
			t.Errorf("it is written to: %v", err)
		}
		if err := l.node.Transfer(t.Context(), reader.id); !errors.Is(err, &query.Error{Code: query.CodeConflict}) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("it is to lead: %v", err)
		}
		others := c.voters(l)
		others[0].isolate(true)
		reader.isolate(true)
		c.must(c.apply(increment(t, "p0", 3))) // two of three
		others[1].isolate(true)
		reader.isolate(false)
		c.eventually("the leader and who does not vote are no majority", func() bool { return c.leader() == nil })
		for _, m := range others {
			m.isolate(false)
		}
		c.agree()
		if n := value(t, reader.node.DB(), "p0"); n != 2 {
			t.Errorf("n is %d", n)
		}
		c.must(c.leader().node.Remove(t.Context(), reader.id))
		c.eventually("it is told so", func() bool { return reader.stopped.Load() != nil })
		reader.close()
		c.must(reader.files.RemoveAll(memberDir))
		reader.readOnly = false
		c.join(reader)
		c.eventually("four votes", func() bool { return c.votes() == 4 })
	})
}
