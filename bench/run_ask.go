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
	a := Asker{Store: s}
	for _, q := range Questions() {
		r.Progress("asking " + q.Name)
		var err error
		switch q.Kind {
		case AskCount:
			err = r.measure(ctx, q.Name, countOf(a, q.Text), r.known(q.Name))
		case AskBreakdown:
			err = r.measure(ctx, q.Name, r.breakdownOf(a, q), r.known(q.Name))
		case AskMembers:
			if err = r.measure(ctx, q.Name+" ids", func(ctx context.Context, _ uint64) (Answer, error) { return a.IDs(ctx, q.Text) }, nil); err == nil {
				err = r.measure(ctx, q.Name+" keys", func(ctx context.Context, _ uint64) (Answer, error) { return a.Keys(ctx, q.Text) }, nil)
			}
		case AskSegments:
			if err = r.measure(ctx, "profile", r.profileOf(a), nil); err == nil {
				err = r.measure(ctx, "profile again", r.profileOf(a), nil) // the same people, whose blocks are in memory now
			}
			if err == nil {
				r.Progress(fmt.Sprintf("saving %d segments", r.Segments))
				err = r.g.SaveSegments(ctx, s, r.Segments)
			}
			if err == nil {
				err = r.measure(ctx, q.Name, r.profileOf(a), nil)
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

// measure asks a question again and again, each time with a smaller i, 0 in the end, and
// compares the answers with those that right gives, unless it is nil.
func (r *runner) measure(ctx context.Context, name string, ask func(ctx context.Context, i uint64) (Answer, error), right func(i uint64) Known) error {
	f := Figure{Name: name, Runs: r.Runs, Checked: right != nil}
	took := make([]time.Duration, 0, r.Runs)
	for i := uint64(WarmUps + r.Runs); i > 0; i-- {
		start := time.Now()
		a, err := ask(ctx, i-1)
		if err != nil {
			return err
		}
		if i <= uint64(r.Runs) {
			took = append(took, time.Since(start))
		}
		if right != nil {
			if k := right(i - 1); k.True != a.Count || k.Unknown != a.Unknown {
				return fmt.Errorf("%d people and %d unknown; right is %d and %d", a.Count, a.Unknown, k.True, k.Unknown)
			}
		}
		f.Count, f.Unknown, f.Bytes = a.Count, a.Unknown, a.Bytes
	}
	f.P50, f.P95 = Percentiles(took)
	r.report.Questions = append(r.report.Questions, f)
	return nil
}

// known returns what gives the answer to a question that the generator counted, nil if it
// did not.
func (r *runner) known(name string) func(uint64) Known {
	k, ok := r.expected.Answer(name)
	if !ok {
		return nil
	}
	return func(uint64) Known { return k }
}

// Percentiles sorts what several runs took, at least one, and returns their median and
// 95th percentile.
func Percentiles(took []time.Duration) (p50, p95 time.Duration) {
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*95/100]
}

func countOf(a Asker, text string) func(context.Context, uint64) (Answer, error) {
	return func(ctx context.Context, _ uint64) (Answer, error) { return a.Count(ctx, text) }
}

// breakdownOf also compares the rows with those of the generator.
func (r *runner) breakdownOf(a Asker, q Question) func(context.Context, uint64) (Answer, error) {
	return func(ctx context.Context, _ uint64) (Answer, error) {
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
func (r *runner) profileOf(a Asker) func(context.Context, uint64) (Answer, error) {
	return func(ctx context.Context, i uint64) (Answer, error) { return a.Profile(ctx, r.g.AnyKey(i)) }
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
