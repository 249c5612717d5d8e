package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kantadb/kanta/query"
)

// Prune deletes backups that nothing keeps, then the pieces that no backup names any more
// and what interrupted writing has left. Nothing is deleted while somebody makes a backup:
// pieces that no backup names yet may be its. A manifest that cannot be read stops it, for
// nobody knows what it names.
func (t *Target) Prune(ctx context.Context, o *query.PruneOptions, now time.Time) (out query.PruneReport, err error) {
	if o == nil || o.KeepLast < 0 || o.KeepLast == 0 && o.KeepSince.IsZero() {
		return out, query.Errorf(query.CodeInvalid, "prune: say what is kept: the last so many backups, or those since a time")
	}
	var m *mark // nil: nothing is deleted
	if !o.DryRun {
		if m, err = t.begin(ctx, pruning, newID(), now); err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, m.end(ctx)) }()
	}
	var backups []query.Backup
	pieces := map[string][]Hash{}
	if err := t.Manifests(ctx, func(name string, of *Manifest, err error) error {
		if err != nil {
			return fmt.Errorf("prune: %w", err)
		}
		backups = append(backups, of.Backup)
		for i := range of.Entries {
			pieces[name] = append(pieces[name], of.Entries[i].Pieces...)
		}
		return nil
	}); err != nil {
		return out, err
	}
	keep := kept(backups, o)
	named := map[Hash]bool{}
	for i := range backups {
		name := backups[i].Name
		if !keep[name] {
			out.Deleted = append(out.Deleted, name)
			continue
		}
		out.Kept = append(out.Kept, name)
		for _, h := range pieces[name] {
			named[h] = true
		}
	}
	if err := t.pruneLogs(ctx, backups, keep, m, &out); err != nil {
		return out, err
	}
	if m != nil {
		for _, name := range out.Deleted {
			if err := t.Delete(ctx, manifestName(name)); err != nil {
				return out, err
			}
		}
	}
	return out, t.sweep(ctx, named, m, &out)
}

// pruneLogs deletes the pieces of logs that no backup which stays needs: all that they have
// is in the oldest of their line, or there is none. They go before the backups, so that a log
// never begins where nothing leads to.
func (t *Target) pruneLogs(ctx context.Context, backups []query.Backup, keep map[string]bool, m *mark, out *query.PruneReport) error {
	oldest := map[lineID]uint64{}
	for i := range backups {
		id := lineID{backups[i].Store, backups[i].Position.Epoch}
		if at, there := oldest[id]; keep[backups[i].Name] && (!there || backups[i].Position.Applied < at) {
			oldest[id] = backups[i].Position.Applied
		}
	}
	pieces, err := t.LogPieces(ctx, "")
	if err != nil {
		return err
	}
	for i := range pieces {
		p := &pieces[i]
		if at, there := oldest[lineID{p.Store, p.Epoch}]; there && p.Last > at {
			continue
		}
		if m != nil {
			if out.LogObjects%markChecks == 0 {
				if err := m.held(ctx); err != nil {
					return err
				}
			}
			if err := t.Delete(ctx, p.Name()); err != nil {
				return err
			}
		}
		out.LogObjects, out.LogBytes = out.LogObjects+1, out.LogBytes+p.Size
	}
	return nil
}

// kept decides which backups stay.
func kept(backups []query.Backup, o *query.PruneOptions) map[string]bool {
	keep := map[string]bool{}
	of := map[string]int{}
	for i, b := range slices.Backward(backups) {
		of[b.Store]++
		if of[b.Store] <= o.KeepLast || !o.KeepSince.IsZero() && !b.Created.Before(o.KeepSince) || i == len(backups)-1 {
			keep[b.Name] = true
		}
	}
	return keep
}

// markChecks is after how many deletions the mark is looked at again.
const markChecks = 1000

// sweep deletes the pieces that are not named, under a mark, or only counts them.
func (t *Target) sweep(ctx context.Context, named map[Hash]bool, m *mark, out *query.PruneReport) error {
	have, err := t.Objects(ctx)
	if err != nil {
		return err
	}
	for h, size := range have {
		if named[h] {
			continue
		}
		if m != nil {
			if out.Objects%markChecks == 0 {
				if err := m.held(ctx); err != nil {
					return err
				}
			}
			if err := t.Delete(ctx, objectName(h)); err != nil {
				return err
			}
		}
		out.Objects, out.Bytes = out.Objects+1, out.Bytes+size
	}
	if m == nil {
		return nil
	}
	var left []string
	err = t.List(ctx, unfinished+"/", func(name string, _ int64) error {
		left = append(left, name)
		return nil
	})
	for _, name := range left {
		err = errors.Join(err, t.Delete(ctx, name))
	}
	return err
}
