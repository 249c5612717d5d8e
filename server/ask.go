package server

import (
	"context"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Count counts the members of an expression.
func (v *service) Count(ctx context.Context, req *pb.CountRequest) (*pb.CountResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.CountResponse, error) {
		c, err := n.Count(ctx, req.GetExpression(), &o)
		return &pb.CountResponse{Count: c.Count, Answer: message.OfAnswer(&c.Answer)}, err
	})
}

// Breakdown counts the members of an expression by the values of an attribute.
func (v *service) Breakdown(ctx context.Context, req *pb.BreakdownRequest) (*pb.BreakdownResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.BreakdownResponse, error) {
		b, err := n.Breakdown(ctx, req.GetExpression(), req.GetAttribute(), &query.BreakdownOptions{Options: o, Top: whole(req.GetTop())})
		return message.OfBreakdown(&b), err
	})
}

// whole makes a number an int; more than that is as much as it holds.
func whole(n uint64) int { return int(min(n, 1<<31-1)) }

// Profile returns all that is known of one customer.
func (v *service) Profile(ctx context.Context, req *pb.ProfileRequest) (*pb.ProfileResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.ProfileResponse, error) {
		options := &query.ProfileOptions{Options: o, Lifetime: req.GetLifetime(), Lent: req.GetLent(), Events: int(req.GetEvents())}
		var p query.Profile
		var err error
		if req.GetAttribute() == "" {
			p, err = n.Profile(ctx, req.GetKey(), options)
		} else {
			p, err = n.ProfileBy(ctx, req.GetAttribute(), req.GetKey(), options)
		}
		return message.OfProfile(&p), err
	})
}

// Timeline lists events of one customer.
func (v *service) Timeline(ctx context.Context, req *pb.TimelineRequest) (*pb.TimelineResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.TimelineResponse, error) {
		var r message.Reader
		options := &query.TimelineOptions{Options: o, From: r.Time(req.GetFrom()), To: r.Time(req.GetTo()), Events: req.GetEvents(),
			Limit: int(req.GetLimit()), After: req.GetAfter()}
		if r.Err() != nil {
			return nil, r.Err()
		}
		t, err := n.Timeline(ctx, req.GetKey(), options)
		return message.OfTimeline(&t), err
	})
}

// Values lists the values of an attribute.
func (v *service) Values(ctx context.Context, req *pb.ValuesRequest) (*pb.ValuesResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, _ query.Options) (*pb.ValuesResponse, error) {
		list, err := n.Values(ctx, req.GetAttribute(), req.GetPrefix(), int(req.GetLimit()))
		return &pb.ValuesResponse{Values: message.OfValues(list), Position: message.OfPosition(n.Position())}, err
	})
}

// Plan counts and tells how.
func (v *service) Plan(ctx context.Context, req *pb.PlanRequest) (*pb.PlanResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.PlanResponse, error) {
		p, err := n.Plan(ctx, req.GetExpression(), &o)
		return message.OfPlan(&p), err
	})
}

// Explain evaluates each part of an expression by itself.
func (v *service) Explain(ctx context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.ExplainResponse, error) {
		e, err := n.Explain(ctx, req.GetExpression(), &o)
		return message.OfExplanation(&e), err
	})
}

// Why tells what an expression is for one customer.
func (v *service) Why(ctx context.Context, req *pb.WhyRequest) (*pb.WhyResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.WhyResponse, error) {
		w, err := n.Why(ctx, req.GetKey(), req.GetExpression(), &query.WhyOptions{Options: o, By: req.GetBy()})
		return message.OfWhy(&w), err
	})
}

// Analyze runs an analysis.
func (v *service) Analyze(ctx context.Context, req *pb.AnalyzeRequest) (*pb.AnalyzeResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (*pb.AnalyzeResponse, error) {
		var r message.Reader
		report, err := n.Analyze(ctx, req.GetAnalysis(), req.GetWho(), r.Arguments(req.GetArguments()), &o)
		return message.OfReport(&report), err
	})
}

// Schema returns the schema.
func (v *service) Schema(ctx context.Context, req *pb.SchemaRequest) (*pb.SchemaResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, _ query.Options) (*pb.SchemaResponse, error) {
		s, err := n.Schema(ctx)
		if err != nil {
			return nil, err
		}
		out := message.OfSchema(s)
		out.Position = message.OfPosition(n.Position())
		return out, nil
	})
}

// Segments lists the saved segments.
func (v *service) Segments(ctx context.Context, req *pb.SegmentsRequest) (*pb.SegmentsResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, _ query.Options) (*pb.SegmentsResponse, error) {
		list, err := n.Segments(ctx)
		return &pb.SegmentsResponse{Segments: message.OfSegments(list)}, err
	})
}

// Lists lists the lists.
func (v *service) Lists(ctx context.Context, req *pb.ListsRequest) (*pb.ListsResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, _ query.Options) (*pb.ListsResponse, error) {
		list, err := n.Lists(ctx)
		return &pb.ListsResponse{Lists: message.OfLists(list)}, err
	})
}

// Definitions lists the saved analyses.
func (v *service) Definitions(ctx context.Context, req *pb.DefinitionsRequest) (*pb.DefinitionsResponse, error) {
	return ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, _ query.Options) (*pb.DefinitionsResponse, error) {
		list, err := n.Definitions(ctx)
		return &pb.DefinitionsResponse{Definitions: message.OfDefinitions(list)}, err
	})
}

// Quarantine lists quarantined rows.
func (v *service) Quarantine(ctx context.Context, req *pb.QuarantineRequest) (*pb.QuarantineResponse, error) {
	return current(ctx, v, req.GetQuestion(), func() (*pb.QuarantineResponse, error) {
		list, err := v.db(ctx).Quarantine(ctx, req.GetAfter(), int(req.GetLimit()))
		return &pb.QuarantineResponse{Rows: message.OfQuarantined(list)}, err
	})
}

// Stats tells an operator of the store.
func (v *service) Stats(ctx context.Context, req *pb.StatsRequest) (*pb.StatsResponse, error) {
	return current(ctx, v, req.GetQuestion(), func() (*pb.StatsResponse, error) {
		s, err := v.db(ctx).Stats(ctx)
		return message.OfStats(&s), err
	})
}

// Digests returns the digests of the state.
func (v *service) Digests(ctx context.Context, req *pb.DigestsRequest) (*pb.DigestsResponse, error) {
	return current(ctx, v, req.GetQuestion(), func() (*pb.DigestsResponse, error) {
		d, err := v.db(ctx).Digests(ctx)
		return &pb.DigestsResponse{Position: message.OfPosition(d.Position), Content: message.OfSum(d.Content), Replica: message.OfSum(d.Replica), Chain: message.OfSum(d.Chain)}, err
	})
}

// Receipts lists what purges have removed.
func (v *service) Receipts(ctx context.Context, req *pb.ReceiptsRequest) (*pb.ReceiptsResponse, error) {
	return current(ctx, v, req.GetQuestion(), func() (*pb.ReceiptsResponse, error) {
		list, err := v.db(ctx).Receipts(ctx)
		out := &pb.ReceiptsResponse{}
		for i := range list {
			out.Receipts = append(out.Receipts, message.OfReceipt(&list[i]))
		}
		return out, err
	})
}
