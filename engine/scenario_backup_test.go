package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Beside the store: what it is backed up to, and what is restored from there.
const (
	scenarioTarget   = "new/target"
	scenarioSide     = "new/side"
	scenarioRestored = "new/restored"
)

// backupScenario has backups, and restores beside the store, over what stands there, and in
// the store's own place, where it lives on.
func backupScenario() scenario {
	compact := scene{name: "compact", do: func(p *play) error { return p.db.Compact(context.Background()) }}
	backup := scene{name: "backup", do: (*play).backup}
	return scenario{
		name: "backups", lower: [3]int{8, 60, 12}, check: (*play).checkTarget, reads: 5,
		counts: []string{"objects sent", "bytes restored", "backups pruned", "targets verified", "backups restored after a crash", "backups made after a crash"},
		scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 2, write: scenarioLoad},
			compact,
			backup,
			{name: "backups between", times: 2, write: scenarioUpserts, do: (*play).backup},
			{name: "restore beside", do: func(p *play) error { return p.restoreBeside(0) }},
			{name: "restore over it", do: func(p *play) error { return p.restoreBeside(-1) }},
			{name: "prune", do: (*play).prune},
			{name: "events", times: 2, write: func(b *batch.Builder, i int) { scenarioEvents(b, i, true) }},
			backup,
			{name: "restore in its place", do: (*play).restoreInPlace},
			{name: "more upserts", times: 3, write: scenarioUpserts},
			compact,
			backup,
		},
	}
}

// fileTarget is a target on a file system that can fail and crash. What it does to files, and
// in which order, is what engine.OpenBackupDir does through the operating system's.
type fileTarget struct {
	files vfs.FS
	dir   string
}

func (t *fileTarget) at(name string) string { return t.files.PathJoin(t.dir, name) }

func (t *fileTarget) Put(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(ctx.Err(), t.folder("unfinished"), t.folder(path.Dir(name))); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	unfinished := t.at("unfinished/" + strings.ReplaceAll(name, "/", "_"))
	f, err := t.files.Create(unfinished, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(bytes.Clone(data)) // with invariants on, the file system spoils what it is given
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = t.files.Rename(unfinished, t.at(name))
	}
	if err == nil {
		err = kv.SyncDir(t.files, t.at(path.Dir(name)))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// folder makes a folder, durably, if there is none.
func (t *fileTarget) folder(name string) error {
	if _, err := t.files.Stat(t.at(name)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := t.files.PathDir(t.dir)
	if name != "." {
		if err := t.folder(path.Dir(name)); err != nil {
			return err
		}
		parent = t.at(path.Dir(name))
	}
	return errors.Join(t.files.MkdirAll(t.at(name), 0o755), kv.SyncDir(t.files, parent))
}

func (t *fileTarget) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := t.files.Open(t.at(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, query.Errorf(query.CodeCorrupt, "%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

func (t *fileTarget) List(ctx context.Context, prefix string, f func(name string, size int64) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := t.files.List(t.at(prefix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	for _, name := range names {
		info, err := t.files.Stat(t.at(prefix + name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("list %s: %w", prefix, err)
		case info.IsDir():
			err = t.List(ctx, prefix+name+"/", f)
		default:
			err = f(prefix+name, info.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *fileTarget) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.files.Remove(t.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = kv.SyncDir(t.files, t.at(path.Dir(name)))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// TestFileTarget runs the conformance suite of targets on what the scenarios back up to.
func TestFileTarget(t *testing.T) {
	enginetest.Targets(t, func(t *testing.T) query.BackupTarget {
		files := faultfs.New()
		must(t, files.MkdirAll("new", 0o755))
		return &fileTarget{files, scenarioTarget}
	})
}

func (p *play) target() *fileTarget { return &fileTarget{p.o.FS, scenarioTarget} }

// names lists the backups, oldest first.
func (p *play) backups() (out []query.Backup, err error) {
	err = engine.Backups(context.Background(), p.target(), func(b query.Backup, err error) error {
		out = append(out, b)
		return err
	})
	return out, err
}

// backup makes a backup. From then on the target has it, with what the store had.
func (p *play) backup() error {
	r, err := p.db.Backup(context.Background(), p.target(), nil)
	if err != nil {
		return err
	}
	p.count("objects sent", r.SentObjects)
	p.give("backup "+r.Name, func(p *play) error {
		list, err := p.backups()
		for _, b := range list {
			if b.Name == r.Name && b.Content == r.Content && b.Position == r.Position {
				return err
			}
		}
		return errors.Join(err, errors.New("it was acknowledged, and the target does not have it"))
	})
	return nil
}

// prune deletes all backups but the newest.
func (p *play) prune() error {
	list, err := p.backups()
	if err != nil {
		return err
	}
	for _, b := range list[:len(list)-1] {
		p.give("backup "+b.Name, nil)
	}
	r, err := engine.PruneBackups(context.Background(), p.target(), &query.PruneOptions{KeepLast: 1})
	p.count("backups pruned", len(r.Deleted))
	return err
}

// coded hides what an error wraps if it has no code, for such a one is none that may be given.
func coded(err error) error {
	var e *query.Error
	if err != nil && !errors.As(err, &e) {
		return fmt.Errorf("an error without a code: %s", err.Error())
	}
	return err
}

// restore restores a backup, the newest if it has no name.
func (p *play) restore(dir, name string, replace bool) (query.RestoreReport, error) {
	o := &engine.RestoreOptions{Name: name, Replace: replace, FS: p.o.FS, Memory: p.o.Memory, Clock: p.o.Clock}
	r, err := engine.Restore(context.Background(), dir, p.target(), o)
	p.count("bytes restored", int(r.Fetched))
	return r, coded(err)
}

// restoreBeside restores a backup beside the store, the first or the last (-1), over what
// there is. Before it has ended there is that or the new one.
func (p *play) restoreBeside(which int) error {
	list, err := p.backups()
	if err != nil {
		return err
	}
	b := list[(which+len(list))%len(list)]
	replace := which < 0
	before := 0
	if replace {
		before = int(list[0].Position.Applied)
	}
	after := int(b.Position.Applied)
	p.give("the store beside", func(p *play) error { return p.beside(before, after) })
	if _, err := p.restore(scenarioSide, b.Name, replace); err != nil {
		return err
	}
	p.give("the store beside", func(p *play) error { return p.beside(after) })
	return nil
}

// beside checks that the store beside is at one of some batches, 0 being none.
func (p *play) beside(allowed ...int) error {
	o := p.o
	o.MustExist = true
	db, err := engine.Open(scenarioSide, &o)
	at := 0
	switch {
	case err == nil:
		at, err = p.checkAll(db)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
	case !errors.Is(err, &query.Error{Code: query.CodeNotAStore}):
		return err
	}
	for _, n := range allowed {
		if n == at {
			return nil
		}
	}
	return fmt.Errorf("it is at batch %d, want one of %v", at, allowed)
}

// restoreInPlace puts the newest backup, which is of now, in the place of the store. Before
// it has ended there is the one or the other, and they say the same.
func (p *play) restoreInPlace() error {
	if err := p.close(); err != nil {
		return err
	}
	if _, err := p.restore(scenarioStore, "", true); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	p.give("the store in its place", func(p *play) error {
		if st, err := p.db.Stats(context.Background()); err != nil || st.Position.Epoch < 2 {
			return fmt.Errorf("the old one is back: it is at %s (%w)", st.Position, err)
		}
		return nil
	})
	return nil
}

// checkTarget verifies all that the target has. To be thorough, it restores the newest
// backup, which is the store at its position, and makes another.
func (p *play) checkTarget(_ int, thorough bool) error {
	check, err := engine.VerifyBackups(context.Background(), p.target(), nil, nil)
	if errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
		return nil // it was not begun
	}
	if err != nil || len(check.Problems) > 0 {
		return fmt.Errorf("verify backups: %q %w", check.Problems, err)
	}
	if p.count("targets verified", 1); !thorough {
		return nil
	}
	if check.Backups > 0 {
		if err := p.restoreNewest(); err != nil {
			return fmt.Errorf("restore after a crash: %w", err)
		}
	}
	return p.backupAgain()
}

// restoreNewest restores the newest backup to another place and looks at it.
func (p *play) restoreNewest() error {
	r, err := p.restore(scenarioRestored, "", true)
	if err != nil {
		return err
	}
	o := p.o
	o.MustExist = true
	db, err := engine.Open(scenarioRestored, &o)
	if err != nil {
		return err
	}
	at, err := p.checkAll(db)
	if err == nil && at != int(r.Backup.Position.Applied) {
		err = fmt.Errorf("it is at %d, its manifest says %d", at, r.Backup.Position.Applied)
	}
	p.count("backups restored after a crash", 1)
	return errors.Join(err, db.Close())
}

// backupAgain makes a backup, which must be whole.
func (p *play) backupAgain() error {
	ctx := context.Background()
	r, err := p.db.Backup(ctx, p.target(), nil)
	if errors.Is(err, &query.Error{Code: query.CodeConflict}) { // pruning has died: then its mark is to be deleted
		if err := p.target().List(ctx, "under-way/", func(name string, _ int64) error { return p.target().Delete(ctx, name) }); err != nil {
			return err
		}
		r, err = p.db.Backup(ctx, p.target(), nil)
	}
	if err != nil {
		return fmt.Errorf("backup after a crash: %w", err)
	}
	p.count("backups made after a crash", 1)
	check, err := engine.VerifyBackups(ctx, p.target(), []string{r.Name}, nil)
	if err != nil || len(check.Problems) > 0 || check.Backups != 1 {
		return fmt.Errorf("backup after a crash: %+v %w", check, err)
	}
	return nil
}
