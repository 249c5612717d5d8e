package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/query"
)

func newBench(a *app) *cobra.Command {
	o := bench.RunOptions{Data: bench.Options{WithAbsent: true}}
	var keep, first string
	var cold, echo bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure: generate people, load them, ask the questions of the workload",
		Long: `Measure this machine: make people and what they did up, load all through batches and
from CSV, ask the questions of the workload, compare the answers with what the generator
counted, and print medians, 95th percentiles, memory and disk. Without --keep in a
temporary directory.

Of the events, five ways of loading take a fifth each into one store, the oldest first; then
a CSV file of all of them is loaded into the store that is asked. Questions about events
have other constants each time. Their answers are compared where there are at most 200,000
events. Durable events are written in batches of 1,000 as they would arrive in the last hour.

Then the store is served by a process of its own, and measured is what the way there costs: a call
that does nothing, beside TCP alone and HTTP/2, questions and durable writes beside those in this
process, and the memory of 1,000 connections that nobody uses.

A question's roofline is the time in which this machine streams the bytes that it looked
at from memory. With --memory the store keeps to a budget.

--json: {"profiles":N,"seed":N,"loads":[{"how","rows","elapsed_us","rows_per_second",
"compact_us","amplification"}],"questions":[{"name","p50_us","p95_us","runs","count",
"unknown","bytes","checked","per_second","roofline_us"}],"writes":[{"how",
"rows_per_second","p50_us","p99_us","amplification","head_values","reopen_us",
"questions","half":{"rows_per_second","p50_us","p99_us","questions"}}],
"wire":[{"name","p50_us","p99_us","runs","per_second","embedded_p50_us","embedded_per_second"}],
"idle_connections":N,"idle_bytes":N,"cold":[{"name","open_us","p50_us","runs"}],"bytes_per_second":N,"disk_bytes":N,
"log_bytes":N,"bytes_per_profile":N,"events":N,"bytes_per_event":N,"peak_resident_bytes":N,
"memory_budget":N}, bytes per profile without the log's files, which are used again.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			switch {
			case first != "":
				return a.askFirst(c.Context(), first)
			case echo:
				return a.benchEcho(c.Context())
			}
			if o.Data.Profiles == 0 {
				return usagef("--profiles 0: nothing to measure")
			}
			if !c.Flags().Changed("events") {
				o.Data.Events = bench.EventsPerProfile * o.Data.Profiles
			}
			if o.Dir, err = benchDir(keep); err != nil {
				return err
			}
			if keep == "" {
				defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
			}
			o.Open = func(dir string) (bench.Store, error) { return a.openDir(dir, true) }
			if cold {
				o.First = a.askFirstElsewhere
			}
			o.Serve = a.serveElsewhere
			if !a.json {
				o.Progress = func(what string) { fmt.Fprintln(a.err, what) }
			}
			report, err := bench.Run(c.Context(), o)
			err = errors.Join(err, a.printBench(&o, &report))
			if err == nil && cold && len(report.Cold) == 0 {
				fmt.Fprintln(a.err, "cold questions: not measured here, this system does not drop files from its page cache")
			}
			return err
		},
	}
	c.AddCommand(newBenchSoak(a), newBenchCluster(a))
	c.Flags().Uint64Var(&o.Data.Profiles, "profiles", 1_000_000, "how many people to make up")
	c.Flags().Uint64Var(&o.Data.Events, "events", 0, "how many events to make up; 0: none (default 10 for each of the people)")
	c.Flags().Uint64Var(&o.Data.Seed, "seed", 0, "another seed is other people")
	c.Flags().IntVar(&o.Runs, "runs", bench.DefaultRuns, "how often to ask each question")
	c.Flags().IntVar(&o.Segments, "segments", 0, "how many segments to save for Q17 (default 1000)")
	c.Flags().DurationVar(&o.Mix, "mix", 2*time.Second, "how long to ask MIX8")
	c.Flags().DurationVar(&o.Write, "write", 3*time.Second, "how long each kind of durable write goes on; negative: not at all")
	c.Flags().BoolVar(&cold, "cold", false, "also ask in new processes, with the store's files out of the page cache")
	c.Flags().StringVar(&first, "first", "", "what --cold starts: ask the store of --db one question")
	_ = c.Flags().MarkHidden("first") // fails only for a flag that does not exist
	c.Flags().BoolVar(&echo, "echo", false, "what is started beside a server: send back what comes")
	_ = c.Flags().MarkHidden("echo") // as above
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

// firstJSON is what a process started by --cold answers.
type firstJSON struct {
	Open    time.Duration `json:"open_ns"`
	Ask     time.Duration `json:"ask_ns"`
	Count   uint64        `json:"count"`
	Unknown uint64        `json:"unknown"`
}

func (a *app) askFirst(ctx context.Context, question string) error {
	open := func(dir string) (bench.Store, error) { return a.openDir(dir, false) }
	first, err := bench.AskFirst(ctx, open, a.dir, question)
	if err != nil {
		return err
	}
	return a.printJSON(firstJSON(first))
}

// askFirstElsewhere has another process of this command do askFirst.
func (a *app) askFirstElsewhere(ctx context.Context, dir, question string) (bench.First, error) {
	exe, err := os.Executable()
	if err != nil {
		return bench.First{}, err
	}
	args := []string{"bench", "--first", question, "--db", dir}
	if a.memory != "" {
		args = append(args, "--memory", a.memory)
	}
	c := exec.CommandContext(ctx, exe, args...)
	c.Stderr = a.err
	out, err := c.Output()
	if err != nil {
		return bench.First{}, err
	}
	var first firstJSON
	err = json.Unmarshal(out, &first)
	return bench.First(first), err
}

// perEvent is how many bytes the parts have for an event, before the store's compression.
func perEvent(s *query.Stats) float64 {
	return float64(s.BaseBytes["events"]) / float64(max(1, s.Events))
}

func (a *app) printBench(o *bench.RunOptions, r *bench.Report) error {
	perProfile := (r.Stats.DiskBytes - r.Stats.LogBytes) / int64(max(1, r.Stats.Profiles))
	if a.json {
		return a.printBenchJSON(o, r, perProfile)
	}
	if len(r.Loads) == 0 {
		return nil // it failed before there was anything to print
	}
	t := a.newTable("load", "#rows", "#time", "#rows/s", "#then folding", "#written per byte")
	for _, l := range r.Loads {
		t.add(l.How, l.Rows, t.micros(l.Took), perSecond(l.Rows, l.Took), t.micros(l.Compact), fmt.Sprintf("%.1f", l.Amplification))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	if err := a.printQuestions(r); err != nil {
		return err
	}
	if err := a.printWrites(r.Writes); err != nil {
		return err
	}
	if err := a.printWire(r); err != nil {
		return err
	}
	t = a.newTable("first in its process", "#opening", "#question", "#runs")
	for _, c := range r.Cold {
		t.add("cold "+c.Name, t.micros(c.Open), t.micros(c.Ask), c.Runs)
	}
	if len(r.Cold) > 0 {
		if err := t.write(a.out); err != nil {
			return err
		}
	}
	f := a.facts()
	f.add("disk", f.bytes(r.Stats.DiskBytes))
	f.add("of it the log's files, used again", f.bytes(r.Stats.LogBytes))
	f.add("bytes per profile without these", perProfile)
	if r.Stats.Events > 0 {
		f.add("bytes per event, in parts", fmt.Sprintf("%.1f", perEvent(&r.Stats)))
	}
	if r.PeakBytes > 0 {
		f.add("largest resident memory", f.bytes(r.PeakBytes))
	}
	f.add("memory budget", f.bytes(r.Stats.MemoryBudget))
	return f.write(a.out)
}

// printQuestions prints the questions beside their rooflines. What those are, a terminal
// is told below the table, others in the help.
func (a *app) printQuestions(r *bench.Report) error {
	t := a.newTable("question", "#p50", "#p95", "#runs", "#count", "#unknown", "#bytes", "#roofline", "#times it", "answer")
	for _, q := range r.Questions {
		remark := ""
		if q.Checked {
			remark = "right"
		}
		if q.PerSec > 0 {
			remark = fmt.Sprintf("%.0f questions/s", q.PerSec)
		}
		var roofline, times any = "", ""
		if least := r.Roofline(q); least > 0 {
			roofline, times = t.micros(least), fmt.Sprintf("%.1f", float64(q.P50)/float64(least))
		}
		t.add(q.Name, t.micros(q.P50), t.micros(q.P95), q.Runs, q.Count, q.Unknown, t.bytes(int64(q.Bytes)), roofline, times, remark)
	}
	if err := t.write(a.out); err != nil || !a.outTerminal || r.Bandwidth <= 0 {
		return err
	}
	_, err := fmt.Fprintf(a.out, "The roofline is the time to stream those bytes from memory, %.1f GB/s here: the best of several sums over 256 MiB\n"+
		"on all processors. Less than 1 times it: the bytes came from a cache.\n", r.Bandwidth/1e9)
	return err
}

func (a *app) printWrites(writes []bench.WriteFigure) error {
	if len(writes) == 0 {
		return nil
	}
	t := a.newTable("durable writes", "#rows/s", "#p50", "#p99", "#written per byte", "#values in head", "#opening")
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
	if err := t.write(a.out); err != nil {
		return err
	}
	t = a.newTable("at half the rate", "#rows/s", "#p50", "#p99", "meanwhile", "#p50", "#p95", "#runs")
	for _, w := range writes {
		if w.Half == nil {
			continue
		}
		for _, q := range w.Half.Questions {
			t.add(w.How, perSecond(w.Half.Rows, w.Half.Took), t.micros(w.Half.P50), t.micros(w.Half.P99), q.Name, t.micros(q.P50), t.micros(q.P95), q.Runs)
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
	Half          *benchHalfJSON      `json:"half,omitempty"`
}

type benchHalfJSON struct {
	RowsPerSecond uint64              `json:"rows_per_second"`
	P50US         float64             `json:"p50_us"`
	P99US         float64             `json:"p99_us"`
	Questions     []benchQuestionJSON `json:"questions"`
}

type benchColdJSON struct {
	Name   string  `json:"name"`
	OpenUS float64 `json:"open_us"`
	P50US  float64 `json:"p50_us"`
	Runs   int     `json:"runs"`
}

type benchLoadJSON struct {
	How           string  `json:"how"`
	Rows          uint64  `json:"rows"`
	ElapsedUS     int64   `json:"elapsed_us"`
	RowsPerSecond uint64  `json:"rows_per_second"`
	CompactUS     int64   `json:"compact_us"`
	Amplification float64 `json:"amplification"`
}

type benchQuestionJSON struct {
	Name       string  `json:"name"`
	P50US      float64 `json:"p50_us"`
	P95US      float64 `json:"p95_us"`
	Runs       int     `json:"runs"`
	Count      uint64  `json:"count"`
	Unknown    uint64  `json:"unknown"`
	Bytes      uint64  `json:"bytes"`
	Checked    bool    `json:"checked"`
	PerSecond  float64 `json:"per_second"`
	RooflineUS float64 `json:"roofline_us"`
}

func (a *app) printBenchJSON(o *bench.RunOptions, r *bench.Report, perProfile int64) error {
	out := struct {
		Profiles   uint64              `json:"profiles"`
		Seed       uint64              `json:"seed"`
		Loads      []benchLoadJSON     `json:"loads"`
		Questions  []benchQuestionJSON `json:"questions"`
		Writes     []benchWriteJSON    `json:"writes"`
		Wire       []benchWireJSON     `json:"wire"`
		Idle       int                 `json:"idle_connections"`
		IdleBytes  int64               `json:"idle_bytes"`
		Cold       []benchColdJSON     `json:"cold"`
		Bandwidth  int64               `json:"bytes_per_second"`
		Disk       int64               `json:"disk_bytes"`
		Log        int64               `json:"log_bytes"`
		PerProfile int64               `json:"bytes_per_profile"`
		Events     uint64              `json:"events"`
		PerEvent   float64             `json:"bytes_per_event,omitempty"`
		Peak       int64               `json:"peak_resident_bytes,omitempty"`
		Budget     int64               `json:"memory_budget"`
	}{Profiles: o.Data.Profiles, Seed: o.Data.Seed, Loads: []benchLoadJSON{}, Questions: questionsJSON(r, r.Questions), Writes: []benchWriteJSON{},
		Wire: wireJSON(r.Wire), Idle: r.Idle.Connections, IdleBytes: r.Idle.Bytes, Cold: []benchColdJSON{}, Bandwidth: int64(r.Bandwidth), Disk: r.Stats.DiskBytes, Log: r.Stats.LogBytes, PerProfile: perProfile, Events: o.Data.Events, PerEvent: perEvent(&r.Stats), Peak: r.PeakBytes, Budget: r.Stats.MemoryBudget}
	for _, l := range r.Loads {
		out.Loads = append(out.Loads, benchLoadJSON{l.How, l.Rows, l.Took.Microseconds(), perSecond(l.Rows, l.Took), l.Compact.Microseconds(), l.Amplification})
	}
	for _, w := range r.Writes {
		j := benchWriteJSON{w.How, perSecond(w.Rows, w.Took), microseconds(w.P50), microseconds(w.P99),
			w.Amplification, w.HeadValues, w.Reopen.Microseconds(), questionsJSON(r, w.Questions), nil}
		if h := w.Half; h != nil {
			j.Half = &benchHalfJSON{perSecond(h.Rows, h.Took), microseconds(h.P50), microseconds(h.P99), questionsJSON(r, h.Questions)}
		}
		out.Writes = append(out.Writes, j)
	}
	for _, c := range r.Cold {
		out.Cold = append(out.Cold, benchColdJSON{c.Name, microseconds(c.Open), microseconds(c.Ask), c.Runs})
	}
	return a.printJSON(out)
}

func questionsJSON(r *bench.Report, figures []bench.Figure) []benchQuestionJSON {
	out := []benchQuestionJSON{}
	for _, q := range figures {
		out = append(out, benchQuestionJSON{q.Name, microseconds(q.P50), microseconds(q.P95),
			q.Runs, q.Count, q.Unknown, q.Bytes, q.Checked, q.PerSec, microseconds(r.Roofline(q))})
	}
	return out
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
