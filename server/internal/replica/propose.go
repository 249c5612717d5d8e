package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// minCharge is what a proposal counts for at least against maxPending: so there are at most
// maxProposals of them.
const (
	minCharge    = 16 << 10
	maxProposals = maxPending / minCharge
)

// proposals are the entries that Raft was given and has not answered.
type proposals struct {
	room  budget
	queue chan *proposal // in the order in which Raft was given them
	done  chan struct{}  // closed when the queue is and all was answered

	mu     sync.RWMutex // held for reading while Raft is given one
	closed bool
}

// proposal is one of them. What became of it is known when answered is closed.
type proposal struct {
	future   raft.ApplyFuture
	size     int
	answered chan struct{}
	index    uint64 // in the log
	of       engine.Outcome
	err      error
}

func newProposals() *proposals {
	return &proposals{room: budget{free: maxPending}, queue: make(chan *proposal, maxProposals), done: make(chan struct{})}
}

// collect waits for what Raft answers. It answers in the order of the log, so one goroutine
// is enough.
func (p *proposals) collect() {
	defer close(p.done)
	for x := range p.queue {
		if x.err = x.future.Error(); x.err == nil {
			x.of, _ = x.future.Response().(engine.Outcome) // a control entry has none
			x.index = x.future.Index()
		}
		x.future = nil
		p.room.give(x.size)
		close(x.answered)
	}
}

// propose is [engine.ReplicaOptions.Propose].
func (n *Node) propose(ctx context.Context, entry []byte) (func() (engine.Outcome, error), error) {
	if len(entry) == 0 || len(entry) > maxEntry {
		return nil, query.Errorf(query.CodeLimit, "an entry of the replicated log has %d bytes; 1 to %d are possible", len(entry), maxEntry)
	}
	if n.IsLeader() { // else it is told who does
		if err := n.mayPropose(); err != nil {
			return nil, err
		}
	}
	x, err := n.enter(ctx, entry, nil)
	if err != nil {
		return nil, err
	}
	return func() (engine.Outcome, error) {
		select {
		case <-x.answered:
		case <-n.stopped:
			select {
			case <-x.answered:
			default:
				return engine.Outcome{}, stopped(n.failure())
			}
		}
		return x.of, n.proposed(x.err)
	}, nil
}

// enter gives Raft an entry.
func (n *Node) enter(ctx context.Context, data, extensions []byte) (*proposal, error) {
	if n.raft.State() != raft.Leader {
		return nil, n.notLeader()
	}
	p := n.proposals
	x := &proposal{size: max(len(data), minCharge), answered: make(chan struct{})}
	if err := p.room.take(ctx, x.size); err != nil {
		return nil, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed || n.failure() != nil {
		p.room.give(x.size)
		return nil, errors.Join(n.notLeader(), n.failure())
	}
	timeout := enqueueTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = max(time.Millisecond, min(timeout, time.Until(end)))
	}
	x.future = n.raft.ApplyLog(raft.Log{Data: data, Extensions: extensions}, timeout)
	p.queue <- x // has room: it has as many places as there are charges
	return x, nil
}

// proposed returns what a caller is told of an answer of Raft.
func (n *Node) proposed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return n.notLeader() // Raft has not taken it
	}
	return &query.Error{Code: query.CodeUnavailable, Message: fmt.Sprintf("what became of the batch is not known: %v", err),
		Hint: "a batch with source, run and sequence may be sent again; of others, look first", Err: err}
}

// retryAfter is when a cluster without a leader may have one: an election takes about as long.
const retryAfter = 200 * time.Millisecond

// notLeader says that another member leads, and which. Nothing has been done.
func (n *Node) notLeader() error {
	client, self := n.Leader()
	if self { // not for long, or not yet: others know who leads
		client = ""
	}
	e := query.NotLeader(client)
	if client == "" {
		e.RetryAfter = retryAfter
	}
	return e
}

// isUnknown reports whether an error says that nobody knows what became of something.
func isUnknown(err error) bool { return errors.Is(err, &query.Error{Code: query.CodeUnavailable}) }

// endProposals has nothing more proposed, and waits until Raft has answered everything: which it does
// as long as it runs, for a leader without a majority steps down.
func (n *Node) endProposals() {
	p := n.proposals
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return
	}
	if len(p.queue) > 0 && n.failure() == nil {
		// Raft does not answer what it has in a queue of its own when it is shut down. What
		// is asked for behind that is answered after it.
		_ = n.raft.Barrier(0).Error()
	}
	close(p.queue)
	select {
	case <-p.done:
	case <-n.stopped: // Raft may have ended in the middle
	}
}
