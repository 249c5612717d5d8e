package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Each test of this file is a fault that the engine once had.

func openSmall(t *testing.T, lower func(o *engine.Options)) (db *engine.DB, apply func(fill func(b *batch.Builder)) (batch.Result, error)) {
	t.Helper()
	o := engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	lower(&o)
	db, err := engine.Open("store", &o)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db, func(fill func(b *batch.Builder)) (batch.Result, error) {
		b := batch.New()
		fill(b)
		raw, err := b.Encode()
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return db.Apply(ctx, raw)
	}
}

// The writer waited for room while the compactor, which was to make it, waited for the
// writer to begin a new index.
func TestIndexMergeUnderPressure(t *testing.T) {
	db, apply := openSmall(t, func(o *engine.Options) { engine.LowerLimits(o, 1, 1, 1) })
	for i := range 400 {
		if _, err := apply(func(b *batch.Builder) { b.Upsert(fmt.Sprint("key-", i)) }); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
	}
	n, err := db.Count(t.Context(), "1 == 1", nil)
	must(t, err)
	if n.Count != 400 {
		t.Fatalf("%d people", n.Count)
	}
}

// Of the remembered batches the oldest went, not the lowest: a high sequence that came
// early was forgotten and applied again.
func TestHighSequenceIsNotForgotten(t *testing.T) {
	_, apply := openSmall(t, func(*engine.Options) {})
	send := func(sequence uint64) (batch.Result, error) {
		return apply(func(b *batch.Builder) {
			b.Source("feed", 1, sequence)
			b.Upsert("ann")
		})
	}
	_, err := send(5000)
	must(t, err)
	for i := range uint64(1100) {
		if _, err := send(i + 1); err != nil {
			t.Fatalf("sequence %d: %v", i+1, err)
		}
	}
	if r, err := send(5000); err != nil || !r.Repeated {
		t.Fatalf("a repeat of sequence 5000: %+v %v", r, err)
	}
	if _, err := send(3); !errors.Is(err, &query.Error{Code: query.CodeStaleSequence}) {
		t.Fatalf("a repeat of sequence 3: %v", err)
	}
}

// A row that failed because a dictionary was full had already been given an ordinal: its
// key was known from then on, to a profile that did not live.
func TestFullDictionary(t *testing.T) {
	db, apply := openSmall(t, func(o *engine.Options) { engine.LowerDictionary(o, 3) })
	r, err := apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "city", Kind: schema.String})
		for i := range 5 {
			b.Upsert(fmt.Sprint("key-", i)).Set("city", schema.StringValue(fmt.Sprint("city-", i)))
		}
		b.Upsert("key-4").Set("city", schema.StringValue("city-0"))
	})
	must(t, err)
	if r.Accepted != 4 || r.Quarantined != 2 || r.Created != 4 || r.Rejected[0].Reason != batch.ReasonDictionaryFull {
		t.Fatalf("%+v", r)
	}
	p, err := db.Profile(t.Context(), "key-4", nil)
	must(t, err)
	if fmt.Sprint(p.Values) != "[{city city-0}]" {
		t.Fatalf("%+v", p)
	}
	n, err := db.Count(t.Context(), "1 == 1", nil)
	must(t, err)
	if n.Count != 4 {
		t.Fatalf("%d people", n.Count)
	}
	report, err := db.Check(t.Context(), nil)
	must(t, err)
	if len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
}

// Inline texts move into a dictionary up to its limit; beyond it they stay where they are.
func TestDictionaryTooSmall(t *testing.T) {
	for n, fits := range map[int]bool{3: true, 4: false} {
		db, apply := openSmall(t, func(o *engine.Options) { engine.LowerDictionary(o, 3) })
		_, err := apply(func(b *batch.Builder) {
			addAttribute(b, schema.Attribute{Name: "city", Kind: schema.String, Storage: schema.StorageInline})
			for i := range 9 {
				b.Upsert(fmt.Sprint("key-", i)).Set("city", schema.StringValue(fmt.Sprint("city-", i%n)))
			}
		})
		must(t, err)
		_, err = apply(func(b *batch.Builder) { b.Change(storage("city", schema.StorageDictionary)) })
		if fits {
			must(t, err)
		} else {
			wantConflict(t, err, "more different values than a dictionary takes (3)", "leave it inline")
		}
		c, err := db.Count(t.Context(), `city == "city-1"`, nil)
		if must(t, err); c.Count != uint64((9+n-2)/n) {
			t.Errorf("of %d values one has %d people", n, c.Count)
		}
	}
}

// An attribute that one batch added, filled and dropped had no place in the head: its
// values went to the first one's, which are the keys.
func TestAddFillAndDrop(t *testing.T) {
	db, apply := openSmall(t, func(*engine.Options) {})
	_, err := apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "short-lived", Kind: schema.String, Storage: schema.StorageInline})
		b.Upsert("ann").Set("short-lived", schema.StringValue("bob"))
		b.Change(schema.Change{Op: schema.Drop, Name: "short-lived"})
	})
	must(t, err)
	p, err := db.Profile(t.Context(), "ann", nil)
	must(t, err)
	if p.Key != "ann" || len(p.Values) != 0 {
		t.Fatalf("%+v", p)
	}
}

// An index for an attribute of a refused batch stayed for the next one, which got the
// same id and was of another kind.
func TestRefusedAttributeLeavesNothing(t *testing.T) {
	db, apply := openSmall(t, func(*engine.Options) {})
	_, err := apply(func(b *batch.Builder) { // not strict: a conflict refuses the batch after the attribute was taken in
		addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
		b.DropSegment("none")
	})
	if !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Fatal(err)
	}
	_, err = apply(func(b *batch.Builder) {
		b.Strict(true)
		addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
		b.Upsert("ann").Set("nobody has this", schema.IntValue(1))
	})
	if !errors.Is(err, &query.Error{Code: query.CodeRefused}) {
		t.Fatal(err)
	}
	_, err = apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "city", Kind: schema.String})
		b.Upsert("ann").Set("city", schema.StringValue("Rome"))
	})
	must(t, err)
	n, err := db.Count(t.Context(), `city == "Rome"`, nil)
	must(t, err)
	if n.Count != 1 {
		t.Fatalf("%d people", n.Count)
	}
}

// A value could not move to another profile in the batch that deletes its holder; and an
// increment did not see what an earlier op of its batch had set.
func TestWithinABatch(t *testing.T) {
	db, apply := openSmall(t, func(*engine.Options) {})
	_, err := apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
		addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
		b.Upsert("ann").Set("email", schema.StringValue("a@x"))
	})
	must(t, err)
	r, err := apply(func(b *batch.Builder) {
		b.Upsert("cat").Set("email", schema.StringValue("c@x"))
		b.Delete("ann")
		b.Upsert("bob").Set("email", schema.StringValue("a@x")).Set("n", schema.IntValue(5))
		b.Delete("nobody")
		b.Upsert("bob").Increment("n", schema.IntValue(1)).Expect("n", schema.IntValue(5))
	})
	must(t, err)
	if r.Accepted != 4 || r.Quarantined != 1 {
		t.Fatalf("%+v", r)
	}
	p, err := db.ProfileBy(t.Context(), "email", "a@x", nil)
	must(t, err)
	if p.Key != "bob" || fmt.Sprint(p.Values) != "[{email a@x} {n 6}]" {
		t.Fatalf("%+v", p)
	}
	r, err = apply(func(b *batch.Builder) {
		b.Upsert("dan").Increment("n", schema.IntValue(2)).Set("email", schema.StringValue("d@x"))
		b.Delete("bob", "bob", "dan", "dan")
		b.Upsert("dan").Increment("n", schema.IntValue(1))
		b.Upsert("eve").Set("email", schema.StringValue("d@x"))
	})
	must(t, err)
	if r.Accepted != 5 || r.Quarantined != 2 {
		t.Fatalf("%+v", r)
	}
	p, err = db.Profile(t.Context(), "dan", nil)
	must(t, err)
	if fmt.Sprint(p.Values) != "[{n 1}]" {
		t.Fatalf("%+v", p)
	}
}

// A number with values could become unique although others had the same, and nobody was
// found by it.
func TestLateUnique(t *testing.T) {
	_, apply := openSmall(t, func(*engine.Options) {})
	_, err := apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "code", Kind: schema.Int})
		b.Upsert("ann").Set("code", schema.IntValue(1))
		b.Upsert("bob").Set("code", schema.IntValue(1))
	})
	must(t, err)
	_, err = apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.Narrow, Name: "code", Attribute: schema.Attribute{Kind: schema.Int, Unique: true}})
	})
	if !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatal(err)
	}
}

// The quarantine keeps the newest rows.
func TestQuarantineQuota(t *testing.T) {
	db, apply := openSmall(t, func(o *engine.Options) { engine.LowerQuarantine(o, 10) })
	for i := range 7 {
		_, err := apply(func(b *batch.Builder) {
			for j := range 3 {
				b.Delete(fmt.Sprintf("nobody-%d-%d", i, j))
			}
		})
		must(t, err)
	}
	rows, err := db.Quarantine(t.Context(), 0, 0)
	must(t, err)
	if len(rows) != 10 || rows[0].Seq != 12 || rows[9].Seq != 21 || rows[9].Raw != "key=nobody-6-2" {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
}

func TestNegativeMemory(t *testing.T) {
	_, err := engine.Open("", &engine.Options{Memory: -1})
	wantError(t, err, query.CodeInvalid, "-1")
}

// A few new keys kept the log from ever being truncated: their index was too small to merge.
func TestLogIsNotKeptForAFewKeys(t *testing.T) {
	db, apply := openSmall(t, func(o *engine.Options) { engine.LowerLimits(o, 10, 40, 100_000) })
	_, err := apply(func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
		for i := range 50 {
			b.Upsert(fmt.Sprint("k", i))
		}
	})
	must(t, err)
	for i := range 20_000 {
		_, err := apply(func(b *batch.Builder) { b.Upsert("k1").Set("n", schema.IntValue(int64(i))) })
		must(t, err)
		if i < 1000 || i%100 > 0 {
			continue
		}
		st, err := db.Stats(t.Context())
		must(t, err)
		if st.LogRecords < 500 {
			return
		}
	}
	t.Error("all records are kept")
}
