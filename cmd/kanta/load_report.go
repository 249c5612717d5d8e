package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/query"
)

// loaded is what became of a file's rows.
type loaded struct {
	File          string            `json:"file"`
	Received      uint64            `json:"received"`
	Accepted      uint64            `json:"accepted"`
	Created       uint64            `json:"created"`
	Overwritten   uint64            `json:"overwritten"`
	Quarantined   uint64            `json:"quarantined"`
	Refused       uint64            `json:"refused"`
	Duplicates    uint64            `json:"duplicates"`
	Repeated      uint64            `json:"repeated"`
	RepeatedRows  uint64            `json:"repeated_rows"`
	Reasons       map[string]uint64 `json:"reasons"`
	Ignored       []string          `json:"ignored_columns"`
	ElapsedUS     int64             `json:"elapsed_us"`
	RowsPerSecond uint64            `json:"rows_per_second"`

	bad       []batch.Rejected // the first rows that did not fit
	place     string           // what counts its rows: line, or row
	uncounted bool             // Overwritten is not all
}

// maxExamples is how many bad rows a load shows: the rest are in the quarantine.
const maxExamples = 3

// loadRun is the load of one file. It is for one goroutine.
type loadRun struct {
	*load
	in      *input
	result  *loaded
	started bool
	failed  bool // in the store, not in the file
	sent    []sent
}

// loadProgress shows how far the files of a load are. It is for several goroutines.
type loadProgress struct {
	mu       sync.Mutex
	line     *progress
	runs     []*loadRun
	what     string // is loaded
	size     int64  // of all files; 0 is not known
	received uint64
}

func newLoadProgress(line *progress, runs []*loadRun) *loadProgress {
	p := &loadProgress{line: line, runs: runs, what: fmt.Sprintf("%d files", len(runs))}
	if len(runs) == 1 {
		p.what = runs[0].in.name
	}
	for _, r := range runs {
		if r.in.size == 0 {
			p.size = 0
			break
		}
		p.size += r.in.size
	}
	return p
}

// add shows that more rows have been decided.
func (p *loadProgress) add(rows uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received += rows
	if !p.line.due() {
		return
	}
	read := int64(0)
	for _, r := range p.runs {
		read += r.in.read.Load()
	}
	done := 0.0
	if p.size > 0 {
		done = float64(read) / float64(p.size)
	}
	p.line.show(done, fmt.Sprintf("%s: %s rows, %s rows/s", p.what, count(p.received), count(perSecond(p.received, time.Since(p.line.start)))))
}

func (p *loadProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.end()
}

// underWay is how many batches are on their way at a time: one is decided while the next
// is checked, and several share an fsync.
const underWay = 4

// sent is a batch on its way.
type sent struct {
	line uint64 // its first
	rows int
	wait func() (batch.Result, error)
}

// apply sends one batch, or only has it decided.
func (r *loadRun) apply(ctx context.Context, b quality.Loaded) error {
	s := sent{line: uint64(b.FirstLine), rows: b.Rows}
	if r.flags.dry {
		res, err := r.target().DryRun(ctx, b.Batch)
		s.wait = func() (batch.Result, error) { return res, err }
	} else {
		var err error
		if s.wait, err = r.store.Submit(ctx, b.Batch); err != nil {
			s.wait = func() (batch.Result, error) { return batch.Result{}, err }
		}
	}
	r.sent = append(r.sent, s)
	return r.settle(underWay - 1)
}

// settle waits until at most n batches are under way.
func (r *loadRun) settle(n int) error {
	for len(r.sent) > n {
		s := r.sent[0]
		r.sent = r.sent[1:]
		if err := r.outcome(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *loadRun) outcome(s sent) error {
	res, err := s.wait()
	var q *query.Error
	switch {
	case err != nil && errors.As(err, &q) && q.Code == query.CodeStaleSequence:
		// Batches of a file are applied in order: what lies below the store's memory of
		// this source was applied before what it remembers.
		res = batch.Result{Repeated: true, Received: uint64(s.rows)}
	case err != nil:
		r.failed = true
		return fmt.Errorf("rows from %s %d of %s: %w", r.result.place, s.line, r.in.name, err)
	}
	r.result.add(&res)
	r.progress.add(res.Received)
	return nil
}

// add adds the outcome of a batch. The outcome of a repeated one is the first one's: its
// rows are told apart, for they changed nothing this time.
func (d *loaded) add(res *batch.Result) {
	d.Received += res.Received
	if res.Repeated {
		d.Repeated++
		d.RepeatedRows += res.Received
		return
	}
	d.Accepted += res.Accepted
	d.Created += res.Created
	d.Quarantined += res.Quarantined
	d.Refused += res.Refused
	d.Duplicates += res.Duplicates
	for reason, n := range res.Reasons {
		d.Reasons[reason.String()] += n
	}
	if len(d.bad) < maxExamples {
		rejected := slices.Clone(res.Rejected) // a batch has those that could not be typed first
		slices.SortStableFunc(rejected, func(a, b batch.Rejected) int { return cmp.Compare(a.Line, b.Line) })
		d.bad = append(d.bad, rejected[:min(maxExamples-len(d.bad), len(rejected))]...)
	}
}

func (d *loaded) finish(report quality.LoadReport, took time.Duration) {
	if d.RepeatedRows < d.Received {
		d.Overwritten = report.Overwritten
	}
	d.Ignored = append([]string{}, report.Unknown...)
	d.uncounted = !report.OverwrittenKnown
	d.ElapsedUS = took.Microseconds()
	d.RowsPerSecond = perSecond(d.Received, took)
}

func perSecond(n uint64, took time.Duration) uint64 {
	if took <= 0 {
		return 0
	}
	return uint64(math.Round(float64(n) / took.Seconds()))
}

// report prints what became of the rows of each file.
func (l *load) report() error {
	if l.json {
		return l.printJSON(struct {
			Files []*loaded `json:"files"`
			Dry   bool      `json:"dry_run"`
		}{append([]*loaded{}, l.done...), l.flags.dry})
	}
	for _, d := range l.done {
		if d.Received == 0 {
			continue // it failed at once, which is told as an error
		}
		if err := l.reportFile(d); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) reportFile(d *loaded) error {
	t := l.facts()
	t.add("file", d.File)
	t.add("received", d.Received)
	t.add("accepted", d.Accepted)
	t.add("created", d.Created)
	if l.options.Events != nil {
		t.add("duplicates", d.Duplicates)
	} else {
		t.add("overwritten", d.Overwritten)
	}
	t.add("quarantined", d.Quarantined)
	for _, reason := range slices.Sorted(maps.Keys(d.Reasons)) {
		t.add("  "+reason, d.Reasons[reason])
	}
	t.add("refused", d.Refused)
	t.add("repeated", d.RepeatedRows)
	if t.terminal {
		t.add("time", time.Duration(d.ElapsedUS)*time.Microsecond)
	} else {
		t.add("elapsed_us", d.ElapsedUS)
	}
	t.add("rows per second", d.RowsPerSecond)
	if err := t.write(l.out); err != nil {
		return err
	}
	l.remarks(d)
	return nil
}

// remarks says on standard error what a number does not.
func (l *load) remarks(d *loaded) {
	if l.flags.dry {
		fmt.Fprintf(l.err, "%s: a dry run, nothing was changed\n", d.File)
		if l.planned != nil {
			fmt.Fprintf(l.err, "%s: the schema would change first, so the rows were not compared with the people stored: all count as created\n", d.File)
		}
	}
	if len(d.Ignored) > 0 {
		fmt.Fprintf(l.err, "%s: the schema does not have these columns, they were left out: %s\n", d.File, strings.Join(d.Ignored, ", "))
	}
	if d.uncounted {
		fmt.Fprintf(l.err, "%s: there are too many keys to count all the overwritten ones\n", d.File)
	}
	for _, row := range d.bad { // of what is repeated, what was wrong has been told the first time
		fmt.Fprintf(l.err, "%s, %s %d: %s: %s\n", d.File, d.place, row.Line, row.Reason, printable(row.Detail))
	}
	if d.Quarantined > 0 && !l.flags.dry {
		fmt.Fprintf(l.err, "%s: kanta quarantine list shows the rows that did not fit\n", d.File)
	}
	if d.Received > 0 && d.RepeatedRows == d.Received {
		fmt.Fprintf(l.err, "%s: it had been loaded before, nothing was changed; --again loads it once more\n", d.File)
	}
}
