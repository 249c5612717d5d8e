package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// backups lets one backup be made at a time, and none once the store closes.
type backups struct {
	turn   chan struct{} // full while one is made
	ending chan struct{} // closed when the store closes
}

func (b *backups) start() {
	b.turn, b.ending = make(chan struct{}, 1), make(chan struct{})
}

// stop gives up the backup under way and waits for its end.
func (b *backups) stop() {
	close(b.ending)
	b.turn <- struct{}{}
}

// begin waits for a turn. The context it returns ends with the store.
func (b *backups) begin(ctx context.Context) (context.Context, func(), error) {
	select {
	case b.turn <- struct{}{}:
	case <-b.ending:
		return nil, nil, errClosed()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-b.ending:
			cancel(errClosed())
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-b.turn
	}, nil
}

// Backup keeps the store as it is at one position at a target. Questions and writes go on
// meanwhile, but for a moment: see [query.BackupReport]. What the target has of the store is
// not sent again, so a backup costs what has changed, and one that was interrupted goes on
// where it was. If the log is kept for this target ([DB.KeepLog]) it is shipped first; if
// that alone fails, the report is of a backup that is made, and the error says so. Every file
// is read, and the new ones are verified block by block: of a store that the disk has damaged
// there is an error with [query.CodeCorrupt], and no backup. What the disk or the target
// refuses is [query.CodeIO], and the backup can be made again.
func (db *DB) Backup(ctx context.Context, target query.BackupTarget, o *query.BackupOptions) (report query.BackupReport, err error) {
	if o == nil {
		o = &query.BackupOptions{}
	}
	if db.opt.ReadOnly {
		return report, &query.Error{Code: query.CodeReadOnly, Message: "the store was opened for reading: a backup needs a folder in it for a while", Hint: "open it for writing"}
	}
	defer func() { err = db.noted(err) }()
	t, err := backup.OpenFor(ctx, target, db.kv.Root)
	if err != nil {
		return report, given(ctx, err)
	}
	ctx, end, err := db.backups.begin(ctx)
	if err != nil {
		return report, err
	}
	defer end()
	if err := db.sendLedger(ctx, t); err != nil {
		return report, given(ctx, err)
	}
	kept, late := db.KeptLog(), error(nil) // the log first, so that little of it is in the backup
	if kept.On && (kept.Target == "" || kept.Target == t.ID) {
		if report.Shipped, late = db.shipTo(ctx, t, false); errors.Is(late, &query.Error{Code: query.CodeCorrupt}) || errors.Is(late, &query.Error{Code: query.CodeConflict}) {
			late = fmt.Errorf("the backup is made, but the log was not shipped: %w", late)
		} else if late != nil {
			return report, given(ctx, late)
		}
	}
	c := &checkpoint{db: db}
	defer func() { err = errors.Join(err, db.kv.RemoveCheckpoint()) }()
	if err := c.make(ctx); err != nil {
		return report, given(ctx, err)
	}
	defer c.state.era.release()
	sums, err := c.verify(ctx)
	if err != nil {
		return report, given(ctx, err)
	}
	head := query.Backup{Store: db.kv.ID, Root: db.kv.Root, Position: sums.Position, Received: time.UnixMilli(c.state.Received).UTC(),
		Created: c.created, Content: sums.Content, Chain: sums.Chain}
	files := &backup.Source{FS: db.opt.FS, Dir: db.opt.FS.PathJoin(c.dir, "db"), Skip: "LOCK", Progress: o.Progress,
		Verify: func(ctx context.Context, path string) error { return kv.VerifyTable(ctx, db.opt.FS, path) }}
	sent, err := t.Send(ctx, head, kv.Format, files)
	sent.Paused, sent.Shipped = c.paused, report.Shipped
	if err == nil && late == nil && sent.Shipped.Kept.On {
		err = db.based(ctx, sent.Position)
	}
	if err == nil {
		return sent, late
	}
	return sent, given(ctx, err)
}

// OpenBackupDir opens a folder as a target of backups, and makes it if there is none.
// Nothing outside of it is touched, whatever links are in it. Close it.
func OpenBackupDir(name string) (interface {
	query.BackupTarget
	io.Closer
}, error) {
	return backup.OpenDir(name)
}

// Backups calls f for the backups of a target, oldest first; of one whose manifest cannot be
// read it gets the error, and what the name tells.
func Backups(ctx context.Context, target query.BackupTarget, f func(b query.Backup, err error) error) error {
	t, err := backup.Open(ctx, target)
	if err != nil {
		return given(ctx, err)
	}
	return given(ctx, t.Manifests(ctx, func(name string, m *backup.Manifest, err error) error {
		if err != nil {
			return f(query.Backup{Name: name}, given(ctx, err))
		}
		return f(m.Backup, nil)
	}))
}

// BackupLogs returns what a target has of the logs of its stores, and the gaps in them.
func BackupLogs(ctx context.Context, target query.BackupTarget) ([]query.LogRun, error) {
	t, err := backup.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	return t.LogRuns(ctx)
}

// VerifyBackups reads backups, all or those named, whole, and compares every checksum. What
// they hold is not opened; a restore does that.
func VerifyBackups(ctx context.Context, target query.BackupTarget, names []string, progress query.BackupProgress) (query.BackupCheck, error) {
	t, err := backup.Open(ctx, target)
	if err != nil {
		return query.BackupCheck{}, given(ctx, err)
	}
	out, err := t.Verify(ctx, names, progress)
	return out, given(ctx, err)
}

// PruneBackups deletes old backups, and what only they needed. It refuses while one is made.
func PruneBackups(ctx context.Context, target query.BackupTarget, o *query.PruneOptions) (query.PruneReport, error) {
	t, err := backup.Open(ctx, target)
	if err != nil {
		return query.PruneReport{}, given(ctx, err)
	}
	out, err := t.Prune(ctx, o, time.Now())
	return out, given(ctx, err)
}

// given returns err, with a code if it is the system's, or why ctx has ended if that is what
// it is about.
func given(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return kv.Coded(err, "the disk and the target")
}

// checkpoint is the store's files at one position, and the state that they are.
type checkpoint struct {
	db      *DB
	dir     string
	state   *state // held
	created time.Time
	paused  time.Duration
}

// make makes the checkpoint. The writer does it, when all that it has decided is published
// and flushed, so it is the published state. The compactor goes on: without a log, the files
// are what a crash would leave, and of what it writes a crash may lose the end.
func (c *checkpoint) make(ctx context.Context) error {
	if err := c.db.kv.Flush(); err != nil { // most of it, so that the pause is short
		return err
	}
	var err error
	r := &request{ctx: ctx, done: make(chan struct{}), task: func() {
		start := time.Now()
		s := c.db.current.Load()
		if c.dir, err = c.db.kv.Checkpoint(markOf(s.pos, s.chain)); err == nil {
			c.state, c.created = c.db.acquire(), c.db.opt.Clock().UTC().Truncate(time.Millisecond)
		}
		c.paused = time.Since(start)
	}}
	if sent := c.db.send(r); sent != nil {
		return sent
	}
	return errors.Join(r.err, err)
}

// verify opens the checkpoint, sees that it is at the position of the state, and returns the
// state's digests.
func (c *checkpoint) verify(ctx context.Context) (query.Digests, error) {
	copied, err := kv.Open(c.dir, kv.Config{FS: c.db.opt.FS, Cache: checkpointCache, MemTable: checkpointCache, ReadOnly: true, MustExist: true})
	if err != nil {
		return query.Digests{}, fmt.Errorf("open the checkpoint: %w", err)
	}
	b, err := copied.GetSealed(keys.Meta(metaState))
	if err = errors.Join(err, copied.Close()); err != nil {
		return query.Digests{}, fmt.Errorf("read the checkpoint: %w", err)
	}
	w := &writer{}
	w.pos.Epoch = c.state.pos.Epoch
	if b != nil {
		if err := w.readState(b); err != nil {
			return query.Digests{}, err
		}
	}
	w.pos.Epoch = max(w.pos.Epoch, c.db.kv.Epoch)
	if w.pos != c.state.pos || w.chain != c.state.chain {
		return query.Digests{}, query.Errorf(query.CodeInternal, "the checkpoint is at %s, the store at %s", w.pos, c.state.pos)
	}
	return c.db.digestsOf(ctx, c.state)
}

// checkpointCache is what the reading of one value takes.
const checkpointCache = 1 << 20
