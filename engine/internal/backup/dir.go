package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kantadb/kanta/query"
)

// Dir is a target in a folder. Nothing outside of it is read or written, whatever links
// somebody has put into it, and only regular files are read.
type Dir struct {
	root *os.Root
	name string // for messages
}

// unfinished is the folder in which files are written before they get their names.
const unfinished = "unfinished"

// OpenDir opens a folder as a target, and makes it if there is none. Close it.
func OpenDir(name string) (*Dir, error) {
	if err := os.MkdirAll(name, 0o777); err != nil {
		return nil, fmt.Errorf("backup target: %w", err)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("backup target: %w", err)
	}
	return &Dir{root, name}, nil
}

// Close lets the folder go.
func (d *Dir) Close() error { return d.root.Close() }

func (d *Dir) wrap(do, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", do, filepath.Join(d.name, filepath.FromSlash(name)), err)
}

// Put keeps data under a name.
func (d *Dir) Put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.wrap("write", name, d.put(name, data))
}

func (d *Dir) put(name string, data []byte) (err error) {
	if err := errors.Join(d.folder(unfinished), d.folder(path.Dir(name))); err != nil {
		return err
	}
	var suffix [8]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return err
	}
	tmp := unfinished + "/" + hex.EncodeToString(suffix[:])
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, d.root.Remove(tmp))
	}
	return d.sync(path.Dir(name))
}

// folder makes a folder, durably, if there is none.
func (d *Dir) folder(name string) error {
	if _, err := d.root.Lstat(name); err == nil || name == "." {
		return nil // if it is no folder, what follows fails
	}
	if err := d.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := d.root.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.sync(path.Dir(name))
}

// sync makes the names in a folder durable.
func (d *Dir) sync(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(f), f.Close())
}

// Get returns what is kept under a name.
func (d *Dir) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, d.wrap("read", name, err)
	}
	if !info.Mode().IsRegular() { // a link leads elsewhere, a pipe would wait for ever
		return nil, query.Errorf(query.CodeCorrupt, "%s is no file", filepath.Join(d.name, name))
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, d.wrap("read", name, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, d.wrap("read", name, err)
	}
	if int64(len(data)) > limit {
		return nil, query.Errorf(query.CodeCorrupt, "%s is larger than %d bytes", filepath.Join(d.name, name), limit)
	}
	return data, nil
}

// List calls f for every name that begins with prefix.
func (d *Dir) List(ctx context.Context, prefix string, f func(name string, size int64) error) error {
	top := cmpPath(strings.TrimSuffix(prefix, "/"))
	err := fs.WalkDir(d.root.FS(), top, func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return f(name, info.Size())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.wrap("list", prefix, err)
}

func cmpPath(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// Delete forgets a name.
func (d *Dir) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.sync(path.Dir(name))
	}
	return d.wrap("delete", name, err)
}
