package snapshots

import (
	"context"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What is beside a store's directory while another one is put in its place.
const (
	makingSuffix = ".making" // not finished
	newSuffix    = ".new"    // finished, every byte of it durable
	oldSuffix    = ".old"    // what was there
)

// sealed reports whether a file of a store is never changed once it is written: Pebble's
// tables and blobs. Only those may have two names; all others are copied, for the store
// changes them in place.
func sealed(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Install makes a store of a snapshot and puts it in the place dir of one that is there, if
// any, and that nobody has open. Its tables are links to the snapshot's and so take no room;
// if they were not read since the process began they are verified. check, if not nil, looks at the
// directory that was made before it is put there. After an error dir is as it was: only if
// the disk fails when it is renamed it may be the new one, or not there until [Recover]. A crash
// leaves the one or the other, whole, once Recover was called.
func Install(ctx context.Context, r *Reader, dir string, check func(dir string) error) error {
	files := r.store.fs
	if err := Recover(files, dir); err != nil {
		return err
	}
	if err := r.lay(ctx, dir+makingSuffix); err != nil {
		return errors.Join(about(err, "install snapshot %s to %s", r.k, dir), files.RemoveAll(dir+makingSuffix))
	}
	if check != nil {
		if err := check(dir + makingSuffix); err != nil {
			return errors.Join(about(err, "install snapshot %s to %s", r.k, dir), files.RemoveAll(dir+makingSuffix))
		}
	}
	return about(swap(files, dir), "install snapshot %s to %s", r.k, dir)
}

// swap puts what was made in the place of what is there. Renames in one directory are
// durable in their order, so one sync behind them is enough.
func swap(files vfs.FS, dir string) error {
	parent := files.PathDir(dir)
	if err := files.Rename(dir+makingSuffix, dir+newSuffix); err != nil {
		return errors.Join(err, files.RemoveAll(dir+makingSuffix))
	}
	is, err := exists(files, dir)
	if err == nil && is {
		err = files.Rename(dir, dir+oldSuffix)
	}
	if err != nil {
		return errors.Join(err, Recover(files, dir))
	}
	if err := files.Rename(dir+newSuffix, dir); err != nil {
		if is {
			err = errors.Join(err, files.Rename(dir+oldSuffix, dir))
		}
		return errors.Join(err, Recover(files, dir))
	}
	if err := syncDir(files, parent); err != nil {
		return err
	}
	return files.RemoveAll(dir + oldSuffix)
}

// Recover ends what a crash has left of [Install]: dir is the store that was there or the one that was
// put in its place, and what else there was is deleted. It is called before the store is opened.
func Recover(files vfs.FS, dir string) error {
	return about(recovered(files, dir), "end the installation of %s", dir)
}

func recovered(files vfs.FS, dir string) error {
	is, err := exists(files, dir)
	if err != nil {
		return err
	}
	for _, suffix := range []string{newSuffix, oldSuffix} {
		there, err := exists(files, dir+suffix)
		if err != nil {
			return err
		}
		if !is && there {
			if err := errors.Join(files.Rename(dir+suffix, dir), syncDir(files, files.PathDir(dir))); err != nil {
				return err
			}
			is = true
		}
	}
	for _, suffix := range []string{makingSuffix, newSuffix, oldSuffix} {
		if err := files.RemoveAll(dir + suffix); err != nil {
			return err
		}
	}
	return nil
}

// lay makes a directory with the files of the snapshot, durably.
func (r *Reader) lay(ctx context.Context, to string) error {
	files, m, from := r.store.fs, r.k.meta, r.Directory()
	if r.closed {
		return errClosed
	}
	r.store.mu.Lock()
	verified := r.k.verified
	r.store.mu.Unlock()
	if err := makeDirs(files, to, m.Files); err != nil {
		return err
	}
	for i := range m.Files {
		f := &m.Files[i]
		source, target := path(files, from, f.Name), path(files, to, f.Name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if !sealed(f.Name) {
			if err := copyFile(ctx, files, source, target, f); err != nil {
				return about(err, "file %s", f.Name)
			}
			continue
		}
		if !verified {
			sum, err := digest(ctx, files, source, f.Size)
			if err == nil && sum != f.Sum {
				err = errSum
			}
			if err != nil {
				return about(err, "file %s", f.Name)
			}
		}
		if err := files.Link(source, target); err != nil {
			return about(err, "file %s", f.Name)
		}
	}
	return syncDirs(files, to, m.Files)
}
