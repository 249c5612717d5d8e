package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// answer is what an asking returned.
type answer struct {
	count, unknown, bytes uint64
}

func (r *runner) ask(ctx context.Context, s Store) error {
	for _, q := range Questions() {
		r.Progress("asking " + q.Name)
		var err error
		switch q.Kind {
		case AskCount:
			err = r.measure(ctx, q.Name, r.countOf(s, q.Text))
		case AskBreakdown:
			err = r.measure(ctx, q.Name, r.breakdownOf(s, q))
		case AskMembers:
			if err = r.measure(ctx, q.Name+" ids", idsOf(s, q.Text)); err == nil {
				err = r.measure(ctx, q.Name+" keys", keysOf(s, q.Text))
			}
		case AskSegments:
			if err = r.measure(ctx, "profile", r.profileOf(s)); err == nil {
				err = r.saveSegments(ctx, s)
			}
			if err == nil {
				err = r.measure(ctx, q.Name, r.profileOf(s))
			}
		case AskMix:
			err = r.mix(ctx, s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	return nil
}

// measure asks a question again and again and compares the answer with the known one.
func (r *runner) measure(ctx context.Context, name string, ask func(context.Context) (answer, error)) error {
	var a answer
	var err error
	took := make([]time.Duration, 0, r.Runs)
	for i := range warmUps + r.Runs {
		start := time.Now()
		if a, err = ask(ctx); err != nil {
			return err
		}
		if i >= warmUps {
			took = append(took, time.Since(start))
		}
	}
	f := Figure{Name: name, Runs: r.Runs, Count: a.count, Unknown: a.unknown, Bytes: a.bytes}
	f.P50, f.P95 = percentiles(took)
	if known, ok := r.expected.Answer(name); ok {
		if known.True != a.count || known.Unknown != a.unknown {
			return fmt.Errorf("%d people and %d unknown; right is %d and %d", a.count, a.unknown, known.True, known.Unknown)
		}
		f.Checked = true
	}
	r.report.Questions = append(r.report.Questions, f)
	return nil
}

func percentiles(took []time.Duration) (p50, p95 time.Duration) {
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[min(len(took)-1, len(took)*percent/100)] }
	return at(50), at(95)
}

func options() query.Options { return query.Options{Now: Now()} }

func (r *runner) countOf(s Store, text string) func(context.Context) (answer, error) {
	return func(ctx context.Context) (answer, error) {
		o := options()
		n, err := s.Count(ctx, text, &o)
		return answer{n.Count, n.Unknown, n.BytesRead}, err
	}
}

// breakdownOf also compares the rows with those of the generator.
func (r *runner) breakdownOf(s Store, q Question) func(context.Context) (answer, error) {
	return func(ctx context.Context) (answer, error) {
		b, err := s.Breakdown(ctx, q.Text, q.Attribute, &query.BreakdownOptions{Options: options(), Top: q.Top})
		if err != nil {
			return answer{}, err
		}
		if b.Other != r.expected.Other || b.OtherValues != r.expected.OtherValues || len(b.Rows) != len(r.expected.Cities) {
			return answer{}, fmt.Errorf("%d rows, and %d people in %d others; right are %d, %d and %d",
				len(b.Rows), b.Other, b.OtherValues, len(r.expected.Cities), r.expected.Other, r.expected.OtherValues)
		}
		for i, row := range b.Rows {
			if want := r.expected.Cities[i]; row.Count != want.Count || row.Value.Str() != want.Value {
				return answer{}, fmt.Errorf("row %d is %s with %d; right is %s with %d", i+1, row.Value.Str(), row.Count, want.Value, want.Count)
			}
		}
		return answer{b.People, b.Unknown, b.BytesRead}, nil
	}
}

func idsOf(s Store, text string) func(context.Context) (answer, error) {
	return func(ctx context.Context) (answer, error) {
		o := options()
		b, err := s.Bitmap(ctx, text, &o)
		if err != nil {
			return answer{}, err
		}
		n := uint64(0)
		ids := make([]uint32, 4096)
		for it := b.Ordinals.ManyIterator(); ; {
			got := it.NextMany(ids)
			if got == 0 {
				return answer{count: n}, nil
			}
			n += uint64(got)
		}
	}
}

func keysOf(s Store, text string) func(context.Context) (answer, error) {
	return func(ctx context.Context) (answer, error) {
		m, err := s.Members(ctx, text, &query.MembersOptions{Options: options()})
		if err != nil {
			return answer{}, err
		}
		var out []byte // keys written out, as a file of them would be
		n := uint64(0)
		for row, err := range m.Rows {
			if err != nil {
				return answer{}, err
			}
			out = append(append(out, row.Key...), '\n')
			n++
		}
		if n != m.Total {
			return answer{}, fmt.Errorf("%d keys of %d members", n, m.Total)
		}
		return answer{n, m.Unknown, uint64(len(out))}, nil
	}
}

// profileOf reads a profile, another one each time: its attributes, and its segments if some are saved.
func (r *runner) profileOf(s Store) func(context.Context) (answer, error) {
	i := uint64(0)
	return func(ctx context.Context) (answer, error) {
		o := options()
		i++
		p, err := s.Profile(ctx, Key(newStream(r.Data.Seed, domainMix, i).below(9, r.Data.Profiles)), &o)
		return answer{uint64(len(p.Segments)), 0, p.BytesRead}, err
	}
}

// segmentsOfBatch is how many segments are saved together.
const segmentsOfBatch = 100

func (r *runner) saveSegments(ctx context.Context, s Store) error {
	r.Progress(fmt.Sprintf("saving %d segments", r.Segments))
	for part := range slices.Chunk(r.g.Segments(r.Segments), segmentsOfBatch) {
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

// mix asks with MixClients clients at once, each question after the answer to the last.
func (r *runner) mix(ctx context.Context, s Store) error {
	start := time.Now()
	took := make([][]time.Duration, MixClients)
	errs := make([]error, MixClients)
	var wg sync.WaitGroup
	for client := range MixClients {
		wg.Go(func() {
			for i := uint64(client); time.Since(start) < r.Mix && errs[client] == nil; i += MixClients {
				text, o := r.g.MixText(i), options()
				asked := time.Now()
				_, errs[client] = s.Count(ctx, text, &o)
				took[client] = append(took[client], time.Since(asked))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	all := slices.Concat(took...)
	f := Figure{Name: "MIX8", Runs: len(all), PerSec: float64(len(all)) / elapsed.Seconds()}
	f.P50, f.P95 = percentiles(all)
	r.report.Questions = append(r.report.Questions, f)
	return nil
}
