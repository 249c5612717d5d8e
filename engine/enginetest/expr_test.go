package enginetest_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query/expr"
)

// trap holds what an expression that is glued together breaks on.
var trap = []string{`"`, `' || true || '`, `\`, `\"`, "\n", "a\tb", "\x00", "\x7f", "//", "📦", "\u00e9", "\u202e", "{{.}}", "", "]", "IT"}

// trapped is a person of TestExpr: what a slow reader of conditions sees.
type trapped struct {
	text   *string
	number *int64
	score  *float64
	money  *int64 // cents
	day    *time.Time
	tags   []string
	bought []float64 // the last, one each hour up to now
}

var (
	exprNow  = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	textName = `te"xt`
	event    = `"bought" it`
)

type known int // -1 false, 0 unknown, 1 true

func truth(b bool) known {
	if b {
		return 1
	}
	return -1
}

// believed is a condition beside what it means.
type believed struct {
	expr.Condition
	holds func(*trapped) known
}

// ordered draws a comparison of a value that may be absent.
func ordered[T any](r *rand.Rand, o expr.Ordered[T], draw func() T, of func(*trapped) *T, compare func(a, b T) int) believed {
	a, b := draw(), draw()
	with := func(c expr.Condition, holds func(v T) bool) believed {
		return believed{c, func(p *trapped) known {
			if of(p) == nil {
				return 0
			}
			return truth(holds(*of(p)))
		}}
	}
	switch r.IntN(8) {
	case 0:
		return with(o.Is(a), func(v T) bool { return compare(v, a) == 0 })
	case 1:
		return with(o.IsNot(a), func(v T) bool { return compare(v, a) != 0 })
	case 2:
		return with(o.Less(a), func(v T) bool { return compare(v, a) < 0 })
	case 3:
		return with(o.AtMost(a), func(v T) bool { return compare(v, a) <= 0 })
	case 4:
		return with(o.More(a), func(v T) bool { return compare(v, a) > 0 })
	case 5:
		return with(o.Between(a, b), func(v T) bool { return compare(v, a) >= 0 && compare(v, b) <= 0 })
	case 6:
		values := []T{a, b}[:r.IntN(3)]
		if len(values) == 0 {
			return believed{o.In(), func(*trapped) known { return -1 }}
		}
		return with(o.In(values...), func(v T) bool {
			return slices.ContainsFunc(values, func(x T) bool { return compare(v, x) == 0 })
		})
	}
	return believed{o.Known(), func(p *trapped) known { return truth(of(p) != nil) }}
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// drawBelieved draws a condition.
func drawBelieved(r *rand.Rand, depth int) believed {
	if depth > 0 && r.IntN(2) == 0 {
		a, b := drawBelieved(r, depth-1), drawBelieved(r, depth-1)
		switch r.IntN(3) {
		case 0:
			return believed{expr.All(a.Condition, b.Condition), func(p *trapped) known { return min(a.holds(p), b.holds(p)) }}
		case 1:
			return believed{expr.Any(a.Condition, b.Condition), func(p *trapped) known { return max(a.holds(p), b.holds(p)) }}
		}
		return believed{expr.Not(a.Condition), func(p *trapped) known { return -a.holds(p) }}
	}
	text := pick(r, trap)
	switch r.IntN(10) {
	case 0:
		return ordered(r, expr.P.String(textName).Ordered, func() string { return pick(r, trap) }, func(p *trapped) *string { return p.text }, cmp.Compare[string])
	case 1:
		return ordered(r, expr.P.Int("number"), func() int64 { return pick(r, numbers) }, func(p *trapped) *int64 { return p.number }, cmp.Compare[int64])
	case 2:
		return ordered(r, expr.P.Float("score"), func() float64 { return pick(r, scores) }, func(p *trapped) *float64 { return p.score }, cmp.Compare[float64])
	case 3:
		return ordered(r, expr.P.Decimal("money"), func() expr.Decimal { return expr.Decimal{Unscaled: r.Int64N(300) - 150, Places: 2} },
			func(p *trapped) *expr.Decimal {
				if p.money == nil {
					return nil
				}
				return &expr.Decimal{Unscaled: *p.money, Places: 2}
			}, func(a, b expr.Decimal) int { return cmp.Compare(a.Unscaled, b.Unscaled) })
	case 4:
		return ordered(r, expr.P.Date("day"), func() time.Time { return drawDay(r) }, func(p *trapped) *time.Time { return p.day }, time.Time.Compare)
	case 5:
		return believed{expr.P.Set("tags").Has(text), func(p *trapped) known { return truth(slices.Contains(p.tags, text)) }}
	case 6:
		return believed{expr.P.Set("tags").HasAny(text, "IT"), func(p *trapped) known { return truth(slices.Contains(p.tags, text) || slices.Contains(p.tags, "IT")) }}
	case 7:
		return believed{expr.P.String(textName).Contains(text), func(p *trapped) known {
			if p.text == nil {
				return 0
			}
			return truth(strings.Contains(*p.text, text))
		}}
	case 8:
		return drawBought(r)
	}
	at := r.Int64N(4)
	return believed{expr.P.Set("tags").Size().AtLeast(at), func(p *trapped) known { return truth(int64(len(p.tags)) >= at) }}
}

// drawBought draws a condition about events.
func drawBought(r *rand.Rand) believed {
	over, hours, least := pick(r, scores[:4]), 1+r.IntN(5), r.Int64N(3)
	list := expr.Event(event).InLast(time.Duration(hours) * time.Hour).Where(expr.E.Float(`am"ount`).More(over))
	those := func(p *trapped) (out []float64) {
		for _, v := range p.bought[:min(hours, len(p.bought))] {
			if v > over {
				out = append(out, v)
			}
		}
		return out
	}
	if r.IntN(2) == 0 {
		return believed{list.Count().AtLeast(least), func(p *trapped) known { return truth(int64(len(those(p))) >= least) }}
	}
	return believed{expr.Max(list, expr.E.Float(`am"ount`)).AtMost(1), func(p *trapped) known {
		if len(those(p)) == 0 {
			return 0
		}
		return truth(slices.Max(those(p)) <= 1)
	}}
}

var (
	numbers = []int64{math.MinInt64, -1, 0, 1, 7, math.MaxInt64}
	scores  = []float64{-2.5, 0, 1, 1e21, 1e-7, math.MaxFloat64, math.Inf(1), math.Inf(-1)}
)

func drawDay(r *rand.Rand) time.Time { return time.Date(2024, 2, 27+r.IntN(4), 0, 0, 0, 0, time.UTC) }

// maybe returns nothing at times.
func maybe[T any](r *rand.Rand, v T) *T {
	if r.IntN(5) == 0 {
		return nil
	}
	return &v
}

func drawTrapped(r *rand.Rand) (p trapped) {
	p.text, p.number, p.score, p.money, p.day = maybe(r, pick(r, trap)), maybe(r, pick(r, numbers)), maybe(r, pick(r, scores)), maybe(r, r.Int64N(300)-150), maybe(r, drawDay(r))
	for range r.IntN(4) {
		if tag := pick(r, trap); tag != "" && !slices.Contains(p.tags, tag) {
			p.tags = append(p.tags, tag)
		}
	}
	for range r.IntN(6) {
		p.bought = append(p.bought, pick(r, scores[:4]))
	}
	return p
}

// TestExpr compares conditions that were made with package expr with what they mean, over
// values and names that break texts.
func TestExpr(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	people := make([]trapped, 80)
	for i := range people {
		people[i] = drawTrapped(r)
	}
	db := storeTrapped(t, people)
	for i := range 400 {
		c := drawBelieved(r, 3)
		want := map[known]uint64{}
		for k := range people {
			want[c.holds(&people[k])]++
		}
		n, err := db.Count(t.Context(), c.String(), nil)
		if err != nil {
			t.Fatalf("%d: %s: %v", i, c, err)
		}
		if n.Count != want[1] || n.Unknown != want[0] {
			t.Fatalf("%d: %s: %d, unknown %d; by hand %d, %d", i, c, n.Count, n.Unknown, want[1], want[0])
		}
	}
	if _, err := db.Count(t.Context(), expr.P.String(textName).Is("\xff").String(), nil); err == nil {
		t.Error("a text that is not UTF-8 was asked for")
	}
	for _, c := range []expr.Condition{{}, expr.All(), expr.Not(expr.Any())} {
		if n, err := db.Count(t.Context(), c.String(), nil); err != nil || n.Count != uint64(len(people)) {
			t.Errorf("%s: %v, %v", c, n.Count, err)
		}
	}
}

func storeTrapped(t *testing.T, people []trapped) *engine.DB {
	t.Helper()
	db, err := engine.Open("", &engine.Options{Clock: func() time.Time { return exprNow }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := batch.New()
	for _, a := range []schema.Attribute{
		{Name: textName, Kind: schema.String}, {Name: "number", Kind: schema.Int}, {Name: "score", Kind: schema.Float},
		{Name: "money", Kind: schema.Decimal, Scale: 2}, {Name: "day", Kind: schema.Date}, {Name: "tags", Kind: schema.Set},
	} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: event})
	b.Change(schema.Change{Op: schema.AddProperty, Event: event, Name: `am"ount`, Attribute: schema.Attribute{Kind: schema.Float}})
	applyTrapped(t, db, b)
	b = batch.New()
	for i, p := range people {
		row := b.Upsert(fmt.Sprint("p", i))
		if p.text != nil {
			row.Set(textName, schema.StringValue(*p.text))
		}
		if p.number != nil {
			row.Set("number", schema.IntValue(*p.number))
		}
		if p.score != nil {
			row.Set("score", schema.FloatValue(*p.score))
		}
		if p.money != nil {
			row.Set("money", schema.DecimalValue(*p.money, 2))
		}
		if p.day != nil {
			row.Set("day", schema.DateValue(p.day.Unix()/86400))
		}
		row.Add("tags", p.tags...)
	}
	applyTrapped(t, db, b)
	b = batch.New()
	table := b.Events([]batch.Column{{Name: `am"ount`, Kind: schema.Float}})
	for i, p := range people {
		for k, amount := range p.bought {
			table.Row([]byte(fmt.Sprint("p", i)), []byte(event), exprNow.Add(-time.Duration(k)*time.Hour).UnixMilli())
			table.Int(0, schema.OrderedFloat(amount))
		}
	}
	applyTrapped(t, db, b)
	return db
}

func applyTrapped(t *testing.T, db *engine.DB, b *batch.Builder) {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	result, err := db.Apply(t.Context(), raw)
	if err != nil || result.Accepted != result.Received {
		t.Fatal(result, err)
	}
}
