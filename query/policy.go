package query

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// SnapshotOptions say what a snapshot is to be. The zero value is all of the store.
type SnapshotOptions struct {
	Policy *Policy // nil: everything is visible
}

// Policy says what a caller may see of a store. A snapshot that is taken under one looks like
// a store that has nothing else: every question that it takes is about the people of Rows
// only, and what is hidden from it is not known by name, nor is anything that needs it.
//
// Attributes, event types and properties are visible, masked or hidden. Its own rule decides;
// without one the stricter of what its data class and its mark as personal say. A property
// without a data class has that of its event type, and is never more visible than that. Beside
// what is hidden there are not there: computed attributes, saved segments and definitions of
// analyses whose texts would name something hidden or masked. But a segment that its owner
// shares is there: it is true of whom it would be with all names, but only of those who exist
// for the caller. Neither its text nor what it reads is told, by no plan, explanation or Why; a
// rule of its own hides it.
//
// What is masked stands in profiles, timelines and columns of listings, with [Mask] where
// there is a value, so it is seen who has one. Expressions, orders, breakdowns, values and
// analyses do not know its name, and neither does the snapshot's schema.
//
// With a MinGroup k above 1 there are only numbers of groups: [Snapshot.Count],
// [Snapshot.Breakdown] and [Snapshot.Values]. Listings, bitmaps, whatever is of one person,
// and analyses fail with [CodeDenied]. So does a count of fewer than k people, or of all but
// fewer than k, unless the expression is true of everybody whatever is stored; the unknown are
// not told where they, or those for whom the expression is false, are fewer than k, errors
// never. Of breakdowns and values those rows are withheld that have fewer than k people, and
// more, the smallest first, until those withheld are two or more and have k people together.
//
// Plans and explanations estimate by everybody, so with Rows or a MinGroup they fail with
// [CodeDenied]. Answers do not tell how many bytes were read.
//
// What a policy does not prevent: differencing. Who may ask many questions can subtract
// their answers from each other, and find out about a group smaller than k, or about one
// person. It does not hide how many there are of what is hidden either: ordinals, ids in the
// schema, positions and the time that a question takes are those of the store.
type Policy struct {
	// Rows is an expression: who exists for the caller, at the instant when the snapshot is
	// taken; whoever it is false or unknown for does not. It may name everything that the
	// store has. "" is everybody.
	Rows string

	// Classes says what becomes of what has a data class; one that is not there is visible.
	// [schema.ClassNone] is whatever has none.
	Classes map[schema.DataClass]Access

	// PII is what becomes of what is marked as personal.
	PII Access

	// Rules are those of single names. One that is not there is an error, so that nothing
	// becomes visible by a rename.
	Rules []PolicyRule

	// MinGroup is how many people a number must be of; 0 and 1: any.
	MinGroup int
}

// Access is what becomes of something under a policy. The larger is the stricter.
type Access uint8

// What there is.
const (
	Visible Access = iota
	Masked         // it is shown that there is a value, but not which
	Hidden         // it is not there
)

// String returns the word for it.
func (a Access) String() string {
	switch a {
	case Visible:
		return "visible"
	case Masked:
		return "masked"
	case Hidden:
		return "hidden"
	}
	return fmt.Sprintf("access %d", uint8(a))
}

// Mask is what is shown in place of a value that is masked.
const Mask = "•••"

// PolicyRule is what becomes of one thing: of an attribute, be it computed; of an event type;
// of a property of one, if Property is set beside Event; of a saved segment; of a list. The
// names of the others are "". Computed attributes, segments and lists cannot be masked.
type PolicyRule struct {
	Attribute string
	Event     string
	Property  string
	Segment   string
	List      string
	Access    Access
}

// String says which thing a rule is about.
func (r *PolicyRule) String() string {
	switch {
	case r.Attribute != "":
		return fmt.Sprintf("attribute %q", r.Attribute)
	case r.Property != "":
		return fmt.Sprintf("property %q of the event %q", r.Property, r.Event)
	case r.Event != "":
		return fmt.Sprintf("event %q", r.Event)
	case r.Segment != "":
		return fmt.Sprintf("segment %q", r.Segment)
	}
	return fmt.Sprintf("list %q", r.List)
}

// set is how many kinds of things a rule names.
func (r *PolicyRule) set() (n int) {
	for _, name := range []string{r.Attribute, r.Event, r.Segment, r.List} {
		if name != "" {
			n++
		}
	}
	return n
}

// MaxPolicyRules bounds the rules of a policy: more than a schema can have names.
const MaxPolicyRules = 1 << 16

// Validate reports what is wrong with a policy, whatever the store: [CodeInvalid], or
// [CodeLimit].
func (p *Policy) Validate() error {
	if p.MinGroup < 0 {
		return Errorf(CodeInvalid, "a policy with groups of at least %d people; it is 0 or more", p.MinGroup)
	}
	if len(p.Rules) > MaxPolicyRules {
		return Errorf(CodeLimit, "a policy with %d rules; the most is %d", len(p.Rules), MaxPolicyRules)
	}
	known := func(a Access) error {
		if a > Hidden {
			return Errorf(CodeInvalid, "a policy has no access %d: it is visible, masked or hidden", a)
		}
		return nil
	}
	if err := known(p.PII); err != nil {
		return err
	}
	for class, access := range p.Classes {
		if class > schema.Correspondence {
			return Errorf(CodeInvalid, "there is no data class %d", class)
		}
		if err := known(access); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(p.Rules))
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.set() != 1 || r.Property != "" && r.Event == "" {
			return Errorf(CodeInvalid, "rule %d of a policy names no thing, or several: an attribute, an event, a property with its event, a segment or a list", i+1)
		}
		if err := known(r.Access); err != nil {
			return err
		}
		if r.Access == Masked && (r.Segment != "" || r.List != "") {
			return Errorf(CodeInvalid, "the %s cannot be masked, for it has no values: it is visible or hidden", r)
		}
		if seen[r.String()] {
			return Errorf(CodeInvalid, "a policy has two rules for the %s", r)
		}
		seen[r.String()] = true
	}
	return nil
}

// Access is what becomes of something without a rule of its own.
func (p *Policy) Access(class schema.DataClass, pii bool) Access {
	access := p.Classes[class]
	if pii {
		access = max(access, p.PII)
	}
	return access
}

// Names is a text that two policies have in common if and only if they say the same of names:
// all but Rows and MinGroup.
func (p *Policy) Names() string {
	lines := make([]string, 0, len(p.Rules)+len(p.Classes))
	for i := range p.Rules {
		r := &p.Rules[i]
		lines = append(lines, fmt.Sprintf("%s: %s\n", r, r.Access))
	}
	for class, access := range p.Classes {
		if access != Visible {
			lines = append(lines, fmt.Sprintf("class %s: %s\n", class, access))
		}
	}
	slices.SortFunc(lines, cmp.Compare)
	return fmt.Sprintf("pii: %s\n", p.PII) + strings.Join(lines, "")
}
