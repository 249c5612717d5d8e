package replica

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// promptly is within how long a member that is back is sent what it lacks: a message that waits for its answer, and one
// more; Raft would wait for ten seconds.
const promptly = answerWithin + 500*time.Millisecond

// TestBackAgain has a member away for so long that Raft would let it wait for ten seconds when it is back, or when it is
// started that long after it was taken in.
func TestBackAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		away := c.other()
		away.kill(0)
		wrote := uint64(0)
		for end := time.Now().Add(40 * time.Second); time.Now().Before(end); during(time.Second) {
			wrote++
			c.must(c.apply(increment(t, "p0", wrote)))
		}
		away.open()
		back := time.Now()
		c.eventually("it has everything", func() bool { return away.node.applied.now() >= c.leader().node.raft.CommitIndex() })
		if took := time.Since(back); took > promptly {
			t.Errorf("who is back has everything after %v", took)
		}
		c.sums(wrote)
		late := c.add("n4")
		incarnation, err := NewIncarnation()
		c.must(err)
		l := c.leader().node
		of := l.Identity()
		c.must(l.Join(t.Context(), query.ClusterRecruit{ID: late.id, Address: "n4:2", RaftAddress: "n4:1", Incarnation: incarnation}))
		c.connect() // nobody reaches it
		during(40 * time.Second)
		c.must(InitJoin(late.config(), Identity{Cluster: of.Cluster, Store: of.Store, ID: late.id, Incarnation: incarnation, Raft: "n4:1", Client: "n4:2"}))
		late.open()
		back = time.Now()
		c.eventually("it has a store", func() bool { return late.node.DB() != nil })
		if took := time.Since(back); took > promptly {
			t.Errorf("who joins and is started later has a store after %v", took)
		}
	})
}

// silent is a transport that fails, and then does not.
type silent struct {
	Transport
	fails int // so often
	sent  []raft.AppendEntriesRequest
}

var errAway = errors.New("connection refused")

func (s *silent) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	s.sent = append(s.sent, *args)
	if len(s.sent) <= s.fails {
		return errAway
	}
	*resp = raft.AppendEntriesResponse{Term: args.Term, Success: true}
	return nil
}

// TestKnock sends to who does not answer: what waits, for how long, and what ends it.
func TestKnock(t *testing.T) {
	for _, of := range []struct {
		name      string
		heartbeat bool
		away      bool          // else it answers heartbeats
		deposed   time.Duration // after which this member leads no more; 0: never
		gone      time.Duration // after which the other is no member
		hung      time.Duration // after which this one ends
		fails     int
		took      time.Duration
		sent      int
		err       error
	}{
		{name: "a heartbeat fails at once", heartbeat: true, away: true, fails: 1, sent: 1, err: errAway},
		{name: "who refuses entries is left to raft", fails: 1, sent: 1, err: errAway},
		{name: "who comes back", away: true, fails: 7, took: 7 * knockEvery, sent: 8},
		{name: "another one leads", away: true, deposed: 3*knockEvery - 1, fails: 99, took: 3 * knockEvery, sent: 3, err: errAway},
		{name: "it is removed", away: true, gone: 3*knockEvery - 1, fails: 99, took: 3 * knockEvery, sent: 4, err: errAway},
		{name: "the member ends", away: true, hung: 3*knockEvery - 1, fails: 99, took: 3*knockEvery - 1, sent: 3, err: errAway},
	} {
		t.Run(of.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				until := func(d time.Duration) bool { return d == 0 || time.Since(begin) < d }
				to := &silent{fails: of.fails}
				w := &wire{Transport: to, synced: emptyLog(t), says: func(uint64) word { return word{} }, peers: map[raft.ServerID]*contact{}, ending: ending{hung: make(chan struct{})}}
				w.standing = standing{func(term uint64) bool { return term == 7 && until(of.deposed) }, func(id raft.ServerID) bool { return id == "n2" && of.away && until(of.gone) }}
				if of.hung > 0 {
					time.AfterFunc(of.hung, w.hangUp)
				}
				args := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 3, PrevLogTerm: 6, LeaderCommitIndex: 3, Entries: []*raft.Log{{Index: 4}}}
				if of.heartbeat {
					args = &raft.AppendEntriesRequest{Term: 7}
				}
				err := w.AppendEntries("n2", "n2:1", args, new(raft.AppendEntriesResponse))
				if took := time.Since(begin); !errors.Is(err, of.err) || took != of.took || len(to.sent) != of.sent {
					t.Fatalf("%v after %v, %d times", err, took, len(to.sent))
				}
				for i, r := range to.sent {
					if i > 0 && len(r.Entries) > 0 || r.PrevLogEntry != args.PrevLogEntry || r.PrevLogTerm != args.PrevLogTerm {
						t.Errorf("message %d: %+v", i, r)
					}
				}
				if err == nil && len(args.Entries) > 0 {
					t.Error("raft takes entries for sent that were not")
				}
			})
		})
	}
}
