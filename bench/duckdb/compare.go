package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/query"
)

// comparison is one run: the two stores, then what was measured.
type comparison struct {
	settings
	g          *bench.Generator
	expected   bench.Expected // empty for a given file
	kanta      bench.Asker
	duck       *duck
	steps      []step
	kantaBytes int64
	duckBytes  int64
	figures    []figure
	version    string // of DuckDB, with its threads
}

// step is a part of loading.
type step struct {
	who, what string
	took      time.Duration
}

// figure is what one question took.
type figure struct {
	name                string
	kanta50, kanta95    time.Duration
	duck50, duck95      time.Duration
	ratio               float64 // DuckDB by Kanta: the median of the pairs
	count, unknown      uint64
	kantaRate, duckRate float64 // of MIX8, questions per second
}

func (c *comparison) close() error {
	var err error
	if c.kanta.Store != nil {
		err = c.kanta.Store.Close()
	}
	if c.duck != nil {
		err = errors.Join(err, c.duck.close())
	}
	return err
}

// pair is a question for both. The number of the asking draws what it is about.
type pair struct {
	name        string
	kanta, duck func(ctx context.Context, i uint64) (bench.Answer, error)
}

func (c *comparison) ask(ctx context.Context) error {
	version, threads, err := c.duck.version(ctx)
	if err != nil {
		return err
	}
	c.version = version + " with " + threads + " threads"
	for _, q := range bench.Questions() {
		progress("asking " + q.Name)
		var err error
		switch q.Kind {
		case bench.AskCount, bench.AskBreakdown, bench.AskMembers:
			err = c.askAbout(ctx, q)
		case bench.AskSegments:
			err = c.askProfiles(ctx, q)
		case bench.AskMix:
			err = c.askMix(ctx, q)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	if c.data.Events == 0 {
		return nil
	}
	for k, q := range bench.EventQuestions() {
		progress("asking " + q.Name)
		if err := c.askEvents(ctx, k, q.Name); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	for k, q := range c.g.AnalysisQuestions(0) {
		progress("asking " + q.Name)
		if err := c.askAnalysis(ctx, k, q.Name); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	progress("asking Q16")
	return c.askRecent(ctx)
}

// askAnalysis measures analysis k, with other constants each time and those of the workload
// last.
func (c *comparison) askAnalysis(ctx context.Context, k int, name string) error {
	last := uint64(bench.WarmUps + c.runs - 1)
	return c.measure(ctx, pair{
		name,
		func(ctx context.Context, i uint64) (bench.Answer, error) {
			return c.kanta.Analysis(ctx, c.g.AnalysisQuestions(last - i)[k])
		},
		func(ctx context.Context, i uint64) (a bench.Answer, err error) {
			a.Lines, err = c.duck.lines(ctx, c.g.AnalysisQuestions(last - i)[k].SQL)
			a.Count = uint64(len(a.Lines))
			return a, err
		},
	}, 0)
}

// comparedEvents is how many of a question's conditions are compared before, with the
// unknown people.
const comparedEvents = 3

// askEvents measures question k of those about events, with other constants each time and
// those of the workload last.
func (c *comparison) askEvents(ctx context.Context, k int, name string) error {
	for i := range uint64(comparedEvents) {
		if _, err := c.same(ctx, c.g.EventQuestions(i)[k].Condition); err != nil {
			return err
		}
	}
	last := uint64(bench.WarmUps + c.runs - 1)
	return c.measure(ctx, pair{
		name,
		func(ctx context.Context, i uint64) (bench.Answer, error) {
			return c.kanta.Count(ctx, c.g.EventQuestions(last - i)[k].Text)
		},
		func(ctx context.Context, i uint64) (a bench.Answer, err error) {
			a.Count, err = c.duck.count(ctx, c.g.EventQuestions(last - i)[k].SQL)
			return a, err
		},
	}, 0)
}

// askRecent reads profiles with their last events, a random one each time.
func (c *comparison) askRecent(ctx context.Context) error {
	return c.measure(ctx, pair{
		"Q16",
		func(ctx context.Context, i uint64) (bench.Answer, error) { return c.kanta.Recent(ctx, c.g.AnyKey(i)) },
		func(ctx context.Context, i uint64) (a bench.Answer, err error) {
			if _, err = c.duck.profile(ctx, c.g.AnyKey(i)); err == nil {
				a.Count, err = c.duck.recent(ctx, c.g.AnyKey(i), bench.RecentEvents)
			}
			return a, err
		},
	}, 0)
}

// askAbout measures the questions about one condition.
func (c *comparison) askAbout(ctx context.Context, q bench.Question) error {
	right, err := c.same(ctx, q.Condition)
	if err != nil {
		return err
	}
	if known, ok := c.expected.Answer(q.Name); ok && (known.True != right.Count || known.Unknown != right.Unknown) {
		return fmt.Errorf("both say %d people and %d unknown; the generator counted %d and %d", right.Count, right.Unknown, known.True, known.Unknown)
	}
	pairs := map[bench.QuestionKind][]pair{
		bench.AskCount: {{
			q.Name,
			func(ctx context.Context, _ uint64) (bench.Answer, error) { return c.kanta.Count(ctx, q.Text) },
			func(ctx context.Context, _ uint64) (a bench.Answer, err error) {
				a.Count, err = c.duck.count(ctx, q.SQL)
				return a, err
			},
		}},
		bench.AskBreakdown: {{
			q.Name,
			func(ctx context.Context, _ uint64) (bench.Answer, error) { return c.kanta.Breakdown(ctx, q) },
			func(ctx context.Context, _ uint64) (a bench.Answer, err error) {
				a.Count = right.Count // the rows do not say
				a.Rows, err = c.duck.breakdown(ctx, q)
				return a, err
			},
		}},
		bench.AskMembers: {{
			q.Name + " ids",
			func(ctx context.Context, _ uint64) (bench.Answer, error) { return c.kanta.IDs(ctx, q.Text) },
			func(ctx context.Context, _ uint64) (a bench.Answer, err error) {
				a.Count, err = c.duck.ids(ctx, q.SQL)
				return a, err
			},
		}, {
			q.Name + " keys",
			func(ctx context.Context, _ uint64) (bench.Answer, error) { return c.kanta.Keys(ctx, q.Text) },
			func(ctx context.Context, _ uint64) (a bench.Answer, err error) {
				a.Keys, err = c.duck.keys(ctx, q.SQL)
				a.Count = uint64(bytes.Count(a.Keys, []byte{'\n'}))
				return a, err
			},
		}},
	}
	for _, p := range pairs[q.Kind] {
		if err := c.measure(ctx, p, right.Unknown); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// same asks both how many people satisfy a condition and for how many it is unknown, and
// wants one answer.
func (c *comparison) same(ctx context.Context, condition bench.Condition) (bench.Answer, error) {
	a, err := c.kanta.Count(ctx, condition.Text)
	if err != nil {
		return a, fmt.Errorf("kanta: %w", err)
	}
	count, err := c.duck.count(ctx, condition.SQL)
	if err != nil {
		return a, fmt.Errorf("duckdb: %w", err)
	}
	unknown, err := c.duck.unknown(ctx, condition.SQL)
	if err != nil {
		return a, fmt.Errorf("duckdb: %w", err)
	}
	if a.Count != count || a.Unknown != unknown {
		return a, fmt.Errorf("kanta says %d people and %d unknown, DuckDB %d and %d, of\n%s\n%s", a.Count, a.Unknown, count, unknown, condition.Text, condition.SQL)
	}
	return a, nil
}

// measure asks both in turn and compares every answer.
func (c *comparison) measure(ctx context.Context, p pair, unknown uint64) error {
	var took [2][]time.Duration
	var ratios []float64
	f := figure{name: p.name, unknown: unknown}
	asks := [2]func(context.Context, uint64) (bench.Answer, error){p.kanta, p.duck}
	for i := range bench.WarmUps + c.runs {
		var answers [2]bench.Answer
		var now [2]time.Duration
		for k := range asks {
			who := (i + k) % 2
			start := time.Now()
			a, err := asks[who](ctx, uint64(i))
			if err != nil {
				return fmt.Errorf("%s: %w", [2]string{"kanta", "duckdb"}[who], err)
			}
			now[who], answers[who] = time.Since(start), a
		}
		if err := differ(answers[0], answers[1]); err != nil {
			return err
		}
		f.count = answers[0].Count
		if i >= bench.WarmUps {
			took[0], took[1] = append(took[0], now[0]), append(took[1], now[1])
			ratios = append(ratios, float64(now[1])/float64(now[0]))
		}
	}
	f.kanta50, f.kanta95 = bench.Percentiles(took[0])
	f.duck50, f.duck95 = bench.Percentiles(took[1])
	f.ratio = median(ratios)
	c.figures = append(c.figures, f)
	return nil
}

func median(ratios []float64) float64 {
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// differ says how two answers differ in what both have.
func differ(kanta, duck bench.Answer) error {
	switch {
	case kanta.Count != duck.Count:
		return fmt.Errorf("kanta says %d, DuckDB %d", kanta.Count, duck.Count)
	case !slices.Equal(kanta.Rows, duck.Rows):
		return fmt.Errorf("kanta's rows are %v, DuckDB's %v", kanta.Rows, duck.Rows)
	case !slices.Equal(kanta.Lines, duck.Lines):
		return fmt.Errorf("kanta's lines are %q, DuckDB's %q", kanta.Lines, duck.Lines)
	case !bytes.Equal(kanta.Keys, duck.Keys):
		return fmt.Errorf("the keys differ: %d bytes of Kanta, %d of DuckDB", len(kanta.Keys), len(duck.Keys))
	}
	return nil
}

// askProfiles reads profiles, a random one each time: first their values, then the
// segments they are in.
func (c *comparison) askProfiles(ctx context.Context, q bench.Question) error {
	kanta := func(ctx context.Context, i uint64) (bench.Answer, error) { return c.kanta.Profile(ctx, c.g.AnyKey(i)) }
	values := func(ctx context.Context, i uint64) (bench.Answer, error) {
		_, err := c.duck.profile(ctx, c.g.AnyKey(i))
		return bench.Answer{}, err
	}
	if err := c.measure(ctx, pair{"profile", kanta, values}, 0); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := c.g.SaveSegments(ctx, c.kanta.Store, c.segments); err != nil {
		return err
	}
	for i := range uint64(bench.WarmUps + c.runs) {
		if err := c.sameProfile(ctx, c.g.AnyKey(i)); err != nil {
			return err
		}
	}
	segments := func(ctx context.Context, i uint64) (bench.Answer, error) {
		names, err := c.duck.segmentsOf(ctx, c.g.AnyKey(i))
		return bench.Answer{Count: uint64(len(names))}, err
	}
	return c.measure(ctx, pair{q.Name, kanta, segments}, 0)
}

// sameProfile wants the same values of a profile from both, and the same segments.
func (c *comparison) sameProfile(ctx context.Context, key string) error {
	p, err := c.kanta.Store.Profile(ctx, key, &query.ProfileOptions{Options: query.Options{Now: bench.Now()}})
	if err != nil {
		return fmt.Errorf("kanta: %w", err)
	}
	duck, err := c.duck.profile(ctx, key)
	if err != nil {
		return fmt.Errorf("duckdb: %w", err)
	}
	const set = "interests" // an empty one is no value in Kanta's profile
	kanta := map[string]string{"key": p.Key, set: ""}
	for _, v := range p.Values {
		kanta[v.Name] = v.Value.String()
		if v.Name == set {
			kanta[set] = elements(strings.Join(v.Value.Elements(), ", "))
		}
	}
	duck[set] = elements(strings.Trim(duck[set], "[]"))
	if !maps.Equal(kanta, duck) {
		return fmt.Errorf("%s is %v for Kanta, %v for DuckDB", key, kanta, duck)
	}
	names, err := c.duck.segmentsOf(ctx, key)
	if err != nil {
		return fmt.Errorf("duckdb: %w", err)
	}
	if !slices.Equal(p.Segments, names) {
		return fmt.Errorf("%s is in the segments %v for Kanta, %v for DuckDB", key, p.Segments, names)
	}
	return nil
}

// elements sorts a list of them: a set has no order.
func elements(list string) string {
	each := strings.Split(list, ", ")
	slices.Sort(each)
	return strings.Join(each, ", ")
}

// mixRounds is how often each is asked MIX8, for a part of the time, in turn.
const mixRounds = 4

// mixCompared is how many questions of MIX8 are compared before.
const mixCompared = 16

func (c *comparison) askMix(ctx context.Context, q bench.Question) error {
	for i := range uint64(mixCompared) {
		if _, err := c.same(ctx, c.g.Mix(i)); err != nil {
			return err
		}
	}
	asks := [2]func(context.Context, bench.Condition) error{
		func(ctx context.Context, q bench.Condition) error { _, err := c.kanta.Count(ctx, q.Text); return err },
		func(ctx context.Context, q bench.Condition) error { _, err := c.duck.count(ctx, q.SQL); return err },
	}
	var took [2][]time.Duration
	var elapsed [2]time.Duration
	var ratios []float64
	for round := range mixRounds {
		var rates [2]float64
		for k := range asks {
			who := (round + k) % 2
			each, all, err := c.g.AskMix(ctx, uint64(round)<<32, c.mix/2/mixRounds, asks[who])
			if err != nil {
				return err
			}
			rates[who] = float64(len(each)) / all.Seconds()
			took[who] = append(took[who], each...)
			elapsed[who] += all
		}
		ratios = append(ratios, rates[0]/rates[1])
	}
	f := figure{name: q.Name, ratio: median(ratios)}
	f.kantaRate, f.duckRate = float64(len(took[0]))/elapsed[0].Seconds(), float64(len(took[1]))/elapsed[1].Seconds()
	f.kanta50, f.kanta95 = bench.Percentiles(took[0])
	f.duck50, f.duck95 = bench.Percentiles(took[1])
	c.figures = append(c.figures, f)
	return nil
}

func (c *comparison) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "question\tKanta p50 ms\tp95\tDuckDB p50 ms\tp95\tDuckDB/Kanta\tpeople\tunknown\t\n")
	for _, f := range c.figures {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.1f\t%d\t%d\t\n", f.name, millis(f.kanta50), millis(f.kanta95), millis(f.duck50), millis(f.duck95), f.ratio, f.count, f.unknown)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range c.figures {
		if f.kantaRate > 0 {
			fmt.Fprintf(w, "%s, questions per second: Kanta %.0f, DuckDB %.1f\n", f.name, f.kantaRate, f.duckRate)
		}
	}
	for _, s := range c.steps {
		fmt.Fprintf(w, "%s: %s, %.2f s\n", s.who, s.what, s.took.Seconds())
	}
	_, err := fmt.Fprintf(w, "on disk, MiB: Kanta %.0f, DuckDB %.0f\n"+
		"All answers were the same. %d people, %d events, seed %d, %d askings of each question; DuckDB %s.\n"+
		"DuckDB/Kanta: the median of the ratios of pairs asked one after the other; of MIX8, of the rates of %d rounds.\n",
		float64(c.kantaBytes)/(1<<20), float64(c.duckBytes)/(1<<20), c.data.Profiles, c.data.Events, c.data.Seed, c.runs, c.version, mixRounds)
	return err
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Nanoseconds())/1e6) }
