package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func newRetained(t *testing.T, clock int64) *actModel {
	t.Helper()
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(clock * actDay).UTC(), keep: newModelRetention()}
	m.open()
	t.Cleanup(func() { _ = m.db.Close() })
	return m
}

// addEvents adds event types in one row of changes.
func addEvents(events ...schema.Event) func(b *batch.Builder) {
	return func(b *batch.Builder) {
		for _, e := range events {
			b.Change(schema.Change{Op: schema.AddEvent, Event: e.Name, Retention: e.Retention})
		}
	}
}

// sendIDs sends acts of a day at some seconds, all with one id, or without if it is "".
func sendIDs(event string, day int64, id string, seconds ...int64) func(b *batch.Builder) {
	return func(b *batch.Builder) {
		table := b.Events(nil)
		for _, s := range seconds {
			table.Row([]byte("k"), []byte(event), day*actDay+s*1000)
			if id != "" {
				table.ID([]byte(id))
			}
		}
	}
}

// want sends acts and wants so many of them to be accepted, duplicates, in conflict and too old.
func (m *actModel) want(what string, r batch.Result, accepted, duplicates, conflicting, late uint64) {
	m.t.Helper()
	if r.Accepted != accepted || r.Duplicates != duplicates || r.Reasons[batch.ReasonConflicting] != conflicting || r.Reasons[batch.ReasonTooLate] != late {
		m.t.Errorf("%s: %+v, want %d accepted, %d duplicates, %d conflicting, %d too late", what, r, accepted, duplicates, conflicting, late)
	}
}

// together applies batches in one commit group, checked by somebody who knows already what
// the first changes, and returns the outcome of the last.
func (m *actModel) together(fills ...func(b *batch.Builder)) (r batch.Result) {
	m.t.Helper()
	gate, begun := make(chan struct{}), make(chan struct{})
	hold := &request{ctx: m.t.Context(), done: make(chan struct{}), task: func() { close(begun); <-gate }}
	if err := m.db.enqueue(hold); err != nil {
		m.t.Fatal(err)
	}
	<-begun
	var group []*request
	for _, fill := range fills {
		b := batch.New()
		fill(b)
		raw, err := b.Encode()
		if err != nil {
			m.t.Fatal(err)
		}
		one, err := m.db.submit(m.t.Context(), raw, false)
		if err != nil {
			m.t.Fatal(err)
		}
		one.verdicts, one.encoded = nil, nil
		group = append(group, one)
	}
	close(gate)
	for _, one := range group {
		var err error
		if r, err = m.db.outcome(one, nil); err != nil {
			m.t.Fatal(err)
		}
	}
	return r
}

// TestIDsOfForgottenDays: an event type that is kept longer than all others takes no ids of
// the days that these have forgotten, whether or not the compactor has dropped them.
func TestIDsOfForgottenDays(t *testing.T) {
	for _, dropped := range []bool{false, true} {
		for _, how := range []string{"one batch", "one group", "apart", "opened again"} {
			name := fmt.Sprintf("%s, dropped %v", how, dropped)
			m := newRetained(t, 100)
			m.apply(addEvents(schema.Event{Name: "short", Retention: 20}))
			m.want("first", m.apply(sendIDs("short", 90, "one", 1, 1, 2)), 1, 1, 1, 0)
			m.set(m.now.AddDate(0, 0, 20))
			m.apply(func(b *batch.Builder) { b.Upsert("k") })
			if dropped {
				m.compactSame()
				if n := m.idsBefore(100 * actDay); n != 0 {
					t.Errorf("%s: %d ids are left", name, n)
				}
			}
			var r batch.Result
			long, send := addEvents(schema.Event{Name: "long"}), sendIDs("long", 90, "one", 1, 3, 3)
			switch how {
			case "one batch":
				r = m.apply(func(b *batch.Builder) { long(b); send(b) })
			case "one group":
				r = m.together(long, send)
			default:
				m.apply(long)
				if how == "opened again" {
					m.reopen()
				}
				r = m.apply(send)
			}
			m.want(name, r, 0, 0, 0, 3)
			if d := r.Rejected[0].Detail; d != "ids of events before 1970-04-11 are forgotten: send it without an id if it is new" {
				t.Errorf("%s: %s", name, d)
			}
			m.want(name+", without ids", m.apply(sendIDs("long", 90, "", 3, 3)), 2, 0, 0, 0)
			m.want(name+", the first day there is", m.apply(sendIDs("long", 100, "one", 3, 3, 4)), 1, 1, 1, 0)
			m.apply(func(b *batch.Builder) {
				b.Change(schema.Change{Op: schema.RedefineEvent, Event: "short"})
				b.Change(schema.Change{Op: schema.DropEvent, Event: "short"})
			})
			m.set(m.now.AddDate(0, 0, 500))
			m.compactSame()
			m.reopen()
			m.want(name+", much later", m.apply(sendIDs("long", 99, "one", 3)), 0, 0, 0, 1)
			m.want(name+", much later", m.apply(sendIDs("long", 100, "one", 3, 4)), 0, 1, 1, 0)
			if p := m.problems(); p != "" {
				t.Error(p)
			}
		}
	}
}

func (m *actModel) reopen() {
	m.t.Helper()
	if err := m.db.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open()
}

// TestIDsAreKept: as long as one event type is kept for ever no id is forgotten, in whatever
// order the types were added at once.
func TestIDsAreKept(t *testing.T) {
	short, long := schema.Event{Name: "short", Retention: 20}, schema.Event{Name: "long"}
	for name, types := range map[string][]schema.Event{"alone": {long}, "first": {long, short}, "last": {short, long}} {
		m := newRetained(t, 100)
		m.apply(addEvents(types...))
		m.want(name, m.apply(sendIDs("long", 3, "one", 1, 2)), 1, 0, 1, 0)
		m.set(m.now.AddDate(3, 0, 0))
		m.apply(func(b *batch.Builder) { b.Upsert("k") })
		m.compactSame()
		if n := m.idsBefore(100 * actDay); n != 1 {
			t.Errorf("%s: %d ids are stored", name, n)
		}
		m.want(name+", again", m.apply(sendIDs("long", 3, "one", 1, 2)), 0, 1, 1, 0)
		m.want(name+", an old day", m.apply(sendIDs("long", 4, "one", 1, 2)), 1, 0, 1, 0)
	}
}

// TestIDsWithoutEvents: when the last event type is dropped, what it has forgotten stays so;
// without any there is nothing to forget.
func TestIDsWithoutEvents(t *testing.T) {
	m := newRetained(t, 100)
	horizon := func(what string, want int32) {
		t.Helper()
		if got := m.db.current.Load().IDHorizon(); got != want {
			t.Errorf("%s: the horizon of ids is day %d, want %d", what, got, want)
		}
	}
	drop := func(b *batch.Builder) { b.Change(schema.Change{Op: schema.DropEvent, Event: "short"}) }
	horizon("new", schema.MinDate)
	m.apply(addEvents(schema.Event{Name: "short", Retention: 20}))
	horizon("a type", 80)
	m.set(m.now.AddDate(0, 0, 7))
	m.apply(drop)
	horizon("it is dropped", 87)
	m.set(m.now.AddDate(0, 0, 7))
	m.apply(addEvents(schema.Event{Name: "long"}))
	horizon("another one", 87)
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.RedefineEvent, Event: "long", Retention: 10})
	})
	horizon("it is kept less long", 104)
	m.reopen()
	horizon("opened again", 104)
	m.apply(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.RedefineEvent, Event: "long"}) })
	horizon("it is kept for ever", 104)
}

// TestForgottenIDsLeaveTheDisk: stats and the disk have less of ids when days are forgotten,
// the disk when the last reader is gone.
func TestForgottenIDsLeaveTheDisk(t *testing.T) {
	m := newRetained(t, 100)
	m.apply(addEvents(schema.Event{Name: "short", Retention: 20}))
	for day := range int64(4) {
		m.apply(sendIDs("short", 95+day, "one", 1))
	}
	m.compactSame()
	rows := func() (n int) {
		t.Helper()
		if err := m.db.kv.Scan(t.Context(), keys.Runs(), func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	size := func() int64 {
		t.Helper()
		st, err := m.db.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.BaseBytes["ids"]
	}
	before := size()
	if before == 0 || rows() != 4 {
		t.Fatalf("%d bytes and %d rows of ids", before, rows())
	}
	reader := m.db.acquire()
	m.set(m.now.AddDate(0, 0, 18)) // from day 98 on
	m.apply(func(b *batch.Builder) { b.Upsert("k") })
	if n := m.db.writer.ids.held.Load(); n != 0 {
		t.Errorf("%d ids that are stored are held in memory", n)
	}
	m.compactSame()
	if got := size(); got != before/4 || rows() != 4 {
		t.Errorf("%d bytes, there were %d; %d rows, which a reader may want", got, before, rows())
	}
	reader.era.release()
	m.compactSame()
	if rows() != 1 {
		t.Errorf("%d rows are left", rows())
	}
	m.set(m.now.AddDate(0, 0, 1))
	m.apply(func(b *batch.Builder) { b.Upsert("k") })
	m.compactSame()
	if size() != 0 || rows() != 0 {
		t.Errorf("%d bytes and %d rows are left", size(), rows())
	}
}

type idOfDay struct {
	day int64
	id  string
}

// idTwins are stores that are sent the same.
type idTwins struct {
	t      *testing.T
	r      *rand.Rand
	now    time.Time
	stores []*actModel
	types  map[string]uint32 // event types, with their retention
	taken  map[idOfDay]bool
	gone   map[idOfDay]bool // of these, those that the first store has dropped

	changes, again, late int // schema changes; ids that came again; of these, of a day whose ids are forgotten
}

// TestIDsWhenever sends the same to a store that is compacted at random, to one that is opened
// again at random, and to one that is left alone: outcomes, schemas, digests and answers are
// the same.
func TestIDsWhenever(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	w := &idTwins{t: t, r: rand.New(rand.NewPCG(seed, 1)), types: map[string]uint32{}, taken: map[idOfDay]bool{}, gone: map[idOfDay]bool{}}
	for range 3 {
		w.stores = append(w.stores, newRetained(t, 100))
	}
	w.now = w.stores[0].now
	for range 150 {
		w.now = w.now.Add(time.Duration(w.r.IntN(40)) * time.Hour)
		b := batch.New()
		if len(w.types) == 0 || w.r.IntN(6) == 0 {
			w.change(b)
		}
		ids := w.send(b)
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		w.apply(raw, ids)
		if w.r.IntN(3) == 0 {
			w.compact()
		}
		if w.r.IntN(5) == 0 {
			w.stores[1].reopen()
		}
		if w.r.IntN(10) == 0 {
			w.compare()
		}
	}
	w.compare()
	t.Logf("%d ids dropped, %d came again, %d of these of days that are forgotten; %d schema changes", len(w.gone), w.again, w.late, w.changes)
	if len(w.gone) < 100 || w.again < 200 || w.late < 20 || w.changes < 15 {
		t.Error("too little was forgotten, or came again")
	}
	for _, m := range w.stores {
		if p := m.problems(); p != "" {
			t.Error(p)
		}
	}
}

// change adds, redefines or drops an event type or two.
func (w *idTwins) change(b *batch.Builder) {
	for range 1 + w.r.IntN(2) {
		name, days := fmt.Sprint("e", w.r.IntN(4)), []uint32{0, 4, 4, 4, 9, 9}[w.r.IntN(6)]
		kept, known := w.types[name]
		switch {
		case !known:
			days *= uint32(w.r.IntN(2)) // types that keep longer than the others are to come
			b.Change(schema.Change{Op: schema.AddEvent, Event: name, Retention: days})
			w.types[name] = days
		case w.r.IntN(3) == 0 || kept == 0:
			b.Change(schema.Change{Op: schema.DropEvent, Event: name})
			delete(w.types, name)
		case kept != days:
			b.Change(schema.Change{Op: schema.RedefineEvent, Event: name, Retention: days})
			w.types[name] = days
		}
		w.changes++
	}
}

// send adds events with ids, of days up to 20 days ago, and returns what names their ids.
func (w *idTwins) send(b *batch.Builder) (ids []idOfDay) {
	table := b.Events(nil)
	table.IDSource("shop")
	today := w.now.UnixMilli() / actDay
	for range 1 + w.r.IntN(20) {
		day, id := today-w.r.Int64N(20), fmt.Sprint("id", w.r.IntN(3))
		table.Row([]byte(fmt.Sprint("k", w.r.IntN(3))), []byte(fmt.Sprint("e", w.r.IntN(4))), day*actDay)
		table.ID([]byte(id))
		ids = append(ids, idOfDay{day, id})
	}
	return ids
}

// apply sends a batch to all.
func (w *idTwins) apply(raw batch.Batch, ids []idOfDay) {
	w.t.Helper()
	var first batch.Result
	for i, m := range w.stores {
		m.set(w.now)
		r, err := m.db.Apply(w.t.Context(), raw)
		if err != nil {
			w.t.Fatal(err)
		}
		if i == 0 {
			first = r
		} else if !reflect.DeepEqual(r, first) {
			w.t.Fatalf("store %d: %+v, the first has %+v", i, r, first)
		}
	}
	rejected := map[int]string{}
	for _, bad := range first.Rejected {
		rejected[bad.Row] = bad.Detail
	}
	for row, id := range ids {
		why, bad := rejected[row]
		switch {
		case w.taken[id] && strings.HasPrefix(why, "ids of events before"):
			w.late++
			w.again++
		case w.taken[id]:
			w.again++
		case !bad:
			w.taken[id] = true
		}
	}
}

// compact compacts the first store.
func (w *idTwins) compact() {
	w.t.Helper()
	m := w.stores[0]
	m.compactSame()
	first := int64(m.db.current.Load().IDHorizon())
	if n := m.idsBefore(first * actDay); n > 0 {
		w.t.Fatalf("%d ids of days before %d are left", n, first)
	}
	for x := range w.taken {
		if x.day < first {
			w.gone[x] = true
		}
	}
}

// compare wants all stores to be the same.
func (w *idTwins) compare() {
	w.t.Helper()
	var digests query.Digests
	var types []byte
	var acts []string
	for i, m := range w.stores {
		d, err := m.db.Digests(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		e, list := schema.AppendSchema(nil, m.db.current.Load().Schema), m.read()
		if i == 0 {
			digests, types, acts = d, e, list
		} else if d != digests || !bytes.Equal(e, types) || !reflect.DeepEqual(list, acts) {
			w.t.Fatalf("store %d: %d events, digests %+v, schema\n%x\nthe first has %d, %+v,\n%x", i, len(list), d, e, len(acts), digests, types)
		}
	}
}
