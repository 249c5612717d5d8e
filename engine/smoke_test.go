package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir() + "/db"
	db, err := engine.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(b *batch.Builder) batch.Result {
		t.Helper()
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		r, err := db.Apply(ctx, raw)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	b := batch.New()
	for _, a := range []schema.Attribute{{Name: "country", Kind: schema.String}, {Name: "age", Kind: schema.Int}, {Name: "ltv", Kind: schema.Decimal, Scale: 2}, {Name: "interests", Kind: schema.Set}} {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	apply(b)
	b = batch.New()
	for i := range 1000 {
		r := b.Upsert(fmt.Sprintf("user-%d", i)).Set("country", schema.StringValue([]string{"IT", "FI", "DE"}[i%3])).Set("ltv", schema.DecimalValue(int64(i*10), 2))
		if i%2 == 0 {
			r.Set("age", schema.IntValue(int64(i%80)))
		}
		r.Add("interests", fmt.Sprintf("i%d", i%7))
	}
	res := apply(b)
	t.Logf("%+v", res)
	ask := func() {
		t.Helper()
		for _, e := range []string{`country == "IT"`, `age >= 40`, `country == "IT" && age < 20`, `"i3" in interests`, `ltv > 50.00 && !(country == "DE")`, `has(p.age)`} {
			c, err := db.Count(ctx, e, nil)
			if err != nil {
				t.Fatalf("%s: %v", e, err)
			}
			t.Logf("%-40s %d unknown %d %v", e, c.Count, c.Unknown, c.Elapsed)
		}
		p, err := db.Profile(ctx, "user-42", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", p)
	}
	ask()
	if err := db.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	ask()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = engine.Open(dir, nil); err != nil {
		t.Fatal(err)
	}
	ask()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
