package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// why asks for one person why an expression is what it is, and holds every part, and the
// next change, against CEL's interpreter.
func (m *actModel) why(s *state, text, key string, acts map[schema.EventID][]query.Act, now time.Time) {
	m.t.Helper()
	interpret := func(text string, at time.Time) query.Truth {
		env := query.Env{Now: at}
		expr, err := m.db.compiler.Compile(text, s.catalog(), env)
		if err != nil {
			m.t.Fatalf("%s: %v", text, err)
		}
		truth, _ := expr.Interpret(func(schema.AttrID) schema.Value { return schema.Value{} },
			func(id schema.EventID) []query.Act { return acts[id] }, func(string) bool { return false }, env)
		return truth
	}
	w, err := m.db.Why(m.t.Context(), key, text, &query.WhyOptions{Options: query.Options{Now: now}})
	if err != nil {
		m.t.Fatalf("%s: %v", text, err)
	}
	var part func(p *query.WhyPart)
	part = func(p *query.WhyPart) {
		if want := interpret(p.Text, now); p.Truth != want {
			m.t.Fatalf("%s of %s, now %v: its part %s is %v, the interpreter says %d", text, key, now, p.Text, p.Verdict, want)
		}
		// What is interpreted shows all events that it read.
		if len(p.Of) == 0 && strings.HasSuffix(p.Text, ".any()") && !strings.Contains(p.Text, `"!"`) && !strings.HasPrefix(p.Text, "sequence") && (p.Lists[0].Total > 0) != (p.Truth == query.True) {
			m.t.Fatalf("%s is %v, of %d events", p.Text, p.Verdict, p.Lists[0].Total)
		}
		for i := range p.Of {
			part(&p.Of[i])
		}
	}
	part(&w.Root)
	next := w.Next
	if next.NotDerivable != "" || next.Refused != "" {
		m.t.Fatalf("%s: %+v", text, next)
	}
	end := next.At // nothing changes before
	if end.IsZero() {
		end = now.Add(200 * 24 * time.Hour)
		m.never++
	} else {
		m.changes++
		if got := interpret(text, next.At); got != next.To.Truth || next.To == w.Root.Verdict {
			m.t.Fatalf("%s of %s, now %v: from %v to %v at %v, the interpreter says %d then", text, key, now, w.Root.Verdict, next.To, next.At, got)
		}
	}
	for k := range 12 {
		at := end.Add(-time.Millisecond)
		if k > 0 {
			at = now.Add(time.Duration(m.r.Int64N(int64(end.Sub(now))))).Truncate(time.Millisecond)
		}
		if got := interpret(text, at); got != w.Root.Truth {
			m.t.Fatalf("%s of %s, now %v: %v until %v, but at %v it is %d", text, key, now, w.Root.Verdict, end, at, got)
		}
	}
}

// recent compares a person's last events, as many as are asked for, with the timeline.
func (m *actModel) recent(s *state, key string, now time.Time) {
	m.t.Helper()
	var types []string
	for i := range s.Schema.Events {
		types = append(types, s.Schema.Events[i].Name)
	}
	o := query.Options{Now: now}
	t, err := m.db.Timeline(m.t.Context(), key, &query.TimelineOptions{Options: o, Events: types, Limit: query.MaxTimeline})
	if err != nil {
		m.t.Fatal(err)
	}
	for asked, want := range map[int]int{-1: 0, 0: query.RecentEvents, 1: 1, 100: 100} {
		p, err := m.db.Profile(m.t.Context(), key, &query.ProfileOptions{Options: o, Events: asked})
		want = min(want, len(t.Events))
		if err != nil || fmt.Sprint(p.Events) != fmt.Sprint(t.Events[:want]) {
			m.t.Fatalf("%d of the last events of %s: %v, %v, want %v", asked, key, p.Events, err, t.Events[:want])
		}
	}
	if _, err := m.db.Profile(m.t.Context(), key, &query.ProfileOptions{Options: o, Events: query.MaxTimeline + 1}); err == nil {
		m.t.Fatal("more events than a timeline has are shown")
	}
}

// lifetime compares what a person's events come to with the sums of the list.
func (m *actModel) lifetime(s *state, key string, acts map[schema.EventID][]query.Act, now time.Time) {
	m.t.Helper()
	p, err := m.db.Profile(m.t.Context(), key, &query.ProfileOptions{Options: query.Options{Now: now}, Lifetime: true})
	if err != nil {
		m.t.Fatal(err)
	}
	want := ""
	for i := range s.Schema.Events {
		e := &s.Schema.Events[i]
		var first, last, n, some, sum, least, most int64
		for _, a := range acts[e.ID] {
			if a.Time > now.UnixMilli() {
				continue
			}
			if n++; n == 1 {
				first = a.Time
			}
			last = a.Time
			for k, v := range a.Values {
				if e.Properties[k].Name != "amount" || v.IsAbsent() {
					continue
				}
				if some++; some == 1 {
					least, most = v.Ordered(), v.Ordered()
				}
				sum, least, most = sum+v.Ordered(), min(least, v.Ordered()), max(most, v.Ordered())
			}
		}
		if n > 0 {
			want += fmt.Sprint(e.Name, n, first, last)
		}
		if some > 0 {
			want += fmt.Sprint("amount", schema.DecimalValue(sum, 2), schema.DecimalValue(least, 2), schema.DecimalValue(most, 2))
		}
	}
	got := ""
	for _, l := range p.Lifetime {
		got += fmt.Sprint(l.Event, l.Count, l.First.UnixMilli(), l.Last.UnixMilli())
		for _, x := range l.Properties {
			got += fmt.Sprint(x.Name, x.Sum, x.Min, x.Max)
		}
	}
	if got != want {
		m.t.Fatalf("the events of %s come to %s, want %s", key, got, want)
	}
}

// TestPlanReads: a plan tells which parts and blocks of events it did without.
func TestPlanReads(t *testing.T) {
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	for day := int64(10); day < 90; day += 40 { // two spans of 30 days, of several blocks each
		for k := range int64(10) {
			m.apply(func(b *batch.Builder) {
				table := b.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
				for i := range int64(1000) {
					table.Row([]byte(fmt.Sprint("k", k*1000+i)), []byte("buy"), day*actDay+i)
					table.Int(0, k*1000+i)
				}
			})
		}
	}
	if err := m.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads := func(text string) query.EventReads {
		t.Helper()
		p, err := m.db.Plan(t.Context(), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Root.Events
	}
	all, known := reads("buy.distinct_days(\"UTC\") >= 2"), reads("buy.count() >= 2")
	if known != (query.EventReads{Parts: all.Parts, Facts: 3}) {
		t.Errorf("of what all events come to: %+v", known)
	}
	one, few := reads(`buy.between(timestamp("1970-02-10T00:00:00Z"), now).count() >= 2`), reads("buy.filter(e, e.amount < 1.0).count() >= 2")
	if all.Parts < 2 || all.Blocks < 6 || all != (query.EventReads{Parts: all.Parts, Blocks: all.Blocks}) {
		t.Errorf("of everything: %+v", all)
	}
	if one.OtherParts == 0 || one.Parts+one.OtherParts != all.Parts || one.Blocks >= all.Blocks {
		t.Errorf("of one span: %+v, of all %+v", one, all)
	}
	if few.Parts != all.Parts || few.OtherValues == 0 || few.Blocks+few.OtherValues != all.Blocks {
		t.Errorf("of few values: %+v, of all %+v", few, all)
	}
	p, err := m.db.Plan(t.Context(), "buy.filter(e, e.amount < 0.01).count() >= 2 && buy.distinct_days(\"UTC\") >= 2", nil)
	if err != nil || p.Root.Of[1].Events.OtherPeople == 0 {
		t.Errorf("of the one person who is left: %+v, %v", p.Root.Of[1].Events, err)
	}
	p, err = m.db.Plan(t.Context(), "buy.filter(e, e.amount < 0.01).count() >= 2 && buy.count() >= 2", nil)
	if err != nil || p.Root.Of[1].Events.Facts != 1 || p.Root.Of[1].Method != "facts, events, counted" {
		t.Errorf("of the one person who is left: %+v, %v", p.Root.Of[1], err)
	}
	if got := reads("true"); got != (query.EventReads{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
