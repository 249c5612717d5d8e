package server

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// seat is a member of a cluster as a test wants it, so that what a server does in each case can be seen. The
// real one is tested in package server/cluster.
type seat struct {
	mu     sync.Mutex
	leader string
	self   bool
	stale  time.Duration
	full   error
	asked  query.ClusterRecruit
	db     *engine.DB
	status func() query.ClusterStatus // nil: as Status does
}

func (s *seat) set(leader string, self bool, stale time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader, s.self, s.stale = leader, self, stale
}

func (s *seat) Leader() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leader, s.self
}

func (s *seat) Linearizable(ctx context.Context) (query.Position, error) {
	if leader, self := s.Leader(); !self {
		return query.Position{}, query.NotLeader(leader)
	}
	d, err := s.db.Digests(ctx)
	return d.Position, err
}

func (s *seat) Staleness() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stale
}

func (s *seat) Room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

func (s *seat) Status(context.Context) (query.ClusterStatus, error) {
	if s.status != nil {
		return s.status(), nil
	}
	return query.ClusterStatus{Cluster: "c1", Node: "n1", Leader: "n2", Term: 7, LeaderChanges: 3, Staleness: s.Staleness(), Purge: query.Position{Epoch: 1, Applied: 2},
		Members: []query.ClusterMember{{ID: "n1", Self: true, Voter: true, Lag: 5, LastContact: -1}, {ID: "n2", LastContact: time.Second}}}, nil
}

func (s *seat) Join(_ context.Context, m query.ClusterRecruit) error { s.asked = m; return nil }

func (s *seat) Remove(_ context.Context, id string) error { s.asked.ID = id; return nil }

func (s *seat) Upgrade(context.Context, bool) (query.ClusterVersion, error) {
	return query.ClusterVersion{}, query.NotLeader("other:1")
}
func (s *seat) Transfer(context.Context, string) error { return query.NotLeader("other:1") }

func (s *seat) Purge(ctx context.Context, progress func(string)) (*query.Receipt, error) {
	if leader, self := s.Leader(); !self {
		return nil, query.NotLeader(leader)
	}
	r, err := s.db.Purge(ctx, progress)
	if r != nil {
		r.Missing = []string{"n2"}
	}
	return r, err
}

func (s *seat) Figures() ClusterFigures {
	return ClusterFigures{Commit: 90, Applied: 85, LogEntries: 40, LogBytes: 4000, SnapshotIndex: 50, Making: [2]int64{1, 2}, Sending: [2]int64{3, 4}, Receiving: [2]int64{5, 6},
		Connections: 7, Strangers: 8, Accepted: 9, Closed: 10, Dialed: 11, DialFailed: 12, Received: 13, Sent: 14, Refused: map[string]uint64{"tls": 15}}
}

// askedMember makes calls at the server of a member, in this process.
type askedMember struct {
	t   *testing.T
	s   *Server
	at  *seat
	rpc kantav1connect.KantaServiceClient
}

func (m *askedMember) fails(what string, err error, code query.Code, undone bool, leader string) {
	m.t.Helper()
	told, nothing := message.FromTransport(m.t.Context(), err)
	var e *query.Error
	if !errors.As(told, &e) || e.Code != code || nothing != undone || e.Leader != leader {
		m.t.Errorf("%s: %v, undone %v", what, told, nothing)
	}
}

// ready wants some words in what /readyz says.
func (m *askedMember) ready(what string, want ...string) {
	m.t.Helper()
	w := httptest.NewRecorder()
	m.s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(m.t.Context(), "GET", "http://localhost/readyz", nil))
	for _, words := range want {
		if !strings.Contains(w.Body.String(), words) {
			m.t.Errorf("ready %s: %s", what, w.Body)
		}
	}
}

func (m *askedMember) count(q *pb.Question) error {
	_, err := m.rpc.Count(m.t.Context(), &pb.CountRequest{Expression: "true", Question: q})
	return err
}

// TestMember asks the server of a member: what only the leader does is refused by others with its address,
// questions by what they want, and all when there is no store.
func TestMember(t *testing.T) {
	at := &seat{stale: -1, db: openStore(t)}
	s := limited(t, nil, &Options{Cluster: at}, nil)
	m := &askedMember{t, s, at, kantav1connect.NewKantaServiceClient(connect.NewClient(connectinprocess.New(s.RPC())))}
	ctx := t.Context()
	m.fails("a question without a store", m.count(nil), query.CodeUnavailable, true, "")
	if status, err := m.rpc.ClusterStatus(ctx, &pb.ClusterStatusRequest{}); err != nil || status.GetStaleness() != nil || status.GetMembers()[0].GetLag() != 5 {
		t.Errorf("status without a store: %v, %v", status, err)
	}
	m.ready("without a store", "no store yet", "no leader")

	s.Replace(at.db)
	at.set("other:7700", false, 3*time.Second)
	m.ready("with one", "true")
	m.follower()
	m.figures()
	at.set("", false, longestStale+1)
	m.ready("without a leader for long", "no leader")
	for _, stale := range []time.Duration{-1, longestStale + 1} {
		at.set("other:7700", false, stale)
		m.ready("far behind", "behind the others")
		at.set("", true, stale)
		m.ready("as the leader", "true")
	}
	at.set("other:7700", false, longestStale)
	m.ready("not far behind", "true")
	at.set("", false, longestStale)
	m.ready("without a leader for a while", "true")

	at.full = errors.New("the disk has 3 MiB left")
	m.ready("with a disk that is nearly full", "3 MiB left")
	at.full = nil

	at.set("me:1", true, 3*time.Second)
	if err := m.count(&pb.Question{MaxStaleness: durationpb.New(1)}); err != nil {
		t.Errorf("a leader that does not know at once how fresh it is asks: %v", err)
	}
	at.set("me:1", true, 0)
	if err := m.count(&pb.Question{Consistency: pb.Consistency_CONSISTENCY_LINEARIZABLE}); err != nil {
		t.Errorf("a linearizable question at the leader: %v", err)
	}
	if r, err := m.rpc.Apply(ctx, &pb.ApplyRequest{Batch: increment(t, "a", 0)}); err != nil || r.GetResult().GetAccepted() != 1 {
		t.Errorf("a batch at the leader: %v, %v", r, err)
	}
	if r, err := m.rpc.ClusterJoin(ctx, &pb.ClusterJoinRequest{Id: "n3", Address: "a:1", RaftAddress: "b:2", Incarnation: "12"}); err != nil || r.GetCluster() != "c1" ||
		at.asked != (query.ClusterRecruit{ID: "n3", Address: "a:1", RaftAddress: "b:2", Incarnation: "12"}) {
		t.Errorf("a join: %v, %v, %+v", r, err, at.asked)
	}
}

// figures wants the metrics of a member.
func (m *askedMember) figures() {
	m.t.Helper()
	w := httptest.NewRecorder()
	m.s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(m.t.Context(), "GET", "http://localhost/metrics", nil))
	for _, line := range []string{"kanta_cluster_leader 0", "kanta_cluster_has_leader 1", "kanta_cluster_disk_full 0", "kanta_cluster_term 7", "kanta_cluster_leader_changes_total 3", "kanta_cluster_members 2",
		"kanta_cluster_staleness_seconds 3", "kanta_cluster_voter 1", "kanta_cluster_lag_records 5", "kanta_cluster_unpurged_members 1",
		"kanta_cluster_commit_index 90", "kanta_cluster_applied_index 85", "kanta_cluster_log_entries 40", "kanta_cluster_log_bytes 4000", "kanta_cluster_snapshot_index 50",
		`kanta_cluster_snapshot_bytes{what="making"} 1`, `kanta_cluster_snapshot_total_bytes{what="sending"} 4`, `kanta_cluster_snapshot_bytes{what="receiving"} 5`,
		"kanta_cluster_peer_connections 7", "kanta_cluster_peer_strangers 8", "kanta_cluster_peer_accepted_total 9", "kanta_cluster_peer_idle_total 10",
		"kanta_cluster_peer_dialed_total 11", "kanta_cluster_peer_dial_failures_total 12", "kanta_cluster_peer_received_bytes_total 13", "kanta_cluster_peer_sent_bytes_total 14",
		`kanta_cluster_peer_refused_total{reason="tls"} 15`} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			m.t.Errorf("no %s in the metrics", line)
		}
	}
	if strings.Contains(w.Body.String(), "kanta_cluster_member_") {
		m.t.Error("a member that does not lead says how far others are")
	}
	m.at.set("", true, 0)
	w = httptest.NewRecorder()
	m.s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(m.t.Context(), "GET", "http://localhost/metrics", nil))
	for _, line := range []string{"kanta_cluster_leader 1", `kanta_cluster_member_lag_records{member="n1"} 5`, `kanta_cluster_member_contact_seconds{member="n2"} 1`, "kanta_cluster_unpurged_members 2"} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			m.t.Errorf("no %s in the metrics of a leader", line)
		}
	}
}

// follower asks a member that was heard of 3 s ago and does not lead.
func (m *askedMember) follower() {
	m.t.Helper()
	ctx, linearizable := m.t.Context(), pb.Consistency_CONSISTENCY_LINEARIZABLE
	if err := m.count(&pb.Question{MaxStaleness: durationpb.New(3 * time.Second)}); err != nil {
		m.t.Errorf("a question that may be as stale as it is: %v", err)
	}
	m.fails("one that may not", m.count(&pb.Question{MaxStaleness: durationpb.New(3*time.Second - 1)}), query.CodeUnavailable, true, "")
	m.fails("a linearizable one", m.count(&pb.Question{Consistency: linearizable}), query.CodeNotLeader, true, "other:7700")
	m.fails("one of a later version", m.count(&pb.Question{Consistency: 3}), query.CodeInvalid, false, "")
	_, err := m.rpc.Quarantine(ctx, &pb.QuarantineRequest{Question: &pb.Question{Consistency: linearizable}})
	m.fails("what is asked of the store", err, query.CodeNotLeader, true, "other:7700")
	_, err = m.rpc.OpenSnapshot(ctx, &pb.OpenSnapshotRequest{Consistency: linearizable})
	m.fails("a snapshot", err, query.CodeNotLeader, true, "other:7700")
	_, err = m.rpc.Apply(ctx, &pb.ApplyRequest{Batch: increment(m.t, "a", 0)})
	m.fails("a batch", err, query.CodeNotLeader, true, "other:7700")
	stream, err := m.rpc.Ingest(ctx)
	if err == nil {
		_, err = stream.Receive()
	}
	m.fails("an ingest", err, query.CodeNotLeader, true, "other:7700")
	_, err = m.rpc.ClusterTransfer(ctx, &pb.ClusterTransferRequest{})
	m.fails("a transfer", err, query.CodeNotLeader, true, "other:1")
}

// TestReplace puts another store in the place of one that somebody asks: his snapshot ends, his key is that of
// the new store, and who asks again finds that.
func TestReplace(t *testing.T) {
	first, second := openStore(t), openStore(t)
	if _, err := second.Apply(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	at := &seat{self: true, db: first}
	s := limited(t, first, &Options{Cluster: at}, nil)
	lost := key(t, s, "reader")
	c := inProcess(t, s)
	n, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s.Replace(second)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Count(t.Context(), "true", nil); !isCode(err, query.CodeSnapshotGone) {
		t.Errorf("the snapshot of the first store: %v", err)
	}
	if got, err := c.Count(t.Context(), "true", nil); err != nil || got.Count != 1 {
		t.Errorf("the second store: %+v, %v", got, err)
	}
	if _, err := s.register.ByKey(t.Context(), "", lost); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("a key of the first store: %v", err)
	}
	if err := s.moved(query.Errorf(query.CodeClosed, "the store is closed")); !isCode(err, query.CodeUnavailable) {
		t.Errorf("a call that was under way: %v", err)
	}
}
