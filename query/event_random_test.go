package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
		views = 3
	}
	seen, methods := map[kindTruth]int{}, map[string]int{}
	for i := range views {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 40)
		for j := range trees {
			n := randomEventNode(r, v.schema, Place{Span: Span{1, 2}})
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
					seen[kindTruth{k, truth}]++
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
	if !testing.Short() {
		checkCoverage(t, seen, methods)
	}
}

// kindTruth is a kind of node with what it said of somebody.
type kindTruth struct {
	kind string
	t    Truth
}

// checkCoverage fails if the random nodes were not of all kinds, or too rarely of some.
func checkCoverage(t *testing.T, seen map[kindTruth]int, methods map[string]int) {
	f := func(kind string, truths ...Truth) {
		for _, truth := range truths {
			if seen[kindTruth{kind, truth}] == 0 {
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
		"zones", "runs", "times", "no times", "within", "everybody"} {
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

// TestSmallTimes: where all times are within a few milliseconds, every border of every
// window, duration and order is met.
func TestSmallTimes(t *testing.T) {
	notRaced(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	profiles := map[uint32]*memProfile{}
	for o := range uint32(40) {
		p := &memProfile{key: fmt.Sprint(o), events: map[schema.EventID][]memAct{}}
		for _, e := range memEventTypes() {
			for range r.IntN(4) {
				p.events[e.ID] = append(p.events[e.ID], memAct{time: r.Int64N(10)})
			}
		}
		profiles[o] = p
	}
	list := func() *Events {
		from := r.Int64N(8)
		l := &Events{Event: eBuy + schema.EventID(r.IntN(3)), From: from, To: from + r.Int64N(8)}
		if r.IntN(3) == 0 {
			l.From, l.To = math.MinInt64, memNow
		}
		return l
	}
	seen := map[Truth]int{}
	for i := range 2000 {
		v := newMemView(memSchema(), profiles, 1, true, uint64(i%50))
		n := Node(&Sequence{Within: r.Int64N(6), Of: []*Events{list(), list(), list()}[:2+r.IntN(2)]})
		if r.IntN(2) == 0 {
			l := list()
			l.Then = &Then{list(), r.Int64N(6)}
			n = &Any{List: l}
		}
		want := reference(v, n).truth
		for o, got := range evaluate(t, v, n, func(*worker) {}) {
			if got != want[o] {
				t.Fatalf("seed %d, %d: profile %d is %d, want %d: %s", seed, i, o, got, want[o], describe(n))
			}
			seen[got]++
		}
	}
	if seen[True] < 500 || seen[False] < 500 {
		t.Errorf("the truths are %v: the test tests too little", seen)
	}
}

// TestZones: by hand, what a scan may leave out.
func TestZones(t *testing.T) {
	v := acting()
	v.dict[pItem] = nil
	v.codes[pItem] = map[string]uint32{}
	var many []schema.Value
	for i := range 200 {
		item := str(fmt.Sprint("i", i))
		v.codesOf(*propertyOf(v.schema.EventByID(eBuy), pItem), item)
		if i >= 20 && i < 190 {
			many = append(many, item)
		}
	}
	v.codesOf(*propertyOf(v.schema.EventByID(eBuy), pLabels), schema.SetValue("l0"))
	f := func(n Node, want ...ZoneMap) {
		t.Helper()
		l := ever(eBuy)
		l.Filter = []Node{n}
		p, err := Prepare(context.Background(), &Any{List: l}, v)
		if err != nil {
			t.Fatal(err)
		}
		got := p.root.inner.(*anyOp).list
		if !slices.Equal(got.scan.Zones, want) || got.none {
			t.Errorf("%s: %v (nobody: %v), want %v", eventCondition(v.schema, n), got.scan.Zones, got.none, want)
		}
	}
	in := func(values ...schema.Value) Node { return &In{Attr: pItem, Values: values} }
	qty := &Range{Attr: pQty, Lo: -3, Hi: 9}
	f(in(str("i7")), ZoneMap{pItem, 7, 7})
	f(in(str("i9"), str("i7"), str("never")), ZoneMap{pItem, 7, 9})
	f(in(many...), ZoneMap{pItem, 20, 189})
	f(qty, ZoneMap{pQty, -3, 9})
	f(&In{Attr: pQty, Values: []schema.Value{schema.IntValue(5), schema.IntValue(-5)}}, ZoneMap{pQty, -5, 5})
	f(&In{Attr: pGift, Values: []schema.Value{schema.BoolValue(true)}}, ZoneMap{pGift, 1, 1})
	f(&And{[]Node{in(str("i7")), qty}}, ZoneMap{pItem, 7, 7}, ZoneMap{pQty, -3, 9})
	f(&Or{[]Node{in(str("i7")), qty}})
	f(&Not{qty})
	f(&SetHas{Attr: pLabels, Values: []string{"l0"}})
	f(&In{Attr: pNote, Values: []schema.Value{str("x")}})
	f(&In{Attr: schema.TimeProperty, Values: []schema.Value{schema.TimestampValue(5)}})
	l := ever(eBuy)
	l.Filter = []Node{in(str("never"))}
	p, err := Prepare(context.Background(), &Any{List: l}, v)
	if err != nil || !p.root.inner.(*anyOp).list.none {
		t.Errorf("an item that nobody ever bought is looked for: %v", err)
	}
}
