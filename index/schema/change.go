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
)

// Change is one step of a schema's evolution.
type Change struct {
	Op        ChangeOp
	Name      string    // the attribute it is about
	To        string    // Rename: the new name
	Attribute Attribute // AddAttribute, Widen, Narrow, SetStorage; ID is ignored
}
