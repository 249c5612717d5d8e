package client

import (
	"context"
	"errors"
	"io"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// receiver is a stream that a server sends.
type receiver[M any] interface {
	Receive() (M, error)
	Close() error
}

// follow reads a stream to its end. What may have begun is not begun again.
func follow[M any, S receiver[M]](ctx context.Context, c *Client, open func(ctx context.Context) (S, error), each func(m M, r *message.Reader) error) error {
	_, err := try(ctx, c, false, func(_ error, undone bool) bool { return undone }, func(ctx context.Context, r *message.Reader) (none struct{}, err error) {
		s, err := open(ctx)
		if err != nil {
			return none, err
		}
		defer s.Close()
		for {
			m, err := s.Receive()
			if errors.Is(err, io.EOF) {
				return none, nil
			}
			if err == nil {
				err = each(m, r)
			}
			if err == nil {
				err = r.Err()
			}
			if err != nil {
				return none, err
			}
		}
	})
	return err
}

// told tells the caller of progress.
func told(progress func(done, total uint64, what string), p *pb.Progress) {
	if p != nil && progress != nil {
		progress(p.GetDone(), p.GetTotal(), p.GetWhat())
	}
}

// Check verifies everything that is stored at the server. progress may be nil.
func (c *Client) Check(ctx context.Context, progress func(done, total uint64, what string)) (out query.CheckReport, err error) {
	err = follow(ctx, c, func(ctx context.Context) (receiver[*pb.CheckResponse], error) {
		return c.rpc.Check(ctx, &pb.CheckRequest{})
	},
		func(m *pb.CheckResponse, _ *message.Reader) error {
			told(progress, m.GetProgress())
			if r := m.GetReport(); r != nil {
				out = query.CheckReport{Values: r.GetValues(), Derived: r.GetDerived(), Problems: r.GetProblems()}
			}
			return nil
		})
	return out, err
}

// Repair makes anew what is derived and damaged at the server. progress may be nil.
func (c *Client) Repair(ctx context.Context, progress func(done, total uint64, what string)) (out query.RepairReport, err error) {
	err = follow(ctx, c, func(ctx context.Context) (receiver[*pb.RepairResponse], error) {
		return c.rpc.Repair(ctx, &pb.RepairRequest{})
	}, func(m *pb.RepairResponse, _ *message.Reader) error {
		told(progress, m.GetProgress())
		if r := m.GetReport(); r != nil {
			out = query.RepairReport{Mended: r.GetMended(), Beyond: r.GetBeyond()}
		}
		return nil
	})
	return out, err
}

// Compact folds everything into the base, at the server.
func (c *Client) Compact(ctx context.Context) error {
	return follow(ctx, c, func(ctx context.Context) (receiver[*pb.CompactResponse], error) {
		return c.rpc.Compact(ctx, &pb.CompactRequest{})
	}, func(*pb.CompactResponse, *message.Reader) error { return nil })
}

// Purge removes from the files of the server what they hold of people who were erased, of a cluster from those of all its
// members: who of them does not answer is in the receipt's Missing.
// progress may be nil; the receipt is nil if there was nothing to purge.
func (c *Client) Purge(ctx context.Context, progress func(what string)) (out *query.Receipt, err error) {
	err = follow(ctx, c, func(ctx context.Context) (receiver[*pb.PurgeResponse], error) {
		return c.rpc.Purge(ctx, &pb.PurgeRequest{})
	},
		func(m *pb.PurgeResponse, r *message.Reader) error {
			if p := m.GetProgress(); p != nil && progress != nil {
				progress(p.GetWhat())
			}
			if m.GetDone() != nil {
				out = r.Receipt(m.GetDone().GetReceipt())
			}
			return nil
		})
	return out, err
}

// Erased calls f for each entry of the ledger of erased people, until it returns an error.
func (c *Client) Erased(ctx context.Context, f func(query.ErasedPerson) error) error {
	return follow(ctx, c, func(ctx context.Context) (receiver[*pb.ErasedResponse], error) {
		return c.rpc.Erased(ctx, &pb.ErasedRequest{Question: c.question(nil, "")})
	}, func(m *pb.ErasedResponse, r *message.Reader) error {
		for _, one := range m.GetPeople() {
			p := r.Erased(one)
			if r.Err() != nil {
				return r.Err()
			}
			if err := f(p); err != nil {
				return own(err)
			}
		}
		return nil
	})
}

// Export writes everything that is held about the person with a key, as one JSON object.
func (c *Client) Export(ctx context.Context, key string, w io.Writer) error {
	return follow(ctx, c, func(ctx context.Context) (receiver[*pb.ExportResponse], error) {
		return c.rpc.Export(ctx, &pb.ExportRequest{Key: key, Question: c.question(nil, "")})
	}, func(m *pb.ExportResponse, _ *message.Reader) error {
		_, err := w.Write(m.GetJson())
		return own(err)
	})
}

// ExportAll writes everything that another store could be made of. create is called for each
// section, and what it returns is closed before the next.
func (c *Client) ExportAll(ctx context.Context, create func(section string) (io.WriteCloser, error), o *query.ExportOptions) (query.Exported, error) {
	if o == nil {
		o = &query.ExportOptions{}
	}
	x := &exportReceiver{create: create, progress: o.Progress}
	err := follow(ctx, c, func(ctx context.Context) (receiver[*pb.ExportAllResponse], error) {
		return c.rpc.ExportAll(ctx, &pb.ExportAllRequest{Quarantine: o.Quarantine, Question: c.question(nil, "")})
	}, x.take)
	if err == nil && x.done == nil {
		err = query.Errorf(query.CodeUnavailable, "the server has ended the export before its end")
	}
	if err != nil {
		if x.section != nil {
			_ = x.section.Close() // the first error tells
		}
		return query.Exported{}, err
	}
	return *x.done, nil
}

// exportReceiver writes the sections that a server sends.
type exportReceiver struct {
	create   func(section string) (io.WriteCloser, error)
	progress func(rows uint64, what string)
	section  io.WriteCloser // open, or nil
	done     *query.Exported
}

func (x *exportReceiver) take(m *pb.ExportAllResponse, r *message.Reader) (err error) {
	switch p := m.GetPart().(type) {
	case *pb.ExportAllResponse_Section:
		x.section, err = x.create(p.Section)
		return own(err)
	case *pb.ExportAllResponse_Data:
		if x.section == nil {
			return query.Errorf(query.CodeInvalid, "the server sends what belongs to no section")
		}
		_, err = x.section.Write(p.Data)
		return own(err)
	case *pb.ExportAllResponse_End:
		if x.section == nil {
			return query.Errorf(query.CodeInvalid, "the server ends a section that has not begun")
		}
		err = x.section.Close()
		x.section = nil
		return own(err)
	case *pb.ExportAllResponse_Progress:
		if x.progress != nil {
			x.progress(p.Progress.GetDone(), p.Progress.GetWhat())
		}
	case *pb.ExportAllResponse_Exported:
		e := p.Exported
		x.done = &query.Exported{Position: r.Position(e.GetPosition()), Content: r.Sum(e.GetContent()), Lines: e.GetLines()}
	}
	return nil
}

// target is a target of backups that the server opens.
type target struct {
	query.BackupTarget // nil: nothing is asked of it here
	name               string
}

// Target names a target of backups for [Client.Backup] and [Client.BackupLedger]. The server
// opens it, if whoever runs it has allowed that; it is nothing else than a name here.
func Target(name string) query.BackupTarget { return &target{name: name} }

func targetName(t query.BackupTarget) (string, error) {
	if named, ok := t.(*target); ok {
		return named.name, nil
	}
	return "", &query.Error{Code: query.CodeInvalid, Message: "a server cannot write to a target that a client has opened", Hint: "name one with client.Target"}
}

// Backup makes a backup at a target of [Target].
func (c *Client) Backup(ctx context.Context, t query.BackupTarget, o *query.BackupOptions) (out query.BackupReport, err error) {
	name, err := targetName(t)
	if err != nil {
		return out, err
	}
	err = follow(ctx, c, func(ctx context.Context) (receiver[*pb.BackupResponse], error) {
		return c.rpc.Backup(ctx, &pb.BackupRequest{Target: name})
	}, func(m *pb.BackupResponse, r *message.Reader) error {
		if p := m.GetProgress(); p != nil && o != nil && o.Progress != nil {
			o.Progress(int64(p.GetDone()), int64(p.GetTotal()), p.GetWhat())
		}
		if m.GetReport() != nil {
			out = r.Backup(m.GetReport())
		}
		return nil
	})
	return out, err
}

// BackupLedger tells the ledger of erased people at a target of [Target].
func (c *Client) BackupLedger(ctx context.Context, t query.BackupTarget) error {
	name, err := targetName(t)
	if err != nil {
		return err
	}
	_, err = read(ctx, c, func(ctx context.Context, _ *message.Reader) (*pb.BackupLedgerResponse, error) {
		return c.rpc.BackupLedger(ctx, &pb.BackupLedgerRequest{Target: name})
	})
	return err
}

// KeepLog turns on or off that the log is kept until it is at a target of backups.
func (c *Client) KeepLog(ctx context.Context, on bool) error {
	_, err := read(ctx, c, func(ctx context.Context, _ *message.Reader) (*pb.KeepLogResponse, error) {
		return c.rpc.KeepLog(ctx, &pb.KeepLogRequest{On: on})
	})
	return err
}

// ShipLog sends what is kept of the log to a target of [Target].
func (c *Client) ShipLog(ctx context.Context, t query.BackupTarget, o *query.ShipOptions) (query.ShipReport, error) {
	name, err := targetName(t)
	if err != nil {
		return query.ShipReport{}, err
	}
	req := &pb.ShipLogRequest{Target: name, Move: o != nil && o.Move}
	return try(ctx, c, false, func(error, bool) bool { return true }, func(ctx context.Context, r *message.Reader) (query.ShipReport, error) {
		m, err := c.rpc.ShipLog(ctx, req)
		return r.Shipped(m), err
	})
}
