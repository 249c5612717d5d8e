package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Condition is true, false or unknown of a person, or of an event. The zero value is true.
type Condition struct {
	text string
	atom bool // it needs no brackets beside && || !
}

// String returns the text of the expression.
func (c Condition) String() string {
	if c.text == "" {
		return "true"
	}
	return c.text
}

// bracketed returns a text that stands beside any operator.
func (c Condition) bracketed() string {
	if c.atom || c.text == "" {
		return c.String()
	}
	return "(" + c.text + ")"
}

func atom(parts ...string) Condition { return Condition{strings.Join(parts, ""), true} }

func compared(parts ...string) Condition { return Condition{strings.Join(parts, ""), false} }

// All is true where all conditions are; of none it is true.
func All(of ...Condition) Condition { return joined(" && ", "true", of) }

// Any is true where some condition is; of none it is false.
func Any(of ...Condition) Condition { return joined(" || ", "false", of) }

func joined(by, none string, of []Condition) Condition {
	switch len(of) {
	case 0:
		return atom(none)
	case 1:
		return of[0]
	}
	texts := make([]string, len(of))
	for i, c := range of {
		texts[i] = c.bracketed()
	}
	return compared(strings.Join(texts, by))
}

// Not is true where a condition is false; where it is unknown, so is Not.
func Not(c Condition) Condition { return atom("!", c.bracketed()) }

// InSegment is the condition that is saved under a name.
func InSegment(name string) Condition { return atom("in_segment(", quote(name), ")") }

// InList is true of who is in a list.
func InList(name string) Condition { return atom("in_list(", quote(name), ")") }

// Text takes an expression as it is written: for what this package has no word for. Nothing in
// it is quoted.
func Text(expression string) Condition { return compared(expression) }

// quote writes a text as a literal. What is not UTF-8 stays as it is, and so the expression is
// refused: no stored text is like it, and no replacement may be taken for it.
func quote(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, s[0])
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case strconv.IsPrint(r):
			out = append(out, s[:n]...)
		case r > 0xffff:
			out = appendHex(append(out, `\U`...), r, 8)
		default:
			out = appendHex(append(out, `\u`...), r, 4)
		}
		s = s[n:]
	}
	return string(append(out, '"'))
}

func appendHex(b []byte, r rune, digits int) []byte {
	for shift := (digits - 1) * 4; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[r>>shift&15])
	}
	return b
}

// list writes the literals of a list.
func list[T any](values []T, literal func(T) string) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = literal(v)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
