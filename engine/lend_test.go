package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// lendStore has 40 people of whom i has looked i times, every other day, every other one a vip
// since just now, and the definition rfm("looks") of all but those who are known to be none.
func lendStore(t *testing.T, o *Options) *DB {
	t.Helper()
	o.FS, o.Clock = vfs.NewMem(), func() time.Time { return time.UnixMilli(200 * actDay).UTC() }
	db, err := Open("lend", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	applyTo(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "look"})
		events := b.Events(nil)
		for i := range 40 {
			for day := range i {
				events.Row(fmt.Appendf(nil, "k%02d", i), []byte("look"), int64(200-2*day)*actDay)
			}
		}
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "vip", Attribute: schema.Attribute{Name: "vip", Kind: schema.Bool, History: true}})
		for i := range 40 {
			b.Upsert(fmt.Sprintf("k%02d", i)).Set("vip", schema.BoolValue(i%2 == 0))
		}
		b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "looks", Who: "!has(p.vip) || vip", Arguments: query.Arguments{"event": {"look"}}})
	})
	return db
}

func applyTo(t *testing.T, db *DB, fill func(b *batch.Builder)) {
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

const looks = `rfm("looks").f >= 4`

// TestLendings: a snapshot asked about more instants than it keeps what is lent for, by many at
// once, says of each what a new snapshot says, and gives all memory back.
func TestLendings(t *testing.T) {
	db := lendStore(t, &Options{})
	reserved := db.cache.Reserved()
	var want []uint64
	at := func(i int) *query.Options {
		return &query.Options{Now: time.UnixMilli(int64(200-9*i) * actDay).UTC()}
	}
	for i := range 2 * maxLendings {
		c, err := db.Count(t.Context(), looks, at(i))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, c.Count)
	}
	if slices.Max(want) == slices.Min(want) {
		t.Fatalf("the instants do not differ: %v", want)
	}
	if now := db.cache.Reserved(); now != reserved {
		t.Errorf("%d bytes are reserved, before %d", now, reserved)
	}
	n, err := db.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	applyTo(t, db, func(b *batch.Builder) { // the snapshot stands still
		b.Delete("k39", "k38")
		b.DropDefinition("rfm", "looks")
	})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for k := range 3 * len(want) {
				i := (k + worker) / 2 % len(want)
				if c, err := n.Count(t.Context(), looks, at(i)); err != nil || c.Count != want[i] {
					t.Errorf("at %d there are %d (%v), want %d", i, c.Count, err, want[i])
				}
			}
		})
	}
	group.Wait()
	for i := range maxPasts { // so many that those before are forgotten
		if _, err := n.Count(t.Context(), "vip", at(10+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, lent := range want {
		c, err := n.Count(t.Context(), looks+" && !has(p.vip)", at(i))
		if i == 0 {
			lent = 0 // by now it is known of all
		}
		if err != nil || c.Count != lent {
			t.Errorf("at %d there are %d (%v), want %d", i, c.Count, err, lent)
		}
	}
	if len(n.lendings.all) != maxLendings || db.cache.Reserved() == reserved {
		t.Errorf("%d instants are kept, and %d bytes", len(n.lendings.all), db.cache.Reserved()-reserved)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if now := db.cache.Reserved(); now != reserved {
		t.Errorf("%d bytes are reserved after the end, before %d", now, reserved)
	}
	if _, err := db.Count(t.Context(), looks, nil); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Errorf("a definition that was dropped: %v", err)
	}
}

// TestLendingOnce: a snapshot works out what is lent once for an instant, and a plan tells of it.
func TestLendingOnce(t *testing.T) {
	db := lendStore(t, &Options{})
	n, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	o := &query.Options{Now: time.UnixMilli(199 * actDay).UTC()}
	p, err := n.Plan(t.Context(), looks+` && has(rfm("looks").segment)`, o)
	if err != nil || len(p.Lent) != 1 || p.Lent[0].Name != `rfm("looks")` || p.Lent[0].People != 38 || p.Lent[0].BytesRead == 0 || p.BytesRead <= p.Lent[0].BytesRead {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = n.Plan(t.Context(), looks, o); err != nil || len(p.Lent) != 0 || p.Root.Method != "range" {
		t.Errorf("asked again: %+v, %v", p, err)
	}
	if p, err = n.Plan(t.Context(), "look.any()", nil); err != nil || len(p.Lent) != 0 {
		t.Errorf("of something else: %+v, %v", p, err)
	}
}

// TestLoanWaits: who waits for what another works out stops when his question is cancelled,
// and the one behind him gets his turn.
func TestLoanWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lending{loans: map[string]*loan{}}
		held, err := l.loan(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := l.loan(ctx, "x")
			first <- err
		}()
		go func() {
			_, err := l.loan(t.Context(), "x")
			second <- err
		}()
		synctest.Wait()
		if len(first)+len(second) > 0 {
			t.Error("somebody has not waited")
		}
		cancel()
		synctest.Wait()
		if len(second) > 0 || !errors.Is(<-first, context.Canceled) {
			t.Error("not the one who was cancelled has ended")
		}
		<-held.turn
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

// TestLendingEnds: who stops waiting leaves nothing behind, and without memory it is said.
func TestLendingEnds(t *testing.T) {
	db := lendStore(t, &Options{Memory: 32 << 20})
	reserved := db.cache.Reserved()
	n, err := db.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	o := &query.Options{Now: time.UnixMilli(200 * actDay).UTC()}
	s := &n.s.State
	l, _ := n.lending(s, o.Now.UnixMilli(), false)
	held, err := l.loan(t.Context(), `rfm("looks")`) // somebody else is at it
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := n.Count(ctx, looks, o)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	<-held.turn
	var taken []func()
	for {
		free, err := db.cache.Reserve(64<<10, "a test")
		if err != nil {
			break
		}
		taken = append(taken, free)
	}
	for i, free := range taken {
		if int64(i)<<16 < n.workingMemory(n.db.opt.Parallelism)+128<<10 { // for the question, and not for what is lent
			free()
		}
	}
	if _, err := n.Count(t.Context(), looks, o); !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
		t.Errorf("without memory: %v", err)
	}
	for _, free := range taken {
		free()
	}
	if c, err := n.Count(t.Context(), looks, o); err != nil || c.Count == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if now := db.cache.Reserved(); now != reserved {
		t.Errorf("%d bytes are reserved after the end, before %d", now, reserved)
	}
}
