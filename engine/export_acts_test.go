package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestExportActs takes stores with events out and in: the events of the model, days past a
// retention that stay forgotten, properties dropped, and events that are equal in all.
func TestExportActs(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "gone"})
		for _, c := range eventChanges() {
			b.Change(c)
		}
		b.Change(schema.Change{Op: schema.DropEvent, Event: "gone"})
	})
	for round := range 5 {
		for range 12 {
			m.write()()
			switch m.r.IntN(4) {
			case 0:
				m.remove()
			case 1:
				m.compact("round")
			case 2:
				m.set(m.now.Add(36 * time.Hour))
			}
		}
		m.write()() // so that the record is of now
		m.compare("before")
		for range 10 {
			m.person(m.key())
		}
		if round == 4 {
			m.apply(func(b *batch.Builder) {
				b.Change(schema.Change{Op: schema.DropProperty, Event: "buy", Name: "note"})
			})
		}
		other := m.imported(round == 3)
		if round < 3 {
			other.list = m.list
			other.compare("imported")
			for range 10 {
				other.timeline("imported")
			}
		}
		if err := other.db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		report, err := other.db.Check(t.Context(), nil)
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("%v %q", err, report.Problems)
		}
		if err := other.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if m.written < 300 {
		t.Errorf("only %d events: too few to tell", m.written)
	}
}

// imported exports the store and imports it into another. If that is later, what is past its
// retention by then is in what is compared, and forgotten afterwards.
func (m *actModel) imported(later bool) *actModel {
	m.t.Helper()
	want, err := m.db.Digests(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := m.db.ExportAll(m.t.Context(), portable.ToStream(&out), nil); err != nil {
		m.t.Fatal(err)
	}
	other := &actModel{t: m.t, r: m.r, fs: vfs.NewMem(), keep: m.keep, now: m.now}
	if later {
		other.now = m.now.Add(10 * 24 * time.Hour)
	}
	other.open()
	r, err := portable.OpenStream(&out)
	if err != nil {
		m.t.Fatal(err)
	}
	in, err := portable.Import(m.t.Context(), other.db, r, nil)
	if err != nil || in.Content != want.Content {
		m.t.Fatalf("content %x, want %x (%v)", in.Content, want.Content, err)
	}
	after, err := other.db.Digests(m.t.Context())
	if err != nil || (after.Content == want.Content) == later {
		m.t.Fatalf("with all rules the content is %x, exported were %x (%v)", after.Content, want.Content, err)
	}
	a, b := m.db.current.Load().Schema, other.db.current.Load().Schema
	for i := range a.Events {
		x, y := a.Events[i], b.Events[i]
		x.Forgotten, x.Reduced = 0, false // what is forgotten is not there to be seen again
		if fmt.Sprintf("%+v", x) != fmt.Sprintf("%+v", y) {
			m.t.Fatalf("%+v, want %+v", y, x)
		}
	}
	return other
}

// person compares the export of one person with the model's events, in any order.
func (m *actModel) person(key string) {
	m.t.Helper()
	var out bytes.Buffer
	err := m.db.Export(m.t.Context(), key, &out)
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) && out.Len() == 0 {
		if slices.ContainsFunc(m.list, func(a modelAct) bool { return a.key == key }) {
			m.t.Fatal(err)
		}
		return
	}
	var got struct {
		Key    string
		Events []struct {
			Time, Event string
			Properties  map[string]any
		}
	}
	dec := json.NewDecoder(&out)
	dec.UseNumber()
	if err := errors.Join(err, dec.Decode(&got)); err != nil || got.Key != key || dec.More() {
		m.t.Fatal(got.Key, err)
	}
	var has, want []string
	for _, e := range got.Events {
		text := e.Event + " " + e.Time
		for _, name := range []string{"item", "amount", "note", "tags", "gift"} {
			switch v := e.Properties[name].(type) {
			case nil:
			case []any:
				text += fmt.Sprintf(" %s=%s|%s", name, v[0], v[1])
			default:
				text += fmt.Sprintf(" %s=%v", name, v)
			}
		}
		has = append(has, text)
	}
	for _, a := range m.list {
		if a.key == key {
			want = append(want, a.event+" "+schema.TimestampValue(a.time).String()+a.props)
		}
	}
	slices.Sort(has)
	slices.Sort(want)
	if !slices.Equal(has, want) {
		m.t.Fatalf("%s has\n%q, want\n%q", key, has, want)
	}
}

// TestExportOfMany: a person's events and quarantined rows are written page by page, whole
// and once; events ahead of the clock are among them.
func TestExportOfMany(t *testing.T) {
	s := newIDSender(t)
	const events = 3*exportPage + 7
	s.apply(func(b *batch.Builder) {
		b.Upsert("bo")
		table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}})
		for i := range events {
			table.Row([]byte("anna"), []byte("buy"), 100*actDay+3_600_000-int64(i/2)*1000)
			table.Str(0, fmt.Append(nil, "item ", i%3))
		}
	})
	b := batch.New()
	for i := range 2*exportPage + 5 {
		b.Quarantine("f.csv", batch.BadRow{Line: uint64(i + 1), Reason: batch.ReasonRagged, Detail: "d", Raw: []string{"anna,1", "annabel,1", "bo-anna,2", `"x";"anna"`}[i%4]})
	}
	raw, err := b.Encode()
	if err == nil {
		_, err = s.db.Apply(t.Context(), raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.db.Export(t.Context(), "anna", &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Events     []json.RawMessage
		Quarantine []struct{ Line, Raw string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for _, q := range got.Quarantine {
		lines[q.Line] = true
	}
	if len(got.Events) != events || len(lines) != 1003 || len(got.Quarantine) != 1003 {
		t.Errorf("%d events, %d rows of the quarantine, %d of them different", len(got.Events), len(got.Quarantine), len(lines))
	}
}
