package bench

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// soakOptions are those of a soak that takes seconds.
func soakOptions(t *testing.T) SoakOptions {
	t.Helper()
	dir := t.TempDir()
	target, err := engine.OpenBackupDir(filepath.Join(dir, "backups"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return SoakOptions{
		Data: Options{Profiles: 5000, Events: 30_000, Seed: 3, WithAbsent: true}, Dir: dir, Duration: 4 * time.Second, Target: target,
		Open: func(dir string) (SoakStore, error) {
			db, err := engine.Open(dir, &engine.Options{Memory: 64 << 20})
			if err != nil {
				return nil, err
			}
			return db, nil
		},
		Prune: func(ctx context.Context) error {
			_, err := engine.PruneBackups(ctx, target, &query.PruneOptions{KeepLast: 2})
			return err
		},
	}
}

// broken returns the names of the verdicts that are not well.
func broken(verdicts []SoakVerdict) (names []string) {
	for _, v := range verdicts {
		if !v.OK {
			names = append(names, v.Name)
		}
	}
	return names
}

// TestSoak lives some seconds of a day.
func TestSoak(t *testing.T) {
	r, err := Soak(t.Context(), soakOptions(t))
	if err != nil {
		t.Errorf("%v: %q, %q", err, r.Void, broken(r.Verdicts))
	}
	for _, v := range r.Verdicts {
		t.Logf("%+v", v)
	}
	for _, d := range r.Deeds {
		t.Logf("%s: %d of %d", d.Deed, d.Done, d.Due)
	}
	t.Logf("%+v %+v %+v %d", r.Rows, r.Backups, r.Purges, r.GivenUp)
	for _, m := range r.Measures {
		t.Logf("%s %v", m.Measure, m.Median)
	}
	for _, m := range r.Latencies {
		t.Logf("%+v", m)
	}
}
