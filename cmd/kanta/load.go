package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

func newLoad(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "load",
		Short: "Load people, or what they did, from files",
	})
	c.AddCommand(newLoadProfiles(a), newLoadEvents(a))
	return c
}

// loadFlags are the flags of kanta load.
type loadFlags struct {
	rowFlags
	schema  string
	unknown string
	empty   string
	zone    string
	dry     bool
	strict  bool
	again   bool
}

func newLoadProfiles(a *app) *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "profiles FILE... --key COLUMN",
		Short: "Load people: CSV, NDJSON or Parquet; - is standard input",
		Long: `Load people from CSV or NDJSON files, plain or compressed with gzip or zstd, or from Parquet
files; - is standard input (not of Parquet, which is not read from front to end). A person
who is there already gets the new values; an empty cell leaves what is stored. A row that
does not fit is quarantined with its reason: see kanta quarantine list. Of a key that comes
twice in a file the later row holds.

What the store does not know is inferred from the first 100,000 rows and added, and it is
said what was inferred and why. With --schema that file is applied first, and other columns
are left out and named. --unknown decides otherwise: add adds them, ignore leaves them out,
quarantine keeps rows with a value for them apart, refuse loads nothing of such a file (of
standard input: nothing more).

A load that was killed is resumed by the same command: what was applied already is
answered as repeated and costs next to nothing (not so from standard input). A file that
was loaded before therefore changes nothing, unless --again is given.

--json: {"files":[{"file","received","accepted","created","overwritten","quarantined",
"refused","duplicates","repeated","repeated_rows","reasons":{"...":N},"ignored_columns":[...],
"elapsed_us","rows_per_second"}],"dry_run":B} where repeated counts batches.`,
		Example: `  kanta load profiles customers.csv --key id
  zcat export.ndjson.gz | kanta load profiles - --key customer_id --schema schema.toml`,
		Args: rangeArgs(1, many),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			return a.load(c.Context(), &f, o, args)
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.empty, "empty", "keep", "what an empty cell does: keep the stored value, or unset it")
	completeWord(c, "empty", "keep", "unset")
	f.addLoad(c)
	return c
}

// addLoad adds the flags that both kinds of rows have.
func (f *loadFlags) addLoad(c *cobra.Command) {
	c.Flags().StringVar(&f.schema, "schema", "", "a schema file to apply first")
	c.Flags().StringVar(&f.unknown, "unknown", "", "what becomes of what the schema does not have: add, ignore, quarantine or refuse (default add; with --schema ignore)")
	completeWord(c, "unknown", "add", "ignore", "quarantine", "refuse")
	c.Flags().StringVar(&f.zone, "zone", "UTC", "the zone of times that name none, such as Europe/Helsinki")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "decide and tell, change nothing")
	c.Flags().BoolVar(&f.strict, "strict", false, "end with exit code 5 if a row was quarantined or refused")
	c.Flags().BoolVar(&f.again, "again", false, "load a file once more that was loaded before")
}

// load loads files.
func (a *app) load(ctx context.Context, f *loadFlags, o quality.LoadOptions, names []string) error {
	for _, name := range names { // before a store is made for nothing
		if _, err := os.Stat(name); name != "-" && err != nil {
			return &inputError{name, errors.Unwrap(err)}
		}
	}
	l := &load{app: a, flags: f, options: o}
	if f.schema != "" {
		var err error
		if l.schema, err = a.readSchema(f.schema); err != nil {
			return err
		}
	}
	return a.withDryStore(f.dry, func(s store) error {
		l.store = s
		return errors.Join(l.files(ctx, names), l.dropPlanned())
	})
}

// options checks the flags.
func (f *loadFlags) options() (quality.LoadOptions, error) {
	o := quality.LoadOptions{Key: f.key, SetSeparator: f.separator}
	if err := f.check(); err != nil {
		return o, err
	}
	switch f.empty {
	case "keep", "":
	case "unset":
		o.EmptyUnsets = true
	default:
		return o, usagef("--empty %s: it is keep or unset", f.empty)
	}
	var known bool
	if o.Unknown, _, known = quality.ParseUnknown(cmp.Or(f.unknown, "add")); !known {
		return o, usagef("--unknown %s: it is %s", f.unknown, quality.UnknownWords)
	}
	var err error
	if o.Zone, err = syntax.Zone(f.zone); err != nil {
		return o, usagef("--zone %s: no such zone; write one such as Europe/Helsinki", f.zone)
	}
	return o, nil
}

// adds reports whether what the store does not know is inferred and added.
func (f *loadFlags) adds() bool { return f.unknown == "add" || f.unknown == "" && f.schema == "" }

// load is one run of kanta load.
type load struct {
	*app
	store    store
	flags    *loadFlags
	options  quality.LoadOptions
	schema   *quality.Definitions // of the file that --schema names, else nil
	progress *loadProgress
	done     []*loaded
	planned  store // of a dry run that changes the schema: an empty one with the schema as it would be
}

// files loads the files and prints what became of their rows.
func (l *load) files(ctx context.Context, names []string) error {
	if l.schema != nil {
		if err := l.applyFile(ctx, l.schema); err != nil {
			return err
		}
	}
	runs, err := l.open(ctx, names)
	defer func() {
		for _, r := range runs {
			r.in.Close()
		}
	}()
	if err != nil {
		return err
	}
	failed := l.all(ctx, runs)
	for _, r := range runs {
		if r.started {
			l.done = append(l.done, r.result)
		}
	}
	if err := l.report(); err != nil && failed == nil {
		failed = err
	}
	if ctx.Err() != nil && len(l.done) > 0 && !l.flags.dry && !l.json {
		fmt.Fprintln(l.err, "the same command goes on where this one ended")
	}
	if failed != nil || !l.flags.strict {
		return failed
	}
	for _, d := range l.done {
		if d.Quarantined+d.Refused > 0 {
			return errRowsFailed
		}
	}
	return nil
}

// open opens all files and adds what the store does not know of any of them, before the
// first one is loaded: a load that is killed finds the same schema when it is resumed, and
// a file that is wrong is told before another one is loaded. It returns what it has opened.
func (l *load) open(ctx context.Context, names []string) (runs []*loadRun, err error) {
	for _, name := range names {
		in, err := l.openInput(name)
		if err != nil {
			return runs, err
		}
		runs = append(runs, &loadRun{load: l, in: in, result: &loaded{File: in.name, Outcome: quality.NewOutcome(maxExamples)}})
		if err := in.prepare(&l.flags.rowFlags); err != nil {
			return runs, err
		}
		runs[len(runs)-1].result.place = in.place()
		if l.options.Events != nil {
			err = l.extendEvents(ctx, in)
		} else {
			err = l.extend(ctx, in)
		}
		if err != nil {
			return runs, err
		}
	}
	return runs, nil
}

// filesAtATime is how many files of events are loaded at a time. What one file is slow at
// is reading: unpacking, and finding the cells. Profiles come one file after the other, for
// of a person in two of them the later one holds.
const filesAtATime = 4

// all loads the files. It stops at the first error.
func (l *load) all(ctx context.Context, runs []*loadRun) error {
	sch, err := l.target().Schema(ctx)
	if err != nil {
		return err
	}
	atATime := 1
	if l.options.Events != nil {
		atATime = min(filesAtATime, len(runs), runtime.GOMAXPROCS(0))
	}
	l.options.Parallelism = max(1, runtime.GOMAXPROCS(0)/atATime)
	l.progress = newLoadProgress(l.newProgress(), runs)
	defer l.progress.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atATime {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(runs) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := runs[i].run(ctx, sch); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (l *load) applyFile(ctx context.Context, want *quality.Definitions) error {
	before, err := l.store.Schema(ctx)
	if err != nil {
		return err
	}
	changes, err := want.Diff(before)
	if err != nil {
		return err
	}
	return l.evolve(ctx, before, changes)
}

// evolve changes the schema, or plans to.
func (l *load) evolve(ctx context.Context, before *schema.Schema, changes []schema.Change) error {
	s := l.target()
	after, err := quality.Evolve(ctx, s, before, changes, l.flags.dry)
	if err == nil {
		l.warnClashes(before, after)
	}
	if err != nil || !l.flags.dry || len(changes) == 0 {
		return err
	}
	if err := l.dropPlanned(); err != nil {
		return err
	}
	if l.planned, err = l.openDir("", true); err != nil {
		return err
	}
	all, err := (&quality.Definitions{Attributes: after.Attributes, Events: after.Events, Computed: after.Computed}).Diff(schema.New(0, 0, nil))
	if err != nil {
		return err
	}
	_, err = quality.Evolve(ctx, l.planned, schema.New(0, 0, nil), all, false)
	return err
}

// target is the store that decides: what changes something is the store of --db.
func (l *load) target() store {
	if l.planned != nil {
		return l.planned
	}
	return l.store
}

func (l *load) dropPlanned() error {
	if l.planned == nil {
		return nil
	}
	s := l.planned
	l.planned = nil
	return s.Close()
}

// run loads the file.
func (r *loadRun) run(ctx context.Context, sch *schema.Schema) error {
	l, in, o := r.load, r.in, r.options
	o.File = in.name
	if in.resumable() {
		if err := r.name(sch, &o); err != nil {
			return err
		}
	}
	if err := l.refuse(ctx, in, sch, o); err != nil {
		return err
	}
	if err := in.rewindLast(); err != nil {
		return err
	}
	rows, err := in.rows(&l.flags.rowFlags)
	if err != nil {
		return err
	}
	defer rows.Close()
	start := time.Now()
	r.started = true
	r.sender = quality.Sender{Target: l.target(), Dry: l.flags.dry, File: in.name, Place: r.result.place, Outcome: r.result.Outcome, Decided: l.progress.add}
	report, err := quality.Load(ctx, rows, sch, o, func(b quality.Loaded) error { return r.sender.Send(ctx, b) })
	if rest := r.sender.Settle(); err == nil {
		err = rest
	}
	r.result.Finish(report, time.Since(start))
	var q *query.Error
	if err != nil && !r.sender.Failed() && !errors.As(err, &q) && ctx.Err() == nil {
		return &inputError{in.name, err}
	}
	return err
}

// name names the batches of a file, so that they are applied once.
func (r *loadRun) name(sch *schema.Schema, o *quality.LoadOptions) error {
	columns, err := r.in.columns(&r.flags.rowFlags)
	if err != nil {
		return err
	}
	if o.Source, err = quality.SourceOf(r.in, sch, columns, r.in.rowsOptions(&r.flags.rowFlags), o); err != nil {
		return &inputError{r.in.name, err}
	}
	o.Run = 1
	if r.flags.again {
		o.Run = uint64(time.Now().UnixMilli())
	}
	return nil
}

// refuse reads all of a file before any of it is loaded, if what the schema does not have is
// to be refused: half a file with a mistake would have to be told from the other half.
func (l *load) refuse(ctx context.Context, in *input, sch *schema.Schema, o quality.LoadOptions) error {
	if o.Unknown != quality.RefuseUnknown || !in.resumable() {
		return nil
	}
	if err := in.rewind(); err != nil {
		return err
	}
	rows, err := in.rows(&l.flags.rowFlags)
	if err != nil {
		return err
	}
	defer rows.Close()
	o.FromSequence = math.MaxUint64 // no batch is made
	if _, err := quality.Load(ctx, rows, sch, o, func(quality.Loaded) error { return nil }); err != nil {
		if q := (*query.Error)(nil); errors.As(err, &q) || ctx.Err() != nil {
			return err
		}
		return &inputError{in.name, err}
	}
	return nil
}

// extend adds what the store does not know of a file's columns, if that is to be added.
func (l *load) extend(ctx context.Context, in *input) error {
	sch, err := l.target().Schema(ctx)
	if err != nil || !l.flags.adds() {
		return err
	}
	known, err := l.covered(in, sch)
	if err != nil || known {
		return err
	}
	attributes, report, err := in.infer(&l.flags.rowFlags)
	if err != nil {
		return err
	}
	changes, seen := quality.MissingAttributes(sch, attributes, report)
	if len(changes) == 0 {
		return nil
	}
	l.explainInferred(in.name, report, seen)
	return l.evolve(ctx, sch, changes)
}

// covered reports whether the schema has all columns of an input.
func (l *load) covered(in *input, sch *schema.Schema) (bool, error) {
	names, err := in.columns(&l.flags.rowFlags)
	return names != nil && !slices.ContainsFunc(names, func(name string) bool {
		return name != l.flags.key && !quality.Covers(sch, name)
	}), err
}
