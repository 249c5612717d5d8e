package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// TestDispensable goes through clusters of which one that votes is dead.
func TestDispensable(t *testing.T) {
	for _, x := range []struct {
		voters, healthy int
		want            bool
	}{
		{2, 1, false}, {3, 2, false}, {3, 1, false}, // too few are left
		{4, 3, true}, {4, 2, true}, {4, 1, false}, // another one has come
		{5, 4, true}, {5, 3, true}, {5, 2, false}, // most of those that are left must be there
		{6, 3, true}, {6, 2, false}, {7, 4, true}, {7, 3, false},
	} {
		if got := dispensable(x.voters, x.healthy); got != x.want {
			t.Errorf("one of %d, of which %d are there: %t", x.voters, x.healthy, got)
		}
	}
}

// TestSilence counts for how long members are not heard of: not for as long as nobody looked, and anew when one was
// heard.
func TestSilence(t *testing.T) {
	var s silence
	s.reset()
	servers := []raft.Server{{ID: "a"}, {ID: "b"}}
	heard := map[raft.ServerID]bool{"b": true}
	now := time.Now()
	look := func(passed time.Duration) {
		now = now.Add(passed)
		s.look(now, servers, func(id raft.ServerID) bool { return heard[id] })
	}
	want := func(what string, a, b time.Duration) {
		t.Helper()
		if s.long("a") != a || s.long("b") != b {
			t.Errorf("%s: %v and %v, want %v and %v", what, s.long("a"), s.long("b"), a, b)
		}
	}
	look(0)
	want("the first look", 0, 0)
	look(promoteEvery)
	look(promoteEvery)
	want("two more", 2*promoteEvery, 0)
	heard["b"] = false
	look(48 * time.Hour) // the process was stopped
	want("after two days in which nobody looked", 4*promoteEvery, 2*promoteEvery)
	heard["a"] = true
	look(promoteEvery)
	want("one is heard", 0, 3*promoteEvery)
	s.reset()
	want("another leadership", 0, 0)
}

// TestDead has one of three die. It stays a member until another one has its vote, and is removed then, which the
// status of all says until it joins again. What cannot be told is not done.
func TestDead(t *testing.T) {
	const after = 10 * time.Second
	var mu sync.Mutex
	var told []query.ClusterRemoval
	refused := true
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) {
			x.RemoveDead = after
			x.Removing = func(_ context.Context, r query.ClusterRemoval) error {
				mu.Lock()
				defer mu.Unlock()
				if told = append(told, r); refused {
					return errors.New("no room for that")
				}
				return nil
			}
		}
		c.three()
		l := c.leader()
		dead := c.others(l)[0]
		dead.kill(0)
		during(2 * after)
		l = c.leader()
		s, err := l.node.Status(t.Context())
		c.must(err)
		if len(s.Members) != 3 || len(s.Removed) != 0 {
			t.Fatalf("one of three is removed: %+v", s)
		}
		for _, m := range s.Members {
			if (m.ID == dead.id) != strings.Contains(m.Problem, "is removed when another member has a vote") {
				t.Errorf("%+v", m)
			}
		}
		c.join(c.add("n4"))
		c.eventually("it is to be removed", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) > 0 })
		if len(c.leader().node.servers()) != 4 {
			t.Fatal("it is removed though that could not be told")
		}
		mu.Lock()
		refused = false
		mu.Unlock()
		c.eventually("it is removed", func() bool { return c.votes() == 3 })
		c.agree()
		for _, m := range c.others(dead) {
			s, err := m.node.Status(t.Context())
			c.must(err)
			if len(s.Members) != 3 || len(s.Removed) != 1 || s.Removed[0].ID != dead.id || s.Removed[0].Silent < after || s.Removed[0].At.IsZero() {
				t.Errorf("%s says %+v", m.id, s)
			}
		}
		mu.Lock()
		if r := told[len(told)-1]; r.ID != dead.id || r.Silent < after {
			t.Errorf("told was %+v", r)
		}
		mu.Unlock()
		c.must(dead.files.RemoveAll(memberDir))
		c.join(dead)
		c.eventually("it is back, and votes", func() bool { return c.votes() == 4 })
		if s, err := c.leader().node.Status(t.Context()); err != nil || len(s.Removed) != 0 {
			t.Errorf("it is a member, and %+v were removed (%v)", s.Removed, err)
		}
	})
}

// TestNeverRemoved has a member die where nobody is to be removed for that.
func TestNeverRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.RemoveDead = -1 }
		c.three()
		c.join(c.add("n4"))
		c.eventually("four votes", func() bool { return c.votes() == 4 })
		c.others(c.leader())[0].kill(0)
		during(10 * time.Second)
		if l := c.leader(); len(l.node.servers()) != 4 {
			t.Errorf("%v", l.node.servers())
		}
	})
}

// TestReplaced has members die for good, and others come in their place: under a new name, and under the old one. What
// would leave the cluster without a majority is refused.
func TestReplaced(t *testing.T) {
	conflict := &query.Error{Code: query.CodeConflict}
	inBubble(t, func(t *testing.T, c *cluster) {
		l := c.init()
		if err := l.node.Remove(t.Context(), l.id); !errors.Is(err, conflict) || !strings.Contains(err.Error(), "only one") {
			t.Errorf("the only member is removed: %v", err)
		}
		if err := l.node.Transfer(t.Context(), ""); !errors.Is(err, conflict) {
			t.Errorf("nobody is to lead: %v", err)
		}
		c.must(c.apply(schemaBatch(t)))
		for _, id := range []string{"n2", "n3"} {
			c.join(c.add(id))
		}
		c.eventually("three votes", func() bool { return c.votes() == 3 })
		for i, as := range []string{"n4", "n2"} {
			l = c.leader()
			dead, alive := c.others(l)[0], c.others(l)[1]
			c.must(c.apply(increment(t, "p0", uint64(2*i+1))))
			dead.kill(0)
			c.eventually("it does not answer", func() bool {
				s, err := l.node.Status(t.Context())
				c.must(err)
				return slices.ContainsFunc(s.Members, func(m query.ClusterMember) bool { return m.ID == dead.id && m.Problem == "it does not answer" })
			})
			if err := l.node.Transfer(t.Context(), dead.id); !errors.Is(err, conflict) || !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("one that is dead is to lead: %v", err)
			}
			if err := l.node.Remove(t.Context(), alive.id); !errors.Is(err, conflict) || !strings.Contains(err.Error(), "without the member") {
				t.Errorf("one of the two that are left is removed: %v", err)
			}
			c.must(l.node.Remove(t.Context(), dead.id))
			c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == dead })
			if as == "n2" {
				as = dead.id
			}
			c.join(c.add(as))
			c.eventually("three votes again", func() bool { return c.votes() == 3 })
			c.must(c.apply(increment(t, "p0", uint64(2*i+2))))
			c.agree()
		}
		if n := value(t, c.leader().node.DB(), "p0"); n != 4 {
			t.Errorf("n is %d", n)
		}
		s, err := c.leader().node.Status(t.Context())
		c.must(err)
		if len(s.Members) != 3 || len(s.Removed) != 0 {
			t.Errorf("%+v", s)
		}
	})
}
