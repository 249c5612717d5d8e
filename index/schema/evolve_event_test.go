package schema

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// applyEventCases are changes of exampleSchema's event purchase and its property amount.
func applyEventCases(base *Schema) []applyCase {
	amount := base.Events[0].Properties[0]
	with := func(edit func(*Attribute)) Attribute { a := amount; edit(&a); return a }
	add := func(a Attribute) Change {
		return Change{Op: AddProperty, Event: "purchase", Name: a.Name, Attribute: a}
	}
	redefine := func(op ChangeOp, a Attribute) Change {
		return Change{Op: op, Event: "purchase", Name: "amount", Attribute: a}
	}
	return []applyCase{
		{"add event", Change{Op: AddEvent, Event: "Order Completed", Retention: 1, Class: Activity}, ""},
		{"add event named as an attribute", Change{Op: AddEvent, Event: "age"}, ""},
		{"add attribute named as an event", Change{Op: AddAttribute, Name: "purchase", Attribute: Attribute{Kind: Int}}, ""},
		{"add event twice", Change{Op: AddEvent, Event: "purchase"}, `add event "purchase": the name is taken`},
		{"add event without a name", Change{Op: AddEvent}, `add event "": the name is empty`},
		{"add event with a control character", Change{Op: AddEvent, Event: "a\nb"}, "control character"},
		{"add event of a strange class", Change{Op: AddEvent, Event: "x", Class: 8}, `add event "x": there is no data class 8`},
		{"add event kept too long", Change{Op: AddEvent, Event: "x", Retention: MaxRetention + 1}, "a retention of 3652060 days"},
		{"add event kept as long as can be", Change{Op: AddEvent, Event: "x", Retention: MaxRetention}, ""},
		{"rename event", Change{Op: RenameEvent, Event: "purchase", To: "order"}, ""},
		{"rename event to an attribute's name", Change{Op: RenameEvent, Event: "purchase", To: "age"}, ""},
		{"rename event to itself", Change{Op: RenameEvent, Event: "purchase", To: "purchase"}, `the name "purchase" is taken`},
		{"rename event to nothing", Change{Op: RenameEvent, Event: "purchase"}, "the name is empty"},
		{"rename a stranger", Change{Op: RenameEvent, Event: "order", To: "x"}, `rename event "order": there is no event "order"`},
		{"deprecate event", Change{Op: DeprecateEvent, Event: "purchase"}, ""},
		{"drop event", Change{Op: DropEvent, Event: "purchase"}, ""},
		{"drop an attribute as event", Change{Op: DropEvent, Event: "age"}, `there is no event "age"`},
		{"keep longer", Change{Op: RedefineEvent, Event: "purchase", Retention: 731, Class: Transaction}, ""},
		{"another class", Change{Op: RedefineEvent, Event: "purchase", Retention: 730}, ""},
		{"redefine nothing", Change{Op: RedefineEvent, Event: "purchase", Retention: 730, Class: Transaction}, "nothing changes"},
		{"add property", add(Attribute{Name: "item", Kind: String}), ""},
		{"add property named as an attribute", add(Attribute{Name: "age", Kind: Int}), ""},
		{"add property to a stranger", Change{Op: AddProperty, Event: "order", Attribute: amount}, `add property "" of event "order": there is no event "order"`},
		{"add property twice", add(Attribute{Name: "amount", Kind: Int}), `add property "amount" of event "purchase": the name is taken`},
		{"add property of two names", Change{Op: AddProperty, Event: "purchase", Name: "x", Attribute: Attribute{Name: "y", Kind: Int}}, `the definition is named "y"`},
		{"add property without a kind", add(Attribute{Name: "x"}), `property "x" of event "purchase": no attribute can have the kind absent`},
		{"add property without a name", Change{Op: AddProperty, Event: "purchase", Attribute: Attribute{Kind: Int}}, "the name is empty"},
		{"add a unique property", add(Attribute{Name: "x", Kind: Int, Unique: true}), "a property cannot be unique"},
		{"add a property with history", add(Attribute{Name: "x", Kind: Int, History: true}), "a property has no history"},
		{"add a property named ts", add(Attribute{Name: "ts", Kind: Timestamp}), `"ts" is the time of every event`},
		{"add personal property", add(Attribute{Name: "x", Kind: String, PII: true}), "nothing personal may stand in a dictionary"},
		{"widen property", redefine(WidenProperty, with(func(a *Attribute) { a.Required = false })), ""},
		{"widen property to narrower", redefine(WidenProperty, with(func(a *Attribute) { a.Max = DecimalValue(1, 2) })), "would not be"},
		{"narrow property", redefine(NarrowProperty, with(func(a *Attribute) { a.Max = DecimalValue(1, 2) })), ""},
		{"widen property to unique", redefine(NarrowProperty, with(func(a *Attribute) { a.Unique = true })), "cannot be unique"},
		{"another kind", redefine(WidenProperty, Attribute{Kind: Int}), "it is decimal(2) and cannot become int"},
		{"rename property", Change{Op: RenameProperty, Event: "purchase", Name: "amount", To: "sum"}, ""},
		{"rename property to ts", Change{Op: RenameProperty, Event: "purchase", Name: "amount", To: "ts"}, "the time of every event"},
		{"rename property to itself", Change{Op: RenameProperty, Event: "purchase", Name: "amount", To: "amount"}, `the name "amount" is taken`},
		{"deprecate property", Change{Op: DeprecateProperty, Event: "purchase", Name: "amount"}, ""},
		{"drop property", Change{Op: DropProperty, Event: "purchase", Name: "amount"}, ""},
		{"drop a strange property", Change{Op: DropProperty, Event: "purchase", Name: "age"}, "the event has no such property"},
	}
}

func TestPropertyStorageStays(t *testing.T) {
	s, err := exampleSchema().Apply(Change{Op: AddProperty, Event: "purchase", Name: "item", Attribute: Attribute{Kind: String}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Apply(Change{Op: WidenProperty, Event: "purchase", Name: "item", Attribute: Attribute{Kind: String, Storage: StorageInline}})
	if err == nil || !strings.Contains(err.Error(), "the storage of a property never changes") {
		t.Fatal(err)
	}
}

func TestEventDeprecationEnds(t *testing.T) {
	s, err := exampleSchema().Apply(Change{Op: DeprecateEvent, Event: "purchase"})
	if err != nil || !s.Events[0].Deprecated {
		t.Fatal(err)
	}
	if _, err := s.Apply(Change{Op: DeprecateEvent, Event: "purchase"}); err == nil {
		t.Fatal("deprecated twice")
	}
	if s, err = s.Apply(Change{Op: RedefineEvent, Event: "purchase", Retention: 730, Class: Transaction}); err != nil || s.Events[0].Deprecated {
		t.Fatalf("a new definition does not end the deprecation: %v", err)
	}
}

func TestClashes(t *testing.T) {
	s := New(0, 0, []Attribute{{ID: 16, Name: "b"}, {ID: 17, Name: "x"}, {ID: 18, Name: "a"}}, Event{ID: 19, Name: "a"}, Event{ID: 20, Name: "y"}, Event{ID: 21, Name: "b"})
	s.Computed = []Computed{{"z", "1"}, {"y", "1"}}
	if got := s.Clashes(); !slices.Equal(got, []string{"b", "a", "y"}) {
		t.Fatal(got)
	}
}

// TestForget: what is forgotten is noted, and everything else stays as it was.
func TestForget(t *testing.T) {
	s := exampleSchema()
	want := exampleSchema()
	want.Events[0].Forgotten = 739001
	requireSameSchema(t, s.Forget(18, MinDate+739001), want)
	want.ForgottenIDs = 738001
	requireSameSchema(t, s.Forget(18, MinDate+739001).ForgetIDs(MinDate+738001), want)
	requireSameSchema(t, s, exampleSchema())
	for _, c := range []Change{{Op: DropEvent, Event: "purchase"}, {Op: Drop, Name: "age"}, {Op: DropComputed, Name: "orders"}} {
		if after, err := s.Apply(c); err != nil || after.ForgottenIDs != s.ForgottenIDs {
			t.Errorf("%+v: ids of %d days are forgotten, want %d (%v)", c, after.ForgottenIDs, s.ForgottenIDs, err)
		}
	}
}

func TestEventLimits(t *testing.T) {
	events := make([]Event, MaxEvents)
	for i := range events {
		events[i] = Event{ID: EventID(16 + i), Name: fmt.Sprint("e", i)}
	}
	s := New(0, 5000, nil, events...)
	if _, err := s.Apply(Change{Op: AddEvent, Event: "one more"}); err == nil || !strings.Contains(err.Error(), "there are 1024 events") {
		t.Error(err)
	}
	property := Change{Op: AddProperty, Event: "e0", Name: "p", Attribute: Attribute{Kind: Int}}
	for i := range MaxProperties {
		events[0].Properties = append(events[0].Properties, Attribute{ID: AttrID(5000 + i), Name: fmt.Sprint("p", i), Kind: Int})
	}
	s = New(0, 50000, nil, events...)
	if _, err := s.Apply(property); err == nil || !strings.Contains(err.Error(), "the event has 1024 properties") {
		t.Error(err)
	}
	for i := 1; i < MaxAttributes/MaxProperties; i++ {
		events[i].Properties = events[0].Properties
	}
	s = New(0, 50000, nil, events...)
	property.Event = "e99"
	for _, c := range []Change{property, {Op: AddAttribute, Name: "a", Attribute: Attribute{Kind: Int}}} {
		if _, err := s.Apply(c); err == nil || !strings.Contains(err.Error(), "the schema is full") {
			t.Error(err)
		}
	}
	s = New(0, 1<<32-1, nil, events[:1]...)
	if _, err := s.Apply(Change{Op: AddEvent, Event: "x"}); err == nil {
		t.Error("an id past the last")
	}
}

func TestValidateEvent(t *testing.T) {
	e := Event{Name: "e", Properties: []Attribute{{Name: "x", Kind: Int}, {Name: "y"}}}
	if err := e.Validate(); err == nil || err.Error() != `property "y" of event "e": no attribute can have the kind absent (the kinds are bool, int, float, decimal, string, date, timestamp, set<string>)` {
		t.Error(err)
	}
	e.Properties = e.Properties[:1]
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	e.Retention = MaxRetention + 1
	if err := e.Validate(); err == nil || !strings.HasPrefix(err.Error(), `event "e": a retention`) {
		t.Error(err)
	}
}

// plainSchema is the reference of a schema: attributes and events by name.
type plainSchema struct {
	attributes map[string]Attribute
	events     map[string]*plainEvent
	computed   []Computed
	next       AttrID
}

type plainEvent struct {
	Event
	properties map[string]Attribute
}

// apply does what a change that is possible does.
func (p *plainSchema) apply(c Change) {
	take := func() AttrID { p.next++; return p.next - 1 }
	list, e := p.attributes, p.events[c.Event]
	if c.Op.ofProperty() {
		list = e.properties
	}
	old, def := list[c.Name], c.Attribute
	def.Name = c.Name
	switch c.Op {
	case AddAttribute, AddProperty:
		def.ID, def.Changes = take(), 0
		if def.History {
			def.Changes = EventID(take())
		}
		list[c.Name] = def
	case Widen, Narrow, WidenProperty, NarrowProperty:
		def.ID, def.Changes = old.ID, old.Changes
		if def.History != old.History {
			def.Changes = 0
		}
		if def.History && !old.History {
			def.Changes = EventID(take())
		}
		list[c.Name] = def
	case Rename, RenameProperty:
		delete(list, c.Name)
		old.Name = c.To
		list[c.To] = old
	case Deprecate, DeprecateProperty:
		old.Deprecated = true
		list[c.Name] = old
	case Drop, DropProperty:
		delete(list, c.Name)
		if c.Op == DropProperty {
			p.events[c.Event].Reduced = true
		}
	case SetStorage:
		old.Storage, old.ID = def.Storage, take()
		list[c.Name] = old
	case AddEvent:
		p.events[c.Event] = &plainEvent{Event{ID: EventID(take()), Name: c.Event, Retention: c.Retention, Class: c.Class}, map[string]Attribute{}}
	case RenameEvent:
		delete(p.events, c.Event)
		e.Name = c.To
		p.events[c.To] = e
	case DeprecateEvent:
		e.Deprecated = true
	case DropEvent:
		delete(p.events, c.Event)
	case RedefineEvent:
		e.Retention, e.Class, e.Deprecated = c.Retention, c.Class, false
	case AddComputed:
		p.computed = append(p.computed, Computed{c.Name, c.Text})
	case SetComputed:
		p.computed[p.place(c.Name)].Text = c.Text
	case DropComputed:
		p.computed = slices.Delete(p.computed, p.place(c.Name), p.place(c.Name)+1)
	}
}

func (p *plainSchema) place(computed string) int {
	return slices.IndexFunc(p.computed, func(c Computed) bool { return c.Name == computed })
}

// schema returns what the real one should be.
func (p *plainSchema) schema(version uint64) *Schema {
	ordered := func(m map[string]Attribute) (out []Attribute) {
		for _, a := range m {
			out = append(out, a)
		}
		slices.SortFunc(out, func(a, b Attribute) int { return int(a.ID) - int(b.ID) })
		return out
	}
	var events []Event
	for _, e := range p.events {
		e.Properties = ordered(e.properties)
		events = append(events, e.Event)
	}
	slices.SortFunc(events, func(a, b Event) int { return int(a.ID) - int(b.ID) })
	s := New(version, p.next, ordered(p.attributes), events...)
	s.Computed = slices.Clone(p.computed)
	return s
}

// randomChange makes a change, often a possible one.
func (p *plainSchema) randomChange(r *rand.Rand) Change {
	name := func() string { return fmt.Sprintf("a%d", r.IntN(6)) }
	c := Change{Op: ChangeOp(1 + r.IntN(int(DropComputed))), Name: name(), To: name(), Text: randomText(r), Attribute: randomAttribute(r),
		Retention: uint32(r.IntN(3)), Class: DataClass(r.IntN(9))}
	if c.Op == DropEvent && r.IntN(3) > 0 { // else nobody lives to have properties
		c.Op = AddProperty
	}
	if c.Op.ofEvent() || c.Op.ofProperty() {
		c.Event = name()
		c.Attribute.Unique, c.Attribute.History = r.IntN(20) == 0, r.IntN(20) == 0
	}
	c.Attribute.Name = ""
	list := p.attributes
	if e := p.events[c.Event]; c.Op.ofProperty() && e != nil {
		list = e.properties
	}
	if a, ok := list[c.Name]; ok && r.IntN(4) > 0 && (c.Op == Widen || c.Op == Narrow || c.Op == WidenProperty || c.Op == NarrowProperty) {
		c.Attribute = a
		c.Attribute.Class, c.Attribute.Required = DataClass(r.IntN(8)), r.IntN(2) == 0
		c.Attribute.History = a.History != (c.Event == "" && r.IntN(3) == 0)
	}
	if r.IntN(3) > 0 {
		c.Attribute.Min, c.Attribute.Max, c.Attribute.Allowed, c.Attribute.Format = Value{}, Value{}, nil, ""
	}
	if c.Attribute.Kind != Decimal {
		c.Attribute.Scale = 0
	}
	return c
}

// TestEvolutionModel applies random changes to a schema and to maps of names.
func TestEvolutionModel(t *testing.T) {
	const seed = 14
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	model := &plainSchema{map[string]Attribute{}, map[string]*plainEvent{}, nil, FirstUserAttr}
	s, done := New(0, 0, nil), map[ChangeOp]int{}
	for range 20000 {
		c := model.randomChange(r)
		after, err := s.Apply(c)
		if err != nil {
			continue
		}
		model.apply(c)
		requireSameSchema(t, after, model.schema(s.Version+1))
		for i := range after.Attributes {
			a := &after.Attributes[i]
			if after.Lookup(a.Name) != a || after.ByID(a.ID) != a || a.Validate() != nil {
				t.Fatalf("after %+v: %+v is not valid or not found", c, a)
			}
			if e := a.ChangeType(); (e != nil) != a.History || e != nil && (after.StoredByID(e.ID) == nil || after.EventByID(e.ID) != nil || after.ChangedBy(e.ID) != a) {
				t.Fatalf("after %+v: %+v has the changes %+v", c, a, e)
			}
		}
		for i := range after.Events {
			if e := &after.Events[i]; after.LookupEvent(e.Name) != e || e.Validate() != nil {
				t.Fatalf("after %+v: %+v is not valid or not found", c, e)
			}
		}
		for i := range after.Computed {
			if c := &after.Computed[i]; after.LookupComputed(c.Name) != c || after.Lookup(c.Name) != nil || c.Validate() != nil {
				t.Fatalf("after the change: %+v is not valid, not found, or an attribute", c)
			}
		}
		if back, err := DecodeSchema(AppendSchema(nil, after)); err != nil {
			t.Fatal(err)
		} else {
			requireSameSchema(t, back, after)
		}
		s = after
		done[c.Op]++
	}
	for op := AddAttribute; op <= DropComputed; op++ {
		if done[op] < 20 {
			t.Errorf("%q was possible only %d times: the generator is wrong", op, done[op])
		}
	}
}
