package quality

import (
	"context"
	"errors"
	"fmt"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// sending is how many batches are on their way at a time: one is decided while the next
// is checked, and several share an fsync.
const sending = 4

// Target is where a load goes: a store, or what stands for one elsewhere.
type Target interface {
	// Submit gives a batch its place behind those before it; wait waits for the outcome.
	Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error)
	// DryRun decides a batch and changes nothing.
	DryRun(ctx context.Context, b batch.Batch) (batch.Result, error)
}

// Sender sends the batches of one load, a few at a time, and adds up what became of their rows.
// It is for one goroutine.
type Sender struct {
	Target  Target
	Dry     bool     // batches are only decided
	File    string   // where the rows come from, and
	Place   string   // what counts them there, for messages: line, or row
	Outcome *Outcome // of what has been decided; from [NewOutcome]
	// Decided is told how many more rows have been. nil: nobody is.
	Decided func(rows uint64)

	position query.Position
	next     uint64
	settled  bool // a batch has been decided anew: what is cut from here on was never cut before
	failed   bool
	sent     []sentBatch
}

// sentBatch is a batch on its way.
type sentBatch struct {
	line uint64 // its first
	last uint64 // the number of the row behind its last
	rows uint64
	wait func() (batch.Result, error)
}

// Position returns the last position that was written.
func (s *Sender) Position() query.Position { return s.position }

// Next returns the number of the row behind the last one that was decided; 0 if none was.
func (s *Sender) Next() uint64 { return s.next }

// Failed reports whether an error came from the target, and not from what is loaded.
func (s *Sender) Failed() bool { return s.failed }

// Send sends a batch, as the emit of [Load]. It waits for older ones first, and returns their
// errors. Batches that are answered as repeated are sent one at a time: should they have been
// cut from other rows before, because the schema was another one, nothing is applied that
// was applied already.
func (s *Sender) Send(ctx context.Context, b Loaded) error {
	next := sentBatch{line: uint64(b.FirstLine), last: b.Sequence + uint64(b.Rows), rows: uint64(b.Rows)}
	if s.Dry {
		res, err := s.Target.DryRun(ctx, b.Batch)
		next.wait = func() (batch.Result, error) { return res, err }
	} else {
		var err error
		if next.wait, err = s.Target.Submit(ctx, b.Batch); err != nil {
			next.wait = func() (batch.Result, error) { return batch.Result{}, err }
		}
	}
	s.sent = append(s.sent, next)
	if !s.settled {
		return s.settle(0)
	}
	return s.settle(sending - 1)
}

// Settle waits for all that is under way.
func (s *Sender) Settle() error { return s.settle(0) }

// settle waits until at most n batches are under way.
func (s *Sender) settle(n int) error {
	for len(s.sent) > n {
		b := s.sent[0]
		s.sent = s.sent[1:]
		if err := s.outcome(b); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sender) outcome(b sentBatch) error {
	res, err := b.wait()
	var q *query.Error
	stale := err != nil && errors.As(err, &q) && q.Code == query.CodeStaleSequence
	switch {
	case stale:
		// Batches of an input are applied in order: what lies below the store's memory of
		// this source was applied before what it remembers.
		res = batch.Result{Repeated: true, Received: b.rows}
	case err == nil && res.Repeated && res.Received != b.rows:
		e := query.Errorf(query.CodeConflict, "the rows from %s %d of %s were in a batch of %d before, and are in one of %d now", s.Place, b.line, s.File, res.Received, b.rows)
		e.Hint = "the same rows must come with the same names and options, and with the schema as it was; what is new needs a new sequence"
		err = e
	}
	if err != nil {
		s.failed = true
		return fmt.Errorf("rows from %s %d of %s: %w", s.Place, b.line, s.File, err)
	}
	s.settled = s.settled || !res.Repeated
	s.next = b.last
	if p := res.Position; p.Epoch > s.position.Epoch || p.Epoch == s.position.Epoch && p.Applied > s.position.Applied {
		s.position = p
	}
	s.Outcome.add(&res)
	if s.Decided != nil {
		s.Decided(res.Received)
	}
	return nil
}
