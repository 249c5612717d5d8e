package syntax

import (
	"errors"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// world is the catalog of these tests.
type world struct {
	schema   *schema.Schema
	segments map[string]string
	lists    map[string]uint32
}

func (w *world) Schema() *schema.Schema          { return w.schema }
func (w *world) Segment(n string) (string, bool) { t, ok := w.segments[n]; return t, ok }
func (w *world) List(n string) (uint32, bool)    { c, ok := w.lists[n]; return c, ok }
func (w *world) SegmentNames() []string          { return keys(w.segments) }
func (w *world) ListNames() []string             { return keys(w.lists) }

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func testWorld() *world {
	kinds := []schema.Attribute{
		{Name: "country", Kind: schema.String},
		{Name: "plan", Kind: schema.String},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline},
		{Name: "age", Kind: schema.Int},
		{Name: "visits", Kind: schema.Int},
		{Name: "score", Kind: schema.Float},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2},
		{Name: "fee", Kind: schema.Decimal, Scale: 4},
		{Name: "opt_in", Kind: schema.Bool},
		{Name: "vip", Kind: schema.Bool},
		{Name: "born", Kind: schema.Date},
		{Name: "expires", Kind: schema.Date},
		{Name: "signup", Kind: schema.Timestamp},
		{Name: "last_seen", Kind: schema.Timestamp},
		{Name: "interests", Kind: schema.Set},
		{Name: "Order total", Kind: schema.Decimal, Scale: 2},
		{Name: "in", Kind: schema.Int},
		{Name: "zone", Kind: schema.String},
		{Name: "both", Kind: schema.Int},
	}
	next := schema.FirstUserAttr
	for i := range kinds {
		kinds[i].ID = next
		next++
	}
	return &world{
		schema: withEvents(schema.New(0, next, kinds), testEvents()),
		segments: map[string]string{
			"adults": "age >= 18", "newsletter": `in_segment("adults") && opt_in`, "recent": "last_seen > now - days(7)",
			"circle": `in_segment("circle2")`, "circle2": `age > 1 || in_segment("circle")`, "broken": "agee > 1", "buyers": "purchase.in_last(days(7)).any()", "early": "purchase.between(signup, signup + days(1)).any()",
		},
		lists: map[string]uint32{"staff": 7, "press": 9},
	}
}

func testEvents() []schema.Event {
	return []schema.Event{
		{Name: "purchase", Properties: []schema.Attribute{
			{Name: "amount", Kind: schema.Decimal, Scale: 2},
			{Name: "category", Kind: schema.String},
			{Name: "items", Kind: schema.Int},
			{Name: "weight", Kind: schema.Float},
			{Name: "gift", Kind: schema.Bool},
			{Name: "tags", Kind: schema.Set},
			{Name: "due", Kind: schema.Date},
			{Name: "paid", Kind: schema.Timestamp},
			{Name: "coupon", Kind: schema.String, Storage: schema.StorageInline},
			{Name: "Unit price", Kind: schema.Decimal, Scale: 4},
		}},
		{Name: "view_item", Properties: []schema.Attribute{
			{Name: "category", Kind: schema.String},
			{Name: "ts", Kind: schema.Int},
		}},
		{Name: "app_open"},
		{Name: "Order Completed", Properties: []schema.Attribute{{Name: "total", Kind: schema.Decimal, Scale: 2}}},
		{Name: "both"}, // an attribute too
	}
}

var testNow = query.Env{Now: time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)}

// show compiles a text and returns the printed tree or the pretty error.
func show(w *world, text string) string {
	e, err := testCompiler.Compile(text, w, testNow)
	var q *query.Error
	if errors.As(err, &q) {
		return q.Pretty() + "\n"
	}
	if err != nil {
		return err.Error() + "\n"
	}
	return Print(e.Root, w.schema)
}

var testCompiler = NewCompiler()
