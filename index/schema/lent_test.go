package schema

import (
	"fmt"
	"testing"
)

// TestLend: what is lent is found by name and by id; an id stays that of its field while
// others come and go, and while the schema changes.
func TestLend(t *testing.T) {
	s := New(1, 0, []Attribute{{ID: 16, Name: `rfm("a").r`, Kind: String}})
	make := func(names ...string) (out []Lent) {
		for _, name := range names {
			out = append(out, Lent{Analysis: "rfm", Name: name, Fields: []LentField{{Field: "segment", Attribute: Attribute{Kind: String}}, {Field: "r", Attribute: Attribute{Kind: Int}}}})
		}
		return out
	}
	if s.Lend(nil) != s {
		t.Error("a schema without anything lent was copied")
	}
	one := s.Lend(make("a"))
	r := one.LookupLent("rfm", "a").Lookup("r")
	if r.Name != `rfm("a").r` || r.Kind != Int || one.ByID(r.ID) != r || one.LentBy(r.ID).String() != `rfm("a")` || one.Lookup(r.Name).ID != 16 {
		t.Errorf("%+v", r)
	}
	for _, id := range []AttrID{0, 16, FirstLent, r.ID + 1} {
		if id != one.LookupLent("rfm", "a").Lookup("segment").ID && one.LentBy(id) != nil {
			t.Errorf("%d is lent by %v", id, one.LentBy(id))
		}
	}
	if one.LookupLent("rfm", "b") != nil || one.LookupLent("funnel", "a") != nil || one.LookupLent("rfm", "a").Lookup("m") != nil || s.ByID(r.ID) != nil {
		t.Error("something is lent that is not")
	}
	next, err := one.Apply(Change{Op: Add, Name: "x", Attribute: Attribute{Name: "x", Kind: Int}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 3000 { // some ids meet
		names = append(names, fmt.Sprint("n", i))
	}
	all := next.Lend(make(append(names, "a")...))
	if got := all.LookupLent("rfm", "a").Lookup("r"); got.ID != r.ID || all.ByID(got.ID) != got {
		t.Errorf("the id is %d, it was %d", got.ID, r.ID)
	}
	seen := map[AttrID]bool{}
	for _, l := range all.Lent {
		for _, f := range l.Fields {
			if seen[f.ID] || f.ID < FirstLent || f.ID >= FirstLent+lentIDs {
				t.Fatalf("%s has the id %d", f.Name, f.ID)
			}
			seen[f.ID] = true
		}
	}
	if len(all.Lend(nil).Lent) != 0 || all.Lend(nil).ByID(r.ID) != nil {
		t.Error("it is still lent")
	}
}
