package replica

import (
	"io"
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
