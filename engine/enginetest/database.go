package enginetest

import (
	"context"
	"io"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// Database is a store wherever it is: *engine.DB and the client of a server are one.
type Database interface {
	query.Asker

	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error)
	DryRun(ctx context.Context, b batch.Batch) (batch.Result, error)
	Snapshot(ctx context.Context) (query.Snapshot, error)

	Quarantine(ctx context.Context, after uint64, limit int) ([]query.QuarantinedRow, error)
	Stats(ctx context.Context) (query.Stats, error)
	Digests(ctx context.Context) (query.Digests, error)

	Erase(ctx context.Context, reference string, keys ...string) (query.Erasure, error)
	Readmit(ctx context.Context, keys ...string) (batch.Result, error)
	Erased(ctx context.Context, f func(query.ErasedPerson) error) error
	Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error)
	Receipts(ctx context.Context) ([]query.Receipt, error)

	Check(ctx context.Context, progress func(done, total uint64, what string)) (query.CheckReport, error)
	Repair(ctx context.Context, progress func(done, total uint64, what string)) (query.RepairReport, error)
	Compact(ctx context.Context) error
	Export(ctx context.Context, key string, w io.Writer) error
	ExportAll(ctx context.Context, create func(section string) (io.WriteCloser, error), o *query.ExportOptions) (query.Exported, error)
	Backup(ctx context.Context, target query.BackupTarget, o *query.BackupOptions) (query.BackupReport, error)
	BackupLedger(ctx context.Context, target query.BackupTarget) error
	KeepLog(ctx context.Context, on bool) error
	ShipLog(ctx context.Context, target query.BackupTarget, o *query.ShipOptions) (query.ShipReport, error)
	Close() error
}
