package quality

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of a load.
const (
	loadRows    = 8192       // rows of a batch: larger ones compress no better and wait longer to be durable
	maxLoadRows = 1 << 16    // a bit of presence per row and column, and 2-byte codes, are made for this
	loadBytes   = 1536 << 10 // of text and cell places of a batch: usual data compress to a third of batch.MaxStored
)

// LoadOptions says how rows become batches. All but Parallelism, CountedKeys, FirstSequence and
// FromSequence shape the batches, so all but these belong in a source's name: see [SourceOf].
type LoadOptions struct {
	// File is where the rows come from, for messages and the quarantine.
	File string
	// Key names the column of the profiles' keys. It must be given. It is not loaded as an
	// attribute too, unless the schema has one of its name.
	Key string
	// Events says that the rows are events of the profiles. Nil: they are profiles.
	Events *EventColumns
	// Columns gives columns the name of their attribute or property, where it is another
	// one; "" means that the column is left out.
	Columns map[string]string
	// Unknown says what becomes of what the schema does not have.
	Unknown Unknown
	// SetSeparator stands between the elements of a set; default schema.SetSeparator. It
	// must be that of the rows' RowsOptions.
	SetSeparator string
	// EmptyUnsets makes an empty cell clear the stored value. Else it is left as it is.
	// What is absent from a JSON object is left as it is in both cases. Not of events.
	EmptyUnsets bool
	// Zone is that of times that name none; nil is UTC.
	Zone *time.Location
	// Source and Run name the batches for exactly-once, together with a sequence: the number
	// of a batch's first row. Without a source the batches are not named.
	Source string
	Run    uint64
	// FirstSequence is the number of the first row; 0 is 1.
	FirstSequence uint64
	// FromSequence resumes: batches below it are not made. After a batch of n rows with
	// sequence s that is s + n.
	FromSequence uint64
	// Parallelism is how many goroutines type rows and encode batches; 0 is GOMAXPROCS.
	// One more reads.
	Parallelism int
	// CountedKeys bounds the different keys that are remembered to count those that come
	// twice, at 8 to 12 bytes each; 0 is 16,777,216.
	CountedKeys int
	// BatchRows bounds the rows of a batch, 1 to 65,536; default 8,192. Batches of wide rows have fewer.
	BatchRows int
}

// Unknown says what becomes of values that the schema has no attribute or property for.
// (To have them added, infer them before: see [Infer] and [InferEvents].)
type Unknown int

const (
	// IgnoreUnknown leaves out columns without an attribute, or without a property of any
	// event type, and reports them. The rows of an unknown event type, and those with a value
	// that only other types have a property for, go into the quarantine.
	IgnoreUnknown Unknown = iota
	// QuarantineUnknown puts every row with such a value into the quarantine.
	QuarantineUnknown
	// RefuseUnknown makes such a column, event type or value an error that ends the load.
	RefuseUnknown
)

// EventColumns names the columns of events, beside the profiles' keys. They are not loaded as
// properties too, unless the event type has one of their name.
type EventColumns struct {
	// Time is when it happened: a timestamp as schema.ParseValue reads it, or the time since
	// 1970 as a number, whose digits tell its unit: 9 or 10, perhaps with a fraction, are
	// seconds, 13 milliseconds, 16 microseconds, 19 nanoseconds. It must be given.
	Time string
	// Event is the column of the event types' names, Name is that of the type of all rows:
	// one of the two must be given.
	Event, Name string
	// IDSource is whose ids they are: see batch.EventTable.IDSource.
	IDSource string
	// ID is an id of the event; "" if there is none. The n-th row of a JSON array of
	// objects (see RowsOptions.Unnest) has the id of its line, "#" and n.
	ID string
}

// Loaded is an encoded batch of consecutive rows.
type Loaded struct {
	Batch       batch.Batch // the callee's to keep
	Sequence    uint64      // the number of its first row
	Rows        int         // good and bad
	Quarantined int         // the bad ones
	FirstLine   int         // where the text of its first row starts, from 1
	LastLine    int         // where that of its last row starts
	Offset      int64       // bytes of decoded text read up to the end of its last row
}

// LoadReport counts what a load saw, over the whole input: the rows of batches below
// FromSequence are in it.
type LoadReport struct {
	Rows        uint64 // Typed + Quarantined
	Typed       uint64 // rows that became upserts or events; the store may still reject some of them
	Quarantined uint64 // rows that could not be typed
	Reasons     map[batch.Reason]uint64
	Batches     uint64 // emitted
	Skipped     uint64 // rows of batches below FromSequence
	// Overwritten counts typed profiles whose key a later one has too; the later one wins.
	// It is exact (keys count as equal when their 64-bit hashes are), but not counted past
	// CountedKeys different keys: then it is what was seen until there.
	Overwritten      uint64
	OverwrittenKnown bool
	Unknown          []string // columns without an attribute or property, in order
}

// Load makes batches of upserts, or of events, from rows and gives them to emit in order of
// the rows, one at a time, on the caller's goroutine. Rows that cannot be typed, or break
// the rules of the schema, go into the quarantine of the same batch with line, reason and
// raw text; so do events of an unknown type and those with a cell for a property that
// others have and their type has not. Whether a time is too far ahead only the store can
// say, which knows when it received it. The batches and their sequences are a function of the rows, the schema and the
// options; Parallelism changes nothing of them.
//
// Load reads ahead by a few batches on goroutines of its own, which have ended when it
// returns; a Read that blocks delays that. It does not close rows. An error of emit
// stops it and is returned as it is; an error of rows is returned after the batches of
// the rows before. It fails with CodeInvalid on options out of range, an input without
// columns or rows, and two columns for one attribute, and with CodeUnknownName when there
// is no such column, attribute to rename it to, event type, or (with [RefuseUnknown])
// attribute of a column. The report is valid in any case.
func Load(ctx context.Context, rows Rows, s *schema.Schema, o LoadOptions, emit func(Loaded) error) (LoadReport, error) {
	l := loader{o: o, rows: rows, report: LoadReport{Reasons: map[batch.Reason]uint64{}, OverwrittenKnown: true}}
	l.keys.max = o.CountedKeys
	err := l.o.complete()
	if err == nil {
		_, grows := rows.(*ndjsonRows)
		place := "line"
		if _, ok := rows.(*parquetRows); ok {
			place = "row"
		}
		l.planner = planner{o: &l.o, schema: s, fixed: !grows, place: place, taken: map[string]string{}}
		l.plan, err = l.planner.extend(nil, rows.Columns())
	}
	if err == nil {
		err = l.run(ctx, emit)
	}
	if l.plan != nil {
		l.report.Unknown = l.plan.unknown
	}
	if err == nil && l.report.Rows == 0 {
		err = invalid(&l.o, "there is a header and no row: is the file complete?")
	}
	return l.report, err
}

// complete fills in the defaults and checks the ranges.
func (o *LoadOptions) complete() error {
	if o.File == "" {
		o.File = "input"
	}
	if o.SetSeparator == "" {
		o.SetSeparator = schema.SetSeparator
	}
	if o.BatchRows == 0 {
		o.BatchRows = loadRows
	}
	if o.FirstSequence == 0 {
		o.FirstSequence = 1
	}
	if o.Parallelism == 0 {
		o.Parallelism = runtime.GOMAXPROCS(0)
	}
	o.Key = norm.NFC.String(o.Key)
	if o.Events != nil {
		nfc := norm.NFC.String
		e := *o.Events
		e.Time, e.Event, e.Name, e.ID = nfc(e.Time), nfc(e.Event), nfc(e.Name), nfc(e.ID)
		o.Events = &e // the caller's stays as it is
	}
	switch {
	case o.Key == "":
		return invalid(o, "no column is named for the key: name the one that has the profiles' ids")
	case o.Events != nil && o.Events.Time == "":
		return invalid(o, "no column is named for the time: name the one that says when it happened")
	case o.Events != nil && (o.Events.Event == "") == (o.Events.Name == ""):
		return invalid(o, "either the column of the event types is named, or the event type of all rows")
	case o.Events != nil && o.EmptyUnsets:
		return invalid(o, "an empty cell of an event unsets nothing: leave that option out")
	case o.BatchRows < 1 || o.BatchRows > maxLoadRows:
		return invalid(o, "batches of %d rows: they have 1 to %d", o.BatchRows, maxLoadRows)
	case o.CountedKeys < 0:
		return invalid(o, "%d keys to count: it is 0 or more", o.CountedKeys)
	case o.Parallelism < 0:
		return invalid(o, "a parallelism of %d: it is 0 or more", o.Parallelism)
	case o.Unknown < IgnoreUnknown || o.Unknown > RefuseUnknown:
		return invalid(o, "there is no way %d to treat what is unknown", o.Unknown)
	}
	return nil
}

func invalid(o *LoadOptions, format string, args ...any) error {
	return query.Errorf(query.CodeInvalid, "%s: %s", o.File, fmt.Sprintf(format, args...))
}

// loader is one call of Load. Its reader goroutine owns rows, planner and plan until it
// ends, the workers own the jobs they are given, the caller's goroutine the rest.
type loader struct {
	o       LoadOptions
	rows    Rows
	planner planner
	plan    *loadPlan
	next    uint64 // the number of the next row
	readErr error

	report LoadReport
	keys   keySet
}

// loadJob is a chunk of rows and what becomes of it. Jobs go around: free, reader, work
// and order, worker, caller, free.
type loadJob struct {
	chunk  loadChunk
	parts  []loadPart
	hashes []uint64 // of the keys of the typed rows
	err    error
	done   chan struct{} // one token when a worker has finished
}

func (l *loader) run(ctx context.Context, emit func(Loaded) error) error {
	jobs := l.o.Parallelism + 2 // one more is read while another is emitted
	free, work, order := make(chan *loadJob, jobs), make(chan *loadJob, jobs), make(chan *loadJob, jobs)
	for range jobs {
		free <- &loadJob{done: make(chan struct{}, 1)}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer close(order)
		defer close(work)
		l.read(ctx, free, work, order)
	})
	for range l.o.Parallelism {
		wg.Go(func() {
			w := newLoadWorker(&l.o)
			for job := range work {
				if ctx.Err() == nil {
					job.err = w.do(job)
				}
				job.done <- struct{}{}
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case job, ok := <-order:
			if !ok {
				return l.readErr
			}
			<-job.done
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.deliver(job, emit); err != nil {
				return err
			}
			free <- job
		}
	}
}

// read cuts the rows into chunks until the end, an error, or the end of ctx. The
// channels have room for all jobs there are, so sending never waits.
func (l *loader) read(ctx context.Context, free <-chan *loadJob, work, order chan<- *loadJob) {
	l.next = l.o.FirstSequence
	for {
		var job *loadJob
		select {
		case <-ctx.Done():
			return
		case job = <-free:
		}
		more, err := l.fill(&job.chunk)
		l.readErr = err
		if len(job.chunk.rows) > 0 {
			order <- job
			work <- job
		}
		if !more {
			return
		}
	}
}

// deliver counts a job's parts and emits their batches.
func (l *loader) deliver(job *loadJob, emit func(Loaded) error) error {
	if job.err != nil {
		return job.err
	}
	for _, h := range job.hashes {
		if !l.keys.add(h) {
			l.report.Overwritten++
		}
	}
	l.report.OverwrittenKnown = !l.keys.full
	for i := range job.parts {
		p := &job.parts[i]
		l.report.Rows += uint64(p.loaded.Rows)
		l.report.Quarantined += uint64(p.loaded.Quarantined)
		l.report.Typed += uint64(p.loaded.Rows - p.loaded.Quarantined)
		for _, bad := range p.bad {
			l.report.Reasons[bad.Reason]++
		}
		if p.loaded.Sequence < l.o.FromSequence {
			l.report.Skipped += uint64(p.loaded.Rows)
			continue
		}
		l.report.Batches++
		if err := emit(p.loaded); err != nil {
			return err
		}
	}
	return nil
}
