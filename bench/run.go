package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// Store is what a run needs of a database.
type Store interface {
	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error)
	Count(ctx context.Context, expr string, o *query.Options) (query.Count, error)
	Bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error)
	Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error)
	Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error)
	Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error)
	Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error)
	Stats(ctx context.Context) (query.Stats, error)
	Compact(ctx context.Context) error
	Close() error
}

// How often a question is asked: unmeasured to warm up, then measured.
const (
	WarmUps     = 3
	DefaultRuns = 20
)

// RunOptions say what is measured.
type RunOptions struct {
	Data     Options // Profiles, Events and Seed; WithAbsent as they say
	Dir      string  // an empty directory for the data and the stores; its store "csv" stays
	Open     func(dir string) (Store, error)
	Runs     int                                                   // measured askings of each question, at least 1; 0: DefaultRuns
	Mix      time.Duration                                         // how long MIX8 is asked; 0: 2 s
	Segments int                                                   // saved segments of Q17; 0: 1,000
	Write    time.Duration                                         // how long each kind of write goes on; 0: 3 s, negative: none
	First    AskFirstFunc                                          // asks cold questions; nil: none are asked
	Serve    func(ctx context.Context, dir string) (Served, error) // serves a store elsewhere; nil: nothing is measured over the wire
	Progress func(what string)                                     // what begins now; may be nil
}

// LoadFigure is one way of loading all profiles, or events.
type LoadFigure struct {
	How           string // "csv" or "batches", "events, ..."
	Rows          uint64
	Took          time.Duration // until everything was acknowledged
	Compact       time.Duration // then, until everything was folded
	Amplification float64       // bytes written to disk per byte of batch, folding included
}

// Figure is the measurement of one question.
type Figure struct {
	Name     string
	P50, P95 time.Duration
	Runs     int
	Count    uint64 // of the last run
	Unknown  uint64
	Bytes    uint64  // looked at by the last run
	Checked  bool    // Count and Unknown were compared with what is right
	PerSec   float64 // MIX8: questions per second; else 0
}

// Report is what a run measured.
type Report struct {
	Loads     []LoadFigure
	Questions []Figure
	Writes    []WriteFigure
	Cold      []ColdFigure
	Wire      []WireFigure
	Idle      IdleFigure
	Stats     query.Stats // of the store that was asked
	PeakBytes int64       // largest resident memory of the process; 0 if not known
	Bandwidth float64     // bytes per second that this machine streams from memory
}

// minRoofline is the shortest roofline that says something: below it a question waits
// for memory once or twice and does not stream it.
const minRoofline = time.Microsecond

// Roofline returns the least time that a question can take on this machine: what it
// looked at, streamed from memory. It is 0 where the bytes are not known, or too few.
func (r *Report) Roofline(f Figure) time.Duration {
	if least := float64(f.Bytes) / r.Bandwidth * 1e9; least >= float64(minRoofline) {
		return time.Duration(least)
	}
	return 0
}

// Run generates, loads and asks. An answer that differs from what the generator counted,
// or from [Behaviour] where the events are few, is an error. The report holds what was measured until then.
func Run(ctx context.Context, o RunOptions) (report Report, err error) {
	if o.Runs <= 0 {
		o.Runs = DefaultRuns
	}
	if o.Mix <= 0 {
		o.Mix = 2 * time.Second
	}
	if o.Segments <= 0 {
		o.Segments = 1000
	}
	if o.Write == 0 {
		o.Write = 3 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := &runner{RunOptions: o, g: New(o.Data), report: &report}
	defer func() {
		// In this order: what the bandwidth is measured with is no memory of the store.
		report.PeakBytes = peakMemory()
		if err == nil {
			report.Bandwidth = bandwidth(runtime.GOMAXPROCS(0), bandwidthBytes)
		}
	}()
	if err := r.loadBatches(ctx); err != nil {
		return report, fmt.Errorf("load by batches: %w", err)
	}
	s, err := r.loadCSV(ctx)
	if err != nil {
		return report, fmt.Errorf("load from CSV: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := r.ask(ctx, s); err != nil {
		return report, err
	}
	if o.Data.Events > 0 {
		if err := r.askEvents(ctx, Asker{Store: s}); err != nil {
			return report, err
		}
	}
	if report.Stats, err = s.Stats(ctx); err != nil {
		return report, err
	}
	if o.Serve != nil && o.Write > 0 {
		if s, err = r.wire(ctx, s); err != nil {
			return report, fmt.Errorf("over the wire: %w", err)
		}
	}
	if o.Write > 0 {
		if s, err = r.write(ctx, s); err != nil {
			return report, err
		}
	}
	if o.First != nil && dropsCache {
		s, err = r.cold(ctx, s)
	}
	return report, err
}

// runner is one Run.
type runner struct {
	RunOptions
	g        *Generator
	expected Expected
	report   *Report
	live     atomic.Uint64 // number of the next event that arrives
}

// open opens a new store and adds the attributes.
func (r *runner) open(ctx context.Context, name string) (Store, error) {
	s, err := r.Open(filepath.Join(r.Dir, name))
	if err != nil {
		return nil, err
	}
	if err := r.g.AddSchema(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// remove closes a store and removes its directory.
func (r *runner) remove(s Store, name string) error {
	return errors.Join(s.Close(), os.RemoveAll(filepath.Join(r.Dir, name)))
}
