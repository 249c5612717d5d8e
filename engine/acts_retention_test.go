package engine

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/index/schema"
)

// What the model knows of retention: how many days each event type is kept, before which
// time it had forgotten all when it came to be kept longer, and before which time ids had
// been forgotten when a type came that keeps longer.

type modelRetention struct {
	days map[string]uint32
	past map[string]int64
	late time.Time // the last received time
	ids  int64

	redefined, forgotten, refused int // how often a type was redefined, an id was dropped, and an event had one of such a day
}

func newModelRetention() modelRetention {
	return modelRetention{days: map[string]uint32{"buy": 0, "look": 20}, past: map[string]int64{}, ids: schema.MinTimestamp}
}

// horizon is the time before which nothing of an event type is seen.
func (m *actModel) horizon(event string) int64 {
	h, ok := m.keep.past[event]
	if !ok {
		h = schema.MinTimestamp
	}
	if days := m.keep.days[event]; days > 0 {
		h = max(h, (m.keep.late.UnixMilli()/actDay-int64(days))*actDay)
	}
	return h
}

// idHorizon is the time before which no event may have an id.
func (m *actModel) idHorizon() int64 {
	all := int64(schema.MaxTimestamp)
	for event := range m.keep.days {
		all = min(all, m.horizon(event))
	}
	return max(m.keep.ids, all)
}

// received is for when something is written now.
func (m *actModel) received() {
	m.keep.late = m.now
	m.list = slices.DeleteFunc(m.list, func(a modelAct) bool { return a.time < m.horizon(a.event) })
}

// redefine changes how long an event type is kept.
func (m *actModel) redefine() {
	event, days := pickOne(m, "buy", "look"), pickOne[uint32](m, 0, 9, 9, 9, 20, 20, 45)
	if m.keep.days[event] == days {
		return
	}
	m.received()
	before := m.horizon(event)
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.RedefineEvent, Event: event, Retention: days})
	})
	if m.keep.days[event] = days; m.horizon(event) < before {
		m.keep.past[event] = before
	}
	m.received()
	m.keep.redefined++
}

// admit adds an event type that is kept for ever.
func (m *actModel) admit() {
	if len(m.keep.days) > 2 {
		return
	}
	m.received()
	m.keep.ids = m.idHorizon()
	m.apply(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.AddEvent, Event: "third"}) })
	m.keep.days["third"] = 0
}

// compact folds everything: no digest changes, and parts past their retention are gone, with
// the ids that are forgotten.
func (m *actModel) compact(name string) {
	m.t.Helper()
	before, err := m.db.Digests(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.db.Compact(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	after, err := m.db.Digests(m.t.Context())
	if err != nil || before != after {
		m.t.Fatalf("%s: compaction changes the digests (%v)\n%+v\n%+v", name, err, before, after)
	}
	s := m.db.current.Load()
	if got, want := int64(s.IDHorizon())*actDay, m.idHorizon(); got != want {
		m.t.Fatalf("%s: the horizon of ids is %d, want %d", name, got, want)
	}
	if n := m.idsBefore(m.idHorizon()); n > 0 {
		m.t.Fatalf("%s: %d ids are left", name, n)
	}
	for id := range m.ids {
		if day, _ := strconv.ParseInt(strings.Split(id, "/")[1], 10, 64); day*actDay < m.idHorizon() {
			delete(m.ids, id)
			m.keep.forgotten++
		}
	}
	for i := range s.Schema.Events {
		e := &s.Schema.Events[i]
		if got, want := s.Horizon(e), m.horizon(e.Name); got != want {
			m.t.Fatalf("%s: the horizon of %s is %d, want %d", name, e.Name, got, want)
		}
		for _, u := range s.Acts[e.ID] {
			for _, p := range u.Parts {
				if p.Last < m.horizon(e.Name) {
					m.t.Fatalf("%s: a part of %s with events up to %d is there, and %d is the horizon", name, e.Name, p.Last, m.horizon(e.Name))
				}
			}
		}
	}
}

// idsBefore counts the stored ids of events before a time.
func (m *actModel) idsBefore(t int64) (n uint64) {
	for _, r := range m.db.current.Load().ids.Runs {
		if int64(r.ID.Day)*actDay < t {
			n += r.IDs
		}
	}
	return n
}

// checkRetention fails if the model has seen too little, or stats tell something else.
func (m *actModel) checkRetention(written int) {
	m.t.Helper()
	st, err := m.db.Stats(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("%d events written, %d stored, of these %d past their retention, %d dropped; %+v", written, st.Events, st.EventsPast, st.EventsDropped, m.keep)
	if st.Events+st.EventsDropped != uint64(written) || st.Events-st.EventsPast < uint64(len(m.list)) {
		m.t.Errorf("%d events are seen; stats: %+v", len(m.list), st)
	}
	if !testing.Short() && (st.EventsDropped < 100 || m.keep.redefined < 3 || m.keep.forgotten < 100 || m.keep.refused < 20) {
		m.t.Error("too little was forgotten")
	}
}

// TestRetention: the parts of a span lose their days when they are written again, whole
// parts at once; no answer changes, and stats say what is kept away.
func TestRetention(t *testing.T) {
	m := busyStore(t) // days 90 and 91
	defer func() { _ = m.db.Close() }()
	count := func(want uint64) {
		t.Helper()
		if c, err := m.db.Count(t.Context(), "buy.any()", nil); err != nil || c.Count != want {
			t.Errorf("%d people, want %d (%v)", c.Count, want, err)
		}
	}
	stats := func(events, past, dropped uint64) {
		t.Helper()
		if st, err := m.db.Stats(t.Context()); err != nil || st.Events != events || st.EventsPast != past || st.EventsDropped != dropped {
			t.Errorf("%+v, want %d, %d and %d (%v)", st.Recorded, events, past, dropped, err)
		}
	}
	stats(400, 0, 0)
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.RedefineEvent, Event: "buy", Retention: 9}) // from day 91 on
	})
	count(50)
	stats(400, 200, 0)
	m.compactSame()
	stats(200, 0, 200)
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.RedefineEvent, Event: "buy", Retention: 500})
	})
	stats(200, 0, 200)
	count(50)
	if r := m.buy("k1", 90); r.Quarantined != 1 {
		t.Errorf("an event of a day that is forgotten: %+v", r)
	}
	if r := m.buy("k1", 91); r.Accepted != 1 {
		t.Errorf("an event of a day that is not: %+v", r)
	}
	for day := range int64(9) { // a part of the span from day 90 to 119, which has day 91 too
		m.set(time.UnixMilli((101 + day) * actDay).UTC())
		m.buy("k2", 100+day)
		m.compactSame()
	}
	stats(210, 0, 200)
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.RedefineEvent, Event: "buy", Retention: 10}) // day 99 on
	})
	stats(210, 201, 200)
	count(1)
	m.compactSame()
	stats(210, 201, 200) // they are in the span's part, which nothing is merged into
	for day := range int64(7) {
		m.set(time.UnixMilli((110 + day) * actDay).UTC())
		m.buyMany("k2", 109+day, 30)
		m.compactSame()
	}
	// On day 114 there were enough for the span to be written again, without what was before
	// day 104. Since then two more days have passed.
	stats(215, 2, 405)
	count(1)
	if p := m.problems(); p != "" {
		t.Error(p)
	}
}

// TestExpiredPartsOfOpenedStore: parts are dropped of a store that has been opened again and
// has not settled anything since. Their unit stands for as much of the log as before: what
// is in its other parts is not read from the log a second time.
func TestExpiredPartsOfOpenedStore(t *testing.T) {
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC(), keep: newModelRetention()}
	folds := make(chan struct{}, 1000)
	open := func(limits func(o *Options)) {
		t.Helper()
		m.set(m.now)
		o := &Options{FS: m.fs, Clock: m.clock}
		limits(o)
		o.Hooks.Folded = func(int, int64, time.Duration) { folds <- struct{}{} }
		var err error
		if m.db, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
	}
	unit := func() *base.ActUnit {
		s := m.db.current.Load()
		if units := s.Acts[s.Schema.LookupEvent("buy").ID]; len(units) > 0 {
			return units[0]
		}
		return nil
	}
	reopen := func() {
		t.Helper()
		if err := m.db.Close(); err != nil {
			t.Fatal(err)
		}
		open(func(*Options) {}) // nothing is settled
	}
	open(func(o *Options) { LowerLimits(o, 40, 100_000, 1000) }) // it folds what is old, and the index of keys keeps the log
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy", Retention: 20})
	})
	m.buyMany("k1", 85, 50)
	m.buyMany("k1", 95, 50)
	for unit() == nil || len(unit().Parts) < 2 {
		m.set(m.now.Add(2 * foldAge))
		m.apply(func(b *batch.Builder) { b.Upsert("k1") })
		m.db.compactor.wake()
		runtime.Gosched()
	}
	for len(folds) > 0 {
		<-folds
	}
	reopen()
	before := unit().Folded
	if before <= settledUpTo(m.db.current.Load()) {
		t.Fatalf("the log begins at %d, behind %d: this test tests nothing", settledUpTo(m.db.current.Load()), before)
	}
	m.set(m.now.AddDate(0, 0, 10))
	m.apply(func(b *batch.Builder) { b.Upsert("k1") })
	for len(unit().Parts) > 1 {
		m.db.compactor.wake()
		<-folds
	}
	if unit().Folded < before {
		t.Errorf("the unit stands for the log up to %d, before for that up to %d", unit().Folded, before)
	}
	reopen()
	if n := len(m.read()); n != 50 {
		t.Errorf("%d events, want 50", n)
	}
}

// compactSame is compact for a test that has no model.
func (m *actModel) compactSame() {
	m.t.Helper()
	before, err := m.db.Digests(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.db.Compact(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	if after, err := m.db.Digests(m.t.Context()); err != nil || after != before {
		m.t.Fatalf("compaction changes the digests (%v)\n%+v\n%+v", err, before, after)
	}
}

// buy writes one event.
func (m *actModel) buy(key string, day int64) batch.Result {
	m.t.Helper()
	return m.buyMany(key, day, 1)
}

// buyMany writes so many events of a day.
func (m *actModel) buyMany(key string, day, n int64) batch.Result {
	m.t.Helper()
	return m.apply(func(b *batch.Builder) {
		table := b.Events(nil)
		for i := range n {
			table.Row([]byte(key), []byte("buy"), day*actDay+i)
		}
	})
}

// TestNarrowingSeesWhatIsKept: which events a batch finds depends on its own received time,
// not on that of what happened to be published when it was decided.
func TestNarrowingSeesWhatIsKept(t *testing.T) {
	m := &actModel{t: t, fs: vfs.NewMem(), keep: newModelRetention(), now: time.UnixMilli(100 * actDay).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	amount := schema.Attribute{Name: "amount", Kind: schema.Int}
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy", Retention: 10})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "amount", Attribute: amount})
	})
	m.apply(func(b *batch.Builder) {
		table := b.Events([]batch.Column{{Name: "amount", Kind: schema.Int}})
		table.Row([]byte("ann"), []byte("buy"), 95*actDay)
		table.Int(0, 50)
	})
	amount.Max = schema.IntValue(20)
	narrow := func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.NarrowProperty, Event: "buy", Name: "amount", Attribute: amount})
	}
	m.set(m.now.Add(5 * 24 * time.Hour))
	if _, err := m.submit(narrow)(); err == nil {
		t.Error("narrowed while the event is kept")
	}
	m.set(m.now.Add(24 * time.Hour))
	if _, err := m.submit(narrow)(); err != nil {
		t.Errorf("the event is past its retention: %v", err)
	}
}
