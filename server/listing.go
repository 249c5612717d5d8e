package server

import (
	"context"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// Bitmap returns the members of an expression as ordinals.
func (v *service) Bitmap(ctx context.Context, req *pb.BitmapRequest, stream kantav1connect.KantaServiceBitmapServerStream) error {
	b, err := ask(ctx, v, req.GetQuestion(), func(n query.Snapshot, o query.Options) (query.Bitmap, error) {
		return n.Bitmap(ctx, req.GetExpression(), &o)
	})
	if err != nil {
		return err
	}
	callOf(ctx).counted(b.Ordinals.GetCardinality())
	head := &pb.MemberSet{Store: b.Store, Position: message.OfPosition(b.Position)}
	w := &pieces{size: v.s.limits.pieceBytes, send: func(p []byte) error {
		head.Roaring = p
		err := stream.Send(&pb.BitmapResponse{Members: head})
		head = &pb.MemberSet{}
		return err
	}}
	if _, err := b.Ordinals.WriteTo(w); err != nil {
		return err
	}
	return w.flush()
}

// pieces cuts what is written into pieces of a size and sends them.
type pieces struct {
	size int
	buf  []byte
	sent bool
	send func(piece []byte) error
}

// Write implements [io.Writer].
func (w *pieces) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		take := min(len(b), w.size-len(w.buf))
		w.buf = append(w.buf, b[:take]...)
		if b = b[take:]; len(w.buf) == w.size {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush sends what is left. Nothing at all is one empty piece.
func (w *pieces) flush() error {
	if len(w.buf) == 0 && w.sent {
		return nil
	}
	err := w.send(w.buf)
	w.buf, w.sent = nil, true // a transport may keep what it was given
	return err
}

// Members lists the members of an expression.
func (v *service) Members(ctx context.Context, req *pb.MembersRequest, stream kantav1connect.KantaServiceMembersServerStream) error {
	return v.list(ctx, req.GetQuestion(), req.GetListing(),
		func(n query.Snapshot, o *query.MembersOptions) (query.Members, error) {
			return n.Members(ctx, req.GetExpression(), o)
		},
		func(head *pb.MemberHead) error {
			return stream.Send(&pb.MembersResponse{Part: &pb.MembersResponse_Head{Head: head}})
		},
		func(block *pb.MemberBlock) error {
			return stream.Send(&pb.MembersResponse{Part: &pb.MembersResponse_Block{Block: block}})
		})
}

// AnalysisMembers lists the people of a cell of an analysis.
func (v *service) AnalysisMembers(ctx context.Context, req *pb.AnalysisMembersRequest, stream kantav1connect.KantaServiceAnalysisMembersServerStream) error {
	return v.list(ctx, req.GetQuestion(), req.GetListing(),
		func(n query.Snapshot, o *query.MembersOptions) (query.Members, error) {
			var r message.Reader
			return n.AnalysisMembers(ctx, req.GetAnalysis(), req.GetWho(), r.Arguments(req.GetArguments()), req.GetCell(), o)
		},
		func(head *pb.MemberHead) error {
			return stream.Send(&pb.AnalysisMembersResponse{Part: &pb.AnalysisMembersResponse_Head{Head: head}})
		},
		func(block *pb.MemberBlock) error {
			return stream.Send(&pb.AnalysisMembersResponse{Part: &pb.AnalysisMembersResponse_Block{Block: block}})
		})
}

// list sends a listing. What it is ordered by is listed as well, behind what was asked for: the
// client makes cursors of it.
func (v *service) list(ctx context.Context, q *pb.Question, l *pb.ListingOptions, find func(query.Snapshot, *query.MembersOptions) (query.Members, error),
	sendHead func(*pb.MemberHead) error, sendBlock func(*pb.MemberBlock) error) error {
	_, err := ask(ctx, v, q, func(n query.Snapshot, o query.Options) (struct{}, error) {
		options := &query.MembersOptions{Options: o, OrderBy: l.GetOrderBy(), Desc: l.GetDesc(), Limit: whole(l.GetLimit()), After: l.GetAfter(), AfterKey: l.GetAfterKey()}
		options.Attributes = append(options.Attributes, l.GetAttributes()...)
		if l.GetOrderBy() != "" {
			options.Attributes = append(options.Attributes, l.GetOrderBy())
		}
		m, err := find(n, options)
		if err != nil {
			return struct{}{}, err
		}
		shown := len(l.GetAttributes())
		head := &pb.MemberHead{Total: m.Total, Answer: message.OfAnswer(&m.Answer)}
		for i := range m.Attributes[:shown] {
			head.Attributes = append(head.Attributes, message.OfAttribute(&m.Attributes[i]))
		}
		if l.GetOrderBy() != "" {
			head.Order = message.OfAttribute(&m.Attributes[shown])
		}
		if err := sendHead(head); err != nil {
			return struct{}{}, err
		}
		w := &blockWriter{attributes: m.Attributes, shown: shown, size: v.s.limits.blockBytes, next: m.Next, send: sendBlock}
		for row, err := range m.Rows {
			if err == nil {
				err = w.add(&row)
			}
			if err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, w.flush()
	})
	return err
}

// blockWriter collects rows of a listing in blocks.
type blockWriter struct {
	attributes []schema.Attribute
	shown      int
	size       int
	next       func() string
	send       func(*pb.MemberBlock) error

	block *pb.MemberBlock
	bytes int
}

func (w *blockWriter) add(m *query.Member) error {
	if w.block == nil {
		w.block = &pb.MemberBlock{}
		for range w.shown {
			w.block.Columns = append(w.block.Columns, &pb.Column{})
		}
		if len(w.attributes) > w.shown {
			w.block.Order = &pb.Column{}
		}
	}
	b := w.block
	row := len(b.Keys)
	b.Ordinals, b.Keys = append(b.Ordinals, m.Ordinal), append(b.Keys, m.Key)
	w.bytes += 6 + len(m.Key)
	for i, v := range m.Values {
		to := b.Order
		if i < w.shown {
			to = b.Columns[i]
		}
		w.bytes += message.AppendColumn(to, w.attributes[i].Kind, row, v)
	}
	if w.bytes < w.size {
		return nil
	}
	return w.flush()
}

// flush sends what has been collected, with the cursor behind it.
func (w *blockWriter) flush() error {
	if w.block == nil {
		return nil
	}
	b := w.block
	w.block, w.bytes = nil, 0
	b.Next = w.next()
	return w.send(b)
}
