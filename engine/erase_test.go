package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// eraser is a store with a clock that a test sets.
type eraser struct {
	*DB
	t   *testing.T
	opt Options
	now time.Time
}

func newEraser(t *testing.T) *eraser {
	t.Helper()
	e := &eraser{t: t, now: time.UnixMilli(1_780_000_000_000).UTC()}
	e.opt = Options{FS: vfs.NewMem(), Clock: func() time.Time { return e.now }, PurgeAfter: -1}
	e.open()
	e.write(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "city", Attribute: schema.Attribute{Name: "city", Kind: schema.String}})
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "email", Attribute: schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline}})
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy", Name: "buy"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "sku", Attribute: schema.Attribute{Name: "sku", Kind: schema.String}})
	})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func (e *eraser) open() {
	e.t.Helper()
	db, err := Open("store", &e.opt)
	e.must(err)
	e.DB = db
}

func (e *eraser) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// write applies a batch and returns what became of it; one of some rows is answered with the counts.
func (e *eraser) write(fill func(b *batch.Builder)) string {
	e.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	e.must(err)
	r, err := e.Apply(e.t.Context(), raw)
	e.must(err)
	return fmt.Sprintf("%d accepted, %d quarantined, %d refused", r.Accepted, r.Quarantined, r.Refused)
}

func (e *eraser) buys(key string, at time.Time, sku string) string {
	return e.write(func(b *batch.Builder) {
		rows := b.Events([]batch.Column{{Name: "sku", Kind: schema.String}})
		rows.Row([]byte(key), []byte("buy"), at.UnixMilli())
		rows.Str(0, []byte(sku))
	})
}

func (e *eraser) want(got, want string) {
	e.t.Helper()
	if got != want {
		e.t.Fatalf("%s, want %s", got, want)
	}
}

func (e *eraser) purge() *query.Receipt {
	e.t.Helper()
	r, err := e.Purge(e.t.Context(), nil)
	e.must(err)
	if r == nil || r.Hits > 0 {
		e.t.Fatalf("%+v", r)
	}
	return r
}

func (e *eraser) erase(keys ...string) {
	e.t.Helper()
	_, err := e.Erase(e.t.Context(), "", keys...)
	e.must(err)
}

// TestReadmit lets somebody return: under a new ordinal, with nothing of before, and without
// the events that are not later than the erasure, also after the store was opened again.
func TestReadmit(t *testing.T) {
	e := newEraser(t)
	upsert := func(b *batch.Builder) { b.Upsert("ann").Set("city", schema.StringValue("Rome")) }
	e.want(e.write(upsert), "1 accepted, 0 quarantined, 0 refused")
	end := e.current.Load().End
	e.now = e.now.Add(time.Hour)
	erased := e.now
	e.erase("ann", "who is that")
	for range 2 {
		e.want(e.write(upsert), "0 accepted, 0 quarantined, 1 refused")
		e.want(e.buys("ann", e.now.Add(time.Minute), "x"), "0 accepted, 0 quarantined, 1 refused")
		e.want(e.write(func(b *batch.Builder) { b.Upsert("who is that") }), "0 accepted, 0 quarantined, 1 refused")
		e.want(e.write(func(b *batch.Builder) { b.Upsert("bob") }), "1 accepted, 0 quarantined, 0 refused")
		e.purge()
		e.must(e.Close())
		e.open()
	}
	e.now = e.now.Add(time.Hour)
	for _, want := range []uint64{1, 0} { // the second time there is nothing to readmit
		r, err := e.Readmit(t.Context(), "ann", "bob")
		e.must(err)
		if r.Accepted != want || r.Duplicates != 2-want {
			t.Fatalf("%+v", r)
		}
	}
	for range 2 {
		e.want(e.buys("ann", erased, "x"), "0 accepted, 0 quarantined, 1 refused")
		e.want(e.buys("ann", erased.Add(-time.Hour), "x"), "0 accepted, 0 quarantined, 1 refused")
		e.must(e.Close())
		e.open()
	}
	e.want(e.buys("ann", erased.Add(time.Millisecond), "x"), "1 accepted, 0 quarantined, 0 refused")
	p, err := e.Profile(t.Context(), "ann", nil)
	e.must(err)
	if len(p.Values) != 0 || len(p.Events) != 1 || e.current.Load().End != end+2 {
		t.Fatalf("%+v, ordinals up to %d", p, e.current.Load().End)
	}
	e.want(e.write(upsert), "1 accepted, 0 quarantined, 0 refused")
}

// TestErasedInOneBatch erases somebody whom the same batch has written, and one whom it
// writes to afterwards; a dry run does nothing of it.
func TestErasedInOneBatch(t *testing.T) {
	e := newEraser(t)
	fill := func(b *batch.Builder) {
		b.Upsert("ann-in-one-batch").Set("city", schema.StringValue("a city of hers")).Set("email", schema.StringValue("ann@example.com")).Set("nothing", schema.IntValue(1))
		b.Upsert("ann-in-one-batch").Set("city", schema.StringValue("a city of hers")).Set("email", schema.StringValue("ann@example.com"))
		b.Erase("", "ann-in-one-batch")
		b.Upsert("ann-in-one-batch").Set("email", schema.StringValue("ann@example.com")).Set("nothing", schema.IntValue(1))
	}
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	e.must(err)
	before, err := e.Digests(t.Context())
	e.must(err)
	r, err := e.DryRun(t.Context(), raw)
	e.must(err)
	after, err := e.Digests(t.Context())
	e.must(err)
	if r.Accepted != 2 || before != after || len(e.writer.ledger.entries) != 0 {
		t.Fatalf("%+v", r)
	}
	e.want(e.write(fill), "2 accepted, 1 quarantined, 1 refused")
	rows, err := e.Quarantine(t.Context(), 0, 0)
	e.must(err)
	if len(rows) != 0 {
		t.Fatalf("%+v", rows)
	}
	if r := e.purge(); r.People != 1 || r.Ordinals != 1 || r.Strings != 1 || r.Quarantined != 1 || r.Refused != 1 {
		t.Fatalf("%+v", r)
	}
	e.must(Contents(t.Context(), e.DB, 64, func(file string, b []byte) {
		if s := string(b); strings.Contains(s, "of hers") || strings.Contains(s, "ann@") || strings.Contains(s, "ann-in") {
			t.Errorf("%s", file)
		}
	}))
}

// TestUntypedRows refuses rows of erased people that a loader could not type, if a cell of
// theirs is the key.
func TestUntypedRows(t *testing.T) {
	e := newEraser(t)
	e.erase("ann", "bob b.")
	raws := []string{"ann,Rome,7,8", `{"id": "ann", "city"`, `7;"bob b.";x`, "7\t ann \tx", "joann,Rome", "ann-7,Rome", "cat"}
	e.want(e.write(func(b *batch.Builder) {
		for i, raw := range raws {
			b.Quarantine("file", batch.BadRow{Line: uint64(i), Reason: batch.ReasonRagged, Raw: raw})
		}
	}), "0 accepted, 3 quarantined, 4 refused")
	rows, err := e.Quarantine(t.Context(), 0, 0)
	e.must(err)
	for i, row := range rows {
		if row.Raw != raws[4+i] {
			t.Errorf("%+v", row)
		}
	}
	if r := e.purge(); r.Refused != 4 || len(rows) != 3 {
		t.Fatalf("%+v", r)
	}
}

// TestStringsComeBack blanks strings of dictionaries that nobody has any more. They keep
// their codes: whoever brings them again has them, and no other string changes.
func TestStringsComeBack(t *testing.T) {
	e := newEraser(t)
	for _, key := range []string{"ann-ann-ann", "bob-bob-bob"} {
		e.write(func(b *batch.Builder) {
			b.Upsert(key).Set("city", schema.StringValue("the city of "+key[:3]))
		})
		e.buys(key, e.now, "the goods of "+key[:3])
		e.buys(key, e.now, "goods for everybody")
	}
	texts := func() (out []string) {
		for id, d := range e.current.Load().Dicts {
			for code, text := range d.Strings() {
				if id != schema.ListsAttr {
					out = append(out, fmt.Sprint(id, " ", code, " ", text))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	before := texts()
	var blanked []string
	for _, line := range before {
		if i := strings.Index(line, "the "); strings.HasSuffix(line, "of ann") {
			line = line[:i]
		}
		blanked = append(blanked, line)
	}
	slices.Sort(blanked)
	e.erase("ann-ann-ann")
	if r := e.purge(); r.Strings != 2 {
		t.Fatalf("%+v", r)
	}
	for range 2 {
		if got := texts(); !slices.Equal(got, blanked) {
			t.Fatalf("%q, want %q", got, blanked)
		}
		e.must(e.Close())
		e.open()
	}
	dry := batch.New()
	dry.Upsert("cat-cat-cat").Set("city", schema.StringValue("the city of ann"))
	raw, err := dry.Encode()
	e.must(err)
	_, err = e.DryRun(t.Context(), raw)
	e.must(err)
	if got := texts(); !slices.Equal(got, blanked) {
		t.Fatalf("after a dry run: %q", got)
	}
	n, err := e.Count(t.Context(), `city == "the city of ann"`, nil)
	e.must(err)
	if n.Count != 0 {
		t.Fatalf("%+v", n)
	}
	e.write(func(b *batch.Builder) { b.Upsert("cat-cat-cat").Set("city", schema.StringValue("the city of ann")) })
	e.buys("cat-cat-cat", e.now, "the goods of ann")
	for range 2 {
		if got := texts(); !slices.Equal(got, before) {
			t.Fatalf("%q, want %q", got, before)
		}
		n, err := e.Count(t.Context(), `city == "the city of ann" && buy.exists(b, b.sku == "the goods of ann")`, nil)
		e.must(err)
		if n.Count != 1 {
			t.Fatalf("%+v", n)
		}
		e.must(e.Close())
		e.open()
	}
}

// TestPurgeWhileWriting purges again and again while others write, also the strings that the
// purge is about to blank: everybody has in the end what was written last.
func TestPurgeWhileWriting(t *testing.T) {
	e := newEraser(t)
	const people, cities, rounds = 40, 60, 4
	last := [people]string{}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { stopped <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			b := batch.New()
			p := n * 7 % people
			last[p] = fmt.Sprint("a city that comes and goes, number ", n%cities)
			b.Upsert(fmt.Sprint("person number ", p)).Set("city", schema.StringValue(last[p]))
			raw, err := b.Encode()
			if err == nil {
				_, err = e.Apply(t.Context(), raw)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	blanked := uint64(0)
	for round := 0; round < rounds || blanked == 0 && round < 10; round++ { // at the latest where the numbers are nobody else's
		keys := make([]string, 5)
		for i := range keys {
			keys[i] = fmt.Sprint("somebody erased ", round, " ", i)
			e.write(func(b *batch.Builder) {
				b.Upsert(keys[i]).Set("city", schema.StringValue(fmt.Sprint("a city that comes and goes, number ", 10*round+i)))
				b.Upsert(keys[i]).Set("email", schema.StringValue(keys[i]+"@example.com"))
			})
		}
		e.erase(keys...)
		blanked += e.purge().Strings
	}
	close(stop)
	if n := <-stopped; n < 2*people || blanked == 0 {
		t.Fatalf("%d writes, %d strings blanked: too few", n, blanked)
	}
	for range 2 {
		for p, city := range last {
			n, err := e.Count(t.Context(), fmt.Sprintf("city == %q", city), nil)
			e.must(err)
			got, err := e.Profile(t.Context(), fmt.Sprint("person number ", p), nil)
			e.must(err)
			if len(got.Values) != 1 || got.Values[0].Value.Str() != city || n.Count == 0 {
				t.Fatalf("person %d: %v, %d in %q", p, got.Values, n.Count, city)
			}
		}
		report, err := e.Check(t.Context(), nil)
		e.must(err)
		if len(report.Problems) > 0 {
			t.Fatalf("%q", report.Problems)
		}
		e.must(e.Close())
		e.open()
	}
}

// TestReducedEvents purges events of a type that has lost a property: what is stored of its
// sums had the property in it.
func TestReducedEvents(t *testing.T) {
	e := newEraser(t)
	e.write(func(b *batch.Builder) { b.Upsert("bob-and-his-goods") })
	for day := range 4 {
		e.buys("ann-and-her-goods", e.now.Add(-time.Duration(day)*24*time.Hour), "goods")
	}
	e.buys("bob-and-his-goods", e.now, "goods")
	e.must(e.Compact(t.Context()))
	e.write(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.DropProperty, Event: "buy", Name: "sku"}) })
	e.erase("ann-and-her-goods")
	before, err := e.Digests(t.Context())
	e.must(err)
	if r := e.purge(); r.Events != 4 {
		t.Fatalf("%+v", r)
	}
	after, err := e.Digests(t.Context())
	e.must(err)
	report, err := e.Check(t.Context(), nil)
	e.must(err)
	if before != after || len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
}

// TestUsedStringsStay writes a string while a purge has found that nobody has it.
func TestUsedStringsStay(t *testing.T) {
	e := newEraser(t)
	for _, city := range []string{"a city that stays", "a city that goes"} {
		e.write(func(b *batch.Builder) { b.Upsert("ann").Set("city", schema.StringValue(city)) })
	}
	e.erase("ann")
	e.must(e.Compact(t.Context()))
	p, err := e.newPurge(t.Context(), func(string) {})
	e.must(err)
	e.must(e.inWriter(t.Context(), func() error { e.writer.used = map[erasure.Code]bool{}; return nil }))
	unheld, err := p.unheld(t.Context())
	e.must(err)
	city := e.current.Load().Schema.Lookup("city").ID
	if len(unheld[city]) != 2 {
		t.Fatalf("%v", unheld)
	}
	e.write(func(b *batch.Builder) { b.Upsert("bob").Set("city", schema.StringValue("a city that stays")) })
	e.must(e.inWriter(t.Context(), func() error { return p.blank(unheld, e.writer.used) }))
	if got := fmt.Sprintf("%q", e.current.Load().Dicts[city].Strings()); got != `["a city that stays" ""]` {
		t.Fatal(got)
	}
}

// TestPurgeWaitsForReaders has a snapshot open while somebody is erased: it answers as
// before until it is closed, and the purge waits for it.
func TestPurgeWaitsForReaders(t *testing.T) {
	e := newEraser(t)
	e.write(func(b *batch.Builder) {
		b.Upsert("ann-with-a-reader").Set("email", schema.StringValue("ann@example.com"))
	})
	e.must(e.Compact(t.Context()))
	s, err := e.Snapshot(t.Context())
	e.must(err)
	e.erase("ann-with-a-reader")
	var once sync.Once
	waiting, done := make(chan struct{}), make(chan error)
	go func() {
		_, err := e.Purge(t.Context(), func(what string) {
			if strings.HasPrefix(what, "waiting for 1 ") {
				once.Do(func() { close(waiting) })
			}
		})
		done <- err
	}()
	<-waiting
	p, err := s.Profile(t.Context(), "ann-with-a-reader", nil)
	e.must(err)
	if len(p.Values) != 1 {
		t.Fatalf("%+v", p)
	}
	e.must(s.Close())
	e.must(<-done)
	all, err := e.Receipts(t.Context())
	e.must(err)
	if len(all) != 1 || all[0].Hits != 0 || all[0].Values < 2 {
		t.Fatalf("%+v", all)
	}
}

// TestForgottenSnapshot is closed when it is too old, though nobody closes it.
func TestForgottenSnapshot(t *testing.T) {
	e := newEraser(t)
	e.must(e.Close())
	e.opt.SnapshotMaxAge = time.Millisecond
	e.open()
	e.write(func(b *batch.Builder) { b.Upsert("ann-with-a-reader") })
	_, err := e.Snapshot(t.Context())
	e.must(err)
	e.erase("ann-with-a-reader")
	e.purge()
}

// TestPurgeInBackground purges an erasure when it has waited long enough.
func TestPurgeInBackground(t *testing.T) {
	e := newEraser(t)
	e.must(e.Close())
	receipts := make(chan *query.Receipt, 1)
	e.opt.PurgeAfter = time.Minute
	at := make(chan time.Time, 1)
	at <- e.now
	e.opt.Clock = func() time.Time {
		now := <-at
		at <- now
		return now
	}
	e.opt.Hooks.Purged = func(r *query.Receipt, err error) {
		if err != nil {
			t.Error(err)
		}
		receipts <- r
	}
	e.open()
	e.write(func(b *batch.Builder) { b.Upsert("ann") })
	e.erase("ann")
	if due, err := e.purgeDue(); due || err != nil {
		t.Fatalf("due at once: %v", err)
	}
	now := <-at
	at <- now.Add(time.Minute)
	if r := <-receipts; r == nil || r.People != 1 || r.Hits != 0 {
		t.Fatalf("%+v", r)
	}
	if due, err := e.purgeDue(); due || err != nil {
		t.Fatalf("due again: %v", err)
	}
}

// TestNamed reports texts that name somebody who is erased. They are left, and are no hits.
func TestNamed(t *testing.T) {
	e := newEraser(t)
	e.write(func(b *batch.Builder) {
		b.Upsert("ann@example.com")
		b.SaveSegment("hers", `email == "ann@example.com"`)
		b.ListAdd("staff", "ann@example.com")
		b.ListNote("staff", "with ann@example.com")
	})
	gone, err := e.Erase(t.Context(), "", "ann@example.com")
	e.must(err)
	if got := fmt.Sprint(gone.Named); got != "[segment hers list staff]" {
		t.Fatal(got)
	}
	if r := e.purge(); r.Shared != 1 || r.Values != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestEntriesGo looks into the indexes: what an erased person had is in none of them.
func TestEntriesGo(t *testing.T) {
	e := newEraser(t)
	for i := range 30 {
		e.write(func(b *batch.Builder) {
			b.Upsert(fmt.Sprint("key ", i)).Set("email", schema.StringValue(fmt.Sprint("mail ", i)))
		})
	}
	e.erase("key 3", "key 4")
	e.purge()
	n := 0
	for _, x := range e.current.Load().Indexes {
		e.must(x.Static.Each(func(_ uint64, ord uint32) bool {
			n++
			if ord == 3 || ord == 4 {
				t.Errorf("ordinal %d", ord)
			}
			return true
		}))
	}
	if n != 56 {
		t.Errorf("%d entries", n)
	}
}

// TestLedgerOfAnotherTime applies a newer ledger to a store that was put back.
func TestLedgerOfAnotherTime(t *testing.T) {
	e := newEraser(t)
	for _, key := range []string{"ann", "bob", "cat"} {
		e.write(func(b *batch.Builder) { b.Upsert(key) })
	}
	secret := &e.writer.ledger.secret
	var list []erasedName
	for _, key := range []string{"ann", "cat", "nobody"} {
		list = append(list, erasedName{secret.Name([]byte(key)), erasure.Entry{Hint: secret.KeyHint([]byte(key)), Erased: e.now.UnixMilli() - 5, Reference: "T"}})
	}
	list[1].entry.Readmitted = e.now.UnixMilli() - 3
	for _, want := range []uint64{2, 0} {
		people, err := e.applyLedger(t.Context(), list)
		e.must(err)
		if people != want {
			t.Fatalf("%d people", people)
		}
	}
	n, err := e.Count(t.Context(), "1 == 1", nil)
	e.must(err)
	if n.Count != 1 {
		t.Fatalf("%+v", n)
	}
	for key, want := range map[string]string{"ann": "0 accepted, 0 quarantined, 1 refused", "nobody": "0 accepted, 0 quarantined, 1 refused", "cat": "1 accepted, 0 quarantined, 0 refused"} {
		e.want(e.write(func(b *batch.Builder) { b.Upsert(key) }), want)
		e.must(e.Close())
		e.open()
	}
	entries := 0
	e.must(e.Erased(t.Context(), func(query.ErasedPerson) error { entries++; return nil }))
	if entries != 3 {
		t.Fatalf("%d entries", entries)
	}
}

// TestPendingIsStored makes sure that what a purge needs does not hold what it looks for.
func TestPendingIsStored(t *testing.T) {
	e := newEraser(t)
	e.write(func(b *batch.Builder) {
		b.Upsert("ann-is-pending").Set("email", schema.StringValue("ann@example.com"))
	})
	e.erase("ann-is-pending")
	n := 0
	e.must(e.kv.Scan(t.Context(), keys.Purges(), func(_, v []byte) (bool, error) {
		p, err := erasure.ReadPending(v)
		e.must(err)
		if n++; len(p.Traces) != 2 || !slices.Equal(p.Ordinals, []uint32{0}) || strings.Contains(string(v), "ann") {
			t.Errorf("%+v", p)
		}
		return true, nil
	}))
	if n != 1 {
		t.Fatalf("%d are pending", n)
	}
	if entry := e.writer.ledger.entries[e.writer.ledger.secret.Name([]byte("ann-is-pending"))]; !entry.Refuses(math.MaxInt64) || entry.Erased == 0 {
		t.Error("the writer does not refuse her")
	}
}
