package replica

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// Config says how a member runs. Dir and Transport must be set; the zero values of the rest
// are good.
type Config struct {
	// Dir is the member's directory.
	Dir string
	// FS is the file system that everything goes through. nil: the machine's.
	FS vfs.FS
	// Engine opens the store; FS and Replica of it are the node's.
	Engine engine.Options
	// Transport reaches the other members. The node closes it, also if it cannot be opened.
	Transport Transport
	// Log is told what happens; it tells nothing of what is stored. nil: nobody.
	Log *slog.Logger
	// Replaced is called with nil before the store is closed, because one of a snapshot takes
	// its place, and with the store when there is one, which may be much later. It is called
	// by one goroutine at a time; nothing is applied until it returns.
	Replaced func(db *engine.DB)
	// Stopped is called once when the member has stopped by itself: the disk failed, the
	// store differs from the others', the member was removed. The node is still to be closed.
	Stopped func(err error)
	// Timing of elections. Zero values are good for members on one network.
	Timing Timing
	// SnapshotBytes is how much the log grows before it is cut behind a new snapshot. 0: 256 MiB.
	SnapshotBytes int64
	// TrailingBytes is how much of the log is kept behind a snapshot, so that a member that
	// was away shortly needs no snapshot. 0: 64 MiB.
	TrailingBytes int64
	// RemoveDead is after how long a member with a vote that is not heard of is removed: once three others at least have
	// a vote, and most of these are there. 0: 24 h. Negative: never.
	RemoveDead time.Duration
	// Removing is called before such a member is removed, which it is not if that fails. nil: nobody is told.
	Removing func(ctx context.Context, r query.ClusterRemoval) error
	// CheckEvery is the time between two comparisons of what members have, while something is
	// written. 0: 20 s. Negative: never.
	CheckEvery time.Duration

	knows span // what the member says that it knows; zero: what this program does. Tests say otherwise
}

// Timing is how long members wait for each other. A member that does not hear from its leader
// for once to twice Heartbeat asks for votes, so that is how long nobody can write when a
// leader dies; a leader that hears of no majority for Lease steps down.
type Timing struct {
	Heartbeat time.Duration // 0: 1 s
	Election  time.Duration // 0: 1 s; at least Heartbeat
	Lease     time.Duration // 0: 500 ms; at most Heartbeat
	Commit    time.Duration // 0: 50 ms; after which followers hear what is committed, if nothing is written
}

// Limits, with their reasons.
const (
	maxEntry   = 1 << 20  // of an entry, as the log store has it: larger ones delay heartbeats
	maxPending = 64 << 20 // bytes of entries proposed and not decided: they are in memory, and in the queues of Raft
	maxBacklog = 64 << 20 // bytes of entries committed and not yet applied, about
	maxAppend  = 64       // entries in a message and in a commit group: Raft's own default; of 512 KiB they are 32 MiB

	enqueueTimeout = 5 * time.Second // for which Raft may not take an entry; it does as soon as its disk has synced what came before
)

// Defaults, with their reasons.
const (
	defaultSnapshotBytes = 256 << 20        // half a minute of loading: what a restart may have to apply anew
	defaultTrailingBytes = 64 << 20         // some seconds of loading; more than a member misses that restarts
	defaultRemoveDead    = 24 * time.Hour   // a repair takes hours; who comes back later joins anew, which costs a copy
	defaultCheckEvery    = 20 * time.Second // a divergence is to be found within 60 s, and a mark and a verdict are two turns
)

func (c Config) withDefaults() (Config, error) {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Replaced == nil {
		c.Replaced = func(*engine.DB) {}
	}
	if c.Removing == nil {
		c.Removing = func(context.Context, query.ClusterRemoval) error { return nil }
	}
	if c.Stopped == nil {
		c.Stopped = func(error) {}
	}
	orDefault(&c.Timing.Heartbeat, time.Second)
	orDefault(&c.Timing.Election, time.Second)
	orDefault(&c.Timing.Lease, 500*time.Millisecond)
	orDefault(&c.Timing.Commit, 50*time.Millisecond)
	orDefault(&c.SnapshotBytes, defaultSnapshotBytes)
	orDefault(&c.TrailingBytes, defaultTrailingBytes)
	orDefault(&c.CheckEvery, defaultCheckEvery)
	orDefault(&c.RemoveDead, defaultRemoveDead)
	switch {
	case c.Dir == "":
		return c, query.Errorf(query.CodeInvalid, "Config.Dir is empty")
	case c.SnapshotBytes < 0 || c.TrailingBytes < 0:
		return c, query.Errorf(query.CodeInvalid, "Config.SnapshotBytes is %d, TrailingBytes %d; they must not be negative", c.SnapshotBytes, c.TrailingBytes)
	}
	return c, nil
}

func orDefault[T int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// raftConfig is what Raft is given. It takes no snapshots by itself, because it counts entries
// and not bytes: the node asks for them.
func (c *Config) raftConfig(self raft.ServerID) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = self
	r.HeartbeatTimeout, r.ElectionTimeout = c.Timing.Heartbeat, c.Timing.Election
	r.LeaderLeaseTimeout, r.CommitTimeout = c.Timing.Lease, c.Timing.Commit
	r.MaxAppendEntries = maxAppend
	r.BatchApplyCh = true // else one proposer after another hands over its entry, and each is synced alone
	r.SnapshotInterval, r.SnapshotThreshold = 24*time.Hour, 1<<62
	r.NoLegacyTelemetry = true
	r.Logger = raftLogger(c.Log)
	return r
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// diskError is what a caller learns of an error of the disk.
func diskError(what string, err error) error {
	hint := "see to the disk, then try again"
	if errors.Is(err, syscall.ENOSPC) {
		hint = "make room on the disk, then try again"
	}
	return &query.Error{Code: query.CodeIO, Message: what + ": " + err.Error(), Hint: hint, Err: err}
}
