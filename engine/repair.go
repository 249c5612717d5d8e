package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// rebuildEntries is how many entries of an index are sorted at a time when it is made anew,
// in 16 bytes each: the values are read once for so many of them.
const rebuildEntries = 1 << 22

// Repair makes anew what derives from the columns and the events where it is damaged, or not
// what derives from them: fragments, counts and sums, what is kept of days, lifetime facts,
// filters of ids, indexes. Nothing else is touched: a column, an event, a dictionary, the log
// are to be restored from a backup. It goes from unit to unit, verifies each as [DB.Check]
// does, and publishes what it has made as a new generation while reads and writes go on; who
// ends it and begins again finds whole what was mended. progress may be nil; it is called
// from Repair's goroutine. Damage is in the report, not in the error.
func (db *DB) Repair(ctx context.Context, progress func(done, total uint64, what string)) (query.RepairReport, error) {
	var out query.RepairReport
	if db.opt.ReadOnly {
		return out, query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	if progress == nil {
		progress = func(uint64, uint64, string) {}
	}
	steps, err := read(ctx, db, func(n *snapshot) ([]repairStep, error) { return repairSteps(db, n.s), nil })
	if err != nil {
		return out, err
	}
	for i, step := range steps {
		progress(uint64(i), uint64(len(steps)), step.what)
		found := &mending{db: db}
		if err := db.compactor.have(ctx, func(ctx context.Context) error { return found.run(ctx, step) }); err != nil {
			return out, err
		}
		out.Mended = append(out.Mended, found.mended...)
		out.Beyond = append(out.Beyond, found.beyond...)
	}
	err = db.compactor.have(ctx, func(context.Context) error {
		db.opt.Repair = false // nobody but the compactor reads it
		return nil
	})
	if err != nil {
		return out, err
	}
	db.compactor.wake()
	progress(uint64(len(steps)), uint64(len(steps)), "done")
	out.Mended, out.Beyond = out.Mended[:min(len(out.Mended), maxProblems)], out.Beyond[:min(len(out.Beyond), maxProblems)]
	return out, nil
}

// repairStep is one unit, by the id and the shard that it has in any state.
type repairStep struct {
	what  string
	check func(ctx context.Context, c *checker) error
	mend  func(ctx context.Context, s *state) error
}

// repairSteps lists all units: columns first, for the others are made of them.
func repairSteps(db *DB, s *state) (out []repairStep) {
	c, x := db.compactor, newChecker(db, s, nil)
	for _, a := range c.attributes(s) {
		for shard := range s.Units[a.id] {
			id := unitID{a.id, shard}
			out = append(out, repairStep{fmt.Sprintf("%s, shard %d", x.name(a.id), shard),
				func(ctx context.Context, x *checker) error {
					if u := unitOf(x.s, id); u != nil {
						return x.unit(ctx, id.attr, id.shard, u)
					}
					return nil
				},
				func(ctx context.Context, s *state) error { return c.rebuild(ctx, s, id) }})
		}
	}
	for e := range s.Schema.Stored() {
		for shard := range s.Acts[e.ID] {
			id := unitID{schema.AttrID(e.ID), shard}
			out = append(out, repairStep{fmt.Sprintf("%s, shard %d", x.actName(e), shard),
				func(ctx context.Context, x *checker) error {
					if e, u := actUnitOf(x.s, id); u != nil {
						return x.actUnit(ctx, e, id.shard, u)
					}
					return nil
				},
				func(ctx context.Context, s *state) error { return c.rebuildActs(ctx, s, id) }})
		}
	}
	out = append(out, repairStep{"ids of events", func(ctx context.Context, x *checker) error { return x.ids(ctx) }, c.rebuildIDs})
	for _, id := range slices.Sorted(maps.Keys(s.Indexes)) {
		out = append(out, repairStep{"index of " + x.name(id),
			func(ctx context.Context, x *checker) error {
				if x.s.Indexes[id] == nil {
					return nil
				}
				return x.index(ctx, id)
			},
			func(ctx context.Context, _ *state) error { return c.rebuildIndex(ctx, id) }})
	}
	return out
}

func unitOf(s *state, id unitID) *base.Unit {
	if units := s.Units[id.attr]; id.shard < len(units) {
		return units[id.shard]
	}
	return nil
}

func actUnitOf(s *state, id unitID) (*schema.Event, *base.ActUnit) {
	e := s.Schema.StoredByID(schema.EventID(id.attr))
	if units := s.Acts[schema.EventID(id.attr)]; e != nil && id.shard < len(units) {
		return e, units[id.shard]
	}
	return e, nil
}

// mending is what comes of one step.
type mending struct {
	db             *DB
	mended, beyond []string
}

// run checks a unit and mends it. It runs in the compactor.
func (m *mending) run(ctx context.Context, step repairStep) error {
	problems, err := m.problems(ctx, step)
	if err != nil || len(problems) == 0 {
		return err
	}
	if canary.Is("repair") { // it is only said
		m.mended = problems
		return nil
	}
	s := m.db.acquire()
	err = step.mend(ctx, s)
	s.era.release()
	switch {
	case isDamage(err):
		m.beyond = append(problems, fmt.Sprintf("%s: it cannot be made anew: %v", step.what, err))
		return nil
	case err != nil:
		return err
	}
	left, err := m.problems(ctx, step) // some is damaged that does not derive from anything
	m.beyond = left
	for _, p := range problems {
		if !slices.Contains(left, p) {
			m.mended = append(m.mended, p)
		}
	}
	return err
}

// problems returns what is wrong with a unit.
func (m *mending) problems(ctx context.Context, step repairStep) ([]string, error) {
	s := m.db.acquire()
	defer s.era.release()
	x := newChecker(m.db, s, m.db.compactor.folder)
	err := step.check(ctx, x)
	if isDamage(err) { // of something else that it needs
		x.problem("%s: %v", step.what, err)
		err = nil
	}
	return x.report.Problems, err
}

// isDamage tells what is damaged from what could not be read or written for now.
func isDamage(err error) bool {
	return errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || errors.Is(err, &query.Error{Code: query.CodeNewerFormat})
}

// rebuild writes a unit anew from its column blocks.
func (c *compactor) rebuild(ctx context.Context, s *state, id unitID) error {
	old := unitOf(s, id)
	c.generation++
	job := &base.Job{ID: keys.Unit{Attr: uint32(id.attr), Shard: uint32(id.shard), Generation: c.generation}, Old: old,
		Who: readKeyHashes(&s.State, id.shard), What: what(&s.State, id.attr)}
	u, err := c.folder.Rebuild(ctx, job)
	if err != nil {
		return err
	}
	c.db.publishBase(func() { c.db.cache.Forget(old) }, func(s *state) []keys.Span {
		if _, known := classOf(s, id.attr); !known {
			return nil // dropped meanwhile: all units of it go with it, this one too
		}
		s.Units = withUnit(s.Units, id, u)
		return []keys.Span{old.ID.Span()}
	})
	return c.deleteObsolete()
}

// rebuildActs writes anew what derives from the events of a unit.
func (c *compactor) rebuildActs(ctx context.Context, s *state, id unitID) error {
	e, old := actUnitOf(s, id)
	c.generation++
	job := &base.ActRebuild{Sums: newActChecker(s, e, id.shard).sums, ActJob: base.ActJob{ID: keys.Acts{Event: uint32(e.ID), Shard: uint32(id.shard), Generation: c.generation},
		Old: old, Table: head.TableOf(e), Folded: old.Folded, First: timeline.DayOf(s.Horizon(e))}}
	if old.Facts != nil {
		job.Facts, job.FactsFrom = factsOf(e), c.db.opt.limits.factsFrom
	}
	r, err := base.RebuildActs(ctx, c.db.kv, c.db.cache, job)
	if err != nil {
		return err
	}
	c.publishActs(e, id, old, r, func(*state) {})
	return c.deleteObsolete()
}

// rebuildIDs writes anew the runs of ids whose filters are not theirs.
func (c *compactor) rebuildIDs(ctx context.Context, s *state) error {
	out, err := base.RebuildFilters(ctx, c.db.kv, c.db.cache, s.ids, func(r *base.IDRun) bool { return r.Check(ctx) != nil })
	if err != nil {
		return err
	}
	c.publishIDs(out)
	return c.deleteObsolete()
}

// rebuildIndex writes an index anew from the values that there are.
func (c *compactor) rebuildIndex(ctx context.Context, id schema.AttrID) error {
	return c.replaceIndex(ctx, id, func(t keys.Table, frozen *view.Index, folded uint64) (*view.Index, error) {
		s := c.db.acquire() // it has all that the frozen delta has
		defer s.era.release()
		n := frozen.Frozen.Len()
		for _, u := range s.Units[id] {
			if u != nil {
				n += int(u.Present)
			}
		}
		return c.db.writeTable(ctx, t, folded, n, func(emit func(page int, b []byte) error) (pages int, err error) {
			var failed error
			pages, err = keytable.Build(c.indexEntries(ctx, s, id, n, &failed), n, emit)
			return pages, errors.Join(err, failed)
		})
	})
}

// indexEntries yields the entries of an index by their hashes, some at a time: of those
// whose hashes lie in one stretch the values are read once.
func (c *compactor) indexEntries(ctx context.Context, s *state, id schema.AttrID, n int, failed *error) iter.Seq2[uint64, uint32] {
	return func(yield func(uint64, uint32) bool) {
		v := view.View{S: &s.State}
		cursor := v.NewCursor()
		stretches := uint64(1)
		for stretches*rebuildEntries < uint64(n) {
			stretches *= 2
		}
		size := ^uint64(0)/stretches + 1 // 0: all
		var some []hashed
		for i := range stretches {
			some = some[:0]
			for chunk := range v.Chunks() {
				*failed = errors.Join(ctx.Err(), eachIndexed(s, cursor, id, chunk, func(hash uint64, ord uint32) error {
					if hash-i*size < size || size == 0 {
						some = append(some, hashed{hash, ord})
					}
					return nil
				}))
				if *failed != nil {
					return
				}
			}
			slices.SortFunc(some, func(x, y hashed) int { return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.ord, y.ord)) })
			for _, h := range some {
				if !yield(h.hash, h.ord) {
					return
				}
			}
		}
	}
}
