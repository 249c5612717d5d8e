package quality

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// Outcome is what became of the rows of one input: received = accepted + quarantined + duplicates
// + refused + repeated rows.
type Outcome struct {
	Received      uint64            `json:"received"`
	Accepted      uint64            `json:"accepted"`
	Created       uint64            `json:"created"`
	Overwritten   uint64            `json:"overwritten"`
	Quarantined   uint64            `json:"quarantined"`
	Refused       uint64            `json:"refused"`
	Duplicates    uint64            `json:"duplicates"`
	Repeated      uint64            `json:"repeated"` // batches
	RepeatedRows  uint64            `json:"repeated_rows"`
	Reasons       map[string]uint64 `json:"reasons"`
	Ignored       []string          `json:"ignored_columns"`
	ElapsedUS     int64             `json:"elapsed_us"`
	RowsPerSecond uint64            `json:"rows_per_second"`

	// Before is what the repeated batches did when they were first applied, as far as it is known.
	Before Counts `json:"-"`
	// Rejected are the first rows that did not fit, at most as many as [NewOutcome] was told.
	Rejected []batch.Rejected `json:"-"`
	// Uncounted says that there were too many keys to count all that are overwritten.
	Uncounted bool `json:"-"`

	examples int
}

// Counts is what became of rows.
type Counts struct {
	Accepted    uint64 `json:"accepted"`
	Created     uint64 `json:"created"`
	Quarantined uint64 `json:"quarantined"`
	Refused     uint64 `json:"refused"`
	Duplicates  uint64 `json:"duplicates"`
}

// NewOutcome returns the outcome of nothing yet. It keeps the first rows that do not fit, so
// many at most.
func NewOutcome(examples int) *Outcome {
	return &Outcome{Reasons: map[string]uint64{}, Ignored: []string{}, examples: examples}
}

// add adds the outcome of a batch. The outcome of a repeated one is the first one's: its
// rows are told apart, for they changed nothing this time.
func (o *Outcome) add(res *batch.Result) {
	o.Received += res.Received
	if res.Repeated {
		o.Repeated++
		o.RepeatedRows += res.Received
		b := &o.Before
		b.Accepted, b.Created, b.Quarantined = b.Accepted+res.Accepted, b.Created+res.Created, b.Quarantined+res.Quarantined
		b.Refused, b.Duplicates = b.Refused+res.Refused, b.Duplicates+res.Duplicates
		return
	}
	o.Accepted += res.Accepted
	o.Created += res.Created
	o.Quarantined += res.Quarantined
	o.Refused += res.Refused
	o.Duplicates += res.Duplicates
	for reason, n := range res.Reasons {
		o.Reasons[reason.String()] += n
	}
	if len(o.Rejected) < o.examples {
		rejected := slices.Clone(res.Rejected) // a batch has those that could not be typed first
		slices.SortStableFunc(rejected, func(a, b batch.Rejected) int { return cmp.Compare(a.Line, b.Line) })
		o.Rejected = append(o.Rejected, rejected[:min(o.examples-len(o.Rejected), len(rejected))]...)
	}
}

// Finish adds what the loading itself saw, and how long it took.
func (o *Outcome) Finish(report LoadReport, took time.Duration) {
	if o.RepeatedRows < o.Received {
		o.Overwritten = report.Overwritten
	}
	o.Ignored = append([]string{}, report.Unknown...)
	o.Uncounted = !report.OverwrittenKnown
	o.ElapsedUS = took.Microseconds()
	o.RowsPerSecond = 0
	if took > 0 {
		o.RowsPerSecond = uint64(math.Round(float64(o.Received) / took.Seconds()))
	}
}
