package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// room leaves so many bytes on the disk of a member beside what a store of its size must have.
func (m *member) room(bytes int64) {
	m.disk.Limit(m.disk.Used() + int64(m.node.disk.reserve) + bytes)
}

// other returns a member that does not lead.
func (c *cluster) other() *member {
	l := c.leader()
	for _, m := range c.members {
		if m != l && m.node != nil {
			return m
		}
	}
	c.t.Fatal("there is no other member")
	return nil
}

// problem is what a member says of another.
func (c *cluster) problem(says, of *member) string {
	s, err := says.node.Status(c.t.Context())
	c.must(err)
	for _, m := range s.Members {
		if m.ID == of.id {
			return m.Problem
		}
	}
	return "it is no member"
}

// filling runs a test of a cluster of three members whose disks have an end.
func filling(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	inBubble(t, func(t *testing.T, c *cluster) {
		c.disks = true
		c.change = func(x *Config) { x.TrailingBytes = 1 }
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		f(t, c)
		for _, m := range c.members {
			if m.node != nil && m.node.Err() != nil {
				t.Errorf("%s has stopped: %v", m.id, m.node.Err())
			}
		}
	})
}

// TestFullFollower writes until the disk of a member that does not lead is nearly full: it takes no more, says
// so, and the others go on. When there is room it goes on too, also when it needs a snapshot by then, which it has refused.
func TestFullFollower(t *testing.T) {
	filling(t, func(t *testing.T, c *cluster) {
		l, m := c.leader(), c.other()
		n := uint64(1)
		write := func() {
			n++
			c.must(c.apply(increment(t, "p0", n)))
			<-time.After(10 * time.Millisecond)
		}
		m.room(takeMore + 64<<10)
		for m.node.Room() == nil {
			if write(); n > 5000 {
				t.Fatal("the disk is not full")
			}
		}
		for range 20 {
			write()
		}
		c.eventually("the leader knows", func() bool { return c.problem(l, m) == "its disk is nearly full" })
		if p := c.problem(m, m); !strings.Contains(p, "MiB left, and a member needs 288 MiB (make room on the disk: the member goes on by itself)") {
			t.Errorf("it says of itself: %s", p)
		}
		behind := m.node.applied.now()
		for range 20 {
			write()
		}
		if got := m.node.applied.now(); got != behind {
			t.Errorf("it has taken entries: %d, and before %d", got, behind)
		}
		m.disk.Limit(0)
		c.agree()
		c.sums(n)

		m.room(takeMore - 1<<20)
		<-time.After(roomEvery)
		for range 20 {
			write()
		}
		c.must(l.node.Snapshot()) // which cuts the log behind it
		before := m.node.DB()
		<-time.After(answerWithin)
		write()
		if m.node.DB() != before {
			t.Error("it has installed a snapshot that there is no room for")
		}
		m.disk.Limit(0)
		c.agree()
		c.sums(n)
		if m.node.DB() == before {
			t.Error("it has got no snapshot: the test does not test")
		}
		if c.leader() != l {
			t.Error("the leader is another one")
		}
	})
}

// TestFullWhileApplied fills the disk of a member when entries are in its log and not yet applied: they
// wait, and so does who closes the member not.
func TestFullWhileApplied(t *testing.T) {
	for _, closed := range []bool{false, true} {
		filling(t, func(t *testing.T, c *cluster) {
			m := c.other()
			<-time.After(2 * roomEvery)
			_ = m.node.Room() // it has just looked
			m.room(-1 << 20)
			c.must(c.apply(increment(t, "p0", 2)))
			c.must(c.apply(increment(t, "p0", 3)))
			c.eventually("entries wait", func() bool {
				m.node.disk.mu.Lock()
				defer m.node.disk.mu.Unlock()
				return m.node.disk.behind
			})
			before := m.node.DB()
			if closed {
				m.close()
				m.disk.Limit(0)
				m.open()
			} else {
				c.must(c.apply(increment(t, "p0", 4)))
				m.disk.Limit(0)
			}
			c.agree()
			if (m.node.DB() != before) != closed {
				t.Error("the store is another one, or not")
			}
		})
	}
}

// TestFullElected has a member lead that cannot apply anything for want of room: it does not keep the others from going on.
func TestFullElected(t *testing.T) {
	filling(t, func(t *testing.T, c *cluster) {
		l, m := c.leader(), c.other()
		<-time.After(2 * roomEvery)
		_ = m.node.Room() // it has just looked
		m.room(-1 << 20)
		c.must(c.apply(increment(t, "p0", 2)))
		c.eventually("entries wait", func() bool {
			m.node.disk.mu.Lock()
			defer m.node.disk.mu.Unlock()
			return m.node.disk.behind
		})
		id := m.node.Identity()
		c.must(l.node.raft.LeadershipTransferToServer(id.server(), raft.ServerAddress(id.Raft)).Error())
		c.eventually("it is elected", m.node.IsLeader)
		c.must(c.apply(increment(t, "p0", 3)))
		if c.leader() == m {
			t.Error("it still leads")
		}
		m.disk.Limit(0)
		c.agree()
		c.sums(3)
	})
}

// TestFullLeader fills the disk of the leader: another one leads, without an error that a client sees.
func TestFullLeader(t *testing.T) {
	filling(t, func(t *testing.T, c *cluster) {
		old := c.leader()
		old.room(leadMore - 1<<20)
		<-time.After(roomEvery)
		if _, err := old.node.DB().Apply(t.Context(), increment(t, "p0", 2)); !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
			t.Errorf("the leader says %v", err)
		}
		for i := range uint64(20) {
			c.must(c.apply(increment(t, "p0", i+2)))
		}
		if c.leader() == old {
			t.Error("it still leads")
		}
		c.agree() // it takes what others write as long as there is room for that
		old.room(takeMore - 1<<20)
		<-time.After(roomEvery)
		c.must(c.apply(increment(t, "p0", 22)))
		old.disk.Limit(0)
		c.agree()
		c.sums(22)
	})
}

// TestFullMajority fills the disks of two members, and of all: what is written is refused before it is in
// the log, questions are answered, and the cluster goes on when there is room.
func TestFullMajority(t *testing.T) {
	for _, all := range []bool{false, true} {
		filling(t, func(t *testing.T, c *cluster) {
			l := c.leader()
			for _, m := range c.members {
				if m != l {
					m.room(leadMore - 1<<20)
					c.eventually("the leader knows", func() bool { return c.problem(l, m) != "" })
				}
			}
			if all {
				l.room(leadMore - 1<<20)
			}
			before := l.node.raft.LastIndex()
			var err error
			c.eventually("writing is refused", func() bool {
				_, err = l.node.DB().Apply(t.Context(), increment(t, "p0", 1)) // as the first one: nothing comes of it
				return err != nil && !errors.Is(err, &query.Error{Code: query.CodeNotLeader})
			})
			if !errors.Is(err, &query.Error{Code: query.CodeIO}) || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("the leader says %v", err)
			}
			before = max(before, l.node.raft.LastIndex())
			for range 10 {
				if _, err := l.node.DB().Apply(t.Context(), increment(t, "p0", 2)); !errors.Is(err, &query.Error{Code: query.CodeIO}) {
					t.Errorf("the leader says %v", err)
				}
			}
			if at := l.node.raft.LastIndex(); at != before {
				t.Errorf("the log has grown to %d, before %d", at, before)
			}
			if _, err := l.node.Linearizable(t.Context()); err != nil {
				t.Error(err)
			}
			if !all {
				c.other().disk.Limit(0)
			} else {
				for _, m := range c.members {
					m.disk.Limit(0)
				}
			}
			c.eventually("writing goes on", func() bool { return c.apply(increment(t, "p0", 2)) == nil })
			for _, m := range c.members {
				m.disk.Limit(0)
			}
			c.agree()
			c.sums(2)
		})
	}
}
