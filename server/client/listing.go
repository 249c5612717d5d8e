package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// maxBitmap bounds a bitmap: every ordinal there can be, and the headers of its containers.
const maxBitmap = 1<<29 + 1<<20

// listingAge is how long a listing that nobody reads is kept open.
const listingAge = time.Hour

func (a asker) bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error) {
	return read(a.on(ctx), a.c, func(ctx context.Context, r *message.Reader) (out query.Bitmap, err error) {
		stream, err := a.c.rpc.Bitmap(ctx, &pb.BitmapRequest{Expression: expr, Question: a.question(o)})
		if err != nil {
			return out, err
		}
		defer stream.Close()
		var raw bytes.Buffer
		for first := true; ; first = false {
			m, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return out, err
			}
			if first {
				out.Store, out.Position = m.GetMembers().GetStore(), r.Position(m.GetMembers().GetPosition())
			}
			raw.Write(m.GetMembers().GetRoaring())
			if raw.Len() > maxBitmap {
				return out, query.Errorf(query.CodeInvalid, "the server sends a bitmap of more than %d bytes", maxBitmap)
			}
		}
		out.Ordinals = roaring.New()
		if n, err := out.Ordinals.ReadFrom(&raw); err != nil || raw.Len() > 0 {
			return out, query.Errorf(query.CodeCorrupt, "the server sends what is no bitmap, after %d bytes: %w", n, err)
		}
		if err := out.Ordinals.Validate(); err != nil {
			return out, query.Errorf(query.CodeCorrupt, "the server sends what is no bitmap: %w", err)
		}
		return out, nil
	})
}

// checkRows is how many rows are yielded between two looks at the context.
const checkRows = 256

// part is a message of a listing.
type part interface {
	GetHead() *pb.MemberHead
	GetBlock() *pb.MemberBlock
}

// parts is the stream of a listing.
type parts struct {
	receive func() (part, error)
	close   func() error
}

func (a asker) members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	return a.listing(ctx, o, func(ctx context.Context, q *pb.Question, l *pb.ListingOptions) (parts, error) {
		s, err := a.c.rpc.Members(ctx, &pb.MembersRequest{Expression: expr, Question: q, Listing: l})
		return parts{func() (part, error) { return s.Receive() }, s.Close}, err
	})
}

func (a asker) analysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	return a.listing(ctx, o, func(ctx context.Context, q *pb.Question, l *pb.ListingOptions) (parts, error) {
		s, err := a.c.rpc.AnalysisMembers(ctx, &pb.AnalysisMembersRequest{Analysis: name, Who: who, Arguments: message.OfArguments(args), Cell: cell, Question: q, Listing: l})
		return parts{func() (part, error) { return s.Receive() }, s.Close}, err
	})
}

// listing begins a listing, tried again until its head has come, and reads the rest as the
// caller does.
func (a asker) listing(ctx context.Context, o *query.MembersOptions, open func(context.Context, *pb.Question, *pb.ListingOptions) (parts, error)) (query.Members, error) {
	if o == nil {
		o = &query.MembersOptions{}
	}
	if o.Limit < 0 {
		return query.Members{}, query.Errorf(query.CodeInvalid, "a limit of %d", o.Limit)
	}
	q := a.question(&o.Options)
	wanted := &pb.ListingOptions{Attributes: o.Attributes, OrderBy: o.OrderBy, Desc: o.Desc, Limit: uint64(o.Limit), After: o.After, AfterKey: o.AfterKey}
	return try(a.on(ctx), a.c, false, func(error, bool) bool { return true }, func(once context.Context, r *message.Reader) (query.Members, error) {
		ctx, end := a.c.begin(within(ctx, once), false) // it goes on after this call
		l := &listing{desc: o.Desc, after: o.After, gone: ctx.Err, told: func(err error) error {
			err, _ = a.c.told(ctx, err)
			return err
		}}
		var ended sync.Once
		s, err := open(ctx, q, wanted)
		if err != nil {
			end()
			return query.Members{}, err
		}
		l.parts = s
		timer := time.AfterFunc(listingAge, end)
		l.end = func() {
			ended.Do(func() {
				timer.Stop()
				_ = s.close() // whatever it says, it is over
				end()
			})
		}
		first, err := s.receive()
		if err != nil {
			l.end()
			return query.Members{}, err
		}
		return l.begin(first.GetHead(), r)
	})
}

// listing is the state of a Members.
type listing struct {
	told       func(err error) error // what the engine says in place of an error of the stream
	gone       func() error          // whether the stream's context has ended: much of what comes is here already
	parts      parts
	end        func()
	attributes []schema.Attribute
	order      *schema.Attribute
	desc       bool
	after      string // the cursor behind what was yielded of the blocks before

	block  *pb.MemberBlock
	values []schema.Value // of the block, for each row those of the attributes
	ranks  []schema.Value // of the block, what the rows are ordered by
	at     int            // rows of the block that were yielded
	ended  bool
}

func (l *listing) begin(head *pb.MemberHead, r *message.Reader) (query.Members, error) {
	if head == nil {
		l.end()
		return query.Members{}, query.Errorf(query.CodeInvalid, "the server sends a listing without a head")
	}
	m := query.Members{Total: head.GetTotal(), Answer: r.Answer(head.GetAnswer()), Rows: l.rows, Next: l.next, Attributes: []schema.Attribute{}}
	for _, a := range head.GetAttributes() {
		m.Attributes = append(m.Attributes, r.Attribute(a))
	}
	if head.GetOrder() != nil {
		order := r.Attribute(head.GetOrder())
		l.order = &order
	}
	if l.attributes = m.Attributes; r.Err() != nil {
		l.end()
	}
	return m, nil
}

// rows yields what comes.
func (l *listing) rows(yield func(query.Member, error) bool) {
	defer l.end()
	for {
		var p part
		err := l.gone()
		if err == nil {
			p, err = l.parts.receive()
		}
		if errors.Is(err, io.EOF) {
			l.ended = true
			return
		}
		if err == nil {
			err = l.open(p.GetBlock())
		} else {
			err = l.told(err)
		}
		if err != nil {
			yield(query.Member{}, err)
			return
		}
		n := len(l.attributes)
		for l.at < len(l.block.Keys) {
			i := l.at
			if i%checkRows == 0 && l.gone() != nil {
				yield(query.Member{}, l.told(l.gone()))
				return
			}
			l.at++
			if !yield(query.Member{Ordinal: l.block.Ordinals[i], Key: l.block.Keys[i], Values: l.values[i*n : (i+1)*n : (i+1)*n]}, nil) {
				return
			}
		}
	}
}

// open reads a block. Values stay valid: they are the members' own.
func (l *listing) open(b *pb.MemberBlock) error {
	n, rows := len(l.attributes), len(b.GetKeys())
	if rows == 0 || len(b.GetOrdinals()) != rows || len(b.GetColumns()) != n {
		return query.Errorf(query.CodeInvalid, "the server sends a block of %d rows, %d ordinals and %d columns for %d attributes", rows, len(b.GetOrdinals()), len(b.GetColumns()), n)
	}
	var r message.Reader
	if l.block != nil {
		l.after = l.block.GetNext()
	}
	l.block, l.at, l.values = b, 0, make([]schema.Value, n*rows)
	for i := range l.attributes {
		r.Column(b.Columns[i], &l.attributes[i], rows, l.values[i:], n)
	}
	if l.order != nil {
		l.ranks = make([]schema.Value, rows)
		r.Column(b.GetOrder(), l.order, rows, l.ranks, 1)
	}
	return r.Err()
}

// next returns the cursor behind the last member yielded.
func (l *listing) next() string {
	switch {
	case l.block == nil && l.ended:
		return ""
	case l.block == nil, l.at == 0:
		return l.after
	case l.at == len(l.block.Keys):
		return l.block.GetNext()
	case l.order == nil:
		return query.CursorBehind(l.block.Ordinals[l.at-1], nil, schema.Value{}, false)
	}
	return query.CursorBehind(l.block.Ordinals[l.at-1], l.order, l.ranks[l.at-1], l.desc)
}
