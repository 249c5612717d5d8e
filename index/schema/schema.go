package schema

import (
	"fmt"
	"math"
)

// AttrID names an attribute for ever: it survives renames and is never reused.
type AttrID uint32

// Attributes of the engine itself. IDs of users' attributes start at [FirstUserAttr].
const (
	KeyAttr       AttrID = 0 // the profile's key, an inline string; its presence means that the profile lives
	ListsAttr     AttrID = 1 // the lists a profile is in, a set whose codes are list ids
	FirstUserAttr AttrID = 16
)

// NoCode is the dictionary code that stands for an absent value.
const NoCode = math.MaxUint32

// Storage says how the strings of an attribute are kept.
type Storage uint8

// The storages of a string attribute. Sets and bools are always dictionary coded.
const (
	StorageDictionary Storage = 0 // one code per distinct string, one bitmap row per code
	StorageInline     Storage = 1 // near-unique or personal strings: the bytes in the column, a keyed value index
)

// MaxDictionary is the number of distinct strings a dictionary holds. Past it an
// attribute is near-unique in practice, rows cost more than they answer, and the
// row is quarantined with the advice to store the attribute inline.
const MaxDictionary = 1 << 18

// DataClass says what an attribute is about; policies are written in these words.
type DataClass uint8

// The data classes.
const (
	ClassNone DataClass = iota
	Acquisition
	Demographic
	Technographic
	Psychographic
	Activity
	Transaction
	Correspondence
)

// DataClassNames are the names of the data classes, by their numbers; ClassNone has none.
func DataClassNames() []string {
	return []string{"", "acquisition", "demographic", "technographic", "psychographic", "activity", "transaction", "correspondence"}
}

// String returns the name of a class, "" of ClassNone.
func (c DataClass) String() string {
	if names := DataClassNames(); int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprint("class ", uint8(c))
}

// Attribute is a typed fact of a profile. Treat it as read-only: it is shared by
// every snapshot of its schema version.
type Attribute struct {
	ID         AttrID
	Changes    EventID // with history: the type of the events that the changes are stored as, see [Attribute.ChangeType]
	Name       string
	Kind       Kind
	Scale      uint8     // decimal places of a decimal, 0..18
	Storage    Storage   // strings only
	Class      DataClass // what it is about
	Allowed    []Value   // if not empty: the only values there may be
	Min, Max   Value     // inclusive bounds of an ordered kind; absent: none
	Format     string    // a named format of engine/quality ("email", "phone", ...); "" for none
	Required   bool      // checked when an upsert creates the profile
	Unique     bool      // at most one living profile has a value
	PII        bool      // personal: never in a dictionary or a sketch
	History    bool      // changes are kept with their times
	Deprecated bool      // still stored and readable; new uses are warned about
}

// Coded reports whether values are dictionary codes with one bitmap row each: bools
// (codes 0 and 1), dictionary strings, sets.
func (a *Attribute) Coded() bool {
	return a.Kind == Bool || a.Kind == Set || a.Kind == String && a.Storage == StorageDictionary
}

// Inline reports whether values are kept as bytes.
func (a *Attribute) Inline() bool { return a.Kind == String && a.Storage == StorageInline }

// Schema is the table of attributes, events and computed attributes at one version. It is
// immutable and safe for concurrent use.
type Schema struct {
	Version      uint64 // 0 for the empty schema, then one more for each change
	NextID       AttrID // the id that the next added attribute gets
	Attributes   []Attribute
	Events       []Event // in ascending id order
	Computed     []Computed
	Lent         []Lent // what analyses lend to expressions: not stored with the schema, see [Schema.Lend]
	ForgottenIDs uint32 // ids of acts of so many days of the calendar, from MinDate on, have been past every retention: they stay so when a type is added that keeps longer
	byName       map[string]int
	byID         map[AttrID]int
	changes      []*Event // of the attributes with history
	lentByID     map[AttrID]*Attribute
}

// New builds a schema from attributes and events in ascending id order. It indexes them
// but checks nothing: see [Schema.Apply] for changes that are checked, and that make computed
// attributes.
func New(version uint64, next AttrID, attributes []Attribute, events ...Event) *Schema {
	s := &Schema{Version: version, NextID: max(next, FirstUserAttr), Attributes: attributes, Events: events,
		byName: make(map[string]int, len(attributes)), byID: make(map[AttrID]int, len(attributes))}
	for i := range attributes {
		s.byName[attributes[i].Name] = i
		s.byID[attributes[i].ID] = i
		if e := attributes[i].ChangeType(); e != nil {
			s.changes = append(s.changes, e)
		}
	}
	return s
}

// with returns the next schema, with other attributes and events.
func (s *Schema) with(next AttrID, attributes []Attribute, events []Event) *Schema {
	out := New(s.Version+1, next, attributes, events...)
	out.Computed, out.ForgottenIDs = s.Computed, s.ForgottenIDs
	return out
}

// Lookup returns the attribute with a name, or nil.
func (s *Schema) Lookup(name string) *Attribute {
	if i, ok := s.byName[name]; ok {
		return &s.Attributes[i]
	}
	return nil
}

// ByID returns the attribute with an id, or nil; what analyses lend is among them. The
// engine's own attributes are not in the table.
func (s *Schema) ByID(id AttrID) *Attribute {
	if id >= FirstLent {
		return s.lentByID[id]
	}
	if i, ok := s.byID[id]; ok {
		return &s.Attributes[i]
	}
	return nil
}
