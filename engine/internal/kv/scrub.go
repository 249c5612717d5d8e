package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

// Limits of scrubbing.
const (
	scrubPoll     = 10 * time.Millisecond // Pebble deletes files in the background, and tells nobody whom we could wait for
	scrubPatience = time.Minute           // for files to go that nobody reads
	maxRotations  = 32                    // of the log: Pebble keeps three files of it
	readPiece     = 1 << 20               // bytes of a file that are read together
)

// Scrub removes from the files what was deleted before, all of it: nothing in the store
// does that by itself within a known time. It writes anew what was written through the log
// (keys below those of the base), which compaction frees of what was deleted; then the
// tables that were cut by excising, for a cut table is a view of a file that still has all;
// then it changes the log for a new one until no file of it is left, not to be used again
// either. Data that readers still read must have been let go of before.
func (s *Store) Scrub(ctx context.Context, progress func(what string)) error {
	progress("compacting what was written through the log")
	if err := s.fatal.guard(s.DB.Flush); err != nil {
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
	if err := s.fatal.guard(func() error { return s.DB.Compact(ctx, span.Start, span.End, false) }); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

// tables returns the tables there are.
func (s *Store) tables() (out []pebble.SSTableInfo, err error) {
	err = s.fatal.guard(func() error {
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

// rotate begins new files of the log until there is none left of those there are.
func (s *Store) rotate(ctx context.Context) error {
	s.log.anew.Store(true)
	defer s.log.anew.Store(false)
	before, err := s.files(".log")
	if err != nil {
		return err
	}
	return s.await(ctx, func() ([]string, error) {
		if err := s.fatal.guard(s.DB.Flush); err != nil {
			return nil, fmt.Errorf("flush: %w", err)
		}
		now, err := s.files(".log")
		return slices.DeleteFunc(now, func(name string) bool { return !slices.Contains(before, name) }), err
	})
}

// await asks for names of files until there are none.
func (s *Store) await(ctx context.Context, left func() ([]string, error)) error {
	patience := time.NewTimer(scrubPatience)
	defer patience.Stop()
	poll := time.NewTicker(scrubPoll)
	defer poll.Stop()
	for {
		names, err := left()
		if err == nil {
			err = s.deleteKept(names)
		}
		if err != nil || len(names) == 0 {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%d files are not deleted yet, such as %s: somebody reads them, or they cannot be deleted", len(names), names[0]),
				Hint: "end long questions and exports, then purge again"}
		}
	}
}

// undeleted are the files that Pebble wanted to delete and could not: it does not try again
// before the store is opened the next time. Safe for concurrent use.
type undeleted struct {
	mu    sync.Mutex
	names map[string]bool
}

func (u *undeleted) note(name string, err error) {
	if err == nil || isNotExist(err) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.names == nil {
		u.names = map[string]bool{}
	}
	u.names[name] = true
}

// deleteKept deletes those of some files that Pebble could not delete.
func (s *Store) deleteKept(names []string) error {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	for _, name := range names {
		if !s.kept.names[name] {
			continue
		}
		if err := s.fs.Remove(s.fs.PathJoin(s.dir, name)); err != nil && !isNotExist(err) {
			return diskError("delete "+name, err)
		}
		delete(s.kept.names, name)
	}
	return nil
}

// files returns the names of Pebble's files with a suffix.
func (s *Store) files(suffix string) ([]string, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.dir, err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) }), nil
}

// awaitDeletions waits until the tables are deleted that are not in use now.
func (s *Store) awaitDeletions(ctx context.Context) error {
	before, err := s.unused()
	if err != nil {
		return err
	}
	return s.await(ctx, func() ([]string, error) {
		now, err := s.unused()
		return slices.DeleteFunc(now, func(name string) bool { return !slices.Contains(before, name) }), err
	})
}

// unused returns the tables that are files and in no level.
func (s *Store) unused() ([]string, error) {
	names, err := s.files(".sst") // first: what is made meanwhile is not among them
	if err != nil {
		return nil, err
	}
	tables, err := s.tables()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for i := range tables {
		used[tables[i].BackingSSTNum.String()+".sst"] = true
	}
	return slices.DeleteFunc(names, func(n string) bool { return used[n] || strings.HasPrefix(n, ingestPrefix) }), nil
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
