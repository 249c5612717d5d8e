package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
)

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
