package replica

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// history is what this member has seen of leaders since it was started.
type history struct {
	mu      sync.Mutex
	leader  raft.ServerID
	since   time.Time
	changes uint64
}

// saw notes who leads now; "": nobody that this member knows.
func (h *history) saw(id raft.ServerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id == h.leader {
		return
	}
	if id != "" {
		h.changes++
	}
	h.leader, h.since = id, time.Now()
}

func (h *history) last() (id raft.ServerID, since time.Time, changes uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leader, h.since, h.changes
}

// Status returns what this member knows of the cluster. How far the others are, and when they
// were last heard of, only the one that leads knows.
func (n *Node) Status(ctx context.Context) (query.ClusterStatus, error) {
	s := query.ClusterStatus{Cluster: n.id.Cluster, Node: n.id.ID, Leader: n.leaderID(), Term: n.raft.CurrentTerm(), Staleness: n.Staleness()}
	if db := n.db.Load(); db != nil {
		_, err := db.Document(ctx, holdName)
		s.Version, s.VersionHeld = db.ClusterVersion(), err == nil
	}
	leader, since, changes := n.history.last()
	s.LeaderChanges = changes
	if db := n.db.Load(); db != nil {
		var err error
		if s.Purge, err = purgeWanted(ctx, db); err != nil {
			return s, err
		}
	}
	if name, _ := memberOf(leader); name == s.Leader && name != "" {
		s.LeaderSince = since
	}
	known, err := documents(ctx, n.db.Load())
	if err != nil {
		return s, err
	}
	for _, server := range n.servers() {
		m := n.statusOf(server)
		m.Address, m.ReadOnly = known[m.ID].Client, known[m.ID].ReadOnly
		n.statusOfVersions(&m, server, known)
		s.Members = append(s.Members, m)
	}
	if !slices.ContainsFunc(s.Members, func(m query.ClusterMember) bool { return m.Self }) {
		m := n.statusOf(raft.Server{Suffrage: raft.Nonvoter, ID: n.id.server(), Address: raft.ServerAddress(n.id.Raft)})
		m.Address = n.id.Client
		s.Members = append(s.Members, m)
	}
	if s.Removed, err = removals(ctx, n.db.Load()); err != nil {
		return s, err
	}
	slices.SortFunc(s.Members, func(a, b query.ClusterMember) int { return strings.Compare(a.ID, b.ID) })
	return s, ctx.Err()
}

// statusOfVersions is what a member knows: as it says, or else as it is written down.
func (n *Node) statusOfVersions(m *query.ClusterMember, s raft.Server, known map[string]memberDocument) {
	knows, heard := n.knownBy(s)
	if d, ok := known[m.ID]; !heard && ok {
		knows, heard = d.span(), true
	}
	if heard {
		m.LowestVersion, m.NewestVersion = knows.lowest, knows.newest
	}
}

func (n *Node) statusOf(s raft.Server) query.ClusterMember {
	id, _ := memberOf(s.ID)
	m := query.ClusterMember{ID: id, RaftAddress: string(s.Address), Voter: isVoter(s), Self: s.ID == n.id.server(), LastContact: -1}
	if m.Self {
		n.statusOfSelf(&m)
		return m
	}
	if !n.IsLeader() {
		return m
	}
	c := n.wire.contact(s.ID)
	if !c.at.IsZero() {
		m.LastContact = time.Since(c.at)
		m.Lag = behind(c.log, n.raft.CommitIndex())
	} else {
		m.Problem = "it has not answered yet"
	}
	if c.full {
		m.Problem = "its disk is nearly full"
	}
	if m.LastContact > 2*n.cfg.Timing.Heartbeat {
		m.Problem = "it does not answer"
	}
	if silent := n.members.silence.long(s.ID); m.Voter && n.cfg.RemoveDead > 0 && silent >= n.cfg.RemoveDead {
		m.Problem = fmt.Sprintf("it has not answered for %v, and is removed when another member has a vote in its place", silent.Truncate(time.Second))
	}
	m.SnapshotBytes, m.SnapshotTotal = uint64(c.sent), uint64(c.size)
	m.Purged = c.purged
	return m
}

func (n *Node) statusOfSelf(m *query.ClusterMember) {
	if p, err := n.Position(context.Background()); err == nil {
		m.Position = p
	}
	m.Purged = n.purging.upTo()
	switch {
	case n.IsLeader():
		m.LastContact = 0
		m.Lag = behind(n.applied.now(), n.raft.CommitIndex())
	default:
		if h := n.wire.lastHeard(); h.commit > 0 {
			m.LastContact = time.Since(h.at)
			m.Lag = behind(n.applied.now(), h.commit)
		}
	}
	for _, p := range n.snaps.Progress() {
		if p.What == snapshots.Receiving {
			m.SnapshotBytes, m.SnapshotTotal = uint64(p.Done), uint64(p.Total)
		}
	}
	short := n.disk.short(leadMore)
	switch err := n.failure(); {
	case err != nil:
		m.Problem = err.Error()
	case n.db.Load() == nil:
		m.Problem = "it has no store yet"
	case short != nil:
		m.Problem = short.Error()
	default:
		m.Problem = cmp.Or(n.checks.problem(), n.purging.problem())
	}
}

func behind(have, want uint64) uint64 {
	return want - min(have, want)
}

// Figures are what a member counts, for its metrics.
type Figures struct {
	Commit, Applied uint64               // up to which entry of the log all is committed, and applied here
	First, Last     uint64               // entries that the log has; 0: none
	LogBytes        int64                // of these
	SnapshotIndex   uint64               // the entry that the newest snapshot stands for; 0: there is none
	Moving          []snapshots.Progress // snapshots that are being made, sent and received
}

// Figures returns what the member counts.
func (n *Node) Figures() Figures {
	f := Figures{Commit: n.raft.CommitIndex(), Applied: n.applied.now(), LogBytes: n.logs.Bytes(), Moving: n.snaps.Progress()}
	f.First, _ = n.logs.FirstIndex() // these have no error
	f.Last, _ = n.logs.LastIndex()
	if m, _ := n.snaps.Newest(); m != nil {
		f.SnapshotIndex = m.Index
	}
	return f
}
