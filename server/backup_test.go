package server

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// TestBackupsThroughAServer makes a backup at a target that the operator has named, ships the
// log that was kept since, and restores what both come to.
func TestBackupsThroughAServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "backups")
	o := &Options{Target: func(_ context.Context, name string) (query.BackupTarget, func() error, error) {
		if name != "nightly" {
			return nil, nil, query.Errorf(query.CodeUnknownName, "there is no target %q", name)
		}
		t, err := engine.OpenBackupDir(folder)
		if err != nil {
			return nil, nil, err
		}
		return t, t.Close, nil
	}}
	db := openStore(t)
	c := inProcess(t, limited(t, db, o, nil))
	if _, err := c.Backup(t.Context(), client.Target("elsewhere"), nil); !isCode(err, query.CodeUnknownName) {
		t.Errorf("a target that nobody has named: %v", err)
	}
	if _, err := c.ShipLog(t.Context(), client.Target("nightly"), nil); !isCode(err, query.CodeInvalid) {
		t.Errorf("a log that is not kept: %v", err)
	}
	if err := c.KeepLog(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	made, err := c.Backup(t.Context(), client.Target("nightly"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Apply(t.Context(), increment(t, "a", 0)); err != nil {
			t.Fatal(err)
		}
	}
	st, err := c.Stats(t.Context())
	if err != nil || !st.KeptLog.On || st.KeptLog.Records != 3 || st.KeptLog != db.KeptLog() {
		t.Errorf("kept are %+v, %v; the store says %+v", st.KeptLog, err, db.KeptLog())
	}
	r, err := c.ShipLog(t.Context(), client.Target("nightly"), nil)
	if err != nil || r.Records != 3 || r.To.Applied != made.Position.Applied+3 || r.Kept.Records != 0 || !r.Kept.On {
		t.Errorf("shipped: %+v, %v", r, err)
	}
	want, err := c.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target, err := engine.OpenBackupDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := engine.Restore(t.Context(), restored, target, nil); err != nil {
		t.Fatal(err)
	}
	again, err := engine.Open(restored, &engine.Options{PurgeAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, err := again.Digests(t.Context()); err != nil || got.Content != want.Content || got.Chain != want.Chain {
		t.Errorf("restored is %+v, %v, not %+v", got, err, want)
	}
}
