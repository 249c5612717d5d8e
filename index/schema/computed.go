package schema

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of computed attributes.
const (
	// MaxComputed bounds the computed attributes: a change of the schema compiles them all.
	MaxComputed = 1 << 10
	// MaxComputedText bounds their texts, as that of any expression is bounded.
	MaxComputedText = 16 << 10
)

// Computed is an attribute that is a name for an expression. It has no values of its own
// and so no id: it stands for its text, wherever it is named. Its kind follows from its text,
// and what may be said of it from what the text reads.
type Computed struct {
	Name string
	Text string // in the language of package query/syntax, which this package does not know
}

// LookupComputed returns the computed attribute with a name, or nil.
func (s *Schema) LookupComputed(name string) *Computed {
	for i := range s.Computed {
		if s.Computed[i].Name == name {
			return &s.Computed[i]
		}
	}
	return nil
}

// Names returns the names of all attributes, the computed ones behind the others.
func (s *Schema) Names() []string {
	names := make([]string, 0, len(s.Attributes)+len(s.Computed))
	for i := range s.Attributes {
		names = append(names, s.Attributes[i].Name)
	}
	for i := range s.Computed {
		names = append(names, s.Computed[i].Name)
	}
	return names
}

// Validate reports what keeps a definition from being a computed attribute's, whatever its
// text means. The error is a *[ChangeError].
func (c *Computed) Validate() error { return c.validate(SetComputed) }

func (c *Computed) validate(op ChangeOp) error {
	problem := func(what, advice string) error {
		return &ChangeError{Op: op, Name: c.Name, Problem: what, Advice: advice}
	}
	if err := CheckName(c.Name); err != nil {
		err.(*ChangeError).Op = op
		return err
	}
	switch {
	case strings.TrimSpace(c.Text) == "":
		return problem("the expression is empty", `write one, such as "purchase.sum(e, e.amount)"`)
	case len(c.Text) > MaxComputedText:
		return problem(fmt.Sprintf("the expression has %d bytes, at most %d are possible", len(c.Text), MaxComputedText), "put long lists of values into a list (in_list)")
	case !utf8.ValidString(c.Text):
		return problem("the expression is not UTF-8", "convert the input to UTF-8")
	}
	return nil
}

// changeComputed applies a change of a computed attribute.
func (s *Schema) changeComputed(c Change) (*Schema, error) {
	i := slices.IndexFunc(s.Computed, func(x Computed) bool { return x.Name == c.Name })
	x := Computed{c.Name, c.Text}
	switch {
	case c.Op == AddComputed && s.taken(c.Name) != "":
		return nil, c.problem(s.taken(c.Name), "choose another name")
	case c.Op == AddComputed && len(s.Computed) >= MaxComputed:
		return nil, c.problem(fmt.Sprintf("there are %d computed attributes, and no more can be", len(s.Computed)), "drop those that are not used")
	case c.Op != AddComputed && i < 0:
		return nil, c.problem("there is no such computed attribute", "see the schema for the names")
	case c.Op == SetComputed && s.Computed[i] == x:
		return nil, c.problem("nothing changes", "nothing is to be done")
	}
	if c.Op != DropComputed {
		if err := x.validate(c.Op); err != nil {
			return nil, err
		}
	}
	next := s.with(s.NextID, s.Attributes, s.Events)
	next.Computed = slices.Clone(s.Computed)
	switch c.Op {
	case AddComputed:
		next.Computed = append(next.Computed, x)
	case SetComputed:
		next.Computed[i] = x
	case DropComputed:
		next.Computed = slices.Delete(next.Computed, i, i+1)
	}
	return next, nil
}

// taken says who has a name that p["name"] would mean, "" if nobody has.
func (s *Schema) taken(name string) string {
	switch {
	case s.Lookup(name) != nil:
		return fmt.Sprintf("there is an attribute %q", name)
	case s.LookupComputed(name) != nil:
		return fmt.Sprintf("there is a computed attribute %q", name)
	}
	return ""
}
