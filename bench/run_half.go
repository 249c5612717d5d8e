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
	Questions []Figure      // Q2 and Q3, asked in turn by one client during the writes
}

func (r *runner) half(ctx context.Context, s Store, u upsert, flat WriteFigure) (*HalfFigure, error) {
	batches := float64(flat.Rows) / float64(u.rows)
	u.every = time.Duration(2 * float64(u.writers) * float64(flat.Took) / batches)
	r.Progress("changing " + u.how + ", at half the rate")
	alone, err := r.upsert(ctx, s, u)
	if err != nil {
		return nil, err
	}
	h := &HalfFigure{Rows: alone.Rows, Took: alone.Took, P50: alone.P50, P99: alone.P99}
	r.Progress("asking during the same")
	h.Questions, err = r.askDuring(ctx, s, u)
	return h, err
}

// askDuring asks Q2 and Q3 in turn for as long as a kind of write goes on.
func (r *runner) askDuring(ctx context.Context, s Store, u upsert) ([]Figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	wrote := make(chan error, 1)
	go func() {
		_, err := r.upsert(ctx, s, u)
		wrote <- err
		close(wrote)
	}()
	defer func() { <-wrote }()
	defer cancel()
	questions := probes()
	took := make([][]time.Duration, len(questions))
	figures := make([]Figure, len(questions))
	for {
		for i, q := range questions {
			start := time.Now()
			a, err := Asker{s}.Count(ctx, q.Text)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(start))
			figures[i] = Figure{Name: q.Name + " during writes", Count: a.Count, Unknown: a.Unknown, Bytes: a.Bytes}
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
