package query

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// TestPerson: one profile at a time gives what the reference gives.
func TestPerson(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	seen := map[Truth]int{}
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
				got, err := NewPerson(v, &profile, lists, Env{Now: time.UnixMilli(memNow)}).Is(context.Background(), n)
				if err != nil {
					t.Fatal(err)
				}
				if want, _ := refEval(v, n, p); got != want {
					t.Fatalf("seed %d, view %d: profile %d: %v, want %v: %s", seed, i, ord, got, want, describe(n))
				}
				seen[got]++
			}
		}
	}
	for _, x := range []Truth{False, True, Unknown} {
		if seen[x] == 0 {
			t.Errorf("truth %v never came", x)
		}
	}
}
