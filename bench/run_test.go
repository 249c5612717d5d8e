package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/index/schema"
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
	report, err := Run(context.Background(), RunOptions{Data: Options{Profiles: 12_345, Events: 20_000, Seed: 4, WithAbsent: true}, Dir: dir, Open: openEngine,
		Runs: 2, Mix: 50 * time.Millisecond, Segments: 20, Write: 60 * time.Millisecond, First: firstHere, Progress: func(string) { steps++ }})
	if err != nil {
		t.Fatal(err)
	}
	loads := len(eventLoads())
	if len(report.Loads) != 3+loads || report.Loads[0].How != "batches" || report.Loads[1+loads].How != "csv" || report.Loads[1+loads].Rows != 12_345 ||
		report.Loads[2+loads].Rows != 20_000 || report.Loads[1].Rows != 20_000/uint64(loads) {
		t.Errorf("loads: %+v", report.Loads)
	}
	if len(report.Writes) != 5 {
		t.Errorf("writes: %+v", report.Writes)
	}
	for _, l := range report.Loads {
		if l.Amplification <= 1 { // the log alone is once the batches
			t.Errorf("%+v", l)
		}
	}
	for _, w := range report.Writes {
		if single := strings.Contains(w.How, "single"); (w.Half == nil) != single {
			t.Errorf("%s at half the rate: %v", w.How, w.Half)
		} else if !single {
			checkHalf(t, &w)
		}
		if w.Rows == 0 || w.P99 < w.P50 || w.Reopen <= 0 || len(w.Questions) != map[bool]int{false: 3, true: 5}[strings.HasPrefix(w.How, "events")] {
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
	analyses := len(New(Options{}).AnalysisQuestions(0))
	if checked != counted+7+analyses || len(report.Questions) != 19+analyses || steps < 10 {
		t.Errorf("%d of %d questions were checked, %d steps", checked, len(report.Questions), steps)
	}
	if report.Stats.Profiles != 12_345 || report.Stats.Events != 20_000 || report.Stats.BaseBytes["events"] == 0 || report.Stats.Segments != 20 {
		t.Errorf("%+v", report.Stats)
	}
	if report.Bandwidth <= 0 || (len(report.Cold) == 4) != dropsCache {
		t.Errorf("%g bytes per second, cold %+v", report.Bandwidth, report.Cold)
	}
	for _, c := range report.Cold {
		if c.Open <= 0 || c.Ask <= 0 || c.Runs != coldRuns {
			t.Errorf("%+v", c)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "csv" {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// firstHere asks in this process: only how cold it is depends on that.
func firstHere(ctx context.Context, dir, question string) (First, error) {
	return AskFirst(ctx, openEngine, dir, question)
}

// checkHalf wants writes at half the rate, give or take the first batch of each writer,
// and questions.
func checkHalf(t *testing.T, w *WriteFigure) {
	h := w.Half
	due := float64(w.Rows)/2*h.Took.Seconds()/w.Took.Seconds() + 2*1000
	if h.Rows == 0 || float64(h.Rows) > due {
		t.Errorf("%s: %d rows in %v at half of the rate of %d in %v", w.How, h.Rows, h.Took, w.Rows, w.Took)
	}
	if h.P50 <= 0 || h.P99 < h.P50 || len(h.Questions) == 0 || h.Questions[0].Name != map[bool]string{false: "Q2", true: "Q9"}[strings.HasPrefix(w.How, "events")]+" during writes" {
		t.Errorf("%s: %+v", w.How, h)
	}
	if last := h.Questions[len(h.Questions)-1].Name; (last == "Q9 after an hour of small batches") != (w.How == "events, batches of 1,000") {
		t.Errorf("%s: the last question is %s", w.How, last)
	}
	for _, q := range h.Questions {
		if q.Runs == 0 || q.P50 <= 0 || q.P95 < q.P50 {
			t.Errorf("%s: %+v", w.How, q)
		}
	}
}

// wrongStore counts one person too many when it is asked about something, and an event too
// few if that is nothing.
type wrongStore struct {
	Store
	about string
}

func (s wrongStore) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	n, err := s.Store.Count(ctx, expr, o)
	if s.about != "" && strings.Contains(expr, s.about) {
		n.Count++
	}
	return n, err
}

func (s wrongStore) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	r, err := s.Store.Analyze(ctx, name, who, args, o)
	if s.about == name {
		for _, t := range r.Tables {
			for _, row := range t.Rows {
				for i, v := range row.Values {
					if v.Kind() == schema.Int {
						row.Values[i] = schema.IntValue(v.Ordered() + 1)
					}
				}
			}
		}
	}
	return r, err
}

func (s wrongStore) Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error) {
	p, err := s.Store.Profile(ctx, key, o)
	if s.about == "" && len(p.Events) > 0 {
		p.Events = p.Events[1:]
	}
	return p, err
}

// TestEventChecks makes sure that wrong answers about events are noticed.
func TestEventChecks(t *testing.T) {
	ctx := t.Context()
	s, err := openEngine("")
	if err != nil {
		t.Fatal(err)
	}
	r := runner{RunOptions: RunOptions{Data: Options{Profiles: 100, Events: 3000}, Runs: 1, Progress: func(string) {}}, report: &Report{}}
	r.g = New(r.Data)
	if err := errors.Join(r.g.AddSchema(ctx, s), r.applyAll(ctx, s, 0, 100, 100, r.g.profiles), r.applyAll(ctx, s, 0, 3000, 1000, r.g.eventFiller(true))); err != nil {
		t.Fatal(err)
	}
	if err := r.askEvents(ctx, Asker{Store: s}); err != nil || len(r.report.Questions) != 7+len(r.g.AnalysisQuestions(0)) || slices.ContainsFunc(r.report.Questions, func(f Figure) bool { return !f.Checked }) {
		t.Errorf("%v, %+v", err, r.report.Questions)
	}
	for about, name := range map[string]string{"purchase": "Q8", "100.00": "Q9", "view_item.in_last(days(14))": "Q10", "country": "Q11", "sequence": "Q12", "rfm": "Q7", "funnel": "Q12 funnel", "retention": "Q13", "basket": "Q14", "trend": "trend", "path": "path", "compare": "compare", "": "Q16"} {
		if err := r.askEvents(ctx, Asker{Store: wrongStore{s, about}}); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("a wrong answer to %s was not noticed: %v", name, err)
		}
	}
	if err := r.applyAll(ctx, s, 0, 1000, 1000, r.g.eventFiller(true)); err == nil || !strings.Contains(err.Error(), "1000 are duplicates") {
		t.Errorf("events that were there already: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestRunChecks makes sure that a wrong answer ends a run, and so does the end of the context.
func TestRunChecks(t *testing.T) {
	o := RunOptions{Data: Options{Profiles: 1000}, Dir: t.TempDir(), Open: func(dir string) (Store, error) {
		s, err := openEngine(dir)
		return wrongStore{s, "country"}, err
	}}
	if _, err := Run(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "Q1: ") {
		t.Errorf("a wrong count was not noticed: %v", err)
	}
	o.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAskFirst(t *testing.T) {
	ctx := context.Background()
	if _, err := AskFirst(ctx, openEngine, t.TempDir(), "Q6"); err == nil {
		t.Error("a breakdown was counted")
	}
	if !dropsCache {
		t.Skip("posix_fadvise, which drops files from the page cache, is missing: it is on Linux only")
	}
	if _, err := AskFirst(ctx, openEngine, filepath.Join(t.TempDir(), "none"), "Q2"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	g, dir := New(Options{Profiles: 5000}), t.TempDir()
	s, err := openEngine(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := runner{RunOptions: RunOptions{Data: g.opt, First: firstHere, Dir: filepath.Dir(dir)}, g: g}
	if err := errors.Join(g.AddSchema(ctx, s), r.applyAll(ctx, s, 0, 5000, batchRows, g.profiles), s.Close()); err != nil {
		t.Fatal(err)
	}
	e, err := g.Count(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := AskFirst(ctx, openEngine, dir, "Q2")
	if want, _ := e.Answer("Q2"); err != nil || first.Count != want.True || first.Unknown != want.Unknown || first.Count == 0 {
		t.Errorf("%+v, %v; want %+v", first, err, want)
	}
}

// TestRoofline adds words up on several goroutines and computes one bound by hand.
func TestRoofline(t *testing.T) {
	words := make([]uint64, 1003)
	for i := range words {
		words[i] = uint64(i) << 40
	}
	for goroutines := 1; goroutines < 9; goroutines++ {
		if got, want := streamed(words, goroutines), uint64(1002*1003/2)<<40; got != want {
			t.Errorf("%d goroutines: the sum is %d, want %d", goroutines, got, want)
		}
	}
	if b := bandwidth(2, 1<<20); b < 1e8 {
		t.Errorf("%g bytes per second", b)
	}
	r := Report{Bandwidth: 20e9}
	if got := r.Roofline(Figure{Bytes: 50_000_000}); got != 2500*time.Microsecond {
		t.Error(got)
	}
	if got := r.Roofline(Figure{Bytes: 19_999}); got != 0 {
		t.Errorf("a roofline of %v", got)
	}
}
