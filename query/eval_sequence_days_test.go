package query

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// TestSequenceDays: sequences of a few days, over windows of days to years, are the same
// whether or not days narrow them, and do narrow them.
func TestSequenceDays(t *testing.T) {
	notRaced(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	day := func() int64 {
		return memNow - memNow%msPerDay - r.Int64N(80)*msPerDay + []int64{0, -1, 1, r.Int64N(msPerDay)}[r.IntN(4)]
	}
	profiles := map[uint32]*memProfile{}
	for o := range uint32(60) {
		p := &memProfile{key: fmt.Sprint(o), events: map[schema.EventID][]memAct{}}
		at := day()
		for _, e := range memEventTypes() {
			for range r.IntN(4) {
				if r.IntN(3) == 0 {
					at = day()
				}
				p.events[e.ID] = append(p.events[e.ID], memAct{time: at})
				at += []int64{1, r.Int64N(msPerDay), -r.Int64N(3 * msPerDay), msPerDay}[r.IntN(4)]
			}
		}
		profiles[o] = p
	}
	list := func() *Events {
		l := &Events{Event: eBuy + schema.EventID(r.IntN(3)), From: day(), To: memNow + 1}
		switch r.IntN(4) {
		case 0:
			l.From = math.MinInt64
		case 1:
			l.To = l.From + r.Int64N(60*msPerDay)
		}
		return l
	}
	seen, narrowed := map[Truth]int{}, 0
	for i := range 1500 {
		v := newMemView(memSchema(), profiles, 1, true, uint64(i%50))
		s := &Sequence{Within: []int64{0, 1, msPerDay - 1, msPerDay, msPerDay + 1, r.Int64N(9 * msPerDay)}[r.IntN(6)], Of: []*Events{list(), list(), list()}[:2+r.IntN(2)]}
		n := Node(s)
		want := reference(v, n).truth
		got := evaluate(t, v, n, func(w *worker) {
			w.eventWork().many = 0
			p, err := Prepare(t.Context(), n, v)
			if err != nil {
				t.Fatal(err)
			}
			within, err := p.root.inner.(*sequenceOp).narrow(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if within != nil && within.Count() < len(profiles)/2 {
				narrowed++
			}
		})
		for o, got := range got {
			if got != want[o] {
				t.Fatalf("seed %d, %d: profile %d is %d, want %d: %s", seed, i, o, got, want[o], describe(n))
			}
			seen[got]++
		}
	}
	if seen[True] < 500 || seen[False] < 500 || narrowed < 300 {
		t.Errorf("the truths are %v, and %d times days left less than half: the test tests too little", seen, narrowed)
	}
}
