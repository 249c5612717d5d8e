package schema

import (
	"fmt"
	"slices"
)

// changeEvent applies a change of an event type.
func (s *Schema) changeEvent(c Change) (*Schema, error) {
	c.Name = ""
	if c.Op == AddEvent {
		return s.addEvent(c)
	}
	i, err := s.findEvent(&c)
	if err != nil {
		return nil, err
	}
	e := s.Events[i]
	switch c.Op {
	case RenameEvent:
		if s.LookupEvent(c.To) != nil {
			return nil, c.problem(fmt.Sprintf("the name %q is taken", c.To), "choose another name or drop that event first")
		}
		e.Name = c.To
	case DeprecateEvent:
		if e.Deprecated {
			return nil, c.problem("it is deprecated already", "nothing is to be done")
		}
		e.Deprecated = true
	case RedefineEvent:
		if e.Retention == c.Retention && e.Class == c.Class && !e.Deprecated {
			return nil, c.problem("nothing changes", "nothing is to be done")
		}
		e.Retention, e.Class, e.Deprecated = c.Retention, c.Class, false
	case DropEvent:
		return s.with(s.NextID, s.Attributes, slices.Delete(slices.Clone(s.Events), i, i+1)), nil
	}
	if err := e.validate(c.Op); err != nil {
		return nil, err
	}
	return s.withEvent(i, e, s.NextID), nil
}

// findEvent returns the place of the event type that a change names.
func (s *Schema) findEvent(c *Change) (int, error) {
	i := slices.IndexFunc(s.Events, func(e Event) bool { return e.Name == c.Event })
	if i < 0 {
		return 0, c.problem(fmt.Sprintf("there is no event %q", c.Event), "see the schema for the names")
	}
	return i, nil
}

// withEvent returns the next schema, whose event type i is e.
func (s *Schema) withEvent(i int, e Event, next AttrID) *Schema {
	events := slices.Clone(s.Events)
	events[i] = e
	return s.with(next, s.Attributes, events)
}

// Forget returns the schema, of the same version, with an event type that has forgotten the
// days before one for good.
func (s *Schema) Forget(id EventID, day int32) *Schema {
	events := slices.Clone(s.Events)
	for i := range events {
		if events[i].ID == id {
			events[i].Forgotten = daysBefore(day)
		}
	}
	out := *s
	out.Events = events
	return &out
}

// ForgetIDs returns the schema, of the same version, with the ids of acts before a day
// forgotten for good.
func (s *Schema) ForgetIDs(day int32) *Schema {
	out := *s
	out.ForgottenIDs = daysBefore(day)
	return &out
}

// daysBefore is how many days of the calendar are before one.
func daysBefore(day int32) uint32 { return uint32(min(max(day, MinDate), MaxDate) - MinDate) }

func (s *Schema) addEvent(c Change) (*Schema, error) {
	switch {
	case s.LookupEvent(c.Event) != nil:
		return nil, c.problem("the name is taken", "choose another name, or redefine the event that has it")
	case len(s.Events) >= MaxEvents || s.NextID == 1<<32-1:
		return nil, c.problem(fmt.Sprintf("there are %d events, and no more can be", len(s.Events)),
			"drop events that are not used, or tell them apart by a property")
	}
	id, err := s.newID(&c)
	if err != nil {
		return nil, err
	}
	e := Event{ID: EventID(id), Name: c.Event, Retention: c.Retention, Class: c.Class}
	if err := e.validate(c.Op); err != nil {
		return nil, err
	}
	return s.with(id+1, s.Attributes, append(slices.Clone(s.Events), e)), nil
}

// Validate reports what keeps a definition, its properties included, from being an event
// type's. The error is a *[ChangeError].
func (e *Event) Validate() error {
	if err := e.validate(0); err != nil {
		return err
	}
	for i := range e.Properties {
		if err := e.validateProperty(&e.Properties[i], 0); err != nil {
			return err
		}
	}
	return nil
}

// validate checks the event type without its properties.
func (e *Event) validate(op ChangeOp) error {
	problem := func(what, advice string) error {
		return &ChangeError{Op: op, Event: e.Name, Problem: what, Advice: advice}
	}
	if err := CheckName(e.Name); err != nil {
		bad := err.(*ChangeError)
		return problem(bad.Problem, bad.Advice)
	}
	switch {
	case e.Retention > MaxRetention:
		return problem(fmt.Sprintf("a retention of %d days", e.Retention), "write 0 to keep its acts for ever")
	case e.Class > Correspondence:
		return problem(fmt.Sprintf("there is no data class %d", e.Class), "a newer version may know it")
	}
	return nil
}

// validateProperty checks one property.
func (e *Event) validateProperty(p *Attribute, op ChangeOp) error {
	problem := func(what, advice string) error {
		return &ChangeError{Op: op, Event: e.Name, Name: p.Name, Problem: what, Advice: advice}
	}
	if err := p.validate(op); err != nil {
		err.(*ChangeError).Event = e.Name
		return err
	}
	switch {
	case p.Name == timeName:
		return problem(`"ts" is the time of every event`, "choose another name")
	case p.Unique:
		return problem("a property cannot be unique", "remove unique; to have each act once, give the acts ids")
	case p.History:
		return problem("a property has no history: acts do not change", "remove history")
	}
	return nil
}

// changeProperty applies a change of a property.
func (s *Schema) changeProperty(c Change) (*Schema, error) {
	i, err := s.findEvent(&c)
	if err != nil {
		return nil, err
	}
	e := s.Events[i]
	if c.Op == AddProperty {
		return s.addProperty(c, i)
	}
	j := slices.IndexFunc(e.Properties, func(p Attribute) bool { return p.Name == c.Name })
	if j < 0 {
		return nil, c.problem("the event has no such property", "see the schema for the names")
	}
	p := e.Properties[j]
	switch c.Op {
	case WidenProperty, NarrowProperty:
		if err := redefine(&p, c); err != nil {
			return nil, err
		}
	case RenameProperty:
		if e.Lookup(c.To) != nil {
			return nil, c.problem(fmt.Sprintf("the name %q is taken", c.To), "choose another name or drop that property first")
		}
		p.Name = c.To
	case DeprecateProperty:
		if p.Deprecated {
			return nil, c.problem("it is deprecated already", "nothing is to be done")
		}
		p.Deprecated = true
	case DropProperty:
		e.Properties, e.Reduced = slices.Delete(slices.Clone(e.Properties), j, j+1), true
		return s.withEvent(i, e, s.NextID), nil
	}
	if err := e.validateProperty(&p, c.Op); err != nil {
		return nil, err
	}
	e.Properties = slices.Clone(e.Properties)
	e.Properties[j] = p
	return s.withEvent(i, e, s.NextID), nil
}

// addProperty adds a property to event type i.
func (s *Schema) addProperty(c Change, i int) (*Schema, error) {
	e := s.Events[i]
	p, err := c.definition()
	switch {
	case err != nil:
		return nil, err
	case e.Lookup(p.Name) != nil:
		return nil, c.problem("the name is taken", "choose another name, or widen or narrow the property that has it")
	case s.full():
		return nil, c.problem("the schema is full", "drop attributes and properties that are not used")
	case len(e.Properties) >= MaxProperties:
		return nil, c.problem(fmt.Sprintf("the event has %d properties, and no more can be", len(e.Properties)), "drop properties that are not used")
	}
	if err := e.validateProperty(&p, c.Op); err != nil {
		return nil, err
	}
	if p.ID, err = s.newID(&c); err != nil {
		return nil, err
	}
	e.Properties = append(slices.Clone(e.Properties), p)
	return s.withEvent(i, e, p.ID+1), nil
}
