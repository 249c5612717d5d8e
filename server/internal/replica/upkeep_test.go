package replica

import (
	"io"
	"slices"
	"testing"
	"time"
)

// TestLogNeeded has the log grow while a member is sent a snapshot: it is not cut, unless it
// becomes far too large.
func TestLogNeeded(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.SnapshotBytes, x.TrailingBytes = 3000, 1 }
		c.three()
		m := c.leader()
		sequence := uint64(0)
		write := func(bytes int64) {
			for grown := m.node.logs.Bytes() + bytes; m.node.logs.Bytes() < grown; {
				sequence++
				c.must(c.apply(increment(t, "p0", sequence)))
			}
		}
		newest := func() string {
			_, id := m.node.snaps.Newest()
			return id
		}
		for _, far := range []bool{false, true} {
			c.must(m.node.Snapshot())
			is := newest()
			_, source, err := m.node.snaps.Open(is)
			c.must(err)
			_, err = io.CopyN(io.Discard, source, 10)
			c.must(err)
			write(4000)
			<-time.After(10 * upkeepEvery)
			if newest() != is {
				t.Error("the log was cut while it was needed")
			}
			if far {
				write(neededLogs * 3001)
				c.eventually("it is cut, being far too large", func() bool { return newest() != is })
			}
			c.must(source.Close())
			c.eventually("it is cut", func() bool { return newest() != is })
		}
	})
}

// TestMissed takes the leader away again and again: another one is there soon after the followers have
// not heard it for as long as they are to wait.
func TestMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		var took []time.Duration
		for range 9 {
			old := c.leader()
			old.isolate(true)
			from := time.Now()
			c.eventually("another one leads", func() bool { return c.leader() != nil })
			took = append(took, time.Since(from))
			old.isolate(false)
			c.eventually("who has led follows", func() bool { return !old.node.IsLeader() })
			c.agree()
		}
		slices.Sort(took)
		t.Logf("%v", took)
		if h := c.members[0].node.cfg.Timing.Heartbeat; took[0] < h*3/4 || took[4] > h*3/2 || took[8] > 4*h {
			t.Errorf("it took %v; %v is how long a leader may be silent", took, h)
		}
	})
}
