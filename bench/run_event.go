package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
)

// checkedEvents is up to how many events the answers about them are compared with
// Behaviour: it goes through all of them for each asking.
const checkedEvents = 200_000

// eventLoads are the ways of loading events that are measured besides that of the store
// which is asked.
func eventLoads() []eventLoad {
	return []eventLoad{
		{how: "events, batches of 1,000", rows: 1000},
		{how: "events, batches of 5,000", rows: 5000},
		{how: "events with ids, batches of 1,000", rows: 1000, ids: true},
		{how: "events with ids, batches of 5,000", rows: 5000, ids: true},
		{how: "events with ids, csv", ids: true},
	}
}

type eventLoad struct {
	how  string
	rows uint64 // of a batch; 0: from a CSV file
	ids  bool
}

// loadEventBatches loads the events into a store of the profiles, a part of them in each of
// the ways: first the oldest, as they come.
func (r *runner) loadEventBatches(ctx context.Context, s Store) error {
	loads := eventLoads()
	n := uint64(len(loads))
	for i, l := range loads {
		r.Progress("loading " + l.how)
		first, end := r.Data.Events*uint64(i)/n, r.Data.Events*uint64(i+1)/n
		var err error
		if l.rows == 0 {
			err = r.loadEventCSV(ctx, s, l.how, first, end, l.ids)
		} else {
			err = r.load(ctx, s, l.how, end-first, func() error { return r.applyAll(ctx, s, first, end, l.rows, r.g.eventFiller(l.ids)) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *Generator) eventFiller(ids bool) filler {
	return func(b *batch.Builder) func(number uint64) {
		fill := g.NewEventFiller(b, ids)
		var e Event
		return func(number uint64) {
			g.Event(number, &e)
			fill.Add(&e)
		}
	}
}

// loadEventCSV writes events to a file and loads it.
func (r *runner) loadEventCSV(ctx context.Context, s Store, how string, first, end uint64, ids bool) (err error) {
	r.Progress("writing the CSV file of events")
	file := filepath.Join(r.Dir, "events.csv")
	if err := r.g.WriteEventsCSVFile(ctx, file, first, end, ids); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	r.Progress("loading from the CSV file of events")
	return r.load(ctx, s, how, end-first, func() error { return r.g.LoadEventsCSVFile(ctx, s, file, ids) })
}

// WriteEventsCSVFile is WriteEventsCSV into a new file.
func (g *Generator) WriteEventsCSVFile(ctx context.Context, name string, first, end uint64, ids bool) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := g.WriteEventsCSV(ctx, w, first, end, ids); err != nil {
		return err
	}
	return w.Flush()
}

// LoadEventsCSVFile loads what WriteEventsCSVFile wrote into a store that has the schema.
func (g *Generator) LoadEventsCSVFile(ctx context.Context, s Store, name string, ids bool) error {
	columns := quality.EventColumns{Event: "event", Time: "time"}
	if ids {
		columns.ID = "id"
	}
	return g.loadFile(ctx, s, name, quality.LoadOptions{Key: "profile", File: name, Events: &columns})
}

// askEvents asks the questions about events, with other constants each time, and then for
// what the last events of a profile are.
func (r *runner) askEvents(ctx context.Context, a Asker) error {
	var b *Behaviour
	if r.Data.Events <= checkedEvents {
		r.Progress("computing what the questions about events must answer")
		b = r.g.Behaviour()
	}
	for k, q := range EventQuestions() {
		r.Progress("asking " + q.Name)
		ask := func(ctx context.Context, i uint64) (Answer, error) {
			return a.Count(ctx, r.g.EventQuestions(i)[k].Text)
		}
		var right func(i uint64) Known
		if b != nil {
			right = func(i uint64) Known { return b.Answer(r.g.EventQuestions(i)[k]) }
		}
		if err := r.measure(ctx, q.Name, ask, right); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	if err := r.askAnalyses(ctx, a, b); err != nil {
		return err
	}
	r.Progress("asking Q16")
	ask := func(ctx context.Context, i uint64) (Answer, error) { return a.Recent(ctx, r.g.AnyKey(i)) }
	var right func(i uint64) Known
	if b != nil {
		right = func(i uint64) Known { return Known{True: min(RecentEvents, uint64(len(b.Of(r.g.anyProfile(i)))))} }
	}
	for _, name := range []string{"Q16", "Q16 again"} { // the same people, whose blocks are in memory then
		if err := r.measure(ctx, name, ask, right); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// askAnalyses asks the analyses of the workload.
func (r *runner) askAnalyses(ctx context.Context, a Asker, b *Behaviour) error {
	for k, q := range r.g.AnalysisQuestions(0) {
		r.Progress("asking " + q.Name)
		ask := func(ctx context.Context, i uint64) (Answer, error) {
			q := r.g.AnalysisQuestions(i)[k]
			answer, err := a.Analysis(ctx, q)
			if err == nil && b != nil {
				if right := b.Lines(q); !slices.Equal(answer.Lines, right) {
					err = fmt.Errorf("the answer is %q; right is %q", answer.Lines, right)
				}
			}
			return answer, err
		}
		if err := r.measure(ctx, q.Name, ask, nil); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
		r.report.Questions[len(r.report.Questions)-1].Checked = b != nil
	}
	return nil
}
