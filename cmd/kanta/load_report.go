package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/quality"
)

// loaded is what became of a file's rows.
type loaded struct {
	File string `json:"file"`
	*quality.Outcome

	place string // what counts its rows: line, or row
}

// maxExamples is how many bad rows a load shows: the rest are in the quarantine.
const maxExamples = 3

// loadRun is the load of one file. It is for one goroutine.
type loadRun struct {
	*load
	in      *input
	result  *loaded
	started bool
	sender  quality.Sender
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
	if d.Uncounted {
		fmt.Fprintf(l.err, "%s: there are too many keys to count all the overwritten ones\n", d.File)
	}
	for _, row := range d.Rejected { // of what is repeated, what was wrong has been told the first time
		fmt.Fprintf(l.err, "%s, %s %d: %s: %s\n", d.File, d.place, row.Line, row.Reason, printable(row.Detail))
	}
	if d.Quarantined > 0 && !l.flags.dry {
		fmt.Fprintf(l.err, "%s: kanta quarantine list shows the rows that did not fit\n", d.File)
	}
	if d.Received > 0 && d.RepeatedRows == d.Received {
		fmt.Fprintf(l.err, "%s: it had been loaded before, nothing was changed; --again loads it once more\n", d.File)
	}
}
