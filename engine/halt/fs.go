package halt

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is the file system that Pebble gets. Operations that fail end writing and do not return, as far
// as Ends says so; all others return their errors. While Pebble opens, that is from the first flush
// on, which opening waits for, until NowOpen, all of them do: there may be a compaction by then, and
// Pebble panics when it cleans up beside that.
type FS struct {
	vfs.FS
	*Halt
	// Ends reports whether the error of an operation on a file, or a directory, ends writing: "open" (also to create),
	// "write", "make room in", "sync", "close", "rename", "remove" (of a file of the log that is not used again) or "list".
	Ends func(operation, name string) bool

	begun  atomic.Bool // a flush was
	opened atomic.Bool
	anew   atomic.Bool // files are not used again, but new ones are made: see Leftovers.Rotate
	kept   sync.Map    // paths of files that Pebble could not delete: it does not try again
}

// Unwrap returns the file system below.
func (f *FS) Unwrap() vfs.FS { return f.FS }

// FlushBegins is to be told when Pebble begins a flush, by its event.
func (f *FS) FlushBegins() { f.begun.Store(true) }

// NowOpen is to be told when Pebble is open.
func (f *FS) NowOpen() { f.opened.Store(true) }

// IsOpen reports whether it was.
func (f *FS) IsOpen() bool { return f.opened.Load() }

func (f *FS) ended(what, name string, err error) error {
	late := f.begun.Load() && !f.opened.Load()
	if err == nil || !late && !f.Ends(what, name) {
		return err
	}
	return f.check(what+" "+name, err)
}

// Create creates a file. Once writing has ended it does not return: Pebble would try to flush for ever.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.Err() != nil {
		select {}
	}
	file, err := f.FS.Create(name, c)
	return f.file(name, file, err)
}

func (f *FS) file(name string, file vfs.File, err error) (vfs.File, error) {
	if err = f.ended("open", name, err); err != nil {
		return nil, err
	}
	return &written{file, f, name}, nil
}

// ReuseForWrite renames a file and opens it for writing. What was in it is still there, behind what
// is written.
func (f *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !f.anew.Load() {
		file, err := f.FS.ReuseForWrite(old, name, c)
		return f.file(name, file, err)
	}
	file, err := f.Create(name, c)
	if err == nil {
		err = f.ended("remove", old, f.FS.Remove(old))
	}
	return file, err
}

// Remove deletes a file.
func (f *FS) Remove(name string) error {
	err := f.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.kept.Store(name, true)
	}
	return err
}

// removeKept deletes a file if Pebble could not.
func (f *FS) removeKept(name string) error {
	if _, kept := f.kept.LoadAndDelete(name); !kept {
		return nil
	}
	if err := f.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Rename renames a file.
func (f *FS) Rename(old, name string) error {
	return f.ended("rename", old, f.FS.Rename(old, name))
}

// List lists a directory.
func (f *FS) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	return names, f.ended("list", dir, err)
}

// OpenDir opens a directory: moving a marker, and making a file of the log, ends with syncing it.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err = f.ended("open", name, err); err != nil {
		return nil, err
	}
	return &written{file, f, name}, nil
}

// written is a file that is being written, or a directory.
type written struct {
	vfs.File
	fs   *FS
	name string
}

// Write writes.
func (w *written) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	return n, w.fs.ended("write", w.name, err)
}

// WriteAt writes somewhere.
func (w *written) WriteAt(p []byte, at int64) (int, error) {
	n, err := w.File.WriteAt(p, at)
	return n, w.fs.ended("write", w.name, err)
}

// Preallocate makes room.
func (w *written) Preallocate(at, length int64) error {
	return w.fs.ended("make room in", w.name, w.File.Preallocate(at, length))
}

// Sync makes everything durable.
func (w *written) Sync() error { return w.fs.ended("sync", w.name, w.File.Sync()) }

// SyncData makes the bytes durable.
func (w *written) SyncData() error { return w.fs.ended("sync", w.name, w.File.SyncData()) }

// SyncTo begins to make bytes durable.
func (w *written) SyncTo(length int64) (bool, error) {
	full, err := w.File.SyncTo(length)
	return full, w.fs.ended("sync", w.name, err)
}

// Close closes the file.
func (w *written) Close() error { return w.fs.ended("close", w.name, w.File.Close()) }

// SyncDir makes the names in a directory durable.
func SyncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
