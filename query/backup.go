package query

import (
	"context"
	"time"
)

// BackupTarget is where backups are kept: a folder, a bucket. Names are paths of lower-case
// letters, digits, '-', '.' and '/'. What is kept under a name is small enough for memory.
// Its methods are safe for concurrent use, and what they have done is durable and seen by
// everybody when they return.
type BackupTarget interface {
	// Put keeps data, which is not empty, under a name, in place of what was there. It keeps
	// all of it or nothing.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns what is kept under a name, of at most limit bytes; more than that is an
	// error with [CodeCorrupt]. Of a name with nothing the error wraps [io/fs.ErrNotExist].
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
	// List calls f for every name that begins with prefix, which is "" or ends with '/', in any order.
	List(ctx context.Context, prefix string, f func(name string, size int64) error) error
	// Delete forgets a name. A name with nothing is no error.
	Delete(ctx context.Context, name string) error
}

// BackupProgress is told how far something is, in bytes of the store. It is called from any
// goroutine, one at a time, and must be quick.
type BackupProgress func(done, total int64, what string)

// BackupOptions shape the making of a backup. nil is good.
type BackupOptions struct {
	Progress BackupProgress // may be nil
}

// Backup is one backup of a target.
type Backup struct {
	Name     string
	Store    string // the id of the store it was made of
	Root     string // the id of the first store of its line; see the package comment of engine/internal/backup
	Position Position
	Received time.Time // of the last record: it is the store as it was from then until Created
	Created  time.Time
	Content  [16]byte // as [Digests.Content]
	Chain    [16]byte
	Parent   string // the newest backup of the same store that there was, or ""
	Files    int
	Bytes    int64 // of the store's files
}

// BackupReport tells what the making of a backup has done.
type BackupReport struct {
	Backup
	SentObjects int
	SentBytes   int64         // as they were sent: compressed
	SentRaw     int64         // of the store's files; the rest of Bytes was there already
	Paused      time.Duration // how long writers waited
}

// BackupCheck is what the verification of backups has found.
type BackupCheck struct {
	Backups  int
	Objects  int
	Bytes    int64    // of the store's files, each object counted once
	Unnamed  int      // objects that no backup names: what was being sent when a backup was interrupted
	Problems []string // at most 100; none: all is well
}

// PruneOptions say which backups stay. One that any of the fields keeps, stays; so does the
// newest. At least one must be set.
type PruneOptions struct {
	KeepLast  int       // the last so many of each store; 0: none for this reason
	KeepSince time.Time // those created at this time or later; zero: none for this reason
	DryRun    bool      // tell, and delete nothing
}

// PruneReport tells what pruning has deleted, or would.
type PruneReport struct {
	Kept, Deleted []string // names of backups, oldest first
	Objects       int
	Bytes         int64 // as they were kept
}

// RestoreReport tells what a restore has made.
type RestoreReport struct {
	Backup   Backup
	Store    string   // the id that the store has now
	Position Position // where it goes on: in an epoch of its own
	Fetched  int64    // bytes, as they were sent
	Erased   uint64   // people whom the backup has and the store has not: they were erased since
}
