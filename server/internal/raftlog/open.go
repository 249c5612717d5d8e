package raftlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/query"
)

const (
	databaseDir = "db"

	// What is appended is read again soon, by those who send and apply it, while it is in
	// the memtable: there a few seconds of full load have room. Pebble keeps three files of
	// its log of that size.
	memTableBytes = 16 << 20
	cacheBytes    = 8 << 20
)

// Options are what [Open] may be told; nil is as good as the zero value.
type Options struct {
	// FS is where the files are, nil: the machine's.
	FS vfs.FS
	// MustExist refuses, with [ErrLost], to make a log where there is none: a node that has
	// been one must not vote with an empty log.
	MustExist bool
}

// Log is an open log. Safe for concurrent use.
type Log struct {
	db    *pebble.DB
	fs    *halt.FS
	dir   string // Pebble's
	cache *pebble.Cache
	lock  *pebble.Lock
	halt  *halt.Halt
	marks *marks
	ahead ahead

	writing sync.Mutex // held while entries or stable values are written; taken before mu
	staged  uint64     // commit index; under writing
	sum     uint32     // of the last entry; under writing
	stable  stable     // changed under both

	mu     sync.RWMutex
	closed bool
	state  state
	sizes  []uint32 // of the entries, as they are stored
	bytes  int64    // their sum
	ghost  uint64   // raft believes in entries behind the last one up to here, 0: it does not
}

// Open opens the log in a directory, and makes it if there is none. It reads and verifies
// every entry. An error that wraps [ErrLost] says that the node must not vote.
func Open(ctx context.Context, dir string, o *Options) (*Log, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if opt.FS == nil {
		opt.FS = vfs.Default
	}
	if err := find(opt, dir); err != nil {
		return nil, err
	}
	path := opt.FS.PathJoin(dir, databaseDir)
	lock, err := pebble.LockDirectory(path, opt.FS)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, damaged("the Raft log in %s is not whole: its folder %s is missing", dir, databaseDir)
	case err != nil:
		return nil, &query.Error{Code: query.CodeInUse, Message: fmt.Sprintf("the Raft log in %s is in use by another process, or may not be written: %v", dir, err), Hint: "end the other process", Err: err}
	}
	l := &Log{dir: path, lock: lock, halt: newHalt()}
	if err := l.open(ctx, opt.FS, dir); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Log) open(ctx context.Context, files vfs.FS, dir string) error {
	must, at, err := readMark(files, dir)
	if err != nil {
		return err
	}
	l.cache, l.fs = pebble.NewCache(cacheBytes), newFS(files, l.halt)
	opts := options(l.fs, l.cache, l.halt)
	opts.Lock, opts.ErrorIfNotExists = l.lock, true
	if err := l.halt.Guard(func() (err error) { l.db, err = pebble.Open(l.dir, opts); return err }); err != nil {
		return openError(l.dir, err)
	}
	l.fs.NowOpen()
	if err := l.load(ctx); err != nil {
		return err
	}
	if err := l.verify(&must); err != nil {
		return err
	}
	if l.marks, err = openMarks(files, dir, must, at, l.halt); err != nil {
		return err
	}
	// What was written last may not have been synced, nor marked: now it counts.
	if err = l.halt.Guard(func() error { return l.db.LogData(nil, pebble.Sync) }); err != nil {
		return failed("sync the Raft log", err)
	}
	l.ahead.start(l)
	return l.note(true)
}

// release lets go of what opening has got. If Pebble is stuck it cannot be closed, and the lock
// is kept while this process lives.
func (l *Log) release() error {
	var err error
	if l.ahead.queue != nil {
		close(l.ahead.queue)
		<-l.ahead.done
	}
	if l.marks != nil {
		err = l.marks.close()
	}
	if l.db != nil {
		err = errors.Join(err, l.halt.Guard(l.db.Close))
	}
	if l.halt.Err() != nil {
		return err
	}
	if l.cache != nil {
		l.cache.Unref()
	}
	return errors.Join(err, l.lock.Close())
}

// Close makes what there is durable and closes the log. Nobody may use it meanwhile or after.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	err := l.Settle()
	if err == nil {
		err = l.halt.Guard(func() error { return l.db.LogData(nil, pebble.Sync) })
	}
	if err == nil {
		err = l.note(false)
	}
	return errors.Join(err, l.release())
}

// Failed returns why the log takes nothing any more, nil while it does.
func (l *Log) Failed() error { return l.halt.Err() }

func options(files *halt.FS, cache *pebble.Cache, h *halt.Halt) *pebble.Options {
	o := &pebble.Options{
		FS: files, Cache: cache, Logger: h,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       8, // by then most of it is deleted again
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                256,
		EventListener: &pebble.EventListener{
			DataCorruption: func(pebble.DataCorruptionInfo) {}, // whoever reads it is told
			FlushBegin:     func(pebble.FlushInfo) { files.FlushBegins() },
			FlushEnd:       func(i pebble.FlushInfo) { h.Background(i.Err) },
			CompactionEnd:  func(i pebble.CompactionInfo) { h.Background(i.Err) },
		},
	}
	// Batches are compressed by those who make them.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range o.Levels {
		o.Levels[i].BlockSize, o.Levels[i].IndexBlockSize = 32<<10, 32<<10
	}
	return o
}

// openError tells what Pebble cannot read from what the system does not let it read.
func openError(dir string, err error) error {
	if coded := failed("open "+dir, err); !errors.Is(coded, &query.Error{Code: query.CodeFailed}) {
		return coded
	}
	return damaged("a file in %s is damaged: %v", dir, err)
}

// find makes the log if there is none.
func find(opt Options, dir string) error {
	names, err := opt.FS.List(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return failed("open "+dir, err)
	case len(names) > 0:
		return nil
	case opt.MustExist:
		return damaged("there is no Raft log in %s", dir)
	}
	if err := create(opt.FS, dir, err == nil); err != nil {
		return failed("make a Raft log in "+dir, err)
	}
	return nil
}

// create makes a log beside its place and renames it: a crash leaves a whole one or none.
func create(files vfs.FS, dir string, empty bool) error {
	tmp := dir + ".creating"
	path := files.PathJoin(tmp, databaseDir)
	if err := errors.Join(files.RemoveAll(tmp), files.MkdirAll(path, 0o700)); err != nil {
		return err
	}
	s := state{}
	if _, err := rand.Read(s.id[:]); err != nil {
		return err
	}
	for range 2 { // the second time Pebble's log is in the form that shows damage
		if err := createDatabase(files, path, &s); err != nil {
			return err
		}
	}
	err := errors.Join(createMark(files, tmp, s.id), halt.SyncDir(files, tmp))
	if err == nil && empty {
		err = files.Remove(dir)
	}
	if err == nil {
		err = files.Rename(tmp, dir)
	}
	if err == nil {
		err = halt.SyncDir(files, files.PathDir(dir))
	}
	return err
}

func createDatabase(files vfs.FS, path string, s *state) error {
	cache, h := pebble.NewCache(1<<20), newHalt()
	return h.Guard(func() error {
		db, err := pebble.Open(path, options(newFS(files, h), cache, h))
		if err != nil {
			cache.Unref()
			return err
		}
		err = errors.Join(
			db.Set([]byte(stateKey), appendState(nil, s), pebble.NoSync),
			db.Set([]byte(stableKey), appendStable(nil, &stable{}), pebble.Sync), db.Close())
		cache.Unref()
		return err
	})
}

// load reads the state and every entry.
func (l *Log) load(ctx context.Context) (err error) {
	b, err := l.get([]byte(stateKey))
	if err == nil {
		l.state, err = decodeState(b)
	}
	if err != nil {
		return err
	}
	l.staged = l.state.commit
	if b, err = l.get([]byte(stableKey)); err == nil {
		l.stable, err = decodeStable(b)
	}
	if err != nil {
		return err
	}
	it, err := l.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{entryPrefix}, UpperBound: entriesEnd()})
	if err != nil {
		return failed("read the Raft log", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	next := l.state.base.index + 1
	for it.First(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return failed("read the Raft log", err)
		}
		if index, ok := entryIndex(it.Key()); !ok || index != next {
			return damaged("the Raft log has a key %x where entry %d should be", it.Key(), next)
		}
		_, at, err := decodeEntry(next, v)
		if err != nil {
			return err
		}
		if at.previous != l.sum && len(l.sizes) > 0 {
			return damagedEntry(next, "the entry before is another one than when it was written")
		}
		l.sum = at.sum
		l.sizes = append(l.sizes, uint32(len(v)))
		l.bytes += int64(len(v))
		next++
	}
	if err := it.Error(); err != nil {
		return failed("read the Raft log", err)
	}
	if next != l.state.last+1 {
		return damaged("the Raft log ends at entry %d, and %d were written", next-1, l.state.last)
	}
	return nil
}

// verify compares what there is with the mark.
func (l *Log) verify(must *slot) error {
	s := &l.state
	switch {
	case must.id != s.id:
		return damaged("the file MARK is of the Raft log %x, and this is %x", must.id, s.id)
	case s.base.index < must.base || s.last < must.last:
		return damaged("the Raft log has the entries %d to %d, and its file MARK says that it had %d to %d", s.base.index+1, s.last, must.base+1, must.last)
	case l.stable.sequence < must.stable:
		return damaged("term and vote are those of change %d, and the file MARK says that there were %d", l.stable.sequence, must.stable)
	case l.stable.sequence == must.stable && must.stable > 0 && l.stableSum() != must.stableSum:
		return damaged("term and vote are others than the file MARK says")
	}
	if must.last <= s.base.index {
		return nil
	}
	sum := l.sum
	if must.last < s.last {
		_, at, err := l.read(must.last)
		if err != nil {
			return err
		}
		sum = at.sum
	}
	if sum != must.sum {
		return damagedEntry(must.last, "it is another one than the file MARK says")
	}
	return nil
}

func (l *Log) stableSum() uint32 {
	return crc32.Checksum(appendStable(nil, &l.stable), castagnoli)
}
