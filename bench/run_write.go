package bench

import (
	"context"
	"errors"
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

// WriteFigure is one way of changing random existing profiles, durably, flat out.
type WriteFigure struct {
	How           string
	Rows          uint64
	Took          time.Duration
	P50, P99      time.Duration // of one Apply
	Amplification float64       // bytes written to disk per byte of batch, folding included
	HeadValues    uint64        // values not folded when writing ended
	Questions     []Figure      // Q2, Q3 and Q5 asked then, with that head
	Reopen        time.Duration // closing and opening with that head: the opening
	Half          *HalfFigure   // of batches; else nil
}

// upsert is a kind of write.
type upsert struct {
	how     string
	writers int
	rows    int // of a batch
	all     bool
	every   time.Duration // a batch of each writer is due; 0: flat out
}

func upserts() []upsert {
	return []upsert{
		{how: "3 attributes, batches of 1,000", writers: 2, rows: 1000},
		{how: "20 attributes, batches of 1,000", writers: 2, rows: 1000, all: true},
		{how: "3 attributes, 64 writers of single rows", writers: 64, rows: 1},
	}
}

// write measures all kinds of writes; the store is closed and opened in between. It
// returns the store that is open in the end, also with an error.
func (r *runner) write(ctx context.Context, s Store) (Store, error) {
	for _, u := range upserts() {
		r.Progress("changing " + u.how)
		f, err := r.upsert(ctx, s, u)
		if err != nil {
			return s, fmt.Errorf("%s: %w", u.how, err)
		}
		if f.Questions, err = r.askWithHead(ctx, s); err != nil {
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

func (r *runner) upsert(ctx context.Context, s Store, u upsert) (WriteFigure, error) {
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
	if b := after.Written["batches"] - before.Written["batches"]; b > 0 {
		f.Amplification = float64(written(&after)-written(&before)) / float64(b)
	}
	return f, err
}

// written is what went to disk since the store was opened.
func written(s *query.Stats) int64 {
	return s.Written["wal"] + s.Written["flush"] + s.Written["compact"] + s.Written["ingest"]
}

// writer applies batches of random profiles for as long as a kind of write goes on, at
// least one. A batch that is due at some time counts from then.
func (r *runner) writer(ctx context.Context, s Store, u upsert, number uint64, start time.Time, rows *atomic.Uint64) (took []time.Duration, err error) {
	random := rand.New(rand.NewPCG(r.Data.Seed, number))
	b := batch.New()
	fill := r.changer(b, u.all, random)
	due := start.Add(u.every * time.Duration(number) / time.Duration(u.writers)) // not all at once
	for ctx.Err() == nil {
		b.Reset()
		for range u.rows {
			fill(random.Uint64N(r.Data.Profiles))
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
		if _, err := s.Apply(ctx, encoded); err != nil {
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

// changer returns what adds a row for one profile: all its attributes, as another
// profile has them, or three.
func (r *runner) changer(b *batch.Builder, all bool, random *rand.Rand) func(number uint64) {
	if all {
		fill := r.g.NewFiller(b)
		var p Profile
		return func(number uint64) {
			r.g.Profile(number, &p)
			fill.Add(&p)
		}
	}
	plans := [][]byte{[]byte("free"), []byte("basic"), []byte("premium"), []byte("enterprise")}
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

// askWithHead asks the questions that read most while what was written is not folded.
func (r *runner) askWithHead(ctx context.Context, s Store) ([]Figure, error) {
	whole := r.report
	defer func() { r.report = whole }()
	r.report = &Report{}
	for _, q := range Questions() {
		if q.Name != "Q2" && q.Name != "Q3" && q.Name != "Q5" {
			continue
		}
		if err := r.measure(ctx, q.Name+" with head", countOf(Asker{s}, q.Text)); err != nil {
			return nil, errors.Join(fmt.Errorf("%s with head", q.Name), err)
		}
	}
	return r.report.Questions, nil
}
