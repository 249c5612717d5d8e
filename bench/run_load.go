package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

// AddSchema adds the attributes, and the events if there are any, to a store that has none.
func (g *Generator) AddSchema(ctx context.Context, s Store) error {
	b := batch.New()
	for _, c := range g.schemaChanges() {
		b.Change(c)
	}
	return apply(ctx, s, b)
}

// schemaChanges make the schema of the workload.
func (g *Generator) schemaChanges() (out []schema.Change) {
	for _, a := range g.Schema() {
		out = append(out, schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	if g.opt.Events == 0 {
		return out
	}
	for _, e := range g.EventSchema() {
		out = append(out, schema.Change{Op: schema.AddEvent, Event: e.Name, Class: e.Class})
		for _, p := range e.Properties {
			out = append(out, schema.Change{Op: schema.AddProperty, Event: e.Name, Name: p.Name, Attribute: p})
		}
	}
	return out
}

// apply applies a batch, of which every row must be accepted.
func apply(ctx context.Context, s Store, b *batch.Builder) error {
	b.Strict(true)
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	return accepted(s.Apply(ctx, encoded))
}

// accepted wants every row of a batch to be.
func accepted(r batch.Result, err error) error {
	if err == nil && r.Accepted != r.Received {
		err = fmt.Errorf("of %d rows %d were accepted, %d are duplicates, %d in quarantine, %d refused", r.Received, r.Accepted, r.Duplicates, r.Quarantined, r.Refused)
	}
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
	err = r.load(ctx, s, "batches", r.Data.Profiles, func() error {
		return r.applyAll(ctx, s, 0, r.Data.Profiles, batchRows, r.g.profiles)
	})
	if err == nil && r.Data.Events > 0 {
		err = r.loadEventBatches(ctx, s)
	}
	return err
}

// filler returns what adds the row with a number to a builder.
type filler func(b *batch.Builder) (add func(number uint64))

func (g *Generator) profiles(b *batch.Builder) func(number uint64) {
	fill := g.NewFiller(b)
	var p Profile
	return func(number uint64) {
		g.Profile(number, &p)
		fill.Add(&p)
	}
}

// applyAll makes and applies the rows from number first to below end, on several goroutines.
func (r *runner) applyAll(ctx context.Context, s Store, first, end, rows uint64, fill filler) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Uint64
	next.Store(first)
	var wg sync.WaitGroup
	for range r.g.Options().Parallelism {
		wg.Go(func() {
			b := batch.New()
			add := fill(b)
			for ctx.Err() == nil {
				from := next.Add(rows) - rows
				if from >= end {
					return
				}
				b.Reset()
				for number := from; number < min(from+rows, end); number++ {
					add(number)
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

// load does a load, folds what it wrote, and notes its figures.
func (r *runner) load(ctx context.Context, s Store, how string, rows uint64, do func() error) error {
	before, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	f := LoadFigure{How: how, Rows: rows, Took: time.Since(start)}
	r.Progress("folding what was loaded")
	start = time.Now()
	if err := s.Compact(ctx); err != nil {
		return err
	}
	f.Compact = time.Since(start)
	after, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	f.Amplification = amplification(&before, &after)
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
	err = r.load(ctx, s, "csv", r.Data.Profiles, func() error { return r.g.LoadCSVFile(ctx, s, file) })
	err = errors.Join(err, os.Remove(file))
	if err == nil && r.Data.Events > 0 {
		err = r.loadEventCSV(ctx, s, "events, csv", 0, r.Data.Events, false)
	}
	if err != nil {
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

// LoadCSVFile loads what WriteCSVFile wrote into a store that has the schema, as
// kanta load does.
func (g *Generator) LoadCSVFile(ctx context.Context, s Store, name string) error {
	return g.loadFile(ctx, s, name, quality.LoadOptions{Key: "key", File: name})
}

// loadFile loads a file. Every row must be accepted.
func (g *Generator) loadFile(ctx context.Context, s Store, name string, o quality.LoadOptions) (err error) {
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
	sch := schema.New(0, schema.FirstUserAttr, nil)
	for _, c := range g.schemaChanges() {
		if sch, err = sch.Apply(c); err != nil {
			return err
		}
	}
	var waits []func() (batch.Result, error) // of the batches under way
	settle := func(n int) error {
		for len(waits) > n {
			wait := waits[0]
			waits = waits[1:]
			if err := accepted(wait()); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = quality.Load(ctx, rows, sch, o, func(b quality.Loaded) error {
		wait, err := s.Submit(ctx, b.Batch)
		if err != nil {
			return err
		}
		waits = append(waits, wait)
		return settle(3)
	})
	return errors.Join(err, settle(0))
}
