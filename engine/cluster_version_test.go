package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/entry"
	"github.com/kantadb/kanta/query"
)

// TestVersions is the table of cluster versions: without a gap, and what stands for the first is that.
func TestVersions(t *testing.T) {
	all := versions()
	for i, v := range all {
		if v.Number != all[0].Number+uint64(i) {
			t.Errorf("version %d follows %d", v.Number, all[0].Number)
		}
		if err := checkVersion(v); err != nil {
			t.Error(err)
		}
	}
	if all[0].Number == firstVersion.Number && all[0] != firstVersion {
		t.Errorf("the first version is %s, and in clusters that say nothing of it %s", all[0], firstVersion)
	}
	next := all[len(all)-1]
	next.Number++
	if err := checkVersion(next); !isNewer(err, "older and knows", "does not go back") {
		t.Errorf("the version behind the newest: %v", err)
	}
	if err := checkVersion(query.ClusterVersion{Number: all[0].Number - 1, Zones: "1970a"}); !isNewer(err, "upgrade in steps") {
		t.Errorf("the version before the lowest: %v", err)
	}
	if err := checkVersion(query.ClusterVersion{Number: 1, Zones: "1970a"}); !isNewer(err, "time zones "+all[0].Zones, "other members run") {
		t.Errorf("a version with other zones: %v", err)
	}
}

// isNewer reports whether an error says that something is newer, in such words.
func isNewer(err error, words ...string) bool {
	var e *query.Error
	if !errors.As(err, &e) || e.Code != query.CodeNewerFormat || e.Hint == "" {
		return false
	}
	for _, w := range words {
		if !strings.Contains(e.Message+e.Hint, w) {
			return false
		}
	}
	return true
}

// unknown are versions that this program cannot decide by.
func unknown() []query.ClusterVersion {
	newest := newestVersion()
	return []query.ClusterVersion{{Number: newest.Number + 1, Zones: newest.Zones}, {Number: newest.Number, Zones: "1970a"}}
}

// aloneReplica is for a replica to which nothing is written.
func aloneReplica() *ReplicaOptions {
	return &ReplicaOptions{Propose: func(context.Context, []byte) (func() (Outcome, error), error) {
		return nil, query.Errorf(query.CodeNotLeader, "nobody leads")
	}}
}

func replicaAlone(t *testing.T, files vfs.FS) *DB {
	t.Helper()
	db, err := Open("store", &Options{FS: files, PurgeAfter: -1, Replica: aloneReplica()})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUnknownVersion gives a replica entries that raise the version to one that it does not know. It stops at
// them, for good; what was before is there, and it can be opened again.
func TestUnknownVersion(t *testing.T) {
	for _, v := range unknown() {
		files := vfs.NewMem()
		db := replicaAlone(t, files)
		if got := db.ClusterVersion(); got != newestVersion() {
			t.Errorf("a new replica goes by %s", got)
		}
		out, err := db.ApplyEntries(t.Context(), []Entry{{Index: 3, Term: 1}, {Index: 4, Term: 1, Data: entry.AppendRaise(nil, v)}, {Index: 5, Term: 1}})
		if !isNewer(err) || len(out) != 1 {
			t.Errorf("%s: %d outcomes, %v", v, len(out), err)
		}
		if index, _ := db.AppliedEntry(); index != 3 || db.ClusterVersion() != newestVersion() {
			t.Errorf("it is at entry %d, by version %s", index, db.ClusterVersion())
		}
		if _, err := db.ApplyEntries(t.Context(), []Entry{{Index: 6, Term: 1}}); err == nil {
			t.Error("it goes on behind it")
		}
		_ = db.Close() // it has failed
		db = replicaAlone(t, files)
		if db.ClusterVersion() != newestVersion() {
			t.Errorf("opened again it goes by %s", db.ClusterVersion())
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNewerStore opens a store that is decided by a version which this program does not know.
func TestNewerStore(t *testing.T) {
	for _, v := range unknown() {
		files := vfs.NewMem()
		if err := replicaAlone(t, files).Close(); err != nil {
			t.Fatal(err)
		}
		if err := WriteVersion(files, "store", v); err != nil {
			t.Fatal(err)
		}
		o := &Options{FS: files, MustExist: true}
		for what, open := range map[string]func() error{
			"alone":   func() error { _, err := Open("store", o); return err },
			"to read": func() error { _, err := Open("store", &Options{FS: files, ReadOnly: true}); return err },
			"as a replica": func() error {
				_, err := Open("store", &Options{FS: files, Replica: aloneReplica()})
				return err
			},
			"as a checkpoint": func() error { _, err := ReadCheckpoint("store", o); return err },
			"to fork it":      func() error { _, err := Fork("store", o); return err },
		} {
			if err := open(); !isNewer(err, v.String()) {
				t.Errorf("%s, %s: %v", v, what, err)
			}
		}
	}
}
