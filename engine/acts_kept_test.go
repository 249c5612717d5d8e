package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// busyStore has two days, each a part, of so many events that presence answers for them.
func busyStore(t *testing.T) *actModel {
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC()}
	m.open()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	for day := range int64(2) {
		m.apply(func(b *batch.Builder) {
			table := b.Events(nil)
			for i := range int64(200) {
				table.Row(fmt.Append(nil, "k", i%50), []byte("buy"), (90+day)*actDay+i*60_000)
			}
		})
		if err := m.db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// part returns a part of the busy store's buys.
func (m *actModel) part(i int) *base.ActPart {
	s := m.db.current.Load()
	return s.Acts[s.Schema.LookupEvent("buy").ID][0].Parts[i]
}

// plant gives what is kept of the only day of a part another value, nil for none.
func (m *actModel) plant(i int, value []byte) {
	m.t.Helper()
	key := m.part(i).ID.Row(keys.Day, 0)
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
	m.db.cache.ForgetParts([]*base.ActPart{m.part(i)})
}

func (m *actModel) problems() string {
	m.t.Helper()
	report, err := m.db.Check(m.t.Context(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Join(report.Problems, "\n")
}

// TestPlantedPresence: check finds what is kept of a day to be of another day, or missing;
// questions find it missing.
func TestPlantedPresence(t *testing.T) {
	m := busyStore(t)
	defer func() { _ = m.db.Close() }()
	const question = "buy.in_last(days(20)).any()"
	if c, err := m.db.Count(t.Context(), question, nil); err != nil || c.Count != 50 {
		t.Fatal(c.Count, err)
	}
	if p := m.problems(); p != "" {
		t.Fatal(p)
	}
	other, err := m.db.kv.Get(m.part(1).ID.Row(keys.Day, 0))
	if err != nil {
		t.Fatal(err)
	}
	other = append([]byte(nil), other...)
	m.plant(0, other)
	if p := m.problems(); !strings.Contains(p, "what is kept of day 90 is not that of its events") {
		t.Errorf("that of another day: %q", p)
	}
	m.plant(0, nil)
	if p := m.problems(); !strings.Contains(p, "what is kept of day 90 of part") {
		t.Errorf("it is missing: %q", p)
	}
	if _, err := m.db.Count(t.Context(), question, nil); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
		t.Errorf("it is missing: %v", err)
	}
}

// TestEdgesOfWindows asks who has an event in windows that begin and end at events, next to
// them, and where days do: of parts of one day, and of one of several.
func TestEdgesOfWindows(t *testing.T) {
	m := newRetained(t, 100)
	m.apply(addEvents(schema.Event{Name: "buy"}))
	type event struct {
		who  int
		time int64
	}
	var events []event
	for day := range int64(12) {
		at, last := (60+day)*actDay, actDay-int64(1)
		if day >= 10 { // the others become one part
			at, last = (80+day)*actDay, 200*60_000
		}
		for i := range int64(200) {
			events = append(events, event{int(i % 50), at + i*60_000})
		}
		events = append(events, event{50 + int(day), at + last})
	}
	for _, some := range [][]event{events[:2010], events[2010:2211], events[2211:]} { // days that are folded together are one part
		m.apply(func(b *batch.Builder) {
			table := b.Events(nil)
			for _, e := range some {
				table.Row(fmt.Append(nil, "k", e.who), []byte("buy"), e.time)
			}
		})
		m.compactSame()
	}
	if p, q, r := m.part(0).ID.Days, m.part(1).ID.Days, m.part(2).ID.Days; p != 30 || q != 1 || r != 1 {
		t.Fatalf("parts of %d, %d and %d days", p, q, r)
	}
	r := rand.New(rand.NewPCG(12, 1))
	edge := func() int64 {
		e := events[r.IntN(len(events))]
		if r.IntN(2) == 0 {
			e = events[len(events)-1-r.IntN(2)*201] // the last of a part of one day
		}
		if r.IntN(4) == 0 {
			return (e.time/actDay+1)*actDay + r.Int64N(3) - 2
		}
		return e.time + r.Int64N(3) - 1
	}
	for range 400 {
		from, to := edge(), edge()
		switch short := r.Int64N(20)*60_000 + r.Int64N(3); r.IntN(4) { // one with few people
		case 0:
			to = from + short
		case 1:
			from = to - short
		case 2:
			from = to / actDay * actDay
		}
		if from, to = min(from, to), max(from, to); from == to {
			continue
		}
		who := map[int]bool{}
		for _, e := range events {
			if e.time >= from && e.time < to {
				who[e.who] = true
			}
		}
		text := fmt.Sprintf("buy.between(timestamp(%q), timestamp(%q)).any()", instant(from), instant(to))
		if c, err := m.db.Count(t.Context(), text, nil); err != nil || int(c.Count) != len(who) {
			t.Fatalf("%s: %d people, want %d (%v)", text, c.Count, len(who), err)
		}
	}
}

// TestPartsOfFolds: a fold makes one part of all days of a span that are over, one of each day
// that is not, and merges the parts of a span that is over and to which it brings nothing,
// if that is worth while.
func TestPartsOfFolds(t *testing.T) {
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100*actDay + 1).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(addEvents(schema.Event{Name: "buy"}))
	fold := func(what, want string, n int64, days ...int64) {
		t.Helper()
		m.apply(func(b *batch.Builder) {
			table := b.Events(nil)
			for _, day := range days {
				for i := range n {
					table.Row(fmt.Append(nil, "k", i), []byte("buy"), day*actDay+i/60)
				}
			}
		})
		m.compactSame()
		s, got := m.db.current.Load(), ""
		for _, p := range s.Acts[s.Schema.LookupEvent("buy").ID][0].Parts {
			got += fmt.Sprintf(" %d-%d:%d", timeline.DayOf(p.First), timeline.DayOf(p.Last), p.Events)
		}
		if p := m.problems(); got != want || p != "" {
			t.Errorf("%s: parts%s, want%s; %s", what, got, want, p)
		}
	}
	fold("two spans, and a day that is not over", " 88-89:200 90-91:200 100-100:100", 100, 91, 88, 100, 90, 89)
	fold("more of a span that is over", " 88-89:200 86-87:200 90-91:200 100-100:100", 100, 87, 86)
	fold("nothing of it", " 86-89:400 90-91:200 92-92:100 100-100:100", 100, 92)
	fold("a few late ones", " 86-89:400 80-81:40 90-91:200 92-92:100 100-100:100", 20, 81, 80)
	fold("too few to write all again", " 86-89:400 80-81:40 90-91:200 92-92:100 93-93:1 100-100:100", 1, 93)
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
