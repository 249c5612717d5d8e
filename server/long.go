package server

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// reporter tells a client how far something is: the last word, at most one in a while. What is
// told never waits for the client.
type reporter struct {
	mu   sync.Mutex
	last *pb.Progress
}

func (p *reporter) tell(done, total uint64, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = &pb.Progress{Done: done, Total: total, What: message.OfText(what)}
}

func (p *reporter) take() *pb.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.last
	p.last = nil
	return out
}

// reported runs something and sends its progress meanwhile. It ends when that has ended; when
// the client is gone it is cancelled.
func reported[T any](ctx context.Context, v *service, send func(*pb.Progress) error, do func(ctx context.Context, p *reporter) (T, error)) (out T, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var p reporter
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil { // this goroutine is not the one that is guarded
				err = query.Errorf(query.CodeInternal, "panic: %v", r)
			}
		}()
		out, err = do(ctx, &p)
	}()
	tick := time.NewTicker(v.s.limits.progress)
	defer tick.Stop()
	var broken error
	for {
		select {
		case <-done:
			if last := p.take(); last != nil && broken == nil && err == nil {
				broken = send(last)
			}
			if err == nil {
				err = broken
			}
			return out, err
		case <-tick.C:
			if last := p.take(); last != nil && broken == nil {
				if broken = send(last); broken != nil {
					cancel()
				}
			}
		}
	}
}

// Check verifies everything that is stored.
func (v *service) Check(ctx context.Context, _ *pb.CheckRequest, stream kantav1connect.KantaServiceCheckServerStream) error {
	r, err := reported(ctx, v, func(p *pb.Progress) error {
		return stream.Send(&pb.CheckResponse{Part: &pb.CheckResponse_Progress{Progress: p}})
	}, func(ctx context.Context, p *reporter) (query.CheckReport, error) { return v.db(ctx).Check(ctx, p.tell) })
	if err != nil {
		return err
	}
	return stream.Send(&pb.CheckResponse{Part: &pb.CheckResponse_Report{Report: &pb.CheckReport{Values: r.Values, Derived: r.Derived, Problems: message.OfTexts(r.Problems)}}})
}

// Repair makes anew what is derived and damaged.
func (v *service) Repair(ctx context.Context, _ *pb.RepairRequest, stream kantav1connect.KantaServiceRepairServerStream) error {
	r, err := reported(ctx, v, func(p *pb.Progress) error {
		return stream.Send(&pb.RepairResponse{Part: &pb.RepairResponse_Progress{Progress: p}})
	}, func(ctx context.Context, p *reporter) (query.RepairReport, error) {
		return v.db(ctx).Repair(ctx, p.tell)
	})
	if err != nil {
		return err
	}
	return stream.Send(&pb.RepairResponse{Part: &pb.RepairResponse_Report{Report: &pb.RepairReport{Mended: message.OfTexts(r.Mended), Beyond: message.OfTexts(r.Beyond)}}})
}

// Compact folds everything into the base.
func (v *service) Compact(ctx context.Context, _ *pb.CompactRequest, stream kantav1connect.KantaServiceCompactServerStream) error {
	_, err := reported(ctx, v, func(p *pb.Progress) error { return stream.Send(&pb.CompactResponse{Progress: p}) },
		func(ctx context.Context, p *reporter) (struct{}, error) {
			p.tell(0, 0, "compacting")
			return struct{}{}, v.db(ctx).Compact(ctx)
		})
	return err
}

// Purge removes from the files what they hold of erased people, of a cluster from those of all its members.
func (v *service) Purge(ctx context.Context, _ *pb.PurgeRequest, stream kantav1connect.KantaServicePurgeServerStream) error {
	r, err := reported(ctx, v, func(p *pb.Progress) error {
		return stream.Send(&pb.PurgeResponse{Part: &pb.PurgeResponse_Progress{Progress: p}})
	}, func(ctx context.Context, p *reporter) (*query.Receipt, error) {
		tell := func(what string) { p.tell(0, 0, what) }
		if c := v.s.opt.Cluster; c != nil {
			return c.Purge(ctx, tell)
		}
		return v.db(ctx).Purge(ctx, tell)
	})
	if err != nil {
		return err
	}
	return stream.Send(&pb.PurgeResponse{Part: &pb.PurgeResponse_Done{Done: &pb.PurgeDone{Receipt: message.OfReceipt(r)}}})
}

// erasedAtOnce is how many entries of the ledger are in one message.
const erasedAtOnce = 256

// Erased lists the ledger of erased people.
func (v *service) Erased(ctx context.Context, req *pb.ErasedRequest, stream kantav1connect.KantaServiceErasedServerStream) error {
	_, err := current(ctx, v, req.GetQuestion(), func() (struct{}, error) {
		out := &pb.ErasedResponse{}
		err := v.db(ctx).Erased(ctx, func(p query.ErasedPerson) error {
			if out.People = append(out.People, message.OfErased(&p)); len(out.People) < erasedAtOnce {
				return nil
			}
			full := out
			out = &pb.ErasedResponse{}
			return stream.Send(full)
		})
		if err == nil && len(out.People) > 0 {
			err = stream.Send(out)
		}
		return struct{}{}, err
	})
	return err
}

// Export writes all that is held about one customer.
func (v *service) Export(ctx context.Context, req *pb.ExportRequest, stream kantav1connect.KantaServiceExportServerStream) error {
	_, err := current(ctx, v, req.GetQuestion(), func() (struct{}, error) {
		w := &pieces{size: v.s.limits.pieceBytes, send: func(p []byte) error { return stream.Send(&pb.ExportResponse{Json: p}) }}
		err := v.db(ctx).Export(ctx, req.GetKey(), w)
		if err == nil {
			err = w.flush()
		}
		return struct{}{}, err
	})
	return err
}

// ExportAll writes everything that another store can be made of.
func (v *service) ExportAll(ctx context.Context, req *pb.ExportAllRequest, stream kantav1connect.KantaServiceExportAllServerStream) error {
	_, err := current(ctx, v, req.GetQuestion(), func() (struct{}, error) {
		x := &exportSender{stream: stream, size: v.s.limits.pieceBytes, every: v.s.limits.progress}
		done, err := v.db(ctx).ExportAll(ctx, x.create, &query.ExportOptions{Quarantine: req.GetQuarantine(), Progress: x.progress})
		if err == nil {
			err = x.failed
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, stream.Send(&pb.ExportAllResponse{Part: &pb.ExportAllResponse_Exported{
			Exported: &pb.Exported{Position: message.OfPosition(done.Position), Content: message.OfSum(done.Content), Lines: done.Lines}}})
	})
	return err
}

// exportSender sends the sections of an export, of which one is open at a time.
type exportSender struct {
	stream kantav1connect.KantaServiceExportAllServerStream
	size   int
	every  time.Duration
	told   time.Time
	failed error // of telling how far it is
}

func (x *exportSender) create(section string) (io.WriteCloser, error) {
	err := x.stream.Send(&pb.ExportAllResponse{Part: &pb.ExportAllResponse_Section{Section: section}})
	return &sectionSender{x: x, pieces: pieces{size: x.size, send: func(p []byte) error {
		return x.stream.Send(&pb.ExportAllResponse{Part: &pb.ExportAllResponse_Data{Data: p}})
	}}}, err
}

func (x *exportSender) progress(rows uint64, what string) {
	if now := time.Now(); x.failed == nil && now.Sub(x.told) >= x.every {
		x.told = now
		x.failed = x.stream.Send(&pb.ExportAllResponse{Part: &pb.ExportAllResponse_Progress{Progress: &pb.Progress{Done: rows, What: what}}})
	}
}

type sectionSender struct {
	x *exportSender
	pieces
}

// Close implements [io.Closer].
func (w *sectionSender) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.x.stream.Send(&pb.ExportAllResponse{Part: &pb.ExportAllResponse_End{End: true}})
}

// target opens the target of backups that a client names.
func (v *service) target(ctx context.Context, name string) (query.BackupTarget, func() error, error) {
	if v.s.opt.Target == nil {
		return nil, nil, &query.Error{Code: query.CodeInvalid, Message: "this server may not write backups at the wish of a client",
			Hint: "whoever runs it names the targets"}
	}
	return v.s.opt.Target(ctx, name)
}

// Backup makes a backup at a target that the server opens.
func (v *service) Backup(ctx context.Context, req *pb.BackupRequest, stream kantav1connect.KantaServiceBackupServerStream) error {
	t, release, err := v.target(ctx, req.GetTarget())
	if err != nil {
		return err
	}
	r, err := reported(ctx, v, func(p *pb.Progress) error {
		return stream.Send(&pb.BackupResponse{Part: &pb.BackupResponse_Progress{Progress: p}})
	}, func(ctx context.Context, p *reporter) (query.BackupReport, error) {
		return v.db(ctx).Backup(ctx, t, &query.BackupOptions{Progress: func(done, total int64, what string) { p.tell(uint64(done), uint64(total), what) }})
	})
	if closed := release(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return stream.Send(&pb.BackupResponse{Part: &pb.BackupResponse_Report{Report: message.OfBackup(&r)}})
}

// BackupLedger tells the ledger of erased people where backups are kept.
func (v *service) BackupLedger(ctx context.Context, req *pb.BackupLedgerRequest) (*pb.BackupLedgerResponse, error) {
	return &pb.BackupLedgerResponse{}, v.at(ctx, req.GetTarget(), func(t query.BackupTarget) error { return v.db(ctx).BackupLedger(ctx, t) })
}

// at opens a target for a while.
func (v *service) at(ctx context.Context, name string, do func(t query.BackupTarget) error) error {
	t, release, err := v.target(ctx, name)
	if err != nil {
		return err
	}
	err = do(t)
	if closed := release(); err == nil {
		err = closed
	}
	return err
}

// KeepLog turns on or off that the log is kept for backups.
func (v *service) KeepLog(ctx context.Context, req *pb.KeepLogRequest) (*pb.KeepLogResponse, error) {
	return &pb.KeepLogResponse{}, v.db(ctx).KeepLog(ctx, req.GetOn())
}

// ShipLog sends what is kept of the log.
func (v *service) ShipLog(ctx context.Context, req *pb.ShipLogRequest) (out *pb.ShipLogResponse, err error) {
	err = v.at(ctx, req.GetTarget(), func(t query.BackupTarget) error {
		r, err := v.db(ctx).ShipLog(ctx, t, &query.ShipOptions{Move: req.GetMove()})
		out = message.OfShipped(&r)
		return err
	})
	return out, err
}
