package enginetest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// databasePeople is more than a block of a listing holds, and little enough to be loaded often.
const databasePeople = 3000

// databaseNow is the clock of the stores of the suite.
func databaseNow() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// databaseSchema adds what the suite's people have: an attribute of each kind, events, and what
// is computed and saved.
func databaseSchema(t *testing.T) batch.Batch {
	b := batch.New()
	for _, a := range []schema.Attribute{
		{Name: "vip", Kind: schema.Bool, Class: schema.Transaction},
		{Name: "age", Kind: schema.Int, Min: schema.IntValue(0), Max: schema.IntValue(120), Class: schema.Demographic},
		{Name: "score", Kind: schema.Float},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2},
		{Name: "country", Kind: schema.String, Allowed: []schema.Value{schema.StringValue("FI"), schema.StringValue("IT"), schema.StringValue("NL")}},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true, PII: true},
		{Name: "born", Kind: schema.Date},
		{Name: "seen", Kind: schema.Timestamp},
		{Name: "likes", Kind: schema.Set},
		{Name: "plan", Kind: schema.String, History: true},
	} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: "purchase", Retention: 4000, Class: schema.Transaction})
	for _, p := range []schema.Attribute{{Name: "amount", Kind: schema.Decimal, Scale: 2}, {Name: "product", Kind: schema.String}, {Name: "tags", Kind: schema.Set}} {
		b.Change(schema.Change{Op: schema.AddProperty, Event: "purchase", Attribute: p})
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: "visit"})
	b.Change(schema.Change{Op: schema.AddComputed, Name: "band", Text: `age < 30 ? "young" : "grown"`})
	b.SaveSegment("adults", "age >= 18")
	b.SaveSegment("good", `in_segment("adults") && ltv > 100.00`)
	return encoded(t, b)
}

func encoded(t *testing.T, b *batch.Builder) batch.Batch {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func personKey(i int) string { return fmt.Sprintf("person-%05d", i) }

// databaseBatches returns the people and what they did; each attribute is absent of some.
func databaseBatches(t *testing.T, rng *rand.Rand) (out []batch.Batch) {
	const perBatch = 500
	for from := 0; from < databasePeople; from += perBatch {
		b := batch.New()
		b.Source("suite", 1, uint64(from/perBatch)+1)
		for i := from; i < from+perBatch; i++ {
			databasePerson(b.Upsert(personKey(i)), i, rng)
		}
		out = append(out, encoded(t, b))
		b = batch.New()
		events := b.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}, {Name: "product", Kind: schema.String}, {Name: "tags", Kind: schema.Set}})
		for range 4 * perBatch {
			at := databaseNow().Add(-time.Duration(rng.Int64N(int64(200 * 24 * time.Hour)))).UnixMilli()
			key := []byte(personKey(from + rng.IntN(perBatch)))
			if rng.IntN(3) == 0 {
				events.Row(key, []byte("visit"), at)
				continue
			}
			events.Row(key, []byte("purchase"), at)
			events.Int(0, rng.Int64N(20000))
			events.Str(1, fmt.Appendf(nil, "p%d", rng.IntN(12)))
			if rng.IntN(4) == 0 {
				events.Elems(2, [][]byte{[]byte("gift"), []byte("sale")})
			}
		}
		out = append(out, encoded(t, b))
	}
	b := batch.New()
	b.ListPut("staff", personKey(1), personKey(2), personKey(2999))
	b.ListNote("staff", "by hand")
	b.SaveSegment("reads much", `age > 30 && email.contains("@") && purchase.exists(e, e.amount > 5.0)`)
	b.ShareSegment("reads much")
	b.SaveSegment("uses it", `in_segment("reads much") && vip`)
	b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "orders", Arguments: query.Arguments{"event": {"purchase.in_last(days(150))"}, "amount": {"e.amount"}}})
	b.Upsert(personKey(7)).Set("plan", schema.StringValue("gold"))
	b.Upsert(personKey(8)).Set("age", schema.IntValue(200)).Set("country", schema.StringValue("IT")) // out of range
	b.Delete(personKey(9))
	return append(out, encoded(t, b))
}

func databasePerson(row *batch.Row, i int, rng *rand.Rand) {
	some := func(set func()) {
		if rng.IntN(6) > 0 {
			set()
		}
	}
	some(func() { row.Set("vip", schema.BoolValue(rng.IntN(2) == 0)) })
	some(func() { row.Set("age", schema.IntValue(rng.Int64N(90))) })
	some(func() { row.Set("score", schema.FloatValue(rng.NormFloat64())) })
	some(func() { row.Set("ltv", schema.DecimalValue(rng.Int64N(100000)-500, 2)) })
	some(func() { row.Set("country", schema.StringValue([]string{"FI", "IT", "NL"}[rng.IntN(3)])) })
	some(func() { row.Set("email", schema.StringValue(fmt.Sprintf("p%d@example.com", i))) })
	some(func() { row.Set("born", schema.DateValue(-3000+rng.Int64N(20000))) })
	some(func() { row.Set("seen", schema.TimestampValue(databaseNow().UnixMilli()-rng.Int64N(1e10))) })
	some(func() { row.Add("likes", []string{"wine", "cooking", "skiing", "sauna"}[rng.IntN(4)], "all") })
	some(func() { row.Set("plan", schema.StringValue([]string{"free", "basic"}[rng.IntN(2)])) })
}

// randomSegment returns an expression over what the suite's people have.
func randomSegment(rng *rand.Rand, depth int) string {
	if depth == 0 || rng.IntN(4) == 0 {
		leaves := []string{
			`vip`, `!has(p.vip)`, fmt.Sprintf("age >= %d", rng.IntN(90)), fmt.Sprintf("score < %.3f", rng.NormFloat64()),
			fmt.Sprintf("ltv > %d.%02d", rng.IntN(1000), rng.IntN(100)), `country in ["IT", "NL"]`, `country != "FI"`, `email.startsWith("p1")`,
			`born < date("1990-01-01")`, `seen > now - days(30)`, `likes.hasAny(["wine", "sauna"])`, `"all" in likes`, `plan == "basic"`,
			fmt.Sprintf("purchase.in_last(days(%d)).count() >= %d", 1+rng.IntN(200), rng.IntN(4)),
			fmt.Sprintf("purchase.in_last(days(90)).sum(e, e.amount) > %d.00", rng.IntN(400)), `visit.any()`,
			`sequence(days(30), [visit.in_last(days(100)), purchase]).any()`, `in_segment("good")`, `in_list("staff")`, `band == "young"`,
			`rfm("orders").segment == "champions"`,
		}
		return leaves[rng.IntN(len(leaves))]
	}
	switch rng.IntN(5) {
	case 0:
		return "!(" + randomSegment(rng, depth-1) + ")"
	case 1, 2:
		return "(" + randomSegment(rng, depth-1) + " || " + randomSegment(rng, depth-1) + ")"
	}
	return "(" + randomSegment(rng, depth-1) + " && " + randomSegment(rng, depth-1) + ")"
}
