package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
)

func newBench(a *app) *cobra.Command {
	o := bench.RunOptions{Data: bench.Options{WithAbsent: true}}
	var keep string
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure: generate people, load them, ask the questions of the workload",
		Long: `Measure this machine: make people up, load them through batches and from CSV, ask the
questions of the workload, compare the answers with what the generator counted, and
print medians, 95th percentiles, memory and disk. Without --keep in a temporary directory.

--json: {"profiles":N,"seed":N,"loads":[{"how","rows","elapsed_us","rows_per_second",
"compact_us"}],"questions":[{"name","p50_us","p95_us","runs","count","unknown","bytes",
"checked","per_second"}],"writes":[{"how",
"rows_per_second","p50_us","p99_us","amplification","head_values","reopen_us",
"questions"}],"disk_bytes":N,"bytes_per_profile":N,"peak_resident_bytes":N}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Data.Profiles == 0 {
				return usagef("--profiles 0: nothing to measure")
			}
			if o.Dir, err = benchDir(keep); err != nil {
				return err
			}
			if keep == "" {
				defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
			}
			o.Open = func(dir string) (bench.Store, error) { return a.openDir(dir, true) }
			if !a.json {
				o.Progress = func(what string) { fmt.Fprintln(a.err, what) }
			}
			report, err := bench.Run(c.Context(), o)
			return errors.Join(err, a.printBench(&o, &report))
		},
	}
	c.Flags().Uint64Var(&o.Data.Profiles, "profiles", 1_000_000, "how many people to make up")
	c.Flags().Uint64Var(&o.Data.Seed, "seed", 0, "another seed is other people")
	c.Flags().IntVar(&o.Runs, "runs", bench.DefaultRuns, "how often to ask each question")
	c.Flags().IntVar(&o.Segments, "segments", 0, "how many segments to save for Q17 (default 1000)")
	c.Flags().DurationVar(&o.Mix, "mix", 2*time.Second, "how long to ask MIX8")
	c.Flags().DurationVar(&o.Write, "write", 3*time.Second, "how long each kind of durable change goes on; negative: not at all")
	c.Flags().StringVar(&keep, "keep", "", "keep the store: in the folder csv of this directory, which must be empty or not exist")
	return c
}

func benchDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "kanta-bench-")
	}
	if entries, err := os.ReadDir(keep); err == nil && len(entries) > 0 {
		return "", usagef("--keep %s: there is something already; name a directory that is empty or does not exist", keep)
	}
	return keep, os.MkdirAll(keep, 0o755)
}

func (a *app) printBench(o *bench.RunOptions, r *bench.Report) error {
	perProfile := r.Stats.DiskBytes / int64(max(1, r.Stats.Profiles))
	if a.json {
		return a.printBenchJSON(o, r, perProfile)
	}
	if len(r.Loads) == 0 {
		return nil // it failed before there was anything to print
	}
	t := a.newTable("load", "#rows", "#time", "#rows/s", "#then folding")
	for _, l := range r.Loads {
		t.add(l.How, l.Rows, t.micros(l.Took), perSecond(l.Rows, l.Took), t.micros(l.Compact))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	t = a.newTable("question", "#p50", "#p95", "#runs", "#count", "#unknown", "#bytes", "answer")
	for _, q := range r.Questions {
		remark := ""
		if q.Checked {
			remark = "right"
		}
		if q.PerSec > 0 {
			remark = fmt.Sprintf("%.0f questions/s", q.PerSec)
		}
		t.add(q.Name, t.micros(q.P50), t.micros(q.P95), q.Runs, q.Count, q.Unknown, t.bytes(int64(q.Bytes)), remark)
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	if err := a.printWrites(r.Writes); err != nil {
		return err
	}
	f := a.facts()
	f.add("disk", f.bytes(r.Stats.DiskBytes))
	f.add("disk bytes per profile", perProfile)
	f.add("largest resident memory", f.bytes(r.PeakBytes))
	f.add("memory budget", f.bytes(r.Stats.MemoryBudget))
	return f.write(a.out)
}

func (a *app) printWrites(writes []bench.WriteFigure) error {
	if len(writes) == 0 {
		return nil
	}
	t := a.newTable("durable changes", "#rows/s", "#p50", "#p99", "#written per byte", "#values in head", "#opening")
	for _, w := range writes {
		t.add(w.How, perSecond(w.Rows, w.Took), t.micros(w.P50), t.micros(w.P99), fmt.Sprintf("%.1f", w.Amplification), w.HeadValues, t.micros(w.Reopen))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	t = a.newTable("asked after", "question", "#p50", "#p95")
	for _, w := range writes {
		for _, q := range w.Questions {
			t.add(w.How, q.Name, t.micros(q.P50), t.micros(q.P95))
		}
	}
	return t.write(a.out)
}

type benchWriteJSON struct {
	How           string              `json:"how"`
	RowsPerSecond uint64              `json:"rows_per_second"`
	P50US         float64             `json:"p50_us"`
	P99US         float64             `json:"p99_us"`
	Amplification float64             `json:"amplification"`
	HeadValues    uint64              `json:"head_values"`
	ReopenUS      int64               `json:"reopen_us"`
	Questions     []benchQuestionJSON `json:"questions"`
}

type benchLoadJSON struct {
	How           string `json:"how"`
	Rows          uint64 `json:"rows"`
	ElapsedUS     int64  `json:"elapsed_us"`
	RowsPerSecond uint64 `json:"rows_per_second"`
	CompactUS     int64  `json:"compact_us"`
}

type benchQuestionJSON struct {
	Name      string  `json:"name"`
	P50US     float64 `json:"p50_us"`
	P95US     float64 `json:"p95_us"`
	Runs      int     `json:"runs"`
	Count     uint64  `json:"count"`
	Unknown   uint64  `json:"unknown"`
	Bytes     uint64  `json:"bytes"`
	Checked   bool    `json:"checked"`
	PerSecond float64 `json:"per_second"`
}

func (a *app) printBenchJSON(o *bench.RunOptions, r *bench.Report, perProfile int64) error {
	out := struct {
		Profiles   uint64              `json:"profiles"`
		Seed       uint64              `json:"seed"`
		Loads      []benchLoadJSON     `json:"loads"`
		Questions  []benchQuestionJSON `json:"questions"`
		Writes     []benchWriteJSON    `json:"writes"`
		Disk       int64               `json:"disk_bytes"`
		PerProfile int64               `json:"bytes_per_profile"`
		Peak       int64               `json:"peak_resident_bytes"`
	}{o.Data.Profiles, o.Data.Seed, []benchLoadJSON{}, []benchQuestionJSON{}, []benchWriteJSON{}, r.Stats.DiskBytes, perProfile, r.PeakBytes}
	for _, l := range r.Loads {
		out.Loads = append(out.Loads, benchLoadJSON{l.How, l.Rows, l.Took.Microseconds(), perSecond(l.Rows, l.Took), l.Compact.Microseconds()})
	}
	out.Questions = questionsJSON(r.Questions)
	for _, w := range r.Writes {
		out.Writes = append(out.Writes, benchWriteJSON{w.How, perSecond(w.Rows, w.Took), float64(w.P50.Nanoseconds()) / 1e3, float64(w.P99.Nanoseconds()) / 1e3,
			w.Amplification, w.HeadValues, w.Reopen.Microseconds(), questionsJSON(w.Questions)})
	}
	return a.printJSON(out)
}

func questionsJSON(figures []bench.Figure) []benchQuestionJSON {
	out := []benchQuestionJSON{}
	for _, q := range figures {
		out = append(out, benchQuestionJSON{q.Name, float64(q.P50.Nanoseconds()) / 1e3, float64(q.P95.Nanoseconds()) / 1e3,
			q.Runs, q.Count, q.Unknown, q.Bytes, q.Checked, q.PerSec})
	}
	return out
}
