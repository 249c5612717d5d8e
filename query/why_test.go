package query

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// refUnknown returns for how many events of a list's window, clocks and "then" the
// conditions are unknown, those of the list before included.
func refUnknown(v *memView, l *Events, p *memProfile) uint64 {
	if refNobody(l) {
		return 0
	}
	bare, n := *l, uint64(0)
	bare.Filter = nil
	for _, a := range refList(v, &bare, p) {
		if t, _ := refEval(v, &And{l.Filter}, asProfile(a)); len(l.Filter) > 0 && t == Unknown {
			n++
		}
	}
	if l.Then != nil {
		n += refUnknown(v, refBefore(l), p)
	}
	return n
}

// refBefore returns the list that has to be before another one, as far as it can be.
func refBefore(l *Events) *Events {
	first := *l.Then.After
	first.From = max(first.From, before(refWindow(l).from, l.Then.Within))
	first.To = min(first.To, before(refWindow(l).to, 1))
	return &first
}

// refNobody tells lists that have no window: then nothing is looked at, not even what would be before.
func refNobody(l *Events) bool {
	return refWindow(l).isEmpty() || l.Then != nil && refNobody(refBefore(l))
}

// refWindow is a list's window with what its conditions say of the time.
func refWindow(l *Events) window {
	_, in, err := conditionsOf(l.Filter, window{l.From, l.To})
	if err != nil {
		panic(err)
	}
	return in
}

// refNodeUnknown is refUnknown for all that a node reads, with the events whose number is unknown.
func refNodeUnknown(v *memView, n Node, p *memProfile) (sum uint64) {
	numbers := func(l *Events, of Arith) {
		sum += refUnknown(v, l, p)
		list := refList(v, l, p)
		sum += uint64(len(list) - len(refValues(v, of, list)))
	}
	var arith func(a Arith)
	arith = func(a Arith) {
		switch a := a.(type) {
		case *Binary:
			arith(a.L)
			arith(a.R)
		case *Fold:
			switch a.Op {
			case FoldSum, FoldMin, FoldMax, FoldAverage:
				numbers(a.List, a.Of)
			default:
				sum += refUnknown(v, a.List, p)
			}
		}
	}
	switch n := n.(type) {
	case *Any:
		sum = refUnknown(v, n.List, p)
	case *OneIs:
		sum = refUnknown(v, n.List, p)
	case *AverageIs:
		numbers(n.List, n.Of)
	case *Sequence:
		windows, err := sequenceWindows(n)
		if err != nil {
			panic(err)
		}
		for i := range n.Of {
			l := *n.Of[i]
			l.From, l.To = max(l.From, windows[i].from), min(l.To, windows[i].to)
			if refNobody(&l) {
				return 0 // of a sequence that nobody can have nothing is looked at
			}
			sum += refUnknown(v, &l, p)
		}
	case *Compare:
		arith(n.L)
		arith(n.R)
	}
	return sum
}

// TestUnknownEvents: an explanation counts the events whose conditions, or numbers, the
// reference finds unknown, however the plan reads them.
func TestUnknownEvents(t *testing.T) {
	notRaced(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	some := 0
	for i := range 10 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 40)
		for range 100 {
			n := randomEventNode(r, v.schema, Place{Span: Span{1, 2}})
			want := uint64(0)
			for _, ord := range v.ords {
				want += refNodeUnknown(v, n, v.profiles[ord])
			}
			e, err := ExplainOf(context.Background(), v, n, Options{Now: time.UnixMilli(memNow), Parallelism: 1 + r.IntN(3)})
			if err != nil {
				t.Fatal(err)
			}
			got, constant := uint64(0), false
			var walk func(p *PlanNode)
			walk = func(p *PlanNode) {
				got += p.UnknownEvents
				constant = constant || p.Method == "constant"
				for i := range p.Of {
					walk(&p.Of[i])
				}
			}
			walk(&e.Root)
			if got != want && !constant { // a count that is always at least 0 is not read
				t.Fatalf("seed %d, view %d: %d unknown events, want %d: %.1000s", seed, i, got, want, describe(n))
			}
			if in := inLittleMemory(t, v, n); in != got {
				t.Fatalf("seed %d, view %d: %d unknown events, in little memory %d: %.1000s", seed, i, got, in, describe(n))
			}
			if want > 0 {
				some++
			}
		}
	}
	if some < 100 {
		t.Errorf("only %d nodes had unknown events", some)
	}
}

// inLittleMemory counts unknown events where the events of few people can be kept at a time.
func inLittleMemory(t *testing.T, v *memView, n Node) uint64 {
	t.Helper()
	ctx := context.Background()
	p, err := wholePlanner(ctx, v).prepare(n)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{view: v, cur: v.Cursor(), env: Env{Now: time.UnixMilli(memNow)}, stats: make([]nodeStats, len(p.ops))}
	defer w.cur.Close()
	for chunk := range v.chunks {
		if err := w.begin(chunk); err != nil {
			t.Fatal(err)
		}
		w.eventsOf(nil).most = 100
		if _, err := w.eval(ctx, p.root, nil); err != nil {
			t.Fatal(err)
		}
	}
	return w.unknownEvents
}

// TestBasis: what is shown of a list, and of a fold, is what the reference makes of it.
func TestBasis(t *testing.T) {
	notRaced(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, shown, values, followed := context.Background(), 0, 0, 0
	for i := range 10 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, 20)
		for range 150 {
			ord := v.ords[r.IntN(len(v.ords))]
			p := v.profiles[ord]
			profile, lists, err := ProfileOf(ctx, v, ord)
			if err != nil {
				t.Fatal(err)
			}
			who := NewPerson(v, &profile, lists, Env{Now: time.UnixMilli(memNow)})
			l := randomList(r, v.schema, 1)
			for keep, most := range []int{MaxWhyEvents, 1, 1} {
				want := refList(v, l, p)
				got, err := who.events(ctx, l, whichEvents(keep))
				if err != nil || got.Total != uint64(len(want)) || keep == 0 && got.Unknown != refUnknown(v, l, p) {
					t.Fatalf("seed %d, view %d: %d events, %d unknown, %v; want %d, %d: %s", seed, i, got.Total, got.Unknown, err, len(want), refUnknown(v, l, p), listLabel(v.schema, l))
				}
				if whichEvents(keep) == keepFirst {
					want = want[:min(len(want), most)]
				}
				slices.Reverse(want)
				want = want[:min(len(want), most)]
				sameEvents(t, v, l, got.Events, want)
				shown += len(want)
			}
			f, _ := randomFold(r, v.schema, []schema.Kind{schema.Int, schema.Float, schema.Decimal, schema.Timestamp}[r.IntN(4)])
			values += sameNumber(t, v, who, f.(*Fold), p)
			two := &Sequence{Within: randomWithin(r), Of: []*Events{randomList(r, v.schema, 1), randomList(r, v.schema, 0)}}
			followed += sameSteps(t, v, who, two, p)
		}
	}
	if shown < 500 || values < 300 || followed < 3 {
		t.Errorf("%d events, %d numbers, %d steps of sequences: the test tests too little", shown, values, followed)
	}
}

// TestManyEvents: of more events than are held, the right ones are kept.
func TestManyEvents(t *testing.T) {
	one := &memProfile{key: "one", events: map[schema.EventID][]memAct{}}
	n := 2*(MaxWhyEvents+moreEvents) + 7
	for i := range n {
		one.events[eBuy] = append(one.events[eBuy], memAct{time: int64(i) * 7919 % int64(n)})
	}
	v := newMemView(memSchema(), map[uint32]*memProfile{5: one}, 1, true, 3)
	who := NewPerson(v, &Profile{Ordinal: 5}, nil, Env{Now: time.UnixMilli(memNow)})
	l := &Events{Event: eBuy, From: math.MinInt64, To: memNow}
	for keep, want := range [][2]int{keepLast: {n - 1, n - MaxWhyEvents}, keepFirst: {0, 0}, keepEnd: {n - 1, n - 1}} {
		got, err := who.events(context.Background(), l, whichEvents(keep))
		if err != nil || got.Total != uint64(n) || len(got.Events) != want[0]-want[1]+1 {
			t.Fatalf("%d of %d events, %v", len(got.Events), got.Total, err)
		}
		for i, e := range got.Events {
			if e.Time.UnixMilli() != int64(want[0]-i) {
				t.Errorf("event %d has the time %d, want %d", i, e.Time.UnixMilli(), want[0]-i)
			}
		}
	}
}

func sameEvents(t *testing.T, v *memView, l *Events, got []TimelineEvent, want []memAct) {
	t.Helper()
	e := v.schema.EventByID(l.Event)
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = got[i].Event == e.Name && got[i].Time.UnixMilli() == want[i].time
		at := 0
		for _, a := range e.Properties {
			if x := refValue(v, a.ID, asProfile(want[i])); !x.IsAbsent() && (x.Kind() != schema.Set || len(x.Elements()) > 0) {
				same = same && at < len(got[i].Properties) && got[i].Properties[at].Value.Equal(x)
				at++
			}
		}
		same = same && at == len(got[i].Properties)
	}
	if !same {
		t.Fatalf("%v, want %v: %s", got, want, listLabel(v.schema, l))
	}
}

func sameNumber(t *testing.T, v *memView, who *Person, f *Fold, p *memProfile) int {
	t.Helper()
	got, err := who.Number(context.Background(), f)
	want := refFold(v, f, p)
	none := want.st != stateOK || f.Kind == schema.Float && math.IsNaN(want.f) // no value is NaN
	same := err == nil && got.IsAbsent() == none
	switch {
	case !same || none:
	case f.Kind == schema.Float:
		same = got.Equal(schema.FloatValue(want.f))
	default:
		same = big.NewInt(got.Ordered()).Cmp(want.n) == 0
	}
	if !same {
		t.Fatalf("%v, %v; want %+v: %s", got, err, want, foldLabel(v.schema, f))
	}
	if got.IsAbsent() {
		return 0
	}
	return 1
}

// sameSteps wants the times of events that follow each other where the reference finds some.
func sameSteps(t *testing.T, v *memView, who *Person, n *Sequence, p *memProfile) int {
	t.Helper()
	times, err := who.following(context.Background(), n)
	truth, _ := refEvent(v, n, p)
	ok := err == nil && (times != nil) == (truth == True)
	for i, at := range times {
		ok = ok && slices.ContainsFunc(refList(v, n.Of[i], p), func(a memAct) bool { return a.time == at }) &&
			(i == 0 || times[i-1] < at) && at-times[0] <= n.Within
	}
	if !ok {
		t.Fatalf("%v, %v, want %v: %s", times, err, truth, describe(n))
	}
	return len(times)
}
