package engine

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
)

// stored returns all that lies in a span of the store.
func stored(t *testing.T, db *DB, span keys.Span) (ks, vs [][]byte) {
	t.Helper()
	err := db.kv.Scan(t.Context(), span, func(k, v []byte) (bool, error) {
		ks, vs = append(ks, bytes.Clone(k)), append(vs, bytes.Clone(v))
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ks, vs
}

// TestChangesAreDeterministic: a batch that changes very much has the same outcome in every store.
func TestChangesAreDeterministic(t *testing.T) {
	var first [][]byte
	for i := range 2 {
		_, outcomes := stored(t, newCrowd(t, 1<<26).db, keys.AllOutcomes())
		if i == 0 {
			first = outcomes
		}
		if len(outcomes) == 0 || len(outcomes) != len(first) {
			t.Fatalf("%d outcomes, then %d", len(first), len(outcomes))
		}
		for k := range outcomes {
			if !bytes.Equal(outcomes[k], first[k]) {
				t.Fatalf("outcome %d is another one", k)
			}
		}
	}
}

// TestDeletedHasNoChanges: what the batch that deletes somebody changed before is not kept.
func TestDeletedHasNoChanges(t *testing.T) {
	c := newCrowd(t, 1<<26)
	before, err := c.db.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.apply(func(b *batch.Builder) {
		b.Upsert("k1").Set("plan", schema.StringValue("other"))
		b.Delete("k1")
		b.Upsert("k2").Set("plan", schema.StringValue("other"))
	})
	after, err := c.db.Stats(t.Context())
	if err != nil || after.Changes != before.Changes+1 {
		t.Errorf("%d changes became %d (%v)", before.Changes, after.Changes, err)
	}
}

// TestOldGenerationsAreDeleted folds and merges again and again: of events there is on disk
// what is read, without a new opening.
func TestOldGenerationsAreDeleted(t *testing.T) {
	s := newIDSender(t)
	for round := range int64(20) {
		s.send("", fmt.Sprint(round), 90+round%2, round)
		s.compact()
	}
	units, parts := map[string]bool{}, map[string]bool{}
	for _, of := range s.db.current.Load().Acts {
		for _, u := range of {
			if u == nil {
				continue
			}
			units[string(u.ID.Key())] = true
			for _, p := range u.Parts {
				parts[string(p.ID.Row(keys.Header, 0))] = true
			}
		}
	}
	found, _ := stored(t, s.db, keys.AllActs())
	for _, k := range found {
		if !units[string(k)] {
			t.Errorf("an old manifest is still there: %x", k)
		}
	}
	all, _ := stored(t, s.db, keys.Parts())
	headers := 0
	for _, k := range all {
		if p, kind, _, ok := keys.ParsePart(k); ok && kind == keys.Header {
			if headers++; !parts[string(p.Row(keys.Header, 0))] {
				t.Errorf("an old part is still there: %x", k)
			}
		}
	}
	if len(found) != len(units) || headers != len(parts) || headers == 0 {
		t.Errorf("%d manifests and %d parts, want %d and %d", len(found), headers, len(units), len(parts))
	}
}
