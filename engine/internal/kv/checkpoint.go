package kv

import (
	"context"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// checkpointDir stands beside db: a store of its own, whose tables are links to the living
// one's. It is there while a backup is made.
const checkpointDir = "checkpoint"

// Flush writes the memtables out.
func (s *Store) Flush() error {
	if err := s.halt.Guard(s.DB.Flush); err != nil {
		return diskError("flush", err)
	}
	return nil
}

// copyFile says that a store is a copy which nobody has had open for writing yet: what was a
// setting of the store that it was copied from is not its own.
const copyFile = "COPY"

// Checkpoint makes a store of what there is beside db, for a backup, and returns its directory.
// m is the position that it must have.
func (s *Store) Checkpoint(m Mark) (dir string, err error) {
	if err := s.RemoveCheckpoint(); err != nil {
		return "", err
	}
	dir = s.fs.PathJoin(s.home, checkpointDir)
	return dir, s.checkpointIn(dir, m)
}

// Copy makes a store of what there is in a directory that is not there, for somebody else to
// have. It is durable when it returns, but for its name.
func (s *Store) Copy(dir string, m Mark) error {
	err := s.checkpointIn(dir, m)
	if err == nil {
		err = diskError("make a checkpoint", errors.Join(writeFile(s.fs, s.fs.PathJoin(dir, copyFile), "a copy that nobody has written to\n"),
			SyncDir(s.fs, s.fs.PathJoin(dir, databaseDir)), SyncDir(s.fs, dir)))
	}
	return err
}

// IsCopy reports whether the store is a copy that nobody has had open for writing yet.
func (s *Store) IsCopy() (bool, error) {
	_, err := s.fs.Stat(s.fs.PathJoin(s.home, copyFile))
	if isNotExist(err) {
		return false, nil
	}
	return err == nil, diskError("open "+s.home, err)
}

// Own makes a copy a store of its own.
func (s *Store) Own() error {
	return diskError("open "+s.home, errors.Join(s.fs.Remove(s.fs.PathJoin(s.home, copyFile)), SyncDir(s.fs, s.home)))
}

// checkpointIn makes a store of what there is, without a log. The
// log is flushed first and left out: a file of it that is used again has, behind its end,
// what was deleted long ago, and nothing of it is verified by a checksum of the whole. What
// is written meanwhile is in it or not.
func (s *Store) checkpointIn(dir string, m Mark) error {
	if err := s.Flush(); err != nil {
		return err
	}
	path := s.fs.PathJoin(dir, databaseDir)
	_ = s.log.unsynced()
	if err := s.halt.Guard(func() error { return errors.Join(s.DB.Checkpoint(path), s.log.unsynced()) }); err != nil {
		return diskError("make a checkpoint", err)
	}
	names, err := s.fs.List(path)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			err = errors.Join(err, s.fs.Remove(s.fs.PathJoin(path, name)))
		}
	}
	return diskError("make a checkpoint", errors.Join(err, CreateMark(s.fs, dir, s.ID, m), WriteIdentity(s.fs, dir, s.Identity)))
}

// RemoveCheckpoint removes the checkpoint, if there is one.
func (s *Store) RemoveCheckpoint() error {
	dir := s.fs.PathJoin(s.home, checkpointDir)
	if _, err := s.fs.Stat(dir); isNotExist(err) {
		return nil
	}
	if err := s.fs.RemoveAll(dir); err != nil {
		return diskError("remove the checkpoint", err)
	}
	return nil
}

// VerifyTable verifies the checksum of every block of a sorted table.
func VerifyTable(ctx context.Context, files vfs.FS, path string) error {
	f, err := files.Open(path)
	if err != nil {
		return err
	}
	source, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o := &pebble.Options{}
	o.EnsureDefaults()
	r, err := sstable.NewReader(ctx, source, o.MakeReaderOptions())
	if err == nil {
		err = errors.Join(r.ValidateBlockChecksums(), r.Close())
	} else {
		err = errors.Join(err, source.Close())
	}
	if pebble.IsCorruptionError(err) {
		return query.Errorf(query.CodeCorrupt, "%s is damaged: %w", path, err)
	}
	return err
}
