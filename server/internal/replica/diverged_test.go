package replica

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// entryOf returns the entry that a store with the tests' schema proposes for a batch.
func (c *cluster) entryOf(b batch.Batch) (entry []byte) {
	c.t.Helper()
	var db *engine.DB
	index := uint64(0)
	db, err := engine.Open("alone", &engine.Options{FS: vfs.NewMem(), Memory: 64 << 20, PurgeAfter: -1, Replica: &engine.ReplicaOptions{
		Propose: func(_ context.Context, e []byte) (func() (engine.Outcome, error), error) {
			entry = append([]byte(nil), e...)
			return func() (engine.Outcome, error) {
				index++
				out, err := db.ApplyEntries(context.Background(), []engine.Entry{{Index: index, Term: 1, Data: entry}})
				if err != nil {
					return engine.Outcome{}, err
				}
				return out[0], nil
			}, nil
		}}})
	c.must(err)
	for _, x := range []batch.Batch{schemaBatch(c.t), b} {
		_, err := db.Apply(c.t.Context(), x)
		c.must(err)
	}
	c.must(db.Close())
	return entry
}

// TestDiverged has the store of a member differ by one value: all others had another entry in
// that place. It is found within 60 s, it serves nobody any more, and it joins anew.
func TestDiverged(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.CheckEvery = 0 } // the default
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		wrong := c.members[2]
		wrong.close()
		store := wrong.files.PathJoin(memberDir, storeName)
		db, err := engine.Open(store, &engine.Options{FS: wrong.files, Memory: 64 << 20, PurgeAfter: -1,
			Replica: &engine.ReplicaOptions{Propose: func(context.Context, []byte) (func() (engine.Outcome, error), error) { return nil, errClosed() }}})
		c.must(err)
		// The next entry of the log is skipped there: the store has one of its index.
		l := c.leader()
		if l == nil {
			c.eventually("a leader", func() bool { return c.leader() != nil })
			l = c.leader()
		}
		next := l.node.raft.LastIndex() + 1
		_, err = db.ApplyEntries(t.Context(), []engine.Entry{{Index: next, Term: l.node.raft.CurrentTerm(), Data: c.entryOf(increment(t, "p1", 2))}})
		c.must(err)
		c.must(db.Close())
		c.must(c.apply(increment(t, "p2", 2)))
		begin := time.Now()
		wrong.open()
		c.must(c.apply(increment(t, "p0", 3)))
		c.eventually("it is found", func() bool { return wrong.node.Err() != nil })
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it was found after %v", took)
		}
		if !errors.Is(wrong.node.Err(), &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("found: %v", wrong.node.Err())
		}
		c.eventually("nobody is answered from it", func() bool { return wrong.node.DB() == nil })
		for _, m := range c.members {
			if m != wrong && m.node.Err() != nil {
				t.Errorf("%s: %v", m.id, m.node.Err())
			}
		}
		wrong.close()
		if _, err := Open(wrong.config()); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("it is opened again: %v", err)
		}
		c.must(wrong.files.RemoveAll(memberDir))
		c.join(wrong)
		c.agree()
		if n := value(t, wrong.node.DB(), "p2"); n != 1 {
			t.Errorf("after it has joined anew n is %d", n)
		}
	})
}

// spoil has a member that does not run differ: the next entry of the log is skipped there, because the store has
// another one of its index.
func (c *cluster) spoil(m *member, next, term uint64) {
	c.t.Helper()
	store := m.files.PathJoin(memberDir, storeName)
	db, err := engine.Open(store, &engine.Options{FS: m.files, Memory: 64 << 20, PurgeAfter: -1,
		Replica: &engine.ReplicaOptions{Propose: func(context.Context, []byte) (func() (engine.Outcome, error), error) { return nil, errClosed() }}})
	c.must(err)
	_, err = db.ApplyEntries(c.t.Context(), []engine.Entry{{Index: next, Term: term, Data: c.entryOf(increment(c.t, "p1", 2))}})
	c.must(errors.Join(err, db.Close()))
}

// TestLeaderDiverged has the store of the leader differ: the others have the majority and go on, and it stops.
func TestLeaderDiverged(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.CheckEvery = 0 }
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		wrong := c.others(c.leader())[0]
		wrong.close()
		l := c.leader()
		c.spoil(wrong, l.node.raft.LastIndex()+1, l.node.raft.CurrentTerm())
		c.must(c.apply(increment(t, "p2", 2)))
		wrong.open()
		c.eventually("it leads before anything is compared", func() bool {
			if now := c.leader(); now != nil && now != wrong {
				_ = now.node.Transfer(t.Context(), wrong.id)
			}
			return wrong.node.IsLeader()
		})
		if wrong.node.Err() != nil {
			t.Fatalf("found already: %v", wrong.node.Err())
		}
		c.must(c.apply(increment(t, "p0", 3)))
		c.eventually("it is found", func() bool { return wrong.node.Err() != nil })
		if !errors.Is(wrong.node.Err(), &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("found: %v", wrong.node.Err())
		}
		c.eventually("another leads", func() bool { l := c.leader(); return l != nil && l != wrong })
		wrong.close()
		c.must(c.apply(increment(t, "p0", 4)))
		c.agree()
		for _, m := range c.others(wrong) {
			if m.node.Err() != nil || m.node.checks.problem() != "" {
				t.Errorf("%s: %v, %q", m.id, m.node.Err(), m.node.checks.problem())
			}
			if n := value(t, m.node.DB(), "p2"); n != 1 {
				t.Errorf("%s: n is %d", m.id, n)
			}
		}
	})
}

// TestNobodyIsRight has one of two members differ: both say so, and nobody stops.
func TestNobodyIsRight(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.CheckEvery = time.Second }
		l := c.init()
		c.must(c.apply(schemaBatch(t)))
		c.join(c.add("n2"))
		c.eventually("two votes", func() bool { return c.votes() == 2 })
		c.must(c.apply(increment(t, "p0", 1)))
		c.agree()
		wrong := c.members[1]
		index, term := l.node.raft.LastIndex(), l.node.raft.CurrentTerm()
		wrong.close()
		l.close()
		c.spoil(wrong, index+2, term+1) // behind the first of a new leader
		l.open()
		wrong.open()
		for i := range uint64(3) {
			c.must(c.apply(increment(t, "p2", i+2)))
		}
		c.eventually("both say so", func() bool {
			for _, m := range c.members {
				s, err := m.node.Status(t.Context())
				c.must(err)
				said := false
				for _, x := range s.Members {
					said = said || x.Self && strings.Contains(x.Problem, "no majority") && strings.Contains(x.Problem, "n1 has") && strings.Contains(x.Problem, "n2 has")
				}
				if !said {
					return false
				}
			}
			return true
		})
		for _, m := range c.members {
			if _, err := m.files.Stat(m.files.PathJoin(memberDir, divergedFile)); m.node.Err() != nil || !isNotExist(err) {
				t.Errorf("%s: %v, %v", m.id, m.node.Err(), err)
			}
		}
	})
}

// TestNoDivergence compares often while everything happens, and finds nothing where there is
// nothing to find.
func TestNoDivergence(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.CheckEvery = 50 * time.Millisecond }
		c.three()
		n := uint64(0)
		for round := range 6 {
			for range 30 {
				n++
				c.must(c.apply(increment(t, "p0", n)))
				<-time.After(10 * time.Millisecond)
			}
			m := c.members[round%3]
			m.kill(30)
			m.open()
		}
		c.agree()
		for _, m := range c.members {
			if m.node.Err() != nil {
				t.Errorf("%s: %v", m.id, m.node.Err())
			}
			if len(m.node.checks.found) == 0 {
				t.Errorf("%s has compared nothing", m.id)
			}
		}
	})
}
