package client

import (
	"context"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// asker asks questions: of a state that is held, or of the current one.
type asker struct {
	c        *Client
	snapshot string // a lease; "": the current state
	at       *node  // who has it; nil: whoever is asked
}

// on returns the context for calls to who has the state.
func (a asker) on(ctx context.Context) context.Context { return pinned(ctx, a.at) }

func (a asker) question(o *query.Options) *pb.Question { return a.c.question(o, a.snapshot) }

// options returns what all options begin with, nil for none.
func options[T any](o *T, of func(*T) *query.Options) *query.Options {
	if o == nil {
		return nil
	}
	return of(o)
}

func (a asker) schema(ctx context.Context) (*schema.Schema, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (*schema.Schema, error) {
		m, err := a.c.rpc.Schema(ctx, &pb.SchemaRequest{Question: a.question(nil)})
		if err != nil {
			return nil, err
		}
		return r.Schema(m), nil
	})
}

func (a asker) segments(ctx context.Context) ([]query.SavedSegment, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) ([]query.SavedSegment, error) {
		m, err := a.c.rpc.Segments(ctx, &pb.SegmentsRequest{Question: a.question(nil)})
		return r.Segments(m.GetSegments()), err
	})
}

func (a asker) lists(ctx context.Context) ([]query.SavedList, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) ([]query.SavedList, error) {
		m, err := a.c.rpc.Lists(ctx, &pb.ListsRequest{Question: a.question(nil)})
		return r.Lists(m.GetLists()), err
	})
}

func (a asker) definitions(ctx context.Context) ([]query.SavedDefinition, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) ([]query.SavedDefinition, error) {
		m, err := a.c.rpc.Definitions(ctx, &pb.DefinitionsRequest{Question: a.question(nil)})
		return r.Definitions(m.GetDefinitions()), err
	})
}

func (a asker) count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Count, error) {
		m, err := a.c.rpc.Count(ctx, &pb.CountRequest{Expression: expr, Question: a.question(o)})
		if err != nil {
			return query.Count{}, err
		}
		return query.Count{Count: m.GetCount(), Answer: r.Answer(m.GetAnswer())}, nil
	})
}

func (a asker) breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Breakdown, error) {
		req := &pb.BreakdownRequest{Expression: expr, Attribute: attribute, Question: a.question(options(o, func(o *query.BreakdownOptions) *query.Options { return &o.Options }))}
		if o != nil {
			req.Top = uint64(max(o.Top, 0))
		}
		m, err := a.c.rpc.Breakdown(ctx, req)
		if err != nil {
			return query.Breakdown{}, err
		}
		return r.Breakdown(m), nil
	})
}

func (a asker) profile(ctx context.Context, attribute, key string, o *query.ProfileOptions) (query.Profile, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Profile, error) {
		req := &pb.ProfileRequest{Key: key, Attribute: attribute, Question: a.question(options(o, func(o *query.ProfileOptions) *query.Options { return &o.Options }))}
		if o != nil {
			req.Lifetime, req.Lent, req.Events = o.Lifetime, o.Lent, int64(o.Events)
		}
		m, err := a.c.rpc.Profile(ctx, req)
		if err != nil {
			return query.Profile{}, err
		}
		return r.Profile(m), nil
	})
}

func (a asker) timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Timeline, error) {
		req := &pb.TimelineRequest{Key: key, Question: a.question(options(o, func(o *query.TimelineOptions) *query.Options { return &o.Options }))}
		if o != nil {
			req.From, req.To, req.Events, req.Limit, req.After = message.OfTime(o.From), message.OfTime(o.To), o.Events, int64(o.Limit), o.After
		}
		m, err := a.c.rpc.Timeline(ctx, req)
		if err != nil {
			return query.Timeline{}, err
		}
		return r.Timeline(m), nil
	})
}

func (a asker) values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) ([]query.ValueCount, error) {
		m, err := a.c.rpc.Values(ctx, &pb.ValuesRequest{Attribute: attribute, Prefix: prefix, Limit: int64(limit), Question: a.question(nil)})
		if err != nil {
			return nil, err
		}
		return r.Values(m.GetValues()), nil
	})
}

func (a asker) plan(ctx context.Context, expr string, o *query.Options) (query.Plan, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Plan, error) {
		m, err := a.c.rpc.Plan(ctx, &pb.PlanRequest{Expression: expr, Question: a.question(o)})
		if err != nil {
			return query.Plan{}, err
		}
		return r.Plan(m), nil
	})
}

func (a asker) explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Explanation, error) {
		m, err := a.c.rpc.Explain(ctx, &pb.ExplainRequest{Expression: expr, Question: a.question(o)})
		if err != nil {
			return query.Explanation{}, err
		}
		return r.Explanation(m), nil
	})
}

func (a asker) why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Why, error) {
		req := &pb.WhyRequest{Key: key, Expression: expr, Question: a.question(options(o, func(o *query.WhyOptions) *query.Options { return &o.Options }))}
		if o != nil {
			req.By = o.By
		}
		m, err := a.c.rpc.Why(ctx, req)
		if err != nil {
			return query.Why{}, err
		}
		return r.Why(m), nil
	})
}

func (a asker) analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (query.Report, error) {
		m, err := a.c.rpc.Analyze(ctx, &pb.AnalyzeRequest{Analysis: name, Who: who, Arguments: message.OfArguments(args), Question: a.question(o)})
		if err != nil {
			return query.Report{}, err
		}
		return r.Report(m), nil
	})
}
