package bench

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
)

// batchRows is how many profiles a batch of the load by batches has.
const batchRows = 5000

// AddSchema adds the attributes to a store that has none of them.
func (g *Generator) AddSchema(ctx context.Context, s Store) error {
	b := batch.New()
	for _, a := range g.Schema() {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	return apply(ctx, s, b)
}

func apply(ctx context.Context, s Store, b *batch.Builder) error {
	b.Strict(true)
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, encoded)
	return err
}

// loadBatches loads a store from memory and removes it.
func (r *runner) loadBatches(ctx context.Context) (err error) {
	r.Progress("loading by batches")
	s, err := r.open(ctx, "batches")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove(s, "batches")) }()
	start := time.Now()
	if err := r.applyAll(ctx, s); err != nil {
		return err
	}
	return r.loaded(ctx, s, "batches", start)
}

// applyAll makes and applies all profiles on several goroutines.
func (r *runner) applyAll(ctx context.Context, s Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range r.g.Options().Parallelism {
		wg.Go(func() {
			b := batch.New()
			fill := r.g.NewFiller(b)
			var p Profile
			for ctx.Err() == nil {
				from := next.Add(batchRows) - batchRows
				if from >= r.Data.Profiles {
					return
				}
				b.Reset()
				for number := from; number < min(from+batchRows, r.Data.Profiles); number++ {
					r.g.Profile(number, &p)
					fill.Add(&p)
				}
				if err := apply(ctx, s, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// loaded notes the figures of a load and folds what it wrote.
func (r *runner) loaded(ctx context.Context, s Store, how string, start time.Time) error {
	f := LoadFigure{How: how, Rows: r.Data.Profiles, Took: time.Since(start)}
	r.Progress("folding what was loaded")
	start = time.Now()
	if err := s.Compact(ctx); err != nil {
		return err
	}
	f.Compact = time.Since(start)
	stats, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	f.Amplification = stats.Amplification
	r.report.Loads = append(r.report.Loads, f)
	return nil
}

// loadCSV writes the profiles to a file, loads a store from it, and returns the store.
func (r *runner) loadCSV(ctx context.Context) (s Store, err error) {
	r.Progress("writing the CSV file")
	file := filepath.Join(r.Dir, "profiles.csv")
	if r.expected, err = r.g.WriteCSVFile(ctx, file); err != nil {
		return nil, err
	}
	r.Progress("loading from the CSV file")
	if s, err = r.open(ctx, "csv"); err != nil {
		return nil, err
	}
	start := time.Now()
	if err = r.g.LoadCSVFile(ctx, s, file); err == nil {
		err = r.loaded(ctx, s, "csv", start)
	}
	if err = errors.Join(err, os.Remove(file)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// WriteCSVFile is WriteCSV into a new file.
func (g *Generator) WriteCSVFile(ctx context.Context, name string) (e Expected, err error) {
	f, err := os.Create(name)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if e, err = g.WriteCSV(ctx, w); err != nil {
		return e, err
	}
	return e, w.Flush()
}

// LoadCSVFile loads what WriteCSVFile wrote into a store that has the attributes, as
// kanta load does.
func (g *Generator) LoadCSVFile(ctx context.Context, s Store, name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rows, _, err := quality.OpenRows(f, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	attributes := g.Schema()
	for i := range attributes {
		attributes[i].ID = schema.FirstUserAttr + schema.AttrID(i)
	}
	sch := schema.New(uint64(len(attributes)), schema.FirstUserAttr+schema.AttrID(len(attributes)), attributes)
	var waits []func() (batch.Result, error) // of the batches under way
	settle := func(n int) error {
		for len(waits) > n {
			wait := waits[0]
			waits = waits[1:]
			if _, err := wait(); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = quality.Load(ctx, rows, sch, quality.LoadOptions{Key: "key", File: name}, func(b quality.Loaded) error {
		wait, err := s.Submit(ctx, b.Batch)
		if err != nil {
			return err
		}
		waits = append(waits, wait)
		return settle(3)
	})
	return errors.Join(err, settle(0))
}
