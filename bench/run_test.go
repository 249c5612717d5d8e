package bench

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

func openEngine(dir string) (Store, error) {
	db, err := engine.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	return db, nil
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var steps int
	report, err := Run(context.Background(), RunOptions{Data: Options{Profiles: 12_345, Seed: 4, WithAbsent: true}, Dir: dir, Open: openEngine,
		Runs: 2, Mix: 50 * time.Millisecond, Segments: 20, Write: 100 * time.Millisecond, Progress: func(string) { steps++ }})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Loads) != 2 || report.Loads[0].How != "batches" || report.Loads[1].How != "csv" || report.Loads[1].Rows != 12_345 {
		t.Errorf("loads: %+v", report.Loads)
	}
	if len(report.Writes) != len(upserts()) {
		t.Errorf("writes: %+v", report.Writes)
	}
	for _, w := range report.Writes {
		if w.Rows == 0 || w.P99 < w.P50 || w.Reopen <= 0 || len(w.Questions) != 3 {
			t.Errorf("%+v", w)
		}
	}
	checked := 0
	for _, f := range report.Questions {
		if f.Checked {
			checked++
		}
		if f.Runs < 1 || f.P95 < f.P50 {
			t.Errorf("%+v", f)
		}
	}
	if checked != counted || len(report.Questions) != 11 || steps < 10 {
		t.Errorf("%d of %d questions were checked, %d steps", checked, len(report.Questions), steps)
	}
	if report.Stats.Profiles != 12_345 || report.Stats.Segments != 20 {
		t.Errorf("%+v", report.Stats)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "csv" {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// wrongStore counts one person too many.
type wrongStore struct{ Store }

func (s wrongStore) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	n, err := s.Store.Count(ctx, expr, o)
	n.Count++
	return n, err
}

// TestRunChecks makes sure that a wrong answer ends a run, and so does the end of the context.
func TestRunChecks(t *testing.T) {
	o := RunOptions{Data: Options{Profiles: 1000}, Open: func(dir string) (Store, error) {
		s, err := openEngine(dir)
		return wrongStore{s}, err
	}}
	o.Dir = t.TempDir()
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("a wrong count was not noticed")
	}
	o.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
