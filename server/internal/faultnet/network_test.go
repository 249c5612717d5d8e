package faultnet

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo answers votes with their term, entries with how many there were, and snapshots with whether
// they came whole, and keeps the terms in the order in which they came.
type echo struct {
	*Transport
	mu    sync.Mutex
	terms []uint64
	done  chan struct{}
}

func newEcho(n *Network, address raft.ServerAddress) *echo {
	e := &echo{Transport: n.Join(address), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		for {
			select {
			case rpc := <-e.Consumer():
				e.answer(rpc)
			case <-e.closed:
				return
			}
		}
	}()
	return e
}

func (e *echo) answer(rpc raft.RPC) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch r := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		e.terms = append(e.terms, r.Term)
		rpc.Respond(&raft.RequestVoteResponse{Term: r.Term}, nil)
	case *raft.AppendEntriesRequest:
		e.terms = append(e.terms, r.Term)
		for _, l := range r.Entries {
			l.Data[0]++ // its own copy
		}
		rpc.Respond(&raft.AppendEntriesResponse{Term: r.Term, LastLog: uint64(len(r.Entries)), Success: true}, nil)
	case *raft.InstallSnapshotRequest:
		b, err := io.ReadAll(rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{Term: uint64(len(b)), Success: err == nil}, nil)
	default:
		rpc.Respond(nil, fmt.Errorf("what is %T", r))
	}
}

func (e *echo) came() []uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.terms)
}

func (e *echo) vote(term uint64) error {
	var resp raft.RequestVoteResponse
	err := e.RequestVote("", "b", &raft.RequestVoteRequest{Term: term}, &resp)
	if err == nil && resp.Term != term {
		err = fmt.Errorf("the answer to %d is %d", term, resp.Term)
	}
	return err
}

// pair runs something between two nodes, in virtual time.
func pair(t *testing.T, f func(t *testing.T, n *Network, a, b *echo)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1, time.Second)
		a, b := newEcho(n, "a"), newEcho(n, "b")
		f(t, n, a, b)
		for _, e := range []*echo{a, b} {
			must(t, e.Close())
			<-e.done
		}
	})
}

// TestCalls makes each call without faults.
func TestCalls(t *testing.T) {
	pair(t, func(t *testing.T, n *Network, a, b *echo) {
		must(t, a.vote(7))
		var resp raft.AppendEntriesResponse
		entry := &raft.Log{Data: []byte("x")}
		must(t, a.AppendEntries("", "b", &raft.AppendEntriesRequest{Term: 8, Entries: []*raft.Log{entry}}, &resp))
		if resp.LastLog != 1 || !resp.Success || string(entry.Data) != "x" {
			t.Errorf("%+v, and the sender has %s", resp, entry.Data)
		}
		var installed raft.InstallSnapshotResponse
		must(t, a.InstallSnapshot("", "b", &raft.InstallSnapshotRequest{}, &installed, bytes.NewReader(make([]byte, 1000))))
		if installed.Term != 1000 || !installed.Success {
			t.Errorf("%+v", installed)
		}
		if err := a.TimeoutNow("", "b", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}); err == nil {
			t.Error("an error is not told")
		}
		if err := a.vote(0); err != nil {
			t.Error(err)
		}
		beats := 0
		b.SetHeartbeatHandler(func(rpc raft.RPC) {
			beats++
			rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
		})
		must(t, a.AppendEntries("", "b", &raft.AppendEntriesRequest{Term: 9}, &resp))
		must(t, a.AppendEntries("", "b", &raft.AppendEntriesRequest{Term: 9, PrevLogEntry: 1}, &resp))
		if beats != 1 {
			t.Errorf("%d heartbeats", beats)
		}
	})
}

// TestFaults sends a thousand messages at a time through each fault.
func TestFaults(t *testing.T) {
	const sends = 1000
	for _, c := range []struct {
		name                 string
		faults               Faults
		arrive, answered     [2]int // at least, at most
		repeated, overtaking bool
	}{
		{"none", Faults{}, [2]int{sends, sends}, [2]int{sends, sends}, false, false},
		{"lost", Faults{Lose: 300}, [2]int{600, 800}, [2]int{600, 800}, false, false},
		{"replies lost", Faults{LoseReply: 300}, [2]int{sends, sends}, [2]int{600, 800}, false, false},
		{"repeated", Faults{Repeat: 300, Delay: 10 * time.Millisecond}, [2]int{sends + 200, sends + 400}, [2]int{sends, sends}, true, true},
		{"delayed", Faults{Delay: 400 * time.Millisecond}, [2]int{sends, sends}, [2]int{sends, sends}, false, true},
		{"too late", Faults{Slow: 300, SlowDelay: 5 * time.Second}, [2]int{sends, sends}, [2]int{450, 700}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair(t, func(t *testing.T, n *Network, a, b *echo) {
				n.Set(c.faults)
				var group sync.WaitGroup
				var mu sync.Mutex
				answered := 0
				for i := range uint64(sends) {
					group.Go(func() {
						if a.vote(i+1) == nil {
							mu.Lock()
							defer mu.Unlock()
							answered++
						}
					})
				}
				group.Wait()
				<-time.After(time.Minute) // virtual; what is late has come
				came := b.came()
				slices.Sort(came)
				if n := len(came); n < c.arrive[0] || n > c.arrive[1] {
					t.Errorf("%d arrived", n)
				}
				if answered < c.answered[0] || answered > c.answered[1] {
					t.Errorf("%d were answered", answered)
				}
				if unique := len(slices.Compact(slices.Clone(came))); (unique < len(came)) != c.repeated {
					t.Errorf("%d arrived, %d different ones", len(came), unique)
				}
				if got := n.Counts(); got.Sent != sends || c.overtaking && got.Overtaken < 100 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestBrokenSnapshots sends snapshots that break off.
func TestBrokenSnapshots(t *testing.T) {
	pair(t, func(t *testing.T, n *Network, a, b *echo) {
		n.Set(Faults{Break: 500})
		broken := 0
		for range 100 {
			var resp raft.InstallSnapshotResponse
			must(t, a.InstallSnapshot("", "b", &raft.InstallSnapshotRequest{}, &resp, bytes.NewReader(make([]byte, 1000))))
			if resp.Success != (resp.Term == 1000) {
				t.Errorf("of 1000 bytes %d came, and that is %t", resp.Term, resp.Success)
			}
			if !resp.Success {
				broken++
			}
		}
		if got := n.Counts().Broken; broken < 30 || broken > 70 || got != broken {
			t.Errorf("%d broken, %d counted", broken, got)
		}
	})
}

// TestPartitions cuts links one way and both.
func TestPartitions(t *testing.T) {
	pair(t, func(t *testing.T, n *Network, a, b *echo) {
		came := func(want int) {
			t.Helper()
			if got := len(b.came()); got != want {
				t.Fatalf("%d arrived, want %d", got, want)
			}
		}
		n.Cut("b", "a") // it hears, and cannot answer
		if err := a.vote(1); err == nil {
			t.Error("an answer over a link that is cut")
		}
		came(1)
		n.Heal()
		n.Partition([]raft.ServerAddress{"a"}, []raft.ServerAddress{"b"})
		if err := a.vote(2); err == nil {
			t.Error("an answer from another part")
		}
		if _, err := a.AppendEntriesPipeline("", "b"); err == nil {
			t.Error("a connection to another part")
		}
		came(1)
		n.Partition([]raft.ServerAddress{"a", "b"})
		must(t, a.vote(3))
		came(2)

		n.Heal()
		n.Set(Faults{Delay: 500 * time.Millisecond})
		done := make(chan error)
		go func() { done <- a.vote(4) }()
		synctest.Wait() // it is on its way
		n.Cut("a", "b")
		if err := <-done; err == nil {
			t.Error("what was on its way has come")
		}
		came(2)
	})
}

// TestPipeline sends through a connection: in order, until one is lost.
func TestPipeline(t *testing.T) {
	for _, lose := range []int{0, 20} {
		pair(t, func(t *testing.T, n *Network, a, b *echo) {
			n.Set(Faults{Delay: 100 * time.Millisecond, Lose: lose})
			p, err := a.AppendEntriesPipeline("", "b")
			must(t, err)
			go func() {
				for i := range uint64(300) {
					if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: i, PrevLogEntry: 1}, &raft.AppendEntriesResponse{}); err != nil {
						return
					}
				}
			}()
			answered := uint64(0)
			for range 300 {
				f := <-p.Consumer()
				if f.Error() != nil {
					break
				}
				if f.Response().Term != answered || f.Request().Term != answered {
					t.Fatalf("answer %d is to %d, %d", answered, f.Request().Term, f.Response().Term)
				}
				answered++
			}
			must(t, p.Close())
			if came := b.came(); uint64(len(came)) != answered || !slices.IsSorted(came) || (lose == 0) != (answered == 300) || answered < 5 {
				t.Errorf("%d answered, came %v", answered, came)
			}
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}); err == nil {
				t.Error("a closed connection takes more")
			}
		})
	}
}

// TestSeed has the same seed decide the same, whatever others send, and another one otherwise.
func TestSeed(t *testing.T) {
	fates := func(seed uint64, others int) (out []fate) {
		n := New(seed, time.Second)
		n.Set(Faults{Lose: 100, Repeat: 100, Delay: time.Second})
		for range 100 {
			for range others {
				n.decide(stream{link{"b", "a"}, "kind"})
			}
			out = append(out, n.decide(stream{link{"a", "b"}, "kind"}))
		}
		return out
	}
	if !slices.Equal(fates(1, 0), fates(1, 3)) || slices.Equal(fates(1, 0), fates(2, 0)) {
		t.Error("a seed does not decide")
	}
}
