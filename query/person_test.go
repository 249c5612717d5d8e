package query

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// TestPerson: one profile at a time gives what the reference gives.
func TestPerson(t *testing.T) {
	notRaced(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	seen, errors := map[Truth]int{}, 0
	for i := range 20 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 60)
		for range 40 {
			n := randomTree(r, v.schema, r.IntN(4))
			for range 8 {
				ord := v.ords[r.IntN(len(v.ords))]
				p := v.profiles[ord]
				profile, lists, err := ProfileOf(context.Background(), v, ord)
				if err != nil {
					t.Fatal(err)
				}
				who := NewPerson(v, &profile, lists, Env{Now: time.UnixMilli(memNow)})
				got, err := who.Is(context.Background(), n)
				if err != nil {
					t.Fatal(err)
				}
				want, failed := refEval(v, n, p)
				if got != want {
					t.Fatalf("seed %d, view %d: profile %d: %v, want %v: %s", seed, i, ord, got, want, describe(n))
				}
				seen[got]++
				verdict, err := who.Judge(context.Background(), n)
				if err != nil || verdict != (Verdict{want, failed}) {
					t.Fatalf("seed %d, view %d: profile %d: %v, want %v, failed %v (%v): %s", seed, i, ord, verdict, want, failed, err, describe(n))
				}
				if failed {
					errors++
				}
			}
		}
	}
	for _, x := range []Truth{False, True, Unknown} {
		if seen[x] == 0 {
			t.Errorf("truth %v never came", x)
		}
	}
	if errors == 0 {
		t.Error("nothing failed")
	}
}

// TestForest: many trees asked together say what each says alone.
func TestForest(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	seen, shared := map[Truth]int{}, 0
	for i := range 20 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 60)
		trees := make([]Node, 60)
		for k := range trees {
			if r.IntN(8) > 0 { // one that reads now has none
				trees[k] = randomTree(r, v.schema, r.IntN(4))
			}
			if k > 0 && r.IntN(4) == 0 {
				trees[k] = trees[k-1] // as another segment of the same words
			}
		}
		f := NewForest(trees)
		for _, branch := range f.trees {
			if branch.kind == branchLeaf {
				shared++
			}
		}
		shared -= len(f.leaves)
		for range 20 {
			ord := v.ords[r.IntN(len(v.ords))]
			profile, lists, err := ProfileOf(context.Background(), v, ord)
			if err != nil {
				t.Fatal(err)
			}
			who := NewPerson(v, &profile, lists, Env{Now: time.UnixMilli(memNow)})
			walk := who.Walk(f)
			for k, n := range trees {
				if n == nil {
					continue
				}
				got, err := walk.Is(context.Background(), k)
				if err != nil {
					t.Fatal(err)
				}
				if want, _ := refEval(v, n, v.profiles[ord]); got != want {
					t.Fatalf("seed %d, view %d: profile %d, tree %d: %v, want %v: %s", seed, i, ord, k, got, want, describe(n))
				}
				seen[got]++
			}
		}
	}
	if seen[False] == 0 || seen[True] == 0 || seen[Unknown] == 0 || shared == 0 {
		t.Errorf("truths %v, %d tests shared", seen, shared)
	}
}

// TestSameTest: tests are shared only if nothing but their places differs.
func TestSameTest(t *testing.T) {
	s := func(texts ...string) (out []schema.Value) {
		for _, text := range texts {
			out = append(out, schema.StringValue(text))
		}
		return out
	}
	tests := []Node{
		&Const{Value: True}, &Const{Value: Unknown}, &Has{Attr: 1}, &Has{Attr: 2}, &InList{Code: 1}, &InList{Code: 2},
		&Range{Attr: 1, Lo: 1, Hi: 12}, &Range{Attr: 1, Lo: 11, Hi: 2}, &Range{Attr: 11, Lo: 1, Hi: 2}, &Range{Attr: 1, Lo: -1, Hi: 12},
		&Match{Attr: 1, Op: Contains, Text: "a"}, &Match{Attr: 1, Op: EndsWith, Text: "a"}, &Match{Attr: 1, Op: Contains, Text: "b"}, &Match{Attr: 2, Op: Contains, Text: "a"},
		&SetHas{Attr: 1, Values: []string{"a", "b"}}, &SetHas{Attr: 1, All: true, Values: []string{"a", "b"}}, &SetHas{Attr: 1, Values: []string{`a" "b`}}, &SetHas{Attr: 2, Values: []string{"a", "b"}},
		&In{Attr: 1}, &In{Attr: 1, Values: s("a", "b")}, &In{Attr: 1, Values: s(`a" "b`)}, &In{Attr: 1, Values: s("a")}, &In{Attr: 2, Values: s("a")},
		&In{Attr: 1, Values: []schema.Value{schema.IntValue(1)}}, &In{Attr: 1, Values: []schema.Value{schema.BoolValue(true)}}, &In{Attr: 1, Values: []schema.Value{schema.DecimalValue(1, 2)}},
	}
	seen := map[string]Node{}
	for _, n := range tests {
		key, ok := sameTest(n)
		if seen[key] != nil || !ok {
			t.Errorf("%#v and %#v are both %q", n, seen[key], key)
		}
		seen[key] = n
	}
	if a, _ := sameTest(&Has{Place{Span: Span{1, 2}}, 1}); seen[a] == nil {
		t.Error("the place of a test is part of it")
	}
	if _, ok := sameTest(&Compare{}); ok {
		t.Error("comparisons are not looked at")
	}
}
