package schema

import (
	"strings"
	"testing"
)

// TestHistoryTurns: each history has an id of its own, and holds the storage fast.
func TestHistoryTurns(t *testing.T) {
	s := New(0, 0, nil)
	apply := func(c Change) *Attribute {
		t.Helper()
		next, err := s.Apply(c)
		if err != nil {
			t.Fatal(err)
		}
		s = next
		return s.Lookup(c.Name)
	}
	kept := Attribute{Name: "plan", Kind: String, History: true}
	off := Attribute{Name: "plan", Kind: String}
	if a := apply(Change{Op: AddAttribute, Name: "plan", Attribute: kept}); a.ID != 16 || a.Changes != 17 || s.NextID != 18 {
		t.Errorf("%+v, next id %d", a, s.NextID)
	}
	e := s.StoredByID(17)
	if e == nil || len(e.Properties) != 2 || e.Properties[0].ID != PositionProperty || e.Properties[1].ID != 16 || e.Properties[1].Kind != String {
		t.Errorf("%+v", e)
	}
	if _, err := s.Apply(Change{Op: SetStorage, Name: "plan", Attribute: Attribute{Storage: StorageInline}}); err == nil || !strings.Contains(err.Error(), "turn history off first") {
		t.Error(err)
	}
	if a := apply(Change{Op: Widen, Name: "plan", Attribute: off}); a.Changes != 0 || a.ChangeType() != nil || s.KeepsHistory() || s.StoredByID(17) != nil {
		t.Errorf("%+v", a)
	}
	if next, err := s.Apply(Change{Op: SetStorage, Name: "plan", Attribute: Attribute{Storage: StorageInline}}); err != nil || !next.Lookup("plan").Inline() {
		t.Error(err)
	}
	if a := apply(Change{Op: Widen, Name: "plan", Attribute: kept}); a.ID != 16 || a.Changes != 18 || s.ChangedBy(18) != a || s.ChangedBy(17) != nil {
		t.Errorf("%+v", a)
	}
	n := 0
	for range s.Stored() {
		n++
	}
	if n != 1 || len(s.Events) != 0 {
		t.Errorf("%d types are stored, %d events", n, len(s.Events))
	}
}
