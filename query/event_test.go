package query

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

const hour = int64(3600000)

type actValues = map[schema.AttrID]schema.Value

// acting returns a small view of known people with known events:
//
//	anna  buys 10.00, 1 piece, at 00:00 of day 0 and 20.00, pieces unknown, at 00:00 of day 1
//	bert  never did anything
//	cleo  buys for an unknown amount, 0 pieces, at 12:00 of day 1, having looked at c1 at 11:00
//	dora  buys for the greatest amount there is twice on day 2, and opens at 08:00 of day 0 and 1
func acting() *memView {
	day, i := func(n int64) int64 { return n * msPerDay }, schema.IntValue
	amount := func(n int64) schema.Value { return schema.DecimalValue(n, 2) }
	v := fixed(true)
	v.profiles[3].events = map[schema.EventID][]memAct{eBuy: {
		{day(1), actValues{pAmount: amount(2000)}},
		{day(0), actValues{pAmount: amount(1000), pQty: i(1)}},
	}}
	v.profiles[70000].events = map[schema.EventID][]memAct{
		eBuy:  {{day(1) + 12*hour, actValues{pQty: i(0), pItem: str("book")}}},
		eView: {{day(1) + 11*hour, actValues{pCategory: str("c1")}}},
	}
	v.profiles[70001].events = map[schema.EventID][]memAct{
		eBuy: {
			{day(2), actValues{pAmount: amount(math.MaxInt64), pQty: i(2)}},
			{day(2) + 1, actValues{pAmount: amount(math.MaxInt64), pQty: i(4)}},
		},
		eOpen: {{day(0) + 8*hour, nil}, {day(1) + 8*hour, nil}},
	}
	return newMemView(v.schema, v.profiles, 2, true, 1)
}

func everBought() *Events { return ever(eBuy) }

func ever(e schema.EventID) *Events {
	return &Events{Event: e, From: math.MinInt64, To: memNow + 1}
}

func within(l *Events, from, to int64) *Events {
	out := *l
	out.From, out.To = from, to
	return &out
}

// TestEventCounts: by hand, who is true, unknown and an error of the four.
func TestEventCounts(t *testing.T) {
	v := acting()
	f := func(n Node, yes, unknown, failed uint64) {
		t.Helper()
		if c := mustCount(t, v, n); c.Count != yes || c.Unknown != unknown || c.Errors != failed {
			t.Errorf("%s: %d true, %d unknown, %d errors; want %d, %d, %d", describe(n), c.Count, c.Unknown, c.Errors, yes, unknown, failed)
		}
	}
	amount, qty := Arith(&Column{pAmount, schema.Decimal, 2}), Arith(&Column{pQty, schema.Int, 0})
	ts := Arith(&Column{schema.TimeProperty, schema.Timestamp, 0})
	money := func(n int64) Arith { return &Literal{schema.DecimalValue(n, 2)} }
	lit := func(n int64) Arith { return &Literal{schema.IntValue(n)} }
	fold := func(op FoldOp, of Arith, k schema.Kind, scale uint8) Arith {
		return &Fold{Op: op, List: everBought(), Of: of, Kind: k, Scale: scale, Property: pQty}
	}
	is := func(op CompareOp, l, r Arith) Node { return &Compare{Op: op, L: l, R: r} }
	count := fold(FoldCount, nil, schema.Int, 0)

	// Nothing there: counts and sums are 0, all else is unknown.
	f(&Any{List: everBought()}, 3, 0, 0)
	f(&Not{&Any{List: everBought()}}, 1, 0, 0)
	f(is(EQ, count, lit(0)), 1, 0, 0)
	f(is(GE, count, lit(2)), 2, 0, 0)
	f(is(LT, count, lit(2)), 2, 0, 0)
	f(is(NE, count, lit(1)), 3, 0, 0)
	f(is(LT, lit(1), count), 2, 0, 0)
	f(is(GT, count, lit(math.MaxInt64)), 0, 0, 0)
	f(is(GE, count, lit(math.MinInt64)), 4, 0, 0)
	f(is(EQ, fold(FoldSum, qty, schema.Int, 0), lit(0)), 2, 0, 0)
	f(is(LE, fold(FoldMin, amount, schema.Decimal, 2), money(1000)), 1, 2, 0)
	f(is(GE, fold(FoldMax, amount, schema.Decimal, 2), money(2000)), 2, 2, 0)
	f(is(EQ, fold(FoldAverage, qty, schema.Float, 0), &Literal{schema.FloatValue(3)}), 1, 1, 0)
	f(is(EQ, fold(FoldDistinct, nil, schema.Int, 0), lit(1)), 2, 0, 0)
	f(is(GE, fold(FoldFirst, ts, schema.Timestamp, 0), &Literal{schema.TimestampValue(msPerDay)}), 2, 1, 0)

	// A sum that does not fit is an error, unless something else decides.
	overflow := is(GT, fold(FoldSum, amount, schema.Decimal, 2), money(2500))
	f(overflow, 1, 1, 1)
	f(&And{[]Node{overflow, is(LT, count, lit(2))}}, 0, 0, 0)
	f(&Or{[]Node{overflow, is(GE, count, lit(2))}}, 2, 0, 0)
	f(is(GT, fold(FoldAverage, amount, schema.Float, 0), &Literal{schema.FloatValue(9e16)}), 1, 2, 0)
	f(&AverageIs{List: everBought(), Of: amount, Op: EQ, With: schema.DecimalValue(math.MaxInt64, 2)}, 1, 2, 0)
	f(&AverageIs{List: everBought(), Of: amount, Op: EQ, With: schema.IntValue(15)}, 1, 2, 0)

	// An event for which a condition or the arithmetic has no value does not count.
	some := everBought()
	some.Filter = []Node{is(GE, qty, lit(0))}
	f(is(GE, &Fold{Op: FoldCount, List: some, Kind: schema.Int}, lit(1)), 3, 0, 0)
	f(is(EQ, &Fold{Op: FoldSum, List: some, Of: amount, Kind: schema.Decimal, Scale: 2}, money(1000)), 1, 1, 1)
	not := everBought()
	not.Filter = []Node{&Not{is(GE, qty, lit(1))}}
	f(&Any{List: not}, 1, 0, 0)
	f(is(EQ, fold(FoldSum, &Binary{Div, lit(4), qty, schema.Int, 0}, schema.Int, 0), lit(0)), 2, 0, 0)

	// Of the first or last event.
	f(is(GE, fold(FoldLast, qty, schema.Int, 0), lit(0)), 2, 2, 0)
	f(&OneIs{List: everBought(), Last: true, Test: &Has{Attr: pQty}}, 2, 1, 0)
	f(&OneIs{List: everBought(), Test: is(EQ, &Binary{Div, lit(4), qty, schema.Int, 0}, lit(4))}, 1, 2, 1)
	f(&OneIs{List: everBought(), Test: &In{Attr: pItem, Values: []schema.Value{str("book")}}}, 1, 3, 0)

	// Windows hold their first millisecond and not their last.
	f(&Any{List: within(everBought(), 0, msPerDay)}, 1, 0, 0)
	f(&Any{List: within(everBought(), 1, msPerDay)}, 0, 0, 0)
	f(&Any{List: within(everBought(), 1, msPerDay+1)}, 1, 0, 0)
	f(&Any{List: within(everBought(), 5, 5)}, 0, 0, 0)
}

// TestEventOrder: by hand, what follows what.
func TestEventOrder(t *testing.T) {
	v := acting()
	f := func(n Node, want ...string) {
		t.Helper()
		p, err := Prepare(context.Background(), n, v)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if _, err := ForEachChunk(context.Background(), v, p, Options{}, func(chunk int, yes bitmap.Set) error {
			for _, o := range yes.AppendTo(nil) {
				got = append(got, v.profiles[uint32(chunk)<<bitmap.ChunkBits|uint32(o)].key)
			}
			return nil
		}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", describe(n), got, err, want)
		}
	}
	looked := ever(eView)
	seq := func(within int64, of ...*Events) Node { return &Sequence{Within: within, Of: of} }
	f(seq(hour, looked, everBought()), "cleo")
	f(seq(hour-1, looked, everBought()))
	f(seq(hour, everBought(), looked))
	f(seq(msPerDay, everBought(), everBought()), "anna", "dora")
	f(seq(1, everBought(), everBought()), "dora")
	f(seq(0, everBought(), everBought()))
	f(seq(math.MaxInt64, everBought(), everBought(), everBought()))
	then := func(b, a *Events, within int64) Node {
		out := *b
		out.Then = &Then{a, within}
		return &Any{List: &out}
	}
	f(then(everBought(), looked, hour), "cleo")
	f(then(everBought(), looked, hour-1))
	f(then(looked, everBought(), math.MaxInt64))
	f(then(everBought(), everBought(), 1), "dora")
	f(then(everBought(), everBought(), 0))

	clock := func(c Clock) Node {
		l := ever(eOpen)
		l.When = []Clock{c}
		return &Any{List: l}
	}
	h := time.Hour
	f(clock(Clock{From: 8 * h, To: 9 * h}), "dora")
	f(clock(Clock{From: 7 * h, To: 8 * h}))
	f(clock(Clock{From: 22 * h, To: 8*h + 1}), "dora")
	f(clock(Clock{From: 22 * h, To: 8 * h}))
	f(clock(Clock{From: 5 * h, To: 5 * h}), "dora")
	f(clock(Clock{Zone: time.FixedZone("", 14*3600), From: 22 * h, To: 23 * h}), "dora")
	f(clock(Clock{Weekdays: 1 << time.Thursday}), "dora")
	f(clock(Clock{Weekdays: 1 << time.Saturday}))
	f(clock(Clock{Zone: time.FixedZone("", -9*3600), Weekdays: 1 << time.Wednesday}), "dora")
}

// Two events at one time: the hash of their properties says which is first, however the
// events lie.
func TestEventTies(t *testing.T) {
	notRaced(t)
	profiles := map[uint32]*memProfile{}
	for o := range uint32(200) {
		p := &memProfile{key: string(rune('a' + o)), values: actValues{}, events: map[schema.EventID][]memAct{}}
		for i := range int64(3) {
			p.events[eBuy] = append(p.events[eBuy], memAct{5, actValues{pQty: schema.IntValue((i + int64(o)) % 5), pNote: str("n")}})
		}
		profiles[o] = p
	}
	for salt := range uint64(20) {
		v := newMemView(memSchema(), profiles, 1, true, salt)
		for _, op := range []FoldOp{FoldFirst, FoldLast} {
			for q := range int64(5) {
				n := &Compare{Op: EQ, L: &Fold{Op: op, List: everBought(), Of: &Column{pQty, schema.Int, 0}, Kind: schema.Int}, R: &Literal{schema.IntValue(q)}}
				if got, want := mustCount(t, v, n).Count, reference(v, n).counts.yes; got != want {
					t.Errorf("salt %d: %s: %d, want %d", salt, describe(n), got, want)
				}
			}
		}
	}
}

// evaluate runs a tree over all chunks with a worker of the test's.
func evaluate(t *testing.T, v *memView, n Node, prepare func(w *worker)) map[uint32]Truth {
	t.Helper()
	p, err := Prepare(context.Background(), n, v)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{view: v, cur: v.Cursor(), env: Env{Now: time.UnixMilli(memNow)}, stats: make([]nodeStats, len(p.ops))}
	defer w.cur.Close()
	out := map[uint32]Truth{}
	for chunk := range v.chunks {
		if err := w.begin(chunk); err != nil {
			t.Fatal(err)
		}
		prepare(w)
		r, err := w.members(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range w.live.AppendTo(nil) {
			ord := uint32(chunk)<<bitmap.ChunkBits | uint32(o)
			switch {
			case r.yes.Contains(o):
				out[ord] = True
			case !r.exact && r.maybe.Contains(o):
				out[ord] = Unknown
			default:
				out[ord] = False
			}
		}
	}
	return out
}

// TestEventMemory: where little memory is left, lists are read for fewer people at a time,
// and the answers are the same.
func TestEventMemory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, i))
		v := randomView(r, 40)
		for j := range 60 {
			n := randomEventNode(r, v.schema, Place{Span: Span{1, 2}})
			want := reference(v, n).truth
			got := evaluate(t, v, n, func(w *worker) { w.eventsOf(nil).most = []int{0, 100, 3000}[j%3] })
			for o, truth := range want {
				if got[o] != truth {
					t.Fatalf("seed %d, view %d, tree %d: profile %d is %d, want %d: %.2000s", seed, i, j, o, got[o], truth, describe(n))
				}
			}
		}
	}
}

// TestEventMemoryOfOne: one profile's events may take more than there is.
func TestEventMemoryOfOne(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for o := range uint32(3) {
		p := &memProfile{key: string(rune('a' + o)), values: actValues{}, events: map[schema.EventID][]memAct{}}
		for i := range int64(100) {
			p.events[eOpen] = append(p.events[eOpen], memAct{time: i * msPerDay / 50})
		}
		profiles[o] = p
	}
	v := newMemView(memSchema(), profiles, 1, true, 3)
	n := &Compare{Op: EQ, L: &Fold{Op: FoldDistinctDays, List: ever(eOpen), Kind: schema.Int}, R: &Literal{schema.IntValue(2)}}
	var w *worker
	for o, truth := range evaluate(t, v, n, func(it *worker) { w = it; w.eventsOf(nil).most = 20 * gatheredBytes }) {
		if truth != True {
			t.Errorf("profile %d is %d", o, truth)
		}
	}
	if w.events.held != 0 || w.events.gathers != 0 || w.events.endless {
		t.Errorf("%d bytes and %d lists are still held, without end: %v", w.events.held, w.events.gathers, w.events.endless)
	}
}

// TestEventFaults: every read may fail; then the question fails.
func TestEventFaults(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	v := randomView(r, 150)
	ctx := context.Background()
	for range 60 {
		n := randomEventNode(r, v.schema, Place{Span: Span{1, 2}})
		p, err := Prepare(ctx, n, v)
		if err != nil {
			t.Fatal(err)
		}
		v.reads.Store(0)
		v.failAt = 0
		if _, err := CountOf(ctx, v, p, Options{}); err != nil {
			t.Fatal(err)
		}
		reads := v.reads.Load()
		for at := int64(1); at <= reads; at += 1 + reads/10 {
			v.reads.Store(0)
			v.failAt = at
			if _, err := CountOf(ctx, v, p, Options{}); !errors.Is(err, &Error{Code: CodeCorrupt}) {
				t.Errorf("%.500s with a broken read %d of %d: %v", describe(n), at, reads, err)
			}
		}
		if n := v.cursors.Load(); n != 0 {
			t.Errorf("%d cursors were left open", n)
		}
	}
}

// TestEventCancel: a cancelled question ends within a block, and within a batch of a slow
// condition.
func TestEventCancel(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for o := range uint32(20000) {
		profiles[o] = &memProfile{key: "x", values: actValues{}, events: map[schema.EventID][]memAct{eOpen: {{time: int64(o)}}}}
	}
	v := newMemView(memSchema(), profiles, 1, true, 2)
	for after := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		runs := 0
		l := ever(eOpen)
		l.Filter = []Node{&Residual{Attrs: []schema.AttrID{schema.TimeProperty}, Eval: func([]schema.Value, [][]Act, Env) (Truth, bool) {
			if runs++; runs == after*batchSize+1 {
				cancel()
			}
			return True, false
		}}}
		p, err := Prepare(ctx, &Any{List: l}, v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CountOf(ctx, v, p, Options{Parallelism: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v after %d events", err, runs)
		}
		if runs > (after+1)*batchSize {
			t.Errorf("%d events were tested, cancelled after %d batches", runs, after)
		}
		cancel()
	}
}

// noEvents is a view whose cursors read no events.
type noEvents struct{ View }

func (v noEvents) Cursor() Cursor { return struct{ Cursor }{v.View.Cursor()} }

func TestEventErrors(t *testing.T) {
	v := acting()
	at := Place{Span: Span{3, 9}}
	f := func(n Node, code Code) {
		t.Helper()
		if _, err := Prepare(context.Background(), n, v); !errors.Is(err, &Error{Code: code}) {
			t.Errorf("%s: %v, want code %d", describe(n), err, code)
		}
	}
	amount := &Column{pAmount, schema.Decimal, 2}
	buy := func(filter ...Node) *Events {
		l := everBought()
		l.Filter = filter
		return l
	}
	fold := func(f Fold) Node {
		f.List = everBought()
		return &Compare{at, EQ, &f, &Literal{zeroOf(f.Kind, f.Scale)}}
	}
	f(&Any{at, &Events{Event: 99}}, CodeUnknownName)
	f(&Any{at, nil}, CodeInternal)
	f(&Any{at, buy(&Has{Attr: pCategory})}, CodeUnknownName) // another event's
	f(&Any{at, buy(&Has{Attr: aAge})}, CodeUnknownName)
	f(&Any{at, buy(&Has{Attr: schema.KeyAttr})}, CodeUnknownName)
	f(&Any{at, buy(&InList{})}, CodeInternal)
	f(&Any{at, buy(&Any{at, everBought()})}, CodeInternal)
	f(&Any{at, buy(&Residual{Events: []schema.EventID{eBuy}})}, CodeInternal)
	f(&Any{at, buy(&Compare{at, EQ, &Fold{Op: FoldCount, List: everBought(), Kind: schema.Int}, &Literal{schema.IntValue(1)}})}, CodeInternal)
	f(&Any{at, buy(nil)}, CodeInternal)
	f(&Any{at, buy(&Range{Attr: pItem})}, CodeType)
	f(&Any{at, &Events{Event: eBuy, To: 1, Then: &Then{everBought(), -1}}}, CodeInternal)
	f(&Any{at, &Events{Event: eBuy, To: 1, Then: &Then{&Events{Event: 99}, 1}}}, CodeUnknownName)
	f(&Sequence{at, 1, []*Events{everBought()}}, CodeInternal)
	f(&Sequence{at, 1, []*Events{everBought(), nil}}, CodeInternal)
	f(&OneIs{at, everBought(), false, nil}, CodeInternal)
	f(&OneIs{at, everBought(), false, &Has{Attr: aAge}}, CodeUnknownName)
	f(&AverageIs{at, EQ, everBought(), &Column{pPrice, schema.Float, 0}, schema.IntValue(1)}, CodeType)
	f(&AverageIs{at, EQ, everBought(), amount, schema.FloatValue(1)}, CodeType)
	f(&AverageIs{at, 99, everBought(), amount, schema.IntValue(1)}, CodeInternal)
	f(fold(Fold{Op: FoldSum, Of: &Column{pDue, schema.Date, 0}, Kind: schema.Date}), CodeType)
	f(fold(Fold{Op: FoldSum, Of: amount, Kind: schema.Int}), CodeType)
	f(fold(Fold{Op: FoldAverage, Of: amount, Kind: schema.Decimal, Scale: 2}), CodeType)
	f(fold(Fold{Op: FoldCount, Kind: schema.Float}), CodeType)
	f(fold(Fold{Op: 99, Kind: schema.Int}), CodeInternal)
	f(fold(Fold{Op: FoldDistinct, Property: pCategory, Kind: schema.Int}), CodeUnknownName)
	f(fold(Fold{Op: FoldMax, Of: nil, Kind: schema.Int}), CodeInternal)
	f(&Residual{Place: at, Events: []schema.EventID{99}, Eval: func([]schema.Value, [][]Act, Env) (Truth, bool) { return True, false }}, CodeUnknownName)

	p, err := Prepare(context.Background(), &Any{at, everBought()}, v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CountOf(context.Background(), noEvents{v}, p, Options{}); !errors.Is(err, &Error{Code: CodeInternal}) {
		t.Errorf("without a reader of events: %v", err)
	}
}

// badBlocks is a view whose cursors hand out blocks that are none.
type badBlocks struct {
	View
	spoil func(b *EventBlock)
}

type badCursor struct {
	Cursor
	spoil func(b *EventBlock)
}

func (v badBlocks) Cursor() Cursor { return badCursor{v.View.Cursor(), v.spoil} }

func (c badCursor) Events(scan *EventScan, chunk int, within *bitmap.Set, f func(b *EventBlock) error) error {
	return c.Cursor.(EventCursor).Events(scan, chunk, within, func(b *EventBlock) error { c.spoil(b); return f(b) })
}

func (c badCursor) EventDays(event schema.EventID, first int64, chunk int, days []bitmap.Words) error {
	return c.Cursor.(EventCursor).EventDays(event, first, chunk, days)
}

func (c badCursor) HasEvent(event schema.EventID, from, to int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	return c.Cursor.(EventCursor).HasEvent(event, from, to, chunk, within, buf)
}

// TestEventBadBlocks: a block that contradicts itself is an error, not a crash.
func TestEventBadBlocks(t *testing.T) {
	v := acting()
	l := within(everBought(), 0, memNow)
	l.When = []Clock{{From: 0, To: time.Hour}}
	l.Filter = []Node{&Not{&Range{Attr: pQty, Lo: 5, Hi: 6}}, &Not{&In{Attr: pItem, Values: []schema.Value{str("book")}}},
		&Not{&In{Attr: pNote, Values: []schema.Value{str("x")}}}, &Not{&SetHas{Attr: pLabels, Values: []string{"x"}}}}
	p, err := Prepare(context.Background(), &Any{List: l}, v)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b *EventBlock){
		"times":   func(b *EventBlock) { b.Times = nil },
		"columns": func(b *EventBlock) { b.Columns = b.Columns[1:] },
		"size":    func(b *EventBlock) { b.Ords = make([]uint16, bitmap.ChunkSize+1) },
		"ints":    func(b *EventBlock) { b.Columns[0].Ints = nil },
		"present": func(b *EventBlock) { b.Columns[0].Present = []uint64{} },
		"codes":   func(b *EventBlock) { b.Columns[1].Codes = nil },
		"texts":   func(b *EventBlock) { b.Columns[2].Texts = nil },
	} {
		if _, err := CountOf(context.Background(), badBlocks{v, spoil}, p, Options{}); !errors.Is(err, &Error{Code: CodeInternal}) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
}

// TestEventPlan: attributes come first and say whose events are read; bytes are counted.
func TestEventPlan(t *testing.T) {
	v := acting()
	few := &In{Attr: aTotal, Values: []schema.Value{str("NL")}}
	n := &And{[]Node{&Compare{Op: GT, L: &Fold{Op: FoldSum, List: everBought(), Of: &Column{pQty, schema.Int, 0}, Kind: schema.Int}, R: &Literal{schema.IntValue(0)}}, few}}
	p, err := Prepare(context.Background(), n, v)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(context.Background(), v, p, Options{Parallelism: 1})
	if err != nil || plan.Count != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	of := plan.Root.Of
	if len(of) != 2 || of[0].Label != `country == "NL"` || of[1].Skipped != 1 || of[1].Bytes == 0 {
		t.Errorf("the plan is %+v", plan.Root)
	}
	if v.events.seen["within"] != 1 || v.events.seen["everybody"] != 0 {
		t.Errorf("events were read for %v", v.events.seen)
	}
	before := v.events.seen["times"] + v.events.seen["no times"]
	mustCount(t, v, &Any{List: within(everBought(), 5, 5)})
	mustCount(t, v, &Any{List: &Events{Event: eBuy, To: memNow, Filter: []Node{&In{Attr: pItem, Values: []schema.Value{str("never")}}}}})
	if after := v.events.seen["times"] + v.events.seen["no times"]; after != before {
		t.Error("lists that are empty for everybody were read")
	}
}

func TestEventLabels(t *testing.T) {
	s := memSchema()
	f := func(n Node, want string) {
		t.Helper()
		if got := label(s, n); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	now := int64(20000 * msPerDay)
	buy := &Events{Event: eBuy, From: now - 30*msPerDay + 1, To: now + 1}
	f(&Any{List: buy}, `buy in (2024-09-04, 2024-10-04].any()`)
	f(&Any{List: within(buy, math.MinInt64, now+1)}, `buy up to 2024-10-04.any()`)
	f(&Any{List: within(buy, math.MinInt64, now)}, `buy before 2024-10-04.any()`)
	f(&Any{List: within(buy, 0, now+1500)}, `buy in [1970-01-01, 2024-10-04T00:00:01.5Z).any()`)
	f(&Any{List: within(buy, math.MinInt64, math.MaxInt64)}, `buy.any()`)
	l := within(ever(eView), 0, now)
	l.When = []Clock{{Zone: time.UTC, Weekdays: 1<<time.Monday | 1<<time.Saturday}, {From: 20 * time.Hour, To: 90 * time.Minute}}
	l.Filter = []Node{&And{[]Node{&In{Attr: pCategory, Values: []schema.Value{str("c1")}}, &Not{&Has{Attr: pPlace}}}}}
	window := ` in [1970-01-01, 2024-10-04)`
	f(&Any{List: l}, `ev["View Item"]`+window+`.on_weekdays([Mon, Sat], "UTC").at_hours(20, 1h30m0s, "UTC").filter(e, (e.category == "c1" && !(has(e.place)))).any()`)
	b := within(everBought(), 0, now)
	b.Then = &Then{within(ever(eView), 0, now), 3600000}
	f(&Any{List: b}, `ev["View Item"]`+window+`.then(buy`+window+`, hours(1)).any()`)
	b = within(everBought(), 0, now)
	f(&Sequence{Within: 90000, Of: []*Events{b, b}}, `sequence(seconds(90), [buy`+window+`, buy`+window+`]).any()`)
	f(&OneIs{List: b, Last: true, Test: &Has{Attr: pNote}}, `buy`+window+`.last() is has(e["my note"])`)
	f(&AverageIs{List: b, Op: GE, Of: &Column{pAmount, schema.Decimal, 2}, With: schema.IntValue(3)}, `buy`+window+`.avg(e, e.amount) >= 3`)
	fold := func(op FoldOp, of Arith) Node {
		return &Compare{Op: LT, L: &Fold{Op: op, List: b, Of: of, Property: pNote}, R: &Literal{schema.IntValue(3)}}
	}
	f(fold(FoldCount, nil), `buy`+window+`.count() < 3`)
	f(fold(FoldSum, &Negate{&Column{pQty, schema.Int, 0}}), `buy`+window+`.sum(e, -e.qty) < 3`)
	f(fold(FoldDistinct, nil), `buy`+window+`.distinct(e, e["my note"]) < 3`)
	f(fold(FoldDistinctDays, nil), `buy`+window+`.distinct_days("UTC") < 3`)
	f(fold(FoldFirst, &Column{pQty, schema.Int, 0}), `buy`+window+`.first().qty < 3`)
	f(fold(FoldLast, &Column{schema.TimeProperty, schema.Timestamp, 0}), `buy`+window+`.last().ts < 3`)
	f(&Residual{Attrs: []schema.AttrID{aAge}, Events: []schema.EventID{eView}}, `computed from age, ev["View Item"]`)
	if got := label(s, &Any{List: &Events{Event: 99}}); !strings.Contains(got, "99") {
		t.Errorf("an unknown event is %s", got)
	}
}
