package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// soakMemory is the budget of who names none: small enough that the caches are full before
// the second half, so that what they still take does not look like a leak.
const soakMemory = "128MiB"

const soakHelp = `Live two hours of a company's day with a store in ten minutes, and see that what it takes
stays within bounds: memory, goroutines, descriptors, disk, bytes written.

People and events are made up and loaded first. Then all goes on at once, at the pace of a
busy evening, twelve times as fast (per second: 2,400 events, 300 changed profiles, 6
sign-ups, 300 profiles looked at, 60 questions of which a sixth are analyses; fewer for
less than 500,000 people): events with and without ids, some sent again, late or wrong,
deletions, lists and segments that change, snapshots that are held, questions that are
given up and such that must be refused, exports, and every minute a backup, an erasure and
its purge. What the store says of every batch, and what it holds in the end, is compared
with books that are kept beside it.

Printed are the tenths of the run, of each measure the least, the median and the largest;
then the verdicts. Growth is that of the second half, by moments in which nothing else is
begun. Exit code 1 if a bound is broken, if a difference or damage is found, or if too
little was done to say anything. The memory budget is ` + soakMemory + `, or --memory.

--json: {"profiles":N,"events":N,"seed":N,"duration_us":N,"memory_budget":N,"load":{as kanta
bench},"deeds":[{"what","done","due"}],"rows":{"received","accepted","created","duplicates",
"quarantined","refused","deleted","erased"},"given_up":N,"backup_bytes":N,"backup_sent":N,
"backup_longest_pause_us":N,"purged_people":N,"measures":[{"what","least":[...],
"median":[...],"largest":[...]}],"latencies":[{"what","per_second":[...],"p50_us":[...],
"p99_us":[...]}],"verdicts":[{"what","value","bound","ok"}],"void":["..."],"ok":BOOL}, of
measures, which are bytes or counts, and latencies one number for each tenth.`

func newBenchSoak(a *app) *cobra.Command {
	o := bench.SoakOptions{Data: bench.Options{WithAbsent: true}}
	var keep string
	c := &cobra.Command{
		Use:   "soak",
		Short: "Live two hours of mixed load in ten minutes, and see that nothing grows",
		Long:  soakHelp,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Data.Profiles < 1000 || o.Data.Events < 1000 || o.Duration < time.Second {
				return usagef("at least --profiles 1000, --events 1000 and --duration 1s: less says nothing")
			}
			if a.memory == "" {
				a.memory = soakMemory
			}
			if o.Dir, err = benchDir(keep); err != nil {
				return err
			}
			if keep == "" {
				defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
			}
			return a.soak(c.Context(), o)
		},
	}
	c.Flags().Uint64Var(&o.Data.Profiles, "profiles", 500_000, "how many people to make up")
	c.Flags().Uint64Var(&o.Data.Events, "events", 5_000_000, "how many events to make up before the day begins")
	c.Flags().Uint64Var(&o.Data.Seed, "seed", 0, "another seed is another day")
	c.Flags().DurationVar(&o.Duration, "duration", bench.DefaultSoak, "how long it goes on")
	c.Flags().StringVar(&keep, "keep", "", "keep the store and its backups: in the folders store and backups of this directory, which must be empty or not exist")
	return c
}

// soak runs a soak and prints what it has found.
func (a *app) soak(ctx context.Context, o bench.SoakOptions) (err error) {
	target, err := engine.OpenBackupDir(filepath.Join(o.Dir, "backups"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	o.Target = target
	o.Prune = func(ctx context.Context) error {
		_, err := engine.PruneBackups(ctx, target, &query.PruneOptions{KeepLast: 2})
		return err
	}
	o.Open = func(dir string) (bench.SoakStore, error) { return a.openDir(dir, true) }
	if !a.json {
		o.Progress = func(what string) { fmt.Fprintln(a.err, what) }
	}
	r, err := bench.Soak(ctx, o)
	if err != nil && !errors.Is(err, bench.ErrSoak) {
		return err
	}
	if a.json {
		return errors.Join(err, a.printSoakJSON(&o, &r, err == nil))
	}
	return errors.Join(err, a.printSoak(&r))
}

func (a *app) printSoak(r *bench.SoakReport) error {
	t := a.newTable("done", "#times", "#due")
	for _, d := range r.Deeds {
		t.add(d.Deed.String(), d.Done, d.Due)
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	a.gap()
	if err := a.printSoakRows(r); err != nil {
		return err
	}
	a.gap()
	head := []string{"tenth of the run", ""}
	for n := range len(r.Measures[0].Median) {
		head = append(head, "#"+strconv.Itoa(n+1))
	}
	t = a.newTable(head...)
	line := func(what, of string, cell func(n int) any) {
		cells := []any{what, of}
		for n := range len(head) - 2 {
			cells = append(cells, cell(n))
		}
		t.add(cells...)
	}
	for i := range r.Measures {
		m := &r.Measures[i]
		shown := func(values []int64) func(n int) any {
			return func(n int) any {
				if m.Measure.Bytes() {
					return t.bytes(values[n])
				}
				return values[n]
			}
		}
		line(m.Measure.String(), "least", shown(m.Least[:]))
		line("", "median", shown(m.Median[:]))
		line("", "largest", shown(m.Largest[:]))
	}
	for i := range r.Latencies {
		l := &r.Latencies[i]
		line(l.What, "a second", func(n int) any { return fmt.Sprintf("%.0f", l.PerSec[n]) })
		line("", "p50", func(n int) any { return t.micros(l.P50[n]) })
		line("", "p99", func(n int) any { return t.micros(l.P99[n]) })
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	a.gap()
	return a.printVerdicts(r)
}

func (a *app) printSoakRows(r *bench.SoakReport) error {
	f := a.facts()
	f.add("rows written", r.Rows.Received)
	f.add("accepted", r.Rows.Accepted)
	f.add("duplicates", r.Rows.Duplicates)
	f.add("quarantined", r.Rows.Quarantined)
	f.add("refused", r.Rows.Refused)
	f.add("profiles created", r.Rows.Created)
	f.add("deleted", r.Rows.Deleted)
	f.add("erased", r.Rows.Erased)
	f.add("purged", r.Purges.People)
	f.add("questions that ended because the caller had gone", r.GivenUp)
	f.add("backups, bytes of the store", f.bytes(r.Backups.Bytes))
	f.add("of these sent", f.bytes(r.Backups.Sent))
	f.add("longest pause of writers for a backup", f.micros(r.Backups.Paused))
	f.add("people in the end", r.Stats.Profiles)
	f.add("their events, and some of the deleted", r.Stats.Events)
	f.add("values verified in the end", r.Check.Values)
	f.add("memory budget", f.bytes(r.Stats.MemoryBudget))
	return f.write(a.out)
}

func (a *app) printVerdicts(r *bench.SoakReport) error {
	t := a.newTable("verdict", "", "#is", "#at most")
	for _, v := range r.Verdicts {
		shown := func(x float64) any {
			if v.Bytes {
				return t.bytes(int64(x))
			}
			return strconv.FormatFloat(x, 'f', 1, 64)
		}
		well := "well"
		if !v.OK {
			well = "BROKEN"
		}
		t.add(v.Name, well, shown(v.Value), shown(v.Bound))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	for _, text := range r.Check.Problems {
		fmt.Fprintln(a.err, printable(text))
	}
	for _, text := range r.Void {
		fmt.Fprintln(a.err, "void: "+text)
	}
	return nil
}

type soakDeedJSON struct {
	What string `json:"what"`
	Done uint64 `json:"done"`
	Due  uint64 `json:"due"`
}

type soakRowsJSON struct {
	Received    uint64 `json:"received"`
	Accepted    uint64 `json:"accepted"`
	Created     uint64 `json:"created"`
	Duplicates  uint64 `json:"duplicates"`
	Quarantined uint64 `json:"quarantined"`
	Refused     uint64 `json:"refused"`
	Deleted     uint64 `json:"deleted"`
	Erased      uint64 `json:"erased"`
}

type soakMeasureJSON struct {
	What    string  `json:"what"`
	Least   []int64 `json:"least"`
	Median  []int64 `json:"median"`
	Largest []int64 `json:"largest"`
}

type soakLatencyJSON struct {
	What   string    `json:"what"`
	PerSec []float64 `json:"per_second"`
	P50US  []float64 `json:"p50_us"`
	P99US  []float64 `json:"p99_us"`
}

type soakVerdictJSON struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	OK    bool    `json:"ok"`
}

func (a *app) printSoakJSON(o *bench.SoakOptions, r *bench.SoakReport, ok bool) error {
	l := r.Load
	out := struct {
		Profiles  uint64            `json:"profiles"`
		Events    uint64            `json:"events"`
		Seed      uint64            `json:"seed"`
		Took      int64             `json:"duration_us"`
		Budget    int64             `json:"memory_budget"`
		Load      benchLoadJSON     `json:"load"`
		Deeds     []soakDeedJSON    `json:"deeds"`
		Rows      soakRowsJSON      `json:"rows"`
		GivenUp   uint64            `json:"given_up"`
		Backup    int64             `json:"backup_bytes"`
		Sent      int64             `json:"backup_sent"`
		Paused    int64             `json:"backup_longest_pause_us"`
		Purged    uint64            `json:"purged_people"`
		Measures  []soakMeasureJSON `json:"measures"`
		Latencies []soakLatencyJSON `json:"latencies"`
		Verdicts  []soakVerdictJSON `json:"verdicts"`
		Void      []string          `json:"void"`
		OK        bool              `json:"ok"`
	}{Profiles: o.Data.Profiles, Events: o.Data.Events, Seed: o.Data.Seed, Took: r.Took.Microseconds(), Budget: r.Stats.MemoryBudget,
		Load: benchLoadJSON{l.How, l.Rows, l.Took.Microseconds(), perSecond(l.Rows, l.Took), l.Compact.Microseconds(), l.Amplification},
		Rows: soakRowsJSON(r.Rows), GivenUp: r.GivenUp, Backup: r.Backups.Bytes, Sent: r.Backups.Sent, Paused: r.Backups.Paused.Microseconds(),
		Purged: r.Purges.People, Void: append([]string{}, r.Void...), OK: ok}
	for _, d := range r.Deeds {
		out.Deeds = append(out.Deeds, soakDeedJSON{d.Deed.String(), d.Done, d.Due})
	}
	for i := range r.Measures {
		m := &r.Measures[i]
		out.Measures = append(out.Measures, soakMeasureJSON{m.Measure.String(), m.Least[:], m.Median[:], m.Largest[:]})
	}
	for i := range r.Latencies {
		of := &r.Latencies[i]
		j := soakLatencyJSON{What: of.What, PerSec: of.PerSec[:]}
		for n := range of.P50 {
			j.P50US, j.P99US = append(j.P50US, microseconds(of.P50[n])), append(j.P99US, microseconds(of.P99[n]))
		}
		out.Latencies = append(out.Latencies, j)
	}
	for _, v := range r.Verdicts {
		out.Verdicts = append(out.Verdicts, soakVerdictJSON{v.Name, v.Value, v.Bound, v.OK})
	}
	return a.printJSON(out)
}
