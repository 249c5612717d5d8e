//go:build trial

package engine_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// TestRaiseVersion raises the version of a log that two replicas share, of which one is away meanwhile and one begins
// with a copy of before: both change their minds at the same entry, and remember.
func TestRaiseVersion(t *testing.T) {
	lowest, newest := engine.KnownVersions()
	files, log := vfs.NewMem(), enginetest.NewLog()
	m, other := log.Member(), log.Member()
	stopReplica(t, replicaOn(t, files, m, "a/store", nil), m)
	must(t, engine.WriteVersion(files, "a/store", lowest))
	db := replicaOn(t, files, m, "a/store", nil)
	if db.ClusterVersion() != lowest {
		t.Fatalf("it begins at %s", db.ClusterVersion())
	}
	peopleSchema(t, db)
	upserts(t, db, 0, 20)
	must(t, files.MkdirAll("b", 0o755))
	_, err := db.CheckpointTo(t.Context(), "b/store")
	must(t, err)
	upserts(t, db, 20, 40)
	must(t, db.RaiseVersion(t.Context(), newest.Number))
	if db.ClusterVersion() != newest {
		t.Fatalf("raised it is %s", db.ClusterVersion())
	}
	must(t, db.RaiseVersion(t.Context(), newest.Number)) // it is that
	if err := db.RaiseVersion(t.Context(), lowest.Number); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Errorf("back to %s: %v", lowest, err)
	}
	if err := db.RaiseVersion(t.Context(), newest.Number+1); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("on to what nobody knows: %v", err)
	}
	c, err := db.CheckpointTo(t.Context(), "c/store") // nothing was written behind it
	must(t, err)
	if c.Index != log.Last() {
		t.Errorf("the copy is at %d, the log at %d", c.Index, log.Last())
	}
	upserts(t, db, 40, 60)

	copied := replicaOn(t, files, other, "b/store", nil)
	want := digestsAt(t, db, m, log.Last())
	if got := digestsAt(t, copied, other, log.Last()); got != want || copied.ClusterVersion() != newest {
		t.Errorf("by %s the copy is %+v, the store %+v", copied.ClusterVersion(), got, want)
	}
	stopReplica(t, copied, other)
	stopReplica(t, db, m)
	third := log.Member()
	for member, name := range map[*enginetest.Member]string{m: "a/store", third: "c/store"} {
		again := replicaOn(t, files, member, name, nil)
		if got := digestsAt(t, again, member, log.Last()); got != want || again.ClusterVersion() != newest {
			t.Errorf("%s, opened again by %s: %+v, before %+v", name, again.ClusterVersion(), got, want)
		}
		stopReplica(t, again, member)
	}
}
