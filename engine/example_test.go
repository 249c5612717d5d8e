package engine_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// A store in memory, three customers, some questions.
func Example() {
	ctx := context.Background()
	db, err := engine.Open("", nil) // a directory name keeps it on disk
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	b := batch.New()
	for _, a := range []schema.Attribute{
		{Name: "country", Kind: schema.String},
		{Name: "age", Kind: schema.Int},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2},
		{Name: "interests", Kind: schema.Set},
	} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Upsert("aino").Set("country", schema.StringValue("FI")).Set("age", schema.IntValue(34)).Set("ltv", schema.DecimalValue(12050, 2)).Add("interests", "sauna", "skiing")
	b.Upsert("bruno").Set("country", schema.StringValue("IT")).Set("ltv", schema.DecimalValue(990, 2)).Add("interests", "cooking")
	b.Upsert("chiara").Set("country", schema.StringValue("IT")).Set("age", schema.IntValue(51)).Set("ltv", schema.DecimalValue(40000, 2)).Add("interests", "cooking", "wine")
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	result, err := db.Apply(ctx, raw)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("created", result.Created)

	n, err := db.Count(ctx, `country == "IT" && age >= 18`, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("adults in Italy:", n.Count, "unknown:", n.Unknown)

	m, err := db.Members(ctx, `"cooking" in interests`, &query.MembersOptions{Attributes: []string{"ltv"}, OrderBy: "ltv", Desc: true})
	if err != nil {
		log.Fatal(err)
	}
	for row, err := range m.Rows {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Key, row.Values[0])
	}

	by, err := db.Breakdown(ctx, `ltv > 10.00`, "country", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range by.Rows {
		fmt.Println(r.Value, r.Count)
	}
	// Output:
	// created 3
	// adults in Italy: 1 unknown: 1
	// chiara 400.00
	// bruno 9.90
	// FI 1
	// IT 1
}

// A batch with a source, run and sequence is applied once, however often it is sent.
func ExampleDB_Apply() {
	ctx := context.Background()
	db, err := engine.Open("", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	b := batch.New()
	b.Source("crm export", 1, 1)
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "tickets", Kind: schema.Int}})
	b.Upsert("aino").Increment("tickets", schema.IntValue(1))
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		r, err := db.Apply(ctx, raw)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Accepted, r.Repeated)
	}
	p, err := db.Profile(ctx, "aino", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Values[0].Name, p.Values[0].Value)
	// Output:
	// 1 false
	// 1 true
	// tickets 1
}

// Events are what customers do. With an id an event is kept once, however often it is sent.
func ExampleDB_Apply_events() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db, err := engine.Open("", &engine.Options{Clock: func() time.Time { return now }})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddEvent, Event: "purchase"})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "purchase", Attribute: schema.Attribute{Name: "amount", Kind: schema.Decimal, Scale: 2}})
	events := b.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
	for _, e := range []struct {
		key, id string
		ago     time.Duration
		cents   int64
	}{{"aino", "t-1", 50 * time.Hour, 1250}, {"aino", "t-2", time.Hour, 4000}, {"bruno", "t-3", time.Hour, 990}, {"aino", "t-2", time.Hour, 4000}} {
		events.Row([]byte(e.key), []byte("purchase"), now.Add(-e.ago).UnixMilli())
		events.ID([]byte(e.id))
		events.Int(0, e.cents)
	}
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	r, err := db.Apply(ctx, raw)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted", r.Accepted, "duplicates", r.Duplicates)
	for _, expr := range []string{
		`purchase.in_last(days(1)).any()`,
		`purchase.sum(e, e.amount) > 50.00`,
	} {
		n, err := db.Count(ctx, expr, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n.Count, expr)
	}
	// Output:
	// accepted 3 duplicates 1
	// 2 purchase.in_last(days(1)).any()
	// 1 purchase.sum(e, e.amount) > 50.00
}

// A funnel: how many people go from step to step. The people of a cell can be listed.
func ExampleDB_Analyze() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db, err := engine.Open("", &engine.Options{Clock: func() time.Time { return now }})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddEvent, Event: "view"})
	b.Change(schema.Change{Op: schema.AddEvent, Event: "purchase"})
	events := b.Events(nil)
	for _, e := range []struct {
		key, event string
		ago        time.Duration
	}{{"aino", "view", 50 * time.Hour}, {"aino", "purchase", 48 * time.Hour}, {"bruno", "view", time.Hour}} {
		events.Row([]byte(e.key), []byte(e.event), now.Add(-e.ago).UnixMilli())
	}
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Apply(ctx, raw); err != nil {
		log.Fatal(err)
	}
	args := query.Arguments{"step": {"view", "purchase"}, "within": {"1d"}}
	r, err := db.Analyze(ctx, "funnel", "", args, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range r.Tables[0].Rows {
		fmt.Println(row.Values[1], row.Values[2])
	}
	m, err := db.AnalysisMembers(ctx, "funnel", "", args, "1:dropped", nil)
	if err != nil {
		log.Fatal(err)
	}
	for person, err := range m.Rows {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("lost:", person.Key)
	}
	// Output:
	// view 2
	// purchase 1
	// lost: bruno
}
