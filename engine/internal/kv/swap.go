package kv

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/query"
)

// A store is replaced by one that was made beside it in two renames: the old one goes to
// a name with a suffix, the new one to the old one's. Before that the old one gets a file
// with the new one's ID, so that who opens the store after a crash knows what it sees, and
// never takes for left over what somebody else has put there.
const (
	replacedSuffix = ".replaced"
	replacedFile   = "REPLACED"
)

// Replace makes the store in made, which nobody has open, the one in dir. What was in dir
// is deleted. A crash leaves the one or the other.
func Replace(files vfs.FS, made, dir string) error {
	switch _, err := files.Stat(dir); {
	case isNotExist(err):
		return diskError("move the store to "+dir, errors.Join(files.Rename(made, dir), SyncDir(files, files.PathDir(dir))))
	case err != nil: // it may be there
		return diskError("replace "+dir, err)
	}
	if err := Unused(files, dir); err != nil {
		return err
	}
	id, err := ReadIdentity(files, made)
	if err != nil {
		return err
	}
	old, parent := dir+replacedSuffix, files.PathDir(dir)
	if err = finishSwap(files, dir); err == nil {
		switch _, err := files.Stat(old); {
		case err == nil:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s is in the way", old), Hint: "see what it is, then move it elsewhere"}
		case !isNotExist(err):
			return diskError("replace "+dir, err)
		}
		err = errors.Join(writeFile(files, files.PathJoin(dir, replacedFile), id.ID), SyncDir(files, dir))
	}
	if err == nil && canary.Is("restore") { // the old one goes before there is a new one
		err = files.RemoveAll(dir)
	} else if err == nil {
		err = errors.Join(files.Rename(dir, old), SyncDir(files, parent))
	}
	if err == nil {
		err = errors.Join(files.Rename(made, dir), SyncDir(files, parent))
	}
	if err = errors.Join(err, finishSwap(files, dir)); err != nil {
		return diskError("replace "+dir, err)
	}
	return nil
}

// LastEpoch returns the highest epoch that the files of the store in dir tell of, 0 if none does.
func LastEpoch(files vfs.FS, dir string) uint64 {
	id, err := ReadIdentity(files, dir)
	if err != nil {
		return 0
	}
	k, err := openMarks(dir, id.ID, Config{FS: files, ReadOnly: true})
	if err != nil {
		return id.Epoch
	}
	return max(id.Epoch, k.last.Epoch)
}

// Unused returns an error if somebody has the store in dir open.
func Unused(files vfs.FS, dir string) error {
	lock, err := pebble.LockDirectory(files.PathJoin(dir, databaseDir), files)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return lockError(dir, err)
	}
	return lock.Close() // not kept: some systems rename no directory with an open file
}

// finishSwap ends what is left of [Replace]: if there is no store in dir, the old one is put
// back, and if it is the one that was made, the old one is deleted.
func finishSwap(files vfs.FS, dir string) error {
	old := dir + replacedSuffix
	f, err := files.Open(files.PathJoin(old, replacedFile))
	if err != nil {
		return nil // nothing of ours is there; of another error opening dir tells
	}
	by, err := io.ReadAll(io.LimitReader(f, 4096))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	switch _, err := files.Stat(dir); {
	case isNotExist(err):
		return errors.Join(files.Rename(old, dir), SyncDir(files, files.PathDir(dir)))
	case err != nil:
		return err
	}
	if id, err := ReadIdentity(files, dir); err != nil || id.ID != strings.TrimSpace(string(by)) {
		return nil
	}
	return files.RemoveAll(old)
}
