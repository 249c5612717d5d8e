package raftlog

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// halt ends writing at the first error, for good: nobody knows what a disk has kept that has
// failed to sync. Pebble has no error to return then: it calls Fatalf, or panics, on one of
// its goroutines or on ours. So what failed does not return to Pebble, guard lets nobody wait
// for it, and Fatalf ends the goroutine that called it. (The engine's own store does alike.)
type halt struct {
	once   sync.Once
	halted chan struct{} // closed then
	cause  error         // set before that
}

func newHalt() *halt { return &halt{halted: make(chan struct{})} }

// Infof and Errorf drop what they get: a library does not log.
func (h *halt) Infof(string, ...any)  {}
func (h *halt) Errorf(string, ...any) {}

// Fatalf does not return.
func (h *halt) Fatalf(format string, args ...any) {
	var cause error
	for _, a := range args {
		if err, ok := a.(error); ok {
			cause = err
		}
	}
	h.giveUp(fmt.Sprintf(format, args...), cause)
	runtime.Goexit()
}

func (h *halt) giveUp(why string, cause error) {
	h.once.Do(func() {
		h.cause = &query.Error{Code: query.CodeFailed, Message: "the Raft log cannot be written: " + why, Hint: "see to the disk, then start the node again", Err: cause}
		close(h.halted)
	})
}

// background hears how flushes and compactions end: Pebble would try again for ever.
func (h *halt) background(err error) {
	var refused syscall.Errno // not a damaged block: whoever reads it is told
	if errors.As(err, &refused) {
		h.giveUp(err.Error(), err)
	}
}

// err returns why nothing is written any more, nil while it is.
func (h *halt) err() error {
	select {
	case <-h.halted:
		return h.cause
	default:
		return nil
	}
}

// guard runs something of Pebble's that may be halted; then it returns at once.
func (h *halt) guard(do func() error) error {
	if err := h.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-h.halted:
		return h.cause
	}
}

// haltFS is the file system that Pebble gets.
type haltFS struct {
	vfs.FS
	halt *halt
	kept sync.Map    // paths of files that Pebble could not delete: it does not try again
	anew atomic.Bool // files are not used again, but new ones are made: see Log.Purge
}

// Unwrap returns the file system below.
func (f *haltFS) Unwrap() vfs.FS { return f.FS }

// check returns if there is no error. That holds while Pebble opens, too: what it has begun in
// the background panics when it cleans up behind an error.
func (f *haltFS) check(what string, err error) error {
	if err == nil {
		return nil
	}
	f.halt.giveUp(what+": "+err.Error(), err)
	select {}
}

func (f *haltFS) file(name string, file vfs.File, err error) (vfs.File, error) {
	if f.check("open "+name, err) != nil {
		return nil, err
	}
	return &haltFile{File: file, fs: f, name: name}, nil
}

// Create creates a file. After the end it does not return: Pebble would try to flush for ever.
func (f *haltFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.halt.err() != nil {
		select {}
	}
	file, err := f.FS.Create(name, c)
	return f.file(name, file, err)
}

// ReuseForWrite renames a file and opens it for writing. What was in it is still there,
// behind what is written.
func (f *haltFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !f.anew.Load() {
		file, err := f.FS.ReuseForWrite(old, name, c)
		return f.file(name, file, err)
	}
	file, err := f.Create(name, c)
	if err == nil {
		err = f.check("remove "+old, f.FS.Remove(old))
	}
	return file, err
}

// Remove deletes a file.
func (f *haltFS) Remove(name string) error {
	err := f.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.kept.Store(name, true)
	}
	return err
}

// removeKept deletes a file if Pebble could not.
func (f *haltFS) removeKept(name string) error {
	if _, kept := f.kept.LoadAndDelete(name); !kept {
		return nil
	}
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("delete "+name, err)
	}
	return nil
}

// Rename renames a file.
func (f *haltFS) Rename(old, name string) error {
	return f.check("rename "+old, f.FS.Rename(old, name))
}

// OpenDir opens a directory.
func (f *haltFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if f.check("open "+name, err) != nil {
		return nil, err
	}
	return &haltDir{File: file, fs: f, name: name}, nil
}

// haltDir is a directory.
type haltDir struct {
	vfs.File
	fs   *haltFS
	name string
}

// Sync syncs, or does not return.
func (d *haltDir) Sync() error { return d.fs.check("sync "+d.name, d.File.Sync()) }

// haltFile is a file that is being written.
type haltFile struct {
	vfs.File
	fs   *haltFS
	name string
}

// Write writes, or does not return.
func (f *haltFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.check("write "+f.name, err)
}

// WriteAt writes, or does not return.
func (f *haltFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	return n, f.fs.check("write "+f.name, err)
}

// Preallocate makes room, or does not return.
func (f *haltFile) Preallocate(at, length int64) error {
	return f.fs.check("make room in "+f.name, f.File.Preallocate(at, length))
}

// Sync syncs, or does not return.
func (f *haltFile) Sync() error { return f.fs.check("sync "+f.name, f.File.Sync()) }

// SyncData syncs, or does not return.
func (f *haltFile) SyncData() error { return f.fs.check("sync "+f.name, f.File.SyncData()) }

// SyncTo syncs, or does not return.
func (f *haltFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.check("sync "+f.name, err)
}

// Close closes, or does not return.
func (f *haltFile) Close() error { return f.fs.check("close "+f.name, f.File.Close()) }

// syncDir makes the names in a directory durable.
func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
