package engine

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// heldTarget takes nothing of a store's files until it is let go.
type heldTarget struct {
	query.BackupTarget
	asked, free chan struct{}
	once        sync.Once
}

func (h *heldTarget) Put(ctx context.Context, name string, data []byte) error {
	if len(name) > 8 && name[:8] == "objects/" {
		h.once.Do(func() { close(h.asked) })
		select {
		case <-h.free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.BackupTarget.Put(ctx, name, data)
}

// TestPurgeDuringBackup begins a backup when a purge has taken somebody out of the store but
// not yet out of its files, so that the checkpoint may still have the person: the purge looks
// through the files when that is gone.
func TestPurgeDuringBackup(t *testing.T) {
	db, err := Open("store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline}})
	for _, key := range []string{"customer-0001", "customer-0002"} {
		b.Upsert(key).Set("email", schema.StringValue(key+"@example.com"))
	}
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, err := OpenBackupDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	target := &heldTarget{BackupTarget: dir, asked: make(chan struct{}), free: make(chan struct{})}
	if _, err := db.Erase(t.Context(), "", "customer-0001"); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	letGo := sync.OnceFunc(func() { close(target.free) })
	looked := false
	receipt, err := db.Purge(t.Context(), func(what string) {
		switch what {
		case "scrubbing files":
			go func() {
				_, err := db.Backup(t.Context(), target, nil)
				made <- err
			}()
			<-target.asked // the checkpoint is there
		case "waiting for a backup under way":
			letGo()
		case "looking through files":
			looked = true
			if names, err := db.opt.FS.List("store"); err != nil || slices.Contains(names, "checkpoint") {
				t.Errorf("the store has %q, %v", names, err)
			}
		}
	})
	letGo()
	if err != nil || receipt == nil || receipt.Hits != 0 || !looked {
		t.Errorf("the receipt is %+v, %v", receipt, err)
	}
	if err := <-made; err != nil {
		t.Errorf("the backup: %v", err)
	}
}
