package raftlog

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/query"
)

// Purge removes from the files what was deleted from the log before, by whatever way; nothing
// does that by itself within a known time. All entries below an index must have been deleted:
// a snapshot has them. It may be called while the log is in use, and takes as long as it takes
// to write all that is left once more.
func (l *Log) Purge(ctx context.Context, below uint64) error {
	if first, _ := l.FirstIndex(); first > 0 && first < below {
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the Raft log still has the entries from %d on, they cannot be purged up to %d", first, below),
			Hint: "take a snapshot and have them deleted first"}
	}
	if err := l.guard("flush", l.db.Flush); err != nil {
		return err
	}
	if err := l.guard("compact", func() error { return l.db.Compact(ctx, []byte{entryPrefix}, entriesEnd(), false) }); err != nil {
		return err
	}
	left := &halt.Leftovers{FS: l.fs, Dir: l.dir, Hint: "start the node again, then purge again"}
	err := left.Rotate(ctx, func() error { return l.guard("flush", l.db.Flush) })
	if err == nil {
		err = left.Tables(ctx, l.used)
	}
	if err != nil {
		return failed("purge the Raft log", err)
	}
	return failed("sync "+l.dir, halt.SyncDir(l.fs.FS, l.dir)) // else what is deleted may come back with a power cut
}

func (l *Log) guard(what string, do func() error) error {
	return failed(what+" the Raft log", l.halt.Guard(do))
}

// used returns which tables Pebble uses, by the names of their files.
func (l *Log) used() (func(name string) bool, error) {
	used := map[string]bool{}
	err := l.guard("list the tables of", func() error {
		levels, err := l.db.SSTables()
		for i := range levels {
			for j := range levels[i] {
				used[levels[i][j].BackingSSTNum.String()+".sst"] = true
			}
		}
		return err
	})
	return func(name string) bool { return used[name] }, err
}
