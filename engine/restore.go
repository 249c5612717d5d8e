package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// RestoreOptions say what is restored, and how. nil is good: the newest backup and the whole
// log that was shipped after it, into a directory that is not there or empty. At most one of
// At and Position is set.
type RestoreOptions struct {
	// Name is that of the backup. Alone it is restored as it is, without the log behind it.
	Name string
	// At is the latest time of receipt of what is restored. The newest backup without anything
	// later is taken, and then the records of the log that were received until then.
	At time.Time
	// Position is the last one that is restored, or where there is no log the latest: the
	// newest backup up to it is taken, and then the records of the log up to it.
	Position query.Position
	// Replace puts the store in place of the one that is there, which nobody may have open.
	Replace bool
	// WithoutLedger does not ask the target who was erased since the backup was made: they
	// are back. It is for a target whose ledger is damaged.
	WithoutLedger bool
	// Progress is told how far the fetching is. May be nil.
	Progress query.BackupProgress
	// FS is the file system of the store. nil: the machine's.
	FS vfs.FS
	// Memory is the budget with which the restored store is opened and verified, as [Options.Memory].
	Memory int64
	// Clock stamps the erasures that are made in it. nil: time.Now.
	Clock func() time.Time
}

// restoringSuffix names the directory beside the store's in which it is made.
const restoringSuffix = ".restoring"

// Restore makes a store of a backup, and of the log that was shipped behind it: every record is
// decided again as it was, which is verified by the chain hash. It is made beside dir, every piece is verified, the
// store is opened and its content compared with the manifest, and only then is it renamed to
// dir. So what was in dir stays as it was if anything fails, and a crash leaves the one or
// the other. The restored store has an id of its own and a new epoch, for what is written to
// it is another history than what was written after the backup was made. What the disk or
// the target refuses is [query.CodeIO].
func Restore(ctx context.Context, dir string, target query.BackupTarget, o *RestoreOptions) (query.RestoreReport, error) {
	report, err := restore(ctx, dir, target, o)
	return report, given(ctx, err)
}

func restore(ctx context.Context, dir string, target query.BackupTarget, o *RestoreOptions) (query.RestoreReport, error) {
	r := &restoring{ctx: ctx}
	if o != nil {
		r.o = *o
	}
	if r.o.FS == nil {
		r.o.FS = vfs.Default
	}
	var err error
	if r.dir = filepath.Clean(dir); r.o.FS == vfs.Default { // what is made beside "." has another name
		if r.dir, err = filepath.Abs(dir); err != nil {
			return r.report, fmt.Errorf("restore: %w", err)
		}
	}
	r.made = r.dir + restoringSuffix
	if r.t, err = backup.Open(ctx, target); err != nil {
		return r.report, err
	}
	if err := r.free(); err != nil {
		return r.report, err
	}
	if err := r.choose(); err != nil {
		return r.report, err
	}
	if err := r.follow(); err != nil {
		return r.report, err
	}
	if err := r.make(); err != nil {
		return r.report, errors.Join(notMade(err), r.o.FS.RemoveAll(r.made))
	}
	if err := kv.Replace(r.o.FS, r.made, r.dir); err != nil {
		return r.report, errors.Join(err, r.o.FS.RemoveAll(r.made))
	}
	return r.report, nil
}

// notMade returns err. If the store that was being made has failed, there is none to be
// opened again: nothing has changed, and the restore can be made again.
func notMade(err error) error {
	var system syscall.Errno
	if !errors.Is(err, &query.Error{Code: query.CodeFailed}) || !errors.As(err, &system) {
		return err
	}
	return &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "nothing was changed: see to the disk, then restore again", Err: system}
}

// restoring is a restore under way.
type restoring struct {
	ctx    context.Context
	o      RestoreOptions
	t      *backup.Target
	dir    string
	made   string
	m      *backup.Manifest
	before uint64 // the epoch of the store that is replaced, if it can be told
	bound  backup.LogBound
	plan   backup.LogPlan // what is replayed
	chain  [16]byte       // the chain hash that the store has in the end
	report query.RestoreReport
}

// free makes sure that the store may go where it is to go.
func (r *restoring) free() error {
	taken := func(dir, hint string) error {
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("restore: %s is not empty", dir), Hint: hint}
	}
	names, err := r.o.FS.List(r.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	case len(names) == 0:
	case !r.o.Replace:
		return taken(r.dir, "name another directory, or have it replaced: --replace")
	default:
		_, err = kv.ReadIdentity(r.o.FS, r.dir)
		if errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
			return err // of one that is damaged, that is what a restore is for
		}
		if err := kv.Unused(r.o.FS, r.dir); err != nil {
			return err
		}
		r.before = kv.LastEpoch(r.o.FS, r.dir)
	}
	left, err := r.o.FS.List(r.made)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	for _, name := range left { // an earlier restore has left no more than this
		if !slices.Contains([]string{"db", "KANTA", "MARK", "MARK.new"}, name) {
			return taken(r.made, "see what it is, then move it elsewhere")
		}
	}
	return nil
}

// choose finds the backup.
func (r *restoring) choose() error {
	set := 0
	for _, given := range []bool{!r.o.At.IsZero(), r.o.Position != query.Position{}} {
		if given {
			set++
		}
	}
	if set > 1 {
		return query.Errorf(query.CodeInvalid, "restore: say by one thing what is restored: a time or a position")
	}
	if r.o.Name != "" {
		var err error
		if r.m, err = r.t.Manifest(r.ctx, r.o.Name); err == nil && !r.fits(r.m) {
			err = query.Errorf(query.CodeInvalid, "restore: backup %s, of %s, received %s, is later than what is asked for", r.m.Name, r.m.Position, r.m.Received.Format(time.RFC3339Nano))
		}
		return err
	}
	names, err := r.t.Names(r.ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names) {
		m, err := r.t.Manifest(r.ctx, name)
		if err != nil {
			return fmt.Errorf("restore: %w", err) // it may be the one; who wants another names it
		}
		if r.fits(m) && (r.m == nil || later(m, r.m)) {
			r.m = m
		}
		if set == 0 {
			break // it is the newest
		}
	}
	if r.m == nil {
		return &query.Error{Code: query.CodeUnknownName, Message: "restore: there is no backup so early", Hint: "kanta backup list has them"}
	}
	return nil
}

// fits reports whether a backup has nothing that is later than what is asked for.
func (r *restoring) fits(m *backup.Manifest) bool {
	if r.o.Position != (query.Position{}) {
		return m.Position.Epoch == r.o.Position.Epoch && m.Position.Applied <= r.o.Position.Applied
	}
	return r.o.At.IsZero() || !m.Received.After(r.o.At)
}

// later reports whether a backup is of a later state than another.
func later(a, b *backup.Manifest) bool {
	if c := a.Received.Compare(b.Received); c != 0 {
		return c > 0
	}
	return a.Created.After(b.Created)
}

// follow finds the log that leads from the backup to what is asked for.
func (r *restoring) follow() (err error) {
	r.bound = backup.LogBound{Applied: r.o.Position.Applied, At: r.o.At}
	r.report.Received, r.chain = r.m.Received, r.m.Chain
	if alone := r.o.Name != "" && r.bound == (backup.LogBound{}); alone {
		return nil
	}
	r.plan, err = r.t.PlanLog(r.ctx, &r.m.Backup, r.bound)
	r.report.Beyond = r.plan.Beyond
	return err
}

// make makes the store and verifies it.
func (r *restoring) make() error {
	files := r.o.FS
	db := files.PathJoin(r.made, "db")
	if r.m.StoreFormat != kv.Format {
		return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("restore: backup %s is of a store of format %d; this version reads format %d", r.m.Name, r.m.StoreFormat, kv.Format), Hint: "use the version of Kanta that made it"}
	}
	if err := errors.Join(files.RemoveAll(r.made), files.MkdirAll(db, 0o755)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	var err error
	if r.report.Fetched, err = r.t.Fetch(r.ctx, r.m, files, db, r.o.Progress); err != nil {
		return given(r.ctx, err)
	}
	id := kv.Identity{Root: r.m.Root}
	if id.ID, err = kv.NewID(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	last, err := r.t.LastEpoch(r.ctx)
	if err != nil {
		return err
	}
	id.Epoch = max(r.m.Position.Epoch, r.before, last) + 1
	for _, dir := range []string{db, r.made} {
		if err := kv.SyncDir(files, dir); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	r.report.Backup, r.report.Store = r.m.Backup, id.ID
	now := id
	if len(r.plan.Pieces) > 0 { // what is decided again is of the epoch that it was in
		id.Epoch = r.m.Position.Epoch
	}
	r.report.Position = query.Position{Epoch: id.Epoch, Applied: r.m.Position.Applied}
	if err := r.identify(id, r.m.Chain); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	if len(r.plan.Pieces) > 0 {
		if err := r.replay(); err != nil {
			return err
		}
		r.report.Position.Epoch = now.Epoch
		if err := r.identify(now, r.chain); err != nil {
			return err
		}
	}
	if r.o.WithoutLedger {
		return nil
	}
	return r.forget()
}

// identify gives the store its id and epoch, and what it must have.
func (r *restoring) identify(id kv.Identity, chain [16]byte) error {
	if err := errors.Join(kv.CreateMark(r.o.FS, r.made, id.ID, markOf(r.report.Position, chain)), kv.WriteIdentity(r.o.FS, r.made, id)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// verify opens the store, for reading only, and compares what is in it with the manifest.
func (r *restoring) verify() error {
	db, err := Open(r.made, &Options{FS: r.o.FS, ReadOnly: true, MustExist: true, Memory: r.o.Memory})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	sums, err := db.Digests(r.ctx)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	var wrong []string
	if sums.Position != r.report.Position {
		wrong = append(wrong, fmt.Sprintf("it is at %s", sums.Position))
	}
	if sums.Chain != r.m.Chain {
		wrong = append(wrong, "its chain hash is another")
	}
	if sums.Content != r.m.Content {
		wrong = append(wrong, "its content digest is another")
	}
	if len(wrong) > 0 {
		return query.Errorf(query.CodeCorrupt, "restore: the store of backup %s is not what its manifest says: %s", r.m.Name, strings.Join(wrong, ", "))
	}
	return nil
}
