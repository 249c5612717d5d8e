package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

// TestLeftBehind: what a crash has kept from being deleted, which are older generations and
// objects that nothing names, goes when the store is opened; all else stays.
func TestLeftBehind(t *testing.T) {
	s := newIDSender(t)
	for day := range int64(3) {
		s.send("app", "id", 90+day, day)
	}
	s.compact()
	ask := func() uint64 {
		t.Helper()
		n, err := s.db.Count(t.Context(), "buy.count() == 3", nil)
		if err != nil {
			t.Fatal(err)
		}
		return n.Count
	}
	if ask() != 1 {
		t.Fatalf("%d people", ask())
	}
	var all [][]byte
	spans := []keys.Span{keys.Base(), keys.Tables(), keys.AllActs(), keys.Parts(), keys.AllFacts(), keys.Runs()}
	left := map[string]bool{}
	b := s.db.kv.NewBatch()
	for _, span := range spans {
		found, values := stored(t, s.db, span)
		all = append(all, found...)
		for i, k := range found {
			older := olderKey(k)
			if older != nil {
				left[string(older)] = true
				b.Set(older, values[i])
			}
		}
	}
	left[string(keys.Facts{Event: 1, Number: 1000}.Row(keys.Block, 3))] = true
	b.Set(keys.Facts{Event: 1, Number: 1000}.Row(keys.Block, 3), []byte("left"))
	if err := b.Commit(false); err != nil {
		t.Fatal(err)
	}
	b.Close()
	kinds := map[byte]bool{}
	for k := range left {
		kinds[k[0]] = true
	}
	if len(kinds) != len(spans) {
		t.Fatalf("only %d kinds of objects are left behind", len(kinds))
	}
	s.reopen()
	s.compact() // which waits for that
	for _, span := range spans {
		found, _ := stored(t, s.db, span)
		for _, k := range found {
			if left[string(k)] {
				t.Errorf("%x is still there", k)
			}
			all = slices.DeleteFunc(all, func(x []byte) bool { return string(x) == string(k) })
		}
	}
	if len(all) != 0 || ask() != 1 {
		t.Errorf("%x are gone; %d people", all, ask())
	}
}

// olderKey returns the key of a generation that a stored key's is not, or of an object that
// nothing names; nil if there is none for its kind.
func olderKey(k []byte) []byte {
	if u, kind, row, ok := keys.ParseUnit(k); ok {
		u.Generation = 0
		return u.Row(kind, row)
	}
	if x, kind, page, ok := keys.ParseTable(k); ok {
		x.Generation = 0
		return x.Row(kind, page)
	}
	if a, ok := keys.ParseActs(k); ok {
		a.Generation = 0
		return a.Key()
	}
	if p, kind, row, ok := keys.ParsePart(k); ok {
		p.Number += 1000
		return p.Row(kind, row)
	}
	if r, kind, page, ok := keys.ParseRun(k); ok {
		r.Number += 1000
		return r.Row(kind, page)
	}
	return nil
}

// TestSegmentsAtInstants asks which segments somebody is in at one instant after another:
// those that read the clock or events are what they are then.
func TestSegmentsAtInstants(t *testing.T) {
	s := newIDSender(t)
	s.send("app", "id", 90, 1)
	s.apply(func(b *batch.Builder) {
		b.SaveSegment("always", "buy.count() >= 0")
		b.SaveSegment("bought lately", "buy.in_last(days(5)).any()")
		b.SaveSegment("in april", `now >= timestamp("1970-04-01T00:00:00Z")`)
		b.SaveSegment("named", `in_segment("bought lately") && in_segment("in april")`)
		b.SaveSegment("nobody", "1 == 2")
	})
	for _, at := range []struct {
		day  int64
		want []string
	}{
		{89, []string{"always"}}, {92, []string{"always", "bought lately", "in april", "named"}}, {99, []string{"always", "in april"}}, {92, []string{"always", "bought lately", "in april", "named"}},
	} {
		o := query.Options{Now: time.UnixMilli(at.day*actDay + 1).UTC()}
		p, err := s.db.Profile(t.Context(), "anna", &query.ProfileOptions{Options: o})
		if err != nil || !slices.Equal(p.Segments, at.want) {
			t.Errorf("day %d: %q, want %q (%v)", at.day, p.Segments, at.want, err)
		}
		for _, name := range []string{"always", "bought lately", "in april", "named"} {
			n, err := s.db.Count(t.Context(), `in_segment("`+name+`")`, &o)
			if want := slices.Contains(at.want, name); err != nil || (n.Count == 1) != want {
				t.Errorf("day %d: %s: %d people, want one: %v (%v)", at.day, name, n.Count, want, err)
			}
		}
	}
}
