package batch

import "github.com/kantadb/kanta/index/schema"

// Decoded is a batch taken apart and checked: every length, index, kind and value in
// it is as the package comment says, so Apply may trust it. What only a schema or a
// state can tell (names, kinds of attributes, UTF-8, ranges) is not checked. Its
// byte slices are views of the payload: read-only.
type Decoded struct {
	Source        string
	Run, Sequence uint64
	Strict        bool
	Ops           []Op
	Rows          int // of all ops; see the package comment
}

// Values returns how many values the batch writes: cells, for a set elements, and for an
// event also its time.
func (d *Decoded) Values() int {
	n := 0
	for i := range d.Ops {
		op := &d.Ops[i]
		if op.Block != nil {
			n += op.Block.values()
		}
		if op.Events != nil {
			n += op.Events.values() + op.Events.N
		}
		n += op.Keys.Len()
	}
	return n
}

// Op is one op of a batch. Which fields are set depends on its code.
type Op struct {
	Code     OpCode
	FirstRow int           // the number of its first row, or of the row that would come next
	Name     string        // segment, list, or source of quarantined rows or of an origin
	Text     string        // segment save, the reference of an erase
	Keys     Strings       // delete, erase, readmit, list put, list add, list remove
	Block    *Block        // upsert
	Events   *EventBlock   // events
	Change   schema.Change // schema change
	Bad      []BadRow      // quarantined
	Lines    []LineRun     // origin: they have as many rows as the next op, an upsert or events

	Definition *Definition // definition save, and its Analysis and Name of definition drop
	Document   *Document   // document put, and its Name of document drop
}

// LineRun is rows of an op that stand on consecutive lines of their source.
type LineRun struct {
	Rows int
	Line uint64 // of the first
}

// last returns the line of the last row.
func (r LineRun) last() uint64 { return r.Line + uint64(r.Rows) - 1 }

// Line returns the line of a row of the op behind an origin; row is below its rows.
func (op *Op) Line(row int) uint64 {
	for _, run := range op.Lines {
		if row < run.Rows {
			return run.Line + uint64(row)
		}
		row -= run.Rows
	}
	return 0
}

// Rows returns how many rows the op has.
func (op *Op) Rows() int {
	switch {
	case op.Block != nil:
		return op.Block.N
	case op.Events != nil:
		return op.Events.N
	}
	return op.Keys.Len() + len(op.Bad)
}

// Block is an upsert. Its rows apply in order, so do the columns of one row. An
// attribute may have several columns, with different verbs or the same.
type Block struct {
	N       int     // rows, at least 1
	Keys    Strings // one per row, each 1 to MaxKeyBytes bytes; one may come twice
	Columns []BlockColumn
}

func (bl *Block) values() int {
	n := 0
	for i := range bl.Columns {
		n += max(bl.Columns[i].M, len(bl.Columns[i].Index))
	}
	return n
}

// EventBlock is events. Row i is an act of the profile Keys.At(i), which is of the type
// Names.At(Event[i]) and happened at Times[i]; its properties are its cells in Columns,
// all of verb set. A property may have several columns, each of another kind or scale, for
// types whose properties of that name differ.
type EventBlock struct {
	Block
	Names    Strings      // the event types, ascending by bytes; some may have no row
	Event    []uint32     // per row the place of its type in Names
	Times    []int64      // per row milliseconds UTC, as schema.Timestamp has them
	IDSource string       // whose ids they are; "" is the batch's source
	IDs      *BlockColumn // the ids, of 1 to MaxEventID bytes, in Plain; nil: no row has one
}

// BlockColumn is one column of an upsert or of events. Its cells stand in the order of the rows
// that have one.
type BlockColumn struct {
	Name    string
	Verb    Verb
	Kind    schema.Kind // schema.Absent for unset and expect absent, which have no values
	Scale   uint8
	Present []byte // bit i%8 of byte i/8: row i has a cell; nil: all rows have
	M       int    // cells, at least 1

	Ints []int64 // ordered kinds: M values in ordered form

	Plain  Strings  // strings without a dictionary: M of them; else it is empty and
	Dict   Strings  // the distinct strings, ascending by bytes (sets: the elements), and
	Index  []uint32 // for each cell (sets: each element of each cell) its place in Dict
	Counts []uint32 // sets: elements of each cell, ascending and distinct in Index
}

// Has reports whether a row of the block has a cell.
func (c *BlockColumn) Has(row int) bool {
	return c.Present == nil || c.Present[row/8]>>(row%8)&1 != 0
}
