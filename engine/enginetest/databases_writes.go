package enginetest

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// writes applies batches whose outcomes are known.
func (s *suite) writes(t *testing.T) {
	ctx := t.Context()
	apply(t, s.db, databaseSchema(t))
	b := batch.New()
	b.Source("writes", 1, 1)
	b.Upsert("a").Set("country", schema.StringValue("IT"))
	b.Upsert("b").Set("age", schema.IntValue(500))
	b.Upsert("c").Set("age", schema.IntValue(50))
	raw := encoded(t, b)
	dry, err := s.db.DryRun(ctx, raw)
	if err != nil || dry.Accepted != 2 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	first := apply(t, s.db, raw)
	if first.Received != 3 || first.Accepted != 2 || first.Created != 2 || first.Quarantined != 1 || first.Reasons[batch.ReasonOutOfRange] != 1 ||
		len(first.Rejected) != 1 || first.Rejected[0].Row != 1 || first.Rejected[0].Detail == "" || first.Repeated {
		t.Errorf("the outcome is %+v", first)
	}
	again := apply(t, s.db, raw)
	if !again.Repeated || again.Position != first.Position || again.Accepted != 2 {
		t.Errorf("the outcome of the repeated batch is %+v", again)
	}
	if n, err := s.db.Count(ctx, "true", nil); err != nil || n.Count != 2 || n.Position != first.Position {
		t.Errorf("%+v, %v: what was written is in the next answer", n, err)
	}
	b = batch.New()
	b.Strict(true)
	b.Upsert("d").Set("age", schema.IntValue(-5))
	for what, raw := range map[string]batch.Batch{"strict": encoded(t, b), "garbage": batch.Batch("no batch"), "empty": nil, "cut": raw[:len(raw)/2]} {
		_, err := s.db.Apply(ctx, raw)
		_, err2 := s.store.Apply(ctx, raw)
		if err == nil || differentErrors(err2, err) != "" {
			t.Errorf("a batch that is %s: %s", what, differentErrors(err2, err))
		}
		_, err = s.db.DryRun(ctx, raw)
		_, err2 = s.store.DryRun(ctx, raw)
		if differentErrors(err2, err) != "" {
			t.Errorf("a dry run of a batch that is %s: %s", what, differentErrors(err2, err))
		}
	}
}

// submits sends many batches before it waits for the first: they are applied in their order, and
// one that fails holds nothing up.
func (s *suite) submits(t *testing.T) {
	ctx := t.Context()
	const batches = 200
	var waits []func() (batch.Result, error)
	for i := range batches {
		b := batch.New()
		b.Source("submits", 1, uint64(i)+1)
		b.Upsert("submitted").Set("age", schema.IntValue(int64(i%100)))
		raw := encoded(t, b)
		if i == 100 {
			raw = batch.Batch("no batch")
		}
		wait, err := s.db.Submit(ctx, raw)
		if err != nil {
			refused := err // the engine says so at once
			wait = func() (batch.Result, error) { return batch.Result{}, refused }
		}
		waits = append(waits, wait)
	}
	var last query.Position
	for i, wait := range waits {
		r, err := wait()
		if i == 100 {
			if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Errorf("what is no batch: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Accepted != 1 || r.Position.Applied <= last.Applied {
			t.Errorf("batch %d: %+v, after %v", i, r, last)
		}
		last = r.Position
	}
	n, err := s.db.Count(ctx, "age == 99", nil)
	if err != nil || n.Count != 1 || n.Position.Applied < last.Applied {
		t.Errorf("%+v, %v: the last batch wins", n, err)
	}
}

// erasures erases people and lets one return.
func (s *suite) erasures(t *testing.T) {
	ctx := t.Context()
	for _, b := range databaseBatches(t, rand.New(rand.NewPCG(1, 2))) {
		apply(t, s.db, b)
	}
	keys := []string{personKey(10), personKey(11), personKey(12)}
	b := batch.New()
	b.SaveSegment("named", `p.email == "`+keys[0]+`"`)
	apply(t, s.db, encoded(t, b))
	gone, err := s.db.Erase(ctx, "ticket 81", keys...)
	if err != nil || gone.People != 3 || len(gone.Named) != 1 {
		t.Fatalf("%+v, %v", gone, err)
	}
	var people []query.ErasedPerson
	if err := s.db.Erased(ctx, func(p query.ErasedPerson) error { people = append(people, p); return nil }); err != nil || len(people) != 3 {
		t.Fatalf("%+v, %v", people, err)
	}
	var direct []query.ErasedPerson
	if err := s.store.Erased(ctx, func(p query.ErasedPerson) error { direct = append(direct, p); return nil }); err != nil || different(people, direct) != "" {
		t.Errorf("the ledger: %s (%v)", different(people, direct), err)
	}
	stop := errors.New("enough")
	if err := s.db.Erased(ctx, func(query.ErasedPerson) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a ledger that is not read on: %v", err)
	}
	if _, err := s.db.Profile(ctx, keys[0], nil); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Errorf("an erased person: %v", err)
	}
	receipt, err := s.db.Purge(ctx, func(string) {})
	if err != nil || receipt == nil || receipt.People != 3 || receipt.Hits != 0 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	receipts, err := s.db.Receipts(ctx)
	if err != nil || len(receipts) != 1 || different(receipts[0], *receipt) != "" {
		t.Errorf("%+v, %v", receipts, err)
	}
	if receipt, err := s.db.Purge(ctx, nil); err != nil || receipt != nil {
		t.Errorf("a purge with nothing to do: %+v, %v", receipt, err)
	}
	r, err := s.db.Readmit(ctx, keys[0])
	if err != nil || r.Accepted != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// service makes use of what an operator has.
func (s *suite) service(t *testing.T) {
	ctx := t.Context()
	before, err := s.store.Digests(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	stats, err := s.db.Stats(ctx)
	if err != nil || stats.LogRecords != 0 {
		t.Errorf("%d records are left when everything is compacted (%v)", stats.LogRecords, err)
	}
	told := 0
	report, err := s.db.Check(ctx, func(uint64, uint64, string) { told++ })
	if err != nil || report.Values == 0 || report.Derived == 0 || len(report.Problems) > 0 || told == 0 {
		t.Errorf("%+v, told %d times, %v", report, told, err)
	}
	repaired, err := s.db.Repair(ctx, nil)
	if err != nil || len(repaired.Mended)+len(repaired.Beyond) > 0 {
		t.Errorf("%+v, %v", repaired, err)
	}
	after, err := s.db.Digests(ctx)
	if err != nil || before.Content != after.Content {
		t.Errorf("the content has another digest (%v)", err)
	}
}
