package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// A model of events: a list, with everything looked for from its start.
type actModel struct {
	t     *testing.T
	r     *rand.Rand
	fs    vfs.FS
	db    *DB
	list  []modelAct
	ids   map[string]string // by source, day and id: the content
	now   time.Time
	first uint32       // ordinal
	told  atomic.Int64 // now, for the store's goroutines
	run   uint64
	keep  modelRetention

	written int // events accepted

	asked          int // expressions compared with the interpreter
	funnels        int // people who went on to a step of a funnel
	changes, never int // of these that were asked why: they change some time, or not
}

type modelAct struct {
	key, event, props string
	time              int64
}

const actDay = 86_400_000

func (m *actModel) options() *Options {
	o := &Options{FS: m.fs, Clock: m.clock, FirstOrdinal: m.first}
	LowerLimits(o, 40, 200, 50)
	return o
}

func (m *actModel) clock() time.Time { return time.UnixMilli(m.told.Load()).UTC() }

// set sets the clock.
func (m *actModel) set(now time.Time) {
	m.now = now
	m.told.Store(now.UnixMilli())
}

func (m *actModel) open() {
	m.t.Helper()
	m.set(m.now)
	db, err := Open("store", m.options())
	if err != nil {
		m.t.Fatal(err)
	}
	m.db = db
}

func (m *actModel) apply(fill func(b *batch.Builder)) batch.Result {
	m.t.Helper()
	r, err := m.submit(fill)()
	if err != nil {
		m.t.Fatal(err)
	}
	m.received()
	return r
}

func (m *actModel) submit(fill func(b *batch.Builder)) (wait func() (batch.Result, error)) {
	m.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	wait, err = m.db.Submit(m.t.Context(), raw)
	if err != nil {
		m.t.Fatal(err)
	}
	return wait
}

func eventChanges() (out []schema.Change) {
	out = append(out, schema.Change{Op: schema.AddEvent, Event: "buy"}, schema.Change{Op: schema.AddEvent, Event: "look", Retention: 20})
	for _, a := range []schema.Attribute{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2},
		{Name: "note", Kind: schema.String, Storage: schema.StorageInline}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool}} {
		out = append(out, schema.Change{Op: schema.AddProperty, Event: "buy", Name: a.Name, Attribute: a})
	}
	return append(out, schema.Change{Op: schema.AddProperty, Event: "look", Name: "item", Attribute: schema.Attribute{Name: "item", Kind: schema.String}})
}

// TestActModel writes events at random, with and without ids, in any order of time, again
// and in conflict, deletes profiles, compacts and opens again, and reads every event back.
func TestActModel(t *testing.T) {
	t.Parallel()
	const seed = 4
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	steps := Rounds(220, 45)
	for step := range steps {
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(48)) * time.Hour))
		}
		switch k := m.r.IntN(22); {
		case k == 20:
			m.redefine()
		case k == 21:
			if step > steps*15/22 {
				m.admit()
			}
		case k < 14:
			var checks []func()
			for range 1 + m.r.IntN(3) { // under way together
				checks = append(checks, m.write())
			}
			for _, check := range checks {
				check()
			}
		case k < 16:
			m.remove()
		case k < 18:
			m.compact(fmt.Sprint("step ", step))
		default:
			before, err := m.db.Digests(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := m.db.Close(); err != nil {
				t.Fatal(err)
			}
			m.open()
			if after, err := m.db.Digests(t.Context()); err != nil || after.Content != before.Content || after.Replica != before.Replica {
				t.Fatalf("step %d: opened again, other digests (%v)", step, err)
			}
		}
		if m.r.IntN(4) == 0 {
			m.compare(fmt.Sprint("step ", step))
		}
		m.timeline(fmt.Sprint("step ", step))
		m.ask(fmt.Sprint("step ", step))
		m.analyses(fmt.Sprint("step ", step))
	}
	m.compare("end")
	m.compact("end")
	m.compare("compacted")
	m.checkRetention(m.written)
	report, err := m.db.Check(t.Context(), nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("%v %q", err, report.Problems)
	}
	m.sameContent()
	t.Logf("%d events, %d expressions compared; %d change, %d never do", len(m.list), m.asked, m.changes, m.never)
	if least := Rounds(40, 5); m.changes < least || m.never < least {
		t.Error("too few expressions change, or stay as they are")
	}
}

// anyEvent picks one of the event types there are.
func (m *actModel) anyEvent() string {
	if len(m.keep.days) > 2 && m.r.IntN(4) == 0 {
		return "third"
	}
	return pickOne(m, "buy", "look")
}

func (m *actModel) key() string { return fmt.Sprint("k", m.r.IntN(60)) }

// write submits one batch of events; check waits for its outcome.
func (m *actModel) write() (check func()) {
	var want struct{ accepted, quarantined, duplicates uint64 }
	m.received()
	today := m.now.UnixMilli() / actDay
	source := ""
	wait := m.submit(func(b *batch.Builder) {
		if m.r.IntN(2) == 0 {
			source = "shop"
			m.run++
			b.Source(source, m.run, 1)
		}
		table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2},
			{Name: "note", Kind: schema.String}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool}})
		for range 1 + m.r.IntN(25) {
			a := modelAct{key: m.key(), event: m.anyEvent(), time: (today-40+m.r.Int64N(40))*actDay + m.r.Int64N(4)*3_600_000}
			table.Row([]byte(a.key), []byte(a.event), a.time)
			a.props = m.fill(table, a.event)
			id := ""
			if m.r.IntN(2) == 0 {
				id = fmt.Sprint("id", m.r.IntN(400))
				table.ID([]byte(id))
			}
			switch m.claim(source, id, a) {
			case "late", "conflict":
				want.quarantined++
			case "again":
				want.duplicates++
			default:
				want.accepted++
				m.written++
				m.list = append(m.list, a)
			}
		}
	})
	return func() {
		m.t.Helper()
		r, err := wait()
		if err != nil || r.Accepted != want.accepted || r.Quarantined != want.quarantined || r.Duplicates != want.duplicates || r.Received != r.Accepted+r.Quarantined+r.Duplicates+r.Refused {
			m.t.Fatalf("%+v %v, want %+v", r, err, want)
		}
	}
}

// fill gives an event random properties and returns them as a text.
func (m *actModel) fill(table *batch.EventTable, event string) string {
	s := ""
	if event == "third" {
		return s
	}
	if m.r.IntN(3) > 0 {
		v := fmt.Sprint("item ", m.r.IntN(5))
		table.Str(0, []byte(v))
		s += " item=" + v
	}
	if event == "look" {
		return s
	}
	if m.r.IntN(3) > 0 {
		n := m.r.Int64N(300)
		table.Int(1, n)
		s += " amount=" + schema.DecimalValue(n, 2).String()
	}
	if m.r.IntN(3) == 0 {
		v := fmt.Sprint("note ", m.r.IntN(3))
		table.Str(2, []byte(v))
		s += " note=" + v
	}
	if m.r.IntN(2) == 0 {
		tags := [][]byte{[]byte("z"), []byte(fmt.Sprint("t", m.r.IntN(3)))}
		table.Elems(3, tags)
		s += fmt.Sprintf(" tags=%s|z", tags[1])
	}
	if n := m.r.Int64N(4); n < 2 {
		table.Int(4, n)
		s += fmt.Sprint(" gift=", n == 1)
	}
	return s
}

// claim says what becomes of an event.
func (m *actModel) claim(source, id string, a modelAct) string {
	if a.time < m.horizon(a.event) {
		return "late"
	}
	if id == "" {
		return ""
	}
	if a.time < m.idHorizon() {
		m.keep.refused++
		return "late"
	}
	name := fmt.Sprint(source, "/", a.time/actDay, "/", id)
	content := fmt.Sprint(a)
	switch first, seen := m.ids[name]; {
	case !seen:
		m.ids[name] = content
		return ""
	case first == content:
		return "again"
	}
	return "conflict"
}

func (m *actModel) remove() {
	key := m.key()
	m.received()
	r := m.apply(func(b *batch.Builder) { b.Delete(key) })
	if r.Accepted == 0 {
		return
	}
	m.list = slices.DeleteFunc(m.list, func(a modelAct) bool { return a.key == key })
	// The key may come back as somebody new: an event of before is then another's.
	for name, content := range m.ids {
		if len(content) > len(key)+2 && content[1:len(key)+2] == key+" " {
			m.ids[name] = "of the dead"
		}
	}
}

// compare reads all events.
func (m *actModel) compare(name string) {
	m.t.Helper()
	got, want := m.read(), []string{}
	for _, a := range m.list {
		want = append(want, fmt.Sprint(a.key, " ", a.event, " ", a.time, a.props))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				m.t.Fatalf("%s: %d events, want %d; the first that differs:\n%s\n%s", name, len(got), len(want), got[i], want[i])
			}
		}
		m.t.Fatalf("%s: %d events, want %d", name, len(got), len(want))
	}
}

func (m *actModel) read() []string {
	s := m.db.acquire()
	defer s.era.release()
	v := view.View{S: &s.State}
	c := v.NewCursor()
	out := []string{}
	for i := range s.Schema.Events {
		e := &s.Schema.Events[i]
		scan := &query.EventScan{Event: e.ID, From: schema.MinTimestamp, To: schema.MaxTimestamp, Times: true}
		for k := range e.Properties {
			scan.Properties = append(scan.Properties, e.Properties[k].ID)
		}
		for chunk := range v.Chunks() {
			err := c.Events(scan, chunk, nil, func(b *query.EventBlock) error {
				keys := make([][]byte, len(b.Ords))
				unique := slices.Compact(slices.Sorted(slices.Values(b.Ords)))
				texts := make([][]byte, len(unique))
				if err := c.GatherStrings(schema.KeyAttr, chunk, unique, texts); err != nil {
					return err
				}
				for n, o := range b.Ords {
					at, _ := slices.BinarySearch(unique, o)
					keys[n] = texts[at]
					out = append(out, fmt.Sprint(string(keys[n]), " ", e.Name, " ", b.Times[n], propsOf(s, e, b, n)))
				}
				return nil
			})
			if err != nil {
				m.t.Fatal(err)
			}
		}
	}
	slices.Sort(out)
	return out
}

// timeline reads one profile's events page by page.
func (m *actModel) timeline(name string) {
	m.t.Helper()
	key := m.key()
	o := &query.TimelineOptions{Limit: 1 + m.r.IntN(4)}
	var want []modelAct
	wanted := func(a modelAct) bool { return a.key == key }
	if m.r.IntN(2) == 0 {
		o.From, o.To, o.Events = time.UnixMilli(70*actDay), time.UnixMilli(95*actDay), []string{"buy"}
		wanted = func(a modelAct) bool {
			return a.key == key && a.event == "buy" && a.time >= 70*actDay && a.time < 95*actDay
		}
	}
	for _, a := range m.list {
		if wanted(a) {
			want = append(want, a)
		}
	}
	slices.SortStableFunc(want, func(a, b modelAct) int {
		return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(b.event, a.event))
	})
	var got []modelAct
	for {
		page, err := m.db.Timeline(m.t.Context(), key, o)
		if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) && len(want) == 0 {
			return
		}
		if err != nil || len(page.Events) > o.Limit {
			m.t.Fatalf("%s: %d events, %v", name, len(page.Events), err)
		}
		for _, e := range page.Events {
			a := modelAct{key: key, event: e.Event, time: e.Time.UnixMilli()}
			for _, p := range e.Properties {
				a.props += " " + p.Name + "=" + p.Value.String()
			}
			got = append(got, a)
		}
		if o.After = page.Next; o.After == "" {
			break
		}
	}
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = got[i].event == want[i].event && got[i].time == want[i].time
	}
	text := func(list []modelAct) (out []string) {
		for _, a := range list {
			out = append(out, fmt.Sprint(a))
		}
		slices.Sort(out)
		return out
	}
	if !same || !slices.Equal(text(got), text(want)) {
		m.t.Fatalf("%s: the timeline of %s is\n%q, want\n%q", name, key, text(got), text(want))
	}
}

func propsOf(s *state, e *schema.Event, b *query.EventBlock, n int) (out string) {
	for k := range e.Properties {
		p, c := &e.Properties[k], &b.Columns[k]
		has := c.Present == nil || c.Present[n>>6]>>(n&63)&1 != 0
		switch {
		case p.Kind == schema.Set:
			from := uint32(0)
			if n > 0 {
				from = c.Sets.Ends[n-1]
			}
			if codes := c.Sets.Codes[from:c.Sets.Ends[n]]; len(codes) > 0 {
				out += " " + p.Name + "=" + schema.SetValue(textsOf(s, p.ID, codes)...).String()
			}
		case c.Codes != nil && c.Codes[n] == schema.NoCode || !has:
		case p.Kind == schema.Bool:
			out += fmt.Sprint(" ", p.Name, "=", c.Codes[n] == 1)
		case p.Inline():
			out += " " + p.Name + "=" + string(c.Texts[n])
		case p.Kind == schema.String:
			out += " " + p.Name + "=" + s.Dicts[p.ID].String(c.Codes[n])
		default:
			out += " " + p.Name + "=" + schema.FromOrdered(p.Kind, p.Scale, c.Ints[n]).String()
		}
	}
	return out
}

// sameContent writes what is left into a store of its own, in another order, without ids:
// the content is the same.
func (m *actModel) sameContent() {
	want, err := m.db.Digests(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	var keys []string
	members, err := m.db.Members(m.t.Context(), "true", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for row, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		keys = append(keys, row.Key)
	}
	other := &actModel{t: m.t, r: m.r, fs: vfs.NewMem(), ids: map[string]string{}, now: m.keep.late}
	other.open()
	defer func() { _ = other.db.Close() }()
	other.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			if c.Op == schema.AddEvent {
				c.Retention = m.keep.days[c.Event]
			}
			b.Change(c)
		}
		b.Change(schema.Change{Op: schema.AddEvent, Event: "third"})
		for _, k := range keys {
			b.Upsert(k)
		}
	})
	m.r.Shuffle(len(m.list), func(i, j int) { m.list[i], m.list[j] = m.list[j], m.list[i] })
	other.list = m.list
	for i, a := range m.list {
		other.apply(func(b *batch.Builder) { sendAgain(b, a) })
		if i == len(m.list)/2 {
			if err := other.db.Compact(m.t.Context()); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	other.compare("another order")
	got, err := other.db.Digests(m.t.Context())
	if err != nil || got.Content != want.Content {
		m.t.Fatalf("the same events in another order have the content %x, want %x (%v)", got.Content, want.Content, err)
	}
}

// sendAgain adds an event of the model, whose properties are read from their text.
func sendAgain(b *batch.Builder, a modelAct) {
	table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2},
		{Name: "note", Kind: schema.String}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool}})
	table.Row([]byte(a.key), []byte(a.event), a.time)
	for rest := a.props; rest != ""; {
		var name, value string
		name, value, rest = cutProperty(rest)
		switch name {
		case "item":
			table.Str(0, []byte(value))
		case "amount":
			n, err := schema.ParseOrdered(schema.Decimal, 2, []byte(value), time.UTC)
			if err != nil {
				panic(err)
			}
			table.Int(1, n)
		case "note":
			table.Str(2, []byte(value))
		case "tags":
			table.Elems(3, [][]byte{[]byte(value[:2]), []byte(value[3:])})
		case "gift":
			n := int64(0)
			if value == "true" {
				n = 1
			}
			table.Int(4, n)
		}
	}
}

// cutProperty takes " name=value" off the front of a text; a value may have one space.
func cutProperty(s string) (name, value, rest string) {
	s = s[1:]
	eq := slices.Index([]byte(s), '=')
	name, s = s[:eq], s[eq+1:]
	for i := 0; i < len(s); i++ {
		if s[i] == ' ' && slices.Contains([]byte(s[i+1:]), '=') {
			word := s[i+1:]
			if end := slices.Index([]byte(word), '='); !slices.Contains([]byte(word[:end]), ' ') {
				return name, s[:i], s[i:]
			}
		}
	}
	return name, s, ""
}

// TestStrictEvents: a strict batch creates no profile.
func TestStrictEvents(t *testing.T) {
	m := &actModel{t: t, fs: vfs.NewMem(), now: time.UnixMilli(100 * actDay).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		b.Upsert("anna")
	})
	send := func(key string) error {
		b := batch.New()
		b.Strict(true)
		b.Events(nil).Row([]byte(key), []byte("buy"), 99*actDay)
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.db.Apply(t.Context(), raw)
		return err
	}
	if err := send("nobody"); !errors.Is(err, &query.Error{Code: query.CodeRefused}) {
		t.Errorf("an event of nobody: %v", err)
	}
	if err := send("anna"); err != nil {
		t.Error(err)
	}
	if got := m.read(); len(got) != 1 || got[0] != fmt.Sprint("anna buy ", 99*actDay) {
		t.Errorf("%q", got)
	}
}
