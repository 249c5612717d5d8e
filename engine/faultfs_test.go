package engine_test

import (
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFS is a file system in memory that can crash and fail. Pebble's own wrapper lets
// errors past recycled logs, and its crash clone can deadlock with them; hence the gate.
type faultFS struct {
	*vfs.MemFS
	gate sync.RWMutex // held for writing while a clone is made
	hook atomic.Pointer[func(op, path string) error]
}

func newFaultFS() *faultFS {
	return &faultFS{MemFS: vfs.NewCrashableMem()}
}

// before has do called before everything that changes a file.
func (f *faultFS) before(do func(op, path string) error) { f.hook.Store(&do) }

// crash returns the files as a power cut might leave them: what was synced, and some
// percent of what was not.
func (f *faultFS) crash(percent int, seed int64) *vfs.MemFS {
	f.gate.Lock()
	defer f.gate.Unlock()
	return f.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(seed), 1))})
}

func (f *faultFS) change(op, path string, do func() error) error {
	if hook := f.hook.Load(); hook != nil {
		if err := (*hook)(op, path); err != nil {
			return &os.PathError{Op: op, Path: path, Err: err}
		}
	}
	f.gate.RLock()
	defer f.gate.RUnlock()
	return do()
}

func (f *faultFS) file(op, path string, open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.change(op, path, func() error {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, path}, nil
}

func (f *faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("create", name, func() (vfs.File, error) { return f.MemFS.Create(name, c) })
}

func (f *faultFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("reuse", name, func() (vfs.File, error) { return f.MemFS.ReuseForWrite(old, name, c) })
}

func (f *faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file("open", name, func() (vfs.File, error) { return f.MemFS.OpenReadWrite(name, c, o...) })
}

func (f *faultFS) Lock(name string) (c io.Closer, err error) {
	err = f.change("lock", name, func() error {
		c, err = f.MemFS.Lock(name)
		return err
	})
	return c, err
}

func (f *faultFS) OpenDir(name string) (vfs.File, error) {
	d, err := f.MemFS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{d, f, name}, nil
}

func (f *faultFS) Link(old, name string) error {
	return f.change("link", name, func() error { return f.MemFS.Link(old, name) })
}

func (f *faultFS) Remove(name string) error {
	return f.change("remove", name, func() error { return f.MemFS.Remove(name) })
}

func (f *faultFS) Rename(old, name string) error {
	return f.change("rename", name, func() error { return f.MemFS.Rename(old, name) })
}

func (f *faultFS) MkdirAll(name string, perm os.FileMode) error {
	return f.change("mkdir", name, func() error { return f.MemFS.MkdirAll(name, perm) })
}

// faultFile is a file of a faultFS.
type faultFile struct {
	vfs.File
	fs   *faultFS
	path string
}

func (f *faultFile) Write(p []byte) (n int, err error) {
	err = f.fs.change("write", f.path, func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *faultFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fs.change("write", f.path, func() error {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

func (f *faultFile) Sync() error     { return f.fs.change("sync", f.path, f.File.Sync) }
func (f *faultFile) SyncData() error { return f.fs.change("sync", f.path, f.File.SyncData) }

func (f *faultFile) SyncTo(length int64) (full bool, err error) {
	err = f.fs.change("sync", f.path, func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
