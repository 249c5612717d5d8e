package schema

import "iter"

// Limits of event types.
const (
	// MaxEvents bounds the event types: each has parts of its own for every day and shard.
	MaxEvents = 1 << 10
	// MaxProperties bounds the properties of an event type: each is a column of every part.
	// All of them count towards MaxAttributes too.
	MaxProperties = 1 << 10
	// MaxRetention is the days of the calendar; whoever keeps events longer keeps them for ever.
	MaxRetention = MaxDate - MinDate + 1
)

// timeName is what expressions call the time of an event (e.ts), so no property has it.
const timeName = "ts"

// EventID names an event type for ever. It comes from the same counter as attributes'
// ids: no number means two things in one store.
type EventID uint32

// TimeProperty is the time of an event where a property's id stands: milliseconds UTC,
// of kind timestamp. No attribute and no property has this id.
const TimeProperty AttrID = 3

// Event is a type of event: what its acts are called and which properties they have.
// Treat it as read-only.
type Event struct {
	ID         EventID
	Name       string
	Properties []Attribute // in ascending id order; never unique or with history. Required: every act has it
	Retention  uint32      // days of the received time after which an act is not seen any more, at most MaxRetention; 0: never
	Class      DataClass
	Deprecated bool
	Forgotten  uint32 // acts of so many days of the calendar, from MinDate on, have been past a retention: they stay so when it is made longer
	Reduced    bool   // it has lost a property: acts may be stored in an order, and with sums, in which that has a part
}

// Lookup returns the property with a name, or nil.
func (e *Event) Lookup(name string) *Attribute {
	for i := range e.Properties {
		if e.Properties[i].Name == name {
			return &e.Properties[i]
		}
	}
	return nil
}

// ByID returns the property with an id, or nil.
func (e *Event) ByID(id AttrID) *Attribute {
	for i := range e.Properties {
		if e.Properties[i].ID == id {
			return &e.Properties[i]
		}
	}
	return nil
}

// All yields the attributes and then the properties of all events: everything that has values.
func (s *Schema) All() iter.Seq[*Attribute] {
	return func(yield func(*Attribute) bool) {
		for i := range s.Attributes {
			if !yield(&s.Attributes[i]) {
				return
			}
		}
		for i := range s.Events {
			for j := range s.Events[i].Properties {
				if !yield(&s.Events[i].Properties[j]) {
					return
				}
			}
		}
	}
}

// LookupEvent returns the event type with a name, or nil.
func (s *Schema) LookupEvent(name string) *Event {
	for i := range s.Events {
		if s.Events[i].Name == name {
			return &s.Events[i]
		}
	}
	return nil
}

// EventByID returns the event type with an id, or nil.
func (s *Schema) EventByID(id EventID) *Event {
	for i := range s.Events {
		if s.Events[i].ID == id {
			return &s.Events[i]
		}
	}
	return nil
}

// Property returns a property with its event type, or nils.
func (s *Schema) Property(id AttrID) (*Event, *Attribute) {
	for i := range s.Events {
		for j := range s.Events[i].Properties {
			if s.Events[i].Properties[j].ID == id {
				return &s.Events[i], &s.Events[i].Properties[j]
			}
		}
	}
	return nil, nil
}

// Clashes returns the names that an attribute, be it computed, and an event type have in
// common, in order of the attributes. They cannot stand bare in expressions, where they are written
// p["name"] and ev["name"]; whoever changes the schema is told of them.
func (s *Schema) Clashes() (names []string) {
	for i := range s.Attributes {
		if s.LookupEvent(s.Attributes[i].Name) != nil {
			names = append(names, s.Attributes[i].Name)
		}
	}
	for i := range s.Computed {
		if s.LookupEvent(s.Computed[i].Name) != nil {
			names = append(names, s.Computed[i].Name)
		}
	}
	return names
}
