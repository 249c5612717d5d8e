package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

// readPiece is how many bytes of a file are read together.
const readPiece = 1 << 20

// Scrub removes from the files what was deleted before, all of it: nothing in the store
// does that by itself within a known time. It writes anew what was written through the log
// (keys below those of the base), which compaction frees of what was deleted; then the
// tables that were cut by excising, for a cut table is a view of a file that still has all;
// then it changes the log for a new one until no file of it is left, not to be used again
// either. Data that readers still read must have been let go of before.
func (s *Store) Scrub(ctx context.Context, progress func(what string)) error {
	progress("compacting what was written through the log")
	if err := s.halt.Guard(s.DB.Flush); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := s.compact(ctx, keys.Logged()); err != nil {
		return err
	}
	if err := s.uncut(ctx, progress); err != nil {
		return err
	}
	progress("changing the log")
	if err := s.rotate(ctx); err != nil {
		return err
	}
	progress("waiting for files to be deleted")
	if err := s.awaitDeletions(ctx); err != nil {
		return err
	}
	if err := SyncDir(s.fs, s.dir); err != nil { // else what is deleted may come back with a power cut
		return diskError("sync "+s.dir, err)
	}
	return nil
}

func (s *Store) compact(ctx context.Context, span keys.Span) error {
	if err := s.halt.Guard(func() error { return s.DB.Compact(ctx, span.Start, span.End, false) }); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

// tables returns the tables there are.
func (s *Store) tables() (out []pebble.SSTableInfo, err error) {
	err = s.halt.Guard(func() error {
		levels, err := s.DB.SSTables()
		out = slices.Concat(levels...)
		return err
	})
	return out, wrap("list tables", err)
}

// uncut writes cut tables anew. Compacting does nothing to a table of the lowest level by
// itself, so a tombstone of keys that nobody has, which reach around its first key, is laid
// over it and compacted into it.
func (s *Store) uncut(ctx context.Context, progress func(what string)) error {
	tried := map[uint64]bool{}
	for {
		tables, err := s.tables()
		if err != nil {
			return err
		}
		at := slices.IndexFunc(tables, func(t pebble.SSTableInfo) bool { return t.Virtual && !tried[uint64(t.FileNum)] })
		if at < 0 {
			if slices.ContainsFunc(tables, func(t pebble.SSTableInfo) bool { return t.Virtual && tried[uint64(t.FileNum)] }) {
				return query.Errorf(query.CodeInternal, "a table that was cut could not be written anew")
			}
			return nil
		}
		t := &tables[at]
		tried[uint64(t.FileNum)] = true
		progress(fmt.Sprintf("writing table %v anew", t.FileNum))
		if err := s.rewrite(ctx, around(t.Smallest.UserKey)); err != nil {
			return err
		}
	}
}

// around returns two keys that nobody has, next before and next behind one: keys of one
// kind have the same length, or end with a letter.
func around(k []byte) keys.Span {
	before := slices.Clone(k[:len(k)-1])
	if last := k[len(k)-1]; last > 0 {
		before = append(before, last-1, 0xFF)
	}
	return keys.Span{Start: before, End: append(slices.Clone(k), 0)}
}

// rewrite has the tables written anew that have keys of a span, of which nobody has the ends.
func (s *Store) rewrite(ctx context.Context, span keys.Span) error {
	t, err := s.NewTable()
	if err != nil {
		return err
	}
	if err = errors.Join(t.w.Delete(span.Start), t.w.Delete(span.End)); err != nil {
		return errors.Join(err, t.Discard())
	}
	if err := t.Ingest(ctx); err != nil {
		return err
	}
	return s.compact(ctx, span)
}

// leftovers are the files that have what was deleted.
func (s *Store) leftovers() *halt.Leftovers {
	return &halt.Leftovers{FS: &s.log.FS, Dir: s.dir, Hint: "end long questions and exports, then purge again"}
}

// rotate begins new files of the log until there is none left of those there are.
func (s *Store) rotate(ctx context.Context) error {
	return diskError("change the log", s.leftovers().Rotate(ctx, func() error {
		if err := s.halt.Guard(s.DB.Flush); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		return nil
	}))
}

// awaitDeletions waits until the tables are deleted that are not in use now.
func (s *Store) awaitDeletions(ctx context.Context) error {
	return diskError("wait for tables to be deleted", s.leftovers().Tables(ctx, func() (func(name string) bool, error) {
		tables, err := s.tables()
		used := map[string]bool{}
		for i := range tables {
			used[tables[i].BackingSSTNum.String()+".sst"] = true
		}
		return func(name string) bool { return used[name] || strings.HasPrefix(name, ingestPrefix) }, err
	}))
}

// Contents calls f with all that is in the files of the store: each file as it is, piece by
// piece, of which overlap bytes come again with the next one; and tables once more, row by
// row, as they were before they were compressed, whether anybody can still read the row or
// not. What f gets is valid during the call. Files that are deleted meanwhile are left out.
func (s *Store) Contents(ctx context.Context, overlap int, f func(file string, key, bytes []byte) error) (files, bytes uint64, err error) {
	err = s.eachFile(s.fs.PathDir(s.dir), func(path string, size int64) error {
		n, err := s.raw(ctx, path, size, overlap, f)
		if err == nil && strings.HasSuffix(path, ".sst") {
			err = s.tableRows(ctx, path, f)
		}
		if isNotExist(err) {
			return nil
		}
		files++
		bytes += n
		return err
	})
	return files, bytes, err
}

func (s *Store) eachFile(dir string, f func(path string, size int64) error) error {
	names, err := s.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := s.fs.PathJoin(dir, name)
		info, err := s.fs.Stat(path)
		switch {
		case isNotExist(err):
			continue
		case err != nil:
			return fmt.Errorf("look at %s: %w", path, err)
		case info.IsDir():
			err = s.eachFile(path, f)
		default:
			err = f(path, info.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// raw reads a file of about some size.
func (s *Store) raw(ctx context.Context, path string, size int64, overlap int, f func(file string, key, bytes []byte) error) (n uint64, err error) {
	file, err := s.fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buf, have := make([]byte, overlap+int(min(size+1, readPiece))), 0
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		got, err := io.ReadFull(file, buf[have:])
		if n += uint64(got); got > 0 {
			if err := f(path, nil, buf[:have+got]); err != nil {
				return n, err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("read %s: %w", path, err)
		}
		have = copy(buf, buf[have+got-overlap:have+got])
	}
}

// tableRows reads a table as a file: also what is deleted in it, or cut off.
func (s *Store) tableRows(ctx context.Context, path string, f func(file string, key, bytes []byte) error) (err error) {
	file, err := s.fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(struct{ vfs.File }{file})
	if err != nil {
		return errors.Join(err, file.Close())
	}
	r, err := sstable.NewReader(ctx, readable, s.reading)
	if err != nil {
		return wrap("open table "+path, err) // which closes the file
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return wrap("read table "+path, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for row := it.First(); row != nil; row = it.Next() {
		v, _, err := row.Value(nil)
		if err == nil {
			err = f(path, row.K.UserKey, v)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return wrap("read table "+path, it.Error())
}
