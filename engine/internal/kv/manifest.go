package kv

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/kantadb/kanta/query"
)

// Pebble's list of files, MANIFEST-n, is a log of changes. Pebble takes what it cannot read
// of it for its end, deletes the files that it does not know of then, and goes on. So the
// mark says how much of it is durable, and that much must be there before Pebble opens.

const manifestPrefix = "MANIFEST-"

// fileList is how much of which list of files is durable. Number 0: it is not known.
type fileList struct{ number, size uint64 }

// fileLists follows what Pebble writes of its lists.
type fileLists struct {
	synced  atomic.Pointer[fileList] // the one that was synced last
	current atomic.Uint64            // the number of the one that the store is opened by
}

// durable returns the list that the store would be opened by now.
func (l *fileLists) durable() fileList {
	s := l.synced.Load()
	if s == nil || s.number != l.current.Load() {
		return fileList{}
	}
	return *s
}

// created hears that Pebble goes on with another list.
func (l *fileLists) created(info pebble.ManifestCreateInfo) {
	if info.Err == nil {
		l.current.Store(uint64(info.FileNum))
	}
}

// listNumber returns the number in the name of a list of files.
func listNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, manifestPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// listFile is a list of files that is being written.
type listFile struct {
	vfs.File
	lists  *fileLists
	number uint64
	size   uint64
}

// Write writes, and counts.
func (f *listFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.size += uint64(n)
	return n, err
}

// Sync syncs, and takes note of how much.
func (f *listFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.lists.synced.Store(&fileList{f.number, f.size})
	}
	return err
}

// checkList returns an error if the list of files in dir, Pebble's directory, has less than
// want.
func checkList(files vfs.FS, dir string, want fileList) (err error) {
	if want.number == 0 {
		return nil
	}
	damaged := func(format string, args ...any) error {
		return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("%s: %s. What it lists cannot be told, and nothing has been changed", dir, fmt.Sprintf(format, args...)), Hint: "restore the store from a backup"}
	}
	marker, name, err := atomicfs.LocateMarker(files, dir, "manifest")
	if err != nil {
		return fmt.Errorf("look for the list of files in %s: %w", dir, err)
	}
	if err := marker.Close(); err != nil {
		return err
	}
	number, ok := listNumber(name)
	if !ok || number < want.number {
		return damaged("the list of files is %q, not %s%06d: the file marker.manifest.* is missing or an old one", name, manifestPrefix, want.number)
	}
	if number > want.number {
		return nil // Pebble has gone on with another one since
	}
	f, err := files.Open(files.PathJoin(dir, name))
	if isNotExist(err) {
		return damaged("the list of files %s is missing", name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := record.NewReader(f, 0)
	for at := uint64(0); ; {
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		switch {
		case err == nil:
			if at = uint64(r.Offset()); at >= want.size {
				return nil
			}
		case errors.Is(err, io.EOF) || record.IsInvalidRecord(err):
			return damaged("the list of files %s is damaged: of its %d bytes those from %d on cannot be read", name, want.size, at)
		default:
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}
