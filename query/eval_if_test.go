package query

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// TestManyBranches: of a tree of choices a worker keeps buffers for its depth, not for each
// branch, of which a text may have hundreds.
func TestManyBranches(t *testing.T) {
	const depth, most = 8, 200
	r := rand.New(rand.NewPCG(4, 1))
	v := randomView(r, 3000)
	visited := 0
	yes := func() Node {
		return &Residual{Attrs: []schema.AttrID{aBool}, Eval: func(v []schema.Value, _ [][]Act, _ Env) (Truth, bool) {
			visited++
			return truthOf(!v[0].IsAbsent()), false
		}}
	}
	cond := func() Node {
		lo := int64(r.IntN(900) - 1000)
		return &Or{[]Node{&Range{Attr: aMoney, Lo: lo, Hi: lo + 1000}, &Range{Attr: aBorn, Lo: lo % 20, Hi: lo%20 + 4}}}
	}
	var node func(depth int) Node
	var choice func(depth int) *Choice
	node = func(depth int) Node {
		if depth == 0 {
			return yes()
		}
		return &If{Cond: cond(), Then: node(depth - 1), Else: node(depth - 1)}
	}
	choice = func(depth int) *Choice {
		if depth == 0 {
			return &Choice{Test: yes()}
		}
		return &Choice{If: cond(), Then: choice(depth - 1), Else: choice(depth - 1)}
	}
	p, err := Prepare(context.Background(), node(depth), v)
	if err != nil {
		t.Fatal(err)
	}
	by := &Field{Attribute: schema.Attribute{Kind: schema.Bool}, Formula: &Formula{Plan: choice(depth)}}
	reader, err := newFieldReader(context.Background(), v, by)
	if err != nil {
		t.Fatal(err)
	}
	buffers, chosen := 0, 0
	_, err = runAll(context.Background(), v, p, Options{Parallelism: 1}, false, func() visitor {
		return func(ctx context.Context, w *worker) error {
			if _, err := w.members(ctx, p); err != nil {
				return err
			}
			c := &valueCounts{}
			err := c.countComputed(ctx, w, reader, w.live)
			buffers, chosen = max(buffers, len(w.pool)), max(chosen, len(w.choices[reader.plan].pool))
			return err
		}
	})
	if err != nil || visited < 3000 || buffers > most || chosen > most {
		t.Fatalf("%d and %d buffers of %d KiB, at most %d; %d visits, error %v", buffers, chosen, bitmap.ChunkSize/8>>10, most, visited, err)
	}
}

// TestChoiceAgain: worked out again and again, a choice takes the memory of the first time.
func TestChoiceAgain(t *testing.T) {
	v := randomView(rand.New(rand.NewPCG(4, 2)), 300)
	sum := &Fold{Op: FoldSum, List: &Events{Event: eBuy, From: schema.MinTimestamp, To: memNow + 1}, Of: &Column{pQty, schema.Int, 0}, Kind: schema.Int}
	reader, err := newFieldReader(context.Background(), v, &Field{Attribute: schema.Attribute{Kind: schema.Int}, Formula: &Formula{Plan: &Choice{Of: sum}}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Prepare(context.Background(), &Const{True}, v)
	if err != nil {
		t.Fatal(err)
	}
	_, err = runAll(context.Background(), v, all, Options{Parallelism: 1}, false, func() visitor {
		return func(ctx context.Context, w *worker) error {
			first := [2]int{}
			for i := range 20 {
				if err := (&valueCounts{}).countComputed(ctx, w, reader, w.live); err != nil {
					return err
				}
				own := w.choices[reader.plan]
				if took := [2]int{len(own.pool), len(own.events.numbers.all)}; i == 0 {
					first = took
				} else if took != first {
					t.Fatalf("%d buffers and lanes, %d the first time", took, first)
				}
			}
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// randomChoice draws a choice whose results are of a kind.
func randomChoice(r *rand.Rand, s *schema.Schema, k schema.Kind, depth int) *Choice {
	if depth > 0 && r.IntN(4) > 0 {
		cond := randomTree(r, s, 2)
		if r.IntN(3) == 0 {
			cond = randomEventNode(r, s, Place{})
		}
		return &Choice{If: cond, Then: randomChoice(r, s, k, depth-1), Else: randomChoice(r, s, k, depth-1)}
	}
	switch {
	case r.IntN(8) == 0:
		return &Choice{}
	case k == schema.String:
		return []*Choice{{Value: str("some")}, {Value: str("none")}, {Attr: aPlan}, {Attr: aMail}}[r.IntN(4)]
	case k == schema.Bool:
		return &Choice{Test: randomTree(r, s, 2)}
	case k == schema.Decimal: // of one scale
		return &Choice{Of: &Binary{Plus, &Column{aMoney, k, 2}, &Literal{schema.DecimalValue(r.Int64N(100), 2)}, k, 2}}
	case r.IntN(3) == 0:
		of, _ := randomFold(r, s, k)
		return &Choice{Of: of}
	}
	of, _ := randomArith(r, k, 2)
	return &Choice{Of: of}
}

// refChoice is what a choice is for one profile.
func refChoice(v *memView, c *Choice, p *memProfile) schema.Value {
	switch {
	case c.If != nil:
		switch t, _ := refEval(v, c.If, p); t {
		case True:
			return refChoice(v, c.Then, p)
		case False:
			return refChoice(v, c.Else, p)
		}
		return schema.Value{}
	case c.Test != nil:
		t, _ := refEval(v, c.Test, p)
		if t == Unknown {
			return schema.Value{}
		}
		return schema.BoolValue(t == True)
	case c.Attr != 0:
		return refValue(v, c.Attr, p)
	case c.Of == nil:
		return c.Value
	}
	switch x := refArith(v, c.Of, p); {
	case x.st != stateOK:
		return schema.Value{}
	case x.t.kind == schema.Float:
		return schema.FloatValue(x.f)
	default:
		return schema.FromOrdered(x.t.kind, x.t.scale, x.n.Int64())
	}
}

// TestRandomChoices: what a choice is of everybody, in the batches of a listing and counted
// by a breakdown, is what the reference says.
func TestRandomChoices(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	ctx, none, some := context.Background(), 0, map[schema.Kind]int{}
	for i := range 12 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 120)
		all, err := Prepare(ctx, &Const{True}, v)
		if err != nil {
			t.Fatal(err)
		}
		for range 25 {
			k := []schema.Kind{schema.Bool, schema.Int, schema.Float, schema.Decimal, schema.String, schema.Date, schema.Timestamp}[r.IntN(7)]
			c := randomChoice(r, v.schema, k, 3)
			f := Field{Attribute: schema.Attribute{Name: "c", Kind: k}, Formula: &Formula{Plan: c}}
			if k == schema.Decimal {
				f.Scale = 2
			}
			o := MembersOptions{Options: Options{Now: time.UnixMilli(memNow).UTC(), Parallelism: 1}}
			m, err := MembersOf(ctx, v, all, []Field{f}, nil, o, nil)
			if err != nil {
				t.Fatal(err)
			}
			counts := map[string]uint64{}
			for row, err := range m.Rows {
				if err != nil {
					t.Fatalf("seed %d, view %d: %v", seed, i, err)
				}
				want := refChoice(v, c, v.profiles[row.Ordinal])
				if got := row.Values[0]; !got.Equal(want) || got.Scale() != want.Scale() {
					t.Fatalf("seed %d, view %d: %v of %d, want %v", seed, i, got, row.Ordinal, want)
				}
				counts[want.String()]++
				if some[want.Kind()]++; want.IsAbsent() {
					none++
				}
			}
			b, err := BreakdownOf(ctx, v, all, f, BreakdownOptions{Options: o.Options, Top: MaxBreakdownValues})
			got := map[string]uint64{}
			for _, row := range b.Rows {
				got[row.Value.String()] = row.Count
			}
			if err != nil || !maps.Equal(got, counts) {
				t.Fatalf("seed %d, view %d: %v %v, want %v", seed, i, got, err, counts)
			}
		}
	}
	if none < 100 || len(some) < 8 {
		t.Errorf("that is too rare: %d absent, %v", none, some)
	}
}
