package replica

import (
	"github.com/hashicorp/raft"
)

// farewell tells a member that it was removed, by the entry of an index, which is committed. Raft sends it the entry,
// perhaps, but not that it is committed, and before that a member must not believe it. It is the message that Raft
// would send. Who is not reached, or lacks more than a message holds, does not learn of it.
func (n *Node) farewell(s raft.Server, index uint64) {
	lead := n.lead.Load()
	if lead == nil || !n.answers(s.ID) {
		return
	}
	from := min(n.wire.contact(s.ID).log, index) // the last entry that it is known to have
	if index-from > maxAppend {
		return
	}
	var last raft.Log
	if n.logs.GetLog(from, &last) != nil {
		return // it is in a snapshot only
	}
	self := n.wire.EncodePeer(n.id.server(), raft.ServerAddress(n.id.Raft))
	r := raft.AppendEntriesRequest{Term: lead.term, PrevLogEntry: last.Index, PrevLogTerm: last.Term, LeaderCommitIndex: index,
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id.server()), Addr: self}}
	for i := from + 1; i <= index; i++ {
		l := new(raft.Log)
		if n.logs.GetLog(i, l) != nil {
			return
		}
		r.Entries = append(r.Entries, l)
	}
	if err := n.wire.AppendEntries(s.ID, s.Address, &r, new(raft.AppendEntriesResponse)); err != nil {
		n.cfg.Log.Warn("a member that was removed could not be told", "member", s.ID, "error", err)
	}
}
