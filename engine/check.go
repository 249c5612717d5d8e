package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxProblems bounds a report: the first ones tell what is wrong.
const maxProblems = 100

// Check verifies the checksum of every stored value and recomputes every derived
// structure of the base from the forward columns: fragments, counts, digests, and that
// every living profile is found by its key. It reads one state while writes go on.
// progress may be nil; it is called from Check's goroutine. Damage is in the report, not
// in the error.
func (db *DB) Check(ctx context.Context, progress func(done, total uint64, what string)) (query.CheckReport, error) {
	return read(ctx, db, func(n *snapshot) (query.CheckReport, error) {
		c := newChecker(db, n.s, base.NewFolder(db.kv, db.cache))
		if progress != nil {
			c.progress = progress
		}
		err := c.run(ctx)
		return c.report, err
	})
}

type checker struct {
	db          *DB
	s           *state
	progress    func(done, total uint64, what string)
	folder      *base.Folder
	report      query.CheckReport
	done, total uint64
}

func newChecker(db *DB, s *state, folder *base.Folder) *checker {
	return &checker{db: db, s: s, folder: folder, progress: func(uint64, uint64, string) {}}
}

func (c *checker) problem(format string, args ...any) {
	if len(c.report.Problems) < maxProblems && !canary.Is("check") {
		c.report.Problems = append(c.report.Problems, fmt.Sprintf(format, args...))
	}
}

func (c *checker) step(what string) {
	c.progress(c.done, c.total, what)
	c.done++
}

func (c *checker) run(ctx context.Context) error {
	attrs := c.db.compactor.attributes(c.s)
	for _, a := range attrs {
		c.total += uint64(len(c.s.Units[a.id]))
	}
	for _, units := range c.s.Acts {
		c.total += uint64(len(units))
	}
	c.total += uint64(len(c.s.ids.Runs)) + 3
	for _, a := range attrs {
		for shard, u := range c.s.Units[a.id] {
			if u == nil {
				continue
			}
			c.step(fmt.Sprintf("%s, shard %d", c.name(a.id), shard))
			if err := c.unit(ctx, a.id, shard, u); err != nil {
				return err
			}
		}
	}
	if err := c.acts(ctx); err != nil {
		return err
	}
	if err := c.ids(ctx); err != nil {
		return err
	}
	c.step("log")
	if err := c.log(ctx); err != nil {
		return err
	}
	c.step("names and the quarantine")
	if err := c.named(ctx); err != nil {
		return err
	}
	c.step("keys")
	for _, id := range slices.Sorted(maps.Keys(c.s.Indexes)) {
		if err := c.index(ctx, id); err != nil {
			return err
		}
	}
	if err := c.keys(ctx); err != nil {
		return err
	}
	c.progress(c.total, c.total, "done")
	return nil
}

// unit verifies one shard of an attribute.
func (c *checker) unit(ctx context.Context, id schema.AttrID, shard int, u *base.Unit) error {
	job := &base.Job{Old: u, Who: readKeyHashes(&c.s.State, shard), What: what(&c.s.State, id)}
	got, err := c.folder.Check(ctx, job)
	if err != nil {
		return err
	}
	c.report.Values += got.Values
	c.report.Derived += got.Derived
	for _, p := range got.Problems {
		c.problem("%s: %s", c.name(id), p)
	}
	return nil
}

// named verifies what is small, and of what opening has read that it can still be read:
// state, schema, dictionaries, segments, lists, definitions, documents, outcomes of sources,
// quarantine, the ledger of erased people and purges.
func (c *checker) named(ctx context.Context) error {
	for _, x := range []struct {
		what string
		span keys.Span
	}{{"the state", keys.Span{Start: keys.Meta(""), End: append(keys.Schema(), 0)}}, {"a dictionary", keys.Dicts()}, {"the outcomes of sources", keys.Repeats()},
		{"a segment", keys.Segments()}, {"a list", keys.Lists()}, {"the quarantine", keys.Quarantined(0)}, {"a definition", keys.Definitions()},
		{"a document", keys.Documents()},
		{"the ledger of erased people", keys.Ledger()}, {"a purge", keys.Purges()}} {
		err := c.db.kv.Scan(ctx, x.span, func(k, v []byte) (bool, error) {
			c.report.Values++
			if _, err := kv.Unseal(v); err != nil {
				c.problem("%s: the value of key %x: %v", x.what, k, err)
			}
			return true, nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.problem("%s: %v", x.what, err)
		}
	}
	return nil
}

// index verifies the pages of an index, and that everybody is in it who has a value.
func (c *checker) index(ctx context.Context, id schema.AttrID) error {
	x := c.s.Indexes[id]
	if x.Static == nil {
		return nil
	}
	c.report.Values += uint64(x.Static.Pages())
	if err := x.Static.Each(func(uint64, uint32) bool { return true }); err != nil {
		c.problem("%v", view.IndexDamaged(id, err))
		return nil
	}
	v := view.View{S: &c.s.State}
	cursor := v.NewCursor()
	var found []uint32
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		missing := 0
		err := eachIndexed(c.s, cursor, id, chunk, func(hash uint64, ord uint32) (err error) {
			c.report.Derived++
			if found, err = x.Candidates(hash, found[:0]); err == nil && !slices.Contains(found, ord) {
				missing++
			}
			return err
		})
		if err != nil {
			c.problem("index of %s, chunk %d: %v", c.name(id), chunk, err)
		} else if missing > 0 {
			c.problem("index of %s: %d profiles of chunk %d are not in it", c.name(id), missing, chunk)
		}
	}
	return nil
}

// eachIndexed calls f for the profiles of a chunk that the index of an attribute must have,
// in order.
func eachIndexed(s *state, cursor *view.Cursor, id schema.AttrID, chunk int, f func(hash uint64, ord uint32) error) error {
	var buf bitmap.Words
	who, err := cursor.Exists(id, chunk, &buf)
	if err != nil {
		return err
	}
	ords := who.AppendTo(nil)
	first := uint32(chunk) << bitmap.ChunkBits
	if class, _ := classOf(s, id); class != effect.Bytes {
		ints, ok := make([]int64, len(ords)), make([]bool, len(ords))
		err = cursor.GatherInts(id, chunk, ords, ints, ok)
		for i := 0; i < len(ords) && err == nil; i++ {
			err = f(view.Hash(s.Seed, view.IndexBytes(schema.IntValue(ints[i]))), first|uint32(ords[i]))
		}
		return err
	}
	texts := make([][]byte, len(ords))
	err = cursor.GatherStrings(id, chunk, ords, texts)
	for i := 0; i < len(ords) && err == nil; i++ {
		err = f(view.Hash(s.Seed, texts[i]), first|uint32(ords[i]))
	}
	return err
}

func (c *checker) name(id schema.AttrID) string {
	switch id {
	case schema.KeyAttr:
		return "keys"
	case schema.ListsAttr:
		return "lists"
	case view.LiveAttr:
		return "profiles"
	}
	return fmt.Sprintf("attribute %q", c.s.Schema.ByID(id).Name)
}

// log verifies the records and outcomes that are kept, and that there is no gap.
func (c *checker) log(ctx context.Context) error {
	next := uint64(0)
	span := keys.Records(0, c.s.pos.Applied+1)
	if err := c.keptLog(ctx); err != nil {
		return err
	}
	err := c.db.kv.Scan(ctx, span, func(k, v []byte) (bool, error) {
		at, _ := keys.ParseNumber(k)
		if next > 0 && at != next {
			c.problem("log: record %d is missing", next)
		}
		next = at + 1
		c.report.Values++
		if _, err := record.Decode(v); err != nil {
			c.problem("log: record %d: %v", at, err)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return c.db.kv.Scan(ctx, keys.Outcomes(0, c.s.pos.Applied+1), func(k, v []byte) (bool, error) {
		at, _ := keys.ParseNumber(k)
		c.report.Values++
		if _, err := effect.Decode(v); err != nil {
			c.problem("log: outcome %d: %v", at, err)
		}
		return true, nil
	})
}

// keys looks every living profile up by its key.
func (c *checker) keys(ctx context.Context) error {
	v := view.View{S: &c.s.State}
	cursor := v.NewCursor()
	var buf bitmap.Words
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		live, err := cursor.Exists(schema.KeyAttr, chunk, &buf)
		if err != nil {
			c.problem("profiles of chunk %d: %v", chunk, err)
			continue
		}
		ords := live.AppendTo(nil)
		names := make([][]byte, len(ords))
		if err := cursor.GatherStrings(schema.KeyAttr, chunk, ords, names); err != nil {
			c.problem("keys of chunk %d: %v", chunk, err)
			continue
		}
		hashes, found := make([]uint64, len(names)), make([]uint32, len(names))
		for i, key := range names {
			hashes[i] = view.Hash(c.s.Seed, key)
		}
		if err := cursor.LookupAll(hashes, func(i int) []byte { return names[i] }, found); err != nil {
			c.problem("profiles of chunk %d are not found by their keys: %v", chunk, err)
			continue
		}
		for i, key := range names {
			ord := uint32(chunk)<<bitmap.ChunkBits | uint32(ords[i])
			if key == nil {
				c.problem("profile %d has no key", ord)
				continue
			}
			if found[i] != ord {
				c.problem("profile %q is not found by its key", key)
			}
		}
		c.report.Derived += uint64(len(ords))
	}
	return nil
}
