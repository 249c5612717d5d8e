package raftlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

const (
	purgePoll     = 10 * time.Millisecond // Pebble deletes files in the background
	purgePatience = time.Minute           // for files to go
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
	if err := l.rotate(ctx); err != nil {
		return err
	}
	if err := l.awaitTables(ctx); err != nil {
		return err
	}
	return failed("sync "+l.dir, syncDir(l.fs.FS, l.dir)) // else what is deleted may come back with a power cut
}

func (l *Log) guard(what string, do func() error) error {
	return failed(what+" the Raft log", l.halt.guard(do))
}

// rotate begins new files of Pebble's log until there is none left of those there are, which
// are not used again either: behind what is written they would still have what they had.
func (l *Log) rotate(ctx context.Context) error {
	l.fs.anew.Store(true)
	defer l.fs.anew.Store(false)
	before, err := l.files(".log")
	if err != nil {
		return err
	}
	return l.await(ctx, before, func() ([]string, error) {
		if err := l.guard("flush", l.db.Flush); err != nil {
			return nil, err
		}
		return l.files(".log")
	})
}

// awaitTables waits until the tables are deleted that Pebble does not use any more.
func (l *Log) awaitTables(ctx context.Context) error {
	before, err := l.unused()
	if err != nil {
		return err
	}
	return l.await(ctx, before, l.unused)
}

// await asks for names of files until none is left of those there were.
func (l *Log) await(ctx context.Context, before []string, ask func() ([]string, error)) error {
	patience := time.NewTimer(purgePatience)
	defer patience.Stop()
	poll := time.NewTicker(purgePoll)
	defer poll.Stop()
	for {
		names, err := ask()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(before, n) })
		if i < 0 {
			return nil
		}
		if err := l.fs.removeKept(l.fs.PathJoin(l.dir, names[i])); err != nil {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the file %s of the Raft log is not deleted", names[i]), Hint: "start the node again, then purge again"}
		}
	}
}

// files returns the names of Pebble's files with a suffix.
func (l *Log) files(suffix string) ([]string, error) {
	names, err := l.fs.List(l.dir)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) }), failed("list "+l.dir, err)
}

// unused returns the tables that are files and that Pebble does not use.
func (l *Log) unused() ([]string, error) {
	names, err := l.files(".sst") // first: what is made meanwhile is not among them
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	err = l.guard("list the tables of", func() error {
		levels, err := l.db.SSTables()
		for i := range levels {
			for j := range levels[i] {
				used[levels[i][j].BackingSSTNum.String()+".sst"] = true
			}
		}
		return err
	})
	return slices.DeleteFunc(names, func(n string) bool { return used[n] }), errors.Join(err)
}
