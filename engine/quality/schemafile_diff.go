package quality

import (
	"fmt"

	"github.com/kantadb/kanta/index/schema"
)

// Diff returns the changes that bring a schema to the attributes of a schema file, in an
// order in which [schema.Schema.Apply] takes them. Attributes that the file does not
// have stay: see [OnlyInStore]. A renamed attribute is one that is new and one that stays.
// A Narrow among the changes needs a dry run over the data. It fails when a kind or scale
// differs, which no change can do, and when a wanted definition is not valid.
func Diff(old *schema.Schema, want []schema.Attribute) ([]schema.Change, error) {
	var changes []schema.Change
	for i := range want {
		var steps []schema.Change
		var err error
		if a := old.Lookup(want[i].Name); a == nil {
			steps = []schema.Change{{Op: schema.AddAttribute, Name: want[i].Name, Attribute: want[i]}}
		} else if steps, err = diffAttribute(a, want[i]); err != nil {
			return nil, err
		}
		for _, c := range steps {
			if old, err = old.Apply(c); err != nil {
				return nil, err
			}
		}
		changes = append(changes, steps...)
	}
	return changes, nil
}

// OnlyInStore returns the names of the attributes of a schema that want does not have:
// those that a Drop would take to make both the same.
func OnlyInStore(s *schema.Schema, want []schema.Attribute) []string {
	wanted := make(map[string]bool, len(want))
	for i := range want {
		wanted[want[i].Name] = true
	}
	var only []string
	for i := range s.Attributes {
		if name := s.Attributes[i].Name; !wanted[name] {
			only = append(only, name)
		}
	}
	return only
}

func diffAttribute(old *schema.Attribute, want schema.Attribute) ([]schema.Change, error) {
	if old.Kind != want.Kind || old.Scale != want.Scale {
		return nil, &schema.ChangeError{Op: schema.Widen, Name: old.Name,
			Problem: fmt.Sprintf("it is %s in the store and %s in the file", kindText(old), kindText(&want)),
			Advice:  "kinds never change: add an attribute of another name, load it, drop this one"}
	}
	deprecate := want.Deprecated && !old.Deprecated
	if deprecate {
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
		op := schema.Narrow
		if schema.Widens(&now, &def) {
			op = schema.Widen
		}
		steps = append(steps, schema.Change{Op: op, Name: old.Name, Attribute: def})
	}
	if after {
		steps = append(steps, store)
	}
	if deprecate {
		steps = append(steps, schema.Change{Op: schema.Deprecate, Name: old.Name})
	}
	return steps, nil
}

func kindText(a *schema.Attribute) string {
	if a.Kind == schema.Decimal {
		return fmt.Sprintf("decimal(%d)", a.Scale)
	}
	return a.Kind.String()
}
