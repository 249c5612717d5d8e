package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// maxListed is how many values of a list a label shows.
const maxListed = 5

// label says what a node tests, in the words of the language. It is for people: it may
// shorten, and a merged node has no text of its own.
func label(s *schema.Schema, n Node) string {
	switch n := n.(type) {
	case *Const:
		return [...]string{"false", "true", "unknown"}[n.Value]
	case *And:
		return "and"
	case *Or:
		return "or"
	case *Not:
		return "not"
	case *If:
		return "if (condition, then, else)"
	case *Segment:
		return "in_segment(" + strconv.Quote(n.Name) + ")"
	case *InList:
		return "in_list(" + strconv.Quote(n.Name) + ")"
	case *Has:
		return "has(" + placed(s, n.Attr) + ")"
	case *In:
		if n.Attr >= schema.FirstLent && len(n.Values) == 1 && n.Values[0].Equal(schema.BoolValue(true)) {
			return named(s, n.Attr) // a segment
		}
		if len(n.Values) == 1 {
			return named(s, n.Attr) + " == " + literal(n.Values[0])
		}
		return named(s, n.Attr) + " in " + list(n.Values, literal)
	case *Range:
		return rangeLabel(s, n)
	case *Match:
		return matchLabel(s, n)
	case *SetHas:
		if len(n.Values) == 1 {
			return strconv.Quote(n.Values[0]) + " in " + named(s, n.Attr)
		}
		call := ".hasAny("
		if n.All {
			call = ".hasAll("
		}
		return named(s, n.Attr) + call + list(n.Values, strconv.Quote) + ")"
	case *Compare:
		return arithLabel(s, n.L) + comparisons[n.Op] + arithLabel(s, n.R)
	case *Residual:
		var of []string
		for _, id := range n.Attrs {
			of = append(of, named(s, id))
		}
		for _, id := range n.Events {
			of = append(of, eventNamed(s, id))
		}
		return "computed from " + strings.Join(of, ", ")
	}
	return eventLabel(s, n)
}

// comparisons are the texts of [CompareOp].
var comparisons = [...]string{" == ", " != ", " < ", " <= ", " > ", " >= "}

func list[T any](values []T, text func(T) string) string {
	var out []string
	for i, v := range values {
		if i == maxListed {
			out = append(out, fmt.Sprintf("... %d more", len(values)-i))
			break
		}
		out = append(out, text(v))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// described returns an attribute, or a property of an event, and what stands for whose it is.
func described(s *schema.Schema, id schema.AttrID) (a schema.Attribute, of string, err error) {
	if id == schema.TimeProperty {
		return timeAttribute, "e", nil
	}
	if _, p := s.Property(id); p != nil {
		return *p, "e", nil
	}
	a, err = attribute(s, id)
	return a, "p", err
}

// named returns an attribute as an expression writes it.
func named(s *schema.Schema, id schema.AttrID) string {
	a, of, err := described(s, id)
	switch {
	case err != nil:
		return fmt.Sprintf("attribute %d", id)
	case id >= schema.FirstLent:
		return a.Name
	case !bare(a.Name):
		return of + "[" + strconv.Quote(a.Name) + "]"
	case of == "p":
		return a.Name
	}
	return of + "." + a.Name
}

// placed is named with the profile before it, as has() wants it.
func placed(s *schema.Schema, id schema.AttrID) string {
	if n := named(s, id); bare(n) {
		return "p." + n
	} else {
		return n
	}
}

// bare reports whether a name looks like an identifier.
func bare(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func literal(v schema.Value) string {
	switch v.Kind() {
	case schema.String:
		return strconv.Quote(v.Str())
	case schema.Date:
		return "date(\"" + v.String() + "\")"
	case schema.Timestamp:
		return "timestamp(\"" + v.String() + "\")"
	}
	return v.String()
}

func rangeLabel(s *schema.Schema, n *Range) string {
	name := named(s, n.Attr)
	a, _, err := described(s, n.Attr)
	if err != nil {
		return name
	}
	value := func(x int64) string { return literal(schema.FromOrdered(a.Kind, a.Scale, x)) }
	lo, hi := kindRange(a.Kind)
	if a.Kind == schema.Float {
		lo, hi = schema.OrderedFloat(math.Inf(-1)), schema.OrderedFloat(math.Inf(1))
	}
	switch {
	case n.Lo > n.Hi:
		return name + " in []"
	case n.Lo <= lo && n.Hi >= hi:
		return name + " is any"
	case n.Lo <= lo:
		return name + " <= " + value(n.Hi)
	case n.Hi >= hi:
		return name + " >= " + value(n.Lo)
	case n.Lo == n.Hi:
		return name + " == " + value(n.Lo)
	}
	return name + " >= " + value(n.Lo) + " && " + name + " <= " + value(n.Hi)
}

func matchLabel(s *schema.Schema, n *Match) string {
	name, text := named(s, n.Attr), strconv.Quote(n.Text)
	switch n.Op {
	case StartsWith, EndsWith, Contains, Matches:
		return name + [...]string{".startsWith(", ".endsWith(", ".contains(", ".matches("}[n.Op] + text + ")"
	case Less, LessEqual, Greater, GreaterEqual:
		return name + [...]string{" < ", " <= ", " > ", " >= "}[n.Op-Less] + text
	}
	return name
}

func arithLabel(s *schema.Schema, n Arith) string {
	switch n := n.(type) {
	case *Column:
		return named(s, n.Attr)
	case *Literal:
		return literal(n.Value)
	case *Binary:
		ops := [...]string{" + ", " - ", " * ", " / ", " % "}
		return "(" + arithLabel(s, n.L) + ops[n.Op] + arithLabel(s, n.R) + ")"
	case *Negate:
		return "-" + arithLabel(s, n.Of)
	case *Convert:
		if n.Kind == schema.Decimal {
			return arithLabel(s, n.Of) // the language has no such call
		}
		name := n.Kind.String()
		if n.Kind == schema.Float {
			name = "double"
		}
		return name + "(" + arithLabel(s, n.Of) + ")"
	case *Fold:
		return foldLabel(s, n)
	}
	return fmt.Sprintf("%T", n)
}
