// Package kv opens the key-value store (Pebble) and seals the values in it.
//
// A store is a directory with three entries: KANTA, which says what it is, MARK, which
// says what it must have, and db, the Pebble store. It is created beside its final place
// and renamed into it, so that a crash leaves a whole store or none. While a backup is made
// there is checkpoint, a store within the store, and while it is replaced by a restored one
// REPLACED, which has the id of that; what a crash leaves of them goes at the next opening.
// A copy that was made for another replica has a file COPY until it is first opened for writing.
//
// # KANTA file, format 1
//
//	kanta store
//	format 1
//	id 32 hexadecimal digits
//	root 32 hexadecimal digits
//	epoch 2
//	sum 64 hexadecimal digits
//
// The first line is the magic. A larger format number is a newer store. The last three lines
// are those of a store that was restored, see [Identity]; the last is the SHA-256 of those
// before. In the others the file MARK has the id, too.
//
// # MARK file, format 1
//
// A position that is known to be durable. Pebble takes what it cannot read at the end of
// its log for a write that a crash has torn, and goes on without what comes after it; a
// store that is below its mark has lost acknowledged writes so. It does the same with its
// list of files, of which therefore the mark says how much there must be. There are two slots of
// 4,096 bytes, written in turns: a mark that is torn leaves the one before it. Numbers are
// little endian.
//
//	 0  4   magic "KNTM"
//	 4  1   version: 1
//	 5  3   zero
//	 8  8   sequence number; it is odd in the second slot
//	16  8   epoch of the position
//	24  8   its number of applied log records
//	32  16  chain hash of the log there (package record)
//	48  16  id of the store
//	64  8   number of Pebble's list of files, MANIFEST-n; 0: not known
//	72  8   how many bytes of it are durable
//	80  4   CRC-32C of the 80 bytes before
//	84      zero, and not looked at
//
// The slot with the higher sequence number holds. A new store has twice epoch 1, 0 records
// and a chain hash of zeros.
//
// # Worked example
//
// The slot of sequence number 7, position 1.300, of the store 000102..0f, where the chain
// hash is ffee..00, and 500 bytes of MANIFEST-000009:
//
//	4b 4e 54 4d 01 00 00 00  magic, version
//	07 00 00 00 00 00 00 00  sequence number
//	01 00 00 00 00 00 00 00  epoch
//	2c 01 00 00 00 00 00 00  applied
//	ff ee dd cc bb aa 99 88 77 66 55 44 33 22 11 00  chain hash
//	00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  store
//	09 00 00 00 00 00 00 00  number of the list of files
//	f4 01 00 00 00 00 00 00  its bytes
//	d5 06 33 cb  CRC
//
// # Sealed values
//
//	1 byte version (1), the payload, 4 bytes CRC-32C of both, little endian
package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

// Format is the store format this version writes; it reads this one only.
//
//	1  the first
const Format = 1

const (
	identityFile = "KANTA"
	databaseDir  = "db"
	magicLine    = "kanta store"
	sealVersion  = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// Seal frames a payload behind dst.
func Seal(dst, payload []byte) []byte {
	start := len(dst)
	dst = append(append(dst, sealVersion), payload...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// Unseal verifies a sealed value and returns its payload, which aliases it.
func Unseal(sealed []byte) ([]byte, error) {
	if len(sealed) < 5 {
		return nil, query.Errorf(query.CodeCorrupt, "a stored value of %d bytes is too short", len(sealed))
	}
	body := sealed[:len(sealed)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sealed[len(body):]) {
		return nil, query.Errorf(query.CodeCorrupt, "a stored value fails its checksum")
	}
	if body[0] != sealVersion {
		return nil, query.Errorf(query.CodeNewerFormat, "a stored value has version %d, this is a reader of version %d", body[0], sealVersion)
	}
	return body[1:], nil
}

// Damaged says what of the store a decoder could not read, with the code that its error
// stands for: corrupt and newer are the decoder's own, nil if it has none. Others keep their meaning.
func Damaged(what string, err, corrupt, newer error) error {
	switch {
	case errors.Is(err, newer) || errors.Is(err, &query.Error{Code: query.CodeNewerFormat}):
		return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s: %v", what, err), Hint: "use a newer version of Kanta", Err: err}
	case errors.Is(err, corrupt) || errors.Is(err, &query.Error{Code: query.CodeCorrupt}):
		return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("%s: %v", what, err), Err: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Config is what opening needs.
type Config struct {
	FS         vfs.FS
	Cache      int64 // bytes of Pebble's block cache
	MemTable   uint64
	ReadOnly   bool
	MustExist  bool
	AcceptLoss bool // opens a store whose mark cannot be read
}

// Store is an open key-value store. Safe for concurrent use.
type Store struct {
	DB *pebble.DB
	Identity
	Found []string // the files of Pebble's log and its lists of files, as they were before it opened
	home  string   // the store's directory
	dir   string   // of Pebble
	fs    vfs.FS
	cache *pebble.Cache
	lock  *pebble.Lock
	halt  *halt.Halt
	marks *marks
	lists *fileLists
	next  atomic.Uint64 // names of tables to ingest
	log   *logFS

	reading sstable.ReaderOptions // of tables as files
}

// Open opens the store in dir, creating it if there is none.
func Open(dir string, c Config) (*Store, error) {
	if err := finishSwap(c.FS, dir); err != nil {
		return nil, diskError("open "+dir, err)
	}
	id, err := identify(dir, c)
	if err != nil {
		return nil, err
	}
	path := c.FS.PathJoin(dir, databaseDir)
	lock, err := pebble.LockDirectory(path, c.FS)
	if err != nil {
		return nil, lockError(dir, err)
	}
	found, err := logFiles(c.FS, path)
	marks, bad := openMarks(dir, id.ID, c)
	if err = errors.Join(err, bad); err == nil {
		err = checkList(c.FS, path, marks.list)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &Store{Identity: id, Found: found, home: dir, dir: path, fs: c.FS, cache: pebble.NewCache(c.Cache), lock: lock, halt: newHalt(), marks: marks}
	log := newLogFS(c.FS, path, s.halt)
	s.lists = &log.lists
	opts := options(c, s.cache, s.halt)
	opts.EventListener.ManifestCreated = log.lists.created
	opts.EventListener.FlushBegin = func(pebble.FlushInfo) { log.FlushBegins() }
	s.log, opts.FS = log, log
	opts.EnsureDefaults()
	s.reading = opts.MakeReaderOptions()
	opts.Lock = lock
	opts.ReadOnly = c.ReadOnly
	opts.ErrorIfNotExists = true
	var db *pebble.DB
	if err = s.halt.Guard(func() (err error) { db, err = pebble.Open(path, opts); return err }); err != nil {
		if s.halt.Err() == nil {
			s.cache.Unref()
			err = errors.Join(err, marks.close(), lock.Close())
		}
		if name, damaged := optionsDamaged(c.FS, path); damaged {
			return nil, &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("the file %s is damaged: %s", name, firstLine(err)), Hint: "delete it: another one is made", Err: err}
		}
		return nil, openError(path, err)
	}
	log.NowOpen()
	if s.DB = db; c.ReadOnly {
		return s, nil
	}
	if err := s.removeLeftovers(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lockError tells a store in use from a directory that may not be written or is not whole.
func lockError(dir string, err error) error {
	switch {
	case isNotExist(err):
		return query.Errorf(query.CodeCorrupt, "%s is not whole: its folder db is missing: %w", dir, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnlyFS):
		return &query.Error{Code: query.CodeFailed, Message: fmt.Sprintf("%s may not be written: %v", dir, err),
			Hint: "see to its owner, its permissions and how the disk is mounted", Err: err}
	case errors.Is(err, syscall.EIO) || vfs.IsNoSpaceError(err):
		return diskError("open "+dir, err)
	}
	return &query.Error{Code: query.CodeInUse, Message: fmt.Sprintf("%s is in use by another process or another engine.DB", dir),
		Hint: "close it there, or ask its server", Err: err}
}

// errReadOnlyFS is what writing to a disk that is mounted for reading gives.
const errReadOnlyFS = syscall.EROFS

// openError gives what Pebble says of a store that it cannot open a code.
func openError(dir string, err error) error {
	var system syscall.Errno
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnlyFS):
		return lockError(dir, err)
	case errors.As(err, &system) && !isNotExist(err):
		return diskError("open "+dir, err)
	}
	return damagedFiles(dir, err) // what it has read is not what it has written
}

func damagedFiles(dir string, err error) error {
	return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("a file in %s is damaged: %s", dir, firstLine(err)), Hint: "restore the store from a backup", Err: err}
}

// firstLine is the text of an error of Pebble's without its details.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// optionsDamaged names the file of Pebble's options if it cannot be read, which Pebble
// does not: nothing depends on it.
func optionsDamaged(files vfs.FS, dir string) (name string, damaged bool) {
	names, err := files.List(dir)
	if err != nil {
		return "", false
	}
	slices.Sort(names)
	for _, n := range slices.Backward(names) {
		if !strings.HasPrefix(n, "OPTIONS-") {
			continue
		}
		name := files.PathJoin(dir, n)
		f, err := files.Open(name)
		if err != nil {
			return "", false
		}
		text, err := io.ReadAll(f)
		if errors.Join(err, f.Close()) != nil {
			return "", false
		}
		return name, new(pebble.Options).Parse(string(text), nil) != nil
	}
	return "", false
}

// diskError gives an error of the file system, which has changed nothing, its code.
func diskError(what string, err error) error {
	if err == nil {
		return nil
	}
	return Coded(fmt.Errorf("%s: %w", what, err), "the disk")
}

// Coded gives an error of the system that has no code [query.CodeIO]: it has changed nothing
// that counts. where is what the user is to see to. Others, and nil, stay as they are.
func Coded(err error, where string) error {
	var coded *query.Error
	var system syscall.Errno
	if errors.As(err, &coded) || !errors.As(err, &system) {
		return err
	}
	return &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "see to " + where + ", then try again", Err: err}
}

func options(c Config, cache *pebble.Cache, h *halt.Halt) *pebble.Options {
	o := &pebble.Options{
		FS: c.FS, Cache: cache,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                c.MemTable,
		MemTableStopWritesThreshold: 2, // Pebble keeps one more WAL than this for reuse, each as large as a memtable
		L0CompactionThreshold:       8, // half of it in sublevels, that is flushes: most of the log is deleted by then, and need not be written again
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                4096,
		EventListener:               listener(h),
		Logger:                      h,
		DisableAutomaticCompactions: false,
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 64 << 20
	}
	return o
}

// listener keeps Pebble from what it must not do by itself: of a corrupt block it would
// tell the logger as of something fatal. The reader gets the error too, and that is enough.
func listener(h *halt.Halt) *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(pebble.DataCorruptionInfo) {},
		FlushEnd:       func(i pebble.FlushInfo) { h.Background(i.Err) },
		CompactionEnd:  func(i pebble.CompactionInfo) { h.Background(i.Err) },
	}
}

// identify reads the KANTA file, creating the whole store first if dir is not there or empty.
func identify(dir string, c Config) (Identity, error) {
	if info, err := c.FS.Stat(dir); err == nil && !info.IsDir() {
		return Identity{}, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("%s is a file, not the directory of a Kanta store", dir), Hint: "name a directory"}
	}
	names, err := c.FS.List(dir)
	switch {
	case err != nil && !isNotExist(err):
		return Identity{}, diskError("open "+dir, err)
	case err != nil || len(names) == 0:
		if c.ReadOnly || c.MustExist {
			return Identity{}, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("there is no Kanta store in %s", dir), Hint: "load something into it first, or name another directory"}
		}
		if err := create(dir, c, err == nil); err != nil {
			return Identity{}, err
		}
	}
	id, err := ReadIdentity(c.FS, dir)
	if slices.Contains(names, markFile) && (errors.Is(err, &query.Error{Code: query.CodeNotAStore}) || errors.Is(err, &query.Error{Code: query.CodeCorrupt})) {
		err = &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("the file %s is missing or damaged", c.FS.PathJoin(dir, identityFile)),
			Hint: "restore the store from a backup"}
	}
	return id, err
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// create makes a store beside dir and renames it into place. Pebble's first WAL is
// written in an old form without sync marks, whatever format is asked for; only after a
// second open can a damaged WAL be told from a short one. So: create, close, reopen.
func create(dir string, c Config, empty bool) error {
	tmp := dir + ".creating"
	if err := c.FS.RemoveAll(tmp); err != nil {
		return diskError("create "+dir, err)
	}
	if err := makeDirs(c.FS, c.FS.PathDir(dir)); err != nil {
		return diskError("create "+dir, err)
	}
	path := c.FS.PathJoin(tmp, databaseDir)
	if err := c.FS.MkdirAll(path, 0o755); err != nil {
		return diskError("create "+dir, err)
	}
	for range 2 {
		cache, h := pebble.NewCache(1<<20), newHalt()
		err := h.Guard(func() error {
			o := options(c, cache, h)
			o.FS = newLogFS(c.FS, path, h)
			db, err := pebble.Open(path, o)
			if err == nil {
				err = db.Close()
			}
			cache.Unref()
			return err
		})
		if err != nil {
			return diskError("create "+dir, err)
		}
	}
	id, err := NewID()
	if err != nil {
		return diskError("create "+dir, err)
	}
	if err := CreateMark(c.FS, tmp, id, Mark{Epoch: 1}); err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	if err := WriteIdentity(c.FS, tmp, Identity{ID: id}); err != nil {
		return diskError("create "+dir, err)
	}
	if empty {
		if err := c.FS.Remove(dir); err != nil {
			return diskError("create "+dir, err)
		}
	}
	if err := SyncDir(c.FS, tmp); err != nil {
		return diskError("create "+dir, err)
	}
	if err := c.FS.Rename(tmp, dir); err != nil {
		return diskError("create "+dir, err)
	}
	return nil
}

// makeDirs makes a directory and those it is in, as far as they are missing, durably.
func makeDirs(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	if _, err := fs.Stat(dir); !isNotExist(err) || parent == dir {
		return err
	}
	if err := makeDirs(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return SyncDir(fs, parent)
}

func writeFile(fs vfs.FS, name, text string) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Sync(), f.Close())
}

// SyncDir makes the names in a directory durable.
func SyncDir(fs vfs.FS, dir string) error {
	return halt.SyncDir(fs, dir)
}

// Settle makes it durable that the store is where it is. Who creates a store may be killed
// after it is renamed into its place; whoever then writes to it first has to see to that.
func (s *Store) Settle() error {
	if err := SyncDir(s.fs, s.fs.PathDir(s.fs.PathDir(s.dir))); err != nil {
		return diskError("create "+s.fs.PathDir(s.dir), err)
	}
	return nil
}

// Close closes the store. If Pebble has given up, it cannot be closed: then the lock is
// kept, so that nobody opens the directory again while this process lives, and the
// error says why.
func (s *Store) Close() error {
	err := s.halt.Guard(s.DB.Close)
	if gone := s.halt.Err(); gone != nil {
		return errors.Join(gone, s.marks.close())
	}
	s.cache.Unref()
	if err == nil && s.marks.file != nil {
		err = s.WriteMark(Mark{}) // closing may have changed the list of files
	}
	return errors.Join(err, s.marks.close(), s.lock.Close())
}

// Get returns a copy of a value, nil if there is none.
func (s *Store) Get(key []byte) ([]byte, error) {
	v, closer, err := s.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("read", err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// View calls f with a value that is valid during the call; ok is false if there is none.
func (s *Store) View(key []byte, f func(v []byte) error) (ok bool, err error) {
	v, closer, err := s.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, wrap("read", err)
	}
	return true, errors.Join(f(v), closer.Close())
}

// GetSealed returns a copy of a sealed value's payload, nil if there is none.
func (s *Store) GetSealed(key []byte) ([]byte, error) {
	v, err := s.Get(key)
	if v == nil || err != nil {
		return nil, err
	}
	return Unseal(v)
}

// Scan calls f for each key of a span, in order; what f gets is valid during the call.
func (s *Store) Scan(ctx context.Context, span keys.Span, f func(k, v []byte) (more bool, err error)) (err error) {
	rows, err := s.Rows(ctx, span)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		k, v, ok, err := rows.Next()
		if err != nil || !ok {
			return err
		}
		if more, err := f(k, v); err != nil || !more {
			return err
		}
	}
}

// Leap calls f for the first key of a span, then for the first one from where f says, and
// so on until it says nil. What f gets is valid during the call.
func (s *Store) Leap(ctx context.Context, span keys.Span, f func(k, v []byte) (next []byte, err error)) (err error) {
	rows, err := s.Rows(ctx, span)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for next := span.Start; next != nil; {
		if !rows.it.SeekGE(next) {
			return wrap("scan", rows.it.Error())
		}
		v, err := rows.it.ValueAndErr()
		if err != nil {
			return wrap("scan", err)
		}
		if next, err = f(rows.it.Key(), v); err != nil {
			return err
		}
	}
	return nil
}

// Rows walks over the rows of a span, in order, as they were when it began. It belongs to
// one goroutine.
type Rows struct {
	it    *pebble.Iterator
	begun bool
}

// Rows begins a walk; close it.
func (s *Store) Rows(ctx context.Context, span keys.Span) (*Rows, error) {
	it, err := s.DB.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: span.Start, UpperBound: span.End})
	if err != nil {
		return nil, wrap("scan", err)
	}
	return &Rows{it: it}, nil
}

// Next returns the next row, which is valid until the call after; ok is false behind the last.
func (r *Rows) Next() (key, value []byte, ok bool, err error) {
	move := r.it.Next
	if !r.begun {
		move, r.begun = r.it.First, true
	}
	if !move() {
		return nil, nil, false, wrap("scan", r.it.Error())
	}
	value, err = r.it.ValueAndErr()
	return r.it.Key(), value, err == nil, wrap("scan", err)
}

// Close ends the walk.
func (r *Rows) Close() error { return r.it.Close() }

// Reclaim gives back the disk that deleted log records and old generations take:
// deletions free it once they have left the memtable and met what they delete.
func (s *Store) Reclaim(ctx context.Context) error {
	if err := s.halt.Guard(s.DB.Flush); err != nil {
		return diskError("flush", err)
	}
	log := keys.Log()
	if err := s.halt.Guard(func() error { return s.DB.Compact(ctx, log.Start, log.End, false) }); err != nil {
		return diskError("compact the log", err)
	}
	return nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		return &query.Error{Code: query.CodeCorrupt, Message: what + ": " + firstLine(err), Err: err}
	}
	return diskError(what, err)
}

// Table writes a sorted table that will be ingested whole.
type Table struct {
	s    *Store
	w    *sstable.Writer
	path string
	size int64
}

// ingestPrefix names tables on their way in; what is left of them after a crash is removed at opening.
const ingestPrefix = "ingest-"

// NewTable begins a table.
func (s *Store) NewTable() (*Table, error) {
	path := s.fs.PathJoin(s.dir, fmt.Sprintf("%s%d.sst", ingestPrefix, s.next.Add(1)))
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, diskError("create table", err)
	}
	format := s.DB.FormatMajorVersion().MaxTableFormat()
	o := sstable.WriterOptions{TableFormat: format, BlockSize: 32 << 10, IndexBlockSize: 64 << 10, Compression: sstable.FastestCompression}
	return &Table{s: s, w: sstable.NewWriter(objstorageprovider.NewFileWritable(f), o), path: path}, nil
}

// Set adds a row; keys ascend.
func (t *Table) Set(key, value []byte) error {
	t.size += int64(len(key) + len(value))
	return t.w.Set(key, value)
}

// Size returns the bytes of keys and values so far.
func (t *Table) Size() int64 { return t.size }

// Ingest finishes the table and makes its rows visible, all at once and durably.
func (t *Table) Ingest(ctx context.Context) error { return t.s.Ingest(ctx, t) }

// Ingest is [Table.Ingest] of several tables, whose spans of keys do not overlap: all at
// once. Whatever comes of it, the tables are done with.
func (s *Store) Ingest(ctx context.Context, tables ...*Table) error {
	var paths []string
	var failed error
	for _, t := range tables {
		paths = append(paths, t.path)
		if err := t.w.Close(); err != nil && failed == nil {
			failed = diskError("write table", err)
		}
	}
	if failed == nil {
		if err := s.halt.Guard(func() error { return s.DB.Ingest(ctx, paths) }); err != nil {
			failed = diskError("ingest table", err)
		}
	}
	if failed != nil {
		for _, path := range paths {
			failed = errors.Join(failed, s.fs.Remove(path))
		}
	}
	return failed
}

// Discard gives the table up.
func (t *Table) Discard() error { return errors.Join(t.w.Close(), t.s.fs.Remove(t.path)) }

func (s *Store) removeLeftovers() error {
	if err := s.RemoveCheckpoint(); err != nil {
		return err
	}
	name := s.fs.PathJoin(s.home, replacedFile)
	if err := s.fs.Remove(name); err != nil && !isNotExist(err) {
		return diskError("remove "+name, err)
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return diskError("list "+s.dir, err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, ingestPrefix) {
			if err := s.fs.Remove(s.fs.PathJoin(s.dir, n)); err != nil {
				return diskError("remove a left-over table", err)
			}
		}
	}
	return nil
}
