package replica

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// lead has a member lead.
func (c *cluster) lead(m *member) {
	c.t.Helper()
	c.eventually(m.id+" leads", func() bool {
		if l := c.leader(); l != nil && l != m {
			_ = l.node.Transfer(c.t.Context(), m.id)
		}
		return c.leader() == m
	})
}

// TestClocks sets the clocks of members, also of one that leads: what was received is stamped by who
// proposed it, never goes back, and is the same everywhere; nobody stops to lead, or says that it
// is fresher than it is.
func TestClocks(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		const day = 24 * time.Hour
		var latest time.Time
		var want []time.Time
		for i, steps := range [][]time.Duration{{0, 3 * day}, {day, -300 * day}, {-5 * day, 5 * day, 6 * day}} {
			m := c.members[i]
			c.lead(m)
			term := m.node.raft.CurrentTerm()
			for _, step := range steps {
				m.step.Store(int64(step))
				b := batch.New()
				b.Quarantine("file.csv", batch.BadRow{Line: uint64(len(want) + 1), Reason: batch.ReasonRagged, Raw: "x"})
				if now := m.clock().UTC().Truncate(time.Millisecond); now.After(latest) {
					latest = now
				}
				want = append(want, latest)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err := m.node.DB().Apply(ctx, encode(t, b))
				c.must(err)
				p, err := m.node.Linearizable(ctx)
				c.must(err)
				cancel()
				c.agree()
				for _, x := range c.members {
					c.must(x.node.AtLeast(t.Context(), p))
					c.eventually("it is fresh", func() bool { old := x.node.Staleness(); return old >= 0 && old < time.Second })
				}
			}
			if now := m.node.raft.CurrentTerm(); now != term || !m.node.IsLeader() {
				t.Errorf("%s leads no more: term %d after %d", m.id, now, term)
			}
		}
		for _, m := range c.members {
			m.step.Store(0)
			rows, err := m.node.DB().Quarantine(t.Context(), 0, 100)
			c.must(err)
			var got []time.Time
			for i := range rows {
				got = append(got, rows[i].Received)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has what was received at %v, want %v", m.id, got, want)
			}
		}

		// Who is cut off is not fresh, whatever its clock says.
		m := c.members[0]
		m.isolate(true)
		m.step.Store(-int64(day))
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(time.Second) {
		}
		if old := m.node.Staleness(); old >= 0 && old < 15*time.Second {
			t.Errorf("who hears of nobody says it is %v old", old)
		}
		m.isolate(false)
	})
}
