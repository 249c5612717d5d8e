package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Checkpoint is what a copy of a replica's store holds.
type Checkpoint struct {
	Index, Term uint64 // of the last entry of the replicated log that it has; 0: none
	Position    query.Position
	Chain       [16]byte // the chain hash of the log there
}

// makingSuffix names the directory beside a checkpoint's in which it is made.
const makingSuffix = ".making"

// CheckpointTo makes a copy of a replica's store, by hard links where the file system has them,
// in a directory that must not be there, on the same file system. Another replica can begin
// with it: it has the store's id, and everything but the setting of [DB.KeepLog]. It is what
// has been applied up to its index, and whole, verified by its position, and durable when it
// returns; before, there is no such directory. What a crash leaves has ".making" behind its
// name, and is removed by the next call for that directory. So is the store itself durable up
// to the index then: the replicated log need not give it those entries again.
//
// Entries are applied meanwhile, but for a moment. Several calls wait for each other.
func (db *DB) CheckpointTo(ctx context.Context, dir string) (c Checkpoint, err error) {
	if db.opt.Replica == nil || db.opt.ReadOnly {
		return c, errNoReplica()
	}
	defer func() { err = db.noted(err) }()
	ctx, end, err := db.replica.checkpoints.begin(ctx)
	if err != nil {
		return c, err
	}
	defer end()
	files, making := db.opt.FS, dir+makingSuffix
	switch _, err := files.Stat(dir); {
	case err == nil:
		return c, &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s is there already", dir), Hint: "name a directory that is not there"}
	case !errors.Is(err, fs.ErrNotExist):
		return c, given(ctx, fmt.Errorf("make a checkpoint: %w", err))
	}
	if err := files.RemoveAll(making); err != nil {
		return c, given(ctx, fmt.Errorf("make a checkpoint: %w", err))
	}
	if c, err = db.copyTo(ctx, making); err == nil {
		err = db.verifyCopy(making, &c)
	}
	if err == nil {
		err = files.Rename(making, dir)
	}
	if err == nil {
		if err = kv.SyncDir(files, files.PathDir(dir)); err != nil {
			err = errors.Join(err, files.RemoveAll(dir))
		}
	}
	if err != nil {
		return Checkpoint{}, given(ctx, errors.Join(fmt.Errorf("make a checkpoint in %s: %w", dir, err), files.RemoveAll(making)))
	}
	return c, nil
}

// copyTo makes the copy. The writer does it, when all that it has decided is published, as with
// a backup; most was flushed before, so that the pause is short.
func (db *DB) copyTo(ctx context.Context, dir string) (c Checkpoint, err error) {
	if err := db.kv.Flush(); err != nil {
		return c, err
	}
	return c, db.inWriter(ctx, func() error {
		w := db.writer
		kb := db.kv.NewBatch()
		defer kb.Close()
		w.writeEntry(kb) // entries that became no record have not been stored
		if err := kb.Commit(false); err != nil {
			return err
		}
		s := db.current.Load()
		c = Checkpoint{Index: s.entry.index, Term: s.entry.term, Position: s.pos, Chain: s.chain}
		return db.kv.Copy(dir, markOf(s.pos, s.chain))
	})
}

// verifyCopy sees that a copy is what it should be.
func (db *DB) verifyCopy(dir string, want *Checkpoint) error {
	files := db.opt.FS
	got, err := readCheckpoint(files, dir)
	if lock := files.PathJoin(dir, "db", "LOCK"); err == nil { // reading has made it, and its name is not durable
		if err = files.Remove(lock); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil && got != *want {
		err = query.Errorf(query.CodeInternal, "the checkpoint is at %s, entry %d; the store at %s, entry %d", got.Position, got.Index, want.Position, want.Index)
	}
	return err
}

// ReadCheckpoint says what a directory of [DB.CheckpointTo], or the closed store of a replica,
// holds. It reads no more of it than it must: whether all of its files are whole is not looked at.
// Of the options it takes FS only; nil is good. A store that is no replica has an index of 0.
func ReadCheckpoint(dir string, o *Options) (Checkpoint, error) {
	files := vfs.Default
	if o != nil && o.FS != nil {
		files = o.FS
	}
	c, err := readCheckpoint(files, dir)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the checkpoint %s: %w", dir, kv.Coded(err, "the disk"))
	}
	return c, nil
}

func readCheckpoint(files vfs.FS, dir string) (c Checkpoint, err error) {
	store, err := kv.Open(dir, kv.Config{FS: files, Cache: checkpointCache, MemTable: checkpointCache, ReadOnly: true, MustExist: true})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	w := &writer{}
	w.pos.Epoch = 1
	b, err := store.GetSealed(keys.Meta(metaState))
	if err == nil && b != nil {
		err = w.readState(b)
	}
	if err != nil {
		return c, err
	}
	w.pos.Epoch = max(w.pos.Epoch, store.Epoch)
	at, _, err := readEntry(store)
	if err != nil {
		return c, err
	}
	mark, err := store.Mark()
	if err == nil && mark.Above(markOf(w.pos, w.chain)) {
		err = query.Errorf(query.CodeCorrupt, "it is at %s; its file MARK says that it was at %d.%d", w.pos, mark.Epoch, mark.Applied)
	}
	return Checkpoint{Index: at.index, Term: at.term, Position: w.pos, Chain: w.chain}, err
}
