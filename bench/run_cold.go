package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// First is what the first question to a store took.
type First struct {
	Open           time.Duration // opening the store
	Ask            time.Duration // then, the question
	Count, Unknown uint64
}

// AskFirstFunc does in a new process what [AskFirst] does.
type AskFirstFunc func(ctx context.Context, dir, question string) (First, error)

// ColdFigure is a question that is the first one in its process, the store's files not
// in the page cache. The durations are medians.
type ColdFigure struct {
	Name string
	Open time.Duration
	Ask  time.Duration
	Runs int
}

// coldRuns is how often each cold question is asked, each time by a new process.
const coldRuns = 3

// probes names a question of few conditions and one of many, for where there is no time for
// all; with events, also one that folds and one that takes events in their order.
func (r *runner) probes() []string {
	if r.Data.Events > 0 {
		return []string{"Q2", "Q3", "Q9", "Q12"}
	}
	return []string{"Q2", "Q3"}
}

// questionNamed returns the condition of a question that counts by its name; the Text is
// empty if there is none.
func questionNamed(name string) Condition {
	for _, q := range Questions() {
		if q.Name == name && q.Kind == AskCount {
			return q.Condition
		}
	}
	for _, q := range EventQuestions() {
		if q.Name == name {
			return q.Condition
		}
	}
	return Condition{}
}

// AskFirst drops a store's files from the page cache, opens it, asks the question with
// a name, and closes it. It needs a system for which that can be done.
func AskFirst(ctx context.Context, open func(dir string) (Store, error), dir, question string) (f First, err error) {
	q := questionNamed(question)
	if q.Text == "" {
		return f, fmt.Errorf("there is no question %q that counts", question)
	}
	if err := dropCache(dir); err != nil {
		return f, fmt.Errorf("drop %s from the page cache: %w", dir, err)
	}
	start := time.Now()
	s, err := open(dir)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f.Open = time.Since(start)
	start = time.Now()
	a, err := Asker{Store: s}.Count(ctx, q.Text)
	f.Ask, f.Count, f.Unknown = time.Since(start), a.Count, a.Unknown
	return f, err
}

// cold closes the store and asks the cold questions; their answers must be those of the
// store. It returns what stands for the closed store.
func (r *runner) cold(ctx context.Context, s Store) (Store, error) {
	var right []Answer
	for _, name := range r.probes() {
		a, err := Asker{Store: s}.Count(ctx, questionNamed(name).Text)
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		right = append(right, a)
	}
	if err := s.Close(); err != nil {
		return closed{}, err
	}
	for i, name := range r.probes() {
		r.Progress("asking " + name + " in a new process")
		if err := r.coldQuestion(ctx, name, right[i]); err != nil {
			return closed{}, fmt.Errorf("%s in a new process: %w", name, err)
		}
	}
	return closed{}, nil
}

func (r *runner) coldQuestion(ctx context.Context, name string, right Answer) error {
	var opens, asks []time.Duration
	for range coldRuns {
		first, err := r.First(ctx, filepath.Join(r.Dir, "csv"), name)
		if err != nil {
			return err
		}
		if first.Count != right.Count || first.Unknown != right.Unknown {
			return fmt.Errorf("%d people and %d unknown; right is %d and %d", first.Count, first.Unknown, right.Count, right.Unknown)
		}
		opens, asks = append(opens, first.Open), append(asks, first.Ask)
	}
	f := ColdFigure{Name: name, Runs: coldRuns}
	f.Open, _ = Percentiles(opens)
	f.Ask, _ = Percentiles(asks)
	r.report.Cold = append(r.report.Cold, f)
	return nil
}
