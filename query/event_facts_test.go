package query

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// randomLifetime makes a node over all events of a type up to a time.
func randomLifetime(r *rand.Rand, s *schema.Schema) Node {
	e := &s.Events[r.IntN(len(s.Events))]
	list := &Events{Event: e.ID, From: schema.MinTimestamp, To: memTime(r) + 1}
	if r.IntN(2) == 0 {
		list.To = memNow + 1
	}
	at, op := Place{Span: Span{1, 2}}, CompareOp(r.IntN(6))
	var numbers []schema.Attribute
	for _, p := range e.Properties {
		if p.Kind == schema.Int || p.Kind == schema.Decimal {
			numbers = append(numbers, p)
		}
	}
	n := schema.IntValue(int64(r.IntN(7) - 1))
	if len(numbers) == 0 || r.IntN(4) == 0 {
		l := Arith(&Fold{Op: FoldCount, List: list, Kind: schema.Int})
		if r.IntN(2) == 0 { // not what small counters decide
			l = &Binary{Plus, l, &Literal{schema.IntValue(1)}, schema.Int, 0}
		}
		return &Compare{at, op, l, &Literal{n}}
	}
	p := numbers[r.IntN(len(numbers))]
	of := &Column{Attr: p.ID, Kind: p.Kind, Scale: p.Scale}
	limit := randomLiteral(r, p.Kind, p.Scale)
	if r.IntN(2) == 0 { // one that there is
		limit = memProperty(r, p.ID)
	}
	switch r.IntN(6) {
	case 0, 1:
		return &Compare{at, op, &Fold{Op: FoldSum, List: list, Of: of, Kind: p.Kind, Scale: p.Scale}, &Literal{limit}}
	case 2:
		return &Compare{at, op, &Fold{Op: FoldMin, List: list, Of: of, Kind: p.Kind, Scale: p.Scale}, &Literal{limit}}
	case 3:
		return &Compare{at, op, &Fold{Op: FoldMax, List: list, Of: of, Kind: p.Kind, Scale: p.Scale}, &Literal{limit}}
	case 4:
		return &Compare{at, op, &Fold{Op: FoldAverage, List: list, Of: of, Kind: schema.Float}, &Literal{schema.FloatValue(float64(n.Ordered()))}}
	}
	return &AverageIs{at, op, list, of, n}
}

// TestRandomFacts: what is answered from facts, from events, or from both is what the
// reference says, and an explanation does without facts.
func TestRandomFacts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	views, least := 60, 20
	if testing.Short() {
		views, least = 6, 1
	}
	methods := map[string]int{}
	truths := map[Truth]int{}
	for i := range views {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 40)
		for j := range 40 {
			n := randomLifetime(r, v.schema)
			c := &checker{t: t, r: r, v: v, tree: n, want: reference(v, n)}
			if j%8 == 0 {
				c.check(j, methods)
			} else if c.prepare(methods) {
				c.sets()
			}
			e, err := ExplainOf(context.Background(), v, n, c.o)
			if err != nil || e.Root.Method != "events" && e.Root.Method != "events, counted" && e.Root.Method != "not" && e.Root.Method != "constant" && e.Root.Method != "presence of days, events" {
				t.Errorf("explained by %q, %v", e.Root.Method, err)
			}
			if t.Failed() {
				t.Fatalf("seed %d, view %d, tree %d: %.2000s", seed, i, j, describe(n))
			}
			for _, truth := range c.want.truth {
				truths[truth]++
			}
		}
		methods["facts"] += v.events.seen["facts"]
	}
	for _, m := range []string{"facts, events", "facts, events, counted", "events", "events, counted", "facts"} {
		if methods[m] < least {
			t.Errorf("%q came %d times only", m, methods[m])
		}
	}
	for _, truth := range []Truth{True, False, Unknown} {
		if truths[truth] < 1000 {
			t.Errorf("%d truths are %d", truths[truth], truth)
		}
	}
}

// TestManyKnown: more events than a small counter counts.
func TestManyKnown(t *testing.T) {
	p := &memProfile{key: "1", events: map[schema.EventID][]memAct{}}
	for i := range int64(400) {
		p.events[eOpen] = append(p.events[eOpen], memAct{time: i})
	}
	for salt := range uint64(64) {
		v := newMemView(memSchema(), map[uint32]*memProfile{7: p}, 1, true, salt*4)
		list := func() *Fold {
			return &Fold{Op: FoldCount, List: &Events{Event: eOpen, From: schema.MinTimestamp, To: memNow}, Kind: schema.Int}
		}
		n := &And{[]Node{&Compare{Op: GE, L: list(), R: &Literal{schema.IntValue(250)}}, &Compare{Op: NE, L: list(), R: &Literal{schema.IntValue(100)}},
			&Compare{Op: EQ, L: list(), R: &Literal{schema.IntValue(400)}}}}
		if got := evaluate(t, v, n, func(*worker) {}); got[7] != True {
			t.Fatalf("salt %d: 400 are not at least 250, or 100", salt*4)
		}
	}
}
