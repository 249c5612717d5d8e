package client

import (
	"context"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// AuditFilter says which records of a server's audit are listed: those that fit all that is said.
type AuditFilter struct {
	From, To time.Time // from From on, before To; zero: no bound
	Caller   string    // the id or the name of a caller
	Call     string    // such as "Profile"
	Key      string    // of a person: who looked at them, and changed them
	Outcome  string    // "asked", "done", "denied", "failed" or "kept"
	After    uint64    // records behind this number
	Limit    uint64    // 0: all
}

// AuditRecord is one call that a server has recorded. It has no values: where they stood are keyed
// hashes.
type AuditRecord struct {
	Number             uint64
	Time               time.Time
	Caller, Name, Role string // the id of a key or the name in a certificate, and what it is called
	Address            string
	Call               string
	Outcome            string // "asked": a change, before it was made
	Code               query.Code
	What               string
	People             []string // hashes of keys
	Count              uint64
	Position           query.Position
}

// AuditHead is the end of a server's audit. Note it elsewhere: kanta audit verify --noted tells
// later whether what was before it has been changed.
type AuditHead struct {
	First, Last uint64 // numbers of the first record that is kept, and the last
	Hash        []byte // of the last
}

// Audit calls f for the records of the audit of the server's node, the oldest first, until it returns an error.
func (c *Client) Audit(ctx context.Context, filter *AuditFilter, f func(AuditRecord) error) error {
	if filter == nil {
		filter = &AuditFilter{}
	}
	req := &pb.AuditRequest{From: message.OfTime(filter.From), To: message.OfTime(filter.To), Caller: filter.Caller, Call: filter.Call,
		Key: filter.Key, Outcome: filter.Outcome, After: filter.After, Limit: filter.Limit}
	return follow(ctx, c, func(ctx context.Context) (receiver[*pb.AuditResponse], error) {
		return c.rpc.Audit(ctx, req)
	}, func(m *pb.AuditResponse, r *message.Reader) error {
		for _, a := range m.GetRecords() {
			out := AuditRecord{Number: a.GetNumber(), Time: r.Time(a.GetTime()), Caller: a.GetCaller(), Name: a.GetCallerName(), Role: a.GetRole(), Address: a.GetAddress(),
				Call: a.GetCall(), Outcome: a.GetOutcome(), Code: query.Code(a.GetCode()), What: a.GetWhat(), People: a.GetPeople(), Count: a.GetCount()}
			if a.GetPosition() != "" {
				out.Position = r.Position(a.GetPosition())
			}
			if r.Err() != nil {
				return r.Err()
			}
			if err := f(out); err != nil {
				return own(err)
			}
		}
		return nil
	})
}

// VerifyAudit has the server read all records of its node's audit and their chain. progress may be nil.
func (c *Client) VerifyAudit(ctx context.Context, progress func(done, total uint64, what string)) (out AuditHead, err error) {
	err = follow(ctx, c, func(ctx context.Context) (receiver[*pb.VerifyAuditResponse], error) {
		return c.rpc.VerifyAudit(ctx, &pb.VerifyAuditRequest{})
	}, func(m *pb.VerifyAuditResponse, _ *message.Reader) error {
		told(progress, m.GetProgress())
		if h := m.GetHead(); h != nil {
			out = AuditHead{First: h.GetFirst(), Last: h.GetLast(), Hash: h.GetHash()}
		}
		return nil
	})
	return out, err
}
