package server

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
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
}

// longestStale is how long a member may be without a leader and be ready nevertheless: an election
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
	if err := c.Join(ctx, query.ClusterRecruit{ID: req.GetId(), Address: req.GetAddress(), RaftAddress: req.GetRaftAddress(), Incarnation: req.GetIncarnation()}); err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	return &pb.ClusterJoinResponse{Cluster: s.Cluster}, err
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

// unready says why a member is not ready, beside its store.
func unreadyMember(c Cluster) (why []string) {
	if err := c.Room(); err != nil {
		why = append(why, err.Error())
	}
	if address, self := c.Leader(); address == "" && !self {
		if stale := c.Staleness(); stale < 0 || stale > longestStale {
			why = append(why, "the member knows no leader of the cluster")
		}
	}
	return why
}

// clusterFigures are the metrics of a member.
func clusterFigures(ctx context.Context, c Cluster, send func(kind prometheus.ValueType, name, help string, v float64, labels ...string)) {
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
	if status.Staleness >= 0 {
		send(gauge, "kanta_cluster_staleness_seconds", "How long ago this member had all that was acknowledged then.", status.Staleness.Seconds())
	}
	for i := range status.Members {
		if m := &status.Members[i]; m.Self {
			send(gauge, "kanta_cluster_voter", "Whether this member has a vote.", truth(m.Voter))
			send(gauge, "kanta_cluster_lag_records", "Records that the leader has and this member has not applied.", float64(m.Lag))
			send(gauge, "kanta_cluster_snapshot_bytes", "Bytes of a snapshot that this member has received of the one that it is sent.", float64(m.SnapshotBytes))
			send(gauge, "kanta_cluster_snapshot_total_bytes", "All bytes of that.", float64(m.SnapshotTotal))
		}
	}
}
