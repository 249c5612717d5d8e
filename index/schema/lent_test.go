package schema

import (
	"testing"
)

// TestLend: what is lent is found by name and by id; an id stays that of its field while
// others come and go, and while the schema changes.
func TestLend(t *testing.T) {
	s := New(1, 0, []Attribute{{ID: 16, Name: `rfm("a").r`, Kind: String}})
	lend := func(names ...string) (out []Lent) {
		for _, name := range names {
			out = append(out, Lent{Analysis: "rfm", Name: name, Fields: []LentField{{Field: "segment", Attribute: Attribute{Kind: String}}, {Field: "r", Attribute: Attribute{Kind: Int}}}})
		}
		return out
	}
	if s.Lend(nil) != s {
		t.Error("a schema without anything lent was copied")
	}
	one := s.Lend(lend("a"))
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
	next, err := one.Apply(Change{Op: AddAttribute, Name: "x", Attribute: Attribute{Name: "x", Kind: Int}})
	if err != nil {
		t.Fatal(err)
	}
	all := next.Lend(lend(append(meeting(t, lend), "a")...))
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

// meeting returns two names, found by trying, whose fields would have one id.
func meeting(t *testing.T, lend func(names ...string) []Lent) []string {
	t.Helper()
	names := []string{"n630462", "n88988"}
	id := func(name string) AttrID { return New(1, 0, nil).Lend(lend(name)).Lent[0].Fields[1].ID }
	if id(names[0]) != id(names[1]) {
		t.Fatalf("%q have the ids %d and %d", names, id(names[0]), id(names[1]))
	}
	return names
}
