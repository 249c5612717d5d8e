package replica

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// TestCommitBehindEntries has a member with a tail that nobody else has hear that entries are
// committed which it was not sent: it must not take its own for them.
func TestCommitBehindEntries(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		c.must(c.apply(increment(t, "p0", 1)))
		old := c.leader()
		common := old.node.raft.CommitIndex()
		var last raft.Log
		c.must(old.node.logs.GetLog(common, &last))
		old.isolate(true)
		for i := range 5 {
			_, err := old.node.DB().Submit(t.Context(), increment(t, "lost", uint64(10+i)))
			c.must(err)
		}
		end := func() uint64 {
			i, err := old.node.logs.LastIndex()
			c.must(err)
			return i
		}
		c.eventually("it has a tail", func() bool { return end() >= common+5 })
		c.eventually("it leads no more", func() bool { return !old.node.IsLeader() })

		// What a new leader sends that has read where its log ends, then waited, and in the
		// meantime has committed more with another member.
		leader := c.net.Join("n9:1")
		said := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n9"), Addr: []byte("n9:1")},
			Term:      last.Term + 100, PrevLogEntry: last.Index, PrevLogTerm: last.Term, LeaderCommitIndex: last.Index + 4,
		}
		var answer raft.AppendEntriesResponse
		c.must(leader.AppendEntries(old.node.id.server(), old.network.LocalAddr(), said, &answer))
		if !answer.Success || said.LeaderCommitIndex != last.Index+4 {
			t.Fatalf("it answers %+v to %+v", answer, said)
		}
		synctest.Wait() // what is committed is applied by another goroutine
		if at := old.node.raft.CommitIndex(); at != last.Index {
			t.Errorf("it takes %d for committed, which it knows of %d only", at, last.Index)
		}
		if n := value(t, old.node.DB(), "lost"); n != 0 {
			t.Errorf("it has applied what was never committed: %d", n)
		}
		c.must(leader.Close())
	})
}
