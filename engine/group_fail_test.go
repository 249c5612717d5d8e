package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

// TestRefusedBehindAFailedGroup: what was decided behind a group that could not be written
// is not written itself, even if the disk would take it: it may build on what is not there.
func TestRefusedBehindAFailedGroup(t *testing.T) {
	o := &Options{FS: vfs.NewMem()}
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, db, func(b *batch.Builder) { b.Upsert("ann") })
	b := batch.New()
	b.Upsert("bob")
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w, behind := db.writer, &request{ctx: t.Context(), raw: raw, done: make(chan struct{}), bench: new(workbench)}
	if behind.decoded, err = behind.bench.decoder.Decode(raw); err != nil {
		t.Fatal(err)
	}
	task := &request{ctx: t.Context(), done: make(chan struct{}), task: func() {
		w.take(behind)
		lost := &flight{group: &group{kb: db.kv.NewBatch(), held: db.acquire()}, landed: make(chan error, 1)}
		lost.landed <- errors.New("the disk was full")
		w.flight = lost
		w.settle()
		w.open() // the task's own group, which settle has ended
	}}
	if err := db.send(task); err != nil {
		t.Fatal(err)
	}
	<-behind.done
	if !errors.Is(behind.err, &query.Error{Code: query.CodeFailed}) || behind.result.Accepted != 0 {
		t.Errorf("got %+v %v", behind.result, behind.err)
	}
	if rec, err := db.kv.Get(keys.Record(2)); rec != nil || err != nil {
		t.Errorf("its record is stored (%v)", err)
	}
	for range 2 {
		if n, err := db.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
			t.Errorf("%d people (%v)", n.Count, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCancelledInTheQueue: a batch whose caller has given up before it is decided is not
// applied.
func TestCancelledInTheQueue(t *testing.T) {
	m := newRetained(t, 100)
	gate, begun := make(chan struct{}), make(chan struct{})
	hold := &request{ctx: t.Context(), done: make(chan struct{}), task: func() { close(begun); <-gate }}
	if err := m.db.enqueue(hold); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	b := batch.New()
	b.Upsert("ann")
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	wait, err := m.db.Submit(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	close(gate)
	if r, err := wait(); !errors.Is(err, context.Canceled) || r.Accepted != 0 {
		t.Errorf("%+v %v", r, err)
	}
	m.apply(func(b *batch.Builder) { b.Upsert("bob") })
	if n, err := m.db.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
		t.Errorf("%d people (%v)", n.Count, err)
	}
}
