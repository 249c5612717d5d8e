package kv

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS stops Pebble when a file of its write-ahead log cannot be written, or a directory
// not be synced. Pebble itself panics then, with a mutex unlocked that its deferred calls
// unlock again, or on a goroutine of its own, which nobody can recover from. So the failed
// call never returns: whoever waits for it is let go by [fatal.guard], and readers need
// nothing that the stuck goroutine holds. From then on making any file does not return
// either: Pebble would try to flush again for ever.
type logFS struct {
	vfs.FS
	dir    string // the store's: what is written elsewhere, such as a checkpoint, may fail
	fatal  *fatal
	lists  fileLists
	armed  atomic.Bool           // not while the store is being opened: there errors of the log are returned
	others atomic.Pointer[error] // of syncing a directory that is not the store's
	anew   atomic.Bool           // files are not used again, but new ones are made: see Store.Scrub
}

// Unwrap returns the file system below.
func (l *logFS) Unwrap() vfs.FS { return l.FS }

// Create creates a file.
func (l *logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	l.halt()
	f, err := l.FS.Create(name, c)
	if number, ok := listNumber(l.PathBase(name)); ok && err == nil && l.PathDir(name) == l.dir {
		return &listFile{File: f, lists: &l.lists, number: number}, nil
	}
	return l.watch(name, f, err)
}

// ReuseForWrite renames a file and opens it for writing. What was in it is still there,
// behind what is written.
func (l *logFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if l.anew.Load() {
		f, err := l.Create(name, c)
		if err == nil {
			err = l.check(l.FS.Remove(old))
		}
		return f, err
	}
	f, err := l.FS.ReuseForWrite(old, name, c)
	return l.watch(name, f, err)
}

// OpenDir opens a directory: making a file of the log, and moving a marker, ends with
// syncing it.
func (l *logFS) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	if err != nil {
		return f, err
	}
	if name != l.dir {
		return &otherDir{f, l}, nil
	}
	return &logDir{f, l}, nil
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

func (l *logFS) watch(name string, f vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") || l.FS.PathDir(name) != l.dir {
		return f, err
	}
	if l.check(err) != nil {
		return nil, err
	}
	return &logFile{f, l}, nil
}

// halt does not return once Pebble has given up.
func (l *logFS) halt() {
	if l.armed.Load() && l.fatal.err() != nil {
		select {}
	}
}

// check returns err, or does not return.
func (l *logFS) check(err error) error {
	if err == nil || !l.armed.Load() {
		return err
	}
	l.fatal.giveUp("its log cannot be written: "+err.Error(), err)
	select {}
}

// logDir is a directory.
type logDir struct {
	vfs.File
	fs *logFS
}

// Sync syncs, or does not return.
func (d *logDir) Sync() error {
	err := d.File.Sync()
	if err != nil {
		d.fs.fatal.giveUp("its directory cannot be synced: "+err.Error(), err)
		select {}
	}
	return nil
}

// logFile is a file of the write-ahead log.
type logFile struct {
	vfs.File
	fs *logFS
}

// Write writes, or does not return.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.check(err)
}

// WriteAt writes, or does not return.
func (f *logFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	return n, f.fs.check(err)
}

// Preallocate makes room, or does not return.
func (f *logFile) Preallocate(at, length int64) error {
	return f.fs.check(f.File.Preallocate(at, length))
}

// Sync syncs, or does not return.
func (f *logFile) Sync() error { return f.fs.check(f.File.Sync()) }

// SyncData syncs, or does not return.
func (f *logFile) SyncData() error { return f.fs.check(f.File.SyncData()) }

// SyncTo syncs, or does not return.
func (f *logFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.check(err)
}

// Close closes, or does not return.
func (f *logFile) Close() error { return f.fs.check(f.File.Close()) }
