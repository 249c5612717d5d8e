package bench

import (
	"context"
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// HalfFigure is a kind of write at half the rate that it reached flat out, on a folded
// store: first alone, then while questions are asked.
type HalfFigure struct {
	Rows      uint64
	Took      time.Duration
	P50, P99  time.Duration // of one batch alone, from when it was due until it was durable
	Questions []Figure      // asked in turn by one client during the writes
}

func (r *runner) half(ctx context.Context, s Store, u writeKind, flat WriteFigure) (*HalfFigure, error) {
	batches := float64(flat.Rows) / float64(u.rows)
	u.every = time.Duration(2 * float64(u.writers) * float64(flat.Took) / batches)
	r.Progress("writing " + u.how + ", at half the rate")
	alone, err := r.writeAll(ctx, s, u)
	if err != nil {
		return nil, err
	}
	h := &HalfFigure{Rows: alone.Rows, Took: alone.Took, P50: alone.P50, P99: alone.P99}
	r.Progress("asking during the same")
	if h.Questions, err = r.askDuring(ctx, s, u, "during writes"); err != nil || !u.small {
		return h, err
	}
	r.Progress("writing an hour's worth of small batches")
	if err := r.smallBatches(ctx, s, u); err != nil {
		return h, err
	}
	r.Progress("asking during the same")
	after, err := r.askDuring(ctx, s, u, "after an hour of small batches")
	h.Questions = append(h.Questions, after...)
	return h, err
}

// An hour's worth of small batches is one in a second. A store of few profiles gets fewer,
// so that a short run stays short.
const (
	hourOfBatches = 3600
	smallBatch    = 100
)

// smallBatches writes an hour's worth of small batches as fast as they go.
func (r *runner) smallBatches(ctx context.Context, s Store, u writeKind) error {
	batches := min(hourOfBatches, r.Data.Profiles/smallBatch)
	return r.applyAll(ctx, s, 0, batches*smallBatch, smallBatch, func(b *batch.Builder) func(uint64) {
		add := u.fill(r, b, nil)
		return func(uint64) { add() }
	})
}

// askDuring asks questions in turn for as long as a kind of write goes on. When is what it
// calls that.
func (r *runner) askDuring(ctx context.Context, s Store, u writeKind, when string) ([]Figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	wrote := make(chan error, 1)
	go func() {
		_, err := r.writeAll(ctx, s, u)
		wrote <- err
		close(wrote)
	}()
	defer func() { <-wrote }()
	defer cancel()
	took := make([][]time.Duration, len(u.meanwhile))
	figures := make([]Figure, len(u.meanwhile))
	for {
		for i, name := range u.meanwhile {
			start := time.Now()
			a, err := Asker{Store: s}.Count(ctx, questionNamed(name).Text)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(start))
			figures[i] = Figure{Name: name + " " + when, Count: a.Count, Unknown: a.Unknown, Bytes: a.Bytes}
		}
		select {
		case err := <-wrote:
			for i := range figures {
				figures[i].Runs = len(took[i])
				figures[i].P50, figures[i].P95 = Percentiles(took[i])
			}
			return figures, err
		default:
		}
	}
}
