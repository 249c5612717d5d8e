package schema

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxAttributes bounds the attributes and properties of a schema together: every change
// copies it, and every snapshot holds it.
const MaxAttributes = 1 << 14

// ChangeError says why a schema change, a name or a definition is not possible.
type ChangeError struct {
	Op      ChangeOp // 0 for a definition that is checked by itself
	Event   string   // the event type, or whose property it is
	Name    string   // the attribute or property
	Problem string   // what is wrong
	Advice  string   // what to do; never empty
}

// Error returns one line.
func (e *ChangeError) Error() string {
	what, name := "attribute", e.Name
	switch {
	case e.Op.ofEvent() || e.Op == 0 && e.Event != "" && e.Name == "":
		what, name = "event", e.Event
	case e.Op.ofProperty() || e.Event != "":
		what = "property"
	}
	if e.Op != 0 {
		what = e.Op.String()
	}
	of := ""
	if name == e.Name && e.Event != "" {
		of = fmt.Sprintf(" of event %q", e.Event)
	}
	return fmt.Sprintf("%s %q%s: %s (%s)", what, name, of, e.Problem, e.Advice)
}

// String returns the operation in words, such as "set storage".
func (op ChangeOp) String() string {
	names := [...]string{"no change", "add", "widen", "rename", "deprecate", "drop", "narrow", "set storage",
		"add event", "rename event", "deprecate event", "drop event", "redefine event",
		"add property", "widen property", "rename property", "drop property", "narrow property", "deprecate property",
		"add computed", "set computed", "drop computed"}
	if int(op) < len(names) {
		return names[op]
	}
	return fmt.Sprintf("change(%d)", uint8(op))
}

// Apply returns the schema after a change, with the next version; s stays as it is.
// It is a pure function of both. It knows no data: whoever narrows has made sure
// that every stored value fits, and whoever drops or changes the storage rewrites
// the data. The error is a *[ChangeError].
//
//   - AddAttribute: the name is free and the definition valid. It gets the next id, or the
//     one it asks for, if that is none of those given before.
//   - Widen: every value admitted before is admitted still: bounds wider or gone, more
//     allowed values or none named, no longer required, unique or in a format.
//   - Narrow: any other change of these.
//   - Widen and Narrow also set Class, PII and History, which admit and refuse no
//     value, and end a deprecation. Kind, scale and storage stay; so does the name
//     (Change.Attribute.Name is empty or the same). Turning history on begins one, under
//     a new id; turning it off ends it, and what it had goes.
//   - Rename: the id stays, the new name is free.
//   - Deprecate: marks it. Drop: removes it; its id is never given again.
//   - SetStorage: a string that is neither personal nor unique may go to the
//     dictionary, every string inline. It gets the next id and stands last: its values
//     are another column. One with history has to give that up first.
//   - AddEvent, RenameEvent, DeprecateEvent and DropEvent are as those of attributes.
//     RedefineEvent sets Retention and Class, and ends a deprecation. (What the days are that
//     have been past a retention, the caller knows: see [Schema.Forget] and [Schema.ForgetIDs].)
//   - Changes of properties are as those of attributes. No property is unique, has history,
//     or is named "ts", which is the time of an event. Its storage never changes.
//   - AddComputed, SetComputed, DropComputed: what the text means, and whether another text
//     names it, is for whoever knows the language to look at.
//
// Names are distinct among the attributes and computed attributes together, among the event
// types, and among the properties of one; an event type may have the name of an attribute or
// of a computed one: see [Schema.Clashes].
//
// A change that changes nothing is an error.
func (s *Schema) Apply(c Change) (*Schema, error) {
	switch {
	case c.Event != "" && !c.Op.ofEvent() && !c.Op.ofProperty():
		return nil, c.problem("an event is named, but the change is none of events or properties", "leave the event out, or use the change of properties")
	case c.Op == AddAttribute:
		return s.add(c)
	case c.Op.ofEvent():
		return s.changeEvent(c)
	case c.Op.ofProperty():
		return s.changeProperty(c)
	case c.Op.ofComputed():
		return s.changeComputed(c)
	}
	i, ok := s.byName[c.Name]
	if !ok {
		return nil, c.problem("there is no such attribute", "see the schema for the names")
	}
	a, next := s.Attributes[i], s.NextID
	switch c.Op {
	case Widen, Narrow:
		if err := redefine(&a, c); err != nil {
			return nil, err
		}
		if a.History && s.spent() {
			return nil, c.problem("the schema is full: there are no ids left", "leave history off")
		}
		next = a.numberChanges(next)
	case Rename:
		if s.Lookup(c.To) != nil {
			return nil, c.problem(fmt.Sprintf("the name %q is taken", c.To), "choose another name or drop that attribute first")
		} else if taken := s.taken(c.To); taken != "" {
			return nil, c.problem(taken, "choose another name or drop that one first")
		}
		a.Name = c.To
	case Deprecate:
		if a.Deprecated {
			return nil, c.problem("it is deprecated already", "nothing is to be done")
		}
		a.Deprecated = true
	case Drop:
		return s.with(s.NextID, slices.Delete(slices.Clone(s.Attributes), i, i+1), s.Events), nil
	case SetStorage:
		if a.Kind == String && a.Storage == c.Attribute.Storage {
			return nil, c.problem("it is stored so already", "nothing is to be done")
		}
		if a.History {
			return nil, c.problem("it keeps history, and its old values are stored so too", "turn history off first, which drops them, and on again afterwards")
		}
		a.Storage = c.Attribute.Storage
		return s.restored(i, a, c)
	default:
		return nil, c.problem("there is no such change", "a newer version may know it")
	}
	if err := a.validate(c.Op); err != nil {
		return nil, err
	}
	attributes := slices.Clone(s.Attributes)
	attributes[i] = a
	return s.with(next, attributes, s.Events), nil
}

// restored returns the schema with attribute i as a, under a new id.
func (s *Schema) restored(i int, a Attribute, c Change) (*Schema, error) {
	if s.NextID == 1<<32-1 {
		return nil, c.problem("there are no ids left", "load the data into a new store")
	}
	if err := a.validate(c.Op); err != nil {
		return nil, err
	}
	a.ID = s.NextID
	return s.with(a.ID+1, append(slices.Delete(slices.Clone(s.Attributes), i, i+1), a), s.Events), nil
}

func (c *Change) problem(what, advice string) error {
	return &ChangeError{Op: c.Op, Event: c.Event, Name: c.Name, Problem: what, Advice: advice}
}

// definition returns the attribute or property that a change adds, with its name in both places.
func (c *Change) definition() (Attribute, error) {
	a := c.Attribute
	if a.Name == "" {
		a.Name = c.Name
	}
	if c.Name != "" && c.Name != a.Name {
		return a, c.problem(fmt.Sprintf("the definition is named %q", a.Name), "give both the same name")
	}
	c.Name, a.Allowed, a.Changes = a.Name, slices.Clone(a.Allowed), 0
	return a, nil
}

// full reports whether nothing can be added that takes an id.
func (s *Schema) full() bool {
	n := len(s.Attributes)
	for i := range s.Events {
		n += len(s.Events[i].Properties)
	}
	return n >= MaxAttributes || s.spent()
}

// maxGivenID bounds the ids that changes ask for: the rest is for those that do not ask.
const maxGivenID = 1 << 29

// newID returns the id of what a change adds.
func (s *Schema) newID(c *Change) (AttrID, error) {
	next := max(s.NextID, FirstUserAttr)
	switch {
	case c.ID == 0:
		return next, nil
	case c.ID < next || c.ID > maxGivenID:
		return 0, c.problem(fmt.Sprintf("the id %d is not free: those from %d to %d are", c.ID, next, maxGivenID), "leave it out to get the next one")
	}
	return c.ID, nil
}

// spent reports whether no two ids are left, which an attribute with history takes.
func (s *Schema) spent() bool { return s.NextID >= 1<<32-2 }

func (s *Schema) add(c Change) (*Schema, error) {
	a, err := c.definition()
	switch {
	case err != nil:
		return nil, err
	case s.Lookup(a.Name) != nil:
		return nil, c.problem("the name is taken", "choose another name, or widen or narrow the attribute that has it")
	case s.taken(a.Name) != "":
		return nil, c.problem(s.taken(a.Name), "choose another name or drop that one first")
	case s.full():
		return nil, c.problem("the schema is full", "drop attributes and properties that are not used")
	}
	if err := a.validate(c.Op); err != nil {
		return nil, err
	}
	if a.ID, err = s.newID(&c); err != nil {
		return nil, err
	}
	next := a.numberChanges(a.ID + 1)
	return s.with(next, append(slices.Clone(s.Attributes), a), s.Events), nil
}

// redefine gives an attribute or property the definition of a widening or narrowing.
func redefine(a *Attribute, c Change) error {
	old, def := *a, c.Attribute
	def.ID, def.Changes = old.ID, old.Changes
	if def.Name == "" {
		def.Name = old.Name
	}
	switch {
	case def.Name != old.Name:
		return c.problem(fmt.Sprintf("the definition is named %q", def.Name), "rename it by a change of its own")
	case def.Kind != old.Kind || def.Scale != old.Scale:
		return c.problem(fmt.Sprintf("it is %s and cannot become %s", kindWords(&old), kindWords(&def)),
			"kinds never change: add an attribute, load it, drop this one")
	case def.Storage != old.Storage && c.Event != "":
		return c.problem("its storage is another", "the storage of a property never changes: add a property of another name")
	case def.Storage != old.Storage:
		return c.problem("its storage is another", "change the storage first, by a change of its own")
	case def.Deprecated && !old.Deprecated:
		return c.problem("a definition cannot deprecate", "deprecate it by a change of its own")
	case SameDefinition(&old, &def):
		return c.problem("nothing changes", "nothing is to be done")
	case (c.Op == Widen || c.Op == WidenProperty) && !Widens(&old, &def):
		return c.problem("values that are admitted now would not be", "narrow it instead, after a dry run that finds no offender")
	}
	def.Allowed = slices.Clone(def.Allowed)
	*a = def
	return nil
}

func kindWords(a *Attribute) string {
	if a.Kind == Decimal {
		return fmt.Sprintf("decimal(%d)", a.Scale)
	}
	return a.Kind.String()
}

// SameDefinition reports whether two attributes are the same but for their ids. The
// order of allowed values does not count.
func SameDefinition(a, b *Attribute) bool {
	x, y := *a, *b
	x.ID, x.Changes, x.Allowed = 0, 0, nil
	y.ID, y.Changes, y.Allowed = 0, 0, nil
	return bytes.Equal(AppendAttribute(nil, &x), AppendAttribute(nil, &y)) &&
		len(a.Allowed) == len(b.Allowed) && subset(a.Allowed, b.Allowed)
}

// Widens reports whether to admits every value that from admits; both have the same kind and scale.
func Widens(from, to *Attribute) bool {
	if to.Required && !from.Required || to.Unique && !from.Unique || to.Format != "" && to.Format != from.Format {
		return false
	}
	if len(from.Allowed) > 0 {
		return !slices.ContainsFunc(from.Allowed, func(v Value) bool { return !to.bounded(v) }) &&
			(len(to.Allowed) == 0 || subset(from.Allowed, to.Allowed))
	}
	return len(to.Allowed) == 0 &&
		(to.Min.IsAbsent() || !from.Min.IsAbsent() && from.Min.num >= to.Min.num) &&
		(to.Max.IsAbsent() || !from.Max.IsAbsent() && from.Max.num <= to.Max.num)
}

func (a *Attribute) bounded(v Value) bool {
	return (a.Min.IsAbsent() || v.num >= a.Min.num) && (a.Max.IsAbsent() || v.num <= a.Max.num)
}

// subset reports whether every value of a is in b.
func subset(a, b []Value) bool {
	in := make(map[string]bool, len(b))
	for _, v := range b {
		in[string(appendValue(nil, v))] = true
	}
	return !slices.ContainsFunc(a, func(v Value) bool { return !in[string(appendValue(nil, v))] })
}

// Validate reports what keeps a definition from being an attribute's. The error is a *[ChangeError].
func (a *Attribute) Validate() error { return a.validate(0) }

func (a *Attribute) validate(op ChangeOp) error {
	if err := CheckName(a.Name); err != nil {
		err.(*ChangeError).Op = op
		return err
	}
	problem, advice := a.validateKind()
	if problem == "" {
		problem, advice = a.validateStorage()
	}
	if problem == "" {
		problem, advice = a.validateValues()
	}
	if problem == "" {
		return nil
	}
	return &ChangeError{Op: op, Name: a.Name, Problem: problem, Advice: advice}
}

func (a *Attribute) validateKind() (problem, advice string) {
	switch {
	case !a.Kind.Valid():
		return fmt.Sprintf("no attribute can have the kind %s", a.Kind), "the kinds are " + strings.Join(kindNames[Bool:], ", ")
	case a.Kind != Decimal && a.Scale != 0:
		return "only a decimal has a scale", "remove the scale or make it a decimal"
	case a.Scale > MaxScale:
		return fmt.Sprintf("the scale is %d", a.Scale), "a decimal has 0 to 18 places"
	case a.Class > Correspondence:
		return fmt.Sprintf("there is no data class %d", a.Class), "a newer version may know it"
	case a.Format != "" && a.Kind != String && a.Kind != Set:
		return fmt.Sprintf("%s has no format", a.Kind), "formats are for strings and sets of strings"
	case len(a.Format) > MaxNameBytes || !utf8.ValidString(a.Format):
		return "the format's name is not UTF-8 or longer than 128 bytes", "name one of the known formats"
	}
	return "", ""
}

func (a *Attribute) validateStorage() (problem, advice string) {
	switch {
	case a.Storage > StorageInline:
		return fmt.Sprintf("there is no storage %d", a.Storage), "a newer version may know it"
	case a.Storage != StorageDictionary && a.Kind != String:
		return "only a string has a storage", "remove the storage or make it a string"
	case a.PII && a.Kind == Set:
		return "a set's elements stand in a dictionary, where nothing personal may be", "use a string, or do not mark it as pii"
	case a.PII && a.Kind == String && a.Storage == StorageDictionary:
		return "nothing personal may stand in a dictionary", `use storage = "inline"`
	case a.Unique && a.Kind == String && a.Storage == StorageDictionary:
		return "unique strings do not belong in a dictionary", `use storage = "inline"`
	case a.Unique && (a.Kind == Set || a.Kind == Bool):
		return fmt.Sprintf("%s cannot be unique", a.Kind), "remove unique"
	case a.Required && a.Kind == Set:
		return "a set is never absent, so it cannot be required", "remove required"
	}
	return "", ""
}

func (a *Attribute) validateValues() (problem, advice string) {
	bounds := !a.Min.IsAbsent() || !a.Max.IsAbsent()
	switch {
	case bounds && (!a.Kind.Ordered() || a.Kind == Bool):
		return fmt.Sprintf("%s has no min or max", a.Kind), "remove them, or list the allowed values"
	case bounds && len(a.Allowed) > 0:
		return "it has bounds and allowed values", "keep one of the two"
	case !a.fits(a.Min, a.Kind) || !a.fits(a.Max, a.Kind):
		return "min or max is not a value of " + kindWords(a), "write it as a value of the attribute"
	case !a.Min.IsAbsent() && !a.Max.IsAbsent() && a.Min.num > a.Max.num:
		return fmt.Sprintf("min %s is above max %s", a.Min, a.Max), "exchange them"
	}
	kind := a.Kind
	if kind == Set {
		kind = String // the allowed values of a set are its elements
	}
	seen := make(map[string]bool, len(a.Allowed))
	for _, v := range a.Allowed {
		key := string(appendValue(nil, v))
		if v.IsAbsent() || !a.fits(v, kind) {
			return fmt.Sprintf("the allowed value %q is not a value of %s", v, kindWords(a)), "write it as a value of the attribute"
		}
		if seen[key] {
			return fmt.Sprintf("the allowed value %q comes twice", v), "remove one"
		}
		seen[key] = true
	}
	return "", ""
}

// fits reports whether v is absent or a value of the kind, with the attribute's scale.
func (a *Attribute) fits(v Value, kind Kind) bool {
	return v.IsAbsent() || v.kind == kind && v.scale == a.Scale && v.inRange() &&
		!(v.kind == Float && math.IsInf(v.Float(), 0)) && len(v.str) <= MaxStringBytes && utf8.ValidString(v.str)
}
