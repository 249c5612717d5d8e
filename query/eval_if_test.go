package query

import (
	"context"
	"math/rand/v2"
	"testing"

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
