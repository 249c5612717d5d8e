package message

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Consistency is what answers must have seen, beside a position.
type Consistency struct {
	Linearizable bool
	MaxStaleness time.Duration // 0: any
}

// Ask writes it into a question.
func (c Consistency) Ask(q *pb.Question) { q.Consistency, q.MaxStaleness = c.of() }

// AskSnapshot writes it into the request of a snapshot.
func (c Consistency) AskSnapshot(q *pb.OpenSnapshotRequest) { q.Consistency, q.MaxStaleness = c.of() }

func (c Consistency) of() (how pb.Consistency, longest *durationpb.Duration) {
	if c.Linearizable {
		how = pb.Consistency_CONSISTENCY_LINEARIZABLE
	}
	if c.MaxStaleness > 0 {
		longest = durationpb.New(c.MaxStaleness)
	}
	return how, longest
}

// perhaps writes a duration of which a negative one is not known.
func perhaps(d time.Duration) *durationpb.Duration {
	if d < 0 {
		return nil
	}
	return durationpb.New(d)
}

// perhaps reads a duration that may not be known: then it is negative.
func (r *Reader) perhaps(d *durationpb.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return r.Duration(d)
}

// OfClusterVersion writes a cluster version; the zero one is nothing.
func OfClusterVersion(v query.ClusterVersion) *pb.ClusterVersion {
	if v == (query.ClusterVersion{}) {
		return nil
	}
	return &pb.ClusterVersion{Number: v.Number, Zones: v.Zones}
}

// ClusterVersion reads a cluster version.
func ClusterVersion(m *pb.ClusterVersion) query.ClusterVersion {
	return query.ClusterVersion{Number: m.GetNumber(), Zones: m.GetZones()}
}

// OfClusterStatus writes what a member knows of its cluster.
func OfClusterStatus(s *query.ClusterStatus) *pb.ClusterStatusResponse {
	return &pb.ClusterStatusResponse{Cluster: s.Cluster, Node: s.Node, Leader: s.Leader, Term: s.Term, LeaderSince: OfTime(s.LeaderSince),
		LeaderChanges: s.LeaderChanges, Staleness: perhaps(s.Staleness), Purge: OfPosition(s.Purge), Version: OfClusterVersion(s.Version), VersionHeld: s.VersionHeld,
		Members: each(s.Members, func(m *query.ClusterMember) *pb.ClusterMember {
			return &pb.ClusterMember{Id: m.ID, Address: m.Address, RaftAddress: m.RaftAddress, Voter: m.Voter, ReadOnly: m.ReadOnly, Self: m.Self, LastContact: perhaps(m.LastContact),
				Position: OfPosition(m.Position), Lag: m.Lag, SnapshotBytes: m.SnapshotBytes, SnapshotTotal: m.SnapshotTotal, Problem: OfText(m.Problem), Purged: OfPosition(m.Purged),
				LowestVersion: m.LowestVersion, NewestVersion: m.NewestVersion}
		}), Removed: each(s.Removed, func(r *query.ClusterRemoval) *pb.ClusterRemoval {
			return &pb.ClusterRemoval{Id: r.ID, At: OfTime(r.At), Silent: durationpb.New(r.Silent)}
		})}
}

// ClusterStatus reads what a member knows of its cluster.
func (r *Reader) ClusterStatus(m *pb.ClusterStatusResponse) query.ClusterStatus {
	return query.ClusterStatus{Cluster: m.GetCluster(), Node: m.GetNode(), Leader: m.GetLeader(), Term: m.GetTerm(), LeaderSince: r.Time(m.GetLeaderSince()),
		LeaderChanges: m.GetLeaderChanges(), Staleness: r.perhaps(m.GetStaleness()), Purge: r.Position(m.GetPurge()), Version: ClusterVersion(m.GetVersion()), VersionHeld: m.GetVersionHeld(),
		Members: every(m.GetMembers(), func(m *pb.ClusterMember) query.ClusterMember {
			return query.ClusterMember{ID: m.GetId(), Address: m.GetAddress(), RaftAddress: m.GetRaftAddress(), Voter: m.GetVoter(), ReadOnly: m.GetReadOnly(), Self: m.GetSelf(),
				LastContact: r.perhaps(m.GetLastContact()), Position: r.Position(m.GetPosition()), Lag: m.GetLag(),
				SnapshotBytes: m.GetSnapshotBytes(), SnapshotTotal: m.GetSnapshotTotal(), Problem: m.GetProblem(), Purged: r.Position(m.GetPurged()),
				LowestVersion: m.GetLowestVersion(), NewestVersion: m.GetNewestVersion()}
		}), Removed: every(m.GetRemoved(), func(m *pb.ClusterRemoval) query.ClusterRemoval {
			return query.ClusterRemoval{ID: m.GetId(), At: r.Time(m.GetAt()), Silent: r.Duration(m.GetSilent())}
		})}
}
