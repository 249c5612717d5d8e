package schema

// ChangeOp is a kind of schema change. Its codes are stored in batches and append-only.
type ChangeOp uint8

// The schema changes.
const (
	AddAttribute ChangeOp = 1 // Attribute is new; its ID is assigned
	Widen        ChangeOp = 2 // Name's definition becomes Attribute, which admits every value admitted before
	Rename       ChangeOp = 3 // Name becomes To; the id stays
	Deprecate    ChangeOp = 4 // Name is marked
	Drop         ChangeOp = 5 // Name goes, and its data with it
	Narrow       ChangeOp = 6 // Name's definition becomes Attribute; only after a dry run that finds no offender
	SetStorage   ChangeOp = 7 // Name, a string, is stored as Attribute.Storage from now on

	AddEvent       ChangeOp = 8  // Event is new, without properties; its ID is assigned
	RenameEvent    ChangeOp = 9  // Event becomes To; the id stays
	DeprecateEvent ChangeOp = 10 // Event is marked
	DropEvent      ChangeOp = 11 // Event goes, with its properties and its data
	RedefineEvent  ChangeOp = 12 // Event has Retention and Class from now on

	AddProperty       ChangeOp = 13 // Name is a new property of Event, as Attribute says; its ID is assigned
	WidenProperty     ChangeOp = 14 // as Widen
	RenameProperty    ChangeOp = 15 // as Rename
	DropProperty      ChangeOp = 16 // as Drop
	NarrowProperty    ChangeOp = 17 // as Narrow
	DeprecateProperty ChangeOp = 18 // as Deprecate

	AddComputed  ChangeOp = 19 // Name is a new computed attribute, whose expression is Text
	SetComputed  ChangeOp = 20 // Name's expression is Text from now on
	DropComputed ChangeOp = 21 // Name goes; it had no data
)

// ofEvent, ofProperty and ofComputed report whom a change is about, if it is not an attribute.
func (op ChangeOp) ofEvent() bool    { return op >= AddEvent && op <= RedefineEvent }
func (op ChangeOp) ofProperty() bool { return op >= AddProperty && op <= DeprecateProperty }
func (op ChangeOp) ofComputed() bool { return op >= AddComputed && op <= DropComputed }

// Adds reports whether a change adds what takes an id.
func (op ChangeOp) Adds() bool { return op == AddAttribute || op == AddEvent || op == AddProperty }

// Change is one step of a schema's evolution.
type Change struct {
	Op        ChangeOp
	Name      string    // the attribute, property or computed attribute it is about
	To        string    // Rename, RenameEvent, RenameProperty: the new name
	Attribute Attribute // AddAttribute, Widen, Narrow, SetStorage, and as these of properties; ID is ignored
	Event     string    // the event type it is about, or whose property; "" for an attribute's
	Retention uint32    // AddEvent, RedefineEvent: see Event
	Class     DataClass // AddEvent, RedefineEvent
	Text      string    // AddComputed, SetComputed
	ID        AttrID    // AddAttribute, AddEvent, AddProperty: the id it gets, which nothing has had; 0: the next one
}
