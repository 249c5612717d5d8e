package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// eventKinds names what a node over events is made of, for coverage.
func eventKinds(n Node) []string {
	var out []string
	list := func(l *Events) {
		if l.Then != nil {
			out = append(out, "then")
		}
		if len(l.Filter) > 0 {
			out = append(out, "filter")
		}
		if len(l.When) > 0 {
			out = append(out, "clock")
		}
	}
	switch n := n.(type) {
	case *Any:
		out = append(out, "any")
		list(n.List)
	case *Sequence:
		out = append(out, fmt.Sprintf("sequence of %d", len(n.Of)))
	case *OneIs:
		out = append(out, fmt.Sprintf("one, last %v", n.Last))
		list(n.List)
	case *AverageIs:
		out = append(out, "average is "+n.With.Kind().String())
	case *Residual:
		out = append(out, "residual")
	case *Compare:
		for _, a := range []Arith{n.L, n.R} {
			if b, ok := a.(*Binary); ok {
				a = b.L
			}
			if f, ok := a.(*Fold); ok {
				out = append(out, fmt.Sprintf("fold %d of %s", f.Op, f.Kind))
				list(f.List)
			}
		}
	}
	return out
}

// TestRandomEvents: each node over events, alone, says of everybody what the reference
// says, and so does a Person.
func TestRandomEvents(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	views, trees := 25, 120
	if testing.Short() {
		views = 10
	}
	type outcome struct {
		kind string
		t    Truth
	}
	seen, methods := map[outcome]int{}, map[string]int{}
	for i := range views {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 60)
		for j := range trees {
			n := randomEventNode(r, v.schema, Span{1, 2})
			c := &checker{t: t, r: r, v: v, tree: n, want: reference(v, n)}
			if j%8 == 0 {
				c.check(j, methods)
			} else if c.prepare(methods) {
				c.sets()
			}
			if c.p != nil {
				c.person()
			}
			if t.Failed() {
				t.Fatalf("seed %d, view %d, tree %d: %.2000s", seed, i, j, describe(n))
			}
			some := map[Truth]bool{}
			for _, truth := range c.want.truth {
				some[truth] = true
			}
			for _, k := range eventKinds(n) {
				for truth := range some {
					seen[outcome{k, truth}]++
				}
			}
		}
		if n := v.cursors.Load(); n != 0 {
			t.Fatalf("%d cursors were left open", n)
		}
		for what, n := range v.events.seen {
			methods[what] += n
		}
	}
	if testing.Short() {
		return
	}
	f := func(kind string, truths ...Truth) {
		for _, truth := range truths {
			if seen[outcome{kind, truth}] == 0 {
				t.Errorf("%s was never %d", kind, truth)
			}
		}
	}
	for _, k := range []string{"any", "sequence of 2", "sequence of 3"} {
		f(k, True, False)
	}
	for _, k := range []string{"filter", "clock", "then", "one, last true", "one, last false", "average is int", "average is decimal", "residual"} {
		f(k, True, False, Unknown)
	}
	for op, kinds := range map[FoldOp][]schema.Kind{
		FoldCount: {schema.Int}, FoldDistinct: {schema.Int}, FoldDistinctDays: {schema.Int}, FoldAverage: {schema.Float},
		FoldSum:   {schema.Int, schema.Decimal, schema.Float},
		FoldMin:   {schema.Int, schema.Decimal, schema.Float, schema.Date, schema.Timestamp},
		FoldMax:   {schema.Int, schema.Decimal, schema.Float, schema.Date, schema.Timestamp},
		FoldFirst: {schema.Int, schema.Decimal, schema.Float, schema.Date, schema.Timestamp},
		FoldLast:  {schema.Int, schema.Decimal, schema.Float, schema.Date, schema.Timestamp},
	} {
		for _, k := range kinds {
			f(fmt.Sprintf("fold %d of %s", op, k), True, False)
		}
	}
	for _, m := range []string{"events", "presence of days, events", "events, counted", "events, the rarest list first", "events and columns",
		"zones", "times", "no times", "within", "everybody"} {
		if methods[m] < 20 {
			t.Errorf("%q came %d times only", m, methods[m])
		}
	}
}

// person checks one profile, by itself.
func (c *checker) person() {
	ord := c.v.ords[c.r.IntN(len(c.v.ords))]
	profile, lists, err := ProfileOf(context.Background(), c.v, ord)
	if err != nil {
		c.t.Error(err)
		return
	}
	got, err := NewPerson(c.v, &profile, lists, Env{Now: c.o.Now}).Is(context.Background(), c.tree)
	if want := c.want.truth[ord]; err != nil || got != want {
		c.t.Errorf("profile %d by itself: %d, %v, want %d", ord, got, err, want)
	}
}
