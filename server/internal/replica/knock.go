package replica

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	knockEvery = 50 * time.Millisecond // as often as Raft writes to a member that is there, so no more work
	awayAfter  = 2                     // a member is away that has not answered for this part of [Timing.Heartbeat]: some heartbeats
)

// knock goes on to send what did not reach a member that is away, without its entries, until the member answers. Raft
// (1.8.0) waits twice as long after each failure, up to 10 s, and nothing ends that: who was away for half a minute and
// is back would be sent nothing for as long, and who joins and is started later has no vote for as long. Raft takes an
// answer for that to what it has sent, so the entries are taken out of its message: it sends them again when it knows
// that the member is there, and who is away for a day does not keep them in memory. Who answers, if only heartbeats,
// and refuses entries is not away: then Raft waits as it did. Heartbeats, votes and pipelines do not come here.
func (w *wire) knock(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, err error) error {
	for err != nil && w.leads(args.Term) && w.away(id) {
		args.Entries = nil
		select {
		case <-time.After(knockEvery):
		case <-w.hung:
			return err
		}
		if w.leads(args.Term) {
			err = w.send(id, target, args, resp)
		}
	}
	return err
}

// isHeartbeat reports whether a message is one of those that Raft sends beside entries and never waits with.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return len(r.Entries) == 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && r.LeaderCommitIndex == 0
}

// away reports whether somebody is a member and does not answer, as far as this one, which leads, knows.
func (n *Node) away(id raft.ServerID) bool {
	at := n.wire.contact(id).at
	return (at.IsZero() || time.Since(at) >= n.cfg.Timing.Heartbeat/awayAfter) && has(n.servers(), id)
}
