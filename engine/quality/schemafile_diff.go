package quality

import (
	"fmt"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// Diff returns the changes that bring a schema to the definitions of a schema file, in an
// order in which [schema.Schema.Apply] takes them. What the file does not have stays: see
// [Definitions.Drops]. What was renamed is something new, and something that stays.
// A narrowing among the changes needs a dry run over the data. It fails when a kind or scale,
// or the storage of a property, differs, which no change can do, and when a wanted
// definition is not valid.
func (d *Definitions) Diff(old *schema.Schema) ([]schema.Change, error) {
	p := &diffPlan{s: old}
	for i := range d.Attributes {
		if err := p.attribute(d.Attributes[i], "", old.Lookup(d.Attributes[i].Name)); err != nil {
			return nil, err
		}
	}
	for i := range d.Events {
		want := &d.Events[i]
		now := old.LookupEvent(want.Name)
		if err := p.event(want, now); err != nil {
			return nil, err
		}
		for j := range want.Properties {
			var property *schema.Attribute
			if now != nil {
				property = now.Lookup(want.Properties[j].Name)
			}
			if err := p.attribute(want.Properties[j], want.Name, property); err != nil {
				return nil, err
			}
		}
	}
	for _, want := range d.Computed {
		now := old.LookupComputed(want.Name)
		c := schema.Change{Op: schema.AddComputed, Name: want.Name, Text: want.Text}
		if now != nil {
			c.Op = schema.SetComputed
		}
		if now == nil || *now != want {
			if err := p.add(c); err != nil {
				return nil, err
			}
		}
	}
	return p.changes, nil
}

// Drops returns the changes that take away what a schema has and the definitions have not:
// with them and those of [Definitions.Diff] both are the same.
func (d *Definitions) Drops(s *schema.Schema) (drops []schema.Change) {
	for _, name := range OnlyInStore(s, d.Attributes) {
		drops = append(drops, schema.Change{Op: schema.Drop, Name: name})
	}
	wanted := make(map[string]*schema.Event, len(d.Events))
	for i := range d.Events {
		wanted[d.Events[i].Name] = &d.Events[i]
	}
	for i := range s.Events {
		e := &s.Events[i]
		w := wanted[e.Name]
		if w == nil {
			drops = append(drops, schema.Change{Op: schema.DropEvent, Event: e.Name})
			continue
		}
		for _, name := range missing(e.Properties, w.Properties) {
			drops = append(drops, schema.Change{Op: schema.DropProperty, Event: e.Name, Name: name})
		}
	}
	for _, c := range s.Computed {
		if !slices.ContainsFunc(d.Computed, func(w schema.Computed) bool { return w.Name == c.Name }) {
			drops = append(drops, schema.Change{Op: schema.DropComputed, Name: c.Name})
		}
	}
	return drops
}

// OnlyInStore returns the names of the attributes of a schema that want does not have:
// those that a Drop would take to make both the same.
func OnlyInStore(s *schema.Schema, want []schema.Attribute) []string {
	return missing(s.Attributes, want)
}

// missing returns the names of attributes that are not in want.
func missing(attributes, want []schema.Attribute) (names []string) {
	wanted := make(map[string]bool, len(want))
	for i := range want {
		wanted[want[i].Name] = true
	}
	for i := range attributes {
		if name := attributes[i].Name; !wanted[name] {
			names = append(names, name)
		}
	}
	return names
}

// diffPlan collects changes, and the schema as it is after them.
type diffPlan struct {
	s       *schema.Schema
	changes []schema.Change
}

func (p *diffPlan) add(c schema.Change) (err error) {
	p.s, err = p.s.Apply(c)
	p.changes = append(p.changes, c)
	return err
}

// event brings an event type, nil if there is none, to what is wanted of it, but for its properties.
func (p *diffPlan) event(want, now *schema.Event) error {
	c := schema.Change{Op: schema.AddEvent, Event: want.Name, Retention: want.Retention, Class: want.Class}
	deprecated := false
	if now != nil {
		c.Op, deprecated = schema.RedefineEvent, now.Deprecated
	}
	if now == nil || now.Retention != want.Retention || now.Class != want.Class || now.Deprecated && !want.Deprecated {
		if err := p.add(c); err != nil {
			return err
		}
		deprecated = false // ended by the change
	}
	if want.Deprecated && !deprecated {
		return p.add(schema.Change{Op: schema.DeprecateEvent, Event: want.Name})
	}
	return nil
}

// attribute brings an attribute, or a property of an event type, nil if there is none, to
// what is wanted of it.
func (p *diffPlan) attribute(want schema.Attribute, event string, now *schema.Attribute) error {
	if now == nil {
		op := schema.AddAttribute
		if event != "" {
			op = schema.AddProperty
		}
		return p.add(schema.Change{Op: op, Event: event, Name: want.Name, Attribute: want})
	}
	steps, err := diffAttribute(now, want, event)
	for i := 0; i < len(steps) && err == nil; i++ {
		err = p.add(steps[i])
	}
	return err
}

// diffAttribute returns the changes of an attribute, or of a property of an event type.
func diffAttribute(old *schema.Attribute, want schema.Attribute, event string) ([]schema.Change, error) {
	narrow, widen, deprecate := schema.Narrow, schema.Widen, schema.Deprecate
	if event != "" {
		narrow, widen, deprecate = schema.NarrowProperty, schema.WidenProperty, schema.DeprecateProperty
	}
	impossible := func(now, wanted, advice string) ([]schema.Change, error) {
		return nil, &schema.ChangeError{Op: widen, Event: event, Name: old.Name,
			Problem: fmt.Sprintf("it is %s in the store and %s in the file", now, wanted), Advice: advice}
	}
	switch {
	case old.Kind != want.Kind || old.Scale != want.Scale:
		return impossible(kindText(old), kindText(&want), "kinds never change: add one of another name, load it, drop this one")
	case event != "" && old.Storage != want.Storage:
		return impossible(storageNames[old.Storage], storageNames[want.Storage], "the storage of a property never changes: add one of another name, load it, drop this one")
	case old.Storage < want.Storage && old.History || old.Storage > want.Storage && want.History: // as the steps below have it
		return impossible(storageNames[old.Storage], storageNames[want.Storage], "its history is stored so too: apply a file that turns it off first, which drops it")
	}
	mark := want.Deprecated && !old.Deprecated
	if mark {
		want.Deprecated = false
	}
	var steps []schema.Change
	store := schema.Change{Op: schema.SetStorage, Name: old.Name, Attribute: schema.Attribute{Storage: want.Storage}}
	// To the dictionary a string goes after, from it before its definition changes: pii and
	// unique cannot stand in a dictionary.
	before, after := old.Storage < want.Storage, old.Storage > want.Storage
	if before {
		steps = append(steps, store)
	}
	def, now := want, *old
	def.Storage, now.Storage = max(old.Storage, want.Storage), max(old.Storage, want.Storage)
	if !schema.SameDefinition(&now, &def) {
		op := narrow
		if schema.Widens(&now, &def) {
			op = widen
		}
		steps = append(steps, schema.Change{Op: op, Event: event, Name: old.Name, Attribute: def})
	}
	if after {
		steps = append(steps, store)
	}
	if mark {
		steps = append(steps, schema.Change{Op: deprecate, Event: event, Name: old.Name})
	}
	return steps, nil
}

func kindText(a *schema.Attribute) string {
	if a.Kind == schema.Decimal {
		return fmt.Sprintf("decimal(%d)", a.Scale)
	}
	return a.Kind.String()
}
