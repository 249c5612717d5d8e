package query

import (
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestUses looks for what a tree reads in every place where it can stand.
func TestUses(t *testing.T) {
	has := func(id schema.AttrID) Node { return &Has{Attr: id} }
	column := func(id schema.AttrID) Arith { return &Column{Attr: id} }
	for _, test := range []struct {
		n     Node
		attrs []schema.AttrID
		lists []string
	}{
		{&And{Of: []Node{has(21), &Or{Of: []Node{has(22), has(23)}}}}, []schema.AttrID{21, 22, 23}, nil},
		{&Not{Of: &Segment{Of: &InList{Name: "staff"}}}, nil, []string{"staff"}},
		{&If{Cond: has(21), Then: has(22), Else: &InList{Name: "staff"}}, []schema.AttrID{21, 22}, []string{"staff"}},
		{&And{Of: []Node{&In{Attr: 21}, &Range{Attr: 22}, &Match{Attr: 23}, &SetHas{Attr: 24}}}, []schema.AttrID{21, 22, 23, 24}, nil},
		{&Compare{L: &Binary{L: column(21), R: &Negate{Of: column(22)}}, R: &Convert{Of: column(23)}}, []schema.AttrID{21, 22, 23}, nil},
		{&Residual{Attrs: []schema.AttrID{21, schema.ListsAttr}, Lists: []string{"staff"}}, []schema.AttrID{21}, []string{"staff"}},
	} {
		if got := UsesOf(test.n); !slices.Equal(got.Attributes, test.attrs) || !slices.Equal(got.Lists, test.lists) {
			t.Errorf("%T: %+v, want %v and %q", test.n, got, test.attrs, test.lists)
		}
	}
	got := UsesOfFields(Field{Attribute: schema.Attribute{ID: 21}}, Computed(schema.Attribute{Name: "x"}, &Formula{Attrs: []schema.AttrID{22, schema.ListsAttr}, Lists: []string{"staff"}}))
	if !slices.Equal(got.Attributes, []schema.AttrID{21, 22}) || !slices.Equal(got.Lists, []string{"staff"}) {
		t.Errorf("fields: %+v", got)
	}
}
