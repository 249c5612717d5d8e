package halt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// Limits of waiting for files to go.
const (
	poll     = 10 * time.Millisecond // Pebble deletes files in the background, and tells nobody whom we could wait for
	patience = time.Minute           // for files that nobody reads
)

// Leftovers are files of Pebble's that have what was deleted, and are to go.
type Leftovers struct {
	FS  *FS
	Dir string // Pebble's
	// Hint is what to do about a file that stays.
	Hint string
}

// Rotate has new files of the log begun, each by a flush, until there is none left of those there are, which are
// not used again either: behind what is written they would still have what they had.
func (l *Leftovers) Rotate(ctx context.Context, flush func() error) error {
	l.FS.anew.Store(true)
	defer l.FS.anew.Store(false)
	before, err := l.files(".log")
	if err != nil {
		return err
	}
	return l.await(ctx, before, func() ([]string, error) {
		if err := flush(); err != nil {
			return nil, err
		}
		return l.files(".log")
	})
}

// Tables waits until the tables are gone that are not in use now. used returns whether one is, given the name of its file.
func (l *Leftovers) Tables(ctx context.Context, used func() (func(name string) bool, error)) error {
	unused := func() ([]string, error) {
		names, err := l.files(".sst") // first: what is made meanwhile is not among them
		if err != nil {
			return nil, err
		}
		is, err := used()
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(names, is), nil
	}
	before, err := unused()
	if err != nil {
		return err
	}
	return l.await(ctx, before, unused)
}

// await asks for names of files until none is left of those there were. What Pebble could not
// delete it deletes.
func (l *Leftovers) await(ctx context.Context, before []string, ask func() ([]string, error)) error {
	ends := time.NewTimer(patience)
	defer ends.Stop()
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		names, err := ask()
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(before, n) })
		for _, name := range left {
			if err := l.FS.removeKept(l.FS.PathJoin(l.Dir, name)); err != nil {
				return fmt.Errorf("delete %s: %w", name, err)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-ends.C:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%d files are not deleted yet, such as %s: somebody reads them, or they cannot be deleted", len(left), left[0]), Hint: l.Hint}
		}
	}
}

// files returns the names of Pebble's files with a suffix.
func (l *Leftovers) files(suffix string) ([]string, error) {
	names, err := l.FS.FS.List(l.Dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.Dir, err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) }), nil
}
