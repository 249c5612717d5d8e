package engine

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// idSender sends events with ids.
type idSender struct {
	*actModel
	sent uint64 // events that must have been accepted
}

func newIDSender(t *testing.T) *idSender {
	s := &idSender{actModel: &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC()}}
	s.open()
	t.Cleanup(func() { _ = s.db.Close() })
	s.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		b.Upsert("anna")
	})
	return s
}

func (s *idSender) reopen() {
	s.t.Helper()
	if err := s.db.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *idSender) compact() {
	s.t.Helper()
	if err := s.db.Compact(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// encode makes a batch of one purchase with an id of a source, on a day.
func (s *idSender) encode(source, id string, day, amount int64, more ...func(b *batch.Builder)) batch.Batch {
	s.t.Helper()
	b := batch.New()
	table := b.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
	if source != "" {
		table.IDSource(source)
	}
	table.Row([]byte("anna"), []byte("buy"), day*actDay)
	table.ID([]byte(id))
	table.Int(0, amount)
	for _, f := range more {
		f(b)
	}
	raw, err := b.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

func (s *idSender) send(source, id string, day, amount int64) batch.Result {
	s.t.Helper()
	r, err := s.db.Apply(s.t.Context(), s.encode(source, id, day, amount))
	if err != nil {
		s.t.Fatal(err)
	}
	s.sent += r.Accepted
	return r
}

// beginFold has the writer hand its ids over as to a fold; undo takes them back.
func (s *idSender) beginFold() (undo func()) {
	task := func(do func(x *eventIDs)) {
		s.t.Helper()
		r := &request{ctx: s.t.Context(), done: make(chan struct{}), task: func() { do(&s.db.writer.ids) }}
		if err := s.db.send(r); err != nil || r.err != nil {
			s.t.Fatal(err, r.err)
		}
	}
	task(func(x *eventIDs) { x.turn(math.MaxUint64) })
	return func() {
		task(func(x *eventIDs) {
			maps.Copy(x.folding, x.young)
			x.young, x.folding = x.folding, nil
		})
	}
}

// taken wants ids of a day to be taken by what was sent first, and the last of them not to
// be known on another day and to another source.
func (s *idSender) taken(where string, day int64, ids []string) {
	s.t.Helper()
	for _, id := range ids {
		if r := s.send("", id, day, 1); r.Duplicates != 1 {
			s.t.Fatalf("%s: %s of day %d again: %+v", where, id, day, r)
		}
		if r := s.send("", id, day, 2); r.Quarantined != 1 || r.Reasons[batch.ReasonConflicting] != 1 {
			s.t.Fatalf("%s: another event with %s of day %d: %+v", where, id, day, r)
		}
	}
	last := ids[len(ids)-1]
	s.asked++
	if r := s.send("", last, day-int64(s.asked), 1); r.Accepted != 1 {
		s.t.Fatalf("%s: %s of another day than %d: %+v", where, last, day, r)
	}
	for _, source := range []string{where + " a", where + " b"} {
		if r := s.send(source, last, day, 1); r.Accepted != 1 {
			s.t.Fatalf("%s: %s of another source: %+v", where, last, r)
		}
	}
}

// TestIDsStayTaken sends events with ids and asks for them in every place that ids pass
// through, of a day just past and of one that is long over, whose parts are merged.
func TestIDsStayTaken(t *testing.T) {
	s := newIDSender(t)
	for _, day := range []int64{98, 3} {
		var ids []string
		add := func() {
			ids = append(ids, fmt.Sprint("id", len(ids)))
			s.send("", ids[len(ids)-1], day, 1)
		}
		add()
		s.taken("in the head", day, ids)
		add()
		s.reopen()
		s.taken("in the head, opened again", day, ids)
		undo := s.beginFold()
		s.taken("while they are folded", day, ids)
		undo()
		s.compact()
		s.taken("folded", day, ids)
		add()
		s.compact()
		s.reopen()
		s.taken("folded, opened again", day, ids)
		for range 2 * 8 {
			add()
			s.compact()
		}
		s.taken("merged", day, ids)
		s.reopen()
		s.taken("merged, opened again", day, ids)
	}
	if got := uint64(len(s.read())); got != s.sent {
		t.Errorf("%d events, %d were accepted", got, s.sent)
	}
	runs := map[int32]int{}
	for _, r := range s.db.current.Load().ids.Runs {
		runs[r.ID.Day]++
	}
	if runs[98] == 0 || runs[98] > 8 {
		t.Errorf("a day that was folded often has %d runs", runs[98])
	}
	report, err := s.db.Check(t.Context(), nil)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%v %q", err, report.Problems)
	}
}

// TestIDsOfOneGroup: of batches that are under way together, and of rows of one batch,
// one gets the id.
func TestIDsOfOneGroup(t *testing.T) {
	s := newIDSender(t)
	for round := range 20 {
		id := fmt.Sprint("id", round)
		var waits []func() (batch.Result, error)
		for range 8 {
			wait, err := s.db.Submit(t.Context(), s.encode("", id, 99, 1, func(b *batch.Builder) {
				table := b.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
				for _, amount := range []int64{1, 2} {
					table.Row([]byte("anna"), []byte("buy"), 99*actDay)
					table.ID([]byte(id))
					table.Int(0, amount)
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, wait)
		}
		var sum batch.Result
		for _, wait := range waits {
			r, err := wait()
			if err != nil {
				t.Fatal(err)
			}
			sum.Accepted, sum.Duplicates, sum.Quarantined = sum.Accepted+r.Accepted, sum.Duplicates+r.Duplicates, sum.Quarantined+r.Quarantined
		}
		if sum.Accepted != 1 || sum.Duplicates != 15 || sum.Quarantined != 8 {
			t.Fatalf("%s: %+v", id, sum)
		}
	}
}

// TestIDsOfRefusedBatches: a batch that is not applied takes no ids.
func TestIDsOfRefusedBatches(t *testing.T) {
	s := newIDSender(t)
	if _, err := s.db.DryRun(t.Context(), s.encode("", "a", 99, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Apply(t.Context(), s.encode("", "a", 99, 1, func(b *batch.Builder) {
		b.Strict(true)
		b.Events(nil).Row([]byte("nobody"), []byte("buy"), 99*actDay)
	})); err == nil {
		t.Fatal("a strict batch with an event of nobody is applied")
	}
	if r := s.send("", "a", 99, 2); r.Accepted != 1 {
		t.Errorf("%+v", r)
	}
	if st, err := s.db.Stats(t.Context()); err != nil || st.BaseBytes["ids"] != 0 {
		t.Errorf("%+v %v", st.BaseBytes, err)
	}
	s.compact()
	if st, err := s.db.Stats(t.Context()); err != nil || st.BaseBytes["ids"] == 0 {
		t.Errorf("folded: %+v %v", st.BaseBytes, err)
	}
	if held := s.db.writer.ids.held.Load(); held > 1 {
		t.Errorf("%d ids in memory", held)
	}
}

// TestIDHash: an id's hash has 128 bits, and is another one for another source, or another
// part of the two texts.
func TestIDHash(t *testing.T) {
	x := &eventIDs{seed: 1}
	a := x.idOf("crm", 3, []byte("42"))
	if a != x.idOf("crm", 3, []byte("42")) {
		t.Error("one id has two hashes")
	}
	if a.Hi == a.Lo || a.Day != 3 {
		t.Errorf("%+v", a)
	}
	for _, other := range []struct{ source, id string }{{"web", "42"}, {"crm4", "2"}, {"", "crm42"}, {"crm", "43"}} {
		if b := x.idOf(other.source, 3, []byte(other.id)); a.Hi == b.Hi || a.Lo == b.Lo {
			t.Errorf("%q has the hash of %q, %q", other, "crm", "42")
		}
	}
	if b := (&eventIDs{seed: 2}).idOf("crm", 3, []byte("42")); a.Hi == b.Hi || a.Lo == b.Lo {
		t.Error("the seed makes no difference")
	}
}

// TestIDsFillTheLog: writers are held back by ids, too, as they are by values.
func TestIDsFillTheLog(t *testing.T) {
	s := newIDSender(t)
	values := func(fill func(b *batch.Builder)) int {
		t.Helper()
		b := batch.New()
		fill(b)
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := batch.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		return valuesOf(d)
	}
	events := func(ids int) func(b *batch.Builder) {
		return func(b *batch.Builder) {
			table := b.Events(nil)
			for i := range 3 {
				table.Row([]byte("anna"), []byte("buy"), actDay)
				if i < ids {
					table.ID(fmt.Append(nil, i))
				}
			}
		}
	}
	without := values(events(0))
	if got := values(events(2)); got != without+2*idValues {
		t.Errorf("%d values, of which two are ids; without ids %d", got, without)
	}
	s.send("", "a", 99, 1)
	s.send("", "a", 99, 1) // a duplicate claims nothing
	l := s.db.current.Load().Tiers.Active
	if got := loggedValues(l) - int64(l.Values) - recordValues*int64(l.Last-l.First+1); l.Claims != 1 || got != idValues {
		t.Errorf("%d ids take %d values of the log", l.Claims, got)
	}
}

// TestFoldedIDsAreNotReplayed stops a store after each fold: opened again, it has each id once,
// in a run or in memory, though the log has the claims of both.
func TestFoldedIDsAreNotReplayed(t *testing.T) {
	files, r := vfs.NewCrashableMem(), rand.New(rand.NewPCG(1, 2))
	o := &Options{FS: files, Clock: func() time.Time { return time.UnixMilli(100 * actDay) }}
	clones := make(chan *vfs.MemFS, 100)
	o.Hooks.Folded = func(int, int64, time.Duration) {
		clones <- files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
	}
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	const ids = 30
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
		table := b.Events(nil)
		for i := range ids {
			table.Row([]byte("anna"), []byte("e"), 99*actDay)
			table.ID(fmt.Append(nil, i))
		}
	})
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	close(clones)
	replayed := 0
	for fs := range clones {
		db, err := Open("store", &Options{FS: fs, Clock: o.Clock})
		if err != nil {
			t.Fatal(err)
		}
		stored := uint64(0)
		for _, run := range db.current.Load().ids.Runs {
			stored += run.IDs
		}
		held := db.writer.ids.held.Load()
		if stored+uint64(held) != ids {
			t.Errorf("%d ids in runs and %d in memory, want %d together", stored, held, ids)
		}
		if stored > 0 && db.compactor.firstRecord.Load() <= 1 {
			replayed++
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if replayed == 0 {
		t.Error("no store had the ids in runs, and in the log")
	}
}
