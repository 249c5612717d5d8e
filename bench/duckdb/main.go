// Command duckdb loads the same profiles and events into Kanta and into DuckDB, in this
// process, and asks both the questions of the workload, alternately. The answers must be the same:
// people, unknown people, rows and keys; else it ends with exit code 1.
//
// It is a module of its own, so that nothing else of Kanta needs a C compiler or DuckDB.
// fetch.sh puts DuckDB's library into .build/duckdb of the repository; then
//
//	export CGO_ENABLED=1 CGO_LDFLAGS="-L$PWD/../../.build/duckdb -Wl,-rpath,$PWD/../../.build/duckdb"
//	go run -tags duckdb_use_lib . -profiles 1000000
//
// After a change of the repository's go.mod, go build -mod=mod with the same tag updates
// the one here; go mod tidy does not, it wants libraries that are not linked.
//
// # What is compared
//
// Both stores are files that were written from the same CSV files, and both use all
// processors and a memory limit of their own choice. DuckDB has the columns in the
// narrowest types that hold them, sets as lists, and a unique index on the key; enums
// instead of strings make no difference to it. Its events have the row numbers of the
// profiles, looked up while they are loaded, and lie in order of time, so that a window of
// time reads only what is in it; Kanta is given the keys. Neither keeps answers, and the
// questions about events have other constants each time. Only asking is measured, one after
// the other, who begins changing each time; a ratio is that of such a pair.
//
// DuckDB is asked for no less work than it needs and no more: its counts are without the
// unknown people, which Kanta always counts too and which are compared apart; Q17 is a
// prepared statement that yields nothing but the segments; members come through the Go
// driver's rows, without database/sql on top, and need an ORDER BY to be in order. The
// conditions about events are IN and NOT IN of people found in the events, which takes about
// as long as counting these people directly; Q12 is two ASOF joins, faster than a chain of
// joins and than windows; Q16 is two statements, as it is two calls of Kanta.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/engine"
)

// settings are the command's flags.
type settings struct {
	data     bench.Options
	csv      string
	perHead  bool // as many events for each of the people as the workload has
	dir      string
	runs     int
	segments int
	mix      time.Duration
}

func main() {
	s := settings{data: bench.Options{WithAbsent: true}}
	flag.Uint64Var(&s.data.Profiles, "profiles", 1_000_000, "how many people to make up")
	flag.Uint64Var(&s.data.Events, "events", 0, "how many events to make up; 0: none (default 10 for each of the people)")
	flag.Uint64Var(&s.data.Seed, "seed", 0, "another seed is other people")
	flag.StringVar(&s.csv, "csv", "", "load this file, as the workload writes it, instead of making people up")
	flag.StringVar(&s.dir, "dir", "", "an empty directory for the data, which stays (default a temporary one)")
	flag.IntVar(&s.runs, "runs", bench.DefaultRuns, "how often to ask each question")
	flag.IntVar(&s.segments, "segments", 1000, "how many segments to save for Q17")
	flag.DurationVar(&s.mix, "mix", 4*time.Second, "how long to ask MIX8, both together")
	flag.Parse()
	s.perHead = true
	flag.Visit(func(f *flag.Flag) { s.perHead = s.perHead && f.Name != "events" })
	if flag.NArg() > 0 || s.data.Profiles == 0 || s.runs < 1 || s.segments < 1 {
		fmt.Fprintln(os.Stderr, "duckdb: -profiles, -runs and -segments must be at least 1, and there are no arguments")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "duckdb:", err)
		os.Exit(1)
	}
}

// run loads, asks and prints.
func run(ctx context.Context, s settings) (err error) {
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "kanta-duckdb-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	c, err := load(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.ask(ctx); err != nil {
		return err
	}
	return c.print(os.Stdout)
}

// load makes both stores.
func load(ctx context.Context, s settings) (c *comparison, err error) {
	if s.perHead {
		s.data.Events = bench.EventsPerProfile * s.data.Profiles
	}
	c = &comparison{settings: s, g: bench.New(s.data)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if s.csv == "" {
		progress("writing the CSV file")
		c.csv = filepath.Join(s.dir, "profiles.csv")
		if c.expected, err = c.g.WriteCSVFile(ctx, c.csv); err != nil {
			return c, err
		}
	}
	if err = c.loadKanta(ctx); err != nil {
		return c, fmt.Errorf("kanta: load %s: %w", c.csv, err)
	}
	if err = c.loadDuckDB(ctx); err != nil {
		return c, fmt.Errorf("duckdb: load %s: %w", c.csv, err)
	}
	if s.perHead { // of a given file
		c.data.Events = bench.EventsPerProfile * c.data.Profiles
		c.g = bench.New(c.data)
	}
	if c.data.Events > 0 {
		err = c.loadEvents(ctx)
	}
	if err == nil {
		err = c.size(ctx)
	}
	return c, err
}

// loadEvents writes the events to a file and loads it into both stores.
func (c *comparison) loadEvents(ctx context.Context) (err error) {
	progress("writing the CSV file of events")
	file := filepath.Join(c.dir, "events.csv")
	if err := c.g.WriteEventsCSVFile(ctx, file, 0, c.data.Events, false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	progress("loading the events into Kanta")
	if err := c.timed("Kanta", "load events", func() error { return c.g.LoadEventsCSVFile(ctx, c.kanta.Store, file, false) }); err != nil {
		return fmt.Errorf("kanta: %w", err)
	}
	if err := c.timed("Kanta", "fold events", func() error { return c.kanta.Store.Compact(ctx) }); err != nil {
		return fmt.Errorf("kanta: %w", err)
	}
	progress("loading the events into DuckDB")
	if err := c.timed("DuckDB", "load events", func() error { return c.duck.loadEvents(ctx, file) }); err != nil {
		return fmt.Errorf("duckdb: %w", err)
	}
	return nil
}

// size notes how large the stores are.
func (c *comparison) size(ctx context.Context) error {
	stats, err := c.kanta.Store.Stats(ctx)
	if err != nil {
		return err
	}
	c.kantaBytes = stats.DiskBytes
	c.duckBytes, err = c.duck.bytes()
	return err
}

func progress(what string) { fmt.Fprintln(os.Stderr, what) }

func (c *comparison) loadKanta(ctx context.Context) error {
	progress("loading Kanta")
	db, err := engine.Open(filepath.Join(c.dir, "kanta"), nil)
	if err != nil {
		return err
	}
	c.kanta = bench.Asker{Store: db}
	if err := c.g.AddSchema(ctx, db); err != nil {
		return err
	}
	if err := c.timed("Kanta", "load", func() error { return c.g.LoadCSVFile(ctx, db, c.csv) }); err != nil {
		return err
	}
	if err := c.timed("Kanta", "fold", func() error { return db.Compact(ctx) }); err != nil {
		return err
	}
	stats, err := db.Stats(ctx)
	if err != nil {
		return err
	}
	if c.data.Profiles != stats.Profiles { // of a given file
		c.data.Profiles = stats.Profiles
		c.g = bench.New(c.data)
	}
	return nil
}

func (c *comparison) loadDuckDB(ctx context.Context) (err error) {
	progress("loading DuckDB")
	if c.duck, err = openDuck(ctx, filepath.Join(c.dir, "people.duckdb")); err != nil {
		return err
	}
	if err := c.timed("DuckDB", "load", func() error { return c.duck.load(ctx, c.g.Schema(), c.csv) }); err != nil {
		return err
	}
	if err := c.timed("DuckDB", "index of keys", func() error { return c.duck.index(ctx) }); err != nil {
		return err
	}
	return c.duck.prepareSegments(ctx, c.g.Segments(c.segments))
}

// timed does a step of loading and notes what it took.
func (c *comparison) timed(who, what string, do func() error) error {
	start := time.Now()
	err := do()
	c.steps = append(c.steps, step{who, what, time.Since(start)})
	return err
}
