package replica

import (
	"errors"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// TestRecover loses two of three members for good, and begins anew with what the third has: the
// entries too that it had in its log only.
func TestRecover(t *testing.T) {
	for _, snapshot := range []string{"", "whole", "damaged"} {
		inBubble(t, func(t *testing.T, c *cluster) {
			c.change = func(x *Config) { x.TrailingBytes = 1 }
			c.three()
			for i := range uint64(20) {
				c.must(c.apply(increment(t, "p0", i+1)))
			}
			c.agree()
			m, name := c.members[1], ""
			if snapshot != "" {
				c.must(m.node.Snapshot())
				_, name = m.node.snaps.Newest()
			}
			c.must(c.apply(increment(t, "p0", 21)))
			before := c.agree()
			for _, x := range c.members {
				x.kill(0) // what the store had not synced is in the log
			}
			c.members[0].files, c.members[2].files = nil, nil
			cfg := m.config()
			if snapshot == "damaged" {
				meta, err := m.files.OpenReadWrite(memberDir+"/"+snapshotsName+"/"+name+"/META", "")
				c.must(err)
				_, err = meta.WriteAt([]byte("K"), 0)
				c.must(errors.Join(err, meta.Close()))
			}
			report, err := Recover(t.Context(), cfg, RecoverOptions{Into: "new"})
			c.must(err)
			if report.Position.Applied != before.Position.Applied+1 || report.Position.Epoch != before.Position.Epoch+1 {
				t.Errorf("recovered at %s, and all were at %s", report.Position, before.Position)
			}
			if report.Entries == 0 && snapshot == "" {
				t.Error("nothing was applied: the test does not test")
			}
			if _, err := ReadIdentity(m.files, memberDir); err != nil {
				t.Errorf("the old directory: %v", err)
			}
			c.members = []*member{m}
			c.change = func(x *Config) { x.Dir = "new" }
			m.open()
			c.eventually("it leads", func() bool { return c.leader() == m })
			if p, err := m.node.Position(t.Context()); err != nil || p != report.Position {
				t.Errorf("it is at %s (%v), and %s was said", p, err, report.Position)
			}
			c.must(c.apply(increment(t, "p0", 21))) // it knows what was applied before
			c.must(c.apply(increment(t, "p0", 22)))
			if err := m.node.AtLeast(t.Context(), before.Position); !errors.Is(err, &query.Error{Code: query.CodeWrongEpoch}) {
				t.Errorf("a position of before: %v", err)
			}
			c.join(c.add("n7"))
			c.agree()
			if n := value(t, c.members[1].node.DB(), "p0"); n != 22 {
				t.Errorf("n is %d", n)
			}
			s, err := m.node.Status(t.Context())
			c.must(err)
			known, err := documents(t.Context(), m.node.DB())
			c.must(err)
			if len(s.Members) != 2 || len(known) != 2 {
				t.Errorf("members %+v, and %v", s.Members, known)
			}
		})
	}
}

// TestFrom begins a cluster with a store that is there, and refuses one that is a member's.
func TestFrom(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		m := c.add("n1")
		db, err := engine.Open("mine", &engine.Options{FS: m.files, Memory: 64 << 20, PurgeAfter: -1})
		c.must(err)
		_, err = db.Apply(t.Context(), schemaBatch(t))
		c.must(err)
		_, err = db.Apply(t.Context(), increment(t, "p0", 1))
		c.must(err)
		o := InitOptions{Cluster: "test", ID: "n1", RaftAddress: "n1:1", ClientAddress: "n1:2", From: "mine"}
		if err := Init(m.config(), o); !errors.Is(err, &query.Error{Code: query.CodeInUse}) {
			t.Errorf("made of a store that is open: %v", err)
		}
		id := db.ID()
		c.must(db.Close())
		c.must(Init(m.config(), o))
		if _, err := m.files.Stat("mine"); !isNotExist(err) {
			t.Errorf("the store is still there: %v", err)
		}
		if err := Init(m.config(), o); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
			t.Errorf("made again: %v", err)
		}
		m.open()
		c.eventually("it leads", func() bool { return c.leader() == m })
		if m.node.DB().ID() != id {
			t.Errorf("it is the store %s, not %s", m.node.DB().ID(), id)
		}
		c.join(c.add("n2"))
		c.must(c.apply(increment(t, "p0", 2)))
		c.agree()
		if n := value(t, c.members[1].node.DB(), "p0"); n != 2 {
			t.Errorf("who has joined has %d", n)
		}
		m.close()
		cfg := m.config()
		cfg.Dir = "other"
		o.From = m.files.PathJoin(memberDir, storeName)
		if err := Init(cfg, o); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) {
			t.Errorf("made of a member's store: %v", err)
		}
	})
}

// TestInitAgain ends the making of a first member in the middle, and makes it again.
func TestInitAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		m := c.add("n1")
		o := InitOptions{Cluster: "test", ID: "n1", RaftAddress: "n1:1", ClientAddress: "n1:2"}
		c.must(Init(m.config(), o))
		c.must(m.files.Remove(m.files.PathJoin(memberDir, nodeFile))) // the last thing that is made
		c.must(Init(m.config(), o))
		m.open()
		c.eventually("it leads", func() bool { return c.leader() == m })
		c.must(c.apply(schemaBatch(t)))
		c.join(c.add("n2"))
		c.agree()
	})
}
