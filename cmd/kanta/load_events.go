package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/quality"
)

func newLoadEvents(a *app) *cobra.Command {
	f := loadFlags{rowFlags: rowFlags{events: true}}
	var e quality.EventColumns
	c := &cobra.Command{
		Use:   "events FILE... --profile COLUMN --event COLUMN --time COLUMN",
		Short: "Load what people did: CSV, NDJSON or Parquet; - is standard input",
		Long: `Load events from CSV or NDJSON files, plain or compressed with gzip or zstd, or from Parquet
files; - is standard input (not of Parquet). Each row is an act of a person at a time; the
person is created if there is none with the key. --event names the column of the types of
event; where all rows are of one type, --event-name names that instead. Times are RFC 3339, or
like 2026-01-31 12:00:00 in the zone of --zone, or seconds, milli-, micro- or nanoseconds
since 1970. A local time that comes twice is the first; one that the clocks skip is read by
the clock from before.

Of an array of objects, such as the lines of an order, each becomes an event: it has its own
fields, named lines.sku (in expressions e["lines.sku"]), and those of the order. With --id
order its id is that of the order and its place, A1#1, and order is a property too, so that
orders can be counted. Where there are several such arrays, --lines names the one.

With --id an event is kept once per id and UTC day, whichever file brings it again; ids of
systems that number their events by themselves are kept apart by --id-source. Without ids
equal rows are acts that happened twice. An id is remembered as long as any type of event keeps
its day; of a day that all had forgotten before a type came that keeps longer, only rows
without ids are taken. A row that does not fit is quarantined with its reason: see kanta
quarantine list.

What the store does not know of event types and properties is inferred from the first 100,000
rows and added, and it is said what was inferred and why. With --schema that file is applied
first, and columns that no event has are left out and named. --unknown decides otherwise: see
kanta load profiles --help. Events of an unknown type, and those with a value that only other
types have a property for, are quarantined where they are neither added nor refused.

A load that was killed is resumed by the same command, as that of profiles is. Several files
are loaded at a time; of events with the same id but other content in several of them, any
may be the first.

--json: as kanta load profiles.`,
		Example: `  kanta load events orders.csv --profile customer --event-name purchase --time ordered_at --id order_id
  zcat clicks.ndjson.gz | kanta load events - --profile user --event type --time ts`,
		Args: rangeArgs(1, many),
		RunE: func(c *cobra.Command, args []string) error {
			if (e.Event == "") == (e.Name == "") || e.Time == "" {
				return usagef("name the time's column with --time, and the type of event with --event COLUMN or --event-name NAME")
			}
			if e.Name != "" {
				if err := checkName("--event-name", e.Name); err != nil {
					return err
				}
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			o.Events = &e
			return a.load(c.Context(), &f, o, args)
		},
	}
	c.Flags().StringVar(&f.key, "profile", "", "the column of the people's keys")
	c.Flags().StringVar(&e.Event, "event", "", "the column of the types of event")
	c.Flags().StringVar(&e.Name, "event-name", "", "the type of event of all rows")
	c.Flags().StringVar(&e.Time, "time", "", "the column of the times")
	c.Flags().StringVar(&e.ID, "id", "", "the column of ids of events")
	c.Flags().StringVar(&e.IDSource, "id-source", "files", "whose ids they are")
	c.Flags().StringVar(&f.lines, "lines", "", "the array of objects of which each becomes an event (default: the only one)")
	f.addFormat(c)
	f.addLoad(c)
	return c
}

// extendEvents is extend of a file of events.
func (l *load) extendEvents(ctx context.Context, in *input) error {
	sch, err := l.target().Schema(ctx)
	if err != nil {
		return err
	}
	if err := l.checkLines(in); err != nil || !l.flags.adds() {
		return err
	}
	rows, err := in.rows(&l.flags.rowFlags)
	if err != nil {
		return err
	}
	defer rows.Close()
	events, report, err := quality.InferEvents(rows, l.flags.key, *l.options.Events, in.inferRows())
	if err == nil && report.Rows == 0 {
		err = errors.New("there are no rows behind the header; nothing can be said of their kinds")
	}
	if err != nil {
		return &inputError{in.name, err}
	}
	if err := in.rewind(); err != nil {
		return err
	}
	changes := quality.MissingEvents(sch, events, report, func(event string, rows int, columns []quality.InferColumn) {
		l.explainEvent(in.name, event, rows, columns)
	})
	if len(changes) == 0 {
		return nil
	}
	return l.evolve(ctx, sch, changes)
}

// checkLines looks for the array that --lines names among the rows that inference looks at,
// and goes back to the input's start.
func (l *load) checkLines(in *input) error {
	lines := l.flags.lines
	if lines == "" {
		return nil
	}
	rows, err := in.rows(&l.flags.rowFlags)
	if err != nil {
		return err
	}
	defer rows.Close()
	if err := quality.FindLines(rows, lines, in.inferRows()); err != nil {
		return &inputError{in.name, err}
	}
	return in.rewind()
}

// explainEvent tells people what was seen of a type of event.
func (a *app) explainEvent(file, event string, rows int, columns []quality.InferColumn) {
	if a.json {
		return
	}
	fmt.Fprintf(a.err, "%s: event %q, %s of the rows looked at\n", file, printable(event), count(rows))
	a.explainColumns(columns)
}
