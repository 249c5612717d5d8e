package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/query"
)

// demoRuns is how often the demonstration asks each question: it shows the median.
const demoRuns = 7

// demoPatience is how long it goes on with one question: one that is computed person by
// person takes a second.
const demoPatience = time.Second

func newDemo(a *app) *cobra.Command {
	var profiles uint64
	var keep string
	c := &cobra.Command{
		Use:   "demo",
		Short: "A million made-up people: load them and what they did, ask about them",
		Long: `Make up a million people as a CSV file, load them, and ask a dozen questions of growing
difficulty; then make up two million events, things that these people did, and ask about
those. Where the generator has counted the right answer, the answer is compared with it.
Everything happens in a temporary directory, which is removed.

If the environment variable KANTA_REFDATA names a folder of reference data, the same is
done with people of published data sets in it, febrl/dataset1.csv and
completejourney/demographics.csv.gz, and with what people did,
online_retail/online_retail.csv.zst and ecom_clickstream/ecom.csv.gz: the answers are
compared with the figures that were published of them.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if a.json {
				return usagef("the demonstration is for people; kanta bench --json measures")
			}
			dir, err := os.MkdirTemp("", "kanta-demo-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			people := *a
			people.outTerminal = true // it is read by people, in a log too
			d := &demo{app: &people, dir: dir, store: filepath.Join(dir, "store")}
			if keep != "" {
				d.store = keep
			}
			if err := d.madeUp(c.Context(), profiles); err != nil {
				return err
			}
			if keep != "" {
				fmt.Fprintf(a.out, "\nThe store is kept: try kanta --db %s breakdown 'plan == \"premium\"' --by country\n", keep)
			}
			return d.published(c.Context())
		},
	}
	c.Flags().Uint64Var(&profiles, "profiles", 1_000_000, "how many people to make up")
	c.Flags().StringVar(&keep, "keep", "", "keep the store in this directory, which must not exist yet")
	return c
}

// demo is one run of the demonstration.
type demo struct {
	*app
	dir   string // for everything temporary
	store string
}

func (d *demo) title(format string, args ...any) {
	fmt.Fprintf(d.out, "\n"+format+"\n", args...)
}

// madeUp demonstrates with people of the generator.
func (d *demo) madeUp(ctx context.Context, profiles uint64) error {
	if entries, err := os.ReadDir(d.store); err == nil && len(entries) > 0 {
		return usagef("--keep %s: there is something already; name a directory that does not exist", d.store)
	}
	d.title("1. Making up %s people with %d attributes", count(profiles), bench.NumAttributes)
	file := filepath.Join(d.dir, "customers.csv")
	expected, err := d.generate(ctx, file, profiles)
	if err != nil {
		return err
	}
	d.title("2. Loading them: kanta load profiles customers.csv --key key")
	s, err := d.openDir(d.store, true)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := d.load(ctx, s, file, "key"); err != nil {
		return err
	}
	if err := d.settle(ctx, s, file); err != nil {
		return err
	}
	if err := saveLoyal(ctx, s); err != nil {
		return err
	}
	d.title("3. Asking (the median of %d runs, as of %s)", demoRuns, bench.Now().Format(time.DateOnly))
	asked := query.Options{Now: bench.Now()}
	if err := d.ask(ctx, s, madeUpQuestions(), &expected, &asked); err != nil {
		return err
	}
	q2, _ := expected.Answer("Q2")
	if err := d.look(ctx, s, &asked); err != nil {
		return err
	}
	if err := d.breakdown(ctx, s, question("Q2"), "city", 10, &asked, q2.True); err != nil {
		return err
	}
	if err := d.behaviour(ctx, s, profiles, &asked); err != nil {
		return err
	}
	return d.size(ctx, s)
}

// generate writes the people of the generator to a file.
func (d *demo) generate(ctx context.Context, file string, profiles uint64) (expected bench.Expected, err error) {
	start := time.Now()
	g := bench.New(bench.Options{Profiles: profiles, WithAbsent: true})
	if expected, err = g.WriteCSVFile(ctx, file); err != nil {
		return expected, err
	}
	return expected, d.written(file, start)
}

// written tells of a file that was made.
func (d *demo) written(file string, start time.Time) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%s: %s in %s\n", filepath.Base(file), shortBytes(info.Size()), shortDuration(time.Since(start)))
	return nil
}

// load loads a file as kanta load profiles would.
func (d *demo) load(ctx context.Context, s store, file, key string) error {
	return d.loadRows(ctx, s, file, &loadFlags{rowFlags: rowFlags{key: key, separator: "|"}, empty: "keep", zone: "UTC"}, nil)
}

func (d *demo) loadRows(ctx context.Context, s store, file string, f *loadFlags, events *quality.EventColumns) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Events = events
	l := &load{app: d.app, store: s, flags: f, options: o}
	return l.files(ctx, []string{file})
}

// settle ends the loading of a file: the store has it now, and the disk may be small. Nor
// must folding go on while questions are timed.
func (d *demo) settle(ctx context.Context, s store, file string) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return s.Compact(ctx)
}

// saveLoyal saves a segment that a question is about.
func saveLoyal(ctx context.Context, s store) error {
	b := batch.New()
	b.SaveSegment("loyal", `loyalty_tier in ["gold", "platinum"] && support_tickets == 0`)
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, encoded)
	return err
}

// demoEvents is how many events each of the people has: enough to ask about, and loaded in
// the time that the people take.
const demoEvents = 2

// behaviour demonstrates with what the people of the generator did.
func (d *demo) behaviour(ctx context.Context, s store, profiles uint64, o *query.Options) error {
	g := bench.New(bench.Options{Profiles: profiles, Events: demoEvents * profiles, WithAbsent: true})
	d.title("What they did: making up %s events of %d types, in the 90 days before", count(g.Options().Events), bench.NumEventTypes)
	file := filepath.Join(d.dir, "events.csv")
	start := time.Now()
	if err := g.WriteEventsCSVFile(ctx, file, 0, g.Options().Events, false); err != nil {
		return err
	}
	if err := d.written(file, start); err != nil {
		return err
	}
	d.title("Loading it: kanta load events events.csv --profile profile --event event --time time")
	f := &loadFlags{rowFlags: rowFlags{events: true, key: "profile", separator: "|"}, zone: "UTC"}
	if err := d.loadRows(ctx, s, file, f, &quality.EventColumns{Event: "event", Time: "time"}); err != nil {
		return err
	}
	if err := d.settle(ctx, s, file); err != nil {
		return err
	}
	d.title("Asking about it")
	expected, known := bench.Expected{Answers: g.Behaviour().Answers()}, map[string]string{}
	for _, q := range bench.EventQuestions() {
		known[q.Name] = q.Text
	}
	return d.ask(ctx, s, []demoQuestion{
		{"", `app_open.in_last(days(7)).count() >= 3 && !push_opt_in`},
		{"Q8", known["Q8"]},
		{"", `purchase.last().ts < now - days(60) && plan in ["premium", "enterprise"]`},
		{"Q9", known["Q9"]},
		{"Q10", known["Q10"]},
		{"Q11", known["Q11"]},
		{"", `app_open.in_last(days(28)).distinct_days("Europe/Rome") >= 7 && "i3" in interests`},
		{"Q12", known["Q12"]},
	}, &expected, o)
}

func (d *demo) size(ctx context.Context, s store) error {
	st, err := s.Stats(ctx)
	if err != nil || st.Profiles == 0 {
		return err
	}
	data := st.DiskBytes - st.LogBytes
	fmt.Fprintf(d.out, "\nThe store takes %s on disk, %d bytes per person, and %s for its log, which is used again.\n", shortBytes(data), data/int64(st.Profiles), shortBytes(st.LogBytes))
	return nil
}

// demoQuestion is a question with its name in the workload, if its answer is known.
type demoQuestion struct{ known, text string }

func madeUpQuestions() []demoQuestion {
	return []demoQuestion{
		{"Q1", question("Q1")},
		{"", `age < 25`},
		{"", `plan != "free" && !has(p.age)`},
		{"", `"i3" in interests`},
		{"", `city.startsWith("DE-") && gender != "male"`},
		{"Q2", question("Q2")},
		{"", `signup_date >= today("UTC") - days(30) && support_tickets >= 2`},
		{"", `double(ltv) * 0.1 > double(age) ? push_opt_in : email_opt_in`},
		{"Q4", question("Q4")},
		{"Q5", question("Q5")},
		{"", `in_segment("loyal") && acquisition_channel in ["referral", "partner"]`},
		{"Q3", question("Q3")},
	}
}

// question returns a question of the workload by name.
func question(name string) string {
	for _, q := range bench.Questions() {
		if q.Name == name {
			return q.Text
		}
	}
	return ""
}

// ask asks questions one after the other and compares answers with those that are known.
func (d *demo) ask(ctx context.Context, s store, questions []demoQuestion, expected *bench.Expected, o *query.Options) error {
	right := 0
	for i, q := range questions {
		n, took, err := median(ctx, s, q.text, o)
		if err != nil {
			return err
		}
		remark := ""
		if q.known != "" {
			known, _ := expected.Answer(q.known)
			if n.Count != known.True || n.Unknown != known.Unknown {
				return query.Errorf(query.CodeInternal, "%s answers %d and %d unknown; right is %d and %d", q.text, n.Count, n.Unknown, known.True, known.Unknown)
			}
			remark = "   as the generator counted"
			right++
		}
		noun := "people"
		if n.Count == 1 {
			noun = "person"
		}
		fmt.Fprintf(d.out, "%2d. %s\n      %12s %s, %s unknown   %s%s\n", i+1, q.text, count(n.Count), noun, count(n.Unknown), shortDuration(took), remark)
	}
	if expected != nil {
		fmt.Fprintf(d.out, "%d of these answers were counted where the data was made up, without Kanta: all of them are right.\n", right)
	}
	return nil
}

// median asks a question several times.
func median(ctx context.Context, s store, text string, o *query.Options) (n query.Count, took time.Duration, err error) {
	var times []time.Duration
	for total := time.Duration(0); len(times) < demoRuns && total < demoPatience; total += n.Elapsed {
		if n, err = s.Count(ctx, text, o); err != nil {
			return n, 0, err
		}
		times = append(times, n.Elapsed)
	}
	slices.Sort(times)
	return n, times[len(times)/2], nil
}

// look shows two plans.
func (d *demo) look(ctx context.Context, s store, o *query.Options) error {
	for _, name := range []string{"Q2", "Q3"} {
		text := question(name)
		d.title("How it was answered: kanta plan '%s'", text)
		p, err := s.Plan(ctx, text, o)
		if err != nil {
			return err
		}
		if err := d.printPlan(&p); err != nil {
			return err
		}
	}
	return nil
}

// breakdown shows a breakdown; people is how many it must add up to.
func (d *demo) breakdown(ctx context.Context, s store, text, by string, top int, o *query.Options, people uint64) error {
	d.title("Who they are: kanta breakdown '%s' --by %s --top %d", text, by, top)
	b, err := s.Breakdown(ctx, text, by, &query.BreakdownOptions{Options: *o, Top: top})
	if err != nil {
		return err
	}
	t := d.newTable("", "#")
	for i := range b.Rows {
		t.add(valueOrNone(b.Rows[i].Value), b.Rows[i].Count)
	}
	if b.OtherValues > 0 {
		t.add(fmt.Sprintf("(%d others)", b.OtherValues), b.Other)
	}
	t.add("people", b.People)
	if err := t.write(d.out); err != nil {
		return err
	}
	if b.People != people {
		return query.Errorf(query.CodeInternal, "the breakdown has %d people; right is %d", b.People, people)
	}
	return nil
}
