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
