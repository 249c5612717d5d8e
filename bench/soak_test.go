package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
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
		Data: Options{Profiles: 5000, Events: 30_000, Seed: 3, WithAbsent: true}, Dir: dir, Duration: 5 * time.Second, Target: target,
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

// notShort leaves a test out of the short run, which is the race detector's: its memory and its
// pace are not the store's.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: memory and pace are not the store's under the race detector")
	}
}

// soaked runs a soak until it says something. Void is what a machine with other work on it makes of
// one: once that may be, but who only ever gets such runs has tested nothing.
func soaked(t *testing.T, run func() (SoakReport, error)) (SoakReport, error) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		r, err := run()
		if len(r.Void) == 0 {
			return r, err
		}
		if try == tries {
			t.Fatalf("void %d times, the machine is too busy: %q", tries, r.Void)
		}
		t.Logf("void: %q", r.Void)
	}
}

// TestSoak lives some seconds of a day.
func TestSoak(t *testing.T) {
	notShort(t)
	r, err := soaked(t, func() (SoakReport, error) { return Soak(t.Context(), soakOptions(t)) })
	if err != nil {
		t.Fatalf("%v: %q, %q", err, r.Void, broken(r.Verdicts))
	}
	if len(r.Deeds) != NumDeeds || len(r.Measures) != NumMeasures || len(r.Latencies) != numClocks || len(r.Verdicts) < 6 {
		t.Errorf("%d deeds, %d measures, %d latencies, %d verdicts", len(r.Deeds), len(r.Measures), len(r.Latencies), len(r.Verdicts))
	}
	if r.Rows.Received != r.Rows.Accepted+r.Rows.Duplicates+r.Rows.Quarantined+r.Rows.Refused {
		t.Errorf("%+v", r.Rows)
	}
	for i := range r.Measures {
		m := &r.Measures[i]
		for n := range tenths {
			if m.Least[n] > m.Median[n] || m.Median[n] > m.Largest[n] {
				t.Errorf("%s: %+v", m.Measure, m)
			}
		}
		if m.Measure == SoakLive && slices.Contains(m.Least[:], 0) {
			t.Errorf("a tenth without a look: %+v", m)
		}
	}
	if r.Load.Rows != 35_000 || r.Check.Values == 0 || r.Stats.Profiles == 0 {
		t.Errorf("%+v, %+v", r.Load, r.Check)
	}
}

// TestSoakLeaks plants leaks, and each must be found.
func TestSoakLeaks(t *testing.T) {
	notShort(t)
	planted := false
	var dir string
	r, err := soaked(t, func() (SoakReport, error) {
		o := soakOptions(t)
		dir = o.Dir
		stop := make(chan struct{})
		defer close(stop)
		var kept [][]byte
		var files []*os.File
		defer func() {
			for _, f := range files {
				_ = f.Close()
			}
		}()
		o.leak = func() {
			kept, planted = append(kept, slices.Repeat([]byte{1}, 8<<20)), true
			for range 4 {
				go func() { <-stop }()
				if f, err := os.Open(dir); err == nil {
					files = append(files, f)
				}
			}
		}
		defer runtime.KeepAlive(&kept)
		return Soak(t.Context(), o)
	})
	if !errors.Is(err, ErrSoak) {
		t.Fatal(err)
	}
	want := []string{"growth of live memory in the second half", "growth of goroutines in the second half", "goroutines after closing, beyond those before"}
	if all, _ := descriptors(dir); all > 0 {
		want = append(want, "growth of descriptors but of files of the store", "descriptors after closing, beyond those before")
	}
	got := broken(r.Verdicts)
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%q was not found: %+v", name, r.Verdicts)
		}
	}
	if !planted {
		t.Error("nothing was planted")
	}
}

// lyingStore is a store that is wrong about one thing.
type lyingStore struct {
	SoakStore
	about string
}

func (s lyingStore) Apply(ctx context.Context, b batch.Batch) (batch.Result, error) {
	r, err := s.SoakStore.Apply(ctx, b)
	if s.about == "batch" && r.Received == eventsOfBatch {
		r.Duplicates++
		r.Accepted--
	}
	return r, err
}

func (s lyingStore) Stats(ctx context.Context) (query.Stats, error) {
	n, err := s.SoakStore.Stats(ctx)
	if s.about == "people" {
		n.Profiles--
	}
	return n, err
}

func (s lyingStore) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	if s.about == "events" && name == "trend" && args["from"][0] == "2025-01-01" {
		who = `country != "DE"`
	}
	if s.about == "refused" && name == "path" {
		args = query.Arguments{"after": {"app_open"}}
	}
	return s.SoakStore.Analyze(ctx, name, who, args, o)
}

func (s lyingStore) Lists(ctx context.Context) ([]query.SavedList, error) {
	lists, err := s.SoakStore.Lists(ctx)
	if s.about == "list" {
		lists[3].People++
	}
	return lists, err
}

func (s lyingStore) Segments(ctx context.Context) ([]query.SavedSegment, error) {
	segments, err := s.SoakStore.Segments(ctx)
	if s.about == "segment" {
		segments = segments[1:]
	}
	return segments, err
}

func (s lyingStore) Erased(ctx context.Context, f func(query.ErasedPerson) error) error {
	if s.about == "ledger" {
		return nil
	}
	return s.SoakStore.Erased(ctx, f)
}

func (s lyingStore) Purge(ctx context.Context, progress func(string)) (*query.Receipt, error) {
	r, err := s.SoakStore.Purge(ctx, progress)
	if s.about == "purge" && r != nil {
		r.Hits = 1
	}
	return r, err
}

func (s lyingStore) Snapshot(ctx context.Context) (query.Snapshot, error) {
	n, err := s.SoakStore.Snapshot(ctx)
	if s.about == "snapshot" && err == nil {
		n = &lyingSnapshot{Snapshot: n}
	}
	return n, err
}

// lyingSnapshot says something else each time.
type lyingSnapshot struct {
	query.Snapshot
	asked uint64
}

func (s *lyingSnapshot) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	n, err := s.Snapshot.Count(ctx, expr, o)
	s.asked++
	n.Count += s.asked
	return n, err
}

// TestSoakBooks makes sure that what a store says wrongly is noticed.
func TestSoakBooks(t *testing.T) {
	for about, says := range map[string]string{
		"batch": "of a batch at", "people": "people with", "events": "events; right are", "list": "the list", "segment": "segments; right are",
		"ledger": "erased people; right are", "purge": "the receipt", "snapshot": "a snapshot of", "refused": "that must be refused",
	} {
		t.Run(about, func(t *testing.T) {
			o := soakOptions(t)
			o.Data.Profiles, o.Data.Events, o.Duration = 1000, 3000, 1200*time.Millisecond
			if about == "purge" || about == "ledger" {
				o.Duration = 2 * time.Second
			}
			open := o.Open
			o.Open = func(dir string) (SoakStore, error) {
				s, err := open(dir)
				return lyingStore{s, about}, err
			}
			if _, err := Soak(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v; it does not say %q", err, says)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := soakOptions(t)
	o.leak = cancel
	if _, err := Soak(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a soak that was interrupted: %v", err)
	}
}
