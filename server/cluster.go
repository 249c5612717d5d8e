package server

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Cluster is what a server asks of the member of a cluster whose store it serves. Its methods are
// safe for concurrent use. Package server/cluster has one.
type Cluster interface {
	// Leader returns the address for clients of the member that leads, "" if nobody knows one, and
	// whether it is this one.
	Leader() (address string, self bool)
	// Linearizable waits until this member has applied all that was acknowledged before it was called,
	// and returns where the store was then. It fails with [query.CodeNotLeader] where another leads.
	Linearizable(ctx context.Context) (query.Position, error)
	// Staleness returns how long ago this member had, certainly, all that was acknowledged then: at the
	// leader when it sent what a majority has answered since. Negative: nobody knows.
	Staleness() time.Duration
	// Room returns why this member takes nothing that is written: its disk is nearly full. What it answers is
	// getting old then, unless it leads. nil: it takes.
	Room() error
	// Status returns what this member knows of the cluster.
	Status(ctx context.Context) (query.ClusterStatus, error)
	// Join takes a member in, Remove ends a membership and Transfer has another one lead, "" whichever
	// has most. They fail with [query.CodeNotLeader] where another leads.
	Join(ctx context.Context, m query.ClusterRecruit) error
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context, id string) error
	// Purge has every member remove from its files what they hold of people who were erased, and returns when all
	// those have that answer; the receipt names who has not. nil: there was nothing to purge. It fails with
	// [query.CodeNotLeader] where another leads. progress is called by one goroutine.
	Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error)
	// Figures returns what the member counts, for the metrics. It does not wait.
	Figures() ClusterFigures
	// Upgrade raises the cluster version to the newest that all members know, or with hold keeps it as it is until
	// it is asked for again, and returns the one in force. It fails with [query.CodeNotLeader] where another
	// leads, and with [query.CodeConflict] if only some members know a newer one.
	Upgrade(ctx context.Context, hold bool) (query.ClusterVersion, error)
}

// ClusterFigures are what the member of a cluster counts. Totals are since it was started.
type ClusterFigures struct {
	Commit, Applied uint64   // up to which entry of the log all is committed, as far as the member knows, and applied here
	LogEntries      uint64   // that are kept
	LogBytes        int64    // of these
	SnapshotIndex   uint64   // the entry that the newest snapshot stands for
	Making          [2]int64 // bytes of snapshots under way, and all that they will have: that the member makes,
	Sending         [2]int64 // that it sends
	Receiving       [2]int64 // and that it is sent

	Connections, Strangers int               // of other nodes, and of who is not known yet
	Accepted, Closed       uint64            // connections that came; of those, that were closed because they were silent
	Dialed, DialFailed     uint64            // that were tried to make; of those, that failed
	Refused                map[string]uint64 // that were refused, by reason: each one that there is
	Received, Sent         uint64            // bytes
}

// longestStale is how long a member may be without a leader, or behind it, and be ready nevertheless: an election
// takes some seconds, in which it answers questions as before.
const longestStale = 15 * time.Second

// leads refuses what only a leader does, before anything has been computed for it.
func (s *Server) leads() error {
	if s.opt.Cluster == nil {
		return nil
	}
	address, self := s.opt.Cluster.Leader()
	if self {
		return nil
	}
	return query.NotLeader(address)
}

// wanted is what an answer must have seen.
type wanted interface {
	GetAtLeast() string
	GetConsistency() pb.Consistency
	GetMaxStaleness() *durationpb.Duration
}

// mindful reports whether something is wanted.
func mindful(w wanted) bool {
	return w.GetAtLeast() != "" || w.GetConsistency() > pb.Consistency_CONSISTENCY_LOCAL || w.GetMaxStaleness() != nil
}

// recent waits until the store has seen what is wanted, but for a position. A store that is no
// member's has always.
func (s *Server) recent(ctx context.Context, w wanted) error {
	var r message.Reader
	longest := r.Duration(w.GetMaxStaleness())
	switch {
	case r.Err() != nil:
		return r.Err()
	case w.GetConsistency() > pb.Consistency_CONSISTENCY_LINEARIZABLE || w.GetConsistency() < 0:
		return query.Errorf(query.CodeInvalid, "there is no consistency %d", w.GetConsistency())
	case longest < 0:
		return query.Errorf(query.CodeInvalid, "a staleness of %v: it is not negative", longest)
	case s.opt.Cluster == nil:
		return nil
	case w.GetConsistency() == pb.Consistency_CONSISTENCY_LINEARIZABLE:
		_, err := s.opt.Cluster.Linearizable(ctx)
		return err
	case w.GetMaxStaleness() == nil:
		return nil
	}
	have := s.opt.Cluster.Staleness()
	if have >= 0 && have <= longest {
		return nil
	}
	if _, self := s.opt.Cluster.Leader(); self { // it can ask
		_, err := s.opt.Cluster.Linearizable(ctx)
		return err
	}
	how := "nobody knows how old"
	if have >= 0 {
		how = fmt.Sprintf("%v old", have.Round(time.Millisecond))
	}
	return message.Undone(&query.Error{Code: query.CodeUnavailable, Message: fmt.Sprintf("what this member of the cluster has is %s, and %v is asked for", how, longest),
		Hint: "ask another member, or try again", RetryAfter: min(max(longest, lookAgain), s.limits.behind)})
}

// member returns the cluster of a call that is about it.
func (v *service) member() (Cluster, error) {
	if v.s.opt.Cluster == nil {
		return nil, &query.Error{Code: query.CodeInvalid, Message: "this server is in no cluster", Hint: "kanta cluster init makes a cluster's first member"}
	}
	return v.s.opt.Cluster, nil
}

// ClusterStatus tells what this member knows of its cluster.
func (v *service) ClusterStatus(ctx context.Context, _ *pb.ClusterStatusRequest) (*pb.ClusterStatusResponse, error) {
	c, err := v.member()
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	return message.OfClusterStatus(&s), err
}

// ClusterJoin takes a member in.
func (v *service) ClusterJoin(ctx context.Context, req *pb.ClusterJoinRequest) (*pb.ClusterJoinResponse, error) {
	c, err := v.member()
	if err != nil {
		return nil, err
	}
	if err := c.Join(ctx, query.ClusterRecruit{ID: req.GetId(), Address: req.GetAddress(), RaftAddress: req.GetRaftAddress(), Incarnation: req.GetIncarnation(),
		ReadOnly: req.GetReadOnly(), LowestVersion: req.GetLowestVersion(), NewestVersion: req.GetNewestVersion()}); err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	return &pb.ClusterJoinResponse{Cluster: s.Cluster, ReadOnly: req.GetReadOnly()}, err
}

// ClusterRemove ends a membership.
func (v *service) ClusterRemove(ctx context.Context, req *pb.ClusterRemoveRequest) (*pb.ClusterRemoveResponse, error) {
	c, err := v.member()
	if err != nil {
		return nil, err
	}
	return &pb.ClusterRemoveResponse{}, c.Remove(ctx, req.GetId())
}

// ClusterTransfer has another member lead.
func (v *service) ClusterTransfer(ctx context.Context, req *pb.ClusterTransferRequest) (*pb.ClusterTransferResponse, error) {
	c, err := v.member()
	if err != nil {
		return nil, err
	}
	return &pb.ClusterTransferResponse{}, c.Transfer(ctx, req.GetId())
}

// RemovingMember writes to the audit, if there is one, that the cluster removes a member because it was not heard of:
// no call asks for that. What cannot be recorded is not to be done.
func (s *Server) RemovingMember(ctx context.Context, r query.ClusterRemoval) error {
	if s.opt.Audit == nil {
		return nil
	}
	return s.opt.Audit.Append(ctx, audit.Record{Who: audit.Caller{Name: "this process"}, Call: "ClusterRemove", Outcome: audit.Asked, Names: []string{r.ID},
		What: fmt.Sprintf("it was not heard of for %v", r.Silent)})
}

// ClusterUpgrade raises the cluster version, or keeps it as it is.
func (v *service) ClusterUpgrade(ctx context.Context, req *pb.ClusterUpgradeRequest) (*pb.ClusterUpgradeResponse, error) {
	c, err := v.member()
	if err != nil {
		return nil, err
	}
	version, err := c.Upgrade(ctx, req.GetHold())
	if err != nil {
		return nil, err
	}
	return &pb.ClusterUpgradeResponse{Version: message.OfClusterVersion(version)}, nil
}

// unready says why a member is not ready, beside its store.
func unreadyMember(c Cluster) (why []string) {
	if err := c.Room(); err != nil {
		why = append(why, err.Error())
	}
	address, self := c.Leader()
	switch stale := c.Staleness(); {
	case self || stale >= 0 && stale <= longestStale:
	case address == "":
		why = append(why, "the member knows no leader of the cluster")
	default:
		why = append(why, "the member is behind the others")
	}
	return why
}

// clusterFigures are the metrics of a member. The names of members are few, and an operator's.
func clusterFigures(ctx context.Context, c Cluster, send func(kind prometheus.ValueType, name, help string, v float64, labels ...string)) {
	memberFigures(c.Figures(), send)
	status, err := c.Status(ctx)
	if err != nil {
		return // the store's figures are missing too then
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	_, self := c.Leader()
	truth := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	send(gauge, "kanta_cluster_leader", "Whether this member leads.", truth(self))
	send(gauge, "kanta_cluster_has_leader", "Whether this member knows who leads.", truth(status.Leader != ""))
	send(gauge, "kanta_cluster_disk_full", "Whether this member takes nothing that is written, because its disk is nearly full.", truth(c.Room() != nil))
	send(gauge, "kanta_cluster_term", "The term of the cluster, as this member knows it.", float64(status.Term))
	send(counter, "kanta_cluster_leader_changes_total", "Changes of the leader that this member has seen.", float64(status.LeaderChanges))
	send(gauge, "kanta_cluster_members", "Members of the cluster.", float64(len(status.Members)))
	send(gauge, "kanta_cluster_version", "The cluster version by which this member decides what is written; 0: it has no store yet.", float64(status.Version.Number))
	if status.Staleness >= 0 {
		send(gauge, "kanta_cluster_staleness_seconds", "How long ago this member had all that was acknowledged then.", status.Staleness.Seconds())
	}
	unpurged := 0
	for i := range status.Members {
		m := &status.Members[i]
		if m.Self {
			send(gauge, "kanta_cluster_voter", "Whether this member has a vote.", truth(m.Voter))
			send(gauge, "kanta_cluster_lag_records", "Records that the leader has and this member has not applied.", float64(m.Lag))
		}
		if m.Self || self {
			if m.Purged != status.Purge {
				unpurged++
			}
		}
		if !self {
			continue // of others only who leads knows
		}
		send(gauge, "kanta_cluster_member_lag_records", "Records that the leader has and a member has not, as the leader knows it.", float64(m.Lag), "member", m.ID)
		if m.LastContact >= 0 {
			send(gauge, "kanta_cluster_member_contact_seconds", "How long ago the leader has heard of a member.", m.LastContact.Seconds(), "member", m.ID)
		}
	}
	send(gauge, "kanta_cluster_unpurged_members", "Members that still have to purge who was erased: at the leader all, elsewhere this one.", float64(unpurged))
}

// memberFigures are those that have to do with this member only.
func memberFigures(f ClusterFigures, send func(kind prometheus.ValueType, name, help string, v float64, labels ...string)) {
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	send(gauge, "kanta_cluster_commit_index", "Up to which entry of the log all is committed, as far as this member knows.", float64(f.Commit))
	send(gauge, "kanta_cluster_applied_index", "Up to which entry of the log this member has applied all.", float64(f.Applied))
	send(gauge, "kanta_cluster_log_entries", "Entries that the log has.", float64(f.LogEntries))
	send(gauge, "kanta_cluster_log_bytes", "Bytes of these.", float64(f.LogBytes))
	send(gauge, "kanta_cluster_snapshot_index", "The entry of the log that the newest snapshot stands for.", float64(f.SnapshotIndex))
	for _, of := range []struct {
		what  string
		bytes [2]int64
	}{{"making", f.Making}, {"sending", f.Sending}, {"receiving", f.Receiving}} {
		send(gauge, "kanta_cluster_snapshot_bytes", "Bytes of snapshots under way that are done.", float64(of.bytes[0]), "what", of.what)
		send(gauge, "kanta_cluster_snapshot_total_bytes", "All bytes of these, as far as they are known.", float64(of.bytes[1]), "what", of.what)
	}
	send(gauge, "kanta_cluster_peer_connections", "Connections that other members have made.", float64(f.Connections))
	send(gauge, "kanta_cluster_peer_strangers", "Connections at the members' port of who is not known yet.", float64(f.Strangers))
	send(counter, "kanta_cluster_peer_accepted_total", "Connections that came at the members' port.", float64(f.Accepted))
	send(counter, "kanta_cluster_peer_idle_total", "Connections of other members that were closed because they were silent.", float64(f.Closed))
	send(counter, "kanta_cluster_peer_dialed_total", "Connections to other members that were tried to make.", float64(f.Dialed))
	send(counter, "kanta_cluster_peer_dial_failures_total", "Connections to other members that could not be made.", float64(f.DialFailed))
	send(counter, "kanta_cluster_peer_received_bytes_total", "Bytes that came from other members.", float64(f.Received))
	send(counter, "kanta_cluster_peer_sent_bytes_total", "Bytes that went to other members.", float64(f.Sent))
	for reason, n := range f.Refused {
		send(counter, "kanta_cluster_peer_refused_total", "Connections at the members' port that were refused or closed, by reason.", float64(n), "reason", reason)
	}
}
