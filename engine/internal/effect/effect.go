package effect

import (
	"math"

	"github.com/kantadb/kanta/index/schema"
)

// Class is how values of an attribute are held physically. Codes are stored.
type Class uint8

// The classes.
const (
	Code  Class = 1 // dictionary strings and bools: a code, schema.NoCode if absent
	Int   Class = 2 // ordered kinds: the ordered form
	Bytes Class = 3 // inline strings and keys
	Set   Class = 4 // sets and lists: changes of membership
)

// ClassOf returns the class of an attribute's values.
func ClassOf(a *schema.Attribute) Class {
	switch {
	case a.Kind == schema.Set:
		return Set
	case a.Coded():
		return Code
	case a.Kind == schema.String:
		return Bytes
	}
	return Int
}

// SetOp is a change of one profile's set, in the top two bits of a code.
type SetOp = uint32

// The set operations.
const (
	Add    SetOp = 0 << 30 // the element with this code is in
	Remove SetOp = 1 << 30 // the element is out
	Reset  SetOp = 2 << 30 // the set is empty; the code is 0

	OpMask   = 3 << 30
	CodeMask = 1<<30 - 1
)

// Outcome is what a log record did to the columns, the events that it added, and the ids
// that these took.
type Outcome struct {
	Blocks []Block
	Acts   []Acts
	Claims []Claim
}

// ID is the id of an event, with its source: 128 bits of hash under the UTC day of the event.
type ID struct {
	Hi, Lo uint64
	Day    int32 // since 1970
}

// ContentBits is how much is kept of the hash of an event with an id. It tells an event
// that came again from another one that has its id: no more hangs on it.
const ContentBits = 48

// Claim is an id that an event took, and ContentBits of the hash of the event.
type Claim struct {
	ID
	Content uint64
}

// Acts are events of one type. Their times are the first of the columns, the hashes of
// their properties (the order of events of a profile at one time) the second; both are of
// class Int. The others are properties: an event without a value is in none of their
// rows, a set has no operations, only elements, ascending.
type Acts struct {
	Event schema.EventID
	Block
}

// The columns that all acts have.
const (
	TimeColumn = schema.TimeProperty
	HashColumn = schema.TimeProperty + 1
)

// Times returns the events' times, in milliseconds UTC.
func (a *Acts) Times() []int64 { return a.Columns[0].Ints }

// Hashes returns the hashes of the events' properties.
func (a *Acts) Hashes() []int64 { return a.Columns[1].Ints }

// Properties returns the columns of the properties.
func (a *Acts) Properties() []Column { return a.Columns[2:] }

// wellFormed reports whether the columns that all acts have are there.
func (a *Acts) wellFormed() bool {
	for i, id := range [...]schema.AttrID{TimeColumn, HashColumn} {
		if i >= len(a.Columns) || a.Columns[i].Attr != id || a.Columns[i].Class != Int || a.Columns[i].Rows != nil || a.Columns[i].Absent != nil {
			return false
		}
	}
	for i := range a.Properties() {
		c := &a.Properties()[i]
		if c.Absent != nil || c.Class == Set && c.Rows == nil && len(c.Codes) > 0 && len(c.Codes) != len(a.Ords) {
			return false
		}
	}
	return true
}

// Block is some rows with their columns.
type Block struct {
	Ords    []uint32 // one ordinal per row, in the order of application
	Columns []Column
}

// Column holds the values of one attribute for the rows of a block.
type Column struct {
	Attr   schema.AttrID
	Class  Class
	Rows   []uint32 // indexes into Ords; nil: value i belongs to row i. A set's may repeat
	Codes  []uint32 // Code, Set
	Ints   []int64  // Int
	Absent []bool   // Int, Bytes: nil if none is absent
	Ends   []uint32 // Bytes: end of each value in Data
	Data   []byte
}

// Len returns the number of values.
func (c *Column) Len() int {
	switch c.Class {
	case Int:
		return len(c.Ints)
	case Bytes:
		return len(c.Ends)
	}
	return len(c.Codes)
}

// Row returns the row of value i.
func (c *Column) Row(i int) int {
	if c.Rows == nil {
		return i
	}
	return int(c.Rows[i])
}

// IsAbsent reports whether value i unsets the attribute (Code, Int, Bytes).
func (c *Column) IsAbsent(i int) bool {
	if c.Class == Code {
		return c.Codes[i] == schema.NoCode
	}
	return c.Absent != nil && c.Absent[i]
}

// Bytes returns value i of class Bytes; it aliases Data.
func (c *Column) Bytes(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = c.Ends[i-1]
	}
	return c.Data[start:c.Ends[i]:c.Ends[i]]
}

// AppendBytes appends a value of class Bytes.
func (c *Column) AppendBytes(b []byte) {
	c.Data = append(c.Data, b...)
	c.Ends = append(c.Ends, uint32(len(c.Data)))
	if c.Absent != nil {
		c.Absent = append(c.Absent, false)
	}
}

// AppendInt appends a value of class Int.
func (c *Column) AppendInt(v int64) {
	c.Ints = append(c.Ints, v)
	if c.Absent != nil {
		c.Absent = append(c.Absent, false)
	}
}

// AppendAbsent appends an absent value (Code, Int, Bytes).
func (c *Column) AppendAbsent() {
	if c.Class == Code {
		c.Codes = append(c.Codes, schema.NoCode)
		return
	}
	if c.Absent == nil {
		c.Absent = make([]bool, c.Len(), c.Len()+16)
	}
	if c.Class == Int {
		c.Ints = append(c.Ints, 0)
	} else {
		c.Ends = append(c.Ends, uint32(len(c.Data)))
	}
	c.Absent = append(c.Absent, true)
}

// bounds returns the smallest present value and the width in bytes of the offsets.
func bounds(ints []int64, absent []bool) (lo int64, width int) {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for i, v := range ints {
		if absent != nil && absent[i] {
			continue
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo > hi {
		return 0, 0
	}
	return lo, byteWidth(uint64(hi) - uint64(lo))
}

func byteWidth(span uint64) int {
	switch {
	case span == 0:
		return 0
	case span < 1<<8:
		return 1
	case span < 1<<16:
		return 2
	case span < 1<<32:
		return 4
	}
	return 8
}
