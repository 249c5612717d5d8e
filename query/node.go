package query

import (
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// Span is where a node stands in the source text: byte offsets, half open.
type Span struct{ Start, End int }

// Place is what a plan says of where a node comes from.
type Place struct {
	Span
	Computed []string // the computed attributes whose expressions it is made of, for plans
}

// With returns the place of what two nodes have become together.
func (p Place) With(q Place) Place {
	out := Place{cover(p.Span, q.Span), p.Computed}
	for _, name := range q.Computed {
		if !slices.Contains(out.Computed, name) {
			out.Computed = append(slices.Clip(out.Computed), name)
		}
	}
	return out
}

// computed returns Computed, whatever the node.
func (p *Place) computed() []string { return p.Computed }

// Node is one node of a checked expression tree. The set of node types is closed:
// they are the types of this file and of event.go.
type Node interface{ node() }

type (
	// Const is a constant truth value. Unknown is a literal comparison that has no
	// answer, such as 1/0 == 1; it is counted in errors for every profile.
	Const struct{ Value Truth }

	// And is true where all of its operands are. It has at least two.
	And struct{ Of []Node }

	// Or is true where one of its operands is. It has at least two.
	Or struct{ Of []Node }

	// Not swaps true and false.
	Not struct{ Of Node }

	// Has is true where the attribute has a value (a set: where it is not empty),
	// else false; it is never unknown.
	Has struct {
		Place
		Attr schema.AttrID
	}

	// In is true where a scalar attribute equals one of Values, which have the
	// attribute's kind (and scale). Equality is an In of one value; no value at all
	// (a decimal that the scale cannot say, "x in []") is false where the attribute
	// has a value.
	In struct {
		Place
		Attr   schema.AttrID
		Values []schema.Value
	}

	// Range is true where an attribute of an ordered kind lies in [Lo, Hi], both
	// inclusive and in ordered form ([schema.Value.Ordered]). Lo > Hi is the empty range.
	Range struct {
		Place
		Attr   schema.AttrID
		Lo, Hi int64
	}

	// Match is a test of a string attribute's text: a string comparison, a prefix,
	// a regular expression (RE2).
	Match struct {
		Place
		Attr schema.AttrID
		Op   MatchOp
		Text string
	}

	// SetHas is true where a set holds any (All false) or all (All true) of Values;
	// it is never unknown. No values: any is false, all is true.
	SetHas struct {
		Place
		Attr   schema.AttrID
		All    bool
		Values []string
	}

	// Compare compares arithmetic over columns; it is unknown where an operand is
	// absent, and unknown and counted in errors where it overflows or divides by zero.
	Compare struct {
		Place
		Op   CompareOp
		L, R Arith
	}

	// InList is true where the profile is in a list; it is never unknown.
	InList struct {
		Place
		Name string
		Code uint32 // the list's id: its code in schema.ListsAttr
	}

	// Segment is a saved segment, inlined: it behaves as Of does. It stands in the
	// tree so that plans can name it.
	Segment struct {
		Place
		Name string
		Of   Node
	}

	// If is Then where Cond is true, Else where it is false, and unknown where that is, even
	// if both would be the same.
	If struct {
		Place
		Cond, Then, Else Node
	}

	// Residual has no plan: it is evaluated for one profile at a time, on those
	// still undecided.
	Residual struct {
		Place
		Attrs  []schema.AttrID  // what it reads; schema.ListsAttr: the names of the lists
		Events []schema.EventID // whose acts it reads
		Lists  []string         // whose members it asks for
		Eval   ResidualFunc
	}
)

// ResidualFunc evaluates an expression for one profile. values stand in the order of
// Residual.Attrs, absent ones as the zero Value; acts in that of Residual.Events, each
// profile's up to now, in order of (time, hash of the properties). failed marks an
// evaluation error other than an absent value (the truth is then Unknown). It is safe for
// concurrent use.
type ResidualFunc func(values []schema.Value, acts [][]Act, env Env) (t Truth, failed bool)

// Formula works out a value of any kind for one profile at a time: that of a computed attribute.
type Formula struct {
	Attrs  []schema.AttrID // as those of Residual
	Events []schema.EventID
	Lists  []string
	Eval   FormulaFunc
	Plan   *Choice // how it is worked out for many, at the now it was compiled for; nil: by Eval
}

// FormulaFunc is as [ResidualFunc]. The value is absent where an absent one makes it so, and
// where a part of it has no result.
type FormulaFunc func(values []schema.Value, acts [][]Act, env Env) schema.Value

func (*Const) node()    {}
func (*And) node()      {}
func (*Or) node()       {}
func (*Not) node()      {}
func (*Has) node()      {}
func (*In) node()       {}
func (*Range) node()    {}
func (*Match) node()    {}
func (*SetHas) node()   {}
func (*Compare) node()  {}
func (*InList) node()   {}
func (*Segment) node()  {}
func (*If) node()       {}
func (*Residual) node() {}

// Truth is one of Kleene's three values.
type Truth uint8

// The three values.
const (
	False Truth = iota
	True
	Unknown
)

// MatchOp is a test of a string.
type MatchOp uint8

// The string tests.
const (
	StartsWith MatchOp = iota
	EndsWith
	Contains
	Matches // Text is an RE2 regular expression, unanchored
	Less    // by bytes
	LessEqual
	Greater
	GreaterEqual
)

// CompareOp is a comparison.
type CompareOp uint8

// The comparisons.
const (
	EQ CompareOp = iota
	NE
	LT
	LE
	GT
	GE
)

// Arith is an arithmetic expression over columns and constants of numeric kinds.
// Both sides of an operation have the same Kind when the tree is built: the compiler
// inserts Convert nodes. Integers and decimals are exact (int64, overflow is an
// error of that profile); floats are IEEE 754.
type Arith interface{ arith() }

type (
	// Column is an attribute's value, of an ordered kind, in its ordered form.
	Column struct {
		Attr  schema.AttrID
		Kind  schema.Kind
		Scale uint8
	}
	// Literal is a constant.
	Literal struct{ Value schema.Value }
	// Binary is L Op R. Kind and Scale are those of the result.
	Binary struct {
		Op    ArithOp
		L, R  Arith
		Kind  schema.Kind
		Scale uint8
	}
	// Negate is -Of.
	Negate struct{ Of Arith }
	// Convert changes the kind or rescales a decimal: int to decimal, decimal to a
	// larger scale (overflow is an error), int or decimal to float, timestamp to date (UTC).
	Convert struct {
		Of    Arith
		Kind  schema.Kind
		Scale uint8
	}
)

func (*Column) arith()  {}
func (*Literal) arith() {}
func (*Binary) arith()  {}
func (*Negate) arith()  {}
func (*Convert) arith() {}

// ArithOp is an arithmetic operation.
type ArithOp uint8

// The arithmetic operations. Div and Mod are of ints (truncated) and, Div, of floats.
const (
	Plus ArithOp = iota
	Minus
	Times
	Div
	Mod
)
