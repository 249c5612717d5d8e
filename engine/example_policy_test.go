package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Whoever has this snapshot sees people in Italy only, that they have an address but not
// which, and no age.
func ExampleDB_SnapshotWith() {
	ctx := context.Background()
	db, err := engine.Open("", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	b := batch.New()
	for _, a := range []schema.Attribute{
		{Name: "country", Kind: schema.String},
		{Name: "age", Kind: schema.Int, Class: schema.Demographic},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true},
	} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Upsert("aino").Set("country", schema.StringValue("FI")).Set("age", schema.IntValue(34))
	b.Upsert("bruno").Set("country", schema.StringValue("IT")).Set("email", schema.StringValue("bruno@example.org"))
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Apply(ctx, raw); err != nil {
		log.Fatal(err)
	}

	s, err := db.SnapshotWith(ctx, &query.SnapshotOptions{Policy: &query.Policy{
		Rows:    `country == "IT"`,
		PII:     query.Masked,
		Classes: map[schema.DataClass]query.Access{schema.Demographic: query.Hidden},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	n, err := s.Count(ctx, "true", nil)
	fmt.Println(n.Count, err)
	p, err := s.Profile(ctx, "bruno", nil)
	fmt.Println(p.Values, err)
	_, err = s.Count(ctx, "age > 30", nil)
	fmt.Println(err)
	_, err = s.Profile(ctx, "aino", nil)
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// [{country IT} {email •••}] <nil>
	// 1:1: there is no attribute "age" (text is written in quotes: "age")
	// there is no profile "aino"
}
