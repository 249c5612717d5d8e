package faultfs

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Kind is what an operation does. Those that change nothing come last.
type Kind string

// The kinds of operations. Several calls of a file system may be of one kind.
const (
	Create Kind = "create" // also of a file that is opened for reading and writing, and of a lock
	Write  Kind = "write"
	Sync   Kind = "sync" // of a file or a directory
	Rename Kind = "rename"
	Reuse  Kind = "reuse" // of a log, under another name
	Remove Kind = "remove"
	Link   Kind = "link"
	Mkdir  Kind = "mkdir"
	Open   Kind = "open"
	Read   Kind = "read"
	List   Kind = "list" // also what is asked about a file
)

// Op is an operation on the file of a path.
type Op struct {
	Kind Kind
	Path string
}

// String writes it as a message has it.
func (o Op) String() string { return string(o.Kind) + " " + o.Path }

// Changes reports whether the operation is of a kind that changes files.
func (o Op) Changes() bool { return o.Kind != Open && o.Kind != Read && o.Kind != List }

// FS is a file system with faults.
type FS struct {
	vfs.FS
	hook atomic.Pointer[func(op Op) error]

	mu      sync.Mutex // held while the files and what is known of them change
	base    *disk      // as it began
	disk    *disk
	changes []change
	traced  bool  // changes are kept
	room    int64 // bytes there is room for, 0: no end
	flipped map[string][]int64
}

// New returns an empty file system in memory.
func New() *FS { return &FS{FS: vfs.NewMem(), base: newDisk(), disk: newDisk(), traced: true} }

// Over returns a file system with the files of another one. A power cut of it leaves what
// was written through it.
func Over(under vfs.FS) *FS { return &FS{FS: under, base: newDisk(), disk: newDisk()} }

// Unwrap returns the file system below.
func (f *FS) Unwrap() vfs.FS { return f.FS }

// Before has do asked before every operation; what it returns fails the operation, but for
// [ErrSkipped]. nil: nobody is asked.
func (f *FS) Before(do func(op Op) error) {
	if do == nil {
		f.hook.Store(nil)
		return
	}
	f.hook.Store(&do)
}

// ErrSkipped is what a hook returns for an operation that is not done and said to be done.
var ErrSkipped = errors.New("not done") //tidy:constant

// Torn is what a hook returns for a write of which some sectors are written when it fails.
type Torn struct {
	Sectors int
	Err     error
}

func (t *Torn) Error() string { return t.Err.Error() }

// Unwrap returns why the write fails.
func (t *Torn) Unwrap() error { return t.Err }

// Limit leaves room for so many bytes in files, 0: no end of it. A write that there is no
// room for is done in part and fails with ENOSPC; removing a file's last name makes room.
func (f *FS) Limit(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = bytes
}

// GetDiskUsage tells how much room there is.
func (f *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	room, used := f.room, f.disk.size
	f.mu.Unlock()
	if room == 0 {
		return f.FS.GetDiskUsage(path)
	}
	return vfs.DiskUsage{AvailBytes: uint64(max(room-used, 0)), TotalBytes: uint64(room), UsedBytes: uint64(used)}, nil
}

// Used returns the bytes of all files.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disk.size
}

// ask asks the hook; done means that there is nothing left to do.
func (f *FS) ask(kind Kind, path string) (done bool, err error) {
	hook := f.hook.Load()
	if hook == nil {
		return false, nil
	}
	switch err := (*hook)(Op{kind, path}); {
	case err == nil:
		return false, nil
	case err == ErrSkipped:
		return true, nil
	default:
		return true, &os.PathError{Op: string(kind), Path: path, Err: err}
	}
}

// change does something to the files and, if it succeeds, to what is known of them.
func (f *FS) change(c change, do func() error) error {
	if done, err := f.ask(c.Kind, c.Path); done || err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	f.note(c)
	return nil
}

// note takes down what was done; f.mu is held.
func (f *FS) note(c change) {
	f.disk.apply(&c)
	if f.traced {
		f.changes = append(f.changes, c)
	}
}

// file is change for what opens a file. If the file is there, it is not made.
func (f *FS) file(c change, open func() (vfs.File, error)) (out vfs.File, err error) {
	switch done, err := f.ask(c.Kind, c.Path); {
	case err != nil:
		return nil, err
	case done:
		return nil, ErrSkipped // what is not open cannot be said to be
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	under, err := open()
	if err != nil {
		return nil, err
	}
	n := f.disk.find(c.Path)
	if c.Kind != Open || n == nil {
		if c.Kind == Open {
			c.Kind = Create
		}
		f.note(c)
		n = f.disk.find(c.Path)
	}
	return &file{File: under, fs: f, path: c.Path, node: n}, nil
}

// Create creates a file.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(change{Op: Op{Create, name}}, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// ReuseForWrite renames a file and opens it for writing.
func (f *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(change{Op: Op{Reuse, name}, old: old}, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

// OpenReadWrite opens a file, or creates it.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(change{Op: Op{Open, name}}, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

// Open opens a file for reading.
func (f *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if _, err := f.ask(Open, name); err != nil {
		return nil, err
	}
	under, err := f.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	return &file{File: under, fs: f, path: name}, nil
}

// OpenDir opens a directory for syncing.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	if _, err := f.ask(Open, name); err != nil {
		return nil, err
	}
	under, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{File: under, fs: f, path: name}, nil
}

// Lock locks a file.
func (f *FS) Lock(name string) (c io.Closer, err error) {
	err = f.change(change{Op: Op{Create, name}}, func() error {
		c, err = f.FS.Lock(name)
		return err
	})
	return c, err
}

// Link gives a file another name.
func (f *FS) Link(old, name string) error {
	return f.change(change{Op: Op{Link, name}, old: old}, func() error { return f.FS.Link(old, name) })
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	return f.change(change{Op: Op{Remove, name}}, func() error { return f.FS.Remove(name) })
}

// RemoveAll removes a file or a directory with everything in it.
func (f *FS) RemoveAll(name string) error {
	return f.change(change{Op: Op{Remove, name}}, func() error { return f.FS.RemoveAll(name) })
}

// Rename renames a file or a directory.
func (f *FS) Rename(old, name string) error {
	return f.change(change{Op: Op{Rename, name}, old: old}, func() error { return f.FS.Rename(old, name) })
}

// MkdirAll makes a directory and those it is in.
func (f *FS) MkdirAll(name string, perm os.FileMode) error {
	return f.change(change{Op: Op{Mkdir, name}}, func() error { return f.FS.MkdirAll(name, perm) })
}

// List returns the names in a directory.
func (f *FS) List(dir string) ([]string, error) {
	if _, err := f.ask(List, dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

// Stat describes a file.
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	if _, err := f.ask(List, name); err != nil {
		return nil, err
	}
	return f.FS.Stat(name)
}

// Flip turns a bit of a file round, at rest.
func (f *FS) Flip(name string, bit int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, err := f.FS.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err = h.ReadAt(b[:], bit/8); err == nil {
		b[0] ^= 1 << (bit % 8)
		_, err = h.WriteAt(b[:], bit/8)
	}
	if n := f.disk.find(name); n != nil && err == nil {
		c := change{Op: Op{Write, name}, file: n.number, at: bit / 8, data: b[:]}
		f.note(c)
		f.note(change{Op: Op{Sync, name}, file: n.number})
	}
	return errors.Join(err, h.Close())
}

// FlipRead shows bits of a file turned round to who reads it; the file is not changed. No
// bits: it is shown as it is.
func (f *FS) FlipRead(name string, bits ...int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flipped == nil {
		f.flipped = map[string][]int64{}
	}
	f.flipped[name] = bits
}

// file is an open file or directory.
type file struct {
	vfs.File
	fs   *FS
	path string
	node *node // nil if it is open for reading only, or a directory
	at   int64 // where the next Write writes
	read int64 // where the next Read reads
}

// Write writes on.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.write(p, f.at, f.File.Write)
	f.at += int64(n)
	return n, err
}

// WriteAt writes somewhere.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	return f.write(p, at, func(p []byte) (int, error) { return f.File.WriteAt(p, at) })
}

func (f *file) write(p []byte, at int64, do func(p []byte) (int, error)) (n int, err error) {
	whole := len(p)
	done, failed := f.fs.ask(Write, f.path)
	var torn *Torn
	switch {
	case errors.As(failed, &torn):
		p = p[:min(len(p), 512*torn.Sectors)]
	case failed != nil:
		return 0, failed
	case done:
		return whole, nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if room := f.fs.room - f.fs.disk.size; f.fs.room > 0 && f.node != nil {
		if fits := max(room, 0) + max(f.node.length-at, 0); fits < int64(len(p)) {
			p = p[:fits]
			failed = &os.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
		}
	}
	data := slices.Clone(p) // which who writes may change
	if n, err = do(p); n > 0 && f.node != nil {
		f.fs.note(change{Op: Op{Write, f.path}, file: f.node.number, at: at, data: data[:n]})
	}
	return n, errors.Join(err, failed)
}

func (f *file) sync(do func() error) error {
	c := change{Op: Op{Sync, f.path}, file: -1}
	if f.node != nil {
		c.file = f.node.number
	}
	return f.fs.change(c, do)
}

// Sync makes everything durable.
func (f *file) Sync() error { return f.sync(f.File.Sync) }

// SyncData makes the bytes durable.
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo begins to make bytes durable and promises nothing: full is false, as in memory.
func (f *file) SyncTo(length int64) (full bool, err error) {
	if done, err := f.fs.ask(Sync, f.path); done || err != nil {
		return false, err
	}
	_, err = f.File.SyncTo(length)
	return false, err
}

// Preallocate makes room. It is asked as a write: it is what fails first on a full disk.
func (f *file) Preallocate(at, length int64) error {
	if done, err := f.fs.ask(Write, f.path); done || err != nil {
		return err
	}
	return f.File.Preallocate(at, length)
}

// Read reads on.
func (f *file) Read(p []byte) (int, error) {
	if _, err := f.fs.ask(Read, f.path); err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	f.fs.flip(f.path, f.read, p[:n])
	f.read += int64(n)
	return n, err
}

// ReadAt reads somewhere.
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	if _, err := f.fs.ask(Read, f.path); err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, at)
	f.fs.flip(f.path, at, p[:n])
	return n, err
}

// flip turns the bits round that are shown so.
func (f *FS) flip(name string, at int64, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, bit := range f.flipped[name] {
		if i := bit/8 - at; i >= 0 && i < int64(len(p)) {
			p[i] ^= 1 << (bit % 8)
		}
	}
}
