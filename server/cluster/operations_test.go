package cluster

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// target opens the target of backups.
func (c *town) target(_ context.Context, name string) (query.BackupTarget, func() error, error) {
	if name != "backups" || c.backups == "" {
		return nil, nil, query.Errorf(query.CodeUnknownName, "there is no target %q", name)
	}
	t, err := engine.OpenBackupDir(c.backups)
	if err != nil {
		return nil, nil, err
	}
	return t, t.Close, nil
}

// alone returns a client that knows one member only.
func (m *member) alone(o *client.Options) *client.Client {
	m.town.t.Helper()
	out, err := client.Open(m.town.t.Context(), "kanta://"+m.address, o)
	m.town.must(err)
	m.town.t.Cleanup(func() { _ = out.Close() })
	return out
}

// TestPurge erases somebody through a follower, and purges through it: every member has, when the call returns. What the
// members count of each other is in their metrics.
func TestPurge(t *testing.T) {
	c := found(t, 2)
	leader, others := c.leader()
	at := others[0].alone(nil)
	for i := range uint64(20) {
		if _, err := at.Apply(t.Context(), c.more("anna", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	before := leader.node.Figures()
	if _, err := at.Erase(t.Context(), "ticket", "anna"); err != nil {
		t.Fatal(err)
	}
	told := false
	r, err := at.Purge(t.Context(), func(string) { told = true })
	if err != nil || r == nil || r.People != 1 || r.Hits != 0 || len(r.Missing) > 0 || !told {
		t.Fatalf("%+v, %v; told %t", r, err, told)
	}
	if again, err := at.Purge(t.Context(), nil); again != nil || err != nil {
		t.Errorf("there is nothing left to purge: %+v, %v", again, err)
	}
	s, err := leader.alone(nil).ClusterStatus(t.Context())
	c.must(err)
	for _, m := range s.Members {
		if m.Purged != r.Position || s.Purge != r.Position {
			t.Errorf("%s: purged up to %s; everybody is to up to %s, the receipt says %s", m.ID, m.Purged, s.Purge, r.Position)
		}
	}
	f := leader.node.Figures()
	if f.Commit == 0 || f.Applied < before.Applied || f.SnapshotIndex <= before.SnapshotIndex || f.LogBytes >= before.LogBytes || f.LogEntries >= before.LogEntries {
		t.Errorf("figures before: %+v, after: %+v", before, f)
	}
	if f.Dialed == 0 || f.Received == 0 || f.Sent <= f.Received || f.Refused["tls"] != 0 {
		t.Errorf("the leader's figures of the others: %+v", f)
	}
	if f := others[0].node.Figures(); f.Connections == 0 || f.Accepted == 0 || f.Received <= f.Sent {
		t.Errorf("the other's: %+v", f)
	}
}

// TestBackupOfMember has a follower make backups, restores the newest, and begins a new cluster with what was restored, on
// the machine and under the name of the first one's leader. It is another store in another epoch: no member of the old
// cluster has anything to do with it, though they still call at its address.
func TestBackupOfMember(t *testing.T) {
	c := found(t, 2)
	c.backups = filepath.Join(t.TempDir(), "backups")
	leader, others := c.leader()
	old, at := others[0], others[0].alone(nil)
	write := func(from, to uint64) query.Position {
		t.Helper()
		var last batch.Result
		for i := from; i < to; i++ {
			var err error
			last, err = at.Apply(t.Context(), c.more("anna", i+1))
			c.must(err)
		}
		return last.Position
	}
	backup := func(want query.Position) query.BackupReport {
		t.Helper()
		c.must(old.node.node.AtLeast(t.Context(), want)) // a backup has what the member has applied
		r, err := at.Backup(t.Context(), client.Target("backups"), nil)
		if err != nil || r.Position != want {
			t.Fatalf("a backup of a follower at %s: %+v, %v", want, r, err)
		}
		return r
	}
	backup(write(0, 10))
	second := backup(write(10, 15))

	target, _, err := c.target(t.Context(), "backups")
	c.must(err)
	restored := filepath.Join(t.TempDir(), "restored")
	report, err := engine.Restore(t.Context(), restored, target, nil)
	c.must(err)
	if report.Store == second.Store || report.Position.Epoch <= second.Position.Epoch || report.Position.Applied != second.Position.Applied {
		t.Errorf("restored is %+v of %+v", report, second)
	}
	leader.close()
	c.must(Init(filepath.Join(c.dir, "anew"), &InitOptions{Cluster: "town", ID: leader.id, Address: leader.address, RaftAddress: leader.raft, From: restored}))
	was := leader.dir
	anew := &member{town: c, id: leader.id, dir: filepath.Join(c.dir, "anew"), address: leader.address, raft: leader.raft, pair: was}
	c.members = []*member{anew, old}
	anew.open()
	fresh := anew.alone(nil)
	c.eventually("the new cluster writes", func() bool {
		_, err := fresh.Apply(t.Context(), c.more("anna", 16))
		return err == nil
	})
	if n, err := fresh.Count(t.Context(), "n == 16", nil); err != nil || n.Count != 1 || n.Position.Epoch != report.Position.Epoch {
		t.Errorf("%+v, %v", n, err)
	}
	if err := anew.node.node.AtLeast(t.Context(), second.Position); !errors.Is(err, &query.Error{Code: query.CodeWrongEpoch}) {
		t.Errorf("a position of before: %v", err)
	}
	c.eventually("the old member is refused", func() bool { return anew.node.Figures().Refused["cluster"] > 0 })
	if _, self := old.node.Leader(); self {
		t.Error("the old member leads")
	}
	s, err := fresh.ClusterStatus(t.Context())
	c.must(err)
	if !slices.ContainsFunc(s.Members, func(m query.ClusterMember) bool { return m.ID == leader.id }) || s.Leader != leader.id {
		t.Errorf("%+v", s)
	}
	for _, m := range s.Members {
		if m.ID == old.id && m.LastContact >= 0 {
			t.Errorf("%+v", m)
		}
	}
}
