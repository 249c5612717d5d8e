package expr

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Names makes values of the names of attributes or properties. Which kind one has is the
// store's to say; here it is whoever writes the expression who says it.
type Names struct{ of string }

// Where names stand.
var (
	//tidy:constant
	P = Names{"p"} // the attributes of a person
	//tidy:constant
	E = Names{"e"} // the properties of the event that is looked at: in Where, Sum and the like
)

func (n Names) name(name string) string { return n.of + "[" + quote(name) + "]" }

// Int is an int.
func (n Names) Int(name string) Ordered[int64] { return Ordered[int64]{n.name(name), intText, false} }

// Float is a float.
func (n Names) Float(name string) Ordered[float64] {
	return Ordered[float64]{n.name(name), floatText, false}
}

// Decimal is a decimal.
func (n Names) Decimal(name string) Ordered[Decimal] {
	return Ordered[Decimal]{n.name(name), Decimal.String, false}
}

// Date is a date; of the times that it is compared with the date counts that they show.
func (n Names) Date(name string) Ordered[time.Time] {
	return Ordered[time.Time]{n.name(name), dateText, false}
}

// Time is a timestamp.
func (n Names) Time(name string) Ordered[time.Time] {
	return Ordered[time.Time]{n.name(name), timeText, false}
}

// Bool is a bool.
func (n Names) Bool(name string) Bool { return Bool{n.name(name)} }

// String is a string.
func (n Names) String(name string) String {
	return String{Ordered[string]{n.name(name), quote, false}}
}

// Set is a set of strings.
func (n Names) Set(name string) Set { return Set{n.name(name)} }

// Ordered is a value that has a less and a more.
type Ordered[T any] struct {
	text    string
	literal func(T) string
	worked  bool // it is calculated, and never absent as a name is
}

// Is is ==.
func (o Ordered[T]) Is(v T) Condition { return compared(o.text, " == ", o.literal(v)) }

// IsNot is !=, unknown where there is no value.
func (o Ordered[T]) IsNot(v T) Condition { return compared(o.text, " != ", o.literal(v)) }

// Less is <.
func (o Ordered[T]) Less(v T) Condition { return compared(o.text, " < ", o.literal(v)) }

// AtMost is <=.
func (o Ordered[T]) AtMost(v T) Condition { return compared(o.text, " <= ", o.literal(v)) }

// More is >.
func (o Ordered[T]) More(v T) Condition { return compared(o.text, " > ", o.literal(v)) }

// AtLeast is >=.
func (o Ordered[T]) AtLeast(v T) Condition { return compared(o.text, " >= ", o.literal(v)) }

// Between is from lo to hi, both included.
func (o Ordered[T]) Between(lo, hi T) Condition { return All(o.AtLeast(lo), o.AtMost(hi)) }

// In is true where it is one of the values; of none it is false for everybody.
func (o Ordered[T]) In(values ...T) Condition {
	switch {
	case len(values) == 0: // CEL does not know the kind of an empty list
		return atom("false")
	case o.worked:
		any := make([]Condition, len(values))
		for i, v := range values {
			any[i] = o.Is(v)
		}
		return Any(any...)
	}
	return compared(o.text, " in ", list(values, o.literal))
}

// Known is true where there is a value. It is of attributes and properties; of what is
// calculated it is an error when it is asked.
func (o Ordered[T]) Known() Condition { return atom("has(", o.text, ")") }

// String is a string: its order is that of its UTF-8 bytes.
type String struct{ Ordered[string] }

// StartsWith is true of strings that begin so.
func (s String) StartsWith(v string) Condition { return atom(s.text, ".startsWith(", quote(v), ")") }

// EndsWith is true of strings that end so.
func (s String) EndsWith(v string) Condition { return atom(s.text, ".endsWith(", quote(v), ")") }

// Contains is true of strings with that in them.
func (s String) Contains(v string) Condition { return atom(s.text, ".contains(", quote(v), ")") }

// Matches is true of strings of which a part matches a regular expression (RE2).
func (s String) Matches(pattern string) Condition {
	return atom(s.text, ".matches(", quote(pattern), ")")
}

// Bool is a bool.
type Bool struct{ text string }

// True is true where it is.
func (b Bool) True() Condition { return atom(b.text) }

// False is true where it is false, unknown where there is no value.
func (b Bool) False() Condition { return compared(b.text, " == false") }

// Known is true where there is a value.
func (b Bool) Known() Condition { return atom("has(", b.text, ")") }

// Set is a set of strings; it is never absent, only empty.
type Set struct{ text string }

// Has is true of sets with an element.
func (s Set) Has(v string) Condition { return compared(quote(v), " in ", s.text) }

// HasAny is true of sets with one of the elements.
func (s Set) HasAny(of ...string) Condition {
	if len(of) == 0 {
		return atom("false")
	}
	return atom(s.text, ".hasAny(", list(of, quote), ")")
}

// HasAll is true of sets with all of the elements.
func (s Set) HasAll(of ...string) Condition {
	if len(of) == 0 {
		return atom("true")
	}
	return atom(s.text, ".hasAll(", list(of, quote), ")")
}

// NotEmpty is true of sets that have an element.
func (s Set) NotEmpty() Condition { return atom("has(", s.text, ")") }

// Size is how many elements there are.
func (s Set) Size() Ordered[int64] { return Ordered[int64]{"size(" + s.text + ")", intText, true} }

// Decimal is an exact number: units of the last of so many places behind the point.
type Decimal struct {
	Unscaled int64
	Places   uint8 // at most 18
}

// String returns the digits.
func (d Decimal) String() string {
	digits := strconv.FormatInt(d.Unscaled, 10)
	if d.Places == 0 {
		return digits
	}
	sign := ""
	if d.Unscaled < 0 {
		sign, digits = "-", digits[1:]
	}
	if missing := int(d.Places) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - int(d.Places)
	return sign + digits[:point] + "." + digits[point:]
}

func intText(v int64) string { return strconv.FormatInt(v, 10) }

// floatText writes a float so that it is one: with a point or an exponent. What has no digits is
// a division, as IEEE 754 has it.
func floatText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "(0.0 / 0.0)"
	case math.IsInf(v, 1):
		return "(1.0 / 0.0)"
	case math.IsInf(v, -1):
		return "(-1.0 / 0.0)"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func dateText(t time.Time) string { return "date(" + quote(t.Format(time.DateOnly)) + ")" }

func timeText(t time.Time) string {
	return "timestamp(" + quote(t.UTC().Format(time.RFC3339Nano)) + ")"
}
