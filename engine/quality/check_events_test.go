package quality

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// eventSchema is testSchema with event types: the properties of buy and view have one name
// in common but for the kind, and one of the same kind with other rules.
func eventSchema() *schema.Schema {
	s := testSchema()
	text := schema.StringValue
	changes := []schema.Change{{Op: schema.AddEvent, Event: "buy"}, {Op: schema.AddEvent, Event: "view"}, {Op: schema.AddEvent, Event: "Åpen"}}
	add := func(event string, properties ...schema.Attribute) {
		for _, p := range properties {
			changes = append(changes, schema.Change{Op: schema.AddProperty, Event: event, Name: p.Name, Attribute: p})
		}
	}
	add("buy", schema.Attribute{Name: "amount", Kind: schema.Decimal, Scale: 2, Min: schema.DecimalValue(0, 2), Required: true},
		schema.Attribute{Name: "item", Kind: schema.String}, schema.Attribute{Name: "n", Kind: schema.Int, Max: schema.IntValue(10)},
		schema.Attribute{Name: "tags", Kind: schema.Set, Allowed: []schema.Value{text("red"), text("green")}},
		schema.Attribute{Name: "mail", Kind: schema.String, Storage: schema.StorageInline, PII: true, Format: FormatEmail})
	add("view", schema.Attribute{Name: "item", Kind: schema.Int}, schema.Attribute{Name: "n", Kind: schema.Int, Max: schema.IntValue(99)},
		schema.Attribute{Name: "seen", Kind: schema.Timestamp}, schema.Attribute{Name: "screen", Kind: schema.String, Allowed: []schema.Value{text("home"), text("cart")}})
	for _, c := range changes {
		var err error
		if s, err = s.Apply(c); err != nil {
			panic(err)
		}
	}
	return s
}

// eventColumns are columns that batches of eventSchema's events may have, and one of no property.
var eventColumns = []batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}, {Name: "item", Kind: schema.String}, {Name: "n", Kind: schema.Int},
	{Name: "tags", Kind: schema.Set}, {Name: "mail", Kind: schema.String}, {Name: "item", Kind: schema.Int}, {Name: "seen", Kind: schema.Timestamp},
	{Name: "screen", Kind: schema.String}, {Name: "nope", Kind: schema.Bool}}

const eventReceived = 1_800_000_000_000

func checkEvents(t testing.TB, s *schema.Schema, columns []batch.Column, build func(e *batch.EventTable)) []Verdict {
	t.Helper()
	b := batch.New()
	build(b.Events(columns))
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := batch.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	return CheckAt(d, s, eventReceived)
}

func TestCheckEvents(t *testing.T) {
	s := eventSchema()
	long := []byte(strings.Repeat("x", schema.MaxStringBytes+1))
	const now = eventReceived
	for _, tc := range []struct {
		key, event string
		at         int64
		fill       func(e *batch.EventTable)
		reason     batch.Reason
		detail     string
	}{
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, 5); e.Str(1, []byte("x")); e.Int(2, 10); e.ID([]byte("é")) }, 0, ""},
		{"k", "view", schema.MinTimestamp, func(e *batch.EventTable) { e.Int(5, 5); e.Int(2, 99); e.Str(7, []byte("home")) }, 0, ""},
		{"k", "A\u030apen", now + MaxAhead, func(e *batch.EventTable) {}, 0, ""},
		{"k\xff", "view", now, func(e *batch.EventTable) {}, batch.ReasonEncoding, "key: is not UTF-8"},
		{"k", "sell", now, func(e *batch.EventTable) { e.Int(0, 5) }, batch.ReasonUnknownEvent, `event: there is no event "sell"`},
		{"k", "age", now, func(e *batch.EventTable) {}, batch.ReasonUnknownEvent, `event: there is no event "age"`},
		{"k", "view", now + MaxAhead + 1, func(e *batch.EventTable) {}, batch.ReasonTooFarAhead, "time: 2027-01-16T08:00:00.001Z is more than 24 hours after its receipt"},
		{"k", "view", now, func(e *batch.EventTable) { e.ID([]byte("\xff")) }, batch.ReasonEncoding, "id: the id is not UTF-8"},
		{"k", "view", now, func(e *batch.EventTable) { e.Int(0, 5) }, batch.ReasonUnknownProperty, `amount: the event "view" has no such property`},
		{"k", "view", now, func(e *batch.EventTable) { e.Int(8, 1) }, batch.ReasonUnknownProperty, `nope: the event "view" has no such property`},
		{"k", "view", now, func(e *batch.EventTable) { e.Str(1, []byte("x")) }, batch.ReasonKind, `item: string given, the property of "view" is int`},
		{"k", "view", now, func(e *batch.EventTable) { e.Int(2, 100) }, batch.ReasonOutOfRange, "n: 100 is above the maximum 99"},
		{"k", "view", now, func(e *batch.EventTable) { e.Str(7, []byte("out")) }, batch.ReasonNotAllowed, `screen: "out" is not an allowed value`},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, 5); e.Int(2, 11) }, batch.ReasonOutOfRange, "n: 11 is above the maximum 10"},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, -1) }, batch.ReasonOutOfRange, "amount: -0.01 is below the minimum 0.00"},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(2, 1) }, batch.ReasonRequired, `amount: the event "buy" requires it`},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, 1); e.Elems(3, [][]byte{[]byte("red"), []byte("blue")}) }, batch.ReasonNotAllowed, `tags: "blue" is not an allowed value`},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, 1); e.Str(4, []byte("a")) }, batch.ReasonFormat, "mail: the value is not in the format email"},
		{"k", "buy", now, func(e *batch.EventTable) { e.Int(0, 1); e.Str(1, long) }, batch.ReasonTooLong, "item: 16385 bytes; a string has at most 16384"},
	} {
		got := checkEvents(t, s, eventColumns, func(e *batch.EventTable) {
			e.Row([]byte("a"), []byte("view"), 0)
			e.Int(5, 1)
			e.Row([]byte("b"), []byte("buy"), 0)
			e.Int(0, 1)
			e.Row([]byte(tc.key), []byte(tc.event), tc.at)
			tc.fill(e)
			e.Row([]byte("c"), []byte("buy"), now+MaxAhead)
			e.Int(0, 1)
			e.Int(2, 1)
		})
		var want []Verdict
		if tc.reason != 0 {
			want = []Verdict{{2, tc.reason, tc.detail}}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s: %v, want %v", tc.event, tc.detail, got, want)
		}
	}
	// A required property may have no column at all, or one of another kind.
	for _, columns := range [][]batch.Column{nil, {{Name: "amount", Kind: schema.Decimal, Scale: 3}}} {
		got := checkEvents(t, s, columns, func(e *batch.EventTable) { e.Row([]byte("a"), []byte("buy"), 0) })
		if len(got) != 1 || got[0].Reason != batch.ReasonRequired {
			t.Error(got)
		}
	}
}

// TestCheckEventsOrder: events and upserts share row numbers, a schema change holds for
// what is behind it, and without a clock nothing is too far ahead.
func TestCheckEventsOrder(t *testing.T) {
	b := batch.New()
	b.Upsert("k").Set("age", schema.IntValue(-1))
	early := b.Events(nil)
	early.Row([]byte("k"), []byte("new"), 0)
	b.Change(schema.Change{Op: schema.AddEvent, Event: "new"})
	b.Delete("gone")
	late := b.Events(nil)
	late.Row([]byte("k"), []byte("new"), schema.MaxTimestamp)
	late.Row([]byte("k"), []byte("other"), 0)
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := batch.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	rows := func(verdicts []Verdict) (out []string) {
		for _, v := range verdicts {
			out = append(out, fmt.Sprint(v.Row, " ", v.Reason))
		}
		return out
	}
	if got := rows(CheckAt(d, testSchema(), schema.MaxTimestamp)); !reflect.DeepEqual(got, []string{"0 out of range", "1 unknown event", "4 unknown event"}) {
		t.Error(got)
	}
	if got := rows(CheckAt(d, testSchema(), 0)); !reflect.DeepEqual(got, []string{"0 out of range", "1 unknown event", "3 too far ahead", "4 unknown event"}) {
		t.Error(got)
	}
}

// naiveEvent is what is wrong with row i of events, from the rules in CheckAt's comment.
func naiveEvent(bl *batch.EventBlock, i int, s *schema.Schema) batch.Reason {
	e := s.LookupEvent(string(bl.Names.At(int(bl.Event[i]))))
	cellOf := func(col *batch.BlockColumn) (cell, element int) {
		for j := range i {
			if col.Has(j) {
				if col.Kind == schema.Set {
					element += int(col.Counts[cell])
				}
				cell++
			}
		}
		return cell, element
	}
	if r := naiveText(nil, string(bl.Keys.At(i)), false); r != 0 {
		return r
	}
	if e == nil {
		return batch.ReasonUnknownEvent
	}
	if bl.Times[i] > eventReceived+24*3600*1000 {
		return batch.ReasonTooFarAhead
	}
	if bl.IDs != nil && bl.IDs.Has(i) {
		cell, _ := cellOf(bl.IDs)
		if r := naiveText(nil, string(bl.IDs.Plain.At(cell)), false); r != 0 {
			return r
		}
	}
	has := map[string]bool{}
	for j := range bl.Columns {
		col := &bl.Columns[j]
		if !col.Has(i) {
			continue
		}
		p := e.Lookup(col.Name)
		if p == nil {
			return batch.ReasonUnknownProperty
		}
		cell, element := cellOf(col)
		elements := 0
		if col.Kind == schema.Set {
			elements = int(col.Counts[cell])
		}
		if r := naiveCell(p, col, cell, col.Index[min(element, len(col.Index)):min(element+elements, len(col.Index))]); r != 0 {
			return r
		}
		has[p.Name] = true
	}
	for _, p := range e.Properties {
		if p.Required && !has[p.Name] {
			return batch.ReasonRequired
		}
	}
	return 0
}

// randomEventBatch makes a batch of one block of events, of which one in odds of anything is bad.
func randomEventBatch(t *testing.T, rnd *rand.Rand, s *schema.Schema, odds int) *batch.Decoded {
	t.Helper()
	words := map[string][]string{"item": {"a", "b", "c\xff"}, "tags": {"red", "green", "blue"}, "mail": {"a@b.de", "c@d.e", "@b.de"}, "screen": {"home", "cart", "x"}}
	rare := func() bool { return rnd.IntN(odds) == 0 }
	pick := func(list []string) []byte {
		if rare() {
			return []byte(list[rnd.IntN(len(list))])
		}
		return []byte(list[rnd.IntN(2)])
	}
	types := [][]string{{"buy", "buy", "sell"}, {"view", "view", "x"}, {"buy", "view", "Åpen", "sell"}}[rnd.IntN(3)]
	b := batch.New()
	e := b.Events(eventColumns)
	for range 1 + rnd.IntN(60) {
		at := int64(eventReceived) + rnd.Int64N(MaxAhead)
		if rare() {
			at += MaxAhead
		}
		event := string(pick(types))
		e.Row(pick([]string{"k", "ä", "k\xff"}), []byte(event), at)
		if rnd.IntN(3) == 0 {
			e.ID(pick([]string{"i", "ö", "\xff"}))
		}
		for j, c := range eventColumns {
			p := (*schema.Attribute)(nil)
			if of := s.LookupEvent(event); of != nil {
				p = of.Lookup(c.Name)
			}
			fits := p != nil && p.Kind == c.Kind
			if !fits && (rnd.IntN(20) > 0 || !rare()) || fits && rnd.IntN(4) == 0 && (!p.Required || rare()) {
				continue
			}
			switch {
			case c.Kind == schema.String:
				e.Str(j, pick(words[c.Name]))
			case c.Kind == schema.Set:
				e.Elems(j, [][]byte{pick(words[c.Name]), pick(words[c.Name])})
			case c.Kind == schema.Bool || !rare():
				e.Int(j, rnd.Int64N(2))
			default:
				e.Int(j, rnd.Int64N(150)-20)
			}
		}
	}
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := batch.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCheckEventsRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := eventSchema()
	bad := map[batch.Reason]int{}
	for round := range 400 {
		d := randomEventBatch(t, rnd, s, 1+rnd.IntN(30))
		got := map[int]batch.Reason{}
		for _, v := range CheckAt(d, s, eventReceived) {
			if got[v.Row] != 0 || v.Detail == "" {
				t.Fatalf("round %d: %+v", round, v)
			}
			got[v.Row] = v.Reason
		}
		for i := range d.Rows {
			want := naiveEvent(d.Ops[0].Events, i, s)
			if got[i] != want {
				t.Fatalf("round %d row %d: %q, want %q", round, i, got[i], want)
			}
			bad[want]++
		}
	}
	for _, r := range []batch.Reason{batch.ReasonNone, batch.ReasonEncoding, batch.ReasonUnknownEvent, batch.ReasonTooFarAhead, batch.ReasonUnknownProperty, batch.ReasonKind,
		batch.ReasonOutOfRange, batch.ReasonNotAllowed, batch.ReasonFormat, batch.ReasonRequired} {
		if bad[r] < 10 {
			t.Errorf("reason %q came only %d times", r, bad[r])
		}
	}
}

func BenchmarkCheckEvents(b *testing.B) {
	const rows = 8192
	s := eventSchema()
	bld := batch.New()
	e := bld.Events(eventColumns[:3])
	for i := range rows {
		e.Row(fmt.Appendf(nil, "user-%08d", i), [][]byte{[]byte("buy"), []byte("view"), []byte("view")}[i%3], int64(i))
		if i%3 == 0 {
			e.Int(0, int64(i))
			e.Str(1, fmt.Appendf(nil, "item-%d", i%500))
		}
		e.Int(2, int64(i%10))
	}
	enc, err := bld.Encode()
	if err != nil {
		b.Fatal(err)
	}
	d, err := batch.Decode(enc)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if v := CheckAt(d, s, eventReceived); v != nil {
			b.Fatal(v[0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/event")
}
