package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/query"
)

// BackupLedger keeps the ledger of erased people at a target of backups, so that no restore
// from there brings them back. [DB.Backup] does that, too; this is for who has erased
// somebody and does not want to wait for the next backup. It holds the whole ledger in
// memory, some 100 bytes for each person.
func (db *DB) BackupLedger(ctx context.Context, target query.BackupTarget) error {
	t, err := backup.OpenFor(ctx, target, db.kv.Root)
	if err == nil {
		err = db.sendLedger(ctx, t)
	}
	return given(ctx, err)
}

func (db *DB) sendLedger(ctx context.Context, t *backup.Target) error {
	list, err := db.erased(ctx)
	if err != nil {
		return err
	}
	ours := map[erasure.Hash]erasure.Entry{}
	for _, x := range list {
		ours[x.name] = x.entry
	}
	slices.SortFunc(list, func(a, b erasedName) int {
		return cmp.Or(cmp.Compare(max(a.entry.Erased, a.entry.Readmitted), max(b.entry.Erased, b.entry.Readmitted)), a.name.Compare(b.name))
	})
	entries := make([]backup.LedgerEntry, len(list))
	for i := range list {
		entries[i] = backup.LedgerEntry{Name: list[i].name, Entry: list[i].entry.Append()}
	}
	return t.PutLedger(ctx, entries, func(l backup.LedgerEntry) (bool, error) {
		e, err := erasure.ReadEntry(l.Entry)
		if err != nil {
			return false, err
		}
		have, ok := ours[l.Name]
		return ok && !e.NewerThan(&have), nil
	})
}

// erased returns the ledger. The store cannot close meanwhile.
func (db *DB) erased(ctx context.Context) (list []erasedName, err error) {
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return nil, errClosed()
	}
	err = db.eachErased(ctx, func(name erasure.Hash, e *erasure.Entry) error {
		list = append(list, erasedName{name, *e})
		return nil
	})
	return list, err
}

// forget erases in the restored store who was erased since its backup was made, as far as
// the target knows.
func (r *restoring) forget() error {
	var list []erasedName
	err := r.t.Ledger(r.ctx, func(l backup.LedgerEntry) error {
		e, err := erasure.ReadEntry(l.Entry)
		if err == nil {
			list = append(list, erasedName{l.Name, *e})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("restore: %w", given(r.ctx, err))
	}
	if len(list) == 0 || canary.Is("ledger") { // the erased are back
		return nil
	}
	db, err := Open(r.made, &Options{FS: r.o.FS, MustExist: true, Memory: r.o.Memory, Clock: r.o.Clock, PurgeAfter: -1})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	r.report.Erased, err = db.applyLedger(r.ctx, list)
	r.report.Position = db.current.Load().pos
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("restore: erase who was erased since: %w", err)
	}
	return nil
}
