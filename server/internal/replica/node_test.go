package replica

import (
	"testing"
)

// TestThree makes a cluster of three and writes; all have the same, and the leader's death
// loses nothing.
func TestThree(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		for i := range uint64(50) {
			c.must(c.apply(increment(t, "anna", i+1)))
		}
		before := c.agree()
		old := c.leader()
		old.kill(0)
		c.eventually("another leader", func() bool { return c.leader() != nil })
		for i := range uint64(50) {
			c.must(c.apply(increment(t, "anna", i+51)))
		}
		old.open()
		if after := c.agree(); after.Position.Applied != before.Position.Applied+50 {
			t.Errorf("positions %s and %s", before.Position, after.Position)
		}
		for _, m := range c.members {
			if n := value(t, m.node.DB(), "anna"); n != 100 {
				t.Errorf("%s: n is %d, not 100", m.id, n)
			}
		}
	})
}
