package replica

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/faultnet"
	"github.com/kantadb/kanta/server/internal/raftlog"
)

// apart has two members not reach each other.
func apart(a, b *member) {
	a.c.net.Cut(a.network.LocalAddr(), b.network.LocalAddr())
	a.c.net.Cut(b.network.LocalAddr(), a.network.LocalAddr())
}

// TestLinearizableWithoutMajority has a leader reach nobody but a member without a vote, whose word counts for nothing:
// the two others may have elected another.
func TestLinearizableWithoutMajority(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		l := c.leader()
		l.node.members.held <- struct{}{} // nobody gets a vote
		watcher := c.add("n4")
		incarnation, of := "0123456789abcdef", l.node.Identity()
		id := Identity{Cluster: of.Cluster, Store: of.Store, ID: watcher.id, Incarnation: incarnation, Raft: "n4:1", Client: "n4:2"}
		c.must(l.node.raft.AddNonvoter(id.server(), "n4:1", 0, 0).Error())
		c.must(InitJoin(watcher.config(), id))
		watcher.open()
		c.eventually("it has the store", func() bool { return watcher.node.DB() != nil && l.node.answers(id.server()) })
		if _, err := l.node.Linearizable(t.Context()); err != nil {
			t.Errorf("with all of them: %v", err)
		}
		for _, m := range c.members[:3] {
			if m != l {
				apart(l, m)
			}
		}
		during(300 * time.Millisecond)
		if !l.node.IsLeader() {
			t.Error("it has noticed: the test does not test")
		}
		if p, err := l.node.Linearizable(t.Context()); !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
			t.Errorf("at %s, %v", p, err)
		}
		l.node.members.release()
	})
}

// slow is a transport that sends when it is told to.
type slow struct {
	*raft.InmemTransport
	send chan *raft.AppendEntriesResponse
}

func (s *slow) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, _ *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	r := <-s.send
	if r == nil {
		return errors.New("lost")
	}
	*resp = *r
	return nil
}

// emptyLog returns a log without a member.
func emptyLog(t *testing.T) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(t.Context(), "log", &raftlog.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestConfirmed answers messages that were sent before it was asked, of other terms and without success: none of them
// says that a leader leads.
func TestConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, network := raft.NewInmemTransport("a:1")
		s := &slow{network, make(chan *raft.AppendEntriesResponse)}
		w := newWire(&Node{cfg: Config{Transport: s}, logs: emptyLog(t)})
		w.says = func(uint64) word { return word{} }
		defer w.Close()
		servers := []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d", Suffrage: raft.Nonvoter}, {ID: "e", Suffrage: raft.Nonvoter}}
		answers := func(answer *raft.AppendEntriesResponse, between func()) {
			done := make(chan struct{})
			go func() {
				_ = w.AppendEntries("b", "b:1", &raft.AppendEntriesRequest{Term: 7}, new(raft.AppendEntriesResponse))
				close(done)
			}()
			synctest.Wait()
			between()
			s.send <- answer
			<-done
		}
		good := &raft.AppendEntriesResponse{Term: 7, Success: true}
		var round uint64
		for what, f := range map[string]func(){
			"nobody was asked":      func() {},
			"it was sent before":    func() { answers(good, func() { round = w.ask() }) },
			"it is of a newer term": func() { answers(&raft.AppendEntriesResponse{Term: 8, Success: true}, func() {}) },
			"it is refused":         func() { answers(&raft.AppendEntriesResponse{Term: 7}, func() {}) },
			"it is lost":            func() { answers(nil, func() {}) },
			"those without a vote have it": func() {
				for _, s := range servers[3:] {
					w.of(s.ID, func(c *contact) { c.acked = acked{7, round + 1, time.Now()} })
				}
			},
		} {
			during(time.Millisecond)
			round = w.ask()
			f()
			if got, _ := w.confirmed(servers, "a", 7); got >= round {
				t.Errorf("%s: round %d of %d", what, got, round)
			}
		}
		during(time.Second)
		round = w.ask()
		asked := time.Now()
		answers(good, func() { during(time.Minute) })
		got, since := w.confirmed(servers, "a", 7)
		if got < round || since != asked {
			t.Errorf("round %d of %d, since %v, not %v", got, round, since, asked)
		}
		if got, _ := w.confirmed(servers, "a", 8); got != 0 {
			t.Errorf("in another term round %d", got)
		}
	})
}

// TestWords has a member hear words: only one that echoes what it has said itself, since it was started, and that is
// about no more than it has applied, says how fresh it is.
func TestWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, network := raft.NewInmemTransport("a:1")
		w := newWire(&Node{cfg: Config{Transport: network}, logs: emptyLog(t)})
		defer w.Close()
		hear := func(said word, success bool) stamp {
			m := &raft.AppendEntriesRequest{Term: 7}
			*aside(m) = said.encode()
			r := w.taken(m, raft.RPCResponse{Response: &raft.AppendEntriesResponse{Term: 7, Success: success}})
			a, ok := decodeAnswer(r.Response.(*raft.AppendEntriesResponse).Addr)
			if !ok {
				t.Error("an answer without a stamp")
			}
			return a.now
		}
		during(time.Second)
		first, at := hear(word{}, true), time.Now()
		during(time.Minute)
		other := first
		other.boot++
		hear(word{echo: other, commit: 5}, true)
		hear(word{echo: first, commit: 5}, false)
		hear(word{echo: first}, true)
		if at, ok := w.fresh(9); ok {
			t.Errorf("it is as fresh as %v", at)
		}
		hear(word{echo: first, commit: 5, age: time.Millisecond}, true)
		hear(word{echo: hear(word{}, true), commit: 6}, true)
		if _, ok := w.fresh(4); ok {
			t.Error("it is fresh without what it must have")
		}
		if got, ok := w.fresh(5); !ok || !got.Equal(at.Add(-time.Millisecond)) {
			t.Errorf("it is as fresh as %v, %t, and it should be %v", got, ok, at)
		}
		if got, ok := w.fresh(6); !ok || !got.Equal(time.Now()) {
			t.Errorf("it is as fresh as %v, %t, and it should be now", got, ok)
		}
		for i := range uint64(3 * maxKnown) {
			during(time.Second)
			hear(word{echo: hear(word{}, true), commit: 10 + i}, true)
		}
		if _, ok := w.fresh(10); !ok || len(w.knows) > maxKnown {
			t.Errorf("of %d words that it keeps it does not know the oldest", len(w.knows))
		}
	})
}

// TestStaleLeader cuts a leader off: before it notices it does not say that it is up to date.
func TestStaleLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		l := c.leader()
		c.eventually("it knows", func() bool { s := l.node.Staleness(); return s >= 0 && s < 300*time.Millisecond })
		l.isolate(true)
		during(400 * time.Millisecond)
		if s := l.node.Staleness(); !l.node.IsLeader() || s < 400*time.Millisecond {
			t.Errorf("it leads: %t, and is %v old", l.node.IsLeader(), s)
		}
	})
}

// gated is a transport whose messages wait while its member is stopped, as in the buffers of a socket.
type gated struct {
	Transport
	in   chan raft.RPC
	gate chan struct{} // full while it is stopped
	end  chan struct{}
}

func gate(t Transport) *gated {
	g := &gated{t, make(chan raft.RPC), make(chan struct{}, 1), make(chan struct{})}
	go func() {
		for {
			select {
			case rpc := <-t.Consumer():
				select {
				case g.gate <- struct{}{}:
					<-g.gate
				case <-g.end:
					return
				}
				select {
				case g.in <- rpc:
				case <-g.end:
					return
				}
			case <-g.end:
				return
			}
		}
	}()
	return g
}

func (g *gated) Consumer() <-chan raft.RPC { return g.in }

func (g *gated) Close() error {
	close(g.end)
	return g.Transport.Close()
}

// SetHeartbeatHandler has heartbeats wait with everything else.
func (g *gated) SetHeartbeatHandler(func(raft.RPC)) {}

// TestStaleFollower stops a member with messages on their way to it, and has it go on when the leader is gone: what it
// finds then is not taken for new.
func TestStaleFollower(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		gates := map[string]*gated{}
		c.change = func(x *Config) {
			if network := x.Transport.(*faultnet.Transport); network != nil {
				g := gate(network)
				gates[string(network.LocalAddr())] = g
				x.Transport = g
			}
		}
		c.three()
		l := c.leader()
		m := c.others(l)[0]
		c.eventually("it knows", func() bool { s := m.node.Staleness(); return s >= 0 && s < time.Second })
		g := gates[string(m.network.LocalAddr())]
		g.gate <- struct{}{}
		during(10 * time.Second)
		l.isolate(true)
		c.others(l)[1].isolate(true)
		<-g.gate
		during(50 * time.Millisecond) // what has waited is read
		if s := m.node.Staleness(); s >= 0 && s < 9*time.Second {
			t.Errorf("after ten seconds it says it is %v old", s)
		}
		l.isolate(false)
		c.others(l)[1].isolate(false)
		c.eventually("it knows again", func() bool { s := m.node.Staleness(); return s >= 0 && s < time.Second })
	})
}

// TestVotesPass has a member wait for room for entries: votes pass meanwhile, and the entries come then.
func TestVotesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, network := raft.NewInmemTransport("a:1")
		_, other := raft.NewInmemTransport("b:1")
		other.Connect("a:1", network)
		w := newWire(&Node{cfg: Config{Transport: network}, logs: emptyLog(t)})
		defer w.Close()
		room := make(chan struct{})
		w.refuse, w.backlog.full, w.backlog.room = func(any) error { return nil }, func() bool { return true }, func(<-chan struct{}) { <-room }
		entries := &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1}}}
		failed := make(chan error, 2)
		for range 2 { // one waits, the other is refused
			go func() { failed <- other.AppendEntries("a", "a:1", entries, new(raft.AppendEntriesResponse)) }()
			synctest.Wait()
		}
		if err := <-failed; err == nil {
			t.Error("two wait")
		}
		go func() {
			failed <- other.RequestVote("a", "a:1", &raft.RequestVoteRequest{Term: 2}, new(raft.RequestVoteResponse))
		}()
		rpc := <-w.Consumer()
		if _, ok := rpc.Command.(*raft.RequestVoteRequest); !ok {
			t.Errorf("%T comes first", rpc.Command)
		}
		rpc.Respond(&raft.RequestVoteResponse{}, nil)
		close(room)
		rpc = <-w.Consumer()
		if rpc.Command != any(entries) {
			t.Errorf("then comes %T", rpc.Command)
		}
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
		for range 2 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	})
}
