package server

import (
	"cmp"
	"context"
	"encoding/hex"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// auditStore returns the audit of this node.
func (v *service) auditStore() (*audit.Store, error) {
	if v.s.opt.Audit == nil {
		return nil, &query.Error{Code: query.CodeInvalid, Message: "this server keeps no audit", Hint: "kanta serve --audit DIR does"}
	}
	return v.s.opt.Audit, nil
}

// auditPage is how many records are in one message: some 256 KiB at worst.
const auditPage = 64

// Audit lists the audit of this node.
func (v *service) Audit(ctx context.Context, req *pb.AuditRequest, stream kantav1connect.KantaServiceAuditServerStream) error {
	store, err := v.auditStore()
	if err != nil {
		return err
	}
	var r message.Reader
	f := &audit.Filter{From: r.Time(req.GetFrom()), To: r.Time(req.GetTo()), Caller: req.GetCaller(), Call: req.GetCall(), Key: req.GetKey()}
	if r.Err() != nil {
		return r.Err()
	}
	if word := req.GetOutcome(); word != "" {
		var ok bool
		if f.Outcome, ok = audit.ParseOutcome(word); !ok {
			return query.Errorf(query.CodeInvalid, "%q is no outcome: asked, done, denied, failed, kept", word)
		}
	}
	end := store.Head().Number // the record of this call is behind it
	after, left := req.GetAfter(), cmp.Or(req.GetLimit(), end)
	for left > 0 {
		most := int(min(left, auditPage))
		list, err := store.List(ctx, f, after, most)
		if err != nil {
			return err
		}
		page := &pb.AuditResponse{}
		for i := range list {
			if after = list[i].Number; after > end {
				left = 0
				break
			}
			left--
			page.Records = append(page.Records, ofAudit(&list[i]))
		}
		if len(page.Records) > 0 {
			if err := stream.Send(page); err != nil {
				return err
			}
		}
		if len(list) < most {
			return nil
		}
	}
	return nil
}

// ofAudit writes a record.
func ofAudit(r *audit.Record) *pb.AuditRecord {
	out := &pb.AuditRecord{Number: r.Number, Time: timestamppb.New(r.Time), Caller: r.Who.ID, CallerName: r.Who.Name, Role: r.Who.Role, Address: r.Who.Address,
		Call: r.Call, Outcome: r.Outcome.String(), Code: uint32(r.Code), What: r.Told(), Count: r.Count}
	for _, k := range r.Keys {
		out.People = append(out.People, hex.EncodeToString(k[:]))
	}
	if r.Position != (query.Position{}) {
		out.Position = message.OfPosition(r.Position)
	}
	return out
}

// VerifyAudit reads the audit of this node and its chain.
func (v *service) VerifyAudit(ctx context.Context, _ *pb.VerifyAuditRequest, stream kantav1connect.KantaServiceVerifyAuditServerStream) error {
	store, err := v.auditStore()
	if err != nil {
		return err
	}
	head, err := reported(ctx, v, func(p *pb.Progress) error {
		return stream.Send(&pb.VerifyAuditResponse{Part: &pb.VerifyAuditResponse_Progress{Progress: p}})
	}, func(ctx context.Context, p *reporter) (audit.Head, error) {
		return store.Verify(ctx, &audit.VerifyOptions{Progress: func(at audit.Progress) {
			p.tell(uint64(at.Segments), uint64(at.Of), "segments")
		}})
	})
	if err != nil {
		return err
	}
	return stream.Send(&pb.VerifyAuditResponse{Part: &pb.VerifyAuditResponse_Head{Head: &pb.AuditHead{First: head.First, Last: head.Number, Hash: head.Hash[:]}}})
}
