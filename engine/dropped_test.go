package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

// TestDroppedProperty: what a property had a part in when it was there, the order of events of
// one time and the sums of digests, does not depend on where the events were when it went.
func TestDroppedProperty(t *testing.T) {
	var want string
	for compactAt := range 6 {
		db, err := Open("", &Options{Clock: func() time.Time { return time.UnixMilli(100 * actDay) }})
		if err != nil {
			t.Fatal(err)
		}
		step := 0
		apply := func(fill func(b *batch.Builder)) {
			t.Helper()
			mustApply(t, db, fill)
			if step == compactAt {
				if err := db.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			step++
		}
		events := func(b *batch.Builder, from, to int, keys ...string) {
			for _, key := range keys {
				columns := []batch.Column{{Name: "q", Kind: schema.Int}, {Name: "p", Kind: schema.String}}
				table := b.Events(columns[:2-from/100])
				for i := from; i < to; i++ {
					table.Row([]byte(key), []byte("e"), 99*actDay)
					if table.Int(0, int64(i)); from == 0 {
						table.Str(1, []byte(fmt.Sprint(i*7%20)))
					}
				}
			}
		}
		apply(func(b *batch.Builder) {
			b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
			b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "p", Attribute: schema.Attribute{Name: "p", Kind: schema.String}})
			b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "q", Attribute: schema.Attribute{Name: "q", Kind: schema.Int}})
		})
		apply(func(b *batch.Builder) { events(b, 0, 20, "ann", "bob") })
		apply(func(b *batch.Builder) {
			b.Change(schema.Change{Op: schema.DropProperty, Event: "e", Name: "p"})
		})
		apply(func(b *batch.Builder) { b.Delete("bob") })
		apply(func(b *batch.Builder) { events(b, 100, 105, "ann") })
		d, err := db.Digests(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%x %x", d.Content, d.Replica)
		for q := range 105 {
			for _, end := range []string{"first", "last"} {
				expr := fmt.Sprintf("e.%s().q == %d", end, q)
				if n, err := db.Count(t.Context(), expr, nil); err != nil || n.Count > 0 {
					got += fmt.Sprint(" ", expr, err)
				}
			}
		}
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("compacted behind batch %d: %s, want %s", compactAt, got, want)
		}
		if r, err := db.Check(t.Context(), nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("compacted behind batch %d: %v %q", compactAt, err, r.Problems)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustApply(t *testing.T, db *DB, fill func(b *batch.Builder)) {
	t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(t.Context(), raw)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLeftOfTheDropped drops attributes and event types while the compactor settles
// and folds them: the state must not have anything under their ids then.
func TestNothingIsLeftOfTheDropped(t *testing.T) {
	o := &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(100 * actDay) }}
	LowerLimits(o, 20, 100, 20)
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	apply := func(fill func(b *batch.Builder)) {
		t.Helper()
		mustApply(t, db, fill)
	}
	for round := range 60 {
		apply(func(b *batch.Builder) {
			b.Change(schema.Change{Op: schema.AddAttribute, Name: "a", Attribute: schema.Attribute{Name: "a", Kind: schema.String, History: round%2 == 0}})
			b.Change(schema.Change{Op: schema.AddAttribute, Name: "u", Attribute: schema.Attribute{Name: "u", Kind: schema.Int, Unique: true}})
			b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
			b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "p", Attribute: schema.Attribute{Name: "p", Kind: schema.String}})
		})
		for i := range 8 {
			apply(func(b *batch.Builder) {
				for k := range 10 {
					b.Upsert(fmt.Sprint("k", k)).Set("a", schema.StringValue(fmt.Sprint(round, i))).Set("u", schema.IntValue(int64(k)))
				}
				table := b.Events([]batch.Column{{Name: "p", Kind: schema.String}})
				table.Row([]byte("k1"), []byte("e"), 99*actDay)
				table.Str(0, []byte(fmt.Sprint(round, i)))
			})
		}
		apply(func(b *batch.Builder) {
			b.Change(schema.Change{Op: schema.Drop, Name: "a"})
			b.Change(schema.Change{Op: schema.Drop, Name: "u"})
			b.Change(schema.Change{Op: schema.DropEvent, Event: "e"})
		})
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(func(b *batch.Builder) { b.Upsert("k1") })
	nothingLeft(t, db)
	if err := db.Compact(t.Context()); err != nil { // it deletes what nobody reads any more
		t.Fatal(err)
	}
	if n := storedEvents(t, db); n > 0 {
		t.Errorf("%d keys of events are on disk", n)
	}
}

// nothingLeft looks for what the state, or the compactor, has of attributes and event types
// in a store that has none.
func nothingLeft(t *testing.T, db *DB) {
	t.Helper()
	s := db.current.Load()
	left := func(what string, id schema.AttrID) {
		if id > view.LiveAttr {
			t.Errorf("%s of %d", what, id)
		}
	}
	for id := range s.Units {
		left("units", id)
	}
	for id := range s.Dicts {
		left("a dictionary", id)
	}
	for id := range s.Indexes {
		left("an index", id)
	}
	for id := range s.Tiers.Settled {
		left("settled values", id)
	}
	for id := range s.Acts {
		left("units of events", schema.AttrID(id))
	}
	for id := range s.Tiers.Acts {
		left("settled events", schema.AttrID(id))
	}
	for id := range db.compactor.oldest {
		if id.attr > view.LiveAttr && id.attr != idsUnit {
			t.Errorf("the compactor waits to fold %d", id.attr)
		}
	}
}

// TestFailedIndexIsGone fails a batch that has built an index: nothing of it may be found
// under the id when it is built again.
func TestFailedIndexIsGone(t *testing.T) {
	db, err := Open("store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
		for i := range int64(20) {
			b.Upsert(fmt.Sprint("k", i)).Set("n", schema.IntValue(i))
		}
	})
	id := db.current.Load().Schema.Lookup("n").ID
	stored := func() (n int) {
		t.Helper()
		err := db.kv.Scan(t.Context(), keys.Table{Attr: uint32(id), Generation: firstGeneration}.Span(), func([]byte, []byte) (bool, error) { n++; return true, nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	becomes := func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.Narrow, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int, Unique: true}})
	}
	b := batch.New()
	becomes(b)
	b.Change(schema.Change{Op: schema.Drop, Name: "nothing"})
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), raw); err == nil || stored() != 0 {
		t.Errorf("%v; %d keys of the index are left", err, stored())
	}
	mustApply(t, db, becomes)
	if stored() == 0 {
		t.Error("the index is not where it is looked for")
	}
}

// storedEvents counts the keys of stored events, their manifests and facts.
func storedEvents(t *testing.T, db *DB) (n int) {
	t.Helper()
	for _, span := range []keys.Span{keys.AllActs(), keys.Parts(), keys.AllFacts()} {
		err := db.kv.Scan(t.Context(), span, func([]byte, []byte) (bool, error) { n++; return true, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestDroppedWhileFolded drops an event type while a fold of it is under way, which has written
// facts and parts that the drop does not know.
func TestDroppedWhileFolded(t *testing.T) {
	o := &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(100 * actDay) }}
	LowerLimits(o, 1000, 1000, 20)
	folds := make(chan func(), 1)
	o.Hooks.Settled = func(int, time.Duration) {
		select {
		case fold := <-folds:
			fold() // in the compactor's goroutine
		default:
		}
	}
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	events := func(days int64) {
		mustApply(t, db, func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "p", Kind: schema.Int}})
			for i := range int64(60) {
				table.Row([]byte("k1"), []byte("e"), (98-i%days)*actDay)
				table.Int(0, i)
			}
		})
	}
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "p", Attribute: schema.Attribute{Name: "p", Kind: schema.Int}})
	})
	events(3)
	compact := func() {
		t.Helper()
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	compact()
	if storedEvents(t, db) == 0 {
		t.Fatal("no events are stored")
	}
	events(5)
	failed := errors.New("it was not folded")
	folds <- func() {
		s := db.acquire()
		defer s.era.release()
		mustApply(t, db, func(b *batch.Builder) { b.Change(schema.Change{Op: schema.DropEvent, Event: "e"}) })
		e := s.Schema.LookupEvent("e")
		failed = db.compactor.foldActs(t.Context(), s, e, unitID{schema.AttrID(e.ID), 0}, nil)
	}
	compact()
	compact() // what was read at the first one goes
	if n := storedEvents(t, db); n > 0 || failed != nil {
		t.Errorf("%d keys of the event type are left (%v)", n, failed)
	}
}
