package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

func (r *runner) ask(ctx context.Context, s Store) error {
	a := Asker{s}
	for _, q := range Questions() {
		r.Progress("asking " + q.Name)
		var err error
		switch q.Kind {
		case AskCount:
			err = r.measure(ctx, q.Name, countOf(a, q.Text))
		case AskBreakdown:
			err = r.measure(ctx, q.Name, r.breakdownOf(a, q))
		case AskMembers:
			if err = r.measure(ctx, q.Name+" ids", func(ctx context.Context) (Answer, error) { return a.IDs(ctx, q.Text) }); err == nil {
				err = r.measure(ctx, q.Name+" keys", func(ctx context.Context) (Answer, error) { return a.Keys(ctx, q.Text) })
			}
		case AskSegments:
			if err = r.measure(ctx, "profile", r.profileOf(a)); err == nil {
				r.Progress(fmt.Sprintf("saving %d segments", r.Segments))
				err = r.g.SaveSegments(ctx, s, r.Segments)
			}
			if err == nil {
				err = r.measure(ctx, q.Name, r.profileOf(a))
			}
		case AskMix:
			err = r.mix(ctx, a)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	return nil
}

// measure asks a question again and again and compares the answer with the known one.
func (r *runner) measure(ctx context.Context, name string, ask func(context.Context) (Answer, error)) error {
	var a Answer
	var err error
	took := make([]time.Duration, 0, r.Runs)
	for i := range WarmUps + r.Runs {
		start := time.Now()
		if a, err = ask(ctx); err != nil {
			return err
		}
		if i >= WarmUps {
			took = append(took, time.Since(start))
		}
	}
	f := Figure{Name: name, Runs: r.Runs, Count: a.Count, Unknown: a.Unknown, Bytes: a.Bytes}
	f.P50, f.P95 = Percentiles(took)
	if known, ok := r.expected.Answer(name); ok {
		if known.True != a.Count || known.Unknown != a.Unknown {
			return fmt.Errorf("%d people and %d unknown; right is %d and %d", a.Count, a.Unknown, known.True, known.Unknown)
		}
		f.Checked = true
	}
	r.report.Questions = append(r.report.Questions, f)
	return nil
}

// Percentiles sorts what several runs took, at least one, and returns their median and
// 95th percentile.
func Percentiles(took []time.Duration) (p50, p95 time.Duration) {
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*95/100]
}

func countOf(a Asker, text string) func(context.Context) (Answer, error) {
	return func(ctx context.Context) (Answer, error) { return a.Count(ctx, text) }
}

// breakdownOf also compares the rows with those of the generator.
func (r *runner) breakdownOf(a Asker, q Question) func(context.Context) (Answer, error) {
	return func(ctx context.Context) (Answer, error) {
		b, err := a.Breakdown(ctx, q)
		if err != nil {
			return b, err
		}
		if e := &r.expected; b.Other != e.Other || b.OtherValues != e.OtherValues || !slices.Equal(b.Rows, e.Cities) {
			return b, fmt.Errorf("the rows are %v and %d people in %d others; right are %v, %d and %d",
				b.Rows, b.Other, b.OtherValues, e.Cities, e.Other, e.OtherValues)
		}
		return b, nil
	}
}

// profileOf reads a profile, another one each time.
func (r *runner) profileOf(a Asker) func(context.Context) (Answer, error) {
	i := uint64(0)
	return func(ctx context.Context) (Answer, error) {
		i++
		return a.Profile(ctx, r.g.AnyKey(i))
	}
}

// segmentsOfBatch is how many segments are saved together.
const segmentsOfBatch = 100

// SaveSegments saves the first n of Segments in a store.
func (g *Generator) SaveSegments(ctx context.Context, s Store, n int) error {
	for part := range slices.Chunk(g.Segments(n), segmentsOfBatch) {
		b := batch.New()
		for _, segment := range part {
			b.SaveSegment(segment.Name, segment.Text)
		}
		if err := apply(ctx, s, b); err != nil {
			return err
		}
	}
	return nil
}

// mix asks with MixClients clients at once.
func (r *runner) mix(ctx context.Context, a Asker) error {
	took, elapsed, err := r.g.AskMix(ctx, 0, r.Mix, func(ctx context.Context, c Condition) error {
		_, err := a.Count(ctx, c.Text)
		return err
	})
	if err != nil {
		return err
	}
	f := Figure{Name: "MIX8", Runs: len(took), PerSec: float64(len(took)) / elapsed.Seconds()}
	f.P50, f.P95 = Percentiles(took)
	r.report.Questions = append(r.report.Questions, f)
	return nil
}

// AskMix asks the questions of Mix from number first on with MixClients clients at
// once for a while, each its next question after the answer to the last, at least one.
func (g *Generator) AskMix(ctx context.Context, first uint64, length time.Duration, ask func(context.Context, Condition) error) (took []time.Duration, elapsed time.Duration, err error) {
	start := time.Now()
	clients := make([][]time.Duration, MixClients)
	errs := make([]error, MixClients)
	var wg sync.WaitGroup
	for client := range MixClients {
		wg.Go(func() {
			for i := first + uint64(client); errs[client] == nil; i += MixClients {
				asked := time.Now()
				errs[client] = ask(ctx, g.Mix(i))
				clients[client] = append(clients[client], time.Since(asked))
				if time.Since(start) >= length {
					return
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(clients...), time.Since(start), errors.Join(errs...)
}
