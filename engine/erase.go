package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Erase erases people by their keys, known or not: in every answer they are as if deleted,
// quarantined rows that hold one of their values are gone, and every later row of theirs is
// refused until [DB.Readmit]. What the files of the store still hold of them is removed by
// the purge, which begins by itself after [Options.PurgeAfter]; [DB.Purge] does not wait.
// The reference says why, such as the number of a ticket; it is kept for good and must not
// be personal. Many keys are several batches, of which each is atomic.
func (db *DB) Erase(ctx context.Context, reference string, keys ...string) (query.Erasure, error) {
	var out query.Erasure
	b := batch.New()
	apply := func() error {
		raw, err := b.Encode()
		if err != nil {
			return err
		}
		r, err := db.Apply(ctx, raw)
		if err == nil {
			out.Position = r.Position
			out.People += r.Accepted
		}
		b.Reset()
		return err
	}
	for from := 0; from < len(keys); from += keysPerBatch {
		b.Erase(reference, keys[from:min(from+keysPerBatch, len(keys))]...)
		if err := apply(); err != nil {
			return out, err
		}
	}
	out.Named = db.namedIn(keys)
	return out, ctx.Err()
}

// keysPerBatch bounds the keys of one batch: all that is known of these people is read
// while it is decided. They are at most 512 KiB.
const keysPerBatch = 1000

// Readmit lets people return who were erased: rows of theirs are taken again, but events
// that are not later than the erasure. They begin anew, with nothing of what they had.
func (db *DB) Readmit(ctx context.Context, keys ...string) (batch.Result, error) {
	b := batch.New()
	b.Readmit(keys...)
	raw, err := b.Encode()
	if err != nil {
		return batch.Result{}, err
	}
	return db.Apply(ctx, raw)
}

// namedIn returns the segments, computed attributes, definitions and lists whose texts name
// one of some keys: they are people's own words, which nobody changes for them.
func (db *DB) namedIn(keys []string) (out []string) {
	s := db.current.Load()
	look := func(what, name, text string) {
		for _, key := range keys {
			if len(key) > 1 && strings.Contains(text, key) || strings.Contains(text, `"`+key+`"`) {
				out = append(out, what+" "+name)
				return
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.segments)) {
		look("segment", name, s.segments[name].text)
	}
	for i := range s.Schema.Computed {
		look("computed attribute", s.Schema.Computed[i].Name, s.Schema.Computed[i].Text)
	}
	for _, name := range slices.Sorted(maps.Keys(s.lists)) {
		look("list", name, name+"\n"+s.lists[name].note)
	}
	for _, call := range slices.Sorted(maps.Keys(s.definitions)) {
		d := s.definitions[call]
		look("definition", call, call+"\n"+string(d.AppendArguments(nil)))
	}
	return out
}

// Erased calls f for each entry of the ledger of erased people, until it returns an error.
func (db *DB) Erased(ctx context.Context, f func(query.ErasedPerson) error) error {
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return errClosed()
	}
	return db.eachErased(ctx, func(name erasure.Hash, e *erasure.Entry) error {
		p := query.ErasedPerson{Name: name.String(), Erased: time.UnixMilli(e.Erased).UTC(), Position: e.Position, Reference: e.Reference}
		if e.Readmitted != 0 {
			p.Readmitted = time.UnixMilli(e.Readmitted).UTC()
		}
		return f(p)
	})
}

// known returns an error if nobody knows what the quarantine and the ledger hold: Pebble shows
// of what its log has refused the entries, and does not show the rows that were to go.
func (db *DB) known() error {
	why := db.purger.unknown.Load()
	if why == nil {
		return nil
	}
	return &query.Error{Code: query.CodeFailed, Message: fmt.Sprintf("what is in quarantine, and who was erased, is not known after a write that failed: %v", *why),
		Hint: "see to the disk, then open the store again", Err: *why}
}

// eachErased reads the ledger.
func (db *DB) eachErased(ctx context.Context, f func(name erasure.Hash, e *erasure.Entry) error) error {
	if err := db.known(); err != nil {
		return err
	}
	return db.kv.Scan(ctx, keys.Ledger(), func(k, v []byte) (bool, error) {
		name, ok := keys.ParseErased(k)
		if !ok {
			return false, query.Errorf(query.CodeCorrupt, "a key among those of erased people is none")
		}
		e, err := erasure.ReadEntry(v)
		if err == nil {
			err = f(name, e)
		}
		return err == nil, err
	})
}

// erasedName is an entry of the ledger under its name.
type erasedName struct {
	name  erasure.Hash
	entry erasure.Entry
}

// applyLedger makes a store keep to the ledger of another time of the same store: a newer
// one knows whom an older backup still has. Who is in the store is erased as by [DB.Erase],
// as of now; who is not is only noted. Entries that the store has already, as new or newer,
// change nothing. It is for a store that nobody else writes to yet.
func (db *DB) applyLedger(ctx context.Context, list []erasedName) (people uint64, err error) {
	newer := map[erasure.Hash]erasure.Entry{}
	for _, x := range list {
		if e, twice := newer[x.name]; !twice || x.entry.NewerThan(&e) {
			newer[x.name] = x.entry
		}
	}
	if err := db.eachErased(ctx, func(name erasure.Hash, have *erasure.Entry) error {
		if e, ok := newer[name]; ok && !e.NewerThan(have) {
			delete(newer, name)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if len(newer) == 0 {
		return 0, nil
	}
	known, err := db.keysOf(ctx, newer)
	if err != nil {
		return 0, err
	}
	for reference, those := range known {
		for _, key := range those {
			name := db.writer.ledger.secret.Name([]byte(key))
			gone, err := db.Erase(ctx, reference, key)
			if err != nil {
				return people, err
			}
			people++
			e := newer[name]
			e.Erased, e.Position = max(e.Erased, db.current.Load().Received), gone.Position
			if e.Readmitted != 0 {
				e.Readmitted = e.Erased
			}
			newer[name] = e
		}
	}
	return people, db.inWriter(ctx, func() error {
		kb := db.kv.NewBatch()
		defer kb.Close()
		for name, e := range newer {
			kb.Set(keys.Erased(name), e.Append())
		}
		if err := kb.Commit(true); err != nil {
			return err
		}
		for name, e := range newer {
			db.writer.ledger.set(name, e)
		}
		return nil
	})
}

// keysOf returns the keys of entries that are in the store, be their profiles dead, by
// reference. It reads all keys.
func (db *DB) keysOf(ctx context.Context, of map[erasure.Hash]erasure.Entry) (map[string][]string, error) {
	s := db.acquire()
	defer s.era.release()
	v := view.View{S: &s.State}
	c := v.NewCursor()
	defer c.Close()
	all := make([]uint16, bitmap.ChunkSize)
	for i := range all {
		all[i] = uint16(i)
	}
	texts := make([][]byte, bitmap.ChunkSize)
	out, seen := map[string][]string{}, map[erasure.Hash]bool{}
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.GatherStrings(schema.KeyAttr, chunk, all, texts); err != nil {
			return nil, err
		}
		for _, key := range texts {
			if key == nil {
				continue
			}
			name := db.writer.ledger.secret.Name(key)
			if e, ok := of[name]; ok && !seen[name] {
				seen[name] = true
				out[e.Reference] = append(out[e.Reference], string(key))
			}
		}
	}
	return out, nil
}
