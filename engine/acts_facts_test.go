package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// factsModel is a list of acts, of which everything is worked out from its start.
type factsModel struct {
	actModel
	acts  []factsAct
	added int // properties

	seen map[string]int // how questions were answered
}

type factsAct struct {
	key, event  string
	time        int64
	qty, amount *int64
}

// factsQuestion is one about all acts of a type up to now, and what it means.
type factsQuestion struct {
	text string
	is   func(acts []factsAct) bool
}

func (m *factsModel) question(event string) factsQuestion {
	least := m.r.Int64N(6)
	counted := func(acts []factsAct) int64 { return int64(len(acts)) }
	numbers := func(acts []factsAct, of func(a *factsAct) *int64) (out []int64) {
		for i := range acts {
			if n := of(&acts[i]); n != nil {
				out = append(out, *n)
			}
		}
		return out
	}
	sum := func(list []int64) (n int64) {
		for _, x := range list {
			n += x
		}
		return n
	}
	name, of, limit, unit := "qty", func(a *factsAct) *int64 { return a.qty }, m.r.Int64N(40)-10, "%d"
	if m.r.IntN(2) == 0 {
		name, of, unit = "amount", func(a *factsAct) *int64 { return a.amount }, "%d.00"
	}
	scaled := limit
	if name == "amount" {
		scaled = limit * 100
	}
	value := fmt.Sprintf(unit, limit)
	fold := func(text string, is func(list []int64) bool) factsQuestion {
		return factsQuestion{fmt.Sprintf(text, event, name, value), func(acts []factsAct) bool { return is(numbers(acts, of)) }}
	}
	switch m.r.IntN(9) {
	case 0:
		return factsQuestion{fmt.Sprintf("%s.count() >= %d", event, least), func(acts []factsAct) bool { return counted(acts) >= least }}
	case 1:
		return factsQuestion{fmt.Sprintf("%s.count() == %d", event, least), func(acts []factsAct) bool { return counted(acts) == least }}
	case 2:
		return factsQuestion{fmt.Sprintf("%s.count() < %d", event, least), func(acts []factsAct) bool { return counted(acts) < least }}
	case 3:
		return factsQuestion{fmt.Sprintf("%s.count() * 2 > %d", event, 2*least), func(acts []factsAct) bool { return 2*counted(acts) > 2*least }}
	case 4:
		return fold("%s.sum(e, e.%s) > %s", func(list []int64) bool { return sum(list) > scaled })
	case 5:
		return fold("%s.min(e, e.%s) <= %s", func(list []int64) bool { return len(list) > 0 && slices.Min(list) <= scaled })
	case 6:
		return fold("%s.max(e, e.%s) > %s", func(list []int64) bool { return len(list) > 0 && slices.Max(list) > scaled })
	case 7:
		return fold("%s.avg(e, e.%s) >= %s", func(list []int64) bool { return len(list) > 0 && sum(list) >= scaled*int64(len(list)) })
	}
	return factsQuestion{fmt.Sprintf("%s.any() && %s.count() <= %d", event, event, least),
		func(acts []factsAct) bool { return len(acts) > 0 && counted(acts) <= least }}
}

// askFacts compares the answers to some questions with the model's.
func (m *factsModel) askFacts(name string) {
	m.t.Helper()
	for range 4 {
		event := pickOne(&m.actModel, "buy", "look")
		q := m.question(event)
		now := m.now.Add(time.Duration(m.r.Int64N(20)-12) * 12 * time.Hour)
		horizon := int64(0)
		if event == "look" {
			horizon = m.now.UnixMilli()/actDay*actDay - 20*actDay
		}
		own := map[string][]factsAct{}
		members, err := m.db.Members(m.t.Context(), "true", nil)
		if err != nil {
			m.t.Fatal(err)
		}
		for row := range members.Rows {
			own[row.Key] = nil
		}
		for _, a := range m.acts {
			if a.event == event && a.time >= horizon && a.time <= now.UnixMilli() {
				own[a.key] = append(own[a.key], a)
			}
		}
		var want []string
		for key, acts := range own {
			if q.is(acts) {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		got := m.membersOf(q.text, now)
		if !slices.Equal(got, want) {
			m.t.Fatalf("%s, now %v: %s\n%q, want\n%q", name, now, q.text, got, want)
		}
		m.plan(q.text, now, len(want))
	}
}

// askOne lists the acts of one profile in some days: the parts that facts say have none of
// them are not read.
func (m *factsModel) askOne(name string) {
	m.t.Helper()
	key := fmt.Sprint("k", m.r.IntN(40))
	o := &query.TimelineOptions{Options: query.Options{Now: m.now}, Events: []string{pickOne(&m.actModel, "buy", "look")}, Limit: 1000}
	if m.r.IntN(2) == 0 {
		o.From = m.now.Add(-time.Duration(1+m.r.IntN(60)) * 12 * time.Hour)
		o.To = o.From.Add(time.Duration(1+m.r.IntN(20)) * 12 * time.Hour)
	}
	got, err := m.db.Timeline(m.t.Context(), key, o)
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return // it has been deleted
	}
	if err != nil {
		m.t.Fatal(err)
	}
	want := 0
	for _, a := range m.acts {
		in := a.key == key && a.event == o.Events[0] && a.time <= m.now.UnixMilli()
		if a.event == "look" {
			in = in && a.time >= m.now.UnixMilli()/actDay*actDay-20*actDay
		}
		if in && (o.From.IsZero() || a.time >= o.From.UnixMilli() && a.time < o.To.UnixMilli()) {
			want++
		}
	}
	if len(got.Events) != want {
		m.t.Fatalf("%s: %d acts of %s, %+v, want %d", name, len(got.Events), key, o, want)
	}
}

func (m *factsModel) membersOf(text string, now time.Time) (keys []string) {
	m.t.Helper()
	members, err := m.db.Members(m.t.Context(), text, &query.MembersOptions{Options: query.Options{Now: now}})
	if err != nil {
		m.t.Fatal(err)
	}
	for row, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		keys = append(keys, row.Key)
	}
	slices.Sort(keys)
	return keys
}

// plan notes how a question is answered. An explanation does without facts.
func (m *factsModel) plan(text string, now time.Time, want int) {
	m.t.Helper()
	p, err := m.db.Plan(m.t.Context(), text, &query.Options{Now: now})
	if err != nil {
		m.t.Fatal(err)
	}
	e, err := m.db.Explain(m.t.Context(), text, &query.Options{Now: now})
	if err != nil || e.Count != uint64(want) || strings.Contains(fmt.Sprint(e.Root), "facts") {
		m.t.Fatalf("%s: explained as %d people, want %d (%+v, %v)", text, e.Count, want, e.Root, err)
	}
	node := p.Root
	for len(node.Of) > 0 {
		node = node.Of[len(node.Of)-1]
	}
	switch {
	case node.Events.Facts == 0:
		m.seen["events"]++
	case node.Events.Blocks == 0:
		m.seen["facts"]++
	default:
		m.seen["both"]++
	}
}

// actOf draws an act: most are of the last days, some late, some of the days to come.
func (m *factsModel) actOf() factsAct {
	a := factsAct{key: fmt.Sprint("k", m.r.IntN(40)), event: pickOne(&m.actModel, "buy", "look"), time: m.now.UnixMilli() - m.r.Int64N(3*actDay)}
	switch m.r.IntN(8) {
	case 0:
		a.time -= m.r.Int64N(30 * actDay)
	case 1:
		a.time = m.now.UnixMilli() + m.r.Int64N(actDay/2)
	}
	if m.r.IntN(3) > 0 {
		a.qty = new(m.r.Int64N(12) - 3)
	}
	if m.r.IntN(3) > 0 {
		a.amount = new(m.r.Int64N(900) - 200)
	}
	return a
}

func (m *factsModel) writeActs() {
	m.apply(func(b *batch.Builder) {
		table := b.Events([]batch.Column{{Name: "qty", Kind: schema.Int}, {Name: "amount", Kind: schema.Decimal, Scale: 2}})
		for range 1 + m.r.IntN(40) {
			a := m.actOf()
			if a.event == "look" && a.time < (m.now.UnixMilli()/actDay-20)*actDay {
				continue // it would be too old
			}
			table.Row([]byte(a.key), []byte(a.event), a.time)
			if a.qty != nil {
				table.Int(0, *a.qty)
			}
			if a.amount != nil {
				table.Int(1, *a.amount)
			}
			m.acts = append(m.acts, a)
		}
	})
}

// reshape adds a number to an event type, or drops one that was added.
func (m *factsModel) reshape() {
	m.apply(func(b *batch.Builder) {
		name := fmt.Sprint("n", m.added)
		if m.added++; m.added%3 == 0 {
			b.Change(schema.Change{Op: schema.DropProperty, Event: "buy", Name: fmt.Sprint("n", m.added-2)})
			return
		}
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: name, Attribute: schema.Attribute{Name: name, Kind: schema.Int}})
	})
}

// TestFactsModel writes events at random, late ones and such of days to come, deletes
// profiles, lets time and a retention pass, compacts, opens again, adds properties, and asks
// what all events of everybody come to.
func TestFactsModel(t *testing.T) {
	t.Parallel()
	const seed = 7
	t.Logf("seed %d", seed)
	m := newFactsModel(t, seed)
	defer func() { _ = m.db.Close() }()
	made := map[uint64]bool{}
	for step := range Rounds(160, 60) {
		name := fmt.Sprint("step ", step)
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(30)) * time.Hour))
		}
		switch k := m.r.IntN(20); {
		case k < 13:
			m.writeActs()
		case k < 14:
			key := fmt.Sprint("k", m.r.IntN(40))
			m.apply(func(b *batch.Builder) { b.Delete(key) })
			m.acts = slices.DeleteFunc(m.acts, func(a factsAct) bool { return a.key == key })
		case k < 16:
			m.compactSame()
			if p := m.problems(); p != "" {
				t.Fatalf("%s: %s", name, p)
			}
			m.noLeftovers(name)
		case k < 17:
			m.reshape()
		case k < 18:
			m.apply(func(b *batch.Builder) { b.Upsert("k0") }) // time has passed
		default:
			if err := m.db.Close(); err != nil {
				t.Fatal(err)
			}
			m.open()
			m.noLeftovers(name)
		}
		m.apply(func(b *batch.Builder) { b.Upsert("k1") }) // so that the horizon is that of now
		m.askFacts(name)
		for range 20 {
			m.askOne(name)
		}
		for event, u := range m.units() {
			if u.Facts != nil {
				made[u.Facts.ID.Number<<8|uint64(event)] = true
			}
		}
	}
	t.Logf("%d acts; answers by %v; facts were made %d times", len(m.acts), m.seen, len(made))
	if m.seen["facts"] < Rounds(40, 10) || m.seen["both"] < Rounds(100, 30) || m.seen["events"] < Rounds(20, 5) || len(made) < Rounds(20, 5) {
		t.Error("too few questions were answered from facts, with or without events, or facts were made too rarely")
	}
}

func newFactsModel(t *testing.T, seed uint64) *factsModel {
	m := &factsModel{actModel: actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), now: time.UnixMilli(100*actDay + 12345).UTC()}, seen: map[string]int{}}
	m.open()
	m.apply(func(b *batch.Builder) {
		for _, e := range []schema.Change{{Event: "buy"}, {Event: "look", Retention: 20}} {
			e.Op = schema.AddEvent
			b.Change(e)
			for _, a := range []schema.Attribute{{Name: "qty", Kind: schema.Int}, {Name: "amount", Kind: schema.Decimal, Scale: 2}} {
				b.Change(schema.Change{Op: schema.AddProperty, Event: e.Event, Name: a.Name, Attribute: a})
			}
		}
	})
	return m
}

// units returns the stored events by type: there is one shard.
func (m *factsModel) units() map[schema.EventID]*base.ActUnit {
	out := map[schema.EventID]*base.ActUnit{}
	for id, units := range m.db.current.Load().Acts {
		out[id] = units[0]
	}
	return out
}

// noLeftovers looks for stored facts that no unit has.
func (m *factsModel) noLeftovers(name string) {
	m.t.Helper()
	if err := m.db.Compact(m.t.Context()); err != nil { // it deletes what nobody reads any more
		m.t.Fatal(err)
	}
	known := map[keys.Facts]bool{}
	for _, u := range m.units() {
		if u.Facts != nil {
			known[u.Facts.ID] = true
		}
	}
	for _, f := range m.storedFacts() {
		if !known[f] {
			m.t.Fatalf("%s: facts %+v are left", name, f)
		}
	}
}

// storedFacts lists the facts in the store, one for each block.
func (m *factsModel) storedFacts() (out []keys.Facts) {
	m.t.Helper()
	err := m.db.kv.Scan(m.t.Context(), keys.AllFacts(), func(k, _ []byte) (bool, error) {
		f, _, _, _ := keys.ParseFacts(k)
		out = append(out, f)
		return true, nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// TestFactsLeft: facts that a crash has left without a unit go once the store is open, and
// those of an event type that is dropped go with it.
func TestFactsLeft(t *testing.T) {
	m := newFactsModel(t, 4)
	defer func() { _ = m.db.Close() }()
	for range 6 {
		m.writeActs()
	}
	m.noLeftovers("compacted")
	before, all := m.facts("buy"), len(m.storedFacts())
	left := keys.Facts{Event: before.ID.Event, Number: 1000}
	m.plantFacts(before, left.Row(keys.Block, 3), []byte("left"))
	if n := len(m.storedFacts()); n != all+1 || all != 2 {
		t.Fatalf("%d blocks, and %d with the one that is left", all, n)
	}
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
	if err := m.db.Compact(t.Context()); err != nil { // which waits for that
		t.Fatal(err)
	}
	if n := len(m.storedFacts()); n != all || m.facts("buy") == nil {
		t.Errorf("%d blocks after opening, want %d", n, all)
	}
	m.apply(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.DropEvent, Event: "buy"}) })
	m.noLeftovers("dropped")
	if n := len(m.storedFacts()); n != 1 {
		t.Errorf("%d blocks, want 1", n)
	}
}

// TestFactsToNow: an event at now counts, and none a millisecond later, if facts are of both.
func TestFactsToNow(t *testing.T) {
	m := newFactsModel(t, 9)
	defer func() { _ = m.db.Close() }()
	for range 6 {
		m.writeActs()
	}
	m.compactSame()
	if m.facts("buy") == nil {
		t.Fatal("there are no facts")
	}
	last := factsAct{}
	for _, a := range m.acts {
		if a.event == "buy" && a.time > last.time {
			last = a
		}
	}
	for _, at := range []int64{last.time - 1, last.time} {
		n := 0
		for _, a := range m.acts {
			if a.event == "buy" && a.key == last.key && a.time <= at {
				n++
			}
		}
		text := fmt.Sprintf("buy.count() == %d", n)
		if got := m.membersOf(text, time.UnixMilli(at)); !slices.Contains(got, last.key) {
			t.Errorf("at %d of %d: %s are %q, without %s", at, last.time, text, got, last.key)
		}
	}
}

// facts returns the facts of a type.
func (m *factsModel) facts(event string) *base.ActFacts {
	if u := m.units()[m.db.current.Load().Schema.LookupEvent(event).ID]; u != nil {
		return u.Facts
	}
	return nil
}

// TestPlantedFacts: check finds facts that are not those of the events, damaged or missing,
// and questions find them damaged or missing.
func TestPlantedFacts(t *testing.T) {
	m := newFactsModel(t, 3)
	defer func() { _ = m.db.Close() }()
	var facts *base.ActFacts
	var blocks [2][]byte
	for i := range blocks {
		for range 6 {
			m.writeActs()
		}
		m.compactSame()
		if facts = m.facts("buy"); facts == nil {
			t.Fatal("there are none")
		}
		b, err := m.db.kv.Get(facts.ID.Row(keys.Block, 0))
		if err != nil {
			t.Fatal(err)
		}
		blocks[i] = slices.Clone(b)
	}
	if p := m.problems(); p != "" {
		t.Fatal(p)
	}
	key, good := facts.ID.Row(keys.Block, 0), blocks[1]
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 4
	for _, x := range []struct {
		what, problem string
		value         []byte
		damaged       bool
	}{
		{"that of before", "block 0 of the lifetime facts is not that of the events", blocks[0], false},
		{"a flipped bit", "block 0 of the lifetime facts of event", flipped, true},
		{"it is missing", "block 0 of the lifetime facts is not that of the events", nil, true},
		{"it is good again", "", good, false},
	} {
		m.plantFacts(facts, key, x.value)
		if p := m.problems(); !strings.Contains(p, x.problem) || (p == "") != (x.problem == "") {
			t.Errorf("%s: %q", x.what, p)
		}
		_, err := m.db.Count(t.Context(), "buy.count() >= 2", nil)
		if errors.Is(err, &query.Error{Code: query.CodeCorrupt}) != x.damaged {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	m.plantFacts(facts, facts.ID.Row(keys.Block, 200), good)
	if p := m.problems(); !strings.Contains(p, "block 200 of the lifetime facts is not that of the events") {
		t.Errorf("a block that nobody is in: %q", p)
	}
}

// plantFacts writes a value, nil for none, behind the back of the store.
func (m *factsModel) plantFacts(f *base.ActFacts, key, value []byte) {
	m.t.Helper()
	b := m.db.kv.NewBatch()
	defer b.Close()
	if value == nil {
		b.Delete(key)
	} else {
		b.Set(key, value)
	}
	if err := b.Commit(false); err != nil {
		m.t.Fatal(err)
	}
	m.db.cache.ForgetFacts(f)
}

// TestFactsAnew: facts are made again when properties have been added, when too many events
// are not in them or are past their retention, and when a part that they are of is cut.
func TestFactsAnew(t *testing.T) {
	m := newFactsModel(t, 5)
	defer func() { _ = m.db.Close() }()
	fold := func(what string, anew bool, n int, days ...int64) *base.ActFacts {
		t.Helper()
		before := m.facts("look")
		m.apply(func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "qty", Kind: schema.Int}})
			for _, day := range days {
				for i := range n {
					table.Row([]byte(fmt.Sprint("k", i)), []byte("look"), day*actDay+int64(i))
					table.Int(0, int64(i))
				}
			}
		})
		m.compactSame()
		after := m.facts("look")
		if (before != after) != anew || after == nil {
			t.Errorf("%s: made again: %v, want %v", what, before != after, anew)
		}
		if p := m.problems(); p != "" {
			t.Errorf("%s: %s", what, p)
		}
		return after
	}
	later := func(days int) { m.set(m.now.Add(time.Duration(days) * 24 * time.Hour)) }
	fold("eight days, which are one part", true, 60, 90, 91, 92, 93, 94, 95, 96, 97)
	fold("a few events more", false, 2, 98)
	later(8) // it is day 108, and day 88 is remembered
	fold("many events more, in one part", true, 300, 99, 100, 103, 106, 107)
	later(12)
	if f := fold("the span is over: the three become one, without what is before day 100", true, 1, 120); f.FirstDay != 100 {
		t.Errorf("of events from day %d on", f.FirstDay)
	}
	later(6)
	fold("six days are past their retention", false, 1, 126)
	later(1)
	if f := fold("seven are", true, 1, 127); f.FirstDay != 107 {
		t.Errorf("of events from day %d on", f.FirstDay)
	}
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddProperty, Event: "look", Name: "more", Attribute: schema.Attribute{Name: "more", Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "look", Name: "text", Attribute: schema.Attribute{Name: "text", Kind: schema.String}})
	})
	if f := fold("there is a number more", true, 1, 127); len(f.Properties) != 3 {
		t.Errorf("of properties %v", f.Properties)
	}
	later(33) // it is day 160
	for day := int64(153); day <= 160; day++ {
		fold("seven days that are over, and today", true, 60, day)
	}
	later(1)
	fold("eight are over and become one, which stays in the facts", false, 1, 161)
	if parts := m.units()[m.db.current.Load().Schema.LookupEvent("look").ID].Parts; len(parts) != 2 {
		t.Errorf("%d parts, want 2", len(parts))
	}
}

// TestCompactingMakesFacts: compacting makes facts of events that are folded already, if these
// are enough, and folds nothing for it else; of more numbers than facts are kept of, the last
// are read from events.
func TestCompactingMakesFacts(t *testing.T) {
	const numbers, most = timeline.MaxFactsProperties + 6, 1 << 40
	o := &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(100 * actDay) }}
	LowerLimits(o, 1000, 1000, 20)
	unit := func(factsFrom uint64, fill func(b *batch.Builder)) *base.ActUnit {
		t.Helper()
		o.limits.factsFrom = factsFrom
		db, err := Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if fill != nil {
			mustApply(t, db, fill)
		}
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range map[int]uint64{0: 1, numbers - 1: 1} {
			expr := fmt.Sprintf("e.sum(e, e.n%d) == %d", i, 45+10*i)
			if n, err := db.Count(t.Context(), expr, nil); err != nil || n.Count != want {
				t.Errorf("%s: %d, want %d (%v)", expr, n.Count, want, err)
			}
		}
		if r, err := db.Check(t.Context(), nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("%v %q", err, r.Problems)
		}
		s := db.current.Load()
		return s.Acts[s.Schema.LookupEvent("e").ID][0]
	}
	first := unit(most, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
		columns := make([]batch.Column, numbers)
		for i := range columns {
			name := fmt.Sprint("n", i)
			columns[i] = batch.Column{Name: name, Kind: schema.Int}
			b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: name, Attribute: schema.Attribute{Name: name, Kind: schema.Int}})
		}
		table := b.Events(columns)
		for i := range 20 {
			table.Row(fmt.Append(nil, "k", i/10), []byte("e"), 99*actDay)
			for k := range columns {
				table.Int(k, int64(i%10+k+1000*(i/10)))
			}
		}
	})
	if again := unit(most, nil); again.ID != first.ID || again.Facts != nil {
		t.Errorf("it was folded again: %+v, was %+v", again.ID, first.ID)
	}
	made := unit(20, nil)
	if made.ID == first.ID || made.Facts == nil || len(made.Facts.Properties) != timeline.MaxFactsProperties {
		t.Fatalf("no facts were made, or of other numbers: %+v", made)
	}
	if again := unit(20, nil); again.ID != made.ID {
		t.Errorf("it was folded again: %+v, was %+v", again.ID, made.ID)
	}
}
