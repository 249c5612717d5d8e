package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file writes a story into a store, and what a policy leaves of it into another one.

// policyStory is what was written, to be written again.
type policyStory struct {
	*actModel // its store has all
	writes    []policyWrite
	people    map[string]bool // who lives
	lists     []string
	named     []policyText
}

// policyWrite is a batch.
type policyWrite struct {
	at     time.Time
	cells  []policyCell
	acts   []policyAct
	lists  map[string][]string
	delete []string
}

// policyCell is a value of a person; of no attribute: the person is there.
type policyCell struct {
	key, attribute string
	value          schema.Value
}

type policyAct struct {
	key, event string
	time       int64
	values     map[string]schema.Value
}

// policyTables are the attributes and events of the story.
func policyAttributes() []schema.Attribute {
	return []schema.Attribute{
		{Name: "country", Kind: schema.String, Class: schema.Demographic, History: true},
		{Name: "age", Kind: schema.Int, Class: schema.Demographic, History: true},
		{Name: "score", Kind: schema.Float},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2, Class: schema.Transaction},
		{Name: "joined", Kind: schema.Date, Class: schema.Acquisition},
		{Name: "seen", Kind: schema.Timestamp, Class: schema.Activity, History: true},
		{Name: "likes", Kind: schema.Set, Class: schema.Psychographic, History: true},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true, PII: true},
		{Name: "code", Kind: schema.Int, Unique: true, History: true},
		{Name: "nick", Kind: schema.String, Storage: schema.StorageInline, PII: true, Class: schema.Correspondence, History: true},
		{Name: "active", Kind: schema.Bool, Class: schema.Activity},
	}
}

// policyEvents are the event types, with some classes.
func policyEvents() (out []schema.Change) {
	for _, c := range eventChanges() {
		switch {
		case c.Op == schema.AddEvent && c.Event == "look":
			c.Class = schema.Activity
		case c.Op == schema.AddEvent:
			c.Class = schema.Transaction
		case c.Name == "note":
			c.Attribute.PII = true
		case c.Name == "gift":
			c.Attribute.Class = schema.Psychographic
		}
		out = append(out, c)
	}
	return out
}

func policyChanges() (out []schema.Change) {
	for _, a := range policyAttributes() {
		out = append(out, schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	return append(out, policyEvents()...)
}

// openPolicyStore opens an empty store whose people lie in two chunks.
func (s *policyStory) openPolicyStore() *DB {
	s.t.Helper()
	o := &Options{FS: vfs.NewMem(), Clock: s.clock, FirstOrdinal: 65_536 - 35}
	LowerLimits(o, 40, 200, 50)
	db, err := Open("store", o)
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

// draw makes a value of an attribute or a property.
func (s *policyStory) draw(a *schema.Attribute, key string) schema.Value {
	n := s.r.Int64N(6)
	switch a.Kind {
	case schema.Int:
		if a.Unique {
			return schema.IntValue(int64(len(key))*1000 + int64(key[len(key)-1])*10 + n%2 + 100_000*int64(key[1]))
		}
		return schema.IntValue(20 + n)
	case schema.Float:
		return schema.FloatValue(float64(n) / 4)
	case schema.Decimal:
		return schema.DecimalValue(50*n, 2)
	case schema.Date:
		return schema.DateValue(90 + n)
	case schema.Timestamp:
		return schema.TimestampValue((90 + n) * actDay)
	case schema.Bool:
		return schema.BoolValue(n%2 == 0)
	case schema.Set:
		return schema.SetValue([]string{"t0", "t1", "t2", "z"}[:n%4+1]...)
	}
	if a.Unique {
		return schema.StringValue(fmt.Sprintf("%s@%d", key, n%2))
	}
	return schema.StringValue(fmt.Sprintf("%s %d", a.Name, n))
}

// step writes a batch at random.
func (s *policyStory) step() {
	s.t.Helper()
	if s.r.IntN(2) == 0 {
		s.set(s.now.Add(time.Duration(1+s.r.IntN(30)) * time.Hour))
	}
	w := policyWrite{at: s.now, lists: map[string][]string{}}
	be := func(key string) {
		if !s.people[key] && !slices.ContainsFunc(w.cells, func(c policyCell) bool { return c.key == key }) {
			w.cells = append(w.cells, policyCell{key: key})
		}
	}
	switch k := s.r.IntN(12); {
	case k == 0:
		w.delete = []string{s.key(), s.key()}
	case k == 1:
		list := pickOne(s.actModel, s.lists...)
		for range 20 {
			if key := s.key(); s.people[key] {
				w.lists[list] = append(w.lists[list], key)
			}
		}
	case k < 6:
		attributes := policyAttributes()
		for range 1 + s.r.IntN(25) {
			a := pickOne(s.actModel, attributes...)
			c := policyCell{s.key(), a.Name, schema.Value{}}
			be(c.key)
			if s.r.IntN(6) > 0 {
				c.value = s.draw(&a, c.key)
			}
			w.cells = append(w.cells, c)
		}
	default:
		for range 1 + s.r.IntN(30) {
			act := policyAct{key: s.key(), event: pickOne(s.actModel, "buy", "look"), values: map[string]schema.Value{}}
			be(act.key)
			act.time = (s.now.UnixMilli()/actDay-18+s.r.Int64N(18))*actDay + s.r.Int64N(4)*3_600_000
			for _, c := range policyEvents() {
				if c.Op == schema.AddProperty && c.Event == act.event && s.r.IntN(3) > 0 {
					act.values[c.Name] = s.draw(&c.Attribute, act.key)
				}
			}
			w.acts = append(w.acts, act)
		}
	}
	s.writes = append(s.writes, w)
	s.write(s.db, &w, everything)
	for _, c := range w.cells {
		s.people[c.key] = true
	}
	for _, key := range w.delete {
		delete(s.people, key)
	}
}

// policySees says what a store gets of a story: of a person, an attribute, an event type, a
// property of one.
type policySees func(kind, name, of string) bool

func everything(string, string, string) bool { return true }

// write writes what a store gets of a batch. A tick makes it a record of its time, be it empty.
func (s *policyStory) write(db *DB, w *policyWrite, sees policySees) {
	s.t.Helper()
	s.told.Store(w.at.UnixMilli())
	defer func() { s.told.Store(s.now.UnixMilli()) }()
	b := batch.New()
	b.Tick()
	for _, c := range w.cells {
		if !sees("person", c.key, "") {
			continue
		}
		row := b.Upsert(c.key)
		switch {
		case c.attribute == "" || !sees("attribute", c.attribute, ""):
		case c.value.IsAbsent():
			row.Unset(c.attribute)
		default:
			row.Set(c.attribute, c.value)
		}
	}
	for name, keys := range w.lists {
		if keys = seen(keys, sees); len(keys) > 0 && sees("list", name, "") {
			b.ListAdd(name, keys...)
		}
	}
	if gone := seen(w.delete, sees); len(gone) > 0 {
		b.Delete(gone...)
	}
	s.writeActs(b, w, sees)
	raw, err := b.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := db.Apply(s.t.Context(), raw)
	if err != nil || r.Refused > 0 || r.Quarantined > 0 && len(w.delete) == 0 {
		s.t.Fatalf("%+v: %v", r, err)
	}
}

// seen returns those of some people that a store gets.
func seen(keys []string, sees policySees) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !sees("person", key, "") })
}

func (s *policyStory) writeActs(b *batch.Builder, w *policyWrite, sees policySees) {
	if !slices.ContainsFunc(w.acts, func(a policyAct) bool { return sees("person", a.key, "") && sees("event", a.event, "") }) {
		return
	}
	columns := []batch.Column{{Name: "item", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2},
		{Name: "note", Kind: schema.String}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool}}
	table := b.Events(columns)
	for _, a := range w.acts {
		if !sees("person", a.key, "") || !sees("event", a.event, "") {
			continue
		}
		table.Row([]byte(a.key), []byte(a.event), a.time)
		for i, c := range columns {
			v := a.values[c.Name]
			if v.IsAbsent() || !sees("property", c.Name, a.event) {
				continue
			}
			switch c.Kind {
			case schema.String:
				table.Str(i, []byte(v.Str()))
			case schema.Set:
				var elements [][]byte
				for _, e := range v.Elements() {
					elements = append(elements, []byte(e))
				}
				table.Elems(i, elements)
			default:
				table.Int(i, v.Ordered())
			}
		}
	}
}

// try applies a batch that may be refused, and reports whether it was not.
func (s *policyStory) try(db *DB, fill func(b *batch.Builder)) bool {
	s.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = db.Apply(s.t.Context(), raw)
	return err == nil
}

// policyText is a saved text.
type policyText struct {
	kind, name, text string // "segment", "attribute" (a computed one) or "definition"
	args             query.Arguments
}

func (x *policyText) save(b *batch.Builder) {
	switch x.kind {
	case "segment":
		b.SaveSegment(x.name, x.text)
	case "attribute":
		b.Change(schema.Change{Op: schema.AddComputed, Name: x.name, Text: x.text})
	default:
		b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: x.name, Who: x.text, Arguments: x.args})
	}
}

// texts saves what has a name, some of it by the name of what was saved before.
func (s *policyStory) texts() (out []policyText) {
	for i := range 14 {
		x := policyText{kind: pickOne(s.actModel, "segment", "segment", "attribute", "definition"), name: fmt.Sprint("name ", i), text: s.expression()}
		switch x.kind {
		case "attribute":
			if s.r.IntN(2) == 0 {
				x.text = s.value()
			}
		case "definition":
			list, event := s.events()
			x.args = query.Arguments{"event": {list}, "bins": {"3"}, "map": {`r1-3f1-3=some`}}
			if event == "buy" && s.r.IntN(2) == 0 {
				x.args["amount"] = []string{"e.amount"}
			}
			if s.r.IntN(2) == 0 {
				x.text = ""
			}
		}
		if s.try(s.db, x.save) {
			out = append(out, x)
			s.named = append(s.named, x)
		}
	}
	return out
}

// newPolicyStory writes a story.
func newPolicyStory(m *actModel) *policyStory {
	s := &policyStory{actModel: m, people: map[string]bool{}, lists: []string{"staff", "guests"}}
	m.set(time.UnixMilli(100*actDay + 12345).UTC())
	m.db = s.openPolicyStore()
	s.try(s.db, func(b *batch.Builder) {
		for _, c := range policyChanges() {
			b.Change(c)
		}
		b.ListPut("staff")
		b.ListPut("guests")
	})
	for i := range 60 {
		s.step()
		if s.r.IntN(10) == 0 || i == 40 {
			if err := s.db.Compact(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return s
}

// plain makes a store that has only what is seen of a story.
func (s *policyStory) plain(r *rand.Rand, texts []policyText, sees policySees) *DB {
	s.t.Helper()
	db := s.openPolicyStore()
	s.told.Store(100*actDay + 12345)
	s.try(db, func(b *batch.Builder) {
		for _, c := range policyChanges() {
			b.Change(c)
		}
		for _, a := range policyAttributes() {
			if !sees("attribute", a.Name, "") {
				b.Change(schema.Change{Op: schema.Drop, Name: a.Name})
			}
		}
		for _, c := range policyEvents() {
			switch {
			case c.Op == schema.AddEvent && !sees("event", c.Event, ""):
				b.Change(schema.Change{Op: schema.DropEvent, Event: c.Event})
			case c.Op == schema.AddProperty && sees("event", c.Event, "") && !sees("property", c.Name, c.Event):
				b.Change(schema.Change{Op: schema.DropProperty, Event: c.Event, Name: c.Name})
			}
		}
		for _, name := range s.lists {
			if sees("list", name, "") {
				b.ListPut(name)
			}
		}
	})
	for i := range s.writes {
		s.write(db, &s.writes[i], sees)
		if r.IntN(10) == 0 {
			if err := db.Compact(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for i := range texts {
		if sees(texts[i].kind, texts[i].name, "") {
			s.try(db, texts[i].save)
		}
	}
	return db
}
