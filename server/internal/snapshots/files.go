package snapshots

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncEvery is how much of a file is written before the system begins to put it on the disk:
// so that the sync at its end is short, and the log's syncs do not wait behind it.
const syncEvery = 1 << 20

func exists(files vfs.FS, name string) (bool, error) {
	_, err := files.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// path returns where a file of a snapshot, or a directory of it, is below dir.
func path(files vfs.FS, dir, name string) string {
	return files.PathJoin(append([]string{dir}, strings.Split(name, "/")...)...)
}

// directories returns the directories that files are in, each before those in it, without
// the one that all of them are in.
func directories(all []File) (dirs []string) {
	known := map[string]bool{}
	for i := range all {
		name := all[i].Name
		for at, c := range name {
			if c == '/' && !known[name[:at]] {
				known[name[:at]] = true
				dirs = append(dirs, name[:at])
			}
		}
	}
	return dirs
}

// makeDirs makes a directory and those that files are in.
func makeDirs(files vfs.FS, dir string, all []File) error {
	if err := files.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range directories(all) {
		if err := files.MkdirAll(path(files, dir, d), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// syncDirs makes the names of files durable, and that of the directory dir that all are in.
func syncDirs(files vfs.FS, dir string, all []File) error {
	for _, d := range slices.Backward(directories(all)) {
		if err := syncDir(files, path(files, dir, d)); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(files, dir), syncDir(files, files.PathDir(dir)))
}

// walk returns the files below a directory, by name, with their sizes.
func walk(files vfs.FS, dir string) (all []File, err error) {
	var below func(at, prefix string, depth int) error
	below = func(at, prefix string, depth int) error {
		if depth > MaxDepth {
			return limit("%s: directories %d deep, at most %d", at, depth, MaxDepth)
		}
		names, err := files.List(at)
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := files.Stat(files.PathJoin(at, name))
			switch {
			case err != nil:
				return err
			case info.IsDir():
				if err := below(files.PathJoin(at, name), prefix+name+"/", depth+1); err != nil {
					return err
				}
			case len(all) == MaxFiles:
				return limit("%s: more than %d files", dir, MaxFiles)
			default:
				all = append(all, File{Name: prefix + name, Size: info.Size()})
			}
		}
		return nil
	}
	if err := below(dir, "", 1); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// newFile is a file that is being written.
type newFile struct {
	file vfs.File
	sum  hash.Hash
}

func create(files vfs.FS, name string) (*newFile, error) {
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &newFile{vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: syncEvery}), sha256.New()}, nil
}

// write writes on. What it is given may be changed afterwards, as a vfs.File may do.
func (f *newFile) write(p []byte) error {
	f.sum.Write(p)
	_, err := f.file.Write(p)
	return err
}

// finish makes the file durable, if it has the checksum it must have.
func (f *newFile) finish(want [sha256.Size]byte) error {
	if [sha256.Size]byte(f.sum.Sum(nil)) != want {
		return errors.Join(errSum, f.file.Close())
	}
	return errors.Join(f.file.Sync(), f.file.Close())
}

// errSum is a file that has not the bytes it had when the snapshot was made.
var errSum = corrupt("it is damaged: its checksum is not that of the snapshot")

// read gives a file to do, in pieces, at most size bytes of it, and returns how many it has.
func read(ctx context.Context, files vfs.FS, name string, size int64, do func(p []byte) error) (n int64, err error) {
	f, err := files.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, min(PieceSize, size+1))
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := f.Read(buf)
		if n += int64(k); n > size {
			return n, nil
		}
		if k > 0 {
			if err := do(buf[:k]); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// digest reads a file of so many bytes and returns its checksum.
func digest(ctx context.Context, files vfs.FS, name string, size int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := read(ctx, files, name, size, func(p []byte) error {
		h.Write(p)
		return nil
	})
	if err == nil && n != size {
		err = corrupt("it has not the %d bytes that it had", size)
	}
	return [sha256.Size]byte(h.Sum(nil)), err
}

// copyFile copies a file of a snapshot, durably, if it is what it was.
func copyFile(ctx context.Context, files vfs.FS, from, to string, f *File) error {
	out, err := create(files, to)
	if err != nil {
		return err
	}
	n, err := read(ctx, files, from, f.Size, out.write)
	if err == nil && n != f.Size {
		err = corrupt("it has not the %d bytes that it had", f.Size)
	}
	if err != nil {
		return errors.Join(err, out.file.Close())
	}
	return out.finish(f.Sum)
}
