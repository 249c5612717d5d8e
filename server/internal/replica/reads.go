package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/canary"
)

// Leader returns the address for clients of the member that leads, as far as this one knows, ""
// if nobody knows one, and whether it is this one.
func (n *Node) Leader() (address string, self bool) {
	id := n.leaderID()
	switch id {
	case "":
		return "", false
	case n.id.ID:
		return n.id.Client, true
	}
	m, err := n.member(context.Background(), id)
	if err != nil {
		return "", false
	}
	return m.Client, false
}

// leaderID returns the name of the member that leads, "" if this one knows of none.
func (n *Node) leaderID() string {
	_, server := n.raft.LeaderWithID()
	id, _ := memberOf(server)
	return id
}

// IsLeader reports whether the member believes to lead. It may be wrong for as long as
// [Timing.Lease] after others have elected another; what it is given to write is lost then or
// stands, and is never acknowledged wrongly.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// errNoStore is what a member without a store answers.
func errNoStore() error {
	return &query.Error{Code: query.CodeUnavailable, Message: "the member has no store yet: its first snapshot is on the way",
		Hint: "ask another member", RetryAfter: time.Second}
}

// Position returns how far the store is, [query.CodeUnavailable] without one.
func (n *Node) Position(ctx context.Context) (query.Position, error) {
	db := n.db.Load()
	if db == nil {
		return query.Position{}, errNoStore()
	}
	s, err := db.Snapshot(ctx)
	if err != nil {
		return query.Position{}, err
	}
	return s.Position(), s.Close()
}

// AtLeast waits until the store has seen a position. One of another epoch is an error,
// [query.CodeWrongEpoch]; the end of ctx is ctx's.
func (n *Node) AtLeast(ctx context.Context, p query.Position) error {
	if canary.Is("least") {
		return nil
	}
	return n.applied.until(ctx, func(uint64) (bool, error) {
		have, err := n.Position(ctx)
		switch {
		case n.failure() != nil:
			return false, n.failure()
		case errors.Is(err, &query.Error{Code: query.CodeUnavailable}):
			return false, nil // it may come
		case err != nil:
			return false, err
		case have.Epoch != p.Epoch:
			return false, &query.Error{Code: query.CodeWrongEpoch, Message: fmt.Sprintf("the position %s is of another epoch: the store is at %s", p, have),
				Hint: "the cluster was restored or recovered since: ask without a position"}
		}
		return have.Applied >= p.Applied, nil
	})
}

// Linearizable returns a position at which a question sees everything that was acknowledged,
// by any member, before the call. It asks a majority whether this member still leads; one that
// does not is [query.CodeNotLeader], and the question may be asked elsewhere.
func (n *Node) Linearizable(ctx context.Context) (query.Position, error) {
	lead, err := n.leading(ctx)
	if err != nil {
		return query.Position{}, err
	}
	commit := n.raft.CommitIndex()
	if err := n.verify(ctx, lead.term); err != nil && !canary.Is("verify") {
		return query.Position{}, err
	}
	if err := n.applied.until(ctx, func(index uint64) (bool, error) { return index >= commit, n.failure() }); err != nil {
		return query.Position{}, err
	}
	return n.Position(ctx)
}

// leading returns the leadership of this member once it has committed something in its own
// term: before that it may not know of all that its predecessor has acknowledged.
func (n *Node) leading(ctx context.Context) (*leadership, error) {
	var lead *leadership
	err := n.applied.until(ctx, func(uint64) (bool, error) {
		if !n.IsLeader() {
			return false, n.notLeader()
		}
		lead = n.lead.Load()
		return lead != nil && lead.term == n.raft.CurrentTerm(), n.failure()
	})
	return lead, err
}

// verify asks a majority whether this member leads in a term. Callers that come while others
// are asked share the next round.
func (n *Node) verify(ctx context.Context, term uint64) error {
	r, err := n.rounds.join(n)
	if err != nil {
		return err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return n.failure()
	}
	if r.err != nil || n.raft.CurrentTerm() != term {
		return n.notLeader()
	}
	return nil
}

// confirm asks a majority whether this member still leads, and waits until it has heard so. What Raft verifies is not
// enough: it counts members without a vote, and answers to messages that were sent before it was asked. So it is only
// asked to have messages sent.
func (n *Node) confirm() error {
	term, round := n.raft.CurrentTerm(), n.wire.ask()
	if err := n.raft.VerifyLeader().Error(); err != nil {
		return err
	}
	return n.wire.acks.until(context.Background(), func(uint64) (bool, error) {
		if !n.IsLeader() || n.raft.CurrentTerm() != term {
			return false, raft.ErrNotLeader
		}
		confirmed, _ := n.wire.confirmed(n.servers(), n.id.server(), term)
		return confirmed >= round, n.failure()
	})
}

// says is what this member, leading in a term, says to others beside a message.
func (n *Node) says(term uint64) (w word) {
	if lead := n.lead.Load(); lead != nil && lead.term == term {
		if _, at := n.wire.confirmed(n.servers(), n.id.server(), term); !at.IsZero() {
			w.age = max(0, time.Since(at))
			w.commit = n.raft.CommitIndex()
		}
	}
	return w
}

// leadsIn reports whether this member leads in a term.
func (n *Node) leadsIn(term uint64) bool {
	return n.running.Load() && n.failure() == nil && n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// Staleness returns how long ago this member had, certainly, all that was acknowledged then; negative if it cannot
// tell. A leader knows it of the instant at which it sent what a majority has answered since: some hundred milliseconds
// ago, and longer if it was stopped or is cut off. Another member knows it of the leader's word, and takes for the
// instant of that the latest thing it had told the leader itself: so messages that have waited do not seem new.
func (n *Node) Staleness() time.Duration {
	const unknown = -1
	if n.db.Load() == nil || n.failure() != nil {
		return unknown
	}
	at, ok := n.wire.fresh(n.applied.now())
	if n.IsLeader() {
		lead := n.lead.Load()
		if lead == nil {
			return unknown
		}
		_, at = n.wire.confirmed(n.servers(), n.id.server(), lead.term)
		ok = !at.IsZero()
	}
	if !ok {
		return unknown
	}
	return max(0, time.Since(at))
}
