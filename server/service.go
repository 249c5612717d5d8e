package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// service answers the calls of a server.
type service struct{ s *Server }

var _ kantav1connect.KantaServiceHandler = (*service)(nil)

// reached returns a snapshot that has seen what is wanted, and waits for a position a little: a
// client asks for what it has written.
func (v *service) reached(ctx context.Context, w wanted) (query.Snapshot, error) {
	if err := v.s.recent(ctx, w); err != nil {
		return nil, err
	}
	var r message.Reader
	atLeast := w.GetAtLeast()
	want := r.Position(atLeast)
	if r.Err() != nil {
		return nil, r.Err()
	}
	var deadline time.Time
	for {
		n, err := v.db(ctx).Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		have := n.Position()
		if have.Epoch == want.Epoch && have.Applied >= want.Applied || want == (query.Position{}) {
			return v.under(ctx, n)
		}
		_ = n.Close() // it holds nothing but memory
		if deadline.IsZero() {
			deadline = time.Now().Add(v.s.limits.behind)
		}
		switch {
		case have.Epoch != want.Epoch:
			return nil, &query.Error{Code: query.CodeWrongEpoch, Message: "the position " + atLeast + " is of another epoch: the store is at " + have.String(),
				Hint: "it was restored, or is another store: open the client anew"}
		case time.Now().After(deadline):
			return nil, &query.Error{Code: query.CodeUnavailable, Message: "the store is at " + have.String() + " and has not reached " + atLeast,
				Hint: "try again", RetryAfter: v.s.limits.behind}
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

// under returns what the caller may see, no older than a snapshot of all, which it takes.
func (v *service) under(ctx context.Context, all query.Snapshot) (query.Snapshot, error) {
	c := callOf(ctx)
	p := c.policy()
	if p == nil {
		return all, nil
	}
	_ = all.Close() // it holds nothing but memory
	n, err := v.db(ctx).SnapshotWith(ctx, &query.SnapshotOptions{Policy: p})
	if err != nil {
		return nil, v.s.unfit(c, err)
	}
	return n, nil
}

// lookAgain is how long a question that is ahead of the store waits between two looks.
const lookAgain = 5 * time.Millisecond

// state returns the snapshot that a question is about, and its end.
func (v *service) state(ctx context.Context, q *pb.Question) (n query.Snapshot, end func(), err error) {
	if q.GetSnapshot() != "" {
		n, err = v.s.leases.get(q.GetSnapshot(), callOf(ctx).caller)
		if err == nil && mindful(q) {
			err = query.Errorf(query.CodeInvalid, "a question of a snapshot asks for no position and no consistency: the snapshot has both")
		}
		return n, func() {}, err
	}
	n, err = v.reached(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return n, func() { _ = n.Close() }, nil // it holds nothing but memory
}

// ask answers a question about one state.
func ask[T any](ctx context.Context, v *service, q *pb.Question, do func(n query.Snapshot, o query.Options) (T, error)) (out T, err error) {
	var r message.Reader
	o := r.Options(q)
	if r.Err() != nil {
		return out, r.Err()
	}
	n, end, err := v.state(ctx, q)
	if err != nil {
		return out, err
	}
	defer end()
	return do(n, o)
}

// current answers what is asked of the store, not of a snapshot.
func current[T any](ctx context.Context, v *service, q *pb.Question, do func() (T, error)) (out T, err error) {
	if q.GetSnapshot() != "" {
		return out, query.Errorf(query.CodeInvalid, "this is not asked of a snapshot: leave it out")
	}
	if mindful(q) {
		n, err := v.reached(ctx, q)
		if err != nil {
			return out, err
		}
		_ = n.Close() // it holds nothing but memory
	}
	return do()
}

// Ping does nothing.
func (v *service) Ping(ctx context.Context, _ *pb.PingRequest) (*pb.PingResponse, error) {
	n, err := v.db(ctx).Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer n.Close() // it holds nothing but memory
	return &pb.PingResponse{Store: v.db(ctx).ID(), Position: message.OfPosition(n.Position()), Version: v.s.opt.Version}, nil
}

// OpenSnapshot holds the current state for a client.
func (v *service) OpenSnapshot(ctx context.Context, req *pb.OpenSnapshotRequest) (*pb.OpenSnapshotResponse, error) {
	var r message.Reader
	wanted := r.Duration(req.GetLease())
	if r.Err() != nil {
		return nil, r.Err()
	}
	n, err := v.reached(ctx, req)
	if err != nil {
		return nil, err
	}
	name, lasts, err := v.s.leases.add(n, wanted, callOf(ctx).caller)
	if err != nil {
		_ = n.Close() // it holds nothing but memory
		return nil, err
	}
	return &pb.OpenSnapshotResponse{Snapshot: name, Position: message.OfPosition(n.Position()), Lease: durationpb.New(lasts)}, nil
}

// RenewSnapshot begins a lease anew.
func (v *service) RenewSnapshot(ctx context.Context, req *pb.RenewSnapshotRequest) (*pb.RenewSnapshotResponse, error) {
	lasts, err := v.s.leases.renew(req.GetSnapshot(), callOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return &pb.RenewSnapshotResponse{Lease: durationpb.New(lasts)}, nil
}

// CloseSnapshot lets a state go.
func (v *service) CloseSnapshot(ctx context.Context, req *pb.CloseSnapshotRequest) (*pb.CloseSnapshotResponse, error) {
	v.s.leases.closeOf(req.GetSnapshot(), callOf(ctx).caller)
	return &pb.CloseSnapshotResponse{}, nil
}
