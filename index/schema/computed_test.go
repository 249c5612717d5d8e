package schema

import (
	"strings"
	"testing"
)

// applyComputedCases are changes of exampleSchema's computed attribute orders.
func applyComputedCases() []applyCase {
	set := func(op ChangeOp, name, text string) Change { return Change{Op: op, Name: name, Text: text} }
	return []applyCase{
		{"add computed", set(AddComputed, "spent", "purchase.sum(e, e.amount)"), ""},
		{"add computed named as an event", set(AddComputed, "purchase", "1"), ""},
		{"add computed with any name", set(AddComputed, "Total spent", strings.Repeat("x", MaxComputedText)), ""},
		{"add computed named as an attribute", set(AddComputed, "age", "1"), `add computed "age": there is an attribute "age" (choose another name)`},
		{"add computed twice", set(AddComputed, "orders", "1"), `add computed "orders": there is a computed attribute "orders"`},
		{"add computed without a name", set(AddComputed, "", "1"), "the name is empty"},
		{"add computed with a control character", set(AddComputed, "a\nb", "1"), "control character"},
		{"add computed without a text", set(AddComputed, "x", " \n"), `add computed "x": the expression is empty`},
		{"add computed that is too long", set(AddComputed, "x", strings.Repeat("x", MaxComputedText+1)), "16385 bytes, at most 16384"},
		{"add computed that is not UTF-8", set(AddComputed, "x", "\xff"), "not UTF-8"},
		{"set computed", set(SetComputed, "orders", "1"), ""},
		{"set the same", set(SetComputed, "orders", "purchase.count()"), "nothing changes"},
		{"set a stranger", set(SetComputed, "x", "1"), `set computed "x": there is no such computed attribute`},
		{"set an attribute", set(SetComputed, "age", "1"), "there is no such computed attribute"},
		{"set to nothing", set(SetComputed, "orders", ""), "the expression is empty"},
		{"drop computed", set(DropComputed, "orders", ""), ""},
		{"drop a computed stranger", set(DropComputed, "age", ""), "there is no such computed attribute"},
		{"drop as an attribute", Change{Op: Drop, Name: "orders"}, "there is no such attribute"},
		{"add attribute named as a computed one", Change{Op: AddAttribute, Name: "orders", Attribute: Attribute{Kind: Int}}, `add "orders": there is a computed attribute "orders" (choose another name or drop that one first)`},
		{"rename attribute to a computed one", Change{Op: Rename, Name: "age", To: "orders"}, `rename "age": there is a computed attribute "orders"`},
	}
}

func TestComputedLimit(t *testing.T) {
	s := New(0, 0, nil)
	s.Computed = make([]Computed, MaxComputed)
	if _, err := s.Apply(Change{Op: AddComputed, Name: "x", Text: "1"}); err == nil || !strings.Contains(err.Error(), "there are 1024 computed attributes") {
		t.Fatal(err)
	}
}
