package replica

import (
	"errors"
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
		w := &wire{Transport: full{}, synced: emptyLog(t), pipelines: map[*pipeline]bool{}}
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
