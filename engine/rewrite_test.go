package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func storage(name string, s schema.Storage) schema.Change {
	return schema.Change{Op: schema.SetStorage, Name: name, Attribute: schema.Attribute{Storage: s}}
}

func unique(name string, kind schema.Kind, s schema.Storage) schema.Change {
	return schema.Change{Op: schema.Narrow, Name: name, Attribute: schema.Attribute{Name: name, Kind: kind, Storage: s, Unique: true}}
}

// changing is a store of people with a city, a number and a card, half of them in the base
// and half in the head.
type changing struct {
	t  *testing.T
	o  engine.Options
	db *engine.DB
}

const changingPeople = 700

func newChanging(t *testing.T) *changing {
	c := &changing{t: t, o: engine.Options{Clock: fixedClock, FS: vfs.NewMem()}}
	c.open()
	t.Cleanup(func() { must(t, c.db.Close()) })
	c.do(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "city", Kind: schema.String}})
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "number", Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "card", Kind: schema.String, Storage: schema.StorageInline}})
	})
	for half := range 2 {
		c.do(func(b *batch.Builder) {
			for i := half * changingPeople / 2; i < (half+1)*changingPeople/2; i++ {
				b.Upsert(fmt.Sprintf("k%d", i)).Set("city", schema.StringValue(fmt.Sprintf("city-%d", i%7))).
					Set("number", schema.IntValue(int64(i))).Set("card", schema.StringValue(fmt.Sprintf("card-%d", i)))
			}
		})
		if half == 0 {
			must(t, c.db.Compact(t.Context()))
		}
	}
	return c
}

func (c *changing) open() {
	c.t.Helper()
	db, err := engine.Open("store", &c.o)
	must(c.t, err)
	c.db = db
}

func (c *changing) reopen() {
	c.t.Helper()
	must(c.t, c.db.Close())
	c.open()
}

func (c *changing) apply(fill func(b *batch.Builder)) (batch.Result, error) {
	c.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	must(c.t, err)
	return c.db.Apply(c.t.Context(), raw)
}

// do applies a batch of which every row is accepted.
func (c *changing) do(fill func(b *batch.Builder)) {
	c.t.Helper()
	r, err := c.apply(fill)
	must(c.t, err)
	if r.Quarantined+r.Refused > 0 {
		c.t.Fatalf("got %+v", r)
	}
}

func (c *changing) set(key, attr, value string) {
	c.t.Helper()
	c.do(func(b *batch.Builder) { b.Upsert(key).Set(attr, schema.StringValue(value)) })
}

func (c *changing) count(text string, want uint64) {
	c.t.Helper()
	n, err := c.db.Count(c.t.Context(), text, nil)
	must(c.t, err)
	if n.Count != want {
		c.t.Fatalf("%s: %d, want %d", text, n.Count, want)
	}
}

// content also checks the store.
func (c *changing) content() [16]byte {
	c.t.Helper()
	report, err := c.db.Check(c.t.Context(), nil)
	if must(c.t, err); len(report.Problems) > 0 {
		c.t.Fatal(report.Problems)
	}
	d, err := c.db.Digests(c.t.Context())
	must(c.t, err)
	return d.Content
}

func TestStorageChanges(t *testing.T) {
	c := newChanging(t)
	before := c.content()
	c.do(func(b *batch.Builder) { // with a value behind the change
		b.Change(storage("city", schema.StorageInline))
		b.Upsert("k0").Set("city", schema.StringValue("city-3"))
	})
	c.count(`city == "city-3"`, 101)
	c.reopen()
	c.count(`city == "city-3"`, 101)
	c.set("k0", "city", "city-0")
	if c.content() != before {
		t.Fatal("the content digest has changed")
	}
	c.set("k1", "city", "city-3")
	c.reopen()
	c.count(`city == "city-3"`, 101)
	must(t, c.db.Compact(t.Context()))
	c.count(`city == "city-3"`, 101)

	c.do(func(b *batch.Builder) { b.Delete("k3") })
	c.do(func(b *batch.Builder) { b.Change(storage("city", schema.StorageDictionary)) })
	c.count(`city == "city-3"`, 100)
	c.set("k1", "city", "city-1")
	c.reopen()
	c.count(`city == "city-3"`, 99)
	c.content()
}

// A change of storage in the middle of a batch that fails leaves nothing behind.
func TestStorageChangeFails(t *testing.T) {
	c := newChanging(t)
	fails := func(next ...schema.Change) {
		t.Helper()
		_, err := c.apply(func(b *batch.Builder) {
			b.Change(storage("city", schema.StorageInline))
			for _, n := range next {
				b.Change(n)
			}
		})
		wantConflict(t, err)
	}
	fails(schema.Change{Op: schema.Drop, Name: "nothing"})
	c.set("k0", "city", "city-3")
	c.count(`city == "city-3"`, 101)
	fails(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "new", Kind: schema.Int}}, schema.Change{Op: schema.Drop, Name: "nothing"})
	c.do(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "new", Kind: schema.String}})
	})
	c.reopen()
	c.count("has(p.new)", 0) // it has the id that the other storage would have had
	c.count(`city == "city-3"`, 101)
	c.content()

	_, err := c.apply(func(b *batch.Builder) {
		b.Upsert("k0").Set("city", schema.StringValue("city-4"))
		b.Change(storage("city", schema.StorageInline))
	})
	wantConflict(t, err, "the same batch has written to it", "a batch of its own")
}

func TestBecomesUnique(t *testing.T) {
	for name, want := range map[string]struct {
		change      schema.Change
		same, fresh schema.Value
	}{
		"number": {unique("number", schema.Int, 0), schema.IntValue(5), schema.IntValue(-1)},
		"card":   {unique("card", schema.String, schema.StorageInline), schema.StringValue("card-5"), schema.StringValue("none")},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChanging(t)
			set := func(key string, v schema.Value) (batch.Result, error) {
				return c.apply(func(b *batch.Builder) { b.Upsert(key).Set(name, v) })
			}
			_, err := set("k600", want.same)
			must(t, err)
			_, err = c.apply(func(b *batch.Builder) { b.Change(want.change) })
			wantConflict(t, err, `"`+name+`" cannot become unique: 2 profiles have a value that another has too`)
			_, err = set("k600", want.fresh)
			must(t, err)
			c.do(func(b *batch.Builder) { b.Change(want.change) })
			for range 2 {
				for _, v := range []schema.Value{want.same, want.fresh} {
					if r, err := set("k7", v); err != nil || r.Reasons[batch.ReasonNotUnique] != 1 {
						t.Fatalf("%v a second time: %+v %v", v, r, err)
					}
				}
				if r, err := set("k5", want.same); err != nil || r.Accepted != 1 {
					t.Fatalf("its own value: %+v %v", r, err)
				}
				p, err := c.db.ProfileBy(t.Context(), name, want.same.String(), nil)
				if must(t, err); p.Key != "k5" {
					t.Fatalf("found %s", p.Key)
				}
				c.reopen()
			}
			c.content()
		})
	}
}

// What a commit group has dropped does not come back with a later publication of the same
// group, and what a batch that failed has written is not there for the next one.
func TestChangesOfOneGroup(t *testing.T) {
	c := newChanging(t)
	must(t, c.db.Compact(t.Context()))
	encoded := func(changes ...schema.Change) batch.Batch {
		b := batch.New()
		for _, ch := range changes {
			b.Change(ch)
		}
		raw, err := b.Encode()
		must(t, err)
		return raw
	}
	units, indexes, refused, err := engine.ApplyTogether(t.Context(), c.db,
		encoded(schema.Change{Op: schema.Drop, Name: "card"}),
		encoded(storage("city", schema.StorageInline), schema.Change{Op: schema.Drop, Name: "nothing"}),
		encoded(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "new", Kind: schema.String, Storage: schema.StorageInline}}))
	must(t, err)
	wantConflict(t, refused, `drop "nothing"`)
	if units != 4 || indexes != 2 { // keys, life, city, number; keys, new
		t.Fatalf("the base has %d columns and %d indexes", units, indexes)
	}
	c.count("has(p.new)", 0)
	c.count(`city == "city-3"`, 100)
	c.content()
}

func wantConflict(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("got %v", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Fatalf("got %v, which lacks %q", err, p)
		}
	}
}

// A property becomes narrower if all events fit, those in the head and those in parts.
func TestNarrowProperty(t *testing.T) {
	c := newChanging(t)
	amount := schema.Attribute{Name: "amount", Kind: schema.Int}
	c.do(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "purchase"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "purchase", Name: "amount", Attribute: amount})
	})
	buy := func(key string, amounts ...int64) {
		c.do(func(b *batch.Builder) {
			e := b.Events([]batch.Column{{Name: "amount", Kind: schema.Int}})
			for _, n := range amounts {
				e.Row([]byte(key), []byte("purchase"), fixedClock().UnixMilli())
				e.Int(0, n)
			}
		})
	}
	narrow := func(top int64) error {
		_, err := c.apply(func(b *batch.Builder) {
			a := amount
			a.Max = schema.IntValue(top)
			b.Change(schema.Change{Op: schema.NarrowProperty, Event: "purchase", Name: "amount", Attribute: a})
		})
		return err
	}
	buy("k1", 10, 20, 30)
	must(t, c.db.Compact(t.Context()))
	buy("k2", 25, 40)
	wantConflict(t, narrow(20), `the narrower definition of "amount"`, "or without one: 3)")
	must(t, narrow(40))
	r, err := c.apply(func(b *batch.Builder) {
		e := b.Events([]batch.Column{{Name: "amount", Kind: schema.Int}})
		e.Row([]byte("k2"), []byte("purchase"), fixedClock().UnixMilli())
		e.Int(0, 41)
	})
	if must(t, err); r.Quarantined != 1 {
		t.Fatalf("got %+v", r)
	}
	_, err = c.apply(func(b *batch.Builder) {
		e := b.Events(nil)
		e.Row([]byte("k2"), []byte("purchase"), fixedClock().UnixMilli())
		a := amount
		a.Max = schema.IntValue(30)
		b.Change(schema.Change{Op: schema.NarrowProperty, Event: "purchase", Name: "amount", Attribute: a})
	})
	wantConflict(t, err, "the same batch has written to it")
}

// TestRewritesBesideFolding: the writer and the compactor write into the base at a time.
func TestRewritesBesideFolding(t *testing.T) {
	c := newChanging(t)
	must(t, c.db.Close())
	engine.LowerLimits(&c.o, 20, 100, 20)
	c.open()
	before := c.content()
	done := make(chan error)
	go func() {
		var err error
		for range 40 {
			err = errors.Join(err, c.db.Compact(t.Context()))
		}
		done <- err
	}()
	for i, under := 0, true; under; i++ {
		select {
		case err := <-done:
			must(t, err)
			under = false
		default:
			c.do(func(b *batch.Builder) {
				b.Change(storage("city", []schema.Storage{schema.StorageInline, schema.StorageDictionary}[i%2]))
				b.Upsert(fmt.Sprintf("k%d", i%changingPeople)).Set("number", schema.IntValue(int64(i%changingPeople)))
			})
		}
	}
	if c.content() != before {
		t.Fatal("the content digest has changed")
	}
}
