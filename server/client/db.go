package client

import (
	"context"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

func (c *Client) now() asker { return asker{c: c} }

// Schema returns the current schema.
func (c *Client) Schema(ctx context.Context) (*schema.Schema, error) { return c.now().schema(ctx) }

// Count counts the members of an expression.
func (c *Client) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	return c.now().count(ctx, expr, o)
}

// Bitmap returns the members as ordinals, bound to the store and its epoch.
func (c *Client) Bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error) {
	return c.now().bitmap(ctx, expr, o)
}

// Members lists the members of an expression. Rows come as they are read: read them to the end,
// break out of them or let ctx end, for the server holds the state until then.
func (c *Client) Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	return c.now().members(ctx, expr, o)
}

// Breakdown counts the members of an expression by the values of an attribute.
func (c *Client) Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error) {
	return c.now().breakdown(ctx, expr, attribute, o)
}

// Profile returns all that is known of the profile with a key.
func (c *Client) Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error) {
	return c.now().profile(ctx, "", key, o)
}

// ProfileBy returns the profile that has a value of a unique attribute.
func (c *Client) ProfileBy(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error) {
	return c.now().profile(ctx, attribute, value, o)
}

// Timeline lists the events of a profile and the changes of its attributes with history.
func (c *Client) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	return c.now().timeline(ctx, key, o)
}

// Values lists the values of an attribute that begin with a prefix, with how many living
// profiles have each. limit 0 is 1,000.
func (c *Client) Values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error) {
	return c.now().values(ctx, attribute, prefix, limit)
}

// Plan counts and tells how.
func (c *Client) Plan(ctx context.Context, expr string, o *query.Options) (query.Plan, error) {
	return c.now().plan(ctx, expr, o)
}

// Explain evaluates each part of an expression by itself over everybody.
func (c *Client) Explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error) {
	return c.now().explain(ctx, expr, o)
}

// Why tells what an expression is for one profile, part by part.
func (c *Client) Why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error) {
	return c.now().why(ctx, key, expr, o)
}

// Analyze runs an analysis over the people of an expression; "" is everybody.
func (c *Client) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	return c.now().analyze(ctx, name, who, args, o)
}

// AnalysisMembers lists the people of a cell of a report, as [Client.Members] does.
func (c *Client) AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	return c.now().analysisMembers(ctx, name, who, args, cell, o)
}

// Segments lists the saved segments by name.
func (c *Client) Segments(ctx context.Context) ([]query.SavedSegment, error) {
	return c.now().segments(ctx)
}

// Lists lists the lists by name.
func (c *Client) Lists(ctx context.Context) ([]query.SavedList, error) { return c.now().lists(ctx) }

// Definitions lists the saved analyses, by analysis and name.
func (c *Client) Definitions(ctx context.Context) ([]query.SavedDefinition, error) {
	return c.now().definitions(ctx)
}

// Quarantine lists quarantined rows with a number above after, oldest first; limit 0 is 1,000.
func (c *Client) Quarantine(ctx context.Context, after uint64, limit int) ([]query.QuarantinedRow, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) ([]query.QuarantinedRow, error) {
		m, err := c.rpc.Quarantine(ctx, &pb.QuarantineRequest{After: after, Limit: int64(limit), Question: c.question(nil, "")})
		return r.Quarantined(m.GetRows()), err
	})
}

// Stats tells an operator of the store.
func (c *Client) Stats(ctx context.Context) (query.Stats, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (query.Stats, error) {
		m, err := c.rpc.Stats(ctx, &pb.StatsRequest{Question: c.question(nil, "")})
		return r.Stats(m), err
	})
}

// Digests returns the digests of the state.
func (c *Client) Digests(ctx context.Context) (query.Digests, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (query.Digests, error) {
		m, err := c.rpc.Digests(ctx, &pb.DigestsRequest{Question: c.question(nil, "")})
		if err != nil {
			return query.Digests{}, err
		}
		return query.Digests{Position: r.Position(m.GetPosition()), Content: r.Sum(m.GetContent()), Replica: r.Sum(m.GetReplica()), Chain: r.Sum(m.GetChain())}, nil
	})
}

// Receipts lists what purges have removed, oldest first.
func (c *Client) Receipts(ctx context.Context) ([]query.Receipt, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (out []query.Receipt, err error) {
		m, err := c.rpc.Receipts(ctx, &pb.ReceiptsRequest{Question: c.question(nil, "")})
		for _, one := range m.GetReceipts() {
			out = append(out, *r.Receipt(one))
		}
		return out, err
	})
}
