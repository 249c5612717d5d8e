package schema

import "iter"

// PositionProperty is the property of a change that says which log record made it. No
// attribute and no property has this id.
const PositionProperty AttrID = 5

// ChangeType returns the type of events as which the changes of an attribute with history
// are stored; nil without history. A change has the received time of the record that made
// it and two properties: that record's position, and the value before, under the
// attribute's own id, absent if there was none. So the value at a time is the one before
// the first change that came later, or the current one. Its id is not the attribute's:
// history that is turned off and on again must not find what it had before.
//
// It is no event of the language: it is in neither [Schema.Events] nor [Schema.All].
func (a *Attribute) ChangeType() *Event {
	if a.Changes == 0 {
		return nil
	}
	before := Attribute{ID: a.ID, Name: a.Name, Kind: a.Kind, Scale: a.Scale, Storage: a.Storage}
	return &Event{ID: a.Changes, Name: a.Name, Properties: []Attribute{{ID: PositionProperty, Name: "position", Kind: Int}, before}}
}

// numberChanges gives the changes of an attribute with history an id, next if they have
// none, and takes it away without history. It returns the next id.
func (a *Attribute) numberChanges(next AttrID) AttrID {
	switch {
	case !a.History:
		a.Changes = 0
	case a.Changes == 0:
		a.Changes = EventID(next)
		next++
	}
	return next
}

// KeepsHistory reports whether an attribute has history.
func (s *Schema) KeepsHistory() bool { return len(s.changes) > 0 }

// Stored yields the event types and then the types of changes: whatever is stored as events.
func (s *Schema) Stored() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for i := range s.Events {
			if !yield(&s.Events[i]) {
				return
			}
		}
		for _, e := range s.changes {
			if !yield(e) {
				return
			}
		}
	}
}

// StoredByID returns the event type or type of changes with an id, or nil.
func (s *Schema) StoredByID(id EventID) *Event {
	if e := s.EventByID(id); e != nil {
		return e
	}
	for _, e := range s.changes {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// ChangedBy returns the attribute whose changes are events of a type, nil if no attribute's are.
func (s *Schema) ChangedBy(id EventID) *Attribute {
	for i := range s.Attributes {
		if a := &s.Attributes[i]; a.Changes == id && id != 0 {
			return a
		}
	}
	return nil
}
