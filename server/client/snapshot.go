package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// closeTime bounds what closing a snapshot waits for: its lease ends by itself.
const closeTime = 5 * time.Second

// snapshot is a state that the server holds for the client, which renews its lease until it is
// closed. It implements [query.Snapshot].
type snapshot struct {
	asker
	position query.Position
	stop     context.CancelFunc
	renewing sync.WaitGroup
	once     sync.Once
}

var _ query.Snapshot = (*snapshot)(nil)

// Snapshot holds the current state at the server for questions that must agree with each
// other. Close it. The server lets it go when it does not hear of the client for a while, or
// when it is too old: then its methods fail with [query.CodeSnapshotGone].
func (c *Client) Snapshot(ctx context.Context) (query.Snapshot, error) {
	var lasts time.Duration
	n, err := read(ctx, c, func(ctx context.Context, r *message.Reader) (*snapshot, error) {
		req := &pb.OpenSnapshotRequest{AtLeast: message.OfPosition(c.Written())}
		c.opt.recent().AskSnapshot(req)
		m, err := c.rpc.OpenSnapshot(ctx, req)
		if err != nil {
			return nil, err
		}
		lasts = r.Duration(m.GetLease())
		return &snapshot{asker: asker{c, m.GetSnapshot(), attemptOf(ctx).used}, position: r.Position(m.GetPosition())}, nil
	})
	if err != nil {
		return nil, err
	}
	var renew context.Context
	renew, n.stop = context.WithCancel(c.closing)
	n.renewing.Go(func() { n.renew(renew, lasts) })
	return n, nil
}

// renew begins the lease anew until the snapshot is closed or gone.
func (n *snapshot) renew(ctx context.Context, lasts time.Duration) {
	for lasts > 0 {
		t := time.NewTimer(lasts / 3)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		next, err := read(n.on(ctx), n.c, func(ctx context.Context, r *message.Reader) (time.Duration, error) {
			m, err := n.c.rpc.RenewSnapshot(ctx, &pb.RenewSnapshotRequest{Snapshot: n.asker.snapshot})
			return r.Duration(m.GetLease()), err
		})
		if err == nil {
			lasts = next
		} else if errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) {
			return
		}
	}
}

// Close lets the state go.
func (n *snapshot) Close() error {
	n.once.Do(func() {
		n.stop()
		n.renewing.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_, _ = n.c.rpc.CloseSnapshot(n.on(ctx), &pb.CloseSnapshotRequest{Snapshot: n.asker.snapshot}) // without it the lease ends
	})
	return nil
}

// Position returns the position of the state.
func (n *snapshot) Position() query.Position { return n.position }

// Schema returns the schema of the state.
func (n *snapshot) Schema(ctx context.Context) (*schema.Schema, error) { return n.schema(ctx) }

// Count counts the members of an expression.
func (n *snapshot) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	return n.count(ctx, expr, o)
}

// Bitmap returns the members as ordinals.
func (n *snapshot) Bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error) {
	return n.bitmap(ctx, expr, o)
}

// Members lists the members of an expression.
func (n *snapshot) Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	return n.members(ctx, expr, o)
}

// Breakdown counts the members of an expression by the values of an attribute.
func (n *snapshot) Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error) {
	return n.breakdown(ctx, expr, attribute, o)
}

// Profile returns all that is known of the profile with a key.
func (n *snapshot) Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error) {
	return n.profile(ctx, "", key, o)
}

// ProfileBy returns the profile that has a value of a unique attribute.
func (n *snapshot) ProfileBy(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error) {
	return n.profile(ctx, attribute, value, o)
}

// Timeline lists the events of a profile.
func (n *snapshot) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	return n.timeline(ctx, key, o)
}

// Values lists the values of an attribute.
func (n *snapshot) Values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error) {
	return n.values(ctx, attribute, prefix, limit)
}

// Plan counts and tells how.
func (n *snapshot) Plan(ctx context.Context, expr string, o *query.Options) (query.Plan, error) {
	return n.plan(ctx, expr, o)
}

// Explain evaluates each part of an expression by itself.
func (n *snapshot) Explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error) {
	return n.explain(ctx, expr, o)
}

// Why tells what an expression is for one profile.
func (n *snapshot) Why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error) {
	return n.why(ctx, key, expr, o)
}

// Analyze runs an analysis.
func (n *snapshot) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	return n.analyze(ctx, name, who, args, o)
}

// AnalysisMembers lists the people of a cell.
func (n *snapshot) AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	return n.analysisMembers(ctx, name, who, args, cell, o)
}

// Segments lists the saved segments by name.
func (n *snapshot) Segments(ctx context.Context) ([]query.SavedSegment, error) {
	return n.segments(ctx)
}

// Lists lists the lists by name.
func (n *snapshot) Lists(ctx context.Context) ([]query.SavedList, error) { return n.lists(ctx) }

// Definitions lists the saved analyses, by analysis and name.
func (n *snapshot) Definitions(ctx context.Context) ([]query.SavedDefinition, error) {
	return n.definitions(ctx)
}
