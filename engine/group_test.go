package engine_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// overlap holds one group on its way to the disk while others are decided.
type overlap struct {
	t     *testing.T
	files *faultfs.FS
	o     engine.Options
	db    *engine.DB
	hold  chan error // what the sync of the held group comes to

	failed atomic.Int32 // how often the store said that it failed
}

func newOverlap(t *testing.T) *overlap {
	v := &overlap{t: t, files: faultfs.New(), hold: make(chan error)}
	v.o = engine.Options{FS: v.files, Clock: fixedClock}
	v.o.Hooks.Failed = func(error) { v.failed.Add(1) }
	engine.LowerLimits(&v.o, 1, 100_000, 100_000) // every group has an L0 of its own
	var err error
	v.db, err = engine.Open("store", &v.o)
	must(t, err)
	b := batch.New()
	addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
	addAttribute(b, schema.Attribute{Name: "word", Kind: schema.String})
	addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
	b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
	b.Upsert("carl").Set("email", schema.StringValue("carl@x")).Set("word", schema.StringValue("w")) // the L0 is frozen by the held group
	_, err = v.submit(b)()
	must(t, err)
	return v
}

func (v *overlap) submit(b *batch.Builder) (wait func() (batch.Result, error)) {
	v.t.Helper()
	raw, err := b.Encode()
	must(v.t, err)
	wait, err = v.db.Submit(v.t.Context(), raw)
	must(v.t, err)
	return wait
}

// held submits a batch and returns when it is on its way to the disk, where it stays.
func (v *overlap) held(b *batch.Builder) (wait func() (batch.Result, error)) {
	v.t.Helper()
	reached := make(chan struct{}, 1)
	first := true
	v.files.Before(func(op faultfs.Op) error {
		if op.Kind != faultfs.Sync || !strings.HasSuffix(op.Path, ".log") || !first {
			return nil
		}
		first = false
		reached <- struct{}{}
		return <-v.hold
	})
	wait = v.submit(b)
	<-reached
	return wait
}

// taken gives the writer time to decide what was submitted. If the compactor has it do
// something else meanwhile, which waits for the held group, what comes of it is the same.
func (v *overlap) taken() {
	for i := 0; i < 1<<16 && !engine.Taken(v.db); i++ {
		runtime.Gosched()
	}
}

// all waits for outcomes elsewhere.
func all(waits ...func() (batch.Result, error)) (results []batch.Result, errs []error, done chan struct{}) {
	results, errs, done = make([]batch.Result, len(waits)), make([]error, len(waits)), make(chan struct{})
	go func() {
		defer close(done)
		for i, wait := range waits {
			results[i], errs[i] = wait()
		}
	}()
	return results, errs, done
}

func buy(b *batch.Builder, key, id string) {
	table := b.Events(nil)
	table.Row([]byte(key), []byte("buy"), fixedClock().UnixMilli())
	table.ID([]byte(id))
}

func increment(n string, key string) *batch.Builder {
	b := batch.New()
	b.Source("feed", 1, uint64(len(n)))
	b.Upsert(key).Increment("n", schema.IntValue(1))
	return b
}

// TestGroupsOverlap: what is decided while the group before it is on its way to the disk
// sees that group, and is neither visible nor acknowledged before it.
func TestGroupsOverlap(t *testing.T) {
	v := newOverlap(t)
	defer func() { must(t, v.db.Close()) }()
	b := increment("i", "ann")
	b.Upsert("ann").Set("email", schema.StringValue("ann@x"))
	buy(b, "ann", "order 1")
	first := v.held(b)
	b = increment("ii", "ann")
	buy(b, "ann", "order 1")
	buy(b, "bob", "order 2")
	second := v.submit(b)
	third := v.submit(increment("i", "ann")) // the first again
	b = batch.New()
	b.Upsert("ann").Expect("n", schema.IntValue(2)).Set("n", schema.IntValue(10))
	b.Upsert("bob").Set("email", schema.StringValue("ann@x"))
	b.Upsert("carl").Expect("email", schema.StringValue("carl@x"))
	fourth := v.submit(b)
	v.taken()
	results, errs, done := all(second, third, fourth)
	if n, err := v.db.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
		t.Errorf("%d people are visible before they are durable (%v)", n.Count, err)
	}
	select {
	case <-done:
		t.Error("acknowledged before it is durable")
	default:
	}
	v.hold <- nil
	one, err := first()
	must(t, err)
	<-done
	must(t, errors.Join(errs...))
	got := fmt.Sprint(one.Accepted, one.Created, ", ", results[0].Accepted, results[0].Duplicates, results[0].Created, ", ", results[1].Repeated, results[1].Position == one.Position, ", ", results[2].Accepted, results[2].Quarantined)
	if got != "3 1, 2 1 1, true true, 2 1" {
		t.Error(got)
	}
	n, err := v.db.Count(t.Context(), "n == 10 && buy.count() == 1", nil)
	if err != nil || n.Count != 1 {
		t.Errorf("%d people (%v)", n.Count, err)
	}
}

// TestOverlappingSchema: what comes while a change of the schema is on its way to the disk
// is decided by the new schema, and a change behind another group comes after it.
func TestOverlappingSchema(t *testing.T) {
	v := newOverlap(t)
	defer func() { must(t, v.db.Close()) }()
	change := func(c schema.Change) *batch.Builder {
		b := batch.New()
		b.Change(c)
		b.Upsert("ann")
		return b
	}
	for round, waits := range []func() []func() (batch.Result, error){
		func() []func() (batch.Result, error) {
			first := v.held(increment("i", "ann"))
			return append([]func() (batch.Result, error){first}, v.submit(change(schema.Change{Op: schema.Drop, Name: "n"})), v.submit(increment("ii", "ann")))
		},
		func() []func() (batch.Result, error) {
			b := change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
			b.Upsert("ann").Set("n", schema.IntValue(5))
			first := v.held(b)
			return append([]func() (batch.Result, error){first}, v.submit(change(schema.Change{Op: schema.Drop, Name: "email"})))
		},
		func() []func() (batch.Result, error) {
			first := v.held(change(storage("word", schema.StorageInline))) // rewrites what is stored
			b := batch.New()
			b.Upsert("carl").Expect("word", schema.StringValue("w")).Set("word", schema.StringValue("x"))
			second := v.submit(b)
			v.taken()
			return append([]func() (batch.Result, error){first}, second)
		},
	} {
		under := waits()
		v.hold <- nil
		var got []string
		for _, wait := range under {
			r, err := wait()
			must(t, err)
			got = append(got, fmt.Sprint(r.Accepted, r.Quarantined))
		}
		if want := []string{"[1 0 1 0 0 1]", "[2 0 1 0]", "[1 0 1 0]"}[round]; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if n, err := v.db.Count(t.Context(), "n == 5", nil); err != nil || n.Count != 1 {
		t.Errorf("%d people (%v)", n.Count, err)
	}
	if s, err := v.db.Schema(t.Context()); err != nil || s.Lookup("email") != nil || s.Lookup("n") == nil {
		t.Errorf("%+v %v", s, err)
	}
}

// TestOverlappedGroupFails: when a group cannot be written, what was decided behind it is
// refused, and nothing of either is visible.
func TestOverlappedGroupFails(t *testing.T) {
	v := newOverlap(t)
	first := v.held(increment("i", "ann"))
	second, again := v.submit(increment("ii", "ann")), v.submit(increment("i", "ann"))
	v.taken()
	v.hold <- errors.New("the disk is gone")
	failed := &query.Error{Code: query.CodeFailed}
	if _, err := first(); !errors.Is(err, failed) || v.failed.Load() != 1 {
		t.Errorf("%v; the store has said %d times that it failed", err, v.failed.Load())
	}
	for i, wait := range []func() (batch.Result, error){first, second, again, v.submit(increment("iii", "ann"))} {
		if r, err := wait(); !errors.Is(err, failed) || r.Accepted != 0 {
			t.Errorf("batch %d: %+v %v", i, r, err)
		}
	}
	if n, err := v.db.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
		t.Errorf("%d people are visible (%v)", n.Count, err)
	}
	_ = v.db.Close() // Pebble has given up
	v.o.FS = crash(t, v.files, 0, 0)
	db, err := engine.Open("store", &v.o)
	must(t, err)
	if n, err := db.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
		t.Errorf("opened again: %d people (%v)", n.Count, err)
	}
	must(t, db.Close())
}

// TestCheckedByTheSchemaOfItsTurn: a batch that was looked at before a change of the schema
// was published is looked at again when it is decided.
func TestCheckedByTheSchemaOfItsTurn(t *testing.T) {
	v := newOverlap(t)
	defer func() { must(t, v.db.Close()) }()
	set := func(name string, n int64) *batch.Builder {
		b := batch.New()
		b.Upsert("ann").Set(name, schema.IntValue(n))
		return b
	}
	b := batch.New()
	b.Change(schema.Change{Op: schema.Narrow, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int, Max: schema.IntValue(10)}})
	addAttribute(b, schema.Attribute{Name: "m", Kind: schema.Int})
	first := v.held(b)
	waits := []func() (batch.Result, error){first, v.submit(set("n", 50)), v.submit(set("n", 5)), v.submit(set("m", 50))}
	v.hold <- nil
	var got []uint64
	for _, wait := range waits {
		r, err := wait()
		must(t, err)
		got = append(got, r.Accepted, r.Quarantined)
	}
	if want := "[0 0 0 1 1 0 1 0]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
