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
	Shipped     ShipReport    // of the log, if it is kept for this target
}

// BackupCheck is what the verification of backups has found.
type BackupCheck struct {
	Backups    int
	Objects    int
	Bytes      int64    // of the store's files, each object counted once
	LogObjects int      // of the log
	Unnamed    int      // objects that no backup names: what was being sent when a backup was interrupted
	Problems   []string // at most 100; none: all is well
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
	LogObjects    int   // of the log: records that are in every backup that is kept
	LogBytes      int64
}

// RestoreReport tells what a restore has made.
type RestoreReport struct {
	Backup   Backup
	Store    string    // the id that the store has now
	Position Position  // where it goes on: in an epoch of its own
	Fetched  int64     // bytes, as they were sent
	Received time.Time // of the last record in it
	Replayed uint64    // records that came after the backup
	Beyond   Position  // the last record at the target that could not be reached, because a gap is before it; zero: there is none
	Erased   uint64    // people whom the backup has and the store has not: they were erased since
}

// KeptLog is what a store keeps of its log until it is at a target of backups. Zero: nothing
// is kept, and a restore reaches only positions that backups were made of.
type KeptLog struct {
	On      bool
	Target  string   // the id of the target that it goes to; "": the first that it is shipped to
	First   Position // of the oldest record that has not been shipped; if there is none, of the next one
	Records uint64   // that have not been shipped
	Bytes   int64    // that they take
	Broken  string   // why the record before First is not at the target, nor in a backup there: a reason as in [LogRun]; "": it is
}

// ShipOptions shape the shipping of a log. nil is good.
type ShipOptions struct {
	// Move makes this the target that the log goes to from now on. Without it a log goes on to
	// the target that it went to first, for parts of it at two targets are of use at neither.
	Move bool
}

// ShipReport tells what the shipping of a log has done.
type ShipReport struct {
	From, To Position // the records; zero if there was none to be shipped
	Records  uint64
	Objects  int
	Bytes    int64 // as they were sent: compressed
	Sealed   int   // objects of days that are over, made of smaller ones
	Kept     KeptLog
}

// LogRun is records at a target of backups that follow each other, or a gap between such.
// A restore reaches all positions of a run that begins where a backup is, or before it.
type LogRun struct {
	Store    string
	From, To Position
	// Gap says why it is a gap; "" if it is none. Reasons are: off, it was not kept; limit,
	// there was more than is kept; room, the disk of the store got full; purge, erased people
	// were purged from it before it was shipped; moved, it went to another target; epoch, the
	// store began a new epoch; not-shipped, nothing later was shipped; missing, it was there;
	// damaged, what comes after it cannot be read.
	Gap         string
	First, Last time.Time // received; of a gap zero
	Objects     int
	Bytes       int64 // as they are kept
}
