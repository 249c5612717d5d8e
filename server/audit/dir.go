package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

const (
	lockName      = "LOCK"
	segmentPrefix = "audit-"
	segmentSuffix = ".seg"
	cutSuffix     = ".cut" // of a segment's first part while it is written anew
	windows       = runtime.GOOS == "windows"
)

// dir is a directory of a store.
type dir struct {
	fs      vfs.FS
	name    string
	machine bool // fs is the machine's, which has modes of files
}

func (d *dir) path(name string) string { return d.fs.PathJoin(d.name, name) }

// sync makes the names in the directory durable.
func (d *dir) sync() error { return syncDir(d.fs, d.name) }

func syncDir(files vfs.FS, name string) error {
	f, err := files.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func segmentName(first uint64) string {
	return fmt.Sprintf("%s%016d%s", segmentPrefix, first, segmentSuffix)
}

// numberOf returns the number in a segment's name.
func numberOf(name string) (first uint64, ok bool) {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, segmentPrefix), segmentSuffix)
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0 && segmentName(first) == name
}

// list returns the numbers in the names of segments, ascending, and the other names.
func (d *dir) list() (firsts []uint64, others []string, err error) {
	names, err := d.fs.List(d.name)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if first, ok := numberOf(name); ok {
			firsts = append(firsts, first)
		} else {
			others = append(others, name)
		}
	}
	slices.Sort(firsts)
	return firsts, others, nil
}

// missing reports whether an error says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// failed is the error of an operation on the directory.
func (d *dir) failed(what string, err error) error {
	var ours *query.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	return query.Errorf(query.CodeIO, "%s the audit store %s: %w", what, d.name, err)
}

// damaged is the error of a file that is not what was written; number is that of the record,
// 0 is of the file as a whole.
func (d *dir) damaged(file string, number uint64, at int64, what string) error {
	place := d.path(file)
	if number > 0 {
		place += fmt.Sprintf(", record %d at byte %d", number, at)
	}
	return &query.Error{Code: query.CodeCorrupt, Message: "the audit store is damaged: " + place + ": " + what,
		Hint: "bring the file back from a copy; kanta audit verify reads all of them"}
}

// readAt fills b, or returns what there is of it.
func readAt(f io.ReaderAt, b []byte, at int64) ([]byte, error) {
	n, err := f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}
