package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// WriteFigure is one way of writing durably, flat out: changing random existing profiles,
// or events that arrive.
type WriteFigure struct {
	How           string
	Rows          uint64
	Took          time.Duration
	P50, P99      time.Duration // of one Apply
	Amplification float64       // bytes written to disk per byte of batch, folding included
	HeadValues    uint64        // values of attributes not folded when writing ended
	Questions     []Figure      // asked then, with that head
	Reopen        time.Duration // closing and opening with that head: the opening
	Half          *HalfFigure   // of batches; else nil
}

// writeKind is a kind of write.
type writeKind struct {
	how       string
	writers   int
	rows      int // of a batch
	fill      func(r *runner, b *batch.Builder, random *rand.Rand) (add func())
	asked     []string      // questions, with the head that it leaves
	meanwhile []string      // questions, at half the rate
	small     bool          // questions also after an hour's worth of small batches
	every     time.Duration // a batch of each writer is due; 0: flat out
}

func (r *runner) writeKinds() []writeKind {
	attributes, both := []string{"Q2", "Q3", "Q5"}, []string{"Q2", "Q3"}
	kinds := []writeKind{
		{how: "3 attributes, batches of 1,000", writers: 2, rows: 1000, fill: (*runner).fewAttributes, asked: attributes, meanwhile: both},
		{how: "20 attributes, batches of 1,000", writers: 2, rows: 1000, fill: (*runner).allAttributes, asked: attributes, meanwhile: both},
		{how: "3 attributes, 64 writers of single rows", writers: 64, rows: 1, fill: (*runner).fewAttributes, asked: attributes},
	}
	if r.Data.Events == 0 {
		return kinds
	}
	events := []string{"Q8", "Q9", "Q10", "Q11", "Q12"}
	return append(kinds,
		writeKind{how: "events, batches of 1,000", writers: 2, rows: 1000, fill: (*runner).events, asked: events, meanwhile: []string{"Q9"}, small: true},
		writeKind{how: "events with ids, batches of 1,000", writers: 2, rows: 1000, fill: (*runner).eventsWithIDs, asked: events, meanwhile: []string{"Q9"}},
	)
}

// write measures all kinds of writes; the store is closed and opened in between. It
// returns the store that is open in the end, also with an error.
func (r *runner) write(ctx context.Context, s Store) (Store, error) {
	for _, u := range r.writeKinds() {
		r.Progress("writing " + u.how)
		f, err := r.writeAll(ctx, s, u)
		if err != nil {
			return s, fmt.Errorf("%s: %w", u.how, err)
		}
		if f.Questions, err = r.askWithHead(ctx, s, u.asked); err != nil {
			return s, err
		}
		if s, err = r.reopen(s, &f); err != nil {
			return s, err
		}
		if err := s.Compact(ctx); err != nil {
			return s, err
		}
		if u.rows > 1 {
			if f.Half, err = r.half(ctx, s, u, f); err != nil {
				return s, fmt.Errorf("%s at half the rate: %w", u.how, err)
			}
		}
		r.report.Writes = append(r.report.Writes, f)
	}
	return s, nil
}

// closed is what stands for a store that could not be opened again.
type closed struct{ Store }

// Close has nothing to close.
func (closed) Close() error { return nil }

func (r *runner) reopen(s Store, f *WriteFigure) (Store, error) {
	if err := s.Close(); err != nil {
		return closed{}, err
	}
	start := time.Now()
	s, err := r.Open(filepath.Join(r.Dir, "csv"))
	f.Reopen = time.Since(start)
	if err != nil {
		return closed{}, err
	}
	return s, nil
}

// writeAll writes in one way with all its writers.
func (r *runner) writeAll(ctx context.Context, s Store, u writeKind) (WriteFigure, error) {
	before, err := s.Stats(ctx)
	if err != nil {
		return WriteFigure{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var rows atomic.Uint64
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for w := range u.writers {
		wg.Go(func() {
			mine, err := r.writer(ctx, s, u, uint64(w), start, &rows)
			if err != nil {
				cancel(err)
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	f := WriteFigure{How: u.how, Rows: rows.Load(), Took: time.Since(start)}
	if err := context.Cause(ctx); err != nil {
		return f, err
	}
	slices.Sort(took)
	f.P50, f.P99 = took[len(took)/2], took[len(took)*99/100]
	after, err := s.Stats(ctx)
	f.HeadValues = after.HeadRows
	f.Amplification = amplification(&before, &after)
	return f, err
}

// amplification is how many bytes went to disk per byte of batch between two moments.
func amplification(before, after *query.Stats) float64 {
	if b := after.Written["batches"] - before.Written["batches"]; b > 0 {
		return float64(written(after)-written(before)) / float64(b)
	}
	return 0
}

// written is what went to disk since the store was opened.
func written(s *query.Stats) int64 {
	return s.Written["wal"] + s.Written["flush"] + s.Written["compact"] + s.Written["ingest"]
}

// writer applies batches for as long as a kind of write goes on, at
// least one. A batch that is due at some time counts from then.
func (r *runner) writer(ctx context.Context, s Store, u writeKind, number uint64, start time.Time, rows *atomic.Uint64) (took []time.Duration, err error) {
	random := rand.New(rand.NewPCG(r.Data.Seed, number))
	b := batch.New()
	add := u.fill(r, b, random)
	due := start.Add(u.every * time.Duration(number) / time.Duration(u.writers)) // not all at once
	for ctx.Err() == nil {
		b.Reset()
		for range u.rows {
			add()
		}
		encoded, err := b.Encode()
		if err != nil {
			return took, err
		}
		from := time.Now()
		if u.every > 0 {
			time.Sleep(due.Sub(from))
			from = due
		}
		if err := accepted(s.Apply(ctx, encoded)); err != nil {
			return took, err
		}
		took = append(took, time.Since(from))
		rows.Add(uint64(u.rows))
		due = due.Add(u.every)
		if time.Since(start) >= r.Write || due.Sub(start) >= r.Write {
			break
		}
	}
	return took, nil
}

// allAttributes writes all attributes of a random profile, again.
func (r *runner) allAttributes(b *batch.Builder, random *rand.Rand) func() {
	add := r.g.profiles(b)
	return func() { add(random.Uint64N(r.Data.Profiles)) }
}

// fewAttributes changes three attributes of a random profile.
func (r *runner) fewAttributes(b *batch.Builder, random *rand.Rand) func() {
	change := r.g.fewAttributes(b, random)
	return func() { change(random.Uint64N(r.Data.Profiles)) }
}

// fewAttributes returns what changes three attributes of the profile with a number.
func (g *Generator) fewAttributes(b *batch.Builder, random *rand.Rand) func(number uint64) {
	plans := byteWords(g.columns[Plan].words)
	t := b.Table([]batch.Column{
		{Name: "ltv", Kind: schema.Decimal, Scale: 2, Verb: batch.VerbSet},
		{Name: "plan", Kind: schema.String, Verb: batch.VerbSet},
		{Name: "support_tickets", Kind: schema.Int, Verb: batch.VerbSet},
	})
	var key []byte
	return func(number uint64) {
		key = AppendKey(key[:0], number)
		t.Row(key)
		t.Int(0, int64(random.Uint64N(100_000)))
		t.Str(1, plans[random.IntN(len(plans))])
		t.Int(2, int64(random.IntN(10)))
	}
}

// events adds the event that arrives next.
func (r *runner) events(b *batch.Builder, _ *rand.Rand) func() { return r.arriving(b, false) }

func (r *runner) eventsWithIDs(b *batch.Builder, _ *rand.Rand) func() { return r.arriving(b, true) }

func (r *runner) arriving(b *batch.Builder, ids bool) func() {
	fill := r.g.NewEventFiller(b, ids)
	var e Event
	return func() {
		r.g.LiveEvent(r.live.Add(1)-1, &e)
		fill.Add(&e)
	}
}

// askWithHead asks questions while what was written is not folded.
func (r *runner) askWithHead(ctx context.Context, s Store, names []string) ([]Figure, error) {
	whole := r.report
	defer func() { r.report = whole }()
	r.report = &Report{}
	for _, name := range names {
		if err := r.measure(ctx, name+" with head", countOf(Asker{Store: s}, questionNamed(name).Text), nil); err != nil {
			return nil, fmt.Errorf("%s with head: %w", name, err)
		}
	}
	return r.report.Questions, nil
}
