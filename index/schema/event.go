package schema

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
	Properties []Attribute // ids from the schema's counter, ascending; never unique, with history or with storage rules of profiles
	Retention  uint32      // days of the received time after which an event is not seen any more; 0: never
	Class      DataClass
	Deprecated bool
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
