package engine

import (
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// Durability says when an acknowledged write is on disk.
type Durability uint8

// The durabilities.
const (
	SyncGroup Durability = iota // before the acknowledgement; one fsync per commit group
	SyncNone                    // when the operating system writes it: a power cut may lose the last seconds, never the order
)

// Options shape a store. The zero value, and nil, are good.
type Options struct {
	// Memory is the budget in bytes for caches, head and key table together. 0: a
	// quarter of the machine's memory. At least 64 MiB; smaller values are raised.
	Memory int64
	// QuestionMemory is what one question may work in, in bytes of what the budget has for
	// questions and caches, about nine parts of 16 of Memory, so that one that wants all leaves
	// others room. 0: half of that, but at least 96 MiB. More than all of it is all. A question
	// may allow itself less ([query.Options]).
	QuestionMemory int64
	// Durability says when a write is acknowledged. Default: after an fsync.
	Durability Durability
	// ReadOnly opens without changing anything; writes return an error.
	ReadOnly bool
	// MustExist refuses to create a store.
	MustExist bool
	// Repair opens a store that is to be repaired: until [DB.Repair] has ended nothing is
	// folded, because a fold reads what may be damaged and ends writing when it is.
	Repair bool
	// Parallelism is the number of goroutines of one query, 1 to 1024. 0: one per processor.
	Parallelism int
	// SnapshotMaxAge is the time after which an open snapshot may not be read any more,
	// so that a forgotten one does not keep old data for ever. 0: one hour.
	SnapshotMaxAge time.Duration
	// PurgeAfter is the time after which an erasure begins to be purged from the files of the
	// store in the background, with those that came meanwhile. 0: one hour. Negative: never,
	// only [DB.Purge] purges.
	PurgeAfter time.Duration
	// Clock stamps received times and is the default of now. nil: time.Now.
	Clock func() time.Time
	// FS is the file system that everything goes through. nil: the machine's; with an
	// empty directory name, one in memory.
	FS vfs.FS
	// Hooks are called when things happen; all are optional.
	Hooks Hooks
	// FirstOrdinal is the ordinal of the first profile of a new store, below 2^31. Tests
	// use it to lay small populations over the borders of chunks and shards.
	FirstOrdinal uint32
	// Replica makes the store a replica, which is written through a log that it shares with
	// others; Durability is SyncNone then, for that log has the writes. nil: the store is its
	// own master. A store that was a replica once takes no writes without it.
	Replica *ReplicaOptions

	limits     limits
	acceptLoss *query.Loss // not nil: missing batches are accepted, and told
	replaying  bool        // the store is being made of a backup and the log behind it
}

// Hooks tell the embedding program what happens. They are called from the engine's
// goroutines: they must be quick and must not call the engine.
type Hooks struct {
	Settled func(rows int, took time.Duration)
	Folded  func(units int, bytes int64, took time.Duration)
	Failed  func(err error)                         // the store takes no more writes
	Purged  func(receipt *query.Receipt, err error) // a purge in the background has ended
}

// minMemory is the smallest budget: below it the key table of a few million profiles
// and one fold do not fit beside each other.
const minMemory = 64 << 20

// What one question may take of the budget for questions and caches, if the options do not
// say: half, so that the largest leaves all others as much as it has itself; but in a small
// store as much as it takes to look at one person who has a block of events with the longest
// texts, 4,096 of 16 KiB.
const (
	questionShare = 2
	questionLeast = 96 << 20
)

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Memory == 0 {
		out.Memory = machineMemory() / 4
	}
	negative := out.Memory < 0
	out.Memory = max(out.Memory, minMemory)
	if out.Parallelism == 0 {
		out.Parallelism = runtime.GOMAXPROCS(0)
	}
	if out.SnapshotMaxAge == 0 {
		out.SnapshotMaxAge = time.Hour
	}
	if out.PurgeAfter == 0 {
		out.PurgeAfter = time.Hour
	}
	if out.Replica != nil {
		out.Durability = SyncNone
	}
	out.limits.ensureDefaults()
	if out.Clock == nil {
		out.Clock = time.Now
	}
	switch {
	case out.Parallelism < 0 || out.Parallelism > 1024:
		return out, query.Errorf(query.CodeInvalid, "Options.Parallelism is %d; it must be 1 to 1024, or 0", out.Parallelism)
	case negative:
		return out, query.Errorf(query.CodeInvalid, "Options.Memory is %d; it must not be negative", o.Memory)
	case out.Replica != nil && out.Replica.Propose == nil:
		return out, query.Errorf(query.CodeInvalid, "Options.Replica has no Propose")
	case out.QuestionMemory < 0:
		return out, query.Errorf(query.CodeInvalid, "Options.QuestionMemory is %d; it must not be negative", out.QuestionMemory)
	case out.SnapshotMaxAge < 0:
		return out, query.Errorf(query.CodeInvalid, "Options.SnapshotMaxAge is %v; it must not be negative", out.SnapshotMaxAge)
	case out.FirstOrdinal >= 1<<31:
		return out, query.Errorf(query.CodeInvalid, "Options.FirstOrdinal is %d; it must be below 2^31", out.FirstOrdinal)
	}
	return out, nil
}
