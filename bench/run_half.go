package bench

import (
	"context"
	"time"
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
	h.Questions, err = r.askDuring(ctx, s, u)
	return h, err
}

// askDuring asks questions in turn for as long as a kind of write goes on.
func (r *runner) askDuring(ctx context.Context, s Store, u writeKind) ([]Figure, error) {
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
			a, err := Asker{s}.Count(ctx, questionNamed(name).Text)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(start))
			figures[i] = Figure{Name: name + " during writes", Count: a.Count, Unknown: a.Unknown, Bytes: a.Bytes}
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
