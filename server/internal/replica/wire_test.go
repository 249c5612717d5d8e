package replica

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// full is a transport whose pipelines take nothing until they are closed, as one is whose
// answers nobody takes.
type full struct{ Transport }

type fullPipeline struct {
	raft.AppendPipeline
	closed chan struct{}
}

func (full) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return &fullPipeline{closed: make(chan struct{})}, nil
}

func (p *fullPipeline) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	<-p.closed
	return nil, raft.ErrPipelineShutdown
}

func (p *fullPipeline) Close() error {
	close(p.closed)
	return nil
}

// TestStuckPipeline has a message wait in a pipeline that is full: it is given up after a while,
// and at once when the member ends.
func TestStuckPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Transport: full{}, synced: emptyLog(t), ending: ending{make(chan struct{}), map[*pipeline]bool{}}}
		send := func() chan error {
			p, err := w.AppendEntriesPipeline("n2", "n2:1")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := p.AppendEntries(new(raft.AppendEntriesRequest), nil)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		begin := time.Now()
		if err := <-send(); !errors.Is(err, raft.ErrPipelineShutdown) || time.Since(begin) != stuckAfter {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		clear(w.pipelines) // Raft closes it, too
		begin = time.Now()
		done := send()
		w.hangUp()
		if err := <-done; !errors.Is(err, raft.ErrPipelineShutdown) || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if _, err := w.AppendEntriesPipeline("n2", "n2:1"); err == nil {
			t.Error("a pipeline is opened after the end")
		}
	})
}

// copies is a transport that sends a snapshot to nobody.
type copies struct {
	Transport
	begun bool
}

func (c *copies) InstallSnapshot(_ raft.ServerID, _ raft.ServerAddress, _ *raft.InstallSnapshotRequest, _ *raft.InstallSnapshotResponse, data io.Reader) error {
	c.begun = true
	_, err := io.Copy(io.Discard, data)
	return err
}

// deposes reads some bytes, and then the member leads no more.
type deposes struct {
	leads bool
	reads int
}

func (d *deposes) Read(b []byte) (int, error) {
	d.reads++
	d.leads = d.reads < 3
	return len(b), nil
}

// TestDeposedSendsNothing has a member lose its leadership while it sends a snapshot that has no end: it is sent no
// further, and no other one is begun.
func TestDeposedSendsNothing(t *testing.T) {
	d, to := &deposes{leads: true}, &copies{}
	w := &wire{Transport: to, peers: map[raft.ServerID]*contact{}, standing: standing{leads: func(term uint64) bool { return term == 7 && d.leads }}}
	send := func(term uint64) error {
		return w.InstallSnapshot("n2", "n2:1", &raft.InstallSnapshotRequest{Term: term}, nil, d)
	}
	if err := send(6); !errors.Is(err, errDeposed) || to.begun {
		t.Errorf("%v, begun %v", err, to.begun)
	}
	if err := send(7); !errors.Is(err, errDeposed) || d.reads != 3 || w.contact("n2").size != 0 {
		t.Errorf("%v after %d reads; %+v", err, d.reads, w.contact("n2"))
	}
	to.begun = false
	if err := send(7); !errors.Is(err, errDeposed) || to.begun {
		t.Errorf("%v, begun %v", err, to.begun)
	}
}

// TestHungUp asks a member for its vote that ends: it answers at once, though Raft takes nothing any more.
func TestHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{in: make(chan raft.RPC), ending: ending{hung: make(chan struct{})}, screen: screen{known: func(any) any { return nil }, refuse: func(any) error { return nil }}}
		answer := make(chan raft.RPCResponse, 2)
		go w.handOn(raft.RPC{Command: &raft.RequestVoteRequest{}, RespChan: answer})
		synctest.Wait()
		w.hangUp()
		w.handOn(raft.RPC{Command: &raft.RequestVoteRequest{}, RespChan: answer})
		for range 2 {
			if a := <-answer; !errors.Is(a.Error, raft.ErrRaftShutdown) {
				t.Errorf("%+v", a)
			}
		}
	})
}
