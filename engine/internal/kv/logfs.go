package kv

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/query"
)

func newHalt() *halt.Halt {
	return halt.New(func(why string, cause error) error {
		return &query.Error{Code: query.CodeFailed, Message: "the key-value store gave up: " + why,
			Hint: "see to the disk, then start the program again", Err: cause}
	})
}

// Failed returns why the store takes no more writes, nil while it does.
func (s *Store) Failed() error { return s.halt.Err() }

// logFS is the file system that Pebble gets. Writing ends when a file of its write-ahead log cannot be
// written once the store is open, or its directory not be synced; what else fails Pebble tells us of (see listener), and
// whoever writes a table to be ingested, or a checkpoint.
type logFS struct {
	halt.FS
	dir    string // the store's: what is written elsewhere, such as a checkpoint, may fail
	lists  fileLists
	others atomic.Pointer[error] // of syncing a directory that is not the store's
}

func newLogFS(files vfs.FS, dir string, h *halt.Halt) *logFS {
	l := &logFS{FS: halt.FS{FS: files, Halt: h}, dir: dir}
	l.Ends = l.ends
	return l
}

func (l *logFS) ends(operation, name string) bool {
	if name == l.dir {
		return operation == "sync"
	}
	return l.IsOpen() && l.PathDir(name) == l.dir && strings.HasSuffix(name, ".log")
}

// Create creates a file.
func (l *logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	if number, ok := listNumber(l.PathBase(name)); ok && err == nil && l.PathDir(name) == l.dir {
		return &listFile{File: f, lists: &l.lists, number: number}, nil
	}
	return f, err
}

// OpenDir opens a directory.
func (l *logFS) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	if err != nil || name == l.dir {
		return f, err
	}
	return &otherDir{f, l}, nil
}

// otherDir is a directory of a checkpoint. Pebble panics when it moves a marker there and
// the directory cannot be synced, so it is not told: who has it make the checkpoint is.
type otherDir struct {
	vfs.File
	fs *logFS
}

// Sync syncs, and keeps the error.
func (d *otherDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.fs.others.CompareAndSwap(nil, &err)
	}
	return nil
}

// unsynced returns the first error of syncing another directory since it was last asked.
func (l *logFS) unsynced() error {
	if err := l.others.Swap(nil); err != nil {
		return *err
	}
	return nil
}
