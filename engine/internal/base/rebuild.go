package base

import (
	"context"
	"errors"
	"slices"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// ActRebuild is what making anew what derives from the events of a unit needs.
type ActRebuild struct {
	ActJob // ID is the new generation, Old the unit; of the rest what concerns facts

	// Sums returns the sums of the events of each day of a part.
	Sums func(p *ActPart, source timeline.Source, days []timeline.PartDay) (func(day int32) (content, replica digest.Sum), error)
}

// RebuildActs writes a generation of a unit in which what is kept of the days of its parts,
// its sums and its facts are made of the events anew. A part of which all is right stays.
func RebuildActs(ctx context.Context, store *kv.Store, cache *Cache, job *ActRebuild) (ActResult, error) {
	f := newActFolder(store, cache, &job.ActJob)
	f.unit.Content, f.unit.Replica = digest.Sum{}, digest.Sum{}
	for _, p := range job.Old.Parts {
		if err := ctx.Err(); err != nil {
			return ActResult{}, err
		}
		if err := f.rebuild(p, job); err != nil {
			return ActResult{}, err
		}
	}
	f.unit.dropFacts()
	return f.publish(ctx, f.facts(ctx))
}

// rebuild adds the sums of a part, and makes the part anew if what is kept of its days is
// not that of its events.
func (f *actFolder) rebuild(p *ActPart, job *ActRebuild) error {
	source, err := p.Source()
	if err != nil {
		return err
	}
	days, err := timeline.Check(source)
	if err != nil {
		return p.damaged("events", err)
	}
	sumsOf, err := job.Sums(p, source, days)
	if err != nil {
		return err
	}
	sums := daySums{}
	for i := range days {
		content, replica := sumsOf(days[i].Day)
		sums.of(days[i].Day).add(days[i].Events, content, replica)
		f.unit.Content.Add(content)
		f.unit.Replica.Add(replica)
	}
	if p.CheckDays(days, sumsOf) == nil {
		return nil
	}
	w := timeline.Written{Days: days}
	if w.Header, err = p.cache.store.Get(p.ID.Row(keys.Header, 0)); err != nil {
		return err
	}
	for i := range source.Part.Rows() {
		row, err := source.Row(i)
		if err != nil {
			return err
		}
		w.Rows = append(w.Rows, row)
	}
	f.unit.Parts = slices.DeleteFunc(f.unit.Parts, func(q *ActPart) bool { return q == p })
	return f.add(p.Partition(), w, sums)
}

// RebuildFilters writes the runs that bad names anew, with the filters that their ids come
// to. One whose ids cannot be read stays.
func RebuildFilters(ctx context.Context, store *kv.Store, cache *Cache, old *IDs, bad func(r *IDRun) bool) (IDResult, error) {
	f := &idFolder{store: store, cache: cache, out: IDResult{IDs: &IDs{Folded: old.Folded, Next: old.Next}}}
	err := func() error {
		for _, r := range old.Runs {
			if !bad(r) {
				f.out.IDs.Runs = append(f.out.IDs.Runs, r)
				continue
			}
			run := newIDRun(keys.Run{Day: r.ID.Day, Number: f.out.IDs.Next}, r.IDs, cache)
			f.out.IDs.Next++
			if err := f.write(ctx, run, []*idCursor{{run: r}}); errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				last := len(f.tables) - 1
				if err := f.tables[last].Discard(); err != nil {
					return err
				}
				f.tables, f.out.IDs.Runs = f.tables[:last], append(f.out.IDs.Runs, r)
				continue
			} else if err != nil {
				return err
			}
			f.out.IDs.Runs, f.out.Gone = append(f.out.IDs.Runs, run), append(f.out.Gone, r)
		}
		slices.SortFunc(f.out.IDs.Runs, compareRuns)
		return f.finish()
	}()
	if err != nil {
		for _, t := range f.tables {
			err = joinDiscard(t, err)
		}
		return IDResult{}, err
	}
	return f.out, store.Ingest(ctx, f.tables...)
}
